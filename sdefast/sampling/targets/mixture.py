"""Mixtures of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, noise
from ...lazy import cached_property
from ...math import logsumexp
from ...trace import symbol
from ...trace.vectors import entries, numbered, symbols, times, total
from .base import FIRST_START_DRAW, BaseTarget, positive_definite, put
from .density import Vector
from .tabulated import Tabulated, mixture


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMixture(BaseTarget):
    r"""A mixture :math:`\sum_k w_k N(m_k, C_k)`, whose score is the mean of its components' under their weights at x.

    Parameters
    ----------
    weights : array_like of shape (k,)
        Positive; divided by their sum.
    means : array_like of shape (k, dim)
        Of shape (k,) in one dimension.
    covariances : array_like
        Of shape (k, dim, dim); or one variance a component, of shape (k,), for isotropic ones, which are fastest; or
        one number for all.

    Raises
    ------
    ValueError, TypeError
        If a covariance is not positive definite, a weight is not positive, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.GaussianMixture([0.2, 0.8], [-4.0, 4.0], 0.09)
    >>> target.mean, round(float(target.covariance[0, 0]), 2)
    (array([2.4]), 10.33)
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray = 1.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        weights = checks.array("weights", self.weights, shape=(None,))
        if not weights.size or (weights <= 0).any():
            raise ValueError(f"weights must be positive, got {checks.shown(self.weights)}")
        means = checks.array("means", self.means)
        means = means.reshape(-1, 1) if means.ndim == 1 else means
        if means.ndim != 2 or len(means) != len(weights) or not means.size:
            raise ValueError(f"means must have shape ({len(weights)}, dim), got {means.shape}")
        put(self, weights=weights / weights.sum(), means=means, covariances=self._checked(len(weights), means.shape[1]))

    def _checked(self, k: int, dim: int) -> np.ndarray:
        """Variances (k,) of isotropic components, or matrices (k, dim, dim)."""
        given = checks.array("covariances", self.covariances)
        if given.shape in ((), (k,)):
            if (given <= 0).any():
                raise ValueError(f"covariances must be positive, got {checks.shown(self.covariances)}")
            return np.broadcast_to(given, (k,)).copy()
        if given.shape != (k, dim, dim):
            raise ValueError(
                f"covariances must be a number, or of shape ({k},) or ({k}, {dim}, {dim}), got {given.shape}"
            )
        matrices = np.stack([positive_definite(f"covariances[{i}]", matrix, dim) for i, matrix in enumerate(given)])
        variances = matrices[:, 0, 0]
        isotropic = np.array_equal(matrices, variances[:, None, None] * np.eye(dim))
        return variances.copy() if isotropic else matrices

    @cached_property
    def dim(self) -> int:
        """Number of components of the state."""
        return int(self.means.shape[1])

    @property
    def n_components(self) -> int:
        """Number of Gaussians."""
        return len(self.weights)

    @cached_property
    def _matrices(self) -> np.ndarray:
        """The covariances as matrices."""
        if self.covariances.ndim == 3:
            return self.covariances
        matrices: np.ndarray = self.covariances[:, None, None] * np.eye(self.dim)
        return matrices

    @cached_property
    def _precisions(self) -> np.ndarray:
        inverses: np.ndarray = np.linalg.inv(self._matrices)
        return np.asarray((inverses + inverses.transpose(0, 2, 1)) / 2)

    @cached_property
    def _heights(self) -> np.ndarray:
        """Logarithms of the weights over roots of determinants, the largest 0."""
        heights = np.log(self.weights) - np.linalg.slogdet(self._matrices)[1] / 2
        return np.asarray(heights - heights.max())

    @cached_property
    def tabulated(self) -> Tabulated | None:
        """Heights, means and precisions."""
        isotropic = self.covariances.ndim == 1
        return mixture(self._heights, self.means, 1 / self.covariances if isotropic else self._precisions)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Logarithms of the weights over roots of determinants, means, precisions."""
        found = numbered("height", self._heights)
        for k, mean in enumerate(self.means):
            found |= numbered(f"mean{k}_", mean)
            if self.covariances.ndim == 1:
                found[f"precision{k}"] = 1 / float(self.covariances[k])
            else:
                found |= entries(f"precision{k}_", self._precisions[k])
        return found

    def log_density_of(self, x: Vector) -> Any:
        """log sum_k w_k N(x; m_k, C_k)."""
        return logsumexp(tuple(self._log_component(k, x) for k in range(self.n_components)))

    def _log_component(self, k: int, x: Vector) -> Any:
        away = [xi - mi for xi, mi in zip(x, symbols(f"mean{k}_", self.dim), strict=True)]
        if self.covariances.ndim == 1:
            square = symbol(f"precision{k}") * total([d * d for d in away])
        else:
            turned = times(f"precision{k}_", self._precisions[k], away)
            square = total([d * t for d, t in zip(away, turned, strict=True)])
        return symbol(f"height{k}") - 0.5 * square

    @cached_property
    def curvature(self) -> float:
        """The largest eigenvalue of all precisions: between components the density is less curved."""
        return float(1 / np.linalg.eigvalsh(self._matrices).min())

    @property
    def mean(self) -> np.ndarray:
        """Its mean, of shape (dim,)."""
        mean: np.ndarray = self.weights @ self.means
        return mean

    @property
    def covariance(self) -> np.ndarray:
        """Its covariance matrix, of shape (dim, dim)."""
        away = self.means - self.mean
        spread: np.ndarray = np.einsum("k,kij->ij", self.weights, self._matrices)
        return np.asarray(spread + (self.weights[:, None] * away).T @ away)

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim)."""
        n = checks.count("n", n)
        u = noise.uniforms(seed, 1, n, first_draw=FIRST_START_DRAW, first_chain=first_chain)[0]
        z = noise.normals(seed, self.dim, n, first_draw=FIRST_START_DRAW, first_chain=first_chain).T
        chosen = np.minimum(np.searchsorted(np.cumsum(self.weights), u, side="right"), self.n_components - 1)
        roots = np.linalg.cholesky(self._matrices)
        moved: np.ndarray = self.means[chosen] + np.einsum("nij,nj->ni", roots[chosen], z)
        return moved

    def convolved(self, sigma: float) -> GaussianMixture:
        """The law with noise N(0, sigma^2) added."""
        more = checks.real("sigma", sigma, least=0) ** 2
        added = more if self.covariances.ndim == 1 else more * np.eye(self.dim)
        return GaussianMixture(self.weights, self.means, self.covariances + added)
