"""The Bates model: stochastic volatility with jumps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ... import checks
from ... import math as traced
from ..schemes import qe
from .base import OwnStep
from .heston import Heston
from .jump_diffusion import compensated
from .merton import Merton, NormalJumps, normal_jump_function


@dataclass(frozen=True)
class Bates(NormalJumps, Heston):
    r"""Bates model, with the state (S, v): a `Heston` model whose price jumps as in `Merton`'s.

    .. math::
        dS &= (\mu - \lambda k) S\,dt + \sqrt{v}\,S\,dW_1 + S\,(e^J - 1)\,dN \\
        dv &= \kappa(\theta - v)\,dt + \xi\sqrt{v}\,(\rho\,dW_1 + \sqrt{1 - \rho^2}\,dW_2)

    with :math:`J \sim N(m, s^2)` at the rate :math:`\lambda` and :math:`k = e^{m + s^2/2} - 1`, so that the mean of S
    grows at the rate :math:`\mu`. All closed forms of `Heston` are there; schemes see v as they do there, and
    ``method="qe"`` steps as there between the jumps.

    Parameters
    ----------
    mu, kappa, theta, xi, rho : float
        As of `Heston`.
    intensity : float
        Jumps per unit of time, lambda; not negative.
    jump_mean, jump_std : float
        Mean m and standard deviation s of the jumps of log S.

    References
    ----------
    Bates, Review of Financial Studies 9, 1996. Those of `Heston`.

    Examples
    --------
    Without randomness of v it is `Merton`'s model:

    >>> import sdefast as sf
    >>> bates = sf.Bates(mu=0.05, theta=0.04, xi=0.0, intensity=1.0, jump_mean=-0.1, jump_std=0.15)
    >>> merton = sf.Merton(mu=0.05, sigma=0.2, intensity=1.0, jump_mean=-0.1, jump_std=0.15)
    >>> abs(bates.call_price(100.0, 1.0, (100.0, 0.04)) - merton.call_price(100.0, 1.0, 100.0)) < 1e-9
    True
    """

    intensity: float = 1.0
    jump_mean: float = -0.1
    jump_std: float = 0.15

    schemes: ClassVar[Mapping[str, str]] = {}
    own_steps: ClassVar[Mapping[str, str]] = {"qe": "_qe"}

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "intensity", checks.real("intensity", self.intensity, least=0.0))
        self._check_jumps()

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        _, of_variance = Heston.a(t, x, p)
        return (p.mu - p.intensity * Merton.relative_jump(p)) * x[0], of_variance

    def _qe(self) -> OwnStep:
        """Heston's, less the growth that the jumps bring."""
        return super()._qe()._replace(move=self._compensated_move)

    @staticmethod
    def _compensated_move(h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
        price, variance = qe.price_step(h, root, x, z, u, p)
        return price * traced.exp(-p.intensity * Merton.relative_jump(p) * h), variance

    def _exponents(self, w: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of `Heston` and, of the jumps, a summand of C."""
        C, D = super()._exponents(w, t)
        law = partial(normal_jump_function, mean=self.jump_mean, std=self.jump_std)
        return C + self.intensity * t * compensated(law, w), D
