"""The coordinates in which kernels run SGD: delta = theta - theta*, turned into the eigenbasis of H where it helps.

Inputs N(0, H) with H = Q diag(h) Q' are Q times independent normals of standard deviations sqrt(h). So Q'delta follows
the same recursion with independent inputs, in O(d) instead of O(d^2) an iteration, and has the same length. That needs
one step size for all parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...run.records import Recorded
from ..laws.matrices import eigenbasis, input_basis, is_diagonal
from ..problem import LeastSquares


@dataclass(frozen=True, eq=False)
class Coordinates(Recorded):
    """``basis`` Q, or None for the identity; ``scales`` of the inputs, or None where they are all 1.

    Where parameters have step sizes of their own, correlated inputs stay what they are: ``root`` times normals.
    """

    star: np.ndarray
    basis: np.ndarray | None = None
    scales: np.ndarray | None = None
    root: np.ndarray | None = None

    @classmethod
    def of(cls, problem: LeastSquares, per_parameter: bool) -> Coordinates:
        """Those for a problem."""
        star, H = problem.theta_star, problem.covariance
        if per_parameter and H is not None and not is_diagonal(H):
            return cls(star, root=_root(H))
        return cls(star, *input_basis(H))

    def rows(self, theta: np.ndarray) -> np.ndarray:
        """Rows (d, n) of the kernel from parameters (n, d)."""
        delta = np.ascontiguousarray((theta - self.star).T)
        return delta if self.basis is None else _product(self.basis.T, delta)

    def theta(self, rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The chosen parameters (..., n_chosen, n) from rows (..., d, n)."""
        star = self.star[chosen, None]
        if self.basis is None:
            return np.asarray(star + rows[..., chosen, :])
        return np.asarray(star + _product(self.basis[chosen], rows))


def _product(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """A matrix times vectors of shape (..., d, n), whose bits do not depend on how many there are."""
    result = np.zeros((*vectors.shape[:-2], len(matrix), vectors.shape[-1]))
    for j, column in enumerate(matrix.T):  # one direction after the other, as a matrix product does not
        result += column[:, None] * vectors[..., j : j + 1, :]
    return result


def _root(H: np.ndarray) -> np.ndarray:
    """R with R R' = H, triangular if H is not singular."""
    try:
        return np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        values, vectors = eigenbasis(H)
        return np.asarray(vectors * np.sqrt(values))
