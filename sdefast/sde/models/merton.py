"""Merton's jump diffusion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks
from ... import math as traced
from .. import jumps
from . import laws
from .base import Model
from .jump_diffusion import JumpDiffusion


class NormalJumps(Model):
    """Of models of a price whose logarithm has normal jumps: their parameters ``jump_mean`` and ``jump_std``."""

    intensity: float
    jump_mean: float
    jump_std: float
    numbers: Any

    def _check_jumps(self) -> None:
        object.__setattr__(self, "jump_mean", checks.real("jump_mean", self.jump_mean))
        object.__setattr__(self, "jump_std", checks.real("jump_std", self.jump_std, least=0.0))

    @property
    def jumps(self) -> jumps.Jumps:
        """Normal jumps of the logarithm."""
        numbers = self.numbers()
        law = numbers["intensity"], numbers["jump_mean"], numbers["jump_std"]
        return jumps.Merton(*law, parameters=(("intensity", "intensity"), ("mean", "jump_mean"), ("std", "jump_std")))


@dataclass(frozen=True)
class Merton(NormalJumps, JumpDiffusion):
    r"""Merton's jump diffusion, :math:`dS = (\mu - \lambda k) S\,dt + \sigma S\,dW + S\,(e^J - 1)\,dN`.

    Jumps of the logarithm are normal, :math:`J \sim N(m, s^2)`, and come at the rate :math:`\lambda`; with
    :math:`k = E[e^J - 1] = e^{m + s^2/2} - 1` the mean of S grows at the rate :math:`\mu`.

    Parameters
    ----------
    mu : float
        Relative drift of the mean, per unit of time.
    sigma : float
        Volatility between jumps, per square root of time; not negative.
    intensity : float
        Jumps per unit of time, lambda; not negative.
    jump_mean, jump_std : float
        Mean m and standard deviation s of the jumps of the logarithm.

    References
    ----------
    Merton, Journal of Financial Economics 3, 1976; the price is his equation 16.

    Examples
    --------
    >>> import sdefast as sf
    >>> model = sf.Merton(mu=0.05, sigma=0.2, intensity=1.0, jump_mean=-0.1, jump_std=0.15)
    >>> run = sf.simulate(model, x0=100.0, t1=1.0, n_steps=1, n_paths=10_000, method="exact", seed=1)
    >>> bool(abs(run.mean[0, 0] - model.mean(1.0, x0=100.0)) < 5 * run.standard_error[0, 0])
    True
    """

    jump_mean: float = -0.1
    jump_std: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_jumps()

    @staticmethod
    def relative_jump(p: Any) -> Any:
        """k = E[e^J - 1]."""
        return traced.expm1(p.jump_mean + 0.5 * p.jump_std * p.jump_std)

    def _jump_function(self, w: np.ndarray) -> np.ndarray:
        return normal_jump_function(w, self.jump_mean, self.jump_std)

    def _call(self, strike: float, t: float, forward: float) -> float:
        """Merton's series: Black's prices given the number of jumps, as many as may come."""
        expected = self.intensity * t
        n = np.arange(math.ceil(expected + 12 * math.sqrt(expected) + 40))
        growth = self.jump_mean + 0.5 * self.jump_std**2
        log_chance = n * math.log(expected) - expected - _log_factorial(n) if expected else np.where(n, -np.inf, 0.0)
        forwards = forward * np.exp(n * growth - expected * math.expm1(growth))
        given = laws.black(forwards, strike, np.sqrt(self.sigma**2 * t + n * self.jump_std**2))
        return float(np.exp(log_chance) @ given)


def normal_jump_function(w: np.ndarray, mean: float, std: float) -> np.ndarray:
    """E[exp(i w J)] for normal J."""
    return np.asarray(np.exp(1j * w * mean - 0.5 * (std * w) ** 2))


def _log_factorial(n: np.ndarray) -> np.ndarray:
    return np.cumsum(np.log(np.maximum(n, 1)))
