"""The CEV model against quadrature, mpmath, its limit beta = 1 and a simulation."""

import mpmath
import numpy as np
import pytest
from scipy import integrate

from sdefast.sde.models import CEV, BlackScholes


def survival(model, x, t, x0):
    """P[X(t) > x] from the slope of the undiscounted call in the strike."""
    e = 1e-4 * x
    low, high = (model.call_price(k, t, x0, rate=0.0) for k in (x - e, x + e))
    return (low - high) / (2 * e)


@pytest.mark.parametrize("beta", [0.2, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("mu", [-0.1, 0.0, 0.3])
def test_mean_and_variance_from_call_prices(beta, mu):
    """E[X] = call at strike zero and E[X^2] = 2 int call(K) dK, whatever mass lies at zero."""
    model, t, x0 = CEV(mu, 0.5, beta), 2.0, 1.0
    calls = integrate.quad(lambda k: model.call_price(k, t, x0, rate=0.0), 0, 60, points=[0.5, 1, 2, 5], limit=500)[0]
    assert model.call_price(1e-12, t, x0, rate=0.0) == pytest.approx(model.mean(t, x0), rel=1e-10)
    assert 2 * calls - model.mean(t, x0) ** 2 == pytest.approx(model.variance(t, x0), rel=1e-6)


@pytest.mark.parametrize("beta", [0.05, 0.3, 0.5, 0.77, 0.95, 0.99])
@pytest.mark.parametrize("sd", [0.001, 0.1, 0.15, 1.0, 3.0])
def test_variance_against_mpmath(beta, sd):
    with mpmath.workdps(60 + int(4 / (1 - beta))):
        m = 1 / (2 * (1 - mpmath.mpf(beta)))
        z = 2 * m**2 / mpmath.mpf(sd) ** 2
        ratio = mpmath.gamma(1 + 2 * m) / mpmath.gamma(1 + m) * z**-m * mpmath.hyp1f1(-m, 1 + m, -z)
        expected = float(ratio - 1)
    assert CEV(0.0, sd, beta).variance(1.0, 1.0) == pytest.approx(expected, rel=1e-11)


def test_variance_has_the_known_special_cases():
    mu, sigma, t, x0 = 0.2, 0.7, 1.5, 3.0
    growth = np.exp(mu * t)
    expected = sigma**2 * x0 * growth * (growth - 1) / mu  # the Feller diffusion
    assert CEV(mu, sigma, 0.5).variance(t, x0) == pytest.approx(expected, rel=1e-13)
    assert CEV(mu, sigma, 1.0).variance(t, x0) == pytest.approx(BlackScholes(mu, sigma).variance(t, x0), rel=1e-13)
    assert CEV(mu, sigma, 1 - 1e-6).variance(t, x0) == pytest.approx(BlackScholes(mu, sigma).variance(t, x0), rel=1e-4)
    assert CEV(mu, 0.0, 0.5).variance(t, x0) == 0 == CEV().variance(0.0, 1.0) == CEV().variance(1.0, 0.0)
    assert CEV().variance(np.array([[0.0], [1.0]]), np.array([0.0, 1.0, 2.0])).shape == (2, 3)


@pytest.mark.parametrize("strike", [80.0, 100.0, 130.0])
def test_price_tends_to_black_scholes(strike):
    x0, volatility = 100.0, 0.2
    expected = BlackScholes(0.03, volatility).call_price(strike, 1.0, x0)
    errors = [
        abs(CEV(0.03, volatility * x0 ** (1 - beta), beta).call_price(strike, 1.0, x0) - expected)
        for beta in (0.9, 0.99, 0.999)
    ]
    assert errors[1] < 0.11 * errors[0] + 1e-6
    assert errors[2] < 0.11 * errors[1] + 1e-6
    assert errors[2] < 1e-3
    assert CEV(0.03, volatility, 1.0).call_price(strike, 1.0, x0) == expected


@pytest.mark.parametrize("beta", [0.3, 0.5, 0.8])
def test_put_call_parity_and_intrinsic_values(beta):
    model = CEV(0.05, 0.4, beta)
    strikes = np.array([0.5, 1.0, 2.0])
    call, put = model.call_price(strikes, 1.0, 1.0, rate=0.02), model.put_price(strikes, 1.0, 1.0, rate=0.02)
    np.testing.assert_allclose(call - put, np.exp(-0.02) * (np.exp(0.05) - strikes), atol=1e-14)
    np.testing.assert_allclose(model.call_price(strikes, 0.0, 1.0), [0.5, 0, 0])
    np.testing.assert_allclose(model.put_price(strikes, 1.0, 0.0, rate=0.0), strikes)


def test_price_in_extreme_cases():
    model = CEV(0.0, 2.0, 0.5)
    assert model.call_price(1e12, 1.0, 100.0) == 0 == model.put_price(1e-12, 1e-3, 100.0)
    assert model.put_price(1e9, 1.0, 1e-3) == pytest.approx(1e9)
    # 12 standard deviations from the money, on either side of where the law is no longer asked
    strikes = 100.0 * (1 + 0.2 * np.array([-4.2, -3.6, 14.3, 15.7]))
    np.testing.assert_allclose(model.call_price(strikes, 1.0, 100.0), np.maximum(100 - strikes, 0), atol=1e-12)
    for other in (model, CEV(0.0, 0.2, 1 - 1e-6)):
        with pytest.raises(ArithmeticError, match="out of reach"):
            other.call_price(100.0, 1e-9, 100.0)


def test_absorption():
    model, t, x0 = CEV(0.1, 1.5, 0.5), 1.0, 1.0
    # Feller's diffusion (beta = 1/2) dies out with probability exp(-2 mu x0 / (sigma^2 (1 - exp(-mu t)))).
    expected = np.exp(-2 * 0.1 * x0 / (1.5**2 * -np.expm1(-0.1 * t)))
    assert model.absorption_probability(t, x0) == pytest.approx(expected, rel=1e-12)
    for beta in (0.3, 0.7):
        other = CEV(0.1, 1.5, beta)
        assert 1 - survival(other, 1e-9, t, x0) == pytest.approx(other.absorption_probability(t, x0), abs=1e-3)
    assert CEV(beta=1.0).absorption_probability(1.0, 2.0) == 0
    np.testing.assert_array_equal(model.absorption_probability([0.0, 1.0], [1.0, 0.0]), [0, 1])


def test_simulation_agrees():
    """A third of the paths are absorbed; beside 4 standard errors, the scheme's bias is allowed for."""
    model, x0, steps, paths = CEV(0.1, 1.5, 0.6), 1.0, 400, 40_000
    rng = np.random.default_rng(1)
    (growth, noise, beta) = model.step("euler-maruyama", np.array([1 / steps])).coefficients[0]
    x = np.full(paths, x0)
    for _ in range(steps):
        x = np.maximum(x + growth * x + noise * x**beta * rng.standard_normal(paths), 0)
    for value, expected, bias in [
        (x, model.mean(1.0, x0), 0.001),
        ((x - x.mean()) ** 2, model.variance(1.0, x0), 0.005),
        (np.maximum(x - 1, 0), model.call_price(1.0, 1.0, x0, rate=0.0), 0.001),
        (x == 0, model.absorption_probability(1.0, x0), 0.003),  # 0.32
    ]:
        assert value.mean() == pytest.approx(expected, abs=4 * value.std() / np.sqrt(paths) + bias)


def test_step():
    kernel, coefficients = CEV(0.1, 0.4, 0.7).step("euler-maruyama", np.array([0.25]))
    assert kernel == "cev"
    np.testing.assert_allclose(coefficients, [[0.025, 0.2, 0.7]], rtol=1e-15)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CEV(beta=0.0), "beta must be positive"),
        (lambda: CEV(beta=1.2), r"beta must be within \(0, 1\], got 1.2"),
        (lambda: CEV(sigma=-1.0), "sigma must be within"),
        (lambda: CEV(mu=None), "mu must be a real number"),
        (lambda: CEV().check_start(np.array([-1.0])), "x0 must be at least 0, got -1"),
        (lambda: CEV().variance(-1.0, 1.0), "t must be at least 0"),
        (lambda: CEV().call_price(-1.0, 1.0, 1.0), "strike must be positive"),
        (lambda: CEV().call_price(1.0, 1.0, -1.0), "x0 must be at least 0"),
    ],
)
def test_bad_input_is_refused_by_name(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
