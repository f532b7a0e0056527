"""Distances between sets of points, and how they spread over modes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ... import checks

__all__ = ["ModeWeights", "energy_distance", "energy_distance_of_gaussians", "mode_weights"]

#: Points of either set that are looked at together: their pairs fit in a cache.
_BLOCK = 200


def energy_distance(x: Any, y: Any) -> float:
    r"""The energy distance :math:`2 E|X-Y| - E|X-X'| - E|Y-Y'|` of two sets of points, without bias.

    It is 0 for equal laws and positive otherwise; the estimate takes every pair of different points (the U-statistic),
    so that its mean is the distance, and it may come out below 0. (Szekely and Rizzo 2013, "Energy statistics". Some
    take the root of half of it, or of all.)

    Parameters
    ----------
    x : array or tensor of shape (n, d) or (n,)
    y : array or tensor of shape (m, d) or (m,)
        At least two points each. In one dimension the time grows as (n + m) log(n + m), otherwise as (n + m)^2; the
        memory does not grow beyond that of the points.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, or there are fewer than two points.

    Examples
    --------
    >>> from sdefast.diffusion import quality
    >>> quality.energy_distance([0.0, 1.0], [2.0, 4.0])  # 2 * 2.5 - 1 - 2
    2.0
    """
    a, b = _points("x", x), _points("y", y)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"x and y must have the same number of coordinates, got {a.shape[1]} and {b.shape[1]}")
    return 2 * between(a, b) - within(a) - within(b)


def _points(name: str, value: Any, least: int = 2) -> np.ndarray:
    """Float64 rows (n, d)."""
    points = checks.array(name, value)
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim != 2 or not points.size or len(points) < least:
        raise ValueError(f"{name} must have shape (n, d) with at least {least} points, got {points.shape}")
    return points


def between(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of a point of ``a`` and one of ``b``."""
    if a.shape[1] > 1:
        total = _sum_of_distances(a, b)
    else:
        total = _sum_in_line(np.concatenate([a, b])) - _sum_in_line(a) - _sum_in_line(b)
    return total / (len(a) * len(b))


def within(a: np.ndarray) -> float:
    """Mean distance of two different points of ``a``."""
    n = len(a)
    if a.shape[1] > 1:
        blocks = range(0, n, _BLOCK)
        total = math.fsum(_sum_of_distances(a[i : i + _BLOCK], a[:i]) for i in blocks)
        total += math.fsum(_sum_of_distances(a[i : i + _BLOCK], a[i : i + _BLOCK]) for i in blocks) / 2
    else:
        total = _sum_in_line(a)
    return 2 * total / (n * (n - 1))


def _sum_in_line(a: np.ndarray) -> float:
    """Sum of the distances of all pairs: of n sorted ones, number k is added k and subtracted n - 1 - k times."""
    ordered = np.sort(a[:, 0])
    n = len(ordered)
    return float(((2.0 * np.arange(n) - (n - 1)) * (ordered - ordered[n // 2])).sum())


def _sum_of_distances(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the distances of every point of ``a`` and every one of ``b``."""
    parts = []
    for i in range(0, len(a), _BLOCK):
        for j in range(0, len(b), _BLOCK):
            squares = 0.0
            for one, other in zip(a[i : i + _BLOCK].T, b[j : j + _BLOCK].T, strict=True):
                away = one[:, None] - other
                squares = squares + np.square(away, out=away)
            parts.append(np.sqrt(squares).sum())
    return math.fsum(parts)


def energy_distance_of_gaussians(m1: float, v1: float, m2: float, v2: float) -> float:
    r"""The energy distance of N(m1, v1) and N(m2, v2) on the line.

    :math:`E|Z| = \sqrt{2v/\pi}\, e^{-m^2/2v} + m\,\mathrm{erf}(m/\sqrt{2v})` for Z of mean m and variance v, and
    differences of independent Gaussians are Gaussian.

    Parameters
    ----------
    m1, m2 : float
        Means.
    v1, v2 : float
        Variances, which may be 0.

    Examples
    --------
    >>> from sdefast.diffusion import quality
    >>> quality.energy_distance_of_gaussians(0.0, 0.0, 3.0, 0.0)  # 2 |0 - 3|
    6.0
    """
    m1, m2 = checks.real("m1", m1), checks.real("m2", m2)
    v1, v2 = checks.real("v1", v1, least=0), checks.real("v2", v2, least=0)
    return 2 * _mean_size(m1 - m2, v1 + v2) - _mean_size(0.0, 2 * v1) - _mean_size(0.0, 2 * v2)


def _mean_size(m: float, v: float) -> float:
    """E|Z| of a Gaussian Z."""
    if v == 0:
        return abs(m)
    return math.sqrt(2 * v / math.pi) * math.exp(-m * m / (2 * v)) + m * math.erf(m / math.sqrt(2 * v))


class ModeWeights(NamedTuple):
    """Share of the points that each mode has, its standard error, and the share of those that none has."""

    weights: np.ndarray
    standard_error: np.ndarray
    outside: float


def mode_weights(points: Any, means: Any, *, radius: float | None = None) -> ModeWeights:
    """How many of the points are at each of several modes: those to whose mean they are nearest.

    Parameters
    ----------
    points : array or tensor of shape (n, d) or (n,)
    means : array_like of shape (k, d) or (k,)
    radius : float, optional
        Points further away from all means belong to none, and count as outside.

    Returns
    -------
    ModeWeights
        ``weights`` and ``standard_error``, sqrt(w (1 - w) / n) for independent points, of shape (k,); and ``outside``.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, or there are no points.

    Examples
    --------
    >>> from sdefast.diffusion import quality
    >>> quality.mode_weights([-4.1, 3.9, 4.2, 4.0], [-4.0, 4.0]).weights
    array([0.25, 0.75])
    """
    x, centres = _points("points", points, least=1), _points("means", means, least=1)
    if x.shape[1] != centres.shape[1]:
        raise ValueError(f"points and means must have as many coordinates, got {x.shape[1]} and {centres.shape[1]}")
    reach = math.inf if radius is None else checks.real("radius", radius, positive=True)
    nearest, squares = np.zeros(len(x), np.int64), np.full(len(x), np.inf)
    for i, centre in enumerate(centres):
        found = ((x - centre) ** 2).sum(axis=1)
        closer = found < squares
        nearest[closer], squares[closer] = i, found[closer]
    inside = squares <= reach**2
    weights = np.bincount(nearest[inside], minlength=len(centres)) / len(x)
    return ModeWeights(weights, np.sqrt(weights * (1 - weights) / len(x)), float(1 - inside.mean()))
