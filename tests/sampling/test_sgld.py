"""Langevin steps whose score comes from a few rows of data: a replay in numpy; its law is in test_methods.py."""

import sys

import numpy as np
import pytest

import sdefast as sf

N, B = 50, 5

rng = np.random.default_rng(0)
CURVATURES, MEANS, PRIOR = rng.uniform(0.2, 1.8, N), rng.normal(size=N), 2.0


def log_density(x):
    terms = sf.math.sum(lambda p, m: p * (x[0] - m) ** 2, CURVATURES, MEANS)
    return -0.5 * terms - 0.5 * PRIOR * x[0] ** 2


TARGET = sf.targets.Target(log_density)
P = CURVATURES.sum() + PRIOR
MODE = (CURVATURES * MEANS).sum() / P
H = 0.25 / P


def test_the_mode_is_found():
    assert TARGET.mode[0] == pytest.approx(MODE, rel=1e-9)


def test_the_mode_of_a_gaussian_is_its_mean(monkeypatch):
    """Exactly, with no search: "sgld-cv" on a regression runs where scipy cannot be imported."""
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    regression = sf.targets.BayesianLinearRegression(np.arange(12.0).reshape(6, 2) % 5, np.arange(6.0), 0.5)
    gaussian = sf.targets.Gaussian([1.0, 0.1], [[1.0, 0.6], [0.6, 2.0]])
    for target in (regression, gaussian, sf.targets.Composite(gaussian, sf.targets.Quadratic(2.0, 1.0))):
        assert np.array_equal(target.mode, target.mean)
    chains = sf.langevin(
        regression, method="sgld-cv", batch_size=2, step_size=1e-3, n_steps=5, n_chains=3, seed=1, diagnostics=False
    )
    assert np.array_equal([chains.settings.numbers[f"mode{i}"] for i in range(2)], regression.mean)
    assert [chains.settings.numbers[f"mode_score{i}"] for i in range(2)] == [0.0, 0.0]
    with pytest.raises(ImportError, match="the mode is found by scipy"):
        assert sf.targets.Target(log_density).mode


@pytest.mark.parametrize("method", ["sgld", "sgld-cv"])
def test_a_numpy_loop_on_the_same_draws_gives_the_same(method):
    n, steps, first = 7, 30, 5
    chains = sf.langevin(
        TARGET, method=method, batch_size=B, step_size=H, n_steps=steps, n_chains=n, first_chain=first, x0=1.0, seed=3,
        diagnostics=False,
    )  # fmt: skip
    z = sf.noise.normals(3, steps, n, first_chain=first)
    words = sf.noise.words(3, 2 * B * steps, n, stream=2, first_chain=first).astype(object)
    picks = ((words[::2] * 2**32 + words[1::2]) * N >> 64).astype(int).reshape(steps, B, n)
    x = np.ones(n)

    def terms(x, rows):
        return (-CURVATURES[rows] * (x - MEANS[rows])).sum(axis=0)

    for k in range(steps):
        if method == "sgld":
            score = -PRIOR * x + N / B * terms(x, picks[k])
        else:
            score = -PRIOR * (x - MODE) + N / B * (terms(x, picks[k]) - terms(MODE, picks[k]))
        x = x + H * score + np.sqrt(2 * H) * z[k]
    assert chains.x[0, :, 0] == pytest.approx(x, rel=1e-7)  # (the mode that is found is not the last digit)


def test_it_needs_rows_of_data_and_a_batch_size():
    with pytest.raises(ValueError, match="needs data"):
        sf.langevin(sf.targets.Gaussian(0.0, 1.0), method="sgld", batch_size=2, step_size=0.1, n_steps=2, n_chains=2)
    with pytest.raises(TypeError, match="needs batch_size="):
        sf.langevin(TARGET, method="sgld", step_size=0.1, n_steps=2, n_chains=2)
    with pytest.raises(ValueError, match="batch_size"):
        sf.langevin(TARGET, method="sgld", batch_size=0, step_size=0.1, n_steps=2, n_chains=2)


def test_bits_are_those_of_any_threads_and_shards():
    how = {"method": "sgld-cv", "batch_size": B, "step_size": H, "n_steps": 20, "x0": MODE, "seed": 4}
    whole = sf.langevin(TARGET, n_chains=9000, threads=2, **how)
    shards = [sf.langevin(TARGET, n_chains=n, first_chain=c, threads=1, **how) for c, n in ((0, 8192), (8192, 808))]
    assert np.array_equal(sf.merge(*shards).x, whole.x)
    before = sf.langevin(TARGET, n_chains=9000, **{**how, "n_steps": 13})
    assert np.array_equal(sf.langevin(TARGET, resume=before, n_steps=7).x, whole.x)
