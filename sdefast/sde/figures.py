"""What figures of simulations show: paths, a mean and a band, and beside them what is known exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..words import counted
from .models.base import Model, exact_moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Parts of the paths that bands of quantiles hold.
_PARTS = (0.95, 0.5)


def statistics(ax: Axes, t: np.ndarray, mean: np.ndarray, deviation: np.ndarray | None, n_paths: int) -> None:
    """Mean of one component, and a band of two standard deviations if they are given."""
    ax.plot(t, plots.finite(mean), color="C0", label=f"mean of {counted(n_paths, 'path')}")
    if deviation is not None:
        plots.band(ax, t, mean, deviation, "C0", "± 2 std. deviations")


def quantiles(ax: Axes, t: np.ndarray, states: np.ndarray) -> None:
    """Bands that hold the middle half and nearly all of the ``states`` (n_times, n), for laws of several modes."""
    for part in _PARTS:
        low, high = np.nanquantile(plots.finite(states), [(1 - part) / 2, (1 + part) / 2], axis=1)
        label = f"middle {100 * part:g} % of {counted(states.shape[1], 'path')}"
        ax.fill_between(t, low, high, color="C0", alpha=0.2, label=label)


def exact(ax: Axes, model: Model, component: int, t: np.ndarray, elapsed: np.ndarray, x0: Any) -> None:
    """Exact mean, dashed, and band, dotted, from a fixed start, if the model has closed forms."""
    moments = exact_moments(model, elapsed, x0)
    if moments is None:
        return
    mean, deviation = moments[0][:, component], np.sqrt(moments[1][:, component])
    ax.plot(t, mean, color="k", linestyle="--", linewidth=1, label="mean, exact")
    for sign in (-2, 2):
        ax.plot(t, mean + sign * deviation, color="k", linestyle=":", linewidth=1, label="± 2 std. deviations, exact")


def with_errors(
    ax: Axes, x: np.ndarray, value: np.ndarray, error: np.ndarray, exact: np.ndarray, color: str, label: str
) -> None:
    """A curve with two standard errors, where these are known, and dashed the exact one."""
    bars = 2 * np.nan_to_num(plots.finite(error))
    ax.errorbar(x, plots.finite(value), yerr=bars, color=color, marker=".", capsize=2, label=label)
    if np.isfinite(exact).any():
        ax.plot(x, plots.finite(exact), color="k", linestyle="--", linewidth=1, label="exact", zorder=3)


def component_name(model: Model, component: int) -> str:
    """What a component is called."""
    if model.component_names:
        return model.component_names[component]
    return "X" if model.dim == 1 else f"X[{component}]"
