"""Objectives at the timesteps of a variance-preserving schedule, each drawn as often as the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import checks
from ..schedule import Schedule, linear_beta_schedule
from ..tensors import column
from .base import Level, Objective, Tensor, check_schedule, index, rows, timesteps

#: DDPM's schedule.
LINEAR = linear_beta_schedule(1000)


@dataclass(frozen=True)
class _OnTimesteps(Objective):
    """What they share: the network is told 1000 t / T.

    Parameters
    ----------
    schedule : Schedule
        What the network is trained on, alpha^2 + sigma^2 = 1.
    """

    schedule: Schedule = LINEAR

    def __post_init__(self) -> None:
        if not check_schedule(self.schedule).is_vp:
            raise ValueError(f"the schedule of {self.name!r} must preserve the variance, got {self.schedule}")

    def drawn(self, u: Tensor) -> Level:
        k = index(u, self.schedule.n)
        alpha, sigma = rows(k, self.schedule.alpha, self.schedule.sigma)
        return Level(alpha, sigma, self.condition(k))

    def condition(self, t: Tensor) -> Tensor:
        return timesteps(t, self.schedule.n).double() * (1000 / self.schedule.n)


@dataclass(frozen=True)
class Eps(_OnTimesteps):
    """The noise, all timesteps weighing the same: DDPM's simple loss (Ho et al. 2020, equation 14)."""

    name = "eps"
    prediction = "eps"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule.alpha[-1] == 0:
            raise ValueError(
                f"{self.name!r} cannot have a schedule that ends with alpha = 0: train 'v', 'x0' or 'flow'"
            )

    def target(self, x0: Tensor, z: Tensor, level: Level) -> Tensor:
        return z


@dataclass(frozen=True)
class EpsWeighted(Eps):
    """The noise with the weights of the variational bound (Ho et al. 2020, equation 12), scaled to the mean 1.

    For a model's variance s^2 they are beta^2 / (2 s^2 (1 - beta) sigma^2); at the first timestep, where the bound has
    L_0 with a decoder of variance beta, 1 / (2 (1 - beta)).

    Parameters
    ----------
    schedule : Schedule
    variance : {"beta", "beta_tilde"}
        The model's, in the bound.
    """

    name = "eps-weighted"
    variance: str = "beta"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("variance", self.variance, ("beta", "beta_tilde"))

    @property
    def weights(self) -> np.ndarray:
        """One for each timestep."""
        beta, square = self.schedule.betas, self.schedule.sigma**2
        s = beta if self.variance == "beta" else beta * np.append(square[0], square[:-1]) / square
        found = beta**2 / (2 * s * (1 - beta) * square)
        return np.asarray(found / found.mean())

    def drawn(self, u: Tensor) -> Level:
        return super().drawn(u)._replace(weight=rows(index(u, self.schedule.n), self.weights)[0])


@dataclass(frozen=True)
class V(_OnTimesteps):
    """The velocity alpha eps - sigma x_0 (Salimans and Ho 2022, appendix D)."""

    name = "v"
    prediction = "v"

    def target(self, x0: Tensor, z: Tensor, level: Level) -> Tensor:
        return column(level.alpha, z) * z - column(level.sigma, x0) * x0


@dataclass(frozen=True)
class X0(_OnTimesteps):
    """The data (Ho et al. 2020, section 3.2)."""

    name = "x0"
    prediction = "x0"

    def target(self, x0: Tensor, z: Tensor, level: Level) -> Tensor:
        return x0
