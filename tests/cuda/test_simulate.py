"""Runs on the GPU, or in its simulator, against the same runs on the CPU: the same bits, statistics to rounding."""

import itertools
import math

import numpy as np
import pytest
from conftest import EVERYTHING, LINEAR, MODELS, TYPES, in_both_types, thorough_but
from sde.equations import EQUATIONS, FEW_RUNS, FUNCTIONALS, IN_A_TYPE, LONG, chain_of, noisy

import sdefast as sf
from sdefast.cuda import target
from sdefast.run import boundaries
from sdefast.sde import settings as sde_settings

#: built-in models under every method, by the C++ step and by the equation in Python code
METHODS = [(name, method) for name, (model, _) in MODELS.items() for method in model.schemes]

#: the same in all types, and every one in some
METHODS_IN_ALL = [(*run, *types) for run in METHODS for types in TYPES]
METHODS_IN_ONE = [(*run, *TYPES[i % 3]) for i, run in enumerate(METHODS)]


@pytest.fixture
def compiled(monkeypatch):
    """On the CPU, built-in models by their equation in Python code, as on a GPU."""

    monkeypatch.setattr(sde_settings, "chain_of", chain_of)


def on_both(model, **settings):
    """The run on the CPU, and on the GPU."""
    return sf.simulate(model, **settings), sf.simulate(model, device="cuda", **settings)


def assert_equal_states(cpu, gpu):
    x = gpu.x.to_numpy()
    assert x.shape == cpu.x.shape
    assert x.dtype == cpu.x.dtype
    assert x.tobytes() == np.ascontiguousarray(cpu.x).tobytes()


def assert_equal_statistics(cpu, gpu, digits=1e-12):
    """Sums are the same numbers added in another order; float32 states are added in float64 here, in float32 there."""
    tolerance = digits if cpu.settings.dtype == np.float64 else 2e-6
    for name in ("mean", "variance", "standard_error"):
        have, want = getattr(gpu, name), getattr(cpu, name)
        scale = np.abs(cpu.mean) + np.sqrt(cpu.variance) if name == "mean" else np.abs(want)
        np.testing.assert_array_less(np.abs(have - want), tolerance * scale + 1e-300, err_msg=name)
    assert np.array_equal(gpu.n_nonfinite, cpu.n_nonfinite)


# The same bits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "method", "dtype", "noise_dtype"), thorough_but(METHODS_IN_ONE, METHODS_IN_ALL))
def test_built_in_models_have_the_bits_of_their_equation(name, method, dtype, noise_dtype, compiled):
    model, x0 = MODELS[name]
    cpu, gpu = on_both(
        model, x0=x0, t1=0.5, n_steps=13, n_paths=9, seed=3, method=method, dtype=dtype, noise_dtype=noise_dtype,
        save_at=4, first_chain=2**40 - 5,
    )  # fmt: skip
    assert_equal_states(cpu, gpu)
    assert_equal_statistics(cpu, gpu)


@pytest.mark.parametrize(
    ("model", "method", "x0"),
    [(sf.Heston(xi=1.0), "qe", (100.0, 0.04)), (sf.CIR(0.5, 0.04, 1.0), "exact", 0.3), (sf.CIR(), "exact", 0.3)],
)
def test_steps_that_models_bring_have_the_bits_of_the_cpu(model, method, x0):
    assert_equal_states(*on_both(model, x0=x0, t1=1.0, n_steps=2, n_paths=5, seed=3, method=method, save_at="all"))


@pytest.mark.parametrize(("run", "dtype"), in_both_types(METHODS))
def test_built_in_models_agree_with_cpp(run, dtype):
    """The C++ steps are other roundings of the same formulas: a few units in the last place a step."""
    name, method = run
    model, x0 = MODELS[name]
    cpu, gpu = on_both(model, x0=x0, t1=0.5, n_steps=13, n_paths=5, seed=3, method=method, dtype=dtype)
    scale = np.abs(cpu.x).max()
    assert np.abs(gpu.x.to_numpy() - cpu.x).max() <= 4 * 13 * np.finfo(dtype).eps * scale


@pytest.mark.parametrize(("method", "equation", "dtype"), thorough_but(FEW_RUNS, IN_A_TYPE))
def test_schemes_have_the_bits_of_the_cpu(method, equation, dtype):
    sde, x0 = EQUATIONS[equation]
    cpu, gpu = on_both(
        sde, x0=x0, t0=0.25, t1=0.75, n_steps=9, n_paths=3, seed=5, method=method, dtype=dtype, save_at="all"
    )
    assert_equal_states(cpu, gpu)


DRAWS = itertools.product([1, 2, 3, 5, 6, 8, 13, 14], ["euler-maruyama", "weak-euler"], ["float32", "float64"])
SOME_DRAWS = [
    (1, "euler-maruyama", "float32"), (3, "euler-maruyama", "float64"), (8, "euler-maruyama", "float32"),
    (14, "euler-maruyama", "float64"), (1, "weak-euler", "float64"), (8, "weak-euler", "float32"),
]  # fmt: skip


# Segments hold 1024 float32 draws, 512 float64 ones: chains begin before a border and cross one or two.
@pytest.mark.parametrize(("m", "method", "dtype"), thorough_but(SOME_DRAWS, list(DRAWS)))
def test_noise_across_segments_and_at_any_step(m, method, dtype):
    start = (1023 if dtype == "float32" else 510) // m - 3
    settings = {"n_paths": 3, "dtype": dtype, "seed": 2**63 + 5, "method": method}
    parts = []
    for device in ("cpu", "cuda"):
        run = sf.simulate(noisy(m), x0=0.5, t1=start * 1e-3, n_steps=start, device="cpu", **settings)
        run = sf.simulate(noisy(m), n_steps=5, resume=run, device=device)
        parts.append(sf.simulate(noisy(m), n_steps=8, resume=run, save_at="all", device=device))
    assert_equal_states(*parts)


@pytest.mark.parametrize("m", [1, 3, 32])
def test_signs_across_segments(m):
    """A segment holds 32768 signs."""
    start = 32768 // m - 2
    runs = []
    for device in ("cpu", "cuda"):
        run = sf.simulate(noisy(m), x0=0.5, t1=1.0, n_steps=start, n_paths=2, seed=1, method="weak-euler")
        runs.append(sf.simulate(noisy(m), n_steps=7, resume=run, save_at="all", device=device))
    assert_equal_states(*runs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_steps_draw_alternately(dtype):
    """Steps with one normal that are too long to stand in the loop twice."""
    cpu, gpu = on_both(LONG, x0=0.5, t1=1.0, n_steps=11, n_paths=5, seed=1, dtype=dtype, save_at=[3 / 11, 4 / 11, 1.0])
    assert_equal_states(cpu, gpu)


# What else a chain may do --------------------------------------------------------------------------------------------

EXTRAS = {
    "functionals": {"functionals": FUNCTIONALS},
    "boundary": {"boundary": boundaries.reflect(lower=0.2)},
    "stopped": {"functionals": FUNCTIONALS, "stop_when": lambda t, x, p, y: y.hit <= t},
    "antithetic": {"antithetic": True, "functionals": FUNCTIONALS},
    "expectations": {
        "expectations": {"call": lambda t, x: max(x[0] - 1.0, 0), "late": lambda t, x: t * math.exp(-x[0])},
        "controls": {"x": (lambda t, x: x[0], lambda t: math.exp(0.1 * t))},
    },
    "times": {"times": [0.0, 0.1, 0.15, 0.4, 1.0]},
}


@pytest.mark.parametrize(("extra", "dtype"), in_both_types(EXTRAS))
def test_extras_are_the_same(extra, dtype, compiled):
    settings = {"t1": 1.0, "n_steps": 12} | EXTRAS[extra]
    if "times" in settings:
        del settings["t1"], settings["n_steps"]
    cpu, gpu = on_both(
        sf.BlackScholes(mu=0.1, sigma=0.4), x0=1.0, n_paths=12, seed=4, dtype=dtype,
        save_at=4 if "n_steps" in settings else "all", **settings,
    )  # fmt: skip
    assert_equal_states(cpu, gpu)
    assert_equal_statistics(cpu, gpu)
    for name, functional in cpu.functionals.items():
        have = gpu.functionals[name]
        assert np.array_equal(have.values.to_numpy(), functional.values)
        np.testing.assert_allclose(have.mean, functional.mean, rtol=1e-6)
        assert np.array_equal(have.n_nonfinite, functional.n_nonfinite)
    for name, expectation in cpu.expectations.items():
        have = gpu.expectations[name]
        np.testing.assert_allclose(have.value, expectation.value, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(have.standard_error, expectation.standard_error, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("dtype", "noise_dtype"), TYPES)
def test_given_normals(dtype, noise_dtype):
    normals = np.random.default_rng(1).standard_normal((6, 5, 3))
    settings = {"x0": (1.0, 0.0, 0.5), "t1": 0.6, "n_steps": 6, "n_paths": 5, "normals": normals, "save_at": 4}
    cpu, gpu = on_both(LINEAR, **settings, dtype=dtype, noise_dtype=noise_dtype)
    assert_equal_states(cpu, gpu)


@pytest.mark.parametrize("method", ["euler-maruyama", "exact"])
@pytest.mark.parametrize("dim", [1, 2, 5, 11])
def test_linear_equations_of_any_size(dim, method):
    rng = np.random.default_rng(dim)
    model = sf.LinearSDE(
        A=rng.standard_normal((dim, dim)) - 3 * np.eye(dim), b=rng.standard_normal(dim),
        B=rng.standard_normal((dim, dim + 1)),
    )  # fmt: skip
    x0 = rng.standard_normal((5, dim))
    cpu, gpu = on_both(model, x0=x0, times=[0.0, 0.1, 0.3, 0.35, 0.5], n_paths=5, seed=1, method=method)
    assert_equal_states(cpu, gpu)


# Statistics ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float32", "float64"]))
def test_all_statistics(dtype):
    """Two blocks, the last one not full, and some chains that leave the numbers."""
    escaping = sf.SDE(lambda t, x, p: (math.log(3 - x[0]), x[0] - x[1]), lambda t, x, p: (0.1, 0.5), dim=2)
    x0 = np.column_stack([np.linspace(-2.0, 4.0, 4500), np.linspace(1.0, 2.0, 4500)])
    settings = {"x0": x0, "t1": 0.2, "n_steps": 2, "n_paths": 4500, "seed": 2, "dtype": dtype, "first_chain": 4096}
    with pytest.warns(RuntimeWarning, match="no longer finite"):
        cpu, gpu = on_both(escaping, **settings, **EVERYTHING, save_at="all", histogram=(-3.0, 3.0, 7))
    assert_equal_states(cpu, gpu)
    finite = np.isfinite(cpu.x).all(2)
    assert 0 < gpu.n_nonfinite[-1] < 4500
    assert np.array_equal(gpu.n_nonfinite, (~finite).sum(1))
    assert np.array_equal(gpu.histogram, cpu.histogram)
    for k in range(3):
        x = cpu.x[k, finite[k]].astype(float)
        center = x - x.mean(0)
        expected = {
            "mean": x.mean(0), "variance": x.var(0, ddof=1), "minimum": x.min(0), "maximum": x.max(0),
            "covariance": np.cov(x.T), "skewness": (center**3).mean(0) / x.std(0) ** 3,
            "kurtosis": (center**4).mean(0) / x.var(0) ** 2 - 3,
        }  # fmt: skip
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(gpu, name)[k], value, rtol=1e-11, atol=1e-11 * x.std(), err_msg=name)


def small(monkeypatch, **limits):
    from sdefast.cuda import run

    for name, value in limits.items():
        monkeypatch.setattr(run, name, value)


PLANE = sf.LinearSDE(A=[[-1.0, 0.5], [-0.5, -1.0]], B=[[0.5, 0.1], [0.2, 0.4]])
WALK = {"x0": (0.1, 0.2), "t1": 1.0, "n_steps": 2, "n_paths": 4500, "seed": 8, "dtype": "float32", "save_at": 1}


@pytest.fixture
def walk(quick):
    return sf.simulate(PLANE, **WALK, **EVERYTHING, device="cuda")


LIMITS = [
    {"LAUNCH": 1}, {"MOST_CHAINS": 4096}, {"LAUNCH": 4_500, "MOST_CHAINS": 4096},
    {"_BUFFER": 200_000, "LEAST_CHAINS": 4096},
]  # fmt: skip


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_no_bit_depends_on_how_a_run_is_cut(limits, walk, monkeypatch):
    small(monkeypatch, **limits)
    paths = len(limits) == 1
    run = sf.simulate(PLANE, **WALK, **EVERYTHING, device="cuda", paths=paths)
    for name in ("mean", "variance", "skewness", "kurtosis", "minimum", "maximum", "covariance"):
        assert getattr(run, name).tobytes() == getattr(walk, name).tobytes(), name
    if paths:
        assert run.x.to_numpy().tobytes() == walk.x.to_numpy().tobytes()


def test_no_bit_depends_on_the_block_of_threads(walk, monkeypatch):
    from sdefast.cuda import chains

    monkeypatch.setattr(chains, "THREADS", 7)
    run = sf.simulate(PLANE, **WALK, **EVERYTHING, device="cuda")
    assert run.covariance.tobytes() == walk.covariance.tobytes()
    assert run.x.to_numpy().tobytes() == walk.x.to_numpy().tobytes()


def test_states_that_do_not_fit_come_to_the_host(walk, monkeypatch):
    monkeypatch.setattr(target.Device, "free_memory", lambda self: 100_000)
    run = sf.simulate(PLANE, **WALK, **EVERYTHING, device="cuda")
    assert isinstance(run.x, np.ndarray)
    assert np.array_equal(run.x, walk.x.to_numpy())
    assert run.covariance.tobytes() == walk.covariance.tobytes()


def test_shards_merge_with_those_of_the_cpu(walk):
    first = {**WALK, "n_paths": 4096}
    shards = [
        sf.simulate(PLANE, **first, **EVERYTHING, device="cuda"),
        sf.simulate(PLANE, **{**WALK, "n_paths": 4500 - 4096}, **EVERYTHING, first_chain=4096),
    ]
    run = sf.merge(*shards)
    np.testing.assert_allclose(run.mean, walk.mean, atol=1e-7)
    assert np.array_equal(run.x, walk.x.to_numpy())


@pytest.mark.parametrize("grid", ["uniform", "given"])
def test_times_far_from_zero_have_the_bits_of_the_cpu(grid):
    """A phase of many periods, in float64 on both, and a sum of what it drives."""
    w, t0, t1, n = 2 * math.pi * 365, 2024.0, 2024.0 + 1 / 1460, 60
    daily = sf.SDE(lambda t, x, p: p.w * sf.math.cos(p.w * t), lambda t, x, p: 0.1 * sf.math.sin(t), params={"w": w})
    times = {"t0": t0, "t1": t1, "n_steps": n} if grid == "uniform" else {"times": np.linspace(t0, t1, n + 1)}
    cpu, gpu = on_both(
        daily, x0=0.0, n_paths=5, seed=3, dtype="float32", save_at=7, **times,
        expectations={"sine": lambda t, x, p: sf.math.sin(p.w * t)},
        functionals={"average": sf.functionals.time_average(lambda t, x: t - 2024)},
        stop_when=lambda t, x: t > t0 + 0.7 * (t1 - t0),
    )  # fmt: skip
    assert_equal_states(cpu, gpu)
    h = (t1 - t0) / n
    exact = h * w * np.cos(w * (t0 + h * np.arange(42))).sum()  # it stops as the 42nd step ends
    np.testing.assert_allclose(cpu.x[-1], exact, atol=5 * 0.1 * math.sqrt(0.7 * (t1 - t0)))  # there is some noise
    np.testing.assert_allclose(gpu.expectations["sine"].value, np.sin(w * gpu.t), rtol=1e-7, atol=1e-9)
    assert np.array_equal(np.asarray(gpu.functionals["average"].values), cpu.functionals["average"].values)


# Going on, and what is done with results ------------------------------------------------------------------------------


def test_a_run_is_resumed_on_the_gpu():
    settings = {"x0": 1.0, "n_paths": 10, "seed": 1, "save_at": "all"}
    whole = sf.simulate(sf.CIR(), t1=1.0, n_steps=10, **settings, device="cuda")
    half = sf.simulate(sf.CIR(), t1=0.5, n_steps=5, **settings, device="cuda")
    rest = sf.simulate(sf.CIR(), n_steps=5, save_at="all", resume=half, device="cuda")
    assert np.array_equal(np.asarray(rest.x), np.asarray(whole.x[5:]))


def test_start_states_may_lie_on_the_gpu():
    run = sf.simulate(sf.OrnsteinUhlenbeck(), x0=1.0, t1=1.0, n_steps=4, n_paths=6, seed=1, device="cuda")
    settings = {"t1": 1.0, "n_steps": 4, "n_paths": 6, "seed": 2}
    a = sf.simulate(sf.OrnsteinUhlenbeck(), x0=run.x[-1], **settings)
    b = sf.simulate(sf.OrnsteinUhlenbeck(), x0=np.asarray(run.x[-1]), **settings)
    assert np.array_equal(a.x, b.x)


def test_results_can_be_plotted_labelled_and_sent():
    import matplotlib as mpl

    mpl.use("Agg")
    import pickle

    run = sf.simulate(sf.CIR(), x0=1.0, t1=1.0, n_steps=4, n_paths=6, seed=1, save_at="all", device="cuda")
    run.plot()
    assert run.to_xarray()["x"].shape == (5, 6, 1)
    copy = pickle.loads(pickle.dumps(run))
    assert np.array_equal(copy.x, run.x.to_numpy())
    assert "cuda" in repr(run.x)
    assert run.cost.isa.startswith("sm_")


def test_progress(capsys):
    sf.simulate(sf.CIR(), x0=1.0, t1=1.0, n_steps=4, n_paths=6, seed=1, device="cuda", progress=True)
    assert "24/24" in capsys.readouterr().err.replace(".0", "")


def test_statistics_that_overflow():
    stiff = sf.SDE(lambda t, x: -1e30 * x[0], lambda t, x: 0.1)
    for device in ("cpu", "cuda"):
        with pytest.warns(RuntimeWarning, match="statistics overflow from time 8 on, though the paths are finite: var"):
            run = sf.simulate(stiff, x0=0.0, t1=8.0, n_steps=8, n_paths=5, seed=1, device=device)
        assert run.n_nonfinite[-1] == 0


def test_passages_that_stop():
    """Within a step, of the bridge in two components under one noise and two."""
    model = sf.SDE(lambda t, x: (-x[0], x[0]), lambda t, x: (0.9, 0.3 + t), dim=2)
    cpu, gpu = on_both(
        model, x0=(0.0, 0.1), t1=2.0, n_steps=6, n_paths=40, seed=2, save_at="all", functionals=FUNCTIONALS,
        stop_when=lambda t, x: abs(x[0]) > 1 or x[0] + x[1] > 1.2 or t > 1.7,
    )  # fmt: skip
    assert_equal_states(cpu, gpu)
    assert (gpu.stop_time.values.to_numpy()[-1] == cpu.stop_time.values[-1]).all()
    assert (cpu.stop_time.values[-1] <= 1.7).all()
