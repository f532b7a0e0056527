"""DPM-Solver++(2M), and its SDE form."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput

from ..levels import Levels, from_timesteps
from ..samplers.dpmpp_2m import DPMPP_2M
from .base import Steps, first_order_only, levels_of_ratios, refuse, respaced, seeded
from .lists import multistep, times_of

_METHODS = {"dpmsolver++": 0.0, "sde-dpmsolver++": 1.0}


class DPMSolverMultistepScheduler(Steps, diffusers.DPMSolverMultistepScheduler):
    """`plan`'s ``"dpm++2m"`` and ``"dpm++2m-sde"`` as a scheduler of diffusers; its settings, and ``seed``.

    Supported are the orders 1 and 2 of ``"dpmsolver++"`` and ``"sde-dpmsolver++"``.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.DPMSolverMultistepScheduler)
    _least = 2.0**-12

    def check(self) -> None:
        refuse(
            self.config, thresholding=(False,), algorithm_type=tuple(_METHODS), solver_order=(2, 1),
            solver_type=("midpoint", "heun"), final_sigmas_type=("zero", "sigma_min"), variance_type=(None,),
            prediction_type=("epsilon", "sample", "v_prediction"), use_flow_sigmas=(False,), use_lu_lambdas=(False,),
            use_dynamic_shifting=(False,),
        )  # fmt: skip

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, mu: float | None = None,
        timesteps: list[int] | None = None,
    ) -> None:  # fmt: skip
        """The list of ``timestep_spacing``, or an own one."""
        if mu is not None:
            raise ValueError("mu belongs to use_dynamic_shifting, which is not supported")
        steps, levels = self._levels(num_inference_steps, timesteps)
        self.num_inference_steps = len(steps)
        self._multistep(levels)
        ratios = np.divide(levels.sigma, levels.alpha)
        self.sigmas = torch.from_numpy(ratios).float()
        self._begin(torch.from_numpy(steps).to(device))

    def _levels(self, n: int | None, own: Any) -> tuple[np.ndarray, Levels]:
        """Timesteps, and the levels there; those of spaced sigmas lie between timesteps, as in diffusers."""
        ratio = self.schedule.ratio
        n_train = int((-np.log(ratio) >= self.config.lambda_min_clipped).sum())
        steps = multistep(self.config, n, n_train, own)
        to_zero = self.config.final_sigmas_type == "zero"
        other = respaced(self, ratio[::-1], len(steps))
        if other is None:
            return steps, from_timesteps(self.schedule, steps, None if to_zero else 0)
        if own is not None:
            raise ValueError("timesteps and a spacing of sigmas, such as use_karras_sigmas, exclude each other")
        steps = times_of(other, ratio)
        if self.config.beta_schedule != "squaredcos_cap_v2" and self.config.use_karras_sigmas:
            steps = steps.round()
        ends = np.append(other, 0.0 if to_zero else ratio[0])
        return steps.astype(np.int64), levels_of_ratios(ends, steps, variance_preserving=True)

    def _multistep(self, levels: Levels) -> None:
        """The rows: those that the config wants so are of first order."""
        eta, config, n = _METHODS[self.config.algorithm_type], self.config, len(levels)
        if eta or config.solver_type == "heun":
            self._prepare("dpm++2m-sde", levels, self.prediction, eta=eta, solver_type=config.solver_type)
        else:
            self._prepare(DPMPP_2M.name, levels, self.prediction)
        last = config.euler_at_final or (config.lower_order_final and n < 15) or config.final_sigmas_type == "zero"
        for i in range(n) if config.solver_order == 1 else range(n - 1, n) if last else ():
            self._coefficients[i] = first_order_only(self._coefficients[i])

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, generator: Any = None,
        variance_noise: torch.Tensor | None = None, return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """From this timestep to the next one of the list."""
        after, _ = self._advance(model_output, timestep, sample, generator, variance_noise)
        return SchedulerOutput(prev_sample=after) if return_dict else (after,)
