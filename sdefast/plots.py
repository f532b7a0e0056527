"""Axes, and what every figure does with them; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Beyond it, matplotlib's arithmetic of limits and ticks leaves the numbers.
_MOST = 1e200


def new_axes() -> Axes:
    """Axes of a new figure that belongs to no window system."""
    return _new_figure(8).add_subplot()


def new_row(n: int) -> list[Axes]:
    """Axes beside each other in a new figure."""
    return list(_new_figure(5 * n).subplots(1, n, squeeze=False)[0])


def _new_figure(width: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'sdefast[plots]'") from None
    return Figure(figsize=(width, 5), layout="constrained")


def finite(values: np.ndarray) -> np.ndarray:
    """The values that fit on an axis; others are left out."""
    values = np.asarray(values, np.float64)
    return np.where(np.abs(values) < _MOST, values, np.nan)


def thin(ax: Axes, t: np.ndarray, values: np.ndarray, label: str | None = None) -> None:
    """Thin grey lines behind all others: some of many, the columns of ``values`` (n_times, n)."""
    ax.plot(t, finite(values), color="0.6", linewidth=0.8, zorder=0, label=label)


def band(
    ax: Axes, t: np.ndarray, mean: np.ndarray, deviation: np.ndarray, color: str, label: str | None = None
) -> None:
    """What lies within two deviations of the mean."""
    ax.fill_between(t, mean - 2 * deviation, mean + 2 * deviation, color=color, alpha=0.2, label=label)


def legend(ax: Axes) -> None:
    """A legend with every label once."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), loc="best", fontsize="small")


def heading(ax: Axes, *lines: str) -> None:
    """A title of the figure that ``ax`` belongs to."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.suptitle("\n".join(filter(None, lines)), fontsize="medium")


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
