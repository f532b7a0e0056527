"""How kernels look up numbers in tables, see ``trace/lookups.py``: where the tables lie, and the statements that read.

A table of n numbers is four runs of n in the kernel's: the numbers, for what is computed in the state's type, and three
that add up to them in float64 where the kernel's table is of float32 too, for what depends on time alone. Where places
are looked for, NaNs follow until there are 2^k - 1, which are not less than anything: a search by halves needs no
bounds. For a number in float64 it is done in the state's type, and goes back over the knots that only rounding took in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..trace import Expr, all_parts, node, substitute
from ..trace.lookups import LOOKUPS
from ..trace.table import Table


@dataclass(frozen=True)
class Run:
    """Where ``n`` numbers begin in the kernel's table."""

    first: int
    n: int


class Lookups:
    """The tables that expressions look up numbers in, from ``first`` to ``end`` in the kernel's table.

    ``outputs`` are the expressions with what is looked up there: the node's value is a `Run`.
    """

    def __init__(self, outputs: Sequence[Expr], first: int) -> None:
        self.end = first
        self._runs: dict[tuple[str, Table], Run] = {}
        known: dict[Expr, Expr] = {}
        for e in all_parts(outputs):
            if e.op in LOOKUPS and isinstance(e.value, Table):
                known[e] = node(e.op, (substitute(e.args[0], {}, known),), self._run(e.op, e.value))
        self.outputs = [substitute(e, {}, known) for e in outputs] if known else list(outputs)

    def _run(self, op: str, table: Table) -> Run:
        if (op, table) not in self._runs:
            n = table.n_rows if op == "element" else (1 << table.n_rows.bit_length()) - 1
            self._runs[op, table] = Run(self.end, n)
            self.end += 4 * n
        return self._runs[op, table]

    def values(self) -> np.ndarray:
        """What belongs into the kernel's table, in float64."""
        parts = [_in_parts(table.values[:, 0], run.n) for (_, table), run in self._runs.items()]
        return np.concatenate(parts) if parts else np.zeros(0)


def _in_parts(numbers: np.ndarray, n: int) -> np.ndarray:
    """``n`` numbers, NaN from the given ones on, and three times as many of float32 that add up to them."""
    whole = np.concatenate([numbers, np.full(n - len(numbers), np.nan)])
    parts, rest = [whole], whole
    for _ in range(3):
        with np.errstate(over="ignore", invalid="ignore"):
            parts.append(rest.astype(np.float32).astype(float))
            rest = np.where(np.isfinite(parts[-1]), rest - parts[-1], 0.0)
    return np.concatenate(parts)


def statements(e: Expr, name: str, arg: str, width: str = "") -> Iterable[str]:
    """What looks up ``e`` at ``arg`` and leaves it in ``name``, in float64 for a ``width`` of "64"."""
    run, i = e.value, f"{name}_i"
    if e.op == "element":
        return [f"{i} = I({arg})", f"{name} = {_number(run, i, width)}"]
    lines, step = [f"{i} = I(0)", f"{name}_x = T({arg})"], (run.n + 1) // 2
    while step:
        lines.append(f"{i} = I({i} + {step} * ({_number(run, i, '', step - 1)} <= {name}_x))")
        step //= 2
    if width:
        lines += [f"while {i} > 0 and {_number(run, i, width, -1)} > {arg}:", f"    {i} = I({i} - 1)"]
    return [*lines, f"{name} = {'D' if width else 'T'}({i})"]


def _number(run: Run, index: str, width: str, more: int = 0) -> str:
    """The number at an index, and ``more``, of a run."""
    if not width:
        return f"table[U({index}) + U({run.first + more})]"
    return "(" + " + ".join(f"D(table[U({index}) + U({run.first + more + k * run.n})])" for k in (1, 2, 3)) + ")"
