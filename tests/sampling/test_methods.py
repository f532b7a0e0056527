"""Every method against its exact law: a million chains, in float64 and float32, under fixed seeds."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import sdefast as sf
from sdefast.sampling.laws import LinearStep, moments
from sdefast.sampling.methods import METHODS

#: standard errors by which a value may be off, under these seeds
MOST_Z = 5.0

N = 1_000_000

CORRELATED = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])


@dataclass(frozen=True)
class Case:
    """A step size and options; whether steps are linear on a Gaussian, or the stationary law is the target's."""

    h: float
    linear: bool = True
    options: dict = field(default_factory=dict)


CASES = {
    "ula": Case(0.3),
    "mala": Case(0.6, linear=False),
    "baoab": Case(0.8, options={"friction": 1.5}),
}


def test_every_method_is_here():
    assert set(CASES) == set(METHODS)


def run(name, target, case, dtype, **how):
    return sf.langevin(
        target, method=name, step_size=case.h, n_chains=N, dtype=dtype, moments=4, diagnostics=False, seed=11,
        **case.options, **how,
    )  # fmt: skip


def z_scores(chains, mean, variance):
    """Largest of mean and of variance."""
    of_mean = np.abs(chains.mean - mean) / chains.standard_error
    return of_mean.max(), (np.abs(chains.variance - variance) / chains.variance_standard_error).max()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.linear])
def test_linear_steps_have_their_exact_moments_at_every_iteration(name, dtype):
    chains = run(name, CORRELATED, CASES[name], dtype, n_steps=12, x0=[3.0, 0.0], save_at=[1, 2, 5, 12])
    assert max(z_scores(chains, chains.exact_mean, chains.exact_variance)) < MOST_Z


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.linear])
def test_other_methods_stay_at_the_law_that_they_have(name, dtype):
    chains = run(name, CORRELATED, CASES[name], dtype, n_steps=10, x0="sample")
    assert max(z_scores(chains, CORRELATED.mean, np.diag(CORRELATED.covariance))) < MOST_Z


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.linear])
@pytest.mark.parametrize("precision", [0.5, 1.0, 2.0])
def test_stationary_variances_are_the_published_ones(name, precision):
    """The fixed point of the step's own recursion, without chance."""
    method, case = METHODS[name], CASES[name]
    target, options = sf.targets.Gaussian(0.0, 1 / precision), method.options | case.options
    settings = sf.langevin(
        target, method=name, step_size=case.h, n_steps=1, n_chains=1, x0=0.0, seed=0, **case.options
    ).settings  # fmt: skip
    step = LinearStep.of(settings, case.h)
    n = len(step.matrix)
    system = np.eye(n * n) - np.kron(step.matrix, step.matrix)
    noise = (step.noise @ step.noise.T).ravel()
    covariance = np.linalg.lstsq(system, noise, rcond=None)[0].reshape(n, n)
    assert covariance[0, 0] == pytest.approx(method.gaussian_variance(precision, case.h, options), rel=1e-9)


def test_a_start_has_no_spread():
    """The exact law begins with a point and goes to its limit."""
    settings = run("ula", CORRELATED, CASES["ula"], "float64", n_steps=400, x0=[3.0, 0.0], save_at=[0, 400]).settings
    found, p = moments(settings), CORRELATED.precision
    assert np.array_equal(found.covariance[0], np.zeros((2, 2)))
    limit = CORRELATED.covariance @ np.linalg.inv(np.eye(2) - 0.15 * p)
    assert found.covariance[1] == pytest.approx(limit, rel=1e-12)
    assert found.mean[1] == pytest.approx(CORRELATED.mean, abs=1e-12)
