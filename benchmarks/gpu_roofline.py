"""What a card can do and how near sdefast comes to it: bounds measured by kernels of their own, workloads, first calls.

Measurements are pairs of a name and a function that returns a row: plain data with times in seconds and rates per
second. Times are those between CUDA events, in numba's simulator those of the clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numba import cuda, types
from workloads import BLACK_SCHOLES, HESTON, OU
from workloads_sde import USER_OU, VAN_DER_POL

import sdefast as sf
from sdefast.cuda import find, run
from sdefast.cuda.functions import compile_used, functions
from sdefast.cuda.noise import NORMALS, WORDS_PER_SEGMENT
from sdefast.cuda.target import SIMULATED, jit
from sdefast.sde import settings as sde_settings

Row = dict[str, Any]
Measurement = tuple[str, Callable[[], Row]]

TYPES = ("float32", "float64")
STEP = 1e-3

#: Threads of a block: those of the paths kernel.
THREADS = 32 if SIMULATED else 128


@dataclass(frozen=True)
class Sizes:
    """How much is run: on a large card each run takes tenths of a second, but for states that would fill its memory."""

    n_paths: int
    n_steps: dict[str, int]
    every: int  # steps between saved ones
    stored_bytes: int  # where all states are stored
    n_segments: int  # of words per chain
    peer_steps: int
    repeats: int

    def scaled(self, factor: float) -> Sizes:
        """Work and memory times ``factor``, on as many paths."""

        def times(n: int) -> int:
            return max(round(n * factor), 1)

        return replace(
            self,
            n_steps={dtype: times(n) for dtype, n in self.n_steps.items()},
            stored_bytes=times(self.stored_bytes),
            n_segments=times(self.n_segments),
            peer_steps=times(self.peer_steps),
        )


SIZES = {
    "full": Sizes(2**22, {"float32": 2**13, "float64": 2**11}, 64, 2**33, 16, 2**9, 5),
    "tiny": Sizes(32, {"float32": 2, "float64": 2}, 2, 2**8, 1, 16, 1),
}


# Time ----------------------------------------------------------------------------------------------------------------


def mark(stream: Any = 0) -> Any:
    """This point of a stream."""
    if SIMULATED:
        return time.perf_counter()
    event = cuda.event()
    event.record(stream)
    return event


def seconds_between(start: Any, end: Any) -> float:
    if SIMULATED:
        return float(end - start)
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of several calls, one after the other; the first was before, to warm up."""
    seconds = []
    for _ in range(repeats):
        start = mark()
        call()
        seconds.append(seconds_between(start, mark()))
    return seconds


def rates(amount: float, seconds: list[float]) -> Row:
    """So much a second: the median and its spread."""
    return {"median": amount / median(seconds), **_spread([amount / s for s in seconds]), "seconds": seconds}


def spread(seconds: list[float]) -> Row:
    return {"median": median(seconds), **_spread(seconds)}


def _spread(values: list[float]) -> Row:
    return {"min": min(values), "max": max(values)}


# Within sdefast: what follows its internals --------------------------------------------------------------------------


def own_kernel(source: str, dtype: str, *signature: Any) -> Any:
    """A kernel of this file, made as sdefast makes its own."""
    space = functions(dtype, dtype) | {"cuda": cuda}
    exec(compile(source, "<benchmark>", "exec"), space)
    compile_used(space["kernel"])
    return jit(space["kernel"], types.void(*signature))


class _Watched:
    """Stands for the program of a run; its kernel notes when launches begin and end."""

    def __init__(self, program: Any) -> None:
        self.program, self.compiled = program, program.kernel()
        self.launches: list[tuple[Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.program, name)

    def kernel(self) -> _Watched:
        return self

    def __getitem__(self, where: tuple[Any, ...]) -> Callable[..., None]:
        launch, stream = self.compiled[where], where[2]

        def call(*args: Any) -> None:
            start = mark(stream)
            launch(*args)
            self.launches.append((start, mark(stream)))

        return call

    def get_local_mem_per_thread(self) -> Any:
        """As the kernel's."""
        return self.compiled.get_local_mem_per_thread()

    def seconds(self) -> float:
        """Of all launches since this was last asked."""
        total = sum(seconds_between(*launch) for launch in self.launches)
        self.launches.clear()
        return total

    def resources(self) -> Row:
        """Registers and bytes of local memory of a thread."""
        if SIMULATED:
            return {}
        (kernel,) = self.compiled.overloads.values()
        return {"registers": kernel.regs_per_thread, "local_bytes": kernel.local_mem_per_thread}


def kernel_alone(settings: Any, repeats: int) -> Row:
    """Seconds of the paths kernel in each of several runs with these settings, and what the kernel is like."""
    device = find("cuda")
    whole = settings.tile(sde_settings.start_rows(settings, settings.x0[:, None]), None, device)
    watched = _Watched(whole.kernel)
    whole = replace(whole, kernel=watched)
    memory, seconds = run.allocate(whole, device), []
    for _ in range(repeats):
        deque(run.run(whole, memory, device, None), maxlen=0)
        seconds.append(watched.seconds())
    return {
        "seconds": seconds,
        "normals_per_step": whole.draws.noise_dim,
        "saved_bytes": len(whole.saves) * whole.dim * whole.n_chains * whole.start.itemsize,
        **watched.resources(),
    }


# Bounds --------------------------------------------------------------------------------------------------------------

# Loops are written with while: those over a range take several instructions more to count.

_DRAWS = """
def kernel(seed_low, seed_high, n, n_segments, out):
    i = cuda.grid(1)
    if i < n:
        low, high = low_(i), high_(i)
        total, segment = {zero}, 0
        while segment < n_segments:
            s0, s1, s2, s3 = key_(seed_low, seed_high, low_(segment), {stream}, low, high)
            k = 0
            while k < {draws}:
                {draw}
                k += 1
            segment += 1
        out[i] = total
"""

_WORD = "word, s0, s1, s2, s3 = next_(s0, s1, s2, s3)\n                total = low_(total ^ word)"

#: The products of pairs are added up: one instruction, from which both normals can be had.
_PAIR = "z, other, s0, s1, s2, s3 = pair_(s0, s1, s2, s3)\n                total = fma_(z, other, total)"

_WRITES = """
def kernel(n, n_rows, value, out):
    i = cuda.grid(1)
    if i < n:
        row = 0
        while row < n_rows:
            out[row, i] = value
            row += 1
"""


def bounds(sizes: Sizes) -> Iterator[Measurement]:
    """What the parts of a simulation could take at best: drawing alone, storing alone."""
    yield "words", partial(_draw_rate, sizes, "words/s", "low", _WORD, "float32", types.uint32, WORDS_PER_SEGMENT)
    for dtype in TYPES:
        per_segment = WORDS_PER_SEGMENT // (1 if dtype == "float32" else 2)
        normals = "normals/s", "T(0)", _PAIR, dtype, getattr(types, dtype), per_segment
        yield f"normals, {dtype}", partial(_draw_rate, sizes, *normals)
    yield "writing", partial(_write_rate, sizes)
    yield "copying", partial(_copy_rate, sizes)


def _draw_rate(sizes: Sizes, unit: str, zero: str, draw: str, dtype: str, kind: Any, per_segment: int) -> Row:
    """``per_segment`` draws of a segment, in pairs if they are normals, on as many threads as there are paths."""
    draws = per_segment if unit == "words/s" else per_segment // 2
    source = _DRAWS.format(zero=zero, stream=NORMALS, draws=draws, draw=draw)
    word, n = types.uint32, types.int64
    kernel = own_kernel(source, dtype, word, word, n, n, types.Array(kind, 1, "C"))
    out = cuda.device_array(sizes.n_paths, np.dtype(kind.name))

    def call() -> None:
        kernel[-(-sizes.n_paths // THREADS), THREADS](1, 2, sizes.n_paths, sizes.n_segments, out)

    call()
    return {"unit": unit, "rate": rates(sizes.n_paths * sizes.n_segments * per_segment, timed(call, sizes.repeats))}


def _write_rate(sizes: Sizes) -> Row:
    call, out = _writer(sizes)
    call()
    return {"unit": "bytes/s", "rate": rates(out.nbytes, timed(call, sizes.repeats))}


def _copy_rate(sizes: Sizes) -> Row:
    """From one place of the card's memory to another, bytes read and bytes written."""
    write, source = _writer(sizes)
    write()
    target = cuda.device_array(source.shape, source.dtype)

    def call() -> None:
        target.copy_to_device(source)

    call()
    return {"unit": "bytes/s", "rate": rates(2 * source.nbytes, timed(call, sizes.repeats))}


def _writer(sizes: Sizes) -> tuple[Callable[[], None], Any]:
    """What writes rows of float32, one element a thread, as the paths kernel stores states, and where to."""
    n_rows, n = max(sizes.stored_bytes // (4 * sizes.n_paths), 1), types.int64
    kernel = own_kernel(_WRITES, "float32", n, n, types.float32, types.Array(types.float32, 2, "C"))
    out = cuda.device_array((n_rows, sizes.n_paths), np.float32)

    def call() -> None:
        kernel[-(-sizes.n_paths // THREADS), THREADS](sizes.n_paths, n_rows, np.float32(0.5), out)

    return call, out


# Workloads -----------------------------------------------------------------------------------------------------------

MODELS: dict[str, tuple[sf.Model, Any]] = {
    "OU": (OU, 1.0),
    "Black-Scholes": (BLACK_SCHOLES, 100.0),
    "Heston": (HESTON, (100.0, 0.04)),
    "a user's OU": (USER_OU, 1.0),
    "a user's van der Pol": (VAN_DER_POL, (1.0, 0.0)),
}

KINDS = ("final", "final, 4 moments", "stored now and then", "stored", "statistics at every time")


def workloads(sizes: Sizes) -> Iterator[Measurement]:
    """Every model in both types: at the end alone, states stored, statistics at every time."""
    for model in MODELS:
        for dtype in TYPES:
            for kind in KINDS:
                yield f"{model}, {dtype}, {kind}", partial(_workload, sizes, model, dtype, kind)


def _workload(sizes: Sizes, name: str, dtype: str, kind: str) -> Row:
    model, x0 = MODELS[name]
    n_steps, options = _asked(sizes, model.dim, dtype, kind)

    def call() -> sf.Simulation:
        return sf.simulate(
            model, x0=x0, t1=n_steps * STEP, n_steps=n_steps, n_paths=sizes.n_paths, seed=1, dtype=dtype,
            device="cuda", **options,
        )  # fmt: skip

    settings = call().settings  # compiles
    path_steps = sizes.n_paths * n_steps
    row = {"model": name, "dtype": dtype, "kind": kind, "unit": "path-steps/s", "n_paths": sizes.n_paths}
    row |= {"n_steps": n_steps, "rate": rates(path_steps, timed(call, sizes.repeats))}
    kernel = kernel_alone(settings, sizes.repeats)
    return row | {"kernel_rate": rates(path_steps, kernel.pop("seconds"))} | kernel


def _asked(sizes: Sizes, dim: int, dtype: str, kind: str) -> tuple[int, dict[str, Any]]:
    """Steps and what to keep and to gather."""
    n_steps = sizes.n_steps[dtype]
    if kind == "stored":
        per_step = dim * np.dtype(dtype).itemsize * sizes.n_paths
        return max(sizes.stored_bytes // per_step, 1), {"save_at": "all"}
    return n_steps, {
        "final": {"paths": False, "moments": 2},
        "final, 4 moments": {"paths": False},
        "stored now and then": {"save_at": sizes.every},
        "statistics at every time": {"paths": False, "save_at": "all"},
    }[kind]


def profiled(sizes: Sizes) -> Iterator[Measurement]:
    """One launch of the paths kernel for a profiler, which runs it tens of times over."""
    short = replace(sizes.scaled(1 / 8), repeats=1)
    yield "OU, float32", partial(_workload, short, "OU", "float32", "final")


# First calls ---------------------------------------------------------------------------------------------------------

#: What a fresh process takes; its argument is a number that no function has held before.
_FRESH = """
import json, sys, time

start = time.perf_counter()
import sdefast as sf

a, seconds = float(sys.argv[1]), [time.perf_counter() - start]
sde = sf.SDE(lambda t, x, p: (x[1], (a - x[0] ** 2) * x[1] - x[0]), lambda t, x, p: (0.2, 0.2), dim=2)
for _ in range(2):
    start = time.perf_counter()
    sf.simulate(sde, x0=(1.0, 0.0), t1=0.1, n_steps=10, n_paths=64, seed=1, dtype="float32", device="cuda")
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def first_calls(sizes: Sizes) -> Iterator[Measurement]:
    """What the first run of a function takes that was never seen before."""
    repeats = min(sizes.repeats, 3)
    yield "in a warm process", partial(_warm, repeats)
    yield "in a fresh process", partial(_fresh, repeats)


def _new_number() -> float:
    return 1 + (time.time_ns() % 10**9) * 1e-9


def _warm(repeats: int) -> Row:
    def seconds(sde: sf.SDE) -> float:
        start = time.perf_counter()
        sf.simulate(sde, x0=(1.0, 0.0), t1=0.1, n_steps=10, n_paths=64, seed=1, dtype="float32", device="cuda")
        return time.perf_counter() - start

    def new_sde() -> sf.SDE:
        a = _new_number()
        return sf.SDE(lambda t, x, p: (x[1], (a - x[0] ** 2) * x[1] - x[0]), lambda t, x, p: (0.2, 0.2), dim=2)

    seconds(new_sde())
    equations = [new_sde() for _ in range(repeats)]
    first, again = ([seconds(sde) for sde in equations] for _ in range(2))
    return {"first": spread(first), "again": spread(again)}


def _fresh(repeats: int) -> Row:
    runs = []
    for _ in range(repeats):
        start = time.perf_counter()
        command = [sys.executable, "-c", _FRESH, str(_new_number())]
        # Away from the root of the repository, whose sdefast is not the one that is installed.
        done = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
        runs.append([*json.loads(done.stdout), time.perf_counter() - start])
    names = "import", "first", "again", "process"
    return {name: spread(list(seconds)) for name, seconds in zip(names, zip(*runs, strict=True), strict=True)}
