"""Sobol' points along the Brownian bridge, and what averages over them are worth.

Where a quasi-random average is compared with an exact value, the standard error is that of 16 replicates: |t| < 5 has
probability 0.9998 under Student's distribution with 15 degrees of freedom, and the seeds are fixed.
"""

import math
import sys

import numpy as np
import pytest
from conftest import thorough_but
from scipy.stats import norm

import sdefast as sf
from sdefast.sde import functionals, quasi

TIMES = np.array([0.5, 0.6, 0.75, 1.25, 1.3, 2.0])
STOCK = sf.BlackScholes(mu=0.05, sigma=0.2)


def bridge_map(times):
    """The matrix that takes a path's normals in the bridge's order to those of its steps."""
    n = len(times) - 1
    return quasi._bridged(np.eye(n)[:, None, :], np.asarray(times, float))[:, 0, :]


# Normals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [np.arange(n + 1.0) for n in (1, 2, 3, 4, 7, 16, 100)] + [TIMES], ids=len)
def test_bridge_is_orthogonal(times):
    a = bridge_map(times)
    np.testing.assert_allclose(a @ a.T, np.eye(len(a)), atol=1e-13)
    # The first normal alone decides the end, by shares that are those of the steps' lengths.
    h = np.diff(times)
    np.testing.assert_allclose(np.sqrt(h) @ a, math.sqrt(h.sum()) * np.eye(len(a))[0], atol=1e-13)


def test_bridge_of_four_steps():
    half, root = 0.5, math.sqrt(0.5)
    want = [[half, half, root, 0], [half, half, -root, 0], [half, -half, 0, root], [half, -half, 0, -root]]
    np.testing.assert_allclose(bridge_map(np.arange(5.0)), want, atol=1e-15)


def test_the_widest_gap_is_filled_first():
    cuts = quasi._midpoints(TIMES)
    assert cuts == [(0, 3, 5), (0, 2, 3), (3, 4, 5), (0, 1, 2)]
    assert sorted(middle for _, middle, _ in quasi._midpoints(np.arange(38.0))) == list(range(1, 37))


@pytest.mark.parametrize("grid", [6, TIMES], ids=["steps", "times"])
@pytest.mark.parametrize("noise_dim", [1, 3])
def test_bridge_undone(grid, noise_dim):
    z = quasi.sobol_normals(grid, 256, noise_dim, seed=3)
    plain = quasi.sobol_normals(grid, 256, noise_dim, seed=3, bridge=False)
    n_steps = 6 if isinstance(grid, int) else 5
    assert z.shape == plain.shape == (n_steps, 256, noise_dim)
    a = bridge_map(np.arange(7.0) if isinstance(grid, int) else grid)
    np.testing.assert_allclose(np.einsum("ki,kpj->ipj", a, z), plain, atol=1e-13)
    # The first dimensions of the points, one a noise, are the ends of the paths.
    h = np.ones(6) if isinstance(grid, int) else np.diff(grid)
    np.testing.assert_allclose(np.einsum("k,kpj->pj", np.sqrt(h / h.sum()), z), plain[0], atol=1e-13)


def test_points_are_evenly_spread():
    """One in each of n equal parts of every dimension: what scrambling keeps of a net."""
    z = quasi.sobol_normals(8, 1024, 2, seed=5, bridge=False)
    for k in range(8):
        for j in range(2):
            assert sorted(np.floor(norm.cdf(z[k, :, j]) * 1024).astype(int)) == list(range(1024))
    assert np.isfinite(z).all()


def test_moments():
    z = quasi.sobol_normals(16, 4096, seed=2)[:, :, 0]
    assert np.abs(z.mean(1)).max() < 2e-3  # of random normals: 0.016
    assert np.abs(np.cov(z) - np.eye(16)).max() < 0.03
    paths = np.cumsum(z, axis=0) / 4
    assert abs((paths[-1] ** 2).mean() - 1) < 2e-3
    assert abs((paths[7] ** 2).mean() - 0.5) < 2e-3


def test_seeds():
    one, again, other = (quasi.sobol_normals(4, 64, seed=seed) for seed in (1, 1, 2))
    assert one.tobytes() == again.tobytes()
    assert not np.isclose(one, other).any()


def test_any_number_of_paths():
    with pytest.warns(UserWarning, match="n_paths=1000 is no power of two.*512 or 1024"):
        some = quasi.sobol_normals(4, 1000, seed=1)
    np.testing.assert_array_equal(some, quasi.sobol_normals(4, 1024, seed=1)[:, :1000])
    assert quasi.sobol_normals(4, 1, seed=1).shape == (4, 1, 1)


def test_a_simulation_is_driven_by_them():
    z = quasi.sobol_normals(TIMES, 128, seed=1)
    run = sf.simulate(sf.BrownianMotion(), x0=0.0, times=TIMES, n_paths=128, normals=z, save_at="all")
    w = np.cumsum(np.sqrt(np.diff(TIMES))[:, None] * z[:, :, 0], axis=0)
    np.testing.assert_allclose(run.x[1:, :, 0], w, atol=1e-13)


# Averages -----------------------------------------------------------------------------------------------------------


def geometric_asian_call(strike, n, t=1.0, x0=100.0):
    """E max(G - strike, 0), G the geometric mean of a Black-Scholes path by the trapezoidal rule on n steps."""
    weights = np.full(n + 1, 1 / n)
    weights[[0, -1]] /= 2
    times = np.linspace(0.0, t, n + 1)
    mean = math.log(x0) + (STOCK.mu - STOCK.sigma**2 / 2) * (weights @ times)
    deviation = STOCK.sigma * math.sqrt(weights @ np.minimum.outer(times, times) @ weights)
    upper = (mean - math.log(strike)) / deviation + deviation
    return math.exp(mean + deviation**2 / 2) * norm.cdf(upper) - strike * norm.cdf(upper - deviation)


def value_of(x):
    return max(sf.math.exp(x) - 100.0, 0.0)


#: what Euler-Maruyama simulates exactly: the logarithm of a stock's price
LOG_STOCK = sf.SDE(
    drift=lambda t, x, p: p.mu - 0.5 * p.sigma**2,
    diffusion=lambda t, x, p: p.sigma,
    noise="additive",
    params={"mu": STOCK.mu, "sigma": STOCK.sigma},
)
PAYOFFS = {"european": lambda t, x: value_of(x[0]), "asian": lambda t, x, p, y: value_of(y.mean)}
OPTIONS = {
    "x0": math.log(100.0),
    "t1": 1.0,
    "functionals": {"mean": functionals.time_average()},
    "expectations": PAYOFFS,
}


@pytest.mark.parametrize("noise", thorough_but([{"dtype": "float32"}], [{}, {"dtype": "float32"}]), ids=str)
def test_errors_are_much_smaller(noise):
    run = quasi.quasi_monte_carlo(LOG_STOCK, n_steps=32, n_paths=1024, seed=1, **OPTIONS, **noise)
    plain = sf.simulate(LOG_STOCK, n_steps=32, n_paths=16 * 1024, seed=1, paths=False, **OPTIONS, **noise)
    exact = {"european": STOCK.call_price(100.0, 1.0, 100.0, rate=0.0), "asian": geometric_asian_call(100.0, 32)}
    for name, price in exact.items():
        here, there = run.expectations[name], plain.expectations[name]
        assert abs(here.value[0] - price) < 5 * here.standard_error[0]
        assert here.standard_error[0] < there.standard_error[0] / 15
        assert abs(here.value[0] - price) < there.standard_error[0] / 5


def test_the_bridge_helps():
    with_bridge, without = (
        quasi.quasi_monte_carlo(LOG_STOCK, n_steps=64, n_paths=1024, seed=1, bridge=bridge, **OPTIONS).expectations
        for bridge in (True, False)
    )
    for name in PAYOFFS:
        assert with_bridge[name].standard_error[0] < without[name].standard_error[0] / 2


def test_errors_fall_faster():
    """Eight times the paths: errors of independent ones fall by 2.8."""
    few, many = (
        quasi.quasi_monte_carlo(LOG_STOCK, n_steps=16, n_paths=n, replicates=32, seed=2, **OPTIONS).expectations
        for n in (256, 2048)
    )
    assert many["asian"].standard_error[0] < few["asian"].standard_error[0] / 4


def test_replicates():
    options = {"x0": 1.0, "times": TIMES, "n_paths": 256, "save_at": "all", "seed": 9}
    ou = sf.OrnsteinUhlenbeck()
    run = quasi.quasi_monte_carlo(ou, expectations={"x": lambda t, x: x[0]}, replicates=8, **options)
    x = run.expectations["x"]
    values = run.replicates["x"]
    assert values.shape == (8, 6)
    np.testing.assert_array_equal(run.t, TIMES)
    np.testing.assert_allclose(x.value, values.mean(0))
    np.testing.assert_allclose(x.standard_error, values.std(0, ddof=1) / math.sqrt(8))
    assert (x.n_nonfinite == 0).all()
    assert (np.ptp(values, axis=0)[1:] > 0).all()
    exact = np.cumprod([1.0, *(1 - np.diff(TIMES))])  # of Euler-Maruyama on this grid
    assert np.abs(x.value - exact).max() < 2e-3
    same = quasi.quasi_monte_carlo(ou, expectations={"x": lambda t, x: x[0]}, replicates=8, threads=1, **options)
    assert same.replicates["x"].tobytes() == values.tobytes()


@pytest.mark.parametrize("method", thorough_but(["heun", "sra1"], ["euler-maruyama", "heun", "sra1"]))
def test_methods_with_more_draws(method):
    """Two noises, and two draws a noise; against the exact second moment of the steps, which are linear."""
    n, B = 64, np.diag([0.3, 0.2])
    model = sf.SDE(
        drift=lambda t, x, p: (x[1], -x[0]), diffusion=lambda t, x, p: (0.3, 0.2), dim=2, noise="additive", noise_dim=2
    )
    options = {"x0": (1.0, 0.0), "t1": 1.0, "n_steps": n, "n_paths": 256, "method": method, "seed": 3}
    square = quasi.quasi_monte_carlo(model, expectations={"square": lambda t, x: x[0] ** 2}, **options)
    square = square.expectations["square"]
    A = np.array([[0.0, 1.0], [-1.0, 0.0]]) / n
    step = np.eye(2) + A + (0 if method == "euler-maruyama" else A @ A / 2)
    noise = B if method == "euler-maruyama" else B + A @ B / 2
    moments = np.diag([1.0, 0.0])
    for _ in range(n):
        moments = step @ moments @ step.T + noise @ noise.T / n
    bias = 1e-4 if method == "sra1" else 0.0  # its second draw is not in these steps of order h^2
    assert square.standard_error[0] < 5e-4
    assert abs(square.value[0] - moments[0, 0]) < 5 * square.standard_error[0] + bias


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scipy.special", "scipy.stats.qmc"])
def test_without_scipy(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"Sobol' points need scipy: pip install 'sdefast\[stats\]'"):
        quasi.sobol_normals(4, 8, seed=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 8), ValueError, "n_steps_or_times must be between 1"),
        ((2.5, 8), TypeError, "n_steps_or_times must be an integer"),
        (([0.0, 2.0, 1.0], 8), ValueError, "n_steps_or_times must be strictly increasing"),
        (([0.0], 8), ValueError, "n_steps_or_times must hold at least 2 times"),
        ((4, 0), ValueError, "n_paths must be between 1"),
        ((4, 8, 0), ValueError, "noise_dim must be between 1"),
        ((21202, 8), ValueError, r"21202 steps with 1 normals each .* use 21201 steps or fewer"),
        ((10_000, 8, 3), ValueError, r"30000 dimensions, .* use 7067 steps or fewer"),
        ((1000, 2**40), MemoryError, "the normals of 1000 steps"),
    ],
)
def test_wrong_normals(arguments, error, message):
    with pytest.raises(error, match=message):
        quasi.sobol_normals(*arguments, seed=1)


@pytest.mark.parametrize("change", [{"seed": -1}, {"bridge": 1}])
def test_wrong_options(change):
    (name,) = change
    with pytest.raises((ValueError, TypeError), match=f"{name} must be"):
        quasi.sobol_normals(4, 8, **({"seed": 1} | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": 1}, TypeError, "model must be a model"),
        ({"expectations": {}}, TypeError, "expectations must name"),
        ({"expectations": {"x": 3}}, TypeError, "must be a function"),
        ({"replicates": 1}, ValueError, "replicates must be between 2"),
        ({"n_paths": None}, TypeError, "needs n_paths"),
        ({"n_paths": 1.5}, TypeError, "n_paths must be an integer"),
        ({"x0": None}, TypeError, "needs x0"),
        ({"t1": None}, TypeError, "needs t1 and n_steps, or times"),
        ({"n_steps": 30_000}, ValueError, "n_steps is too large"),
        ({"method": "eular"}, ValueError, "method must be one of"),
        ({"method": "weak-euler"}, ValueError, "method='weak-euler' draws signs"),
        ({"model": LOG_STOCK, "method": "exact"}, ValueError, "has no method 'exact'"),
        ({"antithetic": True}, TypeError, "decides by itself about antithetic"),
        ({"paths": True, "normals": None}, TypeError, "decides by itself about normals, paths"),
        ({"seed": 1.0}, TypeError, "seed must be an integer"),
        ({"bridge": "yes"}, TypeError, "bridge must be True or False"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_wrong_input(change, error, message):
    options = {
        "model": STOCK,
        "expectations": {"x": lambda t, x: x[0]},
        "x0": 100.0,
        "t1": 1.0,
        "n_steps": 4,
        "n_paths": 8,
    }
    options |= change
    with pytest.raises(error, match=message):
        quasi.quasi_monte_carlo(options.pop("model"), **options)
