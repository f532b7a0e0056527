"""The operations that expressions are made of, by their names, and what they are on Python's numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

#: operations on truth values
LOGIC = frozenset({"and", "or", "not"})

#: comparisons and logic; every other operation gives a real number
BOOLEAN = frozenset({"lt", "le", "eq"}) | LOGIC

#: what may be called on an expression, as users know it
FUNCTIONS = (
    "exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "pow", "abs", "min", "max", "erf", "floor", "expm1", "log1p",
    "sinh", "cosh", "atan", "asin", "acos", "atan2", "hypot", "log2", "log10",
)  # fmt: skip

#: operations and functions on Python's numbers
ON_NUMBERS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "abs": abs, "min": min, "max": max, "lt": operator.lt, "le": operator.le, "eq": operator.eq, "pow": math.pow,
    "floor": lambda x: float(math.floor(x)), "and": lambda a, b: a and b, "or": lambda a, b: a or b,
    "not": operator.not_, "exp": math.exp, "exp_moderate": math.exp, "log": math.log, "sqrt": math.sqrt,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "tanh": math.tanh, "erf": math.erf, "expm1": math.expm1,
    "log1p": math.log1p, "sinh": math.sinh, "cosh": math.cosh, "atan": math.atan, "asin": math.asin,
    "acos": math.acos, "atan2": math.atan2, "hypot": math.hypot, "log2": math.log2, "log10": math.log10,
}  # fmt: skip


def on_constants(op: str, *values: Any) -> Any:
    """The operation on numbers and truth values; None if it is left to the run."""
    if op not in ON_NUMBERS:
        return None
    try:
        result = ON_NUMBERS[op](*values)
    except (ArithmeticError, ValueError):  # left to the run: IEEE says what 1 / 0 is
        return None
    return None if isinstance(result, complex) else result
