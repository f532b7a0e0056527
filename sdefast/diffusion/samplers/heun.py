"""Heun's method on the probability flow of y = x / alpha in s = sigma / alpha.

With d = (y - D) / s an Euler step goes to y_e, and y' = y + (s' - s) (d + d_e) / 2. Into sigma = 0, and from
alpha = 0, the Euler step is all. Noise is added before each step on request.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..levels import Level, Levels
from .base import HOLD, Row, Sampler, first_order
from .churn import CHURN, Churn


def rows(levels: Levels, **churn: float) -> Iterator[Row]:
    added = Churn(**churn)
    for now, to in levels.steps():
        high = added.raised(levels, now)
        yield from added.rows(now, high)
        a, b, _ = first_order(high, to)
        second = to.sigma > 0 and high.alpha > 0
        yield Row(high, to, a=a, b=b, key=now.key, keep=HOLD if second else 0)
        if second:
            yield _correction(high, to, now.key)


def _correction(now: Level, to: Level, key: int) -> Row:
    """From x_e, with x and D of before in H1 and H2."""
    half = (to.ratio - now.ratio) / 2
    c1 = to.alpha / now.alpha * (1 + half / now.ratio)
    c2 = -to.alpha * half / now.ratio
    return Row(to, to, a=half / to.ratio, b=-to.alpha * half / to.ratio, c1=c1, c2=c2, key=key)


HEUN = Sampler(
    name="heun",
    rows=rows,
    order=2,
    reference="Karras, Aittala, Aila and Laine 2022, algorithms 1 and 2",
    options=CHURN,
)
