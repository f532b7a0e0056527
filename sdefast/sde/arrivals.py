"""How many jumps a step has, and uniforms for their sizes: the inversion of one uniform, in numbers and in symbols."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..run.records import register
from ..trace import Expr, as_expr, constant, make, select
from .schemes.equation import Vector

#: How many jumps a kernel is written for in one step; means that need more are refused.
WRITTEN_FOR = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64)


#: From how many jumps in a step on, on average, it is faster to compute them for all paths than for those that jump.
OFTEN = 1 / 8

#: From which bit on what a uniform of float64 says is taken for a uniform of its own.
_BITS = 37

#: Bits of a uniform of float32.
_SHORT_BITS = 23


@register
class Written(NamedTuple):
    """What a step with jumps is written for: how many in one step, and whether uniforms are ``short``, of 23 bits.

    Jumps that come ``often`` are computed for all paths. Short uniforms may come as ``words``, whose other 9 bits
    do what would take a uniform of their own.
    """

    most: int
    short: bool
    often: bool
    words: bool = False


class Arrivals(NamedTuple):
    """Jumps of a step that ends at ``t``: their number ``n`` >= 1, up to ``most``, and a ``pair`` of uniforms.

    Of the first uniform of the pair there may be few values, evenly spaced: 512 if it is ``coarse``.
    """

    t: Expr
    parameters: Any
    n: Expr
    pair: tuple[Expr, Expr]
    most: int
    coarse: bool = False


def probabilities(means: np.ndarray, most: int) -> np.ndarray:
    """P(N >= 1), ..., P(N >= most) of Poisson laws, of shape (n, most), each with all its digits."""
    k = np.arange(1, most + 80)
    log_factorials = np.cumsum(np.log(k))
    with np.errstate(divide="ignore"):
        terms = np.exp(k * np.log(means)[:, None] - means[:, None] - log_factorials)
    return np.ascontiguousarray(np.cumsum(terms[:, ::-1], axis=1)[:, ::-1][:, :most])


def probabilities_of(mean: Expr, most: int) -> Vector:
    """The same of a mean that is an expression, smallest first so that they keep their digits."""
    terms = [as_expr(mean * make("exp", -mean))]
    for k in range(2, most + 1):
        terms.append(as_expr(terms[-1] * (mean * (1 / k))))
    tails = [terms[-1]]
    for term in reversed(terms[:-1]):
        tails.append(as_expr(tails[-1] + term))
    return tuple(reversed(tails))


def counted(t: Expr, parameters: Any, uniforms: Vector, tails: Vector, rest: Expr | None = None) -> Arrivals:
    """The number of jumps by inversion, and where the uniform lies among those that give this number.

    There is a second uniform, or the ``rest`` of its word, where the first one has too few bits for both.
    """
    u = uniforms[0]
    n, upper, lower = constant(1.0), tails[0], tails[1] if len(tails) > 1 else constant(0.0)
    for k, tail in enumerate(tails[1:], start=2):
        more, further = u < tail, tails[k] if k < len(tails) else constant(0.0)
        n, upper, lower = (as_expr(select(more, *pair)) for pair in ((float(k), n), (tail, upper), (further, lower)))
    fine = u if rest is None else as_expr(u + (rest - 0.5) * 2.0**-_SHORT_BITS)
    share = as_expr((fine - lower) / (upper - lower))
    if rest is not None:  # a border between two numbers may lie within the last bit of the uniform
        share = make("min", make("abs", share), constant(1.0))
    share = make("max", share, constant(2.0**-60))  # a uniform may lie on the border between two numbers
    if rest is not None:
        return Arrivals(t, parameters, n, (rest, share), len(tails), coarse=True)
    return Arrivals(t, parameters, n, (share, uniforms[1]) if len(uniforms) > 1 else (_last_bits(u), share), len(tails))


def _last_bits(u: Expr) -> Expr:
    """The last bits of a uniform of 53, as a uniform."""
    shifted = as_expr(u * 2.0**_BITS)
    return as_expr(shifted - make("floor", shifted))


def normal(turn: Expr, u: Expr) -> Expr:
    """A standard normal number of two uniforms, by Box and Muller."""
    return as_expr(make("sqrt", as_expr(-2.0 * make("log", u))) * make("cos", as_expr(2 * math.pi * turn)))
