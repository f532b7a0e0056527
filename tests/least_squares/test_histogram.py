"""Histograms of the parameters, also where kernels run in other coordinates: plain loops, exact laws, runs cut up."""

import math
import statistics

import numpy as np
import pytest
from conftest import Elsewhere

import sdefast as sf
from sdefast import noise

H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.1], [0.0, -0.1, 2.0]])
STAR = np.array([1.0, -1.0, 0.5])
CORRELATED = sf.LeastSquares(theta_star=STAR, noise_std=0.3, covariance=H)
_B = np.random.default_rng(1).standard_normal((40, 40)) / 8
WIDE = sf.LeastSquares(theta_star=np.linspace(-1, 1, 40), noise_std=0.2, covariance=_B @ _B.T + 0.2 * np.eye(40))
_rng = np.random.default_rng(3)
_X = _rng.standard_normal((30, 3)) @ np.linalg.cholesky(H).T
DATA = sf.LeastSquares(data=(_X, _X @ STAR + 0.5 * _rng.standard_normal(30)))

#: problem, settings; all but the data run in the eigenbasis, compiled or in loops, unless step sizes are per parameter
CASES = {
    "compiled": (CORRELATED, {"step_size": 0.05}),
    "loops": (CORRELATED, {"step_size": 0.1, "batch_size": 8}),
    "narrow": (WIDE, {"step_size": 0.01}),
    "averaged": (CORRELATED, {"step_size": 0.05, "averaging": "polyak-ruppert"}),
    "averaged in loops": (CORRELATED, {"step_size": 0.1, "batch_size": 8, "averaging": "polyak-ruppert"}),
    "per parameter": (CORRELATED, {"step_size": [[0.05, 0.1, 0.02]]}),
    "gaussian": (CORRELATED, {"step_size": 0.05, "noise": "gaussian"}),
    "data": (DATA, {"step_size": 0.05}),
    "noise of data": (DATA, {"step_size": 0.05, "noise": "isotropic"}),
}
LOW, HIGH, BINS = -1.6, 0.4, 9
COUNTING = {"histogram": (LOW, HIGH, BINS)}


def counted(delta):
    """Counts (..., d, bins) of values (..., n, d), none of which is so near to an edge that rounding moves it over."""
    edges = np.linspace(LOW, HIGH, BINS + 1)
    assert np.abs(delta[..., None] - edges).min() > 1e-9
    return ((delta[..., None] >= edges[:-1]) & (delta[..., None] < edges[1:])).sum(-3)


def test_plain_loop_on_the_same_noise():
    """theta of the recursion in numpy, with the inputs that the normals make in the eigenbasis of H."""
    n_runs, n_steps, d = 200, 25, 3
    fit = sf.sgd(CORRELATED, step_size=0.05, n_steps=n_steps, n_runs=n_runs, seed=9, **COUNTING)
    z = noise.normals(9, n_steps * (d + 1), n_runs).reshape(n_steps, d + 1, n_runs)
    values, vectors = np.linalg.eigh(H)
    theta, path = np.zeros((n_runs, d)), [np.zeros((n_runs, d))]
    for k in range(n_steps):
        x = z[k, :d].T @ (vectors * np.sqrt(values)).T
        theta = theta + 0.05 * x * (0.3 * z[k, d] + ((STAR - theta) * x).sum(1))[:, None]
        path.append(theta)
    assert np.array_equal(fit.histogram, counted(np.array(path) - STAR))


@pytest.mark.parametrize("gathering", [{"moments": True}, {"moments": False}], ids=["moments", "alone"])
@pytest.mark.parametrize("name", CASES)
def test_counts_are_of_the_parameters(name, gathering):
    problem, settings = CASES[name]
    n_runs = 150
    fit = sf.sgd(
        problem, n_steps=12, n_runs=n_runs, seed=2, runs=n_runs, save_at=3, **settings, **gathering, **COUNTING
    )
    assert np.array_equal(fit.histogram, counted(fit.theta - problem.theta_star))
    assert 0 < fit.histogram.sum() < n_runs * problem.dim * 4


def test_what_else_is_gathered_is_as_without():
    """Moments, errors and functions of the parameters lie elsewhere among what is observed, and are the same."""
    asked = {"expectations": {"sum": lambda k, theta: theta[0] + theta[1] + theta[2]}, "covariance": True}
    settings = {"step_size": 0.05, "n_steps": 8, "n_runs": 5000, "seed": 2}
    bare = sf.sgd(CORRELATED, **settings, **asked)
    for how in (asked, {**asked, "covariance": False, "moments": False}):
        fit = sf.sgd(CORRELATED, **settings, **how, **COUNTING)
        assert fit.error.tobytes() == bare.error.tobytes()
        assert fit.expectations["sum"].value.tobytes() == bare.expectations["sum"].value.tobytes()
        if how is asked:
            assert fit.covariance.tobytes() == bare.covariance.tobytes()
    np.testing.assert_allclose(bare.expectations["sum"].value, bare.mean.sum(1), rtol=1e-12)


def test_exact_law_and_quantiles():
    """With noise as at theta* theta_k is Gaussian, of mean and covariance that a linear recursion gives."""
    n_runs, n_steps, step = 40_000, 30, 0.2
    fit = sf.noisy_gd(
        CORRELATED, noise="isotropic", step_size=step, n_steps=n_steps, n_runs=n_runs, seed=4, save_at="final",
        histogram=(-1.0, 1.0, 400),
    )  # fmt: skip
    D, mean, covariance = np.eye(3) - step * H, -STAR, np.zeros((3, 3))
    for _ in range(n_steps):
        mean, covariance = D @ mean, D @ covariance @ D + step**2 * 0.09 * H
    for i in range(3):
        law = statistics.NormalDist(mean[i], math.sqrt(covariance[i, i]))
        for p in (0.05, 0.5, 0.9):
            error = math.sqrt(p * (1 - p) / n_runs) / law.pdf(law.inv_cdf(p))
            assert abs(fit.quantile(p)[0, i] - law.inv_cdf(p)) < 4 * error + 1e-4  # within a bin it is taken as linear
        expected = n_runs * np.diff([law.cdf(edge) for edge in fit.histogram_edges])
        often = expected > 20
        chi2 = ((fit.histogram[0, i] - expected)[often] ** 2 / expected[often]).sum()
        assert abs(chi2 - often.sum()) < 4 * math.sqrt(2 * often.sum())


@pytest.mark.parametrize("name", ["compiled", "loops"])
def test_a_gpu_counts_the_same(name):
    problem, settings = CASES[name]
    settings = {**settings, "n_steps": 6, "n_runs": 30, "seed": 2, "save_at": 2, "moments": False, **COUNTING}
    cpu, gpu = sf.sgd(problem, **settings), sf.sgd(problem, **settings, device="cuda")
    assert np.array_equal(gpu.histogram, cpu.histogram)
    assert cpu.histogram.sum()


def test_cut_into_shards_halves_and_files(tmp_path):
    """However a run is cut, the counts are those of the whole one."""
    settings = {"step_size": 0.05, "seed": 5, "save_at": 5, **COUNTING}
    whole = sf.sgd(CORRELATED, n_steps=20, n_runs=9000, **settings)
    elsewhere = sf.sgd(CORRELATED, n_steps=20, n_runs=9000, executor=Elsewhere(), **settings)
    assert np.array_equal(elsewhere.histogram, whole.histogram)
    shards = [sf.sgd(CORRELATED, n_steps=20, n_runs=n, first_chain=c, **settings) for c, n in ((0, 8192), (8192, 808))]
    assert np.array_equal(sf.merge(*shards).histogram, whole.histogram)
    half = sf.sgd(CORRELATED, n_steps=10, n_runs=9000, **settings)
    rest = sf.sgd(CORRELATED, n_steps=10, save_at=5, resume=half, **COUNTING)
    assert np.array_equal(rest.histogram[-2:], whole.histogram[-2:])
    whole.save(tmp_path / "fit.npz")
    again = sf.load(tmp_path / "fit.npz")
    assert np.array_equal(again.histogram, whole.histogram)
    np.testing.assert_array_equal(again.quantile(0.3), whole.quantile(0.3))


def test_refused_of_the_error_alone():
    isotropic = sf.LeastSquares(theta_star=STAR, noise_std=0.1)
    with pytest.raises(ValueError, match="reduced=True runs the error alone: there are no iterates for histogram="):
        sf.sgd(isotropic, step_size=0.1, n_steps=5, n_runs=5, reduced=True, **COUNTING)
