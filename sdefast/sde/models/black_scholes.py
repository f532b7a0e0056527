"""The Black-Scholes model, also called geometric Brownian motion."""

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
class BlackScholes(Model):
    r"""Black-Scholes model, or geometric Brownian motion, :math:`dX = \mu X\,dt + \sigma X\,dW` with X > 0.

    Parameters
    ----------
    mu : float
        Relative drift, per unit of time.
    sigma : float
        Volatility, per square root of time; not negative.

    References
    ----------
    Black and Scholes, Journal of Political Economy 81, 1973. Price on the forward: Black, Journal of Financial
    Economics 3, 1976.

    Examples
    --------
    >>> import sdefast as sf
    >>> round(sf.BlackScholes(mu=0.05, sigma=0.2).call_price(strike=100.0, t=1.0, x0=100.0), 6)
    10.450584
    """

    mu: float = 0.05
    sigma: float = 0.2

    example_start: ClassVar[tuple[float, ...]] = (100.0,)
    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_euler_maruyama", "exact": "_exact"}
    own_steps: ClassVar[Mapping[str, str]] = {"exact": "_exact_own"}

    logarithmic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", checks.real("mu", self.mu))
        object.__setattr__(self, "sigma", checks.real("sigma", self.sigma, least=0.0))

    # dX = a dt + b dW, for the schemes that are written in Python.

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return p.mu * x[0]

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        return p.sigma * x[0]

    @staticmethod
    def _exact_move(h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
        """The exact transition."""
        return x[0] * math.exp((p.mu - 0.5 * p.sigma * p.sigma) * h + p.sigma * root * z[0])

    def _exact_own(self) -> OwnStep:
        return OwnStep(self._exact_move, n_normals=1)

    def _euler_maruyama(self, h: np.ndarray) -> Step:
        """X += X (mu h + sigma sqrt(h) Z)."""
        return Step("black_scholes_euler", rows(self.mu * h, self.sigma * np.sqrt(h)))

    def _exact(self, h: np.ndarray) -> Step:
        """X *= exp((mu - sigma^2 / 2) h + sigma sqrt(h) Z)."""
        log_drift = self.mu - 0.5 * self.sigma**2
        return Step("black_scholes_exact", rows(log_drift * h, self.sigma * np.sqrt(h)))

    def check_start(self, x0: np.ndarray) -> None:
        """Start values are positive."""
        laws.bounded("x0", x0, positive=True)

    def mean(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """E[X(t)] given X(0) = x0, for elapsed times ``t``; the shape is that of ``t`` and ``x0`` broadcast."""
        return laws.unwrap(laws.bounded("x0", x0, positive=True) * np.exp(self.mu * laws.elapsed("t", t)))

    def variance(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """Var[X(t)] given X(0) = x0."""
        return laws.unwrap(np.square(self.mean(t, x0)) * np.expm1(self.sigma**2 * laws.elapsed("t", t)))

    def covariance(self, s: ArrayLike, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """Cov[X(s), X(t)] given X(0) = x0."""
        overlap = np.minimum(laws.elapsed("s", s), laws.elapsed("t", t))
        return laws.unwrap(self.mean(s, x0) * self.mean(t, x0) * np.expm1(self.sigma**2 * overlap))

    def transition(self, t: float, x0: float) -> laws.Distribution:
        """Law of X(t) given X(0) = x0, a frozen lognormal distribution of `scipy.stats`."""
        t = laws.random_at(t, self.sigma, "sigma")
        median = self.mean(t, x0) * np.exp(-0.5 * self.sigma**2 * t)
        return laws.scipy_stats().lognorm(s=self.sigma * np.sqrt(t), scale=median)

    def call_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(X(t) - strike, 0)] given X(0) = x0; arguments broadcast.

        ``rate`` defaults to mu, which gives the price without dividends; a dividend yield q is mu = rate - q.
        """
        return self._price(strike, t, x0, rate, sign=1)

    def put_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(strike - X(t), 0)] given X(0) = x0; arguments and ``rate`` as in `call_price`."""
        return self._price(strike, t, x0, rate, sign=-1)

    def _price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None, sign: int) -> laws.Array:
        strike, t = laws.bounded("strike", strike, positive=True), laws.elapsed("t", t)
        payoff = laws.black(self.mean(t, x0), strike, self.sigma * np.sqrt(t), sign)
        return laws.unwrap(laws.discount(t, self.mu if rate is None else rate) * payoff)
