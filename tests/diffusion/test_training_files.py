"""Trainings in folders: resumed to the bit, stopped by Ctrl-C and kill, full disks, files that are something else."""

import _thread
import errno
import math
import os
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import thorough_but
from diffusion.training import POINTS, SMALL, equal, files, numbers, one_thread, own, read, small_net  # noqa: F401

from sdefast.diffusion import networks
from sdefast.diffusion.training import checkpoint, folder, load, loop, resume, state, train
from sdefast.run import archive
from sdefast.run.lock import LockedError

NETS = {"built-in": small_net, "own": own}


@pytest.fixture(scope="module", params=list(NETS))
def whole(request, tmp_path_factory):
    """A training that is not stopped: how its network is made, its folder and what it returned."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole")
    net = NETS[request.param]
    return net, out, train(POINTS, net=net(), out=out, save_every=8, **SMALL)


def stopped_at(*steps):
    """A callback that ends the training there."""

    def callback(step, run):
        if step in steps:
            raise KeyboardInterrupt

    return callback


# Resumed to the bit


@pytest.mark.parametrize("cut", thorough_but([3, 8, 23], [1, 3, 8, 13, 23]))  # an epoch is 3.1 steps
def test_resumed_is_not_stopped_to_the_bit(whole, cut, tmp_path):
    net, out, run = whole
    train(POINTS, net=net(), out=tmp_path, save_every=8, **SMALL | {"steps": cut})
    again = train(POINTS, net=net(), out=tmp_path, save_every=8, resume=True, **SMALL)
    assert np.array_equal(numbers(again), numbers(run))
    assert np.array_equal(again.log, run.log)
    assert equal(read(tmp_path), read(out))
    for name in ("last.pt.sha", "loss.csv"):
        assert files(tmp_path)[name] == files(out)[name]


def test_resumed_again_and_again(whole, tmp_path):
    net, out, _ = whole
    train(POINTS, net=net(), out=tmp_path, save_every=8, **SMALL | {"steps": 2})
    for steps in (2, 5, 6, 19, 24):
        again = resume(tmp_path, steps, data=POINTS, net=None if net is small_net else net())
        assert again.step == steps
    assert equal(read(tmp_path), read(out))


def test_resume_begins_where_there_is_nothing(whole, tmp_path):
    net, out, _ = whole
    train(POINTS, net=net(), out=tmp_path / "a" / "b", save_every=8, resume=True, **SMALL)
    assert equal(read(tmp_path / "a" / "b"), read(out))


def test_a_training_that_took_no_step_is_not_in_the_way(tmp_path, monkeypatch):
    net = small_net()
    with monkeypatch.context() as broken:
        broken.setattr(net, "forward", lambda x, c, y=None: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(POINTS, net=net, out=tmp_path, **SMALL)
    assert read(tmp_path)["step"] == 0
    again = train(POINTS, net=small_net(), out=tmp_path, **SMALL | {"seed": 5})
    assert np.array_equal(again.log, train(POINTS, net=small_net(), **SMALL | {"seed": 5}).log)
    assert read(tmp_path)["step"] == SMALL["steps"]


def test_the_digest_tells_trainings_apart(whole, tmp_path):
    net, out, _ = whole
    train(POINTS, net=net(), out=tmp_path, save_every=8, **SMALL | {"seed": 5})
    assert files(tmp_path)["last.pt.sha"] != files(out)["last.pt.sha"]
    assert read(out)["digest"] == files(out)["last.pt.sha"].decode().strip()


def test_a_loaded_training_draws_the_same(whole):
    net, out, run = whole
    found = load(out, net=None if net is small_net else net())
    assert np.array_equal(numbers(found), numbers(run))
    assert np.array_equal(found.sample(5, n_steps=4, seed=1), run.sample(5, n_steps=4, seed=1))
    assert (found.step, found.config, found.objective) == (run.step, run.config, run.objective)
    assert not any(one.training for one in (found.net, found.raw, run.net, run.raw))
    assert load(str(out / "last.pt"), net=net()).step == 24
    content = read(out)
    assert (content["step"], content["ema_counter"], len(content["log"]["loss"])) == (24, 24, 24)


def test_a_network_of_ones_own_is_asked_for(whole, tmp_path):
    net, out, _ = whole
    if net is small_net:
        return
    for call in (load, partial(resume, steps=30, data=POINTS)):
        with pytest.raises(ValueError, match=r"last\.pt is of a network of your own: pass it as net"):
            call(out)


class Configured(type(own())):
    """A network of the user's that has a config and classes, as those of other libraries do."""

    config = SimpleNamespace(width=8)
    classes = ("odd", "even")


class Wider(networks.ScoreMLP):
    """One that is not in the library, and says the name of one that is."""

    def forward(self, x, c, y=None):
        return 2 * super().forward(x, c, y)


@pytest.mark.parametrize("made", [Configured, partial(Wider, 2, width=16, classes=2)])
def test_a_config_of_another_librarys_is_no_matter(made, tmp_path):
    run = train(POINTS, np.arange(50) % 2, made(), out=tmp_path, **SMALL | {"steps": 1})
    assert np.array_equal(numbers(load(tmp_path, net=made())), numbers(run))
    assert resume(tmp_path, 2, data=POINTS, labels=np.arange(50) % 2, net=made()).step == 2
    with pytest.raises(ValueError, match="is of a network of your own"):
        load(tmp_path)


# What does not go together


@pytest.fixture
def begun(tmp_path):
    """A training of 8 steps in a folder, and what is in the folder."""
    train(POINTS, net=small_net(), out=tmp_path, **SMALL | {"steps": 8})
    return tmp_path, files(tmp_path)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"resume": False}, r"already holds a training.*resume=True \(--resume on the command line\)"),
        ({"steps": 7}, "steps must be at least 8, those of .*last.pt, got 7"),
        ({"seed": 5}, "is of another training: training.seed is 4 there and 5 here"),
        ({"ema": 0.2}, "training.ema is 0.1 there and 0.2 here"),
        ({"data": POINTS + np.float32(1e-6)}, "of another training: data.digest"),
        ({"data": POINTS[:40]}, "data.shape.0 is 50 there and 40 here"),
        ({"objective": "v"}, "objective.name is 'flow' there and 'v' here"),
        ({"net": small_net(activation="silu")}, "net.activation is 'relu' there and 'silu' here"),
    ],
)
def test_another_training_is_refused_and_nothing_lost(begun, others, words):
    out, before = begun
    with pytest.raises(ValueError, match=words):
        train(**{"data": POINTS, "net": small_net(), "out": out, "resume": True} | SMALL | others)
    assert files(out) == before


def test_another_network_of_ones_own_is_refused(tmp_path):
    train(POINTS, net=own(), out=tmp_path, **SMALL | {"steps": 1})
    for call in (partial(load, tmp_path), partial(resume, tmp_path, 2, data=POINTS)):
        with pytest.raises(ValueError, match=r"last\.pt is of another network: .*size mismatch for inner"):
            call(net=type(own())(width=9))
    with pytest.raises(ValueError, match=r"last\.pt is of another network: .*Missing key"):
        load(tmp_path, net=small_net())
    with pytest.raises(ValueError, match=r"last\.pt is of another training: net is None there"):
        resume(tmp_path, 2, data=POINTS, net=small_net())


def test_an_array_is_asked_for_again(begun):
    with pytest.raises(ValueError, match="is of an array, which it does not hold: pass it as data"):
        resume(begun[0], 9)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        resume(begun[0] / "other", 9)


def test_one_training_at_a_time(tmp_path):
    def other(step, run):
        train(POINTS, net=small_net(), out=tmp_path, resume=True, **SMALL)

    with pytest.raises(LockedError, match=r"out .* is in use by process"):
        train(POINTS, net=small_net(), out=tmp_path, callback=other, **SMALL)
    assert not (tmp_path / "last.pt.lock").exists()


# Ctrl-C, and worse


@pytest.fixture
def interruptible():
    """Ctrl-C raises, though whoever runs the tests in the background may have told it not to."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def same_as_never_stopped(out, tmp_path):
    """Whether the training in a folder ends as one that was not stopped."""
    resume(out, 24, data=POINTS, save_every=500)
    train(POINTS, net=small_net(), out=tmp_path / "other", **SMALL)
    return equal(read(out), read(tmp_path / "other"))


def presses(step, run, at=5, times=1):
    if step == at:
        for _ in range(times):
            _thread.interrupt_main()
            time.sleep(0)  # where it arrives


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "callback", [presses, partial(presses, times=2), stopped_at(5)], ids=["once", "twice", "raised"]
)
def test_ctrl_c_leaves_a_checkpoint(callback, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(POINTS, net=small_net(), out=out, callback=callback, **SMALL)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert read(out)["step"] == 5
    assert same_as_never_stopped(out, tmp_path)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(tmp_path, monkeypatch):
    clipped = state.State._clip

    def clip(self):
        if self.step == 4:
            _thread.interrupt_main()
        return clipped(self)

    monkeypatch.setattr(state.State, "_clip", clip)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(POINTS, net=small_net(), out=out, **SMALL)
    monkeypatch.undo()
    assert read(out)["step"] == 5
    assert same_as_never_stopped(out, tmp_path)


def test_a_handler_of_ones_own_is_left(tmp_path):
    pressed = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        run = train(POINTS, net=small_net(), callback=presses, **SMALL)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]
    assert run.step == 24


FOREVER = """
import sys, torch, sdefast as sf
torch.set_num_threads(1)
points = sf.noise.normals(3, 50, 2, dtype="float32")
net = sf.diffusion.networks.ScoreMLP(2, width=16, depth=2)
sf.diffusion.train(points, net=net, steps=10**6, batch_size=16, out=sys.argv[1], save_every=5,
                   callback=lambda step, run: print(step, flush=True))
"""


@pytest.mark.thorough
def test_a_killed_training_loses_at_most_save_every_steps(tmp_path):
    out = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", FOREVER, str(out)], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= 23:
                process.kill()
                break
        last = max([23, *map(int, process.stdout.read().split())])
    found = load(out)
    # (what is printed comes before the checkpoint of its step)
    assert found.step % 5 == 0
    assert last - 5 <= found.step <= last
    assert len(np.genfromtxt(out / "loss.csv", delimiter=",", names=True)) >= found.step
    resume(out, found.step + 1, data=POINTS)
    assert sorted(files(out)) == ["last.pt", "last.pt.sha", "loss.csv"]


class Breaks(torch.nn.Module):
    """A network that says something else from its sixth call on."""

    def __init__(self, what):
        super().__init__()
        self.weight, self.calls, self.what = torch.nn.Parameter(torch.ones(2)), 0, what

    def forward(self, x, c, y=None):
        self.calls += 1
        if self.calls <= 5:
            return x * self.weight
        return x * self.weight * math.nan if self.what == "loss" else x * torch.sqrt(self.weight - self.weight.detach())


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_names_the_step_and_leaves_the_checkpoint(what, tmp_path):
    net = Breaks(what)
    words = rf"the {what}.* is .* at step 6.*; the checkpoint of step 4 in {tmp_path} is as it was"
    with pytest.raises(FloatingPointError, match=words):
        train(POINTS, net=net, out=tmp_path, save_every=4, **SMALL)
    assert torch.isfinite(net.weight).all()
    assert read(tmp_path)["step"] == 4
    assert load(tmp_path, net=Breaks(what)).step == 4


# Disks and folders


def test_a_full_disk_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"has 0 MB of space left, and two checkpoints take") as error:
        train(POINTS, net=small_net(), out=tmp_path, callback=stopped_at(1), **SMALL)
    assert error.value.errno == errno.ENOSPC
    assert files(tmp_path) == {}


@pytest.mark.parametrize("fails_at", [0, 8])
def test_a_disk_that_fills_up_loses_nothing(fails_at, tmp_path, monkeypatch):
    save = folder.Folder.save

    def saving(self, state, config):
        if state.step == fails_at:
            monkeypatch.setattr(archive.os, "fsync", full)
        save(self, state, config)

    monkeypatch.setattr(folder.Folder, "save", saving)
    with pytest.raises(OSError, match="No space left") as error:
        train(POINTS, net=small_net(), out=tmp_path, save_every=4, **SMALL)
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    if fails_at:
        assert read(tmp_path)["step"] == 4
        assert load(tmp_path).step == 4
    assert not [name for name in files(tmp_path) if name.endswith((".tmp", ".lock"))]


def full(number):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_out_must_be_a_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "run"):
        with pytest.raises(ValueError, match="out must be a folder that can be made"):
            train(POINTS, net=small_net(), out=out, **SMALL)
    assert file.read_text() == "mine"


# Files that are something else


def changed(path, **others):
    torch.save(torch.load(path, weights_only=True) | others, path)


def cut_to(part):
    return lambda path: path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])


def flipped(path):
    """A bit of the weights is another."""
    content = torch.load(path, weights_only=True)
    content["model"]["last.bias"].view(torch.int32)[0] ^= 1
    torch.save(content, path)


def zipped(path):
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("header.json", "{}")


class Runs:
    """Pickled, it would make a file when it is read."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return (open, (self.file, "w"))


DAMAGED = {
    "empty": (lambda path: path.write_bytes(b""), "is damaged, or no checkpoint"),
    "text": (lambda path: path.write_text("hello\n" * 99), "is damaged, or no checkpoint"),
    "half": (cut_to(0.5), "is damaged, or no checkpoint"),
    "nearly whole": (cut_to(0.999), "is damaged, or no checkpoint"),
    "a zip": (zipped, "is damaged, or no checkpoint"),
    "code": (lambda path: torch.save({"kind": Runs(path.with_name("run"))}, path), "is damaged, or no checkpoint"),
    "weights": (
        lambda path: torch.save(small_net().state_dict(), path),
        "is another file, not a checkpoint of sdefast",
    ),
    "a number": (lambda path: torch.save(3, path), "is another file"),
    "a flipped bit": (flipped, "is damaged: its digest is another"),
    "no step": (lambda path: torch.save({"kind": checkpoint.KIND, "format": 1}, path), "is damaged: it has no step"),
    "later": (
        partial(changed, format=7, version="9.9"),
        r"was written by sdefast 9\.9 in format 7; this is sdefast .* 1",
    ),
}


@pytest.mark.parametrize("how", list(DAMAGED))
def test_other_files_are_named_and_left(begun, how):
    out, _ = begun
    damage, words = DAMAGED[how]
    damage(out / "last.pt")
    before = files(out)
    for call in (load, partial(resume, steps=24, data=POINTS)):
        with pytest.raises(ValueError, match=rf"last\.pt {words}"):
            call(out)
    with pytest.raises(ValueError, match=rf"last\.pt {words}"):
        train(POINTS, net=small_net(), out=out, resume=True, **SMALL)
    with pytest.raises(ValueError, match="already holds a training"):
        train(POINTS, net=small_net(), out=out, **SMALL)
    assert files(out) == before


def test_other_noise_is_refused(begun, monkeypatch):
    monkeypatch.setattr(loop, "STREAM_VERSION", 2)
    with pytest.raises(ValueError, match=r"last\.pt was trained on noise of version 1, this is 2"):
        resume(begun[0], 9, data=POINTS)


def test_no_digest_of_another_checkpoint_is_left_beside_one(tmp_path, monkeypatch):
    train("two-moons", steps=2, batch_size=8, out=tmp_path)

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(str(tmp_path / "last.pt"), read(tmp_path))
    assert checkpoint.read(str(tmp_path / "last.pt"))["step"] == 2
    assert not (tmp_path / "last.pt.sha").exists()
