"""The forward process' posterior and the variational bound: exact figures on N(0.7, 0.25), models against them."""

import math

import numpy as np
import pytest

import sdefast as sf
from sdefast.diffusion.bound import gaussian_bound, q_posterior, variational_bound
from sdefast.diffusion.schedule import Schedule, flow_schedule, linear_beta_schedule

BIT = math.log(2.0)
ENTROPY = 0.725791


def vp_schedule(n=1000):
    return linear_beta_schedule(n)


def ve_schedule(n=20):
    return Schedule.from_sigmas(np.geomspace(0.05, 20.0, n))


def exact_model(schedule, prediction="eps"):
    """The posterior mean of N(0.7, 0.25) data."""

    def model(x, t):
        shape = (-1, *(1,) * (x.ndim - 1))
        a, s = schedule.alpha[t].reshape(shape), schedule.sigma[t].reshape(shape)
        eps = s * (x - a * 0.7) / (a**2 * 0.25 + s**2)
        return eps if prediction == "eps" else 0.7 + a * 0.25 * (x - a * 0.7) / (a**2 * 0.25 + s**2)

    return model


DATA = 0.7 + 0.5 * sf.noise.normals(31, 6, 2000).T.reshape(2000, 2, 3)


@pytest.mark.parametrize(
    ("n", "variance", "terms", "total", "gap"),
    [
        (1000, "beta", (0.000015, 3.913260, -3.186382), 0.726893, 0.00159),
        (1000, "beta_tilde", (0.000015, 4.368516, -3.186382), 1.182150, 0.658),
        (200, "beta", None, 0.763222, None),
        (200, "beta_tilde", None, 1.652399, None),
    ],
)
def test_exact_figures(n, variance, terms, total, gap):
    """In nats; the gap above the entropy in bits."""
    bound = gaussian_bound(vp_schedule(n), 0.7, 0.25, variance=variance)
    assert bound.total * BIT == pytest.approx(total, abs=6e-7)
    if terms:
        found = (bound.L_T * BIT, bound.L_t.sum() * BIT, bound.L_0 * BIT)
        assert found == pytest.approx(terms, abs=6e-7)
        assert bound.total - ENTROPY / BIT == pytest.approx(gap, rel=5e-3)
    assert 0.5 * math.log(2 * math.pi * math.e * 0.25) == pytest.approx(ENTROPY, abs=5e-7)
    assert bound.timesteps.tolist() == list(range(1, n))


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("make", [vp_schedule, flow_schedule, ve_schedule])
def test_the_bound_is_one(make, variance):
    """Whatever the schedule, it stays above the entropy; with the variance beta more steps come nearer."""
    few, many = (gaussian_bound(make(n), 0.7, 0.25, variance=variance).total for n in (20, 400))
    assert min(few, many) > ENTROPY / BIT
    if variance == "beta" and make is not vp_schedule:  # whose betas would have to grow as steps get fewer
        assert many < few


def test_posterior_of_ddpm():
    """The textbook's coefficients."""
    schedule = vp_schedule(200)
    betas = np.linspace(1e-4, 0.02, 200)
    ab = np.cumprod(1 - betas)
    t = np.arange(1, 200)
    x, x0, variance = q_posterior(schedule, t)
    np.testing.assert_allclose(x0, np.sqrt(ab[t - 1]) * betas[t] / (1 - ab[t]), rtol=1e-10)
    np.testing.assert_allclose(x, np.sqrt(1 - betas[t]) * (1 - ab[t - 1]) / (1 - ab[t]), rtol=1e-12)
    np.testing.assert_allclose(variance, betas[t] * (1 - ab[t - 1]) / (1 - ab[t]), rtol=1e-10)
    assert q_posterior(schedule, 0) == pytest.approx((0.0, 1.0, 0.0), abs=1e-12)


@pytest.mark.parametrize("make", [vp_schedule, flow_schedule, ve_schedule])
@pytest.mark.parametrize("t", [1, 7, 19])
def test_posterior_by_bayes(make, t):
    """q(x_{t-1} | x_0) q(x_t | x_{t-1}) on a grid, normalised by sums."""
    schedule, x0 = make(20), -0.4
    xt = schedule.alpha[t] * x0 + 1.5 * schedule.sigma[t]
    a0, s0 = schedule.alpha[t - 1], schedule.sigma[t - 1]
    a = schedule.alpha[t] / a0
    step = schedule.sigma[t] ** 2 - a**2 * s0**2
    grid = a0 * x0 + s0 * np.linspace(-14, 14, 200_001)
    weight = np.exp(-0.5 * ((grid - a0 * x0) / s0) ** 2 - 0.5 * (xt - a * grid) ** 2 / step)
    mean = (grid * weight).sum() / weight.sum()
    variance = ((grid - mean) ** 2 * weight).sum() / weight.sum()
    found = q_posterior(schedule, t)
    assert found.x * xt + found.x0 * x0 == pytest.approx(mean, rel=1e-9)
    assert found.variance == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("variance", ["beta", "beta_tilde"])
@pytest.mark.parametrize("prediction", ["eps", "x0"])
def test_a_model_that_predicts_exactly(variance, prediction):
    """Every term of 2000 samples against its exact mean, z < 5."""
    schedule = vp_schedule(20)
    model = exact_model(schedule, prediction)
    found = variational_bound(model, DATA, schedule, variance=variance, prediction=prediction, seed=4)
    want = gaussian_bound(schedule, 0.7, 0.25, variance=variance)
    assert found.L_t.shape == (19, 2000)
    rows = [(found.L_T, want.L_T), (found.L_0, want.L_0), (found.total, want.total)]
    for terms, exact in [*rows, *zip(found.L_t, want.L_t, strict=True)]:
        assert abs(terms.mean() - exact) < 5 * terms.std() / math.sqrt(2000)


def test_flow_schedules_need_no_eps():
    """alpha_T = 0: the first step is from pure noise."""
    schedule = flow_schedule(20)
    found = variational_bound(exact_model(schedule, "x0"), DATA, schedule, prediction="x0")
    want = gaussian_bound(schedule, 0.7, 0.25)
    assert np.abs(found.L_T).max() < 1e-15
    assert abs(found.total.mean() - want.total) < 5 * found.total.std() / math.sqrt(2000)
    with pytest.raises(ValueError, match="predict v, x0 or flow"):
        variational_bound(exact_model(schedule), DATA, schedule)


def test_samples_do_not_depend_on_their_batch():
    schedule = vp_schedule(20)
    model = exact_model(schedule)
    every = variational_bound(model, DATA[:8], schedule, seed=2)
    last = variational_bound(model, DATA[5:8], schedule, seed=2, first_sample=5)
    for name in ("L_T", "L_t", "L_0", "total"):
        np.testing.assert_array_equal(getattr(last, name), getattr(every, name)[..., 5:])
    other = variational_bound(model, DATA[:8], schedule, seed=3)
    assert np.all(other.L_t != every.L_t)


def test_noise_of_every_timestep():
    """Elements e of timestep t take the draws t E + e of their sample, E rounded up to even numbers."""
    schedule, seen = vp_schedule(5), {}
    x = DATA[:2, :1]

    def model(noisy, t):
        seen[int(t[0])] = (noisy - schedule.alpha[t[0]] * x) / schedule.sigma[t[0]]
        return noisy

    variational_bound(model, x, schedule, seed=8, first_sample=3)
    assert sorted(seen) == [0, 1, 2, 3, 4]
    for t, z in seen.items():
        drawn = sf.noise.normals(8, 3, 2, first_draw=4 * t, first_chain=3).T
        np.testing.assert_allclose(z.reshape(2, 3), drawn, atol=1e-12)


def test_chosen_timesteps():
    schedule = vp_schedule(20)
    model = exact_model(schedule)
    every = variational_bound(model, DATA[:8], schedule, seed=2)
    some = variational_bound(model, DATA[:8], schedule, seed=2, timesteps=[1, 4, 16])
    np.testing.assert_array_equal(some.L_t, every.L_t[[0, 3, 15]])
    np.testing.assert_allclose(some.total, some.L_T + 19 / 3 * some.L_t.sum(axis=0) + some.L_0, rtol=1e-14)


def test_discretised_decoder():
    """A probability of 256 values: it sums to one, and is narrower than a density where the decoder is."""
    schedule = vp_schedule(20)
    pixels = np.arange(256) / 127.5 - 1
    constant = lambda x, t: np.full_like(x, 0.12345)  # noqa: E731
    found = variational_bound(
        constant, pixels[:, None], schedule, prediction="x0", decoder="discretised", timesteps=[1]
    )
    assert (2.0**-found.L_0).sum() == pytest.approx(1.0, abs=1e-6)
    wide = Schedule.from_betas([0.04, 0.05])
    found = variational_bound(constant, pixels[:, None], wide, prediction="x0", decoder="discretised", timesteps=[1])
    assert (2.0**-found.L_0).sum() == pytest.approx(1.0, abs=1e-12)
    density = variational_bound(constant, pixels[:, None], wide, prediction="x0", timesteps=[1]).L_0
    np.testing.assert_allclose(found.L_0[60:200], density[60:200] + math.log2(127.5), atol=2e-3)


def test_clip():
    schedule = vp_schedule(20)
    big = lambda x, t: np.full_like(x, 30.0)  # noqa: E731
    clipped = variational_bound(big, DATA[:4], schedule, prediction="x0", clip=1.0)
    one = variational_bound(lambda x, t: np.ones_like(x), DATA[:4], schedule, prediction="x0")
    np.testing.assert_array_equal(clipped.total, one.total)


def test_tensors():
    torch = pytest.importorskip("torch")
    schedule = vp_schedule(20)
    want = variational_bound(exact_model(schedule), DATA[:8], schedule, seed=2)

    def model(x, t):
        assert (x.dtype, t.dtype, x.requires_grad) == (torch.float32, torch.int64, False)
        assert not torch.is_grad_enabled()
        return torch.tensor(exact_model(schedule)(x.double().numpy(), t.numpy())).float()

    found = variational_bound(model, torch.tensor(DATA[:8]).float(), schedule, seed=2)
    np.testing.assert_allclose(found.L_t, want.L_t, rtol=1e-3)
    np.testing.assert_allclose(found.total, want.total, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"variance": "beta~"}, ValueError, "variance must be one of"),
        ({"prediction": "epsilon"}, ValueError, "did you mean 'eps'"),
        ({"decoder": "gauss"}, ValueError, "did you mean 'gaussian'"),
        ({"timesteps": [0]}, ValueError, "between 1 and 19, got 0"),
        ({"timesteps": [3, 20]}, ValueError, "between 1 and 19, got 20"),
        ({"timesteps": [1.5]}, TypeError, "timesteps must be integers"),
        ({"clip": 0.0}, ValueError, "clip must be positive"),
        ({"seed": -1}, ValueError, "seed"),
        ({"x": np.array([[np.nan]])}, ValueError, "x must be finite"),
        ({"model": lambda x, t: x[:1]}, ValueError, "returned shape"),
        ({"model": lambda x, t: x / (t[:, None, None] != 3)}, ValueError, "NaN or infinity at timestep 3"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_inputs(changes, error, words):
    schedule = vp_schedule(20)
    given = {"model": exact_model(schedule), "x": DATA[:4], "schedule": schedule, **changes}
    with pytest.raises(error, match=words):
        variational_bound(**given)


def test_bad_timesteps_of_the_posterior():
    with pytest.raises(ValueError, match="between 0 and 19, got 20"):
        q_posterior(vp_schedule(20), 20)
    with pytest.raises(TypeError, match="integers"):
        q_posterior(vp_schedule(20), 1.0)
    with pytest.raises(ValueError, match="data_variance"):
        gaussian_bound(vp_schedule(20), 0.0, -1.0)
