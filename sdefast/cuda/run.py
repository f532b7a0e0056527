"""Running a tile on a GPU, in launches over ranges of chains and steps.

A launch takes chains through steps and stores their saved states; statistics and histograms are then made of these.
States stay on the card where they fit; else they go to the host through two buffers, one of which is copied while the
other is filled.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numba import cuda

from .. import resources
from ..engine import tiles
from ..engine.running import Begun, TileResult
from ..engine.statistics import Nodes
from ..engine.tiles import BLOCK, Gathered, Tile
from . import statistics
from .array import DeviceArray
from .chains import Card, ChainKernel, Launch
from .passing import Passing
from .target import SIMULATED, Device

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

_LAUNCHES_AHEAD = 2


class Keeper(Protocol):
    """Who keeps what of a run is done, and knows what of it was done before; see `sdefast.engine.executors.Keeper`."""

    def left(self) -> Iterable[tuple[int, int, Begun | None]]:
        """Ranges of chains that are to be run, and what of them is done."""
        ...

    def reached(self, tile: Tile, begun: Begun) -> None:
        """A range is at the end of a launch."""
        ...

    def is_due(self) -> bool:
        """Whether it wants to know where a range is."""
        ...


class Memory(NamedTuple):
    """Where the states of a run go: an array on a card, or one of the host; neither if they are not kept."""

    device: Any
    host: np.ndarray | None
    number: int
    n_kept: int | None = None

    @property
    def states(self) -> Any:
        """The states as a user gets them."""
        if self.device is None:
            return self.host
        states = DeviceArray.of(self.device, self.number)
        return states if self.n_kept is None else states[:, : self.n_kept]


def allocate(whole: Tile, device: Device, on_host: bool = False) -> Memory:
    """Memory for the saved states (n_saves, rows, n_chains) of a run that keeps them: the card's if they fit there.

    ``on_host``: the host's in any case.
    """
    table = whole.table
    if table is not None and not (table.ndim == 1 and table.dtype == whole.start.dtype and table.flags.c_contiguous):
        raise ValueError("a table must be a contiguous one-dimensional array of the state's type")
    if not whole.keep_paths:
        return Memory(None, None, device.number)
    shape = (len(whole.saves), whole.dim, whole.n_chains)
    needed = math.prod(shape) * whole.start.dtype.itemsize
    with device.current():
        free = _room(whole, device)
        if not on_host and needed + min(4 * _BUFFER, free // 4) <= _USABLE * free:
            # (bound to no stream: whoever takes the states finds them complete)
            return Memory(cuda.device_array(shape, whole.start.dtype), None, device.number, whole.kept_rows)
    what = "the saved states" if on_host else "the saved states, which do not fit on the card,"
    resources.refuse_too_large(needed, what, ["paths=False keeps none"])
    return Memory(None, np.empty((shape[0], whole.n_kept, shape[2]), whole.start.dtype), device.number)


def onto_card(states: np.ndarray, device: Device) -> Any:
    """States of the host on the card if they fit there."""
    with device.current():
        if states.nbytes > _USABLE * device.free_memory():
            return states
        return DeviceArray.of(cuda.to_device(states), device.number)


def _room(whole: Tile, device: Device) -> int:
    """Bytes of the card that the arrays and the data of the kernel leave free."""
    free, kernel = device.free_memory(), _kernel(whole)
    room = free - device.thread_memory(kernel.kernel())
    data = kernel.nbytes + (0 if whole.table is None else whole.table.nbytes)
    if data > _USABLE * room:
        raise MemoryError(f"the data need {data / 2**30:.1f} GiB on the card, {free / 2**30:.1f} GiB are free there")
    return max(room - data, 0)


def _kernel(whole: Tile) -> ChainKernel:
    return cast(ChainKernel, whole.kernel)


def run(
    whole: Tile, memory: Memory, device: Device, progress: Callable[[int], object] | None, keeper: Keeper | None = None
) -> Generator[TileResult | None]:
    """Run a tile, or what a ``keeper`` says is left of it, and yield its results range by range.

    States go to ``memory``, with a keeper the host's. None comes besides, for it to do its work.
    """
    with device.current():
        yield from _Run(whole, memory, device, progress, keeper).results()


class _Run:
    """A tile, its kernels and what they share on the card."""

    def __init__(
        self, whole: Tile, memory: Memory, device: Device, progress: Callable[[int], object] | None,
        keeper: Keeper | None,
    ) -> None:  # fmt: skip
        self.tile, self.memory, self.card, self.keeper = whole, memory, Card(whole, device), keeper
        self.progress = progress or (lambda done: None)
        self.limits = _Limits.of(whole, int(_USABLE * _room(whole, device) / 4), scratch=memory.device is None)
        self.paths, self.chains = _kernel(whole).kernel(), _kernel(whole).chains(whole, self.card)
        self.observer = whole.observer and whole.observer.kernel.kernel()  # type: ignore[union-attr]
        self.passing = Passing(memory.host, whole.dim) if memory.host is not None else None
        self.ahead: deque[tuple[Any, int]] = deque()

    def results(self) -> Iterator[TileResult | None]:
        for first, n, begun in self._ranges():
            yield from self._range(first, n, begun)
        if self.passing is not None:
            self.passing.finish()

    def _ranges(self) -> Iterator[tuple[int, int, Begun | None]]:
        """Chains that are run at a time, and what of them is done."""
        whole: list[tuple[int, int, Begun | None]] = [(0, self.tile.n_chains, None)]
        for first, n, begun in whole if self.keeper is None else self.keeper.left():
            if begun is not None and n <= self.limits.n_chains:
                yield first, n, begun
                continue
            for at in range(first, first + n, self.limits.n_chains):
                yield at, min(self.limits.n_chains, first + n - at), None

    def _range(self, first: int, n: int, begun: Begun | None) -> Iterator[TileResult | None]:
        """All steps of ``n`` chains, or those that are left."""
        tile, made = self.tile, _Made.of(self.tile, first, n, begun)
        state, final = self.chains.start(first, n) if begun is None else self.card.send(begun.state), None
        for part in _launches(tile, first, n, self.limits, None if begun is None else begun.step):
            saved = self._saved(part)
            self._advance(part, state, saved)
            if self.passing is not None:
                self.passing.receive()  # while the card is at work
            if part.n_saves:
                self._gather(part, saved, made)
                if self.passing is not None:
                    self.passing.pass_on(saved, part, self.card.stream)
            if tile.keep_final and part.end == tile.saves[-1]:
                final = self.card.receive(saved[part.n_saves - 1])
            self._pace(part)
            if self.keeper is not None and part.end < tile.first_step + tile.n_steps and self.keeper.is_due():
                self._tell(self.keeper, part, state, made)
                yield None
        self._pace(None)
        if self.passing is not None and self.keeper is not None:
            self.passing.finish()
        yield TileResult(tile.first_chain + first, n, None, made.nodes, made.counts, final)

    def _tell(self, keeper: Keeper, part: Launch, state: Any, made: _Made) -> None:
        """Tell where chains are after a launch."""
        if self.passing is not None:
            self.passing.finish()
        upto = part.saves.stop
        statistics = [np.array([own[:upto] for own in found.values()]) for found in made.nodes]
        begun = Begun(part.end, upto, self.card.receive(state), statistics, made.counts)
        keeper.reached(tiles.part(self.tile, part.first, part.n), begun)

    # On the card -------------------------------------------------------------------------------------------------

    def _saved(self, part: Launch) -> Any:
        """Where a launch stores its states (n_saves, rows, n)."""
        if self.memory.device is not None and part.n_saves:
            return self.memory.device[part.saves, :, part.first : part.first + part.n]
        shape = (max(part.n_saves, 1), self.tile.dim, part.n)
        dtype = self.card.dtype
        return self.card.new(shape, dtype) if self.passing is None else self.passing.buffer(shape, dtype)

    def _advance(self, part: Launch, state: Any, saved: Any) -> None:
        self.card.launch_chains(self.paths, part.n, (), *self.chains.arguments(part, state, saved))

    def _gather(self, part: Launch, saved: Any, made: _Made) -> None:
        """Statistics and counts of what a launch has stored."""
        observed = self._observe(part, saved) if self.observer else None
        for gathered, into in zip(self.tile.gathered, made.nodes, strict=True):
            merged = self._statistics(part, observed if gathered.observed else saved, gathered, made.first_block)
            for key, place in made.places:
                into[key][part.saves] = self.card.receive(merged[place])
        if self.tile.histogram is not None and made.counts is not None:
            made.counts[part.saves] += self._count(part, observed if self.tile.counts_of.observed else saved)

    def _observe(self, part: Launch, saved: Any) -> Any:
        observer = self.tile.observer
        assert observer is not None
        observed = self.card.new((part.n_saves, observer.count, part.n), self.card.dtype)
        parameters, times = self.card.send(observer.parameters), self.card.send(observer.times[part.saves])
        arguments = parameters, times, part.n, saved, observed, self.card.table
        self.card.launch_chains(self.observer, part.n, (part.n_saves,), *arguments)
        return observed

    def _statistics(self, part: Launch, x: Any, gathered: Gathered, first_block: int) -> Any:
        """The statistics of a launch's chains as the tree's nodes, each where its first block is."""
        layout, n_blocks = gathered.layout, -(-part.n // BLOCK)
        card, out = self.card, self.card.new((n_blocks, part.n_saves, layout.size), np.float64)
        flags, items = (layout.moments, int(layout.extremes)), layout.dim + layout.n_pairs
        arguments = x, self._find_finite(part, x, gathered), gathered.first_row, layout.dim, *flags, part.n, out
        card.launch(card.builtin("blocks"), (n_blocks * items, part.n_saves), statistics.THREADS, *arguments)
        if n_blocks > 1:
            threads, covariance = min(_MERGING, n_blocks // 2 * items), int(layout.n_pairs > 0)
            tree = card.builtin("tree")
            card.launch(tree, part.n_saves, threads, out, first_block, layout.dim, *flags, covariance)
        return out

    def _find_finite(self, part: Launch, x: Any, gathered: Gathered) -> Any:
        """Which chains are finite (n_saves, n); of few rows nobody asks."""
        dim = gathered.layout.dim
        if dim <= statistics.FEW:
            return self.card.new((1, 1), np.uint8)
        known, find = self.card.new((part.n_saves, part.n), np.uint8), self.card.builtin("find_finite")
        self.card.launch_chains(find, part.n, (part.n_saves,), x, gathered.first_row, dim, part.n, known)
        return known

    def _count(self, part: Launch, x: Any) -> np.ndarray:
        histogram, of = self.tile.histogram, self.tile.counts_of
        assert histogram is not None
        counts = self.card.send(histogram.empty(part.n_saves, of.n))
        arguments = x, of.first_row, histogram.low, histogram.bins_per_unit, histogram.bins, part.n, counts
        self.card.launch_chains(self.card.builtin("count"), part.n, (of.n, part.n_saves), *arguments)
        return self.card.receive(counts)

    def _pace(self, part: Launch | None) -> None:
        """Let the card be no more than a few launches ahead, for Ctrl-C and progress; None: wait for all."""
        if part is not None:
            event = cuda.event()
            event.record(self.card.stream)
            self.ahead.append((event, part.n * (part.end - part.start)))
        while len(self.ahead) > (_LAUNCHES_AHEAD if part is not None else 0):
            event, done = self.ahead.popleft()
            event.synchronize()
            self.progress(done)


class _Made(NamedTuple):
    """What is gathered of a range of chains: the tree's largest nodes, and counts of a histogram."""

    first_block: int
    places: list[tuple[tuple[int, int], int]]
    nodes: tuple[Nodes, ...]
    counts: np.ndarray | None

    @classmethod
    def of(cls, tile: Tile, first: int, n: int, begun: Begun | None) -> _Made:
        """With what was gathered before of a range that has begun."""
        first_block = (tile.first_chain + first) // BLOCK
        places = node_places(-(-n // BLOCK), first_block)
        nodes: tuple[Nodes, ...] = tuple(
            {key: np.empty((len(tile.saves), g.layout.size)) for key, _ in places} for g in tile.gathered
        )
        counts = tile.empty_counts(len(tile.saves))
        if begun is not None:
            for found, before in zip(nodes, begun.statistics, strict=True):
                for own, known in zip(found.values(), before, strict=True):
                    own[: begun.n_saves] = known
            if counts is not None and begun.counts is not None:
                counts[: begun.n_saves] = begun.counts
        return cls(first_block, places, nodes, counts)


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
        per_chain = itemsize * _kernel(whole).rows_in_memory(whole)
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
            saves = min(saves, budget // (8 * whole.counts_of.n * (whole.histogram.bins + 2)))
        steps = int(LAUNCH / (n * whole.cost))
        if per_step:
            steps = min(steps, int(budget / (per_step * n)))
        if len(whole.coefficients) > 1:
            steps = min(steps, budget // whole.coefficients[0].nbytes)
        return cls(n, max(saves, 1), max(steps, 1))


def _launches(tile: Tile, first: int, n: int, limits: _Limits, start: int | None = None) -> Iterator[Launch]:
    """The steps of a range of chains, or those from step ``start`` on.

    Launches end where noise begins a new segment, if that is not too soon.
    """
    last, saved = tile.first_step + tile.n_steps, 0
    if start is None:
        start = tile.first_step
    else:
        saved = int(np.searchsorted(tile.saves, start, side="right"))
    while True:
        end = min(last, start + limits.n_steps)
        upto = int(np.searchsorted(tile.saves, end, side="right"))
        if upto - saved > limits.n_saves:
            end = max(int(tile.saves[saved + limits.n_saves]) - 1, start)
        if end < last and end // _SEGMENT * _SEGMENT > start:
            end = end // _SEGMENT * _SEGMENT
        upto = int(np.searchsorted(tile.saves, end, side="right"))
        yield Launch(first, n, start, end, slice(saved, upto))
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
