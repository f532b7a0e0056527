"""Student's law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, noise
from ...lazy import cached_property
from ...math import log1p
from ...trace import symbol
from ...trace.vectors import numbered, symbols
from .base import FIRST_START_DRAW, BaseTarget, positive_definite, put, vector
from .density import Vector
from .draws import gamma
from .gaussian import inverse, square, written


@dataclass(frozen=True, eq=False, repr=False)
class Student(BaseTarget):
    r"""Student's law, of density :math:`(1 + (x-m)^T S^{-1} (x-m) / \nu)^{-(\nu+d)/2}`: tails like powers.

    Parameters
    ----------
    df : float
        Degrees of freedom :math:`\nu`, positive; there is a mean above 1 and a covariance above 2.
    location : array_like of shape (dim,)
        m; a number in one dimension.
    shape : array_like
        S, positive definite, of shape (dim, dim); or the diagonal (dim,), or one number for all components. The
        covariance is :math:`S \nu / (\nu - 2)`.

    Raises
    ------
    ValueError, TypeError
        If the degrees of freedom are not positive, S is not positive definite, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Student(df=4.0, location=[1.0, 0.0])
    >>> target.covariance
    array([[2., 0.],
           [0., 2.]])
    """

    df: float
    location: np.ndarray = 0.0  # type: ignore[assignment]
    shape: np.ndarray = 1.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        location = vector("location", self.location)
        put(self, df=checks.real("df", self.df, positive=True), location=location)
        put(self, shape=positive_definite("shape", self.shape, len(location)))

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return len(self.location)

    @cached_property
    def _precision(self) -> np.ndarray:
        return inverse(self.shape)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """The degrees of freedom, m and, where it is written out, the inverse of S."""
        return {"df": self.df, **numbered("location", self.location), **written("precision", self._precision)}

    def log_density_of(self, x: Vector) -> Any:
        """-(nu + d) / 2 log(1 + (x - m)' S^-1 (x - m) / nu)."""
        away = [xi - mi for xi, mi in zip(x, symbols("location", self.dim), strict=True)]
        df = symbol("df")
        return -0.5 * (df + self.dim) * log1p(square("precision", self._precision, away) / df)

    @property
    def mean(self) -> np.ndarray | None:
        """m, if there are more than one degree of freedom."""
        return self.location if self.df > 1 else None

    @property
    def covariance(self) -> np.ndarray | None:
        """S nu / (nu - 2), if there are more than two degrees of freedom."""
        return self.shape * (self.df / (self.df - 2)) if self.df > 2 else None

    @cached_property
    def curvature(self) -> float:
        """(nu + d) / nu over the least eigenvalue of S: that in the middle."""
        return float((1 + self.dim / self.df) / np.linalg.eigvalsh(self.shape)[0])

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim): Gaussian ones over the root of a chi-square by its degrees of freedom."""
        n = checks.count("n", n)
        z = noise.normals(seed, self.dim, n, first_draw=FIRST_START_DRAW, first_chain=first_chain)
        scale = np.sqrt(gamma(self.df / 2, n, seed, first_chain) / (self.df / 2))
        return np.asarray(self.location + (z / scale).T @ np.linalg.cholesky(self.shape).T)
