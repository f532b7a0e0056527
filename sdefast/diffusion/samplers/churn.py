"""Noise that is added before a step, which then starts from a higher level (Karras et al. 2022, algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..levels import Level, Levels
from .base import Option, Row, bound, nonnegative

#: The options of samplers that can do so, named as they are there.
CHURN = {
    "s_churn": Option(0.0, nonnegative),
    "s_tmin": Option(0.0, nonnegative),
    "s_tmax": Option(math.inf, bound),
    "s_noise": Option(1.0, nonnegative),
}


@dataclass(frozen=True)
class Churn:
    """How much noise, between which sigmas (sigma / alpha), and how much stronger it is than it should be."""

    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float

    def gamma(self, ratio: float, n: int) -> float:
        """By how much sigma / alpha grows before one of n steps."""
        inside = self.s_tmin <= ratio <= self.s_tmax and math.isfinite(ratio)
        return min(self.s_churn / n, math.sqrt(2) - 1) if inside else 0.0

    def raised(self, levels: Levels, now: Level) -> Level:
        """Where a step starts."""
        gamma = self.gamma(now.ratio, len(levels))
        return levels.raised(now, now.ratio * (1 + gamma)) if gamma > 0 else now

    def rows(self, now: Level, high: Level) -> Iterator[Row]:
        """What brings x there."""
        if high is not now:
            s = high.alpha * math.sqrt(high.ratio**2 - now.ratio**2) * self.s_noise
            yield Row(None, high, a=high.alpha / now.alpha, s=s, key=now.key)
