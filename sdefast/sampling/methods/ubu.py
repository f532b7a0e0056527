r"""UBU: underdamped Langevin dynamics as half of the exact free flow, a kick by the score, and the other half.

.. math:: U_{h/2} \; B_h \; U_{h/2}, \qquad B_h : v \leftarrow v + h\, s(x)

U is the flow of the dynamics without a force, see ``underdamped.py``. One gradient a step, strong order 2; the variance
of positions on a Gaussian is off by O(h^2).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...trace import Expr, as_expr
from ..targets.density import Vector
from .baoab import stable_step
from .base import Method, Move, Point
from .underdamped import free_flow, velocities


def constants(h: np.ndarray, options: Mapping[str, float], temperature: float) -> list[Any]:
    return free_flow(h / 2, options["friction"], temperature)


def step(at: Point) -> Move:
    d, v = at.dim, at.carried
    x, v = _flow(at.constants, at.x, v, at.z[: 2 * d])
    v = tuple(vi + at.h * s for vi, s in zip(v, at.density.score(x), strict=True))
    return Move(*_flow(at.constants, x, v, at.z[2 * d :]))


def _flow(constants: Vector, x: Vector, v: Vector, z: Vector) -> tuple[Vector, Vector]:
    decay, moved, of_v, of_both, of_x = constants
    one, other = z[: len(x)], z[len(x) :]
    new: list[tuple[Expr, Expr]] = [
        (as_expr(xi + moved * vi + of_both * a + of_x * b), as_expr(decay * vi + of_v * a))
        for xi, vi, a, b in zip(x, v, one, other, strict=True)
    ]
    return tuple(xi for xi, _ in new), tuple(vi for _, vi in new)


UBU = Method(
    name="ubu",
    step=step,
    needs=("score",),
    bias_order=2.0,
    begin=velocities,
    normals=lambda dim: 4 * dim,
    start_normals=1,
    has_velocity=True,
    options={"friction": 1.0},
    constants=constants,
    stable_step=stable_step,
    reference="Sanz-Serna and Zygalakis, Journal of Machine Learning Research 22, 2021",
)
