"""``python benchmarks/diffusion_quality.py FOLDER_OF_MNIST [--labels] [--fid FOLDER]``: how good samples are.

A small UNet is trained by flow matching, and every sampler judged in so many calls of the network: Frechet distance of
512 samples to MNIST's test images, for some seeds of the samples. With ``--labels`` the network is told the digits, and
as many of each are drawn. ``--fid`` is a folder with a ``fid.py`` whose ``Scorer().score(x)["fid"]`` is the distance in
the features of another classifier; without it one is trained here. A training that is in ``--out`` is gone on with, so
that a second call only samples. The last figures lie in ``benchmarks/results/diffusion_quality.txt``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from sdefast.diffusion import quality, train
from sdefast.diffusion.training import Trained

#: Samplers and how often they call the network.
PLANS = [
    *((method, calls) for calls in (10, 20) for method in ("dpm++2m-sde", "dpm++2m", "euler-ancestral", "euler")),
    ("heun", 10), ("dpm++2m-sde", 50), ("ddpm", 200),
]  # fmt: skip


def scorer(folder: str | None, data: str) -> Callable[[np.ndarray], float]:
    """The distance of images to the test images."""
    if folder is None:
        return lambda x: quality.evaluate(x, data).frechet
    sys.path.insert(0, folder)
    from fid import Scorer

    made = Scorer()
    return lambda x: made.score(x)["fid"]


def trained(options: argparse.Namespace) -> Trained:
    began = time.process_time()
    run = train(
        options.data, options.labels, objective=options.objective, steps=options.steps, decay=options.steps,
        batch_size=options.batch, seed=options.seed, out=options.out, resume=options.out is not None, progress=True,
    )  # fmt: skip
    size = sum(parameter.numel() for parameter in run.net.parameters())
    print(
        f"{run.objective.name}, {size:,} parameters, {run.step:,} optimiser steps of batch {options.batch}, seed "
        f"{options.seed}, {time.process_time() - began:.0f} CPU seconds; loss {run.log['loss'][-200:].mean():.4f}"
    )
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with MNIST's files")
    parser.add_argument("--fid", help="folder with a fid.py")
    parser.add_argument("--out", help="folder of the training")
    parser.add_argument("--labels", action="store_const", const=True, help="tell the network the digits")
    parser.add_argument("--objective", default="flow")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1, help="seeds of samples for each sampler")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run, distance = trained(options), scorer(options.fid, options.data)
    labels = np.arange(options.samples) % 10 if options.labels else None
    print(f"{options.samples} samples\n{'sampler':20} {'calls':>6} {'Frechet':>9} {'sd':>6} {'CPU s each':>11}")
    for method, calls in PLANS:
        n_steps = (calls + 1) // 2 if method == "heun" else calls
        began, found = time.process_time(), []
        for seed in range(options.seed + 1, options.seed + 1 + options.repeats):
            found.append(distance(run.sample(options.samples, method, n_steps, seed=seed, clip=1.0, labels=labels)))
        spread = f"{np.std(found, ddof=1):6.2f}" if len(found) > 1 else " " * 6
        cost = (time.process_time() - began) / len(found)
        print(f"{method:20} {calls:6} {np.mean(found):9.2f} {spread} {cost:11.1f}", flush=True)


if __name__ == "__main__":
    main()
