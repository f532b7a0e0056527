"""Models with jumps: their closed forms against independent ones, and their simulated prices against them."""

import math

import numpy as np
import pytest
from conftest import worst_z
from scipy import integrate, stats
from sde.common import MOST_Z

import sdefast as sf
from sdefast.sde.models.jump_diffusion import JumpDiffusion

MERTON = sf.Merton(mu=0.03, sigma=0.2, intensity=1.5, jump_mean=-0.1, jump_std=0.15)
KOU = sf.Kou(mu=0.05, sigma=0.16, intensity=1.0, p_up=0.4, eta_up=10.0, eta_down=5.0)
BATES = sf.Bates(mu=0.03, kappa=2.0, theta=0.05, xi=0.3, rho=-0.6, intensity=1.0, jump_mean=-0.1, jump_std=0.15)
START = (100.0, 0.04)
STRIKES = np.array([60.0, 90.0, 100.0, 110.0, 170.0])


def test_merton_series_is_the_fourier_integral_and_the_mixture():
    for model in (MERTON, sf.Merton(intensity=0.0), sf.Merton(intensity=30.0, jump_mean=0.02, jump_std=0.05)):
        for t in (0.1, 2.0):
            forward = 100.0 * math.exp(model.mu * t)
            fourier = [JumpDiffusion._call(model, strike, t, forward) for strike in STRIKES]
            np.testing.assert_allclose(model.call_price(STRIKES, t, 100.0, rate=0.0), fourier, atol=1e-9)
    k = math.expm1(-0.1 + 0.15**2 / 2)
    n = np.arange(60)
    centre, std = math.log(100) + (0.03 - 1.5 * k - 0.02) * 2 - 0.1 * n, np.sqrt(0.04 * 2 + 0.15**2 * n)
    chance = stats.poisson(3.0).pmf(n)

    def density(y):
        return float(chance @ stats.norm(centre, std).pdf(y))

    put = integrate.quad(lambda y: (90.0 - math.exp(y)) * density(y), 0.0, math.log(90.0), epsabs=1e-10, limit=200)[0]
    assert MERTON.put_price(90.0, 2.0, 100.0) == pytest.approx(math.exp(-0.06) * put, abs=1e-7)
    assert sf.Merton(sigma=0.0, intensity=0.0).call_price(100.0, 1.0, 100.0) == pytest.approx(
        100 - 100 * math.exp(-0.05)
    )
    assert sf.Merton(intensity=0.0).call_price(95.0, 1.0, 100.0) == pytest.approx(
        sf.BlackScholes().call_price(95.0, 1.0, 100.0), abs=1e-12
    )


def test_kou_prices():
    """His own example; with as many jumps as one likes of vanishing size it is Black and Scholes' model."""
    assert KOU.call_price(98.0, 0.5, 100.0) == pytest.approx(9.14732, abs=5e-6)
    eta = 2000.0
    small = sf.Kou(mu=0.05, sigma=0.1, intensity=0.03 * eta**2 / 2, p_up=0.5, eta_up=eta, eta_down=eta)
    same = sf.BlackScholes(mu=0.05, sigma=0.2)
    np.testing.assert_allclose(small.call_price(STRIKES, 1.0, 100.0), same.call_price(STRIKES, 1.0, 100.0), atol=1e-3)
    parity = KOU.call_price(STRIKES, 1.0, 100.0) - KOU.put_price(STRIKES, 1.0, 100.0)
    np.testing.assert_allclose(parity, 100.0 - STRIKES * math.exp(-0.05), atol=1e-9)
    assert sf.Kou(eta_up=2.0).variance(1.0, 100.0) == math.inf
    with pytest.raises(ValueError, match="sigma to be positive"):
        sf.Kou(sigma=0.0).call_price(100.0, 1.0, 100.0)


def test_bates_prices():
    """Given the number of jumps of one size, S is that of Heston's model, moved."""
    one_size = sf.Bates(mu=0.03, theta=0.05, intensity=2.0, jump_mean=-0.07, jump_std=0.0)
    heston, n = sf.Heston(mu=0.03, theta=0.05), np.arange(40)
    moved = np.stack([100.0 * np.exp(-0.07 * n - 2.0 * math.expm1(-0.07)), np.full(40, 0.04)], -1)
    for strike in STRIKES:
        given = heston.call_price(strike, 1.0, moved)
        assert one_size.call_price(strike, 1.0, START) == pytest.approx(stats.poisson(2.0).pmf(n) @ given, abs=1e-8)
    none = sf.Bates(mu=0.03, theta=0.05, intensity=0.0)
    np.testing.assert_array_equal(none.call_price(STRIKES, 1.0, START), heston.call_price(STRIKES, 1.0, START))
    still = sf.Bates(mu=0.03, theta=0.04, xi=0.0, intensity=1.5)
    np.testing.assert_allclose(still.call_price(STRIKES, 1.0, START), MERTON.call_price(STRIKES, 1.0, 100.0), atol=1e-9)
    np.testing.assert_allclose(still.variance(1.0, START)[0], MERTON.variance(1.0, 100.0), rtol=1e-10)


def test_variances_are_those_of_the_jumps():
    second = 0.03 * 2 + 0.2**2 + 1.5 * (math.exp(2 * (-0.1 + 0.15**2)) - 2 * math.exp(-0.1 + 0.15**2 / 2) + 1)
    assert MERTON.variance(1.0, 1.0) == pytest.approx(math.exp(second) - math.exp(0.06), rel=1e-12)
    square = 0.4 * 10 / 8 + 0.6 * 5 / 7 - 2 * (0.4 * 10 / 9 + 0.6 * 5 / 6) + 1  # E[(e^J - 1)^2]
    assert KOU.variance(2.0, 3.0) == pytest.approx(9 * math.exp(0.2) * math.expm1(2 * (0.16**2 + square)), rel=1e-12)
    u = np.array([0.3, 2.0])
    exponent = 1j * u * 0.05 + KOU._exponent(u)
    np.testing.assert_allclose(KOU.characteristic_function(u, 1.0, 1.0), np.exp(exponent), rtol=1e-13)


@pytest.mark.parametrize(
    ("model", "start", "how"),
    [
        (MERTON, 100.0, {"method": "exact", "n_steps": 3, "n_paths": 1_000_000}),
        (KOU, 100.0, {"method": "exact", "n_steps": 2, "n_paths": 300_000, "dtype": "float32"}),
        pytest.param(BATES, START, {"n_steps": 200, "n_paths": 100_000, "dtype": "float32"}),
        pytest.param(BATES, START, {"n_steps": 400, "n_paths": 1_000_000}, marks=pytest.mark.thorough),
        pytest.param(MERTON, 100.0, {"n_steps": 400, "n_paths": 1_000_000}, marks=pytest.mark.thorough),
    ],
)
def test_simulated_prices(model, start, how):
    names = {f"call {strike:g}": strike for strike in (90.0, 100.0, 120.0)}
    calls = {name: lambda t, x, strike=strike: max(x[0] - strike, 0.0) for name, strike in names.items()}
    run = sf.simulate(model, x0=start, t1=1.0, seed=11, paths=False, expectations=calls, **how)
    for name, strike in names.items():
        found, price = run.expectations[name], model.call_price(strike, 1.0, start, rate=0.0)
        assert worst_z(found.value, price, found.standard_error) < MOST_Z
    assert worst_z(run.mean[0], model.mean(1.0, start), run.standard_error[0]) < MOST_Z
    assert worst_z(run.variance[0], model.variance(1.0, start), run.variance_standard_error[0]) < MOST_Z
