"""``python -m sdefast simulate MODEL``: many paths, their moments beside the exact ones, and a plot."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .. import plots
from ..sde.models import MODELS, Model
from ..sde.models.base import exact_moments
from ..sde.result import Simulation
from ..sde.schemes import SCHEMES
from ..sde.simulate import simulate
from .tables import cost_line, header, row

_TABLE_TIMES, _PLOT_TIMES, _PLOT_PATHS = 5, 200, 20


def register(commands: Any) -> None:
    """Add the command, with one subcommand per model that has the model's parameters as options."""
    command = commands.add_parser("simulate", help="simulate many paths and compare their moments with the exact ones")
    models = command.add_subparsers(dest="model", required=True, metavar="MODEL")
    for name, model in MODELS.items():
        about = (model.__doc__ or "").splitlines()[0].replace("%", "%%")
        parser = models.add_parser(name, help=_plain(about), formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for parameter in fields(model):
            parser.add_argument(f"--{parameter.name}", type=float, default=parameter.default, help="model parameter")
        parser.add_argument("--x0", type=float, nargs="+", default=list(model.example_start), help="start")
        _add_run_options(parser, sorted(model().methods))
        parser.set_defaults(run=run)


def _plain(text: str) -> str:
    """A docstring's first line without its formula markup."""
    return text.split(":math:")[0].split(", with the state")[0].rstrip(" .:,")


def _add_run_options(parser: argparse.ArgumentParser, methods: list[str]) -> None:
    parser.add_argument("--paths", type=int, default=1_000_000, help="number of paths")
    parser.add_argument("--steps", type=int, default=1000, help="number of equal steps")
    parser.add_argument("--t1", type=float, default=1.0, help="end of the time interval")
    parser.add_argument("--method", choices=methods, default="euler-maruyama", help="scheme")
    parser.add_argument("--seed", type=int, default=0, help="seed")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="type of the state")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=None, help="worker threads; by default all processors")
    parser.add_argument("--progress", action="store_true", help="show a progress bar")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw paths, mean and band to this file")


def run(options: argparse.Namespace) -> None:
    """Simulate, print the table, draw the plot."""
    model_type = MODELS[options.model]
    model = model_type(**{parameter.name: getattr(options, parameter.name) for parameter in fields(model_type)})
    if len(options.x0) != model.dim:
        raise ValueError(f"x0 must be {model.dim} number{'s' * (model.dim > 1)}, got {options.x0}")
    if options.plot is not None:
        plots.check_file(options.plot)
    times = _PLOT_TIMES if options.plot is not None else _TABLE_TIMES
    result = _simulate(model, options, save_at=max(options.steps // times, 1))
    print(report(result, options.x0))
    if options.plot is not None:
        # The first paths of the run once more, this time every step of them kept.
        some = _simulate(model, options, save_at="all", paths=True, n_paths=min(_PLOT_PATHS, options.paths))
        axes = result.plot()
        plots.thin(axes, some.t, np.asarray(some.x[:, :, 0]))
        plots.save(axes, options.plot)
        print(f"\nplot: {options.plot}")


def _simulate(
    model: Model, options: argparse.Namespace, save_at: Any, paths: bool = False, n_paths: int | None = None
) -> Simulation:
    return simulate(
        model,
        x0=options.x0,
        t1=options.t1,
        n_steps=options.steps,
        n_paths=options.paths if n_paths is None else n_paths,
        method=options.method,
        seed=options.seed,
        dtype=options.dtype,
        device=options.device,
        threads=options.threads,
        progress=options.progress,
        save_at=save_at,
        paths=paths,
        moments=4,
    )


def report(run: Simulation, x0: Any) -> str:
    """What was run, the moments with standard errors, exact values and z-scores at some times, and the cost."""
    s = run.settings
    scheme = SCHEMES[s.method]
    lines = [
        f"{run.model}",
        f"{s.n_paths:,} paths x {s.grid.n_steps:,} steps of {scheme.name}, {s.dtype.name}, seed {s.seed}",
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
    lines += ["", cost_line(run.cost, s.n_paths * s.grid.n_steps, "path-steps")]
    gone = int(run.n_nonfinite[-1])
    if gone:
        lines.append(f"{gone} paths are not finite at the end and left out")
    return "\n".join(lines)


def _table_rows(n_times: int) -> list[int]:
    """A few times, evenly spaced, without the start and with the end."""
    return sorted({int(i) for i in np.linspace(0, n_times - 1, min(_TABLE_TIMES, n_times - 1) + 1)[1:]})
