"""Derivatives of expressions by their symbols: the rules of calculus, from the inside out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .expression import Expr, as_expr, constant, make, select
from .operations import BOOLEAN
from .walk import inside_out


def derivative(of: Expr, by: Expr, known: dict[Expr, Expr] | None = None) -> Expr:
    """The partial derivative of an expression by a symbol; one-sided where it has a kink.

    At the zero of a square root or of a power below 1, where it is infinite, the derivative is taken as 0: there a
    coefficient such as sqrt(max(x, 0)) has stopped to move.
    """
    known = {} if known is None else known
    for e in inside_out(of, known):
        parts = [known[a] for a in e.args]
        if e is by:
            known[e] = constant(1)
        elif all(p.is_constant(0) for p in parts):
            known[e] = constant(0)
        else:
            known[e] = as_expr(RULES[e.op](e, *e.args, *parts))
    return known[of]


def _d_mul(of: Expr, a: Expr, b: Expr, da: Expr, db: Expr) -> Any:
    return da * b + a * db


def _d_pow(of: Expr, a: Expr, b: Expr, da: Expr, db: Expr) -> Any:
    by_base = select(a == 0, 0, b * make("pow", a, as_expr(b - 1))) * da
    if db.is_constant(0):
        return by_base
    return by_base + select(a == 0, 0, of * make("log", a)) * db


def _d_sqrt(of: Expr, a: Expr, da: Expr) -> Any:
    return select(a > 0, 0.5 / of, 0) * da


def _d_atan2(of: Expr, y: Expr, x: Expr, dy: Expr, dx: Expr) -> Any:
    square = x * x + y * y
    return select(square > 0, (x * dy - y * dx) / square, 0)


def _d_hypot(of: Expr, a: Expr, b: Expr, da: Expr, db: Expr) -> Any:
    return select(of > 0, (a * da + b * db) / of, 0)


def _d_arc(of: Expr, a: Expr, da: Expr) -> Any:
    """That of the arc sine."""
    return da / make("sqrt", (1 - a) * (1 + a))


#: operation -> its derivative, of the expression, its parts and their derivatives
RULES: dict[str, Callable[..., Any]] = {
    "add": lambda of, a, b, da, db: da + db,
    "sub": lambda of, a, b, da, db: da - db,
    "mul": _d_mul,
    "div": lambda of, a, b, da, db: (da - of * db) / b,
    "neg": lambda of, a, da: -da,
    "abs": lambda of, a, da: select(a < 0, -da, da),
    "held": lambda of, a, da: constant(0),
    "raised": lambda of, a, low, da, dlow: da,
    "min": lambda of, a, b, da, db: select(a < b, da, db),
    "max": lambda of, a, b, da, db: select(a > b, da, db),
    "select": lambda of, c, a, b, dc, da, db: select(c, da, db),
    "pow": _d_pow,
    "sqrt": _d_sqrt,
    "exp": lambda of, a, da: of * da,
    "exp_moderate": lambda of, a, da: of * da,
    "log": lambda of, a, da: da / a,
    "log_positive": lambda of, a, da: da / a,
    "sin": lambda of, a, da: make("cos", a) * da,
    "cos": lambda of, a, da: -make("sin", a) * da,
    "tan": lambda of, a, da: (1 + of * of) * da,
    "tanh": lambda of, a, da: (1 - of * of) * da,
    "erf": lambda of, a, da: (2 / math.sqrt(math.pi)) * make("exp", -(a * a)) * da,
    "floor": lambda of, a, da: constant(0),
    "expm1": lambda of, a, da: (of + 1) * da,
    "log1p": lambda of, a, da: da / (1 + a),
    "sinh": lambda of, a, da: make("cosh", a) * da,
    "cosh": lambda of, a, da: make("sinh", a) * da,
    "atan": lambda of, a, da: da / (1 + a * a),
    "asin": _d_arc,
    "acos": lambda of, a, da: -_d_arc(of, a, da),
    "atan2": _d_atan2,
    "hypot": _d_hypot,
    "log2": lambda of, a, da: da / (math.log(2) * a),
    "log10": lambda of, a, da: da / (math.log(10) * a),
}
RULES |= {op: lambda of, *rest: constant(0) for op in BOOLEAN}  # conditions have no slope
