"""Noisy gradient descent: as Euler-Maruyama of the modified equation, against plain numpy and exact recursions."""

import math
import pickle
import warnings

import numpy as np
import pytest
from conftest import in_both_types, thorough_but
from least_squares.distance import far

import sdefast as sf
from sdefast import noise

#: standard errors by which a mean may be off; the seeds are fixed
MOST_Z = 5.0

STAR = [0.1, -0.2, 1.0, 0.5, -0.5]
THESIS = sf.LeastSquares(theta_star=STAR, noise_std=0.1)
H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.1], [0.0, -0.1, 2.0]])
CORRELATED = sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.3, covariance=H)
DIAGONAL = sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.3, covariance=np.diag([1.0, 0.5, 2.0]))
UNIFORM = sf.LeastSquares(theta_star=[1.0, -0.5], noise_std=0.1, inputs=sf.inputs.Uniform(0.0, 2.0))
_rng = np.random.default_rng(3)
X = _rng.standard_normal((40, 3))
DATA = sf.LeastSquares(data=(X, X @ [1.0, -2.0, 0.5] + X[:, 0] * _rng.standard_normal(40)))

CASES = {
    "thesis": (THESIS, {"step_size": 0.05}),
    "decaying": (THESIS, {"step_size": lambda k: 0.1 / (k + 1)}),
    "batch": (THESIS, {"step_size": 0.1, "batch_size": 4}),
    "noiseless": (sf.LeastSquares(theta_star=STAR, noise_std=0.0), {"step_size": 0.05}),
    "one parameter": (sf.LeastSquares(theta_star=[2.0], noise_std=1.0), {"step_size": 0.1}),
    "diagonal": (DIAGONAL, {"step_size": 0.05}),
    "correlated": (CORRELATED, {"step_size": 0.05}),
    "correlated batch": (CORRELATED, {"step_size": 0.05, "batch_size": 3}),
    "correlated, given": (CORRELATED, {"step_size": np.linspace(0.1, 0.01, 60)}),
    "per parameter": (CORRELATED, {"step_size": [[0.05, 0.1, 0.02]]}),
    "singular": (
        sf.LeastSquares(theta_star=[1.0, 1.0], noise_std=0.2, covariance=[[1.0, 1.0], [1.0, 1.0]]), {"step_size": 0.05},
    ),
    "wide": (sf.LeastSquares(theta_star=np.linspace(-1, 1, 64), noise_std=0.1), {"step_size": 0.008}),
}  # fmt: skip


#: what takes long to compile is left to one test
FEWER = [name for name in CASES if name != "wide"]


def root(matrix):
    """The symmetric root."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def runs_of(problem):
    """As many numbers of many parameters in fewer runs."""
    return 20_000 if problem.dim < 10 else 2000


@pytest.mark.parametrize(
    ("name", "dtype"),
    thorough_but(
        [(name, ("float64", "float32")[i % 2]) for i, name in enumerate(FEWER)],
        [(name, dtype) for name in CASES for dtype in ("float64", "float32")],
    ),
)
def test_full_noise_has_the_moments_of_sgd(name, dtype):
    problem, settings = CASES[name]
    fit = sf.noisy_gd(problem, n_steps=60, n_runs=runs_of(problem), seed=3, dtype=dtype, moments=True, **settings)
    exact = problem.expected_error(n_steps=60, **settings)
    np.testing.assert_allclose(fit.exact, exact, rtol=1e-7 if dtype == "float32" else 1e-10, atol=1e-15)
    assert far(fit.error, exact, fit.error_standard_error) < MOST_Z
    where = {key: value for key, value in settings.items() if key != "batch_size"}
    mean = problem.expected_theta(n_steps=60, save_at="all", **where)
    assert far(fit.mean, mean, fit.standard_error, dtype) < MOST_Z
    assert (fit.n_nonfinite == 0).all()


@pytest.mark.parametrize("name", thorough_but(FEWER, CASES))
def test_full_noise_has_the_covariance_of_sgd(name):
    problem, settings = CASES[name]
    settings = {"n_steps": 60, "save_at": "final", **settings}
    n = runs_of(problem)
    fit = sf.noisy_gd(problem, n_runs=n, seed=6, runs=n, **settings)
    exact = problem.theta_covariance(**settings)[-1]
    delta = fit.theta[-1] - fit.theta[-1].mean(0)
    for i in range(min(problem.dim, 5)):
        products = delta * delta[:, [i]]
        error = products.std(0) / math.sqrt(n)
        assert far(products.mean(0), exact[i], error) < MOST_Z
    np.testing.assert_allclose(fit.variance[-1], (delta**2).sum(0) / (n - 1), rtol=1e-8)


@pytest.mark.parametrize("name", thorough_but([*FEWER, "uniform", "data"], [*CASES, "uniform", "data"]))
def test_isotropic_noise_is_a_linear_recursion(name):
    others = {"uniform": (UNIFORM, {"step_size": 0.1}), "data": (DATA, {"step_size": 0.1, "batch_size": 2})}
    problem, settings = {**CASES, **others}[name]
    fit = sf.noisy_gd(problem, n_steps=60, n_runs=runs_of(problem), seed=4, noise="isotropic", **settings)
    rates = settings["step_size"]
    noise_at_best = problem.gradient_covariance(problem.theta_star, settings.get("batch_size", 1))
    C, m = np.zeros((problem.dim, problem.dim)), -problem.theta_star
    for k in range(61):
        assert fit.exact[k] == pytest.approx(np.trace(C) + m @ m, rel=1e-11)
        g = np.broadcast_to(rates(k) if callable(rates) else rates, (60,))[k % 60] if np.ndim(rates) < 2 else rates[0]
        G = np.diag(np.broadcast_to(g, problem.dim))
        D = np.eye(problem.dim) - G @ problem.hessian
        C, m = D @ C @ D.T + G @ noise_at_best @ G, D @ m
    assert far(fit.error, fit.exact, fit.error_standard_error) < MOST_Z


BATCHED = {"I": (THESIS, 1), "batch": (THESIS, 3), "D": (DIAGONAL, 1), "H": (CORRELATED, 2)}


@pytest.mark.parametrize(
    ("case", "dtype"), in_both_types([(name, law) for name in BATCHED for law in ("gaussian", "isotropic", "gaussian")])
)
def test_it_is_euler_maruyama_of_the_modified_equation(case, dtype):
    """With steps of the step size and the same normals, which in the eigenbasis are others for the parameters."""
    (problem, batch), noise_law = BATCHED[case[0]], case[1]
    g, n_steps, n_runs, d = 0.05, 40, 30, problem.dim
    fit = sf.noisy_gd(
        problem, step_size=g, n_steps=n_steps, n_runs=n_runs, noise=noise_law, batch_size=batch, seed=5,
        first_chain=7, runs=n_runs, dtype=dtype,
    )  # fmt: skip
    m = d + (noise_law == "gaussian")
    equation = problem.modified_equation(
        g, covariance="full" if noise_law == "gaussian" else "isotropic", batch_size=batch
    )
    z = noise.normals(5, n_steps * m, n_runs, first_chain=7, dtype=dtype).reshape(n_steps, m, n_runs)
    z = z.transpose(0, 2, 1).astype(float)
    if problem is CORRELATED:
        z[..., :d] = z[..., :d] @ np.linalg.eigh(H)[1].T
    run = sf.simulate(
        equation, x0=np.zeros(d), t1=n_steps * g,
        n_steps=n_steps, n_paths=n_runs, normals=z, save_at="all", dtype=dtype,
    )  # fmt: skip
    np.testing.assert_allclose(run.t, g * fit.iterations, rtol=1e-12)
    assert np.abs(fit.theta - run.x).max() <= 20 * n_steps * np.finfo(dtype).eps
    if problem is not CORRELATED:  # then the generator's own normals are the same
        again = sf.simulate(
            run.model, x0=np.zeros(d), t1=n_steps * g, n_steps=n_steps, n_paths=n_runs, seed=5, first_chain=7,
            dtype=dtype,
        )  # fmt: skip
        assert np.abs(fit.theta[-1] - again.x[-1]).max() <= 20 * n_steps * np.finfo(dtype).eps


@pytest.mark.parametrize("noise_law", ["gaussian", "isotropic"])
def test_same_noise_in_numpy(noise_law):
    """Step sizes per parameter, in the parameters' own coordinates, by the problem's own noise."""
    rates, n_steps, n_runs = np.array([0.05, 0.1, 0.02]), 30, 50
    fit = sf.noisy_gd(
        CORRELATED, step_size=[rates], n_steps=n_steps, n_runs=n_runs, noise=noise_law, batch_size=2, seed=9,
        runs=n_runs,
    )  # fmt: skip
    m = 3 + (noise_law == "gaussian")
    z = noise.normals(9, n_steps * m, n_runs).reshape(n_steps, m, n_runs)
    theta = np.zeros((n_runs, 3))
    for k in range(n_steps):
        if noise_law == "gaussian":
            gradient_noise = CORRELATED.gradient_noise(theta, z[k].T, batch_size=2)
        else:
            gradient_noise = CORRELATED.noise_std * z[k].T @ root(H) / math.sqrt(2)
        theta = theta - rates * CORRELATED.gradient(theta) + rates * gradient_noise
        assert np.abs(fit.theta[k + 1] - theta).max() < 1e-14 * (k + 1)
    np.testing.assert_allclose(fit.mean[-1], theta.mean(0), rtol=1e-10)
    np.testing.assert_allclose(fit.variance[-1], theta.var(0, ddof=1), rtol=1e-8)
    np.testing.assert_allclose(fit.error[-1], ((theta - CORRELATED.theta_star) ** 2).sum(1).mean(), rtol=1e-10)


def test_moments_are_those_of_the_parameters_in_the_eigenbasis_too():
    fit = sf.noisy_gd(CORRELATED, step_size=0.1, n_steps=20, n_runs=500, seed=1, runs=500, save_at=10)
    np.testing.assert_allclose(fit.mean, fit.theta.mean(1), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(fit.variance, fit.theta.var(1, ddof=1), rtol=1e-8, atol=1e-14)
    errors = ((fit.theta - CORRELATED.theta_star) ** 2).sum(2)
    np.testing.assert_allclose(fit.error, errors.mean(1), rtol=1e-10)
    np.testing.assert_allclose(fit.error_standard_error, errors.std(1, ddof=1) / math.sqrt(500), rtol=1e-8, atol=1e-14)


def test_without_noise_it_is_gradient_descent():
    problem = sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.0, covariance=H)
    start = np.array([0.0, 2.0, 1.0])
    fit = sf.noisy_gd(problem, step_size=0.3, n_steps=30, n_runs=2, noise="isotropic", seed=1, runs=2, theta0=start)
    gradient_descent = sf.gd(problem, step_size=0.3, n_steps=30, theta0=start)
    np.testing.assert_allclose(fit.theta[:, 1], gradient_descent.theta, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(fit.error, gradient_descent.error, rtol=1e-11)


def test_numbers_depend_on_the_settings_alone():
    settings = {"step_size": 0.05, "n_steps": 100, "n_runs": 9000, "seed": 5, "runs": 3, "moments": True}
    for problem in (THESIS, CORRELATED):
        one = sf.noisy_gd(problem, **settings, threads=1)
        other = sf.noisy_gd(problem, **settings, threads=2)
        assert other.error.tobytes() == one.error.tobytes()
        assert other.variance.tobytes() == one.variance.tobytes()
        alone = sf.noisy_gd(problem, **{**settings, "n_runs": 1, "runs": 1}, first_chain=2)
        assert np.array_equal(alone.theta[:, 0], one.theta[:, 2])
        copy = pickle.loads(pickle.dumps(one))
        assert np.array_equal(copy.error, one.error)
        assert np.array_equal(copy.exact, one.exact)


def test_starts_of_its_own():
    theta0 = np.random.default_rng(1).standard_normal((4000, 3))
    fit = sf.noisy_gd(
        CORRELATED, step_size=0.05, n_steps=20, n_runs=4000, seed=1, theta0=theta0, save_at=[0, 20], runs=4000
    )
    np.testing.assert_allclose(fit.theta[0], theta0, atol=1e-14)
    assert fit.exact[0] == pytest.approx(fit.error[0], rel=1e-12)
    assert far(fit.error[1:], fit.exact[1:], fit.error_standard_error[1:]) < MOST_Z


ON_A_GPU = [
    ("thesis", "gaussian"), ("thesis", "isotropic"), ("decaying", "isotropic"), ("decaying", "gaussian"),
    ("correlated", "gaussian"), ("correlated", "isotropic"), ("per parameter", "isotropic"),
    ("per parameter", "gaussian"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "dtype"), in_both_types(ON_A_GPU))
def test_a_gpu_gives_the_same_runs(case, dtype):
    name, noise_law = case
    problem, settings = CASES[name]
    settings = {"n_steps": 6, "n_runs": 5, "seed": 2, "runs": 5, "save_at": 3, "dtype": dtype, **settings}
    cpu = sf.noisy_gd(problem, noise=noise_law, **settings)
    gpu = sf.noisy_gd(problem, noise=noise_law, **settings, device="cuda")
    assert np.array_equal(gpu.theta, cpu.theta)
    np.testing.assert_allclose(gpu.error, cpu.error, rtol=1e-5)


def test_a_step_size_beyond_the_threshold_warns():
    with pytest.warns(RuntimeWarning, match=r"step_size=0.3 is beyond the mean-square threshold 0.285714"):
        sf.noisy_gd(THESIS, step_size=0.3, n_steps=10, n_runs=100, seed=0)
    with pytest.warns(RuntimeWarning, match=r"step_size=2 is beyond the threshold 2 / lambda_max = 2:"):
        sf.noisy_gd(THESIS, step_size=2.0, n_steps=10, n_runs=100, seed=0, noise="isotropic")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit = sf.noisy_gd(THESIS, step_size=30.0, n_steps=300, n_runs=100, seed=0, dtype="float32", save_at=100)
    assert any("100 of 100 runs are no longer finite at iteration 300" in str(w.message) for w in said)
    assert fit.n_nonfinite[-1] == 100


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": 3}, TypeError, "problem must be a LeastSquares"),
        ({"problem": UNIFORM}, ValueError, "noise='gaussian' needs Gaussian inputs"),
        ({"problem": sf.LeastSquares(np.zeros(513), 0.1)}, ValueError, "takes up to 512 parameters, got 513"),
        (
            {"problem": sf.LeastSquares(np.zeros(30), 0.1, covariance=np.eye(30) + 1), "step_size": np.ones((1, 30))},
            ValueError,
            "30 correlated parameters with step sizes per parameter are too many",
        ),
        ({"noise": "diagonal"}, ValueError, "noise must be one of 'gaussian', 'isotropic'"),
        ({"step_size": 0.0}, ValueError, "step_size must be positive, got 0"),
        ({"n_steps": 0}, ValueError, "n_steps must be between"),
        ({"n_runs": 1.5}, TypeError, "n_runs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be between"),
        ({"theta0": [1.0]}, ValueError, r"theta0 must be of shape \(5,\) or \(10, 5\), got \(1,\)"),
        ({"save_at": [3, 2]}, ValueError, "save_at must be"),
        ({"runs": 11}, ValueError, "runs must be between 0 and 10"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"dtype": "float16"}, TypeError, "dtype must be"),
        ({"device": "tpu"}, ValueError, "device must be"),
    ],
)  # fmt: skip
def test_refused(change, error, message):
    settings = {"problem": THESIS, "step_size": 0.05, "n_steps": 5, "n_runs": 10, **change}
    with pytest.raises(error, match=message):
        sf.noisy_gd(settings.pop("problem"), **settings)


def test_what_was_not_gathered_says_how():
    fit = sf.noisy_gd(THESIS, step_size=0.05, n_steps=5, n_runs=10, seed=0)
    with pytest.raises(AttributeError, match="runs="):
        fit.theta  # noqa: B018
    assert "noisy gradient descent" in repr(fit)
