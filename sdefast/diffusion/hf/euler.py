"""Euler's method, and the ancestral one."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteSchedulerOutput
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteSchedulerOutput

from ... import checks
from .base import refuse, respaced, seeded
from .lists import fractions, times_of
from .sigmas import SigmaSteps


class EulerDiscreteScheduler(SigmaSteps, diffusers.EulerDiscreteScheduler):
    """`plan`'s ``"euler"`` as a scheduler of diffusers; its settings, and ``seed``.

    Noise added before steps, ``s_churn``, is refused: the model would have to be called after that, as
    ``plan("euler", ..., s_churn=...)`` does.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.EulerDiscreteScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.EulerDiscreteScheduler)
    _refuses_integers = True

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
        self.num_inference_steps = len(given)
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
        """From this timestep to the next one of the list."""
        no_churn(s_churn)
        after, data = self._advance(model_output, timestep, sample, generator)
        if not return_dict:
            return after, data
        return EulerDiscreteSchedulerOutput(prev_sample=after, pred_original_sample=data)


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


def no_churn(s_churn: float) -> None:
    """The model has been called before noise could be added."""
    if s_churn:
        raise ValueError(
            f"s_churn must be 0 here, got {s_churn}: noise must be added before the model is called, as "
            "sdefast.diffusion.plan('euler', ..., s_churn=...) does"
        )


def _decreasing(sigmas: Any) -> np.ndarray:
    ratios = checks.array("sigmas", sigmas, shape=(None,))
    if len(ratios) < 2 or (np.diff(ratios) >= 0).any() or ratios[-1] < 0:
        raise ValueError("sigmas must hold two numbers or more and decrease strictly, to 0 or above")
    return ratios.astype(np.float64)
