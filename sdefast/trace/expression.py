"""Expressions: immutable nodes of arithmetic on real numbers, shared where they are equal.

Arithmetic on an `Expr` builds another one, and equal expressions are one object, so that "the same subexpression" is
"the same object" for the emitter and for derivatives. Arithmetic with constants is done on the way (0 x = 0 even where
x might turn out infinite).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from .operations import BOOLEAN, FUNCTIONS, LOGIC, on_constants

#: operation -> what is simpler than it, of its parts, or None; see simplify.py
SIMPLER: dict[str, Callable[..., Expr | None]] = {}

_nodes: WeakValueDictionary[tuple[Any, ...], Expr] = WeakValueDictionary()
_adding = threading.Lock()


class Expr:
    """One operation on other expressions, a constant (op "constant") or a named input (op "symbol")."""

    __slots__ = ("__weakref__", "args", "op", "value")
    __hash__ = object.__hash__

    #: called with a condition that Python wants as True or False; set while a function is traced
    decide: ClassVar[Callable[[Expr], bool] | None] = None

    def __init__(self, op: str, args: tuple[Expr, ...], value: Any = None) -> None:
        self.op, self.args, self.value = op, args, value

    @property
    def is_boolean(self) -> bool:
        return isinstance(self.value, bool) if self.op == "constant" else self.op in BOOLEAN

    def is_constant(self, value: float) -> bool:
        """Whether this is that constant."""
        return self.op == "constant" and bool(self.value == value)

    # Arithmetic --------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _binary("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _binary("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return _binary("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _binary("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _binary("div", other, self)

    def __pow__(self, other: Any) -> Any:
        return _binary("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _binary("pow", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return make("floor", self / other)

    def __rfloordiv__(self, other: Any) -> Any:
        return make("floor", other / self)

    def __mod__(self, other: Any) -> Any:
        return self - other * (self // other)

    def __rmod__(self, other: Any) -> Any:
        return other - self * (other // self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __neg__(self) -> Expr:
        return make("neg", self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Expr:
        return make("abs", self)

    # Comparisons -------------------------------------------------------------------------------------------------

    def __lt__(self, other: Any) -> Any:
        return _binary("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return _binary("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return _binary("lt", other, self)

    def __ge__(self, other: Any) -> Any:
        return _binary("le", other, self)

    def __eq__(self, other: object) -> Any:
        return _binary("eq", self, other)

    def __ne__(self, other: object) -> Any:
        equal = _binary("eq", self, other)
        return NotImplemented if equal is NotImplemented else make("not", equal)

    def __and__(self, other: Any) -> Any:
        return _logic("and", self, other)

    def __rand__(self, other: Any) -> Any:
        return _logic("and", other, self)

    def __or__(self, other: Any) -> Any:
        return _logic("or", self, other)

    def __ror__(self, other: Any) -> Any:
        return _logic("or", other, self)

    def __invert__(self) -> Expr:
        if not self.is_boolean:
            raise TypeError("~ is for conditions")
        return make("not", self)

    def __bool__(self) -> bool:
        if self.op == "constant":
            return bool(self.value)
        if Expr.decide is None:
            raise TypeError("the truth of an expression is known only when paths are simulated")
        return Expr.decide(_truth(self))

    # What cannot be an expression --------------------------------------------------------------------------------

    def __float__(self) -> float:
        if self.op == "constant":
            return float(self.value)
        raise TypeError(
            "a value that is known only when paths are simulated was passed to something that needs a number now; "
            f"functions that work on it are those of sdefast.math: {', '.join(CALLED)}. An array of numbers cannot "
            "hold it: return a tuple or a list, or fill np.zeros(n, dtype=object)"
        )

    def __round__(self, digits: Any = None) -> Expr:
        return rounded(self, digits or 0)

    def __floor__(self) -> Expr:
        return make("floor", self)

    def __ceil__(self) -> Expr:
        return ceil(self)

    def __trunc__(self) -> Expr:
        return trunc(self)

    def __index__(self) -> int:
        raise TypeError(
            "a value that is known only when paths are simulated cannot be an index of a list or the length of a "
            "range; close over an integer instead. It can be the index of an array of numpy's that is made outside of "
            "the function"
        )

    __int__ = __index__

    def __iter__(self) -> Any:
        raise TypeError("a number cannot be unpacked")

    # Functions ---------------------------------------------------------------------------------------------------

    def __sdefast_trace__(self, name: str, *args: Any) -> Expr:
        """What `sdefast.math` calls."""
        return COMPOSED[name](*args) if name in COMPOSED else make(name, *(as_expr(a) for a in args))

    def __repr__(self) -> str:
        if self.op in ("constant", "symbol"):
            return str(self.value)
        return f"{self.op}({', '.join(map(repr, self.args))})"

    def __reduce__(self) -> Any:
        raise TypeError("expressions are not pickled: pickle the function that was traced")


def constant(value: Any) -> Expr:
    """A number or truth value as an expression."""
    value = bool(value) if isinstance(value, (bool, np.bool_)) else float(value)
    return node("constant", (), value)


def symbol(name: str) -> Expr:
    """A named input."""
    return node("symbol", (), name)


def as_expr(value: Any) -> Expr:
    """An expression as it is, a number as a constant."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (int, float, np.number, np.bool_)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return constant(value)
    raise TypeError(f"expected a real number, got {value!r}")


def make(op: str, *args: Expr) -> Expr:
    """The node of an operation, simplified where it has constants."""
    if op in LOGIC:
        args = tuple(map(_truth, args))
    elif any(a.is_boolean for a in args):
        args = tuple(map(_number, args))
    if all(a.op == "constant" for a in args):
        folded = on_constants(op, *(a.value for a in args))
        if folded is not None:
            return constant(folded)
    simpler = SIMPLER[op](*args) if op in SIMPLER else None
    return node(op, args) if simpler is None else simpler


def select(condition: Any, yes: Any, no: Any) -> Any:
    """``yes`` where the condition holds, else ``no``; both are computed."""
    condition, yes, no = _truth(as_expr(condition)), as_expr(yes), as_expr(no)
    if condition.op == "constant":
        return yes if condition.value else no
    if yes is no:
        return yes
    if yes.is_boolean and no.is_boolean:
        return (condition & yes) | (~condition & no)
    return node("select", (condition, _number(yes), _number(no)))


def _truth(e: Expr) -> Expr:
    """A condition as it is; a number is true where it is not 0."""
    return e if e.is_boolean else make("not", make("eq", e, constant(0)))


def _number(e: Expr) -> Expr:
    """A number as it is; a condition is 1 where it holds, else 0."""
    if not e.is_boolean:
        return e
    return constant(float(e.value)) if e.op == "constant" else node("select", (e, constant(1), constant(0)))


def maximum(a: Any, b: Any) -> Expr:
    """The larger of two."""
    return make("max", as_expr(a), as_expr(b))


def minimum(a: Any, b: Any) -> Expr:
    """The smaller of two."""
    return make("min", as_expr(a), as_expr(b))


def held(x: Expr) -> Expr:
    """``x``, whose derivative is taken as 0: for a shift that is added back, on which a result does not depend."""
    return constant(x.value) if x.op == "constant" else node("held", (x,))


def raised(x: Expr, low: float) -> Expr:
    """``max(x, low)``, whose derivative is taken as that of ``x`` everywhere."""
    return make("max", x, constant(low)) if x.op == "constant" else node("raised", (x, constant(low)))


def plain(e: Expr, args: Sequence[Expr]) -> Expr:
    """The expression of ``args`` in place of the parts of ``e``, without the marks that only derivatives need."""
    if e.op == "held":
        return args[0]
    return make("max", *args) if e.op == "raised" else remake(e, args)


def remake(e: Expr, args: Sequence[Expr]) -> Expr:
    """The operation of ``e`` on other parts."""
    return remade(e.op, args, e.value)


def remade(op: str, args: Sequence[Expr], value: Any = None) -> Expr:
    """An operation on parts, simplified where it has constants; ``value`` is what a node of that kind holds besides."""
    return OTHERWISE[op](value, *args) if op in OTHERWISE else make(op, *args)


#: what is made otherwise than by `make`: from a node's value and its parts
OTHERWISE: dict[str, Callable[..., Expr]] = {
    "select": lambda value, *args: as_expr(select(*args)),
    "held": lambda value, x: held(x),
    "raised": lambda value, x, low: raised(x, low.value),
}


def flip(value: Expr, sign: Expr) -> Expr:
    """``value * sign`` for a sign +1 or -1, which takes no multiplication."""
    return node("flip", (value, sign))


def sign(x: Any) -> Expr:
    """-1, 0 or 1; NaN of NaN."""
    x = as_expr(x)
    return as_expr(select(x < 0, -1.0, select(x > 0, 1.0, x)))


def ceil(x: Any) -> Expr:
    """The smallest integer that is not smaller."""
    return -make("floor", -as_expr(x))


def trunc(x: Any) -> Expr:
    """The integer next to a number on the side of 0."""
    x = as_expr(x)
    return as_expr(select(x < 0, ceil(x), make("floor", x)))


def rounded(x: Any, decimals: Any = 0) -> Expr:
    """The nearest integer, of two the even one."""
    if decimals != 0:
        raise TypeError(
            f"rounding to {decimals} decimals cannot be compiled: scale before and after, round(100 * x) / 100"
        )
    x = as_expr(x)
    low = make("floor", x)
    rest, is_even = x - low, make("floor", low * 0.5) * 2 == low
    up = as_expr(select(rest > 0.5, True, ~(rest < 0.5) & ~is_even))
    return as_expr(select(up, low + 1, low))


#: functions that are more than one operation, as `sdefast.math` calls them
COMPOSED: dict[str, Callable[..., Any]] = {
    "ceil": ceil, "round": rounded, "sign": sign, "where": select,
    "clip": lambda x, low, high: minimum(maximum(x, low), high),
}  # fmt: skip

#: all that may be called on an expression, as users know it
CALLED = (*FUNCTIONS, *COMPOSED)


def node(op: str, args: tuple[Expr, ...], value: Any = None, kind: type[Expr] | None = None) -> Expr:
    """The expression of an operation as it is, of a ``kind`` that can more; equal ones are one object."""
    # repr tells -0.0 from 0.0 and True from 1.0
    key = (op, *map(id, args), repr(value))
    node = _nodes.get(key)
    if node is None:
        with _adding:  # two threads must not make two objects of one expression
            node = _nodes.get(key)
            if node is None:
                node = _nodes[key] = (kind or Expr)(op, args, value)
    return node


def _binary(op: str, a: Any, b: Any) -> Any:
    try:
        return make(op, as_expr(a), as_expr(b))
    except TypeError:
        return NotImplemented


def _logic(op: str, a: Any, b: Any) -> Any:
    try:
        a, b = as_expr(a), as_expr(b)
    except TypeError:
        return NotImplemented
    return make(op, a, b) if a.is_boolean and b.is_boolean else NotImplemented
