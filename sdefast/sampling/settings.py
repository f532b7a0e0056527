"""What decides a sampling run's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine.gathering import ONE, Gathering
from ..engine.statistics import Layout
from ..engine.tiles import Gathered
from ..lazy import cached_property
from ..run import step
from ..run.boundaries import Boundary
from ..run.expectations import Named
from ..trace.vectors import numbered
from . import built_in
from .batch import BatchChain
from .chain import Chain
from .diagnostics import Batches
from .methods import STEPS, Method
from .metric import Metric
from .targets.base import BaseTarget
from .targets.batch import BatchTarget


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings(step.Settings):
    """Everything that decides a sampling run's numbers.

    ``step_sizes`` are of shape (1,), (n_steps,) or, where chains have their own, (1, n_chains). ``x0`` is the common
    start, of shape (dim,), or None where chains have their own: ``sampled`` ones if they are exact. ``center`` is near
    the mean, for sums that do not cancel. ``batches`` say how draws are cut for diagnostics, if there are any.
    ``boundaries`` confine positions, ``expectations`` are functions of users by name.
    """

    target: BaseTarget
    method: str
    options: dict[str, float]
    metric: Metric
    temperature: float
    step_sizes: np.ndarray
    burn_in: int
    x0: np.ndarray | None
    batches: Batches | None
    center: np.ndarray
    sampled: bool = False
    boundaries: tuple[Boundary, ...] = ()
    expectations: Named = ()

    @property
    def how(self) -> Method:
        """The method."""
        return STEPS[self.method]

    @cached_property
    def stepping(self) -> Chain:
        """A step."""
        if isinstance(self.target, BatchTarget):
            return BatchChain(self.target, self.method)
        structure = tuple((name, int(self.options[name])) for name in self.how.structural)
        own = self.step_sizes.ndim > 1
        gathers = self.batches is not None
        return _chain(self.target, self.method, structure, self.metric, gathers, own, self.boundaries)

    @property
    def stable_step(self) -> float | None:
        """What a step must be below on a Gaussian as curved as the target, if that is known."""
        how, target = self.how, self.target
        if how.stable_parts is not None and target.parts is not None:
            return how.stable_parts(target.parts, self.options)
        curvature, stable = target.curvature, how.stable_step
        if curvature is None or stable is None:
            return None
        return float(stable(self.metric.largest(curvature), self.options))

    @property
    def start_law(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and covariance of the positions at the start, where they are known and alike for all chains."""
        if self.sampled:
            mean, covariance = self.target.mean, self.target.covariance
            return None if mean is None or covariance is None else (mean, covariance)
        return None if self.x0 is None else (self.x0, np.zeros((self.layout.dim,) * 2))

    @property
    def numbers(self) -> dict[str, float]:
        """Numbers of the run by the names of their symbols in the step."""
        found = {"temperature": self.temperature, "burn_in": float(self.burn_in)}
        found |= {f"option_{name}": value for name, value in self.options.items()}
        if self.how.draws_rows:
            rows = self.target.density.rows
            assert rows is not None
            found["n_data"] = float(len(rows.values))
        if self.how.uses_mode:
            found |= numbered("mode", self.target.mode) | numbered("mode_score", self.target.score(self.target.mode))
        if self.batches is not None:
            found |= self.batches.parameters | {f"center{i}": float(c) for i, c in enumerate(self.center)}
        return found

    @property
    def kept_rows(self) -> int:
        """Positions, and velocities where there are any."""
        return self.stepping.n_shown

    @cached_property
    def gathering(self) -> Gathering:
        """Where in the gathered statistics is what: positions; velocities; acceptance and undefined proposals."""
        chain, moving = self.stepping, self.how.has_velocity
        groups = [Gathered(self.layout)]
        if moving:
            groups.append(Gathered(Layout(chain.dim, 2, False, False), chain.dim))
        if self.how.accepts:
            groups += [Gathered(ONE, chain.counted), Gathered(ONE, chain.counted + 1)]
        carried, end = [range(i, i + 1) for i in range(1, len(groups))], len(groups)
        groups += [Gathered(ONE, i, True) for i in range(len(self.expectations))]
        return Gathering(tuple(groups), range(1), carried, range(end, len(groups)), range(0))

    def identity(self) -> tuple[Any, ...]:
        """Equal for shards of one run."""
        start = None if self.x0 is None else self.x0.tobytes()
        sizes = None if self.step_sizes.ndim > 1 else self.step_sizes.tobytes()
        own = (self.target, self.method, self.options, self.metric, self.temperature, sizes, self.burn_in, start)
        asked = self.boundaries, self.expectations
        return (*super().identity(), *own, self.batches, self.center.tobytes(), self.sampled, *asked)

    def merged(self, shards: Sequence[Any]) -> Settings:
        """Those of shards put together."""
        sizes = self.step_sizes
        if sizes.ndim > 1:
            sizes = np.concatenate([shard.step_sizes for shard in shards], axis=1)
        return replace(self, step_sizes=sizes, n_chains=sum(shard.n_chains for shard in shards))


@lru_cache(maxsize=256)
def _chain(*made_of: Any) -> Chain:
    """The chain made of these, whose step is then known."""
    return built_in.chain(*made_of)
