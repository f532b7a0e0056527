"""What else takes an OU process through its steps on a card, each as its library does it best: in place, fused.

Peers step alone: unlike sdefast's runs, they gather no statistics while they are timed. Afterwards mean and variance
of their states must be those of the process, or they have failed.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from gpu_roofline import STEP, THREADS, TYPES, Measurement, Row, Sizes, rates, timed
from numba import cuda
from workloads import OU

from sdefast.cuda.target import SIMULATED

#: Steps that torch compiles into one kernel.
CHUNK = 16

#: Standard errors that no chance explains.
_FAR = 7.0


class AbsentError(Exception):
    """Why a peer cannot run here."""


@dataclass(frozen=True)
class Problem:
    """x <- q x + c + s z, from 1 on."""

    n_paths: int
    n_steps: int
    dtype: str

    @property
    def coefficients(self) -> tuple[float, float, float]:
        return 1 - OU.kappa * STEP, OU.kappa * OU.theta * STEP, OU.sigma * math.sqrt(STEP)

    def check(self, x: np.ndarray) -> None:
        """Refuse states that are not those of the process after its steps."""
        q, c, s = self.coefficients
        limit, decay = c / (1 - q), q**self.n_steps
        mean, variance = limit + (1 - limit) * decay, s * s * (1 - decay * decay) / (1 - q * q)
        n, found = x.size, x.astype(np.float64)
        far = abs(found.mean() - mean) > _FAR * math.sqrt(variance / n) + 1e-4
        if far or abs(found.var() / variance - 1) > _FAR * math.sqrt(2 / n) + 1e-3:
            raise ValueError(f"mean {found.mean()}, variance {found.var()} instead of {mean}, {variance}")


#: What takes new paths through all steps, and their states as numpy has them.
Peer = tuple[Callable[[], object], Callable[[], np.ndarray]]


def peers(sizes: Sizes) -> Iterator[Measurement]:
    """All of them; one that cannot run here gives its reason."""
    n_steps = -(-sizes.peer_steps // CHUNK) * CHUNK
    for name, peer in PEERS.items():
        for dtype in TYPES:
            problem = Problem(sizes.n_paths, n_steps, dtype)
            yield f"{name}, {dtype}", partial(_measured, name, peer, problem, sizes.repeats)


def _measured(name: str, make: Callable[[Problem], Peer], problem: Problem, repeats: int) -> Row:
    row: Row = {"peer": name, "dtype": problem.dtype, "unit": "path-steps/s"}
    try:
        call, states = make(problem)
    except AbsentError as reason:
        return row | {"absent": str(reason)}
    start = time.perf_counter()
    call()
    problem.check(states())
    row |= {"first_seconds": time.perf_counter() - start, "n_paths": problem.n_paths, "n_steps": problem.n_steps}
    row["rate"] = rates(problem.n_paths * problem.n_steps, timed(call, repeats))
    problem.check(states())
    return row


def _require(library: str) -> None:
    if SIMULATED:
        raise AbsentError(f"{library} needs a card, the simulator is numba's alone")
    if find_spec(library) is None:
        raise AbsentError(f"{library} is not installed")


def _torch() -> Any:
    _require("torch")
    import torch

    if not torch.cuda.is_available():
        raise AbsentError(f"torch {torch.__version__} finds no card")
    return torch


def torch_eager(p: Problem) -> Peer:
    """Two arrays that stay where they are."""
    torch, (q, c, s) = _torch(), p.coefficients
    x = torch.empty(p.n_paths, dtype=getattr(torch, p.dtype), device="cuda")
    z = torch.empty_like(x)

    def call() -> None:
        x.fill_(1)
        for _ in range(p.n_steps):
            z.normal_()
            x.mul_(q).add_(z, alpha=s).add_(c)

    return call, lambda: x.cpu().numpy()


def torch_compiled(p: Problem) -> Peer:
    """Some steps at a time in one kernel, noise included; torch's compiler draws in float32 for either type."""
    torch, (q, c, s) = _torch(), p.coefficients
    kind = {"dtype": getattr(torch, p.dtype), "device": "cuda"}
    last = [torch.empty(p.n_paths, **kind)]

    @torch.compile
    def steps(x: Any) -> Any:
        for _ in range(CHUNK):
            x = q * x + (c + s * torch.randn(p.n_paths, **kind))
        return x

    def call() -> None:
        x = torch.ones(p.n_paths, **kind)
        for _ in range(p.n_steps // CHUNK):
            x = steps(x)
        last[0] = x

    return call, lambda: last[0].cpu().numpy()


def cupy_elementwise(p: Problem) -> Peer:
    """cuRAND's normals and one kernel of one's own a step."""
    _require("cupy")
    import cupy

    rng, x = cupy.random.RandomState(1), cupy.empty(p.n_paths, p.dtype)
    step = cupy.ElementwiseKernel("T z, T q, T c, T s", "T x", "x = q * x + (c + s * z)", "ou_step")
    numbers = [np.dtype(p.dtype).type(value) for value in p.coefficients]

    def call() -> None:
        x.fill(1)
        for _ in range(p.n_steps):
            step(rng.standard_normal(p.n_paths, dtype=p.dtype), *numbers, x)

    return call, lambda: cupy.asnumpy(x)


def numba_xoroshiro(p: Problem) -> Peer:
    """One thread, one path, with the generator that numba has for it."""
    if SIMULATED:
        warnings.simplefilter("ignore")  # it says that it compiles nothing, and that its integers overflow
    from numba.cuda import random

    kind = np.dtype(p.dtype).type
    kernel = _one_thread_one_path(getattr(random, f"xoroshiro128p_normal_{p.dtype}"))
    states, x = random.create_xoroshiro128p_states(p.n_paths, 1), cuda.device_array(p.n_paths, p.dtype)
    numbers = [kind(1), *map(kind, p.coefficients)]

    def call() -> None:
        kernel[-(-p.n_paths // THREADS), THREADS](states, *numbers, p.n_steps, x)

    return call, x.copy_to_host


def _one_thread_one_path(normal: Any) -> Any:
    @cuda.jit
    def kernel(states, x, q, c, s, n_steps, out):  # type: ignore[no-untyped-def]
        i = cuda.grid(1)
        if i < out.size:
            k = 0
            while k < n_steps:
                x = q * x + (c + s * normal(states, i))
                k += 1
            out[i] = x

    return kernel


#: In the order in which they may do harm: torch's compiler starts processes of its own.
PEERS: dict[str, Callable[[Problem], Peer]] = {
    "numba, xoroshiro128p in one kernel": numba_xoroshiro,
    "cupy, cuRAND and an elementwise kernel": cupy_elementwise,
    "torch, in place": torch_eager,
    f"torch.compile, {CHUNK} steps a kernel": torch_compiled,
}
