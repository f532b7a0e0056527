"""DDPM: ancestral steps."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMSchedulerOutput

from ..levels import from_timesteps
from .base import Steps, refuse, seeded
from .lists import integers
from .thresholds import check_threshold

_VARIANCES = {
    "fixed_small": "beta_tilde",
    "fixed_small_log": "beta_tilde",
    "fixed_large": "beta",
    "fixed_large_log": "beta",
}


class DDPMScheduler(Steps, diffusers.DDPMScheduler):
    """`plan`'s ``"ddpm"`` as a scheduler of diffusers; its settings, and ``seed``.

    The last step, into the data, has no noise; diffusers adds some with ``variance_type="fixed_large"`` if the list
    does not end at 0. ``thresholding=True`` sorts every sample in torch, which takes many times what the step takes.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.DDPMScheduler.from_config(pipe.scheduler.config, seed=7)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.DDPMScheduler)

    def check(self) -> None:
        refuse(
            self.config, variance_type=tuple(_VARIANCES), prediction_type=("epsilon", "sample", "v_prediction")
        )  # fmt: skip
        check_threshold(self.config)

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, timesteps: list[int] | None = None
    ) -> None:
        """The list: of ``timestep_spacing``, or an own one."""
        steps = integers(self.config, num_inference_steps, timesteps)
        self.custom_timesteps, self.num_inference_steps = timesteps is not None, len(steps)
        self._table(steps)
        self._begin(torch.from_numpy(steps).to(device))

    def _table(self, steps: np.ndarray) -> None:
        variance = _VARIANCES[self.config.variance_type]
        self._prepare("ddpm", from_timesteps(self.schedule, steps), self.prediction, variance=variance)

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, generator: Any = None,
        return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """From this timestep to the next one of the list; of all, if `set_timesteps` was not called."""
        if self._given is None:
            self.set_timesteps(self.config.num_train_timesteps)
        after, data = self._advance(model_output, timestep, sample, generator)
        return DDPMSchedulerOutput(prev_sample=after, pred_original_sample=data) if return_dict else (after, data)
