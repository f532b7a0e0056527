r"""Gradient descent on -log p with momentum: underdamped Langevin dynamics without noise, in large steps.

.. math:: x_{k+1} = x_k + h\, s(x_k) + \beta\, (x_k - x_{k-1}), \qquad x_{-1} = x_0

The last move is carried. On a Gaussian whose precision has eigenvalues from m to L it converges for
:math:`h < 2 (1 + \beta) / L`, fastest for :math:`h = 4 / (\sqrt L + \sqrt m)^2` and
:math:`\sqrt\beta = (\sqrt L - \sqrt m) / (\sqrt L + \sqrt m)`.
"""

from collections.abc import Mapping

from ...trace import as_expr
from ..targets.density import Vector
from .base import Method, Move, Point


def begin(at: Point) -> Vector:
    return (as_expr(0.0),) * at.dim


def step(at: Point) -> Move:
    score, momentum = at.density.score(at.x), at.options["momentum"]
    moved = tuple(as_expr(at.h * s + momentum * v) for s, v in zip(score, at.carried, strict=True))
    return Move(tuple(as_expr(x + v) for x, v in zip(at.x, moved, strict=True)), moved)


def stable_step(curvature: float, options: Mapping[str, float]) -> float:
    return 2 * (1 + options["momentum"]) / curvature


HEAVY_BALL = Method(
    name="heavy-ball",
    step=step,
    needs=("score",),
    bias_order=0.0,
    begin=begin,
    normals=lambda dim: 0,
    options={"momentum": 0.9},
    stable_step=stable_step,
    reference="Polyak, USSR Computational Mathematics and Mathematical Physics 4, 1964",
)
