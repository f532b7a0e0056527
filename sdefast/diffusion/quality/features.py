"""What a classifier's features and classes say about samples."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from ... import checks, noise
from .moments import frechet_of_moments, moments

__all__ = ["Features", "Floor", "class_entropy", "class_histogram", "entropy_of", "frechet", "frechet_floor"]


class Features(Protocol):
    """A classifier: a `Classifier` that is trained here, or anybody's with these two methods."""

    def features(self, images: Any) -> np.ndarray:
        """Of shape (n, d)."""

    def probabilities(self, images: Any) -> np.ndarray:
        """Of shape (n, n_classes)."""


class Floor(NamedTuple):
    """A distance of real data from real data: mean and standard deviation over subsets, and their size and number."""

    mean: float
    sd: float
    n: int
    repeats: int

    @classmethod
    def of(cls, values: list[float], parts: list[np.ndarray]) -> Floor:
        """That of the distances of some subsets."""
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), sd, len(parts[0]), len(values))

    def __str__(self) -> str:
        spread = f" +- {self.sd:.3g}" if self.repeats > 1 else ""
        return f"{self.mean:.3f}{spread}"


def frechet(samples: Any, reference: Any, classifier: Features) -> float:
    """The squared Frechet distance of two sets of images in a classifier's features, as FID is.

    It is biased upward, by what `frechet_floor` measures: compare equal numbers of samples only. Distances in the
    features of different classifiers cannot be compared.

    Parameters
    ----------
    samples, reference : array or tensor of shape (n, channels, height, width)
        At least 2 each.
    classifier : Classifier
        Or another object with a method ``features``.

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import quality
    >>> class Means:
    ...     def features(self, images):
    ...         return images.mean(axis=(1, 2, 3))[:, None]
    >>> images = np.arange(3.0).reshape(3, 1, 1, 1)
    >>> quality.frechet(images + 2, images, Means())
    4.0
    """
    return frechet_of_moments(*moments(classifier.features(samples)), *moments(classifier.features(reference)))


def frechet_floor(real: Any, reference: Any, classifier: Features, n: int, *, repeats: int = 5, seed: int = 0) -> Floor:
    """What the Frechet distance to the reference is for n real images: no sampler is expected to fall below it.

    Parameters
    ----------
    real : array of shape (n_real, channels, height, width)
        Images like those of the reference that are not in it.
    reference : array of shape (n_reference, channels, height, width)
    classifier : Classifier
    n : int
        As many as there are samples; all are taken where there are fewer.
    repeats : int
        Disjoint subsets at most.
    seed : int
        Of the choice.

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import quality
    >>> class Means:
    ...     def features(self, images):
    ...         return images.mean(axis=(1, 2, 3))[:, None]
    >>> images = np.arange(4.0).reshape(4, 1, 1, 1)
    >>> str(quality.frechet_floor(images, images + 2, Means(), n=4))
    '4.000'
    """
    return floor_of(real, moments(classifier.features(reference)), classifier, n, repeats=repeats, seed=seed)


def floor_of(
    real: np.ndarray,
    reference: tuple[np.ndarray, np.ndarray],
    classifier: Features,
    n: int,
    *,
    repeats: int = 5,
    seed: int = 0,
) -> Floor:
    """The same for a reference of which the moments are known."""
    parts = subsets(len(real), n, repeats, seed)
    return Floor.of(
        [frechet_of_moments(*moments(classifier.features(real[part])), *reference) for part in parts], parts
    )


def subsets(total: int, n: int, repeats: int, seed: int) -> list[np.ndarray]:
    """Indices of disjoint subsets of n of them, or of one of all where there are fewer."""
    n, repeats = min(checks.count("n", n), total), checks.count("repeats", repeats)
    order = np.argsort(noise.uniforms(seed, 1, total)[0], kind="stable")
    return [order[i * n : (i + 1) * n] for i in range(min(repeats, total // n))]


def class_histogram(samples: Any, classifier: Features) -> np.ndarray:
    """Share of each class among the samples, each counted for its most probable class; shape (n_classes,).

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import quality
    >>> class Signs:
    ...     def probabilities(self, x):
    ...         return np.stack([x < 0, x >= 0], axis=1)
    >>> quality.class_histogram(np.array([-1.0, 2.0, 3.0, 4.0]), Signs())
    array([0.25, 0.75])
    """
    return shares_of(classifier.probabilities(samples))


def shares_of(probabilities: np.ndarray) -> np.ndarray:
    """The share of samples for which each class is the most probable."""
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)


def class_entropy(samples: Any, classifier: Features) -> float:
    """Entropy in nats of `class_histogram`: log 10 = 2.303 where ten classes are equally frequent, 0 at mode collapse.

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import quality
    >>> class Signs:
    ...     def probabilities(self, x):
    ...         return np.stack([x < 0, x >= 0], axis=1)
    >>> round(quality.class_entropy(np.array([-1.0, 1.0]), Signs()), 6)  # log 2
    0.693147
    """
    return entropy_of(class_histogram(samples, classifier))


def entropy_of(shares: np.ndarray) -> float:
    """Entropy in nats."""
    some = shares[shares > 0]
    return float((some * np.log(1 / some)).sum())
