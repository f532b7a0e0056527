"""A particle in a double well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from . import laws
from .base import Model, Step, rows


@dataclass(frozen=True)
class DoubleWell(Model):
    r"""Overdamped motion in a double well, :math:`dX = -V'(X)\,dt + \sqrt{2T}\,dW`.

    The potential :math:`V(x) = b\,((x/w)^2 - 1)^2` has minima 0 at :math:`x = \pm w` and a barrier of height b at 0.

    Parameters
    ----------
    barrier : float
        Height b of the barrier; positive.
    width : float
        Distance w of either minimum from the barrier; positive.
    temperature : float
        Temperature T in the units of the barrier; positive. The lower it is, the rarer are passages of the barrier.

    References
    ----------
    Kramers, Physica 7, 1940. Stationary law: Risken, The Fokker-Planck Equation, 1989, chapter 5.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.DoubleWell(barrier=2.0, width=1.0).potential(0.0)
    2.0
    """

    barrier: float = 1.0
    width: float = 1.0
    temperature: float = 0.25

    example_start: ClassVar[tuple[float, ...]] = (0.0,)
    is_multimodal: ClassVar[bool] = True
    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_euler_maruyama"}
    additive_noise: ClassVar[bool] = True
    noise_kind: ClassVar[str] = "additive"

    def __post_init__(self) -> None:
        for name in ("barrier", "width", "temperature"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), positive=True))

    # dX = a dt + b dW, for the schemes that are written in Python.

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return 4 * p.barrier / p.width**2 * (x[0] * (1 - (x[0] / p.width) ** 2))

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        return math.sqrt(2 * p.temperature)

    def _euler_maruyama(self, h: np.ndarray) -> Step:
        """X += (4 b h / w^2) X (1 - X^2 / w^2) + sqrt(2 T h) Z."""
        rate = 4 * self.barrier * h / self.width**2
        return Step("double_well", rows(rate, 1 / self.width**2, np.sqrt(2 * self.temperature * h)))

    def potential(self, x: ArrayLike) -> laws.Array:
        """V(x)."""
        checks.refuse_loss("x", x)
        return laws.unwrap(self.barrier * ((np.asarray(x) / self.width) ** 2 - 1) ** 2)

    def force(self, x: ArrayLike) -> laws.Array:
        """-V'(x), which is the drift."""
        checks.refuse_loss("x", x)
        y = np.asarray(x) / self.width
        return laws.unwrap(4 * self.barrier / self.width * y * (1 - y**2))

    def stationary_density(self, x: ArrayLike) -> laws.Array:
        """Density of the stationary law, exp(-V(x) / T) over its integral."""
        _, weights = self._quadrature()
        return laws.unwrap(np.exp(-np.asarray(self.potential(x)) / self.temperature) / weights.sum())

    def stationary_variance(self) -> float:
        """Variance of the stationary law, whose mean is zero."""
        x, weights = self._quadrature()
        return float((weights * x**2).sum() / weights.sum())

    def _quadrature(self) -> tuple[np.ndarray, np.ndarray]:
        """Points and weights exp(-V / T) dx of the integral over x, for even functions.

        The trapezoidal rule is accurate to rounding: the integrand is smooth and below exp(-40) at the ends. When it is
        that small at the barrier too, the two wells are apart and one of them, counted twice, is enough.
        """
        reach = np.sqrt(40 * self.temperature / self.barrier)
        highest = np.sqrt(1 + reach)
        apart = reach < 1
        x, dx = np.linspace(np.sqrt(1 - reach) if apart else -highest, highest, 2001, retstep=True)
        x, dx = self.width * x, self.width * dx
        weights = np.exp(-np.asarray(self.potential(x)) / self.temperature) * dx
        return x, 2 * weights if apart else weights
