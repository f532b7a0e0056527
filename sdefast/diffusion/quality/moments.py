r"""The Frechet distance of two Gaussians, from their moments.

.. math:: d^2 = |m_1 - m_2|^2 + \operatorname{tr}\big(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}\big)

(Dowson and Landau 1982; of features of images: Heusel et al. 2017, "GANs trained by a two time-scale update rule
converge to a local Nash equilibrium", section 4, whose FID is this square.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks

__all__ = ["frechet_of_moments", "moments"]

#: How far below 0, of the largest eigenvalue, rounding may push those of a covariance, and how far apart its halves.
_TOLERANCE = 1e-6


def moments(features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d), divided by n - 1, of features (n, d), in float64.

    Raises
    ------
    ValueError
        If there are fewer than 2 samples, which have no covariance, or something is not finite.

    Examples
    --------
    >>> from sdefast.diffusion import quality
    >>> quality.moments([[0.0, 1.0], [2.0, 1.0]])[1].tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    values = checks.array("features", features, shape=(None, None))
    if len(values) < 2:
        raise ValueError(f"features must be those of at least 2 samples, got {len(values)}")
    if not values.shape[1]:
        raise ValueError(f"features must not be empty, got shape {values.shape}")
    mean = values.mean(axis=0)
    away = values - mean
    return mean, away.T @ away / (len(values) - 1)


def frechet_of_moments(m1: Any, C1: Any, m2: Any, C2: Any) -> float:
    """The squared Frechet distance of N(m1, C1) and N(m2, C2).

    Parameters
    ----------
    m1, m2 : array_like of shape (d,)
    C1, C2 : array_like of shape (d, d)
        Symmetric, without negative eigenvalues; they may be singular.

    Returns
    -------
    float
        Not negative: what rounding leaves below 0 is 0.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, or a covariance is none.

    Notes
    -----
    With roots :math:`C = A A^T` the last trace is the sum of the singular values of :math:`A_1^T A_2`. They have an
    error of rounding size; the square roots of the eigenvalues of a product that is singular would have that of its
    square root, 1e-8.

    Examples
    --------
    >>> from sdefast.diffusion import quality
    >>> round(quality.frechet_of_moments([0, 0], [[1, 0], [0, 4]], [3, 0], [[4, 0], [0, 9]]), 12)  # 9 + 1 + 1
    11.0
    """
    a = checks.array("m1", m1, shape=(None,))
    b = checks.array("m2", m2, shape=(len(a),))
    root_a, trace_a = _root("C1", C1, len(a))
    root_b, trace_b = _root("C2", C2, len(a))
    common = float(np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum())
    return max(float(((a - b) ** 2).sum()) + trace_a + trace_b - 2 * common, 0.0)


def _root(name: str, covariance: Any, d: int) -> tuple[np.ndarray, float]:
    """A with C = A A^T, and the trace of C."""
    C = checks.array(name, covariance, shape=(d, d))
    if np.abs(C - C.T).max(initial=0) > _TOLERANCE * np.abs(C).max(initial=0):
        raise ValueError(f"{name} must be symmetric")
    values, vectors = np.linalg.eigh((C + C.T) / 2)
    if values.min(initial=0) < -_TOLERANCE * values.max(initial=0):
        raise ValueError(f"{name} must have no negative eigenvalue, got {values.min():g}")
    values[values < d * np.finfo(np.float64).eps * values.max(initial=0)] = 0  # what rounding makes of 0
    return vectors * np.sqrt(values), float(np.trace(C))
