"""SGD on data as it runs: against exact laws, against plain numpy on the same picks of rows, and pick by pick."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from conftest import in_both_types
from least_squares.distance import far

import sdefast as sf

#: standard errors by which a mean may be off; the seeds are fixed
MOST_Z = 5.0

RNG = np.random.default_rng(11)


def data(n, d, noise=0.5):
    X = RNG.standard_normal((n, d)) + 0.3
    return X, X @ np.linspace(-1.0, 1.0, d) + noise * RNG.standard_normal(n)


SMALL = sf.LeastSquares(data=data(8, 3))
TALL = sf.LeastSquares(data=data(500, 5))
WIDE = sf.LeastSquares(data=data(150, 50))
FEW = sf.LeastSquares(data=data(7, 2))
FLAT = sf.LeastSquares(data=data(3, 5))
ONE_ROW = sf.LeastSquares(data=data(1, 2))

#: problem and settings; several epochs for those that are shuffled
CASES = {
    "replacement": (TALL, {"step_size": 0.03}),
    "replacement, few rows": (SMALL, {"step_size": 0.05}),
    "replacement, one row": (ONE_ROW, {"step_size": 0.1}),
    "replacement, batches": (TALL, {"step_size": 0.1, "batch_size": 6}),
    "replacement, batches larger than the data": (FEW, {"step_size": 0.2, "batch_size": 20}),
    "replacement, decaying": (TALL, {"step_size": lambda k: 0.1 / (k + 2)}),
    "replacement, per parameter": (SMALL, {"step_size": [[0.05, 0.1, 0.02]]}),
    "replacement, wide": (WIDE, {"step_size": 0.004}),
    "replacement, more columns than rows": (FLAT, {"step_size": 0.05}),
    "shuffle": (SMALL, {"step_size": 0.05}),
    "shuffle, batches": (SMALL, {"step_size": 0.1, "batch_size": 2}),
    "shuffle, rows left over": (FEW, {"step_size": 0.1, "batch_size": 3}),
    "shuffle, all rows": (FEW, {"step_size": 0.2, "batch_size": 7}),
    "shuffle, more than half": (TALL, {"step_size": 0.2, "batch_size": 300}),
    "shuffle, decaying": (SMALL, {"step_size": lambda k: 0.2 / (k + 2)}),
    "shuffle, per parameter": (SMALL, {"step_size": [[0.05, 0.1, 0.02]]}),
    "shuffle, more columns than rows": (FLAT, {"step_size": 0.05}),
    "shuffle, one row": (ONE_ROW, {"step_size": 0.1}),
}


def settings_of(name):
    problem, settings = CASES[name]
    return problem, {**settings, "sampling": name.partition(",")[0]}


def variance_errors(fit, n_runs):
    """Standard errors of the variances at the last iteration, from the fourth moments of the runs that were kept."""
    squares = (fit.theta[-1] - fit.theta[-1].mean(axis=0)) ** 2
    return squares.std(axis=0) / math.sqrt(n_runs)


@pytest.mark.parametrize(("name", "dtype"), in_both_types(CASES))
def test_curves_are_exact(name, dtype):
    problem, settings = settings_of(name)
    n_steps, n_runs = 60, 20_000 if settings.get("batch_size", 1) < 100 else 4000
    fit = sf.sgd(problem, n_steps=n_steps, n_runs=n_runs, runs=2000, seed=3, dtype=dtype, moments=True, **settings)
    rounding = 1e-5 if dtype == "float32" else 1e-12
    error = problem.expected_error(n_steps=n_steps, **settings)
    assert far(fit.error, error, fit.error_standard_error, rtol=rounding, atol=rounding * 1e-2) < MOST_Z
    mean = problem.expected_theta(n_steps=n_steps, save_at="all", **settings)
    assert far(fit.mean, mean, fit.standard_error, rtol=rounding, atol=rounding * 1e-2) < MOST_Z
    variance = np.diagonal(problem.theta_covariance(n_steps=n_steps, **settings)[-1])
    assert far(fit.variance[-1], variance, variance_errors(fit, n_runs), rtol=rounding, atol=rounding * 1e-2) < MOST_Z
    assert (fit.n_nonfinite == 0).all()


def shuffled_errors_of_a_column(y, g, n_steps):
    """Mean and mean square of theta - theta* for rows x = 1, y_i and theta = 0 at first, in closed form.

    Residuals add up to zero, so that sums of them over epochs are independent; within an epoch they are draws without
    replacement, of which a sum with weights w has the variance s^2 (n |w|^2 - (sum w)^2) / (n - 1).
    """
    n, k = len(y), np.arange(n_steps + 1)
    mean, variance = -y.mean() * (1 - g) ** k, np.zeros(n_steps + 1)
    for m in k[1:]:
        weights = g * (1 - g) ** np.arange(m)[::-1]
        for epoch in np.split(weights, range(n, m, n)):
            variance[m] += np.var(y) * (n * (epoch @ epoch) - epoch.sum() ** 2) / (n - 1)
    return mean, mean**2 + variance


@pytest.mark.parametrize("n", [300, 700])
def test_long_shuffled_epochs_are_exact(n):
    """Epochs of which several lie in a segment of the generator, and segments of which several lie in an epoch."""
    y = RNG.standard_normal(n)
    problem = sf.LeastSquares(data=(np.ones((n, 1)), y))
    fit = sf.sgd(problem, step_size=0.02, n_steps=2 * n + 50, sampling="shuffle", n_runs=8192, seed=4)
    mean, error = shuffled_errors_of_a_column(y, 0.02, 2 * n + 50)
    assert far(fit.error, error, fit.error_standard_error, rtol=1e-12, atol=1e-14) < MOST_Z
    theta = (problem.theta_star + mean)[:, None]
    assert far(fit.mean, theta, fit.standard_error, rtol=1e-12, atol=1e-14) < MOST_Z


@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
def test_the_average_is_exact(sampling):
    settings = {"step_size": 0.05, "n_steps": 40, "averaging": "polyak-ruppert", "sampling": sampling}
    fit = sf.sgd(SMALL, n_runs=20_000, seed=1, **settings)
    exact = SMALL.expected_error(**settings)
    assert far(fit.averaged_error, exact, fit.averaged_error_standard_error, rtol=1e-12, atol=1e-14) < MOST_Z


def picks(seed, n, n_steps, batch_size, runs, sampling):
    """The rows that iterations pick, of shape (n_steps, batch_size, n_runs), by the contract and one by one."""
    epoch = n // batch_size * batch_size  # picks of an epoch; with replacement there is none
    n_picks = n_steps * batch_size
    words = reference.words(seed, reference.INTEGERS, runs, 0, 2 * n_picks)
    rows = np.empty((n_picks, len(runs)), dtype=int)
    for i in range(len(runs)):
        for m in range(n_picks):
            w = 2**32 * int(words[2 * m, i]) + int(words[2 * m + 1, i])
            if sampling == "replacement":
                rows[m, i] = w * n >> 64
                continue
            p = m % epoch
            if p == 0:
                order = list(range(n))
            j = p + (w * (n - p) >> 64)
            order[p], order[j] = order[j], order[p]
            rows[m, i] = order[p]
    return rows.reshape(n_steps, batch_size, len(runs))


def in_numpy(problem, rows, steps, theta0):
    """Iterates of shape (n_steps + 1, n_runs, d), for picks (n_steps, batch_size, n_runs) and steps (n_steps, d)."""
    X, y = problem.data
    theta = np.broadcast_to(theta0, (rows.shape[2], problem.dim))
    path = [theta]
    for batch, step in zip(rows, steps, strict=True):
        gradient = sum(X[row] * ((X[row] * theta).sum(axis=1) - y[row])[:, None] for row in batch)
        theta = theta - step * gradient / len(batch)
        path.append(theta)
    return np.array(path)


#: problem, batch size and number of iterations; the last ones need more than 1024 words
REPLAYED = {
    "few rows": (FEW, 1, 30),
    "batches": (FEW, 3, 20),
    "one row": (ONE_ROW, 1, 5),
    "tall": (TALL, 1, 1100),
    "tall, batches": (TALL, 7, 150),
    "wide": (WIDE, 2, 160),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
@pytest.mark.parametrize("name", REPLAYED)
def test_same_picks_in_numpy(name, sampling, dtype):
    problem, batch_size, n_steps = REPLAYED[name]
    n_runs, first = 5, 3
    steps = np.linspace(0.03, 0.01, n_steps)[:, None] * np.linspace(1.0, 0.3, problem.dim) / problem.dim
    theta0 = np.linspace(1.0, 2.0, problem.dim)
    fit = sf.sgd(
        problem, step_size=steps, n_steps=n_steps, n_runs=n_runs, runs=n_runs, batch_size=batch_size, theta0=theta0,
        sampling=sampling, moments=True, seed=2**40 + 9, dtype=dtype, first_chain=first,
    )  # fmt: skip
    rows = picks(2**40 + 9, problem.n_data, n_steps, batch_size, np.arange(first, first + n_runs), sampling)
    path = in_numpy(problem, rows, steps, theta0)
    eps = float(np.finfo(dtype).eps)
    allowed = 40 * eps * np.arange(1, n_steps + 2)[:, None, None] * (1 + np.abs(path).max())
    assert (np.abs(fit.theta - path) <= allowed).all()
    errors = ((path - problem.theta_star) ** 2).sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(fit.error, errors, rtol=1e-4 if dtype == "float32" else 1e-9)
    np.testing.assert_allclose(fit.mean, path.mean(axis=1), atol=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize(("n", "batch_size"), [(8, 1), (8, 3), (5, 5)])
def test_every_pick_is_seen(n, batch_size):
    """On one-hot rows with y = 2^i the first epoch's iterates show which rows were picked: B of them, all different."""
    y = 2.0 ** np.arange(n)
    problem = sf.LeastSquares(data=(np.eye(n), y))
    n_iterations = n // batch_size
    fit = sf.sgd(
        problem, step_size=batch_size, n_steps=n_iterations, n_runs=500, runs=500, batch_size=batch_size,
        sampling="shuffle", seed=6,
    )  # fmt: skip
    rows = picks(6, n, n_iterations, batch_size, np.arange(500), "shuffle")
    for k in range(n_iterations):
        changed = fit.theta[k + 1] != fit.theta[k]
        assert (changed.sum(axis=1) == batch_size).all()
        assert (np.take_along_axis(changed, rows[k].T, axis=1)).all()
        assert (fit.theta[k + 1][changed] == np.tile(y, (500, 1))[changed]).all()
    assert ((fit.theta[-1] != 0).sum(axis=1) == n_iterations * batch_size).all()


@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
def test_numbers_depend_on_the_settings_alone(sampling):
    settings = {
        "step_size": 0.02, "n_steps": 120, "n_runs": 9000, "batch_size": 2, "seed": 5, "runs": 3, "sampling": sampling,
    }  # fmt: skip
    one = sf.sgd(TALL, **settings, threads=1)
    with ThreadPoolExecutor(2) as pool:
        for other in (sf.sgd(TALL, **settings, threads=2), sf.sgd(TALL, **settings, executor=pool)):
            assert other.error.tobytes() == one.error.tobytes()
            assert other.theta.tobytes() == one.theta.tobytes()
    alone = sf.sgd(TALL, **{**settings, "n_runs": 1, "runs": 1}, first_chain=2)
    assert np.array_equal(alone.theta[:, 0], one.theta[:, 2])
    seldom = sf.sgd(TALL, **settings, save_at=[0, 1, 77, 120])
    assert np.array_equal(seldom.error, one.error[[0, 1, 77, 120]])


def test_rows_are_drawn_with_replacement_by_default():
    settings = {"step_size": 0.02, "n_steps": 20, "n_runs": 100, "seed": 5}
    assert np.array_equal(sf.sgd(FEW, **settings).error, sf.sgd(FEW, **settings, sampling="replacement").error)


def test_equal_data_in_other_layouts_give_equal_runs():
    X, y = TALL.data
    settings = {"step_size": 0.02, "n_steps": 20, "n_runs": 10, "seed": 5}
    expected = sf.sgd(TALL, **settings).error
    padded = np.zeros((len(X), 8))
    padded[:, ::2][:, :4], padded[:, 1] = X[:, :4], X[:, 4]
    for same in (np.asfortranarray(X), padded[:, [0, 2, 4, 6, 1]], X.tolist()):
        assert np.array_equal(sf.sgd(sf.LeastSquares(data=(same, y)), **settings).error, expected)


REFUSED = [
    ({"sampling": "epochs"}, ValueError, "sampling must be one of 'replacement', 'shuffle', got 'epochs'"),
    ({"sampling": ""}, ValueError, "sampling must be one of"),
    ({"sampling": "shuffle", "batch_size": 8}, ValueError, "batch_size must be at most"),
    ({"problem": sf.LeastSquares([1.0], 0.1), "sampling": "shuffle"}, ValueError, "sampling='shuffle' needs"),
    ({"batch_size": 0}, ValueError, "batch_size must be between"),
    ({"step_size": [[0.1, 0.2, 0.3]]}, ValueError, "step_size must be a number, a function"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
def test_refused(change, error, message):
    settings = {"problem": FEW, "step_size": 0.05, "n_steps": 5, "n_runs": 10, **change}
    with pytest.raises(error, match=message):
        sf.sgd(settings.pop("problem"), **settings)
