"""Euler's method, and the ancestral one."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteSchedulerOutput
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteSchedulerOutput

from ... import checks
from ..samplers.churn import CHURN, Churn
from .base import refuse, respaced, seeded
from .lists import fractions, times_of
from .sigmas import SigmaSteps


class EulerDiscreteScheduler(SigmaSteps, diffusers.EulerDiscreteScheduler):
    """`plan`'s ``"euler"`` as a scheduler of diffusers; its settings, and ``seed``.

    Noise of ``s_churn`` is added by `step`, when the model has been called, as in diffusers. Karras et al. (2022,
    algorithm 2) add it before: ``plan("euler", ..., s_churn=...)`` does so.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.EulerDiscreteScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.EulerDiscreteScheduler)
    _refuses_integers = True
    _ratios: Any = None

    def check(self) -> None:
        refuse(
            self.config, interpolation_type=("linear",), final_sigmas_type=("zero", "sigma_min"),
            prediction_type=("epsilon", "v_prediction", "sample", "original_sample"),
            timestep_type=("discrete", "continuous"),
        )  # fmt: skip

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
    ) -> None:  # fmt: skip
        """The list: of ``timestep_spacing``, own timesteps, or own sigmas, which end where sampling does."""
        if sigmas is not None:
            if num_inference_steps is not None or timesteps is not None:
                raise ValueError("give num_inference_steps, timesteps or sigmas, one of them")
            ratios = _decreasing(sigmas)
            given = times_of(ratios[:-1], self.schedule.ratio)
        else:
            given, ratios = self._spaced(num_inference_steps, timesteps)
        if self.config.timestep_type == "continuous" and self.prediction == "v":
            given = np.log(ratios[:-1]) / 4
        self.num_inference_steps, self._ratios = len(given), ratios
        self._go_through("euler", ratios, given, ratios[:-1])
        self.sigmas = torch.from_numpy(ratios).float()
        self._begin(torch.from_numpy(given).to(device, torch.float32))

    def _spaced(self, n: int | None, own: Any) -> tuple[np.ndarray, np.ndarray]:
        """Timesteps, and sigma / alpha with where they end."""
        given = fractions(self.config, n, own)
        ratios = self._ratios_at(given)
        other = respaced(self, ratios, len(given))
        if other is not None:
            if own is not None:
                raise ValueError("timesteps and a spacing of sigmas, such as use_karras_sigmas, exclude each other")
            given, ratios = times_of(other, self.schedule.ratio), other
        last = self.schedule.ratio[0] if self.config.final_sigmas_type == "sigma_min" else 0.0
        return given, np.append(ratios, last)

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, s_churn: float = 0.0,
        s_tmin: float = 0.0, s_tmax: float = float("inf"), s_noise: float = 1.0, generator: Any = None,
        return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """From this timestep to the next one of the list.

        Where sigma / alpha lies within ``s_tmin`` and ``s_tmax`` noise, times ``s_noise``, brings the samples to
        (1 + gamma) sigma first, gamma = min(s_churn / n, sqrt(2) - 1); what the model said of them stays.
        """
        kind, row = sample.dtype, None
        if s_churn:
            given = {"s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax, "s_noise": s_noise}
            churn = Churn(**{name: CHURN[name].check(name, value) for name, value in given.items()})
            sample, row = self._churned(churn, timestep, sample, generator)
        after, data = self._advance(model_output, timestep, sample, generator, row=row)
        after, data = after.to(kind), data.to(kind)
        if not return_dict:
            return after, data
        return EulerDiscreteSchedulerOutput(prev_sample=after, pred_original_sample=data)

    def _churned(
        self, churn: Churn, timestep: Any, sample: torch.Tensor, generator: Any
    ) -> tuple[torch.Tensor, np.ndarray | None]:
        """The samples with more noise, and the row that goes on from there, if they are to have any."""
        i = self._seek(timestep)
        ratio, to = float(self._ratios[i]), float(self._ratios[i + 1])
        high = ratio * (1 + churn.gamma(ratio, len(self._ratios) - 1))
        if high == ratio:
            return sample, None
        row = self._coefficients[i].copy()
        if self.prediction == "eps":
            row[0], row[1] = 1.0, -high
        row[3], row[4] = to / high, 1 - to / high
        return self._noised(i, sample, math.sqrt(high**2 - ratio**2) * churn.s_noise, generator), row


class EulerAncestralDiscreteScheduler(SigmaSteps, diffusers.EulerAncestralDiscreteScheduler):
    """`plan`'s ``"euler-ancestral"`` as a scheduler of diffusers; its settings, and ``seed``.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.EulerAncestralDiscreteScheduler)
    _refuses_integers = True

    def check(self) -> None:
        refuse(self.config, prediction_type=("epsilon", "v_prediction", "sample"))

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """The list of ``timestep_spacing``."""
        given = fractions(self.config, num_inference_steps)
        ratios = np.append(self._ratios_at(given), 0.0)
        self.num_inference_steps = len(given)
        self._go_through("euler-ancestral", ratios, given, ratios[:-1])
        self.sigmas = torch.from_numpy(ratios).float()
        self._begin(torch.from_numpy(given).to(device, torch.float32))

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, generator: Any = None,
        return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """From this timestep to the next one of the list."""
        after, data = self._advance(model_output, timestep, sample, generator)
        if not return_dict:
            return after, data
        return EulerAncestralDiscreteSchedulerOutput(prev_sample=after, pred_original_sample=data)


def _decreasing(sigmas: Any) -> np.ndarray:
    ratios = checks.array("sigmas", sigmas, shape=(None,))
    if len(ratios) < 2 or (np.diff(ratios) >= 0).any() or ratios[-1] < 0:
        raise ValueError("sigmas must hold two numbers or more and decrease strictly, to 0 or above")
    return ratios.astype(np.float64)
