"""Figures of simulations, by the data of their lines and bands."""

import numpy as np
import pytest

import sdefast as sf


def lines_of(ax):
    """The lines that have a label of their own, and the others."""
    named = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    return named, [line for line in ax.lines if line.get_label().startswith("_")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lines_and_band_are_those_of_the_run(dtype):
    """From t0 = 1 on: the exact curves count the time since the start."""
    ou = sf.OrnsteinUhlenbeck(kappa=0.7, theta=-0.5, sigma=0.4)
    run = sf.simulate(ou, x0=2.0, t0=1.0, t1=3.0, n_steps=20, n_paths=100, save_at="all", seed=1, dtype=dtype)
    ax = run.plot(n_paths=7)
    named, others = lines_of(ax)
    assert (run.t[0], run.t[-1]) == (1.0, 3.0)
    for line in ax.lines:
        assert np.array_equal(line.get_xdata(), run.t)
    assert np.array_equal(named["mean of 100 paths"].get_ydata(), run.mean[:, 0])
    np.testing.assert_allclose(named["exact"].get_ydata(), ou.mean(run.t - 1, 2.0), rtol=1e-12)
    paths = [line.get_ydata() for line in others if line.get_color() == "0.6"]
    assert np.array_equal(np.transpose(paths), run.x[:, :7, 0])
    exact_band = sorted((line.get_ydata() for line in others if line.get_color() != "0.6"), key=lambda y: y[-1])
    deviation = np.sqrt(ou.variance(run.t - 1))
    for sign, y in zip((-2, 2), exact_band, strict=True):
        np.testing.assert_allclose(y, ou.mean(run.t - 1, 2.0) + sign * deviation, rtol=1e-12)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    for sign in (-2, 2):
        edge = np.column_stack([run.t, run.mean[:, 0] + sign * run.standard_deviation[:, 0]])
        assert all((np.abs(corners - point) < 1e-12).all(axis=1).any() for point in edge)


def test_one_component_of_several():
    run = sf.simulate(sf.Heston(), x0=(100.0, 0.04), t1=1.0, n_steps=10, n_paths=50, seed=3, save_at="all")
    axes = run.plot().figure.axes[0]
    assert run.plot(axes, component=1, n_paths=0) is axes
    paths = [line.get_ydata() for line in run.plot(component=1, n_paths=3).lines if line.get_color() == "0.6"]
    assert np.array_equal(np.transpose(paths), run.x[:, :3, 1])
    named, _ = lines_of(run.plot(component=1, n_paths=0))
    assert np.array_equal(named["mean of 50 paths"].get_ydata(), run.mean[:, 1])


def test_statistics_alone_have_no_paths():
    run = sf.simulate(sf.CIR(), x0=1.0, t1=1.0, n_steps=10, n_paths=50, seed=3, save_at="all", paths=False)
    assert not [line for line in run.plot().lines if line.get_color() == "0.6"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"component": 1}, "component must be between 0 and 0"),
        ({"n_paths": -1}, "n_paths must be between 0"),
        ({}, "plot needs several saved times"),
    ],
)
def test_refused(given, message):
    run = sf.simulate(sf.CIR(), x0=1.0, t1=1.0, n_steps=10, n_paths=50, seed=3)
    with pytest.raises(ValueError, match=message):
        run.plot(**given)
