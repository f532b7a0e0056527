r"""Exact recursions of SGD with heavy-ball momentum: of the joint law of parameters and velocity.

With :math:`v_{k+1} = \mu v_k - G_k (H \delta_k + \text{noise})` and :math:`\delta_{k+1} = \delta_k + v_{k+1}` the
second moments :math:`A = E\,\delta\delta'`, :math:`P = E\,\delta v'` and :math:`D = E\,v v'` obey

.. math::

    X &= E\,\delta_k v_{k+1}' = \mu P - A H G, \\
    D' &= \mu^2 D - \mu (G H P + P' H G) + G\,(H A H + E\,\Sigma(\theta_k) / B)\,G, \\
    P' &= X + D', \qquad A' = A + X + X' + D' .

Nothing is approximated: the mean of Sigma is that of `expectations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .expectations import infinite_from_overflow
from .moments import Moments


@dataclass(frozen=True)
class HeavyBall:
    """SGD with momentum and independent batches of ``batch_size`` samples; arguments as in `Independent`."""

    moments: Moments
    batch_size: float
    momentum: float

    def means(self, delta0: np.ndarray, steps: np.ndarray, n_steps: int) -> Iterator[np.ndarray]:
        """E delta_k for k = 0, ..., n_steps."""
        m, u = delta0, np.zeros_like(delta0)
        yield m
        for k in range(n_steps):
            u = self.momentum * u - steps[k % len(steps)] * (self.moments.hessian @ m)
            m = m + u
            yield m

    def mean_and_covariance(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """E delta_k, of shape (d,), and Cov delta_k, of shape (d, d), for k = 0, ..., n_steps."""
        laws = zip(self.means(delta0, steps, n_steps), self._second_moments(delta0, steps, n_steps), strict=True)
        for m, (A, _) in laws:
            yield m, A - np.outer(m, m)

    def _second_moments(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """E delta_k delta_k' and E delta_k v_k'."""
        mu, H = self.momentum, self.moments.hessian
        A = np.outer(delta0, delta0)
        P = D = np.zeros_like(A)
        yield A, P
        for k, m in zip(range(n_steps), self.means(delta0, steps, n_steps), strict=False):
            g = steps[k % len(steps)]
            HA, HP = H @ A, H @ P
            HAH = HA @ H
            pushes = HAH + (self.moments.gradient_second_moment(m, A - np.outer(m, m)) - HAH) / self.batch_size
            pull = g[:, None] * HP
            X = mu * P - HA.T * g
            D = mu * mu * D - mu * (pull + pull.T) + g[:, None] * pushes * g
            P, A = X + D, A + X + X.T + D
            yield A, P

    def errors(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int, loss: bool = False, averaged: bool = False,
        first: int = 0,
    ) -> np.ndarray:  # fmt: skip
        """E delta_k' W delta_k for k = 0, ..., n_steps, or of averages, as `Independent.errors`."""
        values = self._errors(delta0, steps, n_steps, loss, averaged, first)
        return infinite_from_overflow(values, n_steps + 1)

    def _errors(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int, loss: bool, averaged: bool, first: int
    ) -> Iterator[float]:
        """With S the sum of the averaged delta, E S delta' and E S v' follow the recursion of the mean."""
        size: Any = partial(np.vdot, self.moments.hessian) if loss else np.trace
        total, with_delta = 0.0, np.zeros((len(delta0), len(delta0)))
        with_velocity = with_delta
        for k, (A, P) in enumerate(self._second_moments(delta0, steps, n_steps)):
            if not averaged or k <= first:
                total, with_delta, with_velocity = float(size(A)), A, P
                yield total
                continue
            pull = with_delta @ self.moments.hessian * steps[(k - 1) % len(steps)]
            with_velocity = self.momentum * with_velocity - pull
            with_delta = with_delta + with_velocity
            total += 2 * size(with_delta) + size(A)
            with_delta, with_velocity = with_delta + A, with_velocity + P
            yield total / (k - first + 1) ** 2
