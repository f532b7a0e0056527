"""Whole numbers, signs, the smaller and the larger, choices: functions in which nothing is rounded."""

from __future__ import annotations

from math import nan  # noqa: F401  of an example
from typing import Any

import numpy as np

from .calls import call, composed


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
    return call("abs", x)


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
    return call("floor", x)


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
    return composed("ceil", np.ceil, x)


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
    return composed("round", np.rint, x)


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
    return composed("sign", np.sign, x)


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
    return composed("where", np.where, condition, a, b)


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
    return composed("clip", np.clip, x, low, high)


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
    return call("min", a, b)


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
    return call("max", a, b)
