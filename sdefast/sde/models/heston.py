"""The Heston model of stochastic volatility."""

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
from .base import Model, OwnStep, Step
from .cir import CIR


@dataclass(frozen=True)
class Heston(Model):
    r"""Heston model, with the state (S, v):

    .. math::
        dS &= \mu S\,dt + \sqrt{v}\,S\,dW_1 \\
        dv &= \kappa(\theta - v)\,dt + \xi\sqrt{v}\,(\rho\,dW_1 + \sqrt{1 - \rho^2}\,dW_2)

    Euler-Maruyama runs in the full truncation of Lord, Koekkoek and van Dijk: wherever v enters a coefficient it is
    :math:`v^+ = \max(v, 0)`. The simulated v may therefore go slightly below zero; max(v, 0) is what approximates it.
    Methods that run the Stratonovich form are refused where :math:`4\kappa\theta < \xi^2`, for which they do not
    converge, and warned of where :math:`2\kappa\theta < \xi^2`, for which they do so slowly.

    ``method="qe"`` is Andersen's quadratic-exponential scheme with its martingale correction: v has its exact mean and
    variance at any step and is never below zero, so that a step a month is enough for prices, also where the Feller
    condition is broken. It needs xi to be positive.

    Parameters
    ----------
    mu : float
        Relative drift of S, per unit of time.
    kappa : float
        Rate of mean reversion of v, per unit of time; positive.
    theta : float
        Long-run mean of v; positive.
    xi : float
        Volatility of v; not negative.
    rho : float
        Correlation of the two noises, within [-1, 1].

    References
    ----------
    Heston, Review of Financial Studies 6, 1993. Characteristic function: Albrecher, Mayer, Schoutens and Tistaert, The
    Little Heston Trap, Wilmott Magazine, January 2007. Prices: Lewis, Option Valuation under Stochastic Volatility,
    2000. Infinite moments: Andersen and Piterbarg, Finance and Stochastics 11, 2007. Full truncation: Lord, Koekkoek
    and van Dijk, Quantitative Finance 10, 2010. Quadratic-exponential scheme: Andersen, Journal of Computational
    Finance 11, 2008.

    Examples
    --------
    >>> import sdefast as sf
    >>> model = sf.Heston(mu=-0.01, kappa=4.0, theta=0.25, xi=1.0, rho=-0.5)
    >>> round(model.call_price(strike=100.0, t=1.0, x0=(100.0, 0.04), rate=0.01), 6)
    16.070155
    """

    mu: float = 0.05
    kappa: float = 2.0
    theta: float = 0.04
    xi: float = 0.3
    rho: float = -0.7

    example_start: ClassVar[tuple[float, ...]] = (100.0, 0.04)
    component_names: ClassVar[tuple[str, ...]] = ("S", "v")
    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_euler_maruyama"}
    own_steps: ClassVar[Mapping[str, str]] = {"qe": "_qe"}
    noise_kind: ClassVar[str] = "general"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", checks.real("mu", self.mu))
        object.__setattr__(self, "kappa", checks.real("kappa", self.kappa, positive=True))
        object.__setattr__(self, "theta", checks.real("theta", self.theta, positive=True))
        object.__setattr__(self, "xi", checks.real("xi", self.xi, least=0.0))
        object.__setattr__(self, "rho", checks.real("rho", self.rho, least=-1.0, most=1.0))

    # dX = a dt + b dW, for the schemes that are written in Python.

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return p.mu * x[0], p.kappa * (p.theta - max(x[1], 0))

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        volatility = math.sqrt(max(x[1], 0))
        along = p.xi * volatility
        return (x[0] * volatility, 0), (along * p.rho, along * math.sqrt((1 - p.rho) * (1 + p.rho)))

    @property
    def dim(self) -> int:
        """Two components, the price S and its variance v."""
        return 2

    @property
    def noise_dim(self) -> int:
        """Two independent Brownian motions."""
        return 2

    @property
    def satisfies_feller(self) -> bool:
        """Whether 2 kappa theta >= xi^2, so that a variance started above zero never touches zero."""
        return self._variance_process.satisfies_feller

    @property
    def _variance_process(self) -> CIR:
        return CIR(self.kappa, self.theta, self.xi)

    def _euler_maruyama(self, h: np.ndarray) -> Step:
        """S += S (mu h + sqrt(h v+) Z1), v += kappa h (theta - v+) + xi sqrt(h v+) (rho Z1 + sqrt(1 - rho^2) Z2)."""
        root, one = np.sqrt(h), np.ones_like(h)
        independent = math.sqrt((1 - self.rho) * (1 + self.rho))
        price = [self.mu * h, root]
        variance = [self.kappa * h, self.theta * one, self.xi * root, self.rho * one, independent * one]
        return Step("heston", np.column_stack(price + variance))

    def _qe(self) -> OwnStep:
        if self.xi == 0:
            raise ValueError("method='qe' needs xi to be positive: without it v is not random")
        return OwnStep(qe.price_step, n_normals=2)

    def check_start(self, x0: np.ndarray) -> None:
        """Start values have S > 0 and v >= 0."""
        _split(x0)

    def mean(self, t: ArrayLike, x0: ArrayLike) -> np.ndarray:
        """E[(S(t), v(t))] given the start x0 = (S, v); ``t`` and ``x0[..., 0]`` broadcast to all but the last axis."""
        t, (price, variance) = laws.elapsed("t", t), _split(x0)
        return _join(price * np.exp(self.mu * t), self._variance_process.mean(t, variance))

    def variance(self, t: ArrayLike, x0: ArrayLike) -> np.ndarray:
        """Variances of S(t) and of v(t) given the start x0 = (S, v); shapes as in `mean`.

        That of S is infinite from `moment_explosion_time` on.
        """
        t, (price, variance) = laws.elapsed("t", t), _split(x0)
        # E[S^2] / E[S]^2 = exp(C + D v) is the characteristic function of log(S / E[S]) at -2i.
        finite = t < self.moment_explosion_time()
        C, D = (part.real for part in self._exponents(np.asarray(-2j), np.where(finite, t, 0.0)))
        price_variance = np.where(finite, (price * np.exp(self.mu * t)) ** 2 * np.expm1(C + D * variance), math.inf)
        return _join(price_variance, self._variance_process.variance(t, variance))

    def moment_explosion_time(self) -> float:
        """The time from which on the second moment of S is infinite; infinity if it is finite at all times."""
        pull = self.kappa - 2 * self.rho * self.xi
        square = pull**2 - 2 * self.xi**2
        if square < 0:
            frequency = math.sqrt(-square)
            return 2 * math.atan2(frequency, -pull) / frequency
        if pull > 0:
            return math.inf
        rate = math.sqrt(square)
        return -2 / pull if rate == 0 else 2 * math.atanh(-rate / pull) / rate

    def characteristic_function(self, u: ArrayLike, t: ArrayLike, x0: ArrayLike) -> np.ndarray:
        """E[exp(i u log S(t))] given the start x0 = (S, v), for real or complex ``u``.

        ``u``, ``t`` and ``x0[..., 0]`` broadcast. For complex ``u`` the expectation must be finite.
        """
        t, (price, variance) = laws.elapsed("t", t), _split(x0)
        checks.refuse_loss("u", u)
        u = np.asarray(u, dtype=complex)
        C, D = self._exponents(u, t)
        return np.asarray(np.exp(1j * u * (np.log(price) + self.mu * t) + C + D * variance))

    def call_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(S(t) - strike, 0)] given the start x0 = (S, v).

        ``strike``, ``t`` and ``x0[..., 0]`` broadcast. ``rate`` defaults to mu, which gives the price without
        dividends; a dividend yield q is mu = rate - q.
        """
        strike, t = laws.bounded("strike", strike, positive=True), laws.elapsed("t", t)
        price, variance = _split(x0)
        call = np.vectorize(self._call, otypes=[float])(strike, t, price * np.exp(self.mu * t), variance)
        return laws.unwrap(laws.discount(t, self.mu if rate is None else rate) * call)

    def put_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(strike - S(t), 0)] given the start x0 = (S, v); arguments as in `call_price`."""
        rate = self.mu if rate is None else rate
        call = self.call_price(strike, t, x0, rate)
        t = laws.elapsed("t", t)
        forward = _split(x0)[0] * np.exp(self.mu * t)
        return laws.unwrap(laws.put_from_call(call, forward, strike, laws.discount(t, rate)))

    def _call(self, strike: float, t: float, forward: float, variance: float) -> float:
        """E[max(S(t) - strike, 0)]."""
        if self._variance_process.mean(t, variance) * t == 0:
            return max(forward - strike, 0.0)

        def exponent(w: np.ndarray) -> np.ndarray:
            C, D = self._exponents(w, np.asarray(t))
            return np.asarray(C + D * variance)

        return laws.lewis_call(exponent, strike, forward)

    def _exponents(self, w: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""C and D of :math:`E[e^{iw \log(S(t)/E[S(t)])}] = e^{C + D v}`.

        They solve D' = -q/2 - beta D + xi^2 D^2 / 2 and C' = kappa theta D. This is the stable form of Albrecher et
        al. with their g eliminated: :math:`(1 - g e^{-dt})/(1 - g) = 1 + \xi^2 r E / 2 =: G` where
        :math:`r = (\beta - d)/\xi^2 = -q/(\beta + d)` and :math:`E = (1 - e^{-dt})/d`; so xi and d may be 0.
        """
        q = w**2 + 1j * w
        beta = self.kappa - 1j * self.rho * self.xi * w
        d = np.sqrt(beta**2 + self.xi**2 * q + 0j)
        # Either root will do; near u = -i the usual one may cancel beta.
        d = np.where(np.abs(beta + d) < 1e-3 * np.abs(beta), -d, d)
        r = -q / (beta + d)
        E = np.where(d == 0, t, -np.expm1(-d * t) / np.where(d == 0, 1.0, d))
        growth = 0.5 * r * E  # (G - 1) / xi^2
        scaled_log = _log1p(self.xi**2 * growth) / self.xi**2 if self.xi**2 > 0 else growth  # log(G) / xi^2
        return self.kappa * self.theta * (r * t - 2 * scaled_log), -0.5 * q * E / (1 + self.xi**2 * growth)


def _log1p(z: np.ndarray) -> np.ndarray:
    """log(1 + z) for complex z without loss of digits when z is small, which numpy's suffers."""
    return np.asarray(0.5 * np.log1p(z.real * (2 + z.real) + z.imag**2) + 1j * np.arctan2(z.imag, 1 + z.real))


def _split(x0: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """S and v of start values of shape (..., 2), checked."""
    start = checks.array("x0", x0)
    if start.ndim == 0 or start.shape[-1] != 2:
        raise ValueError(f"x0 must have shape (..., 2) for (S, v), got {start.shape}")
    price = laws.bounded("S, the first component of x0,", start[..., 0], positive=True)
    return price, laws.bounded("v, the second component of x0,", start[..., 1], least=0.0)


def _join(price: ArrayLike, variance: ArrayLike) -> np.ndarray:
    return np.stack(np.broadcast_arrays(price, variance), axis=-1)
