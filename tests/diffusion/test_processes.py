"""Processes against the differential equations of their moments, their reversals against the laws of data."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from diffusion.gaussian_data import MEAN, VARIANCE, law, scalar_score

import sdefast as sf
from sdefast.diffusion.conversions import convert
from sdefast.diffusion.predictions import PREDICTIONS
from sdefast.diffusion.processes import VE, VP, Flow

PROCESSES = [VP(), VP(0.02, 4.0), VE(0.01, 50.0), VE(0.3, 5.0), Flow()]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_moments_follow_drift_and_diffusion(process):
    """d alpha = f alpha dt and d sigma^2 = (2 f sigma^2 + g^2) dt, by central differences."""
    h = 1e-6
    for t in (0.01, 0.3, 0.7, 0.95):
        f, g = process.rate(t), process.diffusion(t)
        slope = (process.alpha(t + h) - process.alpha(t - h)) / (2 * h)
        assert slope == pytest.approx(f * process.alpha(t), rel=1e-7, abs=1e-12)
        slope = (process.sigma(t + h) ** 2 - process.sigma(t - h) ** 2) / (2 * h)
        assert slope == pytest.approx(2 * f * process.sigma(t) ** 2 + g**2, rel=1e-6)
    assert process.alpha(0.0) == 1
    assert process.sigma(0.0) == 0


def test_discrete_and_continuous_vp():
    betas = np.linspace(1e-4, 0.02, 200)
    assert np.prod(1 - betas) == pytest.approx(0.13218, abs=5e-6)
    assert VP(0.02, 4.0).alpha(1.0) ** 2 == pytest.approx(0.13399, abs=5e-6)
    assert VP(0.02, 4.0).alpha(1.0) ** 2 == pytest.approx(math.exp(-betas.sum()), rel=1e-12)
    many = 1 - VP().beta((np.arange(100_000) + 0.5) / 100_000) / 100_000  # beta(i/T) = T beta_i
    assert np.prod(many) == pytest.approx(VP().alpha(1.0) ** 2, rel=1e-3)


def test_ve_adds_the_difference_of_squares():
    ve = VE(0.3, 5.0)
    assert [ve.level(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([0.3, math.sqrt(1.5), 5.0])
    assert ve.sigma(1.0) ** 2 == pytest.approx(25 - 0.09, rel=1e-13)
    assert ve.diffusion(0.5) == pytest.approx(math.sqrt(1.5) * math.sqrt(2 * math.log(5 / 0.3)), rel=1e-14)
    assert ve.prior_scale() == ve.sigma(1.0)
    assert VE(0.01, 50.0).sigma(1e-12) == pytest.approx(0.01 * math.sqrt(2e-12 * math.log(5000)), rel=1e-9)


@pytest.mark.parametrize("process", [VP(), VE(0.3, 5.0), Flow()], ids=repr)
def test_forward_paths_have_the_marginal(process):
    """Mean and variance against the exact recursion of Euler-Maruyama (z < 5), which is near the marginal."""
    n, steps, end = 100_000, 400, 0.9
    run = sf.simulate(process.forward_sde(), x0=1.5, t1=end, n_steps=steps, n_paths=n, seed=3)
    h, m, v = end / steps, 1.5, 0.0
    for k in range(steps):
        a = 1 + process.rate(k * h) * h
        m, v = a * m, a**2 * v + process.diffusion(k * h) ** 2 * h
    assert abs(run.mean[0, 0] - m) < 5 * math.sqrt(v / n)
    assert abs(run.variance[0, 0] - v) < 5 * v * math.sqrt(2 / n)
    mean, std = process.marginal(1.5, end)
    assert m == pytest.approx(mean, abs=0.03)
    assert v == pytest.approx(std**2, rel=0.02)


def test_marginal_of_a_batch():
    x0, t = np.arange(6.0).reshape(3, 2), np.array([0.1, 0.5, 0.9])
    for process in PROCESSES:
        mean, std = process.marginal(x0, t)
        assert std.shape == (3, 1)
        for i in range(3):
            one_mean, one_std = process.marginal(x0[i], t[i])
            np.testing.assert_allclose(mean[i], one_mean, rtol=1e-14)
            assert std[i, 0] == pytest.approx(one_std, rel=1e-14)
        np.testing.assert_allclose(process.drift(t, x0)[2], process.rate(0.9) * x0[2], rtol=1e-14)


def test_marginal_of_tensors():
    torch = pytest.importorskip("torch")
    x0 = torch.arange(6, dtype=torch.float32).reshape(3, 2)
    mean, std = VP().marginal(x0, torch.tensor([0.1, 0.5, 0.9]))
    want, want_std = VP().marginal(x0.numpy(), np.array([0.1, 0.5, 0.9], np.float32))
    assert mean.dtype == std.dtype == torch.float32
    np.testing.assert_allclose(mean.numpy(), want, rtol=1e-6)
    np.testing.assert_allclose(std.numpy(), want_std, rtol=1e-6)


def test_prior():
    vp = VP()
    a, s = vp.alpha(1.0), vp.sigma(1.0)
    assert vp.prior() == (0.0, 1.0)
    assert a * 0.7 == pytest.approx(0.0046, abs=1e-4)
    m, v = vp.prior(0.7, 0.25)
    assert (m, v) == (a * 0.7, a**2 * 0.25 + s**2)
    C = np.array([[2.0, 0.5], [0.5, 1.0]])
    mean, covariance = vp.prior([1.0, 2.0], C, t1=0.5)
    np.testing.assert_allclose(mean, vp.alpha(0.5) * np.array([1.0, 2.0]))
    np.testing.assert_allclose(covariance, vp.alpha(0.5) ** 2 * C + vp.sigma(0.5) ** 2 * np.eye(2))
    np.testing.assert_allclose(vp.prior(0.0, [2.0, 1.0], t1=0.5)[1], np.diag(covariance))
    assert VE(0.3, 5.0).prior(t1=0.5) == (0.0, pytest.approx(1.5 - 0.09))


def euler_maruyama(sde, mean, variance, end, n):
    """Exact mean and variance of the scheme on an SDE with linear drift."""
    h = end / n
    for k in range(n):
        (at_zero,), (g,) = sde.rates(k * h, [0.0])
        (at_one,), _ = sde.rates(k * h, [1.0])
        slope = at_one - at_zero
        mean, variance = mean + h * (at_zero + slope * mean), (1 + h * slope) ** 2 * variance + h * g**2
    return mean, variance


@pytest.mark.parametrize(
    ("process", "n", "error", "digits"),
    [
        (VP(), 500, 7.2479e-4, 5e-9),
        (VP(), 1000, 3.6000e-4, 5e-9),
        (VP(), 2000, 1.7941e-4, 5e-9),
        (VE(), 500, 2.54e-5, 5e-8),
        (VE(), 1000, 6.70e-6, 5e-9),
        (VE(), 2000, 1.84e-6, 5e-9),
    ],
    ids=str,
)
def test_order_of_the_reverse_sde(process, n, error, digits):
    """Euler-Maruyama to t = 1e-3 on N(0.7, 0.25): under VP of order 1; under VE two errors cancel."""
    sde = process.reverse_sde(scalar_score(process))
    mean, start = law(process, 1.0)
    _, variance = euler_maruyama(sde, mean, start, 1 - 1e-3, n)
    assert variance - law(process, 1e-3)[1] == pytest.approx(error, abs=digits)


@pytest.mark.parametrize("process", [VP(), VE(), Flow()], ids=repr)
def test_reverse_sde_samples_gaussian_data(process):
    """Mean and variance of paths against the scheme's exact ones (z < 5), and those against the data."""
    n, steps, t0 = 40_000, 1000, 1e-3
    m, v = map(float, process.prior(MEAN, VARIANCE))
    x0 = m + math.sqrt(v) * sf.noise.normals(11, 1, n).T
    sde = process.reverse_sde(scalar_score(process))
    end = process.t1 - t0
    run = sf.simulate(sde, x0=x0, t1=end, n_steps=steps, n_paths=n, seed=12)
    mean, variance = euler_maruyama(sde, m, v, end, steps)
    assert abs(run.mean[0, 0] - mean) < 5 * math.sqrt(variance / n)
    assert abs(run.variance[0, 0] - variance) < 5 * variance * math.sqrt(2 / n)
    want_mean, want_variance = law(process, t0)
    assert mean == pytest.approx(want_mean, abs=2e-3)
    assert variance == pytest.approx(want_variance, abs=2e-3)


@pytest.mark.parametrize("process", [VP(), VE(0.1, 10.0), Flow()], ids=repr)
def test_probability_flow_moves_every_path_to_its_quantile(process):
    """On a Gaussian the flow keeps (x - mean) / sd of every path."""
    t0, (m1, v1) = 1e-3, law(process, process.t1)
    z = np.linspace(-3, 3, 7)[:, None]
    sde = process.probability_flow(scalar_score(process))
    run = sf.simulate(
        sde, x0=m1 + math.sqrt(v1) * z, t1=process.t1 - t0, n_steps=2000, n_paths=7, seed=0, method="heun"
    )
    m0, v0 = law(process, t0)
    np.testing.assert_allclose(run.x[0], m0 + math.sqrt(v0) * z, atol=1e-4)


@pytest.mark.parametrize("process", [VP(), VE(0.01, 20.0), Flow()], ids=repr)
def test_reverse_sde_keeps_the_weights_of_modes(process):
    """Modes at -4 and 4 of weights 0.2 and 0.8: weight, mean and variance at z < 5."""
    n, w, m, sd = 20_000, 0.8, 4.0, 0.3

    def score(t, x):
        a, v = process.alpha(t), process.alpha(t) ** 2 * sd**2 + process.sigma(t) ** 2
        # the weights at x of the two components are (1 +- r)/2
        r = sf.math.tanh(a * m * x[0] / v + 0.5 * math.log(w / (1 - w)))
        return ((a * m * r - x[0]) / v,)

    a, s = process.alpha(process.t1), process.sigma(process.t1)
    mode = np.where(sf.noise.uniforms(21, 1, n) < w, m, -m)
    x0 = a * mode + math.sqrt(a**2 * sd**2 + s**2) * sf.noise.normals(21, 1, n)
    t0 = 1e-4
    run = sf.simulate(process.reverse_sde(score), x0=x0.T, t1=process.t1 - t0, n_steps=2000, n_paths=n, seed=22)
    x = run.x[0, :, 0]
    sampled = (x > 0).mean()
    assert abs(sampled - w) < 5 * math.sqrt(w * (1 - w) / n)
    mean, variance = (2 * w - 1) * m, sd**2 + 4 * w * (1 - w) * m**2
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n)
    spread = math.sqrt(np.mean(((x - mean) ** 2 - variance) ** 2) / n)
    assert abs(x.var() - variance) < 5 * spread
    for sign in (1, -1):
        inside = x[sign * x > 0]
        assert abs(inside.var() / sd**2 - 1) < 5 * math.sqrt(2 / len(inside)) + 0.02  # + the scheme's bias


def test_score_with_parameters():
    """Other values of parameters give other laws; two components at once."""
    vp = VP()

    def score(t, x, p):
        a, s = vp.alpha(t), vp.sigma(t)
        return tuple(-(c - a * m) / (a * a * p.v + s * s) for c, m in zip(x, (p.m, -p.m), strict=True))

    sde = vp.reverse_sde(score, 2, params={"m": 0.7, "v": 0.25})
    drift, strength = sde.rates(0.25, [0.3, 0.4])
    t = 0.75
    for i, (c, m) in enumerate([(0.3, 0.7), (0.4, -0.7)]):
        mean, v = law(vp, t, m)
        assert drift[i] == pytest.approx(vp.beta(t) * (-(c - mean) / v + 0.5 * c), rel=1e-12)
        assert strength[i] == pytest.approx(math.sqrt(vp.beta(t)), rel=1e-14)
    flow = vp.probability_flow(score, 2, params={"m": 0.7, "v": 0.25})
    drift, strength = flow.rates(0.25, [0.3, 0.4])
    mean, v = law(vp, t)
    assert drift[0] == pytest.approx(0.5 * vp.beta(t) * (-(0.3 - mean) / v + 0.3), rel=1e-12)
    assert list(strength) == [0, 0]


@pytest.mark.parametrize("given", PREDICTIONS)
@pytest.mark.parametrize("wanted", PREDICTIONS)
@pytest.mark.parametrize(("alpha", "sigma"), [(0.6, 0.8), (1.0, 7.0), (0.9, 0.1)])
def test_conversions(given, wanted, alpha, sigma):
    x0, eps = np.array([[0.5, -2.0], [3.0, 0.0]]), np.array([[1.0, 0.3], [-0.4, 2.0]])
    said = {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0, "score": -eps / sigma, "flow": eps - x0}
    x = alpha * x0 + sigma * eps
    found = convert(said[given], x, alpha, sigma, given=given, wanted=wanted)
    np.testing.assert_allclose(found, said[wanted], rtol=1e-12, atol=1e-13)
    for_each = convert(said[given], x, np.full(2, alpha), np.full(2, sigma), given=given, wanted=wanted)
    np.testing.assert_array_equal(for_each, found)


def test_conversions_of_tensors_and_times():
    torch = pytest.importorskip("torch")
    x, eps = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    t = torch.tensor([0.1, 0.5, 0.9])
    back = VP().convert(VP().convert(eps, x, t, given="eps", wanted="v"), x, t, given="v", wanted="eps")
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, eps)


@pytest.mark.parametrize(
    ("alpha", "sigma", "given", "wanted"),
    [(0.0, 1.0, "eps", "x0"), (0.0, 1.0, "score", "v"), (1.0, 0.0, "x0", "eps"), (1.0, 0.0, "v", "score")],
)
def test_undefined_conversions(alpha, sigma, given, wanted):
    with pytest.raises(ValueError, match=f"undefined where {'alpha' if alpha == 0 else 'sigma'} is 0"):
        convert(1.0, 1.0, alpha, sigma, given=given, wanted=wanted)


def test_alpha_zero_with_v():
    assert convert(-1.5, 0.3, 0.0, 1.0, given="v", wanted="x0") == 1.5
    assert convert(-1.5, 0.3, 0.0, 1.0, given="v", wanted="eps") == 0.3


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: VP(-1.0), ValueError, "beta_min"),
        (lambda: VP(2.0, 1.0), ValueError, "beta_min must not exceed beta_max"),
        (lambda: VE(0.0, 1.0), ValueError, "sigma_min must be positive"),
        (lambda: VE(1.0, 1.0), ValueError, "sigma_min must be smaller"),
        (lambda: VP("a"), TypeError, "beta_min"),
        (lambda: Flow().reverse_sde(lambda t, x: x, t1=1.0), ValueError, "below 1 for Flow"),
        (lambda: VP().reverse_sde(lambda t, x: x, t1=1.5), ValueError, "t1"),
        (lambda: VP().reverse_sde(lambda t, x: x, t1=0.0), ValueError, "t1 must be positive"),
        (lambda: VP().reverse_sde(1.0), TypeError, "score must be a function"),
        (lambda: VP().reverse_sde(lambda t: t), TypeError, "score must be a function of"),
        (lambda: VP().reverse_sde(lambda x, p: x, params={"m": 1.0}), TypeError, "score must be a function of"),
        (lambda: VP().reverse_sde(lambda t, x: (x[0], x[0])), sf.TraceError, "score must return 1 number, got 2"),
        (lambda: VP().probability_flow(lambda t, x: x[0], 3), sf.TraceError, "score must return 3 numbers, got 1"),
        (lambda: VP().marginal(np.ones(3), np.ones(2)), ValueError, "one per sample"),
        (lambda: VP().prior(0.0, np.ones((2, 3))), ValueError, "square matrix"),
        (lambda: VP().convert(1.0, 1.0, 0.5, given="epsilon", wanted="x0"), ValueError, "did you mean 'eps'"),
    ],
)
def test_bad_inputs(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_processes_are_values():
    assert VP() == VP(0.1, 20.0) != VP(0.1, 19.0)
    assert pickle.loads(pickle.dumps(VE(0.3, 5.0))) == VE(0.3, 5.0)
    assert repr(Flow()) == "Flow()"


def test_torch_is_not_imported():
    code = "import sdefast.diffusion.likelihood, sdefast.diffusion.bound, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
