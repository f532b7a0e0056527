"""Euler's method on the probability flow of x / alpha in sigma / alpha; noise is added before each step on request."""

from __future__ import annotations

from collections.abc import Iterator

from ..levels import Levels
from .base import Row, Sampler, first_order
from .churn import CHURN, Churn


def rows(levels: Levels, **churn: float) -> Iterator[Row]:
    added = Churn(**churn)
    for now, to in levels.steps():
        high = added.raised(levels, now)
        yield from added.rows(now, high)
        a, b, _ = first_order(high, to)
        yield Row(high, to, a=a, b=b, key=now.key)


EULER = Sampler(
    name="euler",
    rows=rows,
    order=1,
    reference="Karras, Aittala, Aila and Laine 2022, algorithm 2 without its correction",
    options=CHURN,
)
