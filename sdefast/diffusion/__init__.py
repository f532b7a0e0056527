"""Diffusion models: schedules of noise, and samplers as tables of rows that one kernel runs."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .bound import Bound, gaussian_bound, q_posterior, variational_bound
from .conversions import convert
from .likelihood import log_likelihood
from .noise import noise_sampler, prior, randn_like
from .plan import ROW, Plan, plan, plan_of_sigmas, row_of
from .predictions import PREDICTIONS, coefficients
from .processes import VE, VP, Flow, Process
from .sample import Progress, Trajectory, ddim_sample, ddpm_sample, sample
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
from .step import ddim_step, ddim_step_, ddpm_step, ddpm_step_

if _TYPE_CHECKING:
    from . import data as data
    from . import experiments as experiments
    from . import figures as figures
    from . import hf as hf
    from . import k
    from . import losses as losses
    from . import networks as networks
    from . import objectives as objectives
    from . import quality as quality
    from . import training as training
    from .training import train as train

#: Modules that are imported when they are first used.
_MODULES = (
    "data", "experiments", "figures", "hf", "k", "losses", "networks", "objectives", "quality", "training",
)  # fmt: skip

#: Functions of such modules.
_FUNCTIONS = {"train": "training"}


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        return _import_module(f".{name}", __name__)
    if name in _FUNCTIONS:
        return getattr(_import_module(f".{_FUNCTIONS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *_FUNCTIONS})


__all__ = [
    "PREDICTIONS",
    "ROW",
    "SAMPLERS",
    "VE",
    "VP",
    "Bound",
    "Flow",
    "Plan",
    "Process",
    "Progress",
    "Schedule",
    "Trajectory",
    "coefficients",
    "convert",
    "cosine_schedule",
    "ddim_sample",
    "ddim_step",
    "ddim_step_",
    "ddpm_sample",
    "ddpm_step",
    "ddpm_step_",
    "flow_schedule",
    "gaussian_bound",
    "geometric_sigmas",
    "k",
    "karras_sigmas",
    "linear_beta_schedule",
    "log_likelihood",
    "noise_sampler",
    "plan",
    "plan_of_sigmas",
    "prior",
    "q_posterior",
    "randn_like",
    "row_of",
    "sample",
    "scaled_linear_beta_schedule",
    "sigmoid_schedule",
    "timesteps",
    "variational_bound",
]
