"""Closed forms of Brownian motion, Black-Scholes, CIR and the double well against independent numerics."""

import inspect

import numpy as np
import pytest
from scipy import integrate, stats

from sdefast.sde.models import (
    CEV,
    CIR,
    BlackScholes,
    BrownianMotion,
    DoubleWell,
    GeometricBrownianMotion,
    Heston,
    LinearSDE,
    OrnsteinUhlenbeck,
)  # fmt: skip

H = np.array([0.25, 0.01])


def moment(law, f):
    """E[f(X)] under a frozen scipy law, by quadrature over its quantiles' range."""
    low, high = law.ppf([1e-15, 1 - 1e-15])
    points = law.ppf([0.01, 0.5, 0.99])
    return integrate.quad(lambda x: f(x) * law.pdf(x), low, high, points=points, limit=500, epsabs=0, epsrel=1e-11)[0]


@pytest.mark.parametrize(
    ("model", "x0"),
    [
        (BrownianMotion(0.3, 0.7), -1.0),
        (BlackScholes(0.1, 0.4), 2.0),
        (CIR(2.0, 0.5, 0.6), 0.2),
        (CIR(1.0, 1.0, 1.2), 2.0),
    ],
)
@pytest.mark.parametrize("t", [0.02, 1.5])
def test_mean_and_variance_are_those_of_the_transition_law(model, x0, t):
    law = model.transition(t, x0)
    mean = model.mean(t, x0)
    assert moment(law, lambda x: 1.0) == pytest.approx(1, rel=1e-8)
    assert moment(law, lambda x: x) == pytest.approx(mean, rel=1e-8)
    assert moment(law, lambda x: (x - mean) ** 2) == pytest.approx(model.variance(t, x0), rel=1e-7)


@pytest.mark.parametrize("model", [BrownianMotion(0.3, 0.7), BlackScholes(0.1, 0.4), CIR(2.0, 0.5, 0.6)])
def test_covariance(model):
    """Cov[X(s), X(t)] is Cov[X(s), E[X(t) | X(s)]], and the conditional mean is affine in X(s)."""
    s, t, x0 = 0.7, 1.9, 1.3
    slope = model.mean(t - s, 2.0) - model.mean(t - s, 1.0)
    expected = slope * model.variance(s, x0)
    assert model.covariance(s, t, x0) == pytest.approx(expected, rel=1e-12)
    assert model.covariance(t, s, x0) == pytest.approx(expected, rel=1e-12)
    assert model.covariance(s, s, x0) == pytest.approx(model.variance(s, x0), rel=1e-12)


@pytest.mark.parametrize("model", [BrownianMotion(), BlackScholes(), CIR()])
def test_scalars_give_floats_and_arrays_broadcast(model):
    assert type(model.mean(1.0, 2.0)) is float
    assert type(model.variance(1.0, 2.0)) is float
    t, x0 = np.array([[0.0], [0.5], [1.0]]), np.array([1.0, 2.0])
    assert model.mean(t, x0).shape == (3, 2)
    assert model.mean(t, x0)[2, 1] == model.mean(1.0, 2.0)
    assert model.mean(0.0, 2.0) == 2.0
    assert model.variance(0.0, 2.0) == 0.0
    assert model.covariance(t, np.array([0.2, 0.3]), 1.0).shape == (3, 2)


def test_steps():
    root = np.sqrt(H)
    for scheme in ("euler-maruyama", "exact"):
        kernel, coefficients = BrownianMotion(0.3, 0.7).step(scheme, H)
        assert kernel == "brownian_motion"
        np.testing.assert_allclose(coefficients, np.stack([0.3 * H, 0.7 * root], axis=1), rtol=1e-15)
    kernel, coefficients = BlackScholes(0.1, 0.4).step("euler-maruyama", H)
    assert kernel == "black_scholes_euler"
    np.testing.assert_allclose(coefficients, np.stack([0.1 * H, 0.4 * root], axis=1), rtol=1e-15)
    kernel, coefficients = BlackScholes(0.1, 0.4).step("exact", H)
    assert kernel == "black_scholes_exact"
    np.testing.assert_allclose(coefficients, np.stack([0.02 * H, 0.4 * root], axis=1), rtol=1e-14)
    kernel, coefficients = CIR(2.0, 0.5, 0.6).step("euler-maruyama", H)
    assert kernel == "cir"
    np.testing.assert_allclose(coefficients, np.stack([2 * H, 0.5 + 0 * H, 0.6 * root], axis=1), rtol=1e-15)
    kernel, coefficients = DoubleWell(3.0, 2.0, 0.5).step("euler-maruyama", H)
    assert kernel == "double_well"
    np.testing.assert_allclose(coefficients, np.stack([3 * H, 0.25 + 0 * H, root], axis=1), rtol=1e-15)


@pytest.mark.parametrize("rate", [None, 0.02])
@pytest.mark.parametrize("strike", [50.0, 100.0, 170.0])
def test_black_scholes_prices_are_discounted_expectations(strike, rate):
    model, t, x0 = BlackScholes(0.05, 0.3), 1.5, 100.0
    law = model.transition(t, x0)
    discount = np.exp(-(0.05 if rate is None else rate) * t)
    call = discount * integrate.quad(law.sf, strike, 5000, points=[100, 200, 500], limit=500, epsabs=1e-11)[0]
    put = discount * integrate.quad(law.cdf, 0, strike, limit=500, epsabs=1e-11)[0]
    assert model.call_price(strike, t, x0, rate) == pytest.approx(call, abs=1e-8)
    assert model.put_price(strike, t, x0, rate) == pytest.approx(put, abs=1e-8)


def test_black_scholes_prices_without_randomness_are_intrinsic():
    model = BlackScholes(0.05, 0.0)
    strikes = np.array([90.0, 100 * np.exp(0.05), 110.0])
    np.testing.assert_allclose(model.call_price(strikes, 1.0, 100.0), [100 - 90 * np.exp(-0.05), 0, 0], atol=1e-13)
    np.testing.assert_allclose(BlackScholes().put_price([90.0, 100.0, 110.0], 0.0, 100.0), [0, 0, 10], atol=1e-13)
    assert BlackScholes().call_price(np.array([90.0, 100.0]), np.array([[1.0], [2.0]]), 100.0).shape == (2, 2)
    assert type(BlackScholes().call_price(90.0, 1.0, 100.0)) is float


def test_far_put_keeps_its_digits():
    model = BlackScholes(0.0, 0.1)
    law = stats.lognorm(0.1, scale=100 * np.exp(-0.005))
    expected = integrate.quad(law.cdf, 20, 50, epsabs=0, epsrel=1e-10, limit=500)[0]
    assert model.put_price(50.0, 1.0, 100.0) == pytest.approx(expected, rel=1e-7)


def test_cir_tends_to_its_stationary_law():
    model = CIR(2.0, 0.5, 0.6)
    late, law = model.transition(20.0, 3.0), model.stationary_law()
    x = np.linspace(0.05, 2.0, 7)
    np.testing.assert_allclose(late.cdf(x), law.cdf(x), rtol=1e-9)
    assert law.mean() == pytest.approx(model.theta)
    assert law.var() == pytest.approx(model.stationary_variance())
    assert model.satisfies_feller
    assert not CIR(1.0, 1.0, 1.5).satisfies_feller
    assert CIR().satisfies_feller


@pytest.mark.parametrize(
    "model", [DoubleWell(), DoubleWell(1.0, 2.0, 1.0), DoubleWell(0.01, 1.0, 1.0), DoubleWell(50.0, 0.5, 0.02)]
)
def test_double_well(model):
    points = [-model.width, 0.0, model.width]
    reach = 1.2 * model.width * np.sqrt(1 + np.sqrt(40 * model.temperature / model.barrier))

    def integral(f):
        return integrate.quad(f, -reach, reach, points=points, limit=1000, epsabs=0, epsrel=1e-11)[0]

    assert integral(model.stationary_density) == pytest.approx(1, rel=1e-10)
    variance = integral(lambda x: x**2 * model.stationary_density(x))
    assert model.stationary_variance() == pytest.approx(variance, rel=1e-10)
    # The law is invariant: E[A f] = 0 for the generator A; f = x^2 / 2 gives E[x force(x)] = -T.
    assert integral(lambda x: x * model.force(x) * model.stationary_density(x)) == pytest.approx(
        -model.temperature, rel=1e-9
    )


def test_double_well_force_is_minus_the_slope_of_the_potential():
    model, x, e = DoubleWell(2.0, 1.5, 0.3), np.linspace(-2, 2, 9), 1e-6
    slope = (model.potential(x + e) - model.potential(x - e)) / (2 * e)
    np.testing.assert_allclose(model.force(x), -slope, rtol=1e-7, atol=1e-8)
    assert model.potential(1.5) == 0
    assert model.potential(0.0) == 2.0
    assert model.force(-1.5) == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BrownianMotion(mu=np.inf), "mu must be finite"),
        (lambda: BrownianMotion(sigma=-1), "sigma must be within"),
        (lambda: BrownianMotion(sigma="1"), "sigma must be a real number"),
        (lambda: BlackScholes(sigma=-0.1), "sigma must be within"),
        (lambda: BlackScholes(mu=np.nan), "mu must be finite"),
        (lambda: BlackScholes().check_start(np.array([1.0, 0.0])), "x0 must be positive, got 0"),
        (lambda: BlackScholes().mean(1.0, -1.0), "x0 must be positive, got -1"),
        (lambda: BlackScholes().mean(-1.0, 1.0), "t must be at least 0, got -1"),
        (lambda: BlackScholes().covariance([0.1, -2.0], 1.0, 1.0), "s must be at least 0, got -2"),
        (lambda: BlackScholes().call_price(0.0, 1.0, 1.0), "strike must be positive, got 0"),
        (lambda: BlackScholes().call_price(1.0, 1.0, 1.0, rate=np.inf), "rate must be finite"),
        (lambda: BlackScholes(sigma=0.0).transition(1.0, 1.0), "sigma to be positive"),
        (lambda: BlackScholes().transition(0.0, 1.0), "t must be positive"),
        (lambda: BrownianMotion().transition(0.0, 1.0), "t must be positive"),
        (lambda: CIR(kappa=0.0), "kappa must be positive"),
        (lambda: CIR(theta=0.0), "theta must be positive"),
        (lambda: CIR(sigma=-1.0), "sigma must be within"),
        (lambda: CIR().check_start(np.array([[-0.1]])), "x0 must be at least 0, got -0.1"),
        (lambda: CIR().mean(np.nan, 1.0), "t must be finite"),
        (lambda: CIR(sigma=0.0).transition(1.0, 1.0), "sigma to be positive"),
        (lambda: CIR(sigma=0.0).stationary_law(), "sigma to be positive"),
        (lambda: DoubleWell(barrier=0.0), "barrier must be positive"),
        (lambda: DoubleWell(width=-1.0), "width must be positive"),
        (lambda: DoubleWell(temperature=0.0), "temperature must be positive"),
    ],
)
def test_bad_input_is_refused_by_name(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


X0 = {"Heston": (100.0, 0.04), "LinearSDE": [1.0, 0.0]}
TIMED = [OrnsteinUhlenbeck(), BrownianMotion(), BlackScholes(), CIR(), CEV(), Heston(), LinearSDE(-np.eye(2))]


def closed_forms_of_time():
    """Every closed form of a model, with one of its times given by the caller."""
    others = {"strike": 90.0, "u": 0.5, "t": 1.0, "s": 1.0}
    for model in TIMED:
        others["x0"] = X0.get(type(model).__name__, 1.0)
        for name, form in inspect.getmembers(model, inspect.ismethod):
            parameters = [p.name for p in inspect.signature(form).parameters.values() if p.default is p.empty]
            for time in sorted({"s", "t"} & set(parameters)):
                if name[0] != "_" and name != "rates":  # those of absolute time
                    rest = {key: others[key] for key in parameters if key != time}
                    yield pytest.param(form, time, rest, id=f"{type(model).__name__}-{name}-{time}")


@pytest.mark.parametrize(("form", "name", "rest"), list(closed_forms_of_time()))
def test_every_closed_form_refuses_times_that_are_none(form, name, rest):
    refused = {-1.0: "must be (at least 0|within|positive)", np.nan: "must be finite", np.inf: "must be finite"}
    for wrong, words in refused.items():
        with pytest.raises(ValueError, match=f"^{name} {words}"):
            form(**{name: wrong, **rest})
    form(**{name: 0.5, **rest})


def test_there_are_as_many_closed_forms_as_were_counted():
    assert len(list(closed_forms_of_time())) == 36


def test_models_are_values():
    assert BlackScholes(0.1, 0.2) == GeometricBrownianMotion(mu=0.1, sigma=0.2)
    assert hash(CIR(1, 2, 3)) == hash(CIR(1.0, 2.0, 3.0))
    assert CIR(1, 2, 3).parameters() == {"kappa": 1.0, "theta": 2.0, "sigma": 3.0}
    assert BrownianMotion().additive_noise
    assert DoubleWell().additive_noise
    assert not CIR().additive_noise


def test_stationary_variance_of_euler_maruyama():
    """The fixed point of v -> (1 - kappa h)^2 v + sigma^2 h."""
    model, h = OrnsteinUhlenbeck(kappa=1.5, sigma=0.7), 0.2
    v = model.stationary_variance(h)
    assert v == pytest.approx((1 - 1.5 * h) ** 2 * v + 0.7**2 * h, rel=1e-14)
    assert model.stationary_variance(1e-9) == pytest.approx(model.stationary_variance(), rel=1e-8)
    with pytest.raises(ValueError, match=r"step_size must be less than 2 / kappa = 1\.33333, got 1\.4"):
        model.stationary_variance(1.4)
