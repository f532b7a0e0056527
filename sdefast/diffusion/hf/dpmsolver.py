"""DPM-Solver++(2M) and (3M), and their SDE forms."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput

from ..levels import Levels, from_timesteps
from .base import Steps, first_order_only, levels_of_ratios, refuse, respaced, seeded
from .lists import multistep, times_of
from .thresholds import check_threshold

_METHODS = {"dpmsolver++": 0.0, "sde-dpmsolver++": 1.0}


class DPMSolverMultistepScheduler(Steps, diffusers.DPMSolverMultistepScheduler):
    """`plan`'s DPM-Solver++ of orders 1, 2 and 3 as a scheduler of diffusers; its settings, and ``seed``.

    ``algorithm_type="dpmsolver++"`` is ``"dpm++2m"`` and ``"dpm++3m"``, ``"sde-dpmsolver++"`` those with ``-sde``. The
    third order has half of the second difference, ``curvature=0.5``, as in diffusers, but not its sign with noise:
    1/2 is subtracted there where k-diffusion adds it, so that short steps are of first order. ``thresholding=True``
    sorts every sample in torch, which takes many times what the step takes.

    Examples
    --------
    >>> from sdefast.diffusion import hf  # doctest: +SKIP
    >>> pipe.scheduler = hf.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)  # doctest: +SKIP
    """

    __init__ = seeded(diffusers.DPMSolverMultistepScheduler)
    _least = 2.0**-12
    #: of order 2, where the order is 3
    _second: np.ndarray | None = None

    def check(self) -> None:
        refuse(
            self.config, algorithm_type=tuple(_METHODS), solver_order=(2, 1, 3),
            solver_type=("midpoint", "heun"), final_sigmas_type=("zero", "sigma_min"), variance_type=(None,),
            prediction_type=("epsilon", "sample", "v_prediction"), use_flow_sigmas=(False,), use_lu_lambdas=(False,),
            use_dynamic_shifting=(False,),
        )  # fmt: skip
        check_threshold(self.config)

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
        """The rows: those that the config wants so are of a lower order."""
        eta, config, n = _METHODS[self.config.algorithm_type], self.config, len(levels)
        if eta or config.solver_type == "heun":
            self._prepare("dpm++2m-sde", levels, self.prediction, eta=eta, solver_type=config.solver_type)
        else:
            self._prepare("dpm++2m", levels, self.prediction)
        self._second = None
        short = config.lower_order_final and n < 15
        if config.solver_order == 3:
            self._second = self._coefficients
            self._prepare("dpm++3m-sde", levels, self.prediction, eta=eta, curvature=0.5)
            if short:
                self._coefficients[-2:] = self._second[-2:]
        last = config.euler_at_final or short or config.final_sigmas_type == "zero"
        for i in range(n) if config.solver_order == 1 else range(n - 1, n) if last else ():
            self._coefficients[i] = first_order_only(self._coefficients[i])

    def _row(self, i: int, way: Any) -> np.ndarray:
        """The coefficients, of the order that the data of steps before allow."""
        row = super()._row(i, way)
        if self._second is None or way.h2 is not None or not row[6]:
            return row
        second: np.ndarray = self._second[i]  # of the second step
        return second

    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, generator: Any = None,
        variance_noise: torch.Tensor | None = None, return_dict: bool = True,
    ) -> Any:  # fmt: skip
        """From this timestep to the next one of the list."""
        after, _ = self._advance(model_output, timestep, sample, generator, variance_noise)
        return SchedulerOutput(prev_sample=after) if return_dict else (after,)
