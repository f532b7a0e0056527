r"""Proximal gradient descent on f + g: the proximal Langevin step without its noise.

.. math:: x' = \operatorname{prox}_{h g}\big(x + h\, s_f(x)\big), \qquad p \propto e^{-f-g}
"""

from ...trace import as_expr
from .base import Method, Move, Point, stable_gradient


def step(at: Point) -> Move:
    score = at.density.smooth_score(at.x)
    inside = tuple(as_expr(x + at.h * s) for x, s in zip(at.x, score, strict=True))
    return Move(tuple(map(as_expr, at.density.prox(inside, at.h))))


PROXIMAL_GRADIENT = Method(
    name="proximal-gradient",
    step=step,
    needs=("smooth_score", "prox"),
    bias_order=0.0,
    normals=lambda dim: 0,
    stable_parts=stable_gradient,
    reference="Lions and Mercier, SIAM Journal on Numerical Analysis 16, 1979; Beck and Teboulle, SIIMS 2, 2009",
)
