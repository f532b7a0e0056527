"""What figures of simulations show: a mean and its band, and beside them what is known exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from .models.base import Model, exact_moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def statistics(ax: Axes | None, t: np.ndarray, mean: np.ndarray, deviation: np.ndarray, n_paths: int) -> Axes:
    """Mean and a band of two standard deviations of one component, in new axes if there are none."""
    if len(t) < 2:
        raise ValueError("plot needs several saved times: simulate with save_at='all' or every so many steps")
    ax = plots.new_axes() if ax is None else ax
    ax.plot(t, mean, color="C0", label=f"mean of {n_paths:,} paths")
    plots.band(ax, t, mean, deviation, "C0", "± 2 std. deviations")
    return ax


def exact(ax: Axes, model: Model, component: int, t: np.ndarray, elapsed: np.ndarray, x0: Any) -> None:
    """Exact mean and band from a fixed start, dashed, if the model has closed forms."""
    moments = exact_moments(model, elapsed, x0)
    if moments is None:
        return
    mean, deviation = moments[0][:, component], np.sqrt(moments[1][:, component])
    ax.plot(t, mean, color="k", linestyle="--", linewidth=1, label="exact")
    for sign in (-2, 2):
        ax.plot(t, mean + sign * deviation, color="k", linestyle=":", linewidth=1)


def labels(ax: Axes, model: Model, component: int, how: str) -> None:
    """Axis labels, legend and a title that tells what was run, and how."""
    ax.set(xlabel="t", ylabel="X" if model.dim == 1 else f"X[{component}]")
    ax.set_title(f"{model}\n{how}", fontsize="medium")
    plots.legend(ax)
