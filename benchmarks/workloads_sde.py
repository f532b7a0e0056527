"""The workloads of user SDEs: against the same thing built in, against numpy, and two-point noise against Gaussian."""

from __future__ import annotations

import math
import os
import time
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
from workloads import (
    HESTON,
    NUMPY_PATHS,
    OU,
    PATHS,
    STEPS,
    Workload,
    cache_sized_blocks,
    fastest_rng,
    in_numpy,
    in_sdefast,
)

import sdefast as sf
from sdefast.sde.sde import sde_of

USER_OU = sf.SDE(
    drift=lambda t, x, p: p.kappa * (p.theta - x[0]),
    diffusion=lambda t, x, p: p.sigma,
    params={"kappa": 1.0, "theta": 0.5, "sigma": 1.0},
)

VAN_DER_POL = sf.SDE(
    drift=lambda t, x, p: (x[1], p.mu * (1 - x[0] ** 2) * x[1] - x[0]),
    diffusion=lambda t, x, p: (p.s, p.s),
    dim=2,
    params={"mu": 1.0, "s": 0.2},
)

#: exp, sin and tanh in the drift
DRIVEN_PENDULUM = sf.SDE(
    drift=lambda t, x, p: (x[1], -math.sin(x[0]) - math.tanh(x[1]) + 0.5 * math.exp(-x[0] * x[0])),
    diffusion=lambda t, x, p: (0.0, p.s),
    dim=2,
    params={"s": 0.3},
)


def numpy_pendulum(dtype: str) -> float:
    """The same in place, in blocks that fit the cache."""
    rng, h = fastest_rng(), 1.0 / STEPS
    kind = np.dtype(dtype).type
    step, scale = kind(h), kind(0.3 * np.sqrt(h))
    end = np.empty(NUMPY_PATHS, dtype)
    for block in cache_sized_blocks(NUMPY_PATHS):
        x = end[block]
        x[:] = 1
        v, z, push, work = np.zeros_like(x), np.empty_like(x), np.empty_like(x), np.empty_like(x)
        for _ in range(STEPS):
            np.multiply(x, x, out=push)
            np.negative(push, out=push)
            np.exp(push, out=push)
            push *= kind(0.5)
            push -= np.sin(x, out=work)
            push -= np.tanh(v, out=work)
            push *= step
            rng.standard_normal(out=z, dtype=dtype)
            z *= scale
            push += z
            np.multiply(v, step, out=work)
            x += work
            v += push
    return float(end.mean(dtype=np.float64))


def naive_pendulum(dtype: str) -> float:
    """What one writes first: whole arrays, the default generator."""
    rng, h = np.random.default_rng(1), np.dtype(dtype).type(1.0 / STEPS)
    x, v = np.ones(NUMPY_PATHS, dtype), np.zeros(NUMPY_PATHS, dtype)
    scale = np.dtype(dtype).type(0.3 * np.sqrt(1.0 / STEPS))
    for _ in range(STEPS):
        push = (-np.sin(x) - np.tanh(v) + np.dtype(dtype).type(0.5) * np.exp(-x * x)) * h
        x, v = x + v * h, v + push + scale * rng.standard_normal(NUMPY_PATHS, dtype=dtype)
    return float(x.mean(dtype=np.float64))


#: a leaky integrate-and-fire neuron, which fires some 35 times
NEURON = sf.SDE(
    drift=lambda t, v, p: (p.drive - v[0]) / p.tau,
    diffusion=lambda t, v, p: p.sigma,
    params={"drive": 1.2, "tau": 0.02, "sigma": 3.5},
)
SPIKE = sf.events.reset(when=lambda t, v: v[0] >= 1.0, to=lambda t, v: 0.0)


def numpy_neuron(dtype: str) -> float:
    """The same in place, in blocks that fit the cache; spikes are looked for at the steps alone."""
    rng, kind = fastest_rng(), np.dtype(dtype).type
    rate, pull, scale = kind(1.0 / STEPS / 0.02), kind(1.2 / STEPS / 0.02), kind(3.5 / STEPS**0.5)
    counts = np.zeros(NUMPY_PATHS, dtype)
    for block in cache_sized_blocks(NUMPY_PATHS):
        count = counts[block]
        v, z, work = (np.zeros_like(count) for _ in range(3))
        for _ in range(STEPS):
            rng.standard_normal(out=z, dtype=dtype)
            z *= scale
            z += pull
            np.multiply(v, rate, out=work)
            v -= work
            v += z
            np.greater_equal(v, 1, out=work)
            count += work
            v[work > 0] = 0
    return float(counts.mean(dtype=np.float64))


def _pair(name: str, group: str, dtype: str, model: sf.Model, other: sf.Model, x0: object) -> tuple[Workload, ...]:
    user = in_sdefast(f"{name}, {dtype}", f"{group}-{dtype}", model, x0, dtype=dtype)
    return user, in_sdefast("built in", f"{group}-{dtype}", other, x0, dtype=dtype)


TYPES = ("float32", "float64")

#: (sdefast, other) pairs; what is asked of the ratio of their speeds.
#: a rate of every day of the year, evenly far apart and not
DAYS = np.linspace(0.0, 1.0, 366)
UNEVEN_DAYS = np.concatenate([[0.0], np.sort(np.random.default_rng(1).uniform(0.0, 1.0, 364)), [1.0]])
DAILY = 0.1 * np.random.default_rng(2).normal(size=366)

#: a rate of every path, and the same for all
PATHS_OWN = np.linspace(0.0, 0.1, PATHS)
RATES = np.linspace(0.0, 0.1, 50)


def growth(rate: float | np.ndarray) -> sf.SDE:
    return sf.SDE(
        drift=lambda t, x, p: p.rate * x[0], diffusion=lambda t, x, p: p.s * x[0], params={"rate": rate, "s": 0.2}
    )


def daily_growth(days: np.ndarray) -> sf.SDE:
    return sf.SDE(
        drift=lambda t, x, p: np.interp(t, days, DAILY) * x[0], diffusion=lambda t, x, p: p.s * x[0], params={"s": 0.2}
    )


def over_rates(dtype: str) -> Workload:
    """50 cells of as many paths together as one run has."""
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": STEPS, "n_paths": PATHS // 50, "seed": 1, "threads": 1, "dtype": dtype}
    return Workload(
        f"a sweep of 50 rates, {dtype}", f"sweep-{dtype}", lambda: sf.sweep(growth(0.05), {"rate": RATES}, **settings),
        PATHS // 50 * 50 * STEPS,
    )  # fmt: skip


SDE_PAIRS: list[tuple[Workload, Workload, float]] = [
    *((*_pair("user's OU", "user-ou", dtype, USER_OU, OU, 1.0), 1 / 1.2) for dtype in TYPES),
    *((*_pair("user's Heston", "user-heston", d, sde_of(HESTON), HESTON, (100.0, 0.04)), 1 / 1.2) for d in TYPES),
    *(
        (
            in_sdefast(f"exp, sin, tanh, {d}, {kind} numpy", f"pendulum-{d}", DRIVEN_PENDULUM, (1.0, 0.0), dtype=d),
            in_numpy(f"numpy {d}", f"pendulum-{d}", lambda d=d, call=call: call(d)),
            10.0,
        )
        for call, kind in ((numpy_pendulum, "best"), (naive_pendulum, "naive"))
        for d in TYPES
    ),
    *(
        (
            in_sdefast(
                f"Merton's jumps, one a unit of time, {d}", f"jumps-{d}", sf.Merton(intensity=1.0), 1.0, dtype=d
            ),
            in_sdefast("Black-Scholes", f"jumps-{d}", sf.BlackScholes(), 1.0, dtype=d),
            1 / 2,
        )
        for d in TYPES
    ),
    *(
        (
            in_sdefast(f"neuron, {d}", f"neuron-{d}", NEURON, 0.0, dtype=d, events={"spike": SPIKE}),
            in_numpy(f"numpy {d}", f"neuron-{d}", lambda d=d: numpy_neuron(d)),
            1.5,
        )
        for d in TYPES
    ),
    *(
        (
            in_sdefast(f"OU, two-point noise, {d}", f"signs-{d}", USER_OU, 1.0, dtype=d, method="weak-euler"),
            in_sdefast("Gaussian", f"signs-{d}", USER_OU, 1.0, dtype=d),
            6.0,
        )
        for d in TYPES
    ),
    *((*_pair("a rate of every path", "own-rates", d, growth(PATHS_OWN), growth(0.05), 1.0), 1 / 1.15) for d in TYPES),
    *((*_pair("366 days in a table", "table", d, daily_growth(DAYS), growth(0.05), 1.0), 1 / 1.3) for d in TYPES),
    *((*_pair("366 uneven knots", "uneven", d, daily_growth(UNEVEN_DAYS), growth(0.05), 1.0), 1 / 1.3) for d in TYPES),
    *((over_rates(d), in_sdefast("one run", f"sweep-{d}", growth(0.05), 1.0, dtype=d), 1 / 1.2) for d in TYPES),
]


def compile_seconds(method: str, number: int) -> float:
    """What the first run of a new function takes beyond the run, nothing found in the kernel cache."""
    model = sf.SDE(
        drift=lambda t, x, p: (x[1], p.mu * (number - x[0] ** 2) * x[1] - x[0]),
        diffusion=lambda t, x, p: (p.s, p.s),
        dim=2,
        params={"mu": 1.0, "s": 0.2},
    )
    with TemporaryDirectory() as folder, mock.patch.dict(os.environ, SDEFAST_CACHE_DIR=folder):
        start = time.perf_counter()
        sf.simulate(model, x0=(1.0, 0.0), t1=1.0, n_steps=10, n_paths=10, seed=1, method=method)
        return time.perf_counter() - start
