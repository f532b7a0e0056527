"""Annealed Langevin on 25 modes in the plane, in sdefast and in the best numpy; steps of a network's score.

The numpy version lies as structure of arrays, works in place on blocks that fit the cache and draws in the state's own
type with SFC64; logarithms of the weights are one matrix product. Blocks of 256 to 16384 chains, and squares in place
of the product, were tried: these are the fastest. (What one writes first, whole arrays of chains by components, takes 8
to 17 times longer.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from workloads import Workload, fastest_rng

import sdefast as sf
from sdefast import _core

LEVELS, STEPS_PER_LEVEL, STEP_SIZE = 10, 100, 1e-4
CHAINS, NUMPY_CHAINS, NUMPY_BLOCK = 100_000, 16_384, 8192

SIGMAS = sf.geometric_sigmas(10.0, 0.1, LEVELS)
MEANS = np.array([(a, b) for a in range(-4, 5, 2) for b in range(-4, 5, 2)], float)
VARIANCE = 0.01
MODES = sf.targets.GaussianMixture(np.full(25, 1 / 25), MEANS, VARIANCE)

#: Samples and layers of the network, and how many steps of it are timed.
SAMPLES, WIDTH, NETWORK_STEPS = 100_000, 128, 50


def in_sdefast(dtype: str) -> Workload:
    def call() -> object:
        return sf.annealed_langevin(
            MODES, sigmas=SIGMAS, step_size=STEP_SIZE, steps_per_level=STEPS_PER_LEVEL, n_chains=CHAINS, dtype=dtype,
            paths=False, final_states=False, denoise=False, seed=1, threads=1,
        )  # fmt: skip

    steps = CHAINS * LEVELS * STEPS_PER_LEVEL
    return Workload(f"annealed Langevin, 25 modes, {dtype}", f"annealed, {dtype}", call, steps)


def numpy_annealed(dtype: str, block: int = NUMPY_BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance at the end."""
    rng, kind = fastest_rng(), np.dtype(dtype).type
    end = np.empty((2, NUMPY_CHAINS), dtype)
    means = MEANS.T.astype(dtype)
    logs, z, pulled = np.empty((25, block), dtype), np.empty((2, block), dtype), np.empty((2, block), dtype)
    largest, x = np.empty(block, dtype), np.empty((2, block), dtype)
    for start in range(0, NUMPY_CHAINS, block):
        rng.standard_normal(out=x, dtype=dtype)
        x *= kind(SIGMAS[0])
        for sigma in SIGMAS:
            h, precision = STEP_SIZE * (sigma / SIGMAS[-1]) ** 2, 1 / (VARIANCE + sigma**2)
            slopes = (precision * MEANS).astype(dtype)
            heights = (-precision / 2 * (MEANS**2).sum(axis=1)).astype(dtype)[:, None]
            keep, towards, noise = kind(1 - h * precision), kind(h * precision), kind(np.sqrt(2 * h))
            for _ in range(STEPS_PER_LEVEL):
                np.matmul(slopes, x, out=logs)
                logs += heights
                np.max(logs, axis=0, out=largest)
                logs -= largest
                np.exp(logs, out=logs)
                np.matmul(means, logs, out=pulled)
                np.sum(logs, axis=0, out=largest)
                pulled /= largest
                pulled *= towards
                rng.standard_normal(out=z, dtype=dtype)
                z *= noise
                x *= keep
                x += pulled
                x += z
        end[:, start : start + block] = x
    return end.mean(axis=1, dtype=float), end.var(axis=1, dtype=float)


def in_numpy(dtype: str) -> Workload:
    steps = NUMPY_CHAINS * LEVELS * STEPS_PER_LEVEL
    return Workload(f"numpy {dtype}", f"annealed, {dtype}", lambda: numpy_annealed(dtype), steps)


#: (sdefast, numpy) pairs; what is asked of the ratio of their speeds.
SAMPLING_PAIRS: list[tuple[Workload, Workload, float]] = [
    (in_sdefast(dtype), in_numpy(dtype), 8.5) for dtype in ("float32", "float64")
]


# A network ------------------------------------------------------------------------------------------------------------


def network() -> Any:
    """A score with two hidden layers, in torch."""
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(2, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, 2),
    )  # fmt: skip
    return layers.eval()


def sample_network(chunk: int, score: Callable[..., Any]) -> object:
    target = sf.targets.BatchTarget(score, dim=2, chunk=chunk, arrays="torch")
    return sf.langevin(
        target, step_size=1e-3, n_steps=NETWORK_STEPS, n_chains=SAMPLES, dtype="float32", seed=1, paths=False,
        final_states=False,
    )  # fmt: skip


def network_workload(chunk: int) -> Workload:
    score = network()
    name = f"network of 2 x {WIDTH}, chunks of {chunk}"
    return Workload(name, "network", lambda: sample_network(chunk, score), SAMPLES * NETWORK_STEPS)


def shares(chunk: int = 2048) -> tuple[float, float]:
    """Of the time of a run's steps: the part of the updates, and that of everything that is not the network."""
    import torch

    inner, spent = network(), {"network": 0.0, "update": 0.0}

    def timed(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments)
        spent[name] += time.perf_counter() - start
        return result

    steps, x = _core.ScoreSteps(1, 0, chunk, 2, False, True), np.zeros((chunk, 2), np.float32)
    with torch.no_grad():
        for k in range(NETWORK_STEPS + 10):
            if k == 10:
                spent.update(network=0.0, update=0.0)
            score = timed("network", inner, torch.from_numpy(x))
            timed("update", steps.step, x, score.numpy(), 1e-3, 0.04, k)
    update = spent["update"] / (spent["update"] + spent["network"])
    sample_network(chunk, inner)
    spent["network"] = 0.0
    start = time.perf_counter()
    sample_network(chunk, lambda x: timed("network", inner, x))
    return update, 1 - spent["network"] / (time.perf_counter() - start)
