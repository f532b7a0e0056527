"""Sums over the rows of data, inner products, and weights from their logarithms."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np

from .calls import real_array
from .exponentials import exp, log

#: Where a logarithm of a weight, relative to the largest, is cut off: e^-60 = 9e-27 is nothing beside 1 in float64, and
#: what is far below makes subnormal numbers, which cost a hundred instructions each.
_SMALLEST = -60.0

#: What stands in for the logarithm of nothing at all, in float32 too.
_NOTHING = -1e38


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
    from ..trace import sum_over

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
    shift, _, total = shifted_weights("logsumexp", values)
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
    shift, weights, total = shifted_weights("softmax", values)
    if _is_traced(total):
        return tuple(weight / total for weight in weights)
    total = np.where(np.isfinite(shift), total, nan)
    return tuple(_number_or_array(weight / total) for weight in weights)


def shifted_weights(name: str, values: Any) -> tuple[Any, list[Any], Any]:
    """A shift of the logarithms, the weights after it, and their sum."""
    logs = list(values)
    if not logs:
        raise ValueError(f"{name} takes at least one value, got none")
    if not any(map(_is_traced, logs)):
        return _weights_of_numbers(_stacked(name, logs))
    from ..trace import as_expr, held, make, raised, select

    logs = list(map(as_expr, logs))
    # (Where one is no number the sum is none, whatever the shift is: so this may pass it over, which `max` may not.)
    shift = held(as_expr(_fold(lambda a, b: select(a > b, a, b), [*logs, _NOTHING])))
    relative = [None if v.is_constant(-inf) else raised(as_expr(v - shift), _SMALLEST) for v in logs]
    weights = [0.0 if v is None else make("exp_moderate", v) for v in relative]  # of -60 to 0
    return shift, weights, _fold(lambda a, b: a + b, weights)


def _weights_of_numbers(logs: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    shift = logs.max(axis=0)
    with np.errstate(invalid="ignore"):
        relative = np.maximum(logs - np.where(np.isfinite(shift), shift, 0), logs.dtype.type(_SMALLEST))
    weights = list(np.where(logs == -inf, 0, exp(relative)).astype(logs.dtype))
    return shift, weights, _fold(np.add, weights)


def _stacked(name: str, values: list[Any]) -> np.ndarray:
    """Numbers and arrays of real numbers as one array, in the type that functions of them have."""
    given = [x if type(x) in (int, float) else real_array(name, x) for x in values]
    dtype = np.dtype(np.float32 if np.result_type(*given) == np.float32 else np.float64)
    return np.stack(np.broadcast_arrays(*(real_array(name, x, dtype) for x in given)))


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
