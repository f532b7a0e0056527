"""DDIM."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput

from ..levels import Levels, from_timesteps
from .base import Steps, refuse, seeded
from .lists import integers
from .thresholds import check_threshold


class DDIMScheduler(Steps, diffusers.DDIMScheduler):
    """`plan`'s ``"ddim"`` as a scheduler of diffusers; its settings, and ``seed``.

    A step goes to the next timestep of the list, where diffusers goes ``num_train_timesteps // n`` back, which is
    another one in all lists but ``"leading"``. The noise is re-derived from the clipped data unless
    ``use_clipped_model_output=False`` is passed. ``thresholding=True`` sorts every sample in torch, which takes many
    times what the step takes.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.DDIMScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.DDIMScheduler)
    _levels: Levels | None = None
    _made: Any = None

    def check(self) -> None:
        refuse(self.config, prediction_type=("epsilon", "sample", "v_prediction"))
        check_threshold(self.config)

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """The list of ``timestep_spacing``."""
        steps = integers(self.config, num_inference_steps)
        self.num_inference_steps = len(steps)
        self._levels = from_timesteps(self.schedule, steps, None if self.config.set_alpha_to_one else 0)
        self._made = None
        self._table(0.0, True)
        self._begin(torch.from_numpy(steps).to(device))

    def _table(self, eta: float, clipped: bool) -> None:
        """The rows, which depend on what `step` is told."""
        if self._levels is not None and self._made != (eta, clipped):
            self._prepare("ddim", self._levels, self.prediction, eta=eta, use_clipped_model_output=clipped)
            self._made = eta, clipped

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, eta: float = 0.0,
        use_clipped_model_output: bool | None = None, generator: Any = None,
        variance_noise: torch.Tensor | None = None, return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """From this timestep to the next one of the list; ``use_clipped_model_output=None`` is True."""
        if generator is not None and variance_noise is not None:
            raise ValueError("give generator or variance_noise, not both")
        self._table(eta, use_clipped_model_output is None or bool(use_clipped_model_output))
        after, data = self._advance(model_output, timestep, sample, generator, variance_noise)
        return DDIMSchedulerOutput(prev_sample=after, pred_original_sample=data) if return_dict else (after, data)
