"""Heun's method on the probability flow in the schedule's own coordinates, dx = D dalpha + eps dsigma.

eps = (x - alpha D) / sigma. The Euler step x + D (alpha' - alpha) + eps (sigma' - sigma) is DDIM's; D and eps are then
averaged over both ends. For alpha = 1 that is Heun's method of EDM, for flow schedules that on dx/dsigma = eps - D.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..levels import Level, Levels
from .base import HOLD, Row, Sampler, first_order


def rows(levels: Levels) -> Iterator[Row]:
    for now, to in levels.steps():
        a, b, _ = first_order(now, to)
        yield Row(now, to, a=a, b=b, key=now.key, keep=HOLD if to.sigma > 0 else 0)
        if to.sigma > 0:
            yield _correction(now, to)


def _correction(now: Level, to: Level) -> Row:
    """From the Euler step's end, with x and D of before in H1 and H2."""
    data, noise = (to.alpha - now.alpha) / 2, (to.sigma - now.sigma) / 2
    c1, c2 = 1 + noise / now.sigma, data - noise * now.alpha / now.sigma
    return Row(to, to, a=noise / to.sigma, b=data - noise * to.alpha / to.sigma, c1=c1, c2=c2, key=now.key)


ODE = Sampler(
    name="ode",
    rows=rows,
    order=2,
    reference="Song et al. 2021, equation 13 (probability flow); Heun's method",
    options={},
)
