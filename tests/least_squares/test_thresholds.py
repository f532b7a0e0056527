"""Thresholds and stationary covariances against dense maps, linear solves and quadrature."""

import itertools
import math

import numpy as np
import pytest
from least_squares.enumeration import one_step_map, samples
from scipy import integrate, special, stats

from sdefast.least_squares import LeastSquares, Rademacher, Student, Uniform, constant_noise_covariance
from sdefast.least_squares.laws.krylov import largest_eigenvalue
from sdefast.least_squares.laws.thresholds import lyapunov_exponent

H3 = np.array([[2.0, 0.7, 0.1], [0.7, 0.8, -0.2], [0.1, -0.2, 0.5]])
RNG = np.random.default_rng(6)
X, Y = RNG.standard_normal((9, 3)) + 0.4, RNG.standard_normal(9)
PROBLEMS = {
    "isotropic": LeastSquares([0.4, -1.0, 0.2], 0.6),
    "gaussian": LeastSquares([0.4, -1.0, 0.2], 0.6, covariance=H3),
    "rademacher": LeastSquares([0.4, -1.0, 0.2], 0.6, inputs=Rademacher()),
    "uniform": LeastSquares([0.4, -1.0, 0.2], 0.6, inputs=Uniform(0.0, 2.0)),
    "student": LeastSquares([0.4, -1.0], 0.6, inputs=Student(5.5)),
    "one parameter": LeastSquares([0.4], 0.6, inputs=Uniform(0.0, 2.0)),
    "data": LeastSquares(data=(X, Y)),
    "data, tensor": LeastSquares(data=(np.vstack([X, -0.5 * X]), np.concatenate([Y, 2 * Y]))),
}


def spectral_radius(problem, g, batch_size):
    return np.abs(np.linalg.eigvals(one_step_map(problem, g, batch_size))).max()


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_threshold_is_where_the_spectral_radius_is_one(name, batch_size):
    problem = PROBLEMS[name]
    g = problem.mean_square_threshold(batch_size)
    assert spectral_radius(problem, g, batch_size) == pytest.approx(1, abs=1e-11)
    assert spectral_radius(problem, 0.99 * g, batch_size) < 1 < spectral_radius(problem, 1.01 * g, batch_size)
    assert problem.error_floor(g * 1.001, batch_size) == math.inf
    assert math.isfinite(problem.error_floor(g * 0.999, batch_size))


def dense_covariance(problem, g, batch_size, continuous=False):
    """vec C from a linear solve with d^2 unknowns; ``g`` has shape (d,)."""
    x, y, p = samples(problem)
    d = problem.dim
    G, one = np.diag(g), np.eye(d)
    xi = y - x @ problem.theta_star
    noise = G @ ((x.T * (p * xi**2)) @ x) @ G / batch_size
    if not continuous:
        equation = np.eye(d * d) - one_step_map(problem, g, batch_size)
    else:
        GH = G @ problem.hessian
        xx = x[:, :, None] * x[:, None, :]
        K = np.einsum("n,nij,nkl->ikjl", p, xx, xx).reshape(d * d, d * d)
        K = np.kron(G, G) @ (K - np.kron(problem.hessian, problem.hessian)) / batch_size
        equation = np.kron(GH, one) + np.kron(one, GH) - K
    return np.linalg.solve(equation, noise.ravel()).reshape(d, d)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("name", PROBLEMS)
def test_stationary_covariance(name, batch_size, continuous):
    problem = PROBLEMS[name]
    d = problem.dim
    threshold = problem.mean_square_threshold(batch_size, continuous)
    for g in (0.6 * min(threshold, 1.0), 0.02):
        C = problem.stationary_covariance(g, batch_size, continuous)
        np.testing.assert_allclose(C, dense_covariance(problem, np.full(d, g), batch_size, continuous), atol=1e-13)
    each = 0.4 * min(threshold, 1.0) * np.linspace(0.3, 1.0, d)
    C = problem.stationary_covariance(each, batch_size, continuous)
    np.testing.assert_allclose(C, dense_covariance(problem, each, batch_size, continuous), atol=1e-13)
    if not continuous:
        assert problem.error_floor(each, batch_size) == pytest.approx(np.trace(C), rel=1e-13)
        later = problem.second_moment(step_size=each[None], n_steps=2000, batch_size=batch_size)[0]
        np.testing.assert_allclose(later, C, atol=1e-9)


def test_continuous_threshold():
    for batch_size in (1, 4):
        problem = LeastSquares(np.ones(5), 0.3)
        assert problem.mean_square_threshold(batch_size, continuous=True) == pytest.approx(2 * batch_size / 6)
    signs = LeastSquares([1.0], 0.3, inputs=Rademacher())  # x^2 = 1: the slope has no noise
    assert signs.mean_square_threshold(continuous=True) == math.inf
    assert signs.stationary_covariance(3.0, continuous=True)[0, 0] == pytest.approx(3 * 0.09 / 2)


def test_thresholds_of_gaussian_inputs():
    for d in (1, 2, 5, 10, 50, 100):
        for batch_size in (1, 7):
            threshold = LeastSquares(np.ones(d), 0.1).mean_square_threshold(batch_size)
            assert threshold == pytest.approx(2 * batch_size / (batch_size + d + 1), rel=1e-14)
    h = np.array([3.0, 1.0, 0.2, 0.05])
    Q = np.linalg.qr(RNG.standard_normal((4, 4)))[0]
    problem = LeastSquares(np.ones(4), 0.5, covariance=(Q * h) @ Q.T)
    g = problem.mean_square_threshold()
    assert g * np.sum(h / (2 * (1 - g * h))) == pytest.approx(1, rel=1e-12)
    g = 0.5 * g
    q = g * np.sum(h / (2 * (1 - g * h)))
    v = g * 0.25 / (2 * (1 - g * h) * (1 - q))
    np.testing.assert_allclose(problem.stationary_covariance(g), (Q * v) @ Q.T, rtol=1e-11, atol=1e-14)
    assert problem.error_floor(g) == pytest.approx(v.sum(), rel=1e-12)


def test_threshold_of_the_thesis_program():
    problem = LeastSquares([0.1, -0.2, 1.0, 0.5, -0.5], 0.1, inputs=Uniform(0.0, 5.0))
    assert problem.mean_square_threshold() == pytest.approx(0.04126, abs=5e-6)


def test_directions_that_the_inputs_never_take():
    wide = np.random.default_rng(1).standard_normal((2, 4))
    data = LeastSquares(data=(wide, [1.0, -1.0]))
    basis = np.linalg.svd(wide)[2][:2]
    reduced = LeastSquares(data=(wide @ basis.T, [1.0, -1.0]))
    assert data.mean_square_threshold() == pytest.approx(reduced.mean_square_threshold(), rel=1e-12)
    assert data.error_floor(0.05) == pytest.approx(0, abs=1e-25)  # the data are interpolated
    plane = LeastSquares([1.0, 2.0], 0.5, covariance=[[1.0, 0.0], [0.0, 0.0]])
    line = LeastSquares([1.0], 0.5)
    assert plane.mean_square_threshold() == pytest.approx(line.mean_square_threshold())
    np.testing.assert_allclose(plane.stationary_covariance(0.1), np.diag([line.error_floor(0.1), 0]), atol=1e-15)
    for nothing in (LeastSquares([1.0], 0.1, covariance=[[0.0]]), LeastSquares(data=([[0.0]], [1.0]))):
        assert nothing.mean_square_threshold() == math.inf
        assert nothing.error_floor(5.0) == 0.0


@pytest.mark.parametrize("n", [30, 1700])  # rows: fewer and more than the products of two components
def test_many_parameters_need_no_large_matrix(n):
    """Data in 40 dimensions: 1600 unknowns, solved matrix-free; the residual is checked by the definition."""
    rng = np.random.default_rng(n)
    rows = rng.standard_normal((n, 40)) * np.linspace(0.2, 1.5, 40)
    y = rows @ np.ones(40) + rng.standard_normal(n)
    problem = LeastSquares(data=(rows, y))
    g = 0.7 * problem.mean_square_threshold(3)
    C, H = problem.stationary_covariance(g, 3), problem.hessian
    K = (rows.T * np.einsum("ni,ij,nj->n", rows, C, rows)) @ rows / n
    N = (rows.T * (y - rows @ problem.theta_star) ** 2) @ rows / n
    left = H @ C + C @ H - g * (K / 3 + 2 / 3 * H @ C @ H)
    np.testing.assert_allclose(left, g / 3 * N, atol=1e-12 * np.abs(left).max() + 1e-15)


def test_lanczos_finds_the_largest_eigenvalue():
    A = RNG.standard_normal((60, 60))
    A = A + A.T
    assert largest_eigenvalue(lambda v: A @ v, np.ones(60)) == pytest.approx(np.linalg.eigvalsh(A)[-1], rel=1e-13)
    assert largest_eigenvalue(lambda v: 2.5 * v, np.ones(3)) == pytest.approx(2.5)


def test_no_stationary_law():
    problem = LeastSquares(np.ones(5), 0.1)
    with pytest.raises(ValueError, match=r"below the mean-square threshold 0\.285714"):
        problem.stationary_covariance(0.3)
    with pytest.raises(ValueError, match="step_size must be below the mean-square threshold"):
        problem.stationary_covariance(np.full(5, 0.3))
    with pytest.raises(ValueError, match="step_size must be a number, or one number per parameter"):
        problem.stationary_covariance(np.ones(4))


@pytest.mark.parametrize(
    ("d", "threshold"), [(1, 2.4212), (2, 0.93709), (5, 0.35122), (10, 0.17989), (50, 0.038637), (100, 0.019631)]
)
def test_almost_sure_threshold(d, threshold):
    problem = LeastSquares(np.ones(d), 0.1)
    g = problem.almost_sure_threshold()
    assert float(f"{g:.5g}") == threshold
    assert problem.mean_square_threshold() < g
    scaled = LeastSquares(np.ones(d), 0.0, covariance=4.0 * np.eye(d))
    assert scaled.almost_sure_threshold() == pytest.approx(g / 4, rel=1e-14)


def mean_log_of(s, d):
    """The mean over the angle in closed form, for d = 1, 2, 3, 4 and 6.

    For even d by cos^2 + s^2 sin^2 = ((1 + s) / 2)^2 |1 + r e^{2i angle}|^2 with r = (1 - s) / (1 + s), whose logarithm
    has the Fourier series 2 log((1 + s) / 2) + 2 r cos(2 angle) - r^2 cos(4 angle) + ...
    """
    r = (1 - s) / (1 + s)
    if d == 1:
        return 2 * math.log(s)
    if d == 3:
        c = math.sqrt(abs(1 - s * s))
        return 2 * math.log(s) - 2 + 2 * (math.atanh(c) if s < 1 else math.atan(c)) / c
    return 2 * math.log((1 + s) / 2) + {2: 0.0, 4: r, 6: 4 * r / 3 - r * r / 6}[d]


@pytest.mark.parametrize("g", [0.05, 0.3, 0.6, 2.42, 8.0])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 6])
def test_lyapunov_exponent_against_closed_forms_of_the_angle(d, g):
    pole = 1 / math.sqrt(g)
    ends = sorted({0.0, *(end for end in (pole, math.sqrt(2) * pole, 3.0) if end < 12.0), 12.0})
    expected = sum(
        integrate.quad(lambda r: 0.5 * mean_log_of(abs(1 - g * r * r), d) * stats.chi.pdf(r, d), low, high, limit=500)[
            0
        ]
        for low, high in itertools.pairwise(ends)
    )
    assert lyapunov_exponent(g, d) == pytest.approx(expected, abs=1e-8)


def test_lyapunov_exponent_for_small_steps():
    """The factor of |delta|^2 is 1 + w with E w = -2 g + g^2 (d + 2), E w^2 = 12 g^2 + O(g^3)."""
    for d in (1, 2, 6, 1000):
        g = 1e-3 / d
        assert lyapunov_exponent(g, d) == pytest.approx(-g + 0.5 * g**2 * (d + 2 - 6), rel=2e-5)


@pytest.mark.parametrize(("d", "threshold"), [(2, 0.3333), (5, 0.2350), (10, 0.15356), (50, 0.03828), (100, 0.01958)])
def test_fourth_moment_threshold(d, threshold):
    g = LeastSquares(np.ones(d), 0.1).fourth_moment_threshold()
    assert g == pytest.approx(threshold, abs=6e-5)
    # The mean of the squared factor over x = (a, rest), by Gauss-Hermite and Gauss-Laguerre rules.
    a, wa = special.roots_hermitenorm(8)
    c, wc = special.roots_genlaguerre(8, (d - 1) / 2 - 1)
    factor = (1 - g * a[:, None] ** 2) ** 2 + g**2 * a[:, None] ** 2 * 2 * c
    assert wa @ factor**2 @ wc / (wa.sum() * wc.sum()) == pytest.approx(1, rel=1e-12)


def test_thresholds_that_have_no_formula():
    for name in ("gaussian", "uniform", "data"):
        for method in ("almost_sure_threshold", "fourth_moment_threshold"):
            with pytest.raises(ValueError, match=f"{method} is available for Gaussian inputs"):
                getattr(PROBLEMS[name], method)()


def test_at_the_minimiser_the_noise_is_almost_constant():
    """For small steps multiplicative noise has the covariance of constant noise s2 H: g s2 / 2 I."""
    problem, g = PROBLEMS["gaussian"], 1e-6
    constant = constant_noise_covariance(H3, 0.36 * H3, g)
    np.testing.assert_allclose(problem.stationary_covariance(g), constant, rtol=1e-5, atol=1e-13)
    np.testing.assert_allclose(constant, g * 0.18 * np.eye(3), rtol=1e-5, atol=1e-13)
