"""Every scheme compiled, for user equations and built-in models, against the same step in numpy on equal noise."""

import math

import numpy as np
import pytest
from conftest import MODELS
from schemes.numpy_step import NumpyStep

import sdefast as sf
from sdefast import noise
from sdefast.schemes import SCHEMES

NAMES = [name for name, scheme in SCHEMES.items() if scheme.step is not None]

#: equations with a start; linear= is for the exponential scheme
EQUATIONS = {
    "scalar": (
        sf.SDE(
            lambda t, x, p: (p.a * math.sin(t) * x[1], -x[0] - x[1] ** 3),
            lambda t, x, p: (0.3 * x[0], 0.2),
            dim=2,
            noise="scalar",
            params={"a": 0.7},
            linear=[-0.5, -1.0],
        ),
        (0.8, -0.4),
    ),
    "diagonal": (
        sf.SDE(
            lambda t, x, p: (x[1], p.mu * (1 - x[0] ** 2) * x[1] - x[0]),
            lambda t, x, p: (0.3 + 0.2 * math.cos(x[0]), 0.4 * math.tanh(x[1])),
            dim=2,
            params={"mu": 1.0},
            linear=[[0.0, 1.0], [-1.0, 1.0]],
        ),
        (1.0, 0.3),
    ),
    "additive": (
        sf.SDE(
            lambda t, x, p: (-x[0] + x[1], math.exp(-(x[0] ** 2)) - x[1]),
            lambda t, x, p: ((0.4, 0.1 * t, 0.0), (0.2, 0.0, 0.3)),
            dim=2,
            noise="additive",
            noise_dim=3,
            linear=[-1.0, -1.0],
        ),
        (0.5, -0.2),
    ),
    "general": (
        sf.SDE(
            lambda t, x, p: (-x[0], -x[1]),
            lambda t, x, p: ((0.4 + 0.1 * x[1], 0.2), (0.1, 0.3 * math.sin(x[0]))),
            dim=2,
            noise="general",
            noise_dim=2,
            calculus="stratonovich",
            linear=[-1.0, -1.0],
        ),
        (0.5, -0.2),
    ),
}


def taken(name, sde):
    """Whether a scheme takes an equation; what it refuses is tested in tests/schemes."""
    try:
        NumpyStep(SCHEMES[name], sde)
    except ValueError:  # from the scheme's own check
        return False
    return sde.noise in SCHEMES[name].noises


RUNS = [(name, equation) for name in NAMES for equation in EQUATIONS if taken(name, EQUATIONS[equation][0])]
BUILT_IN = [(name, model) for name in NAMES for model in MODELS if taken(name, MODELS[model][0].sde())]


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


def test_no_scheme_is_left_out():
    assert {name for name, _ in RUNS} == set(NAMES)
    assert len(BUILT_IN) > 80


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "equation"), RUNS)
def test_equations(name, equation, dtype):
    sde, x0 = EQUATIONS[equation]
    compare(name, sde, sde, x0, dtype)


@pytest.mark.parametrize(("name", "model"), BUILT_IN)
def test_built_in_models(name, model):
    model, x0 = MODELS[model]
    compare(name, model, model.sde(), x0, "float64")
