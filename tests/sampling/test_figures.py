"""Figures of samples, by the data of their lines, bars and contours."""

import matplotlib.colors
import numpy as np
import pytest
from scipy import integrate, stats

import sdefast as sf
from sdefast.sampling import figures

NORMAL = sf.targets.Gaussian(1.0, 4.0)
CORRELATED = sf.targets.Gaussian([1.0, -0.5], [[1.0, 0.6], [0.6, 2.0]])
THREE = sf.targets.Gaussian([1.0, -0.5, 2.0], [[1.0, 0.6, 0.2], [0.6, 2.0, 0.0], [0.2, 0.0, 0.5]])


def run(target, **how):
    return sf.langevin(
        target, **{"step_size": 0.2, "n_steps": 12, "n_chains": 500, "x0": "sample", "seed": 3} | how
    )  # fmt: skip


def curve(ax):
    """The density's points and values."""
    (line,) = [line for line in ax.lines if line.get_label() == "density of the target"]
    return line.get_data()


def bars(ax):
    (stairs,) = ax.patches
    return stairs.get_data().values, stairs.get_data().edges


def level_points(ax):
    """The contours' levels, each with the points that lie on it."""
    (contours,) = ax.collections
    return [(level, path.vertices) for level, path in zip(contours.levels, contours.get_paths(), strict=True)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_component_is_a_histogram_under_the_density(dtype):
    chains = run(NORMAL, dtype=dtype, save_at=[6, 12])
    ax = chains.plot()
    counts, edges = np.histogram(chains.x[-1, :, 0].astype(float), bars(ax)[1])
    np.testing.assert_allclose(bars(ax)[0], counts / (500 * np.diff(edges)), rtol=1e-12)
    assert counts.sum() >= 498  # all but those beyond the quantiles
    x, density = curve(ax)
    assert (x[0], x[-1]) == (edges[0], edges[-1])
    np.testing.assert_allclose(density, stats.norm.pdf(x, 1, 2), rtol=1e-5)
    assert "seed 3" in ax.get_title()
    label = ax.patches[0].get_label()
    assert label == "500 states at iteration 12"
    pooled = chains.plot(pooled=True)
    assert pooled.patches[0].get_label() == "1,000 states at 2 iterations"
    values, edges = bars(pooled)
    counts, _ = np.histogram(chains.x.astype(float), edges)
    np.testing.assert_allclose(values, counts / (1000 * np.diff(edges)), rtol=1e-12)


def test_densities_are_normalised_whatever_the_states_cover():
    """A mixture of which the chains have found one mode; a law whose mean is not known; heavy tails; a border."""
    mixture = sf.targets.GaussianMixture([0.2, 0.8], [-4.0, 4.0], 0.09)
    ax = run(mixture, step_size=0.01, x0=np.full((500, 1), 4.0)).plot()
    x, density = curve(ax)
    assert x[0] > 0
    np.testing.assert_allclose(density, 0.8 * stats.norm.pdf(x, 4, 0.3), rtol=1e-5)
    quartic = sf.targets.Target(lambda x: -(x[0] ** 4))
    x, density = figures.density(quartic, -0.5, 0.25)
    whole = integrate.quad(lambda x: np.exp(-(x**4)), -5, 5)[0]
    np.testing.assert_allclose(density, np.exp(-(x**4)) / whole, rtol=1e-5)
    x, density = figures.density(sf.targets.Target(lambda x: -sf.math.log(1 + x[0] ** 2)), -3.0, 3.0)
    np.testing.assert_allclose(density, stats.cauchy.pdf(x), rtol=1e-3)
    border = sf.targets.Target(lambda x: sf.math.log(x[0]) - x[0])  # Gamma(2)
    x, density = figures.density(border, 0.5, 3.0)
    np.testing.assert_allclose(density, stats.gamma.pdf(x, 2), rtol=1e-4)


def test_temperatures_widen_the_density():
    x, density = curve(run(NORMAL, temperature=3.0).plot())
    np.testing.assert_allclose(density, stats.norm.pdf(x, 1, np.sqrt(12)), rtol=1e-5)
    chains = sf.gradient_descent(NORMAL, step_size=0.1, n_steps=3, n_chains=50, x0="sample", seed=1)
    x, density = curve(chains.plot())  # temperature 0: the target as it is
    np.testing.assert_allclose(density, stats.norm.pdf(x, 1, 2), rtol=1e-5)


def test_counts_are_drawn_where_states_were_not_kept():
    chains = run(CORRELATED, paths=False, histogram=(-4.0, 4.0, 16), save_at=[6, 12])
    ax = chains.plot(components=1)
    values, edges = bars(ax)
    assert np.array_equal(edges, chains.histogram_edges)
    np.testing.assert_allclose(values, chains.histogram[-1, 1] / 500 / 0.5)
    values, _ = bars(chains.plot(components=1, pooled=True))
    np.testing.assert_allclose(values, chains.histogram[:, 1].sum(axis=0) / 1000 / 0.5)
    with pytest.raises(AttributeError, match="no states were kept"):
        chains.plot()
    with pytest.raises(AttributeError, match="no histogram was counted"):
        run(NORMAL, paths=False).plot()


def test_marginals_are_drawn_where_they_are_known():
    for c in range(3):
        x, density = curve(run(THREE).plot(components=c))
        scale = np.sqrt(THREE.covariance[c, c])
        np.testing.assert_allclose(density, stats.norm.pdf(x, THREE.mean[c], scale), rtol=1e-5)
    for covariances in ([1.0, 0.25], [np.diag([1.0, 2.0, 3.0]), THREE.covariance]):
        mixture = sf.targets.GaussianMixture([0.3, 0.7], [[0.0, 1.0, 2.0], [4.0, -1.0, 0.0]], covariances)
        x, density = curve(run(mixture).plot(components=(2,)))
        variances = np.sqrt(covariances if np.ndim(covariances) == 1 else [c[2, 2] for c in covariances])
        wanted = 0.3 * stats.norm.pdf(x, 2, variances[0]) + 0.7 * stats.norm.pdf(x, 0, variances[1])
        np.testing.assert_allclose(density, wanted, rtol=1e-5)
        assert not run(mixture, temperature=2.0).plot(components=0).lines
    user = sf.targets.Target(lambda x: -(x[0] ** 2 + x[1] ** 2 + x[2] ** 2), dim=3)
    ax = run(user, x0=[0.0, 0.0, 0.0]).plot(components=0)
    assert ax.patches
    assert not ax.lines
    score_alone = sf.targets.Target(score=lambda x: -x[0])
    assert not run(score_alone, x0=0.0).plot().lines


@pytest.mark.parametrize(("target", "components"), [(CORRELATED, None), (CORRELATED, (1, 0)), (THREE, (2, 0))])
def test_two_components_are_points_over_contours(target, components):
    """The contours go through points of the density that they say, a hundredth of the largest and up."""
    chains = run(target)
    ax = chains.plot(components=components)
    which = list(components or (0, 1))
    (points,) = ax.lines
    assert np.array_equal(np.transpose(points.get_data()), chains.x[-1][:, which])
    assert (ax.get_xlabel(), ax.get_ylabel()) == tuple(f"x[{c}]" for c in which)
    law = stats.multivariate_normal(target.mean[which], target.covariance[np.ix_(which, which)])
    levels = level_points(ax)
    np.testing.assert_allclose([level for level, _ in levels], np.log(0.01) * np.arange(8, 0, -1) / 8)
    for level, vertices in levels[2:]:
        assert len(vertices) > 20
        relative = law.logpdf(vertices) - law.logpdf(law.mean)
        np.testing.assert_allclose(relative, level, atol=0.02)


def test_many_states_are_thinned():
    chains = run(CORRELATED, n_chains=9000)
    (points,) = chains.plot().lines
    assert np.array_equal(np.transpose(points.get_data()), chains.x[-1, ::5])
    assert points.get_label() == "1,800 states at iteration 12"


def test_trajectories():
    """A noisy and a plain descent in the same axes."""
    how = {"step_size": 0.2, "n_steps": 12, "x0": [4.0, 3.0], "save_at": "all"}
    noisy = sf.langevin(CORRELATED, n_chains=10, seed=1, **how)
    plain = sf.gradient_descent(CORRELATED, **how)
    ax = noisy.plot(n_chains=3)
    assert plain.plot(ax, n_chains=1) is ax
    lines, ends = ([line for line in ax.lines if line.get_marker() == kind] for kind in ("None", "o"))
    wanted = [*noisy.x[:, :3].transpose(1, 0, 2), plain.x[:, 0]]
    for line, end, x in zip(lines, ends, wanted, strict=True):
        assert np.array_equal(np.transpose(line.get_data()), x)
        assert np.array_equal(np.transpose(end.get_data()), x[-1:])
        assert matplotlib.colors.same_color(line.get_color(), end.get_color())


def test_lost_chains_do_not_spoil_the_picture():
    steep = sf.targets.Target(lambda x: -(x[0] ** 4) - x[1] ** 4, dim=2)
    starts = np.tile([[0.5, 0.5], [40.0, 0.1]], (20, 1))
    with pytest.warns(RuntimeWarning, match="no longer finite"):
        chains = run(steep, x0=starts, n_chains=40, step_size=0.1)
    (points,) = chains.plot().lines
    assert np.isfinite(points.get_data()).all(axis=0).sum() == 20
    assert len(bars(chains.plot(components=0))[0]) > 1
    with pytest.warns(RuntimeWarning, match="no longer finite"):
        lost = run(steep, x0=[40.0, 40.0], n_chains=4, step_size=0.1)
    for components in (0, (0, 1)):
        with pytest.raises(ValueError, match="chains that are finite"):
            lost.plot(components=components)


def test_traces():
    chains = run(CORRELATED, save_at="all")
    ax = chains.plot_trace(component=1, n_chains=4)
    for line in ax.lines[:1]:
        assert np.array_equal(line.get_xdata(), np.arange(13))
        assert np.array_equal(line.get_ydata(), chains.mean[:, 1])
    traces = [line.get_ydata() for line in ax.lines if line.get_color() == "0.6"]
    assert np.array_equal(np.transpose(traces), chains.x[:, :4, 1])
    levels = sorted(line.get_ydata()[0] for line in ax.lines if line.get_color() == "k")
    np.testing.assert_allclose(levels, -0.5 + 2 * np.sqrt(2.0) * np.array([-1, 0, 1]))
    corners = ax.collections[0].get_paths()[0].vertices
    for sign in (-2, 2):
        edge = np.column_stack([chains.t, chains.mean[:, 1] + sign * chains.standard_deviation[:, 1]])
        assert all((np.abs(corners - point) < 1e-12).all(axis=1).any() for point in edge)
    assert chains.plot_trace(ax) is ax
    alone = run(CORRELATED, save_at="all", paths=False, temperature=2.0).plot_trace()
    assert [line.get_label() for line in alone.lines] == ["mean of 500 chains"]
    one = sf.gradient_descent(CORRELATED, step_size=0.1, n_steps=5, save_at="all").plot_trace()
    assert not one.collections


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda c: c.plot(components=2), "components must be between 0 and 1"),
        (lambda c: c.plot(components=(0, 0)), "one component or two different ones"),
        (lambda c: c.plot(components=(0, 1, 0)), "one component or two different ones"),
        (lambda c: c.plot(n_chains=3), "n_chains asks for trajectories"),
        (lambda c: c.plot_trace(), "plot_trace needs several saved iterations"),
        (lambda c: c.plot_trace(component=2), "component must be between 0 and 1"),
    ],
)
def test_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw(run(CORRELATED))
