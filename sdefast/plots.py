"""Figures; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .least_squares.experiments.presets import OUExperiment, SGDExperiment
    from .least_squares.result import Descent
    from .sde.models.base import Model
    from .sde.result import Simulation

#: Beyond it, matplotlib's arithmetic of limits and ticks leaves the numbers.
_MOST = 1e200

#: Coordinates this many times larger than the optimum are drawn on a logarithmic axis.
_WILD = 1e3

_MEASURES = {
    "squared norm": (r"$|\theta_t - \theta^*|^2$", "mean"),
    "norm": (r"$|\theta_t - \theta^*|$", "root mean square"),
    "half norm": (r"$|\theta_t - \theta^*|\,/\,2$", "half the root mean square"),
}


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


def descent(e: SGDExperiment, fit: Descent) -> list[Axes]:
    """Error and first two coordinates of the runs of an experiment on SGD over the iterations, an axes each.

    ``fit`` must have kept the runs that are drawn. The median is over all that it kept.
    """
    axes = new_row(1 + min(e.problem.dim, 2))
    iterations, theta = fit.iterations, checks.on_host("theta", fit.theta)
    shown = np.flatnonzero(iterations >= e.first_shown)
    _errors(axes[0], e, fit, theta, shown)
    for c, ax in enumerate(axes[1:]):
        _coordinate(ax, e, fit, theta[shown, : e.n_shown, c], c, shown)
    for i, (ax, name) in enumerate(zip(axes, ("test error", "first coordinate", "second coordinate"), strict=False)):
        number = e.figures[i] if e.figures else None
        weight = "bold" if number is not None and number == e.figure else "normal"
        title = name if number is None else f"figure {number}: {name}"
        ax.set_title(title, fontsize="medium", fontweight=weight)
        ax.set_xlabel("iteration t")
        _legend(ax)
    _heading(axes[0], e.source, f"{e.problem}, step size {e.step_size}, seed {fit.seed}")
    return axes


def _coordinate(ax: Axes, e: SGDExperiment, fit: Descent, values: np.ndarray, c: int, shown: np.ndarray) -> None:
    """One coordinate of runs beside its optimum, and unless it explodes their mean."""
    t, optimum = fit.iterations[shown], e.problem.theta_star[c]
    ax.plot(t, _finite(values), color="0.6", linewidth=0.8, label=_runs(values.shape[1]))
    largest = float(np.nanmax(np.abs(_finite(values)), initial=0.0))
    if largest > _WILD * (1 + abs(optimum)):  # few runs decide the mean
        ax.set_yscale("symlog", linscale=max(1.0, np.log10(largest) / 10))
    else:
        mean = np.where(fit.n_diverged[shown] == 0, fit.mean[shown, c], np.nan)
        ax.plot(t, _finite(mean), color="C0", label=f"mean of {fit.settings.n_runs:,} runs")
    ax.axhline(optimum, color="k", linestyle="--", linewidth=1, label=rf"$\theta^*_{c + 1}$")
    ax.set_ylabel(rf"$\theta_{c + 1}$")


def _errors(ax: Axes, e: SGDExperiment, fit: Descent, theta: np.ndarray, shown: np.ndarray) -> None:
    """Errors of runs, their mean, median and exact mean, on a logarithmic axis."""
    errors, t = e.errors(theta)[shown], fit.iterations[shown]
    label, mean = _MEASURES[e.measure]
    everything = fit.n_diverged[shown] == 0
    few = errors[:, : e.n_shown]
    ax.plot(t, _finite(few), color="0.6", linewidth=0.8, label=_runs(few.shape[1]))
    curves = {f"{mean} of {fit.settings.n_runs:,} runs": (np.where(everything, fit.error[shown], np.nan), "C0", "-")}
    if e.averaging is not None:
        curves[f"{mean} of averages"] = (np.where(everything, fit.averaged_error[shown], np.nan), "C2", "-")
    try:
        curves[f"{mean}, exact"] = (e.expected_error()[t], "k", "--")
        if e.averaging is not None:
            curves[f"{mean} of averages, exact"] = (e.expected_averaged_error()[t], "k", ":")
    except ValueError:  # inputs without a fourth moment: there is no curve
        pass
    for name, (squared, color, style) in curves.items():
        ax.plot(t, _finite(e.of_mean_square(squared)), color=color, linestyle=style, linewidth=1.2, label=name)
    middle = _finite(np.median(errors, axis=1))
    ax.plot(t, middle, color="C1", linewidth=1.2, label=f"median of {errors.shape[1]:,} runs")
    if errors.size and errors.max() > 0:
        ax.set_yscale("log")
    ax.set_ylabel(label)


def coordinates(e: OUExperiment, run: Simulation, shown: Simulation) -> list[Axes]:
    """Paths of ``shown`` beside exact mean and band, and the variances of ``run``, an axes each."""
    axes = new_row(2)
    exact_values = exact_moments(e.model, run.t, np.zeros(e.model.dim))
    assert exact_values is not None
    mean, deviation = exact_values[0], np.sqrt(exact_values[1])
    for c in range(e.model.dim):
        color, name = f"C{c % 10}", rf"\theta_{c + 1}"
        axes[0].plot(shown.t, np.asarray(shown.x[:, :, c]), color=color, linewidth=0.8, label=f"${name}$")
        axes[0].plot(run.t, mean[:, c], color="k", linestyle="--", linewidth=1, label="mean, exact")
        band = mean[:, c] - 2 * deviation[:, c], mean[:, c] + 2 * deviation[:, c]
        axes[0].fill_between(run.t, *band, color=color, alpha=0.2)
        axes[1].plot(run.t, run.variance[:, c], color=color, linewidth=0.8, label=rf"variance of ${name}$")
    axes[1].plot(run.t, exact_values[1][:, 0], color="k", linestyle="--", linewidth=1, label="exact")
    titles = f"figure {e.figure}: coordinates" if e.figure else "coordinates", f"variances over {run.n_paths:,} paths"
    for ax, title, label in zip(axes, titles, (r"$\theta$", "variance"), strict=True):
        ax.set(xlabel="t", ylabel=label)
        ax.set_title(title, fontsize="medium")
        _legend(ax)
    _heading(axes[0], e.source, f"rate {e.kappa:g}, noise {e.noise:.4g}, step {e.step_size:g}, seed {run.seed}")
    return axes


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


def _finite(values: np.ndarray) -> np.ndarray:
    """The values that fit on an axis; others are left out."""
    return np.where(np.abs(values) < _MOST, values, np.nan)


def _runs(n: int) -> str:
    return "one run" if n == 1 else f"{n} runs"


def _legend(ax: Axes) -> None:
    """A legend with every label once."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), loc="best", fontsize="small")


def _heading(ax: Axes, *lines: str) -> None:
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
