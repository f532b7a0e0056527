"""``python benchmarks/sgd_finite.py [--json FILE]``: SGD on 10,000 rows of 50 columns, beside what memory allows.

A run touches a whole row at random every iteration. The matrix has 4 MB in float64 and 2 MB in float32, more than a
core's second-level cache, so that no version can do more iterations a second than rows can be read: the bound. All of
it runs on one thread and is timed by the processor's time, in which other programs on the machine show less. It needs
scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

from sgd_finite_peers import ROWS, RUNS, STEP_SIZE, STEPS, Data, Workload, contenders, gathers
from threadpoolctl import threadpool_limits

from sdefast.config import config


def rate(workload: Workload) -> float:
    """Iterations a second of the processor's time."""
    start = time.process_time()
    workload.call()
    return workload.path_steps / (time.process_time() - start)


def rates_in_turn(workloads: list[Workload], rounds: int) -> dict[str, float]:
    """Median rates by name, round by round."""
    found = [[rate(workload) for workload in workloads] for _ in range(rounds)]
    return {workload.name: median(rates) for workload, rates in zip(workloads, zip(*found, strict=True), strict=True)}


def bound(data: Data, rounds: int) -> tuple[float, dict[str, float]]:
    """Rows a second at random by the fastest way to read them, and all ways."""
    found = {}
    for random in (False, True):
        ways = list(gathers(data, random))
        for way in ways:
            way.call()  # compiles
        rates = rates_in_turn(ways, rounds)
        print(f"\n{ways[0].group:60} {'M rows/s':>10}")
        for name, value in sorted(rates.items(), key=lambda item: -item[1]):
            print(f"{name:60} {value / 1e6:10.1f}")
        found |= {f"{name}, {ways[0].group}": value for name, value in rates.items()}
    return max(rates.values()), found


def compare(data: Data, every: bool, rounds: int, most: float) -> list[dict[str, object]]:
    """Rates of all, and beside the bound ``most``."""
    workloads = list(contenders(data, every))
    exact = data.problem.expected_error(step_size=STEP_SIZE, n_steps=STEPS)[-1]
    errors = [workload.call() for workload in workloads]
    rates = rates_in_turn(workloads, rounds)
    print(f"\n{workloads[0].group:36} {'M iterations/s':>15} {'of the bound':>13} {'error / exact':>14}")
    for (name, value), error in zip(rates.items(), errors, strict=True):
        off = "" if error is None else f"{error / exact:14.4f}"  # type: ignore[operator]
        print(f"{name:36} {value / 1e6:15.1f} {value / most:13.2f} {off}", flush=True)
    return [{"workload": name, "group": workloads[0].group, "rate": value} for name, value in rates.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    about = config()
    print(f"sdefast {about['sdefast']}, {about['instruction set']}; {ROWS} rows, {RUNS} runs of {STEPS} iterations")
    result: dict[str, object] = {"about": about}
    with threadpool_limits(1):
        for dtype in ("float64", "float32"):
            data = Data.make(dtype)
            print(f"\n{dtype}, {data.X.nbytes / 1e6:.0f} MB")
            most, result[f"{dtype}, rows/s"] = bound(data, arguments.rounds)
            result[dtype] = [row for every in (False, True) for row in compare(data, every, arguments.rounds, most)]
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
