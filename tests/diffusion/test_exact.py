"""What experiments with exact scores stand on: mixtures, and plans on Gaussian data."""

import numpy as np
import pytest
from diffusion.gaussian import moments

from sdefast.diffusion import Schedule, convert, geometric_sigmas, linear_beta_schedule, plan
from sdefast.diffusion.experiments.exact import Mixture, propagated

LAW = Mixture([0.2, 0.8], [[-4.0, 0.0], [4.0, 1.0]], 0.3)


def test_mixture_has_the_moments_of_its_parts():
    assert LAW.mean == pytest.approx([2.4, 0.8])
    assert LAW.variances == pytest.approx([0.2 * 6.4**2 + 0.8 * 1.6**2 + 0.09, 0.2 * 0.8**2 + 0.8 * 0.2**2 + 0.09])
    assert LAW.nearest(np.array([[-0.1, 0.0], [9.0, 9.0]])).tolist() == [0, 1]


def test_density_of_a_mixture_is_one_and_of_the_noised_law():
    line = Mixture([0.3, 0.7], [[-1.0], [2.0]], 0.5)
    x = np.linspace(-12, 12, 4001)[:, None]
    density = np.exp(line.log_density(x, alpha=0.6, sigma=0.8))
    step = x[1, 0] - x[0, 0]
    assert density.sum() * step == pytest.approx(1, abs=1e-9)
    assert (density * x[:, 0]).sum() * step == pytest.approx(0.6 * line.mean[0], abs=1e-9)
    second = 0.36 * (line.variances[0] + line.mean[0] ** 2) + 0.64
    assert (density * x[:, 0] ** 2).sum() * step == pytest.approx(second, abs=1e-9)


def test_score_is_the_gradient_of_the_log_density():
    x = np.array([[0.3, -0.2], [-3.0, 1.0], [7.0, 2.0]])
    for c in range(2):
        h = 1e-5 * np.eye(2)[c]
        slope = (LAW.log_density(x + h, 0.7, 0.4) - LAW.log_density(x - h, 0.7, 0.4)) / 2e-5
        assert LAW.score(x, 0.7, 0.4)[:, c] == pytest.approx(slope, rel=1e-6)


def test_model_predicts_what_is_asked():
    schedule = linear_beta_schedule(1000)
    x, t = np.array([[0.3, -0.2]], np.float32), np.array([500])
    alpha, sigma = schedule.alpha[500], schedule.sigma[500]
    eps = LAW.model(schedule, "eps")(x, t)
    assert eps.dtype == np.float32
    assert eps == pytest.approx(-sigma * LAW.score(x, alpha, sigma), rel=1e-6)
    said = LAW.model(schedule, "v")(x, t)
    assert convert(said, x, alpha, sigma, given="v", wanted="eps") == pytest.approx(eps, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "words"),
    [([0.2, 0.7], "sum to 1"), ([1.2, -0.2], "positive"), ([1.0], r"shape \(2,\)")],
)
def test_weights_that_are_none_are_refused(weights, words):
    with pytest.raises(ValueError, match=words):
        Mixture(weights, [[0.0], [1.0]], 1.0)


@pytest.mark.parametrize("prediction", ["eps", "v", "score"])
@pytest.mark.parametrize("method", ["ddpm", "ddim", "euler-ancestral", "reverse-sde"])
def test_rows_do_to_a_gaussian_what_another_recursion_says(method, prediction):
    made = plan(method, linear_beta_schedule(40, scaled=True), prediction=prediction)
    found = propagated(made, -0.4, 2.0)
    expected = moments(made, law=(-0.4, 2.0))
    assert (found.mean[-1], found.variance[-1]) == pytest.approx(expected, rel=1e-10)
    assert len(found.mean) == 41
    assert (found.alpha[-1], found.sigma[-1]) == (1, 0)


@pytest.mark.parametrize(
    ("n", "variance", "mean", "expected"),
    [
        (1000, "beta", 0.699993, 0.250752),
        (1000, "beta_tilde", 0.699993, 0.246125),
        (200, "beta", 0.674322, 0.252812),
        (200, "beta_tilde", 0.674322, 0.242890),
    ],
)
def test_ddpm_has_its_known_moments(n, variance, mean, expected):
    found = propagated(plan("ddpm", linear_beta_schedule(n), variance=variance), 0.7, 0.25)
    assert (found.mean[-1], found.variance[-1]) == pytest.approx((mean, expected), abs=6e-7)


def test_annealed_langevin_has_its_known_moments():
    schedule = Schedule.from_sigmas(geometric_sigmas(10.0, 0.1, 10)[::-1])
    made = plan("annealed-langevin", schedule, prediction="score", step_size=1e-3, steps_per_level=100)
    found = propagated(made, 1.5, 0.04)
    assert found.mean[-1] == pytest.approx(1.5, abs=1e-6)
    assert found.variance[-2:] == pytest.approx([0.0508349, 0.0325343], abs=6e-8)


@pytest.mark.parametrize("method", ["heun", "dpm++2m", "predictor-corrector"])
def test_rows_that_are_not_affine_are_refused(method):
    with pytest.raises(ValueError, match="not affine in one state"):
        propagated(plan(method, linear_beta_schedule(10, scaled=True, last=0.005)), 0.0, 1.0)
