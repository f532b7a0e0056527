"""Figures; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .models.base import Model
    from .simulation import Simulation


def simulation(run: Simulation, ax: Axes | None = None, *, component: int = 0, n_paths: int = 20) -> Axes:
    """Sample paths, mean and a band of two standard deviations, beside the exact ones where the model has them."""
    component = checks.count("component", component, least=0, most=run.model.dim - 1)
    n_paths = checks.count("n_paths", n_paths, least=0)
    if len(run.t) < 2:
        raise ValueError("plot needs several saved times: simulate with save_at='all' or every so many steps")
    ax = ax if ax is not None else new_axes()
    if run.settings.keeps_paths and n_paths:
        paths(ax, run, component, n_paths)
    t, mean, deviation = run.t, run.mean[:, component], run.standard_deviation[:, component]
    ax.plot(t, mean, color="C0", label=f"mean of {run.n_paths:,} paths")
    ax.fill_between(t, mean - 2 * deviation, mean + 2 * deviation, color="C0", alpha=0.2, label="± 2 std. deviations")
    if run.settings.x0 is not None:
        exact(ax, run.model, t - run.settings.grid.t0, run.settings.x0, t, component)
    decorate(ax, run, component)
    return ax


def new_axes() -> Axes:
    """Axes of a new figure that belongs to no window system."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'sdefast[plots]'") from None
    return Figure(figsize=(8, 5), layout="constrained").add_subplot()


def check_file(file: Path) -> None:
    """Raise ValueError if a figure cannot be written to that file."""
    formats = new_axes().figure.canvas.get_supported_filetypes()
    if file.suffix[1:] not in formats:
        raise ValueError(f"the plot's file must end in one of {', '.join('.' + name for name in formats)}, got {file}")
    if not file.absolute().parent.is_dir():
        raise ValueError(f"the plot's folder {file.absolute().parent} does not exist")


def save(ax: Axes, file: str | Path) -> None:
    """Write the figure that ``ax`` belongs to; the format is that of the file's name."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig(file)


def paths(ax: Axes, run: Simulation, component: int, n_paths: int) -> None:
    """The first ``n_paths`` paths of a run, thin and grey."""
    ax.plot(run.t, np.asarray(run.x[:, :n_paths, component]), color="0.6", linewidth=0.6, zorder=0)


def exact(ax: Axes, model: Model, elapsed: np.ndarray, x0: Any, t: np.ndarray, component: int) -> None:
    """Exact mean and band from a fixed start, dashed, if the model has closed forms."""
    moments = exact_moments(model, elapsed, x0)
    if moments is None:
        return
    mean, deviation = moments[0][:, component], np.sqrt(moments[1][:, component])
    ax.plot(t, mean, color="k", linestyle="--", linewidth=1, label="exact")
    for sign in (-2, 2):
        ax.plot(t, mean + sign * deviation, color="k", linestyle=":", linewidth=1)


def exact_moments(model: Model, elapsed: np.ndarray, x0: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Exact mean and variance, each (n_times, dim), or None for a model without closed forms."""
    if not (hasattr(model, "mean") and hasattr(model, "variance")):
        return None
    start = np.asarray(x0, np.float64).reshape(model.dim)
    shape = (len(elapsed), model.dim)
    x = start if model.dim > 1 else start[0]
    return np.reshape(model.mean(elapsed, x), shape), np.reshape(model.variance(elapsed, x), shape)


def decorate(ax: Axes, run: Simulation, component: int) -> None:
    """Axis labels, legend and a title that tells what was run."""
    ax.set_xlabel("t")
    ax.set_ylabel("X" if run.model.dim == 1 else f"X[{component}]")
    ax.set_title(f"{run.model}\n{run.settings.method}, {run.settings.dtype.name}, seed {run.seed}", fontsize="medium")
    ax.legend(loc="best", fontsize="small")
