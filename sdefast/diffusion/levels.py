"""The levels of noise that a sampler goes through, from the noisiest on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from .schedule import Schedule, karras_sigmas


class Level(NamedTuple):
    """One of them: scales of data and noise, what the model is told, and the number that its noise is drawn by."""

    alpha: float
    sigma: float
    t: float
    key: int

    @property
    def ratio(self) -> float:
        """sigma / alpha, the scale of the noise of x / alpha."""
        return self.sigma / self.alpha if self.alpha else float("inf")


@dataclass(frozen=True, eq=False)
class Levels:
    """Where the n steps of a sampler begin, and where the last one ends.

    Attributes
    ----------
    alpha, sigma : ndarray of shape (n + 1,)
        Scales of data and noise, noisiest first; the end is the data, (1, 0), unless a part of the way was asked for.
    t : ndarray of shape (n + 1,)
        What the model is told: timesteps, or sigmas where there is no schedule; of the data -1 or 0.
    keys : ndarray of shape (n + 1,)
        Numbers of the noise: the timesteps if they are integers, else how many steps are left after this one.
    schedule : Schedule or None
        Where they come from.
    """

    alpha: np.ndarray
    sigma: np.ndarray
    t: np.ndarray
    keys: np.ndarray
    schedule: Schedule | None = None

    def __len__(self) -> int:
        return len(self.alpha) - 1

    def __getitem__(self, i: int) -> Level:
        return Level(float(self.alpha[i]), float(self.sigma[i]), float(self.t[i]), int(self.keys[i]))

    def steps(self) -> Iterator[tuple[Level, Level]]:
        """Where each step begins and ends."""
        each = [self[i] for i in range(len(self) + 1)]
        return pairwise(each)

    def further(self, key: int, j: int) -> int:
        """The number of the j-th further draw at a level, which no other draw has."""
        period = len(self) + 1 if self.schedule is None else max(self.schedule.n, len(self)) + 1
        return period * j + key

    def raised(self, level: Level, ratio: float) -> Level:
        """A level with more noise, sigma / alpha = ``ratio``, reached from ``level`` and drawn by its number."""
        if self.schedule is None:
            return Level(1.0, ratio, ratio, level.key)
        alpha = float(self.schedule.alpha_of(np.array(ratio)))
        return Level(alpha, alpha * ratio, float(self.schedule.time_of(np.array(ratio))), level.key)

    def forgotten(self, level: Level) -> float:
        """The part of the variance that the forward chain forgets in one timestep, beta_t; 0 where nothing shrinks."""
        return 0.0 if self.schedule is None else _interpolated(self.schedule.forgotten, level.t)

    def added(self, level: Level) -> float:
        """The variance that the forward chain adds in one timestep, g(t)^2 dt."""
        assert self.schedule is not None
        return _interpolated(self.schedule.forward_variance, level.t)


def _interpolated(values: np.ndarray, t: float) -> float:
    """Between those of the timesteps beside ``t``."""
    low = min(int(t), len(values) - 1)
    high = min(low + 1, len(values) - 1)
    return float(values[low] + (t - low) * (values[high] - values[low]))


def from_timesteps(schedule: Schedule, steps: np.ndarray, end: int | None = None) -> Levels:
    """The levels of a schedule at these timesteps, and at ``end``, or the data."""
    alpha, sigma = schedule.alpha[steps], schedule.sigma[steps]
    last = (1.0, 0.0) if end is None else (schedule.alpha[end], schedule.sigma[end])
    keys = np.append(steps, -1 if end is None else end)
    return Levels(np.append(alpha, last[0]), np.append(sigma, last[1]), keys.astype(np.float64), keys, schedule)


def from_karras(schedule: Schedule, n_steps: int, rho: float = 7.0) -> Levels:
    """Levels whose sigma / alpha are spaced as Karras et al. do, between the ends of a schedule, and the data."""
    if schedule.alpha[-1] == 0:
        raise ValueError(
            "spacing='karras' needs a last alpha above 0: sigma / alpha is infinite at the last timestep; "
            "take 'trailing' or 'linspace'"
        )
    ratio = karras_sigmas(n_steps, schedule.ratio[0], schedule.ratio[-1], rho)
    alpha = schedule.alpha_of(ratio)
    t = np.append(schedule.time_of(ratio), -1.0)
    keys = np.append(np.arange(n_steps)[::-1], -1)
    return Levels(np.append(alpha, 1.0), np.append(alpha * ratio, 0.0), t, keys, schedule)


def from_sigmas(sigmas: Any) -> Levels:
    """The levels of a list of sigmas, alpha = 1, which the model is told as they are."""
    given = checks.array("sigmas", sigmas, shape=(None,))
    if len(given) < 2:
        raise ValueError(
            f"sigmas must hold two numbers or more, where the first step begins and ends, got {len(given)}"
        )
    rising = np.flatnonzero(np.diff(given) >= 0)
    if len(rising) or given[-1] < 0:
        i = int(rising[0]) if len(rising) else len(given) - 2
        raise ValueError(
            "sigmas must decrease strictly, largest first, and end with 0 or above, "
            f"got {given[i]:g} before {given[i + 1]:g} at index {i}"
        )
    n = len(given) - 1
    return Levels(np.ones_like(given), given, given, np.append(np.arange(n)[::-1], n if given[-1] > 0 else -1))
