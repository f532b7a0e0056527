"""Mixtures of densities that do not overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks
from ...lazy import cached_property
from ...trace import minimum, select
from ...trace.vectors import symbols, total
from .base import BaseTarget
from .density import Vector
from .draws import accepted
from .mixture import GaussianMixture


@dataclass(frozen=True, eq=False, repr=False)
class DisjointMixture(GaussianMixture):
    r"""A mixture of Gaussians that do not overlap: each is cut to the points that are nearest to its mean.

    .. math:: p(x) \propto w_k\, N(x; m_k, C_k), \qquad k = \arg\min_j |x - m_j|

    Inside the regions the score is that of one Gaussian, :math:`-C_k^{-1}(x - m_k)`: **the weights are lost**, and
    a method that has the score alone ("ula") cannot know them: whatever they are, its chains have the same law. The log
    density has them, in its jumps at the borders, and a method that accepts or rejects by it ("mala") samples p.

    Parameters
    ----------
    weights : array_like of shape (k,)
        Positive; divided by their sum. They weigh the Gaussians before they are cut, so that a component has the weight
        w_k as far as it has no mass elsewhere.
    means : array_like of shape (k, dim)
        Of shape (k,) in one dimension; all different.
    covariances : array_like
        Of shape (k, dim, dim); or one variance a component, of shape (k,), for isotropic ones, which are fastest; or
        one number for all.

    Raises
    ------
    ValueError, TypeError
        If means are equal, a covariance is not positive definite, a weight is not positive, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> few, many = (sf.targets.DisjointMixture([w, 1 - w], [-4.0, 4.0], 0.09) for w in (0.2, 0.8))
    >>> few.score([-3.8]) == many.score([-3.8]), few.log_density([-3.8]) == many.log_density([-3.8])
    (array([ True]), np.False_)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(np.unique(self.means, axis=0)) < len(self.means):
            raise ValueError(f"means must differ from each other, got {self.means.tolist()}")

    def log_density_of(self, x: Vector) -> Any:
        """log w_k N(x; m_k, C_k) of the k whose mean is nearest."""
        nearest, value = self._distance(0, x), self._log_component(0, x)
        for k in range(1, self.n_components):
            distance = self._distance(k, x)
            value = select(distance < nearest, self._log_component(k, x), value)
            nearest = minimum(distance, nearest)
        return value

    @property
    def tabulated(self) -> None:
        """The kernels of mixtures weigh all components."""
        return None

    def _distance(self, k: int, x: Vector) -> Any:
        """The square of the distance from a mean."""
        return total([(xi - mi) * (xi - mi) for xi, mi in zip(x, symbols(f"mean{k}_", self.dim), strict=True)])

    # In one dimension the regions are intervals -------------------------------------------------------------------

    @cached_property
    def _moments(self) -> tuple[float, float] | None:
        """Mean and variance in one dimension."""
        if self.dim > 1:
            return None
        order = np.argsort(self.means[:, 0])
        means, deviations = self.means[order, 0], np.sqrt(self._matrices[order, 0, 0])
        borders = [-math.inf, *(means[:-1] + means[1:]) / 2, math.inf]
        parts = [_cut(m, s, *ends) for m, s, *ends in zip(means, deviations, borders, borders[1:], strict=False)]
        mass, first, second = (self.weights[order] @ np.array(parts)).tolist()
        return first / mass, second / mass - (first / mass) ** 2

    @property
    def mean(self) -> np.ndarray | None:  # type: ignore[override]
        """Its mean, of shape (1,), in one dimension."""
        return None if self._moments is None else np.array([self._moments[0]])

    @property
    def covariance(self) -> np.ndarray | None:  # type: ignore[override]
        """Its covariance matrix, of shape (1, 1), in one dimension."""
        return None if self._moments is None else np.array([[self._moments[1]]])

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim): those of the whole Gaussians that are in their own regions."""
        roots, last = np.linalg.cholesky(self._matrices), self.n_components - 1

        def propose(z: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            chosen = np.minimum(np.searchsorted(np.cumsum(self.weights), u[0], side="right"), last)
            x = self.means[chosen] + np.einsum("nij,jn->ni", roots[chosen], z)
            distances = np.stack([((x - mean) ** 2).sum(axis=1) for mean in self.means])
            return x, distances.argmin(axis=0) == chosen

        return accepted(propose, self.dim, 1, checks.count("n", n), seed, first_chain)

    def convolved(self, sigma: float) -> Any:
        """Refused: it is not known."""
        return BaseTarget.convolved(self, sigma)


def _cut(m: float, s: float, lower: float, upper: float) -> tuple[float, float, float]:
    """Mass, first and second moment of N(m, s^2) on an interval."""
    a, b = (lower - m) / s, (upper - m) / s
    mass = (math.erfc(a / math.sqrt(2)) - math.erfc(b / math.sqrt(2))) / 2
    at_a, at_b = (math.exp(-t * t / 2) / math.sqrt(2 * math.pi) for t in (a, b))
    ends = [0.0 if math.isinf(t) else t * density for t, density in ((a, at_a), (b, at_b))]
    z, zz = at_a - at_b, mass + ends[0] - ends[1]
    return mass, m * mass + s * z, m * m * mass + 2 * m * s * z + s * s * zz
