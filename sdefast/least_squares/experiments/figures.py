"""Figures of the experiments: SGD's runs and errors, its Ornstein-Uhlenbeck model, comparisons and weak errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ... import checks
from ...plots import band, finite, heading, legend, new_axes, new_row, thin
from ...sde.models.base import Model, exact_moments
from ...sde.result import Simulation
from ...words import counted
from ..result import Descent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Coordinates this many times larger than the optimum are drawn by their size, on a logarithmic axis.
_WILD = 1e3

_LOGARITHMIC, _COORDINATES = "logarithmic", ("first", "second")

#: What `descent` draws, with titles: the error on the thesis' axis and on the one that shows its floor, coordinates.
PANELS = {
    "linear": "test error",
    _LOGARITHMIC: "test error, logarithmic",
    "first": "first coordinate",
    "second": "second coordinate",
}


class Measure(NamedTuple):
    """What may be drawn of delta = theta - theta*: a function of its norm, and what it and its mean are called."""

    of_norm: Callable[[Any], Any]
    label: str
    mean: str

    def of(self, delta: np.ndarray) -> np.ndarray:
        """The measure of vectors (..., d); infinite where a coordinate is not finite."""
        largest = np.abs(delta).max(axis=-1)
        is_finite = np.isfinite(largest)
        scale = np.where(is_finite & (largest > 0), largest, 1.0)  # norms up to the largest float64
        with np.errstate(over="ignore", invalid="ignore"):
            norm = scale * np.sqrt(np.sum((delta / scale[..., None]) ** 2, axis=-1))
            return np.asarray(self.of_norm(np.where(is_finite, norm, np.inf)))


MEASURES = {
    "squared norm": Measure(np.square, r"$|\theta_t - \theta^*|^2$", "mean"),
    "norm": Measure(np.positive, r"$|\theta_t - \theta^*|$", "root mean square"),
    "half norm": Measure(lambda norm: norm / 2, r"$|\theta_t - \theta^*|\,/\,2$", "half the root mean square"),
}


def descent(
    fit: Descent, measure: Measure, exact: Mapping[str, np.ndarray], *, first_shown: int, n_shown: int,
    panels: Sequence[str] | None = None,
) -> list[Axes]:  # fmt: skip
    """Errors and coordinates of the runs that ``fit`` kept over the iterations, an axes for each of the ``panels``.

    ``exact`` are `SGDExperiment.exact_curves`, as far as there are any. The median is over all runs that were kept.
    """
    wanted = [*PANELS][: 2 + fit.problem.dim] if panels is None else panels
    axes = new_row(len(wanted))
    shown = np.flatnonzero(fit.iterations >= first_shown)
    theta = checks.on_host("theta", fit.theta)[shown].astype(np.float64)
    for ax, panel in zip(axes, wanted, strict=True):
        if panel in _COORDINATES:
            c = _COORDINATES.index(panel)
            _coordinate(ax, fit, theta[:, :n_shown, c], c, exact.get("mean"), shown)
        else:
            _errors(ax, fit, measure, measure.of(theta - fit.problem.theta_star), exact, shown, n_shown)
            ax.set_yscale("log" if panel == _LOGARITHMIC and _is_positive(ax) else "linear")
        ax.set_title(PANELS[panel], fontsize="medium")
        ax.set_xlabel("iteration t")
        legend(ax)
    return axes


def _is_positive(ax: Axes) -> bool:
    """Whether some curve has something to show on a logarithmic axis."""
    return any((np.asarray(line.get_ydata()) > 0).any() for line in ax.lines)


def _errors(
    ax: Axes, fit: Descent, measure: Measure, errors: np.ndarray, exact: Mapping[str, np.ndarray], shown: np.ndarray,
    n_shown: int,
) -> None:  # fmt: skip
    """Errors of runs, their mean, median and exact mean."""
    t, n_runs = fit.iterations[shown], fit.settings.n_runs
    everything = fit.n_nonfinite[shown] == 0
    few = errors[:, :n_shown]
    thin(ax, t, few, counted(few.shape[1], "run"))
    _mark_ends(ax, t, few)
    curves = {f"{measure.mean} of {n_runs:,} runs": (np.where(everything, fit.error[shown], np.nan), "C0", "-")}
    if fit.settings.iteration.averaged:
        average = np.where(everything, fit.averaged_error[shown], np.nan)
        curves[f"{measure.mean} of averages"] = (average, "C2", "-")
    for name, what, style in (("error", "", "--"), ("averaged", " of averages", ":")):
        if name in exact:
            curves[f"{measure.mean}{what}, exact"] = (exact[name][t], "k", style)
    for label, (squared, color, style) in curves.items():
        values = finite(measure.of_norm(np.sqrt(squared)))
        ax.plot(t, values, color=color, linestyle=style, linewidth=1.2, label=label)
    middle = finite(np.median(errors, axis=1))
    ax.plot(t, middle, color="C1", linewidth=1.2, label=f"median of {errors.shape[1]:,} runs")
    ax.set_ylabel(measure.label)


def _mark_ends(ax: Axes, t: np.ndarray, values: np.ndarray) -> None:
    """Mark where runs, columns of values, are drawn for the last time before they leave float64."""
    for run in values.T[~np.isfinite(values[-1])]:
        last = np.flatnonzero(np.isfinite(finite(run)))[-1:]
        ax.plot(t[last], run[last], "x", color="C3", label="left float64")


def _coordinate(ax: Axes, fit: Descent, values: np.ndarray, c: int, mean: np.ndarray | None, shown: np.ndarray) -> None:
    """One coordinate of runs beside its optimum and its exact mean; of runs that explode its size.

    An exploding coordinate changes its sign at nearly every iteration, and a few runs decide the mean of all.
    """
    t, optimum, name = fit.iterations[shown], fit.problem.theta_star[c], rf"\theta_{c + 1}"
    explodes = float(np.nanmax(np.abs(finite(values)), initial=0.0)) > _WILD * (1 + abs(optimum))
    drawn = np.abs if explodes else np.positive
    thin(ax, t, drawn(values), counted(values.shape[1], "run"))
    _mark_ends(ax, t, drawn(values))
    if not explodes:
        own = np.where(fit.n_nonfinite[shown] == 0, fit.mean[shown, c], np.nan)
        ax.plot(t, finite(own), color="C0", label=f"mean of {fit.settings.n_runs:,} runs")
    if mean is not None:
        ax.plot(t, finite(drawn(mean[t, c])), color="k", linestyle="--", linewidth=1, label="mean, exact")
    label = "$|{}|$" if explodes else "${}$"
    ax.axhline(drawn(optimum), color="C2", linestyle=":", linewidth=1.2, label=label.format(f"{name}^*"))
    ax.set_yscale("log" if explodes else "linear")
    ax.set_ylabel(label.format(name))


def coordinates(model: Model, run: Simulation, shown: Simulation) -> list[Axes]:
    """Paths of ``shown`` from zero beside exact mean and band, and the variances of ``run``, an axes each."""
    axes = new_row(2)
    exact = exact_moments(model, run.t, np.zeros(model.dim))
    assert exact is not None
    mean, deviation = exact[0], np.sqrt(exact[1])
    for c in range(model.dim):
        color, name = f"C{c % 10}", rf"\theta_{c + 1}"
        axes[0].plot(shown.t, np.asarray(shown.x[:, :, c]), color=color, linewidth=0.8, label=f"${name}$")
        axes[0].plot(run.t, mean[:, c], color="k", linestyle="--", linewidth=1, label="mean, exact")
        band(axes[0], run.t, mean[:, c], deviation[:, c], color, "± 2 std. deviations, exact")
        axes[1].plot(run.t, run.variance[:, c], color=color, linewidth=0.8, label=rf"variance of ${name}$")
    axes[1].plot(run.t, exact[1][:, 0], color="k", linestyle="--", linewidth=1, label="exact")
    titles = "coordinates", f"variances over {run.n_paths:,} paths"
    for ax, title, label in zip(axes, titles, (r"$\theta$", "variance"), strict=True):
        ax.set_title(title, fontsize="medium")
        ax.set(xlabel="t", ylabel=label)
        legend(ax, beside=True)
    return axes


def number(axes: list[Axes], figure: int | None, *lines: str) -> None:
    """Put the number of the figure before the first title, and a heading over all."""
    if figure is not None:
        axes[0].set_title(f"figure {figure}: {axes[0].get_title()}", fontsize="medium")
    heading(axes[0], *lines)


def comparison(ax: Axes | None, fit: Descent, exact: np.ndarray, equations: Mapping[str, np.ndarray]) -> Axes:
    """Errors of SGD, its exact curve and those of equations; beside them, in a new figure, what the equations are off.

    The axes of the errors.
    """
    axes = new_row(2) if ax is None else [ax]
    _curves(axes[0], fit, exact, equations)
    for off in axes[1:]:
        _differences(off, fit, exact, equations)
    return axes[0]


def _curves(ax: Axes, fit: Descent, exact: np.ndarray, equations: Mapping[str, np.ndarray]) -> None:
    """On a logarithmic axis."""
    k, error, spread = fit.iterations, fit.error, 2 * fit.error_standard_error
    ax.fill_between(k, error - spread, error + spread, alpha=0.3, label="SGD, two standard errors")
    ax.plot(k, exact, color="black", label="SGD, exact")
    for name, curve in equations.items():
        ax.plot(k, curve, linestyle="--", label=name)
    ax.set(yscale="log", xlabel="iteration", ylabel=r"$E|\theta - \theta^*|^2$")
    legend(ax)


def _differences(ax: Axes, fit: Descent, exact: np.ndarray, equations: Mapping[str, np.ndarray]) -> None:
    """How far equations are from the exact error, and how far the runs may be by chance."""
    after = np.flatnonzero(fit.iterations > 0)  # at the start there is none
    k = fit.iterations[after]
    ax.fill_between(k, 0, 2 * fit.error_standard_error[after], alpha=0.3, label="SGD, two standard errors")
    for name, curve in equations.items():
        ax.plot(k, np.abs(curve - exact)[after], linestyle="--", label=name)
    ax.set(yscale="log", xlabel="iteration", ylabel=r"distance from the exact $E|\theta - \theta^*|^2$")
    legend(ax)


def weak_errors(
    ax: Axes | None, time: float, step_sizes: np.ndarray, distances: Mapping[str, np.ndarray],
    errors: Mapping[str, np.ndarray], orders: Mapping[str, tuple[float, float]],
) -> Axes:  # fmt: skip
    """Distances over step sizes with bars of two standard errors, and lines of the ``orders``, with their errors."""
    ax = new_axes() if ax is None else ax
    x = np.log(step_sizes)
    for name, distance in distances.items():
        size, (order, spread) = np.abs(distance), orders[name]
        label = f"{name}: order {order:.2f}" + (f" ± {spread:.2g}" if spread > 0 else "")
        points = ax.errorbar(step_sizes, size, 2 * errors[name], fmt="o", capsize=3, label=label)
        line = np.exp(np.log(size).mean() + order * (x - x.mean()))
        ax.plot(step_sizes, line, color=points.lines[0].get_color(), linewidth=1)
    what = rf"$|E|\theta - \theta^*|^2$ less that of SGD$|$ at time {time:g}"
    ax.set(xscale="log", yscale="log", xlabel="step size", ylabel=what)
    ax.legend()
    return ax
