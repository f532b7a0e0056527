"""Expressions: immutable nodes of arithmetic on real numbers, shared where they are equal.

Arithmetic on an `Expr` builds another one, and equal expressions are one object, so that "the same subexpression" is
"the same object" for the emitter and for derivatives. Arithmetic with constants is done on the way (0 x = 0 even where
x might turn out infinite).
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

#: operations on truth values
_LOGIC = frozenset({"and", "or", "not"})

#: comparisons and logic; every other operation gives a real number
BOOLEAN = frozenset({"lt", "le", "eq"}) | _LOGIC

#: numpy's universal functions by what they are called here
_UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "negative": "neg",
    "power": "pow", "float_power": "pow", "absolute": "abs", "fabs": "abs", "maximum": "max", "minimum": "min",
    "fmax": "max", "fmin": "min", "less": "lt", "less_equal": "le", "equal": "eq", "logical_and": "and",
    "logical_or": "or", "logical_not": "not", "bitwise_and": "and", "bitwise_or": "or", "invert": "not", "exp": "exp",
    "log": "log", "sqrt": "sqrt", "sin": "sin", "cos": "cos", "tan": "tan", "tanh": "tanh", "erf": "erf",
    "floor": "floor", "expm1": "expm1", "log1p": "log1p", "sinh": "sinh", "cosh": "cosh", "arctan": "atan",
    "arcsin": "asin", "arccos": "acos", "arctan2": "atan2", "hypot": "hypot", "log2": "log2", "log10": "log10",
}  # fmt: skip

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
    "not": operator.not_, "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "sin": math.sin, "cos": math.cos,
    "tan": math.tan, "tanh": math.tanh, "erf": math.erf, "expm1": math.expm1, "log1p": math.log1p, "sinh": math.sinh,
    "cosh": math.cosh, "atan": math.atan, "asin": math.asin, "acos": math.acos, "atan2": math.atan2,
    "hypot": math.hypot, "log2": math.log2, "log10": math.log10,
}  # fmt: skip

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

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(map(_is_array, inputs)):
            if method != "__call__" or options:
                return NotImplemented
            return _over_arrays(ufunc, inputs)
        name = ufunc.__name__
        if method != "__call__" or options:
            return NotImplemented
        if name in _OTHER_UFUNCS:
            return _OTHER_UFUNCS[name](*map(as_expr, inputs))
        if name not in _UFUNCS:
            raise TypeError(f"numpy.{name} cannot be compiled; the functions that can are {', '.join(CALLED)}")
        return make(_UFUNCS[name], *(as_expr(i) for i in inputs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        if name not in NUMPY_FUNCTIONS:
            those = ", ".join(dict.fromkeys((*CALLED, *NUMPY_FUNCTIONS)))
            raise TypeError(f"numpy.{name} cannot be compiled; the functions that can are {those}")
        return NUMPY_FUNCTIONS[name](*args, **kwargs)

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


def _is_array(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _where(condition: Any, *values: Any) -> Any:
    if len(values) != 2:
        raise TypeError("numpy.where can be compiled with a condition and two values")
    arrays = any(map(_is_array, (condition, *values)))
    return _over_arrays(select, (condition, *values)) if arrays else select(condition, *values)


def _clip(x: Any, a_min: Any = None, a_max: Any = None, /, *, min: Any = None, max: Any = None, **names: Any) -> Any:
    low, high = names.pop("a_min", a_min), names.pop("a_max", a_max)
    low, high = min if low is None else low, max if high is None else high
    if names or any(map(_is_array, (x, low, high))):
        raise TypeError("numpy.clip can be compiled for a number, a smallest and a largest one")
    x = as_expr(x) if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


def as_expr(value: Any) -> Expr:
    """An expression as it is, a number as a constant."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (int, float, np.number, np.bool_)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return constant(value)
    raise TypeError(f"expected a real number, got {value!r}")


def make(op: str, *args: Expr) -> Expr:
    """The node of an operation, simplified where it has constants."""
    if op in _LOGIC:
        args = tuple(map(_truth, args))
    elif any(a.is_boolean for a in args):
        args = tuple(map(_number, args))
    if all(a.op == "constant" for a in args):
        folded = _fold(op, *(a.value for a in args))
        if folded is not None:
            return constant(folded)
    simpler = _SIMPLIFY[op](*args) if op in _SIMPLIFY else None
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

#: numpy's functions that are no universal ones
NUMPY_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where, "clip": _clip, "round": rounded, "around": rounded,
}  # fmt: skip


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


def _over_arrays(function: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """A function of arrays of expressions and numbers, element by element."""
    boxed = []
    for i in inputs:
        if isinstance(i, Expr):
            box = np.empty((), object)
            box[()] = i
            i = box
        boxed.append(i)
    arrays = np.broadcast_arrays(*boxed)
    out = np.empty(arrays[0].shape, object)
    for index in np.ndindex(*out.shape):
        out[index] = function(*(a[index] if isinstance(a[index], Expr) else constant(a[index]) for a in arrays))
    return out


#: numpy's universal functions that are more than one operation
_OTHER_UFUNCS: dict[str, Callable[..., Any]] = {
    "square": lambda x: x * x, "positive": lambda x: x, "reciprocal": lambda x: 1 / x, "sign": sign,
    "greater": operator.gt, "greater_equal": operator.ge, "not_equal": operator.ne,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "divmod": divmod, "ceil": ceil, "trunc": trunc,
    "rint": rounded,
}  # fmt: skip


def _method(name: str) -> Callable[[Expr], Expr]:
    return lambda self: make(name, self)


# What numpy calls on the elements of an array of objects.
for _numpy_name in (
    "exp",
    "log",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "tanh",
    "expm1",
    "log1p",
    "sinh",
    "cosh",
    "log2",
    "log10",
):
    setattr(Expr, _numpy_name, _method(_numpy_name))
for _numpy_name, _own_name in (("arctan", "atan"), ("arcsin", "asin"), ("arccos", "acos"), ("fabs", "abs")):
    setattr(Expr, _numpy_name, _method(_own_name))
for _numpy_name, _composed in (("rint", rounded), ("ceil", ceil), ("trunc", trunc)):
    setattr(Expr, _numpy_name, _composed)


# Simplification ------------------------------------------------------------------------------------------------------


def _fold(op: str, *values: Any) -> Any:
    if op not in ON_NUMBERS:
        return None
    try:
        result = ON_NUMBERS[op](*values)
    except (ArithmeticError, ValueError):  # left to the run: IEEE says what 1 / 0 is
        return None
    return None if isinstance(result, complex) else result


def _add(a: Expr, b: Expr) -> Expr | None:
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


_SIMPLIFY: dict[str, Callable[..., Expr | None]] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "pow": _pow, "and": _and, "or": _or, "not": _not,
    "min": _same, "max": _same,
}  # fmt: skip


# Walking -------------------------------------------------------------------------------------------------------------


def inside_out(expr: Expr, known: Mapping[Expr, Any]) -> Iterator[Expr]:
    """What an expression is made of, every part after its own parts, however deep; what is ``known`` is left out."""
    todo = [expr]
    while todo:
        e = todo[-1]
        missing = [] if e in known else [a for a in e.args if a not in known]
        if missing:
            todo += missing
            continue
        todo.pop()
        if e not in known:
            yield e


def all_parts(outputs: Iterable[Expr]) -> list[Expr]:
    """All that expressions are made of, themselves too: every part once and after its own parts."""
    seen: dict[Expr, bool] = {}
    for output in outputs:
        for part in inside_out(output, seen):
            seen[part] = True
    return list(seen)


@lru_cache(maxsize=256)
def symbols_in(outputs: tuple[Expr, ...]) -> frozenset[str]:
    """Names of the symbols in expressions."""
    return frozenset(part.value for part in all_parts(outputs) if part.op == "symbol")


# Derivatives ---------------------------------------------------------------------------------------------------------


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


def depends_on(expr: Expr, symbols: Sequence[Expr]) -> bool:
    """Whether any of the symbols occurs in an expression."""
    wanted = set(map(id, symbols))
    return any(id(part) in wanted for part in all_parts([expr]))
