"""DPM-Solver++(2M): exponential steps in log(alpha / sigma) on D, extrapolated from this D and the one before.

With h the growth of log(alpha / sigma) in the step, e = e^{-h} and r = h / (2 h_last): x' = (sigma' / sigma) e^eta x
+ E ((1 + r) D - r D_last) + sigma' sqrt(1 - e^{2 eta}) z, E = alpha' (1 - e^{1 + eta}); eta = 0 is the flow. The first
step, those from alpha = 0 and into sigma = 0 are of first order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..levels import Level, Levels
from .base import PUSH, Row, Sampler


def rows(levels: Levels) -> Iterator[Row]:
    return multistep(levels, 0.0, "midpoint", 1.0)


def multistep(levels: Levels, eta: float, solver_type: str, s_noise: float) -> Iterator[Row]:
    """Steps with the noise of ``eta``; ``solver_type`` says how the difference of the two D is weighed."""
    last = math.inf
    for now, to in levels.steps():
        if to.sigma == 0:
            yield Row(now, to, b=to.alpha, key=now.key, keep=PUSH)
            continue
        h = growth(now, to)
        first = to.alpha * -math.expm1(-(1 + eta) * h)
        extra = _extrapolated(first, to.alpha, h, last, eta, solver_type)
        a = to.sigma / now.sigma * (math.exp(-eta * h) if eta else 1.0)
        s = to.sigma * math.sqrt(-math.expm1(-2 * eta * h)) * s_noise if eta else 0.0
        yield Row(now, to, a=a, b=first + extra, c1=-extra, s=s, key=now.key, keep=PUSH)
        last = h


def growth(now: Level, to: Level) -> float:
    """Of log(alpha / sigma)."""
    return math.log(to.alpha * now.sigma / (now.alpha * to.sigma)) if now.alpha else math.inf


def _extrapolated(first: float, alpha: float, h: float, last: float, eta: float, solver_type: str) -> float:
    """The coefficient of D - D_last; 0 without a step before, and after one from alpha = 0."""
    if not math.isfinite(last):
        return 0.0
    if solver_type == "midpoint":
        return first * h / (2 * last)
    size = (1 + eta) * h
    return alpha * (1 + math.expm1(-size) / size) * h / last


DPMPP_2M = Sampler(
    name="dpm++2m",
    rows=rows,
    order=2,
    reference="Lu et al. 2022 (DPM-Solver++), algorithm 2",
    options={},
)
