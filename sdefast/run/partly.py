"""What is done of a run that is under way, in memory: what a checkpoint is made of, and goes on from."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ..engine.running import Begun, TileResult
from ..engine.tiles import Tile
from .archive import Archive
from .compare import fingerprint
from .where import Outcome, Progress


class Book(Protocol):
    """Who writes it down."""

    whole: bool

    def load(self, part: Part) -> None:
        """Give a part what was written of it."""
        ...

    def say(self, found: float) -> None:
        """Tell the user how much of the work was done before."""
        ...

    def changed(self) -> None:
        """There is more than was written."""
        ...

    def patience(self) -> float:
        """Seconds until it is to be written."""
        ...

    def is_due(self) -> bool:
        """Whether it is to be written now."""
        ...

    def write_if_due(self) -> None:
        """Write it if the last time was long enough ago."""
        ...

    def stopped(self) -> None:
        """Something ends the call too soon."""
        ...


class Part:
    """What is done of a tile; a `Keeper` of `Where.run`."""

    def __init__(self, checkpoint: Book, name: str) -> None:
        self.checkpoint, self.name = checkpoint, name
        self.finished: list[tuple[int, int]] = []  # ranges of chains (first, end), in order, that do not touch
        self.begun: dict[tuple[int, int], Begun] = {}
        self.lock = threading.Lock()
        self.patience, self.is_due = checkpoint.patience, checkpoint.is_due

    @contextmanager
    def following(self, whole: Tile, outcome: Outcome, progress: Progress | None) -> Iterator[None]:
        """Put what was done before into the outcome, and follow what becomes of it."""
        self.tile, self.outcome = whole, outcome
        self.identity = fingerprint(whole)
        self.checkpoint.load(self)
        steps = sum(end - first for first, end in self.finished) * whole.n_steps
        steps += sum((end - first) * (b.step - whole.first_step) for (first, end), b in self.begun.items())
        if steps:
            if self.name.split(".")[-1] == "run":
                self.checkpoint.say(steps / (whole.n_chains * whole.n_steps))
            if progress is not None:
                progress(steps)
        try:
            yield
        except BaseException:
            self.checkpoint.stopped()
            raise

    def left(self) -> Iterable[tuple[int, int, Begun | None]]:
        """What is to be run: what has begun, and all that is neither finished nor begun."""
        begun = sorted(self.begun)
        left: list[tuple[int, int, Begun | None]] = [(at[0], at[1] - at[0], self.begun[at]) for at in begun]
        at = 0
        for first, end in sorted([*self.finished, *begun, (self.tile.n_chains,) * 2]):
            if first > at:
                left.append((at, first - at, None))
            at = end
        return left

    def reached(self, tile: Tile, begun: Begun) -> None:
        """Keep a tile in the middle."""
        first = tile.first_chain - self.tile.first_chain
        kept = replace(begun, state=begun.state.copy())
        with self.lock:
            self.begun[first, first + tile.n_chains] = kept
        self.checkpoint.changed()

    def add(self, result: TileResult | None) -> None:
        """Add a result to the outcome, and write the checkpoint if it is time."""
        if result is not None:
            self.checkpoint.whole = False
            self.outcome.add(self.tile, result)
            first = result.first_chain - self.tile.first_chain
            self._finish(first, first + result.n_chains)
            self.checkpoint.whole = True
            self.checkpoint.changed()
        self.checkpoint.write_if_due()

    def _finish(self, first: int, end: int) -> None:
        with self.lock:
            self.begun = {at: b for at, b in self.begun.items() if at[1] <= first or end <= at[0]}
        ranges: list[tuple[int, int]] = []
        for at in sorted([*self.finished, (first, end)]):
            if ranges and ranges[-1][1] == at[0]:
                at = (ranges.pop()[0], at[1])
            ranges.append(at)
        self.finished = ranges

    # As JSON and arrays -------------------------------------------------------------------------------------------

    def pack(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """All that there is, of which the arrays go into ``arrays``."""
        with self.lock:
            begun = dict(self.begun)
        for i, nodes in enumerate(self.outcome.nodes):
            arrays[f"{self.name}.nodes{i}"] = np.array(list(nodes.values())).reshape(self._nodes_shape(i, len(nodes)))
        arrays |= dict(self._arrays(begun))
        keys = [list(map(list, nodes)) for nodes in self.outcome.nodes]
        middle = [[*at, b.step, b.n_saves, [len(s) for s in b.statistics], *b.state.shape] for at, b in begun.items()]
        return {"tile": self.identity, "finished": self.finished, "begun": middle, "nodes": keys}

    def _arrays(self, begun: dict[tuple[int, int], Begun]) -> Iterator[tuple[str, np.ndarray]]:
        """What is written besides the nodes, and where it is read into: views, by name."""
        out, name = self.outcome, self.name
        if out.counts is not None:
            yield f"{name}.counts", out.counts
        for first, end in self.finished:
            if out.states is not None:
                yield f"{name}.states{first}", out.states[:, :, first:end]
            if out.final is not None:
                yield f"{name}.final{first}", out.final[:, first:end]
        for (first, end), b in begun.items():
            yield f"{name}.begun{first}", b.state
            for i, statistics in enumerate(b.statistics):
                yield f"{name}.begun{first}.statistics{i}", statistics[:, : b.n_saves]
            if b.counts is not None:
                yield f"{name}.begun{first}.counts", b.counts[: b.n_saves]
            if out.states is not None:
                yield f"{name}.states{first}", out.states[: b.n_saves, :, first:end]

    def _nodes_shape(self, i: int, n: int) -> tuple[int, int, int]:
        return n, len(self.tile.saves), self.tile.gathered[i].layout.size

    def unpack(self, record: dict[str, Any], file: Archive) -> None:
        """Take all that a file has."""
        self.finished = [(first, end) for first, end in record["finished"]]
        self.begun = {(first, end): self._empty(*at) for first, end, *at in record["begun"]}
        for i, (nodes, keys) in enumerate(zip(self.outcome.nodes, record["nodes"], strict=True)):
            stacked = np.empty(self._nodes_shape(i, len(keys)))
            file.into(f"{self.name}.nodes{i}", stacked)
            nodes.update(zip(map(tuple, keys), stacked, strict=True))
        for name, array in self._arrays(self.begun):
            file.into(name, array)

    def _empty(self, step: int, n_saves: int, n_parts: list[int], *shape: int) -> Begun:
        """A tile in the middle, with memory for its state and what was gathered of it, as who runs it has them."""
        tile = self.tile
        parts = zip(n_parts, tile.gathered, strict=True)
        statistics = [np.empty((n, n_saves, g.layout.size)) for n, g in parts]
        return Begun(step, n_saves, np.empty(shape, tile.start.dtype), statistics, tile.empty_counts(n_saves))
