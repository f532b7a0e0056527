"""Brownian motion with drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from . import laws
from .base import Model, OwnStep, Step, rows


@dataclass(frozen=True)
class BrownianMotion(Model):
    r"""Brownian motion with drift :math:`dX = \mu\,dt + \sigma\,dW`.

    Parameters
    ----------
    mu : float
        Drift, per unit of time.
    sigma : float
        Noise strength, per square root of time; not negative.

    References
    ----------
    Karatzas and Shreve, Brownian Motion and Stochastic Calculus, 1991, chapter 2.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.BrownianMotion(mu=2.0, sigma=0.5).variance(4.0)
    1.0
    """

    mu: float = 0.0
    sigma: float = 1.0

    # The increments are normal whatever the step, so Euler-Maruyama is exact here.
    example_start: ClassVar[tuple[float, ...]] = (0.0,)
    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_increment", "exact": "_increment"}
    own_steps: ClassVar[Mapping[str, str]] = {"exact": "_exact_own"}
    additive_noise: ClassVar[bool] = True
    noise_kind: ClassVar[str] = "additive"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", checks.real("mu", self.mu))
        object.__setattr__(self, "sigma", checks.real("sigma", self.sigma, least=0.0))

    # dX = a dt + b dW, for the schemes that are written in Python.

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        return p.mu

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        return p.sigma

    @staticmethod
    def _exact_move(h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
        """The exact transition."""
        return x[0] + (p.mu * h + p.sigma * root * z[0])

    def _exact_own(self) -> OwnStep:
        return OwnStep(self._exact_move, n_normals=1)

    def _increment(self, h: np.ndarray) -> Step:
        return Step("brownian_motion", rows(self.mu * h, self.sigma * np.sqrt(h)))

    def mean(self, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """E[X(t)] given X(0) = x0, for elapsed times ``t``; the shape is that of ``t`` and ``x0`` broadcast."""
        return laws.unwrap(checks.array("x0", x0) + self.mu * laws.elapsed("t", t))

    def variance(self, t: ArrayLike, x0: ArrayLike | None = None) -> laws.Array:
        """Var[X(t)] given X(0); it does not depend on the start."""
        return laws.unwrap(self.sigma**2 * laws.elapsed("t", t))

    def covariance(self, s: ArrayLike, t: ArrayLike, x0: ArrayLike | None = None) -> laws.Array:
        """Cov[X(s), X(t)] given X(0)."""
        return laws.unwrap(self.sigma**2 * np.minimum(laws.elapsed("s", s), laws.elapsed("t", t)))

    def transition(self, t: float, x0: float) -> laws.Distribution:
        """Law of X(t) given X(0) = x0, a frozen normal distribution of `scipy.stats`."""
        t = laws.random_at(t, self.sigma, "sigma")
        return laws.scipy_stats().norm(self.mean(t, x0), np.sqrt(self.variance(t)))
