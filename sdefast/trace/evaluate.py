"""Putting values in place of symbols: other expressions, or numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .expression import Expr, remake
from .operations import ON_NUMBERS
from .walk import all_parts, inside_out

#: operations whose values take more than those of their parts: of the expression and of these
EVALUATED: dict[str, Callable[[Expr, list[np.ndarray]], Any]] = {}


def substitute(expr: Expr, values: Mapping[Expr, Expr], known: dict[Expr, Expr] | None = None) -> Expr:
    """The expression with every symbol in ``values`` replaced; ``known`` keeps what was done for other expressions."""
    known = {} if known is None else known
    for e in inside_out(expr, known):
        if e.op == "symbol":
            known[e] = values.get(e, e)
        elif e.op == "constant":
            known[e] = e
        else:
            known[e] = remake(e, [known[a] for a in e.args])
    return known[expr]


def evaluate(expr: Expr, values: Mapping[Expr, Any], known: dict[Expr, Any] | None = None) -> Any:
    """The expression in plain numpy, float64: slow and obvious, for checks."""
    known = {} if known is None else known
    with np.errstate(all="ignore"):
        for e in inside_out(expr, known):
            if e.op == "symbol":
                known[e] = values[e]
            elif e.op == "constant":
                known[e] = e.value
            else:
                known[e] = _operate(e, [np.asarray(known[a]) for a in e.args])
    return known[expr]


def _operate(e: Expr, args: list[np.ndarray]) -> Any:
    if e.op in EVALUATED:
        return EVALUATED[e.op](e, [np.asarray(a, float) for a in args])
    return _NUMPY[e.op](*args)


def as_function(outputs: Sequence[Expr], inputs: Sequence[Expr]) -> Callable[..., tuple[float, ...]]:
    """Expressions as a function of Python's numbers, for points one at a time: a microsecond or so a call.

    It raises ArithmeticError or ValueError where a function has no value.
    """
    names = {symbol: f"x{i}" for i, symbol in enumerate(inputs)}
    lines = []
    space: dict[str, Any] = {f"_{op}": function for op, function in ON_NUMBERS.items()} | {"inf": math.inf}
    for i, e in enumerate(all_parts(outputs)):
        if e.op != "symbol":
            args, names[e] = [names[a] for a in e.args], f"y{i}"
            if e.op in EVALUATED:
                space[f"f{i}"] = partial(_evaluated, e)
            lines.append(f"    y{i} = " + (f"f{i}({', '.join(args)})" if e.op in EVALUATED else _code(e, args)))
    head = f"def function({', '.join(names[symbol] for symbol in inputs)}):"
    source = [head, *lines, f"    return {''.join(f'{names[e]}, ' for e in outputs)}"]
    exec("\n".join(source), space)
    function: Callable[..., tuple[float, ...]] = space["function"]
    return function


def _evaluated(e: Expr, *args: float) -> float:
    """An operation that takes more than the values of its parts, on numbers."""
    with np.errstate(all="ignore"):
        return float(EVALUATED[e.op](e, [np.asarray(a, float) for a in args]))


def _code(e: Expr, args: Sequence[str]) -> str:
    if e.op == "constant":
        return "float('nan')" if e.value != e.value else repr(e.value)
    if e.op in ("held", "raised"):
        return args[0] if e.op == "held" else f"_max({', '.join(args)})"
    if e.op == "select":
        return f"{args[1]} if {args[0]} else {args[2]}"
    return f"{args[0]} {_INFIX[e.op]} {args[1]}" if e.op in _INFIX else f"_{e.op}({', '.join(args)})"


#: operations that need no call
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<="}


def _erf(x: np.ndarray) -> Any:
    from scipy.special import erf  # optional, and only for checks

    return erf(x)


_NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "min": np.minimum, "max": np.maximum, "lt": np.less, "le": np.less_equal, "eq": np.equal, "and": np.logical_and,
    "or": np.logical_or, "not": np.logical_not, "select": np.where, "pow": np.power, "floor": np.floor,
    "exp": np.exp, "exp_moderate": np.exp, "log": np.log, "log_positive": np.log, "sqrt": np.sqrt, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "tanh": np.tanh, "erf": _erf, "expm1": np.expm1, "log1p": np.log1p, "sinh": np.sinh,
    "cosh": np.cosh, "atan": np.arctan, "asin": np.arcsin, "acos": np.arccos, "atan2": np.arctan2, "hypot": np.hypot,
    "log2": np.log2, "log10": np.log10, "held": lambda x: x, "raised": np.maximum,
}  # fmt: skip
