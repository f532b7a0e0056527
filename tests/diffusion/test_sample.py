"""Whole plans: laws, the same bits as plain loops, callbacks, inpainting, and what is refused."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from diffusion.gaussian import MEAN, VARIANCE, moments
from diffusion.reference import run_plan
from diffusion.test_plan import OPTIONS

from sdefast import diffusion
from sdefast.diffusion import SAMPLERS, kernel, plan, plan_of_sigmas, prior, randn_like, sample

LINEAR = diffusion.linear_beta_schedule(1000)
SCALED = diffusion.linear_beta_schedule(200, scaled=True)
SIGMAS = np.append(diffusion.karras_sigmas(10, 0.02, 80.0), 0.0)
MOST_Z = 5.0


def denoiser(x, sigma):
    """E[x_0 | x] of N(MEAN, VARIANCE) with noise of scale sigma, as models that are told sigma say it."""
    s = sigma.reshape(-1, *[1] * (x.ndim - 1)) ** 2
    return MEAN + (x - MEAN) * VARIANCE / (VARIANCE + s)


def noise_model(x, t):
    """The exact epsilon of N(MEAN, VARIANCE) under the linear schedule."""
    alpha, sigma = LINEAR.alpha[t[0]], LINEAR.sigma[t[0]]
    return (x - alpha * MEAN) * sigma / (alpha**2 * VARIANCE + sigma**2)


def all_options():
    return [(m, o) for m in SAMPLERS for o in [{}, *OPTIONS.get(m, [])]]


@pytest.mark.parametrize(("method", "options"), all_options(), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_sampler_is_its_table_on_the_same_noise(method, options, dtype):
    if isinstance(options.get("variance"), np.ndarray):
        options = {"variance": np.full(1000, 0.01)}
    timed = method in ("ddpm", "reverse-sde", "predictor-corrector")
    made = (
        plan(method, LINEAR, 12, spacing="linspace", **options) if timed else plan_of_sigmas(method, SIGMAS, **options)
    )
    model = noise_model if timed else denoiser
    kind = np.int64 if timed else None

    def scalar(x, t):
        return model(x, np.full(len(x), t, kind))

    x = prior((5, 40), made, seed=3, dtype=dtype)
    keys = {"seed": 3, "first_sample": 2}
    have = sample(model, made, x=x, **keys)
    want = run_plan(scalar, made, x, lambda key: randn_like(x, step=key, **keys))
    assert have.dtype == dtype
    scale = np.abs(want).max()
    np.testing.assert_allclose(have, want, rtol=0, atol=scale * (2e-11 if dtype == "float64" else 6e-4))


@pytest.mark.parametrize("size", [1, 2, 16, 255, 256])
def test_corrections_of_few_coordinates_throw_nothing_away(size):
    made = plan_of_sigmas("predictor-corrector", SIGMAS)
    x = prior((2000, size), made, seed=3, dtype="float64")
    have = sample(denoiser, made, x=x, seed=3)
    want = run_plan(
        lambda x, t: denoiser(x, np.full(len(x), t)), made, x, lambda key: randn_like(x, seed=3, step=key)
    )  # fmt: skip
    np.testing.assert_allclose(have, want, rtol=0, atol=2e-11 * np.abs(want).max())
    assert np.abs(have - MEAN).max() < 8 * (VARIANCE + 1) ** 0.5  # before there was a bound: above 1000 in 1-D


@pytest.mark.parametrize(
    ("method", "want"),
    [
        ("euler", 0.142580), ("heun", 0.342004), ("dpm++2m", 0.291034), ("euler-ancestral", 0.098188),
        ("dpm++2m-sde", 0.282244), ("dpm++3m", 0.399119), ("dpm++3m-sde", 1.028454),
    ],
)  # fmt: skip
def test_variances_are_exact(method, want):
    n = 100_000
    made = plan_of_sigmas(method, SIGMAS)
    start = MEAN + (VARIANCE + 6400.0) ** 0.5 * prior((n, 1), LINEAR, seed=1, dtype="float64")
    mean, variance = moments(made, MEAN, VARIANCE + 6400.0)
    assert abs(variance - want) < 1e-6
    x = sample(denoiser, made, x=start, seed=2)
    z = (x.mean() - mean) / (variance / n) ** 0.5, (x.var() / variance - 1) / (2 / n) ** 0.5
    assert np.abs(z).max() < MOST_Z, z


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
def test_a_plain_loop_has_the_bits_of_the_whole(variance):
    x = prior((6, 3, 4), LINEAR, seed=5)
    whole = diffusion.ddpm_sample(noise_model, x=x, schedule=LINEAR, seed=5, variance=variance)
    start = x.copy()
    for t in reversed(range(1000)):
        e = noise_model(x, np.full(6, t))
        diffusion.ddpm_step_(x, e, t, LINEAR, seed=5, variance=variance)
    np.testing.assert_array_equal(whole, x)
    alone = diffusion.ddpm_sample(noise_model, x=start[4:], schedule=LINEAR, seed=5, first_sample=4, variance=variance)
    np.testing.assert_array_equal(alone, x[4:])


def test_tensors_and_arrays_give_the_same_bits_and_networks_get_tensors():
    torch = pytest.importorskip("torch")
    made = plan_of_sigmas("dpm++2m-sde", SIGMAS)
    x = prior((4, 1, 5, 5), made, seed=1)
    want = sample(denoiser, made, x=x, seed=9)
    tensor = torch.as_tensor(x)
    have = sample(denoiser, made, x=tensor, seed=9)
    np.testing.assert_allclose(have.numpy(), want, rtol=0, atol=2e-6)  # powers are torch's own
    assert torch.equal(tensor, torch.as_tensor(x))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x, t):
            assert t.dtype == torch.int64
            assert t.shape == (2,)
            return self.layer(x)

    network, state = Network(), torch.get_rng_state()
    out = sample(network, plan("ddim", LINEAR, 5), shape=(2, 1, 6, 6), seed=0)
    assert torch.is_tensor(out)
    assert out.grad_fn is None
    assert torch.equal(state, torch.get_rng_state())


def test_outputs_in_half_precision_and_channels_last():
    torch = pytest.importorskip("torch")
    made = plan("dpm++2m", LINEAR, 8, spacing="trailing")
    x = prior((2, 3, 6, 6), made, seed=1, device="cpu")
    want = sample(lambda x, t: (0.5 * x).bfloat16(), made, x=x)
    same = sample(lambda x, t: (0.5 * x).bfloat16().float(), made, x=x)
    assert torch.equal(want, same)
    last = sample(lambda x, t: (0.5 * x).to(memory_format=torch.channels_last), made, x=x)
    assert torch.equal(last, sample(lambda x, t: 0.5 * x, made, x=x))


def test_seeds_of_each_sample_follow_it_around():
    made = plan_of_sigmas("euler-ancestral", SIGMAS)
    x = prior((4, 40), made, seed=[11, 12, 13, 14])
    whole = sample(denoiser, made, x=x, seed=[11, 12, 13, 14])
    np.testing.assert_array_equal(sample(denoiser, made, x=x[2:3], seed=[13]), whole[2:3])
    np.testing.assert_array_equal(sample(denoiser, made, shape=(1, 40), seed=[13]), whole[2:3])


def test_noise_from_a_callable_is_asked_for_where_there_is_some():
    asked = []

    def own(sigma, sigma_next):
        asked.append((sigma, sigma_next))
        return np.zeros((3, 40), np.float32)

    made = plan_of_sigmas("euler-ancestral", SIGMAS)
    x = prior((3, 40), made)
    have = sample(denoiser, made, x=x, noise=own)
    np.testing.assert_array_equal(have, sample(denoiser, made, x=x, noise=False))
    np.testing.assert_allclose(asked, list(pairwise(SIGMAS[:-1])))  # the last step has none
    assert not np.array_equal(have, sample(denoiser, made, x=x))


def test_callbacks_and_saved_states():
    made = plan("heun", LINEAR, 5, spacing="trailing")
    seen = []
    got = sample(noise_model, made, shape=(3, 4), save_every=4, callback=lambda p: seen.append((p, p.x.copy())))
    n = made.n_calls
    assert [p.i for p, _ in seen] == list(range(n))
    assert {p.n for p, _ in seen} == {n}
    assert [p.t for p, _ in seen] == made.timesteps.tolist()
    assert all(p.x0.shape == (3, 4) for p, _ in seen)
    np.testing.assert_array_equal(got.calls, [0, 4, 8, 9])
    assert got.states.shape == (4, 3, 4)
    np.testing.assert_array_equal(got.states[0], prior((3, 4), made))
    np.testing.assert_array_equal(got.states[-1], got.x)
    np.testing.assert_array_equal(got.states[1], seen[3][1])
    np.testing.assert_array_equal(got.x, sample(noise_model, made, shape=(3, 4)))


def test_inpainting_ends_at_what_is_known_and_follows_the_rest():
    mask = np.arange(40) < 10
    known = np.full(40, 0.3)
    made = plan("ddpm", SCALED)

    def model(x, t):  # coordinates are equal, so that what is known says what the others are
        alpha, sigma = SCALED.alpha[t[0]], SCALED.sigma[t[0]]
        mean = x.mean(1, keepdims=True) * alpha / (alpha**2 + sigma**2 / 40)
        return (x - alpha * mean) / sigma

    x = sample(model, made, shape=(50, 40), seed=1, mask=mask, known=known, dtype="float64")
    np.testing.assert_array_equal(x[:, mask], 0.3)
    assert abs(x[:, ~mask].mean() - 0.3) < 0.2  # from 0 without it
    for wrong, text in (
        ({"mask": mask}, "go together"),
        ({"mask": 0.5 * mask, "known": known}, "mask must be 0 or 1"),
        ({"mask": mask[:7], "known": known}, "mask must have the shape"),
        ({"mask": mask, "known": known[:7]}, "known must have the shape"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            sample(model, made, shape=(2, 40), **wrong)


def test_missing_data_are_painted_in_and_known_ones_must_be_there():
    mask, made = np.arange(6) < 3, plan("ddim", LINEAR, 5)
    known = np.where(mask, 0.5, np.nan)
    x = sample(noise_model, made, shape=(2, 6), mask=mask, known=known)
    assert (x[:, mask] == 0.5).all()
    assert np.isfinite(x).all()
    with pytest.raises(ValueError, match="known must be finite where mask is 1"):
        sample(noise_model, made, shape=(2, 6), mask=~mask, known=known)


def plans():
    short = plan_of_sigmas
    return [
        plan("ddim", LINEAR, 50), plan("predictor-corrector", LINEAR, 7), plan("ddpm", SCALED),
        plan("ddpm", diffusion.linear_beta_schedule(10, scaled=False, last=0.5), 20, spacing="karras"),
        short("predictor-corrector", SIGMAS), short("annealed-langevin", SIGMAS), short("euler", SIGMAS, s_churn=40.0),
        short("predictor-corrector", SIGMAS[:-1]),
    ]  # fmt: skip


@pytest.mark.parametrize("made", plans(), ids=lambda made: f"{made.method}-{len(made)}")
def test_no_noise_is_drawn_twice(made, monkeypatch):
    drawn, apply, alone = [], kernel.apply, kernel.noise_into

    def applied(*args, noisy=False, given=None, key=0, **rest):
        drawn.extend([key] if noisy and given is None else [])
        return apply(*args, noisy=noisy, given=given, key=key, **rest)

    def noised(state, scale, keys, key, threads=None):
        drawn.append(key)
        alone(state, scale, keys, key, threads)

    monkeypatch.setattr(kernel, "apply", applied)
    monkeypatch.setattr(kernel, "noise_into", noised)
    sample(lambda x, t: 0 * x, made, shape=(2, 6), mask=np.arange(6) < 3, known=0.5)
    assert len(drawn) > 2
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_samples_begin_with_the_noise_of_the_first_timestep(spacing):
    wide = diffusion.Schedule.from_sigmas(np.geomspace(0.01, 50, 1000))
    made = plan("ddim", wide, 10, spacing=spacing)
    assert made.prior_scale == wide.sigma[made.timesteps[0]]
    assert plan("ddim", wide, 10).timesteps[0] == 999  # by default the noisiest
    assert plan("ddim", diffusion.flow_schedule(100), 10, prediction="flow").prior_scale == 1
    assert plan("ddim", LINEAR, 10).timesteps[0] == 900


def test_models_may_follow_gradients_of_samples():
    torch = pytest.importorskip("torch")
    made, kept = plan_of_sigmas("heun", SIGMAS), []

    def guided(x, sigma):
        with torch.enable_grad():
            x.requires_grad_()
            kept.append((weight * x).sum())
            (slope,) = torch.autograd.grad((x**2).sum(), x)
        return denoiser(x.detach(), sigma) - 1e-3 * slope

    weight = torch.ones(2, 6, requires_grad=True)
    x = sample(guided, made, shape=(2, 6), device="cpu", mask=np.arange(6) < 3, known=0.5)
    assert not x.requires_grad
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept[0].backward()
    with pytest.raises(ValueError, match=r"^known requires a gradient"):
        sample(guided, made, shape=(2, 6), device="cpu", mask=torch.ones(6), known=weight[0])


@pytest.mark.parametrize("method", ["dpm++2m", "heun"])
def test_what_callbacks_do_to_their_copy_changes_nothing(method):
    made = plan_of_sigmas(method, SIGMAS)
    want = sample(denoiser, made, shape=(2, 6))
    np.testing.assert_array_equal(sample(denoiser, made, shape=(2, 6), callback=lambda p: p.x0.fill(0.0)), want)


def test_an_output_that_is_not_finite_is_named():
    def bad(x, t):
        return np.where((np.arange(len(x)) == 3)[:, None] & (t[0] == 500), np.nan, 0 * x)

    with pytest.raises(FloatingPointError, match="timestep 500, in sample 3 "):
        diffusion.ddpm_sample(bad, shape=(5, 2), schedule=LINEAR)


def test_what_is_refused():
    made, x = plan("ddim", LINEAR, 3), np.zeros((2, 3), np.float32)

    def model(x, t):
        return x

    for call, kind, text in (
        (lambda: sample(3, made, x=x), TypeError, "model must be callable"),
        (lambda: sample(model, "ddim", x=x), TypeError, "plan must be a Plan"),
        (lambda: sample(model, made), TypeError, "x or shape"),
        (lambda: sample(model, made, x=x, shape=(2, 3)), TypeError, "x or shape"),
        (lambda: sample(model, made, x=x, dtype="float32"), TypeError, "for shape"),
        (lambda: sample(model, made, shape=(2, 3), dtype="int32"), TypeError, "dtype must be"),
        (lambda: sample(model, made, x=x, noise=x), TypeError, "noise must be None"),
        (lambda: sample(model, made, x=x, save_every=0), ValueError, "save_every"),
        (lambda: sample(model, made, x=x, progress="no"), TypeError, "progress"),
        (lambda: sample(model, made, x=x, seed=[1]), ValueError, "2 samples, got 1"),
        (lambda: sample(model, made, x=x, first_sample=-1), ValueError, "first_sample"),
        (lambda: sample(lambda x, t: x[:, :2], made, x=x), ValueError, "model's output must have the shape"),
        (lambda: sample(lambda x, t: None, made, x=x), TypeError, "model's output must be an array"),
        (lambda: sample(lambda x, t: x.astype(int), made, x=x), TypeError, "model's output must be float32"),
    ):
        with pytest.raises(kind, match=text):
            call()


def test_torch_is_not_imported_for_arrays():
    code = """
import sys, numpy as np, sdefast as sf
d = sf.diffusion
d.sample(lambda x, t: 0 * x, d.plan("dpm++2m", d.linear_beta_schedule(50), 5), shape=(3, 4))
assert not {"torch", "diffusers", "scipy"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_family_needs_neither_torch_nor_diffusers():
    code = """
import sys
sys.modules["torch"] = sys.modules["diffusers"] = None
from sdefast.diffusion import *
assert callable(sample) and k.get_sigmas_karras(3, .1, 1., device=None)[-1] == 0
from sdefast import diffusion
try:
    diffusion.hf
except ImportError as error:
    assert "sdefast[hf]" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
