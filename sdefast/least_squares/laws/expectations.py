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
error: numbers beyond float64 become infinite. A single batch of rows without replacement counts as
`epochs.independent_samples`, no whole number; `epochs.Epochs` has several such batches an epoch.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .moments import Moments
from .spectrum import Spectrum


@dataclass(frozen=True)
class Independent:
    """SGD with independent batches of ``batch_size`` samples.

    Everywhere ``delta0`` is the start, of shape (d,), and ``steps`` has shape (1 or n_steps, 1 or d).
    """

    moments: Moments
    batch_size: float

    def means(self, delta0: np.ndarray, steps: np.ndarray, n_steps: int) -> Iterator[np.ndarray]:
        """E delta_k for k = 0, ..., n_steps."""
        m = delta0
        yield m
        for k in range(n_steps):
            m = m - steps[k % len(steps)] * (self.moments.hessian @ m)
            yield m

    def mean_and_covariance(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """E delta_k, of shape (d,), and Cov delta_k, of shape (d, d), for k = 0, ..., n_steps.

        A step costs O(d^2) with independent coordinates, O(n d^2), or O(d^4) where that is less, with data, and O(d^3)
        for Gaussian inputs unless H is diagonal.
        """
        moments, m, C = self.moments.for_products(n_steps), delta0, np.zeros((len(delta0), len(delta0)))
        yield m, C
        for k in range(n_steps):
            g = steps[k % len(steps)]
            second = moments.gradient_second_moment(m, C)
            Hm, HC = moments.hessian @ m, moments.times_hessian(C)
            HCH = moments.times_hessian(HC.T)
            sigma = second - HCH - np.outer(Hm, Hm)
            drift = g[:, None] * HC
            C = C - drift - drift.T + g[:, None] * (HCH + sigma / self.batch_size) * g
            C = 0.5 * (C + C.T)
            m = m - g * Hm
            yield m, C

    def errors(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int, loss: bool = False, averaged: bool = False,
        first: int = 0,
    ) -> np.ndarray:  # fmt: skip
        """E delta_k' W delta_k for k = 0, ..., n_steps; W is the identity, or H for the ``loss``.

        With ``averaged`` delta_k is replaced, from k = ``first`` on, by the mean of delta_first, ..., delta_k.
        """
        spectrum = self.moments.spectrum() if steps.shape[1] == 1 else None
        if spectrum is None:
            values = self._matrix_errors(delta0, steps, n_steps, loss, averaged, first)
        else:
            values = self._mode_errors(spectrum, spectrum.squares(delta0), steps, n_steps, loss, averaged, first)
        return infinite_from_overflow(values, n_steps + 1)

    def _matrix_errors(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int, loss: bool, averaged: bool, first: int
    ) -> Iterator[float]:
        """`errors` by the recursion of the full matrices.

        Given S = delta_0 + ... + delta_k and the past, E delta_{k+1} = (I - G H) delta_k, so that P = E S delta'
        follows P <- P (I - H G) + M and E S'WS grows by 2 tr(W P (I - H G)) + tr(W M).
        """
        size: Any = partial(np.vdot, self.moments.hessian) if loss else np.trace
        total, P = 0.0, np.zeros((len(delta0), len(delta0)))
        for k, (m, C) in enumerate(self.mean_and_covariance(delta0, steps, n_steps)):
            M = C + np.outer(m, m)
            if not averaged or k <= first:
                total, P = size(M), M
                yield total
                continue
            P = P - (steps[(k - 1) % len(steps)][:, None] * self.moments.times_hessian(P.T)).T
            total += 2 * size(P) + size(M)
            P = P + M
            yield total / (k - first + 1) ** 2

    def _mode_errors(
        self, spectrum: Spectrum, w: Any, steps: np.ndarray, n_steps: int, loss: bool, averaged: bool, first: int
    ) -> Iterator[float]:
        """`errors` by the modes w_a = tr(P_a E delta delta'), for one step size per iteration.

        w <- [(1 - g h)^2 + (g^2 / B) (R - h^2)] w + (g^2 / B) n, with h the eigenvalue of mode a. R - h^2 has no
        negative entry, so nothing cancels. Averages as in `_matrix_errors`, mode by mode. A step costs O(r^2).
        """
        h: Any = spectrum.values
        spread: Any = (spectrum.fourth - np.diag(h**2)) / self.batch_size
        noise: Any = spectrum.noise / self.batch_size
        weight: Any = h if loss else np.ones(len(h))
        times: Any = operator.matmul
        if len(h) == 1:  # plain floats are ten times as fast as arrays of one element
            h, spread, noise, weight, w = (float(v.flat[0]) for v in (h, spread, noise, weight, w))
            times = operator.mul
        p, q, rates = w, times(weight, w), steps[:, 0].tolist()
        yield q
        for k in range(n_steps):
            g = rates[k % len(rates)]
            decay = 1 - g * h
            w = decay * decay * w + g * g * (times(spread, w) + noise)
            if not averaged or k < first:
                p, q = w, times(weight, w)
                yield q
                continue
            p = decay * p
            q += times(weight, 2 * p + w)
            p = p + w
            yield q / (k - first + 2) ** 2


def infinite_from_overflow(values: Iterable[float], n: int) -> np.ndarray:
    """A curve of ``n`` values, infinite from the first one beyond float64 on: inf - inf or 0 inf say nothing."""
    finite = np.fromiter(itertools.takewhile(math.isfinite, values), float)
    return np.concatenate([finite, np.full(n - len(finite), np.inf)])
