"""Every scheme compiled, for user equations and built-in models, against the same step in numpy on equal noise."""

import numpy as np
import pytest
from conftest import MODELS, thorough_but
from sde.equations import BUILT_IN, EQUATIONS, FEW_RUNS, IN_A_TYPE, NAMES, RUNS, some
from sde.schemes.numpy_step import NumpyStep

import sdefast as sf
from sdefast import noise
from sdefast.sde.schemes import SCHEMES
from sdefast.sde.sde import sde_of


def compare(name, model, sde, x0, dtype):
    n_steps, n_paths, t0, h = 23, 70, 0.25, 1 / 64
    step = NumpyStep(SCHEMES[name], sde)
    settings = {"t0": t0, "t1": t0 + n_steps * h, "n_steps": n_steps, "n_paths": n_paths, "seed": 5, "first_chain": 9}
    run = sf.simulate(model, x0=x0, method=name, dtype=dtype, save_at="all", **settings)
    draw = noise.signs if SCHEMES[name].draws == "signs" else noise.normals
    draws = draw(5, n_steps * step.n_draws, n_paths, first_chain=9, dtype=dtype).astype(float)
    draws = draws.reshape(n_steps, step.n_draws, n_paths).transpose(0, 2, 1)
    x, eps = np.broadcast_to(np.asarray(x0, float), (n_paths, sde.dim)), float(np.finfo(dtype).eps)
    for k in range(n_steps):
        x = step(t0 + k * h, h, x, draws[k])
        # A step is some tens of roundings of numbers not much larger than the state.
        assert np.abs(run.x[k + 1] - x).max() <= 40 * eps * (k + 1) * (np.abs(x).max() + 1), k
    assert np.abs(run.x[-1] - np.asarray(x0)).max() > 0.01


#: run whenever tests are: every scheme, every model
SOME_BUILT_IN = [*some(BUILT_IN, 3), ("euler-maruyama", "linear")]


def test_no_scheme_is_left_out():
    assert {name for name, *_ in RUNS} == {name for name, *_ in FEW_RUNS} == set(NAMES)
    assert {equation for _, equation, _ in FEW_RUNS} == set(EQUATIONS)
    assert {dtype for *_, dtype in FEW_RUNS} == {"float32", "float64"}
    assert {name for name, _ in SOME_BUILT_IN} == {name for name, _ in BUILT_IN}
    assert {model for _, model in SOME_BUILT_IN} == set(MODELS)
    assert len(BUILT_IN) > 80


@pytest.mark.parametrize(("name", "equation", "dtype"), thorough_but(FEW_RUNS, IN_A_TYPE))
def test_equations(name, equation, dtype):
    sde, x0 = EQUATIONS[equation]
    compare(name, sde, sde, x0, dtype)


@pytest.mark.parametrize(("name", "model"), thorough_but(SOME_BUILT_IN, BUILT_IN))
def test_built_in_models(name, model):
    model, x0 = MODELS[model]
    compare(name, model, sde_of(model), x0, "float64")
