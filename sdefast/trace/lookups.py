"""Tabulated functions as expressions: numbers of a table by a place in it, and the place of a number among knots.

Two operations of one part each, whose node holds the table: ``element``, its number there, and ``place``, how many of
its rising numbers are not larger. What users write is made of them: `numpy.interp`, `numpy.searchsorted`,
`numpy.digitize`, and an array with an index that is known only when paths are simulated. No number of a table becomes a
constant of the code, so that other numbers run the same kernels; both have the derivative 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import checks
from .derivatives import RULES
from .evaluate import EVALUATED
from .expression import OTHERWISE, Expr, as_expr, constant, make, node, select
from .numpy_calls import NUMPY_FUNCTIONS
from .table import Table

#: Rounding errors, in units of the last place of the largest knot, by which knots may miss equal distances.
_ROUNDED = 4

#: Knots at most: a place is an integer in float32 too.
_MOST_KNOTS = 2**24


class Indexed(np.ndarray):
    """An array that an index may be taken of which is known only when paths are simulated."""

    def __getitem__(self, index: Any) -> Any:
        """The elements there; at an expression's whole part, of which those out of range count as the ends."""
        indices = index if isinstance(index, tuple) else (index,)
        traced = [i for i in indices if isinstance(i, Expr)]
        if not traced:
            return super().__getitem__(index)
        if len(traced) > 1:
            raise TypeError("an array can be indexed by one value that is known only when paths are simulated")
        (at,) = (k for k, i in enumerate(indices) if isinstance(i, Expr))
        if any(not isinstance(i, (int, np.integer)) for k, i in enumerate(indices) if k != at):
            raise TypeError("beside an index that is known only when paths are simulated there may be whole numbers")
        left = np.asarray(self)[(*indices[:at], slice(None), *indices[at + 1 :])]
        return _rows_at(np.moveaxis(left, min(at, 0), 0), traced[0])


class _ArrayName(str):
    """The name of a parameter that is an array; parameters with other numbers are other symbols."""

    values: np.ndarray

    def __repr__(self) -> str:
        return f"{super().__repr__()} {Table.of(self.values[:, None]).digest}"


class _ArrayParameter(Expr):
    """A parameter that is an array, which may be indexed."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        numbers = _as_numbers(self)
        if isinstance(index, (int, np.integer, slice)):
            found = tabulated(numbers)[index]
            return tuple(found) if isinstance(found, list) else found
        return numbers.view(Indexed)[index]

    def __iter__(self) -> Iterator[Expr]:
        return iter(tabulated(_as_numbers(self)))


#: names of the parameters that were read as tables, while somebody wants to know
_noted: list[set[str]] = []


@contextmanager
def noting_tables() -> Iterator[set[str]]:
    """The names of the parameters that functions traced meanwhile read as tables."""
    _noted.append(set())
    try:
        yield _noted[-1]
    finally:
        _noted.pop()


def array_symbol(name: str, values: np.ndarray) -> Expr:
    """A parameter that is an array: a number of the path where it is used as one, or a table to look up numbers in."""
    own = _ArrayName(name)
    own.values = values
    return node("symbol", (), own, _ArrayParameter)


def _as_numbers(given: Any) -> Any:
    """The numbers of a parameter that is used as a table; anything else as it is."""
    if isinstance(given, Expr) and isinstance(given.value, _ArrayName):
        for names in _noted:
            names.add(str(given.value))
        return given.value.values
    return given


def _rows_at(values: np.ndarray, index: Expr) -> Any:
    """The element of a vector, or a tuple of those of each column."""
    if values.ndim == 1:
        return element(_numbers("an array that is indexed", values), index)
    return tuple(_rows_at(values[:, j], index) for j in range(values.shape[1]))


def _numbers(name: str, values: Any) -> np.ndarray:
    name = _named(name, values)
    given = np.asarray(_as_numbers(values))
    wrong = np.flatnonzero(~np.isfinite(given)) if given.dtype.kind == "f" and given.ndim == 1 else np.empty(0, int)
    if len(wrong):
        raise ValueError(f"{name} must be finite, got {given[wrong[0]]:g} in row {wrong[0]}")
    numbers = checks.array(name, given)
    if numbers.ndim != 1 or not 1 <= len(numbers) <= _MOST_KNOTS:
        raise ValueError(f"{name} must be of one dimension and have 1 to {_MOST_KNOTS} numbers, got {numbers.shape}")
    return numbers


def _named(name: str, values: Any) -> str:
    """What a table is called, of a parameter by its name."""
    if isinstance(values, Expr) and isinstance(values.value, _ArrayName):
        return f"params[{str(values.value).removeprefix('p_')!r}], {name.rstrip(',')},"
    return name


def _knots(name: str, values: Any) -> np.ndarray:
    knots = _numbers(name, values)
    if (np.diff(knots) <= 0).any():
        i = int(np.argmax(np.diff(knots) <= 0))
        name = _named(name, values)
        raise ValueError(f"{name} must increase, got {knots[i]:g} and then {knots[i + 1]:g} in row {i + 1}")
    return knots


def element(values: np.ndarray, index: Any) -> Expr:
    """``values[floor(index)]``, of the first or the last for an index that is out of range, or no number."""
    index, last = as_expr(index), float(len(values) - 1)
    return _element(Table.of(values[:, None]), as_expr(select(index > 0, select(index < last, index, last), 0.0)))


def _element(table: Table, index: Expr) -> Expr:
    return node("element", (index,), table)


def tabulated(values: np.ndarray) -> list[Expr]:
    """Numbers that a kernel reads from the run's table, so that it is the same for others."""
    table = Table.of(np.asarray(values, float)[:, None])
    return [_element(table, constant(float(k))) for k in range(table.n_rows)]


def place(knots: np.ndarray, x: Any) -> Expr:
    """How many of rising numbers are not larger than ``x``."""
    return node("place", (as_expr(x),), Table.of(knots[:, None]))


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """`numpy.interp` of an expression in tables of numbers."""
    if period is not None:
        raise TypeError(
            "numpy.interp can be compiled without a period: take x % period, and knots from 0 to the period"
        )
    x, knots, values = as_expr(x), _knots("xp, the knots of numpy.interp,", xp), _numbers("fp of numpy.interp", fp)
    if len(knots) != len(values):
        raise ValueError(
            f"numpy.interp takes a value for every knot, got {len(knots)} knots and {len(values)} values: from "
            f"row {min(len(knots), len(values))} on there are no pairs"
        )
    found = element(values, 0.0) if len(knots) == 1 else _between(x, knots, values)
    if left is not None:
        found = as_expr(select(x < _element(Table.of(knots[:1, None]), constant(0.0)), left, found))
    if right is not None:
        found = as_expr(select(x > _element(Table.of(knots[-1:, None]), constant(0.0)), right, found))
    return found


def _between(x: Expr, knots: np.ndarray, values: np.ndarray) -> Expr:
    """The straight line between the knots around ``x``, and the first or last value outside."""
    n, length = len(knots), (knots[-1] - knots[0]) / (len(knots) - 1)
    even = knots[0] + length * np.arange(n)
    if np.abs(knots - even).max() <= _ROUNDED * np.spacing(np.abs(knots).max()):
        return _between_even(x, np.array([knots[0], 1 / length]), values)
    ends = Table.of(knots[[0, -1], None])
    low, high = (_element(ends, constant(k)) for k in (0.0, 1.0))
    inside = make("min", make("max", x, low), high)
    at = place(knots[1:-1], inside) if n > 2 else constant(0.0)  # the number of the piece
    slopes = np.diff(values) / np.diff(knots)
    start, slope, first = (_element(Table.of(column[:, None]), at) for column in (knots[:-1], slopes, values[:-1]))
    return as_expr(first + slope * (inside - start))


def _between_even(x: Expr, scale: np.ndarray, values: np.ndarray) -> Expr:
    """The same between knots as far from one another: ``scale`` is the first and how many there are per length."""
    first, per_length = (_element(Table.of(scale[:, None]), constant(k)) for k in (0.0, 1.0))
    u, last = as_expr((x - first) * per_length), float(len(values) - 2)
    inside = make("min", make("max", u, constant(0.0)), constant(last + 1))
    at = as_expr(select(u > 0, select(u < last, make("floor", u), last), 0.0))  # (that of NaN is 0)
    below, rise = (_element(Table.of(column[:, None]), at) for column in (values[:-1], np.diff(values)))
    return as_expr(below + rise * (inside - at))


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """`numpy.searchsorted` of an expression in knots."""
    if sorter is not None:
        raise TypeError("numpy.searchsorted can be compiled without a sorter")
    knots = _knots("the knots of numpy.searchsorted", a)
    if checks.choice("side", side, ("left", "right")) == "right":
        return place(knots, v)
    return len(knots) - place(-knots[::-1], -as_expr(v))


def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """`numpy.digitize` of an expression in rising bins."""
    return searchsorted(bins, x, side="left" if right else "right")


NUMPY_FUNCTIONS.update(interp=interp, searchsorted=searchsorted, digitize=digitize)


def _values(e: Expr) -> np.ndarray:
    return np.asarray(e.value.values[:, 0])


def _elements(e: Expr, parts: list[np.ndarray]) -> Any:
    return _values(e)[np.nan_to_num(parts[0]).astype(int)]


def _places(e: Expr, parts: list[np.ndarray]) -> Any:
    return np.where(np.isnan(parts[0]), 0.0, np.searchsorted(_values(e), parts[0], side="right"))


for _op, _evaluated in (("element", _elements), ("place", _places)):
    EVALUATED[_op] = _evaluated
    OTHERWISE[_op] = lambda table, x, op=_op: node(op, (x,), table)
    RULES[_op] = lambda of, x, dx: constant(0)

#: the operations
LOOKUPS = ("element", "place")
