"""Expectations of users' functions, traced when they are given: nothing changes what they compute afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine.gathering import MOST
from ..trace import ITERATION, Expr, Names, Replayed, argument_order, as_expr, select, symbol, trace
from . import options

#: names with what they stand for
Named = tuple[tuple[str, Replayed], ...]


def traced(functions: Any, inputs: Sequence[tuple[str, Names]]) -> Named:
    """A mapping of names to functions of ``inputs``, argument names with their symbols.

    The first is the number of the iteration, which may come second; a third may be left out.
    """
    found, names = [], tuple(name for name, _ in inputs)
    for name, function in options.named_functions("expectations", functions):
        what = f"expectations[{name!r}]"
        arguments = tuple(map(_symbols, (symbols for _, symbols in inputs)))
        order = argument_order(what, function, len(names), len(names), names, ITERATION)
        value = trace(function, *(arguments[i] for i in order), what=what)
        found.append((name, Replayed(what, tuple(inputs), as_number(what, value))))
    if len(found) > MOST:
        raise ValueError(f"expectations may be {MOST} together, got {len(found)}")
    return tuple(found)


def _symbols(names: Names) -> Any:
    return symbol(names) if isinstance(names, str) else tuple(map(symbol, names))


def as_number(what: str, value: Any) -> Expr:
    """A traced result that must be one number."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Expr):
        raise ValueError(f"{what} must return one number, got {len(value)}")
    return as_expr(select(value, 1.0, 0.0)) if value.is_boolean else value
