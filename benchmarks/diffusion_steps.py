"""``python benchmarks/diffusion_steps.py [--rounds N]``: one update of a diffusion sampler beside torch's.

Both take turns in this one process, on one thread unless said; the figures are medians of the ratios. Times are the
processor's, in which other programs on the machine show less; with two threads they are the clock's.
Last comes the share of the update in a step with a small network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from workloads_diffusion import SHAPES, Steps, Update

from sdefast.config import config


def seconds(update: Update, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        update()
    return (clock() - start) / repeats


def compared(
    mine: Update, other: Update, elements: int, rounds: int, clock: Callable[[], float] = time.process_time
) -> tuple[float, float]:
    """Microseconds of the first, and the median of the ratios of the second's time to it."""
    repeats = max(1, 2_000_000 // max(elements, 20_000))
    mine(), other()
    found = [(seconds(mine, repeats, clock), seconds(other, repeats, clock)) for _ in range(rounds)]
    return 1e6 * median(a for a, _ in found), median(b / a for a, b in found)


def lines(shape: tuple[int, ...], rounds: int) -> None:
    steps, two = Steps(shape), Steps(shape, threads=2)
    elements = steps.x.numel()
    pairs = [
        ("DDPM / plain torch", steps.ddpm(), steps.plain()),
        ("DDPM in place / best in-place torch", steps.ddpm_in_place(), steps.best_in_place()),
        ("DDPM, a seed for each / a generator for each", steps.ddpm_seeds(), steps.generators()),
        ("DDPM, one seed / a seed for each (ours)", steps.ddpm_in_place(), steps.ddpm_seeds()),
        ("DDPM, float32 / bfloat16 outputs (ours)", steps.ddpm_in_place(), steps.ddpm_bfloat16()),
        ("DDIM in place / an in-place add", steps.ddim_in_place(), steps.add_in_place()),
        ("2M in place / plain torch", steps.two_m(), steps.plain_two_m()),
        ("DDPM, two threads / one (ours)", two.ddpm_in_place(), steps.ddpm_in_place()),
    ]
    print(f"\n{shape!s:48} {'us':>9} {'other / ours':>13}")
    for name, mine, other in pairs:
        clock = time.perf_counter if "two threads" in name else time.process_time
        time_us, ratio = compared(mine, other, elements, rounds, clock)
        print(f"{name:48} {time_us:9.1f} {ratio:13.2f}", flush=True)


def share() -> None:
    """Of the update in sampling with a network of three convolutions, far smaller than a UNet."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.SiLU(),
        torch.nn.Conv2d(32, 1, 3, padding=1),
    )  # fmt: skip
    steps = Steps(SHAPES[0])
    with torch.no_grad():
        a, ratio = compared(steps.ddpm(), lambda: network(steps.x), 2_000_000, 5)
    part = 1 / (1 + ratio)
    print(f"\nthree convolutions of 32 channels on {SHAPES[0]}: the update is {part:.2%} of a step ({a:.0f} us)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    about = config()
    print(f"sdefast {about['sdefast']}, {about['instruction set']}, torch {torch.__version__}")
    for shape in SHAPES:
        lines(shape, arguments.rounds)
    share()


if __name__ == "__main__":
    main()
