"""Kou's jump diffusion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from .. import jumps
from . import laws
from .jump_diffusion import JumpDiffusion


@dataclass(frozen=True)
class Kou(JumpDiffusion):
    r"""Kou's jump diffusion, :math:`dS = (\mu - \lambda k) S\,dt + \sigma S\,dW + S\,(e^J - 1)\,dN`.

    Jumps of the logarithm are exponential, upwards with probability p, and come at the rate :math:`\lambda`; with
    :math:`k = E[e^J - 1] = p\,\eta_1/(\eta_1 - 1) + (1 - p)\,\eta_2/(\eta_2 + 1) - 1` the mean of S grows at the rate
    :math:`\mu`.

    Parameters
    ----------
    mu : float
        Relative drift of the mean, per unit of time.
    sigma : float
        Volatility between jumps, per square root of time; not negative. Prices need it to be positive.
    intensity : float
        Jumps per unit of time, lambda; not negative.
    p_up : float
        Probability that a jump goes up, within [0, 1].
    eta_up, eta_down : float
        One over the mean sizes of jumps up and down; eta_up > 1, so that S has a mean, and eta_down > 0.

    References
    ----------
    Kou, Management Science 48, 2002. Price: Lewis, Option Valuation under Stochastic Volatility, 2000.

    Examples
    --------
    The example of Kou's section 5.2, for which he gives 9.14732:

    >>> import sdefast as sf
    >>> model = sf.Kou(mu=0.05, sigma=0.16, intensity=1.0, p_up=0.4, eta_up=10.0, eta_down=5.0)
    >>> round(model.call_price(strike=98.0, t=0.5, x0=100.0), 5)
    9.14732
    """

    p_up: float = 0.4
    eta_up: float = 10.0
    eta_down: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "p_up", checks.real("p_up", self.p_up, least=0.0, most=1.0))
        object.__setattr__(self, "eta_up", checks.real("eta_up", self.eta_up, positive=True))
        object.__setattr__(self, "eta_down", checks.real("eta_down", self.eta_down, positive=True))
        if self.eta_up <= 1:
            raise ValueError(f"eta_up must be greater than 1, or S has no mean, got {self.eta_up:g}")

    @property
    def jumps(self) -> jumps.Jumps:
        """Exponential jumps of the logarithm."""
        names = ("intensity", "p_up", "eta_up", "eta_down")
        numbers = {name: self.numbers()[name] for name in names}
        return jumps.Kou(**numbers, parameters=tuple((name, name) for name in names))

    @staticmethod
    def relative_jump(p: Any) -> Any:
        """k = E[e^J - 1]."""
        return p.p_up / (p.eta_up - 1) - (1 - p.p_up) / (p.eta_down + 1)

    def _jump_function(self, w: np.ndarray) -> np.ndarray:
        up, down = self.eta_up / (self.eta_up - 1j * w), self.eta_down / (self.eta_down + 1j * w)
        return np.asarray(self.p_up * up + (1 - self.p_up) * down)

    def covariance(self, s: ArrayLike, t: ArrayLike, x0: ArrayLike) -> laws.Array:
        """Cov[S(s), S(t)] given S(0) = x0; infinite for eta_up <= 2."""
        if self.eta_up <= 2 and self.intensity * self.p_up > 0:
            overlap = np.minimum(laws.elapsed("s", s), laws.elapsed("t", t)) * laws.bounded("x0", x0, positive=True)
            return laws.unwrap(np.where(overlap > 0, math.inf, 0.0))
        return super().covariance(s, t, x0)

    def _call(self, strike: float, t: float, forward: float) -> float:
        if self.sigma == 0:
            raise ValueError("prices need sigma to be positive")
        return super()._call(strike, t, forward)
