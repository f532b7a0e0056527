"""DDPM: the posterior q(x_{t-1} | x_t, x_0) at x_0 = D, on any list of timesteps.

Its mean is a x + b D; its variance is ``"beta_tilde"``, ``"beta"`` is that of x_t given x_{t-1}, larger. The last step,
into the data, has no noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import checks
from ..levels import Levels
from .base import Option, Row, Sampler, first_order

VARIANCES = ("beta", "beta_tilde")


def variance(name: str, value: Any) -> Any:
    """A name, or a variance for each timestep."""
    if isinstance(value, str):
        return checks.choice(name, value, VARIANCES)
    given = checks.array(name, value, shape=(None,))
    if (given < 0).any():
        raise ValueError(f"{name} must not be negative, got {given.min():g} at index {given.argmin()}")
    return given


def rows(levels: Levels, variance: Any) -> Iterator[Row]:
    given = None if isinstance(variance, str) else _of_timesteps(levels, variance)
    for now, to in levels.steps():
        a, b, s = first_order(now, to, 1.0)
        if to.sigma > 0:
            if given is not None:
                s = math.sqrt(given[int(now.t)])
            elif variance == "beta":
                left = now.alpha * to.sigma / (to.alpha * now.sigma)
                s = now.sigma * math.sqrt((1 - left) * (1 + left))
        yield Row(now, to, a=a, b=b, s=s, key=now.key)


def _of_timesteps(levels: Levels, variance: np.ndarray) -> np.ndarray:
    """A given array, which needs timesteps."""
    n = 0 if levels.schedule is None else levels.schedule.n
    if n != len(variance):
        raise ValueError(f"variance must hold one number per timestep, {n}, got {len(variance)}")
    if (levels.t != np.round(levels.t)).any():
        raise ValueError("variance as an array needs integer timesteps: spacing='karras' has others")
    return variance


DDPM = Sampler(
    name="ddpm",
    rows=rows,
    order=1,
    reference="Ho, Jain and Abbeel 2020, equations 6, 7 and 11",
    options={"variance": Option("beta_tilde", variance)},
)
