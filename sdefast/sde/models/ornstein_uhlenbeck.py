"""The Ornstein-Uhlenbeck process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from . import laws
from .base import Model, OwnStep, Step, rows


@dataclass(frozen=True)
class OrnsteinUhlenbeck(Model):
    r"""Ornstein-Uhlenbeck process :math:`dX = \kappa(\theta - X)\,dt + \sigma\,dW`.

    Parameters
    ----------
    kappa : float
        Rate of mean reversion, per unit of time; positive.
    theta : float
        Long-run mean.
    sigma : float
        Noise strength, per square root of time; not negative.

    References
    ----------
    Uhlenbeck and Ornstein, Physical Review 36, 1930. Exact transition: Gillespie, Physical Review E 54, 1996.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.OrnsteinUhlenbeck(kappa=2.0, theta=1.0, sigma=0.5).mean(0.0, x0=3.0)
    3.0
    """

    kappa: float = 1.0
    theta: float = 0.0
    sigma: float = 1.0

    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_euler_maruyama", "exact": "_exact"}
    own_steps: ClassVar[Mapping[str, str]] = {"exact": "_exact_own"}
    additive_noise: ClassVar[bool] = True
    noise_kind: ClassVar[str] = "additive"

    def __post_init__(self) -> None:
        object.__setattr__(self, "kappa", checks.real("kappa", self.kappa, positive=True))
        object.__setattr__(self, "theta", checks.real("theta", self.theta))
        object.__setattr__(self, "sigma", checks.real("sigma", self.sigma, least=0.0))

    # Both schemes are the kernel X += rate (theta - X) + scale Z.

    # dX = a dt + b dW, for the schemes that are written in Python.

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return p.kappa * (p.theta - x[0])

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        return p.sigma

    @staticmethod
    def _exact_move(h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
        """The exact transition."""
        deviation = p.sigma * math.sqrt(-math.expm1(-2 * p.kappa * h) / (2 * p.kappa))
        return x[0] + ((p.theta - x[0]) * -math.expm1(-p.kappa * h) + deviation * z[0])

    def _exact_own(self) -> OwnStep:
        return OwnStep(self._exact_move, n_normals=1)

    def _euler_maruyama(self, h: np.ndarray) -> Step:
        return self._mean_reversion(rate=self.kappa * h, scale=self.sigma * np.sqrt(h))

    def _exact(self, h: np.ndarray) -> Step:
        return self._mean_reversion(rate=-np.expm1(-self.kappa * h), scale=np.sqrt(self._variance(h)))

    def _mean_reversion(self, rate: np.ndarray, scale: ArrayLike) -> Step:
        return Step("ornstein_uhlenbeck", rows(rate, self.theta, scale))

    def mean(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """E[X(t)] given X(0) = x0, for elapsed times ``t``; the shape is that of ``t`` and ``x0`` broadcast."""
        decay = np.exp(-self.kappa * laws.elapsed("t", t))
        return laws.unwrap(self.theta + (checks.array("x0", x0) - self.theta) * decay)

    def variance(self, t: ArrayLike, x0: ArrayLike | None = None) -> laws.Array:
        """Var[X(t)] given X(0); it does not depend on the start."""
        return laws.unwrap(self._variance(laws.elapsed("t", t)))

    def _variance(self, t: np.ndarray) -> np.ndarray:
        return np.asarray(self.sigma**2 * -np.expm1(-2 * self.kappa * t) / (2 * self.kappa))

    def covariance(self, s: ArrayLike, t: ArrayLike, x0: ArrayLike | None = None) -> laws.Array:
        """Cov[X(s), X(t)] given X(0)."""
        s, t = laws.elapsed("s", s), laws.elapsed("t", t)
        return laws.unwrap(self.variance(np.minimum(s, t)) * np.exp(-self.kappa * np.abs(t - s)))

    def stationary_variance(self, step_size: float | None = None) -> float:
        """Variance of the stationary law N(theta, sigma^2 / (2 kappa)).

        With ``step_size`` h that of Euler-Maruyama, sigma^2 / (kappa (2 - kappa h)), which is stable for kappa h < 2.
        """
        if step_size is None:
            return self.sigma**2 / (2 * self.kappa)
        h = checks.real("step_size", step_size, positive=True)
        if self.kappa * h >= 2:
            raise ValueError(f"step_size must be less than 2 / kappa = {2 / self.kappa:g}, got {h:g}")
        return self.sigma**2 / (self.kappa * (2 - self.kappa * h))

    def transition(self, t: float, x0: float) -> laws.Distribution:
        """Law of X(t) given X(0) = x0, a frozen normal distribution of `scipy.stats`."""
        t = laws.random_at(t, self.sigma, "sigma")
        return laws.scipy_stats().norm(self.mean(t, x0), np.sqrt(self.variance(t)))
