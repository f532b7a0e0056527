"""Exact mean and covariance of linear SDEs."""

from __future__ import annotations

import math

import numpy as np


def linear_moments(A: np.ndarray, b: np.ndarray, Q: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""What moves the mean and the covariance of :math:`dX = (A X + b)\,dt + B\,dW` over a time ``t``.

    Returns :math:`M = e^{tA} - 1`, :math:`c = \int_0^t e^{sA} b\,ds` and
    :math:`C = \int_0^t e^{sA} Q e^{sA'} ds` with :math:`Q = B B'`, so that X(t) given X(0) = x has mean x + M x + c and
    covariance C.

    All three are Taylor series over a time short enough for fast convergence, and that time is then doubled. Unlike
    the block exponential of Van Loan (IEEE Transactions on Automatic Control 23, 1978), which gives the same
    integrals, this never forms :math:`e^{-tA}`, which overflows when A is stiff, and never subtracts the identity,
    which would lose the digits of M for small ``t``.
    """
    size = float(max(np.abs(A).sum(axis=0).max(), np.abs(A).sum(axis=1).max()))
    doublings = max(0, math.frexp(2 * t * size)[1])
    h = math.ldexp(t, -doublings)  # h A and its transpose have norms of at most 1/2
    integral = phi = h * np.eye(len(A))
    C = term = h * Q
    for k in range(2, 24):
        phi = (h / k) * A @ phi
        term = (h / k) * (A @ term + term @ A.T)
        integral, C = integral + phi, C + term
    M, c = A @ integral, integral @ b
    for _ in range(doublings):
        moved = C + M @ C
        C = C + moved + moved @ M.T
        M, c = 2 * M + M @ M, 2 * c + M @ c
    return M, c, 0.5 * (C + C.T)
