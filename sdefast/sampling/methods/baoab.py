r"""BAOAB: underdamped Langevin dynamics of friction :math:`\Gamma` and unit mass, split into kicks, moves and noise.

.. math::
    v &\leftarrow v + \tfrac h2 s(x), \qquad x \leftarrow x + \tfrac h2 v, \qquad
    v \leftarrow e^{-\Gamma h} v + \sqrt{T (1 - e^{-2 \Gamma h})}\; z, \\
    x &\leftarrow x + \tfrac h2 v, \qquad v \leftarrow v + \tfrac h2 s(x)

On a Gaussian of frequency :math:`\omega` positions have exactly the target's covariance at any friction and
:math:`h < 2/\omega`; velocities read cold, :math:`T (1 - h^2 \omega^2 / 4)` at the step's end. The score is carried:
one gradient a step. A step of h moves as far as an overdamped one of h^2/2.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...trace import as_expr
from .base import Method, Move, Point, exact_variance
from .underdamped import begin


def constants(h: np.ndarray, options: Mapping[str, float], temperature: float) -> list[Any]:
    a = options["friction"] * h
    return [np.exp(-a), np.sqrt(-temperature * np.expm1(-2 * a))]


def step(at: Point) -> Move:
    v, score = at.carried[: at.dim], at.carried[at.dim :]
    half, (decay, noise) = 0.5 * at.h, at.constants
    v = tuple(vi + half * s for vi, s in zip(v, score, strict=True))
    x = tuple(xi + half * vi for xi, vi in zip(at.x, v, strict=True))
    v = tuple(decay * vi + noise * z for vi, z in zip(v, at.z, strict=True))
    x = tuple(as_expr(xi + half * vi) for xi, vi in zip(x, v, strict=True))
    score = at.density.score(x)
    v = tuple(as_expr(vi + half * s) for vi, s in zip(v, score, strict=True))
    return Move(x, (*v, *score))


def stable_step(curvature: float, options: Mapping[str, float]) -> float:
    return 2 / math.sqrt(curvature)


BAOAB = Method(
    name="baoab",
    step=step,
    needs=("score",),
    bias_order=2.0,
    begin=begin,
    start_normals=1,
    has_velocity=True,
    options={"friction": 1.0},
    constants=constants,
    stable_step=stable_step,
    gaussian_variance=exact_variance,
    reference="Leimkuhler and Matthews, Applied Mathematics Research Express 2013",
)
