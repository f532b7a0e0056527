"""Powers, exponentials and logarithms, hyperbolic functions, the error function."""

from __future__ import annotations

from typing import Any

from .calls import call


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
    return call("exp", x)


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
    return call("expm1", x)


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
    return call("log", x)


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
    return call("log1p", x)


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
    return call("log2", x)


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
    return call("log10", x)


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
    return call("sqrt", x)


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
    return call("pow", a, b)


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
    return call("sinh", x)


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
    return call("cosh", x)


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
    return call("tanh", x)


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
    return call("erf", x)
