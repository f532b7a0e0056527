"""Densities as numbers in a table, for the steps of csrc/sampling/, which loop over it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Rows of data that a kernel takes at once.
_AT_ONCE = 8


class Tabulated(NamedTuple):
    """A density as kernels of one ``kind`` read it: "mixture", "gaussian" or "logistic".

    ``n`` components or rows of data; ``shape`` is that of the components' covariances. ``numbers`` and shapes are
    described in the kinds' files in csrc/sampling.
    """

    kind: str
    n: int
    shape: int
    numbers: np.ndarray


#: Shapes of covariances.
MATRIX, DIAGONAL, ISOTROPIC = range(3)


def mixture(heights: np.ndarray, means: np.ndarray, precisions: np.ndarray) -> Tabulated:
    """Of components exp(height - (x - mean)' P (x - mean) / 2) with P isotropic, (k,), or matrices, (k, d, d)."""
    n = len(heights)
    shape, precisions = (ISOTROPIC, precisions) if precisions.ndim == 1 else _shaped(precisions)
    numbers = np.hstack([heights[:, None], means, precisions.reshape(n, -1)])
    return Tabulated("mixture", n, shape, numbers.ravel())


def gaussian(mean: np.ndarray, precision: np.ndarray) -> Tabulated:
    """Of exp(-(x - mean)' P (x - mean) / 2)."""
    shape, (entries,) = _shaped(precision[None])
    return Tabulated("gaussian", 1, shape, np.concatenate([mean, entries.ravel()]))


def _shaped(matrices: np.ndarray) -> tuple[int, np.ndarray]:
    """Matrices (k, d, d), or their diagonals (k, d) where they have nothing else."""
    diagonals = np.einsum("kii->ki", matrices)
    alone = np.array_equal(matrices, diagonals[:, None] * np.eye(matrices.shape[1]))
    return (DIAGONAL, diagonals) if alone else (MATRIX, matrices)


def logistic(signed: np.ndarray, prior_precisions: np.ndarray) -> Tabulated:
    """Of rows of data with the signs of their responses, (n, dim), and a normal prior around 0."""
    n, dim = signed.shape
    padding = np.zeros((-n % _AT_ONCE, dim))
    numbers = np.concatenate([np.broadcast_to(prior_precisions, (dim,)), signed.ravel(), padding.ravel()])
    return Tabulated("logistic", n, MATRIX, numbers)
