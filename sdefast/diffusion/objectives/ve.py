"""Noise-conditional scores: denoising score matching at several scales of noise at once, for annealed Langevin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ... import checks
from ..schedule import Schedule, geometric_sigmas
from ..tensors import column, torch
from .base import Level, Objective, Tensor, index, log_ratio, rows, timesteps


@dataclass(frozen=True)
class NoiseConditional(Objective):
    """The score of data with noise of several scales, with the weights sigma^2 (Song and Ermon 2019, equation 5).

    The network says F and means the score -F / sigma: sigma^2 |score + eps / sigma|^2 = |F - eps|^2. It sees
    x / sqrt(sd^2 + sigma^2) and is told 1000 k / L at the k-th of L scales.

    Parameters
    ----------
    sigmas : sequence of float
        Scales of noise, largest or smallest first.
    sd : float
        Standard deviation of the data.
    """

    name = "ve"
    prediction = "score"
    sigmas: Sequence[float] = tuple(geometric_sigmas(50.0, 0.01, 50).tolist())
    sd: float = 0.5

    def __post_init__(self) -> None:
        given = checks.array("sigmas", self.sigmas, shape=(None,))
        rising = given if len(given) and given[0] <= given[-1] else given[::-1]
        object.__setattr__(self, "schedule", Schedule.from_sigmas(rising))
        object.__setattr__(self, "sigmas", tuple(rising.tolist()))
        checks.real("sd", self.sd, positive=True)

    @property
    def _schedule(self) -> Schedule:
        assert self.schedule is not None
        return self.schedule

    def drawn(self, u: Tensor) -> Level:
        k = index(u, self._schedule.n)
        alpha, sigma = rows(k, self._schedule.alpha, self._schedule.sigma)
        return Level(alpha, sigma, self.condition(k))

    def target(self, x0: Tensor, z: Tensor, level: Level) -> Tensor:
        return z

    def condition(self, t: Tensor) -> Tensor:
        return timesteps(t, self._schedule.n).double() * (1000 / self._schedule.n)

    def input(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / column(torch.hypot(sigma, sigma.new_tensor(self.sd)), x)

    def said(self, net: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        sigma = torch.exp(log_ratio(self._schedule, t))
        return -net(self.input(x, sigma), self.condition(t)) / column(sigma, x)
