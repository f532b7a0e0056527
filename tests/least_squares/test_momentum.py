"""Heavy-ball momentum, tail averages, ridge and label noise, rows in a given order, the samples that runs draw."""

import numpy as np
import pytest

import sdefast as sf

STREAM = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
Y = X @ [1.0, 2.0, -1.0] + 0.3 * RNG.standard_normal(12)
TAIL = {"averaging": "polyak-ruppert", "average_from": 20}
HOW = {"step_size": 0.05, "n_steps": 60}


def descend(problem, samples, step_size, momentum=0.0, ridge=0.0):
    """theta_0, theta_1, ... of one sample an iteration, in numpy."""
    theta = v = np.zeros(problem.dim)
    path = [theta]
    for x, y in zip(*samples, strict=True):
        v = momentum * v - step_size * (x * (x @ theta - y) + ridge * theta)
        theta = theta + v
        path.append(theta)
    return np.array(path)


def worst_z(found, error, exact):
    """Beyond the start, where there is no chance."""
    return np.abs((found - exact)[2:] / error[2:]).max()


# Exact laws ----------------------------------------------------------------------------------------------------------


def test_known_values():
    error = STREAM.expected_error(step_size=0.005, n_steps=400, momentum=0.9)[[50, 100, 400]]
    np.testing.assert_allclose(error, [0.0399612901, 0.0024373568, 0.0014728682], atol=1e-10)
    tail = STREAM.expected_error(step_size=0.1, n_steps=200, averaging="polyak-ruppert", average_from=100)
    assert tail[-1] == pytest.approx(0.0006615605, abs=1e-10)
    plain = STREAM.expected_error(step_size=0.1, n_steps=200)
    np.testing.assert_array_equal(tail[1:102], plain[:101])  # until then the last iterate


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_laws_by_all_samples_of_tiny_data(momentum):
    """Two rows with penalty, three iterations: the mean over the eight orders in which rows can be drawn."""
    data = (X[:2, :2], Y[:2])
    problem = sf.LeastSquares(data=data, ridge=0.3)
    orders = np.stack(np.meshgrid(*[[0, 1]] * 3), axis=-1).reshape(-1, 3)
    paths = [descend(problem, (data[0][o], data[1][o]), 0.2, momentum, 0.3) for o in orders]
    delta = np.array(paths) - problem.theta_star
    how = {"step_size": 0.2, "n_steps": 3, "momentum": momentum}
    np.testing.assert_allclose(problem.expected_error(**how), (delta**2).sum(-1).mean(0), rtol=1e-12)
    np.testing.assert_allclose(problem.expected_theta(**how)[0] - problem.theta_star, delta[:, -1].mean(0), rtol=1e-11)
    second = np.einsum("ri,rj->ij", delta[:, -1], delta[:, -1]) / 8
    np.testing.assert_allclose(problem.second_moment(**how)[0], second, rtol=1e-11)
    averages = (delta[:, 1:3].mean(1) ** 2).sum(-1).mean()
    tail = problem.expected_error(**how, averaging="polyak-ruppert", average_from=1)
    assert tail[-1] == pytest.approx(averages, rel=1e-12)
    loss = np.mean((data[1] - data[0] @ problem.theta_star) ** 2) + 0.3 * np.sum(problem.theta_star**2)
    assert problem.loss(problem.theta_star) == pytest.approx(0.5 * loss, rel=1e-12)


@pytest.mark.parametrize(
    ("problem", "how"),
    [
        (STREAM, {"momentum": 0.8, "batch_size": 2} | TAIL),
        (STREAM, {"average_from": 20, "averaging": "polyak-ruppert"}),
        (sf.LeastSquares(data=(X, Y), ridge=0.2, label_noise=0.5), {"momentum": 0.5} | TAIL),
        (sf.LeastSquares(data=(X, Y), label_noise=0.5), {"batch_size": 3}),
        (sf.LeastSquares(theta_star=[1.0, 0.5], noise_std=0.2, covariance=[[1.0, 0.6], [0.6, 2.0]]), {"momentum": 0.8}),
    ],
    ids=["momentum", "tail", "ridge", "labels", "correlated"],
)
def test_runs_have_their_law(problem, how):
    fit = sf.sgd(problem, **HOW, **how, n_runs=30_000, seed=1)
    own = {name: how[name] for name in how if name in ("momentum", "batch_size")}
    assert worst_z(fit.error, fit.error_standard_error, fit.exact) < 4.5
    if "averaging" in how:
        exact = problem.expected_error(**HOW, **own, **TAIL)
        assert worst_z(fit.averaged_error, fit.averaged_error_standard_error, exact) < 4.5


# One run, sample by sample -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        STREAM,
        sf.LeastSquares(theta_star=[1.0, 0.5], noise_std=0.2, covariance=[[1.0, 0.6], [0.6, 2.0]]),
        sf.LeastSquares(theta_star=np.ones(3), noise_std=0.2, inputs=sf.inputs.Uniform(-1, 2)),
        sf.LeastSquares(theta_star=np.ones(2), noise_std=0.2, inputs=sf.inputs.Student(9)),
        sf.LeastSquares(theta_star=np.ones(20), noise_std=0.0, inputs=sf.inputs.Rademacher()),
        sf.LeastSquares(data=(X, Y), label_noise=0.5),
    ],
)
def test_samples_are_those_of_a_run(problem):
    fit = sf.sgd(problem, **HOW, n_runs=10, runs=[7], seed=3)
    path = descend(problem, problem.sample(60, seed=3, run=7), 0.05)
    np.testing.assert_allclose(fit.theta[:, 0], path, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
def test_rows_picked_are_those_of_a_run(sampling):
    problem = sf.LeastSquares(data=(X, Y))
    how = {"momentum": 0.6, "n_runs": 10, "runs": [7], "seed": 3, "sampling": sampling, "first_chain": 4}
    fit = sf.sgd(problem, **HOW, **how)
    rows = fit.rows_picked(7)[:, 0]
    path = descend(problem, (X[rows], Y[rows]), 0.05, momentum=0.6)
    np.testing.assert_allclose(fit.theta[:, 0], path, rtol=1e-9, atol=1e-12)
    more = sf.sgd(problem, n_steps=29, resume=fit, runs=[7])
    rows = np.append(rows, more.rows_picked(7)[:, 0])
    path = descend(problem, (X[rows], Y[rows]), 0.05, momentum=0.6)
    np.testing.assert_allclose(more.theta[:, 0], path[60:], rtol=1e-9, atol=1e-12)
    again = sf.sgd(problem, n_steps=89, step_size=0.05, **how, threads=1)
    assert again.theta[60:].tobytes() == more.theta.tobytes()
    assert again.error[60:].tobytes() == more.error.tobytes()
    if sampling == "shuffle":
        assert (np.sort(rows[:60].reshape(5, 12), axis=1) == np.arange(12)).all()


def test_rows_in_a_given_order():
    problem, order = sf.LeastSquares(data=(X, Y), ridge=0.1), RNG.permutation(12)[:9]
    how = {"n_runs": 2, "runs": 2, "sampling": order, "momentum": 0.5, "theta0": np.zeros((2, 3))}
    fit = sf.sgd(problem, **HOW, **how)
    rows = np.resize(order, 60)
    assert (fit.rows_picked() == rows[:, None]).all()
    path = descend(problem, (X[rows], Y[rows]), 0.05, 0.5, 0.1)
    np.testing.assert_allclose(fit.theta[:, 0], path, rtol=1e-9, atol=1e-12)
    half = sf.sgd(problem, **(HOW | {"n_steps": 25}), **how)
    assert sf.sgd(problem, n_steps=35, resume=half, runs=2).theta.tobytes() == fit.theta[25:].tobytes()
    with pytest.raises(ValueError, match="not random"):
        _ = fit.exact


@pytest.mark.parametrize(
    ("problem", "how"),
    [
        (STREAM, {"momentum": 0.9}),
        (STREAM, {"averaging": "polyak-ruppert", "average_from": 3}),
        (sf.LeastSquares(theta_star=np.ones(20), noise_std=0.1), {"averaging": "polyak-ruppert", "average_from": 3}),
        (sf.LeastSquares(data=(X, Y), ridge=0.1), {"sampling": [3, 1, 2, 0], "momentum": 0.5}),
    ],
)
def test_a_gpu_has_the_same_bits(problem, how):
    run = {"step_size": 0.02, "n_steps": 8, "n_runs": 5, "runs": 3, "seed": 1}
    cpu, gpu = (sf.sgd(problem, **run, **how, device=device) for device in ("cpu", "cuda"))
    assert gpu.theta.tobytes() == cpu.theta.tobytes()
    np.testing.assert_allclose(gpu.error, cpu.error, rtol=1e-12)
    if "averaging" in how:
        np.testing.assert_allclose(gpu.averaged_error, cpu.averaged_error, rtol=1e-12)


# The best constant step size, what is kept, what is refused ----------------------------------------------------------


def test_optimal_step_size_is_nearest_to_the_posterior():
    """Of the stationary laws of the modified equation with constant noise, A S + S A = (g / B) C."""
    problem, B = sf.LeastSquares(data=(X, Y)), 2
    A, C = problem.hessian, problem.gradient_covariance(problem.theta_star)
    one = np.eye(3)
    S = np.linalg.solve(np.kron(A, one) + np.kron(one, A), C.ravel() / B).reshape(3, 3)  # per step size
    g = np.geomspace(0.5, 2, 2001) * problem.optimal_step_size(batch_size=B)
    divergence = g * np.trace(12 * A @ S) - 3 * np.log(g)
    assert g[divergence.argmin()] == pytest.approx(problem.optimal_step_size(batch_size=B), rel=1e-3)


def test_penalised_fits_are_saved_and_merged(tmp_path):
    problem = sf.LeastSquares(data=(X, Y), ridge=0.2, label_noise=0.5)
    how = HOW | {"momentum": 0.5, "seed": 1} | TAIL
    whole = sf.sgd(problem, **how, n_runs=4100)
    shards = [sf.sgd(problem, **how, n_runs=n, first_chain=at) for at, n in ((0, 4096), (4096, 4))]
    whole.save(tmp_path / "fit.npz")
    for fit in (sf.merge(*shards), sf.load(tmp_path / "fit.npz")):
        assert fit.error.tobytes() == whole.error.tobytes()
        assert fit.problem == problem
        assert fit.describe()["momentum"] == 0.5
    assert problem != sf.LeastSquares(data=(X, Y), ridge=0.2)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"momentum": 1.0}, "momentum must be below 1, got 1"),
        ({"average_from": 3}, "pass that too"),
        ({"momentum": 0.5, "reduced": True}, "momentum must be 0 if reduced=True"),
        ({"momentum": 0.5, "noise": "gaussian"}, "knows no momentum"),
        ({"sampling": [0, 1]}, "needs a problem on data"),
    ],
)
def test_refused(how, message):
    with pytest.raises(ValueError, match=message):
        sf.sgd(STREAM, **HOW, n_runs=1, **how)


def test_refused_on_data():
    problem = sf.LeastSquares(data=(X, Y), ridge=0.1)
    with pytest.raises(ValueError, match="numbers of rows from 0 to 11"):
        sf.sgd(problem, **HOW, n_runs=1, sampling=[0, 12])
    with pytest.raises(ValueError, match="no exact law with momentum, ridge"):
        problem.expected_error(**HOW, sampling="shuffle")
    with pytest.raises(ValueError, match="ridge must be within"):
        sf.LeastSquares(data=(X, Y), ridge=-1.0)
    with pytest.raises(ValueError, match="ridge and label_noise are for data"):
        sf.LeastSquares(theta_star=[1.0], noise_std=1.0, ridge=1.0)
