"""Exact laws of shuffled epochs: against every permutation, against closed forms, and what they refuse."""

import numpy as np
import pytest
from least_squares.enumeration import assert_exact, run_shuffled

import sdefast as sf

RNG = np.random.default_rng(7)


def data(n, d):
    return RNG.standard_normal((n, d)) + 0.5, RNG.standard_normal(n)


ONE_HOT = (
    np.array([[1.5, 0.0], [0.0, 0.7], [-0.5, 0.0], [0.0, 0.0], [0.8, 0.0]]),
    np.array([1.0, -1.0, 0.3, 2.0, 0.9]),
)
COPIES = (
    np.array([[1.0, 2.0], [0.5, -1.0], [1.0, 2.0], [-0.5, 1.0], [0.0, 0.0]]),
    np.array([1.0, 0.4, 1.0, -0.4, 3.0]),  # three different rows: two are each other's negatives
)

#: problem, batch size and number of iterations: several epochs
PROBLEMS = {
    "three rows": (sf.LeastSquares(data=data(3, 2)), 1, 12),
    "four rows": (sf.LeastSquares(data=data(4, 2)), 1, 11),
    "five rows": (sf.LeastSquares(data=data(5, 3)), 1, 9),
    "pairs of four": (sf.LeastSquares(data=data(4, 2)), 2, 6),
    "pairs of five": (sf.LeastSquares(data=data(5, 2)), 2, 4),
    "three of five": (sf.LeastSquares(data=data(5, 2)), 3, 2),
    "all": (sf.LeastSquares(data=data(4, 2)), 4, 2),
    "one row": (sf.LeastSquares(data=data(1, 2)), 1, 4),
    "more columns than rows": (sf.LeastSquares(data=data(3, 4)), 1, 7),
    "copies": (sf.LeastSquares(data=COPIES), 1, 9),
    "pairs of copies": (sf.LeastSquares(data=COPIES), 2, 4),
    "one-hot": (sf.LeastSquares(data=ONE_HOT), 1, 9),
    "one column": (sf.LeastSquares(data=data(5, 1)), 1, 8),
}

SCHEDULES = {
    "number": lambda n, d: 0.21,
    "decay": lambda n, d: 0.4 / np.arange(1, n + 1)[:, None],
    "per parameter": lambda n, d: np.linspace(0.1, 0.4, d)[None],
    "everything": lambda n, d: np.linspace(0.1, 0.4, n * d).reshape(n, d),
}


def rows(step_size, n, d):
    steps = np.asarray(step_size)
    return np.broadcast_to(steps[:, None] if steps.ndim == 1 else steps, (n, d))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_against_every_permutation(name, schedule):
    problem, batch_size, n = PROBLEMS[name]
    d = problem.dim
    theta0 = np.array([1.5, -0.5, 0.25, 2.0])[:d]
    step_size = SCHEDULES[schedule](n, d)
    given = {"step_size": step_size, "n_steps": n, "theta0": theta0, "batch_size": batch_size, "sampling": "shuffle"}
    assert_exact(problem, run_shuffled(problem, rows(step_size, n, d), theta0, batch_size), given, n)


def test_means_of_rows_have_a_closed_form():
    """x = 1: after k of n rows the variance of a weighted sum of residuals that add up to zero."""
    n, g = 12, 0.1
    y = RNG.standard_normal(n)
    problem = sf.LeastSquares(data=(np.ones((n, 1)), y))
    error = problem.expected_error(step_size=g, n_steps=n, theta0=[2.0], sampling="shuffle")
    for k in (1, 2, 7, n):
        weights = g * (1 - g) ** np.arange(k)
        variance = np.var(y) * (n * (weights @ weights) - weights.sum() ** 2) / (n - 1)
        assert error[k] == pytest.approx((1 - g) ** (2 * k) * (2.0 - y.mean()) ** 2 + variance, rel=1e-11)


def test_large_batches_of_many_rows():
    """One iteration an epoch: with replacement, and fewer samples' worth of noise; none for the full gradient."""
    X, y = data(1000, 3)
    problem = sf.LeastSquares(data=(X, y))
    given = {"step_size": 0.1, "n_steps": 20}
    full = problem.expected_error(**given, batch_size=1000, sampling="shuffle")
    theta = np.zeros(3)
    for k in range(20):
        assert full[k] == pytest.approx(((theta - problem.theta_star) ** 2).sum(), rel=1e-11)
        theta = theta - 0.1 * problem.gradient(theta)
    first = problem.theta_covariance(step_size=0.1, n_steps=1, batch_size=600, sampling="shuffle")[0]
    expected = 0.1**2 * problem.gradient_covariance(np.zeros(3)) / 600 * (1000 - 600) / (1000 - 1)
    np.testing.assert_allclose(first, expected, rtol=1e-12)


def test_many_copies_of_few_rows_need_few_sets():
    """200 rows, two of them different: the full-precision probabilities of 101^2 sets."""
    X, y = np.ones((200, 1)), np.repeat([0.0, 1.0], 100)
    problem = sf.LeastSquares(data=(X, y))
    given = {"step_size": 0.1, "n_steps": 300, "theta0": [3.0], "sampling": "shuffle"}
    theta, covariance = (getattr(problem, f)(**given, save_at="all") for f in ("expected_theta", "theta_covariance"))
    sets = covariance[:, 0, 0] + (theta[:, 0] - 0.5) ** 2
    np.testing.assert_allclose(sets, problem.expected_error(**given), rtol=1e-11)
    batches = problem.theta_covariance(**{**given, "n_steps": 1}, batch_size=40)
    assert batches[0, 0, 0] == pytest.approx(0.01 * 0.25 / 40 * 160 / 199, rel=1e-12)


def test_small_covariances_are_not_lost_beside_large_means():
    """A covariance of 1e-20 beside squares of 1: a difference of second moments would be rounding errors."""
    X, y = data(4, 2)
    problem = sf.LeastSquares(data=(X, y))
    given = {"n_steps": 4, "theta0": [3.0, 4.0], "sampling": "shuffle"}
    small = problem.theta_covariance(step_size=1e-5, **given)[0]
    large = problem.theta_covariance(step_size=1e-4, **given)[0]
    np.testing.assert_allclose(large / small, 1e4, rtol=5e-3)  # of fourth order in the step size at an epoch's end


def test_divergence_is_infinite_and_quiet():
    X, y = data(6, 2)
    for given in (X, np.eye(2)[[0, 1, 0, 1, 0, 0]] * X):
        problem = sf.LeastSquares(data=(given, y))
        error = problem.expected_error(step_size=9.0, n_steps=900, sampling="shuffle")
        assert error[-1] == np.inf
        assert not np.isnan(error).any()
        second = problem.second_moment(step_size=9.0, n_steps=900, sampling="shuffle")[0]
        assert (np.diagonal(second) == np.inf).all()


def test_refused():
    problem = sf.LeastSquares(data=data(15, 2))
    given = {"step_size": 0.1, "n_steps": 3, "sampling": "shuffle"}
    for method in ("expected_theta", "second_moment", "theta_covariance", "expected_error", "expected_loss"):
        with pytest.raises(ValueError, match=r"up to 14 different rows.*15 of 15 .* batch_size=7: simulate it"):
            getattr(problem, method)(**given, batch_size=7)
        with pytest.raises(ValueError, match="batch_size must be at most the 15 rows"):
            getattr(problem, method)(**given, batch_size=16)
        with pytest.raises(ValueError, match="did you mean 'shuffle'"):
            getattr(problem, method)(**{**given, "sampling": "shuffled"})
        with pytest.raises(ValueError, match=r"needs LeastSquares\(data="):
            getattr(sf.LeastSquares([1.0], 0.1), method)(**given)
