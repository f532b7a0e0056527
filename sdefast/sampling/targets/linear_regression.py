"""The posterior of a linear regression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks
from ...lazy import cached_property
from ...math import dot, sum
from ...trace import Expr, as_expr, symbol
from ...trace.vectors import total
from .base import BaseTarget, put
from .density import Density, Vector, state_symbols
from .gaussian import Gaussian
from .penalties.base import check_length, each, named, number_or_vector


@dataclass(frozen=True, eq=False, repr=False)
class BayesianLinearRegression(BaseTarget):
    r"""The law of :math:`\theta` given :math:`y = X\theta + \sigma\xi`, prior :math:`N(0, \tau^2)`: a Gaussian.

    .. math:: \log p(\theta) = -\frac{|y - X\theta|^2}{2\sigma^2} - \frac{|\theta|^2}{2\tau^2}

    It depends on the data by :math:`X^T X` and :math:`X^T y` alone, and is computed from these: a step is no dearer
    for more rows. Methods that draw rows ("sgld") see the sum.

    Parameters
    ----------
    X : array_like of shape (n, dim)
        The inputs; for an intercept, with a column of ones.
    y : array_like of shape (n,)
        The responses.
    noise_std : float
        :math:`\sigma`, positive.
    prior_std : float or array_like of shape (dim,)
        :math:`\tau`, positive: one for all coefficients, or one for each.

    Raises
    ------
    ValueError, TypeError
        If a standard deviation is not positive, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.BayesianLinearRegression([[1.0], [1.0], [1.0]], [1.0, 2.0, 3.0])
    >>> target.mean, target.covariance
    (array([1.5]), array([[0.25]]))
    """

    X: np.ndarray
    y: np.ndarray
    noise_std: float = 1.0
    prior_std: float | np.ndarray = 1.0

    def __post_init__(self) -> None:
        X, y = design(self.X, self.y)
        put(self, X=X, y=y, noise_std=checks.real("noise_std", self.noise_std, positive=True))
        put(self, prior_std=number_or_vector("prior_std", self.prior_std, positive=True))
        check_length("prior_std", self.prior_std, self.dim, "coefficients")

    @property
    def dim(self) -> int:
        """Number of coefficients."""
        return int(self.X.shape[1])

    @cached_property
    def posterior(self) -> Gaussian:
        """The same law."""
        prior = np.broadcast_to(1 / np.square(self.prior_std), (self.dim,))
        covariance = np.linalg.inv(self.X.T @ self.X / self.noise_std**2 + np.diag(prior))
        covariance = (covariance + covariance.T) / 2
        return Gaussian(covariance @ (self.X.T @ self.y) / self.noise_std**2, covariance)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Those of the Gaussian, 1 / sigma^2 and 1 / tau^2."""
        prior = named("prior_precision", 1 / np.square(self.prior_std))
        return self.posterior.parameters | prior | {"noise_precision": 1 / self.noise_std**2}

    @cached_property
    def density(self) -> Density:
        """What methods see: the Gaussian, and the sum over rows for those that draw them; constants differ."""
        x, gaussian = state_symbols(self.dim), self.posterior.density
        return Density(self.dim, gaussian.log_density(x), gaussian.score(x), by_rows=as_expr(self._sum(x)))

    def _sum(self, x: Vector) -> Any:
        """The log density, row by row."""
        precisions, noise_precision = each("prior_precision", self.prior_std, self.dim), symbol("noise_precision")
        prior = total([p * xi * xi for p, xi in zip(precisions, x, strict=True)])
        return -0.5 * sum(lambda row, y: noise_precision * (dot(row, x) - y) ** 2, self.X, self.y) - 0.5 * prior

    @property
    def own_prox(self) -> Callable[[Vector, Expr], Sequence[Expr]] | None:
        """That of the Gaussian."""
        return self.posterior.own_prox

    @property
    def mean(self) -> np.ndarray:
        """Its mean, of shape (dim,)."""
        return self.posterior.mean

    @property
    def covariance(self) -> np.ndarray:
        """Its covariance matrix, of shape (dim, dim)."""
        return self.posterior.covariance

    @property
    def precision(self) -> np.ndarray:
        """The inverse of the covariance."""
        return self.posterior.precision

    @property
    def is_gaussian(self) -> bool:
        """It is."""
        return True

    @property
    def curvature(self) -> float:
        """The largest eigenvalue of the precision."""
        return self.posterior.curvature

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim)."""
        return self.posterior.sample(n, seed=seed, first_chain=first_chain)

    def convolved(self, sigma: float) -> Gaussian:
        """The law with noise N(0, sigma^2) added."""
        return self.posterior.convolved(sigma)

    def __repr__(self) -> str:
        return regression_repr(self, noise_std=self.noise_std)


def design(X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of shape (n, dim) and as many responses."""
    X = checks.array("X", X, shape=(None, None))
    if not X.size:
        raise ValueError(f"X must have rows and columns, got shape {X.shape}")
    return X, checks.array("y", y, shape=(len(X),))


def regression_repr(target: Any, **more: float) -> str:
    """What it is, without the data."""
    given = "".join(f", {name}={value:g}" for name, value in more.items())
    prior = target.prior_std
    prior = f"{prior:g}" if np.ndim(prior) == 0 else np.array2string(prior, separator=", ", threshold=8)
    return f"{type(target).__name__}({len(target.X)} rows, dim={target.dim}{given}, prior_std={prior})"
