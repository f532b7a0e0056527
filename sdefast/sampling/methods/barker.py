r"""Barker's proposal: every component's increment turned the way that the score points, then accepted or rejected.

With :math:`w = \sigma z`, :math:`\sigma = \sqrt{2 T h}`, component i moves by :math:`+w_i` with probability
:math:`1 / (1 + e^{-w_i s_i(x) / T})`, else by :math:`-w_i`. A score far too large bends the proposal and never throws
it far, so that the step may be chosen roughly. With d = y - x the logarithm of the ratio is

.. math::

    \frac{\log p(y) - \log p(x)}T
    + \sum_i \log \frac{1 + e^{-d_i s_i(x) / T}}{1 + e^{d_i s_i(y) / T}} .
"""

import math

from ...trace import Expr, as_expr, make, maximum, select
from ...trace.vectors import total
from ..targets.density import Vector
from .base import Method, Move, Point, exact_variance
from .mala import begin
from .metropolis import metropolis


def step(at: Point) -> Move:
    log_density, *score = at.carried
    moves = [
        _turned(as_expr(at.noise * z), as_expr(s / at.temperature), u)
        for z, s, u in zip(at.z, score, at.u[:-1], strict=True)
    ]
    proposal = tuple(as_expr(x + d) for x, d in zip(at.x, moves, strict=True))
    new_density, new_score = at.density.log_density(proposal), at.density.score(proposal)
    ways = [
        softplus(as_expr(-d * s / at.temperature)) - softplus(as_expr(d * new / at.temperature))
        for d, s, new in zip(moves, score, new_score, strict=True)
    ]
    ratio = as_expr((new_density - log_density) / at.temperature + total(ways))
    rows: Vector = (*proposal, new_density, *new_score)
    return metropolis((*at.x, *at.carried), rows, at.dim, ratio, new_density, at.u[-1])


def _turned(w: Expr, s: Expr, u: Expr) -> Expr:
    """The increment or its opposite."""
    return as_expr(select(u * (1 + make("exp", as_expr(-w * s))) < 1, w, -w))


def softplus(a: Expr) -> Expr:
    """log(1 + e^a)."""
    return as_expr(maximum(a, 0.0) + make("log1p", make("exp", as_expr(-make("abs", a)))))


BARKER = Method(
    name="barker",
    step=step,
    needs=("log_density", "score"),
    bias_order=math.inf,
    begin=begin,
    uniforms=lambda dim: dim + 1,
    accepts=True,
    best_acceptance=0.4,
    gaussian_variance=exact_variance,
    reference="Livingstone and Zanella, JRSS B 84, 2022",
)
