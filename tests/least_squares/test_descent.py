"""SGD as it runs, against exact recursions, against plain numpy on the same noise, and against itself cut otherwise."""

import gc
import math
import re
import sys
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from conftest import in_both_types, thorough_but
from least_squares.distance import far

import sdefast as sf
from sdefast import noise
from sdefast.least_squares.laws import thresholds
from sdefast.least_squares.laws.thresholds import surely_stable
from sdefast.least_squares.steps.iteration import Iteration
from sdefast.trace import expression

#: standard errors by which a mean may be off; the seeds are fixed
MOST_Z = 5.0

STAR = [0.1, -0.2, 1.0, 0.5, -0.5]
THESIS = sf.LeastSquares(theta_star=STAR, noise_std=0.1)
H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.1], [0.0, -0.1, 2.0]])
CORRELATED = sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.3, covariance=H)

#: problem, settings; step sizes below 0.8 of the fourth-moment threshold
CASES = {
    "thesis": (THESIS, {"step_size": 0.05}),
    "decaying": (THESIS, {"step_size": lambda k: 0.1 / (k + 1)}),
    "given": (THESIS, {"step_size": np.linspace(0.1, 0.01, 60)}),
    "batch": (THESIS, {"step_size": 0.1, "batch_size": 4}),
    "large batch": (THESIS, {"step_size": 0.3, "batch_size": 100}),
    "noiseless": (sf.LeastSquares(theta_star=STAR, noise_std=0.0), {"step_size": 0.05}),
    "one parameter": (sf.LeastSquares(theta_star=[2.0], noise_std=1.0), {"step_size": 0.1}),
    "correlated": (CORRELATED, {"step_size": 0.05}),
    "correlated batch": (CORRELATED, {"step_size": 0.05, "batch_size": 3}),
    "per parameter": (CORRELATED, {"step_size": [[0.05, 0.1, 0.02]]}),
    "diagonal": (
        sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.3, covariance=np.diag([1.0, 4.0, 0.25])),
        {"step_size": 0.05},
    ),
    "rates": (THESIS, {"step_size": [[0.05, 0.1, 0.02, 0.05, 0.1]]}),
    "singular": (
        sf.LeastSquares(theta_star=[1.0, 1.0], noise_std=0.2, covariance=[[1.0, 1.0], [1.0, 1.0]]), {"step_size": 0.05},
    ),
    "uniform": (
        sf.LeastSquares(theta_star=[1.0, -0.5], noise_std=0.1, inputs=sf.inputs.Uniform(0.0, 2.0)), {"step_size": 0.1},
    ),
    "rademacher": (
        sf.LeastSquares(theta_star=[1.0, -0.5, 2.0], noise_std=0.5, inputs=sf.inputs.Rademacher()), {"step_size": 0.1},
    ),
    "student": (
        sf.LeastSquares(theta_star=[1.0, -0.5], noise_std=0.5, inputs=sf.inputs.Student(20.0)), {"step_size": 0.03},
    ),
    "wide": (sf.LeastSquares(theta_star=np.linspace(-1, 1, 64), noise_std=0.1), {"step_size": 0.008}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "dtype"), in_both_types(CASES))
def test_curves_are_exact(name, dtype):
    problem, settings = CASES[name]
    n_runs = 4000 if name in ("wide", "large batch") else 20_000
    fit = sf.sgd(problem, n_steps=60, n_runs=n_runs, seed=3, dtype=dtype, covariance=True, **settings)
    exact = problem.expected_error(n_steps=60, **settings)
    assert far(fit.error, exact, fit.error_standard_error) < MOST_Z
    where = {key: value for key, value in settings.items() if key != "batch_size"}
    mean = problem.expected_theta(n_steps=60, save_at="all", **where)
    assert far(fit.mean, mean, fit.standard_error, dtype) < MOST_Z
    covariance = problem.theta_covariance(n_steps=60, save_at="all", **settings)[-1]
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs(fit.covariance[-1] - covariance).max() < 8 * scale.max() / math.sqrt(n_runs)
    assert (fit.n_nonfinite == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_average_is_exact(dtype):
    settings = {"step_size": 0.05, "n_steps": 80, "averaging": "polyak-ruppert"}
    fit = sf.sgd(THESIS, n_runs=20_000, seed=1, dtype=dtype, **settings)
    exact = THESIS.expected_error(**settings)
    assert far(fit.averaged_error, exact, fit.averaged_error_standard_error) < MOST_Z
    assert far(fit.error, THESIS.expected_error(step_size=0.05, n_steps=80), fit.error_standard_error) < MOST_Z


@pytest.mark.parametrize(("dtype", "noise_dtype"), [("float64", None), ("float32", None), ("float64", "float32")])
@pytest.mark.parametrize(("problem", "batch"), [(THESIS, 1), (THESIS, 2), (CORRELATED, 1)], ids=["1", "2", "H"])
def test_same_noise_in_numpy(problem, batch, dtype, noise_dtype):
    d, n_steps, n_runs = problem.dim, 30, 50
    fit = sf.sgd(
        problem, step_size=0.05, n_steps=n_steps, n_runs=n_runs, batch_size=batch, runs=n_runs, seed=9, dtype=dtype,
        noise_dtype=noise_dtype, first_chain=3, moments=True,
    )  # fmt: skip
    m = batch * (d + 1)
    z = noise.normals(9, n_steps * m, n_runs, first_chain=3, dtype=noise_dtype or dtype).astype(float)
    z = z.reshape(n_steps, batch, d + 1, n_runs)
    values, vectors = np.linalg.eigh(H)
    root = np.eye(d) if problem is THESIS else vectors * np.sqrt(values)
    theta = np.zeros((n_runs, d))
    eps = float(np.finfo(dtype).eps)
    for k in range(n_steps):
        gradient = np.zeros((n_runs, d))
        for b in range(batch):
            x = z[k, b, :d].T @ root.T
            residual = problem.noise_std * z[k, b, d] + ((problem.theta_star - theta) * x).sum(1)
            gradient += x * residual[:, None]
        theta = theta + 0.05 / batch * gradient
        assert np.abs(fit.theta[k + 1] - theta).max() <= 40 * eps * (k + 1) * (np.abs(theta).max() + 1)
    np.testing.assert_allclose(fit.mean[-1], theta.mean(0), rtol=1e-4)
    np.testing.assert_allclose(fit.error[-1], ((theta - problem.theta_star) ** 2).sum(1).mean(), rtol=1e-4)


BUILT_IN = [
    "thesis", "decaying", "batch", "noiseless", "diagonal", "correlated batch", "uniform", "rademacher", "rates"
]  # fmt: skip
AVERAGING = [None, "polyak-ruppert"]


@pytest.mark.parametrize(
    ("name", "averaging", "dtype"),
    thorough_but(
        [(name, AVERAGING[i % 2], ("float32", "float64")[i // 2 % 2]) for i, name in enumerate(BUILT_IN)],
        list(product(BUILT_IN, AVERAGING, ["float32", "float64"])),
    ),
)
def test_the_built_in_kernel_has_the_bits_of_the_compiled_one(name, averaging, dtype, monkeypatch):
    problem, settings = CASES[name]
    settings = {"n_steps": 60, "n_runs": 70, "seed": 2, "runs": 70, "dtype": dtype, "averaging": averaging, **settings}
    settings["moments"] = True
    monkeypatch.setattr(Iteration, "is_built_in", True)
    built_in = sf.sgd(problem, **settings)
    monkeypatch.setattr(Iteration, "is_built_in", False)
    compiled = sf.sgd(problem, **settings)
    assert built_in.theta.tobytes() == compiled.theta.tobytes()
    near = {"rtol": 20 * np.finfo(dtype).eps, "atol": np.finfo(dtype).eps}  # rows of other lengths are summed otherwise
    for what in ("error", "mean", "variance") if averaging is None else ("error", "averaged_error"):
        np.testing.assert_allclose(getattr(built_in, what), getattr(compiled, what), **near)


def test_numbers_depend_on_the_settings_alone():
    settings = {"step_size": 0.05, "n_steps": 200, "n_runs": 9000, "seed": 5, "runs": 3}
    one = sf.sgd(THESIS, **settings, threads=1)
    with ThreadPoolExecutor(2) as pool:
        for other in (sf.sgd(THESIS, **settings, threads=2), sf.sgd(THESIS, **settings, executor=pool)):
            assert other.error.tobytes() == one.error.tobytes()
            assert other.theta.tobytes() == one.theta.tobytes()
    alone = sf.sgd(THESIS, **{**settings, "n_runs": 1, "runs": 1}, first_chain=2)
    assert np.array_equal(alone.theta[:, 0], one.theta[:, 2])


@pytest.mark.parametrize("options", [{}, {"averaging": "polyak-ruppert"}, {"reduced": True}, {"noise": "gaussian"}])
def test_the_same_call_again_makes_no_expression(options, monkeypatch):
    settings = {"step_size": 0.05, "n_steps": 20, "n_runs": 30, "seed": 5, **options}
    first = sf.sgd(sf.LeastSquares(theta_star=STAR, noise_std=0.1), **settings)
    monkeypatch.setattr(expression, "Expr", None)  # of which there can be no more
    again = sf.sgd(sf.LeastSquares(theta_star=STAR, noise_std=0.1), **settings)
    assert again.error.tobytes() == first.error.tobytes()


@pytest.mark.parametrize("large", [{"data": (np.ones((3, 1)), np.arange(3.0))}, {"theta_star": [1.0] * 65}])
def test_what_is_large_is_not_kept_alive(large):
    problem = sf.LeastSquares(**large, noise_std=None if "data" in large else 0.1)
    sf.sgd(problem, step_size=0.005, n_steps=2, n_runs=3, seed=0)
    gone = weakref.ref(problem)
    del problem
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("name", "dtype"),
    in_both_types(["thesis", "decaying", "correlated batch", "per parameter", "uniform", "student"]),
)
def test_a_gpu_gives_the_same_runs(name, dtype):
    problem, settings = CASES[name]
    n_steps = 60 if name == "given" else 12
    settings = {"n_steps": n_steps, "n_runs": 20, "seed": 2, "runs": 20, "save_at": 6, "dtype": dtype, **settings}
    cpu, gpu = sf.sgd(problem, **settings), sf.sgd(problem, **settings, device="cuda")
    assert gpu.theta.tobytes() == cpu.theta.tobytes()
    np.testing.assert_allclose(gpu.error, cpu.error, rtol=1e-5)


def test_chosen_iterations_and_starts():
    theta0 = np.random.default_rng(1).standard_normal((100, 5))
    settings = {"step_size": 0.05, "n_steps": 50, "n_runs": 100, "seed": 1, "theta0": theta0}
    all_of_them = sf.sgd(THESIS, **settings, runs=100)
    some = sf.sgd(THESIS, **settings, save_at=[0, 7, 50])
    assert np.array_equal(some.iterations, [0, 7, 50])
    assert np.array_equal(some.error, all_of_them.error[[0, 7, 50]])
    np.testing.assert_allclose(all_of_them.theta[0], theta0, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(some.error[0], ((theta0 - STAR) ** 2).sum(1).mean(), rtol=1e-12)
    assert sf.sgd(THESIS, **settings, save_at="final").error.shape == (1,)


def test_a_step_size_beyond_the_threshold_runs_and_warns():
    with pytest.warns(RuntimeWarning, match=r"step_size=0.3 is beyond the mean-square threshold 0.285714"):
        fit = sf.sgd(THESIS, step_size=0.3, n_steps=10, n_runs=100, seed=0)
    assert np.isfinite(fit.error).all()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit = sf.sgd(THESIS, step_size=3.0, n_steps=3000, n_runs=100, seed=0, dtype="float32", save_at=1000)
    assert any("runs are no longer finite at iteration 3000" in str(w.message) for w in said)
    assert fit.n_nonfinite[-1] == 100
    assert np.isnan(fit.error[-1])


@pytest.mark.parametrize("noise", ["sampled", "gaussian", "isotropic"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda k: 3.0, "step_size=3 is beyond the"),
        (np.full(5, 3.0)[:, None], "step_size=3 is beyond the"),
        (np.full((5, 5), 3.0), "step_size=3 is beyond the"),
        ("3", "step_size=3 is beyond the"),
        (
            [[3.0, 1.0, 1.0, 1.0, 1.0]],
            "step_size is beyond the mean-square threshold 0.177|diag.step_size. H is 3, beyond",
        ),
        ([[0.01], [9.0], [0.01], [0.01], [0.01]], None),
    ],
)
def test_however_constant_step_sizes_are_given_their_threshold_is_told(given, said, noise):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        sf.sgd(THESIS, step_size=given, n_steps=5, n_runs=2, seed=0, noise=noise)
    assert len(heard) == (said is not None)
    assert said is None or re.search(said, str(heard[0].message))


def test_the_threshold_of_step_sizes_per_parameter_is_right():
    """Just below it the exact second moment shrinks, just above it grows, as the warning has it."""
    rates = np.array([0.9, 0.1, 0.1, 0.1, 0.1])
    quiet = sf.LeastSquares(STAR, 0.0)
    with pytest.warns(RuntimeWarning) as heard:
        sf.sgd(THESIS, step_size=[10 * rates], n_steps=3, n_runs=2, seed=0)
    threshold = 10 * float(re.search(r"threshold ([0-9.]+) times these", str(heard[0].message)).group(1))
    for factor, grows in ((0.99, False), (1.01, True)):
        error = quiet.expected_error(step_size=[factor * threshold * rates], n_steps=4000)
        assert (error[-1] > error[2000]) == grows


def test_what_is_checked_first_costs_nothing_and_what_is_computed_is_counted(monkeypatch):
    calls = []
    with pytest.raises(ValueError, match="sampling must be one of"):
        sf.sgd(THESIS, step_size=lambda k: calls.append(k) or 0.1, n_steps=10**6, n_runs=2, sampling="no")
    assert len(calls) <= 2
    asked = thresholds.mean_square_threshold
    monkeypatch.setattr(thresholds, "mean_square_threshold", lambda *how: time.sleep(0.05) or asked(*how))
    with pytest.warns(RuntimeWarning, match="beyond the mean-square threshold"):
        fit = sf.sgd(THESIS, step_size=0.3, n_steps=3, n_runs=2, seed=0)
    assert fit.cost.seconds > 0.05


def test_thresholds_of_shuffled_epochs():
    """Shuffled epochs bear larger steps than batches with replacement; of one iteration their threshold is known."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 20))
    problem = sf.LeastSquares(data=(X, X @ np.ones(20)))
    settings = {"n_steps": 1000, "n_runs": 20, "seed": 1, "sampling": "shuffle", "save_at": "final"}
    for batch_size in (1, 15, 20, 30):
        step_size = 1.05 * problem.mean_square_threshold(batch_size)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert sf.sgd(problem, step_size=step_size, batch_size=batch_size, **settings).error[-1] < 1e-3
    largest = np.linalg.eigvalsh(problem.hessian)[-1]
    with pytest.warns(RuntimeWarning, match=f"beyond the mean-square threshold {2 / largest:.6g}"):
        sf.sgd(problem, step_size=2.1 / largest, batch_size=30, **settings)


def test_the_quick_bound_of_thresholds_is_one():
    rng = np.random.default_rng(5)
    A = rng.standard_normal((6, 3))
    X = rng.standard_normal((9, 6)) + 2
    problems = [
        THESIS,
        sf.LeastSquares(np.zeros(6), 0.1, A @ A.T),
        sf.LeastSquares(data=(X, rng.standard_normal(9))),
        sf.LeastSquares(data=(X @ A @ A.T, rng.standard_normal(9))),
    ]
    for problem in problems:
        for batch_size in (1, 3, 100):
            threshold = problem.mean_square_threshold(batch_size)
            sure = [
                g for g in np.linspace(0.01, 1.5, 300) * threshold if surely_stable(problem._moments, g, batch_size)
            ]
            assert 0.2 * threshold < max(sure) <= threshold * (1 + 1e-9)


REFUSED = [
    ({"problem": 3}, TypeError, "problem must be a LeastSquares"),
    (
        {"problem": sf.LeastSquares(data=(np.eye(3), np.ones(3))), "sampling": "shuffle", "batch_size": 4},
        ValueError,
        "batch_size must be at most the 3 rows of the data, got 4",
    ),
    ({"sampling": "shuffle"}, ValueError, "sampling='shuffle' needs a problem on data"),
    ({"sampling": "epochs"}, ValueError, "sampling must be one of 'replacement', 'shuffle'"),
    ({"sampling": "shuffle", "reduced": True}, ValueError, "sampling='shuffle' needs a problem on data"),
    (
        {"problem": sf.LeastSquares(np.zeros(513), 0.1, inputs=sf.inputs.Student(6.0))},
        ValueError,
        "sgd takes up to 512 parameters with these inputs and step sizes, got 513",
    ),
    (
        {"problem": sf.LeastSquares(theta_star=np.zeros(1000), noise_std=0.1), "batch_size": 200},
        ValueError,
        "batch_size must be at most 130 for 1000 parameters, got 200",
    ),
    (
        {"problem": CORRELATED, "step_size": [[0.1, 0.1, 0.2]], "batch_size": 100},
        ValueError,
        "batch_size=100 with 3 correlated parameters is too large with these inputs and step sizes",
    ),
    ({"step_size": 0.0}, ValueError, "step_size must be positive, got 0"),
    ({"step_size": [0.1, 0.2]}, ValueError, "step_size must be a number, a function"),
    ({"n_steps": 0}, ValueError, "n_steps must be between"),
    ({"n_runs": 1.5}, TypeError, "n_runs must be an integer"),
    ({"batch_size": 0}, ValueError, "batch_size must be between"),
    ({"batch_size": 1025}, ValueError, "batch_size must be between 1 and 1024"),
    ({"theta0": [1.0]}, ValueError, r"theta0 must be of shape \(5,\) or \(10, 5\), got \(1,\)"),
    ({"theta0": np.full(5, 1e39), "dtype": "float32"}, ValueError, "theta0 must be finite in float32"),
    ({"averaging": "tail"}, ValueError, "averaging must be True, 'polyak-ruppert', False or None, got 'tail'"),
    (
        {"problem": sf.LeastSquares(np.zeros(23), 1.0, np.eye(23) + 0.1), "step_size": np.full((1, 23), 0.01)},
        ValueError,
        "sgd takes up to 22 correlated parameters with these inputs and step sizes, got 23",
    ),
    ({"save_at": [3, 2]}, ValueError, "save_at must be"),
    ({"runs": 11}, ValueError, "runs must be between 0 and 10"),
    ({"runs": [10]}, ValueError, "runs must hold integers from 0 to 9"),
    ({"runs": [0.5]}, ValueError, "runs must hold integers from 0 to 9"),
    ({"runs": 1, "coordinates": [5]}, ValueError, "coordinates must hold integers from 0 to 4"),
    ({"coordinates": [1]}, ValueError, "coordinates says what to keep of the runs in runs="),
    ({"covariance": 1}, TypeError, "covariance must be True or False"),
    ({"seed": -1}, ValueError, "seed must be"),
    ({"dtype": "float16"}, TypeError, "dtype must be"),
    ({"device": "tpu"}, ValueError, "device must be"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=[next(iter(r[0])) for r in REFUSED])
def test_refused(change, error, message):
    settings = {"problem": THESIS, "step_size": 0.05, "n_steps": 5, "n_runs": 10, **change}
    with pytest.raises(error, match=message):
        sf.sgd(settings.pop("problem"), **settings)


def test_more_parameters_than_a_kernel_takes_are_refused(monkeypatch):
    monkeypatch.setattr(
        sys.modules["sdefast.least_squares.steps.iterations"], "MOST_PARAMETERS", 20
    )  # as it is, the problem alone would take a gigabyte
    with pytest.raises(ValueError, match="sgd takes up to 20 parameters, got 21"):
        sf.sgd(sf.LeastSquares(np.zeros(21), 0.1), step_size=0.01, n_steps=5, n_runs=10)


def test_what_cannot_be_kept_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("sdefast.resources.available_memory", lambda: 2**28)
    monkeypatch.setattr("sdefast.run.where.Where.run", None)
    settings = {"step_size": 0.05, "n_runs": 10_000}
    with pytest.raises(MemoryError, match=r"of 10000 runs at 1001 iterations need .*: keep fewer: runs=, "):
        sf.sgd(THESIS, n_steps=1000, runs=10_000, **settings)
    with pytest.raises(MemoryError, match="the iterates of 1 runs"):  # all parameters run with the one
        sf.sgd(_many(1000), step_size=1e-5, n_steps=50_000, n_runs=1, runs=1, coordinates=[0])
    data = sf.LeastSquares(data=(np.ones((1_000_000, 1)), np.ones(1_000_000)))
    with pytest.raises(MemoryError, match="the orders of 1000000 rows on 3 threads need"):
        sf.sgd(data, n_steps=10, sampling="shuffle", threads=4, **settings)


def test_large_covariances_are_refused_before_anything_is_made(monkeypatch):
    problem = _many(3000)
    monkeypatch.setattr("sdefast.resources.available_memory", lambda: 2**30)
    monkeypatch.setattr("sdefast.engine.statistics.Layout.pairs", None)
    with pytest.raises(MemoryError, match=r"the statistics of 1 iterations need .*covariance=False"):
        sf.sgd(problem, step_size=1e-5, n_steps=1, n_runs=1, save_at="final", covariance=True)


def test_runs_are_kept_a_few_at_a_time(monkeypatch):
    from sdefast.least_squares import result

    settings = {"step_size": 0.05, "n_steps": 20, "n_runs": 100, "seed": 3, "runs": [*range(80), 3, 90]}
    at_once = sf.sgd(THESIS, **settings).theta
    monkeypatch.setattr(result, "_STATES", 1)
    assert np.array_equal(sf.sgd(THESIS, **settings).theta, at_once)


def test_results_can_be_sent_and_the_package_stays_in_reach():
    import pickle

    from sdefast.least_squares.laws import gibbs

    fit = sf.sgd(THESIS, step_size=0.05, n_steps=5, n_runs=10, seed=0, runs=2)
    copy = pickle.loads(pickle.dumps(fit))
    assert np.array_equal(copy.error, fit.error)
    assert np.array_equal(copy.theta, fit.theta)
    assert callable(sf.sgd)
    assert sf.gibbs is gibbs


def test_what_was_not_gathered_says_how():
    fit = sf.sgd(THESIS, step_size=0.05, n_steps=5, n_runs=10, seed=0)
    for name, hint in (("theta", "runs="), ("covariance", "covariance=True"), ("averaged_error", "polyak-ruppert")):
        with pytest.raises(AttributeError, match=hint):
            getattr(fit, name)
    assert "10 runs x 5 iterations" in repr(fit)


def _many(d, **options):
    return sf.LeastSquares(theta_star=np.linspace(-1.0, 1.0, d), noise_std=0.5, **options)


_SPREAD = np.linspace(0.5, 1.5, 150)
_TURN = np.linalg.qr(np.random.default_rng(3).standard_normal((150, 150)))[0]

#: more parameters than straight-line kernels take
LARGE = {
    "isotropic": (_many(300), {"step_size": 0.002}),
    "averaged": (_many(100), {"step_size": 0.005, "averaging": "polyak-ruppert"}),
    "batch": (_many(100), {"step_size": 0.02, "batch_size": 5}),
    "decaying": (_many(100), {"step_size": lambda k: 0.01 / (k + 1) ** 0.5}),
    "per parameter": (_many(150), {"step_size": 0.004 * _SPREAD[None]}),
    "diagonal": (_many(150, covariance=np.diag(_SPREAD)), {"step_size": 0.003}),
    "correlated": (_many(150, covariance=(_TURN * _SPREAD) @ _TURN.T), {"step_size": 0.003}),
    "uniform": (_many(100, inputs=sf.inputs.Uniform(-1.0, 2.0)), {"step_size": 0.005}),
    "rademacher": (_many(100, inputs=sf.inputs.Rademacher()), {"step_size": 0.005, "batch_size": 2}),
}


@pytest.mark.parametrize(("name", "dtype"), in_both_types(LARGE))
def test_many_parameters(name, dtype):
    problem, settings = LARGE[name]
    fit = sf.sgd(problem, n_steps=50, n_runs=3000, seed=6, dtype=dtype, save_at=10, **settings)
    exact = problem.expected_error(n_steps=50, **settings)[::10]
    value, error = fit.error, fit.error_standard_error
    if "averaging" in settings:
        value, error = fit.averaged_error, fit.averaged_error_standard_error
    assert far(value, exact, error, dtype) < MOST_Z
    where = {key: value for key, value in settings.items() if key not in ("batch_size", "averaging")}
    mean = problem.expected_theta(n_steps=50, save_at=10, **where)
    assert far(fit.mean, mean, fit.standard_error, dtype) < MOST_Z
    spread = np.diagonal(
        problem.theta_covariance(n_steps=50, **{k: v for k, v in settings.items() if k != "averaging"})[-1]
    )
    off = (fit.variance[-1] / spread - 1) / math.sqrt(2 / 3000)  # nearly normal: the kurtosis is close to 3
    assert abs(off.mean()) < MOST_Z / math.sqrt(problem.dim) + 0.5
    assert np.abs(off).max() < 2 * MOST_Z


def test_infinite_fourth_moments_are_told():
    problem = sf.LeastSquares([1.0], 0.1, inputs=sf.inputs.Student(3.0))
    with pytest.warns(RuntimeWarning, match="the fourth moment of the inputs is infinite, no step size"):
        sf.sgd(problem, step_size=0.01, n_steps=3, n_runs=10)


def test_chosen_coordinates_of_chosen_runs():
    for problem in (THESIS, CORRELATED, LARGE["correlated"][0], sf.LeastSquares(data=(np.eye(3), [1.0, 2.0, 3.0]))):
        settings = {"step_size": 0.003, "n_steps": 20, "n_runs": 700, "seed": 4, "save_at": 5, "moments": True}
        everything = sf.sgd(problem, **settings, runs=700)
        some = sf.sgd(problem, **settings, runs=[699, 3, 4, 5, 300], coordinates=[2, 0])
        assert some.theta.shape == (5, 5, 2)
        assert np.array_equal(some.theta, everything.theta[:, [699, 3, 4, 5, 300]][:, :, [2, 0]])
        np.testing.assert_allclose(everything.mean, everything.theta.mean(1), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(everything.variance, everything.theta.var(1, ddof=1), rtol=1e-8, atol=1e-18)


def test_moments_are_those_of_the_same_runs_wherever_they_run():
    with ThreadPoolExecutor(2) as pool:
        fit = sf.sgd(CORRELATED, step_size=0.05, n_steps=30, n_runs=9000, seed=1, executor=pool, moments=True)
        assert np.isfinite(fit.mean).all()
        import pickle

        copy = pickle.loads(pickle.dumps(fit))
    assert np.array_equal(copy.variance, fit.variance)


#: what runs in loops on a GPU too
ON_A_GPU = {
    "large": ("isotropic", 20), "averaged": ("averaged", 24), "batch": ("batch", 20), "decaying": ("decaying", 18),
    "diagonal": ("diagonal", 20), "correlated": ("correlated", 20), "uniform": ("uniform", 20),
    "rademacher": ("rademacher", 20), "per parameter": ("per parameter", 20),
}  # fmt: skip


def _smaller(problem, settings, d):
    """The first parameters of a problem."""
    H = problem.covariance
    if H is not None:
        H = H[:d, :d]
    if np.ndim(settings["step_size"]) == 2:
        settings = {**settings, "step_size": settings["step_size"][:, :d]}
    inputs = None if H is not None else problem.inputs
    return sf.LeastSquares(problem.theta_star[:d], problem.noise_std, covariance=H, inputs=inputs), settings


@pytest.mark.parametrize(("name", "dtype"), in_both_types(ON_A_GPU))
def test_loops_on_a_gpu_give_the_same_runs(name, dtype):
    case, d = ON_A_GPU[name]
    problem, settings = _smaller(*LARGE[case], d)
    settings = {"n_steps": 4, "n_runs": 3, "seed": 2, "runs": 3, "save_at": 2, "dtype": dtype, **settings}
    cpu, gpu = sf.sgd(problem, **settings), sf.sgd(problem, **settings, device="cuda")
    assert gpu.theta.tobytes() == cpu.theta.tobytes()
    for what in ("error", "mean", "variance"):
        np.testing.assert_allclose(getattr(gpu, what), getattr(cpu, what), rtol=1e-4, atol=1e-6)


DATA_TYPES = [("float32", None), ("float64", None), ("float64", "float32")]
DATA_RUNS = [(1, ()), (5, ()), (20, ("batch_size", 3)), (17, ("averaging", "polyak-ruppert"))]


@pytest.mark.parametrize(
    ("d", "option", "types"),
    thorough_but(
        [(*run, DATA_TYPES[i % 3]) for i, run in enumerate(DATA_RUNS)],
        [(*run, types) for run in DATA_RUNS for types in DATA_TYPES],
    ),
)
def test_data_on_a_gpu_give_the_same_runs(d, option, types):
    options = dict([option]) if option else {}
    rng = np.random.default_rng(d)
    problem = sf.LeastSquares(data=(rng.standard_normal((30, d)), rng.standard_normal(30)))
    settings = {"step_size": 0.01, "n_steps": 8, "n_runs": 4, "seed": 2, "runs": 4, "dtype": types[0], **options}
    settings["noise_dtype"] = types[1]
    cpu, gpu = sf.sgd(problem, **settings), sf.sgd(problem, **settings, device="cuda")
    assert gpu.theta.tobytes() == cpu.theta.tobytes()
    np.testing.assert_allclose(gpu.error, cpu.error, rtol=1e-5)
    with pytest.raises(ValueError, match="sampling='shuffle' needs device='cpu'"):
        sf.sgd(problem, **settings, device="cuda", sampling="shuffle")


def test_shards_keep_their_iterates():
    settings = {"step_size": 0.05, "n_steps": 20, "seed": 4, "save_at": 5}
    whole = sf.sgd(THESIS, n_runs=5000, runs=[0, 7, 4096, 4999], coordinates=[2, 0], **settings)
    shards = [
        sf.sgd(THESIS, n_runs=4096, runs=[0, 7], coordinates=[2, 0], **settings),
        sf.sgd(THESIS, n_runs=904, runs=[0, 903], coordinates=[2, 0], first_chain=4096, **settings),
    ]
    merged = sf.merge(*shards)
    assert merged.error.tobytes() == whole.error.tobytes()
    assert merged.theta.tobytes() == whole.theta.tobytes()
    last = sf.sgd(THESIS, n_runs=904, first_chain=4096, **settings)
    with pytest.raises(AttributeError, match="no iterates were kept"):
        _ = sf.merge(shards[0], last).theta
