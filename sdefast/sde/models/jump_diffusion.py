"""What models share whose logarithm is a Brownian motion with jumps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import checks, math
from . import laws
from .base import Model, OwnStep


@dataclass(frozen=True)
class JumpDiffusion(Model):
    r"""Base of models :math:`dS = (\mu - \lambda k) S\,dt + \sigma S\,dW + S\,(e^J - 1)\,dN` with k = E[e^J - 1].

    N is a Poisson process of the intensity :math:`\lambda`. Subclasses add the law of J: `jumps`, `relative_jump` and
    `_jump_function`.
    """

    mu: float = 0.05
    sigma: float = 0.2
    intensity: float = 1.0

    example_start: ClassVar[tuple[float, ...]] = (100.0,)
    schemes: ClassVar[Mapping[str, str]] = {}
    own_steps: ClassVar[Mapping[str, str]] = {"exact": "_exact_own"}
    logarithmic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", checks.real("mu", self.mu))
        object.__setattr__(self, "sigma", checks.real("sigma", self.sigma, least=0.0))
        object.__setattr__(self, "intensity", checks.real("intensity", self.intensity, least=0.0))

    @staticmethod
    def relative_jump(p: Any) -> Any:
        """k = E[e^J - 1], in scalar code on the parameters."""
        raise NotImplementedError

    def _jump_function(self, w: np.ndarray) -> np.ndarray:
        """E[exp(i w J)] for complex w."""
        raise NotImplementedError

    # The equation between the jumps, for the schemes that are written in Python.

    @classmethod
    def a(cls, t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return (p.mu - p.intensity * cls.relative_jump(p)) * x[0]

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        return p.sigma * x[0]

    def _exact_move(self, h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
        """The exact transition between the jumps: with them a step has the exact law, whatever its length."""
        drift = p.mu - p.intensity * self.relative_jump(p) - 0.5 * p.sigma * p.sigma
        return x[0] * math.exp(drift * h + p.sigma * root * z[0])

    def _exact_own(self) -> OwnStep:
        return OwnStep(self._exact_move, n_normals=1)

    def check_start(self, x0: np.ndarray) -> None:
        """Start values are positive."""
        laws.bounded("x0", x0, positive=True)

    # Laws

    def mean(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """E[S(t)] given S(0) = x0, for elapsed times ``t``; the shape is that of ``t`` and ``x0`` broadcast."""
        return laws.unwrap(laws.bounded("x0", x0, positive=True) * np.exp(self.mu * laws.elapsed("t", t)))

    def variance(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """Var[S(t)] given S(0) = x0; infinite where E[e^2J] is."""
        return self.covariance(t, t, x0)

    def covariance(self, s: ArrayLike, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """Cov[S(s), S(t)] given S(0) = x0."""
        overlap = np.minimum(laws.elapsed("s", s), laws.elapsed("t", t))
        return laws.unwrap(self.mean(s, x0) * self.mean(t, x0) * np.expm1(self._square_rate * overlap))

    @property
    def _square_rate(self) -> float:
        """sigma^2 + lambda E[(e^J - 1)^2]: the rate at which E[S^2] / E[S]^2 grows."""
        return float(self._exponent(np.asarray(-2j)).real)

    def _exponent(self, w: np.ndarray) -> np.ndarray:
        """log E[(S(1) / E[S(1)])^{i w}]."""
        return np.asarray(-0.5 * self.sigma**2 * (w**2 + 1j * w) + self.intensity * compensated(self._jump_function, w))

    def characteristic_function(self, u: ArrayLike, t: ArrayLike, x0: ArrayLike) -> np.ndarray:
        """E[exp(i u log S(t))] given S(0) = x0, for real or complex ``u``; arguments broadcast.

        For complex ``u`` the expectation must be finite.
        """
        log_forward, t = np.log(self.mean(t, x0)), laws.elapsed("t", t)
        checks.refuse_loss("u", u)
        u = np.asarray(u, dtype=complex)
        return np.asarray(np.exp(1j * u * log_forward + t * self._exponent(u)))

    def call_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(S(t) - strike, 0)] given S(0) = x0; arguments broadcast.

        ``rate`` defaults to mu, which gives the price without dividends; a dividend yield q is mu = rate - q.
        """
        strike, t = laws.bounded("strike", strike, positive=True), laws.elapsed("t", t)
        call = np.vectorize(self._call, otypes=[float])(strike, t, self.mean(t, x0))
        return laws.unwrap(laws.discount(t, self.mu if rate is None else rate) * call)

    def put_price(self, strike: ArrayLike, t: ArrayLike, x0: ArrayLike, rate: float | None = None) -> laws.Array:
        """exp(-rate t) E[max(strike - S(t), 0)] given S(0) = x0; arguments and ``rate`` as in `call_price`."""
        rate = self.mu if rate is None else rate
        call, t = self.call_price(strike, t, x0, rate), laws.elapsed("t", t)
        return laws.unwrap(laws.put_from_call(call, self.mean(t, x0), strike, laws.discount(t, rate)))

    def _call(self, strike: float, t: float, forward: float) -> float:
        """E[max(S(t) - strike, 0)], where E[S(t)] = ``forward``."""
        if t == 0:
            return max(forward - strike, 0.0)
        return laws.lewis_call(lambda w: t * self._exponent(w), strike, forward)


def compensated(jump_function: Callable[[np.ndarray], np.ndarray], w: np.ndarray) -> np.ndarray:
    """E[e^{iwJ}] - 1 - iw E[e^J - 1], by which jumps of the law J of rate 1 move the exponent of S / E[S]."""
    relative = jump_function(np.asarray(-1j)).real - 1
    return np.asarray(jump_function(w) - 1 - 1j * w * relative)
