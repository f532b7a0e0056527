"""SGD and its modified equations side by side."""

import numpy as np
import pytest

import sdefast as sf

THESIS = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
CORRELATED = sf.LeastSquares([1.0, -1.0], 0.3, covariance=[[1.0, 0.4], [0.4, 0.5]])


@pytest.fixture(scope="module")
def comparison():
    return sf.compare(THESIS, step_size=0.0125, n_steps=160, n_runs=20_000, seed=1, save_at=20)


def test_curves_are_those_of_their_methods(comparison):
    k = np.arange(0, 161, 20)
    assert np.array_equal(comparison.fit.iterations, k)
    np.testing.assert_allclose(comparison.time, 0.0125 * k)
    assert np.array_equal(comparison.exact, THESIS.expected_error(step_size=0.0125, n_steps=160)[k])
    for name, order, covariance in (
        ("order 1", 1, "full"),
        ("order 2", 2, "full"),
        ("Ornstein-Uhlenbeck", 1, "isotropic"),
    ):
        curve = THESIS.modified_expected_error(0.0125 * k, 0.0125, order=order, covariance=covariance)
        np.testing.assert_allclose(comparison.equations[name], curve, rtol=1e-13)
    off = np.abs(comparison.fit.error - comparison.exact)
    assert (off[1:] < 5 * comparison.fit.error_standard_error[1:]).all()


def test_weak_errors_and_orders(comparison):
    weak = comparison.weak_errors()
    np.testing.assert_allclose(weak.step_sizes, 0.0125 / 2.0 ** np.arange(4))
    assert weak.time == pytest.approx(2.0)
    for name, order in (("order 1", 1), ("order 2", 2), ("Ornstein-Uhlenbeck", 1)):
        assert weak.orders[name] == pytest.approx(order, abs=0.06)
        assert weak.distances[name].shape == (4,)
    coarse = comparison.weak_errors(step_sizes=[0.1, 0.05], time=1.0)
    assert coarse.time == 1.0
    assert abs(coarse.distances["order 2"][1]) < abs(coarse.distances["Ornstein-Uhlenbeck"][1])


def test_batches_starts_and_correlated_inputs():
    settings = {"step_size": 0.05, "n_steps": 20, "theta0": [3.0, -2.0], "batch_size": 2}
    result = sf.compare(CORRELATED, **settings, n_runs=5000, seed=2)
    np.testing.assert_allclose(result.exact, CORRELATED.expected_error(**settings), rtol=1e-12)
    assert result.equations["order 2"][0] == pytest.approx(result.exact[0])
    weak = result.weak_errors(step_sizes=[0.05, 0.025], time=1.0)
    start = {"theta0": [3.0, -2.0], "batch_size": 2}
    for size, distance in zip(weak.step_sizes, weak.distances["order 2"], strict=True):
        curve = CORRELATED.modified_expected_error(1.0, size, order=2, **start)
        exact = CORRELATED.expected_error(step_size=size, n_steps=round(1 / size), **start)[-1]
        assert distance == pytest.approx(curve - exact, rel=1e-9)


@pytest.mark.parametrize("name", ["uniform", "data"])
def test_other_inputs_and_data(name):
    X = np.random.default_rng(0).standard_normal((30, 2)) @ [[1.0, 0.5], [0.0, 0.7]]
    problem = {
        "uniform": sf.LeastSquares([1.0, -1.0], 0.3, inputs=sf.inputs.Uniform(-1.0, 2.0)),
        "data": sf.LeastSquares(data=(X, X @ [1.0, -1.0] + X[:, 0] ** 2)),
    }[name]
    result = sf.compare(problem, step_size=0.02, n_steps=50, n_runs=2000, seed=2, batch_size=3)
    off = np.abs(result.fit.error - result.exact)
    assert (off[1:] < 5 * result.fit.error_standard_error[1:]).all()
    curve = problem.modified_expected_error(result.time, 0.02, order=2, batch_size=3)
    np.testing.assert_allclose(result.equations["order 2"], curve, rtol=1e-12)
    orders = result.weak_errors([0.01, 0.005, 0.0025]).orders
    assert orders["order 2"] == pytest.approx(2, abs=0.15)
    with pytest.raises(ValueError, match="weak errors are simulated for Gaussian inputs"):
        result.weak_errors(n_runs=10)


def test_it_is_drawn(comparison, tmp_path):
    import matplotlib as mpl

    mpl.use("Agg")
    axes = comparison.plot()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "SGD, two standard errors", "SGD, exact", "order 1", "order 2", "Ornstein-Uhlenbeck",
    ]  # fmt: skip
    axes.figure.savefig(tmp_path / "comparison.png")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": None}, TypeError, "problem must be a LeastSquares"),
        ({"step_size": lambda k: 0.1}, TypeError, "step_size must be a real number"),
        ({"theta0": [1.0]}, ValueError, "theta0 must have shape"),
        ({"n_steps": 0}, ValueError, "n_steps must be between"),
    ],
)
def test_refused(change, error, message):
    settings = {"problem": THESIS, "step_size": 0.1, "n_steps": 5, "n_runs": 10, **change}
    with pytest.raises(error, match=message):
        sf.compare(settings.pop("problem"), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_sizes": [0.1]}, "step_sizes must be two positive numbers or more"),
        ({"step_sizes": [0.1, -0.1]}, "step_sizes must be two positive numbers or more"),
        ({"step_sizes": [0.3, 0.1]}, "time must be a multiple of every step size"),
        ({"time": 0.0}, "time must be positive"),
    ],
)
def test_weak_errors_refuse(settings, message, comparison):
    with pytest.raises(ValueError, match=message):
        comparison.weak_errors(**settings)
