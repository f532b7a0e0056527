r"""A proximal map, a gradient step on the smooth part from there, and noise outside: P-ULA with the parts split.

.. math:: y = \operatorname{prox}_{\lambda g}(x), \qquad x' = y + h\, s_f(y) + \sqrt{2 T h}\; z

lambda is ``smoothing``. For quadratics f x^2 / 2 and k x^2 / 2 the variance is
:math:`2h / (1 - ((1 - hf) / (1 + \lambda k))^2)`, which approaches the target's only for lambda = h.
"""

from ...trace import as_expr
from .base import Method, Move, Point, stable_gradient


def step(at: Point) -> Move:
    near = tuple(map(as_expr, at.density.prox(at.x, at.options["smoothing"])))
    s = at.density.smooth_score(near)
    return Move(tuple(as_expr(y + at.h * si + at.noise * z) for y, si, z in zip(near, s, at.z, strict=True)))


PROXIMAL_OUTSIDE = Method(
    name="proximal-outside",
    step=step,
    needs=("smooth_score", "prox"),
    bias_order=1.0,
    options={"smoothing": None},
    stable_parts=stable_gradient,
    reference="Pereyra, Statistics and Computing 26, 2016; Durmus, Majewski and Miasojedow, JMLR 20, 2019",
)
