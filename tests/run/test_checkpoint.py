"""A call goes on from its checkpoint to the bits of one that was never stopped; what is none of its own is refused."""

import errno
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from conftest import thorough_but
from run import checkpointed
from run.checkpointed import CALLS, PROBLEM, descents, digest, few_paths, kill_after, many_paths, process

import sdefast as sf
from sdefast.engine import running, tiles
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import BLOCK
from sdefast.run import archive, checkpoint, lock

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@cache
def expected(name):
    """The digest of a call that is never stopped and has no checkpoint."""
    return digest(CALLS[name]())


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run.npz"


@pytest.fixture
def small_tiles(monkeypatch):
    checkpointed.small_tiles(monkeypatch.setattr)


@pytest.fixture
def write_always(monkeypatch):
    checkpointed.write_always(monkeypatch.setattr)


class Stopped(Exception):  # noqa: N818  an end, not an error
    """What ends a run too soon."""


class Chunks:
    """Counts the chunks that are run, and stops the run at one of them."""

    def __init__(self, monkeypatch):
        self.done, self.last, self.run = 0, None, running._run_chunk
        monkeypatch.setattr(running, "_run_chunk", self)

    def __call__(self, *arguments):
        if self.last is not None and self.done >= self.last:  # (two threads may pass it at once)
            raise Stopped
        self.run(*arguments)
        self.done += 1


# Killed ---------------------------------------------------------------------------------------------------------------

KILLS = [(name, seed) for seed in range(3) for name in CALLS]


@pytest.mark.parametrize(("name", "seed"), thorough_but([("few_paths", 0)], KILLS))
def test_killed_again_and_again(name, seed, file):
    rng = random.Random(f"{name} {seed}")
    for _ in range(2):
        run = process(name, file, rng.choice([1, 2, 3]))
        with run:
            kill_after(run, file, rng.choice([0, 1, 1, 2, 5]), rng.uniform(0.0, 0.05))
    with process(name, file, rng.choice([1, 2, 3])) as run:
        out, err = run.communicate()
    assert run.returncode == 0, err
    assert out.strip() == expected(name)
    assert "goes on from checkpoint" in err, "nobody was told"
    assert os.listdir(file.parent) == [file.name], "what was not finished lies about"


def test_ctrl_c_leaves_a_checkpoint(file):
    """Also if it was not yet time to write one."""
    with process("many_paths", file, 2, "never") as run:
        assert run.stdout.readline() == "begun\n"
        assert not file.exists()
        run.send_signal(signal.SIGINT)
        _, err = run.communicate()
    assert "KeyboardInterrupt" in err
    resumed = many_paths(checkpoint=file)
    assert 0 < resumed.cost.found < 1
    assert digest(resumed) == expected("many_paths")


# Two calls on one file ------------------------------------------------------------------------------------------------

IN_USE = r"checkpoint .*run\.npz is in use by process {} of .*, which has not ended"


def test_another_process_that_is_at_work_on_it(file):
    """It is refused until that one is gone, also where it is killed."""
    with process("many_paths", file, 1, "never") as run:
        assert run.stdout.readline() == "begun\n"
        for call in CALLS.values():
            with pytest.raises(RuntimeError, match=IN_USE.format(run.pid)):
                call(checkpoint=file)
        run.kill()
        run.wait()
    assert os.path.exists(f"{file}.lock")
    assert digest(few_paths(checkpoint=file)) == expected("few_paths")
    assert os.listdir(file.parent) == [file.name]


def test_another_call_of_this_process(file, monkeypatch):
    """Within the first one; afterwards the file is free, also after an error."""
    finish, errors = checkpoint.Checkpoint.finish, []

    def finish_and_call(self):
        monkeypatch.setattr(checkpoint.Checkpoint, "finish", finish)
        with pytest.raises(RuntimeError, match=IN_USE.format(os.getpid())) as error:
            simulate(checkpoint=file)
        errors.append(error)
        raise Stopped

    monkeypatch.setattr(checkpoint.Checkpoint, "finish", finish_and_call)
    with pytest.raises(Stopped):
        simulate(checkpoint=file)
    assert len(errors) == 1
    simulate(checkpoint=file)
    with pytest.raises(ValueError, match="is of another call") as other:
        simulate(checkpoint=file, seed=99)
    assert os.listdir(file.parent) == [file.name]
    simulate(checkpoint=file)
    assert other


WITH_A_WORKER = """
import multiprocessing, os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from run.checkpointed import many_paths

pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
submit = pool.submit

def die(*arguments):
    worker = submit(os.getpid).result()  # forked while the file is locked
    os.kill(worker, signal.SIGSTOP)  # it stays, whatever becomes of the call
    print(worker, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

pool.submit = die
many_paths(checkpoint=sys.argv[1], executor=pool)
"""


def test_a_worker_that_outlives_the_call(file):
    """It was forked while the call had the file, and does not have it."""
    code = [sys.executable, "-c", WITH_A_WORKER, str(file)]
    folder = os.path.dirname(os.path.dirname(__file__))
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": folder}) as run:
        worker = int(run.stdout.readline())
        try:
            assert run.wait() == -signal.SIGKILL
            os.kill(worker, 0)  # it is there
            few_paths(checkpoint=file)
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_lock_that_is_removed_while_somebody_waits_for_it(file, monkeypatch):
    """What was locked then is no longer what others find: it is tried again."""
    first, opened, open_file = lock.Lock("file", str(file)), [], lock._open

    def open_then_release(path):
        opened.append(open_file(path))
        if len(opened) == 1:
            first.release()
        return opened[-1]

    monkeypatch.setattr(lock, "_open", open_then_release)
    second = lock.Lock("file", str(file))
    assert len(opened) == 2
    monkeypatch.setattr(lock, "_open", open_file)
    with pytest.raises(RuntimeError, match=f"file is in use by process {os.getpid()} of"):
        lock.Lock("file", str(file))
    second.release()
    assert not os.listdir(file.parent)


def test_where_there_are_no_locks(file, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert digest(few_paths(checkpoint=file)) == expected("few_paths")
    assert os.listdir(file.parent) == [file.name]


# Within a tile, and between tiles -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_tiles", "write_always")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("last", thorough_but([1, 20], [1, 2, 20, 29]))
def test_a_tile_goes_on_from_its_last_chunk(last, threads, file, monkeypatch, caplog):
    """30000 steps are 30 chunks of one tile: none that was done is done again."""
    chunks = Chunks(monkeypatch)
    chunks.last = last
    with pytest.raises(Stopped):
        few_paths(checkpoint=file, threads=threads)
    assert not caplog.records
    chunks.done, chunks.last = 0, None
    resumed = few_paths(checkpoint=file, threads=4 - threads)
    assert chunks.done == 30 - last
    assert digest(resumed) == expected("few_paths")
    assert resumed.cost.found == pytest.approx(last * 1024 / 30_000, rel=1e-12)
    assert f"{100 * resumed.cost.found:.3g} % from a checkpoint" in repr(resumed)
    assert [r.levelname for r in caplog.records if "goes on from checkpoint" in r.getMessage()] == ["WARNING"]


@pytest.mark.usefixtures("small_tiles", "write_always")
@pytest.mark.parametrize("name", CALLS)
def test_stopped_at_many_chunks(name, file, monkeypatch):
    """Each time a few chunks further, until it is done; a chunk is done again at most once for each worker."""
    chunks, stops = Chunks(monkeypatch), 0
    while True:
        chunks.done, chunks.last = 0, 17
        try:
            resumed = CALLS[name](checkpoint=file, threads=2)
        except Stopped:
            stops += 1
            continue
        break
    chunks.last = None
    assert digest(resumed) == expected(name)
    assert 1 <= stops < 12


@pytest.mark.parametrize("name", CALLS)
def test_a_finished_call_is_there_at_once(name, file, monkeypatch):
    first = CALLS[name](checkpoint=file)
    assert digest(first) == expected(name)
    assert first.cost.found == 0
    before = file.read_bytes()
    Chunks(monkeypatch).last = 0
    again = CALLS[name](checkpoint=file, threads=3)
    assert digest(again) == expected(name)
    assert again.cost.found == 1
    assert file.read_bytes() == before


def pools():
    yield ThreadPoolExecutor(2)
    yield ProcessPoolExecutor(2, multiprocessing.get_context("fork"))


@pytest.mark.usefixtures("small_tiles", "write_always")
def test_executors_go_on_where_others_stopped(file, monkeypatch):
    """Workers of other processes run whole tiles, those that threads had begun anew."""
    monkeypatch.setattr(tiles, "REMOTE_TILE", 1)
    for pool in pools():
        with pool, monkeypatch.context() as patch:
            Chunks(patch).last = 9
            with pytest.raises(Stopped):
                many_paths(checkpoint=file, threads=2)
            patch.undo()
            before = checkpointed.written(file)
            checkpointed.small_tiles(monkeypatch.setattr)
            resumed = many_paths(checkpoint=file, executor=pool)
            assert 0 < resumed.cost.found < 1
            assert checkpointed.written(file) != before
        assert digest(resumed) == expected("many_paths")
        file.unlink()


@pytest.mark.usefixtures("write_always")
def test_a_process_pool_is_kept_tile_by_tile(file, monkeypatch):
    monkeypatch.setattr(tiles, "REMOTE_TILE", 1)
    added = []
    add = sf.run.where.Outcome.add

    def stopping(self, whole, result):
        if len(added) == 4:
            raise Stopped
        added.append(result.n_chains)
        add(self, whole, result)

    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(sf.run.where.Outcome, "add", stopping)
            with pytest.raises(Stopped):
                many_paths(checkpoint=file, executor=pool)
        resumed = many_paths(checkpoint=file, executor=pool)
    assert resumed.cost.found == pytest.approx(sum(added) / (6 * BLOCK + 100), rel=1e-12)
    assert digest(resumed) == expected("many_paths")


@pytest.mark.usefixtures("small_tiles", "write_always")
def test_what_is_half_merged_is_not_written(file, monkeypatch):
    """An interrupt between two statistics of a tile: the file stays as it was before that tile."""
    calls, add = [], Layout.add

    def interrupted(self, nodes, new):
        add(self, nodes, new)
        calls.append(nodes)
        if len(calls) == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Layout, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            few_paths(n_paths=5 * BLOCK, n_steps=2000, threads=1, checkpoint=file)
    assert len(calls) == 8
    assert calls[-1] is not calls[-2], "each of the three statistics of three tiles"
    resumed = few_paths(n_paths=5 * BLOCK, n_steps=2000, checkpoint=file)
    assert 0 < resumed.cost.found < 1
    assert digest(resumed) == digest(few_paths(n_paths=5 * BLOCK, n_steps=2000))


@pytest.mark.usefixtures("small_tiles", "write_always")
def test_a_resumed_run_and_a_shard(file, monkeypatch):
    first = many_paths(n_steps=1500, first_chain=BLOCK)

    def on(**how):
        return sf.simulate(sf.Heston(), resume=first, n_steps=3000, save_at=100, **how)

    Chunks(monkeypatch).last = 7
    with pytest.raises(Stopped):
        on(checkpoint=file)
    monkeypatch.undo()
    resumed = on(checkpoint=file)
    assert 0 < resumed.cost.found < 1
    assert digest(resumed) == digest(on())


def test_a_call_without_a_seed_goes_on_with_the_files(file):
    first = many_paths(seed=None, n_steps=10, checkpoint=file)
    assert many_paths(seed=None, n_steps=10, checkpoint=file).seed == first.seed
    with pytest.raises(ValueError, match=f"seed is {first.seed} there and 1 here"):
        many_paths(seed=1, n_steps=10, checkpoint=file)


def test_progress_begins_where_the_run_goes_on(file, capfd):
    many_paths(checkpoint=file)
    many_paths(checkpoint=file, progress=True)
    assert "Heston: 100%" in capfd.readouterr().err


# Other calls ----------------------------------------------------------------------------------------------------------

FACTOR = 2.0


def with_global(t, x, p):
    return -FACTOR * x[0]


#: what a simulation differs in, and how the error names it
OTHERS = {
    "seed": ({"seed": 6}, "seed is 5 there and 6 here"),
    "n_paths": ({"n_paths": 101}, "n_paths is 100 there and 101 here"),
    "first_chain": ({"first_chain": 1}, "first_chain is 0 there and 1 here"),
    "n_steps": ({"n_steps": 51}, "n_steps is 50 there and 51 here"),
    "t1": ({"t1": 2.0}, r"grid.h is 0\.02 there and 0\.04 here"),
    "t0": ({"t0": 0.5}, r"grid.t0 is 0\.0 there and 0\.5 here"),
    "times": ({"t1": None, "n_steps": None, "times": np.linspace(0, 1, 51)}, "grid.times is None there"),
    "method": ({"method": "heun"}, "method is 'euler-maruyama' there and 'heun' here"),
    "dtype": ({"dtype": "float32"}, "dtype is 'float64' there and 'float32' here"),
    "noise_dtype": ({"noise_dtype": "float32"}, "noise_dtype is 'float64' there and 'float32' here"),
    "x0": ({"x0": 1.5}, r"x0 is \[1\.0\] there and \[1\.5\] here"),
    "x0 of paths": ({"x0": np.linspace(1, 2, 100)}, r"x0 is \[1\.0\] there and None here"),
    "save_at": ({"save_at": 25}, r"saves is \[50\] there and \[0, 25, 50\] here"),
    "paths": ({"paths": False}, "keeps_states is True there and False here"),
    "moments": ({"moments": 2}, "layout.moments is 4 there and 2 here"),
    "histogram": ({"histogram": (0.0, 1.0, 3)}, "histogram is None there"),
    "expectations": ({"expectations": {"a": lambda t, x: x[0]}}, "extras.expectations.length is 0 there and 1 here"),
    "antithetic": ({"antithetic": True}, "extras.antithetic is False there and True here"),
    "normals": ({"normals": np.ones((50, 100, 1))}, "given_normals is False there and True here"),
    "boundary": ({"boundary": sf.boundaries.positive(0)}, "extras.boundaries.length is 0 there and 1 here"),
    "parameter": ({"model": sf.CIR(kappa=1.5)}, r"model.kappa is 1\.0 there and 1\.5 here"),
    "model": ({"model": sf.OrnsteinUhlenbeck()}, "model is 'CIR' there and 'OrnsteinUhlenbeck' here"),
}


def simulate(model=None, **how):
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": 50, "n_paths": 100, "seed": 5}
    return sf.simulate(model or sf.CIR(kappa=1.0), **{**settings, **how})


@pytest.mark.parametrize("name", OTHERS)
def test_another_simulation_is_refused(name, file):
    how, message = OTHERS[name]
    simulate(checkpoint=file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=message) as refused:
        simulate(checkpoint=file, **how)
    assert str(file) in str(refused.value)
    assert file.read_bytes() == before
    assert digest(simulate(checkpoint=file)) == digest(simulate())


def test_other_functions_are_refused(file, monkeypatch):
    """By what they compute: the same function written anew is the same."""
    model = sf.SDE(lambda t, x, p: -2.0 * x[0], lambda t, x, p: 0.3)
    settings = {"expectations": {"a": lambda t, x: x[0] ** 2}, "checkpoint": file}
    run = simulate(model, **settings)
    same = {"expectations": {"a": lambda s, y: y[0] ** 2}, "checkpoint": file}
    again = simulate(sf.SDE(with_global, lambda t, x, p: 0.3), **same)
    assert again.cost.found == 1
    assert digest(again) == digest(run)
    for drift, observed in ((lambda t, x, p: -3.0 * x[0], lambda t, x: x[0] ** 2), (with_global, lambda t, x: x[0])):
        with pytest.raises(ValueError, match=r"of another call, with other (kernel|observer)"):
            simulate(sf.SDE(drift, lambda t, x, p: 0.3), **{**settings, "expectations": {"a": observed}})
    monkeypatch.setitem(globals(), "FACTOR", 2.5)
    with pytest.raises(ValueError, match="of another call, with other kernel"):
        simulate(sf.SDE(with_global, lambda t, x, p: 0.3), **settings)


@pytest.mark.parametrize(("name", "message"), [("x0", "start"), ("normals", "normals")])
def test_other_arrays_are_refused(name, message, file):
    given = {"x0": np.linspace(1, 2, 100), "normals": np.ones((50, 100, 1))}[name]
    simulate(checkpoint=file, **{name: given})
    assert simulate(checkpoint=file, **{name: given.copy()}).cost.found == 1
    given[-1] += 1e-15 * 8
    with pytest.raises(ValueError, match=f"of another call, with other {message}"):
        simulate(checkpoint=file, **{name: given})


DESCENTS = {
    "seed": ({"seed": 6}, "seed is 7 there and 6 here"),
    "n_runs": ({"n_runs": 11}, "n_runs is 10 there and 11 here"),
    "step_size": ({"step_size": 2e-3}, r"step_size is \[\[0\.001\]\] there and \[\[0\.002\]\] here"),
    "batch_size": ({"batch_size": 2}, "iteration.batch_size is 1 there and 2 here"),
    "theta0": ({"theta0": [0.0, 1.0, 0.0]}, r"theta0 is \[0\.0, 0\.0, 0\.0\] there and \[0\.0, 1\.0, 0\.0\] here"),
    "averaging": ({"averaging": "polyak-ruppert"}, "iteration.averaged is False there and True here"),
    "runs": ({"runs": 2}, r"kept.runs is \[1, 2, 8\] there and \[0, 1\] here"),
    "coordinates": ({"coordinates": [1]}, r"kept.parameters is \[0, 1, 2\] there and \[1\] here"),
    "final_states": ({"final_states": False}, "final_states is True there and False here"),
    "moments": ({"moments": False}, "gathers_moments is True there and False here"),
}


@pytest.mark.parametrize("name", DESCENTS)
def test_another_descent_is_refused(name, file):
    how, message = DESCENTS[name]
    settings = {"n_runs": 10, "n_steps": 20, "save_at": "final", "runs": [1, 2, 8]}
    descents(checkpoint=file, **settings)
    with pytest.raises(ValueError, match=message):
        descents(checkpoint=file, **{**settings, **how})


def test_other_data_are_refused(file):
    X, y = PROBLEM.data
    settings = {"step_size": 1e-3, "n_steps": 20, "n_runs": 10, "seed": 1, "checkpoint": file}
    sf.sgd(PROBLEM, **settings)
    assert sf.sgd(sf.LeastSquares(data=(X.copy(), y)), **settings).cost.found == 1
    with pytest.raises(ValueError, match=r"problem.data.0 is 'float64\[700, 3\] .* there and .* here"):
        sf.sgd(sf.LeastSquares(data=(X + 1e-9, y)), **settings)


def test_another_function_another_version(file, monkeypatch):
    simulate(checkpoint=file)
    with pytest.raises(ValueError, match="is of simulate, not of sgd"):
        descents(checkpoint=file)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "library_version", lambda: "99.0")
        with pytest.raises(ValueError, match=r"was written by sdefast .* this is 99\.0"):
            simulate(checkpoint=file)
    monkeypatch.setattr(checkpoint, "FORMAT", 3)
    with pytest.raises(ValueError, match=r"\(format 2\); this is .* \(format 3\)"):
        simulate(checkpoint=file)


# Files that are none, and disks that are full -------------------------------------------------------------------------


def array_of_numpy(file):
    with file.open("wb") as out:
        np.save(out, np.ones(3))


OTHER_FILES = {
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_bytes(b"not a checkpoint\n" * 100),
    "array": array_of_numpy,
    "arrays": lambda file: np.savez(file, a=np.ones(3)),
    "a saved run": lambda file: simulate().save(file),
    "header of another shape": lambda file: archive.write(str(file), [1, 2], {}),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_are_refused(name, file):
    OTHER_FILES[name](file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"run\.npz is (damaged, or no checkpoint|another file: it holds a result)"):
        simulate(checkpoint=file)
    assert file.read_bytes() == before, "somebody's file is gone"


def damages(size, members):
    """Ways to damage a file: cut off, and single bytes changed, in the data of every member and anywhere."""
    rng = random.Random(4)
    yield from (("cut", n) for n in (1, 30, size // 2, size - 1))
    yield from (("flip", offset + length // 2) for offset, length in members)
    yield from (("flip", rng.randrange(size)) for _ in range(60))


@pytest.mark.usefixtures("small_tiles")
def test_damage_is_told_or_does_no_harm(file, monkeypatch):
    with monkeypatch.context() as patch:
        chunks = Chunks(patch)
        chunks.last = 13
        with pytest.raises(Stopped):
            many_paths(checkpoint=file, threads=1, n_steps=2500)
        patch.undo()
    content, told, harmless = file.read_bytes(), 0, 0
    with zipfile.ZipFile(file) as members:
        places = [(info.header_offset + 60 + len(info.filename), info.file_size) for info in members.infolist()]
    whole = digest(many_paths(n_steps=2500))
    for how, at in damages(len(content), places):
        damaged = bytearray(content[:at] if how == "cut" else content)
        if how == "flip":
            damaged[at] ^= 0x10
        file.write_bytes(damaged)
        try:
            resumed = many_paths(checkpoint=file, n_steps=2500)
        except ValueError as error:
            message = str(error)
        else:
            assert digest(resumed) == whole, (how, at)
            harmless += 1
            continue
        assert "damaged" in message, (how, at)
        assert file.read_bytes() == damaged
        told += 1
    assert told > 60 > 8 > harmless


def fill_the_disk(monkeypatch, after):
    """Let writing fail after so many arrays."""
    left, write = iter(range(after)), archive._write_array

    def failing(*arguments):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments)

    monkeypatch.setattr(archive, "_write_array", failing)


@pytest.mark.usefixtures("small_tiles", "write_always")
@pytest.mark.parametrize("after", thorough_but([0, 3], [0, 3, 40]))
def test_a_full_disk_leaves_the_old_file(after, file, monkeypatch):
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after)
        with pytest.raises(OSError, match=r"run\.npz could not be written, .*No space left on device") as error:
            many_paths(checkpoint=file)
    assert error.value.errno == errno.ENOSPC
    assert ("there is none" in str(error.value)) == (not file.exists())
    assert os.listdir(file.parent) == [file.name] * file.exists()
    checkpointed.small_tiles(monkeypatch.setattr)
    assert digest(many_paths(checkpoint=file)) == expected("many_paths")


def test_a_disk_that_is_full_at_the_end(file, monkeypatch):
    simulate(checkpoint=file)
    before = file.read_bytes()
    fill_the_disk(monkeypatch, 1)
    other = file.with_name("other")
    with pytest.raises(OSError, match="there is none"):
        simulate(checkpoint=other, seed=9)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


# What it is, and what it costs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [1, b"", "", True, ["a"]])
def test_paths_are_checked(wrong):
    with pytest.raises(TypeError, match="checkpoint must be the path of a file"):
        simulate(checkpoint=wrong)


def test_folders_are_checked(tmp_path):
    for wrong in (tmp_path, tmp_path / "nowhere" / "file"):
        with pytest.raises(ValueError, match="checkpoint must be a file in a folder that exists"):
            simulate(checkpoint=wrong)
        with pytest.raises(ValueError, match="checkpoint must be a file in a folder that exists"):
            descents(checkpoint=wrong)


def test_a_name_without_a_folder_and_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulate(checkpoint="run")
    (tmp_path / "link").symlink_to("run")
    assert simulate(checkpoint="link").cost.found == 1
    (tmp_path / "other").symlink_to("target")
    simulate(checkpoint="other")
    assert sorted(os.listdir()) == ["link", "other", "run", "target"]


def test_the_file_is_numpys(file):
    """With a header in JSON; nothing in it is pickled."""
    run = simulate(checkpoint=file, histogram=(0.0, 2.0, 4))
    with np.load(file, allow_pickle=False) as arrays:
        header = json.loads(arrays["header.json"])
        np.testing.assert_array_equal(arrays["run.states0"], run._states)
        np.testing.assert_array_equal(arrays["run.counts"], run._counts)
        assert [arrays[name].dtype.hasobject for name in arrays if name.startswith("run")] == [False] * 3
    assert header["settings"]["model.kappa"] == 1.0
    assert (header["kind"], header["format"], header["sdefast"]) == ("checkpoint", 2, sf.__version__)


def test_it_is_written_seldom(file, monkeypatch):
    """At least a second after the one before, and after 20 times what that took."""
    now, took = [0.0], [0.01]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    writes = []

    def write(*_):
        writes.append(now[0])
        now[0] += took[0]

    monkeypatch.setattr(checkpoint, "write", write)
    kept = checkpoint.Checkpoint(str(file), "simulate")
    for i in range(2000):
        now[0] = 0.1 * i
        took[0] = 0.01 if i < 100 else 0.5
        kept.changed()
        assert kept.patience() >= 0.01
        kept.write_if_due()
    early, late = [t for t in writes if t < 10], [t for t in writes if t > 12]
    np.testing.assert_allclose(np.diff(early), 1.1, rtol=1e-9)  # the first tenth of a second after 1.01
    np.testing.assert_allclose(np.diff(late), 10.5, atol=0.11)


def test_unfinished_files_of_processes_that_are_gone_are_removed(file):
    mine, others = archive._writer(), f"{archive.host()}.{2**22 + 5}"
    for name in (f"{mine}.00.tmp", f"{others}.00.tmp", "elsewhere.1.00.tmp", f"{others}.00.txt"):
        file.with_name(f"{file.name}.{name}").write_bytes(b"half")
    simulate(checkpoint=file)
    left = sorted(name.removeprefix(f"{file.name}.") for name in os.listdir(file.parent))
    assert left == sorted([file.name, f"{mine}.00.tmp", "elsewhere.1.00.tmp", f"{others}.00.txt"])
