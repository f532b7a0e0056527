"""``python benchmarks/gpu.py``: builds the package, runs its CUDA tests and measures it on an NVIDIA card, in one call.

Prints tables in Markdown and writes all numbers to ``results/gpu.json``. Parts run in processes of their own: they
import the package that was just installed, and a part that fails, even one that breaks the card's context, takes no
other along; what it had measured is kept. Clocks are left as they are. In numba's simulator
(``NUMBA_ENABLE_CUDASIM=1``) ``--sizes tiny`` measures all of it in seconds, for numbers without meaning.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

#: What is measured, in this order; the profiler runs a part of its own.
PARTS = ("bounds", "workloads", "first calls", "peers")
PROFILE = "profile"

PACKAGES = (
    "sdefast", "numpy", "numba", "numba-cuda", "llvmlite", "cuda-bindings", "cuda-core", "nvidia-nvvm",
    "nvidia-nvjitlink", "nvidia-cuda-nvcc", "nvidia-cuda-runtime", "torch", "triton", "cupy-cuda13x", "cupy-cuda12x",
)  # fmt: skip

#: Of the time that is left after building, at most so much is for the tests.
TESTS_SHARE = 0.5


def main() -> int:
    options = parsed()
    if options.part:
        measure(options)
        return 0
    missing = what_is_missing(options)
    if missing:
        sys.exit(f"gpu.py: {missing}")
    outcome = Outcome(options.out)
    clock = Clock(options.minutes)
    if options.build and not build(outcome, clock):
        return 1  # what could be measured would be another version
    outcome.result["environment"] = environment()
    if options.tests:
        run_tests(outcome, clock)
    for part in PARTS:
        run_part(part, options, outcome, clock)
    add_fractions(outcome.result)
    outcome.write()
    if options.profile:
        run_profiler(options, outcome, clock)
    print("\n" + tables(outcome.result))
    for error in outcome.errors:
        print(f"FAILED {error['part']}, {error['name']}: {error['error']}")
    print(f"written to {options.out} after {clock.seconds():.0f} s", flush=True)
    return 1 if outcome.errors else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0].partition(": ")[2])
    parser.add_argument("--no-build", dest="build", action="store_false", help="measure the package that is installed")
    parser.add_argument("--no-tests", dest="tests", action="store_false", help="do not run tests/cuda")
    parser.add_argument("--profile", action="store_true", help="one kernel under ncu, its text beside the numbers")
    parser.add_argument("--sizes", choices=["full", "tiny"], default="full", help="tiny: numbers mean nothing")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all numbers of steps")
    parser.add_argument("--minutes", type=float, default=9.5, help="what has not ended by then is ended")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.json", help="where the numbers go")
    parser.add_argument("--part", choices=[*PARTS, PROFILE], help=argparse.SUPPRESS)  # this process measures one part
    options = parser.parse_args()
    if not options.scale > 0 or not options.minutes > 0:
        parser.error("--scale and --minutes must be positive")
    return options


def what_is_missing(options: argparse.Namespace) -> str | None:
    """Why nothing can be measured here."""
    for package in ("numba", "numba_cuda"):
        if find_spec(package) is None:
            return f"{package} is not installed"
    from numba import cuda

    if not cuda.is_available():
        return "no NVIDIA card, or no driver for it; NUMBA_ENABLE_CUDASIM=1 --sizes tiny runs in numba's simulator"
    if is_simulated() and options.sizes != "tiny":
        return "numba's simulator (NUMBA_ENABLE_CUDASIM) would take days for all but --sizes tiny"
    return None


def is_simulated() -> bool:
    from numba.cuda import config

    return bool(config.ENABLE_CUDASIM)


class Clock:
    """The time that is left."""

    def __init__(self, minutes: float) -> None:
        self.start, self.limit = time.monotonic(), 60 * minutes

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def left(self) -> float:
        return max(self.limit - self.seconds(), 0.0)

    def announce(self, what: str) -> None:
        print(f"\n== {what}, after {self.seconds():.0f} s", flush=True)


class Outcome:
    """Numbers and errors, on disk after every change: what fails later cannot lose them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.result: dict[str, Any] = {}
        self.errors: list[dict[str, str]] = []
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.write()

    def write(self) -> None:
        half = self.file.with_suffix(".part")  # whoever reads the file finds the whole of it, also after a kill
        half.write_text(json.dumps({**self.result, "errors": self.errors}, indent=1) + "\n")
        half.replace(self.file)

    def fail(self, part: str, name: str, error: str, trace: str = "") -> None:
        print(f"FAILED {part}, {name}: {error}", flush=True)
        self.errors.append({"part": part, "name": name, "error": error, "traceback": trace})
        self.write()

    def measure(self, part: str, name: str, call: Callable[[], dict[str, Any]]) -> None:
        """One row of a part, or its error."""
        try:
            row = {"name": name, **call()}
        except Exception as error:
            self.fail(part, name, f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
            return
        self.result.setdefault(part, []).append(row)
        print(f"{name}: {summary(row)}", flush=True)
        self.write()


def summary(row: dict[str, Any]) -> str:
    """A row in a few words."""
    if "absent" in row:
        return f"absent, {row['absent']}"
    if "first" in row:
        return f"{row['first']['median']:.3f} s, then {row['again']['median']:.4f} s"
    kernel = f", kernel alone {row['kernel_rate']['median']:.4g}" if "kernel_rate" in row else ""
    return f"{row['rate']['median']:.4g} {row['unit']}{kernel}"


# The steps -----------------------------------------------------------------------------------------------------------


def run(command: list[str], seconds: float, **options: Any) -> str | None:
    """Run a command and return what was wrong, if anything was."""
    try:
        status = subprocess.run(command, timeout=seconds, **options).returncode
    except subprocess.TimeoutExpired:
        return f"not done after {seconds:.0f} s"
    return f"ended with status {status}" if status else None


def build(outcome: Outcome, clock: Clock) -> bool:
    clock.announce("build")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "."]
    error = run(command, clock.left(), cwd=ROOT)
    if error:
        outcome.fail("build", "pip install", error)
    outcome.result["build"] = {"seconds": clock.seconds(), "error": error}
    outcome.write()
    return error is None


def run_tests(outcome: Outcome, clock: Clock) -> None:
    clock.announce("tests")
    start, log = clock.seconds(), outcome.file.with_suffix(".tests.txt")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    # In one process, as there is one card; without the options that say otherwise, all tests run.
    options = ["-q", "-c", str(ROOT / "pyproject.toml"), "-o", "addopts=--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", *options, str(ROOT / "tests" / "cuda")]
    # Away from the root of the repository, whose sdefast is not the one that is installed.
    with TemporaryDirectory() as folder, log.open("w") as text:
        limits = {"cwd": folder, "env": environment, "stdout": text, "stderr": subprocess.STDOUT}
        error = run(command, TESTS_SHARE * clock.left(), **limits)
    last = log.read_text().splitlines()[-20:]
    print("\n".join(last), flush=True)
    outcome.result["tests"] = {"seconds": clock.seconds() - start, "error": error, "last lines": last}
    if error:
        outcome.fail("tests", "pytest tests/cuda", error)
    outcome.write()


def part_command(part: str, options: argparse.Namespace, file: Path) -> list[str]:
    sizes = ["--sizes", options.sizes, "--scale", str(options.scale)]
    return [sys.executable, str(HERE / "gpu.py"), "--part", part, "--out", str(file), *sizes]


def run_part(part: str, options: argparse.Namespace, outcome: Outcome, clock: Clock) -> None:
    """Measure a part in a process of its own and take over its rows and errors."""
    clock.announce(part)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        error = run(part_command(part, options, file), clock.left())
        found = json.loads(file.read_text()) if file.exists() else {"errors": []}
    outcome.errors += found["errors"]
    outcome.result[part] = found.get(part, [])
    if error:
        outcome.fail(part, "its process", error)
    outcome.write()


def measure(options: argparse.Namespace) -> None:
    """Measure a part in this process."""
    outcome = Outcome(options.out)
    for name, call in measurements(options):
        outcome.measure(options.part, name, call)


def measurements(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    import gpu_roofline as here

    sizes = here.SIZES[options.sizes].scaled(options.scale)
    if options.part == "peers":
        import gpu_peers

        return gpu_peers.peers(sizes)
    part = {
        "bounds": here.bounds, "workloads": here.workloads, "first calls": here.first_calls, PROFILE: here.profiled,
    }[options.part]  # fmt: skip
    return part(sizes)


def run_profiler(options: argparse.Namespace, outcome: Outcome, clock: Clock) -> None:
    """The text of Nsight Compute about one launch of the paths kernel."""
    clock.announce("profiler")
    ncu, text = shutil.which("ncu"), options.out.with_suffix(".ncu.txt")
    if ncu is None:
        outcome.result[PROFILE] = {"absent": "ncu is not on the PATH"}
        print("absent, ncu is not on the PATH", flush=True)
        outcome.write()
        return
    one = ["--kernel-name-base", "mangled", "--kernel-name", "regex:kernel", "--launch-count", "1"]
    asked = ["--clock-control", "none", "--set", "full", "--log-file", str(text)]
    with TemporaryDirectory() as folder:
        error = run([ncu, *asked, *one, *part_command(PROFILE, options, Path(folder) / "part.json")], clock.left())
    if not error and (not text.exists() or "kernel" not in text.read_text()):
        error = "ncu saw no launch of the kernel"
    outcome.result[PROFILE] = {"text": text.name, "error": error}
    if error:
        outcome.fail(PROFILE, "ncu", error)
    outcome.write()


# The machine ---------------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    """What was measured on what."""
    from numba import cuda

    importlib.invalidate_caches()  # sdefast may have been installed since this process began
    versions = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    simulator = "numba's CUDA simulator, whose numbers mean nothing"
    return {
        "cards": [{"name": simulator}] if is_simulated() else cards(),
        "CUDA runtime": "none" if is_simulated() else ".".join(map(str, cuda.runtime.get_version())),
        "python": platform.python_version(),
        "machine": f"{platform.system()}, {platform.machine()}, {os.cpu_count()} processors",
        "packages": {name: versions.get(name, "absent") for name in PACKAGES},
    }


def cards() -> list[dict[str, str]]:
    """What the driver says about each card; clocks and limits are read, not set."""
    asked = "name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "clocks.max.mem"
    try:
        lines = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout.splitlines()  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return [{"name": f"unknown: {error}"}]
    return [dict(zip(asked, map(str.strip, line.split(",")), strict=False)) for line in lines]


# What comes out ------------------------------------------------------------------------------------------------------


def add_fractions(result: dict[str, Any]) -> None:
    """What part of the bounds each workload's kernel reaches."""
    bounds = {row["name"]: row["rate"]["median"] for row in result["bounds"]}
    for row in result["workloads"]:
        rate, path_steps = row["kernel_rate"]["median"], row["n_paths"] * row["n_steps"]
        row["saved_bytes_rate"] = rate * row["saved_bytes"] / path_steps
        normals = bounds.get(f"normals, {row['dtype']}")
        if normals:
            row["of_normals_bound"] = rate * row["normals_per_step"] / normals
        if "writing" in bounds:
            row["of_writing_bound"] = row["saved_bytes_rate"] / bounds["writing"]


def tables(result: dict[str, Any]) -> str:
    return "\n\n".join(
        [
            bounds_table(result["bounds"]),
            workloads_table(result["workloads"]),
            peers_table(result),
            *first_lines(result),
        ]
    )


def table(header: str, rows: list[list[str]]) -> str:
    """In Markdown, the first column to the left."""
    n = header.count("|")
    lines = [f"| {header} |", "|---|" + "---:|" * n, *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def billions(rate: dict[str, float] | None) -> str:
    """The median and, where they differ from it by a percent or more, the lowest and highest."""
    if rate is None:
        return "failed"
    low, middle, high = (f"{rate[name] / 1e9:,.4g}" for name in ("min", "median", "max"))
    is_narrow = rate["max"] - rate["min"] < 0.02 * rate["median"]
    return middle if is_narrow else f"{middle} ({low} to {high})"


def percent(fraction: float | None) -> str:
    return "failed" if fraction is None else f"{100 * fraction:.0f} %"


def bounds_table(rows: list[dict[str, Any]]) -> str:
    return table("bound | 10^9 a second", [[f"{row['name']}, {row['unit']}", billions(row["rate"])] for row in rows])


def workloads_table(rows: list[dict[str, Any]]) -> str:
    """A line for each model and type; a billion path-steps a second unless said otherwise."""
    by_kind: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        by_kind.setdefault((row["model"], row["dtype"]), {})[row["kind"]] = row
    header = (
        "10^9 path-steps/s | mean and variance at the end | kernel alone | of the normals' bound | with four moments | "
        "states stored now and then | all stored | kernel, GB/s | of writing | statistics at every time"
    )
    return table(header, [[f"{model}, {dtype}", *_cells(kinds)] for (model, dtype), kinds in by_kind.items()])


def _cells(kinds: dict[str, Any]) -> list[str]:
    """The numbers of a model and a type, of which some may have failed."""
    nothing: dict[str, Any] = {}
    final, stored = kinds.get("final", nothing), kinds.get("stored", nothing)
    called = [billions(kinds.get(kind, nothing).get("rate")) for kind in ("final, 4 moments", "stored now and then")]
    gigabytes = f"{stored['saved_bytes_rate'] / 1e9:,.0f}" if stored else "failed"
    return [
        billions(final.get("rate")), billions(final.get("kernel_rate")), percent(final.get("of_normals_bound")),
        *called, billions(stored.get("rate")), gigabytes, percent(stored.get("of_writing_bound")),
        billions(kinds.get("statistics at every time", nothing).get("rate")),
    ]  # fmt: skip


def peers_table(result: dict[str, Any]) -> str:
    """A line for each library, the first of which is sdefast."""
    own = {row["dtype"]: row for row in result["workloads"] if row["model"] == "OU" and row["kind"] == "final"}
    by_peer: dict[str, dict[str, Any]] = {"sdefast": own}
    for row in result["peers"]:
        by_peer.setdefault(row["peer"], {})[row["dtype"]] = row

    def cell(row: dict[str, Any]) -> str:
        return f"absent: {row['absent']}" if "absent" in row else billions(row.get("rate"))

    types = ("float32", "float64")
    rows = [[name, *(cell(found.get(dtype, {})) for dtype in types)] for name, found in by_peer.items()]
    return table("OU, 10^9 path-steps/s | float32 | float64", rows)


def first_lines(result: dict[str, Any]) -> list[str]:
    return [f"A new function {row['name']}: {summary(row)}." for row in result["first calls"]]


if __name__ == "__main__":
    sys.exit(main())
