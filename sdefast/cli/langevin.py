"""``python -m sdefast langevin TARGET``: many chains, their moments beside the exact ones, diagnostics, and a plot."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np

from .. import checks, plots
from ..sampling.langevin import langevin
from ..sampling.methods import METHODS
from ..sampling.result import Chains
from ..sampling.targets import Gaussian
from ..words import gone, product
from .experiment import step_size
from .tables import SHARED, add_output_options, check_output, cost_line, header, row, save, whole
from .targets import TARGETS, Kind

_TABLE_TIMES, _SHOWN = 5, 4  # saved iterations and components that are told

#: Those that need no data.
_METHODS = [name for name, method in METHODS.items() if not method.draws_rows]


def register(commands: Any) -> None:
    """Add the command, with one subcommand per target that has the target's parameters as options."""
    command = commands.add_parser(
        "langevin", help="sample with many Langevin chains and compare their moments with the exact ones"
    )
    kinds = command.add_subparsers(dest="target", required=True, metavar="TARGET")
    for name, kind in TARGETS.items():
        about = kind.about.replace("%", "%%")
        parser = kinds.add_parser(name, help=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        _add_target_options(parser.add_argument_group("the target"), kind)
        _add_method_options(parser.add_argument_group("the method"))
        _add_run_options(parser.add_argument_group("the run"))
        parser.set_defaults(run=run)


def _add_target_options(group: Any, kind: Kind) -> None:
    for name, default in kind.options.items():
        several = isinstance(default, tuple)
        group.add_argument(
            f"--{name}", type=int if isinstance(default, int) else float, nargs="+" if several else None,
            default=list(default) if isinstance(default, tuple) else default, metavar="X",
            help="numbers; of matrices row by row" if several else "a number",
        )  # fmt: skip


def _add_method_options(group: Any) -> None:
    group.add_argument("--method", choices=_METHODS, default="ula", help="sampling method")
    group.add_argument(
        "--step-size", default="0.1", metavar="H", help="a number, or a formula of the step t = 1, 2, ... such as 0.1/t"
    )
    group.add_argument(
        "--adapt", type=float, nargs="?", const=True, metavar="RATE",
        help="find the step size during burn-in, by the acceptance of the method or this one",
    )  # fmt: skip
    group.add_argument("--temperature", type=float, default=1.0, help="T of the law p^(1/T) that is sampled")
    group.add_argument("--metric", nargs="+", metavar="X", help="diagonal that steps precondition with, or hessian")
    structural = {name for method in METHODS.values() for name in method.structural}
    for name in dict.fromkeys(name for method in _METHODS for name in METHODS[method].options):
        having = ", ".join(method for method in _METHODS if name in METHODS[method].options)
        kind = int if name in structural else float
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help=f"of {having}")


def _add_run_options(group: Any) -> None:
    group.add_argument("--chains", type=whole, default=10_000, help="number of chains")
    group.add_argument("--steps", type=whole, default=1000, help="number of steps, with those of burn-in")
    group.add_argument("--burn-in", type=whole, default=0, help="steps whose states count for nothing")
    group.add_argument("--thin", type=whole, help="save every so many states after burn-in; a plot shows all of them")
    group.add_argument("--x0", nargs="+", metavar="X", help="start, or sample for exact draws; by default the mean")
    group.add_argument("--seed", type=whole, default=0, help="seed")
    group.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="type of the state")
    group.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    group.add_argument("--threads", type=int, default=None, help="worker threads; by default all processors")
    group.add_argument("--progress", action="store_true", help="show a progress bar")
    add_output_options(group, "states over the density")


def run(options: argparse.Namespace) -> None:
    """Sample, print the tables, draw the plot."""
    target = TARGETS[options.target].target(vars(options))
    check_output(options)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", RuntimeWarning)
        chains = langevin(target, **_how(options))
    print(report(chains, options.adapt is not None, list(dict.fromkeys(str(note.message) for note in notes))))
    save(options, chains)
    if options.plot is not None:
        plots.save(chains.plot(pooled=options.thin is not None), options.plot)
        print(f"\nplot: {options.plot}")


def _how(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `langevin`."""
    how = {name: getattr(options, name) for name in ("method", "adapt", "temperature", "thin", "burn_in", "seed")}
    how |= {name: getattr(options, name) for name in ("dtype", "device", "threads", "progress")}
    how |= _given(options)
    steps, burn_in = checks.count("--steps", options.steps), checks.count("--burn-in", options.burn_in, least=0)
    if options.thin is None and burn_in < steps:
        how["save_at"] = sorted({int(k) for k in np.linspace(burn_in, steps, _TABLE_TIMES + 1)[1:]})
    return how | {
        "n_chains": options.chains, "n_steps": steps, "moments": 4, "paths": options.plot is not None,
        "x0": _numbers("--x0", options.x0, "sample"), "metric": _numbers("--metric", options.metric, "hessian"),
        "step_size": step_size(options.step_size),
    }  # fmt: skip


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Options of methods that were given."""
    names = {name for method in _METHODS for name in METHODS[method].options}
    return {name: getattr(options, name) for name in sorted(names) if getattr(options, name) is not None}


def _numbers(option: str, given: list[str] | None, word: str) -> Any:
    """Numbers, or that word."""
    if given is None or given == [word]:
        return word if given else None
    try:
        numbers = [float(text) for text in given]
    except ValueError:
        raise ValueError(f"{option} must be numbers or {word}, got {' '.join(given)}") from None
    return numbers[0] if len(numbers) == 1 else numbers


# What is printed -----------------------------------------------------------------------------------------------------


def report(chains: Chains, adapted: bool, notes: list[str]) -> str:
    """What was run; moments with standard errors, exact values and z-scores; acceptance, diagnostics, cost, notes."""
    s = chains.settings
    what, exact = _exact(chains)
    burn_in = f", {s.burn_in:,} of them burn-in" if s.burn_in else ""
    lines = [
        f"{chains.target!r}",
        f"{product(s.n_chains, 'chain', s.n_steps, 'step')} of {s.method}{burn_in}, {s.dtype.name}, seed {s.seed}",
        "",
        header("step", what),
        *_moment_rows(chains, exact),
        "",
        SHARED.replace("runs", "chains"),
        *_facts(chains, adapted),
        cost_line(chains.cost, s.n_chains * s.n_steps, "chain-steps"),
        *(f"note: {note}" for note in notes),
    ]
    return "\n".join(lines)


def _exact(chains: Chains) -> tuple[str | None, tuple[np.ndarray, np.ndarray] | None]:
    """Exact mean and variance at the saved iterations, and whose they are: the discrete chain's, or the target's."""
    try:
        return "exact", (chains.exact_mean, chains.exact_variance)
    except ValueError:
        pass
    mean, covariance = chains.target.mean, chains.target.covariance
    temperature = chains.settings.temperature
    if mean is None or covariance is None or not np.isfinite(mean).all() or not np.isfinite(covariance).all():
        return None, None
    if temperature != 1 and not isinstance(chains.target, Gaussian):
        return None, None
    shape = len(chains.iterations), chains.dim
    variance = temperature * np.diagonal(covariance)
    return "target", (np.broadcast_to(mean, shape), np.broadcast_to(variance, shape))


def _moment_rows(chains: Chains, exact: tuple[np.ndarray, np.ndarray] | None) -> list[str]:
    """Lines of the table: mean and variance of the first components at some saved iterations."""
    n, lines = len(chains.iterations), []
    moments = (
        ("mean", chains.mean, chains.standard_error), ("variance", chains.variance, chains.variance_standard_error),
    )  # fmt: skip
    for i in sorted({int(i) for i in np.linspace(0, n, min(_TABLE_TIMES, n) + 1)[1:] - 1}):
        for c in range(min(chains.dim, _SHOWN)):
            for k, (name, value, error) in enumerate(moments):
                known = None if exact is None else exact[k][i, c]
                lines.append(row(f"{chains.iterations[i]}", name + _index(chains, c), value[i, c], error[i, c], known))
    return lines


def _index(chains: Chains, c: int) -> str:
    return f"[{c}]" if chains.dim > 1 else ""


def _facts(chains: Chains, adapted: bool) -> list[str]:
    """Components left out, step size that was found, acceptance, and diagnostics over all draws."""
    lines = []
    if chains.dim > _SHOWN:
        lines.append(f"the first {_SHOWN} of {chains.dim} components are shown")
    if chains.settings.how.accepts:
        if adapted:
            lines.append(f"step size that was found: {chains.settings.step_sizes[-1]:.6g}")
        lines.append(f"acceptance: {chains.acceptance:.5f}, standard error {chains.acceptance_standard_error:.2g}")
    if chains.settings.batches is not None:
        lines += ["", f"{'all draws':>19} {'mean':>14} {'std. error':>12} {'ESS':>14} {'ESS/s':>12} {'R-hat':>9}"]
        pooled = chains.pooled_mean, chains.pooled_standard_error, chains.ess
        for c in range(min(chains.dim, _SHOWN)):
            mean, error, ess = (values[c] for values in pooled)
            per_second, name = ess / chains.cost.seconds, f"x{_index(chains, c)}"
            lines.append(f"{name:>19} {mean:14.7g} {error:12.3g} {ess:14.5g} {per_second:12.4g} {chains.rhat[c]:9.5f}")
        lines.append("")
    lost = int(chains.n_nonfinite[-1])
    if lost:
        lines.append(f"{gone(lost, chains.n_chains, 'chain')} not finite at the end and left out")
    return lines
