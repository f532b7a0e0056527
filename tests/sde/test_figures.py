"""Figures of simulations, by the data of their lines and bands."""

import numpy as np
import pytest

import sdefast as sf


def lines_of(ax):
    """The lines that have a label of their own, and the others."""
    named = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    return named, [line for line in ax.lines if line.get_label().startswith("_")]


def grey(ax):
    """Paths."""
    return [line.get_ydata() for line in ax.lines if line.get_color() == "0.6"]


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
    np.testing.assert_allclose(named["mean, exact"].get_ydata(), ou.mean(run.t - 1, 2.0), rtol=1e-12)
    assert not others
    assert np.array_equal(np.transpose(grey(ax)), run.x[:, :7, 0])
    dotted = [line.get_ydata() for line in ax.lines if line.get_label() == "± 2 std. deviations, exact"]
    exact_band = sorted(dotted, key=lambda y: y[-1])
    deviation = np.sqrt(ou.variance(run.t - 1))
    for sign, y in zip((-2, 2), exact_band, strict=True):
        np.testing.assert_allclose(y, ou.mean(run.t - 1, 2.0) + sign * deviation, rtol=1e-12)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "mean of 100 paths", "± 2 std. deviations", "7 paths", "mean, exact", "± 2 std. deviations, exact",
    ]  # fmt: skip
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    for sign in (-2, 2):
        edge = np.column_stack([run.t, run.mean[:, 0] + sign * run.standard_deviation[:, 0]])
        assert all((np.abs(corners - point) < 1e-12).all(axis=1).any() for point in edge)


def test_components_have_their_names_and_paths_are_run_again():
    settings = {"x0": (100.0, 0.04), "t1": 1.0, "n_steps": 10, "seed": 3, "save_at": "all"}
    run = sf.simulate(sf.Heston(), n_paths=50, paths=False, **settings)
    states = sf.simulate(sf.Heston(), n_paths=50, **settings).x
    axes = run.plot(n_paths=3).figure.axes
    assert [ax.get_ylabel() for ax in axes] == ["S", "v"]
    for c, ax in enumerate(axes):
        assert np.array_equal(np.transpose(grey(ax)), states[:, :3, c])
        assert np.array_equal(lines_of(ax)[0]["mean of 50 paths"].get_ydata(), run.mean[:, c])
    assert run.plot(axes[0], component=1, n_paths=0) is axes[0]
    (alone,) = run.plot(component=1, n_paths=1).figure.axes
    assert alone.get_ylabel() == "v"
    assert lines_of(alone)[0]["1 path"].get_ydata().tolist() == states[:, 0, 1].tolist()
    linear = sf.LinearSDE(A=-np.eye(8), B=np.eye(8))
    several = sf.simulate(linear, x0=np.zeros(8), t1=1.0, n_steps=2, n_paths=4, save_at="all", seed=1)
    assert [ax.get_ylabel() for ax in several.plot().figure.axes] == [f"X[{c}]" for c in range(6)]


def test_paths_that_carry_functionals_are_run_again():
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": 10, "n_paths": 30, "seed": 3, "save_at": 2, "first_chain": 5}
    asked = {
        "functionals": {"most": sf.functionals.running_max()},
        "expectations": {"square": lambda t, x: x[0] * x[0]},
    }
    run = sf.simulate(sf.CIR(), paths=False, **settings, **asked)
    assert np.array_equal(np.transpose(grey(run.plot(n_paths=4))), sf.simulate(sf.CIR(), **settings).x[:, :4, 0])


def test_starts_of_their_own_have_no_paths_unless_they_were_kept():
    run = sf.simulate(sf.CIR(), x0=np.ones(50), t1=1.0, n_steps=10, n_paths=50, seed=3, save_at="all", paths=False)
    assert not grey(run.plot())


def test_laws_of_several_modes_have_bands_of_quantiles():
    settings = {"x0": 0.0, "t1": 2.0, "n_steps": 40, "seed": 3, "save_at": 10}
    run = sf.simulate(sf.DoubleWell(), n_paths=3000, paths=False, **settings)
    states = sf.simulate(sf.DoubleWell(), n_paths=2000, **settings).x[:, :, 0]
    ax = run.plot(n_paths=2)
    wide, narrow = ax.collections
    for band, part, edges in ((wide, "95", (0.025, 0.975)), (narrow, "50", (0.25, 0.75))):
        assert band.get_label() == f"middle {part} % of 2,000 paths"
        corners = band.get_paths()[0].vertices
        for edge in np.quantile(states, edges, axis=1):
            assert all(np.abs(corners - point).sum(axis=1).min() < 1e-12 for point in zip(run.t, edge, strict=True))
    assert len(grey(ax)) == 2


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
