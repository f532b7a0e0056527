"""The recursion of the second moment on the eigenspaces of H, where the fourth moments of the inputs allow it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spectrum(ABC):
    """The recursion of the second moment on the eigenspaces of H, in the r numbers w_a = tr(P_a E delta delta').

    P_a projects on the eigenspace of ``values[a]``, of dimension ``sizes[a]``; ``fourth[a, b]`` is
    tr(P_a K(P_b)) / sizes[b]. For one step size per iteration the w_a are closed under the recursion, see
    `expectations.mode_errors`.
    """

    values: np.ndarray
    sizes: np.ndarray
    fourth: np.ndarray
    noise_variance: float

    @property
    def noise(self) -> np.ndarray:
        """tr(P_a N)."""
        return np.asarray(self.noise_variance * self.values * self.sizes)

    @abstractmethod
    def squares(self, delta: np.ndarray) -> np.ndarray:
        """|P_a delta|^2, of shape (r,)."""

    @abstractmethod
    def matrix(self, w: np.ndarray) -> np.ndarray:
        """The matrix sum_a (w_a / sizes[a]) P_a, of shape (d, d)."""


@dataclass(frozen=True)
class EigenSpectrum(Spectrum):
    """One mode per eigenvector, the columns of ``vectors``."""

    vectors: np.ndarray

    def squares(self, delta: np.ndarray) -> np.ndarray:
        """Squares of the coordinates in the eigenbasis."""
        return np.asarray((delta @ self.vectors) ** 2)

    def matrix(self, w: np.ndarray) -> np.ndarray:
        """Q diag(w) Q'."""
        return np.asarray((self.vectors * w) @ self.vectors.T)


@dataclass(frozen=True)
class SymmetricSpectrum(Spectrum):
    """One mode of all directions, or two: (1, ..., 1) and the rest."""

    def squares(self, delta: np.ndarray) -> np.ndarray:
        """The squared length, or its parts along (1, ..., 1) and across."""
        if len(self.values) == 1:
            return np.array([delta @ delta])
        across = delta - delta.mean()
        return np.array([math.fsum(delta) ** 2 / len(delta), across @ across])

    def matrix(self, w: np.ndarray) -> np.ndarray:
        """A matrix a I + b 11'."""
        d, per_dimension = int(self.sizes.sum()), w / self.sizes
        if len(w) == 1:
            return np.asarray(per_dimension[0] * np.eye(d))
        return np.asarray(per_dimension[1] * np.eye(d) + (per_dimension[0] - per_dimension[1]) / d)
