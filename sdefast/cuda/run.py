"""Running a tile on a GPU, in launches over ranges of chains and steps.

A launch takes chains through steps and stores their saved states; statistics and histograms are then made of these.
States stay on the card where they fit; else they go to the host through two buffers, one of which is copied while the
other is filled.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from .. import resources
from ..engine.statistics import Nodes
from ..engine.tiles import BLOCK, Gathered, Tile, TileResult
from ..jit.emit import CLOCK
from ..least_squares.cuda.kernels import TILE
from . import statistics, target
from .array import DeviceArray
from .kernels import Builtin, DescentKernel
from .target import SIMULATED, Device, launch

#: Threads of a block, each with a chain.
_THREADS = 32 if SIMULATED else 128

#: Threads that merge the statistics of a time.
_MERGING = 32 if SIMULATED else 512

#: Work per launch in path-steps of a scalar model: long against what a launch takes, short for Ctrl-C.
LAUNCH = 20_000_000_000

#: Chains at a time at most, and at least where memory is short: enough to keep a large card busy.
MOST_CHAINS, LEAST_CHAINS = 2**22, 2**18

#: The part of the free memory that a run takes for states, and what it takes to pass them on.
_USABLE, _BUFFER = 0.85, 2**30

#: Saves per launch at most: the third dimension of a grid.
_MOST_SAVES = 32768

#: Steps whose draws are sure to be whole segments.
_SEGMENT = 1024

_NEVER = 2**62

_LAUNCHES_AHEAD = 2


class Memory(NamedTuple):
    """Where the states of a run go: an array on a card, or one of the host; neither if they are not kept."""

    device: Any
    host: np.ndarray | None
    number: int

    @property
    def states(self) -> Any:
        """The states as a user gets them."""
        return self.host if self.device is None else DeviceArray.of(self.device, self.number)


def allocate(whole: Tile, device: Device) -> Memory:
    """Memory for the saved states (n_saves, rows, n_chains) of a run that keeps them: the card's if they fit there."""
    if not whole.keep_paths:
        return Memory(None, None, device.number)
    shape = (len(whole.saves), whole.dim, whole.n_chains)
    needed = math.prod(shape) * whole.start.dtype.itemsize
    with device.current():
        free = _room(whole, device)
        if needed + min(4 * _BUFFER, free // 4) <= _USABLE * free:
            # (bound to no stream: whoever takes the states finds them complete)
            return Memory(cuda.device_array(shape, whole.start.dtype), None, device.number)
    resources.refuse_too_large(needed, "the saved states, which do not fit on the card,", ["paths=False keeps none"])
    return Memory(None, np.empty(shape, whole.start.dtype), device.number)


def _room(whole: Tile, device: Device) -> int:
    """Bytes of the card that the arrays and the data of the kernel leave free."""
    free, kernel = device.free_memory(), whole.kernel
    room = free - device.thread_memory(kernel.kernel())  # type: ignore[union-attr]
    if isinstance(kernel, DescentKernel):
        if kernel.data.nbytes > _USABLE * room:
            raise MemoryError(
                f"the data need {kernel.data.nbytes / 2**30:.1f} GiB on the card, {free / 2**30:.1f} GiB are free there"
            )
        room -= kernel.data.nbytes
    return max(room, 0)


def run(whole: Tile, memory: Memory, device: Device, progress: Callable[[int], object] | None) -> Generator[TileResult]:
    """Run a tile and yield its results range by range; states go to ``memory``."""
    with device.current():
        yield from _Run(whole, memory, device, progress).results()


class _Launch(NamedTuple):
    """Steps ``start`` to ``end`` of ``n`` chains from local number ``first`` on, and the saves that fall on them."""

    first: int
    n: int
    start: int
    end: int
    saves: slice

    @property
    def n_saves(self) -> int:
        return int(self.saves.stop - self.saves.start)


class _Run:
    """A tile, its kernels and what they share on the card."""

    def __init__(self, whole: Tile, memory: Memory, device: Device, progress: Callable[[int], object] | None) -> None:
        self.tile, self.memory, self.stream = whole, memory, device.stream()
        self.progress = progress or (lambda done: None)
        self.dtype, self.itemsize = whole.start.dtype, whole.start.dtype.itemsize
        self.limits = _Limits.of(whole, int(_USABLE * _room(whole, device) / 4), scratch=memory.device is None)
        self.paths = whole.kernel.kernel()  # type: ignore[union-attr]
        self.observer = whole.observer and whole.observer.kernel.kernel()  # type: ignore[union-attr]
        self.chain = _Descended(self, whole) if isinstance(whole.kernel, DescentKernel) else _Stepped(self, whole)
        self.passing = _Passing(memory.host) if memory.host is not None else None
        self.ahead: deque[tuple[Any, int]] = deque()

    def results(self) -> Iterator[TileResult]:
        n = self.limits.n_chains
        for first in range(0, self.tile.n_chains, n):
            yield self._range(first, min(n, self.tile.n_chains - first))
        if self.passing is not None:
            self.passing.finish()

    def _range(self, first: int, n: int) -> TileResult:
        """All steps of ``n`` chains."""
        tile = self.tile
        first_block = (tile.first_chain + first) // BLOCK
        places = node_places(-(-n // BLOCK), first_block)
        nodes: tuple[Nodes, ...] = tuple(
            {key: np.empty((len(tile.saves), g.layout.size)) for key, _ in places} for g in tile.gathered
        )
        counts = None if tile.histogram is None else tile.histogram.empty(len(tile.saves), tile.dim)
        state = self.chain.start(first, n)
        for part in _launches(tile, first, n, self.limits):
            saved = self._saved(part)
            self._advance(part, state, saved)
            if self.passing is not None:
                self.passing.receive()  # while the card is at work
            if part.n_saves:
                self._gather(part, saved, first_block, places, nodes, counts)
                if self.passing is not None:
                    self.passing.pass_on(saved, part, self.stream)
            self._pace(part)
        self._pace(None)
        return TileResult(tile.first_chain + first, n, None, nodes, counts)

    # On the card -------------------------------------------------------------------------------------------------

    def send(self, values: np.ndarray) -> Any:
        return cuda.to_device(np.ascontiguousarray(values), stream=self.stream)

    def _receive(self, values: Any) -> np.ndarray:
        """A copy on the host, once all that was asked for before is done."""
        copied: np.ndarray = values.copy_to_host(stream=self.stream)
        target.wait(self.stream)
        return copied

    def new(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return cuda.device_array(shape, dtype, stream=self.stream)

    def _saved(self, part: _Launch) -> Any:
        """Where a launch stores its states (n_saves, rows, n)."""
        if self.memory.device is not None and part.n_saves:
            return self.memory.device[part.saves, :, part.first : part.first + part.n]
        shape = (max(part.n_saves, 1), self.tile.dim, part.n)
        return self.new(shape, self.dtype) if self.passing is None else self.passing.buffer(shape, self.dtype)

    def _advance(self, part: _Launch, state: Any, saved: Any) -> None:
        grid = -(-part.n // _THREADS)
        launch(self.paths, grid, _THREADS, self.stream)(*self.chain.arguments(part, state, saved))

    def _gather(
        self, part: _Launch, saved: Any, first_block: int, places: list[tuple[tuple[int, int], int]],
        nodes: tuple[Nodes, ...], counts: np.ndarray | None,
    ) -> None:  # fmt: skip
        """Statistics and counts of what a launch has stored."""
        observed = self._observe(part, saved) if self.observer else None
        for gathered, into in zip(self.tile.gathered, nodes, strict=True):
            merged = self._statistics(part, observed if gathered.observed else saved, gathered, first_block)
            for key, place in places:
                into[key][part.saves] = self._receive(merged[place])
        if self.tile.histogram is not None and counts is not None:
            counts[part.saves] += self._count(part, saved)

    def _observe(self, part: _Launch, saved: Any) -> Any:
        observer = self.tile.observer
        assert observer is not None
        observed = self.new((part.n_saves, observer.count, part.n), self.dtype)
        parameters, times = self.send(observer.parameters), self.send(observer.times[part.saves])
        grid = -(-part.n // _THREADS), part.n_saves
        launch(self.observer, grid, _THREADS, self.stream)(parameters, times, part.n, saved, observed)
        return observed

    def _statistics(self, part: _Launch, x: Any, gathered: Gathered, first_block: int) -> Any:
        """The statistics of a launch's chains as the tree's nodes, each where its first block is."""
        layout, n_blocks = gathered.layout, -(-part.n // BLOCK)
        out = self.new((n_blocks, part.n_saves, layout.size), np.float64)
        flags, items = (layout.moments, int(layout.extremes)), layout.dim + layout.n_pairs
        blocks, known = Builtin("blocks", self.dtype.name).kernel(), self._find_finite(part, x, gathered)
        launch(blocks, (n_blocks * items, part.n_saves), statistics.THREADS, self.stream)(
            x, known, gathered.first_row, layout.dim, *flags, part.n, out
        )
        if n_blocks > 1:
            threads = min(_MERGING, n_blocks // 2 * items)
            covariance = int(layout.n_pairs > 0)
            tree = Builtin("tree", self.dtype.name).kernel()
            launch(tree, part.n_saves, threads, self.stream)(out, first_block, layout.dim, *flags, covariance)
        return out

    def _find_finite(self, part: _Launch, x: Any, gathered: Gathered) -> Any:
        """Which chains are finite (n_saves, n); of few rows nobody asks."""
        dim = gathered.layout.dim
        if dim <= statistics.FEW:
            return self.new((1, 1), np.uint8)
        known = self.new((part.n_saves, part.n), np.uint8)
        grid = -(-part.n // _THREADS), part.n_saves
        kernel = Builtin("find_finite", self.dtype.name).kernel()
        launch(kernel, grid, _THREADS, self.stream)(x, gathered.first_row, dim, part.n, known)
        return known

    def _count(self, part: _Launch, saved: Any) -> np.ndarray:
        histogram = self.tile.histogram
        assert histogram is not None
        counts = self.send(histogram.empty(part.n_saves, self.tile.dim))
        grid = -(-part.n // _THREADS), self.tile.dim, part.n_saves
        kernel = Builtin("count", self.dtype.name).kernel()
        launch(kernel, grid, _THREADS, self.stream)(
            saved, self.tile.dim, histogram.low, histogram.bins_per_unit, histogram.bins, part.n, counts
        )
        return self._receive(counts)

    def _pace(self, part: _Launch | None) -> None:
        """Let the card be no more than a few launches ahead, for Ctrl-C and progress; None: wait for all."""
        if part is not None:
            event = cuda.event()
            event.record(self.stream)
            self.ahead.append((event, part.n * (part.end - part.start)))
        while len(self.ahead) > (_LAUNCHES_AHEAD if part is not None else 0):
            event, done = self.ahead.popleft()
            event.synchronize()
            self.progress(done)


class _Stepped:
    """What the kernel of a chain's steps is called with; its state is (rows, n)."""

    def __init__(self, run: _Run, tile: Tile) -> None:
        self.run, self.tile = run, tile
        self.rows = self._send(tile.coefficients) if len(tile.coefficients) == 1 else None

    def start(self, first: int, n: int) -> Any:
        """The state of ``n`` chains before their first step."""
        run, start = self.run, self.tile.start
        if start.shape[1] > 1:
            return run.send(start[:, first : first + n])
        state = run.new((self.tile.dim, n), run.dtype)
        spread = Builtin("spread", run.dtype.name).kernel()
        launch(spread, -(-n // _THREADS), _THREADS, run.stream)(run.send(start), n, state)
        return state

    def arguments(self, part: _Launch, state: Any, saved: Any) -> tuple[Any, ...]:
        clock, c = self._rows(part)
        return (clock, c, *self._chains(part), state, saved, self._given(part))

    def _chains(self, part: _Launch, unit: int = 1) -> tuple[Any, ...]:
        """What says which chains go which way, with ``unit`` steps of the kernel for one of the tile."""
        tile = self.tile
        saves = self.run.send(np.append(tile.saves[part.saves] * unit, _NEVER))
        seed, steps = (tile.seed & 0xFFFFFFFF, tile.seed >> 32), (part.start * unit, (part.end - part.start) * unit)
        return (*seed, tile.first_chain + part.first, part.n, *steps, saves)

    def _rows(self, part: _Launch) -> Any:
        if self.rows is not None:
            return self.rows
        first = self.tile.first_step
        return self._send(self.tile.coefficients[part.start - first : part.end - first])

    def _send(self, coefficients: np.ndarray) -> Any:
        """Clocks in float64, coefficients in the state's type."""
        return self.run.send(coefficients[:, : len(CLOCK)]), self.run.send(coefficients.astype(self.run.dtype))

    def _given(self, part: _Launch) -> Any:
        """Normals that take the generator's place; nothing the kernel reads where there are none."""
        tile = self.tile
        if tile.normals is None:
            return self.run.new((1, 1), tile.kernel.given_dtype)  # type: ignore[union-attr]
        first, last = (tile.draws.noise_dim * (k - tile.first_step) for k in (part.start, part.end))
        return self.run.send(tile.normals[first:last, part.first : part.first + part.n])


class _Descended(_Stepped):
    """What the kernel of SGD's samples is called with; its state lies in tiles, and what it reads is sent once."""

    def __init__(self, run: _Run, tile: Tile) -> None:
        super().__init__(run, tile)
        assert isinstance(tile.kernel, DescentKernel)
        self.kernel: DescentKernel = tile.kernel
        n_rates = self.kernel.shape.dim if self.kernel.shape.per_parameter else 1
        if tile.coefficients.shape not in ((1, n_rates), (tile.n_steps, n_rates)):
            raise ValueError(
                f"coefficients must be of shape (1 or {tile.n_steps}, {n_rates}), got {tile.coefficients.shape}"
            )
        self.numbers, self.data = run.send(self.kernel.numbers), run.send(self.kernel.data)

    def start(self, first: int, n: int) -> Any:
        run, start, n_rows = self.run, self.tile.start, self.kernel.n_rows
        if start.shape[1] > 1:
            start = start[:, first : first + n]
        state = run.new((-(-n // TILE) * TILE * n_rows,), run.dtype)
        lay = Builtin("lay_in_tiles", run.dtype.name).kernel()
        launch(lay, -(-n // _THREADS), _THREADS, run.stream)(run.send(start), n, n_rows, state)
        return state

    def arguments(self, part: _Launch, state: Any, saved: Any) -> tuple[Any, ...]:
        chains = self._chains(part, self.kernel.shape.batch_size)
        return (self.numbers, self._rows(part), *chains, state, saved, self.data)

    def _send(self, coefficients: np.ndarray) -> Any:
        return self.run.send(coefficients.astype(self.run.dtype).ravel())


class _Passing:
    """Takes states to the host: one buffer is copied while the other is filled."""

    def __init__(self, host: np.ndarray) -> None:
        self.host, self.stream = host, target.independent_stream()
        self.turn = 0
        self.flat: list[Any] = [None, None]
        self.pinned: list[Any] = [None, None]
        self.pending: list[tuple[_Launch, Any] | None] = [None, None]

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """The next buffer on the card, of that shape, once it has been copied."""
        turn, size = self.turn, math.prod(shape)
        if self.flat[turn] is None or self.flat[turn].size < size:
            self.receive()
            self.flat[turn], self.pinned[turn] = cuda.device_array(size, dtype), cuda.pinned_array(size, dtype)
        if self.pending[turn] is not None:
            self.pending[turn][1].synchronize()  # type: ignore[index]
        return self.flat[turn][:size].reshape(*shape)

    def pass_on(self, saved: Any, part: _Launch, after: Any) -> None:
        """Begin to copy the buffer's contents once the launch is done."""
        ready, done = cuda.event(), cuda.event()
        ready.record(after)
        ready.wait(self.stream)
        size = math.prod(saved.shape)
        self.flat[self.turn][:size].copy_to_host(self.pinned[self.turn][:size], stream=self.stream)
        done.record(self.stream)
        self.pending[self.turn] = (part, done)
        self.turn = 1 - self.turn

    def receive(self) -> None:
        """Put what the buffer in turn has copied where it belongs."""
        pending = self.pending[self.turn]
        if pending is None:
            return
        part, done = pending
        done.synchronize()
        shape = (part.n_saves, self.host.shape[1], part.n)
        into = self.host[part.saves, :, part.first : part.first + part.n]
        into[...] = self.pinned[self.turn][: math.prod(shape)].reshape(shape)
        self.pending[self.turn] = None

    def finish(self) -> None:
        """Receive what is on its way."""
        for _ in range(2):
            self.receive()
            self.turn = 1 - self.turn


# How a run is cut ----------------------------------------------------------------------------------------------------


class _Limits(NamedTuple):
    """What a launch may hold: chains, saves and steps."""

    n_chains: int
    n_saves: int
    n_steps: int

    @classmethod
    def of(cls, whole: Tile, room: int, scratch: bool) -> _Limits:
        """With ``room`` in bytes for the chains, for what a launch stores (``scratch``) and for what it observes, each.

        A run takes less where that costs no time.
        """
        n_observed = 0 if whole.observer is None else whole.observer.count
        itemsize = whole.start.dtype.itemsize
        per_chain = itemsize * (whole.kernel.n_rows if isinstance(whole.kernel, DescentKernel) else whole.dim)
        per_save: float = itemsize * (whole.dim * scratch + n_observed)
        per_save += sum(g.layout.size for g in whole.gathered) * 8 / BLOCK
        per_step = 0 if whole.normals is None else whole.draws.noise_dim * whole.normals.dtype.itemsize
        budget, wanted_saves, wanted_steps = min(_BUFFER, room), min(len(whole.saves), 1024), min(whole.n_steps, 1024)
        n = min(-(-whole.n_chains // BLOCK) * BLOCK, MOST_CHAINS)
        while n > LEAST_CHAINS and n * max(per_chain, per_save * wanted_saves, per_step * wanted_steps) > budget:
            n = max(n // 2 // BLOCK * BLOCK, LEAST_CHAINS)
        while n > BLOCK and n * max(per_chain, per_save) > room:
            n = max(n // 2 // BLOCK * BLOCK, BLOCK)
        saves = min(int(budget / max(per_save * n, 1.0)), _MOST_SAVES)
        if whole.histogram is not None:
            saves = min(saves, budget // (8 * whole.dim * (whole.histogram.bins + 2)))
        steps = int(LAUNCH / (n * whole.cost))
        if per_step:
            steps = min(steps, int(budget / (per_step * n)))
        if len(whole.coefficients) > 1:
            steps = min(steps, budget // whole.coefficients[0].nbytes)
        return cls(n, max(saves, 1), max(steps, 1))


def _launches(tile: Tile, first: int, n: int, limits: _Limits) -> Iterator[_Launch]:
    """The steps of a range of chains; launches end where noise begins a new segment, if that is not too soon."""
    start, last, saved = tile.first_step, tile.first_step + tile.n_steps, 0
    while True:
        end = min(last, start + limits.n_steps)
        upto = int(np.searchsorted(tile.saves, end, side="right"))
        if upto - saved > limits.n_saves:
            end = max(int(tile.saves[saved + limits.n_saves]) - 1, start)
        if end < last and end // _SEGMENT * _SEGMENT > start:
            end = end // _SEGMENT * _SEGMENT
        upto = int(np.searchsorted(tile.saves, end, side="right"))
        yield _Launch(first, n, start, end, slice(saved, upto))
        start, saved = end, upto
        if end == last:
            return


def node_places(n_blocks: int, first_block: int) -> list[tuple[tuple[int, int], int]]:
    """The largest nodes (level, number) of the tree over absolute block numbers, and where each begins.

    They are those of `Layout.nodes`.
    """
    places, level, start, n = [], 0, first_block, n_blocks
    while n:
        if start % 2:
            places.append(((level, start), (start << level) - first_block))
            start, n = start + 1, n - 1
        if n % 2:
            n -= 1
            places.append(((level, start + n), (start + n << level) - first_block))
        level, start, n = level + 1, start // 2, n // 2
    return places
