"""What experiments with trained networks share: training that is kept, judging images and points, asking for scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import data, quality, training
from ..objectives import Objective
from ..plan import Plan
from ..tensors import torch
from ..training import Trained
from .base import Bench, timed

__all__ = [
    "ImageJudge", "PointJudge", "Training", "drawn", "images", "labelled", "learned", "score_at", "settings_note",
]  # fmt: skip


class Training(NamedTuple):
    """What is trained in every setting of an experiment."""

    steps: int
    batch: int
    seed: int
    learning_rate: float = 1e-3


def learned(
    bench: Bench, label: str, x: np.ndarray, objective: Objective, how: Training, *, seed: int | None = None,
    labels: np.ndarray | None = None,
) -> tuple[Trained, float]:  # fmt: skip
    """A network trained on x for an objective, and CPU seconds.

    The learning rate falls linearly to 0 at the last step. Where the bench has a folder the network is kept in
    ``label`` there, and a training that was cut off or done before goes on; the seconds are those of all its parts (but
    for one that was killed).
    """
    folder = None if bench.folder is None else bench.folder / label

    def work() -> Trained:
        return training.train(
            x, labels, objective=objective, steps=how.steps, batch_size=how.batch, learning_rate=how.learning_rate,
            warmup=min(100, how.steps // 5), decay=how.steps, seed=how.seed if seed is None else seed, out=folder,
            resume=folder is not None, device=bench.device, progress=bench.progress,
        )  # fmt: skip

    return timed(work) if folder is None else _adding(work, folder / "cpu-seconds.txt")


def _adding(work: Callable[[], Trained], file: Path) -> tuple[Trained, float]:
    """The same as `timed`, with the seconds that are noted in a file, where the sum is noted."""
    before = float(file.read_text()) if file.is_file() else 0.0
    began = time.process_time()
    try:
        done = work()
    finally:
        total = before + time.process_time() - began
        if file.parent.is_dir():
            file.write_text(f"{total:.2f}\n")
    return done, total


def settings_note(how: Training, n_data: int, run: Trained) -> str:
    """How networks were trained, in words."""
    size = sum(parameter.numel() for parameter in run.net.parameters())
    return (
        f"trained on {n_data:,} samples, {how.steps:,} optimiser steps of batch {how.batch}, seed {how.seed}, AdamW "
        f"{how.learning_rate:g} that falls linearly to 0, averaged weights, {size:,} parameters"
    )


def images(bench: Bench) -> np.ndarray:
    """The images to train on, scikit-learn's digits by default."""
    return labelled(bench)[0]


def labelled(bench: Bench) -> tuple[np.ndarray, np.ndarray | None]:
    """The images to train on, and their labels if they have some."""
    x, labels = data.load("digits" if bench.data is None else bench.data)
    if x.ndim != 4:
        raise ValueError(f"data must be images (n, channels, height, width), got shape {x.shape}")
    return x, labels


def drawn(
    run: Trained, plan: Plan, n: int, *, seed: int, bench: Bench, batch: int = 256, labels: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Samples by a plan, and CPU seconds."""
    return timed(lambda: run.sample(n, plan, seed=seed, labels=labels, batch=batch, progress=bench.progress))


def score_at(run: Trained, t: int) -> Callable[[np.ndarray], np.ndarray]:
    """The learned score at a timestep, of points of numpy; the run's objective must predict it."""
    model = run.model()

    def score(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            given = torch.as_tensor(x, dtype=torch.float32).to(next(model.parameters()))
            said = model(given, torch.full((len(x),), t, device=given.device))
        return np.asarray(said.cpu(), np.float64)

    return score


class ImageJudge:
    """Frechet distances of n samples to held-out images, in the features of a classifier that is trained here.

    ``floor`` is what it is for as many of the images that were trained on.
    """

    def __init__(self, bench: Bench, n: int, seed: int) -> None:
        where = "digits" if bench.data is None else bench.data
        (real, labels), (reference, _) = (data.load(where, split) for split in data.SPLITS)
        if labels is None:
            raise ValueError("data must have labels, to train the classifier in whose features images are judged")
        self._classifier, self._seconds = timed(
            lambda: quality.train_classifier(real, labels, seed=seed, progress=bench.progress)
        )
        self._reference = quality.moments(self._classifier.features(reference))
        self._n_reference, self._n, self._seed = len(reference), n, seed
        self.floor = quality.frechet_floor(real, reference, self._classifier, n, seed=seed)

    def frechet(self, samples: np.ndarray) -> float:
        """To the held-out images."""
        own = quality.moments(self._classifier.features(samples))
        return quality.frechet_of_moments(*own, *self._reference)

    @property
    def note(self) -> str:
        """What the distances are."""
        return (
            f"Frechet distance of {self._n:,} samples to {self._n_reference:,} held-out images, in the features of a "
            f"classifier trained here (seed {self._seed}, {self._seconds:.0f} CPU seconds); {self.floor} of "
            f"{self.floor.n:,} real images"
        )


class PointJudge:
    """Energy distances to points that nothing was trained on, and how far apart two such sets are."""

    def __init__(self, fresh: Callable[[int], np.ndarray], n_repeats: int = 5) -> None:
        """``fresh(i)`` gives the i-th set of points."""
        self._reference = fresh(0)
        self.repeats = n_repeats
        own = [quality.energy_distance(fresh(i), self._reference) for i in range(1, n_repeats + 1)]
        self.floor, self.spread = float(np.mean(own)), float(np.std(own, ddof=1))

    def distance(self, samples: np.ndarray) -> float:
        """Of samples to the reference."""
        return quality.energy_distance(samples, self._reference)
