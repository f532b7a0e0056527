"""How means and variances of the differences decay from level to level, and what follows from it.

Giles, Multilevel Monte Carlo path simulation, Operations Research 56, 2008, sections 3 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .result import Level


def numbers_of_paths(variances: Sequence[float], costs: Sequence[int], accuracy: float) -> list[float]:
    """The numbers of paths that give half the accuracy's square as variance at the least cost."""
    total = sum(math.sqrt(v * c) for v, c in zip(variances, costs, strict=True))
    per_variance = 2 / accuracy / accuracy
    return [per_variance * math.sqrt(v / c) * total for v, c in zip(variances, costs, strict=True)]


def expected_variances(levels: Sequence[Level], m: int) -> list[float]:
    """Variances, of fine levels no less than half of what the decay leads one to expect: few paths can miss much."""
    variances = [r.variance for r in levels]
    decay = m ** -order_of(variances[1:], m)
    for i in range(2, len(variances)):
        variances[i] = max(variances[i], 0.5 * decay * variances[i - 1])
    return variances


def order_of(values: Sequence[float], m: int, weights: Sequence[float] | None = None) -> float:
    """The order in the step size at which values of successive levels decay, at least 1/2."""
    w = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    good = (np.abs(values) > 0) & (w > 0)
    if good.sum() < 2:
        return 0.5
    x, y, w = np.arange(len(values))[good], np.log(np.abs(values)[good]) / math.log(m), w[good] / w[good].sum()
    x = x - w @ x
    return max(-float((w * x) @ y / (w @ x**2)), 0.5)


def weak_order_of(levels: Sequence[Level], m: int) -> float:
    """The order at which the means decay, fitted to those that stand out of their noise."""
    differences = levels[1:]
    noise = [r.variance / r.n_paths for r in differences]
    # The error of log |mean| is that of the mean over the mean; beyond ten standard errors the fit is what is wrong.
    seen = [min(r.mean * r.mean / v, 100.0) if v > 0 else 100.0 for r, v in zip(differences, noise, strict=True)]
    return order_of([r.mean for r in differences], m, seen)


def estimated_bias(levels: Sequence[Level], m: int, most: float) -> float:
    """Estimated size of what the finest level is off by."""
    ratio = m ** min(weak_order_of(levels, m), most)
    last = [abs(r.mean) for r in levels[1:]][-3:]
    return float(max(mean * ratio**-i for i, mean in enumerate(reversed(last))) / (ratio - 1))
