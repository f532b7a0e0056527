"""Langevin runs have the same bits whatever runs them, however they are cut, and at every instruction-set level."""

import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from conftest import python, thorough_but
from run import checkpointed
from run.checkpointed import digest

import sdefast as sf
from sdefast import _core
from sdefast.engine.tiles import BLOCK
from sdefast.sampling.built_in import BuiltInChain

_ROWS = np.random.default_rng(6).standard_normal((30, 3))
TRACED = sf.targets.Target(lambda x: -0.25 * x[0] ** 4 - 0.5 * (x[1] - x[0]) ** 2, dim=2)
MIXTURE = sf.targets.GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], [0.4, 0.6])
LOGISTIC = sf.targets.LogisticRegression(_ROWS, _ROWS[:, 0] > 0.2)

CALLS = {
    "traced": (TRACED, {"method": "mala", "step_size": 0.2, "diagnostics": 4, "dtype": "float32"}),
    "velocities": (TRACED, {"method": "baoab", "step_size": 0.3, "diagnostics": False, "friction": 1.5}),
    "built-in": (MIXTURE, {"method": "mala", "step_size": 0.1, "diagnostics": 4, "noise_dtype": "float32"}),
    "rows-of-data": (LOGISTIC, {"method": "sgld", "batch_size": 4, "step_size": 0.02, "diagnostics": False}),
}

N_STEPS, FIRST_STEPS, N, FIRST_N = 30, 11, 2 * BLOCK + 70, BLOCK


def whole(call, **where):
    target, how = CALLS[call]
    settings = {"n_steps": N_STEPS, "n_chains": N, "x0": np.full(target.dim, 0.4), "seed": 11}
    return sf.langevin(target, **{**settings, **how, **where})


def shards(call, **where):
    return sf.merge(
        whole(call, n_chains=FIRST_N, **where), whole(call, first_chain=FIRST_N, n_chains=N - FIRST_N, **where)
    )


def halves(call, **where):
    before = whole(call, **{**where, "n_steps": FIRST_STEPS})
    again = {"n_steps": N_STEPS - FIRST_STEPS, "diagnostics": CALLS[call][1]["diagnostics"]}
    return sf.langevin(before.target, resume=before, **again, **where)


def end(chains):
    """What a run has at its last iteration, that does not begin anew where it goes on from another."""
    return chains.x[-1].tobytes(), chains.mean[-1].tobytes(), chains.variance[-1].tobytes()


def pools():
    """Ways to run, each with what has to be closed afterwards."""
    yield {"threads": 1}
    yield {"threads": 3}
    yield {"executor": ThreadPoolExecutor(2)}
    yield {"executor": ProcessPoolExecutor(2, multiprocessing.get_context("fork"))}


def all_bits(call):
    """The digests of a run and of its end: one each, however it is run and cut."""
    ways = list(pools())
    try:
        runs = [(cut, cut(call, **where)) for cut, where in itertools.product((whole, shards, halves), ways)]
    finally:
        for where in ways:
            if "executor" in where:
                where["executor"].shutdown()
    assert len({end(chains) for _, chains in runs}) == 1, call
    assert all(isinstance(chains.settings.stepping, BuiltInChain) == (call == "built-in") for _, chains in runs)
    digests = {digest(chains) for cut, chains in runs if cut is not halves}
    assert len(digests) == 1, call
    assert digest(whole(call, seed=12)) not in digests
    return digests.pop()


SCRIPT = """
import sys
from run import checkpointed
from sampling.test_bits import all_bits
checkpointed.small_tiles()
for call in sys.argv[1:]:
    print(call, all_bits(call))
"""


LEVELS = [isa for isa in _core.isas if isa == "baseline" or isa <= _core.isa]


EVERYDAY = "traced"


@pytest.mark.parametrize(
    ("level", "calls"),
    thorough_but(
        [(LEVELS[0], EVERYDAY)],
        [(LEVELS[0], EVERYDAY), *((level, " ".join(CALLS)) for level in LEVELS[:-1] or LEVELS)],
    ),
)
def test_nothing_that_runs_or_cuts_a_run_changes_its_bits_at_any_level(level, calls, monkeypatch):
    """Threads and executors, times shards and resumed halves, times levels of instructions, one process each."""
    lines = python(SCRIPT, *calls.split(), SDEFAST_ISA=level).splitlines()
    checkpointed.small_tiles(monkeypatch.setattr)
    assert lines == [f"{call} {all_bits(call)}" for call in calls.split()]
