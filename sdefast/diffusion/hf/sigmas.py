"""Schedulers of x / alpha, whose model is given x: levels are sigma / alpha, and inputs are scaled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from .base import Steps, levels_of_ratios


class SigmaSteps(Steps):
    """What those share; diffusers' last alpha where the signal vanishes is 2^-12."""

    _least = 2.0**-12
    _scales: Any = None
    is_scale_input_called: bool

    def scale_model_input(self, sample: torch.Tensor, timestep: Any) -> torch.Tensor:
        """The samples as the model was trained on them, of variance preserved."""
        self.is_scale_input_called = True
        return sample / math.hypot(1.0, self._scales[self._seek(timestep)])

    def _ratios_at(self, timesteps: np.ndarray) -> np.ndarray:
        """sigma / alpha, linear between timesteps."""
        found: np.ndarray = np.interp(timesteps, np.arange(self.schedule.n), self.schedule.ratio)
        return found

    def _go_through(self, method: str, ratios: np.ndarray, timesteps: np.ndarray, scales: np.ndarray) -> None:
        """The rows; ``scales`` are the levels at which the model is called."""
        self._scales = scales
        rows = self._prepare(method, levels_of_ratios(ratios, timesteps), self.prediction)
        if self.prediction == "v":  # the v of x, not of x / alpha
            rows["q"] *= np.hypot(1.0, scales)
            self._use(rows)
