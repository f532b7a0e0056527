"""Sizes at and around every border: lanes, blocks, batches, segments. Small, so that sanitizers can run it all."""

import itertools

import numpy as np
import pytest
from conftest import MODELS, TYPES

import sdefast as sf
from sdefast import noise

SIZES = [1, 31, 32, 33, 255, 256, 257, 4095, 4096, 4097]


@pytest.mark.parametrize(("n_paths", "types"), [(n, types) for n in SIZES for types in TYPES])
def test_path_counts(n_paths, types):
    """The last path of any number of paths is the same path."""
    options = {"x0": 1.5, "t1": 0.5, "n_steps": 21, "seed": 3, "dtype": types[0], "noise_dtype": types[1]}
    run = sf.simulate(sf.OrnsteinUhlenbeck(), n_paths=n_paths, save_at="all", moments=4, extremes=True, **options)
    last = sf.simulate(sf.OrnsteinUhlenbeck(), n_paths=1, first_chain=n_paths - 1, save_at="all", **options)
    np.testing.assert_array_equal(run.x[:, -1], last.x[:, 0])
    np.testing.assert_array_equal(run.minimum[:, 0], run.x[:, :, 0].min(axis=1))
    np.testing.assert_allclose(run.mean[:, 0], run.x[:, :, 0].mean(axis=1, dtype=float), rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n_steps", [1, 3, 15, 16, 17, 63, 64, 65, 1023, 1025])
def test_step_counts(name, n_steps):
    """A run of n steps is the beginning of a longer one, whatever is recorded."""
    model, x0 = MODELS[name]
    times = np.linspace(0.0, 1.0, 1200)
    options = {"x0": x0, "n_paths": 40, "seed": 5, "dtype": "float32", "covariance": True, "moments": 2}
    short = sf.simulate(model, times=times[: n_steps + 1], **options)
    long = sf.simulate(model, times=times[: n_steps + 30], save_at="all", **options)
    np.testing.assert_array_equal(short.x[-1], long.x[n_steps])
    np.testing.assert_array_equal(short.mean[-1], long.mean[n_steps])


@pytest.mark.parametrize("start", [0, 1, 7, 16, 1000, 1023, 1024, 2047])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("draw", [noise.normals, noise.uniforms])
def test_draw_ranges(start, dtype, draw):
    whole = draw(9, 2100, 35, dtype=dtype)
    for count, chains in itertools.product([0, 1, 2, 50], [1, 33]):
        part = draw(9, count, chains, first_draw=start, dtype=dtype)
        np.testing.assert_array_equal(part, whole[start : start + count, :chains])


def test_many_components():
    """The largest dimension, with covariances of all pairs."""
    dim = 64
    model = sf.LinearSDE(A=-np.eye(dim), B=np.eye(dim))
    run = sf.simulate(
        model, x0=np.arange(dim), t1=0.1, n_steps=5, n_paths=300, seed=1, covariance=True, extremes=True, moments=4
    )
    np.testing.assert_allclose(run.covariance[-1], np.cov(run.x[-1].T), atol=1e-12)
