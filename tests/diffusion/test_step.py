"""Single steps in loops of other people's: right values, both kinds of arrays, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest

from sdefast import diffusion
from sdefast.diffusion import ddim_step, ddim_step_, ddpm_step, ddpm_step_, prior, randn_like

torch = pytest.importorskip("torch")

SCHEDULE = diffusion.linear_beta_schedule(1000)
THESIS = diffusion.linear_beta_schedule(200)
SHAPES = [(4, 7), (3, 1, 8, 8), (2, 3, 4, 5, 6), (3,)]


def pair(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2)]


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("shape", SHAPES)
def test_ddpm_is_the_textbook_formula(shape, variance):
    x, e = pair(shape, torch.float64)
    betas = torch.linspace(1e-4, 0.02, 200, dtype=torch.float64)
    abar = torch.cumprod(1 - betas, 0)
    for t in (199, 100, 1, 0):
        z = randn_like(x, seed=3, step=t)
        before = abar[t - 1] if t else torch.ones(()).double()
        spread = betas[t] if variance == "beta" else betas[t] * (1 - before) / (1 - abar[t])
        want = (x - betas[t] / (1 - abar[t]).sqrt() * e) / (1 - betas[t]).sqrt() + (spread.sqrt() * z if t else 0)
        torch.testing.assert_close(ddpm_step(x, e, t, THESIS, seed=3, variance=variance), want, rtol=0, atol=1e-13)


def test_kinds_of_arrays_give_the_same_bits_and_shapes_do_not_matter():
    x, e = pair((3, 2, 4, 5))
    want = ddpm_step(x, e, 70, THESIS, seed=1)
    flat = ddpm_step(x.numpy().reshape(3, 40), e.numpy().reshape(3, 40), 70, THESIS, seed=1)
    assert isinstance(flat, np.ndarray)
    np.testing.assert_array_equal(flat.reshape(x.shape), want.numpy())
    last = e.contiguous(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    assert torch.equal(ddpm_step(x, last, 70, THESIS, seed=1), want)
    assert torch.equal(ddpm_step(x, torch.stack([e, e], -1)[..., 0], 70, THESIS, seed=1), want)


@pytest.mark.parametrize("seed", [3, [5, 2**64 - 1, 0]])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("state", [torch.float32, torch.float64])
def test_what_is_not_unusual_is_done_at_once_with_the_same_bits(state, dtype, seed, monkeypatch):
    x, e = pair((3, 40), state)
    e = e.to(getattr(torch, dtype))
    want, _ = ddpm_step(x, e, 70, THESIS, seed=seed, return_x0=True)  # looks at everything by itself
    monkeypatch.setattr(diffusion.step.kernel, "apply", None)
    assert torch.equal(ddpm_step(x, e, 70, THESIS, seed=seed), want)
    if dtype != "bfloat16":
        assert (ddpm_step(x.numpy(), e.numpy(), 70, THESIS, seed=seed) == want.numpy()).all()
    if dtype == "float32":
        leap = ddim_step(x, e, 70, THESIS, previous=50)
        np.testing.assert_allclose(leap, ddim_step(x.double(), e.double(), 70, THESIS, previous=50), atol=1e-5)
    assert torch.equal(ddpm_step_(x, e, 70, THESIS, seed=seed), want)
    with pytest.raises(ValueError, match=r"seed\[1\] must be"):
        ddpm_step(x, e, 70, THESIS, seed=[1, -1, 2])


def test_in_place_and_out_of_place():
    x, e = pair((3, 40))
    kept = x.clone()
    want = ddpm_step(x, e, 70, THESIS, seed=1)
    assert torch.equal(x, kept)
    assert want.data_ptr() != x.data_ptr()
    assert ddpm_step_(x, e, 70, THESIS, seed=1) is x
    assert torch.equal(x, want)
    y = kept.clone()
    assert ddim_step_(y, e, 70, THESIS, previous=50) is y
    assert torch.equal(y, ddim_step(kept, e, 70, THESIS, previous=50))


def test_reported_values():
    one = np.ones((1, 1))
    row = ddim_step(one, np.zeros_like(one), 999, SCHEDULE, previous=888, return_x0=True)
    assert abs(row[0] - (0.999852299 + 0.011970966 * row[1])).item() < 3e-8 * row[1].item()
    # abar .25 to .81, x 2, v -1: D = 1.866 is clipped to 1, and eps re-derived
    schedule = diffusion.Schedule.from_alphas_cumprod([0.81, 0.25])
    options = {"prediction": "v", "clip": 1.0, "previous": 0}
    x, v = np.full((1, 1), 2.0), np.full((1, 1), -1.0)
    assert abs(ddim_step(x, v, 1, schedule, return_x0=True, **options)[0].item() - 1.654983) < 1e-6
    assert abs(ddpm_step(x, v, 1, schedule, noise=False, **options).item() - 1.111111) < 1e-6
    zero = diffusion.linear_beta_schedule(1000).zero_terminal_snr()
    _, D = ddim_step(x, v, 999, zero, prediction="v", return_x0=True)
    np.testing.assert_allclose(D, -v, rtol=1e-12)
    with pytest.raises(ValueError, match="'v', 'x0' or 'flow'"):
        ddim_step(x, v, 999, zero)


@pytest.mark.parametrize("step", [ddpm_step, ddpm_step_, ddim_step])
@pytest.mark.parametrize(("t", "n"), [(-1, 200), (200, 200), (1000, 1000)])
def test_timesteps_out_of_range_are_named_with_the_last(step, t, n):
    x, e = pair((2, 3))
    kept = x.clone()
    with pytest.raises(ValueError, match=rf"between 0 and {n - 1}, got {t}$"):
        step(x, e, t, diffusion.linear_beta_schedule(n), seed=0)
    assert torch.equal(x, kept)


def test_timesteps_of_each_sample():
    x, e = pair((3, 40))
    mixed = ddpm_step(x, e, torch.tensor([150, 0, 20]), THESIS, seed=1)
    for i, t in enumerate((150, 0, 20)):
        assert torch.equal(mixed[i : i + 1], ddpm_step(x[i : i + 1], e[i : i + 1], t, THESIS, seed=1, first_sample=i))
    same = ddpm_step(x, e, torch.full((3,), 20), THESIS, seed=1)
    assert torch.equal(same, ddpm_step(x, e, 20, THESIS, seed=1))
    with pytest.raises(ValueError, match=r"^t must be"):
        ddpm_step(x, e, torch.tensor([1, 2]), THESIS)
    with pytest.raises(ValueError, match=r"^t must be"):
        ddpm_step(x, e, np.array([1.0, 2.0, 3.0]), THESIS)


def test_noise_belongs_to_samples():
    x, e = pair((4, 1, 8, 8))
    state = torch.get_rng_state()
    whole = ddpm_step(x, e, 70, THESIS, seed=1, first_sample=10)
    assert torch.equal(ddpm_step(x[2:3], e[2:3], 70, THESIS, seed=1, first_sample=12), whole[2:3])
    listed = ddpm_step(x, e, 70, THESIS, seed=[5, 6, 7, 8])
    assert torch.equal(ddpm_step(x[2:3], e[2:3], 70, THESIS, seed=[7]), listed[2:3])
    generators = [torch.Generator().manual_seed(s) for s in (5, 6, 7, 8)]
    assert torch.equal(ddpm_step(x, e, 70, THESIS, seed=generators), listed)
    assert torch.equal(ddpm_step(x, e, 70, THESIS, seed=np.array([5, 6, 7, 8], np.uint64)), listed)
    large = [2**64 - 1, 0, 1, 2]
    assert torch.equal(ddpm_step(x, e, 70, THESIS, seed=large)[:1], ddpm_step(x[:1], e[:1], 70, THESIS, seed=large[:1]))
    with pytest.raises(ValueError, match=r"each of the 4 samples, got 3"):
        ddpm_step(x, e, 70, THESIS, seed=[1, 2, 3])
    for wrong in (-1, 2**64, [1, 2, 3, -4]):
        with pytest.raises(ValueError, match=r"^seed"):
            ddpm_step(x, e, 70, THESIS, seed=wrong)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_seed_is_a_random_one():
    x, e = pair((2, 40))
    assert not torch.equal(*(ddpm_step(x, e, 70, THESIS, seed=None) for _ in range(2)))


def test_samples_that_do_not_fit_are_refused_before_they_are_made():
    with pytest.raises(MemoryError, match=r"GiB, .* first_sample"):
        prior((2**40, 3), THESIS)


def test_noise_that_is_given_or_left_out():
    x, e = pair((4, 40))
    z = randn_like(x, seed=1, step=70)
    drawn = ddpm_step(x, e, 70, THESIS, seed=1)
    assert torch.equal(ddpm_step(x, e, 70, THESIS, noise=z), drawn)
    without = ddpm_step(x, e, 70, THESIS, noise=False)
    assert torch.equal(without, ddpm_step(x, e, 70, THESIS, noise=torch.zeros_like(z)))
    for wrong, kind in ((True, TypeError), (z.double(), TypeError), (z[:2], ValueError), (z.numpy(), TypeError)):
        with pytest.raises(kind, match="noise"):
            ddpm_step(x, e, 70, THESIS, noise=wrong)


def test_gradients_are_not_lost_without_a_word():
    x, e = pair((4, 40))
    with pytest.raises(ValueError, match=r"detach\(\)"):
        ddpm_step(x, e.clone().requires_grad_(), 70, THESIS)
    with pytest.raises(ValueError, match=r"detach\(\)"):
        ddpm_step_(x.clone().requires_grad_(), e, 70, THESIS)
    weight = torch.ones(4, 40, requires_grad=True)
    loss = (weight * x).sum()
    ddpm_step_(x, e, 70, THESIS)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("sample", [0, 2])
def test_outputs_that_are_not_finite_are_named(sample):
    x, e = pair((3, 1, 6, 6))
    e[sample, 0, 3, 3] = float("nan")
    for step in (ddpm_step, ddim_step, ddpm_step_):
        with pytest.raises(FloatingPointError, match=f"timestep 70, in sample {sample} "):
            step(x.clone(), e, 70, THESIS)


def test_memory_that_must_not_be_written_is_refused(tmp_path):
    x, e = (a.numpy() for a in pair((3, 40)))
    np.save(tmp_path / "x.npy", x)
    fixed = x.copy()
    fixed.flags.writeable = False
    for kept in (np.load(tmp_path / "x.npy", mmap_mode="r"), fixed, np.broadcast_to(x[:1], (3, 40))[:1]):
        with pytest.raises(ValueError, match="x must be writeable"):
            ddpm_step_(kept, e[: len(kept)], 70, THESIS)
    np.testing.assert_array_equal(fixed, x)
    np.testing.assert_array_equal(ddpm_step(fixed, e, 70, THESIS), ddpm_step(x, e, 70, THESIS))


def test_outputs_that_lie_in_the_samples_are_read_first():
    values = np.random.default_rng(0).normal(size=4097).astype(np.float32)
    want = ddim_step(values[1:][None].copy(), values[:-1][None].copy(), 70, THESIS)
    np.testing.assert_array_equal(ddim_step_(values[1:][None], values[:-1][None], 70, THESIS), want)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_outputs_of_another_type_that_lie_in_the_samples_are_read_first(dtype):
    kind = getattr(torch, dtype)
    memory = torch.randn(3 * 3 * 40)
    for first in (0, 2, 60, 120):
        whole = memory.clone()
        x, e = whole[:120].view(3, 40), whole[first:].view(kind)[:120].view(3, 40)
        e.copy_((torch.arange(-60.0, 60.0) / 64).view(3, 40))
        want = ddim_step(x.clone(), e.clone(), 70, THESIS)
        assert torch.equal(ddim_step_(x, e, 70, THESIS), want)


def test_an_interrupted_step_has_no_threads_that_go_on():
    code = """
import signal, numpy as np, sdefast as sf
d, x, n = sf.diffusion, np.ones((2, 2**22), np.float32), 0
schedule = d.linear_beta_schedule(10)
d.ddpm_step(x, x.copy(), 5, schedule, threads=2)
signal.signal(signal.SIGALRM, signal.default_int_handler)
for _ in range(12):
    try:
        signal.setitimer(signal.ITIMER_REAL, 2e-3)
        d.ddpm_step(x, x.copy(), 5, schedule, threads=2)
    except KeyboardInterrupt:
        n += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
print(n)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 0


def test_numbers_in_arrays_are_taken_as_they_are_now():
    x, e = pair((1, 2))
    previous, clip = torch.tensor(50), torch.tensor(1.0)
    first = ddim_step(x, e, 70, THESIS, previous=previous, clip=clip)
    assert torch.equal(first, ddim_step(x, e, 70, THESIS, previous=np.array(50), clip=np.array(1.0)))
    previous -= 30
    clip *= 0.1
    assert torch.equal(
        ddim_step(x, e, 70, THESIS, previous=previous, clip=clip),
        ddim_step(x, e, 70, THESIS, previous=20, clip=float(clip)),
    )
    for wrong in ({"previous": True}, {"previous": 1.0}, {"clip": "1"}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            ddim_step(x, e, 70, THESIS, **wrong)
    with pytest.raises(TypeError, match="must be an integer"):
        ddim_step(x, e, torch.tensor(True), THESIS)


def test_templates_and_outputs_of_any_layout():
    x, e = pair((2, 3, 4, 5))
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(randn_like(last, seed=1), randn_like(x, seed=1))
    assert diffusion.noise_sampler(last, seed=1)(1.0, 0.5).is_contiguous()
    negative = torch.complex(e, -e).conj().imag  # e, by a bit that says minus
    assert negative.is_neg()
    assert torch.equal(ddim_step(x, negative, 70, THESIS), ddim_step(x, e, 70, THESIS))


def test_what_is_unusual_is_seen_on_the_short_way():
    x, e = pair((1, 1))
    assert torch.equal(ddim_step(x, torch._neg_view(-e), 70, THESIS), ddim_step(x, e, 70, THESIS))
    assert torch.equal(ddim_step(torch.nn.Parameter(x, False), e, 70, THESIS), ddim_step(x, e, 70, THESIS))
    swapped = e.numpy().astype(">f4")
    for wrong in (torch.zeros(1, 1, device="meta"), e.to_sparse(), e.int(), e[0], torch.zeros(1, 1, 1), swapped, None):
        with pytest.raises((TypeError, ValueError), match="must"):
            ddim_step(x if wrong is not swapped else x.numpy(), wrong, 70, THESIS)
    for empty in (torch.empty(0, 4), torch.empty(4, 0), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="at least one"):
            ddim_step(empty, empty, 70, THESIS)
    for fields in ({"seed": True}, {"threads": 0}, {"threads": True}, {"first_sample": -1}, {"first_sample": 2**63}):
        with pytest.raises((TypeError, ValueError), match=next(iter(fields))):
            ddpm_step(x, e, 70, THESIS, **fields)
    with pytest.raises((TypeError, ValueError), match="prediction"):
        ddpm_step(x, e, 70, THESIS, prediction=["eps"])
    freed = x.clone()
    freed.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="must have memory"):
        ddim_step(freed, e, 70, THESIS)
    several = ddpm_step(x, e, 70, THESIS, seed=2**64 - 1, first_sample=2**62 - 1, threads=2**62)
    assert torch.equal(several, ddpm_step(x, e, 70, THESIS, seed=[2**64 - 1], first_sample=2**62 - 1))


def test_what_is_new_is_contiguous():
    x, e = pair((3, 1, 4))
    odd = torch.empty_strided((3, 1, 4), (4, 1, 1)).copy_(x)  # contiguous, and torch makes others like it as odd
    assert ddim_step(odd, e, 70, THESIS).stride() == (4, 4, 1)


def test_wrapped_tensors_and_interruptions_are_told_of():
    x, e = pair((3, 4))
    with pytest.raises(RuntimeError, match="storage"):  # new memory is wrapped there
        torch.func.grad(lambda y: (y + ddim_step(x, e, 70, THESIS)).sum())(x)

    class Interrupted(torch.overrides.TorchFunctionMode):
        """By the first question alone, so that a second way would not be interrupted."""

        times = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.times += 1
            if self.times == 1:
                raise KeyboardInterrupt
            return function(*args, **(kwargs or {}))

    with pytest.raises(KeyboardInterrupt), Interrupted():
        ddim_step(x, e, 70, THESIS)


def test_noise_samplers_may_be_compiled():
    x, _ = pair((2, 3))
    drawn = torch.compile(lambda x: diffusion.noise_sampler(x, seed=1)(1.0, 0.5) + x, backend="eager")(x)
    assert torch.equal(drawn, randn_like(x, seed=1, step=1) + x)


def test_inference_tensors_have_no_versions():
    with torch.inference_mode():
        x, e = pair((3, 40))
        want = ddpm_step(x, e, 70, THESIS)
    assert torch.equal(ddpm_step_(x, e, 70, THESIS), want)


def test_what_is_refused():
    x, e = pair((3, 1, 6, 6))
    for call, kind, text in (
        (lambda: ddpm_step(x, e[:2], 3, THESIS), ValueError, r"shape of x, \(3, 1, 6, 6\), got \(2, 1, 6, 6\)"),
        (lambda: ddpm_step(x, e.numpy(), 3, THESIS), TypeError, "output must be like x"),
        (lambda: ddpm_step(x.half(), e, 3, THESIS), TypeError, "x must be float32 or float64"),
        (lambda: ddpm_step(x, e.long(), 3, THESIS), TypeError, "output must be float32"),
        (lambda: ddpm_step(x.transpose(2, 3), e, 3, THESIS), ValueError, r"contiguous"),
        (lambda: ddpm_step(x[:0], e[:0], 3, THESIS), ValueError, "at least one sample"),
        (lambda: ddpm_step(x[..., :0], e[..., :0], 3, THESIS), ValueError, "at least one"),
        (lambda: ddpm_step([1.0], [1.0], 3, THESIS), TypeError, "x must be an array of numpy or a tensor"),
        (lambda: ddpm_step(x, e, 3.5, THESIS), TypeError, "t must be an integer"),
        (lambda: ddpm_step(x, e, 3, THESIS, variance="large"), ValueError, "variance"),
        (lambda: ddpm_step(x, e, 3, THESIS, prediction="epsilon"), ValueError, "prediction"),
        (lambda: ddpm_step(x, e, 3, THESIS, clip=-1.0), ValueError, "clip"),
        (lambda: ddpm_step(x, e, 3, THESIS, previous=3), ValueError, "previous must be smaller"),
        (lambda: ddpm_step(x, e, 3, [0.1, 0.2]), TypeError, "schedule"),
        (lambda: ddim_step(x, e, 3, THESIS, eta=-1.0), ValueError, "eta"),
        (lambda: ddpm_step(x, e, 3, THESIS, return_x0="yes"), TypeError, "return_x0"),
        (lambda: ddpm_step(x, e, 3, THESIS, threads=0), ValueError, "threads"),
        (lambda: prior((2, 3), THESIS.betas), TypeError, "schedule must be a Schedule or a Plan"),
    ):
        with pytest.raises(kind, match=text):
            call()


def test_variances_of_ones_own():
    x, e = pair((2, 40))
    learned = np.linspace(0.1, 0.2, 200)
    z = randn_like(x, seed=1, step=70)
    want = ddpm_step(x, e, 70, THESIS, noise=False) + learned[70] ** 0.5 * z
    torch.testing.assert_close(ddpm_step(x, e, 70, THESIS, seed=1, variance=learned), want, rtol=0, atol=1e-6)


def test_prior_is_normal_noise_of_its_scale():
    wide = diffusion.Schedule.from_sigmas(np.geomspace(0.01, 50, 10))
    for schedule, scale in ((SCHEDULE, 1.0), (wide, 50.0), (diffusion.flow_schedule(10), 1.0)):
        x = prior((1000, 50), schedule, seed=2, dtype="float64")
        z = np.array([x.mean() / scale, (x.var() / scale**2 - 1) / 2**0.5]) * x.size**0.5
        assert np.abs(z).max() < 5
    like = torch.zeros(1, dtype=torch.float64)
    assert prior((2, 3), SCHEDULE, like=like).dtype == torch.float64
    assert prior((2, 3), SCHEDULE, device="cpu").dtype == torch.float32
    assert prior((2, 3), SCHEDULE, dtype=torch.float64).dtype == torch.float64
    a, b = prior((5, 3, 4), SCHEDULE, seed=1), prior((2, 3, 4), SCHEDULE, seed=1, first_sample=3)
    np.testing.assert_array_equal(a[3:], b)
    for wrong in ((), (2, 0), (2.0, 3), 5):
        with pytest.raises((ValueError, TypeError), match="shape"):
            prior(wrong, SCHEDULE)


def test_a_compiled_function_may_call_steps():
    x, e = pair((2, 40))

    @torch.compile(backend="eager")
    def loop(x, e):
        return ddpm_step(x, 2 * e, 70, THESIS, seed=1) + 1

    assert torch.equal(loop(x, e), ddpm_step(x, 2 * e, 70, THESIS, seed=1) + 1)
