"""What operations with constants, signs or equal parts are made simpler to, while expressions are built."""

from __future__ import annotations

from .expression import SIMPLER, Expr, as_expr, constant, make


def _add(a: Expr, b: Expr) -> Expr | None:
    if a is b and a.op != "mul":
        # the same number, and a factor that others may take in (twice a factor of a product may overflow)
        return make("mul", constant(2), a)
    if a.is_constant(0):
        return b
    if b.is_constant(0):
        return a
    if b.op == "neg":
        return make("sub", a, b.args[0])
    return make("sub", b, a.args[0]) if a.op == "neg" else None


def _sub(a: Expr, b: Expr) -> Expr | None:
    if b.is_constant(0):
        return a
    if a.is_constant(0):
        return make("neg", b)
    return make("add", a, b.args[0]) if b.op == "neg" else None


def _mul(a: Expr, b: Expr) -> Expr | None:
    for x, y in ((a, b), (b, a)):
        if x.is_constant(0):
            return constant(0.0)
        if x.is_constant(1):
            return y
        if x.is_constant(-1):
            return make("neg", y)
        if x.op == "neg":
            return make("neg", make("mul", x.args[0], y))
    return None


def _div(a: Expr, b: Expr) -> Expr | None:
    if a.is_constant(0):
        return constant(0.0)
    return a if b.is_constant(1) else None


def _neg(a: Expr) -> Expr | None:
    if a.op == "neg":
        return a.args[0]
    return make("sub", a.args[1], a.args[0]) if a.op == "sub" else None


def _pow(a: Expr, b: Expr) -> Expr | None:
    """Whole and half powers as products and roots."""
    if b.op != "constant" or abs(b.value) > 64 or not (2 * b.value).is_integer():
        return None
    n = abs(b.value)
    result = make("sqrt", a) if n == 0.5 else _whole_power(a, int(n)) if n.is_integer() else None
    if result is None:
        return None
    return result if b.value >= 0 else make("div", constant(1), result)


def _whole_power(a: Expr, n: int) -> Expr:
    if n == 0:
        return constant(1)
    half = _whole_power(a, n // 2)
    square = half * half
    return as_expr(square * a if n % 2 else square)


def _and(a: Expr, b: Expr) -> Expr | None:
    for x, y in ((a, b), (b, a)):
        if x.op == "constant":
            return y if x.value else constant(False)
    return a if a is b else None


def _or(a: Expr, b: Expr) -> Expr | None:
    for x, y in ((a, b), (b, a)):
        if x.op == "constant":
            return constant(True) if x.value else y
    return a if a is b else None


def _not(a: Expr) -> Expr | None:
    return a.args[0] if a.op == "not" else None


def _same(a: Expr, b: Expr) -> Expr | None:
    return a if a is b else None


SIMPLER.update({
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "pow": _pow, "and": _and, "or": _or, "not": _not,
    "min": _same, "max": _same,
})  # fmt: skip
