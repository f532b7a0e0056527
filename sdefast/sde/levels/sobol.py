r"""Multilevel quasi-Monte Carlo: the levels of `multilevel` on randomised Sobol' points.

Every level has R independent scramblings of N points, whose spread gives the variance of their mean. While these
variances together are too large, the number of points is doubled where that takes most variance off for its cost,
:math:`V_l / (N_l C_l)`.

Giles and Waterhouse, Multilevel quasi-Monte Carlo path simulation, in Advanced Financial Modelling, Radon Series on
Computational and Applied Mathematics 8, 2009, algorithm in section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...engine.gathering import ONE
from ...engine.tiles import Tile
from ..quasi import MOST_DIMENSIONS, SobolPaths
from ..seeds import derived_seed

#: Normals that are in memory at a time, about.
_AT_A_TIME = 2**22

#: Points of a scrambling from which the variance of a new level is first estimated.
FIRST_POINTS = 16

#: What runs a tile, and says what was gathered.
Run = Callable[[Tile], Any]


class SobolLevel:
    """The paths of one level: of each scrambling the first ``n_points`` points.

    ``tile`` steps through ``times``, the fine grid's; ``path_steps`` and ``cost`` are a path's.
    """

    def __init__(self, tile: Tile, times: np.ndarray, replicates: int, path_steps: int, cost: int) -> None:
        self.tile, self.path_steps, self.cost = tile, path_steps, cost
        self.n_draws = tile.draws.noise_dim * tile.n_steps
        m = self.n_draws // (len(times) - 1)
        self._paths = [SobolPaths(times, m, derived_seed(tile.seed, "quasi", r)) for r in range(replicates)]
        self._dtype = np.dtype(np.float32 if tile.draws.float32 else np.float64)
        self.n_points = 0
        #: of the difference and of f on the fine grid: how many are finite, their mean, their squares about it
        self._totals = np.zeros((replicates, 2, 3))

    @property
    def n_paths(self) -> int:
        """Paths of all scramblings."""
        return self.n_points * len(self._totals)

    def draw(self, n_points: int, run: Run) -> None:
        """So many more points of every scrambling: as many as there are, or the first, a power of two."""
        for r, total in enumerate(self._totals):
            first = (r << 40) + self.n_points
            for z in self._normals(r, n_points):
                tile = replace(self.tile, normals=z, n_chains=z.shape[1], first_chain=first)
                nodes = run(tile).nodes
                for own, found in zip(total, (nodes[0], nodes[min(1, len(nodes) - 1)]), strict=True):
                    own[:] = _joined(own, ONE.total(found)[0])
                first += z.shape[1]
        self.n_points += n_points

    def _normals(self, replicate: int, n_points: int) -> Iterator[np.ndarray]:
        """Normals (draws, paths) as a kernel takes them, in pieces."""
        at_a_time = 1 << max(_AT_A_TIME // self.n_draws, FIRST_POINTS).bit_length() - 1
        for _ in range(0, n_points, at_a_time):
            z = self._paths[replicate].next(min(n_points, at_a_time))
            yield np.ascontiguousarray(z.reshape(self.n_draws, -1), self._dtype)

    @property
    def mean(self) -> float:
        """Of the difference."""
        return float(self._means.mean()) if len(self._means) else math.nan

    @property
    def variance_of_mean(self) -> float:
        """Of `mean`, from the spread of the scramblings."""
        return float(self._means.var(ddof=1) / len(self._means)) if len(self._means) > 1 else math.inf

    @property
    def _means(self) -> np.ndarray:
        """Of the scramblings that have a path on which f is finite."""
        count, mean, _ = self._totals[:, 0].T
        return np.asarray(mean[count > 0])

    @property
    def fine_variance(self) -> float:
        """Of f on the fine grid, over paths."""
        count, mean, squares = self._totals[:, 1].T
        squares = squares.sum() + (count * (mean - mean.mean()) ** 2).sum()
        return float(squares / max(count.sum() - 1, 1))

    @property
    def n_nonfinite(self) -> int:
        """Paths that are left out because f is not finite on them."""
        return self.n_paths - int(self._totals[:, 0, 0].sum())


def _joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Number, mean and squares about it of two samples together (Chan, Golub and LeVeque, 1983)."""
    n, off = one[0] + other[0], other[1] - one[1]
    if n == 0:
        return one
    share = other[0] / n
    return np.array([n, one[1] + share * off, one[2] + other[2] + off * off * one[0] * share])


def most_levels(n_steps: int, refinement: int, draws: int, most: int) -> int:
    """The deepest level, up to ``most``, whose paths have no more normals than Sobol' points dimensions."""
    fit = [level for level in range(most + 1) if n_steps * refinement**level * draws <= MOST_DIMENSIONS]
    return fit[-1] if fit else -1


def draw_enough(levels: Sequence[SobolLevel], variance: float, run: Run, check: Callable[[int], None]) -> None:
    """Double the points of one level after the other until the mean's variance is small enough.

    ``check`` is asked before every doubling, with the path-steps that it takes, and once before all.
    """
    check(0)
    while sum(level.variance_of_mean for level in levels) > variance:
        gain = [level.variance_of_mean / (level.n_points * level.cost) for level in levels]
        level = levels[int(np.argmax(gain))]
        check(level.n_paths * level.path_steps)
        level.draw(level.n_points, run)
