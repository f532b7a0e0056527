"""SGD on least squares on a GPU, or in its simulator, or from its PTX: the bits of plain numpy on the same noise."""

import re
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from cards import card, noted, resources
from conftest import thorough_but
from least_squares.descents import Fit

from sdefast.cuda import run, statistics, target
from sdefast.cuda.functions import functions
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import Gathered
from sdefast.least_squares.cuda import kernels
from sdefast.least_squares.cuda.kernels import source
from sdefast.least_squares.cuda.shape import Shape
from sdefast.run.where import Where

without_a_gpu = pytest.mark.skipif(
    not target.SIMULATED, reason="with a GPU these kernels run there, in the tests above"
)

#: what decides a kernel, and whether the state stays in registers
KINDS = {
    "one": (Shape(1), True),
    "odd": (Shape(5), True),
    "even without noise": (Shape(4, noisy=False), True),
    "odd without noise": (Shape(5, noisy=False), True),
    "batch": (Shape(3, batch_size=4), True),
    "averaged": (Shape(3, averaged=True, scaled=True, per_parameter=True), True),
    "averaged batch": (Shape(2, batch_size=3, averaged=True, scaled=True, per_parameter=True), True),
    "uniform": (Shape(3, law="uniform"), True),
    "uniform batch": (Shape(4, batch_size=3, law="uniform", noisy=False, scaled=True), True),
    "rademacher": (Shape(3, law="rademacher"), True),
    "data": (Shape(3, finite=True), True),
    "data in batches": (Shape(2, batch_size=4, finite=True, averaged=True), True),
    "many, odd": (Shape(71), False),
    "many, even": (Shape(70), False),
    "many, odd, without noise": (Shape(71, noisy=False), False),
    "many, even, without noise": (Shape(70, noisy=False, averaged=True), False),
    "many in batches": (Shape(71, batch_size=2), False),
    "many in batches, averaged": (
        Shape(70, batch_size=2, averaged=True, scaled=True, per_parameter=True), False,
    ),
    "many, uniform": (Shape(13, law="uniform", scaled=True), False),
    "many, uniform in batches": (Shape(14, batch_size=2, law="uniform"), False),
    "many, rademacher": (Shape(14, law="rademacher", noisy=False, per_parameter=True), False),
    "many, data": (Shape(70, finite=True), False),
    "many, data in batches": (Shape(71, batch_size=2, finite=True, averaged=True), False),
}  # fmt: skip

TYPES = [("float32", "float32"), ("float64", "float64"), ("float64", "float32")]


def assert_bits_of_numpy(fit, **limits):
    want = fit.in_numpy()[fit.saves - fit.first_step]
    states, errors = fit.on_the_card()
    assert states.tobytes() == want.tobytes()
    np.testing.assert_allclose(errors, fit.errors_in_numpy(want).astype(float).mean(-1), rtol=1e-13)


#: those of many parameters that need not run as Python code every time: the simulator is slow
OTHER_WAYS = ["many, even", "many, odd, without noise", "many in batches", "many, data"]


@pytest.mark.parametrize(
    ("i", "name"),
    thorough_but([(i, name) for i, name in enumerate(KINDS) if name not in OTHER_WAYS], list(enumerate(KINDS))),
    ids=KINDS,
)
def test_bits_of_numpy(i, name):
    shape, in_registers = KINDS[name]
    dtype, noise_dtype = TYPES[i % 3]
    fit = Fit(shape, dtype, noise_dtype, n_steps=2, n_runs=2, first_step=5, decaying=i % 2 == 0, save_at=2)
    assert shape.in_registers(dtype) == in_registers
    assert_bits_of_numpy(fit)


# From the PTX --------------------------------------------------------------------------------------------------------

#: runs of all kinds, from a step on that is not the first, and some that cross borders of segments
FITS = {
    name: Fit(
        shape, *TYPES[(i + 1) % 3], n_steps=10 if shape.dim > 10 else 40, n_runs=40, first_step=1 + i % 2,
        decaying=i % 2 == 1, save_at=5,
    )
    for i, (name, (shape, _)) in enumerate(KINDS.items())
}  # fmt: skip
LONG = {
    "few": (Shape(5), "float32", 430),
    "some": (Shape(29), "float64", 40),
    "very many": (Shape(1030), "float32", 5),
    "very many numbers of two words": (Shape(1031), "float64", 3),
    "very many, uniform": (Shape(1030, law="uniform", noisy=False), "float32", 4),
    "few picks": (Shape(2, finite=True), "float64", 1100),
    "very many, data": (Shape(1029, finite=True, batch_size=2), "float32", 2),
}
FITS |= {
    name: Fit(shape, dtype, n_steps=n_steps, n_runs=3, save_at=n_steps, n_data=2**12 + 1)
    for name, (shape, dtype, n_steps) in LONG.items()
}

#: whose registers are looked at besides
OTHERS = [
    (Shape(d, **settings), dtype)
    for d in (5, 64, 1000)
    for dtype in ("float32", "float64")
    for settings in ({}, {"batch_size": 8, "averaged": True, "scaled": True, "per_parameter": True})
]


def descent(shape, dtype):
    numbers = {"data": np.zeros((1, shape.dim + 1))} if shape.finite else {}
    numbers |= {"scale": np.zeros(shape.dim)} if shape.scaled else {}
    return kernels.least_squares(shape, dtype, dtype, constant=True, **numbers)


#: executed whenever tests are: drawn at once and in a loop, in batches, other laws, data, averages
EVERYDAY = ["averaged batch", "uniform", "many, even", "data in batches", "few picks"]


def executed(machines):
    return card(lambda program, grid, block, values: machines[program][1].run(grid, block, values))


@without_a_gpu
@pytest.mark.parametrize("name", thorough_but(EVERYDAY[:2], FITS))
def test_bits_of_numpy_from_the_ptx(name, machines):
    with executed(machines):
        assert_bits_of_numpy(FITS[name])


@without_a_gpu
@pytest.mark.parametrize(
    "name", thorough_but(["averaged batch"], ["averaged batch", "many in batches, averaged", "many, data in batches"])
)
def test_no_bit_depends_on_how_a_run_is_cut(name, machines, monkeypatch):
    """Launches end within a run; sums of batches begin anew, averages and decaying step sizes go on."""
    monkeypatch.setattr(run, "LAUNCH", 4 * 4096 * FITS[name].shape.dim)
    with executed(machines):
        assert_bits_of_numpy(FITS[name])


@without_a_gpu
@pytest.mark.parametrize("names", [EVERYDAY, pytest.param(FITS, marks=pytest.mark.thorough)], ids=["some", "all"])
def test_arithmetic_is_rounded_by_name(names, machines):
    """Without a rounding in its name, an assembler may contract a product and a sum."""

    def runs():
        for name in names:
            FITS[name].on_the_card()

    programs = [program for program in noted(runs) if getattr(program, "kind", None) in ("sgd", "observer")]
    assert len({program.source for program in programs if program.kind == "sgd"}) >= len(EVERYDAY)
    for program in programs:
        found = machines[program][1].instructions
        loose = [o for o in found if re.fullmatch(r"(add|sub|mul|mad|div|sqrt|fma)\.f(32|64)", o)]
        assert not loose, (program.kind, loose)


@without_a_gpu
@pytest.mark.parametrize("number", thorough_but([0], range(len(OTHERS))))
def test_registers_and_local_memory(number, machines, tmp_path):
    """Nothing is spilled; in memory of its own a thread has the normals of a sample at most, where they are many."""
    shape, dtype = OTHERS[number]
    found = resources(machines[descent(shape, dtype).program][0], tmp_path)
    assert found.spilled == 0, (shape, found)
    itemsize = np.dtype(dtype).itemsize
    normals = -(-(shape.dim + 1) * itemsize // 8) * 8
    assert found.local in ((0, normals) if shape.in_registers(dtype) else (0,)), (shape, found)
    assert found.registers <= (176 if shape.in_registers(dtype) else 128), (shape, found)


# Statistics of many rows ---------------------------------------------------------------------------------------------


MANY_ROWS = Layout(7, 4, True, True)


def gather_many_rows():
    """Three blocks, the last one not full, some of whose runs are not finite."""
    fit = Fit(Shape(7), n_steps=1, n_runs=9000, first_chain=4096)
    fit.start[3, ::11], fit.start[6, 7] = np.nan, np.inf
    tile = replace(fit.tile(descent(fit.shape, fit.dtype), None), gathered=(Gathered(MANY_ROWS),), observer=None)
    return Where.of("cuda", None, None).run(tile, None)


@pytest.mark.thorough
@without_a_gpu
def test_statistics_of_many_rows(machines):
    with executed(machines):
        outcome = gather_many_rows()
    layout, total = MANY_ROWS, MANY_ROWS.total(outcome.nodes[0])
    for x, have, covariance in zip(outcome.states.to_numpy(), total, layout.covariances(total), strict=True):
        x = x[:, np.isfinite(x).all(0)]
        center = x - x.mean(1, keepdims=True)
        assert have[0] == x.shape[1] == 9000 - 819 - 1
        np.testing.assert_allclose(have[layout.component(0)], x.mean(1), atol=1e-13)
        np.testing.assert_allclose(covariance, np.cov(x), rtol=1e-11, atol=1e-13)
        for power in (3, 4):
            np.testing.assert_allclose(have[layout.component(power - 1)], (center**power).sum(1), rtol=1e-9, atol=1e-9)
        assert np.array_equal(have[layout.component(4)], x.min(1))
        assert np.array_equal(have[layout.component(5)], x.max(1))


@without_a_gpu
@pytest.mark.parametrize("dim", [2, 3, 8, 45])
def test_pairs_by_their_numbers(dim):
    pairs = [statistics.pair_of(i, dim) for i in range(dim * (dim - 1) // 2)]
    assert pairs == list(combinations(range(dim), 2))


@without_a_gpu
def test_pairs_of_very_many():
    """By the number of pairs before those of i."""
    dim = 4001
    for i in (*range(0, dim - 1, 97), dim - 2):
        first = i * dim - i * (i + 1) // 2
        assert statistics.pair_of(first, dim) == (i, i + 1)
        assert statistics.pair_of(first + dim - 2 - i, dim) == (i, dim - 1)


# Memory --------------------------------------------------------------------------------------------------------------


def limits(shape, room, n_runs=2**22, dtype="float32", saves=(10,)):
    fit = Fit(shape, dtype, n_steps=10, n_runs=1)
    tile = fit.tile(descent(shape, dtype), None)
    return run._Limits.of(replace(tile, n_chains=n_runs, saves=np.array(saves), start=fit.start), room, scratch=True)


def test_many_parameters_are_run_by_fewer_runs_at_a_time():
    assert limits(Shape(5), 2**35).n_chains == run.MOST_CHAINS
    assert limits(Shape(1000), 2**35).n_chains == run.LEAST_CHAINS
    small = limits(Shape(4000, averaged=True, batch_size=2), 2**30, dtype="float64")
    assert small.n_chains * 3 * 4000 * 8 <= 2**30 < 2 * small.n_chains * 3 * 4000 * 8
    assert small.n_chains % 4096 == 0
    assert limits(Shape(4000), 1000).n_chains == 4096
    assert limits(Shape(1000), 2**35, saves=range(11)).n_saves == 1


def test_local_memory_is_taken_from_what_is_free(monkeypatch):
    """A card of 132 multiprocessors, each with up to 2048 threads."""
    card = type("Card", (), {"MULTIPROCESSOR_COUNT": 132, "MAX_THREADS_PER_MULTIPROCESSOR": 2048})
    monkeypatch.setattr(target, "SIMULATED", False)
    monkeypatch.setattr(target, "cuda", type("Cuda", (), {"gpus": {1: card}}))
    for said in (264, {"a signature": 264}):
        kernel = type("Kernel", (), {"get_local_mem_per_thread": lambda self, said=said: said})()
        assert target.Device(1).thread_memory(kernel) == 264 * 132 * 2048


def test_data_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(target.Device, "free_memory", lambda self: 1000)
    with pytest.raises(MemoryError, match=r"the data need 0\.0 GiB on the card, 0\.0 GiB are free there"):
        Fit(Shape(3, finite=True), n_data=1000).on_the_card()


# Errors --------------------------------------------------------------------------------------------------------------

REFUSED = [
    (Shape(3, law="cauchy"), {}, "law must be one of 'normal', 'uniform', 'rademacher', got 'cauchy'"),
    (Shape(3, finite=True), {}, "data must be given if finite=True and only then, got finite=True"),
    (Shape(3), {"scale": [1.0] * 3}, "scale must be given if scaled=True and only then, got scaled=False"),
    (Shape(3, scaled=True), {"scale": [1.0] * 2}, r"scale must be of shape \(3,\), got \(2,\)"),
    (Shape(3, finite=True), {"data": np.ones((5, 3))}, r"data must be of shape \(n, 4\), 0 < n < 2\*\*32, got"),
    (
        Shape(3, finite=True, scaled=True),
        {"data": np.ones((5, 4)), "scale": [1.0] * 3},
        "scaled must be False for finite",
    ),
]


@pytest.mark.parametrize(("shape", "numbers", "message"), REFUSED)
def test_what_does_not_fit_together_is_refused(shape, numbers, message):
    with pytest.raises(ValueError, match=message):
        kernels.least_squares(shape, "float32", "float32", constant=True, **numbers)


def test_one_source_serves_all_numbers():
    """Numbers are arguments, so that one kernel is compiled for all problems of a kind."""
    first, second = (
        kernels.least_squares(Shape(3), "float32", "float32", constant=True, noise_std=s) for s in (0.1, 0.2)
    )
    assert first.program == second.program
    assert source(Shape(3), "float32", "float32", constant=True) == first.program.source


def test_step_sizes_of_another_shape_are_refused():
    fit = Fit(Shape(3), n_steps=4)
    fit.rates = np.ones((3, 1))
    with pytest.raises(ValueError, match=r"coefficients must be of shape \(1 or 4, 1\), got \(3, 1\)"):
        fit.on_the_card()


@pytest.mark.skipif(not target.SIMULATED, reason="device functions are called by kernels alone")
@pytest.mark.parametrize("n", [1, 2, 3, 1000, 2**31, 2**32 - 1])
def test_picks_are_the_upper_half_of_a_product(n):
    pick = functions("float32", "float32")["pick_"]
    words = [0, 1, 2**31, 2**32 - 1, *np.random.default_rng(n).integers(0, 2**32, 20).tolist()]
    for high, low in product(words, words):
        assert pick(np.uint32(high), np.uint32(low), np.int64(n)) == ((high << 32) + low) * n >> 64
