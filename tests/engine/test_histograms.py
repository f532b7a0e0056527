"""Counts of values in bins, exactly: at the bins' borders, and of runs that are cut into calls, tiles and shards."""

import itertools

import numpy as np
import pytest
from conftest import Elsewhere

import sdefast as sf
from sdefast.engine import tiles
from sdefast.engine.tiles import BLOCK

LOW, HIGH, BINS = -1.0, 2.0, 12  # bins of 1/4, whose borders are exact in every type
EDGES = np.linspace(LOW, HIGH, BINS + 1)
STILL = sf.BrownianMotion(mu=0.0, sigma=0.0)


def counted(x):
    """Counts of x (n_times, n_paths, dim) in bins to which their lower border belongs and their upper one does not."""
    bins = [((x >= low) & (x < high)).sum(axis=1) for low, high in itertools.pairwise(EDGES)]
    return np.stack(bins, axis=-1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_atoms_at_every_border(dtype):
    """What lies at ``low`` is counted, what lies at ``high`` is not; their neighbours are each on their side."""
    n_of_each = np.arange(1, 3 * len(EDGES) + 1).reshape(3, -1)
    x0 = np.repeat(np.concatenate([EDGES - 1e-6, EDGES, EDGES + 1e-6]), n_of_each.ravel())
    run = sf.simulate(
        STILL, x0=x0, t1=1.0, n_steps=2, n_paths=len(x0), seed=1, dtype=dtype, save_at="all",
        histogram=(LOW, HIGH, BINS),
    )  # fmt: skip
    n_below, n_on, n_above = n_of_each
    expected = n_on[:-1] + n_above[:-1] + n_below[1:]
    np.testing.assert_array_equal(run.histogram, np.broadcast_to(expected, (3, 1, BINS)))
    least = n_below[0] / len(x0)  # that share lies below all bins, and half a count more in the first bin
    assert np.isnan(run.quantile(0.99 * least)).all()
    within = LOW + (HIGH - LOW) / BINS / 2
    np.testing.assert_allclose(run.quantile(least + 0.5 * expected[0] / len(x0)), within, rtol=1e-12)


#: two blocks and a bit, of which a part leaves the bins on either side, through three segments of noise
CUT = {"x0": (0.5, 0.6), "t1": 2.1, "n_steps": 2100, "n_paths": 2 * BLOCK + 40, "seed": 6, "dtype": "float32"}
PAIRS = {"antithetic": True, "n_paths": 2 * (BLOCK + 40), "n_steps": 1100}


def run_of(**options):
    model = sf.Heston(mu=0.2, kappa=1.0, theta=0.5, xi=0.9)
    return sf.simulate(model, histogram=(LOW, HIGH, BINS), **(CUT | {"save_at": 300} | options))


@pytest.mark.parametrize("options", [{}, {"save_at": 1024}, {"first_chain": BLOCK}, PAIRS], ids=str)
def test_runs_that_are_cut(options, monkeypatch):
    """Into calls of 1024 steps, between which times are saved or on whose borders, and blocks, here or elsewhere."""
    whole = run_of(**options)
    expected = counted(whole.x)
    assert 0 < expected.sum() < whole.x.size - len(whole.t) * 100
    np.testing.assert_array_equal(whole.histogram, expected)
    monkeypatch.setattr(tiles, "CALL", 1000)
    monkeypatch.setattr(tiles, "REMOTE_TILE", 1000)
    for where in ({"threads": 2}, {"executor": Elsewhere()}):
        np.testing.assert_array_equal(run_of(paths=False, **where, **options).histogram, expected)


def test_shards_and_a_resumed_run():
    shards = [run_of(n_steps=60, first_chain=first, n_paths=n) for first, n in ((0, BLOCK), (BLOCK, 77))]
    merged = sf.merge(*shards)
    np.testing.assert_array_equal(merged.histogram, counted(merged.x))
    resumed = sf.simulate(merged.model, resume=merged, n_steps=50, histogram=(LOW, HIGH, BINS), save_at=20)
    np.testing.assert_array_equal(resumed.histogram, counted(resumed.x))
    np.testing.assert_array_equal(resumed.histogram[0], merged.histogram[-1])
