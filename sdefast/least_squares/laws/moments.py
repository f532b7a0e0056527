r"""Second and fourth moments of the inputs: all that the exact results need to know about a problem.

With :math:`\delta = \theta - \theta^*` and :math:`\xi = y - \langle\theta^*, x\rangle` the gradient of one sample is
:math:`x(\langle x, \delta\rangle - \xi)`. Every law answers the same questions:

=============== ============================================= ==========================================
``hessian``     :math:`H = E\,xx'`
``noise``       :math:`N = E\,\xi^2 xx'`                      :math:`\sigma^2 H` if the noise is independent of x
``fourth(M)``   :math:`K(M) = E\,xx' M xx'`                   for symmetric M
=============== ============================================= ==========================================

and the second moment of the gradient of one sample over a random theta with given mean and covariance.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from ...lazy import cached_property
from ..inputs import InputLaw
from .matrices import eigenbasis, is_diagonal, rounding
from .spectrum import EigenSpectrum, Spectrum, SymmetricSpectrum

_TENSOR_DIM = 24  # the fourth moments of data in up to so many dimensions are few
_MOST_TENSOR_DIM = 64  # and up to so many, 35 MB, worth having for many products with them


class Moments(ABC):
    """What a law of (x, y) tells the recursions."""

    hessian: np.ndarray
    noise: np.ndarray

    @property
    def dim(self) -> int:
        """Number of parameters, d."""
        return len(self.hessian)

    @cached_property
    def largest_eigenvalue_bound(self) -> float:
        """The largest sum of absolute values in a row of H, no eigenvalue being larger."""
        return float(np.abs(self.hessian).sum(axis=1).max())

    @abstractmethod
    def fourth(self, M: np.ndarray) -> np.ndarray:
        """K(M) = E xx' M xx' for symmetric M of shape (..., d, d)."""

    def times_hessian(self, M: np.ndarray) -> np.ndarray:
        """H M for a matrix M of shape (..., d, d)."""
        return np.asarray(self.hessian @ M)

    def gradient_second_moment(self, mean: np.ndarray, covariance: np.ndarray | float = 0.0) -> np.ndarray:
        """E (grad l)(grad l)' of one sample over delta with this mean (..., d) and covariance (..., d, d)."""
        return np.asarray(self.fourth(mean[..., :, None] * mean[..., None, :] + covariance) + self.noise)

    def coupling(self, mean: np.ndarray) -> np.ndarray | float:
        """E xi <x, delta> xx' for delta of shape (d,): zero where the noise in y is independent of x."""
        return 0.0

    def for_products(self, n: int) -> Moments:
        """The same moments, prepared for ``n`` of `fourth` and `gradient_second_moment` where that pays."""
        return self

    @cached_property
    def length_bound(self) -> float:
        """A number R^2 with E[|x|^2 xx'] <= R^2 H, found with little work; infinite where there is none at hand."""
        return math.inf

    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """The positive eigenvalues of H, of shape (r,), and their eigenvectors, of shape (d, r)."""
        values, vectors = np.linalg.eigh(self.hessian)
        kept = values > rounding(values)
        return values[kept], vectors[:, kept]

    def spectrum(self) -> Spectrum | None:
        """The reduction of the recursions to the eigenspaces of H, where there is one."""
        return None

    def scaled(self, scale: np.ndarray) -> Moments:
        """Moments of the inputs diag(scale) x, to which SGD with one step size per parameter reduces."""
        return ScaledMoments(self, scale)

    def in_eigenbasis(self) -> tuple[Moments, np.ndarray | None]:
        """The same law in coordinates in which its recursions are cheaper, with the basis (d, d) or None."""
        return self, None


class GaussianMoments(Moments):
    """x ~ N(0, H), with noise of variance ``noise_variance`` independent of x."""

    def __init__(self, hessian: np.ndarray, noise_variance: float) -> None:
        self.hessian = hessian
        self.noise = noise_variance * hessian
        self.noise_variance = noise_variance
        self._diagonal = np.diagonal(hessian) if is_diagonal(hessian) else None

    @property
    def is_isotropic(self) -> bool:
        """Whether H is a multiple of the identity."""
        return self._diagonal is not None and bool((self._diagonal == self._diagonal[0]).all())

    def times_hessian(self, M: np.ndarray) -> np.ndarray:
        """H M, in O(d^2) where H is diagonal."""
        return super().times_hessian(M) if self._diagonal is None else self._diagonal[:, None] * M

    def fourth(self, M: np.ndarray) -> np.ndarray:
        """K(M) = 2 H M H + tr(H M) H, by the theorem of Isserlis."""
        HM = self.times_hessian(M)
        trace = np.trace(HM, axis1=-2, axis2=-1)[..., None, None]
        return np.asarray(2 * self.times_hessian(np.swapaxes(HM, -1, -2)) + trace * self.hessian)

    @cached_property
    def length_bound(self) -> float:
        """From E[|x|^2 xx'] = tr(H) H + 2 H^2."""
        return float(np.trace(self.hessian)) + 2 * self.largest_eigenvalue_bound

    def spectrum(self) -> Spectrum:
        """Mode by mode in the eigenbasis of H; a single mode where H is a multiple of the identity."""
        d = self.dim
        if self.is_isotropic:
            c = float(self.hessian[0, 0])
            return SymmetricSpectrum(np.array([c]), np.array([d]), np.array([[(d + 2) * c**2]]), self.noise_variance)
        values, vectors = eigenbasis(self.hessian)
        fourth = 2 * np.diag(values**2) + np.outer(values, values)
        return EigenSpectrum(values, np.ones(d, dtype=np.int64), fourth, self.noise_variance, vectors)

    def scaled(self, scale: np.ndarray) -> Moments:
        """diag(scale) x is Gaussian again."""
        return GaussianMoments(scale[:, None] * self.hessian * scale, self.noise_variance)

    def in_eigenbasis(self) -> tuple[Moments, np.ndarray | None]:
        """N(0, diag of the eigenvalues)."""
        if self._diagonal is not None:
            return self, None
        values, vectors = eigenbasis(self.hessian)
        return GaussianMoments(np.diag(values), self.noise_variance), vectors


class IndependentMoments(Moments):
    """Independent coordinates of one law, with noise of variance ``noise_variance`` independent of x."""

    def __init__(self, law: InputLaw, dim: int, noise_variance: float) -> None:
        self._law = law
        self._mean, self._variance = law.mean, law.variance
        self.hessian = self._variance * np.eye(dim) + self._mean**2
        self.noise = noise_variance * self.hessian
        self.noise_variance = noise_variance

    def times_hessian(self, M: np.ndarray) -> np.ndarray:
        """H M with H = v I + mu^2 11', in O(d^2)."""
        return np.asarray(self._variance * M + self._mean**2 * M.sum(axis=-2, keepdims=True))

    def fourth(self, M: np.ndarray) -> np.ndarray:
        """K(M) from x = mu 1 + z, in O(d^2).

        E[xx' q] with q = x'Mx = mu^2 1'M1 + 2 mu 1'Mz + z'Mz needs E q, E z_i q and E z_i z_j q; with v, c3 and c4 the
        central moments,

        - E q = mu^2 1'M1 + v tr M,
        - E z_i q = 2 mu v (M1)_i + c3 M_ii,
        - E z_i z_j q = 2 v^2 M_ij, and for i = j besides v E q + 2 mu c3 (M1)_i + (c4 - 3 v^2) M_ii.
        """
        mu, v = self._mean, self._variance
        c4, c3 = self._law.fourth_central_moment, self._law.third_central_moment
        rows, diagonal = M.sum(axis=-1), np.diagonal(M, axis1=-2, axis2=-1)
        q = (mu**2 * rows.sum(axis=-1) + v * diagonal.sum(axis=-1))[..., None]
        zq = 2 * mu * v * rows + c3 * diagonal
        K = 2 * v**2 * M + (mu**2 * q + mu * zq)[..., :, None] + mu * zq[..., None, :]
        index = np.arange(self.dim)
        K[..., index, index] += v * q + 2 * mu * c3 * rows + (c4 - 3 * v**2) * diagonal
        return np.asarray(K)

    def spectrum(self) -> Spectrum:
        """Two modes, the direction of (1, ..., 1) and the rest, by the symmetry under permutations of coordinates.

        K maps matrices a I + b 11' to such matrices, and the parts of a matrix outside them do not couple back to the
        traces in the two eigenspaces. If the mean is zero all directions form a single mode.
        """
        d, mu, v = self.dim, self._mean, self._variance
        one = np.full((d, d), 1 / d)
        if mu == 0 or d == 1:
            projections, values, sizes = [np.eye(d)], [v + mu**2], [d]
        else:
            projections, values, sizes = [one, np.eye(d) - one], [v + d * mu**2, v], [1, d - 1]
        moved = [self.fourth(P) / size for P, size in zip(projections, sizes, strict=True)]
        fourth = np.array([[np.vdot(P, K) for K in moved] for P in projections])
        return SymmetricSpectrum(np.array(values), np.array(sizes), fourth, self.noise_variance)


class EmpiricalMoments(Moments):
    """Rows (x_i, y_i) of data drawn uniformly; ``residuals`` are y_i - x_i' theta* at the minimiser.

    The residuals are *not* independent of the inputs, only uncorrelated: the second moment of the gradient,
    the mean of (x'delta - xi)^2 xx', keeps the product of x'delta with xi, which streams with independent noise lose.
    """

    def __init__(self, X: np.ndarray, residuals: np.ndarray) -> None:
        self.X, self.residuals = X, residuals
        self.hessian = X.T @ X / len(X)
        self.noise = self._weighted(residuals**2)

    def _weighted(self, weights: np.ndarray) -> np.ndarray:
        """The mean of weight_i x_i x_i', for weights of shape (..., n)."""
        return np.asarray((self.X.T * weights[..., None, :]) @ self.X / len(self.X))

    def fourth(self, M: np.ndarray) -> np.ndarray:
        """The mean of (x_i'M x_i) x_i x_i', in O(n d^2), or O(d^4) where that is less."""
        if self._has_tensor:
            return self._tensor.fourth(M)
        return self._weighted(((self.X @ M) * self.X).sum(axis=-1))

    def coupling(self, mean: np.ndarray) -> np.ndarray:
        """The mean of xi_i <x_i, delta> x_i x_i'."""
        return self._weighted((self.X @ mean) * self.residuals)

    def for_products(self, n: int) -> Moments:
        """By the means of all products of four, where making them takes less time than it saves."""
        rows, d = self.X.shape
        pairs = d * (d + 1) // 2
        # (a pass over the data does a quarter of the operations a second that a product of large matrices does)
        pays = 2 * rows * pairs**2 + 8 * n * pairs**2 < 16 * n * rows * d**2
        return self._tensor if d <= _MOST_TENSOR_DIM and pays else self

    @cached_property
    def length_bound(self) -> float:
        """The largest squared length of a row."""
        return float(np.einsum("ij,ij->i", self.X, self.X).max())

    def gradient_second_moment(self, mean: np.ndarray, covariance: np.ndarray | float = 0.0) -> np.ndarray:
        """The mean of E[(x_i'delta - xi_i)^2] x_i x_i'."""
        if np.ndim(covariance) == 2 and self._has_tensor:
            return self._tensor.gradient_second_moment(mean, covariance)
        weights = (mean @ self.X.T - self.residuals) ** 2
        if np.ndim(covariance):
            weights = weights + ((self.X @ covariance) * self.X).sum(axis=-1)
        return self._weighted(weights)

    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """From the singular values of X, whose rank is sharper than that of X'X."""
        _, s, vectors = np.linalg.svd(self.X, full_matrices=False)
        kept = s > max(self.X.shape) * np.finfo(float).eps * s[0]
        return s[kept] ** 2 / len(self.X), vectors[kept].T

    def scaled(self, scale: np.ndarray) -> Moments:
        """The data with scaled columns."""
        return EmpiricalMoments(self.X * scale, self.residuals)

    @property
    def _has_tensor(self) -> bool:
        n, d = self.X.shape
        return bool(d <= _TENSOR_DIM and n > d**2)

    @cached_property
    def _tensor(self) -> TensorMoments:
        return TensorMoments(self)


class TensorMoments(Moments):
    """Moments of data by the means of products of three and four of their entries, half of which are the others.

    Products x_i x_j with i <= j are numbered by pairs; in a product with a symmetric matrix those with i < j count
    twice.
    """

    def __init__(self, data: EmpiricalMoments) -> None:
        self.hessian, self.noise = data.hessian, data.noise
        n, d = data.X.shape
        self._rows, self._columns = np.triu_indices(d)
        pairs = len(self._rows)
        self._counts = np.where(self._rows == self._columns, 1.0, 2.0)
        self._fourth, self._third = np.zeros((pairs, pairs)), np.zeros((d, pairs))
        at_once = max(2**22 // pairs, 1)
        for start in range(0, n, at_once):
            X, xi = data.X[start : start + at_once], data.residuals[start : start + at_once]
            products = X[:, self._rows] * X[:, self._columns]
            self._fourth += products.T @ products
            self._third += (X.T * xi) @ products
        self._fourth /= n
        self._third /= n

    def _matrix(self, halves: np.ndarray) -> np.ndarray:
        """Symmetric matrices (..., d, d) from their upper halves (..., pairs)."""
        M = np.empty((*halves.shape[:-1], self.dim, self.dim))
        M[..., self._rows, self._columns] = halves
        M[..., self._columns, self._rows] = halves
        return M

    def fourth(self, M: np.ndarray) -> np.ndarray:
        """The mean of (x_i'M x_i) x_i x_i', in O(d^4 / 4)."""
        return self._matrix((M[..., self._rows, self._columns] * self._counts) @ self._fourth)

    def coupling(self, mean: np.ndarray) -> np.ndarray:
        """The mean of xi_i <x_i, delta> x_i x_i'."""
        return self._matrix(mean @ self._third)

    def gradient_second_moment(self, mean: np.ndarray, covariance: np.ndarray | float = 0.0) -> np.ndarray:
        """The mean of E[(x_i'delta - xi_i)^2] x_i x_i'."""
        return np.asarray(super().gradient_second_moment(mean, covariance) - 2 * self.coupling(mean))


class PenalisedMoments(Moments):
    r"""Rows of data with a ridge penalty and fresh noise on every label that is drawn.

    The gradient of a sample is :math:`(xx' + \lambda) \delta - (x (\xi + \zeta) - \lambda\theta^*)` with :math:`\xi`
    the residual at the minimiser :math:`\theta^*` of the penalised loss, where :math:`E\,x\xi = \lambda\theta^*`,
    and :math:`\zeta` the label's noise.
    """

    def __init__(self, data: EmpiricalMoments, ridge: float, star: np.ndarray, label_variance: float) -> None:
        self._data, self._ridge, self._star = data, ridge, star
        self._added = label_variance * data.hessian - ridge**2 * np.outer(star, star)
        self.hessian = data.hessian + ridge * np.eye(data.dim)
        self.noise = data.noise + self._added

    def _of_penalty(self, M: np.ndarray) -> np.ndarray:
        """What the penalty adds to E (xx' + ridge) M (xx' + ridge)."""
        crossed = self._data.hessian @ M
        return np.asarray(self._ridge * (crossed + np.swapaxes(crossed, -1, -2)) + self._ridge**2 * M)

    def fourth(self, M: np.ndarray) -> np.ndarray:
        """E (xx' + ridge) M (xx' + ridge)."""
        return np.asarray(self._data.fourth(M) + self._of_penalty(M))

    @cached_property
    def length_bound(self) -> float:
        """The largest eigenvalue of a sample's xx' + ridge."""
        return self._data.length_bound + self._ridge

    def gradient_second_moment(self, mean: np.ndarray, covariance: np.ndarray | float = 0.0) -> np.ndarray:
        """That of the data without penalty, and what penalty and labels add."""
        coupled = self._ridge * (mean @ self._data.hessian)[..., :, None] * self._star
        penalty = self._of_penalty(mean[..., :, None] * mean[..., None, :] + covariance)
        added = penalty + coupled + np.swapaxes(coupled, -1, -2) + self._added
        return np.asarray(self._data.gradient_second_moment(mean, covariance) + added)


class ScaledMoments(Moments):
    """Moments of diag(scale) x for another law of x."""

    def __init__(self, law: Moments, scale: np.ndarray) -> None:
        self._law = law
        self._scale = np.outer(scale, scale)
        self.hessian = self._scale * law.hessian
        self.noise = self._scale * law.noise

    def fourth(self, M: np.ndarray) -> np.ndarray:
        """S K(S M S) S with S = diag(scale)."""
        return np.asarray(self._scale * self._law.fourth(self._scale * M))
