"""The constant elasticity of variance model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ...run.boundaries import Boundary, positive
from . import laws
from .base import Model, Step, rows
from .black_scholes import BlackScholes

_LARGEST_NONCENTRALITY = 1e10  # beyond it scipy's noncentral chi-square law does not converge


@dataclass(frozen=True)
class CEV(Model):
    r"""Constant elasticity of variance, :math:`dX = \mu X\,dt + \sigma X^\beta\,dW` with X >= 0, absorbed at zero.

    For beta < 1 the process reaches zero with positive probability and stays there; Euler-Maruyama cuts a negative
    state to zero, from where it does not move. For beta = 1 it is `BlackScholes`. Milstein's scheme is refused for
    beta <= 1/4, where its steps have infinite variance.

    Its closed forms rest on one change of variables: exp(-mu t) X(t) is the driftless process at the time
    :math:`\tau = \sigma^2 \int_0^t e^{-2\mu(1-\beta)s}\,ds`, which is a power of a squared Bessel process.

    Parameters
    ----------
    mu : float
        Relative drift, per unit of time.
    sigma : float
        Noise strength; not negative. The volatility of X at x is sigma x^(beta - 1).
    beta : float
        Elasticity, within (0, 1]. For beta > 1 the discounted process is a strict local martingale and E[X(t)] is less
        than x0 exp(mu t); such models are refused.

    References
    ----------
    Cox, Journal of Portfolio Management 22, 1996 (written in 1975). Prices: Schroder, Journal of Finance 44, 1989.
    Absorption and the martingale property: Delbaen and Shirakawa, Asia-Pacific Financial Markets 9, 2002.

    Examples
    --------
    >>> import sdefast as sf
    >>> round(sf.CEV(mu=0.0, sigma=2.0, beta=0.5).variance(t=1.0, x0=100.0), 6)
    400.0
    """

    mu: float = 0.05
    sigma: float = 0.2
    beta: float = 0.5

    example_start: ClassVar[tuple[float, ...]] = (100.0,)
    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_euler_maruyama"}

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", checks.real("mu", self.mu))
        object.__setattr__(self, "sigma", checks.real("sigma", self.sigma, least=0.0))
        object.__setattr__(self, "beta", checks.real("beta", self.beta, positive=True))
        if self.beta > 1:
            raise ValueError(f"beta must be within (0, 1], got {self.beta}: above 1 exp(-mu t) X is no martingale")

    # dX = a dt + b dW, for the schemes that are written in Python.

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return p.mu * x[0]

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        return p.sigma * max(x[0], 0) ** p.beta

    def boundaries(self) -> tuple[Boundary, ...]:
        """Zero absorbs: there drift and diffusion vanish."""
        return (positive(),)

    def _euler_maruyama(self, h: np.ndarray) -> Step:
        """X = max(X + mu h X + sigma sqrt(h) X^beta Z, 0)."""
        return Step("cev", rows(self.mu * h, self.sigma * np.sqrt(h), self.beta))

    def check_start(self, x0: np.ndarray) -> None:
        """Start values are not negative."""
        laws.bounded("x0", x0, least=0.0)

    def mean(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """E[X(t)] given X(0) = x0, for elapsed times ``t``; the shape is that of ``t`` and ``x0`` broadcast."""
        return laws.unwrap(laws.bounded("x0", x0, least=0.0) * np.exp(self.mu * laws.elapsed("t", t)))

    def variance(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        r"""Var[X(t)] given X(0) = x0.

        With :math:`m = 1/(2(1-\beta))` and :math:`z = 2 m^2 x_0^{1/m} / \tau`,
        :math:`E[X^2] / E[X]^2 = \frac{\Gamma(1+2m)}{\Gamma(1+m)}\,z^{-m}\,{}_1F_1(-m; 1+m; -z)`, the m-th moment of a
        noncentral chi-square law.
        """
        mean = np.asarray(self.mean(t, x0))
        t, x0 = np.broadcast_arrays(laws.elapsed("t", t), np.asarray(x0, dtype=float))
        if self.beta == 1:
            return laws.unwrap(mean**2 * np.expm1(self.sigma**2 * t))
        m = 0.5 / (1 - self.beta)
        result = np.zeros(mean.shape)
        random = (mean > 0) & (self._clock(t) > 0)
        z = 2 * m**2 * x0[random] ** (1 / m) / self._clock(t)[random]
        result[random] = mean[random] ** 2 * _relative_variance(m, z)
        return laws.unwrap(result)

    def absorption_probability(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """P[X(t) = 0] given X(0) = x0."""
        t, x0 = np.broadcast_arrays(laws.elapsed("t", t), laws.bounded("x0", x0, least=0.0))
        if self.beta == 1:
            return laws.unwrap(np.where(x0 > 0, 0.0, 1.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(x0 > 0, 0.5 * self._bessel(x0, self._clock(t)), 0.0)
        return laws.unwrap(laws.scipy_special().gammaincc(0.5 / (1 - self.beta), z))

    def call_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(X(t) - strike, 0)] given X(0) = x0; arguments broadcast and ``rate`` defaults to mu."""
        strike, t = laws.bounded("strike", strike, positive=True), laws.elapsed("t", t)
        rate = self.mu if rate is None else rate
        if self.beta == 1:
            return BlackScholes(self.mu, self.sigma).call_price(strike, t, x0, rate)
        call = np.vectorize(self._call, otypes=[float])(strike, t, self.mean(t, x0))
        return laws.unwrap(laws.discount(t, rate) * call)

    def put_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(strike - X(t), 0)] given X(0) = x0; arguments and ``rate`` as in `call_price`."""
        rate = self.mu if rate is None else rate
        call = self.call_price(strike, t, x0, rate)
        discount = laws.discount(laws.elapsed("t", t), rate)
        return laws.unwrap(np.maximum(call - discount * (self.mean(t, x0) - np.asarray(strike)), 0.0))

    def _call(self, strike: float, t: float, forward: float) -> float:
        """E[max(X(t) - strike, 0)] where E[X(t)] = forward, for beta < 1."""
        clock = float(self._clock(np.asarray(t)))
        if clock == 0 or forward == 0:
            return max(forward - strike, 0.0)
        law, freedom, growth = laws.scipy_stats().ncx2, 1 / (1 - self.beta), np.exp(self.mu * t)
        start, bound = (float(self._bessel(x / growth, clock)) for x in (forward, strike))
        # The root of a noncentral chi-square variable deviates from that of its mean about like a standard normal.
        far = 12 + np.sqrt(freedom + 2 + min(start, bound))
        if max(start, bound) > far**2:
            return max(forward - strike, 0.0)
        if min(start, bound) > _LARGEST_NONCENTRALITY:
            raise ArithmeticError(f"the price is out of reach: X is almost not random at t = {t:g}, or beta almost 1")
        call = forward * law.sf(bound, freedom + 2, start) - strike * law.cdf(start, freedom, bound)
        return float(np.clip(call, max(forward - strike, 0.0), forward))

    def _clock(self, t: np.ndarray) -> np.ndarray:
        """The time tau at which the driftless process of unit noise strength is exp(-mu t) X(t)."""
        return self.sigma**2 * laws.decay_integral(2 * self.mu * (1 - self.beta), t)

    def _bessel(self, x: ArrayLike, clock: ArrayLike) -> np.ndarray:
        """The squared Bessel process that belongs to a driftless state ``x``, over the time ``clock``."""
        gap = 1 - self.beta
        return np.asarray(x) ** (2 * gap) / (gap**2 * np.asarray(clock))


def _relative_variance(m: float, z: np.ndarray) -> np.ndarray:
    """Gamma(1 + 2 m) / Gamma(1 + m) z^-m 1F1(-m; 1 + m; -z) - 1."""
    result = np.empty_like(z)
    large = z > 50
    result[large] = _relative_variance_series(m, z[large])
    if not large.all():
        special, z = laws.scipy_special(), z[~large]
        factor = np.exp(special.gammaln(1 + 2 * m) - special.gammaln(1 + m) - m * np.log(z))
        result[~large] = factor * special.hyp1f1(-m, 1 + m, -z) - 1
    return result


def _relative_variance_series(m: float, z: np.ndarray) -> np.ndarray:
    """The same for large ``z``, by the asymptotic series, which ends and is exact for integer m.

    It loses no digits when the variance is small, and its smallest term is of the order of exp(-z).
    """
    term = 2 * m**2 / z
    total = term.copy()
    for k in range(1, 1000):
        term = term * ((m - k) * (2 * m - k) / ((k + 1) * z))
        if (np.abs(term) <= 1e-17 * np.abs(total)).all():
            break
        total += term
    return total
