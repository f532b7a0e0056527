"""Times far from 0 in float32: what depends on time alone is computed in float64 and rounded once."""

import math

import numpy as np
import pytest

import sdefast as sf
from sdefast.engine.running import run_tile
from sdefast.engine.tiles import Draws, Tile
from sdefast.jit.compile import Program
from sdefast.jit.emit import CLOCK, Step, stepper_source
from sdefast.trace import as_expr, symbol

#: a daily oscillation, in years; between neighbours in float32 there are 2024 + 1/8192 and 1 hour
W = 2 * math.pi * 365
T0, T1, N = 2024.0, 2024.0 + 1 / 1460, 600
DAILY = sf.SDE(lambda t, x, p: p.w * sf.math.cos(p.w * t), lambda t, x, p: 0.0, params={"w": W})
SETTINGS = {"x0": 0.0, "t0": T0, "t1": T1, "n_steps": N, "n_paths": 2, "seed": 1, "dtype": "float32"}


def riemann(n_steps):
    h = (T1 - T0) / n_steps
    return h * W * np.cos(W * (T0 + h * np.arange(n_steps))).sum()


@pytest.mark.parametrize("n_steps", [N, N + 1])  # four steps at once, and one left over
def test_a_phase_of_many_periods(n_steps):
    """The integral is sin(w t1) - sin(w t0) = 1; in float32 the phase is right to 1/4 only, and the end was 1.2003."""
    run = sf.simulate(DAILY, **SETTINGS | {"n_steps": n_steps})
    assert run.x.dtype == np.float32
    np.testing.assert_allclose(run.x[-1], riemann(n_steps), rtol=2e-6)
    assert abs(riemann(n_steps) - 1.0) < 2e-3


def test_a_grid_of_given_times():
    times = np.linspace(T0, T1, N + 1)
    given = {name: value for name, value in SETTINGS.items() if name not in ("t0", "t1", "n_steps")}
    run = sf.simulate(DAILY, times=times, **given)
    np.testing.assert_allclose(run.x[-1], riemann(N), rtol=2e-6)


def test_expectations_and_functionals():
    run = sf.simulate(
        DAILY, **SETTINGS, save_at=N // 4,
        expectations={"sine": lambda t, x, p: sf.math.sin(p.w * t), "hours": lambda t, x: (t - 2024) * 8760},
        functionals={"mean": sf.functionals.time_average(lambda t, x: (t - 2024) * 8760)},
    )  # fmt: skip
    np.testing.assert_allclose(run.expectations["sine"].value, np.sin(W * run.t), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(run.expectations["hours"].value, (run.t - T0) * 8760, rtol=1e-7)
    np.testing.assert_allclose(run.functionals["mean"].values[1:, 0], (run.t[1:] - T0) * 4380, rtol=1e-5)


def test_a_condition_on_time():
    """The row that says when can only hold a number of the state's type; that the path stops there is exact."""
    clock, k = sf.SDE(lambda t, x, p: float(N) / (T1 - T0), lambda t, x, p: 0.0), 77
    limit = T0 + (T1 - T0) * (k - 0.5) / N
    run = sf.simulate(clock, **SETTINGS, stop_when=lambda t, x: t >= limit)
    np.testing.assert_allclose(run.x[-1, :, 0], k - 0.5, atol=1e-3)
    np.testing.assert_allclose(run.stop_time.values[-1], limit, atol=2 * np.spacing(np.float32(T0)))


@pytest.mark.parametrize("refinement", [2, 4])
def test_both_paths_of_multilevel(refinement):
    result = sf.multilevel(
        DAILY, lambda t, x: x[0], x0=0.0, t0=T0, t1=T1, accuracy=1e-3, n_steps=8, refinement=refinement, dtype="float32"
    )
    grids = 8 * refinement ** np.arange(len(result.levels))
    np.testing.assert_allclose(result.value, riemann(grids[-1]), rtol=1e-5)


@pytest.mark.parametrize("first", [0, 2**24, 2**31, 2**40])
@pytest.mark.parametrize("count", [1, 4])
def test_steps_are_counted_in_integers(first, count):
    """In float32, 2^24 + 1 is no number: the time stood still."""
    t, h = symbol("t"), symbol("h")
    step = Step((as_expr(symbol("x0") + (t - symbol("p_t")) * h),), ("p_t",), (), 0)
    row = np.zeros((1, len(CLOCK) + 1))
    row[0, :] = 0.0, 1.0, 1.0, 1.0, 0.0, float(first)
    program = Program("stepper", stepper_source(step, count), "float32", "float32")
    tile = Tile(
        program, row, Draws(0, 0, float32=True), 5, 0, 3, first, 7, np.zeros((1, 1), np.float32),
        np.array([first + 7]), True, (), 1.0,
    )  # fmt: skip
    assert np.array_equal(run_tile(tile).saved[0, 0], [21.0] * 3)


def test_what_is_fixed_stays_in_the_type_of_the_state():
    """Only what depends on time is in float64."""
    x, t, a, b = (symbol(name) for name in ("x0", "t", "p_a", "p_b"))
    source = stepper_source(Step((as_expr(x * (a * b) + a * t),), ("p_a", "p_b"), (), 0))
    assert "d_p_a = c[5]" in source
    assert "d_p_b" not in source
    assert "p_a * p_b" in source
    assert "d_p_a * t_0" in source
    still = stepper_source(Step((as_expr(x * (a * b)),), ("p_a", "p_b"), (), 0))
    assert "d_p_" not in still
    assert "D(" not in still


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_name_of_a_parameter_is_its_own(dtype):
    """Names that kernels have for something else, and those of two parameters that are nearly one, are no matter."""
    values = {
        name: 0.5 + i / 8 for i, name in enumerate(("r", "r_d", "d_r", "h", "h_v", "k0", "x0", "lanes", "T", "v0_1"))
    }

    def drift(t, x, p):
        return sum(value * (math.cos(value * t) + x[0]) for value in p)

    sde = sf.SDE(drift, lambda t, x, p: 0.0 * p.r, params=values)
    run = sf.simulate(sde, x0=0.25, t0=1.0, t1=1.5, n_steps=2, n_paths=3, seed=1, dtype=dtype)
    x = 0.25
    for t in (1.0, 1.25):
        x += 0.25 * sum(value * (math.cos(value * t) + x) for value in values.values())
    np.testing.assert_allclose(run.x[-1], x, rtol=1e-6 if dtype == "float32" else 1e-14)
