"""Tiles: ranges of whole blocks of chains, each run through all its steps by one worker.

A tile is plain data and `run_tile` a plain function, so threads, processes and clusters run the same thing; only
workers that share this process's memory are given views to write into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .. import _core
from .statistics import Layout, Nodes

#: Chains per block: statistics are kept per block, and only whole blocks can be merged.
BLOCK = _core.chains_per_block

#: Work per kernel call in path-steps of a scalar model, 5 to 50 ms; Ctrl-C, progress and threads come in between calls.
CALL = 16_000_000

#: Work per tile on an executor whose workers live in other processes: 0.1 to 1 s of work, long against what
#: handing a tile over takes and short enough for Ctrl-C, which cannot reach a tile that has begun there.
REMOTE_TILE = 300_000_000

_NEVER = np.zeros(1, np.uint8)


@dataclass(frozen=True)
class Tile:
    """A range of chains through all steps of a run.

    ``start`` is the start state, (dim, 1) for all chains or (dim, n_chains); ``coefficients`` has one row, or one for
    every step.
    """

    kernel: str
    coefficients: np.ndarray
    noise_dim: int
    seed: int
    first_chain: int
    n_chains: int
    first_step: int
    n_steps: int
    start: np.ndarray
    float32_noise: bool
    saves: np.ndarray
    keep_paths: bool
    layout: Layout

    @property
    def cost(self) -> int:
        """What a path-step costs, in steps of a scalar model: a linear step is a matrix product."""
        dim = self.layout.dim
        return max(dim * (dim + self.noise_dim) // 4, 1)

    @property
    def work(self) -> int:
        """The tile's cost; kernels work off at least one row of 32 lanes."""
        return max(self.n_chains, 32) * self.n_steps * self.cost


class TileResult(NamedTuple):
    """Saved states (n_saves, dim, n_chains), or None where the caller gave the memory or wants none; statistics."""

    first_chain: int
    n_chains: int
    saved: np.ndarray | None
    nodes: Nodes


def run_tile(
    tile: Tile,
    saved: np.ndarray | None = None,
    abort: np.ndarray = _NEVER,
    progress: Callable[[int], object] | None = None,
) -> TileResult:
    """Run a tile, in chunks of steps between which ``abort`` is obeyed and ``progress`` told of the path-steps done."""
    dim, dtype = tile.layout.dim, tile.start.dtype
    state = np.empty((dim, tile.n_chains), dtype)
    state[...] = tile.start
    shared = saved is not None
    if tile.keep_paths and saved is None:
        saved = np.empty((len(tile.saves), dim, tile.n_chains), dtype)
    n_blocks = -(-tile.n_chains // BLOCK)
    statistics = np.empty((n_blocks, len(tile.saves), tile.layout.size))
    for chunk in _chunks(tile):
        if abort[0]:
            break
        _run_chunk(tile, chunk, state, saved, statistics, abort)
        if progress is not None:
            progress(tile.n_chains * (chunk.end - chunk.start))
    nodes = tile.layout.nodes(statistics, tile.first_chain // BLOCK)
    return TileResult(tile.first_chain, tile.n_chains, None if shared else saved, nodes)


class _Chunk(NamedTuple):
    """Steps ``start`` to ``end`` (absolute) and the saves that fall on them."""

    start: int
    end: int
    saves: slice


def _chunks(tile: Tile) -> Iterator[_Chunk]:
    """Cut a tile's steps into calls of about `CALL`; long ones end where the noise begins a new segment."""
    last = tile.first_step + tile.n_steps
    if tile.work <= CALL:
        yield _Chunk(tile.first_step, last, slice(0, len(tile.saves)))
        return
    length = max(CALL * tile.n_steps // tile.work // 1024, 1) * 1024
    start = tile.first_step
    while start < last:
        end = min((start // length + 1) * length, last)
        # A time on the border belongs to the chunk that ends there; the very first also records the start.
        first = np.searchsorted(tile.saves, start, side="left" if start == tile.first_step else "right")
        yield _Chunk(start, end, slice(int(first), int(np.searchsorted(tile.saves, end, side="right"))))
        start = end


def _run_chunk(
    tile: Tile, chunk: _Chunk, state: np.ndarray, saved: np.ndarray | None, statistics: np.ndarray, abort: np.ndarray
) -> None:
    rows = tile.coefficients
    if len(rows) > 1:
        rows = rows[chunk.start - tile.first_step : chunk.end - tile.first_step]
    whole = chunk.saves == slice(0, len(tile.saves))
    part = statistics if whole else np.empty((len(statistics), chunk.saves.stop - chunk.saves.start, tile.layout.size))
    _core.run(
        tile.kernel,
        rows,
        tile.noise_dim,
        tile.seed,
        tile.first_chain,
        chunk.start,
        chunk.end - chunk.start,
        state,
        tile.float32_noise,
        tile.saves[chunk.saves],
        saved[chunk.saves] if saved is not None else None,
        part,
        tile.layout.moments,
        tile.layout.extremes,
        tile.layout.covariance,
        abort,
    )
    if not whole:
        statistics[:, chunk.saves] = part


def cut(run: Tile, work: int) -> Iterator[Tile]:
    """Cut a whole run into tiles of whole blocks with about that much ``work`` each."""
    blocks = max(work // (BLOCK * run.n_steps * run.cost), 1)
    if run.n_chains <= blocks * BLOCK:
        yield run
        return
    for start in range(0, run.n_chains, blocks * BLOCK):
        n_chains = min(blocks * BLOCK, run.n_chains - start)
        part = run.start if run.start.shape[1] == 1 else run.start[:, start : start + n_chains]
        yield replace(run, first_chain=run.first_chain + start, n_chains=n_chains, start=part)
