"""Means of a logistic regression: a long MALA run against quadrature, and every kind of method against it."""

from functools import cache

import numpy as np
import pytest
from conftest import thorough_but, worst_z

import sdefast as sf

#: exceeded by chance by one of the 30 z-scores in one of 5000 choices of the seeds
MOST_Z = 4.5

_rng = np.random.default_rng(21)
X = np.column_stack([np.ones(40), _rng.standard_normal((40, 2)) * [1.0, 2.0]])
LABELS = _rng.uniform(size=40) < 1 / (1 + np.exp(-X @ [0.5, -1.0, 0.6]))
TARGET = sf.targets.LogisticRegression(X, LABELS, prior_std=[1.0, 2.0, 1.5])
H = 1 / TARGET.curvature


@cache
def reference(n_chains):
    """A long run of MALA."""
    chains = sf.langevin(
        TARGET, method="mala", adapt=True, n_steps=2100, burn_in=100, n_chains=n_chains, x0=TARGET.mode, seed=31
    )
    assert (chains.rhat < 1.02).all()
    return chains


def by_quadrature(n=24):
    """Mean and variance by Gauss-Hermite quadrature around the mode, in its Hessian's coordinates."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    z = np.stack(np.meshgrid(*[nodes] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    w = np.einsum("i,j,k->ijk", *[weights] * 3).ravel()
    p = 1 / (1 + np.exp(-X @ TARGET.mode))
    hessian = (X * (p * (1 - p))[:, None]).T @ X + np.diag(1 / np.square(TARGET.prior_std))
    x = TARGET.mode + 1.2 * z @ np.linalg.cholesky(np.linalg.inv(hessian)).T
    values = TARGET.log_density(x) + 0.5 * (z**2).sum(axis=1)
    w = w * np.exp(values - values.max())
    mean = w @ x / w.sum()
    return mean, w @ (x - mean) ** 2 / w.sum()


@pytest.mark.parametrize("n_chains", thorough_but([4096], [4096, 32_768]))
def test_mala_has_the_means_of_quadrature(n_chains):
    """z-scores of the means, 1.7 and 0.9 when this was written.

    Variances are within 5 standard errors, were draws normal and as many as the least ess.
    """
    mean, variance = by_quadrature()
    assert by_quadrature(32)[0] == pytest.approx(mean, abs=1e-8)
    chains = reference(n_chains)
    assert worst_z(chains.pooled_mean, mean, chains.pooled_standard_error) < MOST_Z
    assert chains.pooled_variance == pytest.approx(variance, rel=5 * np.sqrt(2 / chains.ess.min()))


#: step sizes and numbers of steps
OTHERS = {
    "ula": (0.3 * H, 3200, {}),
    "barker": (0.7 * H, 1600, {}),
    "sgld-cv": (0.3 * H, 3200, {"batch_size": 10}),
    "preconditioned": (0.1, 800, {"metric": "hessian"}),
}


def without_bias(method, x0):
    """Means as step sizes go to 0, from runs with h and h / 2, biases being of order h at least; standard errors."""
    h, n_steps, options = OTHERS[method]
    runs = [
        sf.langevin(
            TARGET, method=method, step_size=h / k, n_steps=k * n_steps, n_chains=len(x0), x0=x0, seed=k, **options
        )
        for k in (1, 2)
    ]
    assert all((chains.rhat < 1.1).all() for chains in runs)
    whole, half = runs
    error = np.hypot(2 * half.pooled_standard_error, whole.pooled_standard_error)
    return 2 * half.pooled_mean - whole.pooled_mean, error


@pytest.mark.parametrize(
    ("method", "n_chains"),
    thorough_but([(name, 256) for name in ("ula", "sgld-cv")], [(name, n) for n in (256, 2048) for name in OTHERS]),
)
def test_others_have_the_means_of_a_long_run_of_mala(method, n_chains):
    """z-scores of differences, 1.4 at most when this was written; chains begin where those of the long run ended."""
    long = reference(8 * n_chains)
    mean, error = without_bias(method, long.x[-1, :n_chains])
    assert worst_z(mean, long.pooled_mean, np.hypot(error, long.pooled_standard_error)) < MOST_Z
