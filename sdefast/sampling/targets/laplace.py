"""Laplace's law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, noise
from ...lazy import cached_property
from ...trace import as_expr
from .base import FIRST_START_DRAW, BaseTarget, put, vector
from .density import Density, Vector, state_symbols
from .penalties import L1
from .penalties.base import check_length, number_or_vector


@dataclass(frozen=True, eq=False, repr=False)
class Laplace(BaseTarget):
    r"""Independent components of density :math:`\exp(-|x_i - m_i| / b_i)`, with a kink at the mean.

    For proximal methods all of it is the penalty and the smooth part is 0.

    Parameters
    ----------
    mean : array_like of shape (dim,)
        m; a number in one dimension.
    scale : float or array_like of shape (dim,)
        b, positive: one for all components, or one for each. The variance is :math:`2 b^2`.

    Raises
    ------
    ValueError, TypeError
        If a scale is not positive, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Laplace([0.0, 1.0], scale=0.5)
    >>> target.score([3.0, 0.0]), target.prox([3.0, 1.1], scale=1.0)
    (array([-2.,  2.]), array([1., 1.]))
    """

    mean: np.ndarray = 0.0  # type: ignore[assignment]
    scale: float | np.ndarray = 1.0

    def __post_init__(self) -> None:
        put(self, mean=vector("mean", self.mean), scale=number_or_vector("scale", self.scale, positive=True))
        check_length("scale", self.scale, self.dim)

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return len(self.mean)

    @cached_property
    def _penalty(self) -> L1:
        return L1(1 / self.scale, self.mean)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """1 / b and m."""
        return self._penalty.parameters

    def log_density_of(self, x: Vector) -> Any:
        """-|x - m| / b."""
        return -self._penalty.value(x)

    @cached_property
    def density(self) -> Density:
        """What methods see."""
        x = state_symbols(self.dim)
        score = tuple(as_expr(-g) for g in self._penalty.gradient(x))
        return Density(self.dim, as_expr(self.log_density_of(x)), score, (as_expr(0.0),) * self.dim, self._penalty)

    @property
    def covariance(self) -> np.ndarray:
        """Diagonal: 2 b^2."""
        return np.diag(np.broadcast_to(2 * np.square(self.scale), (self.dim,)))

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim), by the inverse of the distribution function."""
        u = noise.uniforms(seed, self.dim, checks.count("n", n), first_draw=FIRST_START_DRAW, first_chain=first_chain).T
        away = np.log(2 * np.minimum(u, 1 - u))
        return np.asarray(self.mean + self.scale * np.where(u < 0.5, away, -away))
