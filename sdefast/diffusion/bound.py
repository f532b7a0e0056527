r"""The posterior of the forward process and the variational bound -log p(x_0) <= L_T + sum of L_{t-1} + L_0, in bits.

For Gaussian data the bound of a network that predicts exactly is known in closed form (`gaussian_bound`); for any
model it is estimated from data (`variational_bound`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import checks, math, noise
from . import batches
from .conversions import linear_form
from .predictions import PREDICTIONS

if TYPE_CHECKING:
    from .schedule import Schedule

__all__ = ["Bound", "Posterior", "gaussian_bound", "q_posterior", "variational_bound"]

VARIANCES = ("beta", "beta_tilde")
DECODERS = ("gaussian", "discretised")
_BIT = float(np.log(2.0))


class Posterior(NamedTuple):
    """q(x_{t-1} | x_t, x_0): mean ``x * x_t + x0 * x_0`` and ``variance``."""

    x: Any
    x0: Any
    variance: Any


@dataclass(frozen=True, eq=False)
class Bound:
    """The terms of the bound in bits per dimension; from a model, one per sample in the last axis.

    Attributes
    ----------
    L_T : float or ndarray of shape (n,)
        Divergence of q(x_T | x_0) from the prior.
    L_t : ndarray of shape (n_timesteps,) or (n_timesteps, n)
        Divergences of q(x_{t-1} | x_t, x_0) from the model's step, in the order of ``timesteps``.
    L_0 : float or ndarray of shape (n,)
        -log p(x_0 | x_1) of the decoder.
    timesteps : ndarray of int64
        0-based, from 1 on.
    n : int
        Number of timesteps of the schedule.
    """

    L_T: Any
    L_t: np.ndarray
    L_0: Any
    timesteps: np.ndarray
    n: int

    @property
    def total(self) -> Any:
        """The bound; where some timesteps were left out, their sum is taken to be like that of the others."""
        share = (self.n - 1) / max(len(self.timesteps), 1)
        found = self.L_T + share * self.L_t.sum(axis=0) + self.L_0
        return found if np.ndim(found) else float(found)


def q_posterior(schedule: Schedule, t: Any) -> Posterior:
    r"""Coefficients and variance of q(x_{t-1} | x_t, x_0).

    With :math:`a = \alpha_t/\alpha_{t-1}` and the variance :math:`\beta = \sigma_t^2 - a^2\sigma_{t-1}^2` of the step
    to t, the mean is :math:`a \sigma_{t-1}^2/\sigma_t^2\, x_t + \alpha_{t-1}\beta/\sigma_t^2\, x_0` and the variance
    :math:`\beta\sigma_{t-1}^2/\sigma_t^2`: DDPM's beta-tilde on a variance-preserving schedule. At t = 0 the step goes
    to data: x_0 itself, without variance.

    Parameters
    ----------
    schedule : Schedule
    t : int or array_like of int
        0-based timesteps.

    Examples
    --------
    >>> from sdefast.diffusion import linear_beta_schedule
    >>> tuple(map(float, q_posterior(linear_beta_schedule(1000), 0)))
    (0.0, 1.0, 0.0)
    """
    steps = _checked_timesteps(t, schedule.n)
    a, beta, alpha_before, square_before, square = _step(schedule, steps)
    return Posterior(a * square_before / square, alpha_before * beta / square, beta * square_before / square)


def _step(schedule: Schedule, t: Any) -> tuple[Any, ...]:
    """alpha_t / alpha_{t-1}, the variance of the step to t, alpha_{t-1}, sigma_{t-1}^2 and sigma_t^2."""
    alphas, squares = np.append(1.0, schedule.alpha), np.append(0.0, schedule.sigma**2)
    return alphas[t + 1] / alphas[t], schedule.forward_variance[t], alphas[t], squares[t], squares[t + 1]


def _checked_timesteps(t: Any, n: int, least: int = 0) -> Any:
    given = np.asarray(checks.on_host("t", t))
    if given.dtype.kind not in "iu":
        raise TypeError(f"timesteps must be integers, got {t!r}")
    if given.size and not (given.min() >= least and given.max() < n):
        wrong = given[(given < least) | (given >= n)].flat[0] if given.ndim else given
        raise ValueError(f"timesteps must be between {least} and {n - 1}, got {wrong}")
    return given.astype(np.int64)


def _model_variance(schedule: Schedule, name: str, t: np.ndarray) -> np.ndarray:
    """Variance of the model's step from t >= 1."""
    _, beta, _, before, square = _step(schedule, t)
    variance: np.ndarray = beta if name == "beta" else beta * before / square
    return variance


def gaussian_bound(schedule: Schedule, data_mean: float, data_variance: float, *, variance: str = "beta") -> Bound:
    r"""The bound for Gaussian data and a network that predicts exactly.

    Parameters
    ----------
    schedule : Schedule
    data_mean, data_variance : float
        Of each (independent) component of the data.
    variance : {"beta", "beta_tilde"}
        Variance of the model's steps. The decoder of L_0 has that of the first step, beta_1.

    Returns
    -------
    Bound
        Means over the data.

    Notes
    -----
    L_{t-1} = [log(s/b) + b/s - 1 + c^2 Var(x_0 | x_t)/s]/2 with the model's variance s, the posterior's b and the
    posterior's coefficient c of x_0. It stays above the entropy for any number of steps, beta_tilde far more so than
    beta, being too small for every t.

    Examples
    --------
    >>> import math
    >>> from sdefast.diffusion import linear_beta_schedule
    >>> schedule = linear_beta_schedule(1000)
    >>> round(gaussian_bound(schedule, 0.7, 0.25).total, 4), round(0.5 * math.log2(2 * math.pi * math.e * 0.25), 4)
    (1.0487, 1.0471)
    """
    name = checks.choice("variance", variance, VARIANCES)
    m, v = checks.real("data_mean", data_mean), checks.real("data_variance", data_variance, least=0.0)
    alpha, square, scale = schedule.alpha, schedule.sigma**2, schedule.prior_scale**2
    left = v * square / (alpha**2 * v + square)  # Var(x_0 | x_t)
    t = np.arange(1, schedule.n)
    _, c, b = q_posterior(schedule, t)
    s = _model_variance(schedule, name, t)
    L_T = _divergence(square[-1], scale, alpha[-1] ** 2 * (v + m**2))
    L_0 = 0.5 * (np.log(2 * np.pi * square[0]) + left[0] / square[0])
    return Bound(float(L_T) / _BIT, _divergence(b, s, c**2 * left[1:]) / _BIT, float(L_0) / _BIT, t, schedule.n)


def _divergence(b: Any, s: Any, square: Any) -> Any:
    """Kullback-Leibler divergence of variances b and s, of means whose squared distance has the mean ``square``."""
    return 0.5 * (np.log(s / b) + b / s - 1 + square / s)


def variational_bound(
    model: Callable[[Any, Any], Any],
    x: Any,
    schedule: Schedule,
    *,
    variance: str = "beta",
    prediction: str = "eps",
    clip: float | None = None,
    decoder: str = "gaussian",
    timesteps: Sequence[int] | None = None,
    seed: int = 0,
    first_sample: int = 0,
) -> Bound:
    """The bound of a model on a batch of data, one draw of the noise per sample and timestep.

    Parameters
    ----------
    model : callable
        ``model(x, t)`` with t an int64 vector of 0-based timesteps, as for sampling.
    x : array or tensor of shape (n, ...)
        Data. Noise and model use its type.
    schedule : Schedule
    variance : {"beta", "beta_tilde"}
        Variance of the model's steps.
    prediction : {"eps", "x0", "v", "score", "flow"}
        What the model predicts.
    clip : float, optional
        The largest absolute value of the predicted x_0.
    decoder : {"gaussian", "discretised"}
        L_0 as a density with the variance of the first step, or as the probability of pixels of 256 values in [-1, 1].
    timesteps : sequence of int, optional
        The L_{t-1} to compute, of 1, ..., T - 1; all by default, which takes T calls of the model.
    seed, first_sample : int
        The noise of sample i at timestep t depends on (seed, first_sample + i, t) alone.

    Returns
    -------
    Bound
        In bits per dimension, float64, one per sample.
    """
    name = checks.choice("variance", variance, VARIANCES)
    checks.choice("prediction", prediction, PREDICTIONS)
    checks.choice("decoder", decoder, DECODERS)
    limit = np.inf if clip is None else checks.real("clip", clip, positive=True)
    seed, first_sample = checks.seed("seed", seed), checks.count("first_sample", first_sample, least=0)
    t = _checked_timesteps(np.arange(1, schedule.n) if timesteps is None else timesteps, schedule.n, 1)
    data = batches.flat(x)

    def denoised(k: int) -> np.ndarray:
        z = _noise(seed, k, data.shape, first_sample)
        noisy = batches.like(x, schedule.alpha[k] * data + schedule.sigma[k] * z)
        with batches.without_gradients(x):
            out = batches.flat(batches.checked(model(noisy, batches.steps(x, k)), x, f"timestep {k}"))
        p, q = linear_form(schedule.alpha[k], schedule.sigma[k], given=prediction, wanted="x0")
        D: np.ndarray = np.clip(p * batches.flat(noisy) + q * out, -limit, limit)
        return D

    _, c, b = q_posterior(schedule, t)
    s = _model_variance(schedule, name, t)
    terms = [_step_term(*row, data, denoised) for row in zip(t, b, s, c, strict=True)]
    square, scale = schedule.sigma[-1] ** 2, schedule.prior_scale**2
    L_T = _divergence(square, scale, (schedule.alpha[-1] ** 2 * data**2).mean(axis=1)) / _BIT
    L_0 = _decoded(decoder, data, denoised(0), float(schedule.sigma[0])) / _BIT
    return Bound(L_T, np.array(terms).reshape(len(t), len(data)), L_0, t, schedule.n)


def _step_term(t: int, b: float, s: float, c: float, data: np.ndarray, denoised: Callable[[int], np.ndarray]) -> Any:
    return _divergence(b, s, (c * (data - denoised(int(t)))) ** 2).mean(axis=1) / _BIT


def _noise(seed: int, t: int, shape: tuple[int, ...], first_sample: int) -> np.ndarray:
    """Timestep t of a sample takes draws t E, ..., t E + E - 1 of its chain (E even)."""
    n, size = shape
    even = size + size % 2
    drawn = noise.normals(seed, size, n, first_draw=t * even, first_chain=first_sample)
    return np.ascontiguousarray(drawn.T)


def _decoded(decoder: str, data: np.ndarray, mean: np.ndarray, scale: float) -> np.ndarray:
    """-log p(x_0 | x_1) in nats per dimension."""
    if decoder == "gaussian":
        density: np.ndarray = 0.5 * (np.log(2 * np.pi * scale**2) + ((data - mean) / scale) ** 2)
        return np.asarray(density.mean(axis=1))
    half = 1 / 255

    def below(edge: np.ndarray) -> np.ndarray:
        """Probability of less than an edge between pixel values."""
        found: np.ndarray = 0.5 * (1 + math.erf((edge - mean) / (scale * np.sqrt(2.0))))
        return found

    upper = np.where(data > 1 - half, 1.0, below(data + half))
    lower = np.where(data < -1 + half, 0.0, below(data - half))
    return np.asarray(-np.log(np.maximum(upper - lower, 1e-12)).mean(axis=1))
