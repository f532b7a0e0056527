"""A run's numbers depend on its settings alone: not on threads, tiles, executors, instruction sets, shards or stops."""

import itertools
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from conftest import (
    BORDERS,
    EVERYTHING,
    LINEAR,
    MODEL_METHODS,
    MODELS,
    TYPES,
    Elsewhere,
    assert_same_bits,
    outputs,
    python,
)

import sdefast as sf
from sdefast import _core
from sdefast.engine import running, tiles
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import BLOCK, Draws, Gathered, Tile

# Python 3.12 and later warn of every fork of a process with threads, which is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HESTON, START = MODELS["heston"]
TILES = BLOCK * 1024  # path-steps of one block and one segment's length


def simulate(model=HESTON, x0=START, **options):
    """Five blocks, the last of them partial, in steps that fill more than two segments of noise."""
    defaults = {"t1": 1.0, "n_steps": 1100, "n_paths": 4 * BLOCK + 333, "seed": 11, "dtype": "float32", "save_at": 128}
    return sf.simulate(model, x0=x0, **{**defaults, **EVERYTHING, **options})


@pytest.fixture(scope="module")
def expected():
    """The run in one thread."""
    return simulate(threads=1)


@pytest.fixture
def small_tiles(monkeypatch):
    """Every block a tile, every 1024 steps a call, also on executors of other processes."""
    monkeypatch.setattr(tiles, "CALL", 1000)
    monkeypatch.setattr(tiles, "REMOTE_TILE", 2 * TILES)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads(expected, threads):
    assert_same_bits(simulate(threads=threads), expected)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("save_at", [128, 1, 1024, "final"])
def test_tile_size(threads, save_at, request):
    settings = {"save_at": save_at, "n_paths": BLOCK + 333}
    one = simulate(threads=1, **settings)
    request.getfixturevalue("small_tiles")
    assert_same_bits(simulate(threads=threads, **settings), one)


@pytest.mark.usefixtures("small_tiles")
def test_small_tiles_are_small():
    layout = Layout(dim=2, moments=4, extremes=True, covariance=True)
    state, saves = np.zeros((2, 1)), np.array([1100])
    whole = Tile(
        "heston", np.zeros((1, 7)), Draws(2), 0, 0, BLOCK + 333, 0, 1100, state, saves, False, (Gathered(layout),), 2
    )  # fmt: skip
    assert [tile.n_chains for tile in tiles.cut(whole, tiles.CALL)] == [BLOCK, 333]
    assert [chunk.end for chunk in running._chunks(whole)] == [1024, 1100]


def test_default_threads(expected):
    assert_same_bits(simulate(), expected)


def test_a_thread_pool(expected):
    with ThreadPoolExecutor(2) as pool:
        assert_same_bits(simulate(executor=pool), expected)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_process_pool(expected, method):
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert_same_bits(simulate(executor=pool), expected)
        each = np.linspace(1.0, 2.0, 2 * BLOCK + 5)[:, None] * START
        small = {"x0": each, "n_paths": len(each), "n_steps": 10, "save_at": "all"}
        assert_same_bits(simulate(executor=pool, **small), simulate(threads=1, **small))
        statistics_only = simulate(executor=pool, paths=False)
        later = {"first_chain": 3 * BLOCK, "n_paths": BLOCK + 5, "n_steps": 10, "save_at": "all"}
        assert_same_bits(simulate(executor=pool, **later), simulate(threads=1, **later))
    for name in ("mean", "variance", "covariance"):
        assert getattr(statistics_only, name).tobytes() == getattr(expected, name).tobytes()


@pytest.mark.parametrize("first_chain", [BLOCK, 5 * BLOCK + 7])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"x0": np.linspace(1.0, 2.0, 2 * BLOCK + 5)[:, None] * START},
        {"normals": np.random.default_rng(4).normal(size=(3, 2 * BLOCK + 5, 2))},
    ],
    ids=lambda options: ", ".join(options) or "stored paths",
)
def test_workers_without_shared_memory(first_chain, options, request):
    """Tiles of later chains lie where they belong: stored paths, starts of their own, given normals."""
    settings = {"first_chain": first_chain, "n_paths": 2 * BLOCK + 5, "n_steps": 3, "save_at": "all", **options}
    whole = simulate(threads=1, **settings)
    resumed = sf.simulate(HESTON, resume=whole, n_steps=2, threads=1, **EVERYTHING)
    request.getfixturevalue("small_tiles")
    run = simulate(executor=Elsewhere(), **settings)
    assert_same_bits(run, whole)
    assert_same_bits(sf.simulate(HESTON, resume=run, n_steps=2, executor=Elsewhere(), **EVERYTHING), resumed)


def test_sgd_by_workers_without_shared_memory(request):
    problem, n = sf.LeastSquares(np.ones(3), 0.1), BLOCK + 9
    settings = {"n_steps": 5, "n_runs": n, "runs": n, "step_size": 0.1, "seed": 2, "first_chain": 2 * BLOCK}
    asked = {"covariance": True, "histogram": (-1.0, 0.0, 50)}
    whole = sf.sgd(problem, threads=1, **settings, **asked)
    resumed = sf.sgd(problem, resume=whole, n_steps=4, threads=1, runs=n, **asked)
    request.getfixturevalue("small_tiles")
    fit = sf.sgd(problem, executor=Elsewhere(), **settings, **asked)
    onward = sf.sgd(problem, resume=fit, n_steps=4, executor=Elsewhere(), runs=n, **asked)
    for have, want in ((fit, whole), (onward, resumed)):
        for name in ("theta", "error", "error_standard_error", "mean", "covariance", "histogram"):
            assert getattr(have, name).tobytes() == getattr(want, name).tobytes(), name


@pytest.mark.thorough
@pytest.mark.usefixtures("small_tiles")
def test_dask(expected):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert_same_bits(simulate(executor=client.get_executor()), expected)


def test_calls_from_several_threads_at_once(expected):
    with ThreadPoolExecutor(3) as callers:
        for run in callers.map(lambda _: simulate(threads=2), range(3)):
            assert_same_bits(run, expected)


HASHES = """
import hashlib, warnings
import sdefast as sf
from conftest import BORDERS, EVERYTHING, MODEL_METHODS, MODELS, TYPES, outputs
for name, method in (*MODEL_METHODS, *((name, "euler-maruyama") for name in BORDERS)):
    for dtype, noise_dtype in TYPES:
        model, x0 = (MODELS | BORDERS)[name]
        run = sf.simulate(model, x0=x0, t1=2.0, n_steps=600, n_paths=290, method=method, seed=3, dtype=dtype,
                          noise_dtype=noise_dtype, save_at=100, threads=1, **EVERYTHING)
        digest = hashlib.sha256(b"".join(value.tobytes() for value in outputs(run).values())).hexdigest()
        print(name, method, dtype, noise_dtype, digest)
print(sf._core.isa)
"""


#: the least and the most that this processor can do
ENDS = [_core.isas[0], _core.isas[-1]]


@pytest.mark.parametrize("isas", [ENDS, pytest.param(_core.isas, marks=pytest.mark.thorough)], ids=["ends", "all"])
def test_instruction_sets(isas):
    by_isa = {isa: python(HASHES, SDEFAST_ISA=isa).split("\n") for isa in isas}
    for isa, lines in by_isa.items():
        assert lines[-2] == isa
        assert len({line.split()[-1] for line in lines[:-2]}) >= len(TYPES) * len(MODELS | BORDERS)
        assert lines[:-2] == by_isa[isas[0]][:-2]


@pytest.mark.parametrize(("name", "method"), MODEL_METHODS)
@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_one_path_replayed_alone(name, method, types):
    model, x0 = MODELS[name]
    settings = {
        "t1": 1.0,
        "n_steps": 200,
        "method": method,
        "seed": 5,
        "dtype": types[0],
        "noise_dtype": types[1],
        "save_at": 50,
    }
    run = sf.simulate(model, x0=x0, n_paths=1000, first_chain=4000, **settings)
    for path in (0, 95, 96, 255, 256, 999):
        alone = sf.simulate(model, x0=x0, n_paths=1, first_chain=4000 + path, **settings)
        assert alone.x.tobytes() == run.x[:, path].tobytes()


def test_a_path_far_away():
    far = 2**33 + 77
    run = simulate(n_steps=10, n_paths=300, first_chain=far)
    assert simulate(n_steps=10, n_paths=1, first_chain=far + 299).x[-1, 0].tobytes() == run.x[-1, 299].tobytes()
    assert not (run.x[-1] == simulate(n_steps=10, n_paths=300, first_chain=77).x[-1]).any()


@pytest.mark.parametrize("sizes", [(1, 4), (3, 2), (1, 1, 3), (2, 1, 2), (1, 3, 1)])
@pytest.mark.parametrize("paths", [True, False])
def test_shards(sizes, paths):
    settings = {"paths": paths, "n_steps": 40, "save_at": 8}
    total, offset = 4 * BLOCK + 333, 3 * BLOCK
    borders = [min(border * BLOCK, total) for border in np.cumsum((0, *sizes))]
    shards = [simulate(first_chain=offset + a, n_paths=b - a, **settings) for a, b in itertools.pairwise(borders)]
    whole = simulate(first_chain=offset, n_paths=total, **settings)
    assert_same_bits(sf.merge(*shards), whole)
    assert_same_bits(sf.merge(shards[0], sf.merge(*shards[1:])), whole)
    assert sf.merge(*shards).n_paths == total


def test_shards_with_starts_of_their_own():
    each = np.linspace(0.5, 1.5, 2 * BLOCK + 7)[:, None] * START
    shards = [
        simulate(x0=each[a:b], n_paths=b - a, first_chain=a, n_steps=5, save_at="all")
        for a, b in ((0, BLOCK), (BLOCK, len(each)))
    ]
    assert_same_bits(sf.merge(*shards), simulate(x0=each, n_paths=len(each), n_steps=5, save_at="all"))


def test_what_are_no_shards():
    def shard(first, n, **options):
        return simulate(first_chain=first, n_paths=n, n_steps=4, save_at="final", **options)

    for runs in ((), ([shard(0, BLOCK), shard(BLOCK, 10)],)):
        with pytest.raises(TypeError, match="merge takes one or more"):
            sf.merge(*runs)
    with pytest.raises(ValueError, match=f"begins with path {2 * BLOCK}, expected {BLOCK}"):
        sf.merge(shard(0, BLOCK), shard(2 * BLOCK, 10))
    with pytest.raises(ValueError, match="no multiple of"):
        sf.merge(shard(0, 100), shard(100, 10))
    for other in (
        {"seed": 12},
        {"dtype": "float64"},
        {"paths": False},
        {"moments": 2},
        {"t1": 2.0},
        {"x0": (2.5, 0.7)},
    ):
        with pytest.raises(ValueError, match="other settings"):
            sf.merge(shard(0, BLOCK), shard(BLOCK, 10, **other))


@pytest.mark.parametrize("noise_dtypes", [("float64", "float32"), ("float32", "float64")])
def test_shards_with_noise_of_another_type(noise_dtypes):
    """Their states have one type, and their paths nothing in common."""
    settings = {"n_steps": 4, "save_at": "final", "dtype": "float64"}
    first, second = (
        simulate(first_chain=i * BLOCK, n_paths=BLOCK, noise_dtype=noise, **settings)
        for i, noise in enumerate(noise_dtypes)
    )
    with pytest.raises(ValueError, match="run 1 has other settings than run 0"):
        sf.merge(first, second)
    problem, fit = sf.LeastSquares(np.ones(2), 0.1), {"step_size": 0.1, "n_steps": 3, "seed": 1, "dtype": "float64"}
    fits = [
        sf.sgd(problem, n_runs=BLOCK, first_chain=i * BLOCK, noise_dtype=noise, **fit)
        for i, noise in enumerate(noise_dtypes)
    ]
    with pytest.raises(ValueError, match="run 1 has other settings than run 0"):
        sf.merge(*fits)


#: where runs of 700 steps are stopped: within pairs and batches of normals, at the borders of segments, twice in a row
STOPS = [(1,), (7,), (341, 342), (15, 16, 17, 64), (1, 2, 3, 511, 512, 513, 699)]


@pytest.mark.parametrize("stops", STOPS, ids=str)
@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize("model", [(HESTON, START), MODELS["linear"]], ids=["two-noises", "three-noises"])
def test_stopped_and_resumed(model, types, stops):
    model, x0 = model
    assert LINEAR.noise_dim == 3
    settings = {"x0": x0, "n_paths": 530, "seed": 2, "dtype": types[0], "noise_dtype": types[1], **EVERYTHING}
    h = 0.002
    long = sf.simulate(model, t1=700 * h, n_steps=700, save_at="all", **settings)
    run = sf.simulate(model, t1=stops[0] * h, n_steps=stops[0], save_at="all", **settings)
    assert run.settings.grid.h == long.settings.grid.h == h
    parts = [run]
    for steps in np.diff([*stops, 700]):
        parts.append(sf.simulate(model, resume=parts[-1], n_steps=int(steps), save_at="all", **EVERYTHING))
    _assert_same_as_one(parts, long)


def _assert_same_as_one(parts, long):
    """Every number at every time, those at the stops from both of the runs that meet there."""
    start = 0
    for part in parts:
        here = slice(start, start + len(part.t))
        for name, value in outputs(part).items():
            assert value.tobytes() == outputs(long)[name][here].tobytes(), name
        start += len(part.t) - 1
    assert start == len(long.t) - 1


@pytest.mark.parametrize("stops", STOPS, ids=str)
@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_stopped_and_resumed_on_given_times(types, stops):
    model, x0 = MODELS["linear"]
    times = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 701)) / 700
    settings = {"x0": x0, "n_paths": 530, "seed": 2, "dtype": types[0], "noise_dtype": types[1]}
    long = sf.simulate(model, times=times, save_at="all", **settings, **EVERYTHING)
    grid = [0, *stops, 700]
    parts = []
    for a, b in itertools.pairwise(grid):
        begin = {"resume": parts[-1]} if parts else settings
        parts.append(sf.simulate(model, times=times[a : b + 1], save_at="all", **begin, **EVERYTHING))
    _assert_same_as_one(parts, long)


@pytest.mark.usefixtures("small_tiles")
def test_resumed_in_threads_from_final_states():
    long = simulate(n_steps=1024, t1=1.0)
    first = simulate(n_steps=512, t1=0.5, save_at="final", paths=True)
    second = sf.simulate(HESTON, resume=first, n_steps=512, threads=3, **EVERYTHING)
    for name, value in outputs(second).items():
        assert value.tobytes() == outputs(long)[name][-1:].tobytes(), name


def test_a_shard_of_a_resumed_run():
    settings = {"n_steps": 64, "t1": 0.5, "save_at": "final"}
    whole = sf.simulate(HESTON, resume=simulate(n_paths=BLOCK + 9, **settings), n_steps=33, **EVERYTHING)
    shards = [
        sf.simulate(HESTON, resume=simulate(first_chain=a, n_paths=n, **settings), n_steps=33, **EVERYTHING)
        for a, n in ((0, BLOCK), (BLOCK, 9))
    ]
    assert_same_bits(sf.merge(*shards), whole)


def test_resumed_from_a_pickle():
    first = simulate(n_steps=64, t1=0.5, n_paths=300)
    again = pickle.loads(pickle.dumps(first))
    assert_same_bits(again, first)
    resumed, copy = (sf.simulate(HESTON, resume=run, n_steps=33, **EVERYTHING) for run in (first, again))
    assert_same_bits(copy, resumed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_default_pool_after_a_fork(expected):
    assert_same_bits(simulate(threads=2), expected)  # the pool has threads now
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that waits for threads it does not have would wait for ever
        try:
            assert_same_bits(simulate(threads=2), expected)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
