"""Chains whose score is computed for many samples at once, outside the kernels: by a network, say.

Samples are taken in chunks, row by row as networks have them, and a chunk through all steps up to the next saved
iteration before the next: it stays in the caches. A step is a call of the score and one pass that adds it and the
chains' noise (csrc/sampling/score_step.hpp). All the rest, saving, statistics, threads and shards, is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..engine.tiles import Data, Draws, Tile
from ..jit.emit import Step
from ..run.step import Kernel
from .chain import Chain
from .targets.batch import BatchTarget

#: Work of a step in steps of a scalar model: of a small network.
_COST = 200.0


@dataclass(frozen=True)
class BatchChain(Chain):
    """The unadjusted Langevin algorithm on a `BatchTarget`: chains have their positions and nothing else."""

    n_carried = 0
    levels: bool = False

    @property
    def n_rows(self) -> int:
        """Rows of a chain."""
        return self.dim

    @property
    def step(self) -> Step:
        """There is none in symbols."""
        raise ValueError(f"steps on {self.target!r} are not written as expressions: their law is not known")

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What a step draws."""
        return Draws(self.dim, float32=noise_dtype.itemsize == 4)

    def kernel(self, run: Any, device: Any) -> Kernel:
        """What takes the steps."""
        if device is not None:
            raise ValueError(f"{self.target!r} runs on the CPU: leave out device=")
        assert isinstance(self.target, BatchTarget)
        return Kernel(BatchSteps(self.target), self._rows(run), _COST)

    @property
    def constant_names(self) -> tuple[str, ...]:
        """What `constants` has."""
        return "step_size", "temperature", "noise_variance"

    def _rows(self, run: Any) -> np.ndarray:
        """Step size, scale of the noise and sigma of every step."""
        h, temperature, variance = self.constants(run).T
        return np.stack([h, np.sqrt(2 * temperature * h), np.sqrt(variance)], axis=1)

    def constants(self, run: Any) -> np.ndarray:
        """Step size, temperature and variance of the noise, NaN where there is no such."""
        if self.levels:
            found: np.ndarray = run.levels.constants()
            return found
        h = run.step_sizes
        return np.stack([h, np.full(len(h), run.temperature), np.full(len(h), np.nan)], axis=1)

    def observing(self, run: Any, device: Any, layout: str) -> None:
        """Nothing."""
        return

    def data(self, dtype: np.dtype, noise_dtype: np.dtype) -> Data | None:
        """None."""
        return None

    def table(self, run: Any) -> np.ndarray | None:
        """None."""
        return None

    def start_rows(self, run: Any, x0: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """The positions."""
        return np.array(x0)


@dataclass(frozen=True)
class BatchSteps:
    """Steps that are taken in Python, see `sdefast.engine.tiles.SteppedOutside`."""

    target: BatchTarget

    @property
    def layout(self) -> str:
        """How states are looked at."""
        return "wide" if self.target.dim <= _core.largest_wide_dim else "narrow"

    def opened(self, tile: Tile) -> OpenBatchSteps:
        """What steps a tile."""
        return OpenBatchSteps(self.target, self.layout, tile)


class OpenBatchSteps:
    """Steps of a tile, whose generators are kept from call to call."""

    def __init__(self, target: BatchTarget, layout: str, tile: Tile) -> None:
        self.target, self.layout, self.tile = target, layout, tile
        self._generators: dict[int, _core.ScoreSteps] = {}

    def advance(self, state: np.ndarray, first: int, n_steps: int, abort: np.ndarray) -> None:
        """Take states (dim, n_chains) through steps from number ``first`` on, in place."""
        chunk = self.target.chunk
        for start in range(0, state.shape[1] if n_steps else 0, chunk):
            part = state[:, start : start + chunk]
            x = np.array(part.T, order="C")
            self._walk(x, start, range(first, first + n_steps), abort)
            if abort[0]:
                return
            part[...] = x.T

    def _walk(self, x: np.ndarray, start: int, steps: range, abort: np.ndarray) -> None:
        """Take samples (n, dim) through the steps."""
        tile, chain = self.tile, self.tile.first_chain + start
        generators = self._generators.get(start)
        if generators is None:
            (n, dim), doubles = x.shape, x.dtype.itemsize == 8
            generators = _core.ScoreSteps(tile.seed, chain, n, dim, doubles, tile.draws.float32)
            self._generators[start] = generators
        rows, same = tile.coefficients, len(tile.coefficients) == 1
        with self.target.calls(x, chain) as score_at:
            for k in steps:
                if abort[0]:
                    return
                h, noise, sigma = rows[0 if same else k - tile.first_step].tolist()
                score = score_at(sigma, k)
                wrong = generators.step(x, score, h, noise, k)
                if wrong >= 0:
                    raise ValueError(
                        f"score must be finite, got {score[wrong].tolist()} at step {k} of chain {chain + wrong}, "
                        f"where x is {x[wrong].tolist()}"
                    )
