"""Diffusion models: schedules of noise, and samplers as tables of rows that one kernel runs."""

from .plan import ROW, Plan, plan, plan_of_sigmas, row_of
from .predictions import PREDICTIONS, coefficients
from .samplers import SAMPLERS
from .schedule import (
    Schedule,
    cosine_schedule,
    flow_schedule,
    geometric_sigmas,
    karras_sigmas,
    linear_beta_schedule,
    scaled_linear_beta_schedule,
    sigmoid_schedule,
)
from .spacing import timesteps

__all__ = [
    "PREDICTIONS",
    "ROW",
    "SAMPLERS",
    "Plan",
    "Schedule",
    "coefficients",
    "cosine_schedule",
    "flow_schedule",
    "geometric_sigmas",
    "karras_sigmas",
    "linear_beta_schedule",
    "plan",
    "plan_of_sigmas",
    "row_of",
    "scaled_linear_beta_schedule",
    "sigmoid_schedule",
    "timesteps",
]
