"""Figures of the experiments, by the data of their lines; those of the presets are tested with the command line."""

import numpy as np
import pytest

import sdefast as sf
from sdefast.least_squares.experiments.presets import SGDExperiment

PROBLEM = sf.LeastSquares(theta_star=[1.0, -2.0], noise_std=0.3)


def curves(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_averages_have_their_curves(dtype):
    e = SGDExperiment("own", PROBLEM, 0.1, n_steps=30, averaging="polyak-ruppert", measure="norm", first_shown=1)
    fit = e.run(40, runs=6, seed=1, dtype=dtype)
    axes = e.plot(fit)
    titles = ["test error", "test error, logarithmic", "first coordinate", "second coordinate"]
    assert [ax.get_title() for ax in axes] == titles
    assert [ax.get_yscale() for ax in axes] == ["linear", "log", "linear", "linear"]
    shown = curves(axes[1])
    assert np.array_equal(shown["root mean square of 40 runs"], np.sqrt(fit.error[1:]))
    assert np.array_equal(shown["root mean square of averages"], np.sqrt(fit.averaged_error[1:]))
    assert np.array_equal(shown["root mean square, exact"], np.sqrt(e.expected_error()[1:]))
    exact = PROBLEM.expected_error(step_size=0.1, n_steps=30, averaging="polyak-ruppert")
    assert np.array_equal(shown["root mean square of averages, exact"], np.sqrt(exact[1:]))
    norms = np.linalg.norm(fit.theta[1:] - PROBLEM.theta_star, axis=-1)
    np.testing.assert_allclose(shown["median of 6 runs"], np.median(norms, axis=1), rtol=1e-6)
    assert np.array_equal(curves(axes[3])["mean of 40 runs"], fit.mean[1:, 1])
    exact = PROBLEM.expected_theta(step_size=0.1, n_steps=30, save_at="all")
    assert np.array_equal(curves(axes[3])["mean, exact"], exact[1:, 1])


def test_inputs_without_a_fourth_moment_have_no_exact_curve():
    e = SGDExperiment("own", sf.LeastSquares([1.0], 0.1, inputs=sf.inputs.Student(3.0)), 0.01, n_steps=5)
    with pytest.warns(RuntimeWarning, match="fourth moment"):
        fit = e.run(20, runs=2, seed=1)
    axes = e.plot(fit)
    assert not [label for ax in axes[:2] for label in curves(ax) if "exact" in label]
    assert "mean, exact" in curves(axes[2])


def test_comparisons_and_weak_errors():
    comparison = sf.compare(PROBLEM, step_size=0.1, n_steps=10, n_runs=200, seed=0)
    shown = curves(comparison.plot())
    assert np.array_equal(shown["SGD, exact"], comparison.exact)
    assert np.array_equal(shown["order 2"], comparison.equations["order 2"])
    errors, off = comparison.plot().figure.axes
    assert off.get_yscale() == "log"
    for name, curve in curves(off).items():
        assert np.array_equal(curve, np.abs(comparison.equations[name] - comparison.exact)[1:])
    assert comparison.plot(errors) is errors
    weak = comparison.weak_errors([0.1, 0.05, 0.025])
    ax = weak.plot()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    points, lines = ([line.get_ydata() for line in ax.lines if line.get_marker() == kind] for kind in ("o", "None"))
    for name, drawn, line in zip(weak.distances, points, lines, strict=True):
        assert np.array_equal(drawn, np.abs(weak.distances[name]))
        np.testing.assert_allclose(np.diff(np.log(line)), -weak.orders[name] * np.log(2), rtol=1e-12)
        assert np.log(line).mean() == pytest.approx(np.log(drawn).mean())


@pytest.mark.filterwarnings("ignore:step_size=:RuntimeWarning", "ignore:.*no longer finite:RuntimeWarning")
def test_the_error_of_a_run_that_explodes_is_seen():
    """As far as it fits on an axis, which spans what is drawn; pyplot is not asked for more than floats hold."""
    ax = sf.sgd(PROBLEM, step_size=3.0, n_steps=1000, n_runs=10, seed=0).plot()
    shown = ax.lines[0].get_ydata()
    assert np.nanmax(shown) > 1e100
    assert ax.get_ylim()[1] > np.nanmax(shown)
    ax.figure.canvas.draw()
