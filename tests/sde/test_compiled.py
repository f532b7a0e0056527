"""Compiled runs of user SDEs: what plain numpy computes on the same noise, and the same bits however they are run."""

import math
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import MODELS, TYPES, in_both_types, python, thorough_but

import sdefast as sf
from sdefast.engine import tiles
from sdefast.engine.tiles import BLOCK, Tile
from sdefast.jit import compile as compiler
from sdefast.sde import settings as sde_settings
from sdefast.sde.schemes.equation import parameter_symbol
from sdefast.sde.sde import sde_of
from sdefast.trace import evaluate, expression, symbol

# Python 3.12 and later warn of every fork of a process with threads, which is what is tested here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    # The controls here have means of no meaning.
    pytest.mark.filterwarnings("ignore:controls.* has a mean:RuntimeWarning"),
]

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}

WEIGHTS = np.array([0.5, -0.25, 0.125, 0.3, -0.6])

#: coefficients that work on numbers and on arrays, the other arguments of `SDE`, a start
CASES = {
    "short": (lambda t, x, p: -x[0], lambda t, x, p: 0.5, {}, 1.0),
    "no drift": (lambda t, x, p: 0.0, lambda t, x, p: p.s * x[0], {"params": {"s": 0.3}}, 1.0),
    "parameters and time": (
        lambda t, x, p: p.k * (p.m - x[0]) + np.sin(3 * t),
        lambda t, x, p: p.s * np.sqrt(1 + x[0] ** 2) * np.exp(-t),
        {"params": {"k": 1.5, "m": 0.3, "s": 0.7}},
        0.5,
    ),
    "functions": (
        lambda t, x, p: np.tanh(x[0]) - np.floor(2.0 * t) * np.exp(-(x[0] ** 2)) + abs(x[0]) ** 1.5 / (2 + x[0] ** 2),
        lambda t, x, p: np.log1p(x[0] ** 2) + np.maximum(np.cos(x[0]), 0.25) * np.arctan(t),
        {},
        -0.5,
    ),
    "branches": (
        lambda t, x, p: np.where(x[0] > p.c, -x[0], np.where(x[0] < -p.c, 1.0 - x[0], 0.5)),
        lambda t, x, p: (x[0] > 0) * 0.5 + 0.25,
        {"params": {"c": 0.5}},
        0.25,
    ),
    "scalar, three components": (
        lambda t, x, p: (x[1] - x[0], x[2] - x[1], -x[2] * p.k),
        lambda t, x, p: (0.2, 0.1 * x[0], np.sin(x[1]) + t),
        {"dim": 3, "noise": "scalar", "params": {"k": 2.0}},
        (0.5, -0.5, 1.0),
    ),
    "diagonal, two components": (
        lambda t, x, p: (x[1], p.mu * (1 - x[0] ** 2) * x[1] - x[0]),
        lambda t, x, p: (0.1, p.s * x[0]),
        {"dim": 2, "params": {"mu": 1.0, "s": 0.2}},
        (1.0, 0.0),
    ),
    "diagonal, five components": (
        lambda t, x, p: [np.sin(x[i - 1]) - x[i] + w for i, w in enumerate(WEIGHTS)],
        lambda t, x, p: [0.3 * np.cos(x[(i + 1) % 5]) for i in range(5)],
        {"dim": 5},
        (0.1, 0.2, 0.3, 0.4, 0.5),
    ),
    "general, two on three": (
        lambda t, x, p: (-x[0] + x[1], -x[1]),
        lambda t, x, p: ((0.5, 0.1 * x[0], 0), (p.r * x[1], t, 0.2)),
        {"dim": 2, "noise": "general", "noise_dim": 3, "params": {"r": 0.3}},
        (1.0, -1.0),
    ),
    "general, four on two": (
        lambda t, x, p: [-v for v in x],
        lambda t, x, p: [[0.1, x[0]], [0.0, 0.2], [np.sin(x[3]), 0.0], [x[1] * x[2], 1.0]],
        {"dim": 4, "noise": "general", "noise_dim": 2},
        (0.1, 0.2, 0.3, 0.4),
    ),
    "general, one on four": (
        lambda t, x, p: -x[0],
        lambda t, x, p: [(0.1, 0.2 * t, 0.3, 0.1 * x[0])],
        {"noise": "general", "noise_dim": 4},
        1.0,
    ),
    "additive, three components": (
        lambda t, x, p: (x[1] * x[2], -x[0], -x[2]),
        lambda t, x, p: (0.1, 0.2 * np.exp(-t), p.s),
        {"dim": 3, "noise": "additive", "params": {"s": 0.4}},
        (0.5, 0.25, -0.5),
    ),
    "additive, two on one": (
        lambda t, x, p: (x[1], -x[0] - 0.5 * x[1]),
        lambda t, x, p: ((0.0,), (1.0,)),
        {"dim": 2, "noise": "additive", "noise_dim": 1},
        (1.0, 0.0),
    ),
}


def equation_of(name):
    drift, diffusion, options, x0 = CASES[name]
    return sf.SDE(drift, diffusion, **options), x0


def steps_of(run):
    """Times and sizes of a run's steps."""
    grid = run.settings.grid
    k = grid.first_step + np.arange(grid.n_steps)
    h = grid.step_sizes()
    return grid.time(k), np.broadcast_to(h, len(k))


def noise_of(run, n_draws):
    """Normals of a run, (n_steps, n_draws, n_chains), in float64."""
    s = run.settings
    draws = sf.noise.normals(
        run.seed, s.grid.n_steps * n_draws, s.n_chains, first_draw=s.grid.first_step * n_draws,
        first_chain=s.first_chain, dtype=s.noise_dtype,
    )  # fmt: skip
    return draws.reshape(s.grid.n_steps, n_draws, -1).astype(float)


def signs_of(run, n_draws):
    """Signs of a run: draw n is bit n % 32 of word n // 32 of stream 2."""
    s = run.settings
    draws = np.arange(s.grid.first_step * n_draws, s.grid.last_step * n_draws)
    words = sf.noise.words(run.seed, int(draws[-1]) // 32 + 1, s.n_chains, stream=2, first_chain=s.first_chain)
    bits = words[draws // 32] >> (draws % 32).astype(np.uint32)[:, None] & 1
    return (2.0 * bits - 1.0).reshape(s.grid.n_steps, n_draws, -1)


def euler(name, run, noise=noise_of):
    """The states at all steps, (n_steps + 1, n_paths, dim), from the coefficients called on arrays."""
    drift, diffusion, options, x0 = CASES[name]
    p, sde = SimpleNamespace(**options.get("params", {})), run.model
    x = [np.full(run.n_paths, float(v)) for v in np.atleast_1d(x0)]
    states = [x]
    for t, h, z in zip(*steps_of(run), noise(run, sde.noise_dim), strict=True):
        a, b = drift(t, x, p), diffusion(t, x, p)
        a, b = (value if isinstance(value, (list, tuple)) else [value] for value in (a, b))
        dw, rows = np.sqrt(h) * z, isinstance(b[0], (list, tuple))
        if not rows:
            shared = sde.noise == "scalar"
            b = [[v if shared or i == j else 0.0 for j in range(sde.noise_dim)] for i, v in enumerate(b)]
        x = [
            xi + ai * h + sum(bj * dj for bj, dj in zip(row, dw, strict=True))
            for xi, ai, row in zip(x, a, b, strict=True)
        ]
        states.append(x)
    return np.array(states).transpose(0, 2, 1)


def assert_close(x, expected, dtype, n_steps):
    """To 4 roundings a step, of the size of the largest values."""
    assert x.shape == expected.shape
    size = np.abs(expected).max() + 1
    assert np.abs(x - expected).max() <= 4 * n_steps * EPS[dtype] * size


UNIFORM = {"t0": 0.25, "t1": 1.25, "n_steps": 37}
GIVEN = {"times": 0.5 + np.cumsum(np.random.default_rng(3).uniform(0.01, 0.05, 38))}


#: all cases in both types, some on noise of the other type
CASE_TYPES = [(name, types) for i, name in enumerate(CASES) for types in TYPES if types[0] == types[1] or i % 4 == 2]
#: each case in one type or the other, or on noise of the other type
SOME = [(name, TYPES[2 if i % 4 == 2 else i % 2]) for i, name in enumerate(CASES)]


def id_of(part):
    return part if isinstance(part, str) else "-".join(part)


@pytest.mark.parametrize(("name", "types"), thorough_but(SOME, CASE_TYPES), ids=id_of)
def test_against_numpy(name, types):
    sde, x0 = equation_of(name)
    for grid in (UNIFORM, GIVEN):
        settings = {**grid, "x0": x0, "n_paths": 300, "seed": 5, "dtype": types[0], "noise_dtype": types[1]}
        run = sf.simulate(sde, save_at="all", **settings)
        assert_close(run.x, euler(name, run), types[0], 37)
        # Steps between saved times are taken several at a time, which must not change a bit.
        for save_at in ("final", 5, 16):
            again = sf.simulate(sde, save_at=save_at, **settings)
            kept = np.searchsorted(run.t, again.t)
            assert again.x.tobytes() == run.x[kept].tobytes()
        some = sf.simulate(sde, save_at=run.t[[0, 3, 4, 20]], **settings)
        assert some.x.tobytes() == run.x[[0, 3, 4, 20]].tobytes()


@pytest.mark.parametrize("n_paths", [1, 2, 31, 33, 255, 257, 500, BLOCK - 1, BLOCK + 1, 2 * BLOCK + 289])
@pytest.mark.parametrize("name", ["short", "general, two on three"])
def test_numbers_of_paths(name, n_paths):
    sde, x0 = equation_of(name)
    run = sf.simulate(sde, x0=x0, t1=1.0, n_steps=9, n_paths=n_paths, first_chain=77, seed=3, save_at="all")
    expected = euler(name, run)
    assert_close(run.x, expected, "float64", 9)
    np.testing.assert_allclose(run.mean, run.x.mean(1), rtol=1e-12, atol=1e-15)
    if n_paths > 1:
        np.testing.assert_allclose(run.variance, run.x.var(1, ddof=1), rtol=1e-11, atol=1e-30)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5, 63, 64, 65, 600, 1023, 1025, 2049])
def test_numbers_of_steps(n_steps):
    for name in ("short", "diagonal, two components"):
        sde, x0 = equation_of(name)
        run = sf.simulate(sde, x0=x0, t1=n_steps / 500, n_steps=n_steps, n_paths=40, seed=3)
        assert_close(run.x, euler(name, run)[-1:], "float64", n_steps)


@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_every_path_its_own_start(types):
    sde, _ = equation_of("diagonal, two components")
    x0 = np.random.default_rng(0).normal(size=(BLOCK + 50, 2))
    settings = {"t1": 0.5, "n_steps": 11, "seed": 9, "dtype": types[0], "noise_dtype": types[1]}
    run = sf.simulate(sde, x0=x0, n_paths=len(x0), **settings)
    for i in (0, 255, 256, BLOCK + 49):
        alone = sf.simulate(sde, x0=x0[i], n_paths=1, first_chain=i, **settings)
        assert alone.x[0, 0].tobytes() == run.x[0, i].tobytes()


# Signs ---------------------------------------------------------------------------------------------------------------


SIGNS = [(m, "float64") for m in (1, 2, 3, 4, 5, 8, 31, 32, 33)] + [(m, "float32") for m in (1, 3, 4, 33)]


SOME_SIGNS = [(1, "float64"), (33, "float64"), (3, "float32")]


@pytest.mark.parametrize(("m", "dtype"), thorough_but(SOME_SIGNS, SIGNS))
def test_signs(m, dtype):
    factors = [0.5 ** (j % 5) for j in range(m)]
    sde = sf.SDE(lambda t, x, p: -x[0], lambda t, x, p: [factors], noise="additive", noise_dim=m)
    n_steps, settings = 150, {"n_paths": 300, "seed": 2, "dtype": dtype, "method": "weak-euler"}
    run = sf.simulate(sde, x0=1.0, t1=n_steps / 64, n_steps=n_steps, save_at="all", **settings)
    x = np.full(300, 1.0)
    expected = [x]
    for z in signs_of(run, m):
        x = x - x / 64 + factors @ z / 8
        expected.append(x)
    assert_close(run.x[:, :, 0], np.array(expected), dtype, 2 * n_steps)
    final = sf.simulate(sde, x0=1.0, t1=n_steps / 64, n_steps=n_steps, **settings)
    assert final.x.tobytes() == run.x[-1:].tobytes()
    first = sf.simulate(sde, x0=1.0, t1=7 / 64, n_steps=7, **settings)
    second = sf.simulate(sde, resume=first, n_steps=n_steps - 7)
    assert second.x.tobytes() == final.x.tobytes()
    alone = sf.simulate(sde, x0=1.0, t1=n_steps / 64, n_steps=n_steps, first_chain=299, **(settings | {"n_paths": 1}))
    assert alone.x.tobytes() == final.x[:, 299:].tobytes()


def test_signs_of_many_steps():
    """More than a segment of words, in steps that no word holds a whole number of."""
    run = sf.simulate(
        sf.SDE(lambda t, x, p: (0, 0, 0), lambda t, x, p: (1, 1, 1), dim=3), x0=(0, 0, 0), t1=12000.0, n_steps=12000,
        n_paths=5, seed=4, method="weak-euler",
    )  # fmt: skip
    np.testing.assert_array_equal(run.x[0].T, signs_of(run, 3).sum(0))


def test_signs_have_no_normals():
    sde, x0 = equation_of("short")
    with pytest.raises(ValueError, match="normals are for methods that draw normals"):
        sf.simulate(sde, x0=x0, t1=1.0, n_steps=2, n_paths=3, method="weak-euler", normals=np.zeros((2, 3, 1)))


# Built-in models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dtype"), in_both_types(MODELS))
def test_built_in_models_as_equations(name, dtype):
    model, x0 = MODELS[name]
    settings = {"x0": x0, "t1": 1.0, "n_steps": 100, "n_paths": 300, "seed": 3, "dtype": dtype, "save_at": 10}
    run = sf.simulate(model, **settings)
    traced = sf.simulate(sde_of(model), boundary=list(model.boundaries()), **settings)
    assert_close(traced.x, run.x, dtype, 100)


def test_built_in_models_with_functionals():
    """What a built-in step does not know makes a model run as an equation."""
    model, x0 = MODELS["heston"]
    settings = {"x0": x0, "t1": 1.0, "n_steps": 50, "n_paths": 300, "seed": 3, "noise_dtype": "float32", "save_at": 10}
    traced = sf.simulate(sde_of(model), **settings)
    assert_close(traced.x, sf.simulate(model, **settings).x, "float64", 50)
    watched = sf.simulate(model, functionals={"average": sf.functionals.time_average()}, **settings)
    assert watched.x.tobytes() == traced.x.tobytes()


@pytest.mark.parametrize(("name", "dtype"), in_both_types(["brownian", "ou", "black-scholes"]))
def test_exact_transitions_with_functionals(name, dtype):
    model, x0 = MODELS[name]
    for grid in (UNIFORM, GIVEN):
        settings = {
            **grid, "x0": x0, "n_paths": 300, "seed": 3, "dtype": dtype, "save_at": "all", "method": "exact",
        }  # fmt: skip
        run = sf.simulate(model, **settings)
        watched = sf.simulate(model, functionals={"average": sf.functionals.time_average()}, **settings)
        assert_close(watched.x, run.x, dtype, 37)


# The same bits -------------------------------------------------------------------------------------------------------

STRIKE = 0.2

#: everything at once: general noise, time, parameters, bridges, averages, a boundary, a stop, observed functions
RICH = sf.SDE(
    lambda t, x, p: (p.k * (x[1] - x[0]), -x[1] + math.sin(t)),
    lambda t, x, p: ((p.s, 0.1 * x[1], 0.0), (0.0, 0.3, 0.2 * math.exp(-x[0] * x[0]))),
    dim=2, noise="general", noise_dim=3, params={"k": 1.5, "s": 0.6},
)  # fmt: skip
EXTRAS = {
    "functionals": {
        "high": sf.functionals.running_max(), "low": sf.functionals.running_min(1),
        "passage": sf.functionals.first_passage(0.5),
        "average": sf.functionals.time_average(lambda t, x, p: p.k * x[0]),
    },
    "boundary": sf.boundaries.reflect(lower=-0.5, component=1),
    "stop_when": lambda t, x, p, y: y.high > 0.8 * p.k,
}  # fmt: skip
OBSERVED = {
    "expectations": {"call": lambda t, x: max(x[0] - STRIKE, 0.0), "asian": lambda t, x, p, y: y.average * x[1] * p.s},
    "controls": {"driver": (lambda t, x: x[1] ** 2, 0.1), "time": (lambda t, x, p: t * x[0], lambda t: t)},
    "histogram": (-2.0, 2.0, 16), "extremes": True, "covariance": True, "moments": 4,
}  # fmt: skip


def simulate(model=RICH, **options):
    """Two blocks and a bit, in steps that fill more than two segments of noise."""
    defaults = {"x0": (0.1, -0.2), "t1": 1.0, "n_steps": 800, "n_paths": 2 * BLOCK + 333, "seed": 11, "save_at": 128}
    return sf.simulate(model, **{**defaults, **EXTRAS, **OBSERVED, **options})


def outputs(run):
    """All numbers of a run, by name."""
    names = ["t", "n_nonfinite", "mean", "variance", "standard_error", "histogram"]
    numbers = {name: getattr(run, name) for name in names if name != "histogram" or run.settings.histogram}
    if run.settings.keeps_states:
        numbers["x"] = run.x
    results = {**run.functionals, **run.expectations}
    if run.settings.extras.stop_when:
        results["stop_time"] = run.stop_time
    for name, result in results.items():
        numbers |= {f"{name}.{part}": v for part, v in vars(result).items() if v is not None}
    return numbers


def assert_same_bits(run, expected):
    have, want = outputs(run), outputs(expected)
    assert have.keys() == want.keys()
    for name in want:
        assert have[name].shape == want[name].shape, name
        assert have[name].tobytes() == want[name].tobytes(), name


@pytest.fixture(scope="module", params=[False, True], ids=["single", "antithetic"])
def expected(request):
    """The run in one thread."""
    return simulate(threads=1, antithetic=request.param, **({"n_paths": 4 * BLOCK + 200} if request.param else {}))


def again(run, **options):
    return simulate(antithetic=run.settings.extras.antithetic, n_paths=run.n_paths, **options)


@pytest.fixture
def small_tiles(monkeypatch):
    """Every block a tile, every 1024 steps a call, also on executors of other processes."""
    monkeypatch.setattr(tiles, "CALL", 1000)
    monkeypatch.setattr(tiles, "REMOTE_TILE", 2 * BLOCK * 1024)
    monkeypatch.setattr(Tile.__init__, "__defaults__", (1000, *Tile.__init__.__defaults__[1:]))


def test_rich_run(expected):
    """What is compared below is not trivial."""
    numbers = outputs(expected)
    assert np.isfinite(numbers["call.value"]).all()
    assert 0 < expected.stop_time.n_nonfinite[-1] < expected.n_paths
    assert 0 < expected.functionals["passage"].n_nonfinite[-1] < expected.n_paths
    assert (expected.x[:, :, 1] >= -0.5).all()
    assert (expected.x[:, :, 1] < -0.49).any()
    assert set(numbers) > {"x", "histogram", "asian.value", "stop_time.mean", "high.values", "passage.standard_error"}


@pytest.mark.parametrize("threads", thorough_but([3], [1, 2, 3]))
def test_threads_and_tiles(expected, threads, request):
    assert_same_bits(again(expected, threads=threads), expected)
    request.getfixturevalue("small_tiles")
    assert_same_bits(again(expected, threads=threads), expected)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("save_at", [1, 1024, "final"])
def test_chunks_of_steps(save_at, monkeypatch):
    settings = {"n_paths": 300, "n_steps": 2500, "save_at": save_at}
    chunked = simulate(**settings)
    monkeypatch.undo()
    assert_same_bits(chunked, simulate(threads=1, **settings))


def test_expectations_do_not_change_a_run(expected):
    alone = again(expected, expectations=None, controls=None, histogram=None)
    for name in ("x", "mean", "variance", "high.values", "high.mean", "passage.mean", "stop_time.values"):
        assert outputs(alone)[name].tobytes() == outputs(expected)[name].tobytes()


def test_calls_from_several_threads_at_once(expected):
    with ThreadPoolExecutor(3) as callers:
        for run in callers.map(lambda _: again(expected, threads=2), range(3)):
            assert_same_bits(run, expected)


@pytest.mark.parametrize("method", thorough_but(["spawn"], ["spawn", "fork"]))
@pytest.mark.parametrize("expected", thorough_but([True], [False, True]), ids=["single", "antithetic"], indirect=True)
def test_processes(expected, method):
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert_same_bits(again(expected, executor=pool), expected)


@pytest.mark.parametrize("expected", thorough_but([False], [False, True]), ids=["single", "antithetic"], indirect=True)
def test_dask(expected):
    """Workers that never saw the functions compile from the source that travels with a tile."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert_same_bits(again(expected, executor=client.get_executor()), expected)


@pytest.mark.parametrize("paths", [True, False])
@pytest.mark.parametrize("antithetic", [False, True])
def test_shards(paths, antithetic):
    """Functions of other objects that compute the same are the same functions."""

    def shard(first, n):
        strike, scale = STRIKE, 1.0
        observed = OBSERVED | {
            "expectations": {
                "call": lambda t, x: max(x[0] - strike, 0.0) * scale,
                "asian": lambda t, x, p, y: y.average * x[1] * p.s,
            },
            "controls": {
                "driver": (lambda t, x: x[1] ** 2, 0.1),
                "time": (lambda t, x, p: t * x[0], lambda t: t * scale),
            },
        }  # fmt: skip
        options = {"stop_when": lambda t, x, p, y: y.high > 0.8 * p.k, "paths": paths, "antithetic": antithetic}
        return simulate(first_chain=first, n_paths=n * (1 + antithetic), n_steps=20, save_at=10, **observed | options)

    shards = [shard(BLOCK, BLOCK), shard(2 * BLOCK, 2 * BLOCK), shard(4 * BLOCK, 100)]
    whole = shard(BLOCK, 3 * BLOCK + 100)
    assert_same_bits(sf.merge(*shards), whole)
    assert_same_bits(sf.merge(shards[0], sf.merge(*shards[1:])), whole)
    assert_same_bits(sf.merge(*pickle.loads(pickle.dumps(shards))), whole)
    assert_same_bits(sf.merge(shards[0], *pickle.loads(pickle.dumps(shards[1:]))), whole)


OTHER = [
    {"expectations": {"call": lambda t, x: max(x[0] - 0.3, 0.0), "asian": OBSERVED["expectations"]["asian"]}},
    {"expectations": {"put": OBSERVED["expectations"]["call"], "asian": OBSERVED["expectations"]["asian"]}},
    {"controls": OBSERVED["controls"] | {"driver": (lambda t, x: x[1] ** 2, 0.2)}},
    {"controls": OBSERVED["controls"] | {"driver": (lambda t, x: x[1] ** 4, 0.1)}},
    {"controls": None},
    {"functionals": EXTRAS["functionals"] | {"high": sf.functionals.running_max(bridge=False)}},
    {"functionals": EXTRAS["functionals"] | {"passage": sf.functionals.first_passage(0.51)}},
    {"boundary": sf.boundaries.reflect(lower=-1.5, component=1)},
    {"boundary": None},
    {"stop_when": lambda t, x, p, y: y.high > 0.9 * p.k},
    {"stop_when": None},
    {"histogram": (-2.0, 2.0, 17)},
]  # fmt: skip


@pytest.mark.parametrize("case", thorough_but([2, 4, 7, 8, 9, 11], range(len(OTHER))))
def test_shards_of_other_runs(case):
    def shard(first, **options):
        return simulate(first_chain=first, n_paths=BLOCK, n_steps=2, save_at="final", **options)

    with pytest.raises(ValueError, match="other settings"):
        sf.merge(shard(0), shard(BLOCK, **OTHER[case]))


#: in single steps, within batches, at the borders of segments
STOPS = [(types, False, (7, 8, 340, 342, 799)) for types in TYPES] + [
    (TYPES[1], False, (1,)),
    (TYPES[0], True, (15, 64, 512)),
    (TYPES[1], True, (1, 2, 341)),
]


@pytest.mark.parametrize(("types", "antithetic", "stops"), thorough_but([STOPS[0], STOPS[2], STOPS[5]], STOPS))
def test_stopped_and_resumed(types, antithetic, stops):
    h, settings = 1 / 512, {"n_paths": 300, "dtype": types[0], "noise_dtype": types[1], "antithetic": antithetic}
    observed = {name: value for name, value in OBSERVED.items() if name not in ("controls", "moments")}
    observed |= {"controls": None, "moments": 4, "save_at": "all"}
    resumed = {name: value for name, value in observed.items() if name != "controls"}
    long = simulate(t1=800 * h, n_steps=800, **settings, **observed)
    run = simulate(t1=stops[0] * h, n_steps=stops[0], **settings, **observed)
    parts = [run]
    for steps in np.diff([*stops, 800]):
        run = pickle.loads(pickle.dumps(run))
        run = sf.simulate(RICH, resume=run, n_steps=int(steps), **resumed)
        parts.append(run)
    start, want = 0, outputs(long)
    for part in parts:
        for name, have in outputs(part).items():
            assert have.tobytes() == want[name][start : start + len(part.t)].tobytes(), name
        start += len(part.t) - 1


def test_resumed_on_given_times():
    times = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 101)) / 100
    free = {"t1": None, "n_steps": None}
    long = simulate(times=times, n_paths=300, save_at="all", **free)
    first = simulate(times=times[:38], n_paths=300, save_at="all", **free)
    second = sf.simulate(RICH, resume=first, times=times[37:], save_at="all", **OBSERVED)
    for name, have in outputs(second).items():
        assert have.tobytes() == outputs(long)[name][37:].tobytes(), name


@pytest.mark.parametrize("threads", [1, 2])
def test_given_normals_of_the_generator(threads):
    for model, x0, options in (
        (RICH, (0.1, -0.2), EXTRAS),
        (*MODELS["heston"], {}),
        (*MODELS["linear"], {"dtype": "float32"}),
    ):
        settings = {"x0": x0, "t1": 1.0, "n_steps": 45, "n_paths": BLOCK + 100, "seed": 5, "save_at": 9, **options}
        run = sf.simulate(model, **settings)
        z = noise_of(run, model.noise_dim).transpose(0, 2, 1)
        given = sf.simulate(model, normals=z, threads=threads, **settings)
        assert given.x.tobytes() == run.x.tobytes()
        assert given.mean.tobytes() == run.mean.tobytes()
        other = sf.simulate(model, normals=-z, threads=threads, **settings)
        assert not (other.x[-1] == run.x[-1]).any()


@pytest.mark.usefixtures("small_tiles")
def test_given_normals_in_chunks_of_steps():
    settings = {"x0": 0.5, "t1": 1.0, "n_steps": 2100, "n_paths": BLOCK + 40, "seed": 5}
    run = sf.simulate(sf.BrownianMotion(), **settings)
    z = noise_of(run, 1)[:, 0]
    assert sf.simulate(sf.BrownianMotion(), normals=z, **settings).x.tobytes() == run.x.tobytes()


RESUMED = """
import numpy as np
import sdefast as sf
settings = {"x0": 0.0, "t1": 1.0, "n_paths": 1_000_000, "seed": 1}
first = sf.simulate(sf.BrownianMotion(), n_steps=7, **settings)
second = sf.simulate(sf.BrownianMotion(), resume=first, n_steps=2, normals=np.ones((2, 1_000_000)))
print(np.abs(second.x - first.x - 2 * np.sqrt(1 / 7)).max() < 1e-12)
"""


def test_given_normals_of_a_resumed_run():
    """In a process of its own: reading before the first of the normals would end it."""
    assert python(RESUMED).strip() == "True"


# What is compiled ----------------------------------------------------------------------------------------------------


def decaying(rate, scale):
    return sf.SDE(lambda t, x, p: -p.rate * x[0] ** 3 + 0.0625, lambda t, x, p: p.s, params={"rate": rate, "s": scale})


def test_other_parameters_are_not_compiled_again():
    def run(rate, scale, **options):
        settings = {"x0": 1.0, "t1": 1.0, "n_steps": 8, "n_paths": 4, "seed": 1}
        expectations = {"square": lambda t, x, p: p.rate * x[0] ** 2}
        return sf.simulate(decaying(rate, scale), expectations=expectations, **settings | options).x[0, 0, 0]

    first = run(1.0, 0.5)
    compiled = len(compiler._compiled)
    results = {first, run(2.0, 0.5), run(1.0, 0.25), run(1.0, 0.5, t1=2.0), run(1.0, 0.5, seed=2)}
    run(1.0, 0.5, n_steps=5, n_paths=999, x0=2.0, save_at="all")
    assert len(compiler._compiled) == compiled
    assert len(results) == 5
    assert run(1.0, 0.5) == first


@pytest.mark.parametrize("method", ["euler-maruyama", "heun", "srk1"])
def test_the_same_call_again_makes_no_expression(method, monkeypatch):
    sde, square = decaying(1.0, 0.5), lambda t, x, p: p.rate * x[0] ** 2

    def run(**changes):
        settings = {"x0": 1.0, "t1": 1.0, "n_steps": 8, "n_paths": 40, "seed": 1, "method": method}
        return sf.simulate(sde, expectations={"square": square}, **settings | changes)

    first = run()
    monkeypatch.setattr(expression, "Expr", None)  # of which there can be no more
    again = run()
    assert again.x.tobytes() == first.x.tobytes()
    assert again.expectations["square"].value == first.expectations["square"].value
    assert run(t1=2.0, n_steps=5, seed=2).x.shape == (1, 40, 1)


def test_parameters_that_are_changed_in_place_count():
    sde = decaying(1.0, 0.5)
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": 8, "n_paths": 4, "seed": 1}
    before = sf.simulate(sde, **settings).x
    sde.params["rate"] = 2.0
    assert sf.simulate(sde, **settings).x.tobytes() == sf.simulate(decaying(2.0, 0.5), **settings).x.tobytes()
    assert sf.simulate(decaying(1.0, 0.5), **settings).x.tobytes() == before.tobytes()


def test_a_program_travels_as_text():
    sde, x0 = equation_of("short")
    run = sf.simulate(sde, x0=x0, t1=1.0, n_steps=2, n_paths=3, seed=1)
    program = sde_settings.chain_of(run.settings).program("float64", "float64")
    copy = pickle.loads(pickle.dumps(program))
    assert copy == program
    assert copy.address() == program.address()


def test_results_with_functions_are_pickled():
    run = simulate(n_paths=300, n_steps=5)
    assert_same_bits(pickle.loads(pickle.dumps(run)), run)
    assert run.model == RICH


def test_results_with_functions_reach_another_process(tmp_path):
    run = simulate(n_paths=300, n_steps=5)
    (tmp_path / "run").write_bytes(pickle.dumps(run))
    code = (
        "import pickle, sys, sdefast as sf\n"
        "run = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(run.expectations['call'].value.tolist())\n"
        "print(sf.simulate(run.model, resume=run, n_steps=3).mean.tolist())\n"
    )
    printed = python(code, str(tmp_path / "run")).splitlines()
    assert eval(printed[0]) == run.expectations["call"].value.tolist()
    assert eval(printed[1]) == sf.simulate(RICH, resume=run, n_steps=3).mean.tolist()


# Every row of a chain ------------------------------------------------------------------------------------------------


def drive(run):
    """All rows of a run's chain at every step, from its traced step in plain numpy."""
    s = run.settings
    chain = sde_settings.chain_of(s)
    step, grid = chain.step, s.grid
    z = noise_of(run, step.n_draws)
    u = sf.noise.uniforms(
        run.seed, grid.n_steps * step.n_uniforms, s.n_chains, first_chain=s.first_chain, dtype=s.dtype
    )
    u = u.reshape(grid.n_steps, step.n_uniforms, -1).astype(float)
    rows = chain.start_rows(np.array(s.x0, float)[:, None], grid.t0)
    rows = np.broadcast_to(rows, (len(rows), s.n_chains))
    fixed = {parameter_symbol(name): value for name, value in chain.sde.parameters().items()}
    states = [rows]
    for t, h, zk, uk in zip(*steps_of(run), z, u, strict=True):
        values = fixed | {symbol("t"): t, symbol("elapsed"): t - grid.t0, symbol("h"): h, symbol("root"): np.sqrt(h)}
        for name, numbers in (("x", rows), ("z", zk), ("u", uk)):
            values |= {symbol(f"{name}{i}"): row for i, row in enumerate(numbers)}
        known = {}
        rows = np.array([np.broadcast_to(evaluate(e, values, known), s.n_chains) for e in step.outputs])
        states.append(rows)
    return np.array(states)


@pytest.mark.parametrize("antithetic", [False, True], ids=["single", "antithetic"])
def test_all_rows_against_numpy(antithetic):
    run = simulate(n_paths=300, n_steps=60, save_at="all", antithetic=antithetic)
    expected = drive(run)
    assert run._states.shape == expected.shape
    np.testing.assert_allclose(run._states, expected, rtol=0, atol=1e-12)


def test_all_rows_against_numpy_in_float32():
    """But for the rare path on which a rounding decides whether it has reached a level."""
    run = simulate(n_paths=300, n_steps=60, save_at="all", dtype="float32")
    expected = drive(run)
    same = np.isclose(run._states, expected, rtol=0, atol=1e-4)
    assert same.all(axis=(0, 1)).mean() > 0.99
