r"""The unadjusted Langevin algorithm: the Euler-Maruyama scheme of dX = grad log p(X) dt + sqrt(2 T) dW.

.. math:: x' = x + h\, G s(x) + \sqrt{2 T h}\; G^{1/2} z

G is the identity, or the fixed matrix ``metric=``; the noise has its root.
"""

from collections.abc import Mapping
from typing import Any

from ...trace import as_expr
from .base import Method, Move, Point


def step(at: Point) -> Move:
    drift, noise = at.metric.times(at.density.score(at.x)), at.metric.root_times(at.z)
    return Move(tuple(as_expr(x + at.h * s + at.noise * z) for x, s, z in zip(at.x, drift, noise, strict=True)))


def stable_step(curvature: float, options: Mapping[str, float]) -> float:
    return 2 / curvature


def gaussian_variance(p: Any, h: Any, options: Mapping[str, float]) -> Any:
    return 1 / (p * (1 - h * p / 2))


ULA = Method(
    name="ula",
    step=step,
    needs=("score",),
    bias_order=1.0,
    takes_metric=True,
    stable_step=stable_step,
    gaussian_variance=gaussian_variance,
    reference="Roberts and Tweedie, Bernoulli 2, 1996",
)
