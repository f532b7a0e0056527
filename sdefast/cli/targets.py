"""The targets of ``python -m sdefast langevin`` by name; another one is a line of `TARGETS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from ..sampling import targets
from ..sampling.targets import BaseTarget

#: What an option takes: one number, of the type of its default, or several if that is a tuple.
Default = float | tuple[float, ...]


@dataclass(frozen=True)
class Kind:
    """A target that can be named: what makes it of the values of its options, their defaults, and what it is."""

    make: Callable[..., BaseTarget]
    options: Mapping[str, Default]
    about: str

    @classmethod
    def of(cls, target: Any, make: Callable[..., BaseTarget] | None = None, **defaults: Default) -> Kind:
        """A target whose options are its fields, with their own defaults where no others are given."""
        own = {field.name: field.default for field in fields(target) if field.default is not MISSING}
        options = own | defaults
        return cls(make or target, options, (target.__doc__ or "").splitlines()[0].split(":math:")[0].rstrip(" .,"))

    def target(self, values: Mapping[str, Any]) -> BaseTarget:
        """The one that has these values of its options, lists of numbers where there may be several."""
        given = {name: values[name] for name in self.options}
        return self.make(**{name: v[0] if isinstance(v, list) and len(v) == 1 else v for name, v in given.items()})


def _matrix(value: Any, n: int, dim: int) -> Any:
    """Numbers as n matrices (dim, dim), row by row, if there are so many; else as they are."""
    if dim == 1 or np.size(value) != n * dim * dim:
        return value
    return np.reshape(value, (dim, dim) if n == 1 else (n, dim, dim))


def _gaussian(mean: Any, covariance: Any) -> BaseTarget:
    return targets.Gaussian(mean, _matrix(covariance, 1, np.size(mean)))


def _mixture(weights: Any, means: Any, covariances: Any) -> BaseTarget:
    """Means come one after the other, covariances as one number, one a component, or matrices row by row."""
    k = np.size(weights)
    if np.size(means) % k:
        raise ValueError(f"--means must be as many numbers for each of the {k} weights, got {np.size(means)}")
    dim = np.size(means) // k
    if np.size(covariances) not in (1, k):
        covariances = np.reshape(covariances, (k, dim, dim)) if np.size(covariances) == k * dim * dim else covariances
    return targets.GaussianMixture(np.atleast_1d(weights), np.reshape(means, (k, dim)), covariances)


def _student(df: float, location: Any, shape: Any) -> BaseTarget:
    return targets.Student(df, location, _matrix(shape, 1, np.size(location)))


TARGETS: dict[str, Kind] = {
    "gaussian": Kind.of(targets.Gaussian, _gaussian, mean=(0.0,), covariance=(1.0,)),
    "mixture": Kind.of(
        targets.GaussianMixture, _mixture, weights=(0.2, 0.8), means=(-2.0, 2.0), covariances=(1.0,)
    ),
    "double-well": Kind.of(targets.DoubleWell),
    "banana": Kind.of(targets.Banana),
    "funnel": Kind.of(targets.Funnel),
    "student": Kind.of(targets.Student, _student, df=5.0, location=(0.0,), shape=(1.0,)),
    "laplace": Kind.of(targets.Laplace, mean=(0.0,), scale=(1.0,)),
}  # fmt: skip
