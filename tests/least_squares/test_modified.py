"""Modified equations: their exact second moments, how far SGD is from them, and their simulation."""

import math
import pickle

import numpy as np
import pytest
import scipy.linalg
from conftest import thorough_but

import sdefast as sf

THESIS = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.1], [0.0, -0.1, 2.0]])
CORRELATED = sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.3, covariance=H)
EQUATIONS = [(order, covariance) for order in (1, 2) for covariance in ("full", "isotropic")]


def off(step_size, order, covariance):
    """The equation's error at time 2 less that of SGD, which takes 2 / step_size iterations there."""
    n = round(2 / step_size)
    exact = THESIS.expected_error(step_size=step_size, n_steps=n)[-1]
    return THESIS.modified_expected_error(2.0, step_size, order=order, covariance=covariance) - exact


@pytest.mark.parametrize(
    ("order", "covariance", "known"),
    [
        (1, "isotropic", (-0.068, -0.021, -0.0086)),
        (1, "full", (-0.0017, 0.0022, 0.0013)),
        (2, "full", (-0.019, -0.0028, -0.00054)),
    ],
)
def test_known_distances(order, covariance, known):
    for step_size, value in zip((0.1, 0.05, 0.025), known, strict=True):
        assert off(step_size, order, covariance) == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize(("order", "covariance", "rate"), [(1, "isotropic", 1), (1, "full", 1), (2, "full", 2)])
def test_weak_orders(order, covariance, rate):
    """By regression over step sizes so small that the next order is out of sight."""
    sizes = np.array([1 / 160, 1 / 320, 1 / 640, 1 / 1280])
    distances = [abs(off(size, order, covariance)) for size in sizes]
    slope = np.polyfit(np.log(sizes), np.log(distances), 1)[0]
    assert slope == pytest.approx(rate, abs=0.05)


@pytest.mark.parametrize(("order", "covariance"), EQUATIONS)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_second_moments_solve_their_equation(order, covariance, batch_size):
    """M' = -A M - M A + (gamma / B) ((tr(H M) + s^2) H + H M H), as one linear system for all entries of M and 1."""
    step, s2, d, t = 0.1, 0.3**2, 3, 1.7
    A = H if order == 1 else H + step / 2 * H @ H
    eye = np.eye(d)
    K = -np.kron(A, eye) - np.kron(eye, A)
    if covariance == "full":
        K = K + step / batch_size * (np.outer(H.ravel(), H.ravel()) + np.kron(H, H))
    system = np.zeros((d * d + 1, d * d + 1))
    system[:-1, :-1], system[:-1, -1] = K, step / batch_size * s2 * H.ravel()
    theta0 = np.array([0.5, 0.0, -1.0])
    delta = theta0 - CORRELATED.theta_star
    M = (scipy.linalg.expm(t * system) @ np.append(np.outer(delta, delta).ravel(), 1.0))[:-1].reshape(d, d)
    settings = {"order": order, "covariance": covariance, "batch_size": batch_size, "theta0": theta0}
    assert CORRELATED.modified_expected_error(t, step, **settings) == pytest.approx(np.trace(M), rel=1e-12)
    assert CORRELATED.modified_expected_error([[0.0, t]], step, **settings).shape == (1, 2)
    start = CORRELATED.modified_expected_error(0.0, step, **settings)
    assert start == pytest.approx(delta @ delta, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("problem", [THESIS, CORRELATED], ids=["isotropic", "correlated"])
def test_the_ornstein_uhlenbeck_process_has_its_closed_forms(problem, order):
    step, t = 0.1, 1.3
    ou = problem.modified_equation(step, order=order, covariance="isotropic")
    assert isinstance(ou, sf.LinearSDE)
    mean, variance = ou.mean(t, np.zeros(problem.dim)), ou.covariance(t)
    error = ((mean - problem.theta_star) ** 2).sum() + np.trace(variance)
    exact = problem.modified_expected_error(t, step, order=order, covariance="isotropic")
    assert exact == pytest.approx(error, rel=1e-11)
    if problem is THESIS and order == 1:  # N(theta*, gamma s^2 / 2)
        np.testing.assert_allclose(ou.stationary_covariance(), 0.1 * 0.01 / 2 * np.eye(5), atol=1e-15)


@pytest.mark.parametrize(
    ("problem", "batch_size", "dtype"),
    thorough_but(
        [(THESIS, 1, "float32"), (CORRELATED, 2, "float64")],
        [(*case, dtype) for case in ((THESIS, 1), (CORRELATED, 2)) for dtype in ("float32", "float64")],
    ),
)
def test_simulated_equations_have_their_second_moments(problem, batch_size, dtype):
    """Euler-Maruyama's own second moments are a recursion too: no discretisation error is left to chance."""
    step, h, n = 0.05, 0.02, 50
    sde = problem.modified_equation(step, order=2, batch_size=batch_size)
    star = problem.theta_star.tolist()
    run = sf.simulate(
        sde, x0=np.zeros(problem.dim), t1=n * h, n_steps=n, n_paths=200_000, seed=2, dtype=dtype, paths=False,
        expectations={"error": lambda t, x: sum((v - s) ** 2 for v, s in zip(x, star, strict=True))},
    )  # fmt: skip
    eigenvalues, vectors = np.linalg.eigh(problem.hessian)
    v, rate = (vectors.T @ problem.theta_star) ** 2, step / batch_size
    a = eigenvalues + step / 2 * eigenvalues**2
    for _ in range(n):
        noise = (eigenvalues @ v + problem.noise_std**2) * eigenvalues + eigenvalues**2 * v
        v = (1 - a * h) ** 2 * v + h * rate * noise
    error = run.expectations["error"]
    assert abs(error.value[-1] - v.sum()) < 5 * error.standard_error[-1]


def test_sgd_is_nearer_to_the_second_order():
    """Simulated SGD, at a step size where the orders differ by many standard errors."""
    step, n = 0.1, 20
    fit = sf.sgd(THESIS, step_size=step, n_steps=n, n_runs=400_000, seed=4, save_at="final")
    second, ou = (
        THESIS.modified_expected_error(n * step, step, order=order, covariance=covariance)
        for order, covariance in ((2, "full"), (1, "isotropic"))
    )
    error = float(fit.error_standard_error[-1])
    assert abs(ou - second) > 50 * error
    assert abs(fit.error[-1] - second) < abs(fit.error[-1] - ou) - 10 * error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"order": 3}, "order must be between 1 and 2"),
        ({"covariance": "diagonal"}, "covariance must be one of 'full', 'isotropic'"),
        ({"batch_size": 0}, "batch_size must be between"),
    ],
)
def test_refused(change, message):
    settings = {"step_size": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        THESIS.modified_equation(**settings)
    with pytest.raises(ValueError, match=message):
        THESIS.modified_expected_error(1.0, **settings)


def test_other_inputs_are_refused():
    problem = sf.LeastSquares([1.0, 2.0], 0.1, inputs=sf.inputs.Uniform(0.0, 1.0))
    with pytest.raises(ValueError, match="modified_equation needs Gaussian inputs"):
        problem.modified_equation(0.1)
    heavy = sf.LeastSquares([1.0, 2.0], 0.1, inputs=sf.inputs.Student(3.5))
    with pytest.raises(ValueError, match="fourth"):
        heavy.modified_expected_error(1.0, 0.1)
    assert heavy.modified_expected_error(0.0, 0.1, covariance="isotropic") == pytest.approx(5.0)
    with pytest.raises(ValueError, match="t must not be negative, got -1"):
        THESIS.modified_expected_error([0.0, -1.0], 0.1)
    assert math.isfinite(THESIS.modified_expected_error(1.0, 0.1))


def on_data(n=40, d=3):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, d)) @ np.array([[1.0, 0.3, 0.0], [0.0, 0.8, 0.2], [0.0, 0.0, 1.3]])[:d, :d]
    return sf.LeastSquares(data=(X, X @ np.ones(d) + X[:, 0] ** 2 * X[:, 1] + 0.3 * rng.standard_normal(n)))


OTHERS = {
    "uniform": sf.LeastSquares([1.0, -1.0, 0.5], 0.3, inputs=sf.inputs.Uniform(-1.0, 2.0)),
    "Student": sf.LeastSquares([1.0, -1.0, 0.5], 0.3, inputs=sf.inputs.Student(9)),
    "signs": sf.LeastSquares([1.0, -1.0, 0.5], 0.3, inputs=sf.inputs.Rademacher()),
    "data": on_data(),
    "few rows": sf.LeastSquares(data=([[1.0, 0.0, 0.5], [1.0, 2.0, 0.0]], [1.0, 3.0])),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("order", "covariance"), EQUATIONS)
def test_second_moments_of_any_inputs(name, order, covariance):
    """The equation for M and m as one linear system, with the noise's covariance as the problem itself has it."""
    problem, step, batch, t, d = OTHERS[name], 0.1, 2, 1.7, 3
    A = problem.hessian if order == 1 else problem.hessian + step / 2 * problem.hessian @ problem.hessian
    at_best = problem.gradient_covariance(problem.theta_star)

    def covariance_of(m):
        """Sigma where delta = m, of which the quadratic and the linear part are the even and the odd one."""
        return problem.gradient_covariance(problem.theta_star + m) if covariance == "full" else at_best

    eye, n = np.eye(d), d * d
    system = np.zeros((n + d + 1, n + d + 1))
    system[:n, :n] = -np.kron(A, eye) - np.kron(eye, A)
    system[n:-1, n:-1] = -A
    system[:n, -1] = step / batch * at_best.ravel()
    for i in range(d):
        system[:n, n + i] = step / batch * 0.5 * (covariance_of(eye[i]) - covariance_of(-eye[i])).ravel()
        for j in range(d):
            v, w = eye[i] + eye[j], eye[i] - eye[j]
            parts = [covariance_of(u) + covariance_of(-u) for u in (v, w)]
            system[:n, d * i + j] += step / batch * 0.125 * (parts[0] - parts[1]).ravel()
    theta0 = np.array([0.5, 0.0, -1.0])
    delta = theta0 - problem.theta_star
    M = (scipy.linalg.expm(t * system) @ np.concatenate([np.outer(delta, delta).ravel(), delta, [1.0]]))[:n]
    settings = {"order": order, "covariance": covariance, "batch_size": batch, "theta0": theta0}
    assert problem.modified_expected_error(t, step, **settings) == pytest.approx(np.trace(M.reshape(d, d)), rel=1e-10)
    curve = problem.modified_expected_error([[0.0, t, 1e3]], step, **settings)
    assert curve.shape == (1, 3)
    assert curve[0, 0] == pytest.approx(delta @ delta, rel=1e-12)
    if name != "few rows" and order == 1 and covariance == "full":  # (which keeps what its rows do not span)
        stationary = np.trace(problem.stationary_covariance(step, batch, continuous=True))
        assert curve[0, 2] == pytest.approx(stationary, rel=1e-8)


@pytest.mark.parametrize("name", ["uniform", "data"])
def test_weak_orders_hold_for_any_inputs(name):
    sizes = np.array([1 / 160, 1 / 320, 1 / 640])
    for order in (1, 2):
        off = [
            OTHERS[name].modified_expected_error(1.0, g, order=order)
            - OTHERS[name].expected_error(step_size=g, n_steps=round(1 / g))[-1]
            for g in sizes
        ]
        assert np.polyfit(np.log(sizes), np.log(np.abs(off)), 1)[0] == pytest.approx(order, abs=0.06)


def test_second_moments_of_many_parameters_of_data():
    """Beside Gaussian inputs of the same moments, of which 4,000 rows are a sample; and where t is too long."""
    d, rng = 30, np.random.default_rng(3)
    X = rng.standard_normal((4000, d)) * np.linspace(0.5, 1.5, d)
    data = sf.LeastSquares(data=(X, X @ np.full(d, 0.5) + 0.5 * rng.standard_normal(4000)))
    gaussian = sf.LeastSquares(data.theta_star, data.noise_std, covariance=data.hessian)
    t = np.array([0.0, 0.5, 1.0, 3.0, 10.0])
    errors, near = (problem.modified_expected_error(t, 0.02) for problem in (data, gaussian))
    np.testing.assert_allclose(errors, near, rtol=0.03)
    assert (np.diff(errors[:4]) < 0).all()


# Many correlated parameters ------------------------------------------------------------------------------------------


def many(d):
    root = np.random.default_rng(d).standard_normal((2 * d, d))
    return sf.LeastSquares(np.linspace(-1.0, 1.0, d), 0.3, covariance=root.T @ root / (2 * d))


@pytest.mark.parametrize(
    ("d", "order", "dtype"), thorough_but([(9, 1, "float32")], [(9, 1, "float32"), (70, 2, "float64")])
)
def test_many_correlated_parameters_on_the_same_noise(d, order, dtype):
    """The loops over eigenvectors, against the formulas in plain numpy on the same normals."""
    problem, step, batch, h, n_steps, n = many(d), 0.02, 3, 0.05, 8, 70
    equation = problem.modified_equation(step, order=order, batch_size=batch)
    run = sf.simulate(equation, x0=np.full(d, 0.5), t1=n_steps * h, n_steps=n_steps, n_paths=n, seed=3, dtype=dtype)
    z = sf.noise.normals(3, n_steps * (d + 1), n, dtype=dtype).T.reshape(n, n_steps, d + 1)
    H, A, root = problem.hessian, equation.drift_matrix, scipy.linalg.sqrtm(problem.hessian).real
    x = np.full((n, d), 0.5)
    for k in range(n_steps):
        delta, w = x - problem.theta_star, np.sqrt(h) * z[:, k].astype(float)
        scale = np.sqrt((delta @ H * delta).sum(1) + 0.09)[:, None]
        noise = scale * (w[:, :d] @ root) + (delta @ H) * w[:, d:]
        x = x - h * delta @ A + np.sqrt(step / batch) * noise
    np.testing.assert_allclose(run.x[0], x, atol=1e-12 if dtype == "float64" else 2e-4)


@pytest.mark.thorough
def test_many_correlated_parameters_are_a_model_like_others(tmp_path):
    """It is written and read, equal by value, runs on a GPU, and written out gives the same under the same noise."""
    problem = many(9)
    equation = problem.modified_equation(0.02)
    assert equation == many(9).modified_equation(0.02) != many(9).modified_equation(0.02, order=2)
    assert pickle.loads(pickle.dumps(equation)) == equation
    settings = {"x0": np.zeros(9), "t1": 0.2, "n_steps": 4, "n_paths": 64, "seed": 5}
    run = sf.simulate(equation, **settings)
    gpu = sf.simulate(equation, **{**settings, "n_paths": 2}, device="cuda")
    np.testing.assert_allclose(np.asarray(gpu.x), run.x[:, :2], atol=1e-12)
    run.save(tmp_path / "run.npz")
    again = sf.load(tmp_path / "run.npz")
    assert again.model == equation
    further = sf.simulate(again.model, resume=again, n_steps=1)
    assert further.x.shape == (1, 64, 9)
    as_written = sf.SDE(**equation.in_python())
    np.testing.assert_allclose(run.x, sf.simulate(as_written, **settings).x, atol=1e-13)
    for ours, theirs in zip(equation.rates(0.0, [0.3] * 9), as_written.rates(0.0, [0.3] * 9), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    with pytest.raises(ValueError, match="x0"):
        sf.simulate(equation, **{**settings, "x0": np.zeros(8)})


@pytest.mark.parametrize("covariance", ["full", "isotropic"])
def test_errors_beyond_float64(covariance, recwarn):
    """The full noise is unstable at so large a step: infinite, never nan, but zero from theta* without noise."""
    times, h = [0.0, 1.0, 1e3, 1e4], np.diag([1.0, 2.0, 3.0])
    noisy = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0], noise_std=0.1, covariance=h)
    errors = noisy.modified_expected_error(times, 5.0, covariance=covariance)
    assert np.isfinite(errors[:2]).all()
    assert (np.isinf if covariance == "full" else np.isfinite)(errors[2:]).all()
    still = sf.LeastSquares(theta_star=np.zeros(3), noise_std=0.0, covariance=h)
    assert (still.modified_expected_error(times, 5.0, covariance=covariance) == 0).all()
    assert not recwarn.list
