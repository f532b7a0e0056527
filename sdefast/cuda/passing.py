"""Copying states from a card to the host while the card is at work."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from . import target
from .chains import Launch


class Passing:
    """Takes states to the host: one buffer is copied while the other is filled."""

    def __init__(self, host: np.ndarray, n_rows: int) -> None:
        self.host, self.n_rows, self.stream = host, n_rows, target.independent_stream()
        self.turn = 0
        self.flat: list[Any] = [None, None]
        self.pinned: list[Any] = [None, None]
        self.pending: list[tuple[Launch, Any] | None] = [None, None]

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """The next buffer on the card, of that shape, once it has been copied."""
        turn, size = self.turn, math.prod(shape)
        if self.flat[turn] is None or self.flat[turn].size < size:
            self.receive()
            self.flat[turn], self.pinned[turn] = cuda.device_array(size, dtype), cuda.pinned_array(size, dtype)
        if self.pending[turn] is not None:
            self.pending[turn][1].synchronize()  # type: ignore[index]
        return self.flat[turn][:size].reshape(*shape)

    def pass_on(self, saved: Any, part: Launch, after: Any) -> None:
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
        rows = self.pinned[self.turn][: part.n_saves * self.n_rows * part.n].reshape(part.n_saves, self.n_rows, part.n)
        into = self.host[part.saves, :, part.first : part.first + part.n]
        into[...] = rows[:, : into.shape[1]]
        self.pending[self.turn] = None

    def finish(self) -> None:
        """Receive what is on its way."""
        for _ in range(2):
            self.receive()
            self.turn = 1 - self.turn
