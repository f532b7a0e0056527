"""The table of constants of a run reaches steppers and observers, whole and unchanged, in every call of a run."""

from dataclasses import replace

import numpy as np
import pytest

import sdefast as sf
from sdefast.engine import executors, tiles
from sdefast.engine.running import run_tile
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import BLOCK, Draws, Gathered, Observer, Tile
from sdefast.jit.compile import Program

TABLE = np.array([0.25, -1.0, 3.0, 0.5])

# x <- table[k mod 4] x + z, where k is the step's number.
STEPPER = """
def kernel(c, stride, first_step, n_steps, dim, noise_dim, lanes, x, z, u, path, table):
    for s in range(n_steps):
        for l in range(lanes):
            x[l] = table[(first_step + s) % 4] * x[l] + T(z[s * 256 + l])
"""

# table[2] x + t
OBSERVER = """
def kernel(p, time, lanes, x, out, table):
    for l in range(lanes):
        out[l] = table[2] * x[l] + T(time)
"""


def tile(dtype="float64", table=TABLE, n_chains=300, n_steps=10):
    table = None if table is None else table.astype(dtype)
    saves = np.arange(n_steps + 1)
    observer = Observer(Program("observer", OBSERVER, dtype, dtype), 1, np.zeros(1), saves * 0.5)
    gathered = (Gathered(Layout(1, 2, False, False)), Gathered(Layout(1, 2, False, False), 0, True))
    return Tile(
        Program("stepper", STEPPER, dtype, dtype), np.zeros((1, 1)), Draws(1, float32=dtype == "float32"), 3, 0,
        n_chains, 0, n_steps, np.full((1, 1), 2.0, dtype), saves, True, gathered, 1.0, observer, table=table,
    )  # fmt: skip


def expected(run):
    """The states, in plain numpy."""
    z = sf.noise.normals(run.seed, run.n_steps, run.n_chains, dtype=run.start.dtype)
    x = [np.full(run.n_chains, 2.0, run.start.dtype)]
    for k in range(run.n_steps):
        x.append(run.table[k % 4] * x[-1] + z[k].reshape(-1))
    return np.array(x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steppers_and_observers_read_it(dtype):
    run = tile(dtype)
    result, x = run_tile(run), expected(run)
    np.testing.assert_array_equal(result.saved[:, 0], x)
    observed = run.table[2] * x + run.observer.times[:, None]
    np.testing.assert_allclose(
        result.nodes[1][0, 0][:, 1], observed.mean(axis=1), rtol=1e-5 if dtype == "float32" else 1e-13
    )


def test_reaches_every_call_and_tile(monkeypatch):
    run = tile(n_chains=2 * BLOCK + 5, n_steps=2050)
    whole = run_tile(run)
    monkeypatch.setattr(tiles, "CALL", 1000)  # a call for every 1024 steps of a block
    saved = np.empty_like(whole.saved)
    list(executors.run(replace(run, keep_paths=True), saved, None, 2, None))
    assert saved.tobytes() == whole.saved.tobytes()


@pytest.mark.parametrize("table", [TABLE.astype("float32"), TABLE[::2], TABLE.reshape(2, 2)])
def test_of_another_type_or_shape_is_refused(table):
    with pytest.raises(ValueError, match="a table must be a contiguous one-dimensional array of the state's type"):
        run_tile(replace(tile(), table=table))
