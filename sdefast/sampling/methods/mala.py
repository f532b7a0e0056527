r"""The Metropolis-adjusted Langevin algorithm: a Langevin step as the proposal, a rejection repeats the state.

With :math:`S = s(x) + s(y)` and :math:`w = \sqrt{2Th}\, G^{1/2} z` the logarithm of the ratio of the two ways,
:math:`\log p(y) q(y, x) - \log p(x) q(x, y)`, is

.. math:: \frac1T \Big( \log p(y) - \log p(x) - \tfrac12 \langle w, S \rangle - \tfrac h4 S^T G S \Big),

without the cancellation of the two squares that it is made of.
"""

import math

from ...trace import as_expr
from ...trace.vectors import total
from ..targets.density import Vector
from .base import Method, Move, Point, exact_variance
from .metropolis import metropolis


def begin(at: Point) -> Vector:
    return (at.density.log_density(at.x), *at.density.score(at.x))


def step(at: Point) -> Move:
    log_density, *score = at.carried
    noise = [at.noise * z for z in at.metric.root_times(at.z)]
    drift = at.metric.times(score)
    proposal = tuple(as_expr(x + at.h * s + w) for x, s, w in zip(at.x, drift, noise, strict=True))
    new_density, new_score = at.density.log_density(proposal), at.density.score(proposal)
    sums = [a + b for a, b in zip(score, new_score, strict=True)]
    against = 0.5 * total([w * s for w, s in zip(noise, sums, strict=True)])
    against = against + 0.25 * at.h * total([s * g for s, g in zip(sums, at.metric.times(sums), strict=True)])
    ratio = as_expr((new_density - log_density - against) / at.temperature)
    return metropolis(
        (*at.x, *at.carried), (*proposal, new_density, *new_score), at.dim, ratio, new_density, at.u[0]
    )  # fmt: skip


MALA = Method(
    name="mala",
    step=step,
    needs=("log_density", "score"),
    bias_order=math.inf,
    begin=begin,
    uniforms=lambda dim: 1,
    takes_metric=True,
    accepts=True,
    gaussian_variance=exact_variance,
    reference="Roberts and Tweedie, Bernoulli 2, 1996; Roberts and Rosenthal, JRSS B 60, 1998",
)
