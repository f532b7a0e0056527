"""Sizes at and around every border: lanes, blocks, batches, segments. Small, so that sanitizers can run it all."""

import itertools

import numpy as np
import pytest
from conftest import MODELS, TYPES, in_both_types

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


FACTORS = (0.5, 0.25, 0.125)
SDE = sf.SDE(lambda t, x, p: -x[0] * t, lambda t, x, p: (FACTORS,), noise="general", noise_dim=3)


@pytest.mark.parametrize("n_paths", [1, 32, 257, 4097])
@pytest.mark.parametrize(("method", "dtype"), in_both_types(["euler-maruyama", "weak-euler"]))
def test_compiled_steps(n_paths, method, dtype):
    """Signs, uniforms, observers and histograms; three draws a step fill no word and no batch evenly."""
    options = {
        "x0": 0.5, "seed": 3, "dtype": dtype, "method": method, "histogram": (-1.0, 1.0, 7),
        "functionals": {"high": sf.functionals.running_max(), "low": sf.functionals.running_min()},
        "expectations": {"square": lambda t, x: x[0] * x[0], "range": lambda t, x, p, y: y.high - y.low},
    }  # fmt: skip
    times = np.linspace(0.0, 1.0, 400)
    long = sf.simulate(SDE, n_paths=n_paths, times=times, save_at="all", **options)
    short = sf.simulate(SDE, n_paths=n_paths, times=times[:176], **options)
    last = sf.simulate(SDE, n_paths=1, first_chain=n_paths - 1, times=times, save_at="all", **options)
    np.testing.assert_array_equal(short.x[-1], long.x[175])
    np.testing.assert_array_equal(last.x[:, 0], long.x[:, -1])
    np.testing.assert_array_equal(last.functionals["low"].values[:, 0], long.functionals["low"].values[:, -1])
    np.testing.assert_array_equal(short.expectations["range"].value[-1], long.expectations["range"].value[175])
    np.testing.assert_array_equal(long.histogram.sum(axis=-1)[:, 0], (np.abs(long.x[..., 0]) < 1).sum(axis=1))


@pytest.mark.parametrize("n_paths", [1, 33, 257])
def test_given_normals(n_paths):
    options = {"x0": 0.5, "t1": 1.0, "n_steps": 37, "n_paths": n_paths, "seed": 3}
    z = noise.normals(3, 37 * 3, n_paths).reshape(37, 3, n_paths).transpose(0, 2, 1)
    np.testing.assert_array_equal(sf.simulate(SDE, normals=z, **options).x, sf.simulate(SDE, **options).x)


_ROWS = np.random.default_rng(2).standard_normal((23, 40))
_H = np.eye(20) + 0.1

#: SGD in loops over narrow rows, and on data: problem, settings, iterations of an epoch
DESCENTS = {
    "stream": (sf.LeastSquares(np.ones(17), 0.1), {}),
    "batch": (sf.LeastSquares(np.ones(5), 0.1), {"batch_size": 7}),
    "average": (sf.LeastSquares(np.ones(40), 0.1), {"averaging": "polyak-ruppert"}),
    "noiseless": (sf.LeastSquares(np.ones(33), 0.0), {}),
    "turned": (sf.LeastSquares(np.ones(20), 0.1, _H), {}),
    "uniform": (sf.LeastSquares(np.ones(18), 0.1, inputs=sf.inputs.Uniform(-1.0, 1.0)), {"batch_size": 2}),
    "signs": (sf.LeastSquares(np.ones(18), 0.1, inputs=sf.inputs.Rademacher()), {}),
    **{
        f"{sampling}, {d}, {batch}": (
            sf.LeastSquares(data=(_ROWS[:, :d], _ROWS[:, -1])), {"sampling": sampling, "batch_size": batch},
        )
        for sampling in ("replacement", "shuffle")
        for d, batch in ((1, 1), (7, 1), (8, 5), (15, 1), (16, 2), (31, 23), (39, 1))
    },
}  # fmt: skip


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("name", DESCENTS)
def test_sgd_in_loops(name, types):
    """A run is the same alone and among others, from wherever it is recorded; lanes and iterations end anywhere."""
    problem, options = DESCENTS[name]
    options = {"step_size": 0.01, "seed": 8, "dtype": types[0], "noise_dtype": types[1], **options}
    many = sf.sgd(problem, n_steps=77, n_runs=35, runs=35, moments=True, **options)
    alone = sf.sgd(problem, n_steps=66, n_runs=1, runs=1, first_chain=34, save_at="final", **options)
    np.testing.assert_array_equal(alone.theta[-1, 0], many.theta[66, 34])
    errors = ((many.theta.astype(float) - problem.theta_star) ** 2).sum(-1).mean(-1)
    close = {"rtol": 1e-4, "atol": 1e-6} if types[0] == "float32" else {"rtol": 1e-10, "atol": 1e-14}
    np.testing.assert_allclose(many.error, errors, **close)
    np.testing.assert_allclose(many.mean, many.theta.mean(1, dtype=float), **close)


@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
def test_picks_do_not_depend_on_how_steps_are_cut(sampling, monkeypatch):
    """Calls that begin within an epoch, or within a batch of picks, find the order anew."""
    problem = sf.LeastSquares(data=(np.random.default_rng(4).standard_normal((1500, 3)), np.ones(1500)))
    options = {"step_size": 1e-3, "n_steps": 3100, "n_runs": 33, "seed": 2, "runs": 33, "sampling": sampling}
    whole = sf.sgd(problem, save_at=100, **options)
    fine = sf.sgd(problem, save_at="all", **options)
    np.testing.assert_array_equal(fine.theta[::100], whole.theta)
    monkeypatch.setattr("sdefast.engine.tiles.CALL", 1)
    np.testing.assert_array_equal(sf.sgd(problem, save_at=100, **options).theta, whole.theta)
