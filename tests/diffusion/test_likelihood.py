"""Likelihoods by the probability flow against exact densities; figures in bits are log2."""

import sys

import numpy as np
import pytest
from conftest import thorough_but
from diffusion.gaussian_data import MEAN, VARIANCE, array_score, law, log_density

from sdefast.diffusion.divergence import along_probes
from sdefast.diffusion.likelihood import log_likelihood
from sdefast.diffusion.predictions import PREDICTIONS
from sdefast.diffusion.processes import VE, VP, Flow

BIT = np.log(2.0)
X = np.array([-0.5, 0.3, 0.7, 1.9, 3.0])
C = np.array([[0.5, 0.3, 0.0], [0.3, 0.4, 0.1], [0.0, 0.1, 0.2]])
M = np.array([0.2, -0.4, 1.0])


@pytest.mark.parametrize("process", [VP(), VE(), VE(0.01, 5.0), Flow()], ids=repr)
@pytest.mark.parametrize("t0", thorough_but([1e-5], [1e-5, 1e-3]))
def test_exact_with_the_exact_prior(process, t0):
    prior = process.prior(MEAN, VARIANCE)
    found = log_likelihood(array_score(process), process, X, prior=prior, t0=t0)
    assert np.abs(found - log_density(process, X, t0)).max() < 2e-8 * BIT
    assert found.dtype == np.float64
    assert found.shape == (5,)


@pytest.mark.parametrize(("t0", "bits"), [(1e-5, 8e-6), (1e-3, 9e-4)])
def test_what_t0_costs(t0, bits):
    """Against the density of the data, at x = 1.9."""
    vp = VP()
    found = log_likelihood(array_score(vp), vp, X, prior=vp.prior(MEAN, VARIANCE), t0=t0)
    off = (found - log_density(vp, X, 0.0)) / BIT
    assert off[3] == pytest.approx(bits, rel=0.05)


def test_what_the_standard_normal_costs():
    vp = VP()
    off = (log_likelihood(array_score(vp), vp, X) - log_density(vp, X, 0.0)) / BIT
    assert abs(off[3]) == pytest.approx(1.6e-2, rel=0.02)


def test_centred_data_under_the_standard_normal():
    """The variance that is off by 3.2e-5 at t1 costs less than 1e-4 bits, but further out than 2 sd."""
    vp, x = VP(), np.array([0.0, 0.5, 1.0, 1.9])
    off = (log_likelihood(array_score(vp, mean=0.0), vp, x) - log_density(vp, x, 0.0, mean=0.0)) / BIT
    assert np.abs(off[:3]).max() < 1e-4
    assert off[3] == pytest.approx(3.4e-4, rel=0.02)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_predictions(prediction):
    vp = VP()

    def model(x, t):
        return vp.convert(array_score(vp)(x, t), x, float(t[0]), given="score", wanted=prediction)

    found = log_likelihood(model, vp, X, prediction=prediction, prior=vp.prior(MEAN, VARIANCE))
    np.testing.assert_allclose(found, log_density(vp, X, 1e-5), atol=1e-6 * BIT)


def correlated(process):
    """Score and its divergence for N(M, C)."""

    def precision(t):
        a, s = process.alpha(float(t[0])), process.sigma(float(t[0]))
        return a * M, np.linalg.inv(a**2 * C + s**2 * np.eye(3))

    def score(x, t):
        m, P = precision(t)
        return -(x - m) @ P

    return score, lambda x, t: np.full(len(x), -np.trace(precision(t)[1]))


def correlated_density(x, process, t):
    a, s = process.alpha(t), process.sigma(t)
    S = a**2 * C + s**2 * np.eye(3)
    away = x - a * M
    return -0.5 * (np.einsum("ni,ij,nj->n", away, np.linalg.inv(S), away) + np.linalg.slogdet(2 * np.pi * S)[1])


POINTS = np.array([[0.0, 0.1, 0.2], [1.0, -1.0, 0.5], [-0.3, 0.0, 2.0]])


@pytest.mark.parametrize("process", [VP(), VE(0.1, 10.0), Flow()], ids=repr)
def test_correlated_components(process):
    """Exact trace by differences, an analytic divergence, a matrix as the prior's covariance and a prior as code."""
    score, divergence = correlated(process)
    want = correlated_density(POINTS, process, 1e-5)
    prior = process.prior(M, C)
    for given in (None, divergence):
        found = log_likelihood(score, process, POINTS, prior=prior, divergence=given)
        assert np.abs(found - want).max() < 1e-7 * BIT
    coded = log_likelihood(score, process, POINTS, prior=lambda x: correlated_density(x, process, process.t1))
    assert np.abs(coded - want).max() < 1e-7 * BIT


def test_shapes_mean_nothing():
    vp = VP()
    score, _ = correlated(vp)
    folded = log_likelihood(lambda x, t: score(x.reshape(3, 3), t).reshape(3, 1, 3), vp, POINTS[:, None, :])
    np.testing.assert_array_equal(folded, log_likelihood(score, vp, POINTS))


def test_two_modes():
    """Not a Gaussian: modes at -2 and 2, weights 0.3 and 0.7."""
    vp = VP()
    w, m, v = np.array([0.3, 0.7]), np.array([-2.0, 2.0]), 0.16

    def terms(x, t):
        a, s = vp.alpha(t), vp.sigma(t)
        spread = a**2 * v + s**2
        return np.log(w) - 0.5 * (x[:, None] - a * m) ** 2 / spread - 0.5 * np.log(2 * np.pi * spread), a * m, spread

    def score(x, t):
        log, means, spread = terms(x, float(t[0]))
        share = np.exp(log - np.logaddexp.reduce(log, axis=1)[:, None])
        return (share * (means - x[:, None])).sum(axis=1) / spread

    def density(x, t):
        return np.logaddexp.reduce(terms(x, t)[0], axis=1)

    x = np.linspace(-3, 3, 7)
    found = log_likelihood(score, vp, x, prior=lambda x: density(x, 1.0))
    assert np.abs(found - density(x, 1e-5)).max() < 1e-6 * BIT
    assert np.abs(found - density(x, 0.0)).max() < 5e-4 * BIT


def test_hutchinson_is_unbiased():
    """The same point under 4000 independent probes: the mean of the log-likelihoods at z < 5."""
    vp, n = VP(), 4000
    score, _ = correlated(vp)
    x = np.tile(POINTS[1], (n, 1))
    found = log_likelihood(score, vp, x, prior=vp.prior(M, C), trace="hutchinson", seed=5, rtol=1e-6, atol=1e-6)
    want = correlated_density(POINTS[1:2], vp, 1e-5)[0]
    assert found.std() > 0.1
    assert abs(found.mean() - want) < 5 * found.std() / np.sqrt(n)
    four = log_likelihood(
        score, vp, x, prior=vp.prior(M, C), trace="hutchinson", seed=6, n_probes=4, rtol=1e-6, atol=1e-6
    )
    assert abs(four.mean() - want) < 5 * four.std() / np.sqrt(n)
    assert four.var() / found.var() == pytest.approx(0.25, rel=0.2)


def test_probes_do_not_depend_on_the_batch():
    vp = VP()
    score, _ = correlated(vp)
    every = log_likelihood(score, vp, POINTS, trace="hutchinson", seed=9)
    last = log_likelihood(score, vp, POINTS[2:], trace="hutchinson", seed=9, first_sample=2)
    np.testing.assert_allclose(last, every[2:], atol=1e-7)
    other = log_likelihood(score, vp, POINTS, trace="hutchinson", seed=10)
    assert np.abs(other - every).max() > 1e-2


def test_a_quadratic_form_along_signs():
    """In one dimension Hutchinson's trace is exact."""
    vp = VP()
    prior = vp.prior(MEAN, VARIANCE)
    found = log_likelihood(array_score(vp), vp, X, prior=prior, trace="hutchinson")
    assert np.abs(found - log_density(vp, X, 1e-5)).max() < 2e-8 * BIT


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_tensors(trace):
    torch = pytest.importorskip("torch")
    vp = VP()
    score, _ = correlated(vp)
    want = log_likelihood(score, vp, POINTS, trace=trace, prior=vp.prior(M, C))

    def model(x, t):
        a, s = vp.alpha(float(t[0])), vp.sigma(float(t[0]))
        P = torch.linalg.inv(a**2 * torch.tensor(C) + s**2 * torch.eye(3, dtype=torch.float64))
        return (-(x - a * torch.tensor(M)) @ P).to(x.dtype)

    x = torch.tensor(POINTS)
    found = log_likelihood(model, vp, x, trace=trace, prior=vp.prior(M, C))
    assert found.dtype == torch.float64
    assert not found.requires_grad
    np.testing.assert_allclose(found.numpy(), want, atol=1e-8)

    def single(x, t):
        assert x.dtype == t.dtype == torch.float32
        return model(x.double(), t).float()

    rough = log_likelihood(single, vp, x.float(), trace=trace, prior=vp.prior(M, C))
    np.testing.assert_allclose(rough.numpy(), want, atol=1e-3)


def test_tensors_do_not_follow_gradients_of_the_network():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    x = torch.randn(4, 2)
    found = log_likelihood(lambda x, t: net(x), VP(), x, prediction="eps")
    assert torch.isfinite(found).all()
    assert all(p.grad is None for p in net.parameters())
    double = net.double()
    exact = log_likelihood(lambda x, t: double(x), VP(), x.double(), prediction="eps")
    numpy = log_likelihood(
        lambda x, t: double(torch.tensor(x)).detach().numpy(), VP(), x.double().numpy(), prediction="eps"
    )
    np.testing.assert_allclose(exact.numpy(), numpy, atol=1e-6)  # differences in numpy against autograd
    np.testing.assert_allclose(found.numpy(), numpy, atol=1e-2)


def test_constant_models_have_no_divergence():
    torch = pytest.importorskip("torch")
    ve = VE(0.1, 10.0)
    x = torch.zeros(2, 3, dtype=torch.float64)
    found = log_likelihood(lambda x, t: torch.zeros_like(x), ve, x)
    want = -1.5 * np.log(2 * np.pi * ve.sigma(1.0) ** 2)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-10)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"process": "vp"}, TypeError, "process must be"),
        ({"model": 3}, TypeError, "model must be a function"),
        ({"x": np.zeros((0, 2))}, ValueError, "at least one sample"),
        ({"x": np.array(1.0)}, ValueError, "at least one sample"),
        ({"x": np.array([1.0, np.nan])}, ValueError, "x must be finite"),
        ({"t0": 0.0}, ValueError, "t0 must be positive"),
        ({"t0": 0.5, "t1": 0.5}, ValueError, "t0 must be smaller than t1"),
        ({"process": Flow(), "t1": 1.0}, ValueError, "below 1 for Flow"),
        ({"trace": "exakt"}, ValueError, "did you mean 'exact'"),
        ({"prediction": "epsilon"}, ValueError, "did you mean 'eps'"),
        ({"method": "RK4"}, ValueError, "method must be one of"),
        ({"rtol": 0.0}, ValueError, "rtol must be positive"),
        ({"n_probes": 0, "trace": "hutchinson"}, ValueError, "n_probes"),
        ({"seed": -1, "trace": "hutchinson"}, ValueError, "seed"),
        ({"divergence": 2.0}, TypeError, "divergence must be a function"),
        ({"divergence": lambda x, t: np.zeros(2)}, ValueError, "divergence must return 5 numbers"),
        ({"prior": 1.0}, TypeError, "prior must be a function of x, or a pair"),
        ({"prior": lambda x: 0.0}, ValueError, "prior must return 5 numbers"),
        ({"prior": (0.0, 0.0)}, ValueError, "positive definite"),
        ({"prior": (0.0, -1.0)}, ValueError, "positive definite"),
        ({"x": POINTS, "prior": (0.0, np.ones((3, 3)))}, ValueError, "positive definite"),
        ({"prior": (np.zeros(2), 1.0)}, ValueError, "prior's mean must be one number or 1"),
        ({"prior": (0.0, np.ones(2))}, ValueError, "prior's covariance must be"),
        ({"model": lambda x, t: x[:2]}, ValueError, "returned shape \\(2,\\) for x of shape \\(5,\\)"),
        ({"model": lambda x, t: np.where(x > 2, np.nan, x)}, ValueError, "NaN or infinity at t = 1e-05, for sample 4"),
    ],
)
def test_bad_inputs(changes, error, words):
    given = {"model": lambda x, t: -x, "process": VP(), "x": X, **changes}
    with pytest.raises(error, match=words):
        log_likelihood(given.pop("model"), given.pop("process"), given.pop("x"), **given)


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.integrate", None)
    with pytest.raises(ImportError, match=r"pip install 'sdefast\[stats\]'"):
        log_likelihood(lambda x, t: -x, VP(), X)


def test_a_law_that_the_process_keeps():
    """N(0, 1) is stationary under VP: the likelihood is the density whatever the times."""
    found = log_likelihood(lambda x, t: -x, VP(), X, t0=0.1, t1=0.6)
    np.testing.assert_allclose(found, -0.5 * X**2 - 0.5 * np.log(2 * np.pi), atol=1e-9)


@pytest.mark.parametrize("atol", [1e-4, 1e-12])
def test_a_hard_sample_among_easy_ones(atol):
    """One sample that moves among 999 that rest: its tolerances are its own."""
    ve = VE(0.01, 5.0)
    score, prior = array_score(ve), ve.prior(MEAN, VARIANCE)

    def model(x, t):
        return np.where(x > -9, score(x, t), 0.0)

    x = np.append(1.9, np.full(999, -10.0))
    want = log_density(ve, 1.9, 1e-5)
    found = log_likelihood(
        model, ve, x, prior=prior, divergence=lambda x, t: _slope(ve, x, t), rtol=1e-4, atol=atol, method="RK23"
    )
    alone = log_likelihood(score, ve, x[:1], prior=prior, rtol=1e-4, atol=atol, method="RK23")
    assert 1e-9 < abs(alone[0] - want) < 1e-2
    assert abs(found[0] - want) <= 2 * abs(alone[0] - want)


def _slope(process, x, t):
    return np.where(x > -9, -1 / law(process, float(t[0]))[1], 0.0)


def test_differences_along_signs_stay_within_the_scale():
    """Signs are sqrt(D) long: a model that varies on the scale sigma along them is differentiated all the same."""
    scale, size = 0.01, 400
    v = np.where(np.arange(size) % 3 == 0, 1.0, -1.0)
    u = v / np.sqrt(size)

    def model(x):
        return np.sin(x @ u / scale)[:, None] * u

    x = np.array([0.002 * u, 0.005 * u])
    out, found = along_probes(np.tile(v, (1, 2, 1)))(model, x, None, scale)
    np.testing.assert_array_equal(out, model(x))
    np.testing.assert_allclose(found, size * np.cos(x @ u / scale) / scale, rtol=1e-9)
