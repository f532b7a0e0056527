"""A family in a dozen lines: two Langevin samplers on run/ and the engine as they stand, against their exact laws."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sdefast.engine.grid import TimeGrid
from sdefast.engine.statistics import Histogram, Layout
from sdefast.jit.emit import Step
from sdefast.run.result import Result
from sdefast.run.step import ChainSettings, TracedStepping
from sdefast.run.where import Where
from sdefast.trace import as_expr, make, select, symbol

#: standard errors by which a value may be off, under these seeds
MOST_Z = 5.0

x, z, u, accepted = (symbol(name) for name in ("x0", "z0", "u0", "x1"))


@dataclass(frozen=True)
class Langevin(TracedStepping):
    """x + h s(x) + sqrt(2 h) z on N(0, 1)."""

    h: float

    @property
    def proposal(self):
        return as_expr(x - self.h * x + math.sqrt(2 * self.h) * z)

    @property
    def step(self):
        return Step((self.proposal,), (), (), n_draws=1)


@dataclass(frozen=True)
class Metropolis(Langevin):
    """The same with acceptances, which a second row counts."""

    @property
    def step(self):
        y = self.proposal
        accept = u < make("exp", as_expr(self.h / 4 * (x * x - y * y)))
        return Step((as_expr(select(accept, y, x)), as_expr(accepted + select(accept, 1.0, 0.0))), (), (), 1, 1)

    @property
    def observed(self):
        return (accepted,)


def settings_of(stepping, n_steps, n_chains, dtype="float64"):
    return ChainSettings(
        seed=11, dtype=np.dtype(dtype), noise_dtype=np.dtype(dtype), first_chain=0, n_chains=n_chains,
        grid=TimeGrid(0.0, 0, n_steps, h=1.0), saves=np.array([n_steps]), layout=Layout(1, 4, False, False),
        keeps_states=True, steps_by=stepping,
    )  # fmt: skip


def run(stepping, n_steps=60, n_chains=1_000_000, dtype="float64", device="cpu", threads=None):
    settings = settings_of(stepping, n_steps, n_chains, dtype)
    rng = np.random.default_rng(1)
    start = np.zeros((stepping.n_rows, n_chains), dtype)
    start[0] = rng.standard_normal(n_chains)  # the law that acceptances are exact under
    where, started = Where.of(device, threads, None), time.perf_counter()
    outcome = where.run(settings.tile(start, device=where.gpu), None)
    return Result(settings, where.cost(started), outcome.states, outcome.nodes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_unadjusted_sampler_has_its_own_law(dtype):
    result = run(Langevin(0.5), dtype=dtype)
    exact = 1 / (1 - 0.5 / 2)
    assert abs(result.mean[0, 0]) / result.standard_error[0, 0] < MOST_Z
    assert abs(result.variance[0, 0] - exact) / result.variance_standard_error[0, 0] < MOST_Z


def test_the_adjusted_one_has_the_target_and_its_exact_acceptance():
    h, n = 0.9, 60
    result = run(Metropolis(h), n)
    assert abs(result.variance[0, 0] - 1) / result.variance_standard_error[0, 0] < MOST_Z
    rate = 2 / math.pi * math.acos(math.sqrt(h**3 / (h**3 + 8)))
    assert rate == pytest.approx(0.813362, abs=1e-6)
    counted = result._expectation(0)
    assert abs(counted.value[0] - n * rate) / counted.standard_error[0] < MOST_Z


def test_it_has_what_every_family_has():
    """Threads, shards and a GPU make no difference, and one chain can be run alone."""
    one, two = (run(Metropolis(0.9), 20, 9000, threads=threads) for threads in (1, 2))
    assert one.x.tobytes() == two.x.tobytes()
    assert one.variance.tobytes() == two.variance.tobytes()
    card = run(Metropolis(0.9), 5, 300, device="cuda")
    assert np.array_equal(card.x.to_numpy(), run(Metropolis(0.9), 5, 300).x)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_carried_is_neither_kept_nor_counted(device):
    """Saved states and histograms are of the state's rows alone; the rows at the end can be had besides."""
    settings, start = settings_of(Metropolis(0.9), 5, 300), np.zeros((2, 1))
    where = Where.of(device, None, None)
    whole = replace(
        settings.tile(start, device=where.gpu), histogram=Histogram(-3.0, 3.0, 10), keep_final=True, kept_rows=1
    )
    outcome = where.run(whole, None)
    assert outcome.states.shape == (1, 1, 300)
    assert outcome.counts.shape == (1, 1, 12)
    assert outcome.counts.sum() == 300
    assert np.array_equal(np.asarray(outcome.states[0]), outcome.final[:1])
    assert set(outcome.final[1]) <= set(range(6))  # acceptances
    assert 3 < outcome.final[1].mean() < 5
