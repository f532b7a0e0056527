"""Axes, and what every figure does with them; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Beyond it, matplotlib's arithmetic of limits and ticks leaves the numbers.
_MOST = 1e200

#: Most bins of a histogram.
_BINS = 80


def new_axes() -> Axes:
    """Axes of a new figure that belongs to no window system."""
    return _new_figure(8).add_subplot()


def new_row(n: int) -> list[Axes]:
    """Axes beside each other in a new figure; one alone is as wide as `new_axes`."""
    return list(_new_figure(max(8, 5 * n)).subplots(1, n, squeeze=False)[0])


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


def histogram(ax: Axes, values: np.ndarray, label: str) -> tuple[float, float]:
    """Draw the density of values by a histogram of nearly all of them; the range that it covers."""
    n = len(values)
    counts, edges = np.histogram(finite(values), min(_BINS, max(10, int(np.sqrt(n)))), spread(values, 0.05))
    return counted(ax, counts, edges, n, label)


def counted(ax: Axes, counts: np.ndarray, edges: np.ndarray, n: int, label: str) -> tuple[float, float]:
    """Draw counts in bins, of n values, as a density; the range that they cover."""
    ax.stairs(counts / (n * np.diff(edges)), edges, fill=True, color="C0", alpha=0.4, label=label)
    return float(edges[0]), float(edges[-1])


def spread(values: np.ndarray, margin: float = 0.15) -> tuple[float, float]:
    """The range of nearly all values, and a part of it on either side."""
    values = finite(values)
    values = values[np.isfinite(values)]
    if not len(values):
        raise ValueError("plot needs chains that are finite")
    low, high = np.quantile(values, [0.001, 0.999])
    beside = margin * (high - low) or 10 * margin
    return float(low - beside), float(high + beside)


def points(ax: Axes, x: np.ndarray, y: np.ndarray, label: str | None = None, color: str = "C0") -> None:
    """States as points."""
    ax.plot(finite(x), finite(y), ".", color=color, markersize=3, alpha=0.5, label=label)


def trajectories(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Trajectories, (n_times, n) of either component, each with a mark at its end."""
    for i in range(x.shape[1]):
        (line,) = ax.plot(finite(x[:, i]), finite(y[:, i]), linewidth=0.8)
        ax.plot(finite(x[-1:, i]), finite(y[-1:, i]), "o", color=line.get_color(), markersize=4)


def legend(ax: Axes, *, beside: bool = False) -> None:
    """A legend with every label once; ``beside`` the axes where curves would lie under it."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    where: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if beside else {"loc": "best"}
    ax.legend(once.values(), once.keys(), fontsize="small", **where)


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


def save(ax: Axes, file: str | Path | IO[bytes]) -> None:
    """Write the figure that ``ax`` belongs to; the format is that of its name, of an open one png."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig(file)
