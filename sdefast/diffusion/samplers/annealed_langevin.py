"""Annealed Langevin: unadjusted Langevin steps at every level, of sizes in proportion to its sigma^2, and D at the end.

x + h score + sqrt(2 h) z with score = (alpha D - x) / sigma^2 and h = step_size sigma^2 / sigma_last^2; the source has
eps / 2 in the place of h, so its eps_0 is 2 step_size. ``step_size`` is sigma_last^2 / 10 by default, and steps are
stable below 2 sigma_last^2. A level's last state is taken for one of the next level as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ... import checks
from ..levels import Levels
from .base import Option, Row, Sampler


def rows(levels: Levels, step_size: float | None, steps_per_level: int) -> Iterator[Row]:
    last = min(float(sigma) for sigma in levels.sigma if sigma > 0)
    part = 0.1 if step_size is None else step_size / last**2
    for now, to in levels.steps():
        a, b, s = 1 - part, part * now.alpha, now.sigma * math.sqrt(2 * part)
        for j in range(steps_per_level):
            done = j == steps_per_level - 1 and to.sigma > 0
            yield Row(now, to if done else now, a=a, b=b, s=s, key=levels.further(now.key, j))
        if to.sigma == 0:
            yield Row(now, to, b=to.alpha, key=now.key)


def _step_size(name: str, value: Any) -> float | None:
    return None if value is None else checks.real(name, value, positive=True)


ANNEALED_LANGEVIN = Sampler(
    name="annealed-langevin",
    rows=rows,
    order=1,
    reference="Song and Ermon 2019, algorithm 1; the last denoising as in Jolicoeur-Martineau et al. 2021",
    options={"step_size": Option(None, _step_size), "steps_per_level": Option(100, checks.count)},
)
