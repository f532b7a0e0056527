"""The paths of levels: what all levels have in common, and the paths of one, which become more as they are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ...engine import plan
from ...engine.gathering import ONE
from ...engine.statistics import Nodes
from ...engine.tiles import BLOCK, Tile
from ...jit.emit import ROW
from ...run.step import ChainSettings
from ...run.where import Where
from ..chain import Chain
from ..coupled import Coupled
from ..quasi import MOST_DIMENSIONS
from ..seeds import derived_seed
from .result import Level
from .sobol import SobolLevel, most_levels

#: What starting and observing a path costs, in path-steps.
PER_PATH = 8

#: Levels that are there from the start: two differences show a decay.
FIRST_LEVELS = 3

_MOST_DRAWS = 2**40


class How(NamedTuple):
    """Where to run, and the bar to tell."""

    where: Where
    bar: Any


@dataclass(frozen=True)
class Problem:
    """What the levels have in common; ``start`` is the start state, (dim, 1)."""

    chain: Chain
    coupled: Coupled
    start: np.ndarray
    t0: float
    t1: float
    n_steps: int
    seed: int
    noise_dtype: np.dtype
    device: Any = None
    sobol: bool = False

    def steps(self, level: int) -> int:
        """Steps of a level's own grid."""
        return int(self.n_steps * self.coupled.refinement**level)

    def cost(self, level: int) -> int:
        """Path-steps of a path, those of its coarse twin included."""
        return (self.steps(level) + (self.steps(level - 1) if level else 0)) * (1 + self.chain.extras.antithetic)

    def deepest(self, most: int) -> int:
        """The deepest level that may be used."""
        if not self.sobol:
            return most
        draws, m = self.chain.step.n_draws, self.coupled.refinement
        fit = most_levels(self.n_steps, m, draws, most)
        if fit < FIRST_LEVELS - 1:
            raise ValueError(
                f"n_steps is too large for sobol=True: paths of level {FIRST_LEVELS - 1} take "
                f"{self.steps(FIRST_LEVELS - 1) * draws} normals, and Sobol' points have {MOST_DIMENSIONS} dimensions"
            )
        return fit

    def check(self, max_level: int) -> None:
        """Errors of every level, before any work."""
        draws = max(self.chain.step.n_draws, self.chain.step.n_uniforms)
        if self.steps(max_level) * draws >= _MOST_DRAWS:
            raise ValueError(f"max_level is too large: a path has 2**40 draws, level {max_level} needs more")
        for level in (0, max_level):
            plan.time_grid(self.t0, self.t1, self.steps(level), None)
        self.coupled.observed  # noqa: B018  errors in f are raised here and now

    def tile(self, level: int, is_first: bool = False) -> Tile:
        """What a level runs, for no paths yet: paths alone on the first one, else with their coarse twins."""
        is_first = is_first or level == 0
        chain = self.chain if is_first else self.coupled
        grid = plan.time_grid(self.t0, self.t1, self.steps(level if is_first else level - 1), None)
        settings = ChainSettings(
            seed=derived_seed(self.seed, "multilevel", level), dtype=self.start.dtype, noise_dtype=self.noise_dtype,
            first_chain=0, n_chains=0, grid=grid, saves=np.array([grid.last_step], np.int64), layout=ONE,
            keeps_states=False, steps_by=chain, gathers_state=False, given_normals=self.sobol,
        )  # fmt: skip
        return settings.tile(chain.start_rows(self.start, self.t0), device=self.device)

    def sobol_level(self, level: int, replicates: int) -> SobolLevel:
        """A level on points, before the first."""
        cost = self.cost(level)
        times = np.linspace(self.t0, self.t1, self.steps(level) + 1)
        return SobolLevel(self.tile(level), times, replicates, cost, cost + PER_PATH)


class Sampler:
    """The paths of one level, which become more as they are needed.

    Batches of paths begin at a new block of chains each, so that all that decides the numbers is how many paths each
    batch has.
    """

    def __init__(self, problem: Problem, level: int, is_first: bool = False) -> None:
        self.number, self.n_steps = level, problem.steps(level)
        is_first = is_first or level == 0
        self.path_steps = self.n_steps if is_first else problem.cost(level)
        self._fine = 0 if is_first else 1  # which of what is gathered is f on the fine paths
        self.n_paths = 0
        self._tile, self._next_chain = problem.tile(level, is_first), 0
        self._nodes: tuple[Nodes, ...] = tuple({} for _ in self._tile.gathered)

    @property
    def cost(self) -> int:
        """What a path costs, in path-steps."""
        return self.path_steps + PER_PATH

    def draw(self, n: float, how: How) -> None:
        """Simulate that many more paths, at least, in whole rows of lanes."""
        n_chains = max(math.ceil(n / ROW), 1) * ROW
        batch = replace(self._tile, first_chain=self._next_chain, n_chains=n_chains)
        told = None if how.bar is None else lambda steps: how.bar.update(steps * self.path_steps // batch.n_steps)
        outcome = how.where.run(batch, told)
        for gathered, nodes, new in zip(batch.gathered, self._nodes, outcome.nodes, strict=True):
            gathered.layout.add(nodes, new)
        self.n_paths += n_chains
        self._next_chain += -(-n_chains // BLOCK) * BLOCK

    def level(self) -> Level:
        """What is known so far."""
        totals = [ONE.total(nodes)[0] for nodes in self._nodes]
        (count, mean, squares), fine = totals[0], totals[self._fine]
        return Level(
            self.number, self.n_steps, self.n_paths, float(mean) if count else math.nan,
            float(squares / max(count - 1, 1)), float(fine[2] / max(fine[0] - 1, 1)), self.n_paths * self.path_steps,
            self.n_paths - int(count),
        )  # fmt: skip
