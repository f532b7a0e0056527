"""Schedulers of diffusers whose steps are the library's rows: pipelines of diffusers take them in place of its own.

``pipe.scheduler = sdefast.diffusion.hf.DDIMScheduler.from_config(pipe.scheduler.config)`` is all. They are subclasses
of those of the same name, save and load as they do, and have one more setting, ``seed``.

Noise is a function of (seed, sample, step), so that an image does not depend on its batch: every generator that a
pipeline passes gives one seed when its samples first need noise, so that two calls with one generator differ; without
generators the seed is that of the config, or a new one every time if that is None. Torch's global generator is left
alone.

Lists of timesteps are those of diffusers, but for what is wrong there: ``"trailing"`` has as many as asked for, DDIM
goes to the next of its list, no list has a timestep twice where there are enough, and DDPM's last step has no noise.
"""

from __future__ import annotations

try:
    from diffusers import SchedulerMixin  # the module must have it for diffusers to load a saved scheduler
except ImportError as error:
    raise ImportError(
        "sdefast.diffusion.hf needs diffusers, which is missing or broken: pip install 'sdefast[hf]' "
        f"(importing it said: {error})"
    ) from error

from .ddim import DDIMScheduler
from .ddpm import DDPMScheduler
from .dpmsolver import DPMSolverMultistepScheduler
from .euler import EulerAncestralDiscreteScheduler, EulerDiscreteScheduler
from .flow import FlowMatchEulerDiscreteScheduler
from .heun import HeunDiscreteScheduler

__all__ = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "SchedulerMixin",
]

for _class in (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
):
    _class.__module__ = __name__  # a saved pipeline names the module of its scheduler
