"""Everything that is said about a set of samples, beside what real data would have."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import data as sources
from .features import Features, Floor, entropy_of, floor_of, shares_of, subsets
from .moments import frechet_of_moments, moments
from .points import between, within

__all__ = ["ImageReport", "PointReport", "Report", "evaluate"]


class Report(ABC):
    """What `evaluate` returns; it prints as a table."""

    n: int
    n_reference: int

    @abstractmethod
    def rows(self) -> list[tuple[str, str, str]]:
        """Name, value, and what real data would have."""

    def __str__(self) -> str:
        rows = [("", "samples", "real data"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
        return "\n".join([*lines, *self._notes()])

    @abstractmethod
    def _notes(self) -> list[str]:
        """What is to be known of the numbers."""


@dataclass(frozen=True, eq=False)
class ImageReport(Report):
    """Of images.

    Attributes
    ----------
    frechet : float
        Squared Frechet distance to the reference in the classifier's features.
    floor : Floor
        What it is for real images, as many or as there are.
    entropy, reference_entropy : float
        Of the classes, in nats.
    histogram, reference_histogram : ndarray of shape (n_classes,)
        Shares of the classes.
    confidence, reference_confidence : float
        Mean of the largest probability that the classifier gives.
    accuracy : float or None
        Of the classifier on the reference; None where that has no labels.
    n, n_reference : int
        Number of samples, and of images in the reference.
    """

    frechet: float
    floor: Floor
    entropy: float
    reference_entropy: float
    histogram: np.ndarray
    reference_histogram: np.ndarray
    confidence: float
    reference_confidence: float
    accuracy: float | None
    n: int
    n_reference: int

    def rows(self) -> list[tuple[str, str, str]]:
        shares = [
            (f"share of class {i}", f"{a:.3f}", f"{b:.3f}")
            for i, (a, b) in enumerate(zip(self.histogram, self.reference_histogram, strict=True))
        ]
        return [
            ("Frechet distance", f"{self.frechet:.3f}", str(self.floor)),
            ("class entropy", f"{self.entropy:.3f}", f"{self.reference_entropy:.3f}"),
            ("confidence", f"{self.confidence:.3f}", f"{self.reference_confidence:.3f}"),
            *shares,
        ]

    def _notes(self) -> list[str]:
        right = "" if self.accuracy is None else f", which is right about {100 * self.accuracy:.1f} % of the reference"
        return [
            f"{self.n} samples against {self.n_reference} images, in the features of a classifier{right};",
            f"the floor of the distance is that of {self.floor.n} real images ({self.floor.repeats} times)",
        ]


@dataclass(frozen=True, eq=False)
class PointReport(Report):
    """Of points.

    Attributes
    ----------
    energy_distance : float
        To the reference, without bias.
    floor : Floor
        What it is for real points, as many or as there are.
    mean, reference_mean, sd, reference_sd : ndarray of shape (d,)
        Of every coordinate.
    n, n_reference : int
        Number of samples, and of points in the reference.
    """

    energy_distance: float
    floor: Floor
    mean: np.ndarray
    reference_mean: np.ndarray
    sd: np.ndarray
    reference_sd: np.ndarray
    n: int
    n_reference: int

    def rows(self) -> list[tuple[str, str, str]]:
        distance = ("energy distance", f"{self.energy_distance:.5f}", f"{self.floor.mean:.5f} +- {self.floor.sd:.2g}")
        pairs = [("mean", self.mean, self.reference_mean), ("sd", self.sd, self.reference_sd)]
        return [
            distance,
            *(
                (f"{name} of coordinate {i}", f"{a:.4f}", f"{b:.4f}")
                for name, own, real in pairs
                for i, (a, b) in enumerate(zip(own[:8], real[:8], strict=True))
            ),
        ]

    def _notes(self) -> list[str]:
        return [
            f"{self.n} samples against {self.n_reference} points;",
            f"beside the distance is that of {self.floor.n} real points ({self.floor.repeats} times)",
        ]


def evaluate(
    samples: Any,
    data: Any = "digits",
    labels: Any = None,
    classifier: Features | str | os.PathLike[str] | None = None,
    *,
    n: int = 10_000,
    seed: int = 0,
    repeats: int = 5,
    progress: bool = False,
) -> Report:
    """Samples beside real data: the Frechet distance and the classes of images, the energy distance of points.

    Parameters
    ----------
    samples : array, tensor or path
        Images (n, channels, height, width) in [-1, 1] or uint8, points (n, d), or a file ``.npy`` or ``.npz``.
    data : str, path or array
        As for `data.load`. The reference is the part that is kept for judging; what is trained on trains the classifier
        and tells the floor. Files and arrays are halved for that, always in the same way.
    labels : array_like of int, optional
        Of an array's images, for a classifier to be trained on.
    classifier : Classifier or path, optional
        One that was trained before, a file where it was saved, or another object with ``features`` and
        ``probabilities``. By default one is trained, in a few seconds.
    n : int
        Points of the reference, for data of a name.
    seed : int
        Of the classifier and of the choice of real data.
    repeats : int
        Subsets of real data from which the floor is found.
    progress : bool
        Whether the training shows a progress bar.

    Returns
    -------
    ImageReport or PointReport
        Printable; numbers are its attributes.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, a file is damaged, or a classifier must be trained and there are no labels.

    Examples
    --------
    >>> from sdefast.diffusion import data, quality
    >>> report = quality.evaluate(data.swiss_roll(500, seed=5), "swiss-roll", n=500)
    >>> abs(report.energy_distance) < 0.02
    True
    """
    x = _samples(samples)
    (real, real_labels), (reference, reference_labels) = _parts(
        data, labels, {"train": repeats * len(x), "test": n}, seed
    )
    if x.shape[1:] != reference.shape[1:]:
        raise ValueError(f"samples must have the shape of the data, (n, *{reference.shape[1:]}), got {x.shape}")
    if len(x) < 2:
        raise ValueError(f"samples must be at least 2, got {len(x)}")
    if x.ndim == 2:
        return _of_points(x, real, reference, repeats, seed)
    judge = _judge(classifier, real, real_labels, seed, progress)
    return _of_images(x, real, reference, reference_labels, judge, repeats, seed)


def _samples(samples: Any) -> np.ndarray:
    if isinstance(samples, (str, os.PathLike)):
        return sources.read_array(samples)[0]
    return sources.checked("samples", samples)


def _parts(data: Any, labels: Any, n: dict[str, int], seed: int) -> Any:
    """What is trained on and what is kept for judging, each with labels or None; ``n`` points of each for a name."""
    if isinstance(data, (str, os.PathLike)) and not os.path.isfile(data):
        if labels is not None:
            raise TypeError(f"labels are those of an array, and data={os.fspath(data)!r} has its own")
        return tuple(sources.load(data, split, n=n[split], seed=seed) for split in sources.SPLITS)
    x, own = sources.load(data)
    if labels is not None:
        own = sources.checked_labels("labels", labels, len(x))
    if len(x) < 4:
        raise ValueError(f"data must hold at least 4 samples, to be halved, got {len(x)}")
    return sources.halves(x, own)


def _judge(classifier: Any, images: np.ndarray, labels: np.ndarray | None, seed: int, progress: bool) -> Features:
    """The classifier that was given, or one that is trained."""
    if classifier is None:
        if labels is None:
            raise ValueError("labels are needed to train a classifier: give labels, or a classifier")
        from .classifier import train_classifier

        return train_classifier(images, labels, seed=seed, progress=progress)
    if isinstance(classifier, (str, os.PathLike)):
        from .classifier import Classifier

        return Classifier.load(classifier)
    for name in ("features", "probabilities"):
        if not callable(getattr(classifier, name, None)):
            raise TypeError(f"classifier must be a path, or have a method {name}, got {classifier!r}")
    return classifier  # type: ignore[no-any-return]


def _of_images(
    x: np.ndarray,
    real: np.ndarray,
    reference: np.ndarray,
    labels: np.ndarray | None,
    judge: Features,
    repeats: int,
    seed: int,
) -> ImageReport:
    of_reference = moments(judge.features(reference))
    own, theirs = judge.probabilities(x), judge.probabilities(reference)
    shares = [shares_of(own), shares_of(theirs)]
    return ImageReport(
        frechet=frechet_of_moments(*moments(judge.features(x)), *of_reference),
        floor=floor_of(real, of_reference, judge, len(x), repeats=repeats, seed=seed),
        entropy=entropy_of(shares[0]),
        reference_entropy=entropy_of(shares[1]),
        histogram=shares[0],
        reference_histogram=shares[1],
        confidence=float(own.max(axis=1).mean()),
        reference_confidence=float(theirs.max(axis=1).mean()),
        accuracy=None if labels is None else float((theirs.argmax(axis=1) == labels).mean()),
        n=len(x),
        n_reference=len(reference),
    )


def _of_points(x: np.ndarray, real: np.ndarray, reference: np.ndarray, repeats: int, seed: int) -> PointReport:
    own = within(reference.astype(np.float64))

    def distance(points: np.ndarray) -> float:
        a, b = points.astype(np.float64), reference.astype(np.float64)
        return 2 * between(a, b) - within(a) - own

    parts = subsets(len(real), len(x), repeats, seed)
    return PointReport(
        energy_distance=distance(x),
        floor=Floor.of([distance(real[part]) for part in parts], parts),
        mean=x.mean(axis=0, dtype=np.float64),
        reference_mean=reference.mean(axis=0, dtype=np.float64),
        sd=x.std(axis=0, dtype=np.float64),
        reference_sd=reference.std(axis=0, dtype=np.float64),
        n=len(x),
        n_reference=len(reference),
    )
