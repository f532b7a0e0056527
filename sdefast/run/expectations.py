"""Expectations of users' functions, traced when they are given: nothing changes what they compute afterwards."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..engine.gathering import MOST
from ..trace import Expr, Names, Replayed, as_expr, select, symbol, trace
from . import options

#: names with what they stand for
Named = tuple[tuple[str, Replayed], ...]


def traced(functions: Any, inputs: Sequence[tuple[str, Names]]) -> Named:
    """A mapping of names to functions of ``inputs``, argument names with their symbols; a third may be left out."""
    found = []
    for name, function in options.named_functions("expectations", functions):
        what = f"expectations[{name!r}]"
        arguments = tuple(map(_symbols, (symbols for _, symbols in inputs)))
        value = trace(function, *arguments[: _n_taken(what, function, inputs)], what=what)
        found.append((name, Replayed(what, tuple(inputs), as_number(what, value))))
    if len(found) > MOST:
        raise ValueError(f"expectations may be {MOST} together, got {len(found)}")
    return tuple(found)


def _symbols(names: Names) -> Any:
    return symbol(names) if isinstance(names, str) else tuple(map(symbol, names))


def _n_taken(what: str, function: Callable[..., Any], inputs: Sequence[tuple[str, Names]]) -> int:
    """How many of the arguments a function takes, at least two."""
    names = [name for name, _ in inputs]
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return len(names)
    for n in range(len(names), 1, -1):
        try:
            signature.bind(*names[:n])
        except TypeError:
            continue
        return n
    raise TypeError(f"{what} must be a function of ({', '.join(names)}), got one of {signature}")


def as_number(what: str, value: Any) -> Expr:
    """A traced result that must be one number."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Expr):
        raise ValueError(f"{what} must return one number, got {len(value)}")
    return as_expr(select(value, 1.0, 0.0)) if value.is_boolean else value
