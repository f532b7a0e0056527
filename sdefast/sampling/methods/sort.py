r"""SORT: underdamped Langevin dynamics by a Runge-Kutta step of strong order 3 for smooth scores.

Of the Brownian path over a step it draws :math:`W \sim N(0, h)`, :math:`H \sim N(0, h/12)` and
:math:`K \sim N(0, h/720)`. With :math:`\sigma = \sqrt{2 \Gamma T}`, F = -s, :math:`e = e^{-\Gamma h}`,
:math:`e_2 = e^{-\Gamma h / 2}` and :math:`L = W - 12 K`:

.. math::
    v_1 &= v + \sigma (H + 6 K) \\
    x_1 &= x + \tfrac{1 - e_2}\Gamma v_1 - \tfrac{e_2 + \Gamma h/2 - 1}{\Gamma^2} F(x)
        + \tfrac{e_2 + \Gamma h/2 - 1}{\Gamma^2 h} \sigma L \\
    x' &= x + \tfrac{1 - e}\Gamma v_1 - \tfrac{e + \Gamma h - 1}{\Gamma^2} \big(\tfrac13 F(x) + \tfrac23 F(x_1)\big)
        + \tfrac{e + \Gamma h - 1}{\Gamma^2 h} \sigma L \\
    v' &= e v_1 - \tfrac h6 e F(x) - \tfrac{2h}3 e_2 F(x_1) - \tfrac h6 F(x')
        + \tfrac{1 - e}{\Gamma h} \sigma L - \sigma (H - 6 K)

F(x') is the next step's F(x), and carried: two gradients a step.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ...trace import as_expr
from .base import Method, Move, Point
from .underdamped import begin, free_motion


def constants(h: np.ndarray, options: Mapping[str, float], temperature: float) -> list[Any]:
    g = options["friction"]
    a, sigma = g * h, np.sqrt(2 * g * temperature)
    half, whole = free_motion(a / 2) / g**2, free_motion(a) / g**2
    noises = sigma * np.sqrt(h), sigma * np.sqrt(h / 12), sigma * np.sqrt(h / 720)
    return [
        np.exp(-a), np.exp(-a / 2), -np.expm1(-a) / g, -np.expm1(-a / 2) / g, half, whole, half / h, whole / h,
        -np.expm1(-a) / a, *noises,
    ]  # fmt: skip


def step(at: Point) -> Move:
    d, h = at.dim, at.h
    e, e2, moved, moved_half, half, whole, half_noise, whole_noise, kept, *scales = at.constants
    v, score = at.carried[:d], at.carried[d:]
    w, area, third = (tuple(as_expr(scale * z) for z in at.z[i * d : (i + 1) * d]) for i, scale in enumerate(scales))
    path = tuple(a - 12 * k for a, k in zip(w, third, strict=True))
    v1 = tuple(vi + a + 6 * k for vi, a, k in zip(v, area, third, strict=True))
    x1 = tuple(
        as_expr(x + moved_half * vi + half * s + half_noise * p)
        for x, vi, s, p in zip(at.x, v1, score, path, strict=True)
    )
    score1 = at.density.score(x1)
    x = tuple(
        as_expr(xi + moved * vi + whole * (s + 2 * s1) / 3 + whole_noise * p)
        for xi, vi, s, s1, p in zip(at.x, v1, score, score1, path, strict=True)
    )
    last = at.density.score(x)
    kicks = [h / 6 * (e * s + new) + (2 * h / 3) * e2 * s1 for s, s1, new in zip(score, score1, last, strict=True)]
    v = tuple(
        as_expr(e * vi + kick + kept * p - a + 6 * k)
        for vi, kick, p, a, k in zip(v1, kicks, path, area, third, strict=True)
    )
    return Move(x, (*v, *last))


def stable_step(curvature: float, options: Mapping[str, float]) -> float:
    return _bound(curvature, options["friction"])


@lru_cache(maxsize=256)
def _bound(curvature: float, friction: float) -> float:
    """Where the step's matrix on N(0, 1/curvature) first has an eigenvalue of modulus 1: by ever finer lists."""
    low, high = 1e-4 / math.sqrt(curvature), 100 * max(1.0, friction / math.sqrt(curvature)) / math.sqrt(curvature)
    for _ in range(4):
        sizes = np.geomspace(low, high, 500)
        unstable = int(np.argmax(_radius(sizes, curvature, friction) >= 1))
        low, high = sizes[max(unstable - 1, 0)], sizes[unstable]
    return float(high)


def _radius(h: np.ndarray, p: float, friction: float) -> np.ndarray:
    """The largest modulus of an eigenvalue of the step without noise, from (x, v) to (x', v'), for every step size."""
    e, e2, moved, moved_half, half, whole, *_ = constants(h, {"friction": friction}, 0.0)
    matrix = np.empty((len(h), 2, 2))
    for i, (x, v) in enumerate(((1.0, 0.0), (0.0, 1.0))):
        s = -p * x
        s1 = -p * (x + moved_half * v + half * s)
        matrix[:, 0, i] = x + moved * v + whole * (s + 2 * s1) / 3
        matrix[:, 1, i] = e * v + h / 6 * (e * s - p * matrix[:, 0, i]) + 2 * h / 3 * e2 * s1
    radius: np.ndarray = np.abs(np.linalg.eigvals(matrix)).max(axis=1)
    return radius


SORT = Method(
    name="sort",
    step=step,
    needs=("score",),
    bias_order=3.0,
    begin=begin,
    normals=lambda dim: 3 * dim,
    start_normals=1,
    has_velocity=True,
    options={"friction": 1.0},
    constants=constants,
    stable_step=stable_step,
    reference="Foster, Lyons and Oberhauser, SIAM Journal on Numerical Analysis 59, 2021",
)
