"""Means, second moments and error curves against SGD over every outcome of every sample, and closed forms."""

import numpy as np
import pytest
from least_squares.enumeration import assert_exact, run

from sdefast.least_squares import InputLaw, LeastSquares, Normal, Rademacher, Student, Uniform


class Skewed(InputLaw):
    """Two points with unequal probabilities: the third central moment is not zero."""

    points, weights = np.array([-1.0, 3.0]), np.array([0.7, 0.3])

    def outcomes(self):
        return self.points, self.weights

    def central(self, k):
        return float(self.weights @ (self.points - self.weights @ self.points) ** k)

    mean = property(lambda self: float(self.weights @ self.points))
    variance = property(lambda self: self.central(2))
    third_central_moment = property(lambda self: self.central(3))
    fourth_central_moment = property(lambda self: self.central(4))


H2 = np.array([[2.0, 0.7], [0.7, 0.8]])
RNG = np.random.default_rng(5)
SMALL = (RNG.standard_normal((4, 2)) + 0.5, RNG.standard_normal(4))
WIDE = (RNG.standard_normal((3, 4)), RNG.standard_normal(3))
REPEATED = (np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 1.0]]), np.array([1.0, -1.0, 0.5]))
TALL = (RNG.standard_normal((6, 2)) + 0.3, RNG.standard_normal(6))

#: problem and the number of steps whose outcomes are enumerated with batches of one and of two samples
PROBLEMS = {
    "isotropic": (LeastSquares([0.4, -1.0], 0.6), 3, 2),
    "scaled": (LeastSquares([0.4, -1.0], 0.6, covariance=1.7 * np.eye(2)), 3, 2),
    "diagonal": (LeastSquares([0.4, -1.0], 0.6, covariance=np.diag([2.0, 0.3])), 3, 2),
    "gaussian": (LeastSquares([0.4, -1.0], 0.6, covariance=H2), 3, 2),
    "singular": (LeastSquares([0.4, -1.0], 0.6, covariance=[[1.0, 2.0], [2.0, 4.0]]), 3, 2),
    "one parameter": (LeastSquares([0.4], 0.6, covariance=[[1.5]]), 4, 2),
    "rademacher": (LeastSquares([0.4, -1.0, 0.3], 0.6, inputs=Rademacher()), 3, 2),
    "uniform": (LeastSquares([0.4, -1.0], 0.6, inputs=Uniform(0.0, 2.0)), 3, 2),
    "centred": (LeastSquares([0.4, -1.0], 0.6, inputs=Uniform(-2.0, 2.0)), 3, 2),
    "student": (LeastSquares([0.4, -1.0], 0.6, inputs=Student(5.5)), 3, 2),
    "skewed": (LeastSquares([0.4, -1.0, 0.3], 0.6, inputs=Skewed()), 3, 2),
    "skewed, one parameter": (LeastSquares([0.4], 0.6, inputs=Skewed()), 4, 2),
    "data": (LeastSquares(data=SMALL), 5, 3),
    "data, tensor": (LeastSquares(data=TALL), 5, 3),
    "data, wide": (LeastSquares(data=WIDE), 5, 3),
    "data, singular": (LeastSquares(data=REPEATED), 5, 3),
}

SCHEDULES = {
    "number": lambda n, d: 0.21,
    "decay": lambda n, d: lambda k: 0.4 / (k + 1),
    "per parameter": lambda n, d: np.linspace(0.1, 0.4, d)[None],
    "everything": lambda n, d: np.linspace(0.1, 0.4, n * d).reshape(n, d),
}


def rows(step_size, n, d):
    if callable(step_size):
        return [np.full(d, step_size(k)) for k in range(n)]
    return np.broadcast_to(step_size, (n, d))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_against_every_outcome(name, batch_size, schedule):
    problem, *lengths = PROBLEMS[name]
    n, d = lengths[batch_size - 1], problem.dim
    theta0 = np.array([1.5, -0.5, 0.25, 2.0])[:d]
    step_size = SCHEDULES[schedule](n, d)
    given = {"step_size": step_size, "n_steps": n, "theta0": theta0}
    given["batch_size"] = batch_size
    assert_exact(problem, run(problem, rows(step_size, n, d), theta0, batch_size), given, n)


def test_the_noise_of_data_is_not_independent_of_the_inputs():
    """Without the product of x'delta and the residual the error after one step would be another."""
    X, y = np.array([[1.0], [2.0], [3.0]]), np.array([3.0, 1.0, 1.0])
    problem = LeastSquares(data=(X, y))
    delta = -problem.theta_star
    xi = y - X @ problem.theta_star
    wrong = np.mean([np.sum((delta - 0.2 * x * (x @ delta)) ** 2) for x in X])
    wrong += 0.04 * np.mean(xi**2 * (X**2).sum(axis=1))
    right = problem.expected_error(step_size=0.2, n_steps=1)[1]
    assert abs(right - wrong) > 0.1 * right


@pytest.mark.parametrize("batch_size", [1, 3])
def test_isotropic_closed_form(batch_size):
    d, sigma, g, T = 5, 0.7, 0.05, 300
    problem = LeastSquares(np.linspace(-1, 1, d), sigma)
    rho = (1 - g) ** 2 + g**2 * (d + 1) / batch_size
    floor = g**2 * sigma**2 * d / (batch_size * (1 - rho))
    u0 = problem.theta_star @ problem.theta_star
    u = floor + (u0 - floor) * rho ** np.arange(T + 1)
    given = {"step_size": g, "n_steps": T, "batch_size": batch_size}
    np.testing.assert_allclose(problem.expected_error(**given), u, rtol=1e-12)
    assert problem.error_floor(g, batch_size) == pytest.approx(floor, rel=1e-14)
    a = 1 - g
    averaged = [u0] + [
        sum(u[t] * (1 + 2 * a * (1 - a ** (n - 1 - t)) / (1 - a)) for t in range(n)) / n**2 for n in range(1, T + 1)
    ]
    np.testing.assert_allclose(problem.expected_error(**given, averaging="polyak-ruppert"), averaged, rtol=1e-12)


@pytest.mark.parametrize("averaging", [None, "polyak-ruppert"])
@pytest.mark.parametrize("name", ["isotropic", "uniform", "skewed", "gaussian", "student"])
def test_modes_and_matrices_agree(name, averaging):
    """One step size per parameter, all equal, takes the way of the full matrices."""
    problem, _, _ = PROBLEMS[name]
    g, n = 0.03, 200
    given = {"n_steps": n, "theta0": np.array([2.0, 1.0, -1.0])[: problem.dim], "batch_size": 2}
    modes = problem.expected_error(step_size=g, **given, averaging=averaging)
    matrices = problem.expected_error(step_size=np.full((1, problem.dim), g), **given, averaging=averaging)
    np.testing.assert_allclose(modes, matrices, rtol=1e-12)


def test_numbers_of_the_thesis():
    theta_star = [0.1, -0.2, 1.0, 0.5, -0.5]
    decaying = LeastSquares(theta_star, 0.1).expected_error(step_size=lambda k: 0.1 / (k + 1), n_steps=1000)
    assert decaying[-1] / decaying[0] == pytest.approx(0.246, abs=5e-4)
    program = LeastSquares(theta_star, 0.1, inputs=Uniform(0.0, 5.0))
    np.testing.assert_allclose(np.linalg.eigvalsh(program.hessian), 4 * [25 / 12] + [25 / 12 + 5 * 6.25], rtol=1e-13)
    exploding = program.expected_error(step_size=0.2, n_steps=300)
    assert exploding[50] == pytest.approx(2.7e81, rel=0.02)
    overflow = int(np.argmax(np.isinf(exploding)))
    assert 150 < overflow < 250
    assert np.isinf(exploding[overflow:]).all()
    assert not np.isnan(exploding).any()


@pytest.mark.parametrize("name", PROBLEMS)
def test_divergence_is_infinite_and_quiet(name):
    problem, _, _ = PROBLEMS[name]
    d = problem.dim
    given = {"n_steps": 500, "theta0": np.ones(d)}
    for step_size in (9.0, np.full((1, d), 9.0)):
        for averaging in (None, "polyak-ruppert"):
            assert problem.expected_error(step_size=step_size, **given, averaging=averaging)[-1] == np.inf
        second = problem.second_moment(step_size=step_size, **given)[0]
        assert (np.diagonal(second) == np.inf).all()


def test_saved_iterations():
    problem, _, _ = PROBLEMS["gaussian"]
    everything = problem.second_moment(step_size=0.1, n_steps=10, save_at="all")
    for save_at, expected in (("final", [10]), (4, [0, 4, 8, 10]), ([0, 3, 10], [0, 3, 10]), (np.array([7]), [7])):
        assert np.array_equal(problem.second_moment(step_size=0.1, n_steps=10, save_at=save_at), everything[expected])
        mean = problem.expected_theta(step_size=0.1, n_steps=10, save_at=save_at)
        assert mean.shape == (len(expected), 2)


def test_large_dimensions_are_cheap():
    d = 200
    A = np.random.default_rng(0).standard_normal((d, d)) / np.sqrt(d)
    problem = LeastSquares(np.ones(d), 0.1, covariance=A @ A.T)
    g = 0.3 * problem.mean_square_threshold()
    error = problem.expected_error(step_size=g, n_steps=300)
    second = problem.second_moment(step_size=g, n_steps=300)
    assert np.trace(second[0]) == pytest.approx(error[-1], rel=1e-10)


def test_refusals_of_the_recursions():
    problem, _, _ = PROBLEMS["isotropic"]
    for given, message in [
        ({"step_size": 0.1, "n_steps": 0}, "n_steps must be between 1"),
        ({"step_size": 0.0, "n_steps": 2}, "step_size must be positive"),
        ({"step_size": 0.1, "n_steps": 2, "theta0": [1.0]}, "theta0 must have shape"),
        ({"step_size": 0.1, "n_steps": 2, "batch_size": 0}, "batch_size must be between 1"),
        ({"step_size": 0.1, "n_steps": 2, "averaging": "polyak"}, "averaging must be True, 'polyak-ruppert'"),
    ]:
        with pytest.raises(ValueError, match=message):
            problem.expected_error(**given)
    with pytest.raises(MemoryError, match="1000000001 saved iterations"):
        LeastSquares(np.ones(300), 0.1).second_moment(step_size=0.1, n_steps=10**9, save_at="all")
    with pytest.raises(MemoryError, match="the error curve"):
        problem.expected_error(step_size=0.1, n_steps=10**13)


def test_infinite_moments_are_refused_where_they_are_needed():
    heavy = LeastSquares([1.0, 2.0], 0.1, inputs=Student(3.5))
    np.testing.assert_allclose(heavy.hessian, 3.5 / 1.5 * np.eye(2))
    assert heavy.expected_theta(step_size=0.1, n_steps=3).shape == (1, 2)
    for method in ("expected_error", "second_moment"):
        with pytest.raises(ValueError, match="df must be above 4"):
            getattr(heavy, method)(step_size=0.1, n_steps=2)
    with pytest.raises(ValueError, match="df must be above 4"):
        heavy.mean_square_threshold()
    with pytest.raises(ValueError, match="df must be above 2"):
        LeastSquares([1.0], 0.1, inputs=Student(2.0))


def test_normal_inputs_are_gaussian_inputs():
    assert LeastSquares([1.0, 2.0], 0.3, inputs=Normal()) == LeastSquares([1.0, 2.0], 0.3)


def test_products_of_data_once_for_many_iterations():
    """Means of products of four entries, half of them kept, say what a pass over the rows says; and pay in time."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((900, 28))
    problem = LeastSquares(data=(X, X[:, 0] ** 2 + X[:, 1]))
    rows = problem._moments
    kept = rows.for_products(10**4)
    assert type(kept).__name__ == "TensorMoments"
    assert rows.for_products(3) is rows
    mean, root = rng.standard_normal(28), rng.standard_normal((28, 28))
    C = root @ root.T
    for name, arguments in (("fourth", (C,)), ("coupling", (mean,)), ("gradient_second_moment", (mean, C))):
        ours, theirs = getattr(kept, name)(*arguments), getattr(rows, name)(*arguments)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11 * np.abs(theirs).max())
    np.testing.assert_allclose(kept.fourth(np.stack([C, 2 * C]))[1], 2 * kept.fourth(C), rtol=1e-12)
    few, many = (problem.expected_error(step_size=0.005, n_steps=n) for n in (20, 2000))
    np.testing.assert_allclose(many[:21], few, rtol=1e-12)
