"""Trigonometric functions and their inverses, the length of a vector."""

from __future__ import annotations

from math import inf, pi  # noqa: F401  of the examples
from typing import Any

from .calls import call


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
    return call("sin", x)


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
    return call("cos", x)


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
    return call("tan", x)


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
    return call("asin", x)


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
    return call("acos", x)


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
    return call("atan", x)


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
    return call("atan2", y, x)


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
    return call("hypot", a, b)
