r"""Stochastic modified equations: the SDEs that SGD follows if its step size is small, iteration k at time k gamma.

With :math:`\delta = \theta - \theta^*` the gradient noise of a batch of B has the covariance :math:`\Sigma(\theta)/B`,
for inputs N(0, H) :math:`\Sigma = (\delta'H\delta + \sigma^2) H + H\delta\delta'H`, and

.. math:: d\theta = -A\delta\,dt + \sqrt{\gamma/B}\,\Sigma(\theta)^{1/2} dW,

with A = H (order 1, weak error of order gamma), or H + gamma/2 H^2 (order 2, of order gamma^2). With the covariance at
theta* alone, sigma^2 H, it is an Ornstein-Uhlenbeck process. Li, Tai and E, Journal of Machine Learning Research 20,
2019. Sigma is quadratic in theta for every law of the inputs, so that second moments are closed for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ... import checks, resources
from ...lazy import cached_property
from ...sde.models import LinearSDE
from ...sde.models.base import Model, OwnStep
from ...sde.sde import SDE
from ...trace.sums import sum_over
from . import krylov
from .matrices import eigenbasis, is_diagonal, symmetric_root
from .moments import GaussianMoments, Moments
from .spectrum import Spectrum

#: name -> order and covariance of a modified equation
EQUATIONS = {"order 1": (1, "full"), "order 2": (2, "full"), "Ornstein-Uhlenbeck": (1, "isotropic")}


def drift_matrix(H: np.ndarray, step_size: float, order: int) -> np.ndarray:
    """A."""
    return H if order == 1 else H + step_size / 2 * (H @ H)


#: Correlated parameters up to which the equation is written out; beyond, its matrices are multiplied in loops.
_WRITTEN_OUT = 8


def ornstein_uhlenbeck(
    moments: Moments, theta_star: np.ndarray, noise_std: float, step_size: float, order: int, batch_size: int
) -> LinearSDE:
    """The equation with the gradient noise that there is at theta*."""
    A = drift_matrix(moments.hessian, step_size, order)
    root = symmetric_root(moments.noise)
    if isinstance(moments, GaussianMoments):  # (the noise may be zero, and H not)
        root = noise_std * symmetric_root(moments.hessian)
    return LinearSDE(A=-A, b=A @ theta_star, B=math.sqrt(step_size / batch_size) * root)


def full(
    moments: Moments, theta_star: np.ndarray, noise_std: float, step_size: float, order: int, batch_size: int
) -> Model:
    """The equation with the gradient noise that there is at theta, as d + 1 Brownian motions."""
    equation = ModifiedEquation(moments.hessian, theta_star, noise_std, step_size, order, batch_size)
    few = equation.dim <= _WRITTEN_OUT or is_diagonal(moments.hessian)
    return SDE(**equation.in_python()) if few else equation


@dataclass(frozen=True, eq=False)
class ModifiedEquation(Model):
    r"""The modified equation for Gaussian inputs, as `LeastSquares.modified_equation` gives it for many parameters.

    The noise is :math:`\sqrt{\gamma/B}\,(\sqrt{\delta'H\delta + \sigma^2}\, H^{1/2} dW_{1..d} + H\delta\, dW_{d+1})`.
    Euler-Maruyama goes through the eigenvectors of H in a loop, so that it is compiled in a moment however many
    parameters there are; other schemes write all coefficients out.
    """

    hessian: np.ndarray
    theta_star: np.ndarray
    noise_std: float
    step_size: float
    order: int = 1
    batch_size: int = 1

    schemes: ClassVar[Mapping[str, str]] = {}
    noise_kind: ClassVar[str] = "general"

    def __post_init__(self) -> None:
        for name in ("hessian", "theta_star"):
            own = np.array(getattr(self, name), np.float64)
            own.flags.writeable = False
            object.__setattr__(self, name, own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModifiedEquation) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        matrices = self.hessian.tobytes(), self.theta_star.tobytes()
        return *matrices, self.noise_std, self.step_size, self.order, self.batch_size

    def __repr__(self) -> str:
        return (
            f"ModifiedEquation(dim={self.dim}, noise_std={self.noise_std:g}, step_size={self.step_size:g}, "
            f"order={self.order}, batch_size={self.batch_size})"
        )

    @property
    def dim(self) -> int:
        """Number of parameters, d."""
        return len(self.theta_star)

    @property
    def noise_dim(self) -> int:
        """Number of Brownian motions, d + 1."""
        return self.dim + 1

    def check_start(self, x0: np.ndarray) -> None:
        """Start values have d components."""
        if x0.shape[-1:] != (self.dim,):
            raise ValueError(f"x0 must have shape (..., {self.dim}), got {x0.shape}")

    def parameters(self) -> dict[str, Any]:
        """The numbers that the compiled code takes: sigma and sqrt(gamma / B)."""
        return {"noise": self.noise_std, "rate": math.sqrt(self.step_size / self.batch_size)}

    def rates(self, t: float, x: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """Drift and strength of the noise of every component at a point."""
        delta = np.asarray(x, np.float64) - self.theta_star
        along = self.hessian @ delta
        squares = (delta @ along + self.noise_std**2) * np.diag(self.hessian) + along**2
        rate = math.sqrt(self.step_size / self.batch_size)
        return (-self.drift_matrix @ delta).tolist(), (rate * np.sqrt(squares)).tolist()

    @property
    def drift_matrix(self) -> np.ndarray:
        """A, of shape (d, d)."""
        return drift_matrix(self.hessian, self.step_size, self.order)

    @cached_property
    def _modes(self) -> np.ndarray:
        """A row for each eigenvector of H: its d entries, the eigenvalues of H and of A, and the root of the first."""
        h, vectors = eigenbasis(self.hessian)
        return np.column_stack([vectors.T, h, _rates(h, self.step_size, self.order), np.sqrt(h)])

    def in_python(self) -> dict[str, Any]:
        """The equation in scalar Python code, with its matrices compiled in."""
        A, root, h = (m.tolist() for m in (self.drift_matrix, symmetric_root(self.hessian), self.hessian))
        star, d = self.theta_star.tolist(), self.dim

        def times(matrix: list[list[float]], delta: list[Any]) -> list[Any]:
            return [sum(m * v for m, v in zip(row, delta, strict=True) if m != 0) for row in matrix]

        def drift(t: Any, x: Any, p: Any) -> Any:
            return times(A, [best - v for v, best in zip(x, star, strict=True)])

        def diffusion(t: Any, x: Any, p: Any) -> Any:
            delta = [v - best for v, best in zip(x, star, strict=True)]
            along = times(h, delta)
            scale = math.sqrt(sum(v * w for v, w in zip(delta, along, strict=True)) + p.noise * p.noise) * p.rate
            return [
                [scale * r if r != 0 else 0.0 for r in row] + [p.rate * w] for row, w in zip(root, along, strict=True)
            ]

        return {
            "drift": drift, "diffusion": diffusion, "dim": d, "noise": self.noise_kind, "noise_dim": d + 1,
            "params": self.parameters(),
        }  # fmt: skip

    own_steps: ClassVar[Mapping[str, str]] = {"euler-maruyama": "_own_euler_maruyama"}

    def _own_euler_maruyama(self) -> OwnStep:
        """In loops over the eigenvectors."""
        return OwnStep(self._along_modes, n_normals=self.dim + 1)

    def _along_modes(self, h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
        """With u = q'delta and w = q'z the change along an eigenvector q is -a u h + sqrt(h) (s sqrt(l) w + l u z').

        l and a are the eigenvalues of H and A, z' is the last normal, and s = sqrt(delta'H delta + sigma^2), all noise
        times sqrt(gamma / B).
        """
        d, modes = self.dim, self._modes
        delta = [v - best for v, best in zip(x, self.theta_star.tolist(), strict=True)]

        def dot(q: Any, vector: Any) -> Any:
            return sum(a * b for a, b in zip(q, vector, strict=True))

        def part(row: Any) -> Any:
            u = dot(row[:d], delta)
            return row[d] * u * u

        scale = math.sqrt(sum_over(part, [modes]) + p.noise * p.noise)

        def change(row: Any) -> Any:
            u, w = dot(row[:d], delta), dot(row[:d], z[:d])
            along = root * p.rate * (scale * row[d + 2] * w + row[d] * u * z[d]) - h * row[d + 1] * u
            return tuple(along * q for q in row[:d])

        return tuple(v + c for v, c in zip(x, sum_over(change, [modes]), strict=True))


def expected_errors(
    moments: Moments, delta: np.ndarray, settings: tuple[float, int, str, int], t: np.ndarray
) -> np.ndarray:
    r"""E|theta(t) - theta*|^2 at times ``t`` from theta(0) = theta* + delta, for any law of the inputs.

    M = E delta delta' and m = E delta solve, with K and N of `moments` and C = 0 but for data,

    .. math::

        M' = -AM - MA + \frac\gamma B (K(M) - 2 C(m) + N - HMH), \qquad m' = -A m,

    or with N alone in the parentheses for the noise at theta*.
    """
    step_size, order, covariance, batch_size = settings
    how = moments, delta, step_size, order, step_size / batch_size, t
    if covariance == "isotropic":
        return _of_constant_noise(*how)
    spectrum = moments.spectrum()
    return _of_matrices(*how) if spectrum is None else _of_modes(spectrum, *how[1:])


def _of_constant_noise(
    moments: Moments, delta: np.ndarray, step_size: float, order: int, rate: float, t: np.ndarray
) -> np.ndarray:
    """Coordinate by coordinate in the eigenbasis of H."""
    h, Q = np.linalg.eigh(moments.hessian)
    noise = rate * ((Q.T @ moments.noise) * Q.T).sum(axis=1)
    return _solution(-2 * _rates(h, step_size, order), (Q.T @ delta) ** 2, noise, np.ones(len(h)), t)


def _of_modes(
    spectrum: Spectrum, delta: np.ndarray, step_size: float, order: int, rate: float, t: np.ndarray
) -> np.ndarray:
    """By w_a = tr(P_a M) on the eigenspaces of H: a symmetric system for w_a / sqrt(size)."""
    h, root = spectrum.values, np.sqrt(spectrum.sizes)
    spread = (spectrum.fourth - np.diag(h**2)) * root / root[:, None]
    values, U = np.linalg.eigh(np.diag(-2 * _rates(h, step_size, order)) + rate * spread)
    start, noise = spectrum.squares(delta) / root, rate * spectrum.noise / root
    return _solution(values, U.T @ start, U.T @ noise, U.T @ root, t)


#: Matrices of a Krylov space at most.
_MOST_MATRICES = 512


def _of_matrices(
    moments: Moments, delta: np.ndarray, step_size: float, order: int, rate: float, t: np.ndarray
) -> np.ndarray:
    """For data: the map of M is self-adjoint, and tr M(t) is what M(0) and the noise are to exp(t map) applied to I.

    So it is enough to know the map on the Krylov space of I.
    """
    H, d, moments = moments.hessian, moments.dim, moments.for_products(128)
    resources.refuse_too_large(8 * 64 * d * d, f"second moments of {d} parameters of data", ["fewer parameters"])
    A = drift_matrix(H, step_size, order)

    def apply(M: np.ndarray) -> np.ndarray:
        AM = A @ M
        return np.asarray(-AM - AM.T + rate * (moments.fourth(M) - H @ M @ H))

    space = krylov.invariant_enough(apply, np.eye(d), float(t.max(initial=0.0)), _MOST_MATRICES)
    values, U = space.eigen()
    basis = np.array(space.basis[: len(values)])

    def coordinates(M: Any) -> np.ndarray:
        return np.asarray(U.T @ np.tensordot(basis, M, 2))

    weights = math.sqrt(d) * U[0]
    errors = _solution(values, coordinates(np.outer(delta, delta)), coordinates(rate * moments.noise), weights, t)
    h, Q = np.linalg.eigh(H)
    for a, q in zip(_rates(h, step_size, order), Q.T, strict=True):
        pull = weights * coordinates(-2 * rate * (q @ delta) * moments.coupling(q))
        errors = errors + _convolved(values, -float(a), t) @ pull
    return np.where(np.isfinite(errors), errors, np.inf)


def _rates(h: np.ndarray, step_size: float, order: int) -> np.ndarray:
    """The eigenvalues of A for those of H."""
    return h if order == 1 else h + step_size / 2 * h**2


def _solution(values: np.ndarray, v: np.ndarray, c: np.ndarray, weights: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The sum of weights times the solutions of v' = values v + c at times ``t``, infinite beyond float64."""
    exponents = np.multiply.outer(t, values)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        gain = np.where(values == 0, t[..., None], np.expm1(exponents) / values)
        parts = np.where(v == 0, 0.0, np.exp(exponents) * v) + np.where(c == 0, 0.0, gain * c)
        errors = np.asarray(parts @ weights)
    return np.where(np.isfinite(errors), errors, np.inf)  # beyond float64, parts of both signs have no sum


def _convolved(values: np.ndarray, rate: float, t: np.ndarray) -> np.ndarray:
    """The integral of exp((t - s) value + s rate) over s from 0 to t, of shape t.shape + values.shape."""
    high, gap = np.maximum(values, rate), np.abs(values - rate)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        short = -np.expm1(-np.multiply.outer(t, gap)) / gap
        return np.asarray(np.exp(np.multiply.outer(t, high)) * np.where(gap == 0, t[..., None], short))


def checked(step_size: Any, order: Any, covariance: Any, batch_size: Any) -> tuple[float, int, str, int]:
    """The arguments that say which equation."""
    checks.choice("covariance", covariance, ("full", "isotropic"))
    return (
        checks.real("step_size", step_size, positive=True), checks.count("order", order, most=2), covariance,
        checks.count("batch_size", batch_size),
    )  # fmt: skip


class ModifiedEquations:
    """The equations that SGD follows on a problem; `LeastSquares` has it all."""

    theta_star: np.ndarray
    noise_std: float
    _moments: Moments

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
            An `SDE`, for more than 8 correlated parameters a `ModifiedEquation`, which Euler-Maruyama runs in loops, or
            for "isotropic" a `LinearSDE`.

        Raises
        ------
        ValueError
            If an argument is out of range, or inputs are not Gaussian, whose noise alone has a root in closed form:
            ``covariance="isotropic"`` and `modified_expected_error` take any inputs, and data.

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
        if covariance == "full" and not isinstance(self._moments, GaussianMoments):
            raise ValueError(
                f"modified_equation needs Gaussian inputs for covariance='full', not {self!r}; covariance='isotropic', "
                "modified_expected_error and compare take any"
            )
        make = full if covariance == "full" else ornstein_uhlenbeck
        return make(self._moments, self.theta_star, self.noise_std, step, order, batch)

    def modified_expected_error(
        self, t: ArrayLike, step_size: float, *, order: int = 1, covariance: str = "full", batch_size: int = 1,
        theta0: ArrayLike | None = None,
    ) -> np.ndarray:  # fmt: skip
        r"""The exact E|theta(t) - theta*|^2 of the modified equation, of the shape of the times ``t``.

        Parameters as for `modified_equation`; ``theta0`` is the start, of shape (d,), zero by default. Inputs may have
        any law with a fourth moment (for "isotropic" any), and be data: the second moment M solves
        :math:`M' = -AM - MA + \frac\gamma B (K(M) - HMH + N)`, with a term in the mean besides for data, whose
        residuals are not independent of the inputs.

        Raises
        ------
        ValueError
            If an argument is out of range, the fourth moment of the inputs is infinite, or, for data, the times are so
            long that the second moment's spectrum would have to be known.

        Examples
        --------
        >>> import sdefast as sf
        >>> problem = sf.LeastSquares([1.0, -1.0], 0.1, inputs=sf.inputs.Uniform(-1, 1))
        >>> problem.modified_expected_error([0.0, 3.0], 0.1, order=2).round(4)
        array([2.    , 0.2789])
        """
        settings = checked(step_size, order, covariance, batch_size)
        times = checks.array("t", t)
        if (times < 0).any():
            raise ValueError(f"t must not be negative, got {times.min():g}")
        d = len(self.theta_star)
        start = checks.array("theta0", np.zeros(d) if theta0 is None else theta0, shape=(d,))
        return expected_errors(self._moments, start - self.theta_star, settings, times)
