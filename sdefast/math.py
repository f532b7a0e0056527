"""Elementary functions for the coefficients of SDEs, targets and observables; they also work on numbers and arrays.

In a function that is compiled, a call becomes the vector instructions that it also runs here, whose results have the
same bits on every machine. float32 arrays stay float32, everything else is computed in float64; arguments are
broadcast, and numbers give a Python float. The first use of a function compiles it (0.1 s).

The largest errors in units in the last place of the exact result, in float32 over all arguments:

========== ======== ======== ========================================================================
function   float32  float64
========== ======== ======== ========================================================================
exp        0.9      0.9
expm1      1.5      1.9
log        2.3      4.2
log1p      1.6      2.0
sqrt       0.5      0.5
pow        E        E        E = 1.1 + 0.09 times the size of b log(a)
sin, cos   2.0      2.1      up to 1e5 in float32 and 1e12 in float64; beyond, something from -1 to 1
tan        2.3      2.3      up to 1e5 in float32 and 1e12 in float64; far beyond, 0
sinh       2.2      2.5
cosh       1.5      1.5
tanh       2.5      2.6
atan       2.6      2.5
asin, acos 3.8      3.4
atan2      3.0      2.9
hypot      1.3      1.3
log2       0.6      0.6
log10      0.6      0.6
erf        1.8      1.9
========== ======== ======== ========================================================================

In `ceil`, `floor`, `round`, `sign`, `where` and `clip` nothing is rounded. `logsumexp` and `softmax` are made of these
and know their derivatives; `sum` adds up a function of every row of data.

Where the result is subnormal, it is right to two of the smallest numbers. NaN gives NaN, but ``pow(x, 0)`` and
``pow(1, x)`` are 1. Infinities give limits where there are any; ``pow(-1, inf)`` is NaN.

>>> from sdefast import math
>>> math.exp(0.0), math.max(2.0, -3.0)
(1.0, 2.0)
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .checks import refuse_loss as _refuse_loss

__all__ = [
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "ceil",
    "clip",
    "cos",
    "cosh",
    "dot",
    "e",
    "erf",
    "exp",
    "expm1",
    "floor",
    "hypot",
    "inf",
    "log",
    "log1p",
    "log2",
    "log10",
    "logsumexp",
    "max",
    "min",
    "nan",
    "pi",
    "pow",
    "round",
    "sign",
    "sin",
    "sinh",
    "softmax",
    "sqrt",
    "sum",
    "tan",
    "tanh",
    "where",
]


def __dir__() -> list[str]:
    return __all__


pi, e, inf, nan = _math.pi, _math.e, _math.inf, _math.nan


def _call(name: str, *args: Any) -> Any:
    """The traced operation if an argument is traced, else its value."""
    for x in args:
        if hasattr(x, "__sdefast_trace__"):
            return x.__sdefast_trace__(name, *args)
    return _evaluate(name, *args)


def _composed(name: str, of_arrays: Callable[..., Any], *args: Any) -> Any:
    """A function of whole numbers and selections, in which nothing is rounded: traced, else by numpy."""
    for x in args:
        if hasattr(x, "__sdefast_trace__"):
            return x.__sdefast_trace__(name, *args)
    given = [np.asarray(x) if name == "where" and i == 0 else _real_array(name, x) for i, x in enumerate(args)]
    dtype = np.float32 if np.result_type(*given[name == "where" :]) == np.float32 else np.float64
    out = np.asarray(of_arrays(*given)).astype(dtype)
    return out if out.ndim else float(out)


def _evaluate(name: str, *args: Any) -> Any:
    # Python's own numbers take the type of the arrays, as in numpy.
    given = [x if type(x) in (int, float) else _real_array(name, x) for x in args]
    dtype = np.dtype(np.float32 if np.result_type(*given) == np.float32 else np.float64)
    arrays = np.broadcast_arrays(*(_real_array(name, x, dtype) for x in given))
    out = np.empty(arrays[0].shape, dtype)
    # ravel copies what is not contiguous
    _loop(name, dtype.name, len(args))(*(np.require(x, requirements=["C", "A"]).ravel() for x in arrays), out.ravel())
    return out if out.ndim else float(out)


def _real_array(name: str, x: Any, dtype: np.dtype | None = None) -> np.ndarray:
    _refuse_loss(name, x)
    try:
        given = np.asarray(x)
    except ValueError:  # ragged
        given = np.asarray(None)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"{name} takes real numbers and arrays of them, got {x!r}")
    with np.errstate(over="ignore"):
        return given if dtype is None else given.astype(dtype, copy=False)


@cache
def _loop(name: str, dtype: str, count: int) -> Callable[..., None]:
    """The compiled loop over contiguous arrays, the last of which gets the values."""
    from ctypes import CFUNCTYPE, c_int64, c_void_p

    from .jit.compile import function

    names = [f"x{i}" for i in range(count)]
    call = f"{name}_({', '.join(f'{x}[i]' for x in names)})"
    source = f"def kernel(n, {', '.join(names)}, out):\n    for i in range(n):\n        out[i] = {call}\n"
    compiled = function(source, ("int64", *[f"{dtype}*"] * (count + 1)), dtype)
    run = CFUNCTYPE(None, c_int64, *[c_void_p] * (count + 1))(compiled.address)

    def loop(*arrays: np.ndarray) -> None:
        run(arrays[-1].size, *(array.ctypes.data for array in arrays))

    return loop


def exp(x: Any) -> Any:
    """e to the power of x.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> exp(0.0)
    1.0
    """
    return _call("exp", x)


def expm1(x: Any) -> Any:
    """``exp(x) - 1``, accurate near 0.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> expm1(1e-20)
    1e-20
    """
    return _call("expm1", x)


def log(x: Any) -> Any:
    """The natural logarithm: -inf at 0, NaN for negative numbers.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> log(1.0)
    0.0
    """
    return _call("log", x)


def log1p(x: Any) -> Any:
    """``log(1 + x)``, accurate near 0: -inf at -1, NaN below.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> log1p(1e-20)
    1e-20
    """
    return _call("log1p", x)


def log2(x: Any) -> Any:
    """The logarithm to base 2, exact for its powers: -inf at 0, NaN for negative numbers.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> log2(8.0)
    3.0
    """
    return _call("log2", x)


def log10(x: Any) -> Any:
    """The logarithm to base 10: -inf at 0, NaN for negative numbers.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> log10(1000.0)
    3.0
    """
    return _call("log10", x)


def sqrt(x: Any) -> Any:
    """The square root, correctly rounded; NaN for negative numbers.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> sqrt(9.0)
    3.0
    """
    return _call("sqrt", x)


def sin(x: Any) -> Any:
    """The sine of x radians.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> sin(0.0)
    0.0
    """
    return _call("sin", x)


def cos(x: Any) -> Any:
    """The cosine of x radians.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> cos(0.0)
    1.0
    """
    return _call("cos", x)


def tan(x: Any) -> Any:
    """The tangent of x radians.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> tan(0.0)
    0.0
    """
    return _call("tan", x)


def sinh(x: Any) -> Any:
    """The hyperbolic sine.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> sinh(0.0)
    0.0
    """
    return _call("sinh", x)


def cosh(x: Any) -> Any:
    """The hyperbolic cosine.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> cosh(0.0)
    1.0
    """
    return _call("cosh", x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> tanh(50.0)
    1.0
    """
    return _call("tanh", x)


def atan(x: Any) -> Any:
    """The arc tangent, between -pi/2 and pi/2.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> atan(inf) == pi / 2
    True
    """
    return _call("atan", x)


def asin(x: Any) -> Any:
    """The arc sine, between -pi/2 and pi/2; NaN outside [-1, 1].

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> asin(1.0)
    1.5707963267948966
    """
    return _call("asin", x)


def acos(x: Any) -> Any:
    """The arc cosine, between 0 and pi; NaN outside [-1, 1].

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> acos(1.0)
    0.0
    """
    return _call("acos", x)


def atan2(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), between -pi and pi.

    Parameters
    ----------
    y, x : float, array_like or traced expression
        The coordinates.

    Returns
    -------
    float, array or traced expression
        As the arguments are.

    Examples
    --------
    >>> atan2(1.0, -1.0)
    2.356194490192345
    """
    return _call("atan2", y, x)


def hypot(a: Any, b: Any) -> Any:
    """The length of the vector (a, b), without overflow on the way.

    Parameters
    ----------
    a, b : float, array_like or traced expression
        The components.

    Returns
    -------
    float, array or traced expression
        As the arguments are.

    Examples
    --------
    >>> hypot(3.0, 4.0)
    5.0
    """
    return _call("hypot", a, b)


def erf(x: Any) -> Any:
    """The error function, twice the integral of ``exp(-t**2)`` from 0 to x over the square root of pi.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> erf(0.0)
    0.0
    """
    return _call("erf", x)


def abs(x: Any) -> Any:
    """The size of a number.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> abs(-2.0)
    2.0
    """
    return _call("abs", x)


def floor(x: Any) -> Any:
    """The largest integer that is not larger, as a float.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> floor(-1.5)
    -2.0
    """
    return _call("floor", x)


def ceil(x: Any) -> Any:
    """The smallest integer that is not smaller, as a float.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> ceil(-1.5)
    -1.0
    """
    return _composed("ceil", np.ceil, x)


def round(x: Any) -> Any:
    """The nearest integer, of two the even one, as a float.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> round(2.5)
    2.0
    """
    return _composed("round", np.rint, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN of NaN.

    Parameters
    ----------
    x : float, array_like or traced expression
        The argument.

    Returns
    -------
    float, array or traced expression
        As the argument is.

    Examples
    --------
    >>> sign(-3.0)
    -1.0
    """
    return _composed("sign", np.sign, x)


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``; both are computed.

    Parameters
    ----------
    condition : bool, array_like or traced condition
        What decides.
    a, b : float, array_like or traced expression
        The values.

    Returns
    -------
    float, array or traced expression
        As the arguments are.

    Examples
    --------
    >>> where(1.0 < 2.0, 3.0, 4.0)
    3.0
    """
    return _composed("where", np.where, condition, a, b)


def clip(x: Any, low: Any, high: Any) -> Any:
    """The number between ``low`` and ``high`` that is nearest to ``x``; NaN stays.

    Parameters
    ----------
    x, low, high : float, array_like or traced expression
        The argument and its bounds.

    Returns
    -------
    float, array or traced expression
        As the arguments are.

    Examples
    --------
    >>> clip(5.0, 0.0, 1.0)
    1.0
    """
    return _composed("clip", np.clip, x, low, high)


def pow(a: Any, b: Any) -> Any:
    """a to the power of b, with the special cases of IEEE 754; NaN if a is negative and b no integer.

    Parameters
    ----------
    a, b : float, array_like or traced expression
        The base and the exponent.

    Returns
    -------
    float, array or traced expression
        As the arguments are.

    Examples
    --------
    >>> pow(-2.0, 3)
    -8.0
    """
    return _call("pow", a, b)


def min(a: Any, b: Any) -> Any:
    """The smaller number, NaN if one of them is NaN.

    Parameters
    ----------
    a, b : float, array_like or traced expression
        The numbers.

    Returns
    -------
    float, array or traced expression
        As the arguments are.

    Examples
    --------
    >>> min(1.0, -2.0)
    -2.0
    """
    return _call("min", a, b)


def max(a: Any, b: Any) -> Any:
    """The larger number, NaN if one of them is NaN.

    Parameters
    ----------
    a, b : float, array_like or traced expression
        The numbers.

    Returns
    -------
    float, array or traced expression
        As the arguments are.

    Examples
    --------
    >>> max(1.0, nan)
    nan
    """
    return _call("max", a, b)


# Sums over data -------------------------------------------------------------------------------------------------------


def sum(function: Callable[..., Any], *tables: Any) -> Any:
    """The sum of ``function(row)`` over the rows of a table: a likelihood of data, say.

    In a function that is compiled this is a loop over the rows, however many there are, and derivatives are such loops
    too: all sums over a table that a step needs are computed in one. Inner products of a row and the state,
    `dot`, may be as long as some hundred numbers. The numbers of tables reach a kernel in the type of the state; what
    is computed from a row alone is so in float64 before. Terms are added up four at a time, in an order that depends on
    nothing but their number; sums of many thousand terms are for float64. On a GPU
    they have the same bits.

    Parameters
    ----------
    function : callable
        Scalar code for one row, or for a row of each table, that uses state and parameters from around it. It returns a
        number or a tuple of numbers. A row of a table of one dimension is a number, of two dimensions a tuple.
    *tables : array_like, mapping, structured array or data frame
        Numbers, as many rows in each table. Of tables with names (a mapping has arrays of one length by their names)
        a row is a named tuple: ``row.age``.

    Returns
    -------
    float, traced expression or tuple of them
        The sum, or one for every number that the function returns.

    Examples
    --------
    The log density of a logistic regression with a normal prior, for responses of -1 and 1:

    >>> import numpy as np
    >>> import sdefast as sf
    >>> X, y = np.array([[1.0, 0.5], [1.0, -1.5], [1.0, 2.0]]), np.array([1.0, -1.0, 1.0])
    >>> def log_density(theta):
    ...     prior = -0.5 * sf.math.dot(theta, theta)
    ...     return prior - sf.math.sum(lambda x, y: sf.math.logsumexp((0.0, -y * sf.math.dot(x, theta))), X, y)
    >>> abs(log_density((0.0, 0.0)) + 3 * log(2.0)) < 1e-12
    True
    """
    from .trace import sum_over

    return sum_over(function, tables)


def dot(a: Any, b: Any) -> Any:
    """The inner product ``a[0] * b[0] + a[1] * b[1] + ...``.

    Parameters
    ----------
    a, b : sequence of float, array_like or traced expression
        As many of each.

    Returns
    -------
    float, array or traced expression
        As the numbers are.

    Examples
    --------
    >>> dot((1.0, 2.0), (3.0, 4.0))
    11.0
    """
    a, b = list(a), list(b)
    if len(a) != len(b):
        raise ValueError(f"dot takes as many numbers of each, got {len(a)} and {len(b)}")
    total: Any = 0.0
    for x, y in zip(a, b, strict=True):
        total = total + x * y
    return total


# Weights in logarithms -----------------------------------------------------------------------------------------------

#: Where a logarithm of a weight, relative to the largest, is cut off: e^-60 = 9e-27 is nothing beside 1 in float64, and
#: what is far below makes subnormal numbers, which cost a hundred instructions each.
_SMALLEST = -60.0

#: What stands in for the logarithm of nothing at all, in float32 too.
_NOTHING = -1e38


def logsumexp(values: Any) -> Any:
    """``log(exp(v_0) + exp(v_1) + ...)`` without overflow: the logarithm of a sum of weights from their logarithms.

    A weight of less than e^-60 of the largest counts as so much, unless it is -inf from the start: that is a weight of
    0. The derivatives are those of `softmax`. In compiled code the result is -1e38 where all values have become -inf;
    errors are a few units in the last place of the largest value, of the result or of 1, whichever is most.

    Parameters
    ----------
    values : sequence of float, array_like or traced expression
        The logarithms; arrays are taken element by element.

    Returns
    -------
    float, array or traced expression
        As the values are.

    Examples
    --------
    >>> abs(logsumexp((1000.0, 1000.0)) - 1000.0 - log(2.0)) < 1e-12
    True

    A mixture of two normal densities, up to a constant:

    >>> import sdefast as sf
    >>> log_density = lambda x: sf.math.logsumexp((-0.5 * (x[0] + 3) ** 2, -0.5 * (x[0] - 3) ** 2))
    >>> abs(log_density((3.0,))) < 1e-6
    True
    """
    shift, _, total = _weights("logsumexp", values)
    result = shift + log(total)
    return result if _is_traced(result) else _number_or_array(np.where(np.isfinite(shift), result, shift))


def softmax(values: Any) -> tuple[Any, ...]:
    """``exp(v_i) / (exp(v_0) + exp(v_1) + ...)`` without overflow: shares of weights from their logarithms.

    They are cut off as in `logsumexp`, of which they are the derivatives. A share is off by some 2 units in the last
    place and half of one for every unit of its logarithm.

    Parameters
    ----------
    values : sequence of float, array_like or traced expression
        The logarithms; arrays are taken element by element.

    Returns
    -------
    tuple of float, array or traced expression
        As many as there are values.

    Examples
    --------
    >>> softmax((1000.0, 1000.0))
    (0.5, 0.5)
    """
    shift, weights, total = _weights("softmax", values)
    if _is_traced(total):
        return tuple(weight / total for weight in weights)
    total = np.where(np.isfinite(shift), total, nan)
    return tuple(_number_or_array(weight / total) for weight in weights)


def _weights(name: str, values: Any) -> tuple[Any, list[Any], Any]:
    """A shift of the logarithms, the weights after it, and their sum."""
    logs = list(values)
    if not logs:
        raise ValueError(f"{name} takes at least one value, got none")
    if not any(map(_is_traced, logs)):
        return _weights_of_numbers(_stacked(name, logs))
    from .trace import as_expr, held, raised

    logs = list(map(as_expr, logs))
    shift = held(_fold(max, [*logs, _NOTHING]))
    weights = [0.0 if v.is_constant(-inf) else exp(raised(as_expr(v - shift), _SMALLEST)) for v in logs]
    return shift, weights, _fold(lambda a, b: a + b, weights)


def _weights_of_numbers(logs: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    shift = logs.max(axis=0)
    with np.errstate(invalid="ignore"):
        relative = np.maximum(logs - np.where(np.isfinite(shift), shift, 0), logs.dtype.type(_SMALLEST))
    weights = list(np.where(logs == -inf, 0, exp(relative)).astype(logs.dtype))
    return shift, weights, _fold(np.add, weights)


def _stacked(name: str, values: list[Any]) -> np.ndarray:
    """Numbers and arrays of real numbers as one array, in the type that functions of them have."""
    given = [x if type(x) in (int, float) else _real_array(name, x) for x in values]
    dtype = np.dtype(np.float32 if np.result_type(*given) == np.float32 else np.float64)
    return np.stack(np.broadcast_arrays(*(_real_array(name, x, dtype) for x in given)))


def _number_or_array(x: np.ndarray) -> Any:
    return x if x.ndim else float(x)


def _is_traced(x: Any) -> bool:
    return hasattr(x, "__sdefast_trace__")


def _fold(operation: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    """All values joined by an operation on two, neighbours first."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [operation(a, b) for a, b in pairs] + values[len(values) // 2 * 2 :]
    return values[0]
