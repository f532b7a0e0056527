"""EDM: the data through a network whose input and output are scaled to variance 1 at every sigma."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks
from ..plan import Plan, plan_of_sigmas
from ..schedule import karras_sigmas
from ..tensors import column, torch
from .base import Level, Tensor, check_normal
from .scaled import Scaled


@dataclass(frozen=True)
class EDM(Scaled):
    """The data, D = c_skip x + c_out F(c_in x, c), at sigmas whose logarithm is normal (Karras et al. 2022, table 1).

    With S^2 = sigma^2 + sd^2: c_skip = sd^2 / S^2, c_out = sigma sd / S, c_in = 1 / S. The loss |D - x_0|^2 / c_out^2
    is |F - target|^2. The network is told c = 250 log(sigma), 1000 times Karras' c_noise; the model is told sigma.

    Parameters
    ----------
    sd : float
        Standard deviation of the data.
    mean, spread : float
        Mean and standard deviation of log(sigma) in training.
    sigma_min, sigma_max, rho : float
        The sigmas of `plan`, see `karras_sigmas`.
    """

    name = "edm"
    prediction = "x0"
    schedule = None
    sd: float = 0.5
    mean: float = -1.2
    spread: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        checks.real("sd", self.sd, positive=True)
        check_normal(self.mean, self.spread)
        karras_sigmas(2, self.sigma_min, self.sigma_max, self.rho)  # refuses what it cannot use

    def drawn(self, u: Tensor) -> Level:
        sigma = torch.exp(self.mean + self.spread * torch.special.ndtri(u))
        return Level(torch.ones_like(sigma), sigma, self.condition(sigma))

    def condition(self, t: Tensor) -> Tensor:
        return 250 * torch.log(t)

    def said(self, net: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        sigma = t.double()
        if sigma.is_cpu and not (sigma > 0).all():
            raise ValueError(f"sigma must be positive, got {sigma.min():g}")
        S = self.scale(sigma)
        F = net(self.input(x, sigma), self.condition(sigma))
        return column((self.sd / S) ** 2, x) * x + column(sigma * self.sd / S, x) * F

    def plan(self, method: str, n_steps: int | None = None, clip: float | None = None, **options: Any) -> Plan:
        """The plan of a sampler through ``n_steps`` sigmas, by default 18, and 0; else as of `plan_of_sigmas`."""
        n = 18 if n_steps is None else checks.count("n_steps", n_steps)
        sigmas = np.append(karras_sigmas(n, self.sigma_min, self.sigma_max, self.rho), 0.0)
        return plan_of_sigmas(method, sigmas, prediction=self.prediction, clip=clip, **options)
