"""Handing tiles to workers: inline, to the default thread pool, or to any `concurrent.futures.Executor`."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

import numpy as np

from . import tiles
from .tiles import Tile, TileResult, run_tile

_pools: dict[int, ThreadPoolExecutor] = {}

# Threads do not survive a fork; a child makes its own pool when it first needs one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)

Progress = Callable[[int], object]


def default_pool(threads: int) -> ThreadPoolExecutor:
    """The library's pool of that many threads, made on first use."""
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="sdefast")
    return _pools[threads]


def run(
    whole: Tile, saved: np.ndarray | None, executor: Executor | None, threads: int, progress: Progress | None
) -> Generator[TileResult]:
    """Run all tiles of a run and yield their results as they come; states go to ``saved`` (n_saves, dim, n_chains)."""
    if executor is None and whole.work < tiles.CALL // 16:
        yield run_tile(whole, saved, progress=progress)
        return
    # Also a single thread is one of a pool: Ctrl-C reaches the main thread, which then raises the abort flag.
    pool = executor if executor is not None else default_pool(threads)
    abort = np.zeros(1, np.uint8)
    if isinstance(pool, ThreadPoolExecutor):
        calls = ((t, _view(whole, t, saved), abort, progress) for t in tiles.cut(whole, tiles.CALL))
        yield from _run_pool(pool, calls, 4 * threads, abort)
        return
    work = min(tiles.REMOTE_TILE, whole.work // (4 * threads))
    for result in _run_pool(pool, ((t,) for t in tiles.cut(whole, work)), 4 * threads, abort):
        if saved is not None:
            start = result.first_chain - whole.first_chain
            saved[:, :, start : start + result.n_chains] = result.saved
        if progress is not None:
            progress(result.n_chains * whole.n_steps)
        yield result._replace(saved=None)


def _view(whole: Tile, tile: Tile, saved: np.ndarray | None) -> np.ndarray | None:
    if saved is None or tile is whole:
        return saved
    start = tile.first_chain - whole.first_chain
    return saved[:, :, start : start + tile.n_chains]


def _run_pool(pool: Executor, calls: Iterator[tuple[Any, ...]], window: int, abort: np.ndarray) -> Iterator[TileResult]:
    """Run a tile per call, at most ``window`` of them submitted. Whatever stops the loop stops the workers too."""
    pending: set[Future[TileResult]] = set()
    try:
        pending.update(pool.submit(run_tile, *call) for call in islice(calls, window))
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
            pending.update(pool.submit(run_tile, *call) for call in islice(calls, len(done)))
    finally:
        abort[0] = 1
        for future in pending:
            future.cancel()
        if pending:
            wait(pending, timeout=0.5)
