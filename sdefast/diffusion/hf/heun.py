"""Heun's method: two calls of the model for every step but the last."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteSchedulerOutput

from .base import refuse, respaced, seeded
from .lists import fractions, times_of
from .sigmas import SigmaSteps


class HeunDiscreteScheduler(SigmaSteps, diffusers.HeunDiscreteScheduler):
    """`plan`'s ``"heun"`` as a scheduler of diffusers; its settings, and ``seed``.

    ``timesteps`` and ``sigmas`` hold every level but the first twice: for the correction there and for the step on.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.HeunDiscreteScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.HeunDiscreteScheduler)

    def check(self) -> None:
        refuse(self.config, prediction_type=("epsilon", "v_prediction", "sample"))

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, num_train_timesteps: int | None = None,
        timesteps: list[int] | None = None,
    ) -> None:  # fmt: skip
        """The list of ``timestep_spacing``, or an own one, its levels but the first doubled."""
        if num_train_timesteps not in (None, self.config.num_train_timesteps):
            raise ValueError(
                f"num_train_timesteps must be {self.config.num_train_timesteps}, as in the config, "
                f"got {num_train_timesteps}"
            )
        refuse(self.config, prediction_type=("epsilon", "v_prediction", "sample"))
        given = fractions(self.config, num_inference_steps, timesteps)
        ratios = self._ratios_at(given)
        other = respaced(self, ratios, len(given))
        if other is not None:
            given, ratios = times_of(other, self.schedule.ratio), other
        self.num_inference_steps = len(given)
        calls = np.append(ratios[:1], np.repeat(ratios[1:], 2))
        self._go_through("heun", np.append(ratios, 0.0), given, calls)
        self.sigmas = torch.from_numpy(np.append(calls, 0.0)).float()
        doubled = np.append(given[:1], np.repeat(given[1:], 2))
        self._begin(torch.from_numpy(doubled).to(device, torch.float32))

    @property
    def state_in_first_order(self) -> bool:
        """Whether the next call is a step's first."""
        return self._trajectory is None or self._trajectory.h1 is None

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, return_dict: bool = True) -> Any:
        """From this timestep to the next one of the list, or the correction of the step before."""
        after, data = self._advance(model_output, timestep, sample)
        if not return_dict:
            return after, data
        return HeunDiscreteSchedulerOutput(prev_sample=after, pred_original_sample=data)
