r"""When a path passes a level within a step: exactly so where it is a Brownian bridge between its ends.

With d and e the distances of the ends of a step of length h from the level, on whatever side, and v the variance of the
step, the bridge touches the level with probability 1 if they lie on different sides and exp(-2 d e / v) otherwise.
Given that it does, :math:`u = s / (h - s)` for its first passage s is inverse Gaussian,

.. math:: p(u) \propto u^{-3/2} \exp\Big(-\frac{d^2 / u + e^2 u}{2 v}\Big),

of mean d/e and shape d^2/v: the density of a first passage at s times that of the way from the level to the end in
h - s, with s = h u / (1 + u). It is drawn after Michael, Schucany and Haas, Generating random variates using
transformations with multiple roots, The American Statistician 30, 1976, in a form without the mean, which is infinite
where the path ends at the level; without noise it is the point at which a straight line passes.
"""

from __future__ import annotations

import math
from typing import Any

from ..trace import Expr, as_expr, make, select

#: Uniforms from which the time is drawn.
N_UNIFORMS = 3


def touches(old: Any, end: Any, variance: Any, u: Any) -> Expr:
    """Whether a bridge from ``old`` to ``end``, relative to the level, touches it.

    The path goes up to its maximum and then down, or down to its minimum: by `reach` in all, as extremes have it that
    see the same uniform. It gets to the level if that is enough to get there and from there to its end.
    """
    distance = end - old
    reach = make("sqrt", as_expr(distance * distance - 2.0 * variance * make("log", u)))
    return as_expr(abs(old) + abs(end) <= reach)


def share_of_step(old: Any, end: Any, variance: Any, u: Any) -> Expr:
    """The part of the step that a bridge which touches the level takes to do so first, from three uniforms."""
    total = abs(old) + abs(end)
    d, e = abs(old) / total, abs(end) / total
    if as_expr(variance).is_constant(0):
        return as_expr(select(d > 0, d, 0.0))
    normal = make("sqrt", as_expr(-2.0 * make("log", u[0]))) * make("cos", as_expr(2.0 * math.pi * u[1]))
    y, c = variance / total / total * normal * normal, d * e
    r = 2.0 * c + y + make("sqrt", as_expr(y * (y + 4.0 * c)))
    sooner, later = 2.0 * d * d / (r + 2.0 * d * d), r / (r + 2.0 * e * e)
    return as_expr(select(d > 0, select(u[2] * (r + 2.0 * c) <= r, sooner, later), 0.0))


def normals(u: Any) -> list[Expr]:
    """Standard normals from an even number of uniforms, by the method of Box and Muller."""
    found = []
    for first, second in zip(u[::2], u[1::2], strict=True):
        length, angle = make("sqrt", as_expr(-2.0 * make("log", first))), as_expr(2.0 * math.pi * second)
        found += [as_expr(length * make("cos", angle)), as_expr(length * make("sin", angle))]
    return found
