"""Which statistics a run gathers, and where in them is what."""

from __future__ import annotations

from functools import lru_cache

from .statistics import Layout
from .tiles import Gathered

#: Groups of statistics that a kernel gathers at most, `most_gathers` in csrc/engine/job.hpp.
MOST = 64

#: Mean and variance of one number.
ONE = Layout(1, 2, False, False)


class Parts:
    """Where in a run's gathered statistics is what; each attribute is a range of indices."""

    def __init__(self, layout: Layout, n_carried: int, n_asked: int, n_controls: int, pairs: int) -> None:
        dim, copies = layout.dim, 2 if pairs else 1
        starts = [(dim + n_carried) * copy for copy in range(copies)]
        parts = [[Gathered(layout, first) for first in starts]]
        parts += [[Gathered(ONE, first + dim + i) for first in starts] for i in range(n_carried)]
        if n_controls:
            asked = [Gathered(Layout(n_asked + n_controls, 2, False, True), 0, True)]
        else:
            asked = [Gathered(ONE, i, True) for i in range(n_asked)]
        of_pairs = [Gathered(ONE, n_asked + n_controls + i, True) for i in range(pairs)]
        ranges, end = [], 0
        for part in (*parts, asked, of_pairs):
            ranges.append(range(end, end + len(part)))
            end += len(part)
        if end > MOST:
            raise ValueError(
                f"expectations, functionals and antithetic pairs need {end} groups of statistics, of which there are "
                f"{MOST}"
            )
        self.all = tuple(g for part in (*parts, asked, of_pairs) for g in part)
        self.state, self.carried = ranges[0], ranges[1 : 1 + n_carried]
        self.expectations, self.pairs = ranges[-2], ranges[-1]


@lru_cache(maxsize=256)
def parts(dim: int, moments: int, extremes: bool, covariance: bool, *counts: int) -> Parts:
    """The `Parts` of these numbers, which are quick to look up."""
    return Parts(Layout(dim, moments, extremes, covariance), *counts)
