"""The Cox-Ingersoll-Ross process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ..schemes import qe
from . import laws
from .base import Model, OwnStep, Step, rows
from .square_root import transition_step


@dataclass(frozen=True)
class CIR(Model):
    r"""Cox-Ingersoll-Ross process :math:`dX = \kappa(\theta - X)\,dt + \sigma\sqrt{X}\,dW` with X >= 0.

    Euler-Maruyama runs in the full truncation of Lord, Koekkoek and van Dijk: drift and noise see
    :math:`X^+ = \max(X, 0)`. The simulated state may therefore go slightly below zero; max(X, 0) is what
    approximates the process. Methods that run the Stratonovich form are refused where :math:`4\kappa\theta < \sigma^2`,
    for which they do not converge, and warned of where :math:`2\kappa\theta < \sigma^2`, for which they do so slowly.

    ``method="exact"`` draws from the transition law, a scaled noncentral chi-square one, whatever the step and also
    where the Feller condition is broken; it needs sigma to be positive. ``method="qe"`` has the exact mean and variance
    and takes less time.

    Parameters
    ----------
    kappa : float
        Rate of mean reversion, per unit of time; positive.
    theta : float
        Long-run mean; positive.
    sigma : float
        Noise strength; not negative.

    References
    ----------
    Cox, Ingersoll and Ross, Econometrica 53, 1985. Full truncation: Lord, Koekkoek and van Dijk, Quantitative Finance
    10, 2010.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.CIR(kappa=1.0, theta=1.0, sigma=0.5).stationary_variance()
    0.125
    """

    kappa: float = 1.0
    theta: float = 1.0
    sigma: float = 0.5

    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_euler_maruyama"}
    own_steps: ClassVar[Mapping[str, str]] = {"exact": "_exact", "qe": "_qe"}

    def __post_init__(self) -> None:
        object.__setattr__(self, "kappa", checks.real("kappa", self.kappa, positive=True))
        object.__setattr__(self, "theta", checks.real("theta", self.theta, positive=True))
        object.__setattr__(self, "sigma", checks.real("sigma", self.sigma, least=0.0))

    # dX = a dt + b dW, for the schemes that are written in Python.

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return p.kappa * (p.theta - max(x[0], 0))

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        return p.sigma * math.sqrt(max(x[0], 0))

    def _euler_maruyama(self, h: np.ndarray) -> Step:
        """X += kappa h (theta - X+) + sigma sqrt(h) sqrt(X+) Z."""
        return Step("cir", rows(self.kappa * h, self.theta, self.sigma * np.sqrt(h)))

    def _exact(self) -> OwnStep:
        if self.per_path:
            raise ValueError(
                f"method='exact' draws by the parameters' numbers, which must be the same for all paths, got {self!r}"
            )
        if self.sigma == 0:
            raise ValueError("method='exact' needs sigma to be positive: without noise X(t) is its mean")
        return transition_step(4 * self.kappa * self.theta / self.sigma**2)

    def _qe(self) -> OwnStep:
        return OwnStep(qe.square_root_step, n_normals=1)

    def check_start(self, x0: np.ndarray) -> None:
        """Start values are not negative."""
        laws.bounded("x0", x0, least=0.0)

    @property
    def satisfies_feller(self) -> bool:
        """Whether 2 kappa theta >= sigma^2, so that a process started above zero never touches zero."""
        return 2 * self.kappa * self.theta >= self.sigma**2

    def mean(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """E[X(t)] given X(0) = x0, for elapsed times ``t``; the shape is that of ``t`` and ``x0`` broadcast."""
        decay = np.exp(-self.kappa * laws.elapsed("t", t))
        return laws.unwrap(self.theta + (laws.bounded("x0", x0, least=0.0) - self.theta) * decay)

    def variance(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """Var[X(t)] given X(0) = x0."""
        t, x0 = laws.elapsed("t", t), laws.bounded("x0", x0, least=0.0)
        age = laws.decay_integral(self.kappa, t)
        return laws.unwrap(self.sigma**2 * age * (x0 * np.exp(-self.kappa * t) + 0.5 * self.theta * self.kappa * age))

    def covariance(self, s: ArrayLike, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """Cov[X(s), X(t)] given X(0) = x0."""
        s, t = laws.elapsed("s", s), laws.elapsed("t", t)
        return laws.unwrap(self.variance(np.minimum(s, t), x0) * np.exp(-self.kappa * np.abs(t - s)))

    def stationary_variance(self) -> float:
        """Variance of the stationary law, theta sigma^2 / (2 kappa)."""
        return self.theta * self.sigma**2 / (2 * self.kappa)

    def stationary_law(self) -> laws.Distribution:
        """The stationary law, a frozen gamma distribution of `scipy.stats`."""
        if self.sigma == 0:
            raise ValueError("stationary_law needs sigma to be positive: without noise it has no density")
        scale = self.sigma**2 / (2 * self.kappa)
        return laws.scipy_stats().gamma(self.theta / scale, scale=scale)

    def transition(self, t: float, x0: float) -> laws.Distribution:
        """Law of X(t) given X(0) = x0, a frozen and scaled noncentral chi-square distribution of `scipy.stats`."""
        t, x0 = laws.random_at(t, self.sigma, "sigma"), checks.real("x0", x0, least=0.0)
        scale = 0.25 * self.sigma**2 * float(laws.decay_integral(self.kappa, np.asarray(t)))
        freedom = 4 * self.kappa * self.theta / self.sigma**2
        return laws.scipy_stats().ncx2(freedom, x0 * np.exp(-self.kappa * t) / scale, scale=scale)
