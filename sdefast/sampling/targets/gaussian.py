"""Gaussian targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, noise
from ...lazy import cached_property
from ...math import dot, sum
from ...trace import Expr, as_expr, constant, symbol
from ...trace.vectors import cholesky, entries, numbered, solve, symbols, times, total
from .base import FIRST_START_DRAW, BaseTarget, positive_definite, put, vector
from .density import Density, Vector, state_symbols
from .tabulated import Tabulated, gaussian

#: Equations of a proximal map are solved in so many dimensions at most, if components depend on each other.
MOST_SOLVED = 16

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
        return inverse(self.covariance)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """The mean and, where it is written out, the precision."""
        return numbered("mean", self.mean) | written("precision", self.precision)

    @cached_property
    def density(self) -> Density:
        """-(x - m)' P (x - m) / 2, and the score P (m - x), which shares the product where that is written out."""
        x, mean = state_symbols(self.dim), symbols("mean", self.dim)
        away = [xi - mi for xi, mi in zip(x, mean, strict=True)]
        if not is_written(self.precision):
            return Density(self.dim, as_expr(-0.5 * square("precision", self.precision, away)))
        toward = [mi - xi for xi, mi in zip(x, mean, strict=True)]
        score = tuple(map(as_expr, times("precision", self.precision, toward)))
        return Density(self.dim, as_expr(-0.5 * total([t * s for t, s in zip(toward, score, strict=True)])), score)

    @cached_property
    def tabulated(self) -> Tabulated:
        """Mean and precision."""
        return gaussian(self.mean, self.precision)

    @property
    def own_prox(self) -> Callable[[Vector, Expr], Sequence[Expr]] | None:
        """(I + scale P)^-1 (v + scale P m), of independent components or in few dimensions."""
        if np.array_equal(self.precision, np.diag(np.diag(self.precision))):
            return self._prox_of_each
        return self._prox_of_all if self.dim <= MOST_SOLVED else None

    def _entry(self, i: int, j: int) -> Expr:
        value = self.precision[i, j]
        return constant(value) if value in (0, 1) else symbol(f"precision{i}_{j}")

    def _prox_of_each(self, v: Vector, scale: Expr) -> list[Expr]:
        weights = [as_expr(scale * self._entry(i, i)) for i in range(self.dim)]
        return [
            as_expr((vi + w * symbol(f"mean{i}")) / (1 + w)) for i, (vi, w) in enumerate(zip(v, weights, strict=True))
        ]

    def _prox_of_all(self, v: Vector, scale: Expr) -> list[Expr]:
        d, mean = self.dim, symbols("mean", self.dim)
        matrix = [[as_expr(scale * self._entry(i, j) + float(i == j)) for j in range(d)] for i in range(d)]
        away = solve(cholesky(matrix), [vi - m for vi, m in zip(v, mean, strict=True)])
        return [as_expr(m + a) for m, a in zip(mean, away, strict=True)]

    @property
    def is_gaussian(self) -> bool:
        """It is."""
        return True

    @cached_property
    def curvature(self) -> float:
        """The largest eigenvalue of the precision."""
        variances = np.diagonal(self.covariance)
        if np.count_nonzero(self.covariance) == len(variances):
            return float(1 / variances.min())
        return float(1 / np.linalg.eigvalsh(self.covariance)[0])

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim)."""
        n = checks.count("n", n)
        z = noise.normals(seed, self.dim, n, first_draw=FIRST_START_DRAW, first_chain=first_chain)
        return np.asarray(self.mean + z.T @ np.linalg.cholesky(self.covariance).T)

    def convolved(self, sigma: float) -> Gaussian:
        """The law with noise N(0, sigma^2) added."""
        return Gaussian(self.mean, self.covariance + checks.real("sigma", sigma, least=0) ** 2 * np.eye(self.dim))


def is_written(precision: np.ndarray) -> bool:
    """Whether products with a precision matrix are written out."""
    return int(np.count_nonzero(precision)) <= max(MOST_WRITTEN, len(precision))


def written(name: str, precision: np.ndarray) -> dict[str, float]:
    """The entries of a precision matrix by the names of their symbols, where it is written out."""
    return entries(name, precision) if is_written(precision) else {}


def square(name: str, precision: np.ndarray, away: list[Any]) -> Any:
    """d' P d for a precision matrix whose entries, where it is `written` out, have that name."""
    if is_written(precision):
        return total([d * pd for d, pd in zip(away, times(name, precision, away), strict=True)])
    root = np.linalg.cholesky(precision).T  # rows r with sum (r . d)^2 = d' P d
    return sum(lambda row: dot(row, away) ** 2, root)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """That of a positive definite matrix, without entries that only rounding has made."""
    found = np.linalg.inv(matrix)
    return np.asarray((found + found.T) / 2 * (np.abs(found) > 1e-15 * np.abs(found).max()))
