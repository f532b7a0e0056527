"""Schedulers of third order, with noise before steps, and with dynamic thresholding: equal to diffusers'."""

import os

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="schedulers of diffusers need torch")
diffusers = pytest.importorskip("diffusers", reason="schedulers of diffusers need diffusers")

from diffusion.schedulers import difference, model  # noqa: E402

import sdefast as sf  # noqa: E402
from sdefast.diffusion import plan  # noqa: E402

hf = sf.diffusion.hf
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MULTISTEP = "DPMSolverMultistepScheduler"
SDE = {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"}

# Third order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"solver_type": "heun"},
        {"final_sigmas_type": "sigma_min"},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
        {"final_sigmas_type": "sigma_min", "euler_at_final": True},
        {"use_karras_sigmas": True},
    ],
    ids=lambda more: "-".join(map(str, more.values())) or "default",
)
def test_third_order_is_diffusers(prediction_type, more, monkeypatch):
    # diffusers' state and sigmas are float32; 14 and 15 steps end in different orders
    for n in (1, 2, 3, 4, 14, 15):
        found = difference(MULTISTEP, n, monkeypatch, solver_order=3, prediction_type=prediction_type, **more)
        assert found < 1e-5, n


def test_steps_are_diffusers_formulas_to_the_last_digits():
    """Its updates of first, second and third order, given float64 numbers."""
    config = {"solver_order": 3, "final_sigmas_type": "sigma_min", "lower_order_final": False}
    theirs, mine = diffusers.DPMSolverMultistepScheduler(**config), hf.DPMSolverMultistepScheduler(**config)
    theirs.set_timesteps(6)
    mine.set_timesteps(6)
    steps = [*mine.timesteps.tolist(), 0]
    theirs.sigmas = torch.from_numpy(mine.schedule.ratio[steps])
    x = y = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 4)))
    seen = []
    for i, t in enumerate(mine.timesteps):
        theirs._step_index = i
        seen.append(theirs.convert_model_output(model(y, t), sample=y))
        first, second, third = (
            theirs.dpm_solver_first_order_update,
            theirs.multistep_dpm_solver_second_order_update,
            theirs.multistep_dpm_solver_third_order_update,
        )
        y = first(seen[-1], sample=y) if i == 0 else (second if i == 1 else third)(seen, sample=y)
        x = mine.step(model(x, t), t, x).prev_sample
        assert float((x - y).abs().max() / y.abs().max()) < 3e-13, i


def test_third_order_with_noise_is_the_plan():
    """Diffusers errs there, by a second difference times the data's scale."""
    steps = [900, 700, 450, 250, 150, 100, 60, 20]
    ours = hf.DPMSolverMultistepScheduler(solver_order=3, lower_order_final=False, seed=5, **SDE)
    made = plan("dpm++3m-sde", ours.schedule, spacing=steps, curvature=0.5)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 4)))
    want = sf.diffusion.sample(lambda x, t: model(x, t[0]), made, x=x, seed=5)
    ours.set_timesteps(timesteps=steps)
    for t in ours.timesteps:
        x = ours.step(model(x, t), t, x).prev_sample
    np.testing.assert_allclose(x, want, rtol=1e-12, atol=1e-13)


def test_noise_in_third_order_of_diffusers_differs_by_the_second_difference(monkeypatch):
    """And by nothing else: up to the third step both are one."""
    assert difference(MULTISTEP, 2, monkeypatch, solver_order=3, **SDE) < 1e-5
    assert difference(MULTISTEP, 7, monkeypatch, solver_order=3, **SDE) > 1e-2
    update = diffusers.DPMSolverMultistepScheduler.multistep_dpm_solver_third_order_update

    def mended(self, outputs, sample, noise):
        alpha, ratios = [], self.sigmas[self.step_index - 2 : self.step_index + 2]
        alpha = float(self._sigma_to_alpha_sigma_t(ratios[-1])[0])
        *gaps, h = (-ratios.log()).diff().flip(0).roll(-1).tolist()
        m0, m1, m2 = outputs[-1], outputs[-2], outputs[-3]
        d, e = (m0 - m1) * h / gaps[0], (m1 - m2) * h / gaps[1]
        return update(self, outputs, sample=sample, noise=noise) + alpha * (d - e) * h / (gaps[0] + gaps[1])

    monkeypatch.setattr(diffusers.DPMSolverMultistepScheduler, "multistep_dpm_solver_third_order_update", mended)
    assert difference(MULTISTEP, 7, monkeypatch, solver_order=3, **SDE) < 1e-5


def test_one_step_of_a_flow_with_its_end_given_goes_to_the_data():
    scheduler = hf.FlowMatchEulerDiscreteScheduler(shift_terminal=0.1)
    scheduler.set_timesteps(1)
    assert scheduler.sigmas.tolist() == [1.0, 0.0]
    x = torch.ones(1, 1, 4, 4)
    assert torch.equal(scheduler.step(x / 4, scheduler.timesteps[0], x).prev_sample, 0.75 * x)
    scheduler.set_timesteps(3)
    assert scheduler.sigmas[-2].item() == pytest.approx(0.1)


def test_third_order_begins_anew_inside_a_list():
    """Without history the first order, then the second, then the third."""
    ours = hf.DPMSolverMultistepScheduler(solver_order=3, solver_type="heun", final_sigmas_type="sigma_min")
    ours.set_timesteps(20)
    ours.set_begin_index(5)
    steps = ours.timesteps[5:9].tolist()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2, 3, 3)))
    made = plan("dpm++3m", ours.schedule, spacing=steps, curvature=0.5)
    states = []
    sf.diffusion.sample(lambda x, t: model(x, t[0]), made, x=x, callback=lambda p: states.append(p.x.clone()))
    for t, want in zip(steps[:3], states, strict=False):
        x = ours.step(model(x, t), t, x).prev_sample
        np.testing.assert_allclose(x, want, rtol=1e-12)


# Noise before steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("more", [{}, {"s_tmin": 0.3, "s_tmax": 20.0, "s_noise": 1.01}])
def test_churn_is_diffusers(prediction_type, more, monkeypatch):
    for n, s_churn in ((1, 5.0), (7, 0.7), (7, 50.0)):
        spacing = "trailing" if n == 1 else "linspace"
        config = {"told": {"s_churn": s_churn, **more}, "prediction_type": prediction_type, "timestep_spacing": spacing}
        assert difference("EulerDiscreteScheduler", n, monkeypatch, **config) < 1e-5


def test_churned_data_and_batches():
    """What the data were is said with the noise; a sample does not depend on its batch, and half precision stays."""
    x = torch.linspace(-3, 3, 24).reshape(2, 12) * 10

    def stepped(x, seed=4, kind=torch.float32, **told):
        ours = hf.EulerDiscreteScheduler(seed=seed)
        ours.set_timesteps(5)
        return ours, ours.step((0.1 * x).to(kind), ours.timesteps[1], x.to(kind), s_churn=1.0, **told)

    ours, found = stepped(x)
    sigma = float(ours.sigmas[1])
    z = sf.diffusion.randn_like(x, seed=4, step=1)
    hat = x + z * sigma * (1.2**2 - 1) ** 0.5
    np.testing.assert_allclose(found.pred_original_sample, hat - 1.2 * sigma * 0.1 * x, rtol=1e-4, atol=1e-4)
    assert torch.equal(stepped(x[:1])[1].prev_sample, found.prev_sample[:1])
    assert torch.equal(stepped(x, s_tmin=1e3)[1].prev_sample, stepped(x, seed=5, s_tmin=1e3)[1].prev_sample)
    assert stepped(x, kind=torch.float16)[1].prev_sample.dtype == torch.float16


# Dynamic thresholding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("DDPMScheduler", {}),
        ("DDIMScheduler", {"told": {"eta": 0.5}, "theirs_told": {"use_clipped_model_output": True}}),
        ("DDIMScheduler", {"told": {"use_clipped_model_output": False}}),
        (MULTISTEP, {}),
        (MULTISTEP, {"algorithm_type": "sde-dpmsolver++"}),
        (MULTISTEP, {"solver_order": 3}),
    ],
)
def test_thresholding_is_diffusers(name, more, prediction_type, monkeypatch):
    config = {"dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.7, "prediction_type": prediction_type, **more}
    assert difference(name, 7, monkeypatch, thresholding=True, **config) < 1e-5


def test_thresholded_data_lie_within_one_and_are_each_samples_own():
    settings = {"sample_max_value": 100.0, "dynamic_thresholding_ratio": 0.9, "prediction_type": "sample"}
    data = torch.stack([torch.linspace(-4, 4, 200), torch.linspace(-0.5, 0.5, 200), torch.linspace(0, 9e3, 200)])

    def said(data):
        ours = hf.DDIMScheduler(thresholding=True, **settings)
        ours.set_timesteps(4)
        return ours.step(data, 750, torch.zeros(data.shape)).pred_original_sample

    found, s = said(data), np.quantile(np.abs(data[0].numpy()), 0.9)
    np.testing.assert_allclose(found[0], np.clip(data[0].numpy() / s, -1, 1), rtol=1e-6)
    assert torch.equal(found[1], data[1])
    np.testing.assert_allclose(found[2], np.clip(data[2].numpy() / 100, -1, 1), rtol=1e-6)
    assert torch.equal(said(data[:1]), found[:1])
    assert torch.equal(said(data.bfloat16()), said(data.bfloat16().float()))
    data[1, 7] = torch.nan
    with pytest.raises(FloatingPointError, match="in sample 1"):
        said(data)
