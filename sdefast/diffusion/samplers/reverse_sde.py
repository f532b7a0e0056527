"""Euler-Maruyama on the reverse SDE: x' = x - (f x - g^2 score) h + g sqrt(h) z, f and g^2 as at the step's beginning.

f h and g^2 h of one timestep are those of the forward chain, -beta_t x / 2 and beta_t where the variance is preserved,
so a step over m timesteps has m times as much; without a schedule g^2 h is the fall of sigma^2. The last step, into the
data, is x' = D. It needs many more steps than the others, whose coefficients are exact for a constant D.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..levels import Level, Levels
from .base import Row, Sampler


def rows(levels: Levels) -> Iterator[Row]:
    for now, to in levels.steps():
        yield euler_maruyama(levels, now, to)


def euler_maruyama(levels: Levels, now: Level, to: Level) -> Row:
    """One step."""
    if to.sigma == 0:
        return Row(now, to, b=to.alpha, key=now.key)
    if now.alpha == 0:
        raise ValueError(
            "the reverse SDE is singular where alpha = 0, a signal-to-noise ratio of zero: "
            "take 'euler-ancestral', 'dpm++2m-sde' or 'ddpm'"
        )
    if levels.schedule is None:
        shrinking, variance = 0.0, (now.sigma - to.sigma) * (now.sigma + to.sigma)
    else:
        shrinking, variance = ((now.t - to.t) * x for x in (levels.forgotten(now) / 2, levels.added(now)))
    square = now.sigma**2
    a, b = 1 + shrinking - variance / square, variance * now.alpha / square
    return Row(now, to, a=a, b=b, s=math.sqrt(variance), key=now.key)


REVERSE_SDE = Sampler(
    name="reverse-sde",
    rows=rows,
    order=1,
    reference="Anderson 1982; Song et al. 2021, equation 6",
    options={},
)
