r"""Processes that turn data into noise as SDEs, their marginals, their reversals and what a network may predict.

Every process is linear, :math:`dx = f(t) x\,dt + g(t)\,dW` on 0 <= t <= 1 with data at t = 0, so that
:math:`x_t = \alpha(t) x_0 + \sigma(t) \varepsilon` given :math:`x_0`. Its coefficients are scalar Python code that
works on numbers, on arrays and where `sdefast.simulate` compiles it.

>>> from sdefast.diffusion import VE, VP
>>> round(VP().alpha(1.0) ** 2, 8), round(VE(0.01, 50.0).sigma(1.0), 5)
(4.319e-05, 50.0)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import checks, math
from ..sde.sde import SDE
from ..trace import argument_order
from .conversions import along, convert

__all__ = ["VE", "VP", "Flow", "Process"]


class Process(ABC):
    """What all processes share; a process says its rate f, its diffusion g, its alpha and its sigma."""

    #: The time at which reversals start by default.
    t1: ClassVar[float] = 1.0

    @abstractmethod
    def rate(self, t: Any) -> Any:
        """f(t): the drift is f(t) x, and f = d log(alpha)/dt."""

    @abstractmethod
    def diffusion(self, t: Any) -> Any:
        """g(t), the strength of the noise."""

    @abstractmethod
    def alpha(self, t: Any) -> Any:
        """What is left of the data at t: the factor of x_0 in the mean of x_t."""

    @abstractmethod
    def sigma(self, t: Any) -> Any:
        """Standard deviation of x_t given x_0."""

    def prior_scale(self, t1: float | None = None) -> float:
        """Standard deviation of the noise from which reversals start when nothing is known of the data."""
        self.checked_end(t1)
        return 1.0

    def drift(self, t: Any, x: Any) -> Any:
        """Drift of the forward SDE, f(t) x; ``t`` is one time, or one per sample in the first axis of ``x``."""
        return along(self.rate(host_time(t)), x) * x

    def marginal(self, x0: Any, t: Any) -> tuple[Any, Any]:
        """Mean and standard deviation of x_t given x_0; ``t`` is one time, or one per sample.

        Examples
        --------
        >>> from sdefast.diffusion import Flow
        >>> Flow().marginal(2.0, 0.25)
        (1.5, 0.25)
        """
        t = host_time(t)
        return along(self.alpha(t), x0) * x0, along(self.sigma(t), x0)

    def prior(self, mean: Any = None, covariance: Any = None, *, t1: float | None = None) -> tuple[Any, Any]:
        """Mean and covariance of the law of x at ``t1``.

        Parameters
        ----------
        mean, covariance : float or array_like, optional
            Of the data: a covariance is one variance for all components, a vector of variances, or a matrix. Exact
            for Gaussian data. Without them the usual approximation, 0 and the square of `prior_scale`.
        t1 : float, optional
            By default the process' ``t1``.

        Returns
        -------
        mean, covariance
            In the form in which `log_likelihood` takes a prior.

        Examples
        --------
        >>> from sdefast.diffusion import VP
        >>> VP().prior(), [round(float(value), 6) for value in VP().prior(0.7, 0.25)]
        ((0.0, 1.0), [0.0046, 0.999968])
        """
        t1 = self.checked_end(t1)
        if mean is None and covariance is None:
            return 0.0, self.prior_scale(t1) ** 2
        m = checks.array("mean", 0.0 if mean is None else mean)
        C = checks.array("covariance", 0.0 if covariance is None else covariance)
        a, square = self.alpha(t1), self.sigma(t1) ** 2
        if C.ndim > 2 or (C.ndim == 2 and C.shape[0] != C.shape[1]):
            raise ValueError(f"covariance must be a number, a vector of variances or a square matrix, got {C.shape}")
        return a * m, a**2 * C + (square * np.eye(len(C)) if C.ndim == 2 else square)

    def convert(self, value: Any, x: Any, t: Any, *, given: str, wanted: str) -> Any:
        """What a network predicts at ``t`` in another form; see `convert`."""
        t = host_time(t)
        return convert(value, x, self.alpha(t), self.sigma(t), given=given, wanted=wanted)

    def forward_sde(self, dim: int = 1) -> SDE:
        """The process from data to noise, for `sdefast.simulate` from t = 0.

        Examples
        --------
        >>> import sdefast as sf
        >>> from sdefast.diffusion import VP
        >>> sf.simulate(VP().forward_sde(), x0=2.0, t1=0.5, n_steps=100, n_paths=1000, seed=0).x.shape
        (1, 1000, 1)
        """
        rate, g = self.rate, self.diffusion
        return SDE(
            drift=lambda t, x, p: tuple(rate(t) * component for component in x),
            diffusion=lambda t, x, p: (g(t),) * len(x),
            dim=dim,
        )

    def reverse_sde(
        self,
        score: Callable[..., Any],
        dim: int = 1,
        *,
        t1: float | None = None,
        params: Mapping[str, float] | None = None,
    ) -> SDE:
        """The process from noise to data, for `sdefast.simulate`.

        Its time s = t1 - t runs forward from 0: dx = [g(t)^2 score - f(t) x] ds + g(t) dW. (The reverse equation with
        the forward's dt, as it is often printed, has the other sign of the drift, since its dt is negative.) Run it to
        s = t1 - t0 with a small t0, from draws of the prior at ``t1``.

        Parameters
        ----------
        score : callable
            ``score(t, x)``, or ``score(t, x, p)`` where ``params`` are given: the gradient of the log density of x_t in
            scalar code, from a tuple of ``dim`` numbers to ``dim`` numbers.
        dim : int
            Number of components.
        t1 : float, optional
            Where the reversal starts; by default the process' ``t1``.
        params : mapping of str to float, optional
            Parameters of the score.

        Examples
        --------
        >>> import sdefast as sf
        >>> from sdefast.diffusion import VP
        >>> vp = VP()
        >>> def score(t, x):
        ...     return (-(x[0] - 0.7 * vp.alpha(t)) / (0.25 * vp.alpha(t) ** 2 + vp.sigma(t) ** 2),)
        >>> z = sf.noise.normals(1, 1, 2000)[0, :, None]
        >>> run = sf.simulate(vp.reverse_sde(score), x0=z, t1=0.999, n_steps=500, n_paths=2000, seed=0)
        >>> bool(abs(run.mean[0, 0] - 0.7) < 0.05)
        True
        """
        g = self.diffusion
        return SDE(
            drift=self._backward(score, dim, t1, params, 1.0),
            diffusion=_at(g, self.checked_end(t1)),
            dim=dim,
            params=params,
        )

    def probability_flow(
        self,
        score: Callable[..., Any],
        dim: int = 1,
        *,
        t1: float | None = None,
        params: Mapping[str, float] | None = None,
    ) -> SDE:
        """The same without noise, dx = [g(t)^2 score / 2 - f(t) x] ds: an ODE whose x_t has the law of the process'.

        Arguments as for `reverse_sde`. Schemes of any order for ODEs (``method="heun"``) fit.
        """
        drift = self._backward(score, dim, t1, params, 0.5)
        return SDE(drift=drift, diffusion=lambda s, x, p: (0.0,) * len(x), dim=dim, params=params)

    def _backward(
        self, score: Callable[..., Any], dim: int, t1: float | None, params: Any, share: float
    ) -> Callable[..., Any]:
        """The drift in s = t1 - t, with a share of g^2 before the score."""
        if not callable(score):
            raise TypeError(f"score must be a function of (t, x), got {score!r}")
        order = argument_order("score", score, 2 if params is None else 3)
        end, rate, g = self.checked_end(t1), self.rate, self.diffusion

        def drift(s: Any, x: Any, p: Any) -> tuple[Any, ...]:
            t = end - s
            found = score(*((t, x, p)[i] for i in order))
            values = found if isinstance(found, (tuple, list)) else (found,)
            if len(values) != dim:
                raise ValueError(f"score must return {dim} number{'s' * (dim > 1)}, got {len(values)}")
            return tuple(share * g(t) ** 2 * v - rate(t) * c for v, c in zip(values, x, strict=True))

        return drift

    def checked_end(self, t1: float | None) -> float:
        """Where a reversal starts, in reach of the coefficients."""
        end = self.t1 if t1 is None else checks.real("t1", t1, positive=True, most=1.0)
        if end == 1.0 and self.t1 < 1.0:
            raise ValueError(f"t1 must be below 1 for {type(self).__name__}, whose coefficients are infinite there")
        return end


def _at(g: Callable[[Any], Any], end: float) -> Callable[..., Any]:
    """The diffusion in s = t1 - t."""
    return lambda s, x, p: (g(end - s),) * len(x)


@dataclass(frozen=True)
class VP(Process):
    r"""Variance preserving: :math:`dx = -\tfrac12\beta(t) x\,dt + \sqrt{\beta(t)}\,dW` with a linear :math:`\beta(t)`.

    The limit of DDPM with many steps: beta(i/T) = T beta_i. With few steps the laws differ: 200 betas from 1e-4 to 0.02
    leave a discrete alpha^2 of 0.13218 and a continuous one, ``VP(0.02, 4.0)``, of 0.13399.

    Parameters
    ----------
    beta_min, beta_max : float
        beta at t = 0 and at t = 1.

    Examples
    --------
    >>> from sdefast.diffusion import VP
    >>> round(VP(0.02, 4.0).alpha(1.0) ** 2, 5)
    0.13399
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        low = checks.real("beta_min", self.beta_min, least=0.0)
        high = checks.real("beta_max", self.beta_max, positive=True)
        if low > high:
            raise ValueError(f"beta_min must not exceed beta_max, got {low} and {high}")
        _put(self, beta_min=low, beta_max=high)

    def beta(self, t: Any) -> Any:
        """beta(t), the rate at which variance is exchanged."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def _integral(self, t: Any) -> Any:
        """That of beta from 0 to t."""
        return t * (self.beta_min + t * (0.5 * (self.beta_max - self.beta_min)))

    def rate(self, t: Any) -> Any:
        return -0.5 * self.beta(t)

    def diffusion(self, t: Any) -> Any:
        return math.sqrt(self.beta(t))

    def alpha(self, t: Any) -> Any:
        return math.exp(-0.5 * self._integral(t))

    def sigma(self, t: Any) -> Any:
        return math.sqrt(-math.expm1(-self._integral(t)))


@dataclass(frozen=True)
class VE(Process):
    r"""Variance exploding: :math:`dx = g(t)\,dW`, its level of noise geometric from sigma_min to sigma_max.

    With the level :math:`s(t) = \sigma_{min} (\sigma_{max}/\sigma_{min})^t` the noise is
    :math:`g = \sqrt{ds^2/dt} = s(t) \sqrt{2\log(\sigma_{max}/\sigma_{min})}`, and what it adds to data is the variance
    :math:`s(t)^2 - \sigma_{min}^2`, the square of `sigma`: not s(t)^2, which is the law of data that were smoothed with
    sigma_min before.

    Parameters
    ----------
    sigma_min, sigma_max : float
        The level at t = 0 and at t = 1.

    Examples
    --------
    >>> from sdefast.diffusion import VE
    >>> ve = VE(3.0, 5.0)
    >>> round(ve.level(1.0), 12), round(ve.sigma(1.0), 12), ve.sigma(0.0)
    (5.0, 4.0, 0.0)
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        low = checks.real("sigma_min", self.sigma_min, positive=True)
        high = checks.real("sigma_max", self.sigma_max, positive=True)
        if low >= high:
            raise ValueError(f"sigma_min must be smaller than sigma_max, got {low} and {high}")
        _put(self, sigma_min=low, sigma_max=high)

    @property
    def _log_ratio(self) -> float:
        return float(math.log(self.sigma_max / self.sigma_min))

    def prior_scale(self, t1: float | None = None) -> float:
        return float(self.sigma(self.checked_end(t1)))

    def level(self, t: Any) -> Any:
        """s(t), the geometric level of noise."""
        return self.sigma_min * math.exp(self._log_ratio * t)

    def rate(self, t: Any) -> Any:
        return 0.0 * t

    def diffusion(self, t: Any) -> Any:
        return math.sqrt(2 * self._log_ratio) * self.level(t)

    def alpha(self, t: Any) -> Any:
        return 1.0 + 0.0 * t

    def sigma(self, t: Any) -> Any:
        return self.sigma_min * math.sqrt(math.expm1(2 * self._log_ratio * t))


@dataclass(frozen=True)
class Flow(Process):
    r"""The straight path of flow matching, :math:`x_t = (1-t) x_0 + t \varepsilon`, as an SDE.

    :math:`dx = -x/(1-t)\,dt + \sqrt{2t/(1-t)}\,dW` has this law given :math:`x_0`. Both coefficients are infinite at
    t = 1, so that reversals start at t1 = 0.999 by default; an explicit step h of the reverse SDE is stable where it is
    smaller than 2 (1 - t1). The probability flow has no such limit: its velocity is E[eps - x_0 | x_t].
    """

    t1: ClassVar[float] = 0.999

    def rate(self, t: Any) -> Any:
        return -1 / (1 - t)

    def diffusion(self, t: Any) -> Any:
        return math.sqrt(2 * t / (1 - t))

    def alpha(self, t: Any) -> Any:
        return 1 - t

    def sigma(self, t: Any) -> Any:
        return 1.0 * t


def _put(target: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(target, name, value)


def host_time(t: Any) -> Any:
    """A time as a number, or one per sample as an array of numpy."""
    return checks.array("t", t) if np.ndim(t) else checks.real("t", t)
