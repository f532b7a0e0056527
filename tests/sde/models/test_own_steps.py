"""Steps that models bring themselves: the quadratic-exponential scheme, exact square-root processes."""

import math

import numpy as np
import pytest
from conftest import assert_same_bits
from scipy import special

import sdefast as sf

#: case I of Andersen's table 1, far below Feller: 2 kappa theta = 0.04 against xi^2 = 1
LONG = sf.Heston(mu=0.0, kappa=0.5, theta=0.04, xi=1.0, rho=-0.9)
X0 = (100.0, 0.04)


def andersen(model, x, h, z):
    """One step of the scheme as the paper's summary has it, with numpy, for states (n, 2) and normals (n, 2)."""
    s, v = x.T
    kappa, theta, xi, rho, e = model.kappa, model.theta, model.xi, model.rho, math.exp(-model.kappa * h)
    m = theta + (v - theta) * e
    s2 = v * xi**2 * e / kappa * (1 - e) + theta * xi**2 / (2 * kappa) * (1 - e) ** 2
    psi = s2 / m**2
    K1, K2 = (0.5 * h * (kappa * rho / xi - 0.5) + sign * rho / xi for sign in (-1, 1))
    K3 = K4 = 0.5 * h * (1 - rho**2)
    A, square = K2 + 0.5 * K4, psi <= 1.5
    new, K0 = np.empty_like(v), np.empty_like(v)
    b2 = 2 / psi[square] - 1 + np.sqrt(2 / psi[square]) * np.sqrt(2 / psi[square] - 1)
    a = m[square] / (1 + b2)
    new[square] = a * (np.sqrt(b2) + z[square, 1]) ** 2
    K0[square] = -A * b2 * a / (1 - 2 * A * a) + 0.5 * np.log(1 - 2 * A * a)
    p = (psi[~square] - 1) / (psi[~square] + 1)
    beta, u = (1 - p) / m[~square], special.ndtr(z[~square, 1])
    new[~square] = np.where(u <= p, 0.0, np.log((1 - p) / (1 - u)) / beta)
    K0[~square] = -np.log(p + beta * (1 - p) / (beta - A))
    K0 -= (K1 + 0.5 * K3) * v
    return np.stack([s * np.exp(model.mu * h + K0 + K1 * v + K2 * new + np.sqrt(K3 * v + K4 * new) * z[:, 0]), new], -1)


def test_quadratic_exponential_is_andersens_on_equal_noise():
    z = sf.noise.normals(seed=1, n_draws=2 * 24, n_chains=3000).reshape(24, 2, 3000).transpose(0, 2, 1)
    x = np.tile(X0, (3000, 1))
    n_zero = 0
    for row in z:
        x = andersen(LONG, x, 0.25, row)
        n_zero += (x[:, 1] == 0).sum()
    run = sf.simulate(LONG, x0=X0, t1=6.0, n_steps=24, n_paths=3000, method="qe", seed=1)
    np.testing.assert_allclose(run.x[-1], x, rtol=1e-8, atol=1e-12)
    assert n_zero > 1000  # both laws are used


def test_quadratic_exponential_prices_at_monthly_steps():
    """Full truncation is 5 % off there."""
    exact = LONG.call_price(strike=100.0, t=10.0, x0=X0)
    call = {"call": lambda t, x: max(x[0] - 100.0, 0.0)}
    how = {"x0": X0, "t1": 10.0, "n_steps": 120, "n_paths": 300_000, "paths": False, "expectations": call, "seed": 1}
    qe, euler = (sf.simulate(LONG, method=method, **how) for method in ("qe", "euler-maruyama"))
    found = qe.expectations["call"]
    assert abs(found.value[0] - exact) < 3 * found.standard_error[0]
    assert found.standard_error[0] < 0.003 * exact
    assert euler.expectations["call"].value[0] > 1.045 * exact
    assert np.all(np.abs(qe.mean[-1] - LONG.mean(10.0, X0)) < 4 * qe.standard_error[-1])  # S is a martingale
    assert qe.variance[-1, 1] == pytest.approx(LONG.variance(10.0, X0)[1], rel=0.03)


def test_quadratic_exponential_between_jumps():
    """Bates' prices at monthly steps below Feller; full truncation is 8 % off at 120."""
    model = sf.Bates(0.03, 1.0, 0.04, 0.8, -0.7, intensity=1.0, jump_mean=-0.15, jump_std=0.2)
    assert "qe" in model.methods
    assert not sf.CIR(model.kappa, model.theta, model.xi).satisfies_feller
    calls = {f"at{k}": lambda t, x, k=k: max(x[0] - k, 0.0) for k in (80, 100, 120)}
    run = sf.simulate(
        model, x0=X0, t1=1.0, n_steps=12, n_paths=200_000, method="qe", seed=4, paths=False, expectations=calls
    )
    for k in (80, 100, 120):
        found = run.expectations[f"at{k}"]
        assert abs(found.value[0] - model.call_price(float(k), 1.0, X0, rate=0.0)) < 3 * found.standard_error[0]
    assert np.all(np.abs(run.mean[-1] - model.mean(1.0, X0)) < 4 * run.standard_error[-1])


@pytest.mark.parametrize("x0", [0.0, 0.3, 15.0])
@pytest.mark.parametrize(
    "model", [sf.CIR(0.5, 0.04, 1.0), sf.CIR(), sf.CIR(0.5, 0.5, 1.0)], ids=["below Feller", "above", "at one"]
)
def test_exact_square_root_process_has_its_law(model, x0):
    """Two steps in one; degrees of freedom 0.08, 16 and 1; small and large noncentralities."""
    run = sf.simulate(model, x0=x0, times=[0.0, 0.01, 1.0], n_paths=100_000, method="exact", seed=2, save_at=1)
    for t, x in zip(run.t[1:], run.x[1:, :, 0], strict=True):
        law = model.transition(t, x0)
        levels = law.cdf(law.ppf([0.003, 0.02, 0.1, 0.5, 0.9, 0.98, 0.997]))
        below = np.array([(x <= law.ppf(level)).mean() for level in levels])
        assert np.abs((below - levels) / np.sqrt(levels * (1 - levels) / len(x))).max() < 4.5
    qe = sf.simulate(model, x0=x0, t1=1.0, n_steps=2, n_paths=100_000, method="qe", seed=2)
    for other in (run, qe):
        assert abs(other.mean[-1] - model.mean(1.0, x0)) < 4.5 * other.standard_error[-1]
        assert other.variance[-1] == pytest.approx(model.variance(1.0, x0), rel=0.08)


@pytest.mark.parametrize("model", [sf.CIR(), pytest.param(sf.CIR(0.5, 0.04, 1.0), marks=pytest.mark.thorough)])
def test_exact_steps_have_the_same_bits_in_parts(model):
    """Normals and uniforms are those of path and step, whatever runs them; those of functionals come first."""
    how = {"x0": 0.3, "t1": 1.0, "n_steps": 4, "method": "exact", "seed": 7, "extremes": True}
    how["functionals"] = {"high": sf.functionals.running_max()}
    whole = sf.simulate(model, n_paths=6000, threads=2, **how)
    shards = [sf.simulate(model, n_paths=n, first_chain=at, threads=1, **how) for at, n in ((0, 4096), (4096, 1904))]
    assert_same_bits(sf.merge(*shards), whole)
    half = sf.simulate(model, n_paths=6000, **(how | {"t1": 0.5, "n_steps": 2}))
    assert sf.simulate(model, resume=half, n_steps=2).x.tobytes() == whole.x.tobytes()


def test_without_noise_there_is_no_law_to_draw_from():
    how = {"t1": 1.0, "n_steps": 1, "n_paths": 1}
    with pytest.raises(ValueError, match="needs sigma to be positive"):
        sf.simulate(sf.CIR(sigma=0.0), x0=1.0, method="exact", **how)
    with pytest.raises(ValueError, match="needs xi to be positive"):
        sf.simulate(sf.Heston(xi=0.0), x0=X0, method="qe", **how)
    with pytest.raises(ValueError, match=r"Heston has no method 'exact'; it has .*qe"):
        sf.simulate(sf.Heston(), x0=X0, method="exact", **how)
    run = sf.simulate(sf.CIR(sigma=0.0), x0=2.0, method="qe", **how)
    assert run.x[0, 0, 0] == pytest.approx(sf.CIR().mean(1.0, 2.0), rel=1e-12)
    with pytest.raises(ValueError, match="draws from the transition law"):
        sf.wiener.increments(sf.simulate(sf.Heston(), x0=X0, method="qe", **how))
