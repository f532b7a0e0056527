"""SGD on least squares, streamed, with the error at every iteration: in sdefast, in the best numpy and in torch.

The numpy version keeps one array a parameter (structure of arrays), works in place on blocks that fit the cache, and
draws in the state's own type with SFC64; the torch version works in place on one thread.
"""

from __future__ import annotations

import numpy as np
from workloads import STEPS, Workload, fastest_rng

import sdefast as sf

RUNS, NUMPY_RUNS, STEP_SIZE = 100_000, 16_384, 0.01
NUMPY_BLOCK = 2048

FIVE = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
MANY = sf.LeastSquares(theta_star=np.linspace(-1.0, 1.0, 64), noise_std=0.1)


def in_sdefast(problem: sf.LeastSquares, dtype: str, runs: int, noise_dtype: str | None = None) -> Workload:
    step = STEP_SIZE if problem is FIVE else STEP_SIZE / 4
    name = f"SGD, d = {problem.dim}, {dtype}" + (f" on {noise_dtype} noise" if noise_dtype else "")

    def call() -> object:
        return sf.sgd(
            problem, step_size=step, n_steps=STEPS, n_runs=runs, seed=1, dtype=dtype, noise_dtype=noise_dtype, threads=1
        )

    return Workload(name, f"SGD d={problem.dim}, {dtype}", call, runs * STEPS)


def numpy_sgd(problem: sf.LeastSquares, dtype: str, runs: int) -> np.ndarray:
    """Mean squared error at every iteration."""
    rng, d, kind = fastest_rng(), problem.dim, np.dtype(dtype).type
    sigma, gamma = kind(problem.noise_std), kind(STEP_SIZE)
    error = np.zeros(STEPS)
    for _ in range(runs // NUMPY_BLOCK):
        delta = np.empty((d, NUMPY_BLOCK), dtype)
        delta[:] = -problem.theta_star[:, None]
        x, work = np.empty_like(delta), np.empty_like(delta)
        residual = np.empty(NUMPY_BLOCK, dtype)
        for k in range(STEPS):
            rng.standard_normal(out=x, dtype=dtype)
            rng.standard_normal(out=residual, dtype=dtype)
            residual *= sigma
            np.multiply(x, delta, out=work)
            residual -= np.add.reduce(work, axis=0)
            residual *= gamma
            x *= residual
            delta += x
            error[k] += np.vdot(delta, delta)
    return error / runs


def torch_sgd(problem: sf.LeastSquares, dtype: str, runs: int) -> object:
    """The same in torch, in place."""
    import torch

    torch.set_num_threads(1)
    kind = getattr(torch, dtype)
    delta = -torch.as_tensor(problem.theta_star, dtype=kind)[:, None].repeat(1, runs)
    x, residual, error = torch.empty_like(delta), torch.empty(runs, dtype=kind), torch.zeros(STEPS)
    for k in range(STEPS):
        x.normal_()
        residual.normal_()
        residual.mul_(problem.noise_std).sub_((x * delta).sum(0)).mul_(STEP_SIZE)
        delta.add_(x.mul_(residual))
        error[k] = (delta * delta).sum() / runs
    return error


def of_numpy(problem: sf.LeastSquares, dtype: str, runs: int) -> Workload:
    name, group = f"SGD, d = {problem.dim}, numpy {dtype}", f"SGD d={problem.dim}, {dtype}"
    return Workload(name, group, lambda: numpy_sgd(problem, dtype, runs), runs // NUMPY_BLOCK * NUMPY_BLOCK * STEPS)


def of_torch(problem: sf.LeastSquares, dtype: str, runs: int) -> Workload:
    name, group = f"SGD, d = {problem.dim}, torch {dtype}", f"SGD d={problem.dim}, {dtype}"
    return Workload(name, group, lambda: torch_sgd(problem, dtype, runs), runs * STEPS)


#: ours, the other, and the ratio that is wanted
SGD_PAIRS = [
    (in_sdefast(FIVE, "float64", RUNS), of_numpy(FIVE, "float64", NUMPY_RUNS), 12.0),
    (in_sdefast(FIVE, "float64", RUNS, "float32"), of_numpy(FIVE, "float64", NUMPY_RUNS), 12.0),
    (in_sdefast(FIVE, "float32", RUNS), of_torch(FIVE, "float32", NUMPY_RUNS), 8.0),
    (in_sdefast(MANY, "float64", 4096), of_numpy(MANY, "float64", 2048), 11.0),
]
