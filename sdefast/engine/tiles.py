"""Tiles: ranges of whole blocks of chains, each run through all its steps by one worker; see ``running.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from .statistics import Histogram, Layout

#: Chains per block: statistics are kept per block, and only whole blocks can be merged.
BLOCK = _core.chains_per_block

#: Work per kernel call in path-steps of a scalar model, 5 to 50 ms; Ctrl-C, progress and threads come in between calls.
CALL = 16_000_000

#: Work per tile on an executor whose workers live in other processes: 0.1 to 1 s of work, long against what
#: handing a tile over takes and short enough for Ctrl-C, which cannot reach a tile that has begun there.
REMOTE_TILE = 300_000_000


class Compiled(Protocol):
    """A kernel that is compiled in every process that needs it."""

    @property
    def layout(self) -> str:
        """How the states that it reads lie: "wide", "narrow" or "chains" (`Layout` in csrc/engine/job.hpp)."""
        ...

    def address(self) -> int:
        """Address of the compiled function."""
        ...


class SteppedOutside(Protocol):
    """Steps that are taken outside the kernels, by functions of many chains at once."""

    @property
    def layout(self) -> str:
        """How the states lie when they are looked at."""
        ...

    def opened(self, tile: Tile) -> OpenSteps:
        """What steps a tile, in the process where that is done."""
        ...


class OpenSteps(Protocol):
    """What steps a tile outside the kernels."""

    layout: str

    def advance(self, state: np.ndarray, first: int, n_steps: int, abort: np.ndarray) -> None:
        """Take the states, (dim, n_chains), through ``n_steps`` from number ``first`` on, in place."""
        ...


@dataclass(frozen=True)
class Draws:
    """What a step draws: ``noise_dim`` normals, or signs +-1, ``uniform_dim`` uniforms and ``picks`` rows of data.

    ``words``: uniforms of float32 as the words that they are made of.
    """

    noise_dim: int
    uniform_dim: int = 0
    signs: bool = False
    float32: bool = False
    picks: int = 0
    words: bool = False


@dataclass(frozen=True, eq=False)
class Data:
    """Rows that steps draw from. Of chains that lie one after the other ``dim`` is the dimension of their vectors.

    ``shuffled``: every epoch in a fresh order, otherwise with replacement. See csrc/engine/picks.hpp.
    """

    rows: np.ndarray
    dim: int
    shuffled: bool


@dataclass(frozen=True)
class Observer:
    """Functions of time and state that are evaluated at saved times: ``count`` of them, with these parameters.

    ``kernel`` is the name of a built-in one or a compiled one.
    """

    kernel: str | Compiled
    count: int
    parameters: np.ndarray
    times: np.ndarray

    def at(self, saves: slice) -> tuple[str | tuple[int, str], int, np.ndarray, np.ndarray]:
        """What the kernel needs for some of the times."""
        return named(self.kernel), self.count, self.parameters, self.times[saves]


@dataclass(frozen=True)
class Gathered:
    """Statistics to gather: of rows from ``first_row`` on, of the state or of what the observer computes."""

    layout: Layout
    first_row: int = 0
    observed: bool = False


class Counted(NamedTuple):
    """Rows that a histogram is of: ``n`` from ``first_row`` on, of the state or of what the observer computes."""

    n: int
    first_row: int = 0
    observed: bool = False


@dataclass(frozen=True)
class Tile:
    """A range of chains through all steps of a run.

    ``kernel`` is the name of a built-in step or a compiled one; ``start`` is the start state, (dim, 1) for all chains
    or (dim, n_chains); ``coefficients`` has one row, or one for every step; ``normals``, (draws, n_chains), take the
    place of the generator's. ``table``, one-dimensional, contiguous and of the state's type, holds constants of the run
    that steps and observers read. ``keep_paths`` keeps the states at the saves, ``keep_final`` all rows at the end
    (a GPU only if the last step is a save). ``kept_rows`` of the first rows are what is kept at the saves, by default
    all; ``counted`` are those that a histogram is of, by default the same.
    """

    kernel: str | Compiled | SteppedOutside
    coefficients: np.ndarray
    draws: Draws
    seed: int
    first_chain: int
    n_chains: int
    first_step: int
    n_steps: int
    start: np.ndarray
    saves: np.ndarray
    keep_paths: bool
    gathered: tuple[Gathered, ...]
    cost: float
    observer: Observer | None = None
    histogram: Histogram | None = None
    normals: np.ndarray | None = None
    data: Data | None = None
    table: np.ndarray | None = None
    keep_final: bool = False
    kept_rows: int | None = None
    counted: Counted | None = None

    @property
    def dim(self) -> int:
        """Rows of the state."""
        return len(self.start)

    @property
    def n_kept(self) -> int:
        """How many of them are kept at the saves."""
        return self.dim if self.kept_rows is None else self.kept_rows

    @property
    def counts_of(self) -> Counted:
        """The rows that a histogram is of."""
        return Counted(self.n_kept) if self.counted is None else self.counted

    def empty_counts(self, n_saves: int) -> np.ndarray | None:
        """Counts of nothing yet at so many saves, where there is a histogram."""
        return None if self.histogram is None else self.histogram.empty(n_saves, self.counts_of.n)

    @property
    def work(self) -> int:
        """The tile's cost in steps of a scalar model; kernels work off at least one row of 32 lanes."""
        return int(max(self.n_chains, 32) * self.n_steps * self.cost)


#: Chains in a row of saved states from which on rows are padded to whole cache lines, which then is little.
_MANY = 1024


def empty_states(n_saves: int, dim: int, n_chains: int, dtype: np.dtype) -> np.ndarray:
    """Memory for saved states, (n_saves, dim, n_chains).

    Rows of many chains begin and end with a cache line, so that kernels can write them past the caches (see
    csrc/engine/store.hpp).
    """
    if n_chains < _MANY:
        return np.empty((n_saves, dim, n_chains), dtype)
    line = 64 // dtype.itemsize
    row = -(-n_chains // line) * line
    memory = np.empty(n_saves * dim * row + line, dtype)
    first = -memory.ctypes.data // dtype.itemsize % line
    return memory[first : first + n_saves * dim * row].reshape(n_saves, dim, row)[:, :, :n_chains]


def layout_of(kernel: str | Compiled | SteppedOutside) -> str:
    """How the chains of a step lie, which what observes it must know."""
    return _core.steps[kernel] if isinstance(kernel, str) else kernel.layout


def named(kernel: Any) -> str | tuple[int, str]:
    """What the compiled loops call a kernel: the name of a built-in one, or address and layout of another."""
    return kernel if isinstance(kernel, str) else (kernel.address(), kernel.layout)


def part(run: Tile, first: int, n_chains: int) -> Tile:
    """Chains of a run, counted from its first; the run itself if they are all of it."""
    if n_chains == run.n_chains:
        return run
    own = slice(first, first + n_chains)
    start = run.start if run.start.shape[1] == 1 else run.start[:, own]
    normals = None if run.normals is None else run.normals[:, own]
    return replace(run, first_chain=run.first_chain + first, n_chains=n_chains, start=start, normals=normals)


def cut(run: Tile, work: int) -> Iterator[Tile]:
    """Cut a whole run into tiles of whole blocks with about that much ``work`` each."""
    length = max(int(work / (BLOCK * run.n_steps * run.cost)), 1) * BLOCK
    for first in range(0, run.n_chains, length):
        yield part(run, first, min(length, run.n_chains - first))
