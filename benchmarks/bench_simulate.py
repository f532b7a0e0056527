"""``pytest benchmarks``: every workload in sdefast and in numpy, in groups; latency of small calls."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import OU, PAIRS, SELF_PAIRS, Workload
from workloads_sde import SDE_PAIRS, USER_OU, VAN_DER_POL, compile_seconds
from workloads_sgd import SGD_PAIRS

import sdefast as sf

WORKLOADS = {(w.group, w.name): w for pair in PAIRS + SELF_PAIRS + SDE_PAIRS + SGD_PAIRS for w in pair[:2]}


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=[f"{group}: {name}" for group, name in WORKLOADS])
def test_workload(benchmark: BenchmarkFixture, workload: Workload) -> None:
    benchmark.group = workload.group
    benchmark.pedantic(workload.call, rounds=3, warmup_rounds=1)
    benchmark.extra_info["M path-steps/s"] = workload.path_steps / benchmark.stats["median"] / 1e6


@pytest.mark.parametrize("model", [OU, USER_OU], ids=["built in", "user's"])
def test_small_call(benchmark: BenchmarkFixture, model: sf.Model) -> None:
    benchmark.group = "latency"
    benchmark(lambda: sf.simulate(model, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1))


@pytest.mark.parametrize("method", ["euler-maruyama", "heun", "sriw1", "weak2"])
def test_compile(benchmark: BenchmarkFixture, method: str) -> None:
    benchmark.group = "compile a new function"
    compile_seconds(method, 0)  # what numba takes to wake up
    numbers = iter(range(1, 100))
    benchmark.pedantic(lambda: compile_seconds(method, next(numbers)), rounds=3)


@pytest.mark.parametrize("method", ["euler-maruyama", "heun", "srk1", "sriw1", "weak2", "implicit-euler"])
def test_schemes(benchmark: BenchmarkFixture, method: str) -> None:
    options = {"x0": (1.0, 0.0), "t1": 5.0, "n_steps": 500, "n_paths": 100_000, "seed": 1, "paths": False, "threads": 1}
    benchmark.group = "van der Pol, float32, schemes"
    benchmark.pedantic(lambda: sf.simulate(VAN_DER_POL, method=method, dtype="float32", **options), rounds=3)
