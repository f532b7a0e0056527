"""The kernels as a GPU gets them: compiled to PTX, executed instruction by instruction, against the CPU to the bit.

`ptx.Machine` stands for the card: numba's simulator runs the kernels' Python code, this what the compiler made of it.
"""

import math
import re
import warnings
from collections import Counter

import numpy as np
import pytest
from cards import card, noted, resources
from conftest import EVERYTHING, MODELS, TYPES, thorough_but
from sde.equations import EQUATIONS, FUNCTIONALS, LONG, RUNS, chain_of, noisy

import sdefast as sf
from sdefast.cuda import kernels, run, target
from sdefast.run import boundaries
from sdefast.sde import settings as sde_settings
from sdefast.sde.cuda import linear
from sdefast.sde.extras import Extras

pytestmark = pytest.mark.skipif(not target.SIMULATED, reason="with a GPU these kernels run there, in test_simulate.py")

# Runs ----------------------------------------------------------------------------------------------------------------

GBM = sf.BlackScholes(mu=0.1, sigma=0.4)
SHORT = {"x0": 1.0, "t1": 1.0, "n_steps": 12, "n_paths": 70, "seed": 4, "save_at": 4}


#: run whenever tests are: each kind of noise and type, a loop over many normals, and all that happens besides a step
EVERYDAY = [
    "heston-euler-maruyama-float32-float32", "linear-exact-float64-float64", "cir-euler-maruyama-float64-float32",
    "noise-5-weak-euler-float32", "noise-14-euler-maruyama-float64", "stopped", "expectations",
    "statistics-float32",
]  # fmt: skip


def scenarios():
    """Name -> model and settings of a run; of built-in models every method in one of the types."""
    runs = {}
    for (name, (model, x0)), (k, (dtype, noise)) in ((m, t) for m in MODELS.items() for t in enumerate(TYPES)):
        for i, method in enumerate(model.schemes):
            key = f"{name}-{method}-{dtype}-{noise}"
            if i % len(TYPES) != k and key not in EVERYDAY:
                continue
            runs[key] = model, {
                "x0": x0, "t1": 0.5, "n_steps": 13, "n_paths": 70, "seed": 3, "method": method, "dtype": dtype,
                "noise_dtype": noise, "save_at": 4, "first_chain": 2**40 - 5,
            }  # fmt: skip
    for i, (method, equation) in enumerate(RUNS):
        sde, x0 = EQUATIONS[equation]
        dtype = TYPES[i % 2][0]
        runs[f"{equation}-{method}"] = sde, {
            "x0": x0, "t0": 0.25, "t1": 0.75, "n_steps": 9, "n_paths": 33, "seed": 5, "method": method, "dtype": dtype,
            "save_at": "all",
        }  # fmt: skip
    for m in (1, 3, 5, 14):  # 1500 draws cross the border of at least one segment
        for method, dtype in (("euler-maruyama", "float32"), ("euler-maruyama", "float64"), ("weak-euler", "float32")):
            settings = {"x0": 0.5, "t1": 1.0, "n_steps": 1500 // m + 1, "n_paths": 5, "seed": 2**63 + 5}
            settings |= {"save_at": 499 // m, "method": method, "dtype": dtype}
            runs[f"noise-{m}-{method}-{dtype}"] = noisy(m), settings
    runs["long"] = LONG, {**SHORT, "n_steps": 13}
    runs["functionals"] = GBM, {**SHORT, "functionals": FUNCTIONALS, "dtype": "float32"}
    runs["boundary"] = GBM, {**SHORT, "boundary": boundaries.reflect(lower=0.8)}
    runs["stopped"] = GBM, {**SHORT, "functionals": FUNCTIONALS, "stop_when": lambda t, x, p, y: y.hit <= t}
    runs["antithetic"] = GBM, {**SHORT, "antithetic": True, "dtype": "float32"}
    runs["times"] = GBM, {**SHORT, "t1": None, "n_steps": None, "times": [0.0, 0.1, 0.15, 0.4, 1.0], "save_at": "all"}
    runs["given"] = GBM, {**SHORT, "normals": np.random.default_rng(1).standard_normal((12, 70, 1))}
    runs["expectations"] = GBM, {
        **SHORT, "expectations": {"call": lambda t, x: max(x[0] - 1.0, 0), "late": lambda t, x: t * math.exp(-x[0])},
        "controls": {"x": (lambda t, x: x[0], lambda t: math.exp(0.1 * t))}, "histogram": (0.0, 2.0, 9),
    }  # fmt: skip
    jumping = {**SHORT, "n_paths": 40, "n_steps": 8, "method": "exact"}
    runs["jumps"] = sf.Merton(intensity=2.0), {**jumping, "dtype": "float32", "sensitivities": ["jump_mean"]}
    runs["own-jumps"] = sf.Kou(intensity=np.linspace(0.0, 4.0, 40)), jumping
    heston, x0 = MODELS["heston"]
    for dtype in ("float32", "float64"):  # six blocks, the last one not full, which merge in a tree of three levels
        runs[f"statistics-{dtype}"] = heston, {
            "x0": x0, "t1": 0.1, "n_steps": 2, "n_paths": 21_000, "seed": 1, "dtype": dtype, "save_at": 1,
            "first_chain": 3 * 4096, "histogram": (0.0, 1.0, 5), **EVERYTHING,
        }  # fmt: skip
    return runs


SCENARIOS = scenarios()

#: SGD: problem and settings; 14 normals a step are drawn in a loop
FITS = {
    "plain": (sf.LeastSquares([0.1, -0.2, 1.0, 0.5, -0.5], 0.1), {"step_size": 0.05}),
    "decaying": (sf.LeastSquares([0.1, -0.2, 1.0], 0.1), {"step_size": lambda k: 0.1 / (k + 1), "dtype": "float32"}),
    "many": (sf.LeastSquares(np.linspace(-1, 1, 13), 0.1), {"step_size": 0.02}),
    "batch": (
        sf.LeastSquares([1.0, 2.0], 0.1), {"step_size": 0.05, "batch_size": 5, "dtype": "float32", "n_steps": 80},
    ),
    "averaged": (sf.LeastSquares([1.0, 2.0], 0.1), {"step_size": 0.05, "averaging": "polyak-ruppert"}),
    "uniform": (sf.LeastSquares([1.0, 2.0], 0.1, inputs=sf.inputs.Uniform(0.0, 2.0)), {"step_size": 0.05}),
}  # fmt: skip
FIT = {"n_steps": 300, "n_runs": 20, "runs": 20, "seed": 3, "save_at": 50}


#: what the assembler is asked about
SOME_OR_ALL = [
    pytest.param(EVERYDAY, id="some"), pytest.param([*SCENARIOS, *FITS], marks=pytest.mark.thorough, id="all"),
]  # fmt: skip


# What they launch ----------------------------------------------------------------------------------------------------


OF_TWO = ("pow", "min", "max", "atan2", "hypot")


def functions_program(dtype):
    """A kernel with one call of every elementary function."""
    from sdefast.jit.vector_math import FUNCTIONS
    from sdefast.trace import make, symbol

    x, y = symbol("x0"), symbol("x1")
    names = [name for name in FUNCTIONS if name not in ("fma", "select")]
    outputs = tuple(make(name, x, y) if name in OF_TWO else make(name, x) for name in names)
    return names, kernels.observer(outputs, (), 2, dtype)


def programs_launched(names):
    """By the runs of these scenarios and fits."""

    def runs():
        for name in names:
            if name in SCENARIOS:
                model, settings = SCENARIOS[name]
                sf.simulate(model, device="cuda", **settings)
            else:
                problem, settings = FITS[name]
                sf.sgd(problem, device="cuda", **{**FIT, **settings})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return noted(runs)


@pytest.mark.parametrize("name", thorough_but(EVERYDAY[::2], SCENARIOS))
def test_compiled_kernels_have_the_bits_of_the_cpu(name, machines, monkeypatch):
    model, settings = SCENARIOS[name]
    with card(lambda program, grid, block, values: machines[program][1].run(grid, block, values)):
        gpu = sf.simulate(model, device="cuda", **settings)
    monkeypatch.setattr(sde_settings, "chain_of", chain_of)
    cpu = sf.simulate(model, **settings)
    assert gpu.x.to_numpy().tobytes() == np.ascontiguousarray(cpu.x).tobytes()
    assert np.array_equal(gpu.n_nonfinite, cpu.n_nonfinite)
    for functional, expected in cpu.functionals.items():
        assert np.array_equal(gpu.functionals[functional].values.to_numpy(), expected.values)
    close = {"rtol": 1e-10 if cpu.settings.dtype == np.float64 else 2e-5, "atol": 1e-7 * np.abs(cpu.x).max()}
    np.testing.assert_allclose(gpu.mean, cpu.mean, **close)
    np.testing.assert_allclose(gpu.variance, cpu.variance, **close)
    for expectation, expected in cpu.expectations.items():
        np.testing.assert_allclose(gpu.expectations[expectation].value, expected.value, **close)
    if "extremes" in settings:
        for statistic in ("minimum", "maximum", "histogram"):
            assert np.array_equal(getattr(gpu, statistic), getattr(cpu, statistic)), statistic
        for statistic in ("covariance", "skewness", "kurtosis"):
            np.testing.assert_allclose(getattr(gpu, statistic), getattr(cpu, statistic), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", thorough_but(["batch"], FITS))
def test_compiled_sgd_has_the_bits_of_the_cpu(name, machines):
    problem, settings = FITS[name]
    with card(lambda program, grid, block, values: machines[program][1].run(grid, block, values)):
        gpu = sf.sgd(problem, device="cuda", **{**FIT, **settings})
    cpu = sf.sgd(problem, **{**FIT, **settings})
    assert gpu.theta.tobytes() == cpu.theta.tobytes()
    np.testing.assert_allclose(gpu.error, cpu.error, rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("limits", [{"MOST_CHAINS": 4096}, {"MOST_CHAINS": 8192, "LAUNCH": 8192}], ids=str)
def test_no_bit_depends_on_how_a_run_is_cut(limits, machines, monkeypatch):
    """Blocks merge on the card or on the host, where launches end: by the same formulas, to the same bits."""
    model, settings = SCENARIOS["statistics-float32"]
    with card(lambda program, grid, block, values: machines[program][1].run(grid, block, values)):
        whole = sf.simulate(model, device="cuda", **settings)
        for name, value in limits.items():
            monkeypatch.setattr(run, name, value)
        parts = sf.simulate(model, device="cuda", **settings)
    for statistic in ("mean", "variance", "skewness", "kurtosis", "covariance", "minimum"):
        assert getattr(whole, statistic).tobytes() == getattr(parts, statistic).tobytes(), statistic


@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float32", "float64"]))
def test_elementary_functions_have_the_bits_of_the_cpu(dtype, machines):
    names, program = functions_program(dtype)
    rng = np.random.default_rng(1)
    hard = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1e-40, 1e30, -1e30, 88.7, -103.0, 709.0, 0.5]
    x = np.concatenate([hard, rng.standard_normal(400) * 10 ** rng.uniform(-6, 4, 400), rng.uniform(-4, 4, 400)])
    y = np.concatenate([hard[::-1], rng.uniform(-3, 3, 800)])
    given = np.array([[x, y]]).astype(dtype)
    out = np.full((1, len(names), len(x)), 7.0, dtype)
    no = np.zeros(1)
    machines[program][1].run((7, 1), 128, [no, no, np.int64(len(x)), given, out, no.astype(dtype)])
    from sdefast.cuda.functions import functions

    space = functions(dtype, dtype)
    for i, name in enumerate(names):
        f = space[f"{name}_"]
        want = np.array([f(a, b) if name in OF_TWO else f(a) for a, b in given[0].T], dtype)
        same = (out[0, i] == want) | (np.isnan(out[0, i]) & np.isnan(want))
        assert same.all(), (name, given[0].T[~same][:3], out[0, i][~same][:3], want[~same][:3])


# What the assembler makes of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", SOME_OR_ALL)
def test_arithmetic_is_rounded_by_name(names, machines):
    """Without a rounding in its name, an assembler may contract a product and a sum."""
    for program in programs_launched(names):
        if getattr(program, "kind", None) in ("paths", "observer", "sgd"):
            found = machines[program][1].instructions
            loose = [o for o in found if re.fullmatch(r"(add|sub|mul|mad|div|sqrt|fma)\.f(32|64)", o)]
            assert not loose, (program.kind, loose)


@pytest.mark.parametrize("names", SOME_OR_ALL)
def test_registers_and_spills(names, machines, tmp_path):
    """No spills in built-in models, and few enough registers that a multiprocessor has many threads."""
    seen = Counter()
    built_in = {program for name in MODELS for program in programs_of(name)}
    for program in programs_launched(names):
        found = resources(machines[program][0], tmp_path)
        assert found.spilled == 0, (program, found)
        if program in built_in:
            seen[program.dtype] += 1
            assert found.local == 0, program.source
            assert found.registers <= (64 if program.dtype == "float32" else 96), (found, program.source)
    whole = len(names) > len(EVERYDAY)
    assert seen["float32"] >= (8 if whole else 1)
    assert seen["float64"] >= (6 if whole else 2)


def programs_of(name):
    """The kernels that take a built-in model's chains through steps."""
    found = set()
    model = MODELS[name][0]
    for method in model.schemes:
        for dtype, noise in TYPES:
            if name == "linear":
                found.add(linear(model.dim, model.noise_dim_of(method), dtype, noise, True, False))
            else:
                step = sde_settings.compiled_chain(model, method, Extras()).step
                found.add(kernels.paths(step, dtype, noise, True, False))
    return found
