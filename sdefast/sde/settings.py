"""What decides a run's numbers, in one place: recorded with its result, and all that the engine is set up from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..engine.grid import TimeGrid
from ..engine.parts import Parts, parts
from ..engine.statistics import Histogram, Layout
from .chain import Extras
from .models.base import Model


@dataclass(frozen=True, eq=False)
class Settings:
    """Everything that decides a run's numbers.

    ``x0`` is the common start of all paths, of shape (dim,), or None where every path has its own, as when resumed.
    """

    model: Model
    x0: np.ndarray | None
    method: str
    seed: int
    dtype: np.dtype
    noise_dtype: np.dtype
    first_chain: int
    n_paths: int
    grid: TimeGrid
    saves: np.ndarray
    layout: Layout
    keeps_paths: bool
    extras: Extras = field(default_factory=Extras)
    histogram: Histogram | None = None
    given_normals: bool = False

    @cached_property
    def parts(self) -> Parts:
        """Where in the gathered statistics is what."""
        e, at = self.extras, self.layout
        n_carried = len(e.functionals) + (e.stop_when is not None)
        pairs = at.dim + n_carried if e.antithetic else 0
        asked = len(e.expectations), len(e.controls)
        return parts(at.dim, at.moments, at.extremes, at.covariance, n_carried, *asked, pairs)

    @property
    def n_chains(self) -> int:
        """Chains that are run: one a path, or one a pair of antithetic paths."""
        return self.n_paths // 2 if self.extras.antithetic else self.n_paths
