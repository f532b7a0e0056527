"""Functionals, boundaries, stopping, expectations, controls, antithetic pairs, histograms: closed forms and numpy."""

import math

import numpy as np
import pytest
from conftest import thorough_but, worst_z
from scipy import stats
from sde.common import BM, LEAST_P, LINE, MOST_Z, maximum_law

import sdefast as sf
from sdefast.engine import gathering
from sdefast.run.boundaries import absorb, positive, reflect
from sdefast.sde.functionals import first_passage, running_max, running_min, time_average


def proportion_z(count, n, p):
    return worst_z(np.asarray(count) / n, p, np.sqrt(np.asarray(p) * (1 - np.asarray(p)) / n))


def trapezoid(y, t):
    """Averages over time from the start to every time, of y (n_times, n_paths)."""
    total = np.cumsum(0.5 * (y[1:] + y[:-1]) * np.diff(t)[:, None], axis=0)
    return np.vstack([y[:1], total / (t[1:] - t[0])[:, None]])


# Extremes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.0), (0.8, 0.5), (-0.6, 1.5)])
def test_extremes_of_brownian_motion(mu, sigma, dtype):
    n, x0, t1 = 20_000, 2.0, 1.5
    run = sf.simulate(
        sf.BrownianMotion(mu, sigma), x0=x0, t1=t1, n_steps=3, n_paths=n, seed=3, dtype=dtype,
        functionals={"high": running_max(), "low": running_min()},
    )  # fmt: skip
    high, low = (run.functionals[name].values[-1] for name in ("high", "low"))
    assert stats.kstest(high - x0, lambda m: maximum_law(m, t1, mu, sigma)).pvalue > LEAST_P
    assert stats.kstest(x0 - low, lambda m: maximum_law(m, t1, -mu, sigma)).pvalue > LEAST_P
    grid = np.linspace(0, 12, 20_001)
    for name, sign, drift in (("high", 1, mu), ("low", -1, -mu)):
        mean = x0 + sign * np.trapezoid(1 - maximum_law(grid, t1, drift, sigma), grid)
        result = run.functionals[name]
        assert worst_z(result.mean[-1], mean, result.standard_error[-1]) < MOST_Z
    assert (high >= run.x[-1, :, 0] - 1e-6).all()
    assert (low <= run.x[-1, :, 0] + 1e-6).all()


def test_extremes_depend_neither_on_the_step_nor_change_the_path():
    settings = {"x0": 0.0, "t1": 1.0, "n_paths": 20_000, "seed": 3}
    for n_steps in (1, 64):
        run = sf.simulate(BM, n_steps=n_steps, functionals={"high": running_max()}, **settings)
        assert (
            stats.kstest(run.functionals["high"].values[-1], lambda m: maximum_law(m, 1.0, 0.0, 1.0)).pvalue > LEAST_P
        )
        assert sf.simulate(BM, n_steps=n_steps, **settings).x.tobytes() == run.x.tobytes()


def test_extremes_of_other_components_and_noises():
    """Two correlated components: each has the maximum of a Brownian motion of its own variance."""
    sde = sf.SDE(
        lambda t, x, p: (0.0, 0.3), lambda t, x, p: ((0.6, 0.8), (1.2, -0.5)), dim=2, noise="additive", noise_dim=2
    )
    run = sf.simulate(
        sde, x0=(0.0, 1.0), t1=1.0, n_steps=2, n_paths=20_000, seed=4,
        functionals={"first": running_max(0), "second": running_max(of=1)},
    )  # fmt: skip
    first, second = (run.functionals[name].values[-1] for name in ("first", "second"))
    assert stats.kstest(first, lambda m: maximum_law(m, 1.0, 0.0, 1.0)).pvalue > LEAST_P
    assert stats.kstest(second - 1.0, lambda m: maximum_law(m, 1.0, 0.3, 1.3)).pvalue > LEAST_P
    # Each has a uniform of its own; of one and the same bridge both would be larger together.
    assert np.corrcoef(first, second)[0, 1] < 0.5


def test_extremes_at_the_steps_are_those_of_the_stored_path():
    for dtype in ("float32", "float64"):
        run = sf.simulate(
            sf.OrnsteinUhlenbeck(), n_paths=500, save_at="all", dtype=dtype, **LINE,
            functionals={
                "high": running_max(bridge=False), "low": running_min(bridge=False),
                "square": running_max(lambda t, x: x[0] * x[0]), "scaled": running_min(lambda t, x, p: p.sigma * x[0]),
            },
        )  # fmt: skip
        x = run.x[:, :, 0]
        for name, expected in (
            ("high", np.maximum.accumulate(x)),
            ("low", np.minimum.accumulate(x)),
            ("square", np.maximum.accumulate(x * x)),
            ("scaled", np.minimum.accumulate(x)),
        ):
            np.testing.assert_array_equal(run.functionals[name].values, expected)


def test_statistics_of_functionals():
    run = sf.simulate(BM, n_paths=5000, save_at=5, functionals={"high": running_max(), "mean": time_average()}, **LINE)
    for name in ("high", "mean"):
        result = run.functionals[name]
        assert result.values.shape == (5, 5000)
        np.testing.assert_allclose(result.mean, result.values.mean(1), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(result.variance, result.values.var(1, ddof=1), rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(
            result.standard_error, result.values.std(1, ddof=1) / 5000**0.5, rtol=1e-11, atol=1e-15
        )
        assert (result.n_nonfinite == 0).all()
    without = sf.simulate(BM, n_paths=5000, paths=False, functionals={"high": running_max()}, **LINE)
    assert without.functionals["high"].values is None
    assert without.functionals["high"].mean[-1] == run.functionals["high"].mean[-1]


# Averages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grid", [{"t0": 0.5, "t1": 2.0, "n_steps": 40}, {"times": np.array([0.5, 0.6, 1.0, 1.1, 2.5])}]
)
def test_time_averages(grid):
    run = sf.simulate(
        sf.Heston(), x0=(1.0, 0.04), n_paths=300, seed=2, save_at="all", **grid,
        functionals={
            "price": time_average(), "variance": time_average(1),
            "both": time_average(lambda t, x, p: t * x[0] * p.kappa),
        },
    )  # fmt: skip
    for name, y in (
        ("price", run.x[:, :, 0]),
        ("variance", run.x[:, :, 1]),
        ("both", run.t[:, None] * run.x[:, :, 0] * 2.0),
    ):
        np.testing.assert_allclose(run.functionals[name].values, trapezoid(y, run.t), rtol=1e-13)


def test_the_mean_of_an_average():
    """The integral of Brownian motion has the variance t^3 / 3."""
    run = sf.simulate(BM, n_paths=20_000, functionals={"area": time_average()}, **LINE | {"n_steps": 100})
    area = run.functionals["area"]
    assert worst_z(area.mean, 0.0, area.standard_error) < MOST_Z
    assert worst_z(area.variance, 1 / 3, np.sqrt(2 / 20_000) / 3) < MOST_Z


# First passages ------------------------------------------------------------------------------------------------------


def passage_law(t, a, mu, sigma):
    """P[mu s + sigma W(s) reaches a > 0 by the time t]."""
    return 1 - maximum_law(a, t, mu, sigma)


@pytest.mark.parametrize(("level", "mu", "sigma"), [(1.0, 0.0, 1.0), (0.7, 0.9, 0.6), (-0.5, 0.4, 1.2)])
def test_first_passages_of_brownian_motion(level, mu, sigma):
    n = 20_000
    run = sf.simulate(
        sf.BrownianMotion(mu, sigma), x0=0.0, t1=2.0, n_steps=8, n_paths=n, seed=5, save_at="all",
        functionals={"passage": first_passage(level)},
    )  # fmt: skip
    passage = run.functionals["passage"]
    expected = passage_law(run.t[1:], abs(level), mu * np.sign(level), sigma)
    assert proportion_z(n - passage.n_nonfinite[1:], n, expected) < MOST_Z
    times = passage.values[-1]
    for k in range(1, 9):  # what is known at a time has happened by then, and does not change
        np.testing.assert_array_equal(passage.values[k], np.where(times <= run.t[k], times, np.inf))
    finite = times[np.isfinite(times)]
    np.testing.assert_allclose(passage.mean[-1], finite.mean(), rtol=1e-12)
    np.testing.assert_allclose(passage.standard_error[-1], finite.std(ddof=1) / len(finite) ** 0.5, rtol=1e-11)
    assert math.isnan(passage.mean[0])
    assert passage.n_nonfinite[0] == n


@pytest.mark.parametrize(("n_steps", "dtype"), [(80, "float32"), (2, "float64")])
def test_first_passages_are_inverse_gaussian(n_steps, dtype):
    """On steps of any length."""
    run = sf.simulate(
        sf.BrownianMotion(2.0, 1.0), x0=0.0, t1=8.0, n_steps=n_steps, n_paths=40_000, seed=6, dtype=dtype,
        functionals={"passage": first_passage(1.0)},
    )  # fmt: skip
    law = stats.invgauss(mu=0.5, scale=1.0)
    passage = run.functionals["passage"]
    assert passage.n_nonfinite[-1] == 0
    assert stats.kstest(passage.values[-1], law.cdf).pvalue > LEAST_P
    assert abs(passage.mean[-1] - law.mean()) < MOST_Z * passage.standard_error[-1]


@pytest.mark.parametrize("level", thorough_but([0.5, -0.3], [0.5, -0.3, 0.0]))
def test_passages_at_the_steps_are_those_of_the_stored_path(level):
    run = sf.simulate(
        sf.OrnsteinUhlenbeck(), x0=0.2, t0=1.0, t1=4.0, n_steps=50, n_paths=500, seed=7, save_at="all",
        functionals={
            "passage": first_passage(level, bridge=False), "of": first_passage(level, lambda t, x: x[0]),
            "high": running_max(bridge=False), "low": running_min(bridge=False),
        },
    )  # fmt: skip
    x, t = run.x[:, :, 0] - level, run.t
    crossed = x[:-1] * x[1:] <= 0
    first = np.argmax(crossed, axis=0)
    path = np.arange(500)
    share = x[first, path] / (x[first, path] - x[first + 1, path])
    expected = np.where(crossed.any(0), t[first] + (t[1] - t[0]) * share, np.inf)
    for name in ("passage", "of"):
        np.testing.assert_allclose(run.functionals[name].values[-1], expected, rtol=1e-12)
    assert 0 < crossed.any(0).sum() < 500 or level == 0.0
    extreme = run.functionals["high" if level > 0.2 else "low"].values[-1]
    assert ((extreme >= level) if level > 0.2 else (extreme <= level)).tolist() == np.isfinite(expected).tolist()


def test_a_passage_at_the_start():
    run = sf.simulate(
        BM, n_paths=10, save_at="all", functionals={"passage": first_passage(0.25)}, **LINE | {"x0": 0.25, "t0": 0.5}
    )
    assert (run.functionals["passage"].values == 0.5).all()


def test_extremes_and_passages_of_geometric_brownian_motion():
    """The bridge has the noise strength of each step's start: 50 steps are off by less than 0.3 % of the price."""
    model, x0, level = sf.BlackScholes(0.05, 0.3), 1.0, 1.2
    run = sf.simulate(
        model, x0=x0, t1=1.0, n_steps=50, n_paths=20_000, seed=8,
        functionals={"high": running_max(), "passage": first_passage(level)},
    )  # fmt: skip
    grid = np.linspace(0, 3, 3001)  # of the logarithm, a Brownian motion with drift
    tail = 1 - maximum_law(grid, 1.0, 0.05 - 0.045, 0.3)
    high = run.functionals["high"]
    mean = x0 + np.trapezoid(tail * np.exp(grid), grid)
    assert abs(high.mean[-1] - mean) < MOST_Z * high.standard_error[-1] + 0.003
    reached = 1 - run.functionals["passage"].n_nonfinite[-1] / 20_000
    expected = 1 - maximum_law(math.log(level), 1.0, 0.005, 0.3)
    assert abs(reached - expected) < MOST_Z * math.sqrt(expected * (1 - expected) / 20_000) + 0.005


# Boundaries ----------------------------------------------------------------------------------------------------------


def test_reflected_brownian_motion():
    """|W + a| at the end, by any number of steps; its minimum is that of W + a, and 0 once that is below."""
    n, a = 20_000, 0.4
    for n_steps in (1, 7):
        run = sf.simulate(
            BM, x0=a, t1=1.0, n_steps=n_steps, n_paths=n, seed=3, boundary=reflect(lower=0.0),
            functionals={"low": running_min(), "passage": first_passage(0.0), "high": running_max()},
        )  # fmt: skip
        x = run.x[-1, :, 0]
        assert stats.kstest(x, lambda y: stats.norm.cdf(y - a) - stats.norm.cdf(-y - a)).pvalue > LEAST_P
        low = run.functionals["low"].values[-1]
        assert (low >= 0).all()
        touches = passage_law(1.0, a, 0.0, 1.0)
        assert proportion_z((low == 0).sum(), n, touches) < MOST_Z
        assert proportion_z(n - run.functionals["passage"].n_nonfinite[-1], n, touches) < MOST_Z
        above = a - low[low > 0]
        assert stats.kstest(above, lambda m: maximum_law(m, 1.0, 0, 1) / maximum_law(a, 1.0, 0, 1)).pvalue > LEAST_P
        assert (run.functionals["high"].values[-1] >= x).all()


def test_reflected_at_two_borders():
    run = sf.simulate(
        BM, x0=1.3, t1=4.0, n_steps=800, n_paths=5000, seed=3, dtype="float32", boundary=reflect(lower=1.0, upper=2.0),
        functionals={"high": running_max(), "low": running_min()},
    )  # fmt: skip
    assert stats.kstest(run.x[-1, :, 0] - 1.0, "uniform").pvalue > LEAST_P
    assert run.functionals["high"].values.max() == 2.0
    assert run.functionals["low"].values.min() == 1.0


def test_reflection_against_numpy():
    run = sf.simulate(
        BM, n_paths=300, save_at="all", **LINE, boundary=reflect(upper=0.3, lower=-0.2), method="euler-maruyama"
    )
    x = run.x[:, :, 0]
    free = x[:-1] + np.sqrt(1 / 20) * sf.noise.normals(1, 20, 300)
    folded = np.where(free < -0.2, -0.4 - free, free)
    folded = np.where(folded > 0.3, 0.6 - folded, folded)
    np.testing.assert_allclose(x[1:], np.clip(folded, -0.2, 0.3), atol=1e-15)
    assert (np.abs(free) > 0.8).any()  # steps longer than the interval


def survival(a, t):
    """P[W has not reached a by the time t]."""
    return 2 * stats.norm.cdf(a / math.sqrt(t)) - 1


def test_absorbed_brownian_motion():
    """Seen after every step only, a border at b acts like one at b + 0.5826 sqrt(h) (Broadie, Glasserman, Kou 1997)."""
    n, n_steps, b = 20_000, 100, 1.0
    run = sf.simulate(BM, x0=0.0, t1=1.0, n_steps=n_steps, n_paths=n, seed=3, boundary=absorb(upper=b), save_at=10)
    x = run.x[:, :, 0]
    h = 1.0 / n_steps
    assert proportion_z((x[-1] < b).sum(), n, survival(b + 0.5826 * math.sqrt(h), 1.0)) < MOST_Z
    assert proportion_z((x[-1] < b).sum(), n, survival(b, 1.0)) > MOST_Z  # the bias is not small
    assert (x <= b).all()
    absorbed = x == b
    assert (absorbed[1:] >= absorbed[:-1]).all()


def test_absorption_stops_all_components_and_their_functionals():
    sde = sf.SDE(lambda t, x, p: (1.0, x[0]), lambda t, x, p: (1.0, 1.0), dim=2)
    run = sf.simulate(
        sde, x0=(0.5, 0.0), t1=4.0, n_steps=80, n_paths=2000, seed=4, save_at="all",
        boundary=absorb(lower=0.0, upper=1.0),
        functionals={
            "high": running_max(), "low": running_min(), "other": running_max(1), "average": time_average(),
            "half": first_passage(0.5), "top": first_passage(1.0), "beyond": first_passage(1.1),
        },
    )  # fmt: skip
    gone = (run.x[:, :, 0] <= 0) | (run.x[:, :, 0] >= 1)
    assert gone[-1].mean() > 0.95
    for name in ("high", "low", "other", "half", "top"):
        values = run.functionals[name].values
        assert (values[1:] == values[:-1])[gone[:-1]].all(), name
    assert (run.x[1:] == run.x[:-1])[gone[:-1]].all()
    high, low = (run.functionals[name].values for name in ("high", "low"))
    assert high.max() == 1.0
    assert low.min() == 0.0
    at_top = run.x[-1, :, 0] == 1.0
    assert np.isfinite(run.functionals["top"].values[-1, at_top]).all()
    assert np.isinf(run.functionals["beyond"].values).all()
    np.testing.assert_allclose(run.functionals["average"].values, trapezoid(run.x[:, :, 0], run.t), rtol=1e-12)


def test_positive_against_numpy():
    sde = sf.SDE(lambda t, x, p: 0.5 - x[0], lambda t, x, p: 1.0)
    run = sf.simulate(sde, n_paths=300, save_at="all", boundary=positive(), **LINE)
    x = run.x[:, :, 0]
    free = x[:-1] + (0.5 - x[:-1]) / 20 + np.sqrt(1 / 20) * sf.noise.normals(1, 20, 300)
    np.testing.assert_allclose(x[1:], np.maximum(free, 0), atol=1e-15)
    assert ((x[1:-1] == 0) & (x[2:] > 0)).any()


def test_several_boundaries():
    sde = sf.SDE(lambda t, x, p: (0.0, 0.0), lambda t, x, p: (1.0, 1.0), dim=2)
    run = sf.simulate(
        sde, x0=(0.5, 0.0), t1=1.0, n_steps=50, n_paths=500, seed=1, save_at="all",
        boundary=[reflect(lower=0.0, upper=1.0), positive(1), absorb(upper=0.9, component=1)],
    )  # fmt: skip
    assert ((run.x[:, :, 0] >= 0) & (run.x[:, :, 0] <= 1)).all()
    assert ((run.x[:, :, 1] >= 0) & (run.x[:, :, 1] <= 0.9)).all()
    gone = run.x[:-1, :, 1] == 0.9
    assert gone.any()
    assert (run.x[1:] == run.x[:-1])[gone].all()


# Stopping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float32", "float64"]))
def test_a_stopped_path_stays_as_it_is(dtype):
    settings = {
        "x0": 0.2,
        "t0": 1.0,
        "t1": 3.0,
        "n_steps": 64,
        "n_paths": 700,
        "seed": 3,
        "save_at": "all",
        "dtype": dtype,
    }
    functionals = {"high": running_max(bridge=False), "average": time_average()}
    free = sf.simulate(sf.OrnsteinUhlenbeck(), functionals=functionals, **settings)
    run = sf.simulate(
        sf.OrnsteinUhlenbeck(), functionals=functionals, stop_when=lambda t, x, p, y: y.high > 0.8, **settings,
        expectations={"x": lambda t, x: x[0], "average": lambda t, x, p, y: y.average},
    )  # fmt: skip
    holds = free.x[:, :, 0] > 0.8
    stops = np.where(holds.any(0), np.argmax(holds, axis=0), 64)
    assert 0 < holds.any(0).sum() < 700
    frozen = np.minimum(np.arange(65)[:, None], stops)
    path = np.arange(700)
    # A chain with a stop is another program: only its arithmetic is the same.
    np.testing.assert_allclose(run.x[:, :, 0], free.x[frozen, path, 0], rtol=1e-5 if dtype == "float32" else 1e-13)
    for name in functionals:
        expected = free.functionals[name].values[frozen, path]
        np.testing.assert_allclose(run.functionals[name].values, expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert (run.x[1:] == run.x[:-1])[holds[:-1]].all()
    when = np.where(holds.any(0), free.t[stops], np.inf)
    np.testing.assert_allclose(run.stop_time.values[-1], when, rtol=1e-6 if dtype == "float32" else 1e-14)
    assert run.stop_time.n_nonfinite[-1] == 700 - holds.any(0).sum()
    np.testing.assert_allclose(run.expectations["x"].value, run.x[:, :, 0].mean(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        run.expectations["average"].value, run.functionals["average"].values.mean(1), rtol=1e-5, atol=1e-7
    )


def test_stops_of_all_kinds():
    def stop_time(stop_when, **options):
        settings = {**LINE, "n_paths": 50, "save_at": "all", **options}
        return sf.simulate(sf.OrnsteinUhlenbeck(kappa=0.5), stop_when=stop_when, **settings).stop_time.values[-1]

    assert (stop_time(lambda t, x: True) == 0.0).all()
    assert np.isinf(stop_time(lambda t, x: False)).all()
    assert (stop_time(lambda t, x: t >= 0.47) == 0.47).all()
    np.testing.assert_allclose(stop_time(lambda t, x, p: t * p.kappa > 0.21), 0.42, rtol=1e-14)
    assert (stop_time(lambda t, x: (t >= 0.47) & (t < 9.0)) == 0.5).all()  # what must hold together is seen after steps
    with pytest.raises(TypeError, match="stop_when must return a condition"):
        stop_time(lambda t, x: 0.0)
    assert (stop_time(lambda t, x: x[0] == 0.0, x0=0.0) == 0.0).all()
    mixed = stop_time(lambda t, x: x[0] > 1, x0=np.linspace(0.5, 1.5, 50))
    assert (mixed[25:] == 0).all()
    assert (mixed[:25] > 0).all()
    high = stop_time(
        lambda t, x, p, y: y.high > 1 or y.low < -1, functionals={"high": running_max(), "low": running_min()}
    )
    assert 0 < np.isfinite(high).sum() < 50


def test_the_mean_of_a_stopped_martingale():
    """E[W] stays 0, and E[time] is that of leaving (-a, b), a b, however long the steps."""
    run = sf.simulate(
        BM, x0=0.0, t1=15.0, n_steps=75, n_paths=40_000, seed=9, dtype="float32", stop_when=lambda t, x: x[0] ** 2 >= 1,
    )  # fmt: skip
    assert run.stop_time.n_nonfinite[-1] == 0
    assert worst_z(run.mean, 0.0, run.standard_error) < MOST_Z
    assert worst_z(run.stop_time.mean, 1.0, run.stop_time.standard_error) < MOST_Z
    assert set(np.unique(run.x)) == {-1.0, 1.0}


LEAVING = [
    lambda t, x: abs(x[0]) >= 1, lambda x, t: x[0] > 1 or x[0] < -1, lambda t, x: not -1 <= x[0] <= 1,
    lambda t, x: max(x[0], -x[0]) > 1,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LEAVING)))
def test_leaving_an_interval(number):
    """However it is said: the mean time of Brownian motion with drift, and where it leaves."""
    mu, n = 0.5, 20_000
    run = sf.simulate(
        sf.BrownianMotion(mu), x0=0.0, t1=20.0, n_steps=100, n_paths=n, seed=1, stop_when=LEAVING[number],
        functionals={"high": running_max(), "up": first_passage(1.0), "average": time_average()},
    )  # fmt: skip
    upper = 1 / (1 + math.exp(-2 * mu))
    assert worst_z(run.stop_time.mean, (2 * upper - 1) / mu, run.stop_time.standard_error) < MOST_Z
    assert proportion_z((run.x[-1, :, 0] == 1).sum(), n, upper) < MOST_Z
    assert (abs(run.x) == 1).all()
    high, up = (run.functionals[name].values[-1] for name in ("high", "up"))
    time = run.stop_time.values[-1]
    at_top = run.x[-1, :, 0] == 1
    np.testing.assert_array_equal(high == 1, at_top)
    np.testing.assert_allclose(up, np.where(at_top, time, np.inf), rtol=1e-14)
    # Ito: x(T)^2 - 2 mu int x dt - T is a martingale, and so is x(T) - mu T
    residual = run.x[-1, :, 0] ** 2 - 2 * mu * run.functionals["average"].values[-1] * time - time
    assert abs(residual.mean()) < MOST_Z * residual.std() / n**0.5 + 0.02


def test_levels_that_move_and_what_else_passes():
    """W(t) >= 1 - 2 t is a passage with drift 2; so is that of a sum of two components, and the others stay free."""
    n = 20_000
    law = stats.invgauss(mu=0.5, scale=1.0)
    run = sf.simulate(BM, x0=0.0, t1=8.0, n_steps=8, n_paths=n, seed=2, stop_when=lambda t, x: x[0] >= 1 - 2 * t)
    time = run.stop_time.values[-1]
    assert stats.kstest(time, law.cdf).pvalue > LEAST_P
    np.testing.assert_allclose(run.x[-1, :, 0], 1 - 2 * time, atol=1e-13)
    plane = sf.SDE(lambda t, x: (1.0, 1.0), lambda t, x: (0.6, 0.8), dim=2, noise="additive")
    run = sf.simulate(
        plane, x0=(0.0, 0.0), t1=8.0, n_steps=4, n_paths=n, seed=3, stop_when=lambda t, x: x[0] + x[1] > 1
    )
    time = run.stop_time.values[-1]
    assert stats.kstest(time, law.cdf).pvalue > LEAST_P
    np.testing.assert_allclose(run.x[-1].sum(1), 1.0, atol=1e-13)
    free = (run.x[-1, :, 0] - time) * 0.8**2 - (run.x[-1, :, 1] - time) * 0.6**2  # independent of the sum
    assert stats.kstest(free / (0.48 * np.sqrt(time)), "norm").pvalue > LEAST_P


def test_passages_of_the_exact_black_scholes():
    """The logarithm is a Brownian motion: P(S reaches L before 1 - d) by optional stopping, S(t) e^-mu t."""
    model = sf.BlackScholes(mu=0.0, sigma=0.4)
    run = sf.simulate(
        model, x0=1.0, t1=400.0, n_steps=400, n_paths=20_000, seed=4, method="exact", paths=False,
        stop_when=lambda t, x: x[0] > 1.5 or x[0] < 0.5, expectations={"top": lambda t, x: x[0] > 1.0},
    )  # fmt: skip
    top = run.expectations["top"]
    assert abs(top.value[-1] - 0.5) < MOST_Z * top.standard_error[-1] + 0.02  # both may be touched within a step
    assert run.stop_time.n_nonfinite[-1] == 0


def test_levels_are_passed_in_their_order():
    levels = [0.1, 0.3, 0.6, 1.0, 1.2, 1.5]
    run = sf.simulate(
        BM, x0=0.0, t1=1.0, n_steps=1, n_paths=20_000, seed=8,
        functionals={f"t{i}": first_passage(level) for i, level in enumerate(levels)},
    )  # fmt: skip
    times = np.array([run.functionals[f"t{i}"].values[-1] for i in range(len(levels))])
    assert (times[:-1] <= times[1:]).all()
    for level, values in zip(levels, times, strict=True):
        reached = values[np.isfinite(values)]
        scale = passage_law(1.0, level, 0.0, 1.0)
        assert stats.kstest(reached, lambda t, a=level, p=scale: passage_law(t, a, 0.0, 1.0) / p).pvalue > LEAST_P


def test_there_is_no_stop_time_without_a_stop():
    with pytest.raises(AttributeError, match="stop_when"):
        _ = sf.simulate(BM, n_paths=3, **LINE).stop_time


# Wrong input ---------------------------------------------------------------------------------------------------------


def f(t, x):
    return x[0]


ONE = {"expectations": {"a": f}}
TOO_MANY = {f"e{i}": lambda t, x: x[0] for i in range(32769)}
BAD = [
    ({"functionals": running_max()}, TypeError, "functionals must be a mapping of names"),
    ({"functionals": {"a b": running_max()}}, ValueError, "must have names that can follow 'y.', got 'a b'"),
    ({"functionals": {"class": running_max()}}, ValueError, "functionals must have names"),
    ({"functionals": {"_a": running_max()}}, ValueError, "functionals must have names"),
    ({"functionals": {1: running_max()}}, ValueError, "functionals must have names"),
    ({"functionals": {"a": running_max}}, TypeError, r"functionals\['a'\] must be one of sdefast.functionals"),
    ({"functionals": {"a": f}}, TypeError, r"functionals\['a'\] must be one of sdefast.functionals"),
    ({"functionals": {"a": running_max(1)}}, ValueError, "of must be a component from 0 to 0, or a function"),
    ({"functionals": {"a": first_passage(1.0, 3)}}, ValueError, "of must be a component"),
    ({"functionals": {"a": time_average(lambda t: t)}}, TypeError, "of must be a function of"),
    ({"functionals": {"a": time_average(lambda t, x: (x[0], 1))}}, ValueError, "of must return one number, got 2"),
    ({"functionals": {"a": time_average(lambda t, x: math.gamma(x[0]))}}, TypeError, "the of cannot be compiled"),
    ({"boundary": 0.0}, TypeError, "boundary must be one of sdefast.boundaries, or a list of them, got 0.0"),
    ({"boundary": [reflect(0.0), "a"]}, TypeError, "boundary must be one of sdefast.boundaries"),
    ({"boundary": reflect(lower=0.0, component=1)}, ValueError, "component must be from 0 to 0, got 1"),
    ({"boundary": reflect(lower=0.5)}, ValueError, "within the boundary: component 0 from 0.5 to inf, got 0.0"),
    ({"boundary": absorb(upper=-0.5)}, ValueError, "x0 must begin within the boundary"),
    ({"x0": -1.0, "boundary": positive()}, ValueError, "x0 must begin within the boundary"),
    ({"x0": np.linspace(-1, 1, 4), "boundary": reflect(lower=-0.5)}, ValueError, "x0 must begin .*, got -1.0"),
    ({"stop_when": 1.0}, TypeError, r"stop_when must be a function of \(t, x\), got 1.0"),
    ({"stop_when": lambda x: x > 0}, TypeError, "stop_when must be a function of"),
    ({"stop_when": lambda t, x: (x[0] > 0, 1)}, ValueError, "stop_when must return one condition, got 2"),
    ({"stop_when": lambda t, x: "a"}, TypeError, "stop_when must return numbers"),
    ({"stop_when": lambda t, x, p, y: y.high > 0}, TypeError, "stop_when cannot be .*\n.*\n.*no attribute 'high'"),
    ({"antithetic": 1}, TypeError, "antithetic must be True or False, got 1"),
    ({"antithetic": "yes"}, TypeError, "antithetic must be True or False"),
    ({"antithetic": True, "n_paths": 5}, ValueError, "n_paths must be even for antithetic pairs, got 5"),
    ({"expectations": f}, TypeError, "expectations must be a mapping of names to functions"),
    ({"expectations": {1: f}}, TypeError, "expectations must have strings as names, got 1"),
    ({"expectations": {"": f}}, TypeError, "expectations must have strings as names"),
    ({"expectations": {"a": 1.0}}, TypeError, r"expectations\['a'\] must be a function of \(t, x\), got 1.0"),
    ({"expectations": {"a": lambda x: x}}, TypeError, r"\['a'\] must be a function of \(t, x\), up to \(t, x, p, y\)"),
    ({"expectations": {"a": lambda t, x, p, y, z: x}}, TypeError, r"expectations\['a'\] must be a function of"),
    ({"expectations": {"a": lambda t, x: x[3]}}, TypeError, r"expectations\['a'\] cannot be compiled.*\n.*x\[3\]"),
    ({"expectations": {"a": lambda t, x: math.gamma(x[0])}}, TypeError, r"expectations\['a'\] cannot be compiled"),
    ({"expectations": {"a": lambda t, x: (x[0], t)}}, ValueError, r"expectations\['a'\] must return one number, got 2"),
    ({"expectations": {"a": lambda t, x, p, y: y.high}}, TypeError, "no attribute 'high'"),
    ({"expectations": TOO_MANY}, ValueError, "expectations and controls may be 32768 together, got 32769"),
    (
        {"expectations": dict([*TOO_MANY.items()][:-1]), "controls": {"c": (f, 0.0)}},
        ValueError, "expectations and controls may be 32768 together, got 32769",
    ),
    ({"controls": {"a": (f, 0.0)}}, TypeError, "controls correct expectations: pass expectations too"),
    (ONE | {"controls": {"b": f}}, TypeError, "controls must be a mapping of names to"),
    (ONE | {"controls": [("b", f)]}, TypeError, "controls must be a mapping"),
    (ONE | {"controls": {"b": (0.0, f)}}, TypeError, r"controls\['b'\] must be a function"),
    (ONE | {"controls": {"a": (f, 0.0)}}, ValueError, "controls must have other names than expectations"),
    (ONE | {"controls": {"b": (f, "x")}}, TypeError, r"controls\['b'\]\[1\] must be an array of real"),
    (ONE | {"controls": {"b": (f, math.nan)}}, ValueError, r"controls\['b'\]\[1\] must be finite"),
    (ONE | {"controls": {"b": (f, [1.0, 2.0])}}, ValueError, r"controls\['b'\]\[1\] must be a number or"),
    (ONE | {"controls": {"b": (f, [[1.0]])}}, ValueError, r"controls\['b'\]\[1\] must be a number or"),
    (ONE | {"controls": {"b": (lambda x: x, 0.0)}}, TypeError, r"controls\['b'\] must be a function of"),
    ({"histogram": 10}, TypeError, r"histogram must be \(low, high, bins\), got 10"),
    ({"histogram": (0.0, 1.0)}, TypeError, r"histogram must be \(low, high, bins\)"),
    ({"histogram": (1.0, 0.0, 5)}, ValueError, "histogram must have low < high, got 1.0 and 0.0"),
    ({"histogram": (0.0, math.inf, 5)}, ValueError, r"histogram\[1\] must be finite"),
    ({"histogram": (0.0, 1.0, 0)}, ValueError, r"histogram\[2\] must be between 1"),
    ({"histogram": (0.0, 1.0, 2.5)}, TypeError, r"histogram\[2\] must be an integer"),
    ({"normals": np.zeros((20, 3, 1))}, ValueError, r"normals must have shape \(20, 4, 1\), got \(20, 3, 1\)"),
    ({"normals": np.zeros((4, 20))}, ValueError, r"normals must have shape \(20, 4, 1\)"),
    ({"normals": np.zeros(20)}, ValueError, "normals must have shape"),
    ({"normals": "random"}, TypeError, "normals must be an array of real numbers"),
    ({"normals": np.full((20, 4, 1), np.nan)}, ValueError, "normals must be finite"),
    ({"normals": np.zeros((20, 4, 1)), "antithetic": True}, ValueError, r"normals must have shape \(20, 2, 1\)"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_wrong_input_is_refused(case):
    wrong, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        sf.simulate(BM, **{**LINE, "n_paths": 4, **wrong})


def test_more_groups_of_statistics_than_a_kernel_gathers(monkeypatch):
    monkeypatch.setattr(gathering, "MOST", 64)
    asked = {"expectations": dict([*TOO_MANY.items()][:60]), "functionals": {f"f{i}": running_max() for i in range(8)}}
    with pytest.raises(ValueError, match="need 69 groups of statistics, of which there are 64"):
        sf.simulate(BM, **{**LINE, "n_paths": 4, **asked})


def test_exact_transitions_that_are_not_in_python():
    for extra in ({"antithetic": True}, {"functionals": {"a": running_max()}}, {"boundary": reflect(-1.0)}):
        with pytest.raises(ValueError, match="cannot be combined with functionals"):
            sf.simulate(sf.LinearSDE(A=[[-1.0]]), n_paths=4, method="exact", **LINE | {"x0": 0.0} | extra)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: reflect(), TypeError, "a boundary needs lower, upper or both"),
        (lambda: absorb(lower=1.0, upper=1.0), ValueError, "lower must be less than upper, got 1.0 and 1.0"),
        (lambda: absorb(lower="a"), TypeError, "lower must be a real number"),
        (lambda: reflect(upper=math.inf), ValueError, "upper must be finite"),
        (lambda: positive(-1), ValueError, "component must be between 0"),
        (lambda: positive(0.5), TypeError, "component must be an integer"),
        (lambda: running_max(-1), ValueError, "of must be between 0"),
        (lambda: time_average("x"), TypeError, "of must be an integer"),
        (lambda: first_passage("x"), TypeError, "level must be a real number"),
        (lambda: first_passage(math.nan), ValueError, "level must be finite"),
    ],
)
def test_wrong_functionals_and_boundaries(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_a_resumed_run_keeps_what_changes_its_chain():
    run = sf.simulate(BM, n_paths=4, functionals={"high": running_max()}, **LINE)
    for name, value in (
        ("functionals", {"high": running_max()}),
        ("boundary", reflect(0.0)),
        ("stop_when", lambda t, x: x[0] > 0),
        ("antithetic", True),
        ("method", "euler-maruyama"),
    ):
        with pytest.raises(TypeError, match=f"leave out {name}"):
            sf.simulate(BM, resume=run, n_steps=3, **{name: value})
    assert sf.simulate(BM, resume=run, n_steps=3).functionals["high"].values.shape == (1, 4)


def test_functionals_of_one_path_agree():
    """First passages come in order, and where a maximum reaches a level it has been passed."""
    names = {f"t{i}": first_passage(level) for i, level in enumerate((0.8, 1.0, 1.2))}
    run = sf.simulate(
        BM, x0=0.0, t1=1.0, n_steps=5, n_paths=20_000, seed=8,
        functionals={**names, "again": first_passage(1.0), "high": running_max(), "low": running_min()},
    )  # fmt: skip
    times = [run.functionals[name].values[-1] for name in names]
    assert (times[0] <= times[1]).all()
    assert (times[1] <= times[2]).all()
    np.testing.assert_array_equal(run.functionals["again"].values[-1], times[1])
    np.testing.assert_array_equal(np.isfinite(times[1]), run.functionals["high"].values[-1] >= 1.0)


@pytest.mark.parametrize("n_steps", [1, 6])
def test_lognormal_bridges(n_steps):
    """Under the exact transition of Black-Scholes extremes and passages have their exact law: P(max >= L), z < 5."""
    model, level = sf.BlackScholes(mu=0.05, sigma=0.3), 1.2
    run = sf.simulate(
        model, x0=1.0, t1=1.0, n_steps=n_steps, n_paths=200_000, seed=9, method="exact", paths=False,
        functionals={"high": running_max(), "time": first_passage(level)},
        expectations={"hit": lambda t, x, p, y: y.time < math.inf, "over": lambda t, x, p, y: y.high >= level},
    )  # fmt: skip
    drift, sigma, b = 0.05 - 0.3**2 / 2, 0.3, math.log(level)
    normal = stats.norm.cdf
    expected = normal((drift - b) / sigma) + math.exp(2 * drift * b / sigma**2) * normal((-b - drift) / sigma)
    for hit in run.expectations.values():
        assert abs(hit.value[-1] - expected) < 5 * hit.standard_error[-1]
