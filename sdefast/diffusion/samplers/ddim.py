"""DDIM: x' = alpha' D + sqrt(sigma'^2 - s^2) eps + s z with s = eta sigma' sqrt(1 - (alpha sigma' / (alpha' sigma))^2).

eps is what D leaves of x, so that clipping D changes it; with ``use_clipped_model_output=False`` it is the model's own,
as diffusers computes by default.
"""

from __future__ import annotations

from collections.abc import Iterator

from ... import checks
from ..levels import Levels
from .base import Option, Row, Sampler, first_order, nonnegative


def rows(levels: Levels, eta: float, use_clipped_model_output: bool) -> Iterator[Row]:
    for now, to in levels.steps():
        a, b, s = first_order(now, to, eta)
        if use_clipped_model_output:
            yield Row(now, to, a=a, b=b, s=s, key=now.key)
        else:
            yield Row(now, to, b=to.alpha, noise=a * now.sigma, s=s, key=now.key)


DDIM = Sampler(
    name="ddim",
    rows=rows,
    order=1,
    reference="Song, Meng and Ermon 2021, equations 12 and 16",
    options={"eta": Option(0.0, nonnegative), "use_clipped_model_output": Option(True, checks.flag)},
)
