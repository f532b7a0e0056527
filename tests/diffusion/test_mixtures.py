"""Samplers run in plain numpy with exact scores: laws of mixtures, and of the corrector, whose step is not affine."""

import numpy as np
import pytest
from diffusion.gaussian import MEAN, VARIANCE, moments
from diffusion.reference import run_plan

from sdefast import diffusion
from sdefast.diffusion import plan, plan_of_sigmas

LINEAR = diffusion.linear_beta_schedule(1000)
SCALED = diffusion.linear_beta_schedule(200, scaled=True)
WIDE = diffusion.Schedule.from_sigmas(np.geomspace(0.01, 50, 1000))

WEIGHTS, MODES, SPREAD = np.array([0.2, 0.8]), np.array([-2.0, 1.0]), 0.3
N, MOST_Z = 4000, 5.0


def mixture_mean(x, alpha, sigma):
    """E[x_0 | x] of the mixture."""
    variance = (alpha * SPREAD) ** 2 + sigma**2
    away = x[..., None] - alpha * MODES
    logs = np.log(WEIGHTS) - away**2 / (2 * variance)
    parts = np.exp(logs - logs.max(-1, keepdims=True))
    parts /= parts.sum(-1, keepdims=True)
    return (parts * (MODES + alpha * SPREAD**2 / variance * away)).sum(-1)


def sampled(made, schedule):
    """The states after a plan's rows in numpy, with exact scores, in N samples."""
    random = np.random.default_rng(11)
    times = np.arange(schedule.n)

    def model(x, t):
        ratio = np.exp(np.interp(t, times, np.log(schedule.ratio)))
        alpha = float(schedule.alpha_of(ratio))
        return (x - alpha * mixture_mean(x, alpha, alpha * ratio)) / (alpha * ratio)

    noise = {}
    return run_plan(
        model,
        made,
        made.prior_scale * random.standard_normal((N, 1)),
        lambda key: noise.setdefault(key, random.standard_normal((N, 1))),
    )[:, 0]


@pytest.mark.parametrize(
    ("method", "schedule", "options"),
    [
        ("ddpm", SCALED, {"variance": "beta"}),
        ("heun", WIDE, {"n_steps": 40, "spacing": "karras", "s_churn": 20.0}),
        ("dpm++2m", WIDE, {"n_steps": 60, "spacing": "karras"}),
        ("dpm++2m-sde", LINEAR, {"n_steps": 100, "spacing": "karras"}),
        ("dpm++3m-sde", LINEAR, {"n_steps": 100, "spacing": "karras"}),
        ("reverse-sde", LINEAR, {}),
        ("ode", LINEAR, {"n_steps": 200, "spacing": "linspace"}),
        ("predictor-corrector", LINEAR, {"n_corrector": 2}),
        ("predictor-corrector", WIDE, {"n_steps": 400, "spacing": "karras", "predictor": "ancestral"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mixture_is_sampled(method, schedule, options):
    x = sampled(plan(method, schedule, **options), schedule)
    mean = (WEIGHTS * MODES).sum()
    variance = (WEIGHTS * (MODES**2 + SPREAD**2)).sum() - mean**2
    fourth = (WEIGHTS * ((MODES - mean) ** 4 + 6 * (MODES - mean) ** 2 * SPREAD**2 + 3 * SPREAD**4)).sum()
    z = (
        (x.mean() - mean) / np.sqrt(variance / N),
        (((x - mean) ** 2).mean() - variance) / np.sqrt((fourth - variance**2) / N),
        ((x > -0.5).mean() - WEIGHTS[1]) / np.sqrt(WEIGHTS[0] * WEIGHTS[1] / N),
    )
    assert np.abs(z).max() < MOST_Z, z


def test_corrector_of_many_coordinates_does_what_its_law_says():
    # one sample of many coordinates: |z|^2 / |score|^2 is as expected to parts in a thousand
    made = plan_of_sigmas("predictor-corrector", np.append(diffusion.karras_sigmas(8, 0.02, 80.0), 0.0), n_corrector=2)
    random = np.random.default_rng(3)
    n = 200_000
    x = MEAN + np.sqrt(VARIANCE + 6400.0) * random.standard_normal((2, n))
    noise = {}
    x = run_plan(
        lambda x, t: MEAN + VARIANCE * (x - MEAN) / (VARIANCE + t**2),
        made, x, lambda key: noise.setdefault(key, random.standard_normal((2, n))),
    )  # fmt: skip
    mean, variance = moments(made, MEAN, VARIANCE + 6400.0)
    z = (x.mean(1) - mean) / np.sqrt(variance / n), (x.var(1) / variance - 1) / np.sqrt(2 / n)
    assert np.abs(z).max() < MOST_Z
