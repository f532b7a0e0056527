"""``python -m sdefast simulate MODEL``: many paths, their moments beside the exact ones, and a plot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from .. import checks, plots
from ..engine import plan
from ..sde.models import MODELS, Model
from ..sde.models.base import exact_moments
from ..sde.result import Simulation
from ..sde.schemes import SCHEMES
from ..sde.simulate import simulate
from ..words import gone, product
from .tables import SHARED, add_output_options, check_output, cost_line, header, row, save, whole

_TABLE_TIMES, _PLOT_TIMES = 5, 500
_STEPS = 1000  # unless --steps or --dt says otherwise


def register(commands: Any) -> None:
    """Add the command, with one subcommand per model that has the model's parameters as options."""
    command = commands.add_parser("simulate", help="simulate many paths and compare their moments with the exact ones")
    models = command.add_subparsers(dest="model", required=True, metavar="MODEL")
    for name, model in MODELS.items():
        about = (model.__doc__ or "").splitlines()[0].replace("%", "%%")
        parser = models.add_parser(name, help=_plain(about), formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for parameter in fields(model):
            names = dict.fromkeys((f"--{parameter.name.replace('_', '-')}", f"--{parameter.name}"))
            parser.add_argument(*names, type=float, default=parameter.default, help="model parameter")
        parser.add_argument("--x0", type=float, nargs="+", default=list(model.example_start), help="start")
        _add_run_options(parser, model().methods)
        parser.set_defaults(run=run)


def _plain(text: str) -> str:
    """A docstring's first line without its formula markup."""
    return text.split(":math:")[0].split(", with the state")[0].rstrip(" .:,")


def _add_run_options(parser: argparse.ArgumentParser, methods: Sequence[str]) -> None:
    parser.add_argument("--paths", type=whole, default=1_000_000, help="number of paths")
    parser.add_argument("--steps", type=whole, help=f"number of equal steps; {_STEPS} if --dt does not say it")
    parser.add_argument("--dt", type=float, help="step size, instead of --steps")
    parser.add_argument("--t1", type=float, default=1.0, help="end of the time interval")
    about = f"scheme: of the default model {', '.join(methods)}"
    parser.add_argument("--method", default="euler-maruyama", help=about)
    parser.add_argument(
        "--sensitivities",
        nargs="+",
        metavar="NAME",
        help="tell the derivatives of the means in these parameters, or x0",
    )
    parser.add_argument("--seed", type=whole, default=0, help="seed")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="type of the state")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=None, help="worker threads; by default all processors")
    parser.add_argument("--progress", action="store_true", help="show a progress bar")
    add_output_options(parser, "paths, mean and band")


def run(options: argparse.Namespace) -> None:
    """Simulate, print the table, draw the plot."""
    model_type = MODELS[options.model]
    model = model_type(**{parameter.name: getattr(options, parameter.name) for parameter in fields(model_type)})
    if len(options.x0) != model.dim:
        raise ValueError(f"x0 must be {model.dim} number{'s' * (model.dim > 1)}, got {options.x0}")
    check_output(options)
    times = _PLOT_TIMES if options.plot is not None else _TABLE_TIMES
    n_steps = _n_steps(options)
    result = _simulate(model, options, n_steps, save_at=max(n_steps // times, 1))
    print(report(result, options.x0))
    save(options, result)
    if options.plot is not None:
        plots.save(result.plot(), options.plot)
        print(f"\nplot: {options.plot}")


def _n_steps(options: argparse.Namespace) -> int:
    """The number of steps, which --steps or --dt says."""
    if options.dt is None:
        return checks.count("--steps", _STEPS if options.steps is None else options.steps)
    if options.steps is not None:
        raise ValueError("--dt takes the place of --steps: leave out one of them")
    return plan.steps_of_size(options.dt, None, options.t1, None, None, None)


def _simulate(model: Model, options: argparse.Namespace, n_steps: int, save_at: Any) -> Simulation:
    return simulate(
        model,
        x0=options.x0,
        t1=options.t1,
        n_steps=n_steps,
        n_paths=options.paths,
        method=options.method,
        sensitivities=options.sensitivities,
        seed=options.seed,
        dtype=options.dtype,
        device=options.device,
        threads=options.threads,
        progress=options.progress,
        save_at=save_at,
        paths=False,
        moments=4,
    )


def report(run: Simulation, x0: Any) -> str:
    """What was run, the moments with standard errors, exact values and z-scores at some times, and the cost."""
    s = run.settings
    scheme = SCHEMES[s.method]
    lines = [
        f"{run.model}",
        f"{product(s.n_paths, 'path', s.grid.n_steps, 'step')} of {scheme.name}, {s.dtype.name}, seed {s.seed}",
        "",
    ]
    moments = exact_moments(run.model, run.t, x0)
    lines.append(header("t", None if moments is None else "exact"))
    for i in _table_rows(len(run.t)):
        for c in range(run.model.dim):
            index = f"[{c}]" if run.model.dim > 1 else ""
            for k, (name, value, error) in enumerate(
                (("mean", run.mean, run.standard_error), ("variance", run.variance, run.variance_standard_error))
            ):
                exact = None if moments is None else moments[k][i, c]
                lines.append(row(f"{run.t[i]:.4g}", name + index, value[i, c], error[i, c], exact))
    lines += _sensitivity_rows(run)
    lines += ["", SHARED, cost_line(run.cost, s.n_paths * s.grid.n_steps, "path-steps")]
    lost = int(run.n_nonfinite[-1])
    if lost:
        lines.append(f"{gone(lost, s.n_paths, 'path')} not finite at the end and left out")
    return "\n".join(lines)


def _sensitivity_rows(run: Simulation) -> list[str]:
    """The derivatives of the means, where they were asked for."""
    if not run.sensitivities:
        return []
    lines = ["", "derivatives of the means", header("t", None)]
    for i in _table_rows(len(run.t)):
        for name, found in run.sensitivities.items():
            for c in range(run.model.dim):
                index = f"[{c}]" if run.model.dim > 1 else ""
                lines.append(
                    row(f"{run.t[i]:.4g}", f"in {name}{index}", found.mean[i, c], found.standard_error[i, c], None)
                )
    return lines


def _table_rows(n_times: int) -> list[int]:
    """A few times, evenly spaced, without the start and with the end."""
    return sorted({int(i) for i in np.linspace(0, n_times - 1, min(_TABLE_TIMES, n_times - 1) + 1)[1:]})
