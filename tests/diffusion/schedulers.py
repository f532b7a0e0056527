"""Whole loops of schedulers, those of diffusers beside the library's, on equal noise."""

from __future__ import annotations

import importlib

import diffusers
import numpy as np
import torch

import sdefast as sf

T = 1000
MODULES = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler_discrete",
    "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete",
    "HeunDiscreteScheduler": "heun_discrete",
    "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete",
}


def model(x, t):
    """Something smooth that depends on both."""
    return 0.3 * x + 0.2 * torch.sin(3 * x) + 3e-4 * float(t) * torch.cos(x)


def run(scheduler, n, before=lambda i, t: None, **told):
    """A whole loop as pipelines have it."""
    scheduler.set_timesteps(n)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 8, 8)))
    x = x * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for i, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        before(i, t)
        x = scheduler.step(model(scaled, t), t, x, **told).prev_sample
    return x


def difference(name, n, monkeypatch, theirs_told=None, told=None, **config):
    """Between the two ways, relative to the largest element, with the same noise and the same schedule in float64."""
    theirs, mine = getattr(diffusers, name)(**config), getattr(sf.diffusion.hf, name)(seed=5, **config)
    if hasattr(theirs, "alphas_cumprod"):
        theirs.alphas_cumprod = torch.from_numpy(mine.schedule.alphas_cumprod.copy())
        theirs.one = torch.tensor(1.0, dtype=torch.float64)
    by_index = "Euler" in name or config.get("use_karras_sigmas", False)
    now = {}
    module = importlib.import_module(f"diffusers.schedulers.scheduling_{MODULES[name]}")
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: sf.diffusion.randn_like(
            torch.zeros(shape, dtype=torch.float64), seed=5, step=now["step"]))  # fmt: skip

    def before(i, t):
        now["step"] = i if by_index else int(t)

    want = run(theirs, n, before, **{**(told or {}), **(theirs_told or {})})
    got = run(mine, n, **(told or {}))
    np.testing.assert_allclose(mine.timesteps.numpy(), theirs.timesteps.numpy(), atol=2e-2)
    return float((got - want).abs().max() / want.abs().max())
