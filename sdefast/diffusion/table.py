"""The rows of a plan as text."""

from __future__ import annotations

import numpy as np

#: Rows of a long table that are printed: the first and the last of them.
_FIRST, _LAST = 12, 6


def printed(rows: np.ndarray) -> str:
    """A line for each row, the middle of long tables left out; columns that say nothing are left out too."""
    names = [name for name in rows.dtype.names or () if _says(rows, name)]
    short = len(rows) <= _FIRST + _LAST + 1
    shown = range(len(rows)) if short else [*range(_FIRST), *range(len(rows) - _LAST, len(rows))]
    table = [["row", *names]] + [[str(i), *(_cell(rows[name][i]) for name in names)] for i in shown]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
    if not short:
        lines.insert(1 + _FIRST, f"... {len(rows) - _FIRST - _LAST} more")
    return "\n".join(lines)


def _says(rows: np.ndarray, name: str) -> bool:
    """Whether a column differs from what every plan without it has."""
    usual = {"call": True, "limit": np.inf}.get(name, 0)
    return name in ("t", "a", "b", "s") or bool((rows[name] != usual).any())


def _cell(value: np.generic) -> str:
    if isinstance(value, np.bool_):
        return "yes" if value else "no"
    return f"{value:.8g}" if isinstance(value, np.floating) else str(value)
