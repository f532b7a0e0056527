"""``pytest benchmarks/bench_diffusion.py``: one update of a diffusion sampler in sdefast and in torch."""

import pytest

torch = pytest.importorskip("torch")

from pytest_benchmark.fixture import BenchmarkFixture  # noqa: E402
from workloads_diffusion import SHAPES, Steps  # noqa: E402

UPDATES = [
    "ddpm", "plain", "ddpm_in_place", "best_in_place", "ddpm_bfloat16", "ddpm_seeds", "generators", "ddim_in_place",
    "add_in_place", "two_m", "plain_two_m",
]  # fmt: skip


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_update(benchmark: BenchmarkFixture, shape: tuple[int, ...], update: str) -> None:
    benchmark.group = "x".join(map(str, shape))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    benchmark(getattr(Steps(shape), update)())
    torch.set_num_threads(threads)
