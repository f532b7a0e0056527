"""SGD in plain numpy over every outcome of every sample, with the outcomes' probabilities: nothing is drawn.

What the exact results claim depends on the inputs through their first four moments, and on independent noise through
its variance. So a discrete law with these moments gives the same answers, and all its outcomes can be enumerated.
"""

import itertools

import numpy as np

from sdefast.least_squares import Normal, Rademacher, Student, Uniform


def nodes(law):
    """Points and probabilities of a discrete law with the first four moments of ``law``."""
    if isinstance(law, Normal):
        return np.array([-(3**0.5), 0.0, 3**0.5]), np.array([1, 4, 1]) / 6
    if isinstance(law, Uniform):
        points, weights = np.polynomial.legendre.leggauss(3)
        return law.low + (law.high - law.low) * (points + 1) / 2, weights / 2
    if isinstance(law, Rademacher):
        return np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    if isinstance(law, Student):
        v, f = law.df / (law.df - 2), 3 * law.df**2 / ((law.df - 2) * (law.df - 4))
        end, p = (f / v) ** 0.5, v**2 / f / 2
        return np.array([-end, 0.0, end]), np.array([p, 1 - 2 * p, p])
    return law.outcomes()


def samples(problem):
    """All (x, y, probability) of one sample, as arrays of shapes (n, d), (n,) and (n,)."""
    if problem.data is not None:
        X, y = problem.data
        return X, y, np.full(len(X), 1 / len(X))
    points, weights = nodes(problem.inputs)
    d = problem.dim
    X = np.array(list(itertools.product(points, repeat=d)))
    p = np.array([np.prod(w) for w in itertools.product(weights, repeat=d)])
    if isinstance(problem.inputs, Normal):
        values, vectors = np.linalg.eigh(problem.hessian)
        X = X @ (vectors * np.sqrt(values)).T
    xi = problem.noise_std
    y = X @ problem.theta_star
    return np.vstack([X, X]), np.concatenate([y + xi, y - xi]), np.concatenate([p, p]) / 2


def batches(problem, batch_size):
    """All mean gradients of a batch as affine maps A theta - b: arrays A (n, d, d), b (n, d), and probabilities."""
    X, y, p = samples(problem)
    one, A, b, weight = X[:, :, None] * X[:, None, :], 0.0, 0.0, 1.0
    for _ in range(batch_size):
        A = (A[:, None] + one).reshape(-1, *one.shape[1:]) if np.ndim(A) else one
        b = (b[:, None] + X * y[:, None]).reshape(-1, X.shape[1]) if np.ndim(b) else X * y[:, None]
        weight = np.outer(weight, p).ravel()
    return A / batch_size, b / batch_size, weight


def run(problem, steps, theta0, batch_size=1):
    """(theta, mean of theta_0..theta_k, probability) of every path, for k = 0, 1, ...; ``steps`` are rows of G."""
    A, b, p = batches(problem, batch_size)
    d = problem.dim
    theta, total, weight = np.array([theta0], dtype=float), np.array([theta0], dtype=float), np.ones(1)
    yield theta, total, weight
    for k, g in enumerate(steps):
        gradient = np.einsum("nij,pj->pni", A, theta) - b
        theta = (theta[:, None] - g * gradient).reshape(-1, d)
        total = np.repeat(total, len(p), axis=0) + theta
        weight = np.outer(weight, p).ravel()
        yield theta, total / (k + 2), weight


def one_step_map(problem, g, batch_size=1):
    """The matrix of M -> E (I - G A) M (I - A G) on d^2 entries."""
    A, _, p = batches(problem, batch_size)
    move = np.eye(problem.dim) - np.reshape(g, (-1, 1)) * A
    return np.einsum("n,nij,nkl->ikjl", p, move, move, optimize=True).reshape(problem.dim**2, -1)


def run_shuffled(problem, steps, theta0, batch_size=1):
    """As `run`, on data, over every permutation of the rows in every epoch."""
    X, y = problem.data
    n_iterations = len(X) // batch_size
    orders = np.array(list(itertools.permutations(range(len(X)), n_iterations * batch_size)))
    theta, total = np.array([theta0], dtype=float), np.array([theta0], dtype=float)
    yield theta, total, np.ones(1)
    for k, g in enumerate(steps):
        if k % n_iterations == 0:
            theta, total = np.repeat(theta, len(orders), axis=0), np.repeat(total, len(orders), axis=0)
            order = np.tile(orders, (len(theta) // len(orders), 1))
        gradient = np.zeros_like(theta)
        for b in range(batch_size):
            row = order[:, k % n_iterations * batch_size + b]
            gradient += X[row] * ((X[row] * theta).sum(axis=1) - y[row])[:, None]
        theta = theta - g * gradient / batch_size
        total = total + theta
        yield theta, total / (k + 2), np.full(len(theta), 1 / len(theta))


def assert_exact(problem, paths, given, n):
    """Hold the exact laws under ``given`` settings against all paths of n iterations with their probabilities."""
    mean = problem.expected_theta(**given, save_at="all")
    second, covariance = (law(**given, save_at="all") for law in (problem.second_moment, problem.theta_covariance))
    error, loss = problem.expected_error(**given), problem.expected_loss(**given)
    averaged_error = problem.expected_error(**given, averaging="polyak-ruppert")
    averaged_loss = problem.expected_loss(**given, averaging="polyak-ruppert")
    assert len(error) == len(averaged_loss) == len(mean) == n + 1
    for k, (theta, averaged, p) in enumerate(paths):
        delta, off = theta - problem.theta_star, averaged - problem.theta_star
        close = {"rtol": 1e-12, "atol": 1e-12}
        np.testing.assert_allclose(mean[k], p @ theta, **close)
        np.testing.assert_allclose(second[k], (delta.T * p) @ delta, **close)
        np.testing.assert_allclose(covariance[k], (theta.T * p) @ theta - np.outer(p @ theta, p @ theta), **close)
        np.testing.assert_allclose(error[k], p @ (delta**2).sum(axis=1), **close)
        np.testing.assert_allclose(loss[k], p @ problem.loss(theta), **close)
        if k < n:  # the mean of theta_0, ..., theta_k stands at k + 1
            np.testing.assert_allclose(averaged_error[k + 1], p @ (off**2).sum(axis=1), **close)
            np.testing.assert_allclose(averaged_loss[k + 1], p @ problem.loss(averaged), **close)
    np.testing.assert_allclose([averaged_error[0], averaged_loss[0]], [error[0], loss[0]], rtol=1e-14)
