"""What numpy asks of expressions: its functions on them, on arrays of them, and the methods of an array's elements."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .expression import (
    CALLED,
    Expr,
    as_expr,
    ceil,
    constant,
    make,
    maximum,
    minimum,
    rounded,
    select,
    sign,
    trunc,
)

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

#: numpy's universal functions that are more than one operation
_OTHER_UFUNCS: dict[str, Callable[..., Any]] = {
    "square": lambda x: x * x, "positive": lambda x: x, "reciprocal": lambda x: 1 / x, "sign": sign,
    "greater": operator.gt, "greater_equal": operator.ge, "not_equal": operator.ne,
    "floor_divide": operator.floordiv, "remainder": operator.mod, "divmod": divmod, "ceil": ceil, "trunc": trunc,
    "rint": rounded,
}  # fmt: skip


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


#: numpy's functions that are no universal ones
NUMPY_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where, "clip": _clip, "round": rounded, "around": rounded,
}  # fmt: skip


def _array_ufunc(self: Expr, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
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


def _array_function(self: Expr, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    name = function.__name__
    if name not in NUMPY_FUNCTIONS:
        those = ", ".join(dict.fromkeys((*CALLED, *NUMPY_FUNCTIONS)))
        raise TypeError(f"numpy.{name} cannot be compiled; the functions that can are {those}")
    return NUMPY_FUNCTIONS[name](*args, **kwargs)


Expr.__array_ufunc__ = _array_ufunc  # type: ignore[attr-defined]
Expr.__array_function__ = _array_function  # type: ignore[attr-defined]


def _method(name: str) -> Callable[[Expr], Expr]:
    return lambda self: make(name, self)


# What numpy calls on the elements of an array of objects.
for _numpy_name in (
    "exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "expm1", "log1p", "sinh", "cosh", "log2", "log10",
):  # fmt: skip
    setattr(Expr, _numpy_name, _method(_numpy_name))
for _numpy_name, _own_name in (("arctan", "atan"), ("arcsin", "asin"), ("arccos", "acos"), ("fabs", "abs")):
    setattr(Expr, _numpy_name, _method(_own_name))
for _numpy_name, _composed in (("rint", rounded), ("ceil", ceil), ("trunc", trunc)):
    setattr(Expr, _numpy_name, _composed)
