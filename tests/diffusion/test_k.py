"""k-diffusion's names: signatures, samplers and sigmas as there, exact laws, noise by number, what is refused."""

from __future__ import annotations

import inspect
from itertools import count, pairwise

import numpy as np
import pytest
from conftest import python

from sdefast import diffusion
from sdefast.diffusion import k

torch = pytest.importorskip("torch")

#: name -> arguments after x and sigmas with their defaults, as k-diffusion has them
COMMON = {"extra_args": None, "callback": None, "disable": None}
CHURN = {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": float("inf"), "s_noise": 1.0}
NOISY = {"eta": 1.0, "s_noise": 1.0, "noise_sampler": None}
SAMPLERS = {
    "sample_euler": CHURN,
    "sample_euler_ancestral": NOISY,
    "sample_heun": CHURN,
    "sample_dpmpp_2m": {},
    "sample_dpmpp_2m_sde": {**NOISY, "solver_type": "midpoint"},
    "sample_dpmpp_3m_sde": NOISY,
}
SIGMAS = {
    "get_sigmas_karras": {"n": ..., "sigma_min": ..., "sigma_max": ..., "rho": 7.0, "device": "cpu"},
    "get_sigmas_exponential": {"n": ..., "sigma_min": ..., "sigma_max": ..., "device": "cpu"},
    "get_sigmas_polyexponential": {"n": ..., "sigma_min": ..., "sigma_max": ..., "rho": 1.0, "device": "cpu"},
    "get_sigmas_vp": {"n": ..., "beta_d": 19.9, "beta_min": 0.1, "eps_s": 1e-3, "device": "cpu"},
    "append_zero": {"x": ...},
}

VARIANCE, MEAN = 0.25, 0.7


def model(x, sigma, mean=0.0):
    """The ideal one for data N(mean, 1/4)."""
    return mean + (x - mean) * (VARIANCE / (VARIANCE + sigma.reshape(-1, *[1] * (x.ndim - 1)) ** 2))


def positional(name):
    """Arguments that are not keywords alone, and their defaults."""
    found = inspect.signature(getattr(k, name)).parameters.values()
    kinds = [p for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
    return {p.name: ... if p.default is p.empty else p.default for p in kinds}


def test_signatures_are_those_of_k_diffusion():
    for name, own in SAMPLERS.items():
        want = {"model": ..., "x": ..., "sigmas": ..., **COMMON, **own}
        assert list(positional(name).items()) == list(want.items()), name
    for name, want in SIGMAS.items():
        assert list(positional(name).items()) == list(want.items()), name
    assert sorted([*SAMPLERS, *SIGMAS]) == k.__all__


# Sigmas --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "formula"),
    [
        (lambda d: k.get_sigmas_karras(5, 0.02, 80.0, rho=5.0, device=d),
         lambda r: (80**0.2 + r * (0.02**0.2 - 80**0.2)) ** 5),
        (lambda d: k.get_sigmas_exponential(5, 0.02, 80.0, device=d), lambda r: 80 * (0.02 / 80) ** r),
        (lambda d: k.get_sigmas_polyexponential(5, 0.02, 80.0, 2.0, d), lambda r: 0.02 * 4000 ** ((1 - r) ** 2)),
        (lambda d: k.get_sigmas_vp(5, 19.0, 0.2, 1e-2, d),
         lambda r: np.sqrt(np.exp(9.5 * (1 - 0.99 * r) ** 2 + 0.2 * (1 - 0.99 * r)) - 1)),
    ],
    ids=["karras", "exponential", "polyexponential", "vp"],
)  # fmt: skip
def test_sigmas(made, formula):
    want = np.append(formula(np.linspace(0, 1, 5)), 0.0)
    np.testing.assert_allclose(made(None), want, rtol=1e-12)
    tensor = made("cpu")
    assert tensor.dtype == torch.float32
    assert (tensor.numpy() == made(None).astype(np.float32)).all()


def test_zero_is_appended_to_either_kind():
    assert k.append_zero(torch.tensor([2.0, 1.0])).tolist() == [2.0, 1.0, 0.0]
    assert k.append_zero(np.array([2.0, 1.0], np.float32)).dtype == np.float32


# Laws ----------------------------------------------------------------------------------------------------------------


def exact_variance(sampler, sigmas, **options):
    """Of what N(0, 1/4 + sigma_0^2) becomes: by linearity from a start of 1, and from each noise of 1."""
    noisy = "noise_sampler" in inspect.signature(sampler).parameters
    draws = count()
    kinds = {"noise_sampler": lambda s, to: np.full((1, 1), float(next(draws) == j))} if noisy else {}
    total = 0.0
    for j in range(-1, len(sigmas) if noisy else 0):
        draws = count()
        y = sampler(model, np.full((1, 1), float(j < 0)), sigmas, **kinds, **options)
        total += float(y[0, 0]) ** 2 * (VARIANCE + sigmas[0] ** 2 if j < 0 else 1.0)
    return total


@pytest.mark.parametrize(
    ("name", "n", "want"),
    [
        ("sample_euler", 10, 0.142580), ("sample_heun", 10, 0.342004), ("sample_dpmpp_2m", 10, 0.291034),
        ("sample_euler_ancestral", 10, 0.098188), ("sample_dpmpp_2m_sde", 10, 0.282244),
        ("sample_euler", 20, 0.191389), ("sample_heun", 20, 0.266953), ("sample_dpmpp_2m", 20, 0.266975),
        ("sample_euler_ancestral", 20, 0.150958), ("sample_dpmpp_2m_sde", 20, 0.288098),
        ("sample_dpmpp_3m_sde", 10, 0.802457), ("sample_dpmpp_3m_sde", 20, 0.292956),
    ],
)  # fmt: skip
def test_variances_are_exact(name, n, want):
    assert abs(exact_variance(getattr(k, name), k.get_sigmas_karras(n, 0.02, 80.0, device=None)) - want) < 6e-7


# k-diffusion's own loops ---------------------------------------------------------------------------------------------


def plain_churned(x, sigmas, z, order, s_churn, s_tmin, s_tmax, s_noise):
    """sample_euler and sample_heun."""
    for i, (sigma, to) in enumerate(pairwise(sigmas)):
        gamma = min(s_churn / (len(sigmas) - 1), 2**0.5 - 1) if s_tmin <= sigma <= s_tmax else 0.0
        hat = sigma * (gamma + 1)
        if gamma > 0:
            x = x + z(i) * s_noise * (hat**2 - sigma**2) ** 0.5
        d = (x - at(x, hat)) / hat
        if order == 2 and to > 0:
            y = x + d * (to - hat)
            d = (d + (y - at(y, to)) / to) / 2
        x = x + d * (to - hat)
    return x


def plain_ancestral(x, sigmas, z, eta, s_noise):
    """sample_euler_ancestral."""
    for i, (sigma, to) in enumerate(pairwise(sigmas)):
        up = min(to, eta * (to**2 * (sigma**2 - to**2) / sigma**2) ** 0.5)
        down = (to**2 - up**2) ** 0.5
        x = x + (x - at(x, sigma)) / sigma * (down - sigma)
        x = x + z(i) * s_noise * up if to > 0 else x
    return x


def plain_2m(x, sigmas, z, eta=0.0, s_noise=1.0, solver_type="midpoint"):
    """sample_dpmpp_2m_sde; sample_dpmpp_2m without noise."""
    old = last = None
    for i, (sigma, to) in enumerate(pairwise(sigmas)):
        D = at(x, sigma)
        if to == 0:
            return D
        h = np.log(sigma / to)
        grown = -np.expm1(-h - eta * h)
        x = to / sigma * np.exp(-eta * h) * x + grown * D
        if old is not None and solver_type == "midpoint":
            x = x + 0.5 * grown * h / last * (D - old)
        elif old is not None:
            x = x + (grown / (-h - eta * h) + 1) * h / last * (D - old)
        x = x + z(i) * to * np.sqrt(-np.expm1(-2 * eta * h)) * s_noise
        old, last = D, h
    return x


def plain_3m(x, sigmas, z, eta=1.0, s_noise=1.0):
    """sample_dpmpp_3m_sde."""
    seen, hs = [], []
    for i, (sigma, to) in enumerate(pairwise(sigmas)):
        D = at(x, sigma)
        if to == 0:
            return D
        h = np.log(sigma / to)
        k = h * (eta + 1)
        x = np.exp(-k) * x - np.expm1(-k) * D
        phi_2 = np.expm1(-k) / k + 1
        if len(seen) == 1:
            x = x + phi_2 * (D - seen[0]) * h / hs[0]
        elif seen:
            r0, r1 = hs[-1] / h, hs[-2] / h
            d, e = (D - seen[-1]) / r0, (seen[-1] - seen[-2]) / r1
            x = x + phi_2 * (d + (d - e) * r0 / (r0 + r1)) - (phi_2 / k - 0.5) * (d - e) / (r0 + r1)
        x = x + z(i) * to * np.sqrt(-np.expm1(-2 * eta * h)) * s_noise
        seen, hs = [*seen, D], [*hs, h]
    return x


def at(x, sigma):
    """A model that is not linear."""
    return np.tanh(x / (1 + sigma)) + 0.1


CHURNED = {"s_churn": 3.0, "s_tmin": 0.1, "s_tmax": 20.0, "s_noise": 1.01}
LOOPS = [
    ("sample_euler", lambda *a: plain_churned(*a, 1, **CHURNED), CHURNED),
    ("sample_heun", lambda *a: plain_churned(*a, 2, **CHURNED), CHURNED),
    ("sample_euler_ancestral", lambda *a: plain_ancestral(*a, 0.6, 1.1), {"eta": 0.6, "s_noise": 1.1}),
    ("sample_dpmpp_2m", plain_2m, {}),
    ("sample_dpmpp_2m_sde", lambda *a: plain_2m(*a, 1.0), {}),
    ("sample_dpmpp_2m_sde", lambda *a: plain_2m(*a, 0.4, 0.9, "heun"),
     {"eta": 0.4, "s_noise": 0.9, "solver_type": "heun"}),
    ("sample_dpmpp_3m_sde", lambda *a: plain_3m(*a, 1.0), {}),
    ("sample_dpmpp_3m_sde", lambda *a: plain_3m(*a, 0.4, 0.9), {"eta": 0.4, "s_noise": 0.9}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "plain", "options"), LOOPS, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("end", [0.0, 0.3])
def test_loops_are_those_of_k_diffusion_on_equal_noise(name, plain, options, end):
    sigmas = np.append(k.get_sigmas_karras(8, 0.5, 30.0, device=None)[:-1], end)
    x = sigmas[0] * diffusion.randn_like(np.empty((5, 3, 7)), seed=1)
    have = getattr(k, name)(lambda x, sigma: at(x, sigma[:, None, None]), x, sigmas, **options, seed=9, first_sample=2)
    want = plain(x, sigmas, lambda i: diffusion.randn_like(x, seed=9, step=len(sigmas) - 2 - i, first_sample=2))
    np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-12)


# What is handed in and out -------------------------------------------------------------------------------------------

SHORT = k.get_sigmas_karras(6, 0.05, 10.0)
X = diffusion.randn_like(torch.empty(4, 3, 6, 6), seed=5) * 10


@pytest.mark.parametrize("name", SAMPLERS)
def test_callbacks_are_told_once_a_step(name):
    """Before the update; what they are told stays, and so does x."""
    told, where, before = [], [], X.clone()

    def watched(x, sigma):
        where.append((x.clone(), sigma))
        return model(x, sigma)

    getattr(k, name)(watched, X, SHORT, callback=told.append)
    assert (before == X).all()
    assert [d["i"] for d in told] == list(range(6))
    assert all(list(d) == ["x", "i", "sigma", "sigma_hat", "denoised"] for d in told)
    each = {"sample_heun": 2}.get(name, 1)
    for d, (x, sigma) in zip(told, where[::each], strict=True):
        assert (d["x"] == x).all()
        assert (d["denoised"] == model(x, sigma)).all()
        assert d["sigma"] == d["sigma_hat"] == SHORT[d["i"]]
        assert sigma.shape == (4,)
        assert sigma.dtype == torch.float32
        assert (sigma == d["sigma"]).all()
    assert len(where) == 6 * each - (each == 2)  # the last step is Euler's


def test_sigma_hat_has_the_noise_that_was_added():
    told = []
    k.sample_heun(model, X, SHORT, None, told.append, True, 3.0, 0.1, 5.0)
    hat = [float(d["sigma_hat"] / d["sigma"]) for d in told]
    inside = [0.1 <= s <= 5.0 for s in SHORT[:-1].tolist()]
    np.testing.assert_allclose(hat, np.where(inside, 2**0.5, 1.0), rtol=1e-6)
    assert sum(inside) == 4


@pytest.mark.parametrize("name", [name for name, own in SAMPLERS.items() if own])
def test_samples_do_not_depend_on_their_batch(name):
    f, options = getattr(k, name), {"s_churn": 2.0} if "s_churn" in SAMPLERS[name] else {}
    state = torch.get_rng_state()
    whole = f(model, X, SHORT, seed=3, **options)
    assert (f(model, X[2:], SHORT, seed=3, first_sample=2, **options) == whole[2:]).all()
    each = f(model, X, SHORT, seed=[11, 12, 13, 14], **options)
    assert (f(model, X[2:3], SHORT, seed=[torch.Generator().manual_seed(13)], **options) == each[2:3]).all()
    assert (f(model, X, SHORT, seed=torch.Generator().manual_seed(3), **options) == whole).all()
    assert (f(model, X, SHORT, seed=4, **options) != whole).any()
    assert (torch.get_rng_state() == state).all()


def test_arrays_and_tensors_have_the_same_bits():
    for name in SAMPLERS:
        f = getattr(k, name)
        for dtype in (torch.float32, torch.float64):
            x, sigmas = X.to(dtype), SHORT.to(dtype)
            linear = lambda x, sigma: x * 0.25  # noqa: E731
            y, z = f(linear, x, sigmas), f(linear, x.numpy(), sigmas.numpy())
            assert (y.dtype, type(z)) == (dtype, np.ndarray)
            assert (y.numpy() == z).all(), name
    turned = X.to(memory_format=torch.channels_last)
    assert (k.sample_euler(model, turned, SHORT) == k.sample_euler(model, X, SHORT)).all()


@pytest.mark.parametrize("name", ["sample_euler_ancestral", "sample_dpmpp_2m_sde", "sample_dpmpp_3m_sde"])
def test_noise_samplers_are_asked_where_there_is_noise(name):
    f, asked = getattr(k, name), []

    def noise(sigma, sigma_next):
        asked.append((sigma, sigma_next))
        return torch.zeros_like(X)

    silent = f(model, X, SHORT, noise_sampler=noise)
    assert all(torch.is_tensor(s) for pair in asked for s in pair)
    assert asked == list(pairwise(SHORT))[:-1]  # never into 0
    asked.clear()
    assert (f(model, X, SHORT, noise_sampler=noise, s_noise=0.0) == silent).all()
    f(model, X, SHORT, noise_sampler=noise, eta=0.0)
    assert not asked
    numbers = iter(range(1, 9))
    same = f(model, X, SHORT, noise_sampler=diffusion.noise_sampler(X, seed=8))
    own = f(model, X, SHORT, noise_sampler=lambda *sigmas: diffusion.randn_like(X, seed=8, step=next(numbers)))
    assert (same == own).all()


def test_arguments_of_the_model():
    y = k.sample_dpmpp_2m(model, X, SHORT, extra_args={"mean": 100.0})
    assert float(y.mean()) > 90


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "model must be callable", lambda: k.sample_euler(None, X, SHORT)),
        (TypeError, "noise_sampler must be", lambda: k.sample_euler_ancestral(model, X, SHORT, noise_sampler=1)),
        (TypeError, "callback must be callable", lambda: k.sample_heun(model, X, SHORT, callback=[])),
        (TypeError, "extra_args must be a dict", lambda: k.sample_heun(model, X, SHORT, extra_args=[1])),
        (TypeError, "x must be an array of numpy or a tensor", lambda: k.sample_euler(model, [1.0], SHORT)),
        (TypeError, "x must be float32 or float64", lambda: k.sample_euler(model, X.half(), SHORT)),
        (TypeError, "noise must have the type of x",
         lambda: k.sample_euler_ancestral(model, X, SHORT, noise_sampler=lambda s, to: X.double())),
        (TypeError, "disable must be", lambda: k.sample_euler(model, X, SHORT, disable=2)),
        (ValueError, "solver_type must be", lambda: k.sample_dpmpp_2m_sde(model, X, SHORT, solver_type="euler")),
        (ValueError, "sigmas must decrease", lambda: k.sample_euler(model, X, SHORT.flip(0))),
        (ValueError, "seed must be one number, or one for each of the 4",
         lambda: k.sample_euler(model, X, SHORT, seed=[1])),
        (ValueError, "sigma_min must be smaller", lambda: k.get_sigmas_karras(5, 80.0, 0.02)),
        (ValueError, "sigma_min must be smaller", lambda: k.get_sigmas_exponential(5, 80.0, 0.02)),
        (FloatingPointError, "not finite at timestep 10, in sample 2",
         lambda: k.sample_euler(lambda x, s: x * torch.tensor([1, 1, float("nan"), 1])[:, None, None, None], X, SHORT)),
    ],
)  # fmt: skip
def test_what_is_refused(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_without_torch():
    """The module is imported when it is used, and torch never."""
    code = """
import sys, numpy as np, sdefast as sf
sf.diffusion.plan
assert "sdefast.diffusion.k" not in sys.modules
sigmas = sf.diffusion.k.get_sigmas_karras(4, 0.1, 10.0, device=None)
print(sf.diffusion.k.sample_heun(lambda x, s: 0 * x, np.ones((1, 2)), sigmas), "torch" in sys.modules)
"""
    assert python(code).strip() == "[[0. 0.]] False"
