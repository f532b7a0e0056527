"""Statistics that overflow are warned of: states that are finite, with squares that are not."""

import math
import warnings

import numpy as np
import pytest

import sdefast as sf

STIFF = sf.SDE(lambda t, x: -1000 * (x[0] - math.cos(t)), lambda t, x: 0.1, noise="additive")


def test_paths_under_a_stiff_drift():
    settings = {"x0": 1.0, "t1": 1.0, "n_paths": 50, "seed": 1, "method": "sra1"}
    with pytest.warns(RuntimeWarning, match=r"overflow from time 0\.\d+ on, though the paths are finite: variance"):
        run = sf.simulate(STIFF, n_steps=100, save_at="all", moments=4, **settings)
    assert np.isfinite(run.x).all()
    assert not np.isfinite(run.variance[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sf.simulate(STIFF, n_steps=2000, **settings)


def test_expectations():
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": 4, "n_paths": 50, "seed": 1}
    huge = {"f": lambda t, x: 1e160 * (x[0] + 2 * t)}
    with pytest.warns(RuntimeWarning, match="overflow from time 1 on, though the paths are finite: variance"):
        sf.simulate(sf.BrownianMotion(), expectations=huge, **settings)


def test_runs_of_sgd_and_chains():
    problem = sf.LeastSquares(theta_star=[0.1] * 5, noise_std=0.1)
    with (
        pytest.warns(RuntimeWarning, match="overflow from iteration .* on, though the runs are finite: variance"),
        pytest.warns(RuntimeWarning, match="beyond the mean-square threshold"),
    ):
        fit = sf.sgd(problem, step_size=lambda k: 1e3, n_steps=45, n_runs=50, seed=1)
    assert fit.n_nonfinite[-1] == 0
    target = sf.targets.Gaussian([0.0], [[1.0]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sf.langevin(target, method="ula", step_size=1e4, n_steps=40, n_chains=50, seed=1)
    assert any("overflow from iteration 40 on, though the chains are finite: var" in str(w.message) for w in caught)
