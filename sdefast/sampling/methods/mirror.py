r"""Mirror Langevin: steps in the dual of a convex map, in which the state cannot leave its domain.

.. math:: y' = y + h\, s(x) + \sqrt{2 T h}\, [\nabla^2 \phi(x)]^{1/2} z, \qquad x' = \nabla \phi^*(y')

``mirror`` takes the hypentropy :math:`\phi(x) = \sum_i x_i \operatorname{arcsinh}(x_i / b) - \sqrt{x_i^2 + b^2}` of
width b = ``beta``, with :math:`x = b \sinh y` and second derivatives :math:`1 / \sqrt{x^2 + b^2}`;
``mirror-simplex`` the negative entropy on the simplex, with :math:`x = \operatorname{softmax}(y)` and :math:`1 / x`,
for densities with respect to the first dim - 1 components that are written in all dim.

Biased: on N(0, 1) with b = 1 by about .8 h. And a hypentropy step overshoots once :math:`|x| > 2 / (h P)`, from where
:math:`b \sinh y` grows exponentially: paths are lost at a steady rate unless that is 15 standard deviations or more
away. On the simplex a step near the border may be thrown into a corner, from where noise of the size of
:math:`x^{-1/2}` lets it go nowhere: chains one of whose components falls below e^-60 of another are lost, and counted,
on Beta(3, 5) 1 of 1000 in 100 steps of h = .02, hardly one of a million of h = .002.
"""

import functools
import math

from ...math import softmax
from ...trace import Expr, as_expr, make, maximum, minimum, select
from ..targets.density import Vector
from .base import Method, Move, Point

#: Logarithms of ratios of components beyond which `softmax` does not tell them apart.
_FURTHEST = 60.0


def begin(at: Point) -> Vector:
    b = at.options["beta"]
    return tuple(_arcsinh(as_expr(x / b)) for x in at.x)


def _arcsinh(r: Expr) -> Expr:
    """Of numbers of either sign, to the last digits."""
    size = make("abs", r)
    magnitude = make("log", as_expr(size + make("sqrt", as_expr(size * size + 1))))
    return as_expr(select(r < 0, -magnitude, magnitude))


def step(at: Point) -> Move:
    b, s = at.options["beta"], at.density.score(at.x)
    new = []
    for x, y, si, z in zip(at.x, at.carried, s, at.z, strict=True):
        spread = 1 / make("sqrt", make("sqrt", as_expr(x * x + b * b)))
        new.append(as_expr(y + at.h * si + at.noise * spread * z))
    return Move(tuple(as_expr(b * make("sinh", y)) for y in new), tuple(new))


def begin_simplex(at: Point) -> Vector:
    return tuple(make("log", x) for x in at.x)


def step_simplex(at: Point) -> Move:
    s = at.density.score(at.x)
    new = tuple(
        as_expr(y + at.h * si + at.noise / make("sqrt", x) * z)
        for x, y, si, z in zip(at.x, at.carried, s, at.z, strict=True)
    )
    far = functools.reduce(maximum, new) - functools.reduce(minimum, new) > _FURTHEST
    return Move(tuple(as_expr(select(far, math.nan, x)) for x in softmax(new)), new)


_REFERENCE = "Hsieh, Kavis, Rolland and Cevher, NeurIPS 2018; Zhang, Peyre, Fadili and Pereyra, COLT 2020"

MIRROR = Method(
    name="mirror",
    step=step,
    needs=("score",),
    bias_order=1.0,
    begin=begin,
    options={"beta": 1.0},
    reference=_REFERENCE,
)

MIRROR_SIMPLEX = Method(
    name="mirror-simplex",
    step=step_simplex,
    needs=("score",),
    bias_order=1.0,
    begin=begin_simplex,
    reference=_REFERENCE,
)
