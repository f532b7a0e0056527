"""Multilevel Monte Carlo: what a level's differences are, their coupling, and the accuracy of what comes out.

Estimates at fixed seeds are compared with exact values, or with other estimates, and |z| < 5 is allowed. Rates over 100
fixed seeds have bounds that a sound method meets with probability 0.9999 or more.
"""

import importlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import TYPES, thorough_but

import sdefast as sf
from sdefast.engine import executors
from sdefast.run.where import Where
from sdefast.sde import functionals
from sdefast.sde.coupled import Coupled
from sdefast.sde.levels.sampling import Problem
from sdefast.sde.multilevel import Multilevel
from sdefast.sde.seeds import derived_seed
from sdefast.trace import as_expr, evaluate, symbol

estimate = sf.multilevel
# The module, whose name the function has in the package.
multilevel = importlib.import_module("sdefast.sde.multilevel")

GBM = sf.BlackScholes(mu=0.4, sigma=0.5)
OU = sf.OrnsteinUhlenbeck(kappa=1.5, theta=0.0, sigma=0.8)
STOCK = sf.BlackScholes(mu=0.05, sigma=0.2)
CALL_PRICE = STOCK.call_price(100.0, t=1.0, x0=100.0, rate=0.0)

#: coefficients that depend on time, two components, two noises; additive where the scheme wants it
MOVING = sf.SDE(
    drift=lambda t, x, p: (x[1] - t * x[0], -p.k * x[1]),
    diffusion=lambda t, x, p: (0.3 * x[0] + t, 0.4 * sf.math.sin(x[1])),
    dim=2,
    params={"k": 0.7},
)
ADDITIVE = sf.SDE(
    drift=lambda t, x, p: (x[1] - t * x[0], -p.k * x[1] * x[0]),
    diffusion=lambda t, x, p: ((0.3 + t, 0.1), (0.2, 0.5)),
    dim=2,
    noise="additive",
    noise_dim=2,
    params={"k": 0.7},
    linear=(-0.5, -0.7),
)


def call(t, x):
    return max(x[0] - 100.0, 0.0)


def price(accuracy=0.05, **options):
    return estimate(STOCK, call, **({"x0": 100.0, "t1": 1.0, "accuracy": accuracy, "seed": 1} | options))


def euler_moments(model, n, t1=1.0, x0=1.0):
    """E X and E X^2 after n Euler steps, exactly."""
    h = t1 / n
    if model is GBM:
        mean, square = 1 + model.mu * h, (1 + model.mu * h) ** 2 + model.sigma**2 * h
        return x0 * mean**n, x0**2 * square**n
    mean, square = x0, x0**2
    for _ in range(n):
        mean, square = (1 - model.kappa * h) * mean, (1 - model.kappa * h) ** 2 * square + model.sigma**2 * h
    return mean, square


# Levels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [GBM, OU], ids=["gbm", "ou"])
@pytest.mark.parametrize(("f", "power"), [(lambda t, x: x[0], 1), (lambda t, x: x[0] ** 2, 2)], ids=["x", "x^2"])
@pytest.mark.parametrize("refinement", thorough_but([2], [2, 4]))
def test_means_of_the_levels_are_exact(model, f, power, refinement):
    result = estimate(
        model, f, x0=1.0, t1=1.0, accuracy=5e-3, n_steps=3, refinement=refinement, n_initial=20_000, seed=5
    )
    means = [euler_moments(model, r.n_steps)[power - 1] for r in result.levels]
    for i, r in enumerate(result.levels):
        expected = means[i] - (means[i - 1] if i else 0.0)
        assert abs(r.mean - expected) < 5 * math.sqrt(r.variance / r.n_paths), r
    assert result.value == pytest.approx(sum(r.mean for r in result.levels))
    assert result.standard_error == pytest.approx(math.sqrt(sum(r.variance / r.n_paths for r in result.levels)))
    assert result.cost == sum(r.cost for r in result.levels)


@pytest.mark.parametrize("refinement", [2, 3, 4, 8])
def test_variance_of_the_differences_is_exact(refinement):
    """E X_fine X_coarse of Euler on geometric Brownian motion, coarse step by coarse step."""
    result = estimate(
        GBM,
        lambda t, x: x[0],
        x0=1.0,
        t1=1.0,
        accuracy=0.02,
        n_steps=2,
        refinement=refinement,
        n_initial=200_000,
        seed=2,
    )
    for r in result.levels[1:3]:
        m, n = refinement, r.n_steps // refinement
        h = 1.0 / r.n_steps
        a, c, s = 1 + GBM.mu * h, 1 + GBM.mu * h * m, GBM.sigma * math.sqrt(h)
        product = (c * a**m + m * s**2 * a ** (m - 1)) ** n
        (fine, fine_square), (coarse, coarse_square) = euler_moments(GBM, r.n_steps), euler_moments(GBM, n)
        variance = fine_square - 2 * product + coarse_square - (fine - coarse) ** 2
        assert r.variance == pytest.approx(variance, rel=0.05)  # kurtosis below 50: 5 standard errors are 0.08 at most
        assert r.fine_variance == pytest.approx(fine_square - fine**2, rel=0.05)


def problem_of(model, method, refinement, dtype, noise_dtype, on_gpu=False):
    chain = multilevel._chain(model, lambda t, x: x[0], method, None, None)
    coupled = Coupled(chain.sde, chain.scheme, chain.extras, refinement)
    start = np.array([[1.0], [-0.5]], dtype)
    return Problem(chain, coupled, start, 0.5, 1.5, 3, 7, np.dtype(noise_dtype), True if on_gpu else None)


def paths_of(model, method, level, refinement, dtype="float64", n=40):
    """End states of the fine and the coarse paths of a level, and their draws."""
    problem = problem_of(model, method, refinement, dtype, dtype)
    chain = problem.chain
    tile = replace(problem.tile(level), n_chains=n, keep_paths=True)
    saved = np.empty((1, len(tile.start), n), dtype)
    list(executors.run(tile, saved, None, 1, None))
    draws = problem.steps(level) * chain.step.n_draws
    z = sf.noise.normals(tile.seed, draws, n, dtype=dtype).reshape(problem.steps(level), chain.step.n_draws, n)
    return saved[0, :2], saved[0, 2:], z


def coarse_draws(z, m, noise_dim):
    """What the fine draws make on the coarse grid: increments, and for two draws a noise what their integrals make."""
    fine = z.reshape(-1, m, *z.shape[1:])
    u = fine[:, :, :noise_dim].sum(1) / np.sqrt(m)
    if z.shape[1] == noise_dim:
        return u
    # With fine steps of length 1: integrals of W over each from its start, and what W has moved before it.
    within = 0.5 * (fine[:, :, :noise_dim] + fine[:, :, noise_dim:] / np.sqrt(3))
    before = np.cumsum(fine[:, :, :noise_dim], axis=1) - fine[:, :, :noise_dim]
    integral = (within + before).sum(1)
    return np.concatenate([u, np.sqrt(3) * (2 * integral / m**1.5 - u)], axis=1)


COUPLED = [
    *((MOVING, method) for method in ("euler-maruyama", "milstein", "heun", "implicit-euler", "sriw1")),
    *((ADDITIVE, method) for method in ("sra1", "exponential-euler")),
]


@pytest.mark.parametrize(
    ("model", "method", "refinement"),
    thorough_but(
        [(*COUPLED[i], 4) for i in (0, 3, 5)],
        [(*coupled, refinement) for coupled in COUPLED for refinement in (2, 4)],
    ),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_both_paths_are_plain_ones_under_one_noise(model, method, refinement):
    fine, coarse, z = paths_of(model, method, 2, refinement)
    options = {"x0": (1.0, -0.5), "t0": 0.5, "t1": 1.5, "n_paths": 40, "method": method}
    noises = {len(z): (fine, z), len(z) // refinement: (coarse, coarse_draws(z, refinement, 2))}
    for n_steps, (x, draws) in noises.items():
        run = sf.simulate(model, n_steps=n_steps, normals=draws.transpose(0, 2, 1), **options)
        np.testing.assert_allclose(x.T, run.x[-1], rtol=1e-11, atol=1e-12)
    assert np.abs(fine - coarse).max() > 1e-6


def test_both_paths_know_the_number_of_their_step():
    """Coarse step 5 is fine steps 15 to 17."""

    def step(equation, interval, x, z, c):
        return tuple(as_expr(xi + symbol("step")) for xi in x)

    chain = multilevel._chain(MOVING, lambda t, x: x[0], "euler-maruyama", None, None)
    outputs = Coupled(chain.sde, replace(chain.scheme, step=step), chain.extras, 3).step.outputs
    rows = dict.fromkeys((symbol(f"x{i}") for i in range(4)), 0.25)
    assert [evaluate(e, {**rows, symbol("step"): 5.0}, {}) for e in outputs] == [48.25, 48.25, 5.25, 5.25]


def test_fine_paths_are_those_of_the_level_s_seed():
    fine, _, _ = paths_of(MOVING, "euler-maruyama", 1, 4, "float32")
    seed = derived_seed(7, "multilevel", 1)
    run = sf.simulate(
        MOVING, x0=(1.0, -0.5), t0=0.5, t1=1.5, n_steps=12, n_paths=40, seed=seed, dtype="float32",
    )  # fmt: skip
    np.testing.assert_allclose(fine.T, run.x[-1], rtol=2e-5, atol=1e-6)


def test_integrals_of_two_draws_are_standard_normals():
    z = np.random.default_rng(1).normal(size=(4, 4, 400_000))
    v = coarse_draws(z, 4, 2)
    assert np.abs(np.cov(v[0]) - np.eye(4)).max() < 5 * math.sqrt(2 / 400_000)


# Functionals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refinement", [2, 4])
def test_bridges_of_both_grids_are_the_same_path(refinement):
    """The extremes of Brownian motion with drift are exact on any grid, and here the same on both."""
    model = sf.BrownianMotion(mu=0.3, sigma=0.7)
    result = estimate(
        model, lambda t, x, p, y: y.high * y.low, x0=0.2, t1=1.0, accuracy=0.01, n_steps=1, refinement=refinement,
        seed=3, functionals={"high": functionals.running_max(), "low": functionals.running_min()},
    )  # fmt: skip
    for r in result.levels[1:]:
        assert abs(r.mean) < 1e-15
        assert r.variance < 1e-28
        assert r.fine_variance > 0.01


WATCHED = {
    "black-scholes": (sf.BlackScholes(mu=0.1, sigma=0.4), 1.0, None),
    "cir": (sf.CIR(kappa=1.0, theta=0.3, sigma=0.8), 0.1, None),
    "reflected": (sf.BrownianMotion(mu=0.2), 0.4, sf.boundaries.reflect(0.0, 1.0)),
    "absorbed": (sf.BrownianMotion(mu=0.2), 0.4, sf.boundaries.absorb(0.0, 1.2)),
}


@pytest.mark.parametrize("name", thorough_but(["absorbed"], WATCHED))
def test_functionals_telescope(name):
    """Sums of the levels' means against plain runs on the same grids."""
    model, x0, boundary = WATCHED[name]
    watch = {
        "high": functionals.running_max(),
        "low": functionals.running_min(),
        "average": functionals.time_average(),
        "passed": functionals.first_passage(0.5, bridge=False),
    }

    def f(t, x, p, y):
        return y.high - 2 * y.low + 0.5 * y.average + (1 if y.passed < t else 0)

    common = {"x0": x0, "t1": 1.0, "functionals": watch, "boundary": boundary}
    result = estimate(model, f, accuracy=0.02, n_initial=40_000, seed=4, max_level=5, **common)
    mean = variance = 0.0
    for r in result.levels[:3]:
        mean, variance = mean + r.mean, variance + r.variance / r.n_paths
        run = sf.simulate(
            model, n_steps=r.n_steps, n_paths=100_000, paths=False, seed=r.n_steps, method="euler-maruyama",
            expectations={"f": f}, **common,
        )  # fmt: skip
        plain = run.expectations["f"]
        assert abs(mean - plain.value[0]) < 5 * math.hypot(math.sqrt(variance), plain.standard_error[0]), r


def test_barrier_option():
    """Down-and-out call, in closed form: the call less what its mirror image at the barrier is worth."""
    model, barrier = sf.BlackScholes(mu=0.05, sigma=0.3), 85.0
    image = (barrier / 100.0) ** (2 * model.mu / model.sigma**2 - 1)
    price = model.call_price(100.0, 1.0, 100.0, rate=0.0) - image * model.call_price(
        100.0, 1.0, barrier**2 / 100, rate=0.0
    )
    result = estimate(
        model, lambda t, x, p, y: max(x[0] - 100.0, 0.0) if y.low > barrier else 0.0, x0=100.0, t1=1.0, accuracy=0.1,
        method="milstein", functionals={"low": functionals.running_min()}, seed=6,
    )  # fmt: skip
    assert abs(result.value - price) < 3 * result.accuracy


# Accuracy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "beta"), thorough_but([("milstein", 2.0)], [("euler-maruyama", 1.0), ("milstein", 2.0)])
)
def test_call_price_over_seeds(method, beta):
    """The squared errors of 100 seeds average to no more than the accuracy's square; intervals cover.

    Were the errors normal with just that mean square, their mean square would be above 1.59 accuracy^2 with probability
    1e-4 (chi-square, 100 degrees). |value - exact| > 1.96 standard_error + bias has probability 0.05 at most and may
    happen 14 times (binomial, 3e-4).
    """
    results = [price(seed=seed, method=method) for seed in range(100)]
    errors = np.array([r.value - CALL_PRICE for r in results])
    assert (errors**2).mean() < 1.59 * 0.05**2
    missed = [abs(e) > 1.96 * r.standard_error + r.bias for e, r in zip(errors, results, strict=True)]
    assert sum(missed) <= 14
    assert all(r.converged and r.standard_error <= 0.05 / math.sqrt(2) for r in results)
    assert all(r.error <= 0.05 for r in results)
    betas = np.array([r.beta for r in results])
    assert abs(betas.mean() - beta) < 0.15


def test_orders_and_costs():
    euler, milstein = (price(0.01, method=method) for method in ("euler-maruyama", "milstein"))
    assert abs(euler.beta - 1) < 0.1
    assert abs(milstein.beta - 2) < 0.1
    assert milstein.cost < euler.cost < euler.plain_cost / 5
    assert abs(euler.value - CALL_PRICE) < 3 * 0.01
    assert [r.n_steps for r in euler.levels] == [4 * 4**r.level for r in euler.levels]
    for r in euler.levels:
        assert r.cost == r.n_paths * (r.n_steps + (r.n_steps // 4 if r.level else 0))


@pytest.mark.parametrize("dtypes", [TYPES[0], pytest.param(TYPES[2], marks=pytest.mark.thorough)])
def test_types(dtypes):
    result = price(0.05, dtype=dtypes[0], noise_dtype=dtypes[1])
    assert abs(result.value - CALL_PRICE) < 3 * 0.05
    assert result.value != price(0.05).value


def test_strong_order_three_halves():
    """Both draws of a noise are coupled: variances decay faster than Euler's could."""
    model = sf.SDE(drift=lambda t, x, p: -(x[0] ** 3), diffusion=lambda t, x, p: 0.7 + 0.2 * t, noise="additive")
    options = {"x0": 0.5, "t1": 1.0, "accuracy": 0.01, "n_steps": 8, "refinement": 2, "seed": 1}
    beta = {m: estimate(model, lambda t, x: x[0] ** 2, method=m, **options).beta for m in ("sra1", "euler-maruyama")}
    assert beta["sra1"] > 3
    assert 1.5 < beta["euler-maruyama"] < 2.5


def test_no_noise():
    result = estimate(sf.BlackScholes(mu=1.0, sigma=0.0), lambda t, x: x[0], x0=1.0, t1=1.0, accuracy=0.01, seed=1)
    assert result.standard_error == pytest.approx(0.0, abs=1e-12)
    assert abs(result.value - math.e) < 0.01
    assert result.alpha == pytest.approx(1.0, abs=0.15)


# The estimate of the bias -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refinement", [2, 3, 4, 8])
def test_the_bias_is_told(refinement):
    """E X(1) = e less (1 + 1/n)^n of Euler with n steps: told up to some 6 % more, of which noise is less than 1 %."""
    model, accuracy = sf.BlackScholes(mu=1.0, sigma=0.01), 1e-3
    result = estimate(
        model, lambda t, x: x[0], x0=1.0, t1=1.0, accuracy=accuracy, n_steps=16, refinement=refinement, seed=1,
        n_initial=500,
    )  # fmt: skip
    *_, before, exact = (math.e - (1 + 1 / r.n_steps) ** r.n_steps for r in result.levels)
    assert exact < result.bias < 1.08 * exact
    assert result.converged
    assert exact < accuracy / math.sqrt(2) < before * 1.08
    assert result.error == pytest.approx(math.hypot(result.standard_error, result.bias))


# Reproducibility ----------------------------------------------------------------------------------------------------


def test_same_bits():
    one = price(0.02, threads=1)
    assert price(0.02, threads=2) == one
    with ThreadPoolExecutor(3) as pool:
        assert price(0.02, executor=pool) == one
    assert price(0.02, seed=2).value != one.value
    assert price(0.02, seed=None).seed != price(0.02, seed=None).seed


def small(device, **options):
    """Three levels of 256 paths, on which functionals look between the steps."""
    return estimate(
        GBM, lambda t, x, p, y: max(x[0] - 1.0, 0.0) + t * y.high, x0=1.0, t1=1.0, accuracy=10.0, n_steps=1,
        refinement=2, n_initial=200, max_level=2, seed=1, functionals={"high": functionals.running_max()},
        device=device, **options,
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "noise_dtype"), thorough_but(TYPES[:1], TYPES))
def test_a_gpu_gives_the_same(dtype, noise_dtype):
    """Paths have the same bits, see below; what is summed over them is so in another order, in float64."""
    cpu, gpu = (small(device, dtype=dtype, noise_dtype=noise_dtype) for device in ("cpu", "cuda"))
    assert [r.n_paths for r in gpu.levels] == [r.n_paths for r in cpu.levels] == [256] * 3
    close = 1e-12 if dtype == "float64" else 2e-6
    for have, want in zip(gpu.levels, cpu.levels, strict=True):
        assert have.mean == pytest.approx(want.mean, rel=close, abs=close * math.sqrt(want.variance))
        assert have.variance == pytest.approx(want.variance, rel=close)
        assert have.fine_variance == pytest.approx(want.fine_variance, rel=close)
    assert gpu.value == pytest.approx(cpu.value, rel=close)
    assert gpu.cost == cpu.cost


@pytest.mark.parametrize(("dtype", "noise_dtype"), thorough_but(TYPES[1:2], TYPES))
@pytest.mark.parametrize(
    ("model", "method"),
    thorough_but(
        [(MOVING, "euler-maruyama"), (ADDITIVE, "sra1")],
        [(MOVING, "euler-maruyama"), (MOVING, "milstein"), (ADDITIVE, "sra1")],
    ),
)
def test_both_paths_have_the_same_bits_on_a_gpu(model, method, dtype, noise_dtype):
    states = []
    for device in ("cpu", "cuda"):
        tile = replace(
            problem_of(model, method, 2, dtype, noise_dtype, on_gpu=device == "cuda").tile(2), n_chains=9,
            keep_paths=True,
        )  # fmt: skip
        states.append(np.array(Where.of(device, 1, None).run(tile, None).states))
    assert states[0].shape == (1, 4, 9)
    assert states[0].tobytes() == states[1].tobytes()


def test_progress(capsys):
    price(progress=True)
    assert "path-step" in capsys.readouterr().err


def test_repr():
    result = price()
    text = repr(result)
    assert isinstance(result, Multilevel)
    assert text.startswith(f"Multilevel: {result.value:.8g}, standard error")
    assert f"{result.levels[0].n_paths:,}" in text
    assert "seed 1" in text


# What is refused ----------------------------------------------------------------------------------------------------


def test_level_limit():
    with pytest.warns(RuntimeWarning, match="bias is still about .* on level 2.*larger max_level"):
        result = estimate(
            GBM, lambda t, x: x[0], x0=1.0, t1=1.0, accuracy=1e-3, n_steps=1, refinement=2, max_level=2, seed=1
        )
    assert not result.converged
    assert "not converged" in repr(result)
    assert len(result.levels) == 3
    assert abs(result.value - math.exp(GBM.mu)) < 3 * (result.standard_error + result.bias)


def test_explosion_is_refused():
    cubic = sf.SDE(drift=lambda t, x, p: -(x[0] ** 3), diffusion=lambda t, x, p: 3.0, noise="additive")
    with pytest.raises(ValueError, match=r"accuracy=0.01 would take about .*larger n_steps|f is finite on"):
        estimate(cubic, lambda t, x: x[0] ** 2, x0=0.0, t1=2.0, accuracy=0.01, n_steps=4, seed=1)


def test_functions_that_are_not_finite():
    with pytest.warns(RuntimeWarning, match="f is not finite on"):
        result = estimate(OU, lambda t, x: sf.math.log(x[0] + 1.5), x0=1.0, t1=1.0, accuracy=0.05, seed=1)
    assert sum(r.n_nonfinite for r in result.levels) > 0
    with pytest.raises(ValueError, match="f is finite on 0 of 4096 paths of level 0"):
        estimate(OU, lambda t, x: sf.math.log(-x[0] * x[0]), x0=1.0, t1=1.0, accuracy=0.05, seed=1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "ou"}, TypeError, "model must be a model"),
        ({"f": 3}, TypeError, r"f must be a function of \(t, x\), got 3"),
        ({"f": lambda t: t}, TypeError, r"must be a function of \(t, x\)"),
        ({"f": lambda t, x: (x[0], x[0])}, ValueError, "must return one number"),
        ({"x0": (1.0, 2.0)}, ValueError, "x0 must be"),
        ({"x0": np.nan}, ValueError, "x0 must be finite"),
        ({"t1": 0.0}, ValueError, "t1 must be greater than t0"),
        ({"accuracy": 0.0}, ValueError, "accuracy must be positive"),
        ({"accuracy": 1e-200}, ValueError, "more than max_cost"),
        ({"accuracy": "low"}, TypeError, "accuracy must be a real number"),
        ({"n_steps": 0}, ValueError, "n_steps must be between 1"),
        ({"refinement": 1}, ValueError, "refinement must be between 2 and 8"),
        ({"refinement": 2.0}, TypeError, "refinement must be an integer"),
        ({"max_level": 1}, ValueError, "max_level must be between 2"),
        ({"max_level": 30}, ValueError, "max_level is too large"),
        ({"max_cost": 1e5}, ValueError, "accuracy=0.1 would take about .* more than max_cost=100000"),
        ({"n_initial": 1}, ValueError, "n_initial must be between 2"),
        ({"method": "eular"}, ValueError, "method must be one of"),
        ({"method": "exact"}, ValueError, "method='exact' has no steps to refine"),
        ({"method": "weak-euler"}, ValueError, "method='weak-euler' draws signs"),
        ({"model": MOVING, "x0": (1.0, 1.0), "method": "sra1"}, ValueError, "additive"),
        ({"model": sf.Heston(), "x0": (100.0, 0.04), "method": "weak2"}, ValueError, "draws more than Brownian"),
        ({"functionals": {"first": functionals.first_passage(0.5)}}, ValueError, "'first'.*pass bridge=False"),
        ({"functionals": {"h": functionals.running_max()}, "method": "sra1"}, ValueError, "'h'.*pass bridge=False"),
        ({"functionals": 3}, TypeError, "functionals must be a mapping"),
        ({"boundary": sf.boundaries.reflect(lower=2.0)}, ValueError, "x0 must begin within the boundary"),
        ({"seed": -1}, ValueError, "seed must be between"),
        ({"dtype": "int32"}, TypeError, "dtype must be 'float32' or 'float64'"),
        ({"dtype": "float32", "noise_dtype": "float64"}, ValueError, "noise_dtype='float64' needs"),
        ({"threads": 0}, ValueError, "threads must be between"),
        ({"executor": ThreadPoolExecutor}, TypeError, "executor must be"),
        ({"device": "gpu"}, ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
        ({"device": "cuda", "executor": ThreadPoolExecutor(1)}, TypeError, "executor is for device='cpu'"),
        ({"progress": 1}, TypeError, "progress must be True or False"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_wrong_input(change, error, message):
    options = {"model": OU, "f": lambda t, x: x[0], "x0": 1.0, "t1": 1.0, "accuracy": 0.1} | change
    with pytest.raises(error, match=message):
        estimate(options.pop("model"), options.pop("f"), **options)


def test_it_starts_where_it_pays():
    """Paths of this variance converge slowly: differences of the coarse levels cost more than they save."""
    model = sf.Heston(kappa=0.2, theta=0.02, xi=0.5)
    call = sf.multilevel(model, lambda t, x: max(x[0] - 100.0, 0.0), x0=(100.0, 0.02), t1=1.0, accuracy=0.05, seed=1)
    exact = float(model.call_price(100.0, 1.0, (100.0, 0.02), rate=0.0))
    assert abs(call.value - exact) < 4 * call.accuracy
    assert call.levels[0].level > 0
    assert call.converged
    assert sum(r.cost for r in call.levels) < call.cost < call.plain_cost
    first = call.levels[0]
    assert first.cost == first.n_paths * first.n_steps  # it has no coarse twins
    assert math.isclose(first.variance, first.fine_variance)
