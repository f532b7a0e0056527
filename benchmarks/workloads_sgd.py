"""SGD on least squares, streamed, with the error at every iteration: in sdefast, in the best numpy and in torch.

The numpy version keeps one array a parameter (structure of arrays), works in place on blocks that fit the cache, and
draws in the state's own type with SFC64; the torch version works in place on one thread. Block sizes and ways to take
products are the fastest of those that were tried on an EPYC of the fourth generation: blocks of 256 to 16384 runs; in
numpy einsum, sums of products, parameter by parameter, and arrays of runs by parameters. Of numpy's time more than
three quarters is drawing normals, so that little depends on the rest.
"""

from __future__ import annotations

import numpy as np
from workloads import STEPS, Workload, fastest_rng

import sdefast as sf

RUNS, NUMPY_RUNS, STEP_SIZE = 100_000, 16_384, 0.01

#: Runs that numpy takes at once, by the number of parameters.
NUMPY_BLOCKS = {5: 8192, 64: 512, 100: 512}

FIVE = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
MANY = sf.LeastSquares(theta_star=np.linspace(-1.0, 1.0, 64), noise_std=0.1)
HUNDRED = sf.LeastSquares(theta_star=np.linspace(-1.0, 1.0, 100), noise_std=0.1)


def step_size_of(problem: sf.LeastSquares) -> float:
    return STEP_SIZE if problem is FIVE else STEP_SIZE / 4


def in_sdefast(
    problem: sf.LeastSquares, dtype: str, runs: int, noise_dtype: str | None = None, reduced: bool = False
) -> Workload:
    name = f"SGD, d = {problem.dim}, {dtype}" + (f" on {noise_dtype} noise" if noise_dtype else "")
    name += ", reduced chain" if reduced else ""

    def call() -> object:
        return sf.sgd(
            problem, step_size=step_size_of(problem), n_steps=STEPS, n_runs=runs, seed=1, dtype=dtype,
            noise_dtype=noise_dtype, reduced=reduced, threads=1, moments=False,
        )  # fmt: skip

    return Workload(name, f"SGD d={problem.dim}, {dtype}", call, runs * STEPS)


def numpy_sgd(problem: sf.LeastSquares, dtype: str, runs: int) -> np.ndarray:
    """Mean squared error at every iteration."""
    rng, d, kind = fastest_rng(), problem.dim, np.dtype(dtype).type
    sigma, gamma, block = kind(problem.noise_std), kind(step_size_of(problem)), NUMPY_BLOCKS[problem.dim]
    error = np.zeros(STEPS)
    for _ in range(runs // block):
        delta = np.empty((d, block), dtype)
        delta[:] = -problem.theta_star[:, None]
        x, residual, product = np.empty_like(delta), np.empty(block, dtype), np.empty(block, dtype)
        for k in range(STEPS):
            rng.standard_normal(out=x, dtype=dtype)
            rng.standard_normal(out=residual, dtype=dtype)
            residual *= sigma
            residual -= np.einsum("dr,dr->r", x, delta, out=product)
            residual *= gamma
            x *= residual
            delta += x
            # Parameter by parameter: OpenBLAS cuts longer products into threads, of which one is asked for.
            error[k] += np.vecdot(delta, delta).sum()
    return error / runs


def torch_sgd(problem: sf.LeastSquares, dtype: str, runs: int) -> object:
    """The same in torch, in place."""
    import torch

    torch.set_num_threads(1)
    kind = getattr(torch, dtype)
    delta = -torch.tensor(problem.theta_star, dtype=kind)[:, None].repeat(1, runs)
    x, products, error = torch.empty_like(delta), torch.empty_like(delta), torch.zeros(STEPS)
    residual, product = torch.empty(runs, dtype=kind), torch.empty(runs, dtype=kind)
    for k in range(STEPS):
        x.normal_()
        residual.normal_()
        torch.sum(torch.mul(x, delta, out=products), 0, out=product)
        residual.mul_(problem.noise_std).sub_(product).mul_(step_size_of(problem))
        delta.addcmul_(x, residual)
        error[k] = torch.dot(delta.view(-1), delta.view(-1)) / runs
    return error


def of_numpy(problem: sf.LeastSquares, dtype: str, runs: int) -> Workload:
    name, group = f"SGD, d = {problem.dim}, numpy {dtype}", f"SGD d={problem.dim}, {dtype}"
    return Workload(name, group, lambda: numpy_sgd(problem, dtype, runs), runs * STEPS)


def of_torch(problem: sf.LeastSquares, dtype: str, runs: int) -> Workload:
    name, group = f"SGD, d = {problem.dim}, torch {dtype}", f"SGD d={problem.dim}, {dtype}"
    return Workload(name, group, lambda: torch_sgd(problem, dtype, runs), runs * STEPS)


#: ours, the other, and the ratio that is wanted
SGD_PAIRS = [
    (in_sdefast(FIVE, "float64", RUNS), of_numpy(FIVE, "float64", NUMPY_RUNS), 12.0),
    (in_sdefast(FIVE, "float64", RUNS, "float32"), of_numpy(FIVE, "float64", NUMPY_RUNS), 12.0),
    (in_sdefast(FIVE, "float32", RUNS), of_torch(FIVE, "float32", NUMPY_RUNS), 8.0),
    (in_sdefast(MANY, "float64", 4096), of_numpy(MANY, "float64", 2048), 11.0),
    (in_sdefast(HUNDRED, "float64", 4096), of_numpy(HUNDRED, "float64", 1024), 11.0),
    (in_sdefast(HUNDRED, "float64", 4096, "float32"), of_numpy(HUNDRED, "float64", 1024), 11.0),
    (in_sdefast(FIVE, "float64", RUNS, reduced=True), in_sdefast(FIVE, "float64", RUNS), 2.0),
    (in_sdefast(HUNDRED, "float64", RUNS, reduced=True), in_sdefast(HUNDRED, "float64", 4096), 15.0),
]
