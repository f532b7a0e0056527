r"""Exact recursions of SGD's mean, covariance and error with independent samples, for any step sizes and batch size.

With :math:`G_k` the diagonal matrix of step sizes, B the batch size and :math:`\delta_k = \theta_k - \theta^*`,

.. math::

    \delta_{k+1} = \delta_k - G_k \Big(H \delta_k + \text{noise}\Big), \qquad
    \operatorname{Cov}(\text{noise} \mid \delta_k) = \Sigma(\theta_k) / B .

The mean obeys :math:`m_{k+1} = (I - G_k H) m_k` and the covariance

.. math::

    C_{k+1} = (I - G_k H)\, C_k\, (I - H G_k) + G_k\, E\,\Sigma(\theta_k)\, G_k / B,

where the mean of Sigma over theta_k is the second moment of one sample's gradient less :math:`H M_k H`, with
:math:`M_k = C_k + m_k m_k'`. Nothing is approximated: Sigma is quadratic in theta. Divergence is a result, not an
error: numbers beyond float64 become infinite. A batch of rows without replacement counts as `independent_samples`, no
whole number; `epochs` has several such batches an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .moments import Moments, Spectrum


def means(moments: Moments, delta0: np.ndarray, steps: np.ndarray, n_steps: int) -> Iterator[np.ndarray]:
    """E delta_k for k = 0, ..., n_steps."""
    m = delta0
    yield m
    for k in range(n_steps):
        m = m - steps[k % len(steps)] * (moments.hessian @ m)
        yield m


def mean_and_covariance(
    moments: Moments, delta0: np.ndarray, steps: np.ndarray, n_steps: int, batch_size: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """E delta_k, of shape (d,), and Cov delta_k, of shape (d, d), for k = 0, ..., n_steps.

    A step costs O(d^2) with independent coordinates, O(n d^2) (or O(d^4)) with data, and O(d^3) for Gaussian inputs
    unless H is diagonal.
    """
    m, C = delta0, np.zeros((len(delta0), len(delta0)))
    yield m, C
    for k in range(n_steps):
        g = steps[k % len(steps)]
        second = moments.gradient_second_moment(m, C)
        Hm, HC = moments.hessian @ m, moments.times_hessian(C)
        HCH = moments.times_hessian(HC.T)
        sigma = second - HCH - np.outer(Hm, Hm)
        drift = g[:, None] * HC
        C = C - drift - drift.T + g[:, None] * (HCH + sigma / batch_size) * g
        C = 0.5 * (C + C.T)
        m = m - g * Hm
        yield m, C


def matrix_errors(
    moments: Moments,
    delta0: np.ndarray,
    steps: np.ndarray,
    n_steps: int,
    batch_size: float,
    weight: np.ndarray | None = None,
    averaged: bool = False,
) -> np.ndarray:
    """E delta_k' W delta_k for k = 0, ..., n_steps, by the recursion of the full matrices.

    W is ``weight``, or the identity. With ``averaged`` delta_k is replaced by the mean of delta_0, ..., delta_k: given
    S = delta_0 + ... + delta_k and the past, E delta_{k+1} = (I - G H) delta_k, so that E S delta' follows
    P <- P (I - H G) + M and E S'WS grows by 2 tr(W P (I - H G)) + tr(W M).
    """
    result = np.empty(n_steps + 1)
    total, P = 0.0, np.zeros((len(delta0), len(delta0)))
    for k, (m, C) in enumerate(mean_and_covariance(moments, delta0, steps, n_steps, batch_size)):
        M = C + np.outer(m, m)
        now = float(np.trace(M) if weight is None else np.vdot(weight, M))
        if averaged:
            if k > 0:
                P = P - (steps[(k - 1) % len(steps)][:, None] * moments.times_hessian(P.T)).T
            total += 2 * float(np.trace(P) if weight is None else np.vdot(weight, P)) + now
            P = P + M
            now = total / (k + 1) ** 2
        result[k] = now
        if not np.isfinite(now):
            result[k:] = np.inf
            break
    return result


def mode_errors(
    spectrum: Spectrum,
    w0: np.ndarray,
    steps: np.ndarray,
    n_steps: int,
    batch_size: float,
    weight: np.ndarray,
    averaged: bool = False,
) -> np.ndarray:
    """The sums of weight_a w_a for k = 0, ..., n_steps, for one step size per iteration.

    w_a = tr(P_a E delta delta') follows w <- [(1 - g h)^2 + (g^2 / B) (R - h^2)] w + (g^2 / B) n, with h the eigenvalue
    of mode a. R - h^2 has no negative entry, so nothing cancels. With ``averaged`` as in `matrix_errors`, mode by mode.
    A step costs O(r^2).
    """
    h = spectrum.values
    spread = (spectrum.fourth - np.diag(h**2)) / batch_size
    noise = spectrum.noise / batch_size
    if len(h) == 1:
        one = [float(v[0]) for v in (h, spread[0], noise, w0)]
        return _infinite_after_overflow(float(weight[0]) * _single_mode_errors(one, steps, n_steps, averaged))
    result = np.empty(n_steps + 1)
    w, p, q = w0, w0, float(weight @ w0)
    result[0] = q
    for k in range(n_steps):
        g = steps[k % len(steps), 0]
        decay = 1 - g * h
        w = decay**2 * w + g**2 * (spread @ w + noise)
        if averaged:
            p = decay * p
            q += weight @ (2 * p + w)
            p = p + w
            result[k + 1] = q / (k + 2) ** 2
        else:
            result[k + 1] = weight @ w
    return _infinite_after_overflow(result)


def _single_mode_errors(one: list[float], steps: np.ndarray, n_steps: int, averaged: bool) -> np.ndarray:
    """`mode_errors` with r = 1, in plain floats, which are ten times as fast as arrays of one element."""
    h, spread, noise, w = one
    result = np.empty(n_steps + 1)
    p = q = w
    result[0] = q
    g_of = steps[:, 0].tolist()
    for k in range(n_steps):
        g = g_of[k % len(g_of)]
        decay = 1 - g * h
        w = decay * decay * w + g * g * (spread * w + noise)
        if averaged:
            p = decay * p
            q += 2 * p + w
            p += w
            result[k + 1] = q / (k + 2) ** 2
        else:
            result[k + 1] = w
    return result


def _infinite_after_overflow(curve: np.ndarray) -> np.ndarray:
    """The curve with infinity from its first number beyond float64: inf - inf or 0 inf say nothing."""
    lost = ~np.isfinite(curve)
    if lost.any():
        curve[int(np.argmax(lost)) :] = np.inf
    return curve
