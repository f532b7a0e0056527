"""What a sampling run is to keep and to gather, as asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks, resources
from ..engine.grid import TimeGrid
from ..engine.statistics import Histogram, Layout
from ..run import options
from ..run.expectations import Named, traced
from ..run.schedule import saved_iterations
from ..trace import Names
from .diagnostics import Batches
from .methods import METHODS, Method
from .targets.base import BaseTarget
from .targets.batch import BatchTarget

#: Diagnostics are gathered without being asked for of so many components at most; in so many batches.
_FEW_COMPONENTS, _BATCHES = 16, 16


@dataclass(frozen=True)
class Wanted:
    """What to keep and to gather, as asked for."""

    save_at: Any
    thin: Any
    paths: bool
    moments: int | None
    extremes: bool
    covariance: bool
    histogram: Histogram | None
    batches: int | None
    final_states: bool
    acceptance: bool | float | None
    expectations: Any = None

    def check_adapting(self, method: Method, sizes: np.ndarray, burn_in: int) -> None:
        """Errors where a step size cannot be adapted."""
        if not self.acceptance:
            return
        if not method.accepts:
            accepting = ", ".join(m.name for m in METHODS.values() if m.accepts)
            raise ValueError(f"adapt is for methods that accept or reject, {accepting}, not for {method.name!r}")
        if sizes.shape != (1,):
            raise ValueError("adapt begins with one step_size, a number")
        if not burn_in:
            raise ValueError("adapt finds the step size during burn-in: pass burn_in=")

    def goal(self, method: Method) -> float:
        """The acceptance to aim at."""
        return method.best_acceptance if self.acceptance is True else float(self.acceptance or 0)

    def saves(self, grid: TimeGrid, burn_in: int) -> np.ndarray:
        """The iterations to save."""
        if self.save_at is not None:
            if self.thin is not None:
                raise TypeError("thin and save_at both say what to save: leave one out")
            saves = saved_iterations(self.save_at, grid)
            if isinstance(self.save_at, (str, int)):
                return saves[saves >= burn_in]
            if saves[0] < burn_in:
                raise ValueError(f"save_at must hold iterations from burn_in={burn_in} on, got {saves[0]}")
            return saves
        if self.thin is None:
            return np.array([grid.last_step])
        first, kept = max(burn_in, grid.first_step), grid.last_step - max(burn_in, grid.first_step)
        every = checks.count("thin", self.thin)
        if every > kept:
            raise ValueError(f"thin must be at most the {kept} steps after burn-in, got {every}")
        resources.refuse_too_large(8 * (kept // every), f"{kept // every} saved iterations", ["thin= saves fewer"])
        return first + every * np.arange(1, kept // every + 1)

    def cut(self, target: BaseTarget, n_draws: int) -> Batches | None:
        """The batches of diagnostics, if there are any."""
        if isinstance(target, BatchTarget):
            if self.batches:
                raise ValueError(
                    f"diagnostics are gathered by kernels, and the score of {target!r} is computed outside"
                )
            return None
        if self.batches == 0 or (self.batches is None and target.dim > _FEW_COMPONENTS):
            return None
        number = _BATCHES if self.batches is None or self.batches == 1 else self.batches
        if n_draws < 2 * number:
            if self.batches:
                raise ValueError(
                    f"diagnostics in {number} batches need {2 * number} steps after burn-in, got {n_draws}"
                )
            return None
        return Batches(number, n_draws // number)

    def asked(self, target: BaseTarget, method: Method) -> Named:
        """The functions of iteration, position and velocity, traced."""
        if self.expectations and isinstance(target, BatchTarget):
            raise ValueError(f"expectations are gathered by kernels, and the score of {target!r} is computed outside")
        rows = [f"x{i}" for i in range(target.dim * (1 + method.has_velocity))]
        groups: list[tuple[str, Names]] = [("k", "t"), ("x", tuple(rows[: target.dim]))]
        if method.has_velocity:
            groups.append(("v", tuple(rows[target.dim :])))
        return traced(self.expectations, groups)

    def gathering(self, grid: TimeGrid, burn_in: int, dim: int) -> tuple[np.ndarray, Layout]:
        """The iterations to save, and the statistics to gather there."""
        saves = self.saves(grid, burn_in)
        moments = options.gathered_moments(self.moments, len(saves), grid.n_steps)
        return saves, Layout(dim, moments, self.extremes, self.covariance)


def asked_batches(value: Any) -> int | None:
    """None where nothing is asked for, 0 for False, 1 for True, or an even number."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else int(value)
    number = checks.count("diagnostics", value, least=4, most=10_000)
    if number % 2:
        raise ValueError(f"diagnostics must be an even number of batches, got {number}")
    return number


def asked_acceptance(value: Any) -> bool | float | None:
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    rate = checks.real("adapt", value)
    if not 0 < rate < 1:
        raise ValueError(f"adapt must be True or an acceptance between 0 and 1, got {rate}")
    return rate
