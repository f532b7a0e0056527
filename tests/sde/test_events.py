"""Events that reset the state: renewal laws, a neuron's rate, the same in plain Python, the same bits, bad input."""

import math

import numpy as np
import pytest
from conftest import thorough_but, worst_z
from scipy import integrate, special
from sde.common import MOST_Z

import sdefast as sf
from sdefast.sde.functionals import running_max, time_average

WALK = sf.BrownianMotion(mu=1.0, sigma=0.5)


def spike(hold=0.0, **options):
    return sf.events.reset(when=lambda t, x: x[0] >= 1.0, to=lambda t, x: 0.0, hold=hold, **options)


def neuron(drive, sigma, tau=0.02):
    """dv = (drive - v) / tau dt + sigma / sqrt(tau) dW."""
    return sf.SDE(
        lambda t, v, p: (p.drive - v[0]) / p.tau, lambda t, v, p: p.sigma / math.sqrt(p.tau), linear=[-1 / tau],
        params={"drive": drive, "sigma": sigma, "tau": tau},
    )  # fmt: skip


def siegert(drive, sigma, tau=0.02):
    """Mean first passage from 0 to 1 (Siegert, Physical Review 81, 1951)."""
    ends = -drive / sigma, (1.0 - drive) / sigma
    return tau * math.sqrt(math.pi) * integrate.quad(lambda u: special.erfcx(-u), *ends)[0]


# Laws ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hold", "n_steps", "dtype"), [(0.0, 100, "float64"), (0.0, 400, "float32"), (0.3, 400, "float64")]
)
def test_a_walk_that_is_reset_is_a_renewal_process(hold, n_steps, dtype):
    """Times between resets have the inverse Gaussian law, whose renewal function is a line but for what has died out.

    Steps are a fifth to a twentieth of the mean time between events.
    """
    t1, sigma = 20.0, 0.5
    run = sf.simulate(
        WALK, x0=0.0, t1=t1, n_steps=n_steps, n_paths=100_000, seed=1, paths=False, dtype=dtype,
        events={"spike": spike(hold)},
    )  # fmt: skip
    found, mean, square = run.events["spike"], 1.0 + hold, sigma**2 / (1.0 + hold) ** 2
    expected = (t1 + hold) / mean + (square - 1) / 2
    assert worst_z(found.count.mean, expected, found.count.standard_error) < MOST_Z
    assert worst_z(found.first.mean, 1.0, found.first.standard_error) < MOST_Z
    assert worst_z(found.first.variance, sigma**2, sigma**2 * (2 + 15 * sigma**2) ** 0.5 / 100_000**0.5) < MOST_Z
    assert found.n_unfinished[0] == 0
    assert found.first.n_nonfinite[0] == 0
    # Short intervals are seen a little more often: by the variance over the length of the run.
    assert found.interval_mean[0] == pytest.approx(mean, rel=0.03)
    assert found.interval_cv[0] == pytest.approx(sigma / mean, rel=0.04)


@pytest.mark.parametrize(("drive", "sigma", "hold"), [(1.2, 0.5, 0.002), (0.8, 0.5, 0.0)])
def test_the_rate_of_a_neuron_is_siegerts(drive, sigma, hold):
    """Driven above its threshold, and below it, where noise alone makes it fire; two step sizes, extrapolated."""
    mean, n_paths = siegert(drive, sigma), 60_000
    values, errors = [], []
    for n_steps in (100, 200):
        run = sf.simulate(
            neuron(drive, sigma), x0=0.0, t1=0.2, n_steps=n_steps, n_paths=n_paths, seed=n_steps, save_at=n_steps // 2,
            paths=False, method="exponential-euler", events={"spike": spike(hold)},
        )  # fmt: skip
        count = run.events["spike"].count
        values.append((count.mean[2] - count.mean[1]) / 0.1)
        errors.append(math.sqrt(count.variance[2] / n_paths) / 0.1)
    rate = 2 * values[1] - values[0]
    assert worst_z(rate, 1 / (mean + hold), math.hypot(2 * errors[1], errors[0])) < MOST_Z
    assert values[1] == pytest.approx(1 / (mean + hold), rel=0.03)
    assert values[1] > 1.2 / (mean + hold + 0.02)  # a refractory time is seen


def test_first_passage_of_a_neuron():
    """As many steps as the stationary law needs: the first spike is at Siegert's mean, from any start."""
    run = sf.simulate(
        neuron(1.2, 0.5), x0=0.0, t1=0.4, n_steps=1600, n_paths=40_000, seed=3, paths=False,
        method="exponential-euler", events=[spike()], stop_when=lambda t, x, p, y: y.event0 >= 1,
    )  # fmt: skip
    first = run.events["event0"].first
    assert first.n_nonfinite[0] == 0
    assert worst_z(first.mean, siegert(1.2, 0.5), first.standard_error) < MOST_Z
    assert run.events["event0"].count.mean[0] == 1.0
    assert run.stop_time.n_nonfinite[0] == 0


# The same in plain Python --------------------------------------------------------------------------------------------


def ball(t1, h):
    """Heights, speeds and times of a bouncing ball, whose bounces are found on the straight line between the steps."""
    t, y, v, bounces, path = 0.0, 1.0, 0.0, [], [(1.0, 0.0)]
    for _ in range(round(t1 / h)):
        new = y + h * v, v - 9.81 * h
        share, drift = 0.0, (v, -9.81)
        if new[0] <= 0:
            share = y / (y - new[0])
            at = 0.0, v + share * (new[1] - v)
            bounces.append(t + share * h)
            new = 1e-12 + (1 - share) * h * -0.8 * at[1], -0.8 * at[1] + (1 - share) * h * drift[1]
        y, v, t = *new, t + h
        path.append(new)
    return np.array(path), bounces


def test_a_bouncing_ball_without_noise():
    sde = sf.SDE(lambda t, x, p: (x[1], -9.81), lambda t, x, p: (0.0, 0.0), dim=2)
    bounce = sf.events.reset(when=lambda t, x: x[0] <= 0.0, to=lambda t, x: (1e-12, -0.8 * x[1]))
    run = sf.simulate(
        sde, x0=(1.0, 0.0), t1=1.5, n_steps=300, n_paths=3, seed=1, save_at="all", events={"bounce": bounce},
        functionals={"high": running_max(), "mean": time_average()},
    )  # fmt: skip
    path, bounces = ball(1.5, 0.005)
    np.testing.assert_allclose(run.x[:, 1], path, atol=1e-9)
    found = run.events["bounce"]
    assert (found.count.mean[-1], len(bounces)) == (2, 2)
    assert found.first.mean[-1] == pytest.approx(bounces[0], rel=1e-12)
    assert found.last.mean[-1] == pytest.approx(bounces[1], rel=1e-12)
    assert found.interval_mean[-1] == pytest.approx(bounces[1] - bounces[0], rel=1e-9)
    assert np.isnan(found.interval_mean[0])
    assert found.first.n_nonfinite[0] == 3
    heights = path[:, 0]
    assert run.functionals["high"].mean[-1] == 1.0
    average = np.sum((heights[1:] + heights[:-1]) / 2) / 300
    assert run.functionals["mean"].mean[-1] == pytest.approx(average, rel=1e-9)
    assert bounces[0] == pytest.approx(math.sqrt(2 / 9.81), abs=0.004)


def test_conditions_that_are_no_comparison_and_events_after_jumps():
    """A jump may lead beyond the border, which the next step sees at its beginning."""
    none = lambda t, x, p: 0.0  # noqa: E731
    process = sf.SDE(none, none, jumps=sf.jumps.CompoundPoisson(5.0, lambda t, x, p: 1.0))
    both = sf.events.reset(when=lambda t, x: (x[0] > 2.5) & (t > 0.5), to=lambda t, x: x[0] - 3.0, most=5)
    run = sf.simulate(
        process, x0=0.0, t1=2.0, n_steps=200, n_paths=4000, seed=1, save_at="all", events={"third": both},
        expectations={"all": lambda t, x, p, y: x[0] + 3.0 * y.third},
    )  # fmt: skip
    expected = 5.0 * run.t[1:]
    found = run.expectations["all"]
    assert worst_z(found.value[1:], expected, np.sqrt(expected / 4000)) < MOST_Z
    assert run.events["third"].first.mean[-1] > 0.5
    assert (run.x[102:, :, 0] <= 6).all()
    simple = sf.events.reset(when=lambda t, x: x[0] > 2, to=lambda t, x: 0.0)  # of whole numbers
    run = sf.simulate(process, x0=0.0, t1=2.0, n_steps=200, n_paths=4000, seed=1, events=[simple])
    count = run.events["event0"].count
    k = np.arange(1, 10) * 3
    expected = (1 - special.gammaincc(k, 10 * 0.995)).sum()  # P(N >= 3) + P(N >= 6) + ..., a step later
    assert worst_z(count.mean, expected, count.standard_error) < MOST_Z + 1


# Bits ----------------------------------------------------------------------------------------------------------------


def test_the_same_bits_however_a_run_is_cut(tmp_path):
    options = {"x0": 0.0, "t1": 4.0, "n_steps": 40, "seed": 5, "n_paths": 9000, "dtype": "float32"}
    events = {"spike": spike(0.05)}
    whole = sf.simulate(WALK, **options, events=events, threads=1)

    def same(run):
        found, expected = run.events["spike"], whole.events["spike"]
        assert run.x.tobytes() == whole.x.tobytes()
        assert found.last.values[-1].tobytes() == expected.last.values[-1].tobytes()
        assert found.interval_variance[-1] == expected.interval_variance[-1]

    same(sf.simulate(WALK, **options, events=events, threads=3))
    half = sf.simulate(WALK, **{**options, "t1": 2.0, "n_steps": 20}, events=events)
    half.save(tmp_path / "half.npz")
    for begun in (half, sf.load(tmp_path / "half.npz")):
        same(sf.simulate(WALK, resume=begun, n_steps=20))
    for _ in range(2):
        same(sf.simulate(WALK, **options, events=events, checkpoint=tmp_path / "kept.npz"))
    shards = [
        sf.simulate(WALK, **{**options, "n_paths": n}, events=events, first_chain=i)
        for i, n in ((0, 4096), (4096, 4904))
    ]
    assert sf.merge(*shards).events["spike"].count.mean[-1] == whole.events["spike"].count.mean[-1]
    never = sf.events.reset(when=lambda t, x: x[0] > 1e9, to=lambda t, x: 0.0)
    runs = [sf.simulate(WALK, **options, **more) for more in ({}, {"events": [never]})]
    assert runs[0].x.tobytes() == runs[1].x.tobytes()


@pytest.mark.parametrize("dtype", thorough_but(["float64"], ["float32", "float64"]))
def test_a_gpu_has_the_bits_of_the_cpu(dtype):
    options = {"x0": 0.0, "t1": 3.0, "n_steps": 9, "n_paths": 32, "seed": 5, "dtype": dtype}
    card, host = (sf.simulate(WALK, **options, events=[spike(0.1)], device=device) for device in ("cuda", "cpu"))
    assert np.asarray(card.x.to_numpy()).tobytes() == host.x.tobytes()
    assert card.events["event0"].count.mean[0] == host.events["event0"].count.mean[0] > 1


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        (3.0, TypeError, "events must be a list of sdefast.events"),
        ([3.0], TypeError, r"events\['event0'\] must be one of sdefast.events, got 3.0"),
        ({"not a name": spike()}, ValueError, "names that can follow 'y.'"),
        ([sf.events.reset(lambda t, x: x[0], lambda t, x: 0.0)], TypeError, "when must return a condition"),
        (
            [sf.events.reset(lambda t, x: x[0] > 1, lambda t, x: (0.0, 1.0))],
            ValueError,
            "to must return 1 number, got 2",
        ),
        ([sf.events.reset(lambda t, x: x[0] > 1, lambda t, x: 2.0)], ValueError, "never ends: where to= leads"),
    ],
)
def test_bad_events(events, error, message):
    with pytest.raises(error, match=message):
        sf.simulate(WALK, x0=0.0, t1=1.0, n_steps=10, n_paths=10, events=events)


def test_bad_resets_and_events_that_never_end():
    for arguments, options, error, message in (
        ((1.0, lambda t, x: 0.0), {}, TypeError, "when must be a function"),
        ((lambda t, x: x[0] > 1, 0.0), {}, TypeError, "to must be a function"),
        ((lambda t, x: x[0] > 1, lambda t, x: 0.0), {"hold": -1.0}, ValueError, "hold must be"),
        ((lambda t, x: x[0] > 1, lambda t, x: 0.0), {"most": 0}, ValueError, "most must be"),
    ):
        with pytest.raises(error, match=message):
            sf.events.reset(*arguments, **options)
    stuck = sf.events.reset(lambda t, x: x[0] >= 1.0, lambda t, x: 2.0 * t)  # from t = 1/2 on it leads beyond
    with pytest.warns(RuntimeWarning, match=r"events\['event0'\] came more than most=2 times in a step \d+ times"):
        run = sf.simulate(WALK, x0=0.0, t1=2.0, n_steps=40, n_paths=50, seed=1, events=[stuck])
    assert run.events["event0"].n_unfinished[0] > 50
    both = {"functionals": {"spike": running_max()}, "events": {"spike": spike()}}
    with pytest.raises(ValueError, match="other names than functionals, got 'spike' twice"):
        sf.simulate(WALK, x0=0.0, t1=1.0, n_steps=10, n_paths=10, **both)
