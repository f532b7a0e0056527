"""Laws of constant gradient noise against dense solvers, and the Gibbs and posterior conditions."""

import numpy as np
import pytest
from scipy import linalg

from sdefast.least_squares import (
    LeastSquares,
    constant_noise_covariance,
    forced_gibbs_rates,
    gibbs_law,
    has_detailed_balance,
    is_gibbs,
    posterior_law,
    two_temperature_variances,
)

RNG = np.random.default_rng(11)


def random_covariance(d):
    A = RNG.standard_normal((d, d))
    return A @ A.T / d + 0.1 * np.eye(d)


@pytest.mark.parametrize("per_parameter", [False, True])
@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_lyapunov_equations(d, per_parameter):
    H, Sigma = random_covariance(d), random_covariance(d)
    eta = 0.3 / np.linalg.eigvalsh(H)[-1] * (np.linspace(0.2, 1.5, d) if per_parameter else 1.0)
    G = np.diag(np.broadcast_to(eta, d))
    move = np.eye(d) - G @ H
    discrete = linalg.solve_discrete_lyapunov(move, G @ Sigma @ G)
    np.testing.assert_allclose(constant_noise_covariance(H, Sigma, eta), discrete, rtol=1e-12, atol=1e-12)
    continuous = linalg.solve_continuous_lyapunov(G @ H, G @ Sigma @ G)
    np.testing.assert_allclose(constant_noise_covariance(H, Sigma, eta, continuous=True), continuous, atol=1e-12)


def test_residual_of_the_lyapunov_equation():
    H, Sigma, eta = random_covariance(8), random_covariance(8), 0.2
    C = constant_noise_covariance(H, Sigma, eta)
    np.testing.assert_allclose(H @ C + C @ H - eta * H @ C @ H, eta * Sigma, atol=1e-12)
    C = constant_noise_covariance(H, Sigma, eta, continuous=True)
    np.testing.assert_allclose(H @ C + C @ H, eta * Sigma, atol=1e-12)


def test_two_temperatures_and_forced_gibbs():
    s, h, eta = np.array([0.5, 2.0, 1.0]), np.array([1.0, 0.3, 2.0]), 0.4
    for continuous in (False, True):
        for curvature in (1.0, h):
            H = np.diag(np.broadcast_to(curvature, 3))
            variances = two_temperature_variances(eta, s, curvature, continuous)
            expected = constant_noise_covariance(H, np.diag(s**2), eta, continuous)
            np.testing.assert_allclose(np.diag(variances), expected, atol=1e-15)
            rates = forced_gibbs_rates(0.1, s)
            variances = two_temperature_variances(rates, s, curvature, continuous)
            expected = constant_noise_covariance(H, np.diag(s**2), rates, continuous)
            np.testing.assert_allclose(np.diag(variances), expected, atol=1e-15)
    np.testing.assert_allclose(two_temperature_variances(eta, s), eta * s**2 / (2 - eta), rtol=1e-15)
    np.testing.assert_allclose(
        two_temperature_variances(forced_gibbs_rates(0.1, s), s), 0.1 / (2 - 0.1 / s**2), rtol=1e-15
    )
    assert two_temperature_variances(0.5, 2.0) == pytest.approx(0.5 * 4 / 1.5)


def test_forced_gibbs_law_holds_for_every_hessian():
    s, H = np.array([0.5, 2.0, 1.0]), random_covariance(3)
    rates = forced_gibbs_rates(0.1, s)
    C = constant_noise_covariance(H, np.diag(s**2), rates, continuous=True)
    np.testing.assert_allclose(C, 0.05 * np.linalg.inv(H), rtol=1e-12)
    assert is_gibbs(np.diag(s**2), rates)
    assert has_detailed_balance(H, np.diag(s**2), rates)


def is_current_free(H, Sigma):
    """The stationary current vanishes exactly if the drift is symmetric with the covariance: H C = C H."""
    C = constant_noise_covariance(H, Sigma, 0.1, continuous=True)
    return bool(np.allclose(H @ C, C @ H, atol=1e-12))


def test_detailed_balance():
    H = random_covariance(3)
    Q = np.linalg.eigh(H)[1]
    commuting = (Q * [1.0, 5.0, 2.0]) @ Q.T
    for Sigma, balanced in ((commuting, True), (np.eye(3), True), (random_covariance(3), False)):
        assert has_detailed_balance(H, Sigma) is is_current_free(H, Sigma) is balanced
    # Reversible without being a Gibbs law of the loss: two temperatures.
    assert not is_gibbs(commuting, 0.1)
    assert is_gibbs(0.3 * np.eye(3), 0.1)
    C = constant_noise_covariance(H, commuting, 0.1, continuous=True)
    ratio = C @ H
    assert np.abs(ratio - ratio[0, 0] * np.eye(3)).max() > 0.01


@pytest.mark.parametrize("ridge", [0.0, 0.03])
def test_posterior_is_a_gibbs_law_of_one_temperature_only(ridge):
    N = 12
    X, y = RNG.standard_normal((N, 3)), RNG.standard_normal(N)
    problem = LeastSquares(data=(X, y))
    mean, covariance = posterior_law(X, y, ridge)
    gibbs = gibbs_law(problem.hessian, problem.theta_star, 2 / N, ridge)
    np.testing.assert_allclose(gibbs[0], mean, atol=1e-13)
    np.testing.assert_allclose(gibbs[1], covariance, atol=1e-14)
    for other in (1 / N, 4 / N, 2 / (N + 1)):
        assert np.abs(gibbs_law(problem.hessian, problem.theta_star, other, ridge)[1] - covariance).max() > 1e-3
    if ridge:
        bayes = np.linalg.inv(X.T @ X + np.eye(3) * (2 * ridge * N))  # the prior N(0, I / (2 ridge N))
        np.testing.assert_allclose(covariance, bayes, atol=1e-14)
        np.testing.assert_allclose(mean, bayes @ X.T @ y, atol=1e-13)


def test_posterior_with_a_known_noise():
    N, tau = 12, 0.3
    X, y = RNG.standard_normal((N, 2)), RNG.standard_normal(N)
    problem = LeastSquares(data=(X, y))
    mean, covariance = posterior_law(X, y, noise_std=tau)
    gibbs = gibbs_law(problem.hessian, problem.theta_star, 2 * tau**2 / N)
    np.testing.assert_allclose(gibbs[0], mean, atol=1e-13)
    np.testing.assert_allclose(gibbs[1], covariance, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: constant_noise_covariance([[1.0, 2.0]], np.eye(2), 0.1), r"H must have shape \(d, d\)"),
        (lambda: constant_noise_covariance([[1.0, 2.0], [0.0, 1.0]], np.eye(2), 0.1), "H must be symmetric"),
        (lambda: constant_noise_covariance(np.diag([1.0, -1.0]), np.eye(2), 0.1), "H must be positive semidefinite"),
        (lambda: constant_noise_covariance(np.diag([1.0, 0.0]), np.eye(2), 0.1), "H must be positive definite"),
        (lambda: constant_noise_covariance(np.eye(2), np.eye(3), 0.1), "Sigma must have the shape of H"),
        (lambda: constant_noise_covariance(np.eye(2), np.eye(2), 2.0), "must be below 2, got 2"),
        (lambda: constant_noise_covariance(np.eye(2), np.eye(2), -0.1), "step_size must be positive"),
        (lambda: constant_noise_covariance(np.eye(2), np.eye(2), [0.1, 0.1, 0.1]), "step_size must be a number, or"),
        (lambda: two_temperature_variances(1.0, 1.0, 2.0), "step_size times curvature must be below 2"),
        (lambda: two_temperature_variances(1.0, -1.0), "noise_std must be at least 0"),
        (lambda: forced_gibbs_rates(0.1, [0.0, 1.0]), "noise_std must be positive"),
        (lambda: gibbs_law([[0.0]], [1.0], 1.0), "H must be positive definite, or ridge positive"),
        (lambda: posterior_law([[1.0, 1.0]], [1.0]), "X must have full column rank"),
        (lambda: posterior_law(np.ones((0, 1)), []), "X must have at least one row"),
        (lambda: gibbs_law([[1.0]], [1.0], 0.0), "noise_variance must be positive"),
        (lambda: posterior_law([[1.0]], [1.0], ridge=-1.0), "ridge must be within"),
        (lambda: is_gibbs(-np.eye(2)), "Sigma must be positive semidefinite"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
