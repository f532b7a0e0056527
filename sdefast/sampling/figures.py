"""What figures of samples show: states over the density that they are from, trajectories, traces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, plots
from .targets.base import BaseTarget
from .targets.gaussian import Gaussian
from .targets.mixture import GaussianMixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_MOST_POINTS, _GRID, _LEVELS = 2000, 160, 8

#: Outermost of the levels of a contour, as a part of the largest density.
_LEAST_LEVEL = 0.01

#: A density is integrated to where it is so small a part of its largest value, by so many points.
_TAIL, _NODES = 1e-6, 20_001


def chosen(components: Any, dim: int) -> tuple[int, ...]:
    """The one or two components to draw."""
    if components is None:
        return tuple(range(min(dim, 2)))
    given = components if isinstance(components, Sequence) else (components,)
    if len(given) not in (1, 2) or len(set(given)) < len(given):
        raise ValueError(f"components must be one component or two different ones, got {checks.shown(components)}")
    return tuple(checks.count("components", c, least=0, most=dim - 1) for c in given)


def marginal(target: BaseTarget, components: Sequence[int], temperature: float = 1.0) -> BaseTarget | None:
    """The law of some components, in their order in the state, where it is known.

    At another temperature it is what has to be raised to the power 1/T: of a mixture there is no such law.
    """
    some = sorted(components)
    if len(some) == target.dim:
        return target if target.density.has("log_density") else None
    if isinstance(target, Gaussian):
        return Gaussian(target.mean[some], target.covariance[np.ix_(some, some)])
    if type(target) is GaussianMixture and temperature == 1:
        covariances = target.covariances
        if covariances.ndim == 3:
            covariances = covariances[:, some][:, :, some]
        return GaussianMixture(target.weights, target.means[:, some], covariances)
    return None


# One component -------------------------------------------------------------------------------------------------------


def density(target: BaseTarget, low: float, high: float, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points from low to high, and there the density p^(1/T) of a target in one dimension, normalised numerically.

    The integral is over low to high, the mean and five standard deviations where they are known, and on from there on
    either side until the density has died out.
    """
    x = np.linspace(low, high, 801)
    nodes = _support(target, low, high, temperature)
    values = _log_density(target, nodes[:, None], temperature)
    top = values.max()
    integral = np.trapezoid(np.exp(values - top), nodes)
    return x, np.exp(_log_density(target, x[:, None], temperature) - top) / integral


def _support(target: BaseTarget, low: float, high: float, temperature: float) -> np.ndarray:
    """Nodes of the integral."""
    if target.mean is not None and target.covariance is not None:
        mean, reach = float(target.mean[0]), 5 * float(np.sqrt(target.covariance[0, 0]))
        if np.isfinite([mean, reach]).all():
            low, high = min(low, mean - reach), max(high, mean + reach)
    for _ in range(12):
        nodes = np.linspace(low, high, _NODES)
        values = _log_density(target, nodes[:, None], temperature)
        least, width = values.max() + np.log(_TAIL), high - low
        on_left, on_right = values[0] > least, values[-1] > least
        if not (on_left or on_right):
            break
        low, high = low - width * on_left / 2, high + width * on_right / 2
    return nodes


def _log_density(target: BaseTarget, points: np.ndarray, temperature: float) -> np.ndarray:
    """log p / T; -inf where there is no density."""
    with np.errstate(all="ignore"):
        values = np.asarray(target.log_density(points)) / temperature
    return np.where(np.isnan(values), -np.inf, values)


# Two components ------------------------------------------------------------------------------------------------------


def contours(
    ax: Axes, target: BaseTarget, x: np.ndarray, y: np.ndarray, turned: bool = False, temperature: float = 1.0
) -> None:
    """Contours of the density over the range of points, at equal ratios down to a hundredth of the largest value.

    The target's first component is x, or where they are ``turned`` y.
    """
    axes = [np.linspace(*plots.spread(values), _GRID) for values in (x, y)]
    grid = np.stack(np.meshgrid(*axes)[:: -1 if turned else 1], axis=-1)
    values = _log_density(target, grid, temperature)
    if np.isfinite(values).any():
        levels = np.linspace(np.log(_LEAST_LEVEL), 0, _LEVELS + 1)[:-1]
        relative = np.maximum(values - values.max(), 2 * levels[0])
        ax.contour(*axes, relative, levels=levels, colors="0.5", linewidths=0.8, linestyles="solid", zorder=0)


# What is drawn of a run ----------------------------------------------------------------------------------------------


def draw(chains: Any, ax: Axes | None, components: Any, n_chains: Any, pooled: bool) -> Axes:
    """States or trajectories over the density: see `Chains.plot`."""
    which = chosen(components, chains.dim)
    if n_chains is not None and (len(which) < 2 or len(chains.iterations) < 2):
        raise ValueError("n_chains asks for trajectories: of two components, with several saved iterations")
    ax = plots.new_axes() if ax is None else ax
    (_one if len(which) == 1 else _two)(chains, ax, which, n_chains, pooled)
    ax.set_title(_title(chains), fontsize="medium")
    return ax


def _one(chains: Any, ax: Axes, which: tuple[int, ...], n_chains: Any, pooled: bool) -> None:
    law, temperature, (c,) = _law(chains, which), chains.settings.temperature or 1.0, which
    if chains.settings.keeps_states:
        values = _states(chains, pooled)[:, :, c].ravel()
        shown = plots.histogram(ax, values, _label(chains, len(values), pooled))
    else:
        edges = chains.histogram_edges  # refuses where there is none
        counts = chains.histogram[:, c].sum(axis=0) if pooled else chains.histogram[-1, c]
        n = chains.n_chains * (len(chains.iterations) if pooled else 1)
        shown = plots.counted(ax, counts, edges, n, _label(chains, n, pooled))
    if law is not None:
        ax.plot(*density(law, *shown, temperature), color="k", linewidth=1, label="density of the target")
    ax.set(xlabel=_name(chains, c), ylabel="density")
    plots.legend(ax)


def _two(chains: Any, ax: Axes, which: tuple[int, ...], n_chains: Any, pooled: bool) -> None:
    law = _law(chains, which)
    if n_chains is None:
        states = _states(chains, pooled).reshape(-1, chains.dim)[:, which]
        some = states[:: -(-len(states) // _MOST_POINTS)]
        plots.points(ax, some[:, 0], some[:, 1], _label(chains, len(some), pooled))
        plots.legend(ax)
    else:
        states = np.asarray(chains.x[:, : checks.count("n_chains", n_chains)])[:, :, which]
        plots.trajectories(ax, states[:, :, 0], states[:, :, 1])
        states = states.reshape(-1, 2)
    if law is not None:
        turned = which[0] > which[1]
        contours(ax, law, states[:, 0], states[:, 1], turned, chains.settings.temperature or 1.0)
    ax.set(xlabel=_name(chains, which[0]), ylabel=_name(chains, which[1]))


def _law(chains: Any, which: tuple[int, ...]) -> BaseTarget | None:
    """That of the components, if it is known."""
    return marginal(chains.target, which, chains.settings.temperature or 1.0)


def _states(chains: Any, pooled: bool) -> np.ndarray:
    """States of all saved iterations, or of the last."""
    return np.asarray(chains.x if pooled else chains.x[-1:])


def _label(chains: Any, n: int, pooled: bool) -> str:
    if pooled:
        return f"{n:,} states at {len(chains.iterations):,} iterations"
    return f"{n:,} states at iteration {chains.iterations[-1]:,}"


def trace(chains: Any, ax: Axes | None, component: Any, n_chains: Any) -> Axes:
    """Traces of some chains, mean and band of all: see `Chains.plot_trace`."""
    c = checks.count("component", component, least=0, most=chains.dim - 1)
    n, t = checks.count("n_chains", n_chains, least=0), chains.iterations
    if len(t) < 2:
        raise ValueError("plot_trace needs several saved iterations: langevin with thin= or save_at='all'")
    ax = plots.new_axes() if ax is None else ax
    ax.plot(t, chains.mean[:, c], color="C0", label=f"mean of {chains.n_chains:,} chains")
    if chains.n_chains > 1:
        plots.band(ax, t, chains.mean[:, c], chains.standard_deviation[:, c], "C0", "± 2 std. deviations")
    if chains.settings.keeps_states:
        plots.thin(ax, t, np.asarray(chains.x[:, :n, c]))
    _exact(ax, chains, c)
    ax.set(xlabel="iteration", ylabel=_name(chains, c))
    ax.set_title(_title(chains), fontsize="medium")
    plots.legend(ax)
    return ax


def _exact(ax: Axes, chains: Any, c: int) -> None:
    """The target's mean and two deviations, where they are known, as horizontal lines."""
    mean, covariance = chains.target.mean, chains.target.covariance
    if chains.settings.temperature != 1 or mean is None or covariance is None:
        return
    deviation = float(np.sqrt(covariance[c, c]))
    if not np.isfinite([mean[c], deviation]).all():
        return
    ax.axhline(float(mean[c]), color="k", linestyle="--", linewidth=1, label="target")
    for sign in (-2, 2):
        ax.axhline(float(mean[c]) + sign * deviation, color="k", linestyle=":", linewidth=1)


def _name(chains: Any, c: int) -> str:
    return "x" if chains.dim == 1 else f"x[{c}]"


def _title(chains: Any) -> str:
    s = chains.settings
    return f"{chains.target!r}\n{s.method}, {s.dtype.name}, seed {s.seed}"
