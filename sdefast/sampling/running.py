"""Running what was checked."""

from __future__ import annotations

import time

import numpy as np

from .. import resources
from ..engine import plan
from ..run.checkpoint import Checkpoint
from ..run.overflow import warn_of_overflow
from ..run.where import Where, progress_bar
from . import adaptation, lost
from .result import Chains
from .settings import Settings
from .wanted import Wanted


def run(
    s: Settings, start: np.ndarray, wanted: Wanted, where: Where, progress: bool, keeping: Checkpoint,
    kind: type[Chains] = Chains,
) -> Chains:  # fmt: skip
    """Run, after the burn-in that finds the step size if there is one."""
    _refuse_too_large(s, wanted)
    keeping.belongs_to(s, n_chains=s.n_chains, final_states=wanted.final_states, adapt=wanted.acceptance)
    started = time.perf_counter()
    with progress_bar(progress, s.method, s.n_chains * s.n_steps, "chain-step") as bar:
        told, own = None if bar is None else bar.update, s
        if wanted.acceptance:
            s, start = adaptation.adapt(s, start, wanted.goal(s.how), where, told, keeping)
            own = adaptation.section(s, s.burn_in, s.n_steps - s.burn_in, s.step_sizes[-1:])
        whole = own.tile(start, device=where.gpu, keep_final=wanted.final_states)
        outcome = where.run(whole, told, keeping.part("run"))
    keeping.finish()
    chains = kind(s, where.cost(started, keeping.found), outcome.states, outcome.nodes, outcome.counts, outcome.final)
    lost.warn(chains, own, start, where)
    warn_of_overflow(chains)
    return chains


def _refuse_too_large(s: Settings, wanted: Wanted) -> None:
    """MemoryError, before any work, if what is kept cannot fit."""
    size, chain = s.layout.size + 6 * s.how.accepts, s.stepping
    if wanted.histogram is not None:
        size += chain.n_shown * (wanted.histogram.bins + 2)
    plan.refuse_too_large(
        len(s.saves), chain.n_shown, s.n_chains, s.dtype.itemsize, s.n_steps, size, wanted.paths
    )  # fmt: skip
    if wanted.final_states:
        needed = chain.n_rows * s.n_chains * s.dtype.itemsize
        resources.refuse_too_large(needed, "the rows at the end", ["final_states=False does not keep them"])
