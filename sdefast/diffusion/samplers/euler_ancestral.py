"""Euler's method to below the next level, and noise back up to it: the ancestral sampling of k-diffusion."""

from __future__ import annotations

from collections.abc import Iterator

from ..levels import Levels
from .base import Option, Row, Sampler, first_order, nonnegative


def rows(levels: Levels, eta: float, s_noise: float) -> Iterator[Row]:
    for now, to in levels.steps():
        a, b, s = first_order(now, to, eta)
        yield Row(now, to, a=a, b=b, s=s * s_noise, key=now.key)


EULER_ANCESTRAL = Sampler(
    name="euler-ancestral",
    rows=rows,
    order=1,
    reference="Song et al. 2021, appendix F (ancestral sampling); k-diffusion, sample_euler_ancestral",
    options={"eta": Option(1.0, nonnegative), "s_noise": Option(1.0, nonnegative)},
)
