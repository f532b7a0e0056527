"""Tiles: ranges of whole blocks of chains, each run through all its steps by one worker.

A tile is plain data and `run_tile` a plain function, so threads, processes and clusters run the same thing; only
workers that share this process's memory are given views to write into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from .statistics import Histogram, Layout, Nodes

#: Chains per block: statistics are kept per block, and only whole blocks can be merged.
BLOCK = _core.chains_per_block

#: Work per kernel call in path-steps of a scalar model, 5 to 50 ms; Ctrl-C, progress and threads come in between calls.
CALL = 16_000_000

#: Work per tile on an executor whose workers live in other processes: 0.1 to 1 s of work, long against what
#: handing a tile over takes and short enough for Ctrl-C, which cannot reach a tile that has begun there.
REMOTE_TILE = 300_000_000

_NEVER = np.zeros(1, np.uint8)


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


class _Still(NamedTuple):
    """A kernel that takes no step."""

    layout: str

    def address(self) -> int:
        return 0


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
        return _named(self.kernel), self.count, self.parameters, self.times[saves]


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


class TileResult(NamedTuple):
    """Saved states (n_saves, kept rows, n_chains), or None where the caller gave the memory or wants none; statistics.

    ``final`` are all rows at the end, (dim, n_chains), where they are kept.
    """

    first_chain: int
    n_chains: int
    saved: np.ndarray | None
    nodes: tuple[Nodes, ...]
    counts: np.ndarray | None
    final: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Begun:
    """A tile in the middle: its rows before ``step``, and what was gathered at its first ``n_saves`` saves.

    ``statistics``, one array (n_blocks, n_saves, size) for each of ``tile.gathered``, and ``counts`` may have room for
    more saves than are done.
    """

    step: int
    n_saves: int
    state: np.ndarray
    statistics: Sequence[np.ndarray]
    counts: np.ndarray | None


def run_tile(
    tile: Tile,
    saved: np.ndarray | None = None,
    abort: np.ndarray = _NEVER,
    progress: Callable[[int], object] | None = None,
    begun: Begun | None = None,
    keep: Callable[[Tile, Begun], object] | None = None,
) -> TileResult:
    """Run a tile, in chunks of steps between which ``abort`` is obeyed and ``progress`` told of the path-steps done.

    It goes on from where it has ``begun``, if it has (``saved`` then holds the states at the saves before). ``keep`` is
    told where it is after every chunk but the last: the state goes on changing, what was gathered stays as it is.
    """
    n_saves, dtype = len(tile.saves), tile.start.dtype
    state = np.empty((tile.dim, tile.n_chains), dtype)
    state[...] = tile.start
    shared = saved is not None
    if tile.keep_paths and saved is None:
        saved = empty_states(n_saves, tile.n_kept, tile.n_chains, dtype)
    n_blocks = -(-tile.n_chains // BLOCK)
    statistics = [np.empty((n_blocks, n_saves, g.layout.size)) for g in tile.gathered]
    counts = tile.empty_counts(n_saves)
    if begun is not None:
        _restore(begun, state, statistics, counts)
    outside = tile.kernel.opened(tile) if hasattr(tile.kernel, "opened") else None
    for chunk in _chunks(tile, None if begun is None else begun.step):
        if abort[0]:
            break
        if outside is None:
            _run_chunk(tile, chunk, state, saved, statistics, counts, abort)
        else:
            _step_outside(tile, outside, chunk, state, saved, statistics, counts, abort)
        if progress is not None:
            progress(tile.n_chains * (chunk.end - chunk.start))
        if keep is not None and not abort[0] and chunk.end < tile.first_step + tile.n_steps:
            keep(tile, Begun(chunk.end, chunk.saves.stop, state, statistics, counts))
    first_block = tile.first_chain // BLOCK
    nodes = tuple(g.layout.nodes(s, first_block) for g, s in zip(tile.gathered, statistics, strict=True))
    return TileResult(
        tile.first_chain, tile.n_chains, None if shared else saved, nodes, counts, state if tile.keep_final else None
    )


def _restore(begun: Begun, state: np.ndarray, statistics: list[np.ndarray], counts: np.ndarray | None) -> None:
    """Take over what a tile has done."""
    state[...] = begun.state
    for own, before in zip(statistics, begun.statistics, strict=True):
        own[:, : begun.n_saves] = before[:, : begun.n_saves]
    if counts is not None and begun.counts is not None:
        counts[: begun.n_saves] = begun.counts[: begun.n_saves]


class _Chunk(NamedTuple):
    """Steps ``start`` to ``end`` (absolute) and the saves that fall on them."""

    start: int
    end: int
    saves: slice


def _chunks(tile: Tile, start: int | None = None) -> Iterator[_Chunk]:
    """Cut a tile, or what is left of it from step ``start`` on, into calls of about `CALL`.

    Long tiles' calls end where noise begins a segment or data an epoch.
    """
    last = tile.first_step + tile.n_steps
    if start is None and tile.work <= CALL:
        yield _Chunk(tile.first_step, last, slice(0, len(tile.saves)))
        return
    start = tile.first_step if start is None else start
    length = last
    if tile.work > CALL:
        unit = 1024
        if tile.data is not None and tile.data.shuffled:  # an order is made anew in a call that begins within an epoch
            epoch = len(tile.data.rows) // tile.draws.picks
            unit = -(-unit // epoch) * epoch
        length = max(CALL * tile.n_steps // tile.work // unit, 1) * unit
    while start < last:
        end = min((start // length + 1) * length, last)
        # A time on the border belongs to the chunk that ends there; the very first also records the start.
        first = np.searchsorted(tile.saves, start, side="left" if start == tile.first_step else "right")
        yield _Chunk(start, end, slice(int(first), int(np.searchsorted(tile.saves, end, side="right"))))
        start = end


def _run_chunk(
    tile: Tile,
    chunk: _Chunk,
    state: np.ndarray,
    saved: np.ndarray | None,
    statistics: list[np.ndarray],
    counts: np.ndarray | None,
    abort: np.ndarray,
) -> None:
    rows, saves, draws = tile.coefficients, chunk.saves, tile.draws
    if len(rows) > 1:
        rows = rows[chunk.start - tile.first_step : chunk.end - tile.first_step]
    whole = saves == slice(0, len(tile.saves))
    parts = statistics if whole else [np.empty((len(s), saves.stop - saves.start, s.shape[2])) for s in statistics]
    observer = tile.observer
    _core.run(
        _named(tile.kernel),
        rows,
        draws.noise_dim,
        draws.uniform_dim,
        draws.signs,
        tile.seed,
        tile.first_chain,
        chunk.start,
        chunk.end - chunk.start,
        state,
        draws.float32,
        tile.saves[saves],
        saved[saves] if saved is not None else None,
        tuple(_request(g, out) for g, out in zip(tile.gathered, parts, strict=True)),
        None if observer is None else observer.at(saves),
        _bins(tile, counts, saves),
        None if tile.normals is None else _steps_of(tile, chunk),
        None if tile.data is None else (tile.data.rows, tile.data.dim, tile.data.shuffled, draws.picks),
        tile.table,
        draws.words,
        abort,
    )
    if not whole:
        for all_times, part in zip(statistics, parts, strict=True):
            all_times[:, saves] = part


def _step_outside(
    tile: Tile,
    steps: OpenSteps,
    chunk: _Chunk,
    state: np.ndarray,
    saved: np.ndarray | None,
    statistics: list[np.ndarray],
    counts: np.ndarray | None,
    abort: np.ndarray,
) -> None:
    """Steps outside the kernels, and at every save a kernel that records without taking one."""
    still = replace(tile, kernel=_Still(steps.layout), draws=Draws(0), coefficients=tile.coefficients[:1])
    at = chunk.start
    for i in range(chunk.saves.start, chunk.saves.stop):
        save = int(tile.saves[i])
        steps.advance(state, at, save - at, abort)
        if abort[0]:
            return
        _run_chunk(still, _Chunk(save, save, slice(i, i + 1)), state, saved, statistics, counts, abort)
        at = save
    steps.advance(state, at, chunk.end - at, abort)


def layout_of(kernel: str | Compiled | SteppedOutside) -> str:
    """How the chains of a step lie, which what observes it must know."""
    return _core.steps[kernel] if isinstance(kernel, str) else kernel.layout


def _named(kernel: Any) -> str | tuple[int, str]:
    return kernel if isinstance(kernel, str) else (kernel.address(), kernel.layout)


def _request(g: Gathered, out: np.ndarray) -> tuple[bool, int, int, int, bool, bool, np.ndarray]:
    layout = g.layout
    return g.observed, g.first_row, layout.dim, layout.moments, layout.extremes, layout.covariance, out


def _steps_of(tile: Tile, chunk: _Chunk) -> np.ndarray:
    assert tile.normals is not None
    first, last = (tile.draws.noise_dim * (k - tile.first_step) for k in (chunk.start, chunk.end))
    return tile.normals[first:last]


def _bins(tile: Tile, counts: np.ndarray | None, saves: slice) -> tuple[float, float, np.ndarray, int, bool] | None:
    histogram, counted = tile.histogram, tile.counts_of
    if histogram is None or counts is None:
        return None
    return histogram.low, histogram.bins_per_unit, counts[saves], counted.first_row, counted.observed


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
