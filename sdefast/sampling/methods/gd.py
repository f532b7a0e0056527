r"""Gradient descent on -log p: a Langevin step at temperature 0, without its noise.

.. math:: x' = x + h\, s(x)
"""

from collections.abc import Mapping

from ...trace import as_expr
from .base import Method, Move, Point


def step(at: Point) -> Move:
    score = at.density.score(at.x)
    return Move(tuple(as_expr(x + at.h * s) for x, s in zip(at.x, score, strict=True)))


def stable_step(curvature: float, options: Mapping[str, float]) -> float:
    return 2 / curvature


GD = Method(
    name="gd",
    step=step,
    needs=("score",),
    bias_order=0.0,
    normals=lambda dim: 0,
    stable_step=stable_step,
    reference="Cauchy, Comptes Rendus 25, 1847",
)
