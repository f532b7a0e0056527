"""``python benchmarks/ratios.py [FILE.json]``: the table of the README, each pair timed in turn in this one process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from workloads import OU, PAIRS, SELF_PAIRS, Workload
from workloads_sampling import SAMPLING_PAIRS
from workloads_sde import SDE_PAIRS, compile_seconds
from workloads_sgd import SGD_PAIRS

import sdefast as sf
from sdefast.config import config

ROUNDS = 5


def seconds(workload: Workload) -> float:
    start = time.perf_counter()
    workload.call()
    return time.perf_counter() - start


def compare(a: Workload, b: Workload) -> tuple[float, float, float]:
    """Path-steps per second of both and the median of their ratio, round by round."""
    a.call()  # first calls pay for page faults
    rounds = [(a.path_steps / seconds(a), b.path_steps / seconds(b)) for _ in range(ROUNDS)]
    return median(r[0] for r in rounds), median(r[1] for r in rounds), median(r[0] / r[1] for r in rounds)


def small_call_microseconds(calls: int = 2000) -> float:
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        sf.simulate(OU, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1)
        times.append(time.perf_counter() - start)
    return median(times) * 1e6


def import_seconds() -> float:
    """Import time of sdefast over that of an interpreter that does nothing."""

    def run(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return median(run("import sdefast") for _ in range(7)) - median(run("pass") for _ in range(7))


def main() -> None:
    about = config()
    print(f"sdefast {about['sdefast']}, {about['instruction set']}, numpy {np.__version__} (SFC64)\n")
    print(f"{'workload':46} {'M path-steps/s':>15} {'against':>26} {'ratio':>7} {'wanted':>7}")
    rows = []
    for a, b, wanted in PAIRS + SELF_PAIRS + SDE_PAIRS + SGD_PAIRS + SAMPLING_PAIRS:
        fast, slow, ratio = compare(a, b)
        rows.append(
            {"workload": a.name, "against": b.name, "rate": fast, "other": slow, "ratio": ratio, "wanted": wanted}
        )
        print(
            f"{a.name:46} {fast / 1e6:15,.0f} {slow / 1e6:10,.0f} {b.name[-15:]:>15} {ratio:7.2f} {wanted:7.2f}",
            flush=True,
        )
    latency, load = small_call_microseconds(), import_seconds()
    first, again = compile_seconds("heun", 0), median(compile_seconds("heun", n) for n in range(1, 6))
    print(f"\n100 paths, 10 steps: {latency:.1f} microseconds a call; import: {load * 1e3:.0f} ms")
    print(f"a new function under Heun's method: {first:.2f} s the first time in a process, then {again:.2f} s")
    if len(sys.argv) > 1:
        machine = {name: value for name, value in about.items() if name not in ("kernel cache", "memory available")}
        result = {"about": machine, "rows": rows, "small call, microseconds": latency, "import, seconds": load}
        result |= {"first compilation, seconds": first, "compilation, seconds": again}
        Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
