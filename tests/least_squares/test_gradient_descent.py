"""Gradient descent against its closed forms, plain loops and the mean of SGD."""

import dataclasses
import math
import warnings

import numpy as np
import pytest

import sdefast as sf

THESIS = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.1], [0.0, -0.1, 2.0]])
CORRELATED = sf.LeastSquares(theta_star=[1.0, -1.0, 0.5], noise_std=0.3, covariance=H)
UNIFORM = sf.LeastSquares(theta_star=[1.0, -0.5], noise_std=0.1, inputs=sf.inputs.Uniform(0.0, 2.0))
_rng = np.random.default_rng(3)
X = _rng.standard_normal((40, 3)) @ np.diag([1.0, 2.0, 0.3])
DATA = sf.LeastSquares(data=(X, X @ [1.0, -2.0, 0.5] + 0.5 * _rng.standard_normal(40)))


@pytest.mark.parametrize("problem", [CORRELATED, UNIFORM, DATA], ids=["correlated", "uniform", "data"])
@pytest.mark.parametrize(
    "step_size",
    [0.05, lambda k: 0.3 / (k + 2), np.linspace(0.1, 0.01, 30), lambda k: [0.05] + [0.1] * 9],
    ids=["constant", "decaying", "given", "per parameter"],
)
def test_it_is_the_recursion(problem, step_size):
    d, start = problem.dim, np.linspace(-1.0, 2.0, problem.dim)
    schedule = step_size
    if callable(step_size) and np.ndim(step_size(0)):
        schedule = lambda k: np.array(step_size(k)[:d]) / (k + 1)  # noqa: E731
    result = sf.gd(problem, step_size=schedule, n_steps=30, theta0=start)
    theta = start
    for k in range(30):
        assert np.abs(result.theta[k] - theta).max() < 1e-13
        g = schedule(k) if callable(schedule) else np.broadcast_to(schedule, 30)[k]
        if problem is DATA:  # the mean over the rows of the gradient of (y - <theta, x>)^2 / 2
            rows, y = problem.data
            gradient = rows.T @ (rows @ theta - y) / len(rows)
        else:
            gradient = problem.gradient(theta)
        theta = theta - g * gradient
    assert np.array_equal(result.iterations, np.arange(31))
    np.testing.assert_allclose(result.error, ((result.theta - problem.theta_star) ** 2).sum(1), rtol=1e-14)
    np.testing.assert_allclose(result.loss, problem.loss(result.theta), rtol=1e-14)


def test_closed_form():
    """H = I: delta_k = (1 - g)^k delta_0, from zero; and the loss is (|delta|^2 + sigma^2) / 2."""
    result = sf.gd(THESIS, step_size=0.1, n_steps=50)
    error = 0.9 ** (2 * np.arange(51)) * 1.55
    np.testing.assert_allclose(result.error, error, rtol=1e-12)
    np.testing.assert_allclose(result.loss, (error + 0.01) / 2, rtol=1e-12)


def test_data_descend_to_their_solution():
    """Empirical risk minimisation, which for the population would end elsewhere."""
    result = sf.gd(DATA, step_size=0.4, n_steps=2000, save_at="final")
    assert result.theta.shape == (1, 3)
    np.testing.assert_allclose(result.theta[0], np.linalg.lstsq(*DATA.data, rcond=None)[0], rtol=1e-10)
    rows, y = DATA.data
    assert result.loss[0] == pytest.approx(((y - rows @ result.theta[0]) ** 2).mean() / 2, rel=1e-12)


def test_saved_iterations():
    everything = sf.gd(CORRELATED, step_size=0.1, n_steps=20)
    some = sf.gd(CORRELATED, step_size=0.1, n_steps=20, save_at=[0, 3, 20])
    assert np.array_equal(some.iterations, [0, 3, 20])
    assert np.array_equal(some.theta, everything.theta[[0, 3, 20]])


def test_a_step_size_beyond_the_threshold_warns():
    largest = np.linalg.eigvalsh(H)[-1]
    with pytest.warns(RuntimeWarning, match=f"beyond 2 / lambda_max = {2 / largest:.6g}".replace(".", r"\.")):
        far = sf.gd(CORRELATED, step_size=1.01 * 2 / largest, n_steps=2000)
    assert far.error[-1] > far.error[0]
    with pytest.warns(RuntimeWarning, match=r"largest eigenvalue of diag\(step_size\) H is 4.0"):
        sf.gd(CORRELATED, step_size=[[0.1, 0.1, 2.0]], n_steps=3)
    with pytest.warns(RuntimeWarning):
        lost = sf.gd(CORRELATED, step_size=1e3, n_steps=1000)
    assert not math.isfinite(lost.error[-1])
    assert not math.isfinite(lost.loss[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sf.gd(CORRELATED, step_size=0.999 * 2 / largest, n_steps=10)
        sf.gd(THESIS, step_size=2.0, n_steps=10)
        sf.gd(CORRELATED, step_size=[0.1, 5.0], n_steps=2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": None}, TypeError, "problem must be a LeastSquares"),
        ({"step_size": 0.0}, ValueError, "step_size must be positive"),
        ({"n_steps": 0}, ValueError, "n_steps must be between"),
        ({"theta0": [1.0]}, ValueError, "theta0 must have shape"),
        ({"save_at": [3, 2]}, ValueError, "save_at must be"),
    ],
)
def test_refused(change, error, message):
    settings = {"problem": THESIS, "step_size": 0.1, "n_steps": 5, **change}
    with pytest.raises(error, match=message):
        sf.gd(settings.pop("problem"), **settings)


@pytest.mark.parametrize("problem", [CORRELATED, DATA], ids=["stream", "data"])
def test_saved_and_loaded(problem, tmp_path):
    result = sf.gd(problem, step_size=[[0.1, 0.2, 0.05]], n_steps=6, save_at=2, theta0=[1.0, 2.0, 3.0])
    result.save(tmp_path / "descent.npz")
    again = sf.load(tmp_path / "descent.npz")
    assert type(again) is sf.GradientDescent
    assert again.problem == problem
    assert again.iterations.tolist() == [0, 2, 4, 6]
    for name in ("theta", "rates", "error", "loss"):
        assert getattr(again, name).tobytes() == getattr(result, name).tobytes()
    assert again.describe() == result.describe()


def test_a_file_whose_arrays_do_not_fit_is_refused(tmp_path):
    result = sf.gd(THESIS, step_size=0.1, n_steps=3)
    dataclasses.replace(result, theta=result.theta[1:]).save(tmp_path / "bad.npz")
    with pytest.raises(ValueError, match=r"theta is of \(3, 5\), not \(4, 5\)"):
        sf.load(tmp_path / "bad.npz")


def test_what_it_says_of_itself():
    assert sf.gd(THESIS, step_size=0.1, n_steps=5).describe() == {
        "problem": repr(THESIS), "iteration": "gradient descent", "step_size": 0.1, "n_steps": 5,
    }  # fmt: skip
    assert sf.gd(THESIS, step_size=lambda k: 0.1 / (k + 1), n_steps=5).describe()["step_size"] == "several"


def test_table():
    result = sf.gd(CORRELATED, step_size=0.1, n_steps=20, save_at=5)
    table = result.to_xarray()
    assert {name: array.dims for name, array in table.data_vars.items()} == {
        "error": ("iteration",), "loss": ("iteration",), "theta": ("iteration", "component"),
    }  # fmt: skip
    assert table["iteration"].values.tolist() == [0, 5, 10, 15, 20]
    assert np.array_equal(table["theta"].values, result.theta)
    assert np.array_equal(table["loss"].values, result.loss)
    assert table.attrs == result.describe()


def test_plot():
    result = sf.gd(CORRELATED, step_size=0.1, n_steps=20)
    ax = result.plot()
    (line,) = ax.lines
    assert np.array_equal(line.get_xdata(), np.arange(21))
    assert np.array_equal(line.get_ydata(), result.error)
    assert ax.get_yscale() == "log"
    assert result.plot(ax) is ax
    with pytest.raises(ValueError, match="plot needs several saved iterations: gd with save_at='all'"):
        sf.gd(CORRELATED, step_size=0.1, n_steps=20, save_at="final").plot()


def test_what_one_run_without_noise_does_not_have():
    result = sf.gd(THESIS, step_size=0.1, n_steps=5)
    assert np.array_equal(result.exact, result.error)
    for name in ("quantile", "seed", "variance", "error_standard_error", "n_nonfinite"):
        with pytest.raises(
            AttributeError, match=f"gd makes one run without noise, which has no {name}: sgd and noisy_gd"
        ):
            getattr(result, name)
    with pytest.raises(AttributeError, match="'GradientDescent' object has no attribute 'thetas'"):
        result.thetas  # noqa: B018
    with pytest.raises(TypeError, match=r"of many chains each: .* got GradientDescent, GradientDescent"):
        sf.merge(result, result)
    with pytest.raises(TypeError, match="resume must be the result of an earlier sgd, got GradientDescent"):
        sf.sgd(THESIS, n_steps=3, resume=result)
