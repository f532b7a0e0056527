"""The workloads of the benchmarks: the same simulation in sdefast and in the best numpy.

The numpy versions work in place on blocks that fit the cache, draw in the state's own type and use SFC64, numpy's
fastest bit generator; `naive_ou` is what one writes first. They run fewer paths: their time is proportional to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import sdefast as sf

STEPS = 1000
PATHS = 1_000_000
NUMPY_PATHS = 131_072
STORED_PATHS = 100_000
BLOCK = 16_384

OU = sf.OrnsteinUhlenbeck(kappa=1.0, theta=0.5, sigma=1.0)
BLACK_SCHOLES = sf.BlackScholes(mu=0.05, sigma=0.2)
HESTON = sf.Heston(mu=0.05, kappa=2.0, theta=0.04, xi=0.3, rho=-0.7)


@dataclass(frozen=True)
class Workload:
    """A call and the path-steps that it takes."""

    name: str
    group: str
    call: Callable[[], object]
    path_steps: int


def in_sdefast(name: str, group: str, model: sf.Model, x0: object, **options: object) -> Workload:
    settings = {"t1": 1.0, "n_steps": STEPS, "n_paths": PATHS, "seed": 1, "paths": False, "threads": 1, **options}
    path_steps = int(settings["n_paths"]) * STEPS  # type: ignore[call-overload]
    return Workload(name, group, lambda: sf.simulate(model, x0=x0, **settings), path_steps)  # type: ignore[arg-type]


def fastest_rng() -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(1))


def cache_sized_blocks(n_paths: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n_paths)) for start in range(0, n_paths, BLOCK))


def numpy_ou(dtype: str) -> tuple[float, float]:
    """Mean and variance at the end, x <- q x + c + s z in place."""
    rng, h = fastest_rng(), 1.0 / STEPS
    kind = np.dtype(dtype).type
    q, c, s = kind(1 - OU.kappa * h), kind(OU.kappa * OU.theta * h), kind(OU.sigma * np.sqrt(h))
    end = np.empty(NUMPY_PATHS, dtype)
    for block in cache_sized_blocks(NUMPY_PATHS):
        x = end[block]
        x[:] = 1
        z = np.empty_like(x)
        for _ in range(STEPS):
            rng.standard_normal(out=z, dtype=dtype)
            z *= s
            x *= q
            x += c
            x += z
    return float(end.mean(dtype=np.float64)), float(end.var(dtype=np.float64))


def naive_ou() -> tuple[float, float]:
    """What one writes first: whole arrays, float64, the default generator."""
    rng, h = np.random.default_rng(1), 1.0 / STEPS
    x = np.ones(NUMPY_PATHS)
    for _ in range(STEPS):
        x = x + OU.kappa * (OU.theta - x) * h + OU.sigma * np.sqrt(h) * rng.standard_normal(NUMPY_PATHS)
    return float(x.mean()), float(x.var())


def numpy_black_scholes(dtype: str) -> float:
    """Mean at the end, x <- x (1 + a + b z) in place."""
    rng, h = fastest_rng(), 1.0 / STEPS
    kind = np.dtype(dtype).type
    a, b = kind(1 + BLACK_SCHOLES.mu * h), kind(BLACK_SCHOLES.sigma * np.sqrt(h))
    end = np.empty(NUMPY_PATHS, dtype)
    for block in cache_sized_blocks(NUMPY_PATHS):
        x = end[block]
        x[:] = 100
        z = np.empty_like(x)
        for _ in range(STEPS):
            rng.standard_normal(out=z, dtype=dtype)
            z *= b
            z += a
            x *= z
    return float(end.mean(dtype=np.float64))


def numpy_heston(dtype: str) -> float:
    """Mean price at the end, full truncation, in place."""
    rng, h = fastest_rng(), 1.0 / STEPS
    kind, p = np.dtype(dtype).type, HESTON
    root, mu_h, kappa_h, theta, xi = (kind(v) for v in (np.sqrt(h), p.mu * h, p.kappa * h, p.theta, p.xi))
    rho, other = kind(p.rho), kind(np.sqrt(1 - p.rho**2))
    end = np.empty(NUMPY_PATHS, dtype)
    for block in cache_sized_blocks(NUMPY_PATHS):
        s = end[block]
        s[:] = 100
        v = np.full_like(s, 0.04)
        z1, z2, positive, volatility, work = (np.empty_like(s) for _ in range(5))
        for _ in range(STEPS):
            rng.standard_normal(out=z1, dtype=dtype)
            rng.standard_normal(out=z2, dtype=dtype)
            np.maximum(v, 0, out=positive)
            np.sqrt(positive, out=volatility)
            volatility *= root
            z2 *= other
            np.multiply(z1, rho, out=work)
            z2 += work
            z2 *= volatility
            z2 *= xi
            z1 *= volatility
            z1 += mu_h
            z1 *= s
            s += z1
            np.subtract(theta, positive, out=positive)
            positive *= kappa_h
            v += positive
            v += z2
    return float(end.mean(dtype=np.float64))


def numpy_stored(dtype: str) -> np.ndarray:
    """All states of 100,000 paths, each step written in place of its noise."""
    rng, h = fastest_rng(), 1.0 / STEPS
    kind = np.dtype(dtype).type
    q, c, s = kind(1 - OU.kappa * h), kind(OU.kappa * OU.theta * h), kind(OU.sigma * np.sqrt(h))
    x = np.empty((STEPS + 1, STORED_PATHS), dtype)
    x[0] = 1
    work = np.empty(STORED_PATHS, dtype)
    for k in range(STEPS):
        new = x[k + 1]
        rng.standard_normal(out=new, dtype=dtype)
        new *= s
        np.multiply(x[k], q, out=work)
        work += c
        new += work
    return x


def in_numpy(name: str, group: str, call: Callable[[], object], n_paths: int = NUMPY_PATHS) -> Workload:
    return Workload(name, group, call, n_paths * STEPS)


#: (sdefast, numpy) pairs; what is asked of the ratio of their speeds.
PAIRS: list[tuple[Workload, Workload, float]] = [
    (
        in_sdefast("OU, float32", "ou-float32", OU, 1.0, dtype="float32"),
        in_numpy("numpy float32", "ou-float32", lambda: numpy_ou("float32")),
        30.0,
    ),
    (
        in_sdefast("Black-Scholes, float32", "bs-float32", BLACK_SCHOLES, 100.0, dtype="float32"),
        in_numpy("numpy float32", "bs-float32", lambda: numpy_black_scholes("float32")),
        30.0,
    ),
    (
        in_sdefast("Heston, float32", "heston-float32", HESTON, (100.0, 0.04), dtype="float32"),
        in_numpy("numpy float32", "heston-float32", lambda: numpy_heston("float32")),
        28.0,
    ),
    (
        in_sdefast("OU, float64", "ou-float64", OU, 1.0, dtype="float64"),
        in_numpy("numpy float64", "ou-float64", lambda: numpy_ou("float64")),
        11.0,
    ),
    (
        in_sdefast("OU, float64 on float32 noise", "ou-mixed", OU, 1.0, dtype="float64", noise_dtype="float32"),
        in_numpy("numpy float64", "ou-mixed", lambda: numpy_ou("float64")),
        20.0,
    ),
    (
        in_sdefast(
            "OU, float32, all states stored",
            "ou-stored",
            OU,
            1.0,
            dtype="float32",
            save_at="all",
            paths=True,
            n_paths=STORED_PATHS,
        ),
        in_numpy("numpy float32", "ou-stored", lambda: numpy_stored("float32"), STORED_PATHS),
        12.0,
    ),
]

#: (sdefast, sdefast) pairs: the first against the second.
SELF_PAIRS: list[tuple[Workload, Workload, float]] = [
    (
        in_sdefast(
            "OU, float32, mean and variance at every time", "ou-every-time", OU, 1.0, dtype="float32", save_at="all"
        ),
        in_sdefast("OU, float32, at the end", "ou-every-time", OU, 1.0, dtype="float32"),
        1 / 1.2,
    ),
    (
        in_sdefast("OU, float32, two threads", "ou-threads", OU, 1.0, dtype="float32", threads=2),
        in_sdefast("OU, float32, one thread", "ou-threads", OU, 1.0, dtype="float32"),
        1.9,
    ),
]
