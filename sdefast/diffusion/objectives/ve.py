"""Noise-conditional scores: denoising score matching at several scales of noise at once, for annealed Langevin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ... import checks
from ..schedule import Schedule, geometric_sigmas
from ..tensors import column, torch
from .base import Level, Tensor, index, log_ratio, rows, timesteps
from .scaled import Scaled


@dataclass(frozen=True)
class NoiseConditional(Scaled):
    """The score of data with noise of several scales, with the weights sigma^2 (Song and Ermon 2019, equation 5).

    With S^2 = sigma^2 + sd^2 the network sees x / S, is told 1000 k / L at the k-th of L scales, and says F, which adds
    to the score of normal data: score = -x / S^2 + sd / (sigma S) F, as EDM has it. If it said the noise instead, the
    data that it means would be wrong by sigma times its error.

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
        # sigma^2 |score + eps / sigma|^2 = (sd / S)^2 |F - target|^2
        return Level(alpha, sigma, self.condition(k), (self.sd / self.scale(sigma)) ** 2)

    def condition(self, t: Tensor) -> Tensor:
        return timesteps(t, self._schedule.n).double() * (1000 / self._schedule.n)

    def said(self, net: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        sigma = torch.exp(log_ratio(self._schedule, t))
        S = self.scale(sigma)
        F = net(self.input(x, sigma), self.condition(t))
        return column(self.sd / (sigma * S), x) * F - x / column(S**2, x)
