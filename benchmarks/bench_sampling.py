"""``pytest benchmarks/bench_sampling.py``: annealed Langevin in sdefast and numpy; steps of a network's score."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import Workload
from workloads_sampling import SAMPLING_PAIRS, network_workload, shares

WORKLOADS = [workload for pair in SAMPLING_PAIRS for workload in pair[:2]]


@pytest.mark.parametrize("workload", WORKLOADS, ids=[f"{w.group}: {w.name}" for w in WORKLOADS])
def test_annealed(benchmark: BenchmarkFixture, workload: Workload) -> None:
    benchmark.group = workload.group
    benchmark.pedantic(workload.call, rounds=3, warmup_rounds=1)
    benchmark.extra_info["M chain-steps/s"] = workload.path_steps / benchmark.stats["median"] / 1e6


@pytest.mark.parametrize("chunk", [512, 2048, 8192, 100_000])
def test_network(benchmark: BenchmarkFixture, chunk: int) -> None:
    pytest.importorskip("torch")
    benchmark.group = "network"
    benchmark.pedantic(network_workload(chunk).call, rounds=3, warmup_rounds=1)


def test_the_update_is_a_small_part_of_a_networks_step(benchmark: BenchmarkFixture) -> None:
    pytest.importorskip("torch")
    update, besides = benchmark.pedantic(shares, rounds=1)
    benchmark.extra_info |= {"share of the update": update, "share of all but the network": besides}
    assert update < 0.02
