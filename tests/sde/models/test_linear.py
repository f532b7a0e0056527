"""The linear equation against scipy's matrix exponential, Van Loan's block exponential, ODEs and other models."""

import copy
import pickle

import numpy as np
import pytest
from scipy import integrate, linalg

from sdefast.sde.linear_moments import linear_moments
from sdefast.sde.models import LinearSDE, OrnsteinUhlenbeck

OSCILLATOR = LinearSDE([[0.0, 1.0], [-4.0, -0.5]], [0.0, 1.0], [[0.0], [0.7]])


def random_model(d, m, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    A = scale * (rng.standard_normal((d, d)) - 1.5 * np.eye(d))
    return LinearSDE(A, rng.standard_normal(d), rng.standard_normal((d, m)))


def van_loan(model, h):
    """expm(hA) - 1, int expm(sA) b ds and the covariance, from block exponentials."""
    d, Q = model.dim, model.B @ model.B.T
    augmented = linalg.expm(h * np.block([[model.A, model.b[:, None]], [np.zeros((1, d + 1))]]))
    block = linalg.expm(h * np.block([[-model.A, Q], [np.zeros((d, d)), model.A.T]]))
    return augmented[:d, :d] - np.eye(d), augmented[:d, d], block[d:, d:].T @ block[:d, d:]


@pytest.mark.parametrize("h", [1e-3, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("model", [OSCILLATOR, random_model(3, 2, 1), random_model(12, 5, 2, 0.3)])
def test_moments_against_van_loan(model, h):
    for have, want in zip(linear_moments(model.A, model.b, model.B @ model.B.T, h), van_loan(model, h), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-11, atol=2e-13 * np.abs(want).max())


@pytest.mark.parametrize("h", [1e-9, 1e-5, 0.3, 20.0])
def test_moments_are_accurate_for_any_step(h):
    """Diagonal equations have closed forms, which neither cancel for small h nor overflow for stiff A."""
    rates = np.array([1e-3, 1.0, 50.0, 2000.0])
    turn = linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    M, c, C = linear_moments(-turn @ np.diag(rates) @ turn.T, turn @ np.ones(4), np.eye(4), h)
    for have, want in [
        (turn.T @ M @ turn, np.diag(np.expm1(-rates * h))),
        (turn.T @ c, -np.expm1(-rates * h) / rates),
        (turn.T @ C @ turn, np.diag(-np.expm1(-2 * rates * h) / (2 * rates))),
    ]:
        np.testing.assert_allclose(have, want, atol=1e-11 * np.abs(want).max())


def test_moments_of_a_rotation_against_scipy_to_1e_14():
    A = np.array([[0.0, 1.0], [-1.0, 0.0]])
    for t in (1e-6, 0.1, 1.0, 7.0):
        M = linear_moments(A, np.zeros(2), np.zeros((2, 2)), t)[0]
        exact = np.array([[-2 * np.sin(t / 2) ** 2, np.sin(t)], [-np.sin(t), -2 * np.sin(t / 2) ** 2]])
        np.testing.assert_allclose(M, exact, atol=1e-14)
        np.testing.assert_allclose(M + np.eye(2), linalg.expm(t * A), atol=1e-14)


def test_mean_and_covariance_solve_their_equations():
    model, x0, t = random_model(3, 2, 5), np.array([1.0, -2.0, 0.5]), 1.3

    def slope(_, y):
        mean, C = y[:3], y[3:].reshape(3, 3)
        return np.concatenate([model.A @ mean + model.b, (model.A @ C + C @ model.A.T + model.B @ model.B.T).ravel()])

    end = integrate.solve_ivp(slope, (0, t), np.concatenate([x0, np.zeros(9)]), rtol=1e-11, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(model.mean(t, x0), end[:3], rtol=1e-8)
    np.testing.assert_allclose(model.covariance(t), end[3:].reshape(3, 3), rtol=1e-8)
    np.testing.assert_allclose(model.variance(t), np.diag(end[3:].reshape(3, 3)), rtol=1e-8)
    law = model.transition(t, x0)
    np.testing.assert_allclose(law.mean, model.mean(t, x0))


def test_one_dimension_is_the_ornstein_uhlenbeck_process():
    ou, linear = OrnsteinUhlenbeck(2.0, 0.5, 0.7), LinearSDE([[-2.0]], [1.0], [[0.7]])
    t, x0 = np.array([0.0, 1e-8, 0.3, 5.0]), 3.0
    np.testing.assert_allclose(linear.mean(t, [x0])[:, 0], ou.mean(t, x0), rtol=1e-14)
    np.testing.assert_allclose(linear.variance(t)[:, 0], ou.variance(t), rtol=1e-13)
    assert linear.stationary_covariance() == pytest.approx(ou.stationary_variance())
    h = np.array([0.1, 0.2])
    rate, theta, scale = ou.step("exact", h).coefficients.T
    expected = np.stack([-rate, rate * theta, scale], axis=1)
    np.testing.assert_allclose(linear.step("exact", h).coefficients, expected, rtol=1e-13)


def test_euler_step():
    kernel, coefficients = OSCILLATOR.step("euler-maruyama", np.array([0.25, 0.01]))
    assert kernel == "linear"
    assert OSCILLATOR.noise_dim_of("euler-maruyama") == 1
    np.testing.assert_allclose(coefficients[0], [0, 0.25, -1, -0.125, 0, 0.25, 0, 0.35], rtol=1e-15)
    np.testing.assert_allclose(coefficients[1], [0, 0.01, -0.04, -0.005, 0, 0.01, 0, 0.07], rtol=1e-15)


def test_exact_step():
    h = np.array([0.3, 0.1, 0.3, 1e-6])
    kernel, coefficients = OSCILLATOR.step("exact", h)
    assert kernel == "linear"
    assert OSCILLATOR.noise_dim_of("exact") == 2
    assert coefficients.shape == (4, 10)
    np.testing.assert_array_equal(coefficients[0], coefficients[2])
    for row, step in zip(coefficients, h, strict=True):
        L = row[6:].reshape(2, 2)
        np.testing.assert_allclose(L @ L.T, OSCILLATOR.covariance(step), rtol=1e-13)
        assert L[0, 1] == 0
        assert L[0, 0] > 0
        x = np.array([1.0, 2.0])
        np.testing.assert_allclose(x + row[:4].reshape(2, 2) @ x + row[4:6], OSCILLATOR.mean(step, x), rtol=1e-14)
    # the position's noise for a short step is the integral of the velocity's: sigma^2 h^3 / 3
    assert OSCILLATOR.covariance(1e-6)[0, 0] == pytest.approx(0.49e-18 / 3, rel=1e-5)


def test_exact_step_with_singular_covariance():
    model = LinearSDE(-np.eye(3), B=[[1.0], [2.0], [0.0]])
    L = model.step("exact", np.array([0.5])).coefficients[0, 12:].reshape(3, 3)
    np.testing.assert_allclose(L @ L.T, model.covariance(0.5), atol=1e-15)
    still = LinearSDE(np.zeros((2, 2)), B=np.zeros((2, 1)))
    assert (still.step("exact", np.array([0.5])).coefficients == 0).all()


def test_two_steps_are_one():
    model, x0 = random_model(4, 2, 9), np.arange(4.0)
    middle = model.mean(0.4, x0)
    np.testing.assert_allclose(model.mean(0.7, middle), model.mean(1.1, x0), rtol=1e-12)
    E = linalg.expm(0.7 * model.A)
    composed = E @ model.covariance(0.4) @ E.T + model.covariance(0.7)
    np.testing.assert_allclose(composed, model.covariance(1.1), rtol=1e-11)


def test_stationary_covariance():
    for model in (OSCILLATOR, LinearSDE(-np.eye(5) + 0.1 * np.ones((5, 5)), B=np.ones((5, 2)))):
        C = model.stationary_covariance()
        np.testing.assert_allclose(C, linalg.solve_continuous_lyapunov(model.A, -model.B @ model.B.T), atol=1e-13)
        np.testing.assert_allclose(model.covariance(200.0), C, atol=1e-12)
    with pytest.raises(ValueError, match=r"needs A to be stable.*real part 0"):
        LinearSDE([[0.0, 1.0], [-1.0, 0.0]]).stationary_covariance()


def test_shapes():
    t, x0 = np.array([[0.0], [0.5]]), np.ones((3, 2))
    assert OSCILLATOR.mean(t, x0).shape == (2, 3, 2)
    assert OSCILLATOR.mean(1.0, [1.0, 0.0]).shape == (2,)
    assert OSCILLATOR.covariance(t).shape == (2, 1, 2, 2)
    assert OSCILLATOR.variance(1.0).shape == (2,)
    np.testing.assert_array_equal(OSCILLATOR.mean(0.0, x0), x0)
    assert (OSCILLATOR.dim, OSCILLATOR.noise_dim) == (2, 1)
    assert random_model(64, 64, 0).step("euler-maruyama", np.array([0.1])).coefficients.shape == (1, 64 * 129)


def test_models_are_values():
    A = np.array([[-1.0, -0.0], [0.0, -1.0]])
    model, same, other = LinearSDE(A), LinearSDE([[-1, 0], [0, -1]], [0, 0]), LinearSDE(2 * A)
    assert model == same
    assert hash(model) == hash(same)
    assert model != other
    assert model != "model"
    A[0, 0] = 7.0
    assert model == same
    for twin in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin == model
        with pytest.raises(ValueError, match="read-only"):
            twin.A[0, 0] = 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearSDE([1.0, 2.0]), r"A must have shape \(d, d\)"),
        (lambda: LinearSDE(np.zeros((2, 3))), r"A must have shape \(d, d\)"),
        (lambda: LinearSDE(np.zeros((0, 0))), r"A must have shape \(d, d\)"),
        (lambda: LinearSDE(np.zeros((0, 0))), "d from 1 to 8192"),
        (lambda: LinearSDE([[np.nan]]), "A must be finite"),
        (lambda: LinearSDE("A"), "A must be an array of real numbers"),
        (lambda: LinearSDE(np.eye(2), [1.0]), r"b must have shape \(2,\)"),
        (lambda: LinearSDE(np.eye(2), B=[1.0, 2.0]), r"B must have shape \(2, any\)"),
        (lambda: LinearSDE(np.eye(2), B=np.eye(3)), r"B must have shape \(2, any\)"),
        (lambda: LinearSDE(np.eye(2), B=np.zeros((2, 8193))), "m from 1 to 8192"),
        (lambda: LinearSDE(np.eye(2), B=np.zeros((2, 0))), "m from 1 to 8192"),
        (lambda: OSCILLATOR.mean(1.0, [1.0, 2.0, 3.0]), r"x0 must have shape \(..., 2\)"),
        (lambda: OSCILLATOR.check_start(np.array(1.0)), r"x0 must have shape \(..., 2\)"),
        (lambda: OSCILLATOR.covariance(-1.0), "t must be at least 0"),
        (lambda: OSCILLATOR.transition(1.0, [1.0]), r"x0 must have shape \(2,\)"),
    ],
)
def test_bad_input_is_refused_by_name(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
