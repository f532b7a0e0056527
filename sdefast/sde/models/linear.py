"""Linear equations with additive noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import _core, checks
from ...lazy import cached_property
from ..linear_moments import linear_moments
from . import laws
from .base import Model, Step

_MOST_COMPONENTS = _core.largest_dim


@dataclass(frozen=True, eq=False)
class LinearSDE(Model):
    r"""Linear equation with additive noise, :math:`dX = (A X + b)\,dt + B\,dW`.

    Parameters
    ----------
    A : array_like of shape (d, d)
        Matrix of the drift, with d up to 8192.
    b : array_like of shape (d,), optional
        Constant part of the drift, zero by default.
    B : array_like of shape (d, m), optional
        Matrix of the noise, with m up to 8192; the identity by default.

    References
    ----------
    Van Loan, IEEE Transactions on Automatic Control 23, 1978. Särkkä and Solin, Applied Stochastic Differential
    Equations, 2019, chapter 6.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.LinearSDE(A=[[0.0, 1.0], [-1.0, -1.0]], B=[[0.0], [2.0]]).stationary_covariance().round(12)
    array([[2., 0.],
           [0., 2.]])
    """

    A: Any
    b: Any = None
    B: Any = None

    schemes: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_euler_maruyama", "exact": "_exact"}
    additive_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        A = checks.array("A", self.A)
        if A.ndim != 2 or A.shape[0] != A.shape[1] or not 1 <= len(A) <= _MOST_COMPONENTS:
            raise ValueError(f"A must have shape (d, d) with d from 1 to {_MOST_COMPONENTS}, got {A.shape}")
        d = len(A)
        b = checks.array("b", np.zeros(d) if self.b is None else self.b, shape=(d,))
        B = checks.array("B", np.eye(d) if self.B is None else self.B, shape=(d, None))
        if not 1 <= B.shape[1] <= _MOST_COMPONENTS:
            raise ValueError(f"B must have shape ({d}, m) with m from 1 to {_MOST_COMPONENTS}, got {B.shape}")
        for name, value in (("A", A), ("b", b), ("B", B)):
            own = np.ascontiguousarray(value + 0.0)  # a copy, without -0.0, so that equal models have equal bytes
            own.flags.writeable = False
            object.__setattr__(self, name, own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearSDE) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a call, so that the copy's arrays are read-only too."""
        return type(self), (self.A, self.b, self.B)

    def _key(self) -> tuple[Any, ...]:
        return self.B.shape, self.A.tobytes(), self.b.tobytes(), self.B.tobytes()

    @property
    def dim(self) -> int:
        """Number of components of the state, d."""
        return len(self.A)

    @property
    def noise_dim(self) -> int:
        """Number of independent Brownian motions, m."""
        return int(self.B.shape[1])

    def noise_dim_of(self, scheme: str) -> int:
        """Number of normals per step: m for Euler-Maruyama, d for the exact transition."""
        return self.dim if scheme == "exact" else self.noise_dim

    def in_python(self) -> dict[str, Any]:
        """The equation in scalar Python code, with its matrices compiled in."""
        A, b, B = self.A.tolist(), self.b.tolist(), self.B.tolist()

        def drift(t: Any, x: Any, p: Any) -> Any:
            return [sum((a * xj for a, xj in zip(row, x, strict=True)), bi) for row, bi in zip(A, b, strict=True)]

        return {
            "drift": drift, "diffusion": lambda t, x, p: B, "dim": self.dim, "noise": "additive",
            "noise_dim": self.noise_dim, "linear": self.A,
        }  # fmt: skip

    def rates(self, t: float, x: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """Drift and strength of the noise of every component at a point."""
        return (self.A @ x + self.b).tolist(), self._noise_strength

    @cached_property
    def _noise_strength(self) -> list[float]:
        strength: list[float] = np.sqrt(np.einsum("ij,ij->i", self.B, self.B)).tolist()
        return strength

    # Both schemes are the kernel X += M X + c + L Z; a row of coefficients is M, c and L, each row by row.

    @property
    def _kernel(self) -> str:
        few = self.dim <= _core.largest_wide_dim and self.noise_dim <= _core.most_wide_draws
        return "linear" if few else "linear_of_many"

    def _euler_maruyama(self, h: np.ndarray) -> Step:
        matrix, constant, noise = (part.ravel() for part in (self.A, self.b, self.B))
        return Step(self._kernel, np.hstack([np.outer(h, matrix), np.outer(h, constant), np.outer(np.sqrt(h), noise)]))

    def _exact(self, h: np.ndarray) -> Step:
        M, c, C = self._moments(h)
        L = np.stack([_root(covariance) for covariance in C]) if len(h) else C
        return Step(self._kernel, np.hstack([M.reshape(len(h), -1), c, L.reshape(len(h), -1)]))

    def check_start(self, x0: np.ndarray) -> None:
        """Start values have d components."""
        start = checks.array("x0", x0)
        if start.ndim == 0 or start.shape[-1] != self.dim:
            raise ValueError(f"x0 must have shape (..., {self.dim}), got {start.shape}")

    def mean(self, t: ArrayLike, x0: ArrayLike) -> np.ndarray:
        """E[X(t)] given X(0) = x0 of shape (..., d); ``t`` and ``x0[..., 0]`` broadcast to all but the last axis."""
        t, x0 = laws.elapsed("t", t), checks.array("x0", x0)
        self.check_start(x0)
        M, c, _ = self._moments(t)
        return np.asarray(x0 + np.einsum("...ij,...j->...i", M, x0) + c)

    def covariance(self, t: ArrayLike, x0: ArrayLike | None = None) -> np.ndarray:
        """Covariance matrix of X(t) given X(0), of shape ``t.shape + (d, d)``; it does not depend on the start."""
        return self._moments(laws.elapsed("t", t))[2]

    def variance(self, t: ArrayLike, x0: ArrayLike | None = None) -> np.ndarray:
        """Variances of the components of X(t) given X(0), of shape ``t.shape + (d,)``."""
        return np.diagonal(self.covariance(t), axis1=-2, axis2=-1).copy()

    def stationary_covariance(self) -> np.ndarray:
        """Covariance of the stationary law, the solution C of A C + C A' + B B' = 0."""
        slowest = float(np.linalg.eigvals(self.A).real.max())
        if slowest >= 0:
            raise ValueError(
                "stationary_covariance needs A to be stable, that is all its eigenvalues to have negative real parts, "
                f"got one with real part {slowest:g}"
            )
        one = np.eye(self.dim)
        equation = np.kron(self.A, one) + np.kron(one, self.A)
        C = np.linalg.solve(equation, -(self.B @ self.B.T).ravel()).reshape(self.dim, self.dim)
        return np.asarray(0.5 * (C + C.T))

    def transition(self, t: float, x0: ArrayLike) -> laws.Distribution:
        """Law of X(t) given X(0) = x0 of shape (d,), a frozen multivariate normal distribution of `scipy.stats`."""
        t, start = checks.real("t", t, least=0.0), checks.array("x0", x0, shape=(self.dim,))
        return laws.scipy_stats().multivariate_normal(self.mean(t, start), self.covariance(t), allow_singular=True)

    def _moments(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`linear_moments` over each of the times ``t``, computed once per distinct time."""
        distinct, where = np.unique(t, return_inverse=True)
        Q = self.B @ self.B.T
        moments = [linear_moments(self.A, self.b, Q, float(time)) for time in distinct]
        shapes = (self.A.shape, self.b.shape, self.A.shape)
        M, c, C = (
            np.array([moment[i] for moment in moments]).reshape(-1, *shape)[where.ravel()].reshape(*t.shape, *shape)
            for i, shape in enumerate(shapes)
        )
        return M, c, C


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix L with L L' = covariance: the Cholesky factor, or for a singular covariance one of eigenvectors."""
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
