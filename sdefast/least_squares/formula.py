"""Step-size schedules that are written as formulas of the iteration."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_MOST_CHARACTERS = 200

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}

_FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "sqrt": (np.sqrt, 1),
    "exp": (np.exp, 1),
    "log": (np.log, 1),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
}


@dataclass(frozen=True)
class Schedule:
    """Step sizes by a formula of the iteration: what `sgd` takes as ``step_size``, kept readable and comparable.

    Parameters
    ----------
    formula : str
        Numbers, ``t`` = 1, 2, ..., the number of the update, or ``k`` = t - 1, the iteration that it starts from,
        with ``+ - * / **``, parentheses, ``sqrt``, ``exp``, ``log`` and ``min`` and ``max`` of two. It is read, never
        executed as Python.

    Raises
    ------
    TypeError
        If the formula is no string.
    ValueError
        If it holds anything else.

    Examples
    --------
    >>> from sdefast.least_squares import Schedule
    >>> Schedule("0.1/t")([0, 1, 9])
    array([0.1 , 0.05, 0.01])
    """

    formula: str

    def __post_init__(self) -> None:
        if not isinstance(self.formula, str):
            raise TypeError(f"formula must be a string such as '0.1/t', got {self.formula!r}")
        _value(_parsed(self.formula), self.formula, {"t": np.float64(1), "k": np.float64(0)})

    def __call__(self, k: ArrayLike) -> Any:
        """The step sizes of iterations ``k`` = 0, 1, ..., of the shape of ``k``; infinite or nan where undefined."""
        k = np.asarray(k, np.float64)
        value = _value(_parsed(self.formula), self.formula, {"t": k + 1, "k": k})
        return np.broadcast_to(value, k.shape).copy()[()]

    def __str__(self) -> str:
        return self.formula


def _parsed(formula: str) -> ast.expr:
    if len(formula) > _MOST_CHARACTERS:  # a limit to how deeply it can be nested
        raise ValueError(f"a step size's formula must have at most {_MOST_CHARACTERS} characters, got {len(formula)}")
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _refusal(formula) from None


def _value(node: ast.expr, formula: str, names: dict[str, Any]) -> Any:
    """The value of one node, in numpy's arithmetic: nothing but what is named here can be in it."""
    with np.errstate(all="ignore"):
        match node:
            case ast.Constant(value=float() | int() as number) if not isinstance(number, bool):
                try:
                    return np.float64(number)
                except OverflowError:
                    return np.float64(np.inf)
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -_value(operand, formula, names)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](_value(left, formula, names), _value(right, formula, names))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                function, n_arguments = _FUNCTIONS[name]
                if len(args) == n_arguments:
                    return function(*(_value(argument, formula, names) for argument in args))
    raise _refusal(formula)


def _refusal(formula: str) -> ValueError:
    return ValueError(
        "a step size must be a number or a formula of the update t = 1, 2, ... (or k = t - 1) with + - * / **, "
        f"parentheses and {', '.join(_FUNCTIONS)}, such as 0.1/t, got {formula!r}"
    )
