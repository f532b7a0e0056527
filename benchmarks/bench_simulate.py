"""``pytest benchmarks``: every workload in sdefast and in numpy, in groups; latency of small calls."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import OU, PAIRS, SELF_PAIRS, Workload

import sdefast as sf

WORKLOADS = {(w.group, w.name): w for pair in PAIRS + SELF_PAIRS for w in pair[:2]}


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=[f"{group}: {name}" for group, name in WORKLOADS])
def test_workload(benchmark: BenchmarkFixture, workload: Workload) -> None:
    benchmark.group = workload.group
    benchmark.pedantic(workload.call, rounds=3, warmup_rounds=1)
    benchmark.extra_info["M path-steps/s"] = workload.path_steps / benchmark.stats["median"] / 1e6


def test_small_call(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "latency"
    benchmark(lambda: sf.simulate(OU, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1))
