r"""The proximal Langevin step: a gradient step on the smooth part with noise, then the other part's proximal map.

.. math:: x' = \operatorname{prox}_{h g}\big(x + h\, s_f(x) + \sqrt{2 T h}\; z\big), \qquad p \propto e^{-f-g}

The map's scale is the step size: with a fixed one the variance would go to 0 with the step. For quadratics f x^2 / 2
and k x^2 / 2 the variance is :math:`1 / ((f + k)(1 + \tfrac h2 (k - f)))`.
"""

from ...trace import as_expr
from .base import Method, Move, Point, stable_gradient


def step(at: Point) -> Move:
    s = at.density.smooth_score(at.x)
    inside = tuple(as_expr(x + at.h * si + at.noise * z) for x, si, z in zip(at.x, s, at.z, strict=True))
    return Move(tuple(map(as_expr, at.density.prox(inside, at.h))))


PROXIMAL = Method(
    name="proximal",
    step=step,
    needs=("smooth_score", "prox"),
    bias_order=1.0,
    stable_parts=stable_gradient,
    reference="Bernton, COLT 2018; Salim, Kovalev and Richtarik, NeurIPS 2019",
)
