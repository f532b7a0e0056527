"""The posterior of a logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...lazy import cached_property
from ...math import dot, logsumexp, sum
from ...trace.vectors import total
from .base import BaseTarget, put
from .density import Vector
from .linear_regression import design, regression_repr
from .penalties.base import check_length, each, named, number_or_vector
from .tabulated import Tabulated, logistic


@dataclass(frozen=True, eq=False, repr=False)
class LogisticRegression(BaseTarget):
    r"""The law of :math:`\theta` given responses that are 1 with probability :math:`1 / (1 + e^{-x^T\theta})`, else 0.

    .. math:: \log p(\theta) = -\sum_i \log\big(1 + e^{-s_i x_i^T \theta}\big) - \frac{|\theta|^2}{2\tau^2},
        \qquad s_i = 2 y_i - 1

    Parameters
    ----------
    X : array_like of shape (n, dim)
        The inputs; for an intercept, with a column of ones.
    y : array_like of shape (n,)
        The responses, 0 and 1 or truth values.
    prior_std : float or array_like of shape (dim,)
        :math:`\tau` of the prior :math:`N(0, \tau^2)`, positive: one for all coefficients, or one for each.

    Raises
    ------
    ValueError, TypeError
        If a response is neither 0 nor 1, a standard deviation is not positive, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.LogisticRegression([[1.0, 0.5], [1.0, -1.5]], [1, 1])
    >>> target.score([0.0, 0.0])
    array([ 1. , -0.5])
    """

    X: np.ndarray
    y: np.ndarray
    prior_std: float | np.ndarray = 1.0

    def __post_init__(self) -> None:
        y = np.asarray(self.y)
        X, y = design(self.X, y.astype(float) if y.dtype == bool else self.y)
        wrong = (y != 0) & (y != 1)
        if wrong.any():
            raise ValueError(f"y must be 0 or 1, got {y[np.argmax(wrong)]:g}: for -1 and 1 pass y > 0")
        put(self, X=X, y=y, prior_std=number_or_vector("prior_std", self.prior_std, positive=True))
        check_length("prior_std", self.prior_std, self.dim, "coefficients")

    @property
    def dim(self) -> int:
        """Number of coefficients."""
        return int(self.X.shape[1])

    @cached_property
    def parameters(self) -> dict[str, float]:
        """1 / tau^2."""
        return named("prior_precision", 1 / np.square(self.prior_std))

    def log_density_of(self, x: Vector) -> Any:
        """The log likelihood, a sum over rows, and that of the prior."""
        prior = total([p * xi * xi for p, xi in zip(each("prior_precision", self.prior_std, self.dim), x, strict=True)])
        return -sum(lambda row: logsumexp((0.0, -dot(row, x))), self._signed) - 0.5 * prior

    @property
    def _signed(self) -> np.ndarray:
        """The rows with the signs of their responses."""
        return np.where(self.y[:, None] == 1, self.X, -self.X)

    @cached_property
    def tabulated(self) -> Tabulated:
        """The rows, and the precisions of the prior."""
        return logistic(self._signed, 1 / np.square(self.prior_std))

    @cached_property
    def curvature(self) -> float:
        """That of responses in doubt everywhere: a quarter of the largest eigenvalue of X'X, and 1 / tau^2."""
        prior = np.broadcast_to(1 / np.square(self.prior_std), (self.dim,))
        return float(np.linalg.eigvalsh(self.X.T @ self.X / 4 + np.diag(prior))[-1])

    def __repr__(self) -> str:
        return regression_repr(self)
