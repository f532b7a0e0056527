"""Which statistics a run gathers, and where in them is what."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .. import _core
from .statistics import Layout
from .tiles import Gathered

#: Groups of statistics that a kernel gathers at most.
MOST = _core.most_gathers

#: Mean and variance of one number.
ONE = Layout(1, 2, False, False)


class Gathering(NamedTuple):
    """What a run gathers, and where in it is what, as ranges of indices.

    ``state`` are statistics of the state's components, ``carried`` of rows that are carried besides, one range each,
    ``expectations`` of what is observed, ``pairs`` of averages over antithetic pairs.
    """

    all: tuple[Gathered, ...]
    state: range
    carried: list[range]
    expectations: range
    pairs: range


def _gathering(
    layout: Layout, n_carried: int, n_asked: int, n_controls: int, pairs: int, n_fixed: int = 0
) -> Gathering:
    dim, copies = layout.dim, 2 if pairs else 1
    starts = [(dim + n_carried + n_fixed) * copy for copy in range(copies)]
    groups = [[Gathered(layout, first) for first in starts]]
    groups += [[Gathered(ONE, first + dim + i) for first in starts] for i in range(n_carried)]
    if n_controls:
        groups.append([Gathered(Layout(n_asked + n_controls, 2, False, True), 0, True)])
    else:
        groups.append([Gathered(ONE, i, True) for i in range(n_asked)])
    groups.append([Gathered(ONE, n_asked + n_controls + i, True) for i in range(pairs)])
    ranges, end = [], 0
    for group in groups:
        ranges.append(range(end, end + len(group)))
        end += len(group)
    if end > MOST:
        raise ValueError(
            f"expectations, functionals and antithetic pairs need {end} groups of statistics, of which there are {MOST}"
        )
    return Gathering(tuple(g for group in groups for g in group), ranges[0], ranges[1:-2], ranges[-2], ranges[-1])


@lru_cache(maxsize=256)
def gathering_of(dim: int, moments: int, extremes: bool, covariance: bool, *counts: int) -> Gathering:
    """The `Gathering` of simulations with these numbers, which are quick to look up.

    The numbers are those of rows carried besides the state, of expectations, of controls, and of rows of a path of
    antithetic pairs (0 for other runs); then of rows of a path that stay as they are, of which nothing is gathered.
    """
    return _gathering(Layout(dim, moments, extremes, covariance), *counts)
