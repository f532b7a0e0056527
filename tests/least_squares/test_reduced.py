"""The chain of the error alone, against exact curves, plain numpy on the same draws, and the whole chain."""

import math
import pickle

import numpy as np
import pytest
from conftest import in_both_types, thorough_but
from least_squares.distance import far
from numpy.polynomial import polynomial
from scipy import stats

import sdefast as sf
from sdefast import noise
from sdefast.engine.statistics import Layout
from sdefast.least_squares.asked import start_rows
from sdefast.least_squares.steps.base import Settings
from sdefast.least_squares.steps.chi_square import SMOOTH, ChiSquare, quantile_polynomial
from sdefast.least_squares.steps.reduced import ReducedIteration
from sdefast.run.schedule import iteration_grid, step_sizes
from sdefast.run.where import Where

#: standard errors by which a mean may be off, under this seed
MOST_Z, SEED = 5.0, 3

DTYPES = [("float32", "float32"), ("float64", "float64"), ("float64", "float32")]


def problem_of(d, noise_std=0.3, h=1.0):
    return sf.LeastSquares(theta_star=np.linspace(-1, 1, d) if d > 1 else [1.5], noise_std=noise_std,
                           covariance=None if h == 1 else h * np.eye(d))  # fmt: skip


def run(problem, step_size, n_steps, n_runs, batch_size=1, dtype="float64", noise_dtype=None, keep=False,
        device="cpu", threads=1):  # fmt: skip
    """States (n_steps + 1, n_runs), or mean and standard error of the error at every iteration."""
    if not keep:
        fit = sf.sgd(
            problem, step_size=step_size, n_steps=n_steps, n_runs=n_runs, batch_size=batch_size, reduced=True,
            seed=SEED, dtype=dtype, noise_dtype=noise_dtype, device=device, threads=threads,
        )  # fmt: skip
        assert (fit.n_nonfinite == 0).all()
        return fit.error, fit.error_standard_error
    iteration, where = ReducedIteration(problem, batch_size), Where.of(device, threads, None)
    settings = Settings(
        iteration=iteration, rates=step_sizes(step_size, n_steps, problem.dim), theta0=np.zeros(problem.dim), seed=SEED,
        dtype=np.dtype(dtype), noise_dtype=np.dtype(noise_dtype or dtype), first_chain=0, n_chains=n_runs,
        grid=iteration_grid(n_steps), saves=np.arange(n_steps + 1), layout=Layout(1, 2, False, False),
        keeps_states=True,
    )  # fmt: skip
    states = where.run(settings.tile(start_rows(settings), device=where.gpu), None).states
    return np.ascontiguousarray((states if device == "cpu" else states.to_numpy())[:, 0])


# Exact curves --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "dtype"), in_both_types([(d, (1, 4)[i % 2]) for i, d in enumerate([1, 2, 3, 4, 5, 6, 8, 100, 1000, 1, 5])])
)
def test_curves_are_exact(size, dtype):
    d, batch_size = size
    problem = problem_of(d)
    step_size = 0.6 * problem.fourth_moment_threshold()
    mean, error = run(problem, step_size, 60, 20_000, batch_size, dtype)
    exact = problem.expected_error(step_size=step_size, n_steps=60, batch_size=batch_size)
    assert far(mean, exact, error, rtol=1e-5 if dtype == "float32" else 1e-12, atol=0.0) < MOST_Z


BATCHES = [1, 2, 3, 7, 8, 9, 100, 5000]


@pytest.mark.parametrize(
    ("batch_size", "noise_std"),
    thorough_but(
        [(size, (0.0, 0.5)[i % 2]) for i, size in enumerate(BATCHES)][::2],
        [(size, noise_std) for size in BATCHES for noise_std in (0.0, 0.5)],
    ),
)
def test_batches_of_any_size(batch_size, noise_std):
    problem = problem_of(20, noise_std, h=0.5)
    step_size = 0.5 * problem.mean_square_threshold(batch_size)
    mean, error = run(problem, step_size, 20, 20_000, batch_size)
    exact = problem.expected_error(step_size=step_size, n_steps=20, batch_size=batch_size)
    assert far(mean, exact, error, rtol=1e-12, atol=0.0) < MOST_Z


@pytest.mark.parametrize("h", [0.25, 3.0])
@pytest.mark.parametrize("noise_std", [0.0, 0.3])
@pytest.mark.parametrize("d", [1, 5, 30])
def test_other_scales_and_no_noise(d, noise_std, h):
    problem = problem_of(d, noise_std, h)
    step_size = 0.6 * problem.fourth_moment_threshold()
    mean, error = run(problem, step_size, 60, 20_000)
    assert far(mean, problem.expected_error(step_size=step_size, n_steps=60), error, rtol=1e-12, atol=0.0) < MOST_Z


def test_step_sizes_of_their_own_for_iterations():
    problem = problem_of(12)
    rates = 0.1 / np.arange(2.0, 62.0)
    mean, error = run(problem, rates, 60, 20_000)
    assert far(mean, problem.expected_error(step_size=rates, n_steps=60), error, rtol=1e-12, atol=0.0) < MOST_Z


@pytest.mark.parametrize(
    ("d", "batch_size", "noise_std"),
    thorough_but(
        [(1, 1, 0.5), (2, 3, 0.5), (30, 2, 0.0)],
        [(1, 1, 0.5), (2, 3, 0.5), (5, 1, 0.5), (5, 1, 0.0), (9, 9, 0.5), (30, 2, 0.0)],
    ),
)
def test_the_law_is_that_of_the_whole_chain(d, batch_size, noise_std):
    """Two samples of the error at one time, by Kolmogorov and Smirnov: above 2.5 once in 140,000."""
    n, problem = 20_000, problem_of(d, noise_std)
    step_size = 0.9 / (d + 1)
    whole = sf.sgd(
        problem, step_size=step_size, n_steps=4, n_runs=n, batch_size=batch_size, seed=8, save_at="final", runs=n
    )
    errors = ((whole.theta[0] - problem.theta_star) ** 2).sum(axis=1)
    reduced = run(problem, step_size, 4, n, batch_size, keep=True)[-1]
    assert math.sqrt(n / 2) * stats.ks_2samp(errors, reduced).statistic < 2.5


# The same numbers ----------------------------------------------------------------------------------------------------


class Source:
    """Draws of a run, (n_steps, draws, n_runs), step after step in the order of the laws."""

    def __init__(self, step, n_steps, n_runs, dtype, noise_dtype):
        m, k = step.n_draws, step.n_uniforms
        z = noise.normals(SEED, max(m, 1) * n_steps, n_runs, dtype=noise_dtype).astype(float)
        u = noise.uniforms(SEED, max(k, 1) * n_steps, n_runs, dtype=dtype).astype(float)
        self.z, self.u = z.reshape(n_steps, -1, n_runs), u.reshape(n_steps, -1, n_runs)

    def at(self, k):
        self.normals, self.uniforms = iter(self.z[k]), iter(self.u[k])

    def root(self, df):
        if df >= SMOOTH:
            return polynomial.polyval(next(self.normals), quantile_polynomial(df))
        return next(self.normals) if df == 1 else np.sqrt(self.square(df))

    def square(self, df):
        if df >= SMOOTH:
            return self.root(df) ** 2
        total = -2 * sum((np.log(next(self.uniforms)) for _ in range(df // 2)), 0.0)
        return total + (next(self.normals) ** 2 if df % 2 else 0.0)


DRAWN = [
    (1, 1, 0.3, 1), (5, 1, 0.3, 1), (5, 1, 0.0, 1), (4, 2, 0.3, 0.5), (100, 1, 0.3, 2), (10, 9, 0.3, 1), (1, 4, 0.3, 1),
    (50, 20, 0.0, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("d", "batch_size", "noise_std", "h", "dtype", "noise_dtype"),
    thorough_but(
        [(*case, *DTYPES[i % len(DTYPES)]) for i, case in enumerate(DRAWN)],
        [(*case, *types) for case in DRAWN for types in DTYPES],
    ),
)
def test_same_draws_in_numpy(d, batch_size, noise_std, h, dtype, noise_dtype):
    problem, n_steps, n_runs = problem_of(d, noise_std, h), 20, 60
    step_size = 0.5 / h / (d + 1)
    have = run(problem, step_size, n_steps, n_runs, batch_size, dtype, noise_dtype, keep=True)
    source = Source(ReducedIteration(problem, batch_size).step, n_steps, n_runs, dtype, noise_dtype)
    g, s = step_size * h / batch_size, noise_std / math.sqrt(h)
    u = np.full(n_runs, (problem.theta_star**2).sum())
    eps = float(np.finfo(dtype).eps)
    for k in range(n_steps):
        source.at(k)
        if noise_std > 0:
            t = source.root(batch_size)
            r = t * np.sqrt(u) - s * next(source.normals)
            y = source.square(batch_size - 1) if d > 1 else 0.0
            u = (np.sqrt(u) - g * t * r) ** 2 + g**2 * (r**2 + s**2 * y) * source.square(d - 1)
        else:
            a = source.square(batch_size)
            u = u * ((1 - g * a) ** 2 + g**2 * a * source.square(d - 1))
        assert np.abs(have[k + 1] - u).max() <= 100 * eps * (k + 1) * (u.max() + 1)


ON_A_GPU = [(1, 1, 0.3), (4, 3, 0.3), (5, 1, 0.3), (6, 1, 0.0), (100, 1, 0.3), (10, 9, 0.3)]


@pytest.mark.parametrize(
    ("d", "batch_size", "noise_std", "dtype", "noise_dtype"),
    thorough_but(
        [(*case, *DTYPES[i % len(DTYPES)]) for i, case in enumerate(ON_A_GPU)],
        [(*case, *types) for case in ON_A_GPU for types in DTYPES],
    ),
)
def test_a_gpu_gives_the_same_bits(d, batch_size, noise_std, dtype, noise_dtype):
    problem = problem_of(d, noise_std, 0.5)
    settings = {"n_steps": 12, "n_runs": 5, "batch_size": batch_size, "dtype": dtype, "noise_dtype": noise_dtype}
    for step_size in (0.5 / (d + 1), lambda k: 1 / (k + d + 1)):
        cpu = run(problem, step_size, keep=True, **settings)
        gpu = run(problem, step_size, keep=True, device="cuda", **settings)
        assert gpu.tobytes() == cpu.tobytes()


def test_numbers_do_not_depend_on_what_runs_them():
    problem = problem_of(5)
    one = run(problem, 0.05, 100, 20_000)
    two = run(problem, 0.05, 100, 20_000, threads=2)
    few = run(problem, 0.05, 100, 10, keep=True)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
    assert np.array_equal(few[:, :5], run(problem, 0.05, 100, 5, keep=True))


# What it costs, and what it is for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise_std", "draws"), [(0.3, 4), (0.0, 2)])
def test_draws_do_not_grow(noise_std, draws):
    for d, batch_size in ((8, 8), (1000, 8), (8, 10**6), (1000, 1000)):
        step = ReducedIteration(problem_of(d, noise_std), batch_size).step
        assert step.n_draws == draws
        assert step.n_uniforms == 0
    assert ReducedIteration(problem_of(100, noise_std), 1).step.n_draws == draws - (noise_std > 0)


def test_starts():
    theta0 = np.random.default_rng(0).standard_normal((7, 5))
    fit = sf.sgd(problem_of(5), step_size=0.01, n_steps=2, n_runs=7, theta0=theta0, reduced=True, seed=0)
    np.testing.assert_allclose(fit.error[0], ((theta0 - fit.problem.theta_star) ** 2).sum(axis=1).mean())


def test_there_are_no_iterates():
    settings = {"step_size": 0.01, "n_steps": 2, "n_runs": 7, "reduced": True}
    fit = sf.sgd(problem_of(5), **settings)
    for name in ("mean", "variance", "theta", "covariance", "averaged_error"):
        with pytest.raises(AttributeError, match="reduced=True ran the error alone"):
            getattr(fit, name)
    for change in ({"runs": 1}, {"covariance": True}):
        with pytest.raises(ValueError, match="reduced=True runs the error alone"):
            sf.sgd(problem_of(5), **settings, **change)
    with pytest.raises(ValueError, match="step_size must be one for all parameters"):
        sf.sgd(problem_of(5), **{**settings, "step_size": np.full((1, 5), 0.1)})
    with pytest.raises(ValueError, match="averaging must be None if reduced=True"):
        sf.sgd(problem_of(5), **settings, averaging="polyak-ruppert")
    with pytest.raises(TypeError, match="reduced must be True or False"):
        sf.sgd(problem_of(5), **{**settings, "reduced": 1})


def test_it_can_be_sent():
    iteration = ReducedIteration(problem_of(100), 4)
    assert iteration.step is iteration.step  # made once
    copy = pickle.loads(pickle.dumps(iteration))
    assert copy == iteration
    assert copy.step == iteration.step


def test_the_laws_that_it_draws():
    laws = ReducedIteration(problem_of(5), 4)._laws
    assert laws == {"along": ChiSquare(4), "beside": ChiSquare(3), "across": ChiSquare(4)}
    assert ReducedIteration(problem_of(5), 1)._laws == {"along": ChiSquare(1), "across": ChiSquare(4)}


CORRELATED = sf.LeastSquares(theta_star=[1.0, 2.0], noise_std=0.1, covariance=np.diag([1.0, 2.0]))
UNIFORM = sf.LeastSquares(theta_star=[1.0, 2.0], noise_std=0.1, inputs=sf.inputs.Uniform(-1.0, 1.0))
CONSTANT = sf.LeastSquares(theta_star=[1.0, 2.0], noise_std=0.1, covariance=np.zeros((2, 2)))
DATA = sf.LeastSquares(data=(np.eye(3), np.ones(3)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *(({"problem": p}, ValueError, "reduced=True is available for Gaussian inputs with a covariance c I")
          for p in (CORRELATED, UNIFORM, CONSTANT, DATA)),
        ({"batch_size": 0}, ValueError, "batch_size must be between 1 and"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer"),
        ({"per_parameter": True}, ValueError, "step_size must be one for all parameters if reduced=True"),
        ({"averaged": True}, ValueError, "averaging must be None if reduced=True"),
    ],
)  # fmt: skip
def test_refused(change, error, message):
    with pytest.raises(error, match=message):
        ReducedIteration(**{"problem": problem_of(5), "batch_size": 1, **change})
