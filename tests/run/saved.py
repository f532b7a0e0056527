"""Runs of all kinds for the tests of files: what was asked of them, so that they can be cut and put together."""

import math

import numpy as np
from conftest import MODELS
from sde.equations import EQUATIONS

import sdefast as sf

rng = np.random.default_rng(5)
X = rng.standard_normal((23, 3)) @ [[1.0, 0.2, 0.0], [0.0, 0.7, 0.1], [0.3, 0.0, 0.5]]
Y = X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(23)
STAR = [0.3, -0.2, 1.0]
GRID = {"t1": 1.0, "n_steps": 4}


def helper(value, rate):
    """A function that the drift calls."""
    return rate * value if value > 0.5 else math.sin(value)


def _drift(t, x, p):
    for i in range(2):
        if x[i] < -2.0:
            return helper(x[0], p.rate), -x[1] + 0.1 * t
    return -helper(x[1], p.rate), max(x[0], -x[1]) ** 3 - x[1]


#: a user's equation with branches, a loop, a helper function, parameters and a number that is closed over
SCALE = 0.3
BRANCHES = sf.SDE(_drift, lambda t, x, p: (SCALE * math.cos(x[1]), 0.2 * x[1]), dim=2, params={"rate": 0.7})

#: everything that can be asked of a run that does not say what happens to its paths
GATHERED = {
    "save_at": "all", "moments": 4, "extremes": True, "covariance": True, "histogram": (-2.0, 2.0, 8),
    "expectations": {"square": lambda t, x: x[0] ** 2, "above": lambda t, x: x[0] > SCALE},
}  # fmt: skip

#: everything that can happen to paths
HAPPENS = {
    "functionals": {
        "top": sf.functionals.running_max(), "low": sf.functionals.running_min(1, bridge=False),
        "average": sf.functionals.time_average(lambda t, x, p: p.rate * x[0] * x[1]),
        "hit": sf.functionals.first_passage(1.3),
    },
    "boundary": [sf.boundaries.absorb(lower=-1.5, component=1), sf.boundaries.reflect(upper=1.6)],
    "stop_when": lambda t, x, p, y: (y.top > 1.55) | (x[1] > 1.0),
}  # fmt: skip


def _loss(t, x):
    return sf.math.sum(lambda row, y: (y - sf.math.dot(row, x)) ** 2, X, Y)


def _uphill(t, x, p):
    """A sum over the rows of data, which travel with it."""
    return sf.math.sum(lambda row, y: tuple(0.01 * r * (y - sf.math.dot(row, x)) for r in row), X, Y)


def _asked(t, x, p, y):
    return y.average + max(x[0] - SCALE, 0.0) * p.rate


#: name -> model and arguments, without those that say how many paths
SIMULATIONS = {
    "everything": (
        BRANCHES,
        GRID | GATHERED | HAPPENS | {
            "x0": (1.0, 0.5), "expectations": {"asked": _asked, "top": lambda t, x, p, y: y.top},
            "controls": {"time": (lambda t, x: t, lambda t: 1.0 * t), "one": (lambda t, x: 1.0, 1.0)},
        },
    ),
    "antithetic": (
        BRANCHES, GRID | HAPPENS | {"x0": (1.0, 0.5), "antithetic": True, "save_at": 2, "expectations": {"a": _asked}},
    ),
    "brownian": (MODELS["brownian"][0], GRID | GATHERED | {"x0": 0.5, "method": "exact"}),
    "ou": (MODELS["ou"][0], GRID | {"x0": 1.5, "dtype": "float32", "save_at": 2, "first_chain": 8192}),
    "black-scholes": (MODELS["black-scholes"][0], GRID | {"x0": 2.0, "method": "exact", "noise_dtype": "float32"}),
    "cir": (MODELS["cir"][0], GRID | {"x0": 1.0, "antithetic": True}),
    "cev": (MODELS["cev"][0], GRID | {"x0": 2.0, "method": "milstein"}),
    "heston": (MODELS["heston"][0], GRID | GATHERED | {"x0": (2.0, 0.6)}),
    "double-well": (MODELS["double-well"][0], GRID | {"x0": -1.0, "t0": 0.25, "save_at": [0.25, 1.0]}),
    "linear": (MODELS["linear"][0], GRID | {"x0": (1.0, -1.0, 0.5), "method": "exact", "covariance": True}),
    "general": (EQUATIONS["general"][0], {"x0": (0.5, -0.2), "times": [0.0, 0.1, 0.3, 0.7, 1.0], "method": "heun"}),
    "additive": (EQUATIONS["additive"][0], GRID | {"x0": (0.5, -0.2), "method": "exponential-euler"}),
    "data": (
        sf.SDE(_uphill, lambda t, x, p: (0.1, 0.2, 0.3), dim=3),
        GRID | {"x0": STAR, "expectations": {"loss": _loss}},
    ),
    "signs": (EQUATIONS["diagonal"][0], GRID | {"x0": (1.0, 0.3), "method": "weak2"}),
}  # fmt: skip

#: name -> problem and arguments, without those that say how many runs
DESCENTS = {
    "isotropic": (
        sf.LeastSquares(STAR, 0.1), {"step_size": 0.1, "histogram": (-2.0, 2.0, 8), "covariance": True, "runs": 2},
    ),
    "correlated": (
        sf.LeastSquares(STAR, 0.1, covariance=X.T @ X / 23),
        {"step_size": 0.1, "moments": True, "runs": [1, 3], "coordinates": [2, 0], "batch_size": 2},
    ),
    "per parameter": (
        sf.LeastSquares(STAR, 0.1, covariance=X.T @ X / 23), {"step_size": [[0.1, 0.05, 0.2]], "dtype": "float32"},
    ),
    "uniform": (
        sf.LeastSquares(STAR, 0.1, inputs=sf.inputs.Uniform(-1.0, 2.0)),
        {"step_size": lambda k: 0.1 / (k + 1), "averaging": "polyak-ruppert", "noise_dtype": "float32"},
    ),
    "student": (sf.LeastSquares(STAR, 0.1, inputs=sf.inputs.Student(9.0)), {"step_size": 0.05, "save_at": 2}),
    "data": (sf.LeastSquares(data=(X, Y)), {"step_size": 0.1, "averaging": "polyak-ruppert", "theta0": [1.0, 2.0, 3]}),
    "shuffled": (sf.LeastSquares(data=(X, Y)), {"step_size": 0.1, "sampling": "shuffle", "batch_size": 5}),
    "reduced": (sf.LeastSquares([0.1] * 30, 0.1), {"step_size": 0.01, "reduced": True, "batch_size": 9}),
    "gaussian": (sf.LeastSquares(STAR, 0.1, covariance=X.T @ X / 23), {"step_size": 0.1, "noise": "gaussian"}),
    "isotropic noise": (sf.LeastSquares(data=(X, Y)), {"step_size": 0.1, "noise": "isotropic"}),
}  # fmt: skip
for _, _call in DESCENTS.values():
    _call["n_steps"] = 6
