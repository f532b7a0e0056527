"""Sums over rows of tables on a GPU: the bits of the CPU, in numba's simulator and from the kernels' PTX."""

import itertools
import warnings

import numpy as np
import pytest
from cards import card, noted, resources
from conftest import in_both_types, thorough_but
from sde.summing import RANDOM, everything, many_components, regression

import sdefast as sf
from sdefast.cuda import run as cuda_run
from sdefast.cuda import sums, target
from sdefast.cuda.programs import Program

m = sf.math
SHORT = {"t0": 0.5, "t1": 1.0, "n_steps": 3, "n_paths": 3, "seed": 9, "save_at": "all"}


def density_of(log_density):
    return {"density": lambda t, x: log_density(x)}


def on_both(model, **settings):
    return sf.simulate(model, **settings), sf.simulate(model, device="cuda", **settings)


def assert_same_states(cpu, gpu):
    assert gpu.x.to_numpy().tobytes() == np.ascontiguousarray(cpu.x).tobytes()


REGRESSIONS = [
    *itertools.product(
        [(1, 1), (2, 3), (4, 4), (7, 5)], ["euler-maruyama", "heun", "weak-euler"], ["float32", "float64"]
    ),
    *itertools.product([(9, sums.SHORT + 1)], ["euler-maruyama"], ["float32", "float64"]),
]
SOME_REGRESSIONS = [
    ((1, 1), "weak-euler", "float32"),
    ((2, 3), "heun", "float64"),
]


@pytest.mark.parametrize(("shape", "method", "dtype"), thorough_but(SOME_REGRESSIONS, REGRESSIONS))
def test_langevin_of_a_regression(shape, method, dtype):
    """A Bayesian logistic regression; from one number more than are straight code on, products and sums are loops."""
    n, d = shape
    _, _, log_density, sde = regression(n, d)
    cpu, gpu = on_both(
        sde, x0=np.full(d, 0.1), method=method, dtype=dtype, expectations=density_of(log_density), **SHORT
    )
    assert_same_states(cpu, gpu)
    close = 1e-14 if dtype == "float64" else 1e-6  # (the mean is another sum of the same numbers)
    have, want = (run.expectations["density"].value for run in (gpu, cpu))
    np.testing.assert_allclose(have, want, rtol=close)


@pytest.mark.parametrize(("n", "dtype"), in_both_types([1, 3, 4, 7, 102]))
def test_the_order_of_a_sum(n, dtype):
    """What is observed of one chain is its mean."""
    data = RANDOM.normal(size=n)
    f = {"f": lambda t, x: m.sum(lambda y: m.abs(y - x[0]), data)}
    cpu, gpu = on_both(sf.BrownianMotion(), x0=0.3, dtype=dtype, expectations=f, **(SHORT | {"n_paths": 1}))
    assert gpu.expectations["f"].value.tobytes() == cpu.expectations["f"].value.tobytes()


@pytest.mark.parametrize(
    ("grid", "dtype"),
    thorough_but(
        [("uniform", "float32"), ("given", "float64")],
        list(itertools.product(["uniform", "given"], ["float32", "float64"])),
    ),
)
def test_sums_of_sums(grid, dtype):
    """With parameters and the time, over two tables, in functionals too."""
    X, _, sde, _ = everything()
    settings = SHORT | {"x0": (0.5, -0.5), "dtype": dtype}
    if grid == "given":
        settings |= {"t0": None, "t1": None, "n_steps": None, "times": [0.5, 0.55, 0.8, 0.9, 1.7]}
    cpu, gpu = on_both(
        sde, functionals={"f": sf.functionals.time_average(lambda t, x: m.sum(lambda r: m.abs(r[0] - x[0]), X))},
        **settings,
    )  # fmt: skip
    assert_same_states(cpu, gpu)
    assert (
        gpu.functionals["f"].values.to_numpy().tobytes() == np.ascontiguousarray(cpu.functionals["f"].values).tobytes()
    )


@pytest.mark.parametrize(
    ("dtype", "short"),
    thorough_but([("float64", 4)], list(itertools.product(["float32", "float64"], [sums.SHORT, 4]))),
)
def test_many_components(dtype, short, monkeypatch):
    """What stands in loops over components on the CPU has the bits of these; inner products as code and as loops."""
    monkeypatch.setattr(sums, "SHORT", short)
    X, sde = many_components()
    cpu, gpu = on_both(
        sde, x0=RANDOM.normal(size=12), dtype=dtype, **SHORT,
        functionals={"average": sf.functionals.time_average(lambda t, x: m.sum(lambda r: m.dot(r, x) ** 2, X))},
    )  # fmt: skip
    assert_same_states(cpu, gpu)


def test_a_step_and_what_is_observed_have_a_table_each():
    """In launches of a step."""
    X, y, sde, _ = everything()
    f = {"f": lambda t, x: m.sum(lambda v: m.cos(v * x[0]), y), "g": lambda t, x: m.sum(lambda r: m.dot(r[:2], x), X)}
    settings = SHORT | {"x0": (0.5, -0.5), "n_paths": 1, "expectations": f, "dtype": "float32"}
    cpu = sf.simulate(sde, **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_run, "LAUNCH", 1)
        gpu = sf.simulate(sde, device="cuda", **settings)
    assert_same_states(cpu, gpu)
    for name in f:
        assert gpu.expectations[name].value.tobytes() == cpu.expectations[name].value.tobytes()


def test_a_run_goes_on_from_the_cpu_to_the_gpu_and_back():
    _, _, _, sde = regression(6, 3)
    whole = sf.simulate(sde, x0=np.zeros(3), t1=1.0, n_steps=9, n_paths=5, seed=2)
    run = sf.simulate(sde, x0=np.zeros(3), t1=3 / 9, n_steps=3, n_paths=5, seed=2)
    for device in ("cuda", "cpu"):
        run = sf.simulate(sde, resume=run, n_steps=3, device=device)
    np.testing.assert_allclose(run.x, whole.x, rtol=1e-12)


# As a GPU gets them --------------------------------------------------------------------------------------------------

needs_simulator = pytest.mark.skipif(
    not target.SIMULATED, reason="with a GPU these kernels run there, in the tests above"
)


@needs_simulator
@pytest.mark.parametrize(
    ("dtype", "short"), thorough_but([("float32", 24)], [("float32", 24), ("float64", 24), ("float32", 3)])
)
def test_from_the_ptx(dtype, short, machines, monkeypatch):
    """Compiled for compute capability 9.0, and executed instruction by instruction."""
    monkeypatch.setattr(sums, "SHORT", short)
    _, _, log_density, sde = regression(6, 8)
    settings = SHORT | {"x0": np.full(8, 0.1), "dtype": dtype, "n_paths": 1, "expectations": density_of(log_density)}
    with card(lambda program, *how: machines[program][1].run(*how)):
        gpu = sf.simulate(sde, device="cuda", **settings)
    cpu = sf.simulate(sde, **settings)
    assert_same_states(cpu, gpu)
    assert gpu.expectations["density"].value.tobytes() == cpu.expectations["density"].value.tobytes()


@needs_simulator
def test_short_sums_stay_in_registers(tmp_path, machines):
    """An assembler puts nothing of them into the threads' own memory."""
    _, _, log_density, sde = regression(1000, 8)
    settings = SHORT | {"x0": np.zeros(8), "dtype": "float32", "expectations": density_of(log_density)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # (what is noted computes nothing)
        launched = noted(lambda: sf.simulate(sde, device="cuda", **settings))
        programs = [program for program in launched if isinstance(program, Program)]
        assert [program.kind for program in programs] == ["paths", "observer"]
        for program in programs:
            used = resources(machines[program][0], tmp_path)
            assert used.local == used.spilled == 0, program.kind
            assert used.registers <= 128, program.kind
