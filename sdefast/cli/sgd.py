"""``python -m sdefast sgd``: many runs of SGD on least squares, their error beside the exact one, and a plot.

Without a preset the settings are those of figure 1 of the thesis, as far as no option changes them.
"""

from __future__ import annotations

import argparse
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks, plots
from ..least_squares.experiments import presets
from ..least_squares.experiments.presets import OUExperiment, SGDExperiment
from ..least_squares.inputs import Student
from ..least_squares.result import Descent
from ..run.schedule import Schedule
from ..sde.models.base import exact_moments
from ..sde.result import Simulation
from ..words import product
from .experiment import experiment
from .tables import SHARED, add_output_options, check_output, cost_line, header, row, save, whole

_RUNS = 10_000  # unless --runs says otherwise
_KEPT = 1000  # runs whose median is told, fewer of many parameters: known to some 5 % of their spread
_PLOT_ITERATIONS = 1000
_OU_TIMES, _OU_PLOT_TIMES = 5, 1000
_WIDTH = 100


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sgd",
        help="run SGD on least squares many times and compare its error with the exact one",
        description="Run SGD on least squares many times and compare the error with the exact one. Settings are those "
        "of a preset, by default of figure 1 of the thesis as its text states it, changed by the other options.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="figure-1 to figure-16 (or the number alone) as the thesis' text states them, or with -program added as "
        "its program ran them",
    )
    parser.add_argument("--list-presets", action="store_true", help="print the presets, and do nothing else")
    _add_problem_options(parser.add_argument_group("the problem"))
    _add_descent_options(parser.add_argument_group("the descent"))
    _add_run_options(parser.add_argument_group("the run"))


def _add_problem_options(group: Any) -> None:
    group.add_argument("--theta-star", type=float, nargs="+", metavar="X", help="parameters that the samples follow")
    group.add_argument("--noise-std", type=float, metavar="SIGMA", help="standard deviation of the noise in y")
    group.add_argument("--inputs", metavar="LAW", help="normal, uniform:LOW:HIGH, rademacher or student:DF")
    group.add_argument(
        "--covariance", nargs="+", metavar="X",
        help="of normal inputs: d variances, or a file (.npy or .csv) with a d x d matrix",
    )  # fmt: skip
    group.add_argument(
        "--data", type=Path, metavar="FILE",
        help="samples, in place of all this: .npz with arrays X and y, or .csv whose last "
        "column is y",
    )  # fmt: skip
    group.add_argument("--ridge", type=float, metavar="LAMBDA", help="of --data: weight of the penalty |theta|^2 / 2")
    group.add_argument(
        "--label-noise", type=float, metavar="STD", help="of --data: standard deviation of noise in drawn labels"
    )


def _add_descent_options(group: Any) -> None:
    group.add_argument(
        "--step-size", metavar="GAMMA", help="a number, or a formula of the update t = 1, 2, ... such as 0.1/t"
    )
    group.add_argument("--theta0", type=float, nargs="+", metavar="X", help="start; default: 0")
    group.add_argument("--steps", type=whole, help="number of iterations; default: the preset's")
    group.add_argument("--batch-size", type=whole, help="samples of an iteration; default: 1")
    group.add_argument(
        "--averaging", nargs="?", const="polyak-ruppert", choices=["polyak-ruppert"],
        help="tell the error of the averaged iterate too",
    )  # fmt: skip
    group.add_argument("--average-from", type=whole, metavar="K", help="first iterate that is averaged; default: 0")
    group.add_argument("--momentum", type=float, metavar="MU", help="of heavy ball, below 1; default: 0")
    group.add_argument(
        "--sampling", metavar="HOW",
        help="how rows of --data are drawn: replacement, shuffle, or a file (.npy or .csv) with their numbers in "
        "order; default: replacement",
    )  # fmt: skip


def _add_run_options(group: Any) -> None:
    group.add_argument("--runs", type=whole, default=_RUNS, help=f"number of runs; default: {_RUNS}")
    group.add_argument("--seed", type=whole, default=0, help="seed; default: 0")
    group.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="type; default: float64")
    group.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    group.add_argument("--threads", type=int, default=None, help="worker threads; default: all processors")
    group.add_argument("--progress", action="store_true", help="show a progress bar")
    add_output_options(group, "errors and coordinates")


def run(options: argparse.Namespace) -> None:
    """Run the experiment, print the table, draw the plot."""
    if options.list_presets:
        print("\n".join(map(_listed, presets.names())))
        return
    check_output(options)
    asked = experiment(options)
    if isinstance(asked, OUExperiment):
        _run_ou(asked, options)
    else:
        _run_sgd(asked, options)
    if options.plot is not None:
        print(f"\nplot: {options.plot}")


def _listed(name: str) -> str:
    """A preset in one line."""
    e = presets.named(name)
    if isinstance(e, OUExperiment):
        what = f"Ornstein-Uhlenbeck, kappa {e.kappa:g}, noise {e.noise:.4g}, {e.n_steps:,} steps up to time {e.t1:g}"
    else:
        inputs, shown = e.problem.inputs, ("error: " + e.measure, "first coordinate", "second coordinate")
        what = (
            f"noise {e.problem.noise_std:g}, step size {e.step_size}, inputs {inputs}, {e.n_steps:,} iterations, "
            f"{shown[e.figures.index(e.figure or e.figures[0])]}"
        )
    return f"{name:18} {what}"


def _common(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("seed", "dtype", "device", "threads", "progress")}


# SGD


def _run_sgd(e: SGDExperiment, options: argparse.Namespace) -> None:
    n_runs, rows = checks.count("--runs", options.runs), _table_iterations(e.n_steps)
    saved = {0, *rows}
    if options.plot is not None:
        saved |= {int(k) for k in np.linspace(0, e.n_steps, min(e.n_steps, _PLOT_ITERATIONS) + 1)}
    kept = min(n_runs, max(_KEPT // max(e.problem.dim // 16, 1), e.n_shown))
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", RuntimeWarning)
        fit = e.run(n_runs, runs=kept, save_at=sorted(saved), **_common(options))
    with np.errstate(over="ignore", invalid="ignore"):  # sums of squares of what explodes
        print(report(e, fit, rows, list(dict.fromkeys(str(note.message) for note in notes))))
        save(options, fit)
        if options.plot is not None:
            plots.save(e.plot(fit)[0], options.plot)


def _table_iterations(n_steps: int) -> list[int]:
    """1, 2, 5, 10, ... and the last."""
    powers = range(len(str(n_steps)))
    return sorted({m * 10**j for j in powers for m in (1, 2, 5) if m * 10**j < n_steps} | {n_steps})


def report(e: SGDExperiment, fit: Descent, rows: list[int], notes: list[str]) -> str:
    """What was run, errors beside exact ones at the iterations ``rows``, floor and thresholds, cost and notes."""
    s, notes = fit.settings, list(notes)
    exact = _exact(e, notes)
    has_z = exact is not None and _z_is_meaningful(e, notes)
    lines = [
        *_title(e),
        f"{e.problem}",
        f"{product(s.n_runs, 'run', s.n_steps, 'iteration')}, step size {e.step_size}, batches of {e.batch_size}, "
        + (f"momentum {e.momentum:g}, " if e.momentum else "")
        + (f"averages from iterate {e.average_from} on, " if e.average_from else "")
        + ("rows in a given order, " if e.is_ordered else "")
        + f"{s.dtype.name}, seed {fit.seed}",
        "",
        f"{header('t', 'exact' if exact else None)} {_median_name(e.measure):>16} {'not finite':>10}",
        *_error_rows(e, fit, rows, exact, has_z),
        "",
        f"error: mean of |d|^2, d = theta - theta*; medians are over the first {fit.theta.shape[1]:,} runs",
        SHARED,
        *_facts(e),
        "",
        cost_line(fit.cost, s.n_runs * s.n_steps, "iterations"),
        *(f"note: {note}" for note in notes),
    ]
    return "\n".join(lines)


def _error_rows(
    e: SGDExperiment, fit: Descent, rows: list[int], exact: dict[str, np.ndarray] | None, has_z: bool
) -> list[str]:
    """Lines of the table; the median and how many runs are lost stand beside the error."""
    at = np.searchsorted(fit.iterations, rows)
    middle = np.median(e.errors(checks.on_host("theta", fit.theta)[at]), axis=1)
    curves = {"error": (fit.error, fit.error_standard_error)}
    if e.averaging is not None:
        curves["averaged"] = (fit.averaged_error, fit.averaged_error_standard_error)
    lines = []
    for k, i, median in zip(rows, at, middle, strict=True):
        for name, (value, error) in curves.items():
            line = row(f"{k}", name, value[i], error[i], exact[name][k] if exact else None, has_z)
            lines.append(line + (f" {median:16.7g} {fit.n_nonfinite[i]:10}" if name == "error" else ""))
    return lines


def _median_name(measure: str) -> str:
    return "median " + {"squared norm": "|d|^2", "norm": "|d|", "half norm": "|d|/2"}[measure]


def _title(e: presets.Experiment) -> list[str]:
    """Which preset it is, and what its description says."""
    description = textwrap.wrap(e.description, _WIDTH, break_on_hyphens=False)
    return [f"{e.name}: {e.source}", *description, ""] if e.name else []


def _exact(e: SGDExperiment, notes: list[str]) -> dict[str, np.ndarray] | None:
    """The exact curves, by their names in the table."""
    try:
        return e.exact_errors()
    except ValueError as error:  # inputs without a fourth moment
        notes.append(f"no exact error: {error}")
        return None


def _z_is_meaningful(e: SGDExperiment, notes: list[str]) -> bool:
    """Whether the error has a standard error: its fourth moment is bounded, or where that is not known its second."""
    law = e.problem.inputs
    if isinstance(law, Student) and law.df <= 8:
        notes.append(f"no z-scores: the error has no standard error for inputs {law}, whose eighth moment is infinite")
        return False
    largest = float(e.step_sizes.max()) / (1 - e.momentum)  # what a step comes to in the end
    name, bound = "mean-square", e.problem.mean_square_threshold(e.batch_size)
    if _is_isotropic(e):
        name, bound = "fourth-moment", e.problem.fourth_moment_threshold()  # the lower one
    if largest >= bound:
        effective = " / (1 - momentum)" if e.momentum else ""
        notes.append(
            f"no z-scores: step sizes{effective}, up to {largest:g}, are beyond the {name} threshold {bound:.6g}, "
            "where a few runs decide the mean; the median tells what a run does"
        )
    return largest < bound


def _is_isotropic(e: SGDExperiment) -> bool:
    """Whether thresholds have formulas: Gaussian inputs with the covariance c I, one sample an iteration."""
    H = e.problem.covariance
    return e.batch_size == 1 and H is not None and H[0, 0] > 0 and np.array_equal(H, H[0, 0] * np.eye(len(H)))


def _facts(e: SGDExperiment) -> list[str]:
    """Floor of the error and thresholds of the step size."""
    if e.sampling == "shuffle":
        return ["floor and thresholds: not known of shuffled epochs"]
    if e.is_ordered or e.momentum:
        return [f"floor and thresholds: not known {'with momentum' if e.momentum else 'of rows in a given order'}"]
    facts: dict[str, str] = {}
    try:
        if not isinstance(e.step_size, Schedule):
            facts["floor of the error"] = f"{e.problem.error_floor(e.step_size, e.batch_size):.6g}"
        facts["mean-square threshold"] = f"{e.problem.mean_square_threshold(e.batch_size):.6g}"
    except ValueError as error:
        facts["mean-square threshold"] = f"none: {error}"
    if _is_isotropic(e):
        facts["fourth-moment threshold"] = f"{e.problem.fourth_moment_threshold():.6g}"
        facts["almost-sure threshold"] = f"{e.problem.almost_sure_threshold():.6g}"
    else:
        facts["almost-sure threshold"] = "no formula but for inputs N(0, c I) in batches of 1"
    return [f"{name + ':':25}{value}" for name, value in facts.items()]


# The Ornstein-Uhlenbeck model of SGD


def _run_ou(e: OUExperiment, options: argparse.Namespace) -> None:
    every = max(e.n_steps // (_OU_PLOT_TIMES if options.plot is not None else _OU_TIMES), 1)
    n_paths = checks.count("--runs", options.runs)
    result = e.run(n_paths, save_at=every, paths=False, moments=4, **_common(options))
    print(ou_report(e, result))
    save(options, result)
    if options.plot is not None:
        shown = e.run(min(e.n_shown, n_paths), save_at=every, **_common(options))
        plots.save(e.plot(result, shown)[0], options.plot)


def ou_report(e: OUExperiment, result: Simulation) -> str:
    """Moments beside those of Euler-Maruyama, for the z-scores, and of the process itself."""
    s = result.settings
    lines = [
        *_title(e),
        f"dX = {e.kappa:g} (theta* - X) dt + {e.noise:.6g} dW, theta* = {list(e.theta_star)}, X(0) = 0",
        f"{product(s.n_paths, 'path', s.grid.n_steps, 'step')} of {e.step_size:g} of Euler-Maruyama, {s.dtype.name}, "
        f"seed {s.seed}",
        "",
        f"{header('t', 'of the scheme')} {'exact':>14}",
    ]
    scheme, process = e.scheme_moments(result.t), exact_moments(e.model, result.t, np.zeros(e.model.dim))
    assert process is not None
    n = len(result.t)
    for i in sorted({int(j) for j in np.linspace(0, n - 1, min(_OU_TIMES, n - 1) + 1)[1:]}):
        for c in range(e.model.dim):
            for name, value, error, m in (
                ("mean", result.mean, result.standard_error, 0),
                ("variance", result.variance, result.variance_standard_error, 1),
            ):
                line = row(f"{result.t[i]:.4g}", f"{name}[{c}]", value[i, c], error[i, c], scheme[m][i, c])
                lines.append(f"{line} {process[m][i, c]:14.7g}")
    lines += ["", SHARED, cost_line(result.cost, s.n_paths * s.grid.n_steps, "path-steps")]
    return "\n".join(lines)
