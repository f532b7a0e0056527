"""Handing tiles to workers: inline, to the default thread pool, or to any `concurrent.futures.Executor`."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import numpy as np

from .. import resources
from . import tiles
from .running import Begun, TileResult, run_tile
from .tiles import Tile

_pools: dict[int, ThreadPoolExecutor] = {}

# Threads do not survive a fork; a child makes its own pool when it first needs one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)

Progress = Callable[[int], object]

#: Bytes of a thread's stack: twice what kernels of the longest steps take.
_STACK = 2**24

#: How often a tile is tried whose worker is lost.
TRIES = 4

#: Seconds of silence after which it is looked whether a pool has broken.
LOOK = 1.0

#: What the futures of a cluster's executors raise where a worker is lost, by name: dask's, its and ours of what was
#: cancelled by the scheduler, parsl's and ipyparallel's.
_LOST = {"KilledWorker", "CommClosedError", "CancelledError", "WorkerLost", "ManagerLost", "EngineError"}


class Keeper(Protocol):
    """Who keeps what of a run is done, and knows what of it was done before."""

    def left(self) -> Iterable[tuple[int, int, Begun | None]]:
        """Ranges of chains that are to be run, (first, number), counted from the run's first, and what of them is done.

        What is done within tiles is for threads of this process; others run such ranges anew.
        """
        ...

    def reached(self, tile: Tile, begun: Begun) -> None:
        """A tile is at the end of a chunk of steps; called in the worker's thread."""
        ...

    def patience(self) -> float | None:
        """Seconds after which to give None in place of a result, if none comes."""
        ...


class _Pool(ThreadPoolExecutor):
    """Threads whose stacks have room for the rows of lanes that compiled kernels keep there.

    (What threads have by default may be 2 MiB where the main thread's stack is unlimited, and less elsewhere.)
    """

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="sdefast")
        self._starting = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with self._starting:
            before = threading.stack_size(_STACK)
            try:
                return super().submit(fn, *args, **kwargs)
            finally:
                threading.stack_size(before)


def default_pool(threads: int) -> ThreadPoolExecutor:
    """The library's pool of that many threads, made on first use."""
    if threads not in _pools:
        _pools[threads] = _Pool(threads)
    return _pools[threads]


def is_inline(whole: Tile, executor: Executor | None) -> bool:
    """Whether a run is so small that the caller's thread runs it."""
    return executor is None and whole.work < tiles.CALL // 16


def run(
    whole: Tile,
    saved: np.ndarray | None,
    executor: Executor | None,
    threads: int,
    progress: Progress | None,
    keeper: Keeper | None = None,
) -> Generator[TileResult | None]:
    """Run all tiles of a run, or what a ``keeper`` says is left of it, and yield their results as they come.

    States go to ``saved`` (n_saves, dim, n_chains). With a keeper None comes besides, for it to do its work.
    """
    left = [(0, whole.n_chains, None)] if keeper is None else keeper.left()
    keep = None if keeper is None else keeper.reached
    patience = _forever if keeper is None else keeper.patience
    if is_inline(whole, executor):
        for tile, begun in _pieces(whole, left, tiles.CALL):
            yield run_tile(tile, _view(whole, tile, saved), progress=progress, begun=begun)
        return
    # Also a single thread is one of a pool: Ctrl-C reaches the main thread, which then raises the abort flag.
    pool = executor if executor is not None else default_pool(threads)
    abort = np.zeros(1, np.uint8)
    if isinstance(pool, ThreadPoolExecutor):
        pieces = _pieces(whole, left, tiles.CALL)
        calls = ((t, _view(whole, t, saved), abort, progress, begun, keep) for t, begun in pieces)
        yield from _Workers(pool, calls, 4 * threads, abort, patience).results()
        return
    work = min(tiles.REMOTE_TILE, whole.work // (4 * threads))
    remote = ((t, None, abort) for first, n, _ in left for t in tiles.cut(tiles.part(whole, first, n), work))
    for result in _Workers(pool, remote, 4 * threads, abort, patience).results():
        if result is None:
            yield None
            continue
        if saved is not None:
            start = result.first_chain - whole.first_chain
            saved[:, :, start : start + result.n_chains] = result.saved
        if progress is not None:
            progress(result.n_chains * whole.n_steps)
        yield result._replace(saved=None)


def _forever() -> None:
    return None


def _pieces(
    whole: Tile, left: Iterable[tuple[int, int, Begun | None]], work: int
) -> Iterator[tuple[Tile, Begun | None]]:
    """Tiles of about that much work, and those in the middle as they are."""
    for first, n_chains, begun in left:
        range_ = tiles.part(whole, first, n_chains)
        if begun is not None:
            yield range_, begun
        else:
            yield from ((tile, None) for tile in tiles.cut(range_, work))


def _view(whole: Tile, tile: Tile, saved: np.ndarray | None) -> np.ndarray | None:
    if saved is None or tile is whole:
        return saved
    start = tile.first_chain - whole.first_chain
    return saved[:, :, start : start + tile.n_chains]


def _is_stuck(pool: Executor) -> bool:
    """Whether a pool of processes will not go on, though its futures do not say so.

    What is submitted while a pool breaks may never end; and where a process is killed while it hands over a result, the
    pool waits for the rest of it. Asked where nothing has come for a while: a sound pool has by then noticed.
    """
    inside: Any = pool
    if not all(hasattr(pool, name) for name in ("_processes", "_result_queue", "_broken")):
        return False  # it is not concurrent.futures.ProcessPoolExecutor
    return bool(inside._broken) or any(p.exitcode not in (None, 0) for p in list((inside._processes or {}).values()))


def _end(pool: Any) -> None:
    """End a pool that is stuck, so that nobody waits for it."""
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool._result_queue._writer.close()  # the last one: whoever reads finds the end


class _Workers:
    """An executor that runs a tile per call, at most ``window`` of them submitted.

    What was with a worker that is lost is run again: on the same executor where it goes on without that worker, on
    threads of this process where it does not. Whatever stops the loop over the results stops the workers too.

    A future says itself that it has ended, since `concurrent.futures.wait` does not see those that are cancelled by an
    executor's ``shutdown``.
    """

    def __init__(
        self,
        pool: Executor,
        calls: Iterator[tuple[Any, ...]],
        window: int,
        abort: np.ndarray,
        patience: Callable[[], float | None],
    ) -> None:
        self.pool, self.calls, self.window, self.abort, self.patience = pool, calls, window, abort, patience
        self.own: Executor | None = None  # the pool that took the place of a broken one
        self.pending: dict[Future[TileResult], tuple[int, tuple[Any, ...], Executor]] = {}
        self.ended: SimpleQueue[Future[TileResult]] = SimpleQueue()
        self.again: deque[tuple[int, tuple[Any, ...]]] = deque()

    def results(self) -> Iterator[TileResult | None]:
        """Results as they come; None where none came for ``patience()`` seconds."""
        try:
            self._submit()
            while self.pending:
                patience = self.patience()
                try:
                    future = self.ended.get(timeout=LOOK if patience is None else min(patience, LOOK))
                except Empty:
                    self._give_up_forgotten()
                    if patience is not None:
                        yield None
                    continue
                if future not in self.pending:  # given up before
                    continue
                result = self._result(future)
                if result is not None:
                    yield result
                self._submit()
        finally:
            self.abort[0] = 1
            running = [future for future in self.pending if not future.cancel()]
            if running:
                wait(running, timeout=0.5)

    def _give_up_forgotten(self) -> None:
        """Run again what a pool of processes without one of them has forgotten, or waits for in vain."""
        if self.own is None and _is_stuck(self.pool):
            _end(self.pool)
            self._replace_pool(BrokenExecutor("a process of it has ended, and its results no longer come"))
        if self.own is None:
            return
        for future in [f for f, (_, _, pool) in self.pending.items() if pool is not self.own and not f.done()]:
            tries, call, _ = self.pending.pop(future)
            self.again.append((tries, call))
        self._submit()

    def _submit(self) -> None:
        while len(self.pending) < self.window:
            tries, call = self.again.popleft() if self.again else (1, next(self.calls, None))
            if call is None:
                return
            try:
                future = self._submitted(call)
            except BrokenExecutor as error:
                self._replace_pool(error)
                future = self._submitted(call)
            self.pending[future] = tries, call, self.pool
            future.add_done_callback(self.ended.put)

    def _submitted(self, call: tuple[Any, ...]) -> Future[TileResult]:
        try:
            return self.pool.submit(run_tile, *call)
        except BrokenExecutor:
            raise
        except RuntimeError as error:  # it was shut down, or there can be no more threads
            raise RuntimeError(f"{type(self.pool).__name__} takes no more of the run's tiles: {error}") from error

    def _result(self, future: Future[TileResult]) -> TileResult | None:
        """The result of a tile; None if it is to be run again."""
        tries, call, _ = self.pending.pop(future)
        try:
            return future.result()
        except BrokenExecutor as error:
            self._replace_pool(error)
        except BaseException as error:
            if tries == TRIES or _LOST.isdisjoint(kind.__name__ for kind in type(error).__mro__):
                raise
        self.again.append((tries + 1, call))
        return None

    def _replace_pool(self, error: BrokenExecutor) -> None:
        """Go on with threads of this process, where a pool of processes is broken for good."""
        if isinstance(self.pool, ThreadPoolExecutor):
            if self.pool is self.own:
                return  # the last futures of the pool that was before
            raise error
        warnings.warn(
            f"a worker of {type(self.pool).__name__} was lost, which ends the pool: what is left of the run goes on in "
            f"threads of this process ({error})",
            RuntimeWarning,
            stacklevel=2,
        )
        self.pool = self.own = default_pool(min(self.window // 4, resources.available_threads()))
