"""What the commands print alike."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import plots
from ..run.report import Report
from ..run.result import Cost
from ..words import scaled


def row(start: str, name: str, value: float, error: float, exact: float | None, has_z: bool = True) -> str:
    """A simulated value with its standard error and, where there is one, the exact value and the z-score."""
    text = f"{start:>8} {name:>10} {value:14.7g} {error:12.3g}"
    if exact is None:
        return text
    if not has_z:
        return f"{text} {exact:14.7g} {'-':>7}"
    if not error >= 0:  # as of a single path
        return f"{text} {exact:14.7g} {'-':>7}"
    z = (value - exact) / error if error > 0 else 0.0
    return f"{text} {exact:14.7g} {z:7.2f}"


def header(start: str, exact: str | None) -> str:
    """The line above such rows; ``exact`` is the name of the exact value, if there is one."""
    text = f"{start:>8} {'':>10} {'simulated':>14} {'std. error':>12}"
    return text if exact is None else f"{text} {exact:>14} {'z':>7}"


def cost_line(cost: Cost, n: int, unit: str) -> str:
    """Time, speed, what ran it; ``n`` is the number of ``unit``, such as path-steps, that were done."""
    speed = f"{scaled(n / cost.seconds)} {unit} per second"
    return f"{cost.seconds:.3f} s, {speed}, {cost.executor}, instruction set {cost.isa}"


#: What is to be known of z-scores one above the other.
SHARED = "rows are of the same runs: their errors, and so their z-scores, go together"


def whole(text: str) -> int:
    """A whole number as options take it: 100000, 100_000, 100,000 or 1e5."""
    plain = text.replace(",", "_")
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        number = float(plain)
        if number != int(number) or abs(number) > 2**53:
            raise ValueError
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"must be a whole number such as 100000 or 1e5, got {text[:80]!r}") from None
    return int(number)


def add_output_options(group: Any, drawn: str) -> None:
    """``--plot`` and ``--save``."""
    group.add_argument("--plot", type=Path, metavar="FILE", help=f"draw {drawn} to this file")
    group.add_argument("--save", type=Path, metavar="FILE", help="write the result to this file, for sdefast.load")


def check_output(options: argparse.Namespace) -> None:
    """What would fail at the end is refused before any work."""
    if options.plot is not None:
        plots.check_file(options.plot)
    if options.save is not None and (options.save.is_dir() or not options.save.absolute().parent.is_dir()):
        raise ValueError(f"--save must be a file in a folder that exists, got {options.save}")


def save(options: argparse.Namespace, result: Report) -> None:
    """Write the result, if that is asked for."""
    if options.save is not None:
        result.save(options.save)
        print(f"\nresult: {options.save}")
