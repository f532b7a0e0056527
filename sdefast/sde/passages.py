r"""When a path passes a level within a step: exactly so where it is a Brownian bridge between its ends.

A bridge of length h and variance v that goes up by x on the whole goes up to a maximum and then down, by
:math:`\sqrt{x^2 - 2 v \log U}` in all: d up and e down. It touches a level if the maximum is no nearer. The time s of
the maximum has the density of a first passage at d after s, and of one at e after h - s in the time that runs
backwards; in :math:`u = s / (h - s)`

.. math:: p(u) \propto u^{-3/2} (1 + u) \exp\Big(-\frac{d^2 / u + e^2 u}{2 v}\Big),

a mixture of an inverse Gaussian variable of mean d/e and shape d^2/v and of one whose reciprocal is such. On its way to
the maximum the path passes a level at the distance a < d after a time of the same law with a and d - a in place of d
and e, and v s / h of v. So levels are passed in their order, at times of which each has the law that it has alone.

Both are drawn after Michael, Schucany and Haas, Generating random variates using transformations with multiple roots,
The American Statistician 30, 1976, in a form without the mean, which may be infinite; without noise it is the point at
which a straight line passes. Maximum: Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 6.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..trace import Expr, as_expr, make, maximum, select

#: Uniforms from which the time is drawn.
N_UNIFORMS = 4


def reach(distance: Any, variance: Any, u: Any) -> Expr:
    """How far a bridge over that distance goes up and down in all, or down and up."""
    return make("sqrt", as_expr(distance * distance - 2.0 * variance * make("log", as_expr(u))))


def touches(old: Any, end: Any, variance: Any, u: Any) -> Expr:
    """Whether a bridge between numbers relative to the level touches it: it gets there, and from there to its end."""
    return as_expr(abs(old) + abs(end) <= reach(end - old, variance, u))


def share_of_step(old: Any, end: Any, variance: Any, u: Any, when: Sequence[Any]) -> Expr:
    """The part of the step after which a bridge that touches the level does so first.

    ``u`` is the uniform of `touches`, ``when`` are those from which the time is drawn.
    """
    ahead = as_expr(abs(old))
    if as_expr(variance).is_constant(0):
        return as_expr(select(ahead > 0, ahead / (ahead + abs(end)), 0.0))
    toward, both = select(old < 0, end - old, old - end), reach(end - old, variance, u)
    there, back = 0.5 * (both + toward), maximum(0.5 * (both - toward), 0.0)
    first, second = normals(when[:2])
    top = _arrival(there, back, variance, first, when[2])
    return as_expr(top * _arrival(ahead, maximum(there - ahead, 0.0), variance * top, second, when[3]))


def _arrival(d: Any, e: Any, variance: Any, normal: Any, u: Any) -> Expr:
    """The part of the time after which a path is at the end of its way d up, from which it is e further."""
    p, q = d / (d + e), e / (d + e)
    scaled = normal / (d + e)
    y, c = variance * scaled * scaled, p * q
    r = 2.0 * c + y + make("sqrt", as_expr(y * (y + 4.0 * c)))
    sooner, later = 2.0 * p * p / (r + 2.0 * p * p), r / (r + 2.0 * q * q)
    return as_expr(select(d > 0, select(u * (r + 2.0 * c) <= q * (r + 2.0 * p * p), sooner, later), 0.0))


def normals(u: Sequence[Any]) -> list[Expr]:
    """Standard normals from an even number of uniforms, by the method of Box and Muller."""
    found = []
    for first, second in zip(u[::2], u[1::2], strict=True):
        length, angle = make("sqrt", as_expr(-2.0 * make("log", first))), as_expr(2.0 * math.pi * second)
        found += [as_expr(length * make("cos", angle)), as_expr(length * make("sin", angle))]
    return found
