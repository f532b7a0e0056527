"""Saved states are the same wherever they are written: past the caches in whole lines, or through them."""

from dataclasses import replace

import numpy as np
import pytest

import sdefast as sf
from sdefast.engine.running import run_tile
from sdefast.engine.tiles import BLOCK, Draws, Tile, empty_states

N, STEPS = BLOCK + 333, 60


def tile(dtype):
    coefficients = np.array([[0.001, 0.03, 0.02, 0.04, 0.01, -0.5, 0.86]])
    return Tile(
        "heston", coefficients, Draws(2, float32=dtype == "float32"), 3, 0, N, 0, STEPS,
        np.array([[100.0], [0.04]], dtype), np.arange(STEPS + 1), True, (), 1.0,
    )  # fmt: skip


def at(offset, dtype):
    """Memory for the states whose rows begin ``offset`` elements after a cache line, and one element more behind it."""
    memory = empty_states(STEPS + 1, 2, N + 64, np.dtype(dtype))
    memory[...] = -1.0
    return memory, memory[:, :, offset : offset + N]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wherever_rows_begin(dtype):
    run = tile(dtype)
    few = np.concatenate([run_tile(replace(run, saves=np.array([k]))).saved for k in run.saves])  # not worth streaming
    for offset in (0, 1, 4, 16):
        memory, states = at(offset, dtype)
        run_tile(run, states)
        assert states.tobytes() == few.tobytes()
        assert (memory[:, :, :offset] == -1).all()
        assert (memory[:, :, offset + N :] == -1).all()


@pytest.mark.parametrize("n", [1, 1000, 1024, 5003])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_many_chains_begin_cache_lines(dtype, n):
    states = empty_states(3, 2, n, np.dtype(dtype))
    assert states.shape == (3, 2, n)
    if n < 1024:
        assert states.flags.c_contiguous
        return
    assert states.ctypes.data % 64 == 0
    assert states.strides[0] % 64 == states.strides[1] % 64 == 0
    assert states.strides[1] - n * states.itemsize < 64


def test_users_see_a_view():
    options = {"x0": 0.0, "t1": 1.0, "n_steps": 300, "seed": 2, "save_at": "all", "dtype": "float32"}
    run = sf.simulate(sf.BrownianMotion(), n_paths=N, **options)
    assert run.x.shape == (301, N, 1)
    alone = sf.simulate(sf.BrownianMotion(), n_paths=1, first_chain=N - 1, **options)
    assert run.x[:, -1:].tobytes() == alone.x.tobytes()
