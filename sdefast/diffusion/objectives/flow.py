"""Flow matching: the velocity of the straight path from data to noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import checks
from ..schedule import Schedule, flow_schedule
from ..tensors import torch
from .base import Level, Objective, Tensor, check_normal, check_schedule, log_ratio

#: What samplers walk by default, and on images, whose many pixels hide more of the data at equal noise: more of few
#: steps where there is much of it (Esser et al. 2024, equation 23). On MNIST Frechet distances in 20 steps of
#: DPM-Solver++(2M) SDE were 3.5 and 2.5.
FLOW, OF_IMAGES = flow_schedule(1000), flow_schedule(1000, shift=3.0)


@dataclass(frozen=True)
class FlowMatching(Objective):
    """The velocity eps - x_0 of x_t = (1 - t) x_0 + t eps (Lipman et al. 2023); the network is told 1000 t.

    Parameters
    ----------
    schedule : Schedule
        What samplers walk, alpha = 1 - sigma: timestep k stands for t = sigma_k.
    times : {"logit-normal", "uniform"}
        How training draws t: logit(t) normal, so that neither end is drawn often (Esser et al. 2024, equation 19), or
        uniformly.
    mean, spread : float
        Mean and standard deviation of logit(t).
    """

    name = "flow"
    prediction = "flow"
    schedule: Schedule = FLOW
    times: str = "logit-normal"
    mean: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        if np.abs(check_schedule(self.schedule).alpha + self.schedule.sigma - 1).max() > 1e-6:
            raise ValueError(f"the schedule of 'flow' must have alpha = 1 - sigma, got {self.schedule}")
        checks.choice("times", self.times, ("logit-normal", "uniform"))
        check_normal(self.mean, self.spread)

    def drawn(self, u: Tensor) -> Level:
        t = u if self.times == "uniform" else torch.sigmoid(self.mean + self.spread * torch.special.ndtri(u))
        return Level(1 - t, t, 1000 * t)

    def target(self, x0: Tensor, z: Tensor, level: Level) -> Tensor:
        return z - x0

    def condition(self, t: Tensor) -> Tensor:
        return 1000 * torch.sigmoid(log_ratio(self.schedule, t))
