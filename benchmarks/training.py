"""``python benchmarks/training.py [--rounds N]``: a step of training beside plain loops of torch.

All take turns in this one process, on equal networks; figures are CPU seconds, medians of the ratios of rounds. The
plain loop is the one of most tutorials: ``torch.randn``, AdamW as it comes, ``clip_grad_norm_``, an average by ``mul_``
and ``add_``. The best one has AdamW in one kernel and the average by one call.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from statistics import median

import torch

from sdefast.diffusion import data, networks, objectives
from sdefast.diffusion.training.batches import Batches
from sdefast.diffusion.training.settings import Settings
from sdefast.diffusion.training.state import State

Step = Callable[[], object]

SETTINGS = {
    "learning_rate": 1e-3, "warmup": 100, "decay": None, "weight_decay": 0.01, "clip_norm": 1.0, "ema": 0.1, "seed": 0,
    "amp": False, "label_drop": 0.1,
}  # fmt: skip


def ours(net: torch.nn.Module, x: torch.Tensor, batch_size: int) -> Step:
    """A step of `train`."""
    settings = Settings.of(SETTINGS | {"batch_size": batch_size})
    return State(net, objectives.objective("flow"), Batches(x, None, settings), settings).take


def plain(net: torch.nn.Module, x: torch.Tensor, batch_size: int, best: bool = False) -> Step:
    """A step of a loop of one's own, flow matching with a logit-normal t."""
    average = copy.deepcopy(net).requires_grad_(False)
    pairs = list(average.parameters()), list(net.parameters())
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True if best else None)
    losses = []

    def step() -> None:
        x0 = x[torch.randint(len(x), (batch_size,))]
        t, z = torch.sigmoid(torch.randn(batch_size)), torch.randn_like(x0)
        column = t.view(-1, *(1,) * (x.ndim - 1))
        optimizer.zero_grad()
        loss = (net((1 - column) * x0 + column * z, 1000 * t) - (z - x0)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            if best:
                torch._foreach_lerp_(*pairs, 0.001)
            else:
                for mine, theirs in zip(*pairs, strict=True):
                    mine.mul_(0.999).add_(theirs, alpha=0.001)
        losses.append(loss.item())

    return step


def seconds(step: Step, repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        step()
    return (time.process_time() - start) / repeats


def compare(name: str, net: torch.nn.Module, x: torch.Tensor, batch_size: int, repeats: int, rounds: int) -> None:
    """A line: our milliseconds, and our time over that of both loops."""
    steps = [
        make(copy.deepcopy(net), x, batch_size)
        for make in (ours, plain, lambda *given: plain(*given, best=True))
    ]  # fmt: skip
    for step in steps:
        seconds(step, 3)
    found = []
    for i in range(rounds):
        turn = steps if i % 2 == 0 else steps[::-1]
        times = [seconds(step, repeats) for step in turn]
        found.append(times if i % 2 == 0 else times[::-1])
    ratios = (median(mine / each[j] for mine, *each in found) for j in range(2))
    milliseconds = 1e3 * median(mine for mine, *_ in found)
    print(f"{name:40} {milliseconds:9.2f} " + " ".join(f"{ratio:12.3f}" for ratio in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    points = torch.from_numpy(data.swiss_roll(10_000))
    images = torch.rand(512, 1, 28, 28) * 2 - 1
    digits = torch.from_numpy(data.digits()[0])
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, median of {rounds} rounds")
    print(f"{'':40} {'ms':>9} {'ours / plain':>12} {'ours / best':>12}")
    compare("UNet, 28 x 28, batch 64", networks.UNet(), images, 64, 1, rounds)
    compare("UNet, digits 8 x 8, batch 64", networks.UNet(), digits, 64, 5, rounds)
    compare("score network, swiss roll, batch 256", networks.ScoreMLP(2), points, 256, 100, rounds)


if __name__ == "__main__":
    main()
