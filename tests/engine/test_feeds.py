"""A step may draw normals or signs, uniforms, and rows of data, together: against plain numpy on the same draws."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import thorough_but
from engine.small_kernels import Kernel, compiled

from sdefast import _core, noise
from sdefast.engine import executors, tiles
from sdefast.engine.running import run_tile
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import BLOCK, Data, Draws, Gathered, Tile
from sdefast.jit.compile import Program

ROWS = np.random.default_rng(1).standard_normal((7, 3))

# x <- x / 2 + (rows of two picks, first column) + (both normals) u, the state in layout rows of ROW lanes.
STEPPER = """
def kernel(c, stride, first_step, n_steps, dim, noise_dim, lanes, x, z, u, path, table, picks, n_picks, rows, width):
    for s in range(n_steps):
        for l in range(lanes):
            a = rows[picks[(2 * s) * ROW + l] * width]
            b = rows[picks[(2 * s + 1) * ROW + l] * width]
            noise = T(z[(2 * s) * ROW + l]) + T(z[(2 * s + 1) * ROW + l])
            x[l] = T(0.5) * x[l] + (T(a) + T(b)) + noise * u[s * ROW + l] + T(first_step + s)
"""


def tile(layout, shuffled, dtype="float64", noise_dtype=None, n_chains=300, n_steps=50, **options):
    noise_dtype = noise_dtype or dtype
    source = STEPPER.replace("ROW", "256" if layout == "wide" else "32")
    defaults = {
        "kernel": Program("data stepper", source, dtype, noise_dtype, layout), "coefficients": np.zeros((1, 1)),
        "draws": Draws(2, 1, float32=noise_dtype == "float32", picks=2), "seed": 3, "first_chain": 0,
        "n_chains": n_chains, "first_step": 0, "n_steps": n_steps, "start": np.full((1, 1), 2.0, dtype),
        "saves": np.arange(n_steps + 1), "keep_paths": True, "gathered": (Gathered(Layout(1, 2, False, False)),),
        "cost": 1.0, "data": Data(ROWS.astype(noise_dtype), 1, shuffled),
    }  # fmt: skip
    return Tile(**{**defaults, **options})


def picks(run):
    """Rows that are picked, (n_steps, picks, n_chains), as csrc/engine/picks.hpp says."""
    n, per_step = len(run.data.rows), run.draws.picks
    m = run.n_steps * per_step
    words = noise.words(run.seed, 2 * m, run.n_chains, first_chain=run.first_chain, stream=2).astype(object)
    words = words[::2] * 2**32 + words[1::2]
    epoch = n // per_step * per_step
    chosen = np.empty((m, run.n_chains), int)
    for chain in range(run.n_chains):
        order: list[int] = []
        for k in range(m):
            if not run.data.shuffled:
                chosen[k, chain] = words[k, chain] * n >> 64
                continue
            p = k % epoch
            order = list(range(n)) if p == 0 else order
            j = p + (words[k, chain] * (n - p) >> 64)
            order[p], order[j] = order[j], order[p]
            chosen[k, chain] = order[p]
    return chosen.reshape(run.n_steps, per_step, run.n_chains)


def expected(run):
    """The states, in plain numpy."""
    dtype, noise_dtype, n = run.start.dtype, run.data.rows.dtype, run.n_chains
    z = noise.normals(run.seed, 2 * run.n_steps, n, dtype=noise_dtype).astype(dtype).reshape(-1, 2, n)
    u = noise.uniforms(run.seed, run.n_steps, n, dtype=dtype)
    rows = run.data.rows[:, 0].astype(dtype)[picks(run)]
    x = [np.full(n, 2.0, dtype)]
    half = dtype.type(0.5)
    for k in range(run.n_steps):
        x.append(half * x[-1] + (rows[k, 0] + rows[k, 1]) + (z[k, 0] + z[k, 1]) * u[k] + dtype.type(k))
    return np.array(x)


TYPES = [("float32", "float32"), ("float64", "float64"), ("float64", "float32")]


@pytest.mark.parametrize(("dtype", "noise_dtype"), thorough_but(TYPES[::2], TYPES))
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_normals_uniforms_and_rows_of_data_in_one_step(layout, shuffled, dtype, noise_dtype):
    run = tile(layout, shuffled, dtype, noise_dtype)
    np.testing.assert_allclose(run_tile(run).saved[:, 0], expected(run), rtol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("shuffled", [False, True])
def test_cut_into_calls_and_tiles_they_have_the_same_bits(shuffled, monkeypatch):
    run = tile("narrow", shuffled, n_chains=BLOCK + 40, n_steps=3100, saves=np.arange(0, 3101, 31))
    whole = run_tile(run)
    monkeypatch.setattr(tiles, "CALL", 1000)  # a call for every 1024 steps of a block, or the next end of an epoch
    saved = np.empty_like(whole.saved)
    list(executors.run(run, saved, None, 2, None))
    assert saved.tobytes() == whole.saved.tobytes()


@pytest.mark.parametrize("shuffled", [False, True])
def test_one_chain_alone_has_the_same_bits(shuffled):
    run = tile("narrow", shuffled)
    alone = run_tile(replace(run, first_chain=217, n_chains=1))
    assert alone.saved[:, 0, 0].tobytes() == run_tile(run).saved[:, 0, 217].tobytes()


def test_given_normals_take_the_place_of_the_generators():
    run = tile("wide", False)
    normals = noise.normals(run.seed, 2 * run.n_steps, run.n_chains)
    assert run_tile(replace(run, normals=normals)).saved.tobytes() == run_tile(run).saved.tobytes()
    without = run_tile(replace(run, normals=0 * normals)).saved[:, 0]
    rows = ROWS[:, 0][picks(run)].sum(axis=1)
    x = np.full(run.n_chains, 2.0)
    for k in range(run.n_steps):
        x = 0.5 * x + rows[k] + k
    np.testing.assert_allclose(without[-1], x, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_steps_in_cpp_draw_uniforms_and_carry_rows(layout, dtype, tmp_path_factory):
    step = Kernel(compiled(tmp_path_factory.getbasetemp(), dtype, layout), "carrying", layout)
    run = tile(
        layout, False, dtype, kernel=step, coefficients=np.full((1, 1), 0.5), data=None,
        draws=Draws(2, 3, float32=dtype == "float32"), start=np.array([[2.0], [0.0]], dtype),
        gathered=(Gathered(Layout(2, 2, False, True)),),
    )  # fmt: skip
    saved, n = run_tile(run).saved, run.n_chains
    z = noise.normals(3, 2 * run.n_steps, n, dtype=dtype).reshape(-1, 2, n)
    u = noise.uniforms(3, 3 * run.n_steps, n, dtype=dtype).reshape(-1, 3, n)
    x, total = np.full(n, 2.0, dtype), np.zeros(n, dtype)
    for k in range(run.n_steps):
        x = np.asarray(0.5, dtype) * x + (z[k, 0] - z[k, 1])
        total = total + (u[k, 0] + u[k, 1] + u[k, 2])
        np.testing.assert_allclose(saved[k + 1, 0], x, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-5)
        assert saved[k + 1, 1].tobytes() == total.tobytes()


def test_chains_that_lie_one_after_the_other_draw_everything(tmp_path_factory):
    """Two components on rows of data of width 3, with a table, too."""
    step = Kernel(compiled(tmp_path_factory.getbasetemp(), "float64", "wide"), "everything", "chains")
    run = tile(
        "narrow", True, kernel=step, start=np.array([[2.0], [1.0]]), table=np.array([10.0, 20.0]),
        data=Data(ROWS, 2, True), gathered=(Gathered(Layout(2, 2, False, True)),), n_chains=70,
    )  # fmt: skip
    saved, n, chosen = run_tile(run).saved, run.n_chains, picks(run)
    z, u = noise.normals(3, 2 * run.n_steps, n).reshape(-1, 2, n), noise.uniforms(3, run.n_steps, n)
    x = np.array([[2.0], [1.0]]) + np.zeros(n)
    for k in range(run.n_steps):
        rows = np.array([ROWS[chosen[k, i], i] for i in range(2)])
        x = 0.5 * x + rows + z[k] + u[k] * (10.0, 20.0)[k % 2]
        np.testing.assert_allclose(saved[k + 1], x, rtol=1e-12)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": Draws(2, 1, signs=True, picks=2)}, "signs and rows of data come from one stream"),
        ({"draws": Draws(2, 1, picks=0)}, "from 1 to 131072 rows of data"),
        ({"draws": Draws(2, 1, picks=8), "data": Data(ROWS, 1, True)}, "an epoch must hold a step"),
        ({"data": Data(ROWS, 4, False)}, "vectors must fit the rows"),
        ({"draws": Draws(4097, 1, picks=2)}, "in wide rows 4096"),
        ({"kernel": "ornstein_uhlenbeck"}, "this step draws no rows of data"),
        ({"kernel": "least_squares_on_data", "data": None}, "this step draws rows of data"),
        ({"kernel": "no_such_step"}, "there is no compiled step 'no_such_step'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        run_tile(replace(tile("wide", False), **change))


def test_built_in_steps_say_how_their_chains_lie():
    assert _core.steps["ornstein_uhlenbeck"] == "wide"
    assert _core.steps["least_squares"] == "narrow"
    assert _core.steps["least_squares_on_data"] == "chains"
