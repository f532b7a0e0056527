"""Bits per dimension of Gaussian data under the network that predicts exactly."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import thorough_but

from sdefast import noise
from sdefast.diffusion import (
    Schedule,
    convert,
    cosine_schedule,
    flow_schedule,
    geometric_sigmas,
    linear_beta_schedule,
)
from sdefast.diffusion.quality import bits_per_dimension

M, V = 0.3, 0.25
X = np.random.default_rng(0).normal(M, V**0.5, size=(4, 3))
SCHEDULES = {
    "vp": linear_beta_schedule(1000),
    "cosine": cosine_schedule(100),
    "flow": flow_schedule(1000),
    "ve": Schedule.from_sigmas(geometric_sigmas(50.0, 0.01, 50)[::-1]),
    "sigma": (0.002, 80.0),
}


def scales(schedule, t):
    """alpha and sigma at what a model is told."""
    if isinstance(schedule, tuple):
        return 1.0, t
    ratio = np.exp(np.interp(t, np.arange(schedule.n), np.log(schedule.ratio)))
    alpha = float(schedule.alpha_of(np.array(ratio)))
    return alpha, alpha * ratio


def exact_model(schedule, prediction):
    def model(x, t):
        alpha, sigma = scales(schedule, float(t[0]))
        eps = sigma * (x - alpha * M) / (alpha**2 * V + sigma**2)
        return convert(eps, x, alpha, sigma, given="eps", wanted=prediction)

    return model


def exact(x, schedule):
    """Of data with the smallest noise."""
    alpha, sigma = scales(schedule, 0.002 if isinstance(schedule, tuple) else 0)
    variance = V + (sigma / alpha) ** 2
    return (0.5 * np.log2(2 * np.pi * variance) + (x - M) ** 2 / (2 * variance * np.log(2))).mean(axis=1)


@pytest.mark.parametrize(
    ("name", "prediction"),
    thorough_but(
        [("vp", "eps"), ("cosine", "v"), ("flow", "flow"), ("ve", "score"), ("sigma", "x0")],
        [("vp", "eps"), ("cosine", "v"), ("flow", "flow"), ("flow", "x0"), ("ve", "score"), ("sigma", "x0")],
    ),
)
def test_exact_on_gaussians(name, prediction):
    schedule = SCHEDULES[name]
    found = bits_per_dimension(
        exact_model(schedule, prediction), X, schedule, prediction=prediction, mean=M, variance=V
    )
    np.testing.assert_allclose(found, exact(X, schedule), atol=2e-8)


def test_black_pixels_lie_where_the_model_expects_them():
    """Data that are -1: under N(-1, r^2), at which x_t has the mean -alpha, one r away for flow matching."""
    schedule = flow_schedule(100)

    def model(x, t):
        alpha, sigma = scales(schedule, float(t[0]))
        return convert((x + alpha) / sigma, x, alpha, sigma, given="eps", wanted="flow")

    found = bits_per_dimension(model, -np.ones((1, 2)), schedule, prediction="flow", mean=-1.0, variance=0.0)
    r = schedule.ratio[0]
    np.testing.assert_allclose(found, np.log2(2 * np.pi * r**2) / 2, atol=1e-6)


def test_what_the_usual_moments_cost():
    """Mean 0 and variance 1 in place of the data's own, at alpha = .0064, cost 1e-2 bits at most."""
    schedule = SCHEDULES["vp"]
    found = bits_per_dimension(exact_model(schedule, "eps"), X, schedule, prediction="eps")
    off = np.abs(found - exact(X, schedule)).max()
    assert 1e-5 < off < 1e-2


def test_dequantised():
    """Noise as wide as a level, and the width as a unit; whatever the batch."""
    schedule, levels = SCHEDULES["vp"], 17
    x = np.round(np.clip(X, -1, 1) * 8) / 8
    width = 2 / 16
    noisy = x + width * (noise.uniforms(9, 3, 4).T - 0.5)
    found = [
        bits_per_dimension(
            exact_model(schedule, "eps"), x, schedule, prediction="eps", mean=M, variance=V, levels=levels, seed=9,
            batch_size=size,
        )
        for size in (64, 3)
    ]  # fmt: skip
    np.testing.assert_allclose(found[0], exact(noisy, schedule) - np.log2(width), atol=2e-8)
    np.testing.assert_allclose(found[1], found[0], atol=2e-8)


def test_hutchinson_where_all_directions_are_alike():
    schedule = SCHEDULES["flow"]
    found = bits_per_dimension(
        exact_model(schedule, "flow"), X, schedule, prediction="flow", mean=M, variance=V, trace="hutchinson"
    )
    np.testing.assert_allclose(found, exact(X, schedule), atol=2e-8)


def test_probes_do_not_depend_on_the_batch():
    """Of correlated components, whose trace random directions do not find exactly."""
    schedule, C = SCHEDULES["flow"], np.array([[0.5, 0.3, 0.1], [0.3, 0.4, 0.2], [0.1, 0.2, 0.3]])

    def model(x, t):
        alpha, sigma = scales(schedule, float(t[0]))
        eps = sigma * x @ np.linalg.inv(alpha**2 * C + sigma**2 * np.eye(3))
        return convert(eps, x, alpha, sigma, given="eps", wanted="flow")

    options = {"prediction": "flow", "mean": 0.0, "variance": C}
    exactly = bits_per_dimension(model, X, schedule, **options)
    found = [
        bits_per_dimension(model, X, schedule, trace="hutchinson", batch_size=size, seed=3, **options)
        for size in (64, 3)
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-7)
    assert np.abs(found[0] - exactly).max() > 0.01


@pytest.mark.parametrize("name", ["flow", "edm"])
def test_trained_runs_bring_their_schedule(name):
    torch = pytest.importorskip("torch")
    from sdefast.diffusion import objectives

    objective = objectives.objective(name)

    class Net(torch.nn.Module):
        """The exact prediction, in the form that the objective trains for."""

        def __init__(self):
            super().__init__()
            self.here = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x, c, y=None):
            c = c[:, None].double()
            if name == "flow":
                sigma = c / 1000
                alpha = 1 - sigma
                eps = sigma * (x - alpha * M) / (alpha**2 * V + sigma**2)
                return convert(eps, x, alpha[0].item(), sigma[0].item(), given="eps", wanted="flow")
            sigma, sd = torch.exp(c / 250), objective.sd
            S = torch.hypot(sigma, torch.tensor(sd, dtype=c.dtype))
            x = x * S
            D = (V * x + sigma**2 * M) / (V + sigma**2)
            return (D - (sd / S) ** 2 * x) / (sigma * sd / S)

    model = objective.model(Net())
    run = SimpleNamespace(objective=objective, model=lambda: model)
    schedule = objective.schedule or (objective.sigma_min, objective.sigma_max)
    x = torch.from_numpy(X)
    closely = {"method": "DOP853", "rtol": 1e-8, "atol": 1e-8}
    for given, options, error in ((run, closely, 1e-6), (model, {}, 1e-3)):
        found = bits_per_dimension(given, x, mean=M, variance=V, **options)
        np.testing.assert_allclose(found, exact(X, schedule), atol=error)
    with pytest.raises(TypeError, match="give neither"):
        bits_per_dimension(run, x, linear_beta_schedule(10))


@pytest.mark.parametrize(
    ("schedule", "options", "error", "message"),
    [
        (None, {}, TypeError, "schedule must be a Schedule, or a pair"),
        ((1.0, 0.5), {}, ValueError, "smallest sigma must be below the largest, got 1.0 and 0.5"),
        ((0.1, 1.0), {"levels": 1}, ValueError, "levels must be between 2"),
        ((0.1, 1.0), {"batch_size": 0}, ValueError, "batch_size must be between 1"),
        ((0.1, 1.0), {"prediction": "noise"}, ValueError, "prediction must be one of"),
        (flow_schedule(2), {}, ValueError, "at least two timesteps whose alpha is not 0"),
    ],
)
def test_refused(schedule, options, error, message):
    with pytest.raises(error, match=message):
        bits_per_dimension(lambda x, t: x, X, schedule, **{"prediction": "eps", **options})


def test_a_model_is_a_function():
    with pytest.raises(TypeError, match="model must be a function of"):
        bits_per_dimension("net", X, SCHEDULES["vp"], prediction="eps")
