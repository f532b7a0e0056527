"""Figures of diffusion models: losses over seeds, grids of images, denoising strips, trajectories, levels of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, plots
from .data.images import LEVELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["grid", "levels", "loss_curve", "losses", "strip", "trajectories"]

#: Images are separated by so many pixels.
_GAP = 1

#: Arrows of a field of scores, along either axis.
_ARROWS = 24

#: Points that are drawn of data or samples, at most.
_MOST_POINTS = 2000


# Losses --------------------------------------------------------------------------------------------------------------


def loss_curve(logs: Sequence[np.ndarray], every: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and deviation over runs of losses that are averaged over so many optimiser steps.

    Parameters
    ----------
    logs : sequence of structured arrays
        A run's log each, with fields ``step`` and ``loss``, all of the same steps.
    every : int
        Steps in one average, an epoch for example; a last part of fewer is left out.

    Returns
    -------
    steps, mean, deviation : ndarray of shape (n,)
        The last step of each average; the mean over runs; the standard deviation between runs, 0 of a single one.

    Raises
    ------
    ValueError
        If there is no run, the runs' steps differ, or there are fewer than ``every``.

    Examples
    --------
    >>> import numpy as np
    >>> kind = [("step", int), ("loss", float)]
    >>> logs = [np.array([(1, 4.0), (2, 2.0)], kind), np.array([(1, 2.0), (2, 0.0)], kind)]
    >>> [values.tolist() for values in loss_curve(logs, every=2)]
    [[2], [2.0], [1.4142135623730951]]
    """
    every = checks.count("every", every)
    if not len(logs):
        raise ValueError("logs must hold one run or more")
    steps = np.asarray(logs[0]["step"])
    if any(not np.array_equal(steps, log["step"]) for log in logs):
        raise ValueError(f"logs must be of the same steps, got {', '.join(str(len(log)) for log in logs)} of them")
    n = len(steps) // every
    if n == 0:
        raise ValueError(f"every must be at most the number of steps, {len(steps)}, got {every}")
    averages = np.array([log["loss"][: n * every].reshape(n, every).mean(1, dtype=np.float64) for log in logs])
    deviation = averages.std(0, ddof=1) if len(logs) > 1 else np.zeros(n)
    return steps[every - 1 :: every], averages.mean(0), deviation


def losses(logs: Mapping[str, Sequence[np.ndarray]], *, every: int = 1, ax: Axes | None = None) -> Axes:
    """Draw the mean loss over runs and a band of two deviations between them, a curve for each name.

    Parameters
    ----------
    logs : mapping of str to sequence of structured arrays
        What `loss_curve` takes, by the names in the legend.
    every : int
        As of `loss_curve`.
    ax : matplotlib.axes.Axes, optional
        Where to draw, by default in a new figure.
    """
    ax = plots.new_axes() if ax is None else ax
    for i, (name, runs) in enumerate(logs.items()):
        steps, mean, deviation = loss_curve(runs, every)
        many = len(runs) > 1
        ax.plot(steps, plots.finite(mean), color=f"C{i}", label=f"{name}: mean of {len(runs)} seeds" if many else name)
        if many:
            plots.band(ax, steps, mean, deviation, f"C{i}", "± 2 std. deviations")
    over = f", mean of {every} steps" if every > 1 else ""
    ax.set(xlabel="optimiser step", ylabel=f"loss{over}", yscale="log")
    plots.legend(ax)
    return ax


# Images --------------------------------------------------------------------------------------------------------------


def grid(images: Any, *, n_columns: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw images beside and below each other.

    Parameters
    ----------
    images : array_like of shape (n, channels, height, width)
        In [-1, 1], beyond which they are clipped, or uint8; one channel is drawn in greys, three in colours.
    n_columns : int, optional
        By default as many as make a square.
    ax : matplotlib.axes.Axes, optional
        Where to draw, by default in a new figure.

    Raises
    ------
    TypeError, ValueError
        If the array has another type or shape.
    """
    images = _images("images", images, 4)
    columns = checks.count("n_columns", int(np.ceil(np.sqrt(len(images)))) if n_columns is None else n_columns)
    rows = -(-len(images) // columns)
    blank = np.full((rows * columns - len(images), *images.shape[1:]), -1.0)
    return _tiled(np.concatenate([images, blank]).reshape(rows, columns, *images.shape[1:]), ax)


def strip(states: Any, *, labels: Sequence[Any] | None = None, ax: Axes | None = None) -> Axes:
    """Draw images on their way from noise to data, a row for each sample, as figure 18 of the thesis does.

    Parameters
    ----------
    states : array_like of shape (n_times, n, channels, height, width)
        `Trajectory.states`.
    labels : sequence, optional
        What stands below each time.
    ax : matplotlib.axes.Axes, optional
        Where to draw, by default in a new figure.

    Raises
    ------
    TypeError, ValueError
        If the array has another type or shape, or there are not as many labels as times.
    """
    states = _images("states", states, 5)
    if labels is not None and len(labels) != len(states):
        raise ValueError(f"labels must be one for each of {len(states)} times, got {len(labels)}")
    ax = _tiled(states.swapaxes(0, 1), ax)
    if labels is not None:
        width = states.shape[-1] + _GAP
        ax.xaxis.set_visible(True)
        ax.set_xticks(width * np.arange(len(labels)) + width / 2, [str(label) for label in labels], fontsize="small")
    return ax


def _images(name: str, images: Any, n_axes: int) -> np.ndarray:
    """Checked, in [-1, 1]; what is not finite is black."""
    given = np.asarray(checks.on_host(name, images.detach().cpu() if hasattr(images, "detach") else images))
    if given.ndim != n_axes or not given.size or given.shape[-3] not in (1, 3):
        lead = "(n, " if n_axes == 4 else "(n_times, n, "
        raise ValueError(f"{name} must have shape {lead}1 or 3, height, width), got {given.shape}")
    if given.dtype == np.uint8:
        return np.asarray(LEVELS[given], np.float64)
    if given.dtype.kind != "f":
        raise TypeError(f"{name} must be in floating point, or uint8 of 0 to 255, got {given.dtype}")
    return np.clip(np.nan_to_num(given.astype(np.float64), nan=-1.0), -1.0, 1.0)


def _tiled(images: np.ndarray, ax: Axes | None) -> Axes:
    """Images (rows, columns, channels, height, width) as one."""
    rows, columns, channels, height, width = images.shape
    framed = np.full((rows, columns, channels, height + _GAP, width + _GAP), 1.0)
    framed[..., :height, :width] = images
    picture = framed.transpose(0, 3, 1, 4, 2).reshape(rows * (height + _GAP), columns * (width + _GAP), channels)
    picture = picture[:-_GAP, :-_GAP]
    ax = plots.new_axes() if ax is None else ax
    shown = picture[..., 0] if channels == 1 else (picture + 1) / 2
    ax.imshow(shown, cmap="gray", vmin=-1, vmax=1, interpolation="nearest", aspect="equal")
    ax.xaxis.set_visible(False)
    ax.yaxis.set_visible(False)
    return ax


# Points --------------------------------------------------------------------------------------------------------------


def trajectories(
    states: Any, *, score: Callable[[np.ndarray], np.ndarray] | None = None, data: Any = None, ax: Axes | None = None
) -> Axes:
    """Draw the ways of points in the plane, over the field of a score and the data.

    Parameters
    ----------
    states : array_like of shape (n_times, n, 2)
        `Trajectory.states`.
    score : callable, optional
        ``score(x)`` of points (n, 2); its directions are drawn as arrows of equal length, darker where it is longer.
    data : array_like of shape (n, 2), optional
        Drawn as points below all.
    ax : matplotlib.axes.Axes, optional
        Where to draw, by default in a new figure.

    Raises
    ------
    ValueError
        If an array has another shape.
    """
    given = checks.array("states", states, shape=(None, None, 2))
    shown = None if data is None else checks.array("data", data, shape=(None, 2))[:_MOST_POINTS]
    ax = plots.new_axes() if ax is None else ax
    if shown is not None:
        plots.points(ax, shown[:, 0], shown[:, 1], "data", color="0.7")
    plots.trajectories(ax, given[:, :, 0], given[:, :, 1])
    if score is not None:
        around = given.reshape(-1, 2) if shown is None else np.concatenate([given.reshape(-1, 2), shown])
        _field(ax, score, around)
    ax.set(xlabel="x[0]", ylabel="x[1]", aspect="equal")
    return ax


def _field(ax: Axes, score: Callable[[np.ndarray], np.ndarray], around: np.ndarray) -> None:
    """Arrows over the range of points."""
    axes = [np.linspace(*plots.spread(around[:, c]), _ARROWS) for c in (0, 1)]
    points = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    field = np.asarray(score(points), np.float64)
    length = np.sqrt((field**2).sum(1))
    u, v = (field / np.where(length > 0, length, 1.0)[:, None]).T
    ax.quiver(
        points[:, 0], points[:, 1], u, v, np.log1p(length), cmap="Greys", clim=(-2.0, None), width=0.002, zorder=0
    )


def levels(
    states: Sequence[Any], names: Sequence[str], densities: Sequence[Callable[[np.ndarray], np.ndarray]],
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:  # fmt: skip
    """Draw histograms of samples in one dimension, one for each level of noise, with the densities they should have.

    Parameters
    ----------
    states : sequence of array_like of shape (n,)
        Samples at each level.
    names : sequence of str
        What the levels are called.
    densities : sequence of callables
        ``density(x)`` of points (m,), one for each level.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, by default beside each other in a new figure.

    Raises
    ------
    ValueError
        If these are not equally many.
    """
    if not len(states) == len(names) == len(densities):
        raise ValueError(
            f"states, names and densities must be equally many, got {len(states)}, {len(names)} and {len(densities)}"
        )
    axes = plots.new_row(len(states)) if axes is None else axes
    for ax, values, name, density in zip(axes, states, names, densities, strict=True):
        given = np.asarray(values, np.float64).ravel()
        low, high = plots.histogram(ax, given, f"{len(given):,} samples")
        x = np.linspace(low, high, 801)
        ax.plot(x, density(x), color="k", linewidth=1, label="exact")
        ax.set(xlabel="x", ylabel="density", title=name)
        plots.legend(ax)
    return list(axes)
