"""Positions that are confined: against plain numpy on the same noise, and against laws that folding leaves exact."""

import numpy as np
import pytest
from conftest import TYPES
from scipy import stats

import sdefast as sf
from sdefast.run.boundaries import absorb, positive, reflect
from sdefast.sampling.methods import METHODS

NORMAL = sf.targets.Gaussian(0.0, 1.0)
PLANE = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])
FLAT = sf.targets.Target(log_density=lambda x: 0 * x[0], dim=1)


def folded(x, lower, upper):
    x = np.where(x < lower, 2 * lower - x, x)
    x = np.where(x > upper, 2 * upper - x, x)
    return np.clip(x, lower, upper)


@pytest.mark.parametrize(("dtype", "noise_dtype"), TYPES)
def test_steps_are_folded_back(dtype, noise_dtype):
    """One component between two borders, the other kept from below zero."""
    n, h = 300, 0.4
    chains = sf.langevin(
        PLANE, step_size=h, n_steps=5, n_chains=n, seed=2, x0=[0.5, 0.1], save_at="all", dtype=dtype,
        noise_dtype=noise_dtype, boundary=[reflect(0.0, 1.0), positive(component=1)],
    )  # fmt: skip
    z = sf.noise.normals(2, 10, n, dtype=noise_dtype).astype(float).reshape(5, 2, n)
    x, precision = np.broadcast_to([[0.5], [0.1]], (2, n)), np.linalg.inv(PLANE.covariance)
    for k in range(5):
        x = x + h * precision @ (PLANE.mean[:, None] - x) + (2 * h) ** 0.5 * z[k]
        x = np.stack([folded(x[0], 0.0, 1.0), np.maximum(x[1], 0.0)])
        np.testing.assert_allclose(chains.x[k + 1].T, x, rtol=0, atol=1e-12 if dtype == "float64" else 3e-6)
    assert (chains.x[..., 1] == 0).any()


def test_a_reflected_normal_is_the_size_of_one():
    """Where the score is odd, the folded chain is |x| of the free one in law, whose second moment is known."""
    how = {"step_size": 0.5, "n_steps": 12, "seed": 3, "x0": 0.7, "save_at": [1, 2, 12]}
    free = sf.langevin(NORMAL, n_chains=2, **how)
    chains = sf.langevin(
        NORMAL, n_chains=1_000_000, **how, boundary=reflect(lower=0.0), paths=False,
        expectations={"square": lambda k, x: x[0] ** 2},
    )  # fmt: skip
    square = chains.expectations["square"]
    exact = (free.exact_variance + free.exact_mean**2)[:, 0]
    assert (np.abs(square.value - exact) < 4.5 * square.standard_error).all()
    with pytest.raises(ValueError, match="not linear"):
        _ = chains.exact_mean


def test_uniform_chains_stay_uniform():
    x0 = np.random.default_rng(1).uniform(-1, 2, (200_000, 1))
    chains = sf.langevin(FLAT, step_size=0.02, n_steps=50, n_chains=200_000, seed=5, x0=x0, boundary=reflect(-1.0, 2.0))
    assert stats.kstest(chains.x[0, :, 0], stats.uniform(-1, 3).cdf).pvalue > 1e-4


LASSO = sf.targets.Composite(NORMAL, sf.targets.L1(0.5))
OWN = {
    "preconditioned": {"metric": [0.5]}, "ula": {"metric": [2.0]}, "myula": {"smoothing": 0.5},
    "proximal-outside": {"smoothing": 0.5},
}  # fmt: skip
ROWS = sf.targets.LogisticRegression([[1.0], [2.0], [-1.0]], [0, 1, 1], 1.0)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.takes_boundary])
def test_methods_keep_within(name):
    needs = METHODS[name].needs
    target = ROWS if "data" in needs else LASSO if "prox" in needs else NORMAL
    options = {"batch_size": 1} if "data" in needs else OWN.get(name, {})
    chains = sf.langevin(
        target, method=name, step_size=0.3, n_steps=30, n_chains=500, seed=1, x0=0.5, boundary=reflect(0.2, 0.9),
        save_at="all", **options,
    )  # fmt: skip
    assert 0.2 <= chains.x.min() < 0.25
    assert 0.85 < chains.x.max() <= 0.9


def test_shards_resumed_saved_and_on_a_gpu(tmp_path):
    how = {"step_size": 0.3, "seed": 1, "x0": [0.5, 0.5], "boundary": reflect(0.2, 0.9)}
    whole = sf.langevin(PLANE, n_steps=7, n_chains=40, **how)
    merged = sf.merge(sf.langevin(PLANE, n_steps=7, n_chains=40, **how))
    first = sf.langevin(PLANE, n_steps=3, n_chains=40, **how)
    first.save(tmp_path / "chains.npz")
    after = sf.langevin(PLANE, n_steps=4, resume=sf.load(tmp_path / "chains.npz"))
    gpu = sf.langevin(PLANE, n_steps=7, n_chains=40, **how, device="cuda")
    for other in (merged.x, after.x, gpu.x.to_numpy()):
        assert np.array_equal(other, whole.x)
    assert "Reflect" in whole.describe()["boundaries"]
    with pytest.raises(ValueError, match="has other settings"):
        sf.merge(whole, sf.langevin(PLANE, n_steps=7, n_chains=40, **{**how, "boundary": None}, first_chain=4096))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "mala"}, ValueError, "boundary is for ula, .*sgld-cv, whose .* keep to the support .* got 'mala'"),
        ({"method": "baoab"}, ValueError, "got 'baoab'"),
        ({"x0": [0.1, 0.5]}, ValueError, r"x0 must begin within the boundary: component 0 from 0.2 to 0.9, got 0.1"),
        ({"metric": [[1.0, 0.5], [0.5, 1.0]]}, ValueError, "boundary goes with metrics that are diagonal"),
        ({"boundary": absorb(0.2, 0.9)}, ValueError, "may reflect or be positive: .* got Absorb"),
        ({"boundary": reflect(0.2, component=2)}, ValueError, "component must be from 0 to 1, got 2"),
        ({"boundary": "reflect"}, TypeError, "boundary must be one of sdefast.boundaries, or a list of them"),
    ],
)
def test_what_is_refused(options, error, message):
    how = {"step_size": 0.1, "n_steps": 2, "n_chains": 2, "x0": [0.5, 0.5], "boundary": reflect(0.2, 0.9), **options}
    with pytest.raises(error, match=message):
        sf.langevin(PLANE, **how)


def test_scores_of_arrays_have_none():
    target = sf.targets.BatchTarget(lambda x: -x, dim=1)
    with pytest.raises(ValueError, match="steps have no boundary"):
        sf.langevin(target, step_size=0.1, n_steps=2, n_chains=2, boundary=reflect(lower=-1.0))
    with pytest.raises(TypeError, match="leave out boundary"):
        sf.langevin(NORMAL, n_steps=2, resume=sf.langevin(NORMAL, step_size=0.1, n_steps=2, n_chains=2), boundary=[])
