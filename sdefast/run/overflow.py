"""Statistics that overflow: chains may be finite, and their squares not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import checks
from ..engine.statistics import Layout
from .result import Result

#: Sums of blocks whose squares together are smaller than this are finite when they are put together.
_SMALL = 1e290

#: Of higher moments nobody is told: they overflow where nothing else does.
_POWERS = ("mean", "variance")


def warn_of_overflow(result: Result) -> None:
    """RuntimeWarning where statistics over finite numbers are not finite themselves.

    Where some are lost altogether, of which there is another warning, it says nothing.
    """
    if all(np.vdot(node, node) < _SMALL for nodes in result._nodes for node in nodes.values()):
        return
    if result.n_nonfinite[-1]:
        return
    lost: dict[str, np.ndarray] = {}
    for gathered, total in zip(result.settings.gathering.all, result._totals, strict=True):
        for name, sums in _named_sums(gathered.layout, total):
            gone = (total[:, 0] > 0) & ~np.isfinite(sums).all(axis=1)
            lost[name] = lost.get(name, False) | gone
    found = {name: at for name, at in lost.items() if np.any(at)}
    if found:
        first = min(int(np.argmax(at)) for at in found.values())
        checks.warn(
            f"statistics overflow from {result.time_word} {result.t[first]:g} on, though the {result.chain_word}s are "
            f"finite: {', '.join(found)}. Such large values mean that the simulation is unstable: a smaller step, or a "
            "method for stiff equations, may help"
        )


def _named_sums(layout: Layout, total: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Sums of powers and products, each (n_times, n), with what is made of them."""
    for k, name in enumerate(_POWERS):
        yield name, total[:, layout.component(k)]
    if layout.n_pairs:
        yield "covariance", total[:, layout.products]
