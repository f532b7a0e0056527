"""Euler's method for flow matching."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteSchedulerOutput

from ..levels import Levels
from .base import Steps, refuse, seeded

#: More noise than a level can have: all of it is drawn anew.
_ALL = 1e300


class FlowMatchEulerDiscreteScheduler(Steps, diffusers.FlowMatchEulerDiscreteScheduler):
    """`plan`'s ``"euler"`` for flows as a scheduler of diffusers; its settings, lists of sigmas, and ``seed``.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.FlowMatchEulerDiscreteScheduler)
    _refuses_integers = True

    def check(self) -> None:
        refuse(self.config, invert_sigmas=(False,))

    def stretch_shift_to_terminal(self, t: Any) -> Any:
        """Sigmas of which the last is ``shift_terminal``; a single one, 1, stays: there is nothing to stretch."""
        if float(t[-1]) == 1:
            return t
        return diffusers.FlowMatchEulerDiscreteScheduler.stretch_shift_to_terminal(self, t)

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, sigmas: list[float] | None = None,
        mu: float | None = None, timesteps: list[float] | None = None,
    ) -> None:  # fmt: skip
        """The list: even, or own sigmas or timesteps, shifted as the config says."""
        diffusers.FlowMatchEulerDiscreteScheduler.set_timesteps(
            self, num_inference_steps, device, sigmas, mu, timesteps
        )
        found = self.sigmas.double().cpu().numpy()
        if (np.diff(found) > 0).any() or found[0] > 1:
            raise ValueError("sigmas must decrease, from at most 1")
        keys = np.append(np.arange(len(found) - 1), -1)
        levels = Levels(1 - found, found, np.append(self.timesteps.cpu().numpy(), 0.0), keys)
        if self.config.stochastic_sampling:
            self._prepare("euler-ancestral", levels, "flow", eta=_ALL)
        else:
            self._prepare("euler", levels, "flow")
        self._begin(self.timesteps)

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, s_churn: float = 0.0,
        s_tmin: float = 0.0, s_tmax: float = float("inf"), s_noise: float = 1.0, generator: Any = None,
        per_token_timesteps: torch.Tensor | None = None, return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """From this timestep to the next one of the list."""
        if s_churn:
            raise ValueError(f"s_churn must be 0 here, got {s_churn}: diffusers takes it for flows, and does nothing")
        if per_token_timesteps is not None:
            raise ValueError("per_token_timesteps must be None: all elements of a sample are at one timestep")
        after, _ = self._advance(model_output, timestep, sample, generator)
        return FlowMatchEulerDiscreteSchedulerOutput(prev_sample=after) if return_dict else (after,)
