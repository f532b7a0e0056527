"""``python benchmarks/langevin.py [--json FILE] [L1 L2 L3]``: Langevin sampling beside its peers, one thread each.

All of a group run in turn in this one process and are timed by the processor's time, in which other programs on the
machine show less. JAX and BlackJAX take part if they are there, on one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from pathlib import Path
from statistics import median

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import workloads_langevin as own
from langevin_peers import peers
from workloads import Workload

from sdefast.config import config

HAS_JAX = importlib.util.find_spec("blackjax") is not None


def ours(name: str, dtype: str) -> list[Workload]:
    """What is compared: chains of which only moments are asked for, and with all that is gathered by default."""
    if name == "L1":
        how = {"method": "ula", "step_size": own.FIVE.step_size, "dtype": dtype}
        targets = [("built in", own.FIVE.target, {}), ("a user's target", own.FIVE.users, {})]
        targets.append(("built in, with diagnostics", own.FIVE.target, {"diagnostics": True}))
        return [own.in_sdefast(f"sdefast, {what}", t, 100_000, **how, **more) for what, t, more in targets]
    if name == "L2":
        how = {"method": "mala", "step_size": own.MALA_STEP, "dtype": dtype}
        more = [("sdefast", {}), ("sdefast, with diagnostics", {"diagnostics": True, "final_states": True})]
        return [own.in_sdefast(what, own.CORRELATED, 16_384, **how, **options) for what, options in more]
    how = {"method": "ula", "step_size": own.LOGISTIC_STEP, "dtype": dtype, "n_steps": own.LOGISTIC_STEPS}
    return [own.in_sdefast("sdefast", own.LOGISTIC, own.LOGISTIC_CHAINS, **how)]


def rate(workload: Workload) -> float:
    """Chain-steps a second of the processor's time."""
    start = time.process_time()
    workload.call()
    return workload.path_steps / (time.process_time() - start)


def compare(name: str, dtype: str, rounds: int) -> list[dict[str, object]]:
    """Median rates, and the medians of the ratios of the first one's to them."""
    workloads = [*ours(name, dtype), *peers(name, dtype, HAS_JAX)]
    for workload in workloads:
        workload.call()  # compiles
    found = [[rate(workload) for workload in workloads] for _ in range(rounds)]
    print(f"\n{name + ', ' + dtype:44} {'M chain-steps/s':>16} {'first / this':>13}")
    rows = []
    for i, workload in enumerate(workloads):
        speed, ratio = median(r[i] for r in found), median(r[0] / r[i] for r in found)
        print(f"{workload.name:44} {speed / 1e6:16.2f} {ratio:13.2f}", flush=True)
        rows.append({"group": f"{name}, {dtype}", "workload": workload.name, "rate": speed, "ratio": ratio})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["L1", "L2", "L3"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    about = config()
    print(f"sdefast {about['sdefast']}, {about['instruction set']}")
    rows = [row for n in arguments.names for d in ("float64", "float32") for row in compare(n, d, arguments.rounds)]
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
