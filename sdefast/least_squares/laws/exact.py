"""The exact laws of SGD on least squares, as methods: curves, thresholds, stationary covariances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks, resources
from ...run.schedule import constant_steps, iteration_grid, saved_iterations, step_sizes
from . import thresholds
from .epochs import recursion
from .moments import GaussianMoments, Moments


class ExactLaws:
    """What is known exactly about SGD on a problem, from the moments of its samples; `LeastSquares` has it all."""

    theta_star: np.ndarray
    noise_std: float
    _moments: Moments

    @property
    def dim(self) -> int:
        """Number of parameters, d."""
        return len(self.theta_star)

    @property
    def hessian(self) -> np.ndarray:
        """H, of shape (d, d)."""
        return self._moments.hessian

    def expected_theta(
        self,
        *,
        step_size: Any,
        n_steps: int,
        theta0: ArrayLike | None = None,
        batch_size: int = 1,
        save_at: Any = "final",
        sampling: str = "replacement",
        momentum: float = 0.0,
    ) -> np.ndarray:
        """E theta_k, which does not depend on the batch size with replacement.

        Parameters
        ----------
        step_size : float, array_like or callable
            A number, an array of shape (n_steps,), a function of the iteration k = 0, 1, ..., or step sizes per
            parameter of shape (1, d) or (n_steps, d); see `schedule.step_sizes`.
        n_steps : int
            Number of iterations.
        theta0 : array_like of shape (d,), optional
            Start, zero by default.
        batch_size : int
            Samples per step.
        save_at : {"final", "all"}, int or array_like
            Iterations to return: the last, all from 0 to n_steps, every so many, or these.
        sampling : {"replacement", "shuffle"}
            How rows of data are picked; see `expected_error`.
        momentum : float
            The part of the last move that is kept, see `sgd`.

        Returns
        -------
        numpy.ndarray
            Of shape (n_saved, d).

        Raises
        ------
        ValueError
            If an argument is out of range, or shuffled epochs have no exact law.
        """
        delta0, steps, n_steps = self._start(step_size, n_steps, theta0)
        path = recursion(self._moments, batch_size, sampling, momentum).means(delta0, steps, n_steps)
        saved = saved_iterations(save_at, iteration_grid(n_steps), self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self.theta_star + _pick(path, saved, np.empty((len(saved), self.dim))))

    def second_moment(
        self,
        *,
        step_size: Any,
        n_steps: int,
        theta0: ArrayLike | None = None,
        batch_size: int = 1,
        save_at: Any = "final",
        sampling: str = "replacement",
        momentum: float = 0.0,
    ) -> np.ndarray:
        """M_k = E (theta_k - theta*)(theta_k - theta*)', of shape (n_saved, d, d).

        A step costs O(d^2) for Gaussian inputs with one step size for all parameters and for independent coordinates,
        O(d^3) for Gaussian inputs with step sizes per parameter, O(n d^2) for data. Arguments as in `expected_theta`,
        and the number ``batch_size`` of samples per step; for ``sampling="shuffle"`` see `expected_error`. Matrices
        beyond float64 have an infinite diagonal and are nan elsewhere.

        Raises
        ------
        ValueError
            If an argument is out of range, or the fourth moment of the inputs is infinite.
        MemoryError
            If the saved matrices cannot fit.
        """
        return self._matrices(step_size, n_steps, theta0, batch_size, save_at, sampling, momentum, centred=False)

    def theta_covariance(
        self,
        *,
        step_size: Any,
        n_steps: int,
        theta0: ArrayLike | None = None,
        batch_size: int = 1,
        save_at: Any = "final",
        sampling: str = "replacement",
        momentum: float = 0.0,
    ) -> np.ndarray:
        """Cov theta_k, of shape (n_saved, d, d); as `second_moment`, about the mean `expected_theta`."""
        return self._matrices(step_size, n_steps, theta0, batch_size, save_at, sampling, momentum, centred=True)

    def _matrices(
        self, step_size: Any, n_steps: int, theta0: Any, batch_size: int, save_at: Any, sampling: str, momentum: float,
        centred: bool,
    ) -> np.ndarray:  # fmt: skip
        delta0, steps, n_steps = self._start(step_size, n_steps, theta0)
        moments, basis = self._moments.in_eigenbasis() if steps.shape[1] == 1 else (self._moments, None)
        if basis is not None:
            delta0 = delta0 @ basis
        path = recursion(moments, batch_size, sampling, momentum).mean_and_covariance(delta0, steps, n_steps)
        d = self.dim
        saved = saved_iterations(save_at, iteration_grid(n_steps), 3 * d * d)
        with np.errstate(over="ignore", invalid="ignore"):
            matrices = (C if centred else C + np.outer(m, m) for m, C in path)
            result = _pick(matrices, saved, np.empty((len(saved), d, d)))
            if basis is not None:
                result = basis @ result @ basis.T
        lost = ~np.isfinite(result).all(axis=(1, 2))
        result[lost] = np.where(np.eye(d, dtype=bool), np.inf, np.nan)
        return np.asarray(0.5 * (result + np.swapaxes(result, 1, 2)))

    def expected_error(
        self,
        *,
        step_size: Any,
        n_steps: int,
        theta0: ArrayLike | None = None,
        batch_size: int = 1,
        averaging: str | bool | None = None,
        sampling: str = "replacement",
        momentum: float = 0.0,
        average_from: int = 0,
    ) -> np.ndarray:
        """The error curve E|theta_k - theta*|^2 for k = 0, ..., n_steps.

        A step costs O(1) for Gaussian inputs with H = c I and for independent coordinates, O(d^2) for other Gaussian
        inputs, and what `second_moment` costs for data and for step sizes per parameter. A step size beyond
        `mean_square_threshold` is welcome: the curve then grows, up to infinity.

        Parameters
        ----------
        step_size, n_steps, theta0
            As in `expected_theta`.
        batch_size : int
            Samples per step.
        averaging : {None, "polyak-ruppert", True}
            With "polyak-ruppert" the error of the mean of the k iterates theta_0, ..., theta_{k-1}; for k = 0 that of
            theta_0.
        sampling : {"replacement", "shuffle"}
            How rows of data are picked: anew at every iteration, or in the order of a fresh uniform permutation of the
            n rows in each epoch of n // batch_size iterations, which skips the rows left over. Shuffled epochs have an
            exact law for up to 14 different rows (see `epochs`: an epoch goes through their 2^n sets), and for batches
            of more than half the data.
        momentum : float
            The part of the last move that is kept, see `sgd`. A step then costs O(d^3) besides the moments.
        average_from : int
            The first iterate that is averaged: at k beyond it the error is that of the mean of theta_average_from to
            theta_{k-1}, until then that of theta_{k-1}.

        Returns
        -------
        numpy.ndarray
            Of shape (n_steps + 1,).

        Raises
        ------
        ValueError
            If an argument is out of range, the fourth moment of the inputs is infinite, or shuffled epochs have no
            exact law.

        Examples
        --------
        >>> import sdefast as sf
        >>> problem = sf.LeastSquares(data=([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]))
        >>> problem.expected_error(step_size=0.1, n_steps=3, sampling="shuffle").round(4)
        array([2.25  , 1.4867, 0.9306, 0.5316])
        >>> problem = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
        >>> problem.expected_error(step_size=0.005, n_steps=400, momentum=0.9)[[50, 100, 400]].round(10)
        array([0.03996129, 0.00243736, 0.00147287])
        """
        return self._errors(
            step_size, n_steps, theta0, batch_size, averaging, sampling, momentum, average_from, loss=False
        )

    def expected_loss(
        self,
        *,
        step_size: Any,
        n_steps: int,
        theta0: ArrayLike | None = None,
        batch_size: int = 1,
        averaging: str | bool | None = None,
        sampling: str = "replacement",
        momentum: float = 0.0,
        average_from: int = 0,
    ) -> np.ndarray:
        """E L(theta_k) for k = 0, ..., n_steps, of shape (n_steps + 1,); everything else as in `expected_error`."""
        quadratic = self._errors(
            step_size, n_steps, theta0, batch_size, averaging, sampling, momentum, average_from, loss=True
        )
        return np.asarray(0.5 * (quadratic + self.noise_std**2))

    def _errors(
        self, step_size: Any, n_steps: int, theta0: Any, batch_size: int, averaging: Any, sampling: str,
        momentum: float, average_from: int, loss: bool,
    ) -> np.ndarray:  # fmt: skip
        delta0, steps, n_steps = self._start(step_size, n_steps, theta0)
        law = recursion(self._moments, batch_size, sampling, momentum)
        resources.refuse_too_large(16 * (n_steps + 1), "the error curve", ["n_steps= fewer"])
        averaged = checks.averaging(averaging)
        first = checks.average_from(average_from, averaged)
        with np.errstate(over="ignore", invalid="ignore"):
            # An average of k iterates ends with theta_{k-1}.
            curve = law.errors(delta0, steps, n_steps - averaged, loss, averaged, first)
        return np.concatenate([curve[:1], curve]) if averaged else curve

    def stationary_covariance(self, step_size: ArrayLike, batch_size: int = 1, continuous: bool = False) -> np.ndarray:
        r"""Covariance of the stationary law of SGD, about theta*, with its multiplicative noise; see `thresholds`.

        Parameters
        ----------
        step_size : float or array_like of shape (d,)
            Constant step size, or one per parameter.
        batch_size : int
            Samples per step.
        continuous : bool
            The stationary covariance of the first-order modified equation
            :math:`d\delta = -H\delta\,dt + \sqrt{g / B}\,\Sigma(\theta)^{1/2} dB` instead.

        Returns
        -------
        numpy.ndarray
            Of shape (d, d); zero in directions that the inputs never take.

        Raises
        ------
        ValueError
            If the step size is not below the mean-square threshold, so that there is no finite covariance.

        See Also
        --------
        sdefast.least_squares.constant_noise_covariance : the Lyapunov equation of a constant noise.
        """
        steps, batch_size = constant_steps(step_size, self.dim), checks.count("batch_size", batch_size)
        continuous = checks.flag("continuous", continuous)
        C = thresholds.stationary_covariance(self._moments, steps, batch_size, continuous)
        if C is None:
            limit = f" {self.mean_square_threshold(batch_size, continuous):g}" if len(steps) == 1 else ""
            raise ValueError(
                f"step_size must be below the mean-square threshold{limit} for a finite stationary covariance, "
                f"got {checks.shown(step_size)}"
            )
        return C

    def error_floor(self, step_size: ArrayLike, batch_size: int = 1) -> float:
        """The limit of E|theta_k - theta*|^2 for a constant step size; infinite from the mean-square threshold on.

        For Gaussian inputs with H = I it is g^2 sigma^2 d / (B (1 - rho)), rho = (1-g)^2 + g^2 (d+1) / B. Arguments as
        in `stationary_covariance`, whose trace it is.
        """
        steps, batch_size = constant_steps(step_size, self.dim), checks.count("batch_size", batch_size)
        C = thresholds.stationary_covariance(self._moments, steps, batch_size)
        return math.inf if C is None else float(np.trace(C))

    def optimal_step_size(self, batch_size: int = 1, n_data: int | None = None) -> float:
        r"""The constant step size whose stationary law is nearest to the posterior :math:`\propto e^{-N L(\theta)}`.

        It is :math:`2 B d / (N \operatorname{tr} C)` with C the covariance of a sample's gradient at theta*; of all
        step sizes it has the least Kullback-Leibler divergence of the stationary law of the first-order modified
        equation with constant noise (Mandt, Hoffman and Blei, Journal of Machine Learning Research 18, 2017, theorem
        1). The loss is that of the log likelihood with labels of variance 1.

        Parameters
        ----------
        batch_size : int
            Samples per step, B.
        n_data : int, optional
            N, the number of rows that the posterior knows; for a problem on data theirs by default.

        Raises
        ------
        ValueError
            If ``n_data`` is missing, or the gradients have no noise.

        Examples
        --------
        >>> import sdefast as sf
        >>> sf.LeastSquares(theta_star=[1.0, 2.0], noise_std=0.5).optimal_step_size(n_data=1000)
        0.008
        """
        batch_size = checks.count("batch_size", batch_size)
        known = getattr(self, "n_data", None) if n_data is None else n_data
        if known is None:
            raise ValueError("n_data must be given for a stream: the number of rows that the posterior knows")
        n = checks.count("n_data", known)
        total = float(np.trace(self._moments.gradient_second_moment(np.zeros(self.dim))))
        if total <= 0:
            raise ValueError("optimal_step_size needs gradients with noise at the minimiser; these have none")
        return 2 * batch_size * self.dim / (n * total)

    def mean_square_threshold(self, batch_size: int = 1, continuous: bool = False) -> float:
        """The step size below which E|theta_k|^2 stays bounded; for Gaussian inputs with H = I, 2 B / (B + d + 1).

        If ``continuous``, that of the first-order modified equation, 2 B / (d + 1); infinite if there is none.
        """
        batch_size = checks.count("batch_size", batch_size)
        return thresholds.mean_square_threshold(self._moments, batch_size, checks.flag("continuous", continuous))

    def almost_sure_threshold(self) -> float:
        """The step size below which almost every run stays stable, for Gaussian inputs with H = c I and batch size 1.

        It is the root of the Lyapunov exponent and lies above `mean_square_threshold`. In between, without noise, every
        run converges to theta* though E|theta_k - theta*|^2 diverges; with noise the stationary law has no variance.

        Raises
        ------
        ValueError
            For all other inputs: their Lyapunov exponent, of a product of random matrices, has no formula.
        """
        return thresholds.almost_sure_threshold(self.dim) / self._isotropic_scale("almost_sure_threshold")

    def fourth_moment_threshold(self) -> float:
        """The step size below which E|theta_k|^4 stays bounded, for Gaussian inputs with H = c I and batch size 1.

        Above it the sample mean of the error over runs has no standard error.

        Raises
        ------
        ValueError
            For all other inputs.
        """
        return thresholds.fourth_moment_threshold(self.dim) / self._isotropic_scale("fourth_moment_threshold")

    def _isotropic_scale(self, what: str) -> float:
        if not self._isotropic:
            raise ValueError(f"{what} is available for Gaussian inputs with a covariance c I, c > 0, only, got {self}")
        return self._isotropic

    @property
    def _isotropic(self) -> float | None:
        """c if the inputs are N(0, c I)."""
        gaussian = isinstance(self._moments, GaussianMoments) and self._moments.is_isotropic
        return float(self.hessian[0, 0]) if gaussian else None

    def _start(self, step_size: Any, n_steps: Any, theta0: Any) -> tuple[np.ndarray, np.ndarray, int]:
        n_steps = checks.count("n_steps", n_steps)
        theta = np.zeros(self.dim) if theta0 is None else checks.array("theta0", theta0, shape=(self.dim,))
        return theta - self.theta_star, step_sizes(step_size, n_steps, self.dim), n_steps


def _pick(path: Any, saved: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The items of ``path`` at the iterations ``saved``, in ``out``; the path is not followed beyond them."""
    row = 0
    for k, item in enumerate(path):
        if k == saved[row]:
            out[row] = item
            row += 1
            if row == len(saved):
                break
    return out
