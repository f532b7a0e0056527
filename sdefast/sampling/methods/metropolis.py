"""Accepting or rejecting a proposal: what methods with a Metropolis step share."""

import math

from ...trace import Expr, as_expr, make, minimum, select
from ..targets.density import Vector
from .base import Move


def metropolis(old: Vector, new: Vector, dim: int, log_ratio: Expr, log_density: Expr, u: Expr) -> Move:
    """The rows ``new`` with probability min(1, exp(log_ratio)), else ``old``, of which the first ``dim`` are positions.

    A proposal of density 0 is rejected, and one whose density or ratio is no number too, which is counted.
    """
    outside = as_expr(log_density == -math.inf)
    number = as_expr(log_ratio == log_ratio)
    probability = select(outside | ~number, 0.0, make("exp", minimum(log_ratio, 0.0)))
    accept = u < probability
    rows = tuple(as_expr(select(accept, b, a)) for a, b in zip(old, new, strict=True))
    return Move(rows[:dim], rows[dim:], as_expr(probability), as_expr(~outside & ~number))
