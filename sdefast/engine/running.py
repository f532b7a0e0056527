"""Running a tile: calls of the compiled loops, some steps each.

A tile is plain data and `run_tile` a plain function, so threads, processes and clusters run the same thing; only
workers that share this process's memory are given views to write into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .. import _core
from . import tiles
from .statistics import Nodes
from .tiles import BLOCK, Draws, Gathered, OpenSteps, Tile, empty_states, named

_NEVER = np.zeros(1, np.uint8)


class _Still(NamedTuple):
    """A kernel that takes no step."""

    layout: str

    def address(self) -> int:
        return 0


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
    if start is None and tile.work <= tiles.CALL:
        yield _Chunk(tile.first_step, last, slice(0, len(tile.saves)))
        return
    start = tile.first_step if start is None else start
    length = last
    if tile.work > tiles.CALL:
        unit = 1024
        if tile.data is not None and tile.data.shuffled:  # an order is made anew in a call that begins within an epoch
            epoch = len(tile.data.rows) // tile.draws.picks
            unit = -(-unit // epoch) * epoch
        length = max(tiles.CALL * tile.n_steps // tile.work // unit, 1) * unit
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
        named(tile.kernel),
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
