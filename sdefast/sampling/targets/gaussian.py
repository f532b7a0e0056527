"""Gaussian targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, noise
from ...lazy import cached_property
from ...math import dot, sum
from ...trace.vectors import entries, numbered, symbols, times, total
from .base import FIRST_START_DRAW, BaseTarget, positive_definite, put, vector
from .density import Vector

#: Products of a precision matrix that are written out; more become a loop over its rows.
MOST_WRITTEN = 128


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(BaseTarget):
    r"""The normal law :math:`N(m, C)`, with score :math:`-C^{-1}(x - m)`.

    Parameters
    ----------
    mean : array_like of shape (dim,)
        A number in one dimension.
    covariance : array_like
        Positive definite, of shape (dim, dim); or the diagonal (dim,), or one variance for all components.

    Raises
    ------
    ValueError, TypeError
        If the covariance is not positive definite, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Gaussian([1.0, 0.0], [[2.0, 0.5], [0.5, 1.0]])
    >>> target.score([1.0, 1.0])
    array([ 0.28571429, -1.14285714])
    """

    mean: np.ndarray = 0.0  # type: ignore[assignment]
    covariance: np.ndarray = 1.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        mean = vector("mean", self.mean)
        put(self, mean=mean, covariance=positive_definite("covariance", self.covariance, len(mean)))

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return len(self.mean)

    @cached_property
    def precision(self) -> np.ndarray:
        """The inverse of the covariance."""
        inverse = np.linalg.inv(self.covariance)
        return np.asarray((inverse + inverse.T) / 2 * (np.abs(inverse) > 1e-15 * np.abs(inverse).max()))

    @property
    def _is_written(self) -> bool:
        return int(np.count_nonzero(self.precision)) <= MOST_WRITTEN

    @property
    def parameters(self) -> dict[str, float]:
        """The mean and, where it is written out, the precision."""
        written = entries("precision", self.precision) if self._is_written else {}
        return numbered("mean", self.mean) | written

    def log_density_of(self, x: Vector) -> Any:
        """-(x - m)' P (x - m) / 2."""
        away = [xi - mi for xi, mi in zip(x, symbols("mean", self.dim), strict=True)]
        if self._is_written:
            return -0.5 * total([d * pd for d, pd in zip(away, times("precision", self.precision, away), strict=True)])
        root = np.linalg.cholesky(self.precision).T  # rows r with sum (r . d)^2 = d' P d
        return -0.5 * sum(lambda row: dot(row, away) ** 2, root)

    @cached_property
    def curvature(self) -> float:
        """The largest eigenvalue of the precision."""
        return float(1 / np.linalg.eigvalsh(self.covariance)[0])

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim)."""
        n = checks.count("n", n)
        z = noise.normals(seed, self.dim, n, first_draw=FIRST_START_DRAW, first_chain=first_chain)
        return np.asarray(self.mean + z.T @ np.linalg.cholesky(self.covariance).T)

    def convolved(self, sigma: float) -> Gaussian:
        """The law with noise N(0, sigma^2) added."""
        return Gaussian(self.mean, self.covariance + checks.real("sigma", sigma, least=0) ** 2 * np.eye(self.dim))
