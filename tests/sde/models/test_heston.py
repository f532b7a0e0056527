"""The Heston model against ODEs, published prices, mpmath and its limit without volatility of variance."""

import functools

import mpmath
import numpy as np
import pytest
from conftest import thorough_but
from scipy import integrate

from sdefast.sde.models import CIR, BlackScholes, Heston

X0 = (100.0, 0.04)
USUAL = Heston()
# the last two break the Feller condition; the very last has a second moment that explodes at t = 1.23
MODELS = [
    USUAL,
    Heston(0.0, 1.5, 0.06, 0.5, 0.0),
    Heston(-0.02, 0.5, 0.04, 1.0, -0.9),
    Heston(0.05, 0.3, 0.09, 1.5, 0.8),
]


def riccati(model, u, t):
    """C and D of the characteristic function of log(S(t) / E[S(t)]), by integrating their equations."""
    q, beta = u**2 + 1j * u, model.kappa - 1j * model.rho * model.xi * u

    def slope(_, y):
        return [model.kappa * model.theta * y[1], -q / 2 - beta * y[1] + model.xi**2 / 2 * y[1] ** 2]

    return integrate.solve_ivp(slope, (0, t), [0j, 0j], method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]


@pytest.mark.parametrize("model", [*MODELS, Heston(xi=0.0), Heston(xi=1e-4), Heston(rho=1.0), Heston(rho=-1.0)])
@pytest.mark.parametrize("u", [0.5, 3.0, 40.0, -2.0, 1 - 0.5j, 20 - 0.5j])
def test_characteristic_function(model, u):
    for t in (0.1, 1.0, 5.0):
        C, D = riccati(model, u, t)
        expected = np.exp(1j * u * (np.log(100.0) + model.mu * t) + C + D * 0.04)
        assert model.characteristic_function(u, t, X0) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_characteristic_function_at_zero_and_at_minus_i(model):
    """1 and E[S(t)]: S exp(-mu t) is a martingale for all parameters."""
    values = model.characteristic_function([0.0, -1j], 2.0, X0)
    np.testing.assert_allclose(values, [1.0, model.mean(2.0, X0)[0]], rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_logarithm_is_on_the_right_branch(model):
    """The characteristic function is continuous in u, so its logarithm can be followed; the principal one jumps."""
    u = np.linspace(0, 60, 4001) - 0.5j
    C, _ = model._exponents(u, np.asarray(30.0))
    assert np.abs(np.diff(C, 2)).max() < 0.05


@pytest.mark.parametrize("t", [0.1, 0.9])
@pytest.mark.parametrize("model", MODELS)
def test_moments_solve_their_equations(model, t):
    assert t < model.moment_explosion_time()
    C, D = riccati(model, -2j, t)
    variance = (100 * np.exp(model.mu * t)) ** 2 * (np.exp(C + D * 0.04).real - 1)
    cir = CIR(model.kappa, model.theta, model.xi)
    np.testing.assert_allclose(model.mean(t, X0), [100 * np.exp(model.mu * t), cir.mean(t, 0.04)], rtol=1e-14)
    np.testing.assert_allclose(model.variance(t, X0), [variance, cir.variance(t, 0.04)], rtol=1e-8)


def explosion_by_integration(model):
    """Time at which D' = 1 - (kappa - 2 rho xi) D + xi^2 D^2 / 2 becomes infinite, as the integral of dD / D'."""
    pull = model.kappa - 2 * model.rho * model.xi
    return integrate.quad(lambda D: 1 / (1 - pull * D + model.xi**2 / 2 * D**2), 0, np.inf, limit=500)[0]


@pytest.mark.parametrize(
    "model",
    [
        MODELS[3],
        Heston(0.05, 0.3, 0.09, 1.0, -0.1),  # complex root, positive pull
        Heston(0.05, 0.3, 0.09, 0.3, 0.99),  # complex root, negative pull
        Heston(0.05, 0.1, 0.09, 1.0, 1.0),  # real root, negative pull
    ],
)
def test_second_moment_explodes_on_time(model):
    time = model.moment_explosion_time()
    assert time == pytest.approx(explosion_by_integration(model), rel=1e-8)
    variance = model.variance(time * np.array([0.5, 0.999, 1.0, 3.0]), X0)[:, 0]
    assert np.isfinite(variance[0])
    assert variance[1] > variance[0]
    assert np.isinf(variance[2:]).all()


def test_second_moment_that_never_explodes():
    assert USUAL.moment_explosion_time() == np.inf
    assert np.isfinite(USUAL.variance(50.0, X0)).all()
    double_root = Heston(0.0, np.sqrt(2.0), 0.04, 1.0, 0.0)
    assert np.isfinite(double_root.variance(3.0, X0)).all()
    near = Heston(0.0, np.sqrt(2.0) + 1e-7, 0.04, 1.0, 0.0)
    np.testing.assert_allclose(double_root.variance(3.0, X0), near.variance(3.0, X0), rtol=1e-5)


def test_published_prices():
    """Prices by A. Lewis, confirmed by others to 15 digits (financepress.com, Heston Model Reference Prices, 2019)."""
    model = Heston(mu=-0.01, kappa=4.0, theta=0.25, xi=1.0, rho=-0.5)
    strikes = np.array([80.0, 90.0, 100.0, 110.0, 120.0])
    puts = [7.958878113256768, 12.017966707346305, 17.055270961270110, 23.017825898442800, 29.811026202682472]
    calls = [26.774758743998854, 20.933349000596711, 16.070154917028834, 12.132211516709845, 9.024913483457836]
    np.testing.assert_allclose(model.call_price(strikes, 1.0, X0, rate=0.01), calls, atol=1e-12)
    np.testing.assert_allclose(model.put_price(strikes, 1.0, X0, rate=0.01), puts, atol=1e-12)


def heston_1993(model, strikes, t):
    """Calls by the two probabilities of Heston's paper, in 25 digits: another contour and another formula."""
    with mpmath.workdps(25):
        kappa, theta, xi, rho = (mpmath.mpf(v) for v in (model.kappa, model.theta, model.xi, model.rho))
        forward = 100 * mpmath.exp(model.mu * mpmath.mpf(t))

        @functools.cache  # the points are the same for all strikes
        def phi(u):
            beta = kappa - 1j * rho * xi * u
            d = mpmath.sqrt(beta**2 + xi**2 * (u * u + 1j * u))
            g = (beta - d) / (beta + d)
            decay = mpmath.exp(-d * t)
            C = kappa * theta / xi**2 * ((beta - d) * t - 2 * mpmath.log((1 - g * decay) / (1 - g)))
            D = (beta - d) / xi**2 * (1 - decay) / (1 - g * decay)
            return mpmath.exp(C + D * mpmath.mpf("0.04"))

        panels = [mpmath.mpf("1e-20"), 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280]

        def probability(shift, k):
            value = mpmath.quad(lambda u: mpmath.re(mpmath.exp(1j * u * k) * phi(u + shift) / (1j * u)), panels)
            return mpmath.mpf("0.5") + value / mpmath.pi

        def call(strike):
            k = mpmath.log(forward / strike)
            return float(mpmath.exp(-model.mu * t) * (forward * probability(-1j, k) - strike * probability(0, k)))

        return [call(strike) for strike in strikes]


PRICED = [(USUAL, 0.25), (USUAL, 2.0), (MODELS[1], 1.0), (MODELS[2], 1.0)]


@pytest.mark.parametrize(("model", "t"), thorough_but(PRICED[2:3], PRICED))
def test_price_against_mpmath(model, t):
    strikes = [60.0, 100.0, 140.0]
    np.testing.assert_allclose(model.call_price(strikes, t, X0), heston_1993(model, strikes, t), rtol=0, atol=1e-9)


@pytest.mark.parametrize("xi", [0.0, 1e-9, 1e-6])
def test_price_without_volatility_of_variance(xi):
    model, t = Heston(0.03, 2.0, 0.09, xi, -0.5), 1.5
    average = 0.09 + (0.04 - 0.09) * -np.expm1(-2.0 * t) / (2.0 * t)
    expected = BlackScholes(0.03, np.sqrt(average)).call_price(np.array([70.0, 100.0, 150.0]), t, 100.0)
    np.testing.assert_allclose(model.call_price([70.0, 100.0, 150.0], t, X0), expected, atol=5 * xi + 1e-11)


def test_prices_in_extreme_cases():
    strikes = np.array([90.0, 100.0, 110.0])
    np.testing.assert_allclose(USUAL.call_price(strikes, 0.0, X0), [10, 0, 0])
    near = USUAL.call_price(strikes, 1e-5, X0)
    expected = BlackScholes(0.05, 0.2).call_price(strikes, 1e-5, 100.0)
    np.testing.assert_allclose(near, expected, atol=1e-5)
    assert 0 <= USUAL.call_price(1e4, 1.0, X0) < 1e-10
    assert 0 <= USUAL.put_price(1.0, 1.0, X0) < 1e-10
    call, put = MODELS[3].call_price(strikes, 10.0, X0, 0.01), MODELS[3].put_price(strikes, 10.0, X0, 0.01)
    np.testing.assert_allclose(call - put, np.exp(-0.1) * (100 * np.exp(0.5) - strikes), atol=1e-11)
    with pytest.raises(ArithmeticError, match="almost not random"):
        USUAL.call_price(100.0, 1e-12, X0)


def test_shapes():
    start = np.array([[90.0, 0.04], [100.0, 0.0], [110.0, 0.1]])
    t = np.array([[0.0], [1.0]])
    assert USUAL.mean(1.0, X0).shape == (2,)
    assert USUAL.variance(t, start).shape == (2, 3, 2)
    np.testing.assert_array_equal(USUAL.mean(0.0, start), start)
    np.testing.assert_array_equal(USUAL.variance(0.0, start), np.zeros((3, 2)))
    assert USUAL.call_price(np.array([90.0, 100.0]), 1.0, X0).shape == (2,)
    assert type(USUAL.call_price(90.0, 1.0, X0)) is float
    assert USUAL.characteristic_function(np.arange(4.0), 1.0, X0).shape == (4,)
    assert (USUAL.dim, USUAL.noise_dim, USUAL.satisfies_feller, MODELS[2].satisfies_feller) == (2, 2, True, False)


def test_simulation_of_the_step_agrees():
    """Against the exact moments of Euler-Maruyama where a step is linear in what is averaged, else of the SDE.

    Variances below 0, which are cut, are 5 in 100,000.
    """
    model, steps, paths = Heston(0.05, 2.0, 0.09, 0.4, -0.5), 200, 100_000
    rng = np.random.default_rng(1)
    kernel, coefficients = model.step("euler-maruyama", np.array([1 / steps]))
    assert kernel == "heston"
    growth, root, pull, theta, noise, rho, rest = coefficients[0]
    s, v = np.full(paths, 100.0), np.full(paths, 0.04)
    mean, variance = 0.04, 0.0
    for _ in range(steps):
        mean, variance = mean + pull * (theta - mean), (1 - pull) ** 2 * variance + noise**2 * mean
        z0, z1 = rng.standard_normal((2, paths))
        positive = np.maximum(v, 0)
        s, v = (
            s + s * (growth + np.sqrt(positive) * root * z0),
            v + pull * (theta - positive) + noise * np.sqrt(positive) * (rho * z0 + rest * z1),
        )
    for value, expected, bias in [
        (s, 100 * (1 + growth) ** steps, 0.0),
        (v, mean, 0.0),
        ((s - s.mean()) ** 2, model.variance(1.0, X0)[0], 3.0),
        ((v - v.mean()) ** 2, variance, 0.0),
        (np.maximum(s - 100, 0), model.call_price(100.0, 1.0, X0, rate=0.0), 0.03),
    ]:
        assert value.mean() == pytest.approx(expected, abs=4 * value.std() / np.sqrt(paths) + bias)


def test_step():
    _, coefficients = Heston(0.1, 2.0, 0.04, 0.5, 0.6).step("euler-maruyama", np.array([0.25, 0.01]))
    np.testing.assert_allclose(
        coefficients, [[0.025, 0.5, 0.5, 0.04, 0.25, 0.6, 0.8], [0.001, 0.1, 0.02, 0.04, 0.05, 0.6, 0.8]], rtol=1e-14
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Heston(mu=np.nan), "mu must be finite"),
        (lambda: Heston(kappa=0.0), "kappa must be positive"),
        (lambda: Heston(theta=-0.1), "theta must be positive"),
        (lambda: Heston(xi=-0.1), "xi must be within"),
        (lambda: Heston(rho=1.01), "rho must be within"),
        (lambda: USUAL.check_start(np.array([[1.0, 0.1], [0.0, 0.1]])), "S, the first component of x0, must be pos"),
        (lambda: USUAL.check_start(np.array([1.0, -0.1])), "v, the second component of x0, must be at least 0, got"),
        (lambda: USUAL.mean(1.0, 100.0), r"x0 must have shape \(..., 2\)"),
        (lambda: USUAL.mean(1.0, [1.0, 2.0, 3.0]), r"x0 must have shape \(..., 2\)"),
        (lambda: USUAL.variance(-1.0, X0), "t must be at least 0"),
        (lambda: USUAL.call_price(0.0, 1.0, X0), "strike must be positive"),
        (lambda: USUAL.call_price(1.0, 1.0, X0, rate=np.nan), "rate must be finite"),
    ],
)
def test_bad_input_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()
