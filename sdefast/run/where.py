"""Where a run's tiles run: a GPU, threads, or an executor; and putting together what they give."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from .. import _core, checks, resources
from ..engine import executors
from ..engine.running import TileResult, run_tile
from ..engine.statistics import Nodes
from ..engine.tiles import Tile, empty_states
from .result import Cost

if TYPE_CHECKING:
    from ..cuda.target import Device

Progress = Callable[[int], object]


@dataclass(eq=False)
class Outcome:
    """What a run gives: states (n_saves, rows, n_chains) if they are kept, statistics, counts of a histogram.

    ``final`` are all rows at the end, (rows, n_chains), where they are kept.
    """

    states: Any
    nodes: tuple[Nodes, ...]
    counts: np.ndarray | None
    final: np.ndarray | None

    @classmethod
    def empty(cls, whole: Tile, states: Any) -> Outcome:
        """That of no chains yet, with the memory for the states, which workers fill."""
        counts = whole.empty_counts(len(whole.saves))
        final = np.empty((whole.dim, whole.n_chains), whole.start.dtype) if whole.keep_final else None
        return cls(states, tuple({} for _ in whole.gathered), counts, final)

    @classmethod
    def of(cls, result: TileResult) -> Outcome:
        """That of a run which is one tile."""
        return cls(result.saved, result.nodes, result.counts, result.final)

    def add(self, whole: Tile, result: TileResult) -> None:
        """Put in what a tile of the run gave."""
        for gathered, all_nodes, new in zip(whole.gathered, self.nodes, result.nodes, strict=True):
            gathered.layout.add(all_nodes, new)
        if self.counts is not None:
            self.counts += result.counts
        if result.final is None:
            self.final = None
        if self.final is not None:
            first = result.first_chain - whole.first_chain
            self.final[:, first : first + result.n_chains] = result.final


class Keeper(executors.Keeper, Protocol):
    """Who keeps what of a run is done, and goes on from what was done before."""

    def following(self, whole: Tile, outcome: Outcome, progress: Progress | None) -> AbstractContextManager[None]:
        """Put what was done before into the outcome, and follow what becomes of it."""
        ...

    def add(self, result: TileResult | None) -> None:
        """Add a result, if there is one, to the outcome."""
        ...

    def is_due(self) -> bool:
        """Whether it wants to know where tiles are that are in the middle; asked where it takes time to say so."""
        ...


class Where(NamedTuple):
    """A GPU, or threads or an executor."""

    executor: Executor | None
    threads: int
    gpu: Device | None

    @classmethod
    def of(cls, device: Any, threads: Any, executor: Any) -> Where:
        """What the arguments of that name ask for, checked."""
        return cls(executor, _workers(executor, threads), _gpu(device, executor))

    def run(self, whole: Tile, progress: Progress | None, keeper: Keeper | None = None) -> Outcome:
        """Run a tile, cut into as many as it takes; what a ``keeper`` has of it is not run again."""
        if keeper is None and self.gpu is None and executors.is_inline(whole, self.executor):
            return Outcome.of(run_tile(whole, progress=progress))
        states, results = self._begin(whole, progress, keeper)
        outcome = Outcome.empty(whole, states)
        if keeper is not None:
            # (workers are stopped before the keeper hears of an end that came too soon)
            with keeper.following(whole, outcome, progress), closing(results):
                for result in results:
                    keeper.add(result)
            return self._as_without_keeper(outcome)
        with closing(results):  # also when Ctrl-C comes while they are merged
            for result in results:
                if result is not None:
                    outcome.add(whole, result)
        return outcome

    def _begin(
        self, whole: Tile, progress: Progress | None, keeper: Keeper | None
    ) -> tuple[Any, Generator[TileResult | None]]:
        """Memory for the states, and the results, which fill it."""
        if self.gpu is not None:
            from ..cuda import run

            memory = run.allocate(whole, self.gpu, on_host=keeper is not None)
            return memory.states, run.run(whole, memory, self.gpu, progress, keeper)
        states = None
        if whole.keep_paths:
            states = empty_states(len(whole.saves), whole.n_kept, whole.n_chains, whole.start.dtype)
        return states, executors.run(whole, states, self.executor, self.threads, progress, keeper)

    def _as_without_keeper(self, outcome: Outcome) -> Outcome:
        """What was run for a keeper, who has it on the host, with its states where they are without one."""
        if self.gpu is None or outcome.states is None:
            return outcome
        from ..cuda import run

        return replace(outcome, states=run.onto_card(outcome.states, self.gpu))

    def cost(self, started: float, found: float = 0.0) -> Cost:
        """What a run took that began at that time of `time.perf_counter`, and of which ``found`` was done before."""
        seconds = time.perf_counter() - started
        source = f", {100 * found:.3g} % from a checkpoint" if found else ""
        if self.gpu is not None:
            return Cost(seconds, 1, self.gpu.architecture, self.gpu.name + source, found)
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        name = threads if self.executor is None else type(self.executor).__name__
        return Cost(seconds, self.threads, _core.isa, name + source, found)


def _workers(executor: Any, threads: Any) -> int:
    """Workers to keep busy: ``threads``, by default as many as the executor says it has, or processors."""
    if executor is not None and (isinstance(executor, type) or not hasattr(executor, "submit")):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {checks.shown(executor)}")
    if threads is None and executor is None:
        return resources.available_threads()
    if threads is None:
        threads = getattr(executor, "_max_workers", 16)
    return checks.count("threads", threads, most=65536)


def _gpu(device: Any, executor: Any) -> Device | None:
    """The GPU that was asked for, if any."""
    if not isinstance(device, str):
        raise TypeError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {checks.shown(device)}")
    if device == "cpu":
        return None
    if executor is not None:
        raise TypeError(f"executor is for device='cpu', got it with device={device!r}")
    from .. import cuda

    return cuda.find(device)


def progress_bar(wanted: bool, name: str, total: int | None, unit: str, done: int = 0) -> Any:
    """A progress bar as a context manager, or one of None; ``done`` of the total was done before."""
    if not wanted:
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=done, unit=unit, unit_scale=True, desc=name)
