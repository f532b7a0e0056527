"""Schedulers in place of diffusers' own: equal to them on equal noise, and what they must not share with them."""

import os
import subprocess
import sys

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="schedulers of diffusers need torch")
diffusers = pytest.importorskip("diffusers", reason="schedulers of diffusers need diffusers")

from diffusion.schedulers import T, difference  # noqa: E402

import sdefast as sf  # noqa: E402

hf = sf.diffusion.hf
# diffusers and torch about numpy 2, in constructors of diffusers' own
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
NAMES = [name for name in hf.__all__ if name != "SchedulerMixin"]
SDE = {"algorithm_type": "sde-dpmsolver++"}


# Equality on equal noise ---------------------------------------------------------------------------------------------

COUNTS = (1, 7, T - 1, T)


def counts(prediction_type):
    """Long loops for one prediction: the others differ in two numbers of each row."""
    return COUNTS if prediction_type == "epsilon" else COUNTS[:2]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("variance_type", ["fixed_small", "fixed_large"])
def test_ddpm_is_diffusers(prediction_type, variance_type, monkeypatch):
    for n in counts(prediction_type if variance_type == "fixed_small" else ""):
        found = difference(
            "DDPMScheduler", n, monkeypatch, prediction_type=prediction_type, variance_type=variance_type
        )
        assert found < 1e-5, n


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_diffusers(prediction_type, eta, monkeypatch):
    for n in counts(prediction_type if eta == 0.5 else ""):
        config = {"told": {"eta": eta}, "prediction_type": prediction_type}
        corrected = {"use_clipped_model_output": True}
        assert difference("DDIMScheduler", n, monkeypatch, corrected, **config) < 1e-5, n
    config["told"]["use_clipped_model_output"] = False
    assert difference("DDIMScheduler", 7, monkeypatch, **config) < 1e-5


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"])
def test_schedulers_of_sigma_are_diffusers(name, prediction_type, monkeypatch):
    # diffusers takes the differences of neighbouring sigmas in float32 for the ancestral noise: 3e-5 over 999 steps
    for n in counts(prediction_type if name != "HeunDiscreteScheduler" else ""):
        spacing = "trailing" if n == 1 else "linspace"  # whose only timestep is 0 in diffusers
        found = difference(name, n, monkeypatch, prediction_type=prediction_type, timestep_spacing=spacing)
        assert found < (1e-4 if n == T - 1 and "Ancestral" in name else 1e-5), n


@pytest.mark.parametrize("config", [{}, SDE], ids=["2M", "SDE-2M"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_multistep_is_diffusers(config, prediction_type, monkeypatch):
    # in diffusers 1 - exp(-2 h) is in float32, which 999 small h show; T of its list has timesteps twice
    for n in counts(prediction_type)[:3]:
        found = difference("DPMSolverMultistepScheduler", n, monkeypatch, prediction_type=prediction_type, **config)
        assert found < (1e-4 if n == T - 1 and config else 1e-5), n


@pytest.mark.parametrize("n", [7, 20])
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("config", [{}, SDE], ids=["2M", "SDE-2M"])
def test_multistep_ends_are_diffusers(n, solver_type, config, monkeypatch):
    for more in ({"final_sigmas_type": "sigma_min"}, {"solver_order": 1}, {"use_karras_sigmas": True},
                 {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}):  # fmt: skip
        settings = {"solver_type": solver_type, **config, **more}
        assert difference("DPMSolverMultistepScheduler", n, monkeypatch, **settings) < 5e-5, (
            more
        )  # sigmas of Karras are in float32 there


@pytest.mark.parametrize("config", [{}, {"shift": 3.0}])
def test_flow_is_diffusers(config, monkeypatch):
    for n in COUNTS:
        assert difference("FlowMatchEulerDiscreteScheduler", n, monkeypatch, **config) < 1e-5, n
    again = {**config, "stochastic_sampling": True}
    assert difference("FlowMatchEulerDiscreteScheduler", 7, monkeypatch, **again) < 1e-5


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
        ("EulerDiscreteScheduler", {"use_exponential_sigmas": True, "beta_schedule": "scaled_linear"}),
        ("EulerDiscreteScheduler", {"final_sigmas_type": "sigma_min", "timestep_spacing": "leading"}),
        ("HeunDiscreteScheduler", {"use_karras_sigmas": True, "clip_sample": True}),
        ("DDIMScheduler", {"steps_offset": 1, "clip_sample": False, "beta_schedule": "scaled_linear"}),
        ("DDPMScheduler", {"timestep_spacing": "linspace", "beta_schedule": "squaredcos_cap_v2"}),
        ("DDPMScheduler", {"timestep_spacing": "trailing", "beta_schedule": "sigmoid"}),
    ],
)
def test_other_settings_are_diffusers(name, config, monkeypatch):
    assert difference(name, 7, monkeypatch, **config) < 2e-5


# Lists ---------------------------------------------------------------------------------------------------------------


def test_trailing_and_the_next_of_the_list():
    ours = hf.DDPMScheduler(timestep_spacing="trailing")
    ours.set_timesteps(13)
    assert ours.timesteps.tolist() == [999, 922, 845, 768, 691, 614, 537, 461, 384, 307, 230, 153, 76]
    ours = hf.DDIMScheduler(timestep_spacing="linspace", clip_sample=False, prediction_type="sample")
    ours.set_timesteps(10)
    x, data = torch.full((1, 4), 2.0, dtype=torch.float64), torch.full((1, 4), -1.0, dtype=torch.float64)
    after = ours.step(data, 999, x).prev_sample  # to 888
    np.testing.assert_allclose(after, 2 * 0.999852299 - 0.011970966, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_lists_are_as_long_as_asked_for_and_decrease(name):
    for n in (1, 7, 13, 499, T):
        ours = getattr(hf, name)()
        ours.set_timesteps(n)
        times = ours.timesteps if "Heun" not in name else torch.cat([ours.timesteps[:1], ours.timesteps[1::2]])
        assert len(times) == n
        assert (times.diff() < 0).all()
        assert ours.order == (2 if "Heun" in name else 1)


# Noise ---------------------------------------------------------------------------------------------------------------


def loop(scheduler, x, generator=None):
    scheduler.set_timesteps(4)
    for t in scheduler.timesteps:
        x = scheduler.step(0.1 * x, t, x, generator=generator).prev_sample
    return x


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_samples_do_not_depend_on_their_batch():
    x = torch.randn(3, 5, generator=generators(1)[0])
    ours = hf.DDPMScheduler(clip_sample=False)
    whole = loop(ours, x, generators(10, 11, 12))
    assert torch.equal(loop(ours, x[1:2].clone(), generators(11)), whole[1:2])
    seeded = hf.DDPMScheduler(clip_sample=False, seed=3)
    assert torch.equal(loop(seeded, x[:2]), loop(seeded, x)[:2])


def test_generators_give_new_noise_and_the_global_one_is_left_alone():
    x, ours = torch.ones(2, 5), hf.DDPMScheduler(clip_sample=False)
    before = torch.random.get_rng_state()
    one = generators(4)[0]
    first, second = loop(ours, x, one), loop(ours, x, one)
    assert not torch.equal(first, second)
    assert torch.equal(loop(ours, x, generators(4)[0]), first)
    assert not torch.equal(loop(ours, x), loop(ours, x))
    assert torch.equal(torch.random.get_rng_state(), before)
    quiet = hf.DDIMScheduler()
    state = one.get_state()
    loop(quiet, x, one)  # needs no noise
    assert torch.equal(one.get_state(), state)


def test_given_noise_is_used():
    ours = hf.DDIMScheduler(clip_sample=False)
    ours.set_timesteps(4)
    x, z = torch.zeros(1, 3), torch.tensor([[1.0, -2.0, 3.0]])
    moved = ours.step(x, 750, x, eta=1.0, variance_noise=z).prev_sample
    still = ours.step(x, 750, x, eta=1.0, variance_noise=0 * z).prev_sample
    alpha, sigma = ours.schedule.alpha, ours.schedule.sigma
    s = sigma[500] * np.sqrt(1 - (alpha[750] * sigma[500] / (alpha[500] * sigma[750])) ** 2)
    np.testing.assert_allclose(moved - still, s * z, rtol=1e-6)


# States --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(kind):
    x = torch.linspace(-2, 2, 48).reshape(1, 3, 4, 4).to(kind)
    half, full = hf.DDIMScheduler(), hf.DDIMScheduler()
    for scheduler in (half, full):
        scheduler.set_timesteps(10)
    got = half.step((0.1 * x), 900, x)
    want = full.step((0.1 * x).float(), 900, x.float())
    assert got.prev_sample.dtype == got.pred_original_sample.dtype == kind
    assert torch.equal(got.prev_sample, want.prev_sample.to(kind))


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_alone_and_another_batch_starts_anew(name):
    ours = getattr(hf, name)(seed=1)
    ours.set_timesteps(3)
    x = torch.randn(2, 3, 4, 4, generator=generators(1)[0]).to(memory_format=torch.channels_last)
    output, kept = 0.1 * x, x.clone()
    first = ours.step(output, ours.timesteps[0], x).prev_sample
    assert torch.equal(x, kept)
    assert torch.equal(output, 0.1 * kept)
    assert torch.equal(ours.step(output[:1], ours.timesteps[0], x[:1]).prev_sample, first[:1])


def test_a_correction_of_other_samples_is_refused():
    ours = hf.HeunDiscreteScheduler()
    ours.set_timesteps(3)
    ours.step(torch.ones(2, 3), ours.timesteps[0], torch.ones(2, 3))
    assert not ours.state_in_first_order
    with pytest.raises(ValueError, match="of the same samples"):
        ours.step(torch.ones(1, 3), ours.timesteps[1], torch.ones(1, 3))


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_loop_can_begin_inside_and_run_twice(name):
    """As image-to-image pipelines do: a multistep method has no history there, and begins with first order."""
    ours = getattr(hf, name)(prediction_type="sample", timestep_spacing="trailing")
    ours.set_timesteps(4)
    x = torch.ones(1, 3)
    ends = []
    for _ in range(2):
        begin = 2 * ours.order
        ours.set_begin_index(begin)
        for t in ours.timesteps[begin:]:
            x = ours.step(torch.full((1, 3), 0.25), t, ours.scale_model_input(x, t)).prev_sample
        ends.append(x)
    assert torch.equal(ends[0], torch.full((1, 3), 0.25))
    assert torch.equal(*ends)


# Config and pipelines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_configs_save_and_load(name, tmp_path):
    ours, theirs = getattr(hf, name), getattr(diffusers, name)
    made = ours.from_config(theirs().config, seed=7)
    assert isinstance(made, (diffusers.SchedulerMixin, diffusers.ConfigMixin))
    made.save_pretrained(tmp_path)
    loaded = ours.from_pretrained(tmp_path)
    assert loaded.config.seed == 7
    assert {key: loaded.config[key] for key in theirs().config if key != "_use_default_values"} == {
        key: value for key, value in theirs().config.items() if key != "_use_default_values"
    }
    assert type(theirs.from_config(ours().config)) is theirs


def pipeline():
    net = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), add_attention=False,
    )  # fmt: skip
    pipe = diffusers.DDPMPipeline(net, hf.DDPMScheduler(seed=7))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_pipelines_run_save_and_load(tmp_path):
    pipe = pipeline()

    def images(*seeds):
        return pipe(batch_size=len(seeds), num_inference_steps=5, output_type="np", generator=generators(*seeds)).images

    np.testing.assert_allclose(images(0)[0], images(0, 1)[0], atol=1e-4)
    pipe.save_pretrained(tmp_path)
    loaded = diffusers.DDPMPipeline.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert type(loaded.scheduler) is hf.DDPMScheduler
    assert loaded.scheduler.config.seed == 7


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("DDPMScheduler", {"thresholding": True, "sample_max_value": 0.0}, "sample_max_value must be positive"),
        (
            "DDIMScheduler",
            {"thresholding": True, "dynamic_thresholding_ratio": 1.5},
            "dynamic_thresholding_ratio must be within",
        ),
        ("DDPMScheduler", {"variance_type": "learned_range"}, "variance_type must be 'fixed_small' or"),
        ("DDIMScheduler", {"prediction_type": "flow"}, "prediction_type must be 'epsilon' or"),
        ("DPMSolverMultistepScheduler", {"solver_order": 4}, "solver_order must be 2 or 1 or 3"),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas must be False"),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "invert_sigmas must be False"),
        ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}, "interpolation_type must be 'linear'"),
        ("HeunDiscreteScheduler", {"prediction_type": "flow"}, "prediction_type must be"),
    ],
)
def test_unsupported_settings_are_refused_at_once(name, config, words):
    with pytest.raises(ValueError, match=words):
        getattr(hf, name)(**config)


def test_bad_calls_are_refused():
    x, ours = torch.ones(2, 3), hf.DDIMScheduler()
    with pytest.raises(ValueError, match="call set_timesteps"):
        ours.step(x, 10, x)
    ours.set_timesteps(10)
    with pytest.raises(ValueError, match="timestep 901 is none of the 10"):
        ours.step(x, 901, x)
    with pytest.raises(ValueError, match=r"shape of x, \(2, 3\), got \(2, 4\)"):
        ours.step(torch.ones(2, 4), 900, x)
    with pytest.raises(ValueError, match="one for each of the 2 samples, got 3"):
        ours.step(x, 900, x, eta=1.0, generator=generators(1, 2, 3))
    with pytest.raises(TypeError, match=r"torch\.Generator"):
        ours.step(x, 900, x, eta=1.0, generator=3)
    with pytest.raises(FloatingPointError, match="timestep 900, in sample 1"):
        ours.step(torch.tensor([[0.0] * 3, [float("nan")] * 3]), 900, x)
    with pytest.raises(ValueError, match="1000"):
        hf.DDPMScheduler(steps_offset=1).set_timesteps(T)
    euler = hf.EulerDiscreteScheduler()
    euler.set_timesteps(5)
    with pytest.raises(ValueError, match="not an index"):
        euler.step(x, 0, x)
    with pytest.raises(ValueError, match="s_churn must be within"):
        euler.step(x, euler.timesteps[0], x, s_churn=-1.0)
    flow = hf.FlowMatchEulerDiscreteScheduler()
    flow.set_timesteps(5)
    with pytest.raises(ValueError, match="s_churn must be 0"):
        flow.step(x, flow.timesteps[0], x, s_churn=1.0)


def test_zero_terminal_snr_needs_another_prediction():
    with pytest.raises(ValueError, match="'v', 'x0' or 'flow'"):
        hf.DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing").set_timesteps(5)
    ours = hf.DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction")
    ours.set_timesteps(5)
    found = ours.step(torch.full((1, 2), 0.5), 999, torch.ones(1, 2))
    assert torch.equal(found.pred_original_sample, torch.full((1, 2), -0.5))


def test_the_library_works_without_diffusers_and_says_what_to_install():
    code = """
import sys, sdefast
assert "diffusers" not in sys.modules
sys.modules["diffusers"] = None
try:
    sdefast.diffusion.hf
except ImportError as error:
    raise SystemExit("sdefast[hf]" not in str(error))
raise SystemExit(2)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
