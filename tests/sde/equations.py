"""Equations of every kind of noise, and which scheme takes which of them and of the built-in models."""

import math

from conftest import MODELS
from sde.schemes.numpy_step import NumpyStep

import sdefast as sf
from sdefast.sde import functionals
from sdefast.sde import settings as sde_settings
from sdefast.sde.schemes import SCHEMES
from sdefast.sde.sde import sde_of

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
#: the same in both types; and every one in one type or the other
IN_A_TYPE = [(*run, dtype) for run in RUNS for dtype in ("float32", "float64")]
IN_ONE_TYPE = [(*run, ("float32", "float64")[i % 2]) for i, run in enumerate(RUNS)]


def some(runs, shift=0):
    """One of each scheme's runs, of changing equations or models."""
    runs_of = [[run for run in runs if run[0] == name] for name in NAMES]
    return [own[(i + shift) % len(own)] for i, own in enumerate(runs_of)]


#: every scheme in one type on one equation, and every kind of noise
FEW_RUNS = some(IN_ONE_TYPE)
BUILT_IN = [(name, model) for name in NAMES for model in MODELS if taken(name, sde_of(MODELS[model][0]))]

#: what may be followed along a path of one component
FUNCTIONALS = {
    "top": functionals.running_max(),
    "average": functionals.time_average(lambda t, x: x[0] ** 2),
    "hit": functionals.first_passage(1.6),
}


def noisy(m):
    """An equation that draws m normals a step."""
    return sf.SDE(
        lambda t, x, p: -x[0], lambda t, x, p: [[0.1 * (j + 1) for j in range(m)]], noise="additive", noise_dim=m
    )


def _long_drift(t, x, p):
    y = x[0]
    for i in range(12):
        y = math.sin(y) - 0.1 * i * y
    return y - x[0]


#: an equation whose step is long
LONG = sf.SDE(_long_drift, lambda t, x, p: 0.3)


def chain_of(s):
    """In place of `sde_settings.chain_of`: built-in models by their equation in Python code, as on a GPU."""
    linear = isinstance(s.model, sf.LinearSDE) and not s.extras.change_step
    return None if linear else sde_settings.compiled_chain(s.model, s.method, s.extras)
