"""Schemes: their steps against plain numpy, their exact moments, and the orders of convergence that they claim."""

import itertools
import math

import numpy as np
import pytest
from conftest import LINEAR, MODEL_METHODS, MODELS, TYPES, thorough_but, worst_z
from scipy import stats

import sdefast as sf
from sdefast.sde.linear_moments import linear_moments
from sdefast.sde.schemes import SCHEMES

# Steps in plain numpy: x of shape (n_paths, dim) or (n_paths,), increments dw of the Brownian motion ------------------


def black_scholes(m, x, h, dw):
    return x + m.mu * x * h + m.sigma * x * dw


def cir(m, x, h, dw):
    positive = np.maximum(x, 0)
    return x + m.kappa * (m.theta - positive) * h + m.sigma * np.sqrt(positive) * dw


def heston(m, x, h, dw):
    price, v = x[:, :1], np.maximum(x[:, 1:], 0)
    volatility, dw1 = np.sqrt(v), dw[:, :1]
    dw2 = m.rho * dw1 + math.sqrt(1 - m.rho**2) * dw[:, 1:]
    new_price = price + m.mu * price * h + volatility * price * dw1
    new_variance = x[:, 1:] + m.kappa * (m.theta - v) * h + m.xi * volatility * dw2
    return np.hstack([new_price, new_variance])


EULER = {
    "brownian": lambda m, x, h, dw: x + m.mu * h + m.sigma * dw,
    "ou": lambda m, x, h, dw: x + m.kappa * (m.theta - x) * h + m.sigma * dw,
    "black-scholes": black_scholes,
    "cir": cir,
    "cev": lambda m, x, h, dw: np.maximum(x + m.mu * x * h + m.sigma * x**m.beta * dw, 0),
    "heston": heston,
    "double-well": lambda m, x, h, dw: x + m.force(x) * h + math.sqrt(2 * m.temperature) * dw,
    "linear": lambda m, x, h, dw: x + (x @ m.A.T + m.b) * h + dw @ m.B.T,
}


def exact_ou(m, x, h, dw):
    decay = math.exp(-m.kappa * h)
    deviation = m.sigma * math.sqrt((1 - decay**2) / (2 * m.kappa))
    return m.theta + (x - m.theta) * decay + deviation * dw / math.sqrt(h)


def exact_linear(m, x, h, dw):
    M, c, C = linear_moments(m.A, m.b, m.B @ m.B.T, h)
    return x + x @ M.T + c + dw / math.sqrt(h) @ np.linalg.cholesky(C).T


EXACT = {
    "brownian": EULER["brownian"],
    "ou": exact_ou,
    "black-scholes": lambda m, x, h, dw: x * np.exp((m.mu - m.sigma**2 / 2) * h + m.sigma * dw),
    "linear": exact_linear,
}

STEPS = {"euler-maruyama": EULER, "exact": EXACT}


def test_every_model_and_method_has_a_step_here():
    assert {(name, method) for method, steps in STEPS.items() for name in steps} == set(MODEL_METHODS)


@pytest.mark.parametrize(("name", "method"), MODEL_METHODS)
@pytest.mark.parametrize(
    ("grid", "types"),
    thorough_but([("uniform", TYPES[0]), ("given", TYPES[2])], list(itertools.product(["uniform", "given"], TYPES))),
)
def test_against_numpy(name, method, types, grid):
    """Every step from the state before, and all steps from the start, with the normals that the run used."""
    (model, x0), n_steps, n_paths = MODELS[name], 300, 290
    times = np.arange(n_steps + 1) / n_steps
    if grid == "given":
        times = times + 0.3 / n_steps * np.sin(np.arange(n_steps + 1.0))
    steps = {"t1": 1.0, "n_steps": n_steps} if grid == "uniform" else {"times": times}
    settings = {"x0": x0, "n_paths": n_paths, "seed": 9, "first_chain": 77, "save_at": "all"}
    run = sf.simulate(model, method=method, dtype=types[0], noise_dtype=types[1], **steps, **settings)
    normals = sf.noise.normals(9, n_steps * model.noise_dim, n_paths, first_chain=77, dtype=types[1])
    normals = normals.astype(float).reshape(n_steps, model.noise_dim, n_paths).transpose(0, 2, 1)
    states, h = run.x.astype(float), np.diff(times)
    eps, step = float(np.finfo(types[0]).eps), STEPS[method][name]
    x, scale = states[0], np.abs(states).max((0, 1)) + 1
    for k in range(n_steps):
        dw = np.sqrt(h[k]) * normals[k]
        assert (np.abs(states[k + 1] - step(model, states[k], h[k], dw)) <= 8 * eps * scale).all(), k
        x = step(model, x, h[k], dw)
        assert (np.abs(states[k + 1] - x) <= 8 * eps * scale * (k + 1)).all(), k
    assert states[-1].std(0).min() > 0.05


# Moments of the discrete scheme, known exactly -----------------------------------------------------------------------


def gaussian_z(run, mean, covariance):
    """Worst z of the sample mean and of the sample covariance of paths that are normal with these moments."""
    n, variance = run.n_paths, np.diag(covariance)
    of_covariance = np.sqrt((np.outer(variance, variance) + covariance**2) / (n - 1))
    return (
        worst_z(run.mean[-1], mean, np.sqrt(variance / n)),
        worst_z(run.covariance[-1], covariance, of_covariance),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_of_euler_for_ornstein_uhlenbeck(dtype):
    n_paths, m, h, n = 1_200_000, sf.OrnsteinUhlenbeck(kappa=1.0, theta=0.5, sigma=0.8), 0.05, 100
    settings = {"t1": n * h, "n_steps": n, "n_paths": n_paths, "seed": 21, "dtype": dtype, "paths": False}
    run = sf.simulate(m, x0=40.0, **settings)
    q = 1 - m.kappa * h
    mean, variance = m.theta + (40.0 - m.theta) * q**n, h * m.sigma**2 * (1 - q ** (2 * n)) / (1 - q**2)
    of_mean, of_variance = gaussian_z(run, mean, np.array([[variance]]))
    assert of_mean < 5
    assert of_variance < 5
    exact = np.array([[m.variance(n * h)]])
    assert min(gaussian_z(run, m.mean(n * h, 40.0), exact)) > 10, "the exact solution's moments would be seen as wrong"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_of_euler_for_black_scholes(dtype):
    n_paths, m, x0, h, n = 1_200_000, sf.BlackScholes(mu=1.0, sigma=0.2), 3.0, 0.01, 100
    settings = {"t1": n * h, "n_steps": n, "n_paths": n_paths, "seed": 22, "dtype": dtype, "paths": False}
    run = sf.simulate(m, x0=x0, **settings)
    mean, second = x0 * (1 + m.mu * h) ** n, x0**2 * ((1 + m.mu * h) ** 2 + m.sigma**2 * h) ** n
    assert worst_z(run.mean, mean, run.standard_error) < 5
    assert worst_z(run.variance, second - mean**2, run.variance_standard_error) < 5
    assert worst_z(run.mean, m.mean(n * h, x0), run.standard_error) > 10
    np.testing.assert_allclose(run.standard_error, math.sqrt((second - mean**2) / n_paths), rtol=0.01)


def square_root_moments(x0, growth, constant, noise, n):
    """Mean and variance after n steps X' = growth X + constant + sqrt(noise X) Z of positive paths."""
    mean, variance = x0, 0.0
    for _ in range(n):
        variance = growth**2 * variance + noise * mean
        mean = growth * mean + constant
    return mean, variance


@pytest.mark.parametrize("name", ["cir", "cev"])
def test_moments_of_euler_for_square_roots(name):
    """Exact as long as no path comes near zero, where truncation would set in."""
    n, h, x0 = 50, 0.02, 1.0
    m, growth, constant = {
        "cir": (sf.CIR(kappa=1.5, theta=2.0, sigma=0.25), 1 - 1.5 * h, 1.5 * 2.0 * h),
        "cev": (sf.CEV(mu=0.3, sigma=0.2, beta=0.5), 1 + 0.3 * h, 0.0),
    }[name]
    settings = {"t1": n * h, "n_steps": n, "n_paths": 400_000, "seed": 23, "paths": False}
    run = sf.simulate(m, x0=x0, save_at="all", moments=4, extremes=True, **settings)
    assert run.minimum.min() > 0.05
    mean, variance = square_root_moments(x0, growth, constant, h * m.sigma**2, n)
    assert worst_z(run.mean[-1], mean, run.standard_error[-1]) < 5
    assert worst_z(run.variance[-1], variance, run.variance_standard_error[-1]) < 5


def test_moments_of_euler_for_heston():
    """Of S the mean is exact with truncation too; of v as long as it stays positive; S and v are correlated by rho."""
    n, h, (s0, v0) = 100, 0.01, (2.0, 0.3)
    m = sf.Heston(mu=0.2, kappa=2.0, theta=0.2, xi=0.1, rho=-0.6)
    settings = {"t1": n * h, "n_steps": n, "n_paths": 400_000, "seed": 24, "paths": False}
    run = sf.simulate(m, x0=(s0, v0), save_at=10, moments=4, extremes=True, covariance=True, **settings)
    assert run.minimum[:, 1].min() > 0.05
    mean, variance = square_root_moments(v0, 1 - m.kappa * h, m.kappa * m.theta * h, h * m.xi**2, n)
    assert worst_z(run.mean[-1], [s0 * (1 + m.mu * h) ** n, mean], run.standard_error[-1]) < 5
    assert worst_z(run.variance[-1, 1], variance, run.variance_standard_error[-1, 1]) < 5
    # E[S v] obeys E[S' v'] = E[S (1 + mu h) (v + kappa (theta - v) h)] + h rho xi E[S v].
    sv, s = s0 * v0, s0
    for _ in range(n):
        sv = (1 + m.mu * h) * ((1 - m.kappa * h) * sv + m.kappa * m.theta * h * s) + h * m.rho * m.xi * sv
        s *= 1 + m.mu * h
    spread = np.sqrt(np.prod(run.variance[-1]) * (1 + 3 * m.rho**2) / run.n_paths)
    assert worst_z(run.covariance[-1, 0, 1], sv - s * mean, spread) < 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["euler-maruyama", "exact"])
def test_moments_of_linear_equations(method, dtype):
    n, h, x0 = 50, 0.04, np.array([3.0, -2.0, 1.0])
    settings = {"t1": n * h, "n_steps": n, "n_paths": 300_000, "seed": 25, "dtype": dtype, "paths": False}
    run = sf.simulate(LINEAR, x0=x0, method=method, covariance=True, **settings)
    mean, covariance, growth = x0, np.zeros((3, 3)), np.eye(3) + h * LINEAR.A
    for _ in range(n):
        mean = growth @ mean + h * LINEAR.b
        covariance = growth @ covariance @ growth.T + h * LINEAR.B @ LINEAR.B.T
    if method == "exact":
        mean, covariance = LINEAR.mean(n * h, x0), LINEAR.covariance(n * h)
    of_mean, of_covariance = gaussian_z(run, mean, covariance)
    assert of_mean < 5
    assert of_covariance < 5


# Exact methods -------------------------------------------------------------------------------------------------------

GRIDS = {
    "one step": {"t1": 0.7, "n_steps": 1},
    "many": {"t1": 0.7, "n_steps": 7},
    "given": {"times": [0.3, 0.31, 0.8, 1.0]},
}


@pytest.mark.parametrize("name", ["brownian", "ou", "black-scholes"])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_methods_draw_from_the_transition_law(name, grid, dtype):
    model, x0 = MODELS[name]
    run = sf.simulate(model, x0=x0, method="exact", n_paths=200_000, seed=31, dtype=dtype, **GRIDS[grid])
    law = model.transition(0.7, x0)
    assert stats.kstest(run.x[-1, :, 0], law.cdf).pvalue > 1e-4
    assert worst_z(run.mean, law.mean(), run.standard_error) < 5
    assert worst_z(run.variance, law.var(), run.variance_standard_error) < 5


@pytest.mark.parametrize("grid", GRIDS)
def test_exact_linear_method_draws_from_the_transition_law(grid):
    model, x0 = MODELS["linear"]
    run = sf.simulate(model, x0=x0, method="exact", n_paths=200_000, seed=32, **GRIDS[grid])
    law = model.transition(0.7, x0)
    for direction in np.random.default_rng(0).normal(size=(4, 3)):
        projected = stats.norm(direction @ law.mean, math.sqrt(direction @ law.cov @ direction))
        assert stats.kstest(run.x[-1] @ direction, projected.cdf).pvalue > 1e-4


def test_the_law_test_sees_the_error_of_euler():
    model, x0 = MODELS["ou"]
    run = sf.simulate(model, x0=x0, t1=0.7, n_steps=7, n_paths=200_000, seed=31)
    assert stats.kstest(run.x[-1, :, 0], model.transition(0.7, x0).cdf).pvalue < 1e-4


@pytest.mark.parametrize("n_steps", [1, 10, 100])
def test_the_exact_black_scholes_path_is_the_formula_on_the_same_noise(n_steps):
    m = sf.BlackScholes(mu=0.3, sigma=0.4)
    run = sf.simulate(m, x0=2.0, t1=1.0, n_steps=n_steps, n_paths=500, method="exact", seed=5, save_at="all")
    w = sf.noise.brownian(5, np.arange(n_steps + 1) / n_steps, 500)
    exact = 2.0 * np.exp((m.mu - m.sigma**2 / 2) * run.t[:, None, None] + m.sigma * w)
    np.testing.assert_allclose(run.x, exact, rtol=1e-14 * (n_steps + 10))


# Strong order --------------------------------------------------------------------------------------------------------


def slope(sizes, errors):
    """Of log error against log size, by regression, one per batch: errors have shape (n_batches, n_sizes)."""
    x = np.log(sizes) - np.log(sizes).mean()
    return np.log(errors) @ x / (x @ x)


def assert_order(sizes, errors, order):
    """The batches' mean slope is the order but for sampling error and 0.06 for what terms of higher order bend."""
    slopes = slope(sizes, errors)
    error = slopes.std(ddof=1) / math.sqrt(len(slopes))
    assert abs(slopes.mean() - order) < 0.06 + 5 * error, (slopes.mean(), order)
    assert error < 0.02, "too few paths to tell orders apart"


def test_strong_order_of_euler_against_the_exact_solution():
    """Black-Scholes on the noise of the run itself: X(T) is known from W(T)."""
    m, counts, n_batches, n_paths = sf.BlackScholes(mu=0.5, sigma=0.6), [32, 64, 128, 256, 512], 10, 4000
    errors = np.empty((n_batches, len(counts)))
    for i, n in enumerate(counts):
        run = sf.simulate(m, x0=1.0, t1=1.0, n_steps=n, n_paths=n_batches * n_paths, seed=41)
        w = np.sqrt(1 / n) * sf.noise.normals(41, n, n_batches * n_paths).sum(0)
        exact = np.exp(m.mu - m.sigma**2 / 2 + m.sigma * w)
        errors[:, i] = np.abs(run.x[-1, :, 0] - exact).reshape(n_batches, n_paths).mean(1)
    assert_order(1 / np.array(counts), errors, SCHEMES["euler-maruyama"].strong_order)


#: so noisy that the order shows at coarse steps, where a weak noise shows the drift's order instead
NOISY = MODELS | {
    "cir": (sf.CIR(kappa=0.2, theta=1.0, sigma=0.6), 2.0),
    "heston": (sf.Heston(mu=0.1, kappa=0.2, theta=0.5, xi=0.5, rho=-0.6), (2.0, 1.0)),
}


def strong_errors(name, counts, n_fine, n_batches=8, n_paths=250):
    """Mean distance at time 1 of coarse Euler paths from those of ``simulate`` on ``n_fine`` steps of the same noise.

    The coarse steps are the numpy ones, on sums of the fine increments; shape (dim, n_batches, n_counts).
    """
    (model, x0), total = NOISY[name], n_batches * n_paths
    fine = sf.simulate(model, x0=x0, t1=1.0, n_steps=n_fine, n_paths=total, seed=42).x[-1]
    dw = sf.noise.brownian(42, np.arange(n_fine + 1) / n_fine, total, dim=model.noise_dim, increments=True)
    errors = []
    for n in counts:
        sums = dw.reshape(n, n_fine // n, total, -1).sum(1)
        x = np.broadcast_to(np.asarray(x0, float), (total, model.dim))
        for k in range(n):
            x = EULER[name](model, x, 1 / n, sums[k])
        errors.append(np.abs(x - fine).reshape(n_batches, n_paths, -1).mean(1).T)
    return np.stack(errors, axis=-1)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "brownian"])
def test_strong_order_of_euler(name):
    scheme, model = SCHEMES["euler-maruyama"], NOISY[name][0]
    order = scheme.strong_order_additive if model.additive_noise else scheme.strong_order
    counts, n_fine = [8, 16, 32, 64], 2048
    for component in strong_errors(name, counts, n_fine):
        assert_order(1 / np.array(counts), component, order)


def test_euler_is_exact_for_brownian_motion():
    assert MODELS["brownian"][0].additive_noise
    assert strong_errors("brownian", [1, 8, 64], 256, n_batches=1).max() < 1e-12


# Weak order ----------------------------------------------------------------------------------------------------------


def ou_bias(m, x0, n):
    return m.theta + (x0 - m.theta) * (1 - m.kappa / n) ** n - m.mean(1.0, x0)


def black_scholes_bias(m, x0, n):
    return x0 * (1 + m.mu / n) ** n - m.mean(1.0, x0)


WEAK = [
    (sf.OrnsteinUhlenbeck(kappa=1.0, theta=0.0, sigma=0.4), 3.0, ou_bias),
    (sf.BlackScholes(mu=1.0, sigma=0.2), 1.0, black_scholes_bias),
]


@pytest.mark.parametrize(("model", "x0", "bias"), WEAK, ids=["ornstein-uhlenbeck", "black-scholes"])
def test_weak_order_of_euler(model, x0, bias):
    """The order of the exact bias of the discrete mean, and that bias, step size by step size, in simulation."""
    order = SCHEMES["euler-maruyama"].weak_order
    small = 2.0 ** np.arange(6, 14)
    biases = np.array([[bias(model, x0, n) for n in small]])
    assert slope(1 / small, np.abs(biases))[0] == pytest.approx(order, abs=0.01)

    counts, n_paths = np.array([4, 8, 16, 32]), 1_000_000
    settings = {"x0": x0, "t1": 1.0, "n_paths": n_paths, "seed": 51, "paths": False}
    runs = [sf.simulate(model, n_steps=int(n), **settings) for n in counts]
    measured = np.array([run.mean[0, 0] for run in runs]) - model.mean(1.0, x0)
    errors = np.array([run.standard_error[0, 0] for run in runs])
    expected = np.array([bias(model, x0, n) for n in counts])
    assert worst_z(measured, expected, errors) < 5
    assert (np.abs(measured) > 10 * errors).all()
    x = np.log(1 / counts) - np.log(1 / counts).mean()
    spread = math.sqrt(((x / (x @ x)) ** 2 * (errors / measured) ** 2).sum())
    bent = slope(1 / counts, np.abs(expected[None]))[0]
    assert abs(slope(1 / counts, np.abs(measured[None]))[0] - bent) < 5 * spread
    assert abs(bent - order) < 0.1


# What the schemes say of themselves ----------------------------------------------------------------------------------


def test_every_method_is_a_scheme_with_its_orders():
    assert {method for _, method in MODEL_METHODS} <= SCHEMES.keys()
    for name, scheme in SCHEMES.items():
        assert scheme.name == name
        assert scheme.is_exact == (name == "exact")
        if not math.isnan(scheme.strong_order):
            assert scheme.strong_order <= scheme.strong_order_additive
            assert not scheme.strong_order_general > scheme.strong_order


@pytest.mark.parametrize(
    ("model", "x0"),
    [
        (sf.BrownianMotion(mu=1.0, sigma=0.01), 100.0),
        (sf.OrnsteinUhlenbeck(kappa=1.0, theta=101.0, sigma=0.1), 100.0),
        (sf.CIR(kappa=1.0, theta=101.0, sigma=0.01), 100.0),
        (sf.CEV(mu=0.01, sigma=0.01, beta=0.5), 100.0),
        (sf.BlackScholes(mu=0.01, sigma=0.001), 100.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_small_steps_in_float32(model, x0):
    """The drift of a step far below the state's last place is not lost, nor rounded the same way every time."""
    options = {"x0": x0, "t1": 1.0, "n_steps": 100_000, "n_paths": 256, "seed": 2, "noise_dtype": "float32"}
    single = sf.simulate(model, dtype="float32", **options)
    double = sf.simulate(model, dtype="float64", **options)
    error = single.x[-1, :, 0] - double.x[-1, :, 0]
    # Rounding is a random walk of n steps of at most half a unit in the last place, uniform: its mean over the paths.
    spread = np.spacing(np.float32(x0)) * np.sqrt(100_000 / 12 / 256)
    assert abs(error.mean()) < 5 * spread


@pytest.mark.parametrize("name", ["brownian", "ou", "black-scholes"])
@pytest.mark.parametrize("grid", [{"t1": 1.0, "n_steps": 30}, {"times": np.linspace(0.0, 1.0, 31) ** 2}])
def test_exact_transitions_carry_functionals(name, grid):
    """The transition in Python code, which functionals need, is the compiled one on equal noise."""
    model, x0 = MODELS[name]
    options = {"x0": x0, "n_paths": 300, "seed": 4, "method": "exact", "save_at": "all", **grid}
    low = sf.functionals.running_min(bridge=False)
    run, plain = sf.simulate(model, functionals={"low": low}, **options), sf.simulate(model, **options)
    np.testing.assert_allclose(run.x, plain.x, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(run.functionals["low"].values, np.minimum.accumulate(run.x[..., 0]))


def test_exact_transition_of_matrices_refuses_functionals():
    with pytest.raises(ValueError, match=r"exact transition .* cannot be combined with functionals"):
        sf.simulate(LINEAR, x0=(1.0, 0.0, 0.0), t1=1.0, n_steps=2, n_paths=2, method="exact", antithetic=True)


@pytest.mark.parametrize(
    ("strike", "barrier"),
    [(100.0, 90.0), (110.0, 80.0)],
)
def test_down_and_out_call(strike, barrier):
    """Against the closed form of Merton (1973), with ten exact steps and the bridge between them (z < 5)."""
    s, r, sigma, t = 100.0, 0.05, 0.2, 1.0
    model = sf.BlackScholes(mu=r, sigma=sigma)

    def call(spot):
        return float(model.call_price(strike, t, spot))

    expected = call(s) - (s / barrier) ** (1 - 2 * r / sigma**2) * call(barrier**2 / s)
    # Between steps the path is a Brownian bridge in the logarithm: simulate that.
    log = sf.BrownianMotion(mu=r - sigma**2 / 2, sigma=sigma)
    run = sf.simulate(
        log, x0=math.log(s), t1=t, n_steps=10, n_paths=400_000, seed=6, paths=False,
        functionals={"low": sf.functionals.running_min()},
        expectations={
            "price": lambda t, x, p, y: math.exp(-r * t) * max(math.exp(x[0]) - strike, 0.0)
            if y.low > math.log(barrier) else 0.0
        },
    )  # fmt: skip
    price = run.expectations["price"]
    assert abs(price.value[-1] - expected) < 5 * price.standard_error[-1]
    assert price.standard_error[-1] < 0.03
