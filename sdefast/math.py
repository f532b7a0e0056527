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
erf        1.8      1.9
========== ======== ======== ========================================================================

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
    "atan",
    "cos",
    "cosh",
    "e",
    "erf",
    "exp",
    "expm1",
    "floor",
    "inf",
    "log",
    "log1p",
    "max",
    "min",
    "nan",
    "pi",
    "pow",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]

pi, e, inf, nan = _math.pi, _math.e, _math.inf, _math.nan


def _call(name: str, *args: Any) -> Any:
    """The traced operation if an argument is traced, else its value."""
    for x in args:
        if hasattr(x, "__sdefast_trace__"):
            return x.__sdefast_trace__(name, *args)
    return _evaluate(name, *args)


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
    """The compiled loop over arrays of one dimension."""
    import numba

    from .jit.vector_math import library

    f = library(dtype)[name]

    def unary(x: Any, out: Any) -> None:
        for i in range(out.size):
            out[i] = f(x[i])

    def binary(x: Any, y: Any, out: Any) -> None:
        for i in range(out.size):
            out[i] = f(x[i], y[i])

    real = getattr(numba, dtype)
    readable = numba.types.Array(real, 1, "C", readonly=True)
    compiled = numba.njit((*[readable] * count, real[::1]), error_model="numpy", nogil=True)
    loop: Callable[..., None] = compiled(unary if count == 1 else binary)
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
