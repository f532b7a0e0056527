"""Brownian motions that are correlated, as combinations of independent ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..trace import constant
from ..trace.lookups import tabulated
from .schemes.equation import Matrix, Vector


def checked(name: str, correlation: Any, dim: int) -> np.ndarray:
    """A correlation matrix: symmetric, ones on its diagonal, no negative eigenvalue."""
    matrix = checks.array(name, correlation, shape=(dim, dim))
    if not np.array_equal(matrix, matrix.T) or not (np.diag(matrix) == 1).all():
        raise ValueError(f"{name} must be symmetric with ones on its diagonal, got {matrix.tolist()}")
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least < -1e-12 * dim:
        raise ValueError(f"{name} must be positive semidefinite, and has the eigenvalue {least:.3g}")
    return matrix


def mixed(b: Vector, correlation: np.ndarray) -> Matrix:
    """diag(b) L with L L' = correlation: noise j of component i; L's numbers are in the run's table."""
    root = np.zeros_like(correlation)
    for i, row in enumerate(correlation):
        for j in range(i):  # (where nothing is left of noise j it stands in for others)
            root[i, j] = (row[j] - root[i, :j] @ root[j, :j]) / root[j, j] if root[j, j] > 0 else 0.0
        rest = 1 - root[i, :i] @ root[i, :i]
        root[i, i] = math.sqrt(rest) if rest > 1e-12 * len(root) else 0.0
    factors = iter(tabulated(root[root != 0]))
    return tuple(
        tuple(e * next(factors) if factor else constant(0) for factor in row) for e, row in zip(b, root, strict=True)
    )
