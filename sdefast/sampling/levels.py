"""The levels of noise that annealed chains go through: their step sizes, their chain, what decides a run's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .. import checks
from ..lazy import cached_property
from ..run.records import register
from ..run.sigmas import geometric_sigmas as geometric_sigmas
from .batch import BatchChain
from .built_in import TABLE, TEMPERATURE, BuiltInChain, is_built_in
from .chain import Chain
from .settings import Settings
from .smoothed import VARIANCE, Smoothed
from .targets import BatchTarget


def checked_sigmas(value: Any) -> np.ndarray:
    """Scales of noise that are positive and strictly decreasing."""
    sigmas = checks.array("sigmas", value, shape=(None,))
    if not len(sigmas) or (sigmas <= 0).any():
        raise ValueError(f"sigmas must be positive numbers, got {checks.shown(value)}")
    rising = np.flatnonzero(np.diff(sigmas) >= 0)
    if len(rising):
        i = int(rising[0])
        raise ValueError(
            f"sigmas must decrease strictly, largest first, got {sigmas[i]:g} before {sigmas[i + 1]:g} at index {i}"
        )
    return sigmas


@register
@dataclass(frozen=True, eq=False)
class Levels:
    """Scales of noise, largest first, and ``n_steps`` at each, of size ``ratio`` times its square.

    ``denoise`` has one step more, of size the last scale's square, without noise.
    """

    sigmas: np.ndarray
    ratio: float
    n_steps: int
    denoise: bool

    @property
    def length(self) -> int:
        """Steps of all levels."""
        return len(self.sigmas) * self.n_steps + self.denoise

    def ends(self, first: int) -> np.ndarray:
        """The iterations at the levels' ends, and that of the denoised states, if they begin after ``first``."""
        ends = first + self.n_steps * np.arange(1, len(self.sigmas) + 1)
        return np.append(ends, ends[-1] + 1) if self.denoise else ends

    def sigma_at(self, iterations: np.ndarray, first: int) -> np.ndarray:
        """The scale of the level that an iteration belongs to: that of the step before it; of the start the first."""
        return np.asarray(self.sigmas[self.of_steps[np.maximum(iterations - first - 1, 0)]])

    @property
    def step_sizes(self) -> np.ndarray:
        """Of every step."""
        sizes = np.repeat(self.ratio * self.sigmas**2, self.n_steps)
        return np.append(sizes, self.sigmas[-1] ** 2) if self.denoise else sizes

    @property
    def of_steps(self) -> np.ndarray:
        """The level that every step belongs to, from 0."""
        return np.minimum(np.arange(self.length) // self.n_steps, len(self.sigmas) - 1)

    def constants(self) -> np.ndarray:
        """Step size, temperature, which is 0 for the step without noise, and variance of the noise, of every step."""
        rows = np.ones((self.length, 3))
        rows[:, 0] = self.step_sizes
        rows[len(rows) - self.denoise :, 1] = 0
        rows[:, 2] = self.sigmas[self.of_steps] ** 2
        return rows

    def key(self) -> tuple[Any, ...]:
        """Equal for equal ones."""
        return self.sigmas.tobytes(), self.ratio, self.n_steps, self.denoise


@dataclass(frozen=True)
class AnnealedChain(Chain):
    """The unadjusted Langevin algorithm on a smoothed target, whose noise is another one at every level."""

    @property
    def constant_names(self) -> tuple[str, ...]:
        """Symbols that differ from level to level."""
        return "step_size", "temperature", VARIANCE.value

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Symbols that are numbers of the run."""
        return tuple(self.target.parameters)

    def constants(self, run: Any) -> np.ndarray:
        """Their values in every step."""
        found: np.ndarray = run.levels.constants()
        return found


@dataclass(frozen=True)
class BuiltInAnnealedChain(BuiltInChain, AnnealedChain):
    """The same by steps that are compiled with the package: the run's table has a density for every level."""

    @property
    def _as_trace(self) -> AnnealedChain:
        return _traced_chain(self.target)

    def header(self, run: Any) -> np.ndarray:
        """Rows of coefficients: those of every step say where its density is."""
        levels, rows = run.levels, super().header(run)
        rows[:, TEMPERATURE] = levels.constants()[:, 1]
        rows[:, TABLE] += len(self._density.numbers) * levels.of_steps
        return rows

    def numbers(self, run: Any) -> np.ndarray:
        """Those of all levels' densities."""
        tables = _tables(self.target, tuple(run.levels.sigmas.tolist()))
        assert tables is not None
        return tables


@lru_cache(maxsize=16)
def _tables(target: Smoothed, sigmas: tuple[float, ...]) -> np.ndarray | None:
    return target.tables(sigmas)


#: Numbers of all levels' tables up to which they are made; with more a trace is run, which makes them itself.
_MOST_NUMBERS = 10**6


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnealedSettings(Settings):
    """Everything that decides an annealed run's numbers.

    ``start_sigma`` is the standard deviation of starts that were drawn, around ``center``; 0 where they were given.
    """

    levels: Levels
    start_sigma: float

    @cached_property
    def stepping(self) -> Chain:
        """A step."""
        if isinstance(self.target, BatchTarget):
            return BatchChain(self.target, self.method, levels=True)
        return _chain(Smoothed(self.target), tuple(self.levels.sigmas.tolist()))  # type: ignore[arg-type]

    @property
    def start_law(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and covariance of the positions at the start."""
        if not self.start_sigma:
            return super().start_law
        return self.center, self.start_sigma**2 * np.eye(self.layout.dim)

    def identity(self) -> tuple[Any, ...]:
        """Equal for shards of one run."""
        return (*super().identity(), *self.levels.key(), self.start_sigma)

    def merged(self, shards: Sequence[Any]) -> AnnealedSettings:
        """Those of shards put together."""
        merged = super().merged(shards)
        assert isinstance(merged, AnnealedSettings)
        return merged


@lru_cache(maxsize=64)
def _chain(target: Smoothed, sigmas: tuple[float, ...]) -> AnnealedChain:
    """The chain on this target through these levels."""
    density = target.tabulated
    fits = density is not None and len(sigmas) * len(density.numbers) <= _MOST_NUMBERS
    if fits and is_built_in(density, target.dim) and _tables(target, sigmas) is not None:
        return BuiltInAnnealedChain(target, "ula")
    return _traced_chain(target)


@lru_cache(maxsize=64)
def _traced_chain(target: Smoothed) -> AnnealedChain:
    """The chain on this target, whose step is then known."""
    return AnnealedChain(target, "ula")
