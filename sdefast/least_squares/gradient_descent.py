"""Gradient descent on the loss itself: what SGD does on average, and noisy gradient descent without its noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..run.keywords import known_keywords
from ..run.report import Report
from ..run.schedule import is_constant, iteration_grid, saved_iterations, step_sizes
from .problem import OF_PROBLEMS, LeastSquares, refuse_others
from .result import Descent, described_rates, error_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class GradientDescent(Report):
    """Result of `gd`: one run, without noise, a seed or anything that is estimated.

    Attributes
    ----------
    problem : LeastSquares
        The problem.
    iterations : numpy.ndarray
        Saved iterations, of shape (n_times,); 0 is the start.
    theta : numpy.ndarray
        The parameters there, of shape (n_times, d).
    n_steps : int
        Number of iterations.
    rates : numpy.ndarray
        Step sizes, of shape (1 or n_steps, 1 or d).
    """

    problem: LeastSquares
    iterations: np.ndarray
    theta: np.ndarray = field(repr=False)
    n_steps: int
    rates: np.ndarray = field(repr=False)

    call: ClassVar[str] = "gd"
    time_word: ClassVar[str] = "iteration"

    @property
    def t(self) -> np.ndarray:
        """The saved iterations."""
        return self.iterations

    @property
    def exact(self) -> np.ndarray:
        """The same as `error`: nothing is estimated."""
        return self.error

    @property
    def error(self) -> np.ndarray:
        r""":math:`|\theta_k - \theta^*|^2`, of shape (n_times,)."""
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float64 it is infinite
            return np.asarray(((self.theta - self.problem.theta_star) ** 2).sum(-1))

    @property
    def loss(self) -> np.ndarray:
        r"""The loss :math:`L(\theta_k)`, of the stream or, for data, the mean over the rows; of shape (n_times,)."""
        delta = self.theta - self.problem.theta_star
        with np.errstate(over="ignore", invalid="ignore"):
            quadratic = ((delta @ self.problem.hessian) * delta).sum(-1)
            return np.asarray(0.5 * (quadratic + self.problem.noise_std**2))

    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""
        return {
            "problem": repr(self.problem),
            "iteration": "gradient descent",
            "step_size": described_rates(self.rates),
            "n_steps": self.n_steps,
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the error.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a single iteration was saved.
        """
        ax = error_axes(ax, self.error, self.call)
        ax.plot(self.iterations, self.error, color="C0", label="gradient descent")
        ax.legend(fontsize="small")
        return ax

    def _tabulated(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        return {"error": ((), self.error), "loss": ((), self.loss), "theta": (("component",), self.theta)}

    @classmethod
    def _from_record(cls, record: dict[str, Any]) -> GradientDescent:
        result = cls(**record)
        shape = len(result.iterations), result.problem.dim
        if result.theta.shape != shape:
            raise ValueError(f"theta is of {result.theta.shape}, not {shape}")
        return result

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(Descent, name):
            raise AttributeError(f"gd makes one run without noise, which has no {name}: sgd and noisy_gd give it")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


@known_keywords(OF_PROBLEMS)
def gd(
    problem: LeastSquares,
    *,
    step_size: Any,
    n_steps: int,
    theta0: ArrayLike | None = None,
    save_at: str | int | ArrayLike = "all",
) -> GradientDescent:
    r"""Descend along the gradient of the loss, without noise.

    .. math:: \theta_{k+1} = \theta_k - g_k \nabla L(\theta_k) = \theta_k - g_k H (\theta_k - \theta^*)

    with the gradient of the expected loss for streams, and of the mean loss over the rows for data (empirical risk
    minimisation). SGD does the same in expectation, `LeastSquares.expected_theta`, whatever its batches.

    Parameters
    ----------
    problem : LeastSquares
        Streamed or on data.
    step_size : float, array_like or callable
        One for all iterations, one for each, of shape (n_steps,), a function of the iteration k = 0, 1, ..., or one
        per parameter, of shape (1, d) or (n_steps, d).
    n_steps : int
        Number of iterations.
    theta0 : array_like of shape (d,), optional
        Start, zero by default.
    save_at : {"all", "final"}, int or array_like
        Iterations to save: all (with the start), the last, every so many, or given ones.

    Returns
    -------
    GradientDescent
        With ``iterations`` (n_times,), ``theta`` (n_times, d), ``error`` and ``loss`` (n_times,), ``plot``, ``save``,
        ``to_xarray`` and ``describe`` as every result.

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range.

    Warns
    -----
    RuntimeWarning
        If a step size that is the same in all iterations is beyond 2 / lambda_max, lambda_max the largest eigenvalue
        of H (per parameter, of the product of step sizes and H).

    References
    ----------
    Cauchy, Comptes Rendus 25, 1847. Nesterov, Introductory Lectures on Convex Optimization, 2004, section 2.1.

    Examples
    --------
    >>> import sdefast as sf
    >>> problem = sf.LeastSquares(theta_star=[1.0, -1.0], noise_std=0.1)
    >>> sf.gd(problem, step_size=0.5, n_steps=3).error.tolist()
    [2.0, 0.5, 0.125, 0.03125]
    """
    refuse_others(problem)
    theta = problem.expected_theta(step_size=step_size, n_steps=n_steps, theta0=theta0, save_at=save_at)
    rates, grid = step_sizes(step_size, n_steps, problem.dim), iteration_grid(n_steps)
    _warn_of_threshold(problem, rates)
    return GradientDescent(problem, saved_iterations(save_at, grid, problem.dim), theta, grid.n_steps, rates)


def _warn_of_threshold(problem: LeastSquares, rates: np.ndarray) -> None:
    """Of constant step sizes with which some direction grows."""
    if not is_constant(rates):
        return
    roots = np.sqrt(np.broadcast_to(rates[0], (problem.dim,)))
    largest = float(np.linalg.eigvalsh(roots[:, None] * problem.hessian * roots)[-1])  # of diag(step sizes) H
    if largest <= 2 * (1 + 1e-12):  # not for rounding
        return
    if (rates[0] == rates[0, 0]).all():
        what = f"step_size={rates[0, 0]:g} is beyond 2 / lambda_max = {2 * rates[0, 0] / largest:.6g}"
    else:
        what = f"step_size is too large: the largest eigenvalue of diag(step_size) H is {largest:.6g}, beyond 2"
    checks.warn(f"{what}: gradient descent moves away from the minimum")
