"""Chains that are no longer finite: a warning that says where the first of them was lost."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from ..run.where import Where
from ..words import gone
from .result import Chains
from .settings import Settings
from .targets.batch import BatchTarget

#: States of a chain that are looked at in one go: where there are more steps, every so many first, then those between.
_AT_ONCE = 10_000

#: Chains that are looked at beside the first that is lost, if their states are no more numbers than these.
_TOGETHER, _MOST_NUMBERS = 256, 2**22


def warn(chains: Chains, s: Settings, start: np.ndarray, where: Where) -> None:
    """RuntimeWarning if chains were lost on the way from the rows ``start`` with the settings ``s``."""
    lost = int(chains.n_nonfinite[-1])
    if lost:
        warnings.warn(
            f"{gone(lost, s.n_chains, 'chain')} no longer finite at iteration {chains.iterations[-1]}"
            f"{_first(chains, s, start, where)}; the statistics are over the others. A smaller step may help"
            f"{_bound(s)}",
            RuntimeWarning,
            stacklevel=4,
        )


def _bound(s: Settings) -> str:
    """What a step must be below on a Gaussian as curved as the target, if that is known."""
    bound = s.stable_step
    return "" if bound is None else f": {s.method!r} is stable below {bound:.6g} on this target"


def _first(chains: Chains, s: Settings, start: np.ndarray, where: Where) -> str:
    """Which chain was lost first, of those that lie beside the first that is lost, and when, if ends were kept."""
    ends = chains._final if chains._final is not None else chains._states[-1] if chains._states is not None else None
    if ends is None or isinstance(s.target, BatchTarget):
        return ""
    finite = np.isfinite(np.asarray(ends)[: s.kept_rows]).all(axis=0)
    k = int(np.argmin(finite))
    if start.shape[1] > 1 and not np.isfinite(start[: s.kept_rows, k]).all():
        return f" (chain {s.first_chain + k} since before iteration {s.grid.first_step})"
    n = min(_TOGETHER, s.n_chains - k, max(_MOST_NUMBERS // (s.kept_rows * min(s.n_steps, _AT_ONCE)), 1))
    chain, since = _since(s, start, slice(k, k + n), where)
    return f" (chain {s.first_chain + chain} since iteration {since})"


def _since(s: Settings, start: np.ndarray, some: slice, where: Where) -> tuple[int, int]:
    """The first of some chains that is not finite, and its first iteration so: they run again, alone."""
    first, last = s.grid.first_step, s.grid.last_step
    own = start[:, some] if start.shape[1] > 1 else start
    while True:
        saves = np.unique(np.linspace(first, last, min(last - first, _AT_ONCE) + 1).astype(np.int64)[1:])
        alone = replace(
            s, n_chains=some.stop - some.start, first_chain=s.first_chain + some.start, saves=saves,
            keeps_states=True, histogram=None,
            step_sizes=s.step_sizes[:, some] if s.step_sizes.ndim > 1 else s.step_sizes,
        )  # fmt: skip
        outcome = where.run(alone.tile(own, device=where.gpu, gathers=False), None)
        gone = ~np.isfinite(np.asarray(outcome.states)).all(axis=1)
        lost = int(np.argmax(gone.any(axis=1)))
        before = int(saves[lost - 1]) if lost else first
        if saves[lost] == before + 1:
            return some.start + int(np.argmax(gone[lost])), before + 1
        first, last = before, int(saves[lost])
