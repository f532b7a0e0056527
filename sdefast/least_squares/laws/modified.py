r"""Stochastic modified equations: the SDEs that SGD follows if its step size is small, iteration k at time k gamma.

With :math:`\delta = \theta - \theta^*` and inputs N(0, H), the gradient noise of a batch of B has the covariance
:math:`\Sigma(\theta)/B`, :math:`\Sigma = (\delta'H\delta + \sigma^2) H + H\delta\delta'H`, and

.. math:: d\theta = -A\delta\,dt + \sqrt{\gamma/B}\,\Sigma(\theta)^{1/2} dW,

with A = H (order 1, weak error of order gamma), or H + gamma/2 H^2 (order 2, of order gamma^2). With the covariance at
theta* alone, sigma^2 H, it is an Ornstein-Uhlenbeck process. Li, Tai and E, Journal of Machine Learning Research 20,
2019.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ...sde.models import LinearSDE
from ...sde.models.base import Model
from ...sde.sde import SDE
from .matrices import symmetric_root

#: name -> order and covariance of a modified equation
EQUATIONS = {"order 1": (1, "full"), "order 2": (2, "full"), "Ornstein-Uhlenbeck": (1, "isotropic")}


def drift_matrix(H: np.ndarray, step_size: float, order: int) -> np.ndarray:
    """A."""
    return H if order == 1 else H + step_size / 2 * (H @ H)


def ornstein_uhlenbeck(
    H: np.ndarray, theta_star: np.ndarray, noise_std: float, step_size: float, order: int, batch_size: int
) -> LinearSDE:
    """The equation with the gradient noise that there is at theta*."""
    A = drift_matrix(H, step_size, order)
    return LinearSDE(A=-A, b=A @ theta_star, B=math.sqrt(step_size / batch_size) * noise_std * symmetric_root(H))


def full(
    H: np.ndarray, theta_star: np.ndarray, noise_std: float, step_size: float, order: int, batch_size: int
) -> Model:
    """The equation with the gradient noise that there is at theta, as d + 1 Brownian motions.

    The noise is :math:`\\sqrt{\\delta'H\\delta + \\sigma^2}\\, H^{1/2} dW_{1..d} + H\\delta\\, dW_{d+1}`.
    """
    A, root, h = drift_matrix(H, step_size, order).tolist(), symmetric_root(H).tolist(), H.tolist()
    star, d = theta_star.tolist(), len(theta_star)

    def times(matrix: list[list[float]], delta: list[Any]) -> list[Any]:
        return [sum(m * v for m, v in zip(row, delta, strict=True) if m != 0) for row in matrix]

    def drift(t: Any, x: Any, p: Any) -> Any:
        return times(A, [best - v for v, best in zip(x, star, strict=True)])

    def diffusion(t: Any, x: Any, p: Any) -> Any:
        delta = [v - best for v, best in zip(x, star, strict=True)]
        along = times(h, delta)
        scale = math.sqrt(sum(v * w for v, w in zip(delta, along, strict=True)) + p.noise * p.noise) * p.rate
        return [[scale * r if r != 0 else 0.0 for r in row] + [p.rate * w] for row, w in zip(root, along, strict=True)]

    params = {"noise": noise_std, "rate": math.sqrt(step_size / batch_size)}
    return SDE(drift, diffusion, d, "general", d + 1, params)


def expected_errors(
    eigenvalues: np.ndarray, start: np.ndarray, noise_std: float, settings: tuple[float, int, str, int], t: np.ndarray
) -> np.ndarray:
    """E|theta(t) - theta*|^2 at times ``t``; ``start`` are the squares of delta_0 in the eigenbasis of H.

    With h the eigenvalues of H, second moments v in the eigenbasis solve v' = K v + c, c = (gamma / B) sigma^2 h, where
    K = diag(-2 a), plus (gamma / B) (h h' + diag(h^2)) for the full noise: a symmetric matrix, which is diagonalised.
    """
    step_size, order, covariance, batch_size = settings
    h, rate = eigenvalues, step_size / batch_size
    a = h if order == 1 else h + step_size / 2 * h**2
    K = np.diag(-2 * a)
    if covariance == "full":
        K = K + rate * (np.outer(h, h) + np.diag(h**2))
    values, vectors = np.linalg.eigh(K)
    v, c = vectors.T @ start, vectors.T @ (rate * noise_std**2 * h)
    exponents = np.multiply.outer(t, values)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        gain = np.where(values == 0, t[..., None], np.expm1(exponents) / values)
        parts = np.where(v == 0, 0.0, np.exp(exponents) * v) + np.where(c == 0, 0.0, gain * c)
        errors = np.asarray(parts @ vectors.sum(0))
    return np.where(np.isfinite(errors), errors, np.inf)  # beyond float64, parts of both signs have no sum


def checked(step_size: Any, order: Any, covariance: Any, batch_size: Any) -> tuple[float, int, str, int]:
    """The arguments that say which equation."""
    checks.choice("covariance", covariance, ("full", "isotropic"))
    return (
        checks.real("step_size", step_size, positive=True), checks.count("order", order, most=2), covariance,
        checks.count("batch_size", batch_size),
    )  # fmt: skip


class ModifiedEquations:
    """The equations that SGD follows on a problem with Gaussian inputs; `LeastSquares` has it all."""

    theta_star: np.ndarray
    noise_std: float

    @property
    @abstractmethod
    def covariance(self) -> np.ndarray | None:
        """The covariance of Gaussian inputs, of shape (d, d); None for others."""

    def modified_equation(
        self, step_size: float, *, order: int = 1, covariance: str = "full", batch_size: int = 1
    ) -> Model:
        r"""The stochastic modified equation, an SDE for `simulate`: iteration k is time k ``step_size``.

        Parameters
        ----------
        step_size : float
            The constant step size gamma.
        order : {1, 2}
            Weak order in gamma: drift :math:`-H\delta` or :math:`-(H + \frac\gamma2 H^2)\delta`.
        covariance : {"full", "isotropic"}
            That of the gradient noise at theta, or at theta* (an Ornstein-Uhlenbeck process with closed forms).
        batch_size : int
            Samples of an iteration.

        Returns
        -------
        Model
            An `SDE`, or for "isotropic" a `LinearSDE`.

        Raises
        ------
        ValueError
            If an argument is out of range, or inputs are not Gaussian.

        References
        ----------
        Li, Tai and E, Journal of Machine Learning Research 20, 2019.

        Examples
        --------
        >>> import sdefast as sf
        >>> problem = sf.LeastSquares(theta_star=[0.1, -0.2], noise_std=0.1)
        >>> sde = problem.modified_equation(0.1, order=2)
        >>> run = sf.simulate(sde, x0=(0.0, 0.0), t1=2.0, n_steps=200, n_paths=10_000, seed=1)
        >>> bool(abs(run.mean[0, 0] - 0.1 * (1 - 2.718281828 ** (-2 * 1.05))) < 1e-2)
        True
        """
        step, order, covariance, batch = checked(step_size, order, covariance, batch_size)
        H = self._gaussian_hessian("modified_equation")
        make = full if covariance == "full" else ornstein_uhlenbeck
        return make(H, self.theta_star, self.noise_std, step, order, batch)

    def modified_expected_error(
        self, t: ArrayLike, step_size: float, *, order: int = 1, covariance: str = "full", batch_size: int = 1,
        theta0: ArrayLike | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The exact E|theta(t) - theta*|^2 of `modified_equation`, of the shape of the times ``t``.

        Parameters as there; ``theta0`` is the start, of shape (d,), zero by default.
        """
        settings = checked(step_size, order, covariance, batch_size)
        times = checks.array("t", t)
        if (times < 0).any():
            raise ValueError(f"t must not be negative, got {times.min():g}")
        values, vectors = np.linalg.eigh(self._gaussian_hessian("modified_expected_error"))
        start = checks.array("theta0", np.zeros(len(values)) if theta0 is None else theta0, shape=(len(values),))
        squares = (vectors.T @ (start - self.theta_star)) ** 2
        return expected_errors(values, squares, self.noise_std, settings, times)

    def _gaussian_hessian(self, what: str) -> np.ndarray:
        if self.covariance is None:
            raise ValueError(f"{what} needs Gaussian inputs, not {self!r}")
        return self.covariance
