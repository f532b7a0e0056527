"""What a kernel that takes chains through their steps must tell `run.py`, and what it finds there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import cuda

from ..engine.tiles import Tile
from . import target
from .programs import Builtin
from .statistics import TILE
from .target import SIMULATED, Device

#: Threads of a block, each with a chain.
THREADS = 32 if SIMULATED else 128

_NEVER = 2**62


class Launch(NamedTuple):
    """Steps ``start`` to ``end`` of ``n`` chains from local number ``first`` on, and the saves that fall on them."""

    first: int
    n: int
    start: int
    end: int
    saves: slice

    @property
    def n_saves(self) -> int:
        return int(self.saves.stop - self.saves.start)


class Card:
    """A stream of a card and arrays there, among them the tile's ``table``; ``dtype`` is the type of the states."""

    def __init__(self, tile: Tile, device: Device) -> None:
        self.dtype, self.stream = tile.start.dtype, device.stream()
        #: One number that nobody reads where there is no table.
        self.table = self.send(np.zeros(1, self.dtype) if tile.table is None else tile.table)

    def send(self, values: np.ndarray) -> Any:
        return cuda.to_device(np.ascontiguousarray(values), stream=self.stream)

    def receive(self, values: Any) -> np.ndarray:
        """A copy on the host, once all that was asked for before is done."""
        copied: np.ndarray = values.copy_to_host(stream=self.stream)
        target.wait(self.stream)
        return copied

    def new(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return cuda.device_array(shape, dtype, stream=self.stream)

    def builtin(self, name: str) -> Any:
        """The kernel of that name in ``statistics.py``, for the states' type."""
        return Builtin(name, self.dtype.name).kernel()

    def launch(self, kernel: Any, grid: Any, threads: int, *arguments: Any) -> None:
        target.launch(kernel, grid, threads, self.stream)(*arguments)

    def launch_chains(self, kernel: Any, n: int, others: tuple[int, ...], *arguments: Any) -> None:
        """A kernel with a thread for each of ``n`` chains, so many times as the ``others`` say."""
        blocks = -(-n // THREADS)
        self.launch(kernel, (blocks, *others) if others else blocks, THREADS, *arguments)


class ChainKernel(Protocol):
    """What a tile for a card has as its kernel."""

    def kernel(self) -> Any:
        """The compiled kernel, for the current device."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the data that it reads, which stay on the card for the whole run."""
        ...

    def rows_in_memory(self, tile: Tile) -> int:
        """Numbers that a chain has on the card between launches."""
        ...

    def chains(self, tile: Tile, card: Card) -> Chains:
        """What starts it and what it is called with, for a tile."""
        ...


class Chains(ABC):
    """A tile's chains on a card: their states before the first step, and what their kernel is called with."""

    def __init__(self, tile: Tile, card: Card) -> None:
        self.tile, self.card = tile, card
        self._coefficients = self.send(tile.coefficients) if len(tile.coefficients) == 1 else None

    @abstractmethod
    def start(self, first: int, n: int) -> Any:
        """The states of ``n`` chains before their first step, as the kernel keeps them."""

    @abstractmethod
    def arguments(self, part: Launch, state: Any, saved: Any) -> tuple[Any, ...]:
        """All arguments of a launch that moves ``state`` on and stores into ``saved`` (n_saves, rows, n)."""

    @abstractmethod
    def send(self, coefficients: np.ndarray) -> Any:
        """Rows of coefficients as the kernel takes them."""

    # For these to use ---------------------------------------------------------------------------------------------

    def which(self, part: Launch, unit: int = 1) -> tuple[Any, ...]:
        """What says which chains go which way, with ``unit`` steps of the kernel for one of the tile."""
        tile = self.tile
        saves = self.card.send(np.append(tile.saves[part.saves] * unit, _NEVER))
        seed, steps = (tile.seed & 0xFFFFFFFF, tile.seed >> 32), (part.start * unit, (part.end - part.start) * unit)
        return (*seed, tile.first_chain + part.first, part.n, *steps, saves)

    def coefficients(self, part: Launch) -> Any:
        """Those of a launch's steps, sent."""
        if self._coefficients is not None:
            return self._coefficients
        first = self.tile.first_step
        return self.send(self.tile.coefficients[part.start - first : part.end - first])

    def in_rows(self, first: int, n: int) -> Any:
        """Start states (rows, n)."""
        start = self._start(first, n)
        if start.shape[1] > 1:
            return self.card.send(start)
        state = self.card.new((self.tile.dim, n), self.card.dtype)
        self.card.launch_chains(self.card.builtin("spread"), n, (), self.card.send(start), n, state)
        return state

    def in_tiles(self, first: int, n: int, n_rows: int) -> Any:
        """Start states in tiles of the chains of a warp, of ``n_rows`` rows, the first of which they are."""
        state = self.card.new((-(-n // TILE) * TILE * n_rows,), self.card.dtype)
        lay = self.card.builtin("lay_in_tiles")
        self.card.launch_chains(lay, n, (), self.card.send(self._start(first, n)), n, n_rows, state)
        return state

    def _start(self, first: int, n: int) -> np.ndarray:
        """The tile's start states of ``n`` chains, (rows, n), or (rows, 1) if they are the same for all."""
        start = self.tile.start
        return start[:, first : first + n] if start.shape[1] > 1 else start


class Stepped(Chains):
    """What the kernel of `kernels.paths` is called with; its state is (rows, n).

    ``given`` is the type of normals that take the generator's place.
    """

    def __init__(self, tile: Tile, card: Card, given: str) -> None:
        super().__init__(tile, card)
        self.given = given

    def start(self, first: int, n: int) -> Any:
        return self.in_rows(first, n)

    def arguments(self, part: Launch, state: Any, saved: Any) -> tuple[Any, ...]:
        clock, c = self.coefficients(part)
        return (clock, c, *self.which(part), state, saved, self._given(part), self.card.table)

    def send(self, coefficients: np.ndarray) -> Any:
        """Coefficients in float64, for what depends on time, and in the state's type."""
        return self.card.send(coefficients), self.card.send(coefficients.astype(self.card.dtype))

    def _given(self, part: Launch) -> Any:
        """Normals that take the generator's place; nothing the kernel reads where there are none."""
        tile = self.tile
        if tile.normals is None:
            return self.card.new((1, 1), self.given)
        first, last = (tile.draws.noise_dim * (k - tile.first_step) for k in (part.start, part.end))
        return self.card.send(tile.normals[first:last, part.first : part.first + part.n])
