"""Schedules: their numbers, the laws that they keep, and what is refused."""

import pickle

import numpy as np
import pytest

import sdefast as sf
from sdefast import diffusion
from sdefast.diffusion import Schedule

SCHEDULES = {
    "linear": diffusion.linear_beta_schedule(),
    "scaled linear": diffusion.scaled_linear_beta_schedule(),
    "cosine": diffusion.cosine_schedule(),
    "sigmoid": diffusion.sigmoid_schedule(),
    "zero": diffusion.linear_beta_schedule().zero_terminal_snr(),
    "flow": diffusion.flow_schedule(),
    "shifted": diffusion.flow_schedule(100, 3.0),
    "ve": Schedule.from_sigmas(diffusion.geometric_sigmas(50.0, 0.01, 200)[::-1]),
}


def test_betas_are_ddpm_s():
    betas = np.linspace(1e-4, 0.02, 1000)
    schedule = SCHEDULES["linear"]
    np.testing.assert_allclose(schedule.alphas_cumprod, np.cumprod(1 - betas), rtol=1e-13)
    np.testing.assert_allclose(schedule.betas, betas, rtol=1e-10)
    np.testing.assert_allclose(schedule.log_snr, np.log(np.cumprod(1 - betas) / (1 - np.cumprod(1 - betas))), rtol=1e-9)
    assert schedule.n == len(schedule) == 1000
    assert diffusion.linear_beta_schedule(200).alphas_cumprod[-1] == pytest.approx(0.13218, abs=5e-6)
    root = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(SCHEDULES["scaled linear"].betas, root, rtol=1e-10)


def test_scaled_betas_end_as_near_to_noise():
    schedule = diffusion.linear_beta_schedule(200, scaled=True)
    np.testing.assert_allclose(schedule.betas, 5 * np.linspace(1e-4, 0.02, 200), rtol=1e-10)
    with pytest.raises(ValueError, match=r"scaled to 10 timesteps reach 2, .* more than 20 timesteps"):
        diffusion.linear_beta_schedule(10, scaled=True)
    with pytest.raises(ValueError, match="at index 5: they reach 2, too large for 10 timesteps"):
        Schedule.from_betas(100 * np.linspace(1e-4, 0.02, 10))
    with pytest.raises(ValueError, match="reach 1,"):
        diffusion.linear_beta_schedule(20, scaled=True)


def test_cosine_keeps_noise_at_0_and_a_signal_at_the_end():
    schedule = diffusion.cosine_schedule(1000)
    assert 0.9999 < schedule.alphas_cumprod[0] < 1
    assert schedule.betas[-1] == pytest.approx(0.999, abs=1e-12)
    assert schedule.betas[:-1].max() < 0.999
    u = (np.array([501, 0]) / 1000 + 0.008) / 1.008
    f = np.cos(u * np.pi / 2) ** 2
    assert schedule.alphas_cumprod[500] == pytest.approx(f[0] / f[1], rel=1e-12)


def test_sigmoid_falls_like_a_sigmoid():
    def g(u):
        return 1 / (1 + np.exp(6 * u - 3))

    at = SCHEDULES["sigmoid"].alphas_cumprod[[0, 499, 900]]
    u = np.array([1, 500, 901]) / 1000
    np.testing.assert_allclose(at, (g(u) - g(1)) / (g(0) - g(1)), rtol=1e-12)


def test_flow_is_straight_and_ends_in_noise():
    for schedule, shift in ((SCHEDULES["flow"], 1.0), (SCHEDULES["shifted"], 3.0)):
        u = np.arange(1, schedule.n + 1) / schedule.n
        np.testing.assert_allclose(schedule.sigma, shift * u / (1 + (shift - 1) * u), rtol=1e-14)
        np.testing.assert_allclose(schedule.alpha + schedule.sigma, 1, rtol=1e-14)
        assert (schedule.alpha[-1], schedule.sigma[-1], schedule.prior_scale) == (0.0, 1.0, 1.0)
        assert not schedule.is_vp


def test_zero_terminal_snr_ends_in_noise_and_keeps_the_first():
    before, after = SCHEDULES["linear"], SCHEDULES["zero"]
    assert after.alpha[-1] == 0
    assert after.sigma[-1] == 1
    assert after.alpha[0] == pytest.approx(before.alpha[0], rel=1e-14)
    assert after.is_vp
    assert after.prior_scale == 1
    # as the authors' rescale_zero_terminal_snr does
    roots = np.sqrt(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    rescaled = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    np.testing.assert_allclose(after.alpha, rescaled, rtol=1e-12, atol=1e-16)
    with pytest.raises(ValueError, match="variance-preserving"):
        SCHEDULES["ve"].zero_terminal_snr()


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_a_timestep_forgets_and_adds_makes_the_marginals(name):
    schedule = SCHEDULES[name]
    alpha, variance = 1.0, 0.0
    for t in range(schedule.n):
        alpha *= np.sqrt(1 - schedule.forgotten[t])
        variance = (1 - schedule.forgotten[t]) * variance + schedule.forward_variance[t]
        assert alpha == pytest.approx(schedule.alpha[t], rel=1e-9, abs=1e-12)
        assert variance == pytest.approx(schedule.sigma[t] ** 2, rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_between_timesteps_are_found(name):
    schedule = SCHEDULES[name]
    last = schedule.n - 1 if schedule.alpha[-1] else schedule.n - 2
    ratio = schedule.ratio[: last + 1]
    np.testing.assert_allclose(schedule.alpha_of(ratio), schedule.alpha[: last + 1], rtol=1e-9)
    np.testing.assert_allclose(schedule.time_of(ratio), np.arange(last + 1), atol=1e-7)
    t = schedule.time_of(np.sqrt(ratio[3:5].prod()))
    assert t == pytest.approx(3.5, abs=1e-9)


def test_levels_between_are_interpolated_on_a_schedule_of_no_family():
    schedule = Schedule([1.0, 0.5, 0.2], [0.1, 0.5, 0.6])
    assert schedule.alpha_of(np.array(1.0)) == pytest.approx(0.5)
    assert schedule.alpha_of(np.sqrt(np.array(3.0))) == pytest.approx(0.35)


def test_exploding_starts_from_its_last_sigma():
    schedule = SCHEDULES["ve"]
    assert schedule.prior_scale == pytest.approx(50, rel=1e-14)
    assert (schedule.alpha == 1).all()
    with pytest.raises(ValueError, match="variance-preserving"):
        _ = schedule.betas


def test_karras_sigmas():
    sigmas = diffusion.karras_sigmas(18, 0.002, 80.0)
    i = np.arange(18)
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigmas, expected, rtol=1e-13)
    assert (sigmas[0], sigmas[-1]) == (80.0, 0.002)
    assert diffusion.karras_sigmas(1, 0.02, 80.0).tolist() == [80.0]
    with pytest.raises(ValueError, match="smaller than sigma_max"):
        diffusion.karras_sigmas(5, 80.0, 0.02)


def test_geometric_sigmas_are_those_of_annealing():
    assert diffusion.geometric_sigmas is sf.geometric_sigmas


def test_what_comes_in_may_be_a_list_an_array_or_a_tensor():
    torch = pytest.importorskip("torch")
    betas = np.linspace(1e-4, 0.02, 50)
    expected = Schedule.from_betas(betas)
    assert Schedule.from_betas(betas.tolist()) == expected
    assert Schedule.from_betas(torch.tensor(betas)) == expected
    assert Schedule.from_alphas_cumprod(torch.tensor(expected.alphas_cumprod)).alpha == pytest.approx(expected.alpha)
    single = Schedule.from_betas(torch.tensor(betas, dtype=torch.float32))
    assert single.alpha.dtype == np.float64
    np.testing.assert_allclose(single.alpha, expected.alpha, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_refused(dtype):
    # in which the first alphas_cumprod is 1, and sigma 0
    torch = pytest.importorskip("torch")
    kept = torch.tensor(SCHEDULES["linear"].alphas_cumprod).to(getattr(torch, dtype))
    assert kept[0] == 1
    with pytest.raises(ValueError, match="half precision"):
        Schedule.from_alphas_cumprod(kept)
    with pytest.raises(ValueError, match="half precision"):
        Schedule.from_betas(np.linspace(1e-4, 0.02, 10, dtype=np.float16))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule.from_betas([0.1, 0.0]), "betas .* got 0 at index 1"),
        (lambda: Schedule.from_betas([0.1, -0.5]), "betas .* got -0.5 at index 1"),
        (lambda: Schedule.from_betas([1.0, 0.1]), "betas .* got 1 at index 0"),
        (lambda: Schedule.from_betas([]), "betas must not be empty"),
        (lambda: Schedule.from_betas([0.1, np.nan]), "betas must be finite"),
        (lambda: Schedule.from_betas(np.full((2, 2), 0.1)), "betas must have shape"),
        (lambda: Schedule.from_alphas_cumprod([1.0, 0.5]), "got 1 at index 0"),
        (lambda: Schedule.from_alphas_cumprod([0.5, 0.6]), "got 0.6 at index 1"),
        (lambda: Schedule.from_alphas_cumprod([0.5, -0.1]), "got -0.1 at index 1"),
        (lambda: Schedule([0.9, 0.8], [0.1]), "equally long"),
        (lambda: Schedule([0.9, 0.8], [0.1, 0.0]), "sigma must be positive, got 0 at index 1"),
        (lambda: Schedule([0.9, -0.8], [0.1, 0.2]), "alpha must be positive, got -0.8 at index 1"),
        (lambda: Schedule.from_sigmas([2.0, 1.0]), "noise must grow with the timestep"),
        (lambda: diffusion.linear_beta_schedule(0), "n must be between"),
        (lambda: diffusion.flow_schedule(10, shift=0.0), "shift must be positive"),
        (lambda: diffusion.sigmoid_schedule(10, start=3, end=-3), "start must be smaller"),
    ],
)
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_last_beta_of_one_is_a_zero_terminal_snr():
    schedule = Schedule.from_betas([0.1, 1.0])
    assert (schedule.alpha[-1], schedule.sigma[-1]) == (0.0, 1.0)
    assert Schedule.from_alphas_cumprod([0.9, 0.0]).log_snr[-1] == -np.inf


def test_timesteps_are_checked():
    schedule = SCHEDULES["linear"]
    assert schedule.check_timestep(np.int64(0)) == 0
    for bad in (1000, -1):
        with pytest.raises(ValueError, match=rf"timestep must be between 0 and 999, got {bad}"):
            schedule.check_timestep(bad)
    with pytest.raises(TypeError, match="timestep must be an integer"):
        schedule.check_timestep(3.5)


def test_schedules_are_values():
    schedule = diffusion.cosine_schedule(20)
    assert schedule == diffusion.cosine_schedule(20)
    assert hash(schedule) == hash(diffusion.cosine_schedule(20))
    assert schedule != diffusion.cosine_schedule(21)
    assert schedule != "cosine"
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    with pytest.raises(ValueError, match="read-only"):
        schedule.alpha[0] = 1
    given = np.ones(3)
    Schedule.from_sigmas(np.arange(1.0, 4.0))
    Schedule(given, np.arange(1.0, 4.0))
    given[0] = 2  # the schedule has a copy
