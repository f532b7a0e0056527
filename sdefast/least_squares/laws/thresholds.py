r"""Thresholds of the step size for Gaussian inputs with H = I and batch size 1.

Without noise one step multiplies :math:`|\delta|^2` by :math:`1 + (g^2 q^2 - 2 g q)\,\beta`, in which
:math:`q = |x|^2 \sim \chi^2_d` and :math:`\beta = \langle x, \delta\rangle^2 / (|x|^2|\delta|^2)` is an independent
Beta(1/2, (d-1)/2) variable. The mean of the factor's logarithm decides about almost every run, its mean about
:math:`E|\delta|^2`, the mean of its square about :math:`E|\delta|^4`. Noise in y changes none of them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


def fourth_moment_threshold(dim: int) -> float:
    """The step size below which E|delta_k|^4 stays bounded, for H = I and batch size 1.

    The least positive root of 3 (d+4)(d+6) g^3 - 12 (d+4) g^2 + (2d+16) g - 4, which is (E factor^2 - 1) / g.
    """
    d = dim
    roots = np.roots([3 * (d + 4) * (d + 6), -12 * (d + 4), 2 * d + 16, -4])
    g = min(root.real for root in roots if abs(root.imag) <= 1e-9 * abs(root) and root.real > 0)
    for _ in range(2):  # Newton's method, for the last digits
        value = ((3 * (d + 4) * (d + 6) * g - 12 * (d + 4)) * g + 2 * d + 16) * g - 4
        g -= value / ((9 * (d + 4) * (d + 6) * g - 24 * (d + 4)) * g + 2 * d + 16)
    return float(g)


@lru_cache(maxsize=256)
def almost_sure_threshold(dim: int) -> float:
    """The step size at which the Lyapunov exponent is zero, for H = I and batch size 1."""
    low, high = 2 / (dim + 2), 3 / (dim + 2)  # by Jensen's inequality it lies above the mean-square threshold
    while lyapunov_exponent(high, dim) < 0:
        low, high = high, 1.5 * high
    f_low, f_high = lyapunov_exponent(low, dim), lyapunov_exponent(high, dim)
    for _ in range(100):  # the Illinois variant of regula falsi
        g = high - f_high * (high - low) / (f_high - f_low)
        f = lyapunov_exponent(g, dim)
        if abs(g - high) <= 1e-13 * g or f == 0:
            return g
        if f * f_high < 0:
            low, f_low = high, f_high
        else:
            f_low *= 0.5
        high, f_high = g, f
    return high


def lyapunov_exponent(g: float, dim: int) -> float:
    r"""The limit of log|delta_k| / k for almost every run without noise, for H = I and batch size 1.

    Half the mean of :math:`\log(\cos^2\varphi + (1 - g r^2)^2 \sin^2\varphi)` over :math:`r = |x|`, with the chi
    density, and the angle :math:`\varphi` between x and the hyperplane orthogonal to delta, with density proportional
    to :math:`\cos^{d-2}\varphi` on (0, pi/2), both by quadrature. The logarithm is singular where g r^2 = 1 and
    :math:`\varphi = \pi/2`, so both rules crowd their nodes there.
    """
    centre = 1 / math.sqrt(g)
    mode, width = math.sqrt(max(dim - 1, 0)), 9.0  # the chi law has standard deviation below 1 and Gaussian tails
    least, most = max(0.0, mode - width), mode + width
    cut = min(max(centre, least), most)
    inside, inside_weights = _double_exponential(cut - least)
    beyond, beyond_weights = _double_exponential(most - cut)
    r = np.concatenate([cut - inside, cut + beyond])
    away = np.abs(np.concatenate([centre - cut + inside, cut - centre + beyond]))  # |r - centre|, without cancellation
    weights = np.concatenate([inside_weights, beyond_weights])
    weights = weights * np.exp((dim - 1) * np.log(np.maximum(r, 1e-300) / max(mode, 1.0)) - 0.5 * (r**2 - mode**2))
    shrink = g * away * (r + centre)  # |1 - g r^2|
    return 0.5 * float(weights @ _mean_log(shrink, dim) / weights.sum())


def _mean_log(shrink: np.ndarray, dim: int) -> np.ndarray:
    """E log(cos^2 + shrink^2 sin^2) over the angle."""
    if dim == 1:
        return np.asarray(2 * np.log(shrink))
    if dim == 2:
        return np.asarray(2 * np.log(0.5 * (1 + shrink)))
    from_right_angle, weights = _double_exponential(math.pi / 2)
    cos, sin = np.sin(from_right_angle), np.cos(from_right_angle)
    weights = weights * cos ** (dim - 2)
    values = np.log(cos**2 + (shrink[:, None] * sin) ** 2)
    return np.asarray(values @ weights / weights.sum())


@lru_cache(maxsize=8)
def _double_exponential_unit() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the tanh-sinh rule on (0, 1); nodes near 0 keep their relative accuracy."""
    t = np.linspace(-4.2, 4.2, 281)
    u = np.pi * np.sinh(t)
    nodes = 1 / (1 + np.exp(-u))
    weights = (t[1] - t[0]) * np.pi * np.cosh(t) * nodes / (1 + np.exp(u))
    return nodes, weights


def _double_exponential(length: float) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = _double_exponential_unit()
    return length * nodes, length * weights
