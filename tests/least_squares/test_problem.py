"""The problem itself: losses, gradients, their covariance and its roots, values and refusals."""

import copy
import pickle

import numpy as np
import pytest
from least_squares.enumeration import samples
from scipy import integrate, stats

from sdefast.least_squares import LeastSquares, Normal, Rademacher, Student, Uniform

H2 = np.array([[2.0, 0.7], [0.7, 0.8]])
RNG = np.random.default_rng(8)
X, Y = RNG.standard_normal((7, 2)) + 0.3, RNG.standard_normal(7)
PROBLEMS = {
    "isotropic": LeastSquares([0.4, -1.0], 0.6),
    "scaled": LeastSquares([0.4, -1.0], 0.6, covariance=2.5 * np.eye(2)),
    "gaussian": LeastSquares([0.4, -1.0], 0.6, covariance=H2),
    "rademacher": LeastSquares([0.4, -1.0, 2.0], 0.6, inputs=Rademacher()),
    "uniform": LeastSquares([0.4, -1.0], 0.6, inputs=Uniform(0.0, 5.0)),
    "student": LeastSquares([0.4, -1.0], 0.6, inputs=Student(7.0)),
    "data": LeastSquares(data=(X, Y)),
    "data, wide": LeastSquares(data=(X[:1], Y[:1])),
}
everything = pytest.mark.parametrize("name", PROBLEMS)


def points(problem):
    """Some parameters, the minimiser among them, of shape (4, 3, d)."""
    theta = np.random.default_rng(3).standard_normal((4, 3, problem.dim))
    theta[1, 2] = problem.theta_star
    return theta


@everything
def test_loss_gradient_and_covariance_are_means_over_samples(name):
    problem = PROBLEMS[name]
    theta = points(problem)
    x, y, p = samples(problem)
    each = problem.sample_gradient(theta[..., None, :], x, y)
    assert each.shape == (4, 3, len(x), problem.dim)
    mean = np.einsum("n,...ni->...i", p, each)
    np.testing.assert_allclose(problem.hessian, (x.T * p) @ x, atol=1e-12)
    np.testing.assert_allclose(problem.loss(theta), ((theta @ x.T - y) ** 2) @ p / 2, rtol=1e-12)
    np.testing.assert_allclose(problem.gradient(theta), mean, atol=1e-12)
    second = np.einsum("n,...ni,...nj->...ij", p, each, each)
    covariance = second - mean[..., :, None] * mean[..., None, :]
    np.testing.assert_allclose(problem.gradient_covariance(theta), covariance, atol=1e-10)
    np.testing.assert_allclose(problem.gradient_covariance(theta, batch_size=4), covariance / 4, atol=1e-10)
    difference = problem.martingale_difference(theta[..., None, :], x, y)
    np.testing.assert_allclose(np.einsum("n,...ni->...i", p, difference), 0, atol=1e-12)
    np.testing.assert_allclose(difference + each, np.broadcast_to(mean[..., None, :], each.shape), atol=1e-12)


@everything
@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_noise_is_a_root_of_the_covariance(name, batch_size):
    """It is linear in z, so its values at the unit vectors are the columns of the root."""
    problem = PROBLEMS[name]
    theta = points(problem)
    units = np.eye(problem.gradient_noise_dim)
    columns = problem.gradient_noise(theta[..., None, :], units, batch_size)
    assert columns.shape == (4, 3, problem.gradient_noise_dim, problem.dim)
    covariance = np.einsum("...ki,...kj->...ij", columns, columns)
    np.testing.assert_allclose(covariance, problem.gradient_covariance(theta, batch_size), atol=1e-11)
    z = RNG.standard_normal((4, 3, problem.gradient_noise_dim))
    both = np.einsum("...k,...ki->...i", z, columns)
    # One row of data has no noise at all, and the root of its rounding errors is 1e-8.
    np.testing.assert_allclose(problem.gradient_noise(theta, z, batch_size), both, atol=1e-7)


def test_noise_dimensions_and_the_exact_covariances():
    assert {name: problem.gradient_noise_dim - problem.dim for name, problem in PROBLEMS.items()} == {
        name: int(name == "gaussian") for name in PROBLEMS
    }
    delta = np.array([0.3, -0.8])
    for name in ("isotropic", "scaled", "gaussian"):
        problem = PROBLEMS[name]
        H = problem.hessian
        exact = (delta @ H @ delta + 0.36) * H + H @ np.outer(delta, delta) @ H
        np.testing.assert_allclose(problem.gradient_covariance(problem.theta_star + delta), exact, rtol=1e-12)
    quiet = LeastSquares([1.0, 2.0], 0.0)
    assert not quiet.gradient_noise(quiet.theta_star, np.ones(2)).any()  # no 0 / 0


def test_data_minimisers():
    problem = PROBLEMS["data"]
    np.testing.assert_allclose(problem.theta_star, np.linalg.solve(X.T @ X, X.T @ Y), rtol=1e-12)
    assert problem.noise_std == pytest.approx(np.sqrt(np.mean((Y - X @ problem.theta_star) ** 2)))
    assert problem.loss(problem.theta_star) == pytest.approx(0.5 * problem.noise_std**2)
    np.testing.assert_allclose(problem.gradient(problem.theta_star), 0, atol=1e-14)
    wide = PROBLEMS["data, wide"]
    np.testing.assert_allclose(wide.theta_star, np.linalg.pinv(X[:1]) @ Y[:1], rtol=1e-12)  # of minimum norm
    assert (problem.is_finite, problem.n_data, problem.inputs, problem.covariance) == (True, 7, None, None)
    stream = PROBLEMS["uniform"]
    assert (stream.is_finite, stream.n_data, stream.data, stream.covariance) == (False, None, None, None)


@everything
def test_problems_are_values(name):
    problem = PROBLEMS[name]
    for other in (pickle.loads(pickle.dumps(problem)), copy.deepcopy(problem), copy.copy(problem)):
        assert other == problem
        assert hash(other) == hash(problem)
        assert not other.theta_star.flags.writeable
        assert not other.hessian.flags.writeable
        assert repr(other) == repr(problem)
    assert all(problem != other for key, other in PROBLEMS.items() if key != name)
    assert problem != "something else"
    with pytest.raises(AttributeError, match="cannot be changed"):
        problem.noise_std = 1.0
    with pytest.raises(AttributeError, match="cannot be changed"):
        del problem.theta_star
    with pytest.raises(ValueError, match="read-only"):
        problem.theta_star[0] = 1.0


def test_arguments_are_copied():
    theta, H, rows, y = np.ones(2), np.eye(2), X.copy(), Y.copy()
    stream, data = LeastSquares(theta, 0.1, covariance=H), LeastSquares(data=(rows, y))
    for array in (theta, H, rows, y):
        array += 1.0
    assert np.array_equal(stream.theta_star, np.ones(2))
    assert np.array_equal(stream.hessian, np.eye(2))
    assert np.array_equal(data.data[0], X)
    assert np.array_equal(data.data[1], Y)
    assert theta.flags.writeable


def test_representation():
    assert repr(PROBLEMS["isotropic"]) == "LeastSquares(dim=2, noise_std=0.6, inputs=Normal())"
    assert repr(PROBLEMS["gaussian"]) == "LeastSquares(dim=2, noise_std=0.6, inputs=N(0, covariance))"
    assert repr(PROBLEMS["uniform"]) == "LeastSquares(dim=2, noise_std=0.6, inputs=Uniform(low=0.0, high=5.0))"
    assert repr(PROBLEMS["data"]) == "LeastSquares(data of 7 rows, dim=2)"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "theta_star must be given"),
        ({"theta_star": [1.0]}, ValueError, "noise_std must be given"),
        ({"theta_star": [[[1.0]]], "noise_std": 1.0}, ValueError, "theta_star must have shape"),
        ({"theta_star": X, "noise_std": Y}, ValueError, r"are data=: LeastSquares\(data=\(X, y\)\)"),
        ({"theta_star": X, "noise_std": Y[:, None]}, ValueError, r"are data=: LeastSquares\(data=\(X, y\)\)"),
        ({"theta_star": [1.0], "noise_std": 1e155}, ValueError, r"noise_std must be within \[0.0, 1e\+70\]"),
        ({"theta_star": [1e155], "noise_std": 1.0}, ValueError, "theta_star must be within 1e\\+70"),
        ({"theta_star": [1.0], "noise_std": 1.0, "covariance": [[1e155]]}, ValueError, "covariance must be within"),
        ({"data": (X * 1e155, Y)}, ValueError, "X of data must be within"),
        (
            {"theta_star": [1.0, 2.0], "noise_std": 1.0, "covariance": [1.0] * 3},
            ValueError,
            "covariance must have shape",
        ),
        ({"theta_star": [1.0], "noise_std": 1.0, "inputs": "uniform"}, ValueError, "uniform:LOW:HIGH"),
        ({"sigma": 1.0}, TypeError, "LeastSquares has no argument 'sigma'; it is called noise_std here"),
        ({"X": X, "y": Y}, TypeError, r"no argument 'X'; it is called data here: data=\(X, y\)"),
        ({"theta_star": [], "noise_std": 1.0}, ValueError, "the number of entries of theta_star must be between 1"),
        ({"theta_star": [np.nan], "noise_std": 1.0}, ValueError, "theta_star must be finite"),
        ({"theta_star": "abc", "noise_std": 1.0}, TypeError, "theta_star must be an array"),
        ({"theta_star": [1.0], "noise_std": -1.0}, ValueError, "noise_std must be within"),
        ({"theta_star": [1.0], "noise_std": 1.0, "covariance": np.eye(2)}, ValueError, r"must have shape \(1, 1\)"),
        ({"theta_star": [1.0], "noise_std": 1.0, "covariance": [[-1.0]]}, ValueError, "positive semidefinite"),
        (
            {"theta_star": [1.0, 1.0], "noise_std": 1.0, "covariance": [[1.0, 0.5], [0.0, 1.0]]},
            ValueError,
            r"covariance must be symmetric, got 0\.5 at \(0, 1\)",
        ),
        ({"theta_star": [1.0], "noise_std": 1.0, "inputs": 3}, TypeError, "inputs must be a law"),
        (
            {"theta_star": [1.0], "noise_std": 1.0, "inputs": Rademacher(), "covariance": [[1.0]]},
            ValueError,
            "covariance needs Gaussian inputs",
        ),
        ({"data": (X, Y), "theta_star": [1.0]}, ValueError, "data excludes theta_star"),
        ({"data": (X, Y), "noise_std": 1.0, "inputs": Normal()}, ValueError, "data excludes noise_std and inputs"),
        ({"data": X}, TypeError, r"data must be a pair \(X, y\)"),
        ({"data": (X, Y[:-1])}, ValueError, r"y of data must have shape \(7,\)"),
        ({"data": (X[:0], Y[:0])}, ValueError, "X of data must have at least one row"),
        ({"data": (X, np.full(7, np.inf))}, ValueError, "y of data must be finite"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        LeastSquares(**arguments)


def test_refusals_of_points():
    problem = PROBLEMS["gaussian"]
    with pytest.raises(ValueError, match=r"theta must have shape \(\.\.\., 2\)"):
        problem.loss([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"z must have shape \(\.\.\., 3\)"):
        problem.gradient_noise([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="batch_size must be between 1"):
        problem.gradient_covariance([1.0, 2.0], batch_size=0)


@pytest.mark.parametrize(
    ("law", "density"),
    [
        (Normal(), stats.norm()),
        (Uniform(-1.0, 4.0), stats.uniform(-1.0, 5.0)),
        (Student(9.0), stats.t(9.0)),
    ],
)
def test_moments_of_the_laws(law, density):
    low, high = density.support()
    for k in (1, 2, 3, 4):
        moment = integrate.quad(lambda x, k=k: x**k * density.pdf(x), low, high)[0]
        assert law.moment(k) == pytest.approx(moment, abs=1e-7)
    assert law.variance == pytest.approx(density.var())


def test_moments_of_random_signs_and_infinite_moments():
    assert [Rademacher().moment(k) for k in (1, 2, 3, 4)] == [0, 1, 0, 1]
    for df, k in ((1.0, 1), (2.0, 2), (3.0, 3), (4.0, 4)):
        with pytest.raises(ValueError, match=f"df must be above {k} for a finite"):
            Student(df).moment(k)
        assert Student(df + 0.5).moment(k) >= 0
    with pytest.raises(ValueError, match="low must be below high"):
        Uniform(1.0, 1.0)
    with pytest.raises(ValueError, match="df must be positive"):
        Student(0.0)
    with pytest.raises(ValueError, match="k must be between 1 and 4"):
        Normal().moment(5)
    assert [law.kind for law in (Normal(), Uniform(0, 1), Rademacher(), Student(5))] == [
        "normal",
        "uniform",
        "rademacher",
        "student",
    ]
    assert (Uniform(0, 1).parameters, Student(5).parameters, Normal().parameters) == ((0.0, 1.0), (5.0,), ())


def test_other_ways_to_say_the_same():
    column = LeastSquares(data=(X, Y[:, None]))
    assert column == LeastSquares(data=(X, Y))
    assert LeastSquares([1.0, 2.0], 1.0, covariance=[2.0, 3.0]) == LeastSquares([1.0, 2.0], 1.0, np.diag([2.0, 3.0]))
    for text, law in (("normal", Normal()), ("uniform:0:2", Uniform(0, 2)), ("student:6", Student(6))):
        assert LeastSquares([1.0, 2.0], 1.0, inputs=text) == LeastSquares([1.0, 2.0], 1.0, inputs=law)
