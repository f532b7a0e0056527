"""Time grids: uniform ones kept as start, step and index, and given ones kept as times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TimeGrid:
    """Steps ``first_step`` to ``last_step`` of a grid that began at ``t0``.

    A uniform grid keeps the step ``h`` and computes times as ``t0 + k h``, never by dividing again, so that a continued
    run sees the same times to the last bit. A given grid keeps ``times``, the times of steps first_step to last_step.
    """

    t0: float
    first_step: int
    n_steps: int
    h: float | None = None
    times: np.ndarray | None = None

    @property
    def last_step(self) -> int:
        return self.first_step + self.n_steps

    @property
    def is_uniform(self) -> bool:
        return self.times is None

    def time(self, steps: np.ndarray) -> np.ndarray:
        """Times of the given step indices."""
        if self.times is not None:
            given: np.ndarray = self.times[steps - self.first_step]
            return given
        return self.t0 + steps * self.h

    def step_sizes(self) -> np.ndarray:
        """Step sizes: one of them on a uniform grid, otherwise one a step."""
        if self.times is not None:
            return np.diff(self.times)
        return np.array([self.h], dtype=np.float64)

    def steps_at(self, times: np.ndarray) -> np.ndarray:
        """Step indices of times on the grid; ValueError names the nearest grid time of one that is not."""
        if self.times is not None:
            nearest = np.searchsorted((self.times[1:] + self.times[:-1]) / 2, times)
            steps = self.first_step + nearest
            tolerance = 1e-9 * np.diff(self.times).min()
        else:
            assert self.h is not None
            nearest = np.clip((times - self.t0) / self.h, self.first_step, self.last_step)
            steps = np.rint(nearest).astype(np.int64)
            tolerance = 1e-6 * self.h
        off = np.abs(self.time(steps) - times) > tolerance
        if off.any():
            i = int(np.argmax(off))
            raise ValueError(
                f"save_at must hold times of the grid, got {times[i]}; the nearest is {self.time(steps)[i]}. "
                "Pass times= to step through times of your own"
            )
        if (np.diff(steps) == 0).any():
            i = int(np.argmax(np.diff(steps) == 0))
            raise ValueError(f"save_at must name a grid time once, got {times[i]} and {times[i + 1]} at index {i + 1}")
        return steps.astype(np.int64)
