"""Training: steps against a plain loop, the average, the rate, data and noise by number, samples."""

import math

import numpy as np
import pytest
import torch
from diffusion.training import POINTS, SMALL, equal, numbers, one_thread, own, read, small_net  # noqa: F401

import sdefast as sf
from sdefast.diffusion import data, networks, objectives, randn_like
from sdefast.diffusion.seeds import TRAINING, apart
from sdefast.diffusion.training import LOG, losses, resume, train
from sdefast.diffusion.training.batches import Batches, order
from sdefast.diffusion.training.ema import Average, exponent
from sdefast.diffusion.training.log import Log
from sdefast.diffusion.training.settings import Settings
from sdefast.diffusion.training.state import mixed

DEFAULTS = {
    "batch_size": 16, "learning_rate": 1.0, "warmup": 10, "decay": None, "weight_decay": 0.01, "clip_norm": 1.0,
    "ema": 0.1, "seed": 4, "amp": False, "label_drop": 0.1,
}  # fmt: skip


def settings(**others):
    return Settings.of(DEFAULTS | others)


# Data and noise by number


def test_order_takes_every_sample_once_an_epoch():
    orders = [order(7, epoch, 40) for epoch in range(3)]
    assert all(sorted(o.tolist()) == list(range(40)) for o in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], order(8, 0, 40))
    bits = sf.noise.words(7, 80, stream=2, first_chain=1)[:, 0].astype(np.uint64)
    assert np.array_equal(np.argsort(bits[::2] + (bits[1::2] << np.uint64(32))), orders[1])


@pytest.mark.parametrize("batch_size", [4, 7, 25])  # the last is more than two epochs a step
def test_epochs_follow_one_another(batch_size):
    batches = Batches(torch.zeros(10, 2), None, settings(batch_size=batch_size))
    picks = np.concatenate([batches.picks(step) for step in range(20)])
    epochs = np.concatenate([order(apart(4, TRAINING), epoch, 10) for epoch in range(2 * batch_size)])
    assert np.array_equal(picks, epochs)
    again = Batches(batches.data, None, settings(batch_size=batch_size))
    assert np.array_equal(again.picks(13), picks[13 * batch_size : 14 * batch_size])


def test_noise_of_a_step_is_the_librarys():
    batch = Batches(torch.from_numpy(POINTS), None, settings()).at(9)
    seed = apart(4, TRAINING)
    assert np.array_equal(batch.u, sf.noise.uniforms(seed, 1, 16, first_draw=18)[0])
    assert torch.equal(batch.z, randn_like(torch.zeros(16, 2), seed=seed, step=9))
    assert batch.y is None


def test_training_shares_no_noise_with_the_samples_of_its_seed():
    """Whose prior has the number of timesteps as its step."""
    z = Batches(torch.from_numpy(POINTS), None, settings()).at(1000).z
    assert not torch.isclose(z, sf.diffusion.prior((16, 2), sf.diffusion.flow_schedule(1000), seed=4, like=z)).any()


def test_dropout_of_neighbouring_seeds_has_nothing_in_common():
    class Seen(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.masks = torch.nn.Parameter(torch.zeros(1)), []

        def forward(self, x, c, y=None):
            self.masks.append(torch.nn.functional.dropout(torch.ones(64)))
            return self.weight * x

    masks = [torch.stack(train(POINTS, net=Seen(), **SMALL | {"seed": seed}).raw.masks) for seed in (4, 5)]
    assert masks[0].shape == (24, 64)
    assert not (masks[0][:, None] == masks[1]).all(2).any()


def test_labels_are_dropped_as_often_as_asked():
    labels = torch.arange(10).repeat(100)
    batches = Batches(torch.zeros(1000, 2), labels, settings(batch_size=1000, label_drop=0.2))
    dropped = 0
    for step in range(10):
        y, true = batches.at(step).y, labels[torch.from_numpy(batches.picks(step))]
        assert torch.equal(y[y != networks.NO_LABEL], true[y != networks.NO_LABEL])
        dropped += int((y == networks.NO_LABEL).sum())
    assert abs(dropped - 2000) < 4 * math.sqrt(10_000 * 0.2 * 0.8)  # 4 standard deviations


# The rate, and the average


def test_learning_rate_does_not_know_how_many_steps_there_are():
    rate = settings().rate
    assert [rate(0), rate(4), rate(9), rate(999)] == [0.1, 0.5, 1.0, 1.0]
    assert rate(3999) == 0.5  # four times the reference step
    falling = settings(decay=200, warmup=0).rate
    assert [falling(0), falling(50), falling(199), falling(200)] == [1.0, 0.75, pytest.approx(0.005), 0.0]


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.2, math.sqrt(1 / 12)])
def test_exponent_gives_the_width(width):
    gamma = exponent(width)
    assert math.sqrt(gamma + 1) / ((gamma + 2) * math.sqrt(gamma + 3)) == pytest.approx(width, rel=1e-9)


def test_average_of_the_widest_is_the_mean_of_all():
    net = torch.nn.Linear(1, 1, bias=False)
    average = Average(net, math.sqrt(1 / 12))
    for value in (1.0, 2.0, 6.0):
        torch.nn.init.constant_(net.weight, value)
        average.update()
    assert average.count == 3
    assert average.net.weight.item() == pytest.approx(3.0, rel=1e-6)


def test_average_weighs_as_a_power_of_time():
    net = torch.nn.Linear(1, 1, bias=False)
    average = Average(net, 0.1)
    expected = 0.0
    for k in range(1, 30):
        torch.nn.init.constant_(net.weight, k**2)
        average.update()
        beta = (1 - 1 / k) ** (exponent(0.1) + 1)
        expected = beta * expected + (1 - beta) * k**2
    assert average.net.weight.item() == pytest.approx(expected, rel=1e-5)


def test_buffers_are_copied_and_no_average_is_a_copy():
    net = torch.nn.BatchNorm1d(2)
    average = Average(net, 0.1)
    for i in range(3):
        net(torch.full((4, 2), float(i)) + torch.arange(4.0)[:, None])
        average.update()
    assert equal(dict(average.net.named_buffers()), dict(net.named_buffers()))
    assert int(average.net.num_batches_tracked) == 3
    without = Average(net, 0)
    torch.nn.init.constant_(net.weight, 0.3)
    without.update()
    torch.nn.init.constant_(net.weight, 0.7)
    without.update()
    assert torch.equal(without.net.weight, net.weight)


# Steps


def test_steps_are_those_of_a_plain_loop():
    run = train(POINTS, net=small_net(), **SMALL)
    net, average = small_net(), small_net()
    batches, told = Batches(torch.from_numpy(POINTS), None, settings(seed=4)), settings(learning_rate=1e-3, warmup=5)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    objective = objectives.objective("flow")
    for step in range(24):
        x0, u, z, _ = batches.at(step)
        optimizer.param_groups[0]["lr"] = told.rate(step)
        optimizer.zero_grad()
        loss = objective.loss(net, x0, u, z).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate = 1 - (1 - 1 / (step + 1)) ** (exponent(0.1) + 1)
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), net.parameters(), strict=True):
                mine.lerp_(theirs, rate)
        row = run.log[step]
        assert row["step"] == step + 1
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert row["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
        assert row["learning_rate"] == told.rate(step)
    assert run.log["gradient_norm"].max() > 1  # so that there is something to clip
    for found, plain in ((run.raw, net), (run.net, average)):
        for mine, theirs in zip(found.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_training_leaves_torchs_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train(POINTS, **SMALL | {"steps": 3})
    dropped = train(POINTS, net=own(), **SMALL | {"steps": 3})
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert np.array_equal(numbers(train(POINTS, **SMALL | {"steps": 3})), numbers(first))
    assert np.array_equal(numbers(train(POINTS, net=own(), **SMALL | {"steps": 3})), numbers(dropped))
    assert not np.array_equal(numbers(train(POINTS, **SMALL | {"steps": 3, "seed": 5})), numbers(first))


def test_a_gaussian_is_learned():
    points = np.float32([0.5, -0.3]) + np.float32([0.8, 0.4]) * sf.noise.normals(1, 4000, 2, dtype="float32")
    run = train(points, steps=600, batch_size=256, learning_rate=1e-2, warmup=10, decay=600, seed=2, net=small_net(32))
    x = run.sample(4000, "heun", 10, seed=1)
    # (sampling alone errs by .013 and .009: what remains is the network's)
    assert np.abs(x.mean(0) - [0.5, -0.3]).max() < 0.06
    assert np.abs(x.std(0) - [0.8, 0.4]).max() < 0.06
    assert run.log["loss"][-50:].mean() < 0.8 * run.log["loss"][:10].mean()


@pytest.mark.parametrize("name", list(objectives.OBJECTIVES))
def test_every_objective_trains_and_draws(name):
    points = 3 * POINTS
    run = train(points, objective=name, net=small_net(), **SMALL | {"steps": 4})
    assert run.objective.name == name
    assert np.isfinite(run.sample(3, n_steps=5)).all()
    if name in ("edm", "ve"):
        assert run.objective.sd == pytest.approx(points.std(), rel=1e-6)


def test_images_get_a_unet_with_labels_and_clipped_samples():
    images, labels = data.digits()
    run = train(images[:64], labels[:64], **SMALL | {"steps": 1, "batch_size": 4})
    assert run.net.config["name"] == "unet"
    assert run.classes == 10
    assert run.plan().clip == 1.0
    x = run.sample(3, n_steps=3, labels=[0, 1, 2], guidance=2.0)
    assert x.shape == (3, *images.shape[1:])
    assert np.abs(x).max() <= 1
    wide = train(2 * images[:64], **SMALL | {"steps": 0})
    assert wide.plan().clip is None
    assert train(POINTS, net=small_net(), **SMALL | {"steps": 1}).plan().clip is None


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.linspace(0, 1, 64), r"images lie in \[0, 1\].*train on 2 x - 1"),
        (np.linspace(0, 255, 64), "data have the standard deviation 74.8, and should be of about unit size"),
    ],
)
def test_images_of_another_range_are_warned_of(x, words):
    with pytest.warns(RuntimeWarning, match=words):
        train(x.reshape(1, 1, 8, 8), net=networks.UNet(widths=(8,)), **SMALL | {"steps": 0})
    scaled = objectives.objective("edm", sd=75.0)
    train(255 * POINTS, net=small_net(), objective=scaled, **SMALL | {"steps": 0})  # says nothing


def test_samples_do_not_depend_on_their_batch():
    run = train(POINTS, net=small_net(), **SMALL | {"steps": 2})
    whole = run.sample(7, n_steps=4, seed=3)
    torch.testing.assert_close(run.sample(7, n_steps=4, seed=3, batch=3), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(run.sample(2, n_steps=4, seed=3, first_sample=5), whole[5:], rtol=1e-5, atol=1e-6)
    assert np.array_equal(run.sample(7, run.plan(n_steps=4), seed=3), whole)


def test_callback_sees_the_average_so_far():
    seen = []
    run = train(POINTS, net=small_net(), callback=lambda k, now: seen.append((k, now.step, numbers(now))), **SMALL)
    assert [k for k, _, _ in seen] == [step for _, step, _ in seen] == list(range(1, 25))
    assert np.array_equal(seen[-1][2], numbers(run))
    assert not np.array_equal(seen[0][2], numbers(run))


# The log


def test_log_names_the_first_step_that_is_not_finite():
    log = Log(patience=4)
    for step, loss in ((1, 0.5), (2, 0.25), (3, math.nan)):
        log.add(step, 0.1, torch.tensor(loss), torch.tensor(1.0))
    assert not len(log.rows)  # they wait
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 3, learning rate 0.1"):
        log.add(4, 0.1, torch.tensor(math.inf), torch.tensor(1.0))
    assert log.rows.tolist() == [(1, 0.5, 0.1, 1.0), (2, 0.25, 0.1, 1.0)]
    assert Log.of(log.columns()).rows.tolist() == log.rows.tolist()


def test_losses_are_read_from_the_csv_to_the_bit(tmp_path):
    run = train(POINTS, net=small_net(), out=tmp_path / "run", **SMALL)
    found = np.genfromtxt(tmp_path / "run" / "loss.csv", delimiter=",", names=True, dtype=LOG)
    assert np.array_equal(found, run.log)
    assert np.array_equal(losses(tmp_path / "run"), run.log)


# Mixed precision


def test_mixed_precision_is_in_the_network_alone():
    net = small_net()
    inside = []
    net.layers[0].register_forward_hook(lambda module, given, out: inside.append(out.dtype))
    x, c = torch.from_numpy(POINTS), torch.full((50,), 300.0)
    out = mixed(net, "cpu")(x, c)
    assert inside == [torch.bfloat16]
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, net(x, c), rtol=0.05, atol=0.02)
    with pytest.raises(ValueError, match="amp must be False on a CPU"):
        train(POINTS, amp=True)


# What is refused


class Mine(objectives.FlowMatching):
    """An objective of the user's, which says the name of another."""


REFUSED = [
    ({"data": POINTS.astype(int)}, TypeError, "data must be in floating point"),
    ({"data": POINTS[:0]}, ValueError, "data must have a shape"),
    ({"data": np.full((3, 2), np.nan, np.float32)}, ValueError, "data must be finite"),
    ({"data": "swiss-rol"}, ValueError, "data must be one of .*swiss-rol"),
    ({"labels": [1, 2]}, ValueError, r"labels must have shape \(50,\)"),
    ({"labels": np.zeros(50)}, TypeError, "labels must be whole numbers"),
    ({"labels": True}, TypeError, "labels must be an array"),
    ({"labels": np.arange(50) % 3}, ValueError, "labels have 3 classes, and net takes none"),
    ({"data": "swiss-roll", "labels": True}, ValueError, "labels must be None: swiss-roll has none"),
    ({"net": lambda x, c, y: x}, TypeError, "net must be a torch.nn.Module"),
    ({"net": torch.nn.Linear(2, 2).double()}, ValueError, "net must have float32 parameters.*float64"),
    ({"net": torch.nn.Identity()}, ValueError, "net must have float32 parameters"),
    ({"objective": "flo"}, ValueError, "did you mean 'flow'"),
    ({"objective": 3}, TypeError, "objective must be a name or an Objective, got 3"),
    ({"objective": Mine()}, ValueError, "objective 'flow' must be of a class in objectives.OBJECTIVES.*got Mine: add"),
    ({"steps": -1}, ValueError, "steps must be between 0"),
    ({"steps": 30, "decay": 20}, ValueError, "steps must be at most decay, 20"),
    ({"batch_size": 0}, ValueError, "batch_size must be between 1"),
    ({"learning_rate": 0}, ValueError, "learning_rate must be positive"),
    ({"warmup": 2.5}, TypeError, "warmup must be an integer"),
    ({"clip_norm": -1}, ValueError, "clip_norm must be positive"),
    ({"ema": 0.999}, ValueError, r"ema must be within \[0, 0.289\].*no decay such as 0.999"),
    ({"label_drop": 2}, ValueError, "label_drop must be within"),
    ({"seed": -1}, ValueError, "seed must be"),
    ({"device": "tpu"}, ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
    ({"device": "cuda:99"}, ValueError, "device='cuda:99' is not there"),
    ({"save_every": 0}, ValueError, "save_every must be"),
    ({"resume": True}, ValueError, "resume=True goes on with the checkpoint in out: give out"),
    ({"out": 3}, TypeError, "out must be the path of a folder"),
    ({"callback": 3}, TypeError, "callback must be callable"),
    ({"progress": "no"}, TypeError, "progress must be True or False"),
]


@pytest.mark.parametrize(("given", "kind", "words"), REFUSED)
def test_what_is_wrong_is_refused_by_name(given, kind, words):
    with pytest.raises(kind, match=words):
        train(**{"data": POINTS, "net": small_net(), "steps": 1} | given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": 0}, "labels must be None: the network was trained without"),
        ({"n": 0}, "n must be"),
        ({"method": "dpm"}, "method must be one of"),
        ({"guidance": 2.0}, "guidance needs labels"),
    ],
)
def test_samples_that_cannot_be_are_refused(given, words):
    run = train(POINTS, net=small_net(), **SMALL | {"steps": 1})
    with pytest.raises(ValueError, match=words):
        run.sample(**{"n": 2} | given)


def test_labels_to_draw_are_checked():
    run = train(POINTS, np.arange(50) % 3, net=small_net(classes=3), **SMALL | {"steps": 1})
    assert run.sample(2, n_steps=2, labels=2).shape == (2, 2)
    for labels, words in ((3, "between 0 and 2"), ([0], r"or 2 of them"), (1.0, "must be an integer")):
        with pytest.raises(ValueError, match=words):
            run.sample(2, n_steps=2, labels=labels)


def test_samples_without_labels_want_a_network_that_was_trained_on_some():
    run = train(POINTS, np.arange(50) % 3, small_net(classes=3), label_drop=0.0, **SMALL | {"steps": 1})
    assert run.sample(2, n_steps=2, labels=2).shape == (2, 2)
    for given in ({}, {"labels": 2, "guidance": 2.0}):
        with pytest.raises(ValueError, match=r"knows no samples without labels.*label_drop=0"):
            run.sample(2, n_steps=2, **given)


def test_a_name_of_data_is_enough_to_resume(tmp_path):
    train("two-moons", True, small_net(classes=2), steps=2, batch_size=8, out=tmp_path)
    assert read(tmp_path)["config"]["data"]["source"] == "two-moons"
    assert resume(tmp_path, 3).step == 3
