"""What a fit is made from, and what it gives: error and iterates over the runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .. import resources
from ..engine.parts import ONE
from ..engine.statistics import Layout, Nodes
from ..engine.tiles import BLOCK, Gathered, Observer, Tile
from ..run.where import Where
from ..sde.result import Cost
from .problem import LeastSquares
from .steps.traced import TracedIteration


class Kept(NamedTuple):
    """Runs and parameters that are kept, by their numbers."""

    runs: np.ndarray
    parameters: np.ndarray


@dataclass(frozen=True, eq=False)
class DescentSettings:
    """What decides a fit's numbers."""

    iteration: TracedIteration
    rates: np.ndarray
    n_steps: int
    n_runs: int
    start: np.ndarray
    saves: np.ndarray
    layout: Layout
    kept: Kept | None
    seed: int
    first_run: int
    noise_dtype: np.dtype

    def tile(self, device: Any) -> Tile:
        """All runs, with the errors."""
        if self.iteration.is_error:
            return self._tile(device, (Gathered(ONE),), None)
        kernel, parameters = self.iteration.observer(self.start.dtype.name, device)
        n_errors = self.iteration.n_observed
        observer = Observer(kernel, n_errors, parameters, self.saves.astype(float))
        errors = tuple(Gathered(ONE, i, observed=True) for i in range(n_errors))
        return self._tile(device, errors, observer)

    def moments_tile(self, device: Any) -> Tile:
        """All runs, with the moments of theta - theta*."""
        turned = self.iteration.turned(self.start.dtype.name, device)
        if turned is None:
            return self._tile(device, (Gathered(self.layout),), None)
        observer = Observer(turned[0], self.iteration.dim, turned[1], self.saves.astype(float))
        return self._tile(device, (Gathered(self.layout, observed=True),), observer)

    def states_tile(self, device: Any, first: int, n: int) -> Tile:
        """The rows of ``n`` runs from ``first`` on."""
        return self._tile(device, (), None, first, n)

    def kept_theta(self, where: Where) -> np.ndarray | None:
        """The kept parameters of the kept runs, of shape (n_times, runs, parameters)."""
        if self.kept is None:
            return None
        runs, parameters = self.kept
        coordinates, d = self.iteration.coordinates, self.iteration.dim
        theta = np.empty((len(self.saves), len(runs), len(parameters)), self.start.dtype)
        pieces = np.split(np.arange(len(runs)), np.flatnonzero(np.diff(runs) != 1) + 1)
        for piece in pieces:
            for at in np.split(piece, range(self._at_a_time, len(piece), self._at_a_time)):
                states = where.run(self.states_tile(where.gpu, int(runs[at[0]]), len(at)), None).states
                rows = (states if isinstance(states, np.ndarray) else states.to_numpy())[:, :d]
                theta[:, at] = coordinates.theta(rows, parameters).transpose(0, 2, 1)
        return theta

    @property
    def _at_a_time(self) -> int:
        """Kept runs that run together: whole rows of lanes, and few where their states take much memory."""
        one = len(self.saves) * self.start.itemsize * len(self.start)
        return min(max(_STATES // one // 32, 1) * 32, _AT_A_TIME)

    def refuse_too_large(self, threads: int) -> None:
        """MemoryError, before any work, if what is kept, or the orders of shuffled rows, cannot fit."""
        if self.kept is not None:
            (runs, parameters), n, size = map(len, self.kept), len(self.saves), self.start.itemsize
            together = min(runs, self._at_a_time) * (len(self.start) * size + parameters * 8)
            resources.refuse_too_large(
                n * (runs * parameters * size + together), f"the iterates of {runs} runs at {n} iterations",
                ["keep fewer: runs=, coordinates= or save_at="],
            )  # fmt: skip
        rows = self.iteration.problem.n_data
        if self.iteration.shuffled and rows is not None:
            working = min(threads, -(-self.n_runs // BLOCK))
            resources.refuse_too_large(
                rows * working * 4 * 32, f"the orders of {rows} rows on {working} threads",
                ["sampling='replacement' has none", "threads= takes fewer"],
            )  # fmt: skip

    def _tile(
        self, device: Any, gathered: tuple[Gathered, ...], observer: Observer | None, first: int = 0, n: int = 0
    ) -> Tile:
        """The runs as a tile of the engine; with ``n`` only so many from ``first`` on, whose states are kept."""
        iteration, dtype = self.iteration, self.start.dtype
        kernel, coefficients = iteration.kernel(self.rates, self.n_steps, dtype.name, self.noise_dtype.name, device)
        start = self.start[:, first : first + n] if n and self.start.shape[1] > 1 else self.start
        return Tile(
            kernel, coefficients, iteration.draws(self.noise_dtype), self.seed, self.first_run + first,
            n or self.n_runs, 0, self.n_steps, start, self.saves, bool(n), gathered, iteration.cost, observer,
            data=None if device is not None else iteration.data(dtype, self.noise_dtype),
        )  # fmt: skip


#: Saved times of many numbers that a chunk of steps has, about: `steps_per_chunk` in csrc/engine/chain_loop.hpp.
_TIMES = 32

#: Kept runs that run together at most, and bytes that their states may take if there are more than a row of lanes.
_AT_A_TIME, _STATES = 256, 2**28


@dataclass(frozen=True, eq=False)
class Descent:
    """Result of `sgd`: error and iterates over all runs that are finite, at every saved iteration.

    Mean, variance and covariance of the iterates are found by running everything once more when they are first asked
    for: the errors alone are faster.
    """

    settings: DescentSettings
    cost: Cost
    _nodes: tuple[Nodes, ...] = field(repr=False)
    _theta: np.ndarray | None = field(repr=False)
    _where: Where = field(repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """All but the executor, which cannot be sent."""
        return {**self.__dict__, "_where": self._where._replace(executor=None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def problem(self) -> LeastSquares:
        """The problem."""
        return self.settings.iteration.problem

    @property
    def seed(self) -> int:
        """The seed, also where none was given."""
        return self.settings.seed

    @property
    def iterations(self) -> np.ndarray:
        """Saved iterations, of shape (n_times,); 0 is the start."""
        return self.settings.saves

    @property
    def error(self) -> np.ndarray:
        r"""Mean over the runs of :math:`|\theta_k - \theta^*|^2`, of shape (n_times,)."""
        return self._mean(0)

    @property
    def error_standard_error(self) -> np.ndarray:
        """Standard error of `error`, of shape (n_times,)."""
        return self._standard_error(0)

    @property
    def averaged_error(self) -> np.ndarray:
        """Mean over the runs of the squared error of the averaged iterate, of shape (n_times,)."""
        self._refuse_unaveraged()
        return self._mean(1)

    @property
    def averaged_error_standard_error(self) -> np.ndarray:
        """Standard error of `averaged_error`, of shape (n_times,)."""
        self._refuse_unaveraged()
        return self._standard_error(1)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the iterates over the runs, of shape (n_times, d)."""
        mean: np.ndarray = self.problem.theta_star + self._moments[:, self.settings.layout.component(0)]
        return mean

    @property
    def variance(self) -> np.ndarray:
        """Unbiased variance of the iterates over the runs, of shape (n_times, d)."""
        squares: np.ndarray = self._moments[:, self.settings.layout.component(1)]
        variance: np.ndarray = squares / np.maximum(self._moments[:, 0] - 1, 1)[:, None]
        return variance

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `mean`, of shape (n_times, d)."""
        error: np.ndarray = np.sqrt(self.variance / np.maximum(self._moments[:, 0], 1)[:, None])
        return error

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance of the iterates over the runs, of shape (n_times, d, d)."""
        layout = self.settings.layout
        self._refuse_error_alone()
        if not layout.covariance and layout.dim > 1:
            raise AttributeError("covariance was not gathered: pass covariance=True to sgd")
        return layout.covariances(self._moments)

    @property
    def theta(self) -> np.ndarray:
        """Iterates of the runs that were kept, of shape (n_times, runs, d), or those of their kept coordinates."""
        self._refuse_error_alone()
        if self._theta is None:
            raise AttributeError("no iterates were kept: pass runs= to sgd")
        return self._theta

    @property
    def n_diverged(self) -> np.ndarray:
        """How many runs are no longer finite at each saved iteration, of shape (n_times,)."""
        return self.settings.n_runs - self._count(0).astype(np.int64)

    @cached_property
    def _totals(self) -> list[np.ndarray]:
        return [ONE.total(nodes) for nodes in self._nodes]

    @cached_property
    def _moments(self) -> np.ndarray:
        """Statistics of theta - theta*."""
        self._refuse_error_alone()
        settings, where = self.settings, self._where
        n, size = len(settings.saves), settings.layout.size
        options = ["save fewer: save_at=", *["mean and variance alone: covariance=False"] * settings.layout.covariance]
        # Merged blocks and those of some tiles in flight; every thread's sums for the times of a chunk, in 16 columns.
        sums = 16 * min(where.threads, -(-settings.n_runs // BLOCK)) * (min(n, _TIMES) + 1)
        resources.refuse_too_large((32 * n + sums) * size * 8, f"the moments of {n} iterations", options)
        return settings.layout.total(where.run(settings.moments_tile(where.gpu), None).nodes[0])

    def _count(self, part: int) -> np.ndarray:
        return self._totals[part][:, 0]

    def _mean(self, part: int) -> np.ndarray:
        return np.where(self._count(part) > 0, self._totals[part][:, 1], np.nan)

    def _standard_error(self, part: int) -> np.ndarray:
        n = self._count(part)
        error = np.sqrt(self._totals[part][:, 2] / np.maximum(n - 1, 1) / np.maximum(n, 1))
        return np.where(n > 1, error, np.nan)

    def _refuse_error_alone(self) -> None:
        if self.settings.iteration.is_error:
            raise AttributeError("reduced=True ran the error alone: sgd without it has the iterates and their moments")

    def _refuse_unaveraged(self) -> None:
        self._refuse_error_alone()
        if not self.settings.iteration.averaged:
            raise AttributeError("iterates were not averaged: pass averaging='polyak-ruppert' to sgd")

    def __repr__(self) -> str:
        s = self.settings
        return (
            f"<SGD on {self.problem!r}: {s.n_runs:,} runs x {s.n_steps:,} iterations, batches of "
            f"{s.iteration.batch_size}, {s.start.dtype.name}, seed {s.seed}; {self.cost.seconds:.3g} s, "
            f"{s.n_runs * s.n_steps / self.cost.seconds / 1e6:,.0f} M iterations/s, {self.cost.executor}>"
        )
