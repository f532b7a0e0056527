"""The library once more in plain numpy: slow, obvious, and sharing no code with it.

The first half is the noise contract of ``csrc/noise/stream.hpp``: words to the bit, uniforms to the bit, and normals
computed in higher precision from the very uniforms that the kernels round to. The second half is every model as
mathematics, drift and diffusion, with the Euler-Maruyama step and the exact transitions, in float64.
"""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import numpy as np

from sdefast.sde.models import CEV, CIR, BlackScholes, BrownianMotion, DoubleWell, Heston, LinearSDE, OrnsteinUhlenbeck

# --------------------------------------------------------------------------------------------------------------------
# Noise
# --------------------------------------------------------------------------------------------------------------------

WORDS_PER_SEGMENT = 1024
NORMALS, UNIFORMS, INTEGERS = 0, 1, 2  # streams

_LOW = 0xFFFFFFFF
_PI = np.longdouble("3.14159265358979323846264338327950288")


def philox4x32_10(key, counter):
    """Ten rounds of Philox4x32.

    ``key`` are two and ``counter`` four words, each an integer or an array of them; four uint32 arrays come back.
    """
    k0, k1 = (int(k) for k in key)
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.atleast_1d(np.asarray(c, np.uint64)) for c in counter))
    for _ in range(10):
        product0, product2 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        high0, low0 = product0 >> np.uint64(32), product0 & np.uint64(_LOW)
        high2, low2 = product2 >> np.uint64(32), product2 & np.uint64(_LOW)
        c0, c1, c2, c3 = high2 ^ c1 ^ np.uint64(k0), low2, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return tuple(c.astype(np.uint32) for c in (c0, c1, c2, c3))


def _rotate_left(x, k):
    return (x << np.uint32(k)) | (x >> np.uint32(32 - k))


def xoshiro128plusplus(state, n):
    """The first ``n`` words, shape (n, ...), of generators that start in ``state``, four uint32 arrays."""
    s0, s1, s2, s3 = (np.atleast_1d(np.asarray(s, np.uint32)) for s in state)
    words = np.empty((n, *s0.shape), np.uint32)
    for word in words:
        word[...] = _rotate_left(s0 + s3, 7) + s0
        t = s1 << np.uint32(9)
        s2, s3 = s2 ^ s0, s3 ^ s1
        s1, s0 = s1 ^ s2, s0 ^ s3
        s2, s3 = s2 ^ t, _rotate_left(s3, 11)
    return words


def words(seed, stream, chains, first_word, n):
    """Words ``first_word`` to ``first_word + n - 1`` of each of ``chains``, shape (n, len(chains)).

    Every segment of 1024 words is a generator of its own, keyed by Philox.
    """
    chains = np.atleast_1d(np.asarray(chains, np.uint64))
    first_segment, end = first_word // WORDS_PER_SEGMENT, first_word + n
    segments = []
    for segment in range(first_segment, -(-end // WORDS_PER_SEGMENT)):
        counter = segment, stream, chains & np.uint64(_LOW), chains >> np.uint64(32)
        state = philox4x32_10((seed & _LOW, seed >> 32), counter)
        segments.append(xoshiro128plusplus(state, min(WORDS_PER_SEGMENT, end - segment * WORDS_PER_SEGMENT)))
    skipped = first_word - first_segment * WORDS_PER_SEGMENT
    return np.concatenate([np.empty((0, len(chains)), np.uint32), *segments])[skipped : skipped + n]


class Polar(NamedTuple):
    """What Box-Muller makes normals of: radius r = sqrt(-2 log u), angle pi y / 2 and the sign of the cosine."""

    u: np.ndarray
    y: np.ndarray
    sign: np.ndarray


def polar32(radius, angle):
    """u and y of float32 normals, rounded to float32 as the kernels do.

    A word becomes a float32 first. The products then have at most 48 bits, so float64 holds both sums exactly and
    there is one more rounding, that of the kernels' fma.
    """
    u = radius.astype(np.float32).astype(np.float64) * float.fromhex("0x1.fffffep-33") + 2.0**-33
    y = _signed(angle).astype(np.float32).astype(np.float64) * float.fromhex("0x1.fffffcp-32") + 2.0**-32
    return Polar(u.astype(np.float32), y.astype(np.float32), _cosine_sign(angle))


def polar64(radius_high, radius_low, angle_high, angle_low):
    """u and y of float64 normals: sums of Python integers, which are exact, rounded once."""
    u = (radius_high >> np.uint32(1)).astype(object) * (2**53 - 1)
    u += (2 * _signed(radius_low).astype(object) + 1 + 2**32) * 2**20
    y = _signed(angle_high).astype(object) * (2**52 - 1)
    y += (2 * _signed(angle_low).astype(object) + 1 + 2**32) * 2**19
    return Polar(u.astype(np.float64) * 2.0**-84, y.astype(np.float64) * 2.0**-83, _cosine_sign(angle_low))


def _signed(words):
    """The words as signed 32-bit integers."""
    return words.view(np.int32).astype(np.int64)


def _cosine_sign(words):
    """The lowest bit as a sign."""
    return 1 - 2 * (words & np.uint32(1)).astype(np.int64)


def radius(polar, dtype):
    """r in the type ``dtype``, which should be wider than that of the draws."""
    return np.sqrt(-2 * np.log(polar.u.astype(dtype)))


def box_muller(polar, dtype):
    """The pair of normals in the type ``dtype``, which should be wider than that of the draws."""
    r, phi = radius(polar, dtype), polar.y.astype(dtype) * dtype(_PI / 2)
    return r * np.sin(phi), r * np.cos(phi) * polar.sign.astype(dtype)


def polar(seed, chains, first_pair, n_pairs, dtype):
    """The `Polar` of ``n_pairs`` pairs of normals, arrays of shape (n_pairs, n_chains)."""
    if np.dtype(dtype) == np.float32:
        w = words(seed, NORMALS, chains, 2 * first_pair, 2 * n_pairs)
        return polar32(w[0::2], w[1::2])
    w = words(seed, NORMALS, chains, 4 * first_pair, 4 * n_pairs)
    return polar64(w[0::4], w[1::4], w[2::4], w[3::4])


def wider(dtype):
    """The type in which the reference computes: float64 for float32 draws, longdouble for float64."""
    return np.float64 if np.dtype(dtype) == np.float32 else np.longdouble


def normals(seed, n_draws, chains=0, first_draw=0, dtype="float64"):
    """Normal draws of ``chains``, not rounded to ``dtype`` but in the `wider` type; shape (n_draws, n_chains)."""
    first_pair, end_pair = first_draw // 2, -(-(first_draw + n_draws) // 2)
    pairs = box_muller(polar(seed, chains, first_pair, end_pair - first_pair, dtype), wider(dtype))
    draws = np.stack(pairs, axis=1).reshape(-1, pairs[0].shape[1])
    return draws[first_draw - 2 * first_pair :][:n_draws]


def uniforms(seed, n_draws, chains=0, first_draw=0, dtype="float64"):
    """Uniform draws of ``chains``, to the bit: the middles of 2**23 or 2**52 equal intervals."""
    if np.dtype(dtype) == np.float32:
        w = words(seed, UNIFORMS, chains, first_draw, n_draws)
        return (((w >> np.uint32(9)) + 0.5) * 2.0**-23).astype(np.float32)
    w = words(seed, UNIFORMS, chains, 2 * first_draw, 2 * n_draws).astype(np.uint64)
    word = w[0::2] << np.uint64(32) | w[1::2]
    return (2 * (word >> np.uint64(12)).astype(np.int64) + 1).astype(np.float64) * 2.0**-53


def brownian_increments(seed, h, chains=0, dim=1, first_step=0, dtype="float64"):
    """sqrt(h[k]) Z of steps of sizes ``h``, shape (n_steps, n_chains, dim): step k takes the draws k dim + 0, 1, ..."""
    h = np.atleast_1d(np.asarray(h, float))
    z = normals(seed, len(h) * dim, chains, first_step * dim, dtype)
    return np.sqrt(h)[:, None, None] * z.reshape(len(h), dim, -1).transpose(0, 2, 1)


# --------------------------------------------------------------------------------------------------------------------
# Models: states are (n_chains, dim), increments of the Brownian motions (n_steps, n_chains, noise_dim)
# --------------------------------------------------------------------------------------------------------------------


@singledispatch
def drift(model, x):
    """a(x), shape (n_chains, dim)."""
    raise NotImplementedError(type(model))


@singledispatch
def diffusion(model, x):
    """b(x), shape (n_chains, dim, noise_dim)."""
    raise NotImplementedError(type(model))


@singledispatch
def boundary(model, x):
    """What a scheme does to a state that has stepped out of the state space; by default nothing."""
    return x


@singledispatch
def exact_step(model, x, h, dw):
    """The state after an exact step, driven by the normals dw / sqrt(h)."""
    raise NotImplementedError(type(model))


def _scalar(b):
    """A diffusion of shape (n_chains, 1) as a matrix per chain."""
    return b[:, :, None]


def _positive(x):
    return np.maximum(x, 0.0)


@drift.register
def _(model: BrownianMotion, x):
    return np.full_like(x, model.mu)


@diffusion.register
def _(model: BrownianMotion, x):
    return _scalar(np.full_like(x, model.sigma))


@exact_step.register
def _(model: BrownianMotion, x, h, dw):
    return x + model.mu * h + model.sigma * dw


@drift.register
def _(model: OrnsteinUhlenbeck, x):
    return model.kappa * (model.theta - x)


@diffusion.register
def _(model: OrnsteinUhlenbeck, x):
    return _scalar(np.full_like(x, model.sigma))


@exact_step.register
def _(model: OrnsteinUhlenbeck, x, h, dw):
    decay = np.exp(-model.kappa * h)
    deviation = model.sigma * np.sqrt((1 - decay**2) / (2 * model.kappa))
    return model.theta + (x - model.theta) * decay + deviation * dw / np.sqrt(h)


@drift.register
def _(model: BlackScholes, x):
    return model.mu * x


@diffusion.register
def _(model: BlackScholes, x):
    return _scalar(model.sigma * x)


@exact_step.register
def _(model: BlackScholes, x, h, dw):
    return x * np.exp((model.mu - model.sigma**2 / 2) * h + model.sigma * dw)


@drift.register
def _(model: CIR, x):
    return model.kappa * (model.theta - _positive(x))  # full truncation


@diffusion.register
def _(model: CIR, x):
    return _scalar(model.sigma * np.sqrt(_positive(x)))


@drift.register
def _(model: CEV, x):
    return model.mu * x


@diffusion.register
def _(model: CEV, x):
    return _scalar(model.sigma * x**model.beta)


@boundary.register
def _(model: CEV, x):
    return _positive(x)  # absorbed at zero: drift and diffusion vanish there


@drift.register
def _(model: Heston, x):
    price, variance = x[:, 0], _positive(x[:, 1])
    return np.stack([model.mu * price, model.kappa * (model.theta - variance)], axis=1)


@diffusion.register
def _(model: Heston, x):
    price, root = x[:, 0], np.sqrt(_positive(x[:, 1]))
    of_price = np.stack([root * price, np.zeros_like(price)], axis=1)
    of_variance = model.xi * root[:, None] * np.array([model.rho, np.sqrt(1 - model.rho**2)])
    return np.stack([of_price, of_variance], axis=1)


@drift.register
def _(model: LinearSDE, x):
    return x @ model.A.T + model.b


@diffusion.register
def _(model: LinearSDE, x):
    return np.broadcast_to(model.B, (len(x), *model.B.shape))


@exact_step.register
def _(model: LinearSDE, x, h, dw):
    """Mean and covariance by Van Loan's block exponentials; the root is Cholesky's, so the covariance be regular."""
    from scipy.linalg import expm

    d = len(model.A)
    mean = expm(h * np.block([[model.A, model.b[:, None]], [np.zeros((1, d + 1))]]))
    block = expm(h * np.block([[-model.A, model.B @ model.B.T], [np.zeros((d, d)), model.A.T]]))
    root = np.linalg.cholesky(block[d:, d:].T @ block[:d, d:])
    return x @ mean[:d, :d].T + mean[:d, d] + (dw / np.sqrt(h)) @ root.T


@drift.register
def _(model: DoubleWell, x):
    y = x / model.width
    return -4 * model.barrier / model.width * y * (y**2 - 1)


@diffusion.register
def _(model: DoubleWell, x):
    return _scalar(np.full_like(x, np.sqrt(2 * model.temperature)))


def euler_maruyama_step(model, x, h, dw):
    """X + a(X) h + b(X) dW."""
    return boundary(model, x + drift(model, x) * h + np.einsum("nij,nj->ni", diffusion(model, x), dw))


def _path(step, model, x0, h, dw):
    dw = np.asarray(dw, np.float64)
    n_steps, n_chains, _ = dw.shape
    path = np.empty((n_steps + 1, n_chains, model.dim))
    path[0] = np.asarray(x0, np.float64)
    for k, size in enumerate(np.broadcast_to(np.asarray(h, np.float64), n_steps)):
        path[k + 1] = step(model, path[k], size, dw[k])
    return path


def euler_maruyama(model, x0, h, dw):
    """Euler-Maruyama paths, shape (n_steps + 1, n_chains, dim).

    Parameters
    ----------
    model : Model
    x0 : array_like
        Start, broadcast to (n_chains, dim).
    h : array_like
        The step size, or one per step.
    dw : array_like of shape (n_steps, n_chains, noise_dim)
        Increments of the Brownian motions, for example `brownian_increments`.
    """
    return _path(euler_maruyama_step, model, x0, h, dw)


def exact(model, x0, h, dw):
    """Paths of exact transitions; arguments as for `euler_maruyama`, with ``model.noise_dim_of("exact")`` motions."""
    return _path(exact_step, model, x0, h, dw)
