"""SGD beside the equations that model it: their errors on the same axes, and how far apart they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ..laws.modified import EQUATIONS
from ..problem import LeastSquares, refuse_others
from ..result import Descent
from ..sgd import sgd
from . import figures, weak_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of `compare`: curves of E|theta - theta*|^2, all of shape (n_times,) over ``fit.iterations``.

    ``fit`` are the runs of SGD, ``exact`` its exact curve, ``equations`` the exact curves of the modified equations by
    their names, "order 1", "order 2" and "Ornstein-Uhlenbeck".
    """

    fit: Descent
    step_size: float
    theta0: np.ndarray
    exact: np.ndarray = field(repr=False)
    equations: dict[str, np.ndarray] = field(repr=False)

    @property
    def time(self) -> np.ndarray:
        """The equations' time, step size times iteration, of shape (n_times,)."""
        return self.step_size * self.fit.iterations

    def weak_errors(
        self,
        step_sizes: ArrayLike | None = None,
        time: float | None = None,
        *,
        n_runs: ArrayLike | None = None,
        **simulation: Any,
    ) -> weak_errors.WeakErrors:
        r"""Distances between equations and SGD over step sizes, exact or simulated, and the orders that they show.

        Parameters
        ----------
        step_sizes : array_like, optional
            At least two, each dividing ``time``; by default the comparison's, halved three times.
        time : float, optional
            When to compare, by default at the comparison's end.
        n_runs : int or array_like of int, optional
            Simulate SGD and the equations, each as so many times, for all step sizes or for each; by default nothing
            is simulated and the distances are exact. Simulations need Gaussian inputs.

        Other Parameters
        ----------------
        seed : int
            In [0, 2**64); a random one by default.
        variance_reduction : bool
            Runs report the squares of the noise that they met, which have the mean of the squared error less that of
            gradient descent and, at small step sizes, a hundredth to a thousandth of its variance; all that this uses
            is that gradients are unbiased. False simulates the error itself, which takes as many times the runs.
        substeps : int
            Steps of the equations' scheme per iteration of SGD. The scheme treats the drift exactly; ``biases`` of the
            result says how much is left of noise being held for a step.
        sgd_options : mapping
            What else `sgd` takes, without variance reduction.
        dtype, device, threads, executor
            As for `sgd` and `simulate`.

        Returns
        -------
        WeakErrors
            With ``distances``, ``orders`` and, of simulations, their standard errors.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong type or out of range, or ``time`` is no multiple of a step size.

        Warns
        -----
        RuntimeWarning
            If a distance has more than a third of it as standard error, so that the fitted order says little.

        References
        ----------
        The orders: Li, Tai and E, Journal of Machine Learning Research 20, 2019. The equations' scheme: Strang, SIAM
        Journal on Numerical Analysis 5, 1968. Martingales as control variates: Glasserman, Monte Carlo Methods in
        Financial Engineering, 2003, section 4.1.

        Examples
        --------
        >>> import sdefast as sf
        >>> problem = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
        >>> comparison = sf.compare(problem, step_size=0.025, n_steps=80, n_runs=100, seed=0)
        >>> weak = comparison.weak_errors([0.0125, 0.00625], n_runs=20_000, seed=1)
        >>> {name: round(order) for name, order in weak.orders.items()}
        {'order 1': 1, 'order 2': 2, 'Ornstein-Uhlenbeck': 1}
        """
        end, sizes = self._times(step_sizes, time)
        batch = self.fit.settings.iteration.batch_size
        if n_runs is not None:
            if self.fit.problem.covariance is None:
                raise ValueError(f"n_runs: weak errors are simulated for Gaussian inputs, not {self.fit.problem!r}")
            how = weak_errors.checked(len(sizes), n_runs, **simulation)
            return weak_errors.simulated(self.fit.problem, self.theta0, batch, end, sizes, how)
        if simulation:
            raise TypeError(f"{', '.join(simulation)} is for simulated weak errors: pass n_runs too")
        problem = self.fit.problem
        start: dict[str, Any] = {"theta0": self.theta0, "batch_size": batch}
        distances: dict[str, list[float]] = {name: [] for name in EQUATIONS}
        for size, n in zip(sizes.tolist(), np.rint(end / sizes).astype(int).tolist(), strict=True):
            exact = problem.expected_error(step_size=size, n_steps=n, **start)[-1]
            for name, (order, covariance) in EQUATIONS.items():
                error = problem.modified_expected_error(end, size, order=order, covariance=covariance, **start)
                distances[name].append(float(error - exact))
        arrays = {name: np.array(values) for name, values in distances.items()}
        nothing = {name: np.zeros(len(sizes)) for name in EQUATIONS}
        return weak_errors.WeakErrors(end, sizes, arrays, nothing, nothing)

    def _times(self, step_sizes: Any, time: Any) -> tuple[float, np.ndarray]:
        """The time at which to compare and step sizes that divide it, checked."""
        end = float(self.time[-1]) if time is None else checks.real("time", time, positive=True)
        sizes = self.step_size / 2 ** np.arange(4) if step_sizes is None else checks.array("step_sizes", step_sizes)
        if sizes.ndim != 1 or len(sizes) < 2 or (sizes <= 0).any() or len(set(sizes.tolist())) < 2:
            raise ValueError(f"step_sizes must be two positive numbers or more, got {checks.shown(step_sizes)}")
        n_steps = np.rint(end / sizes).astype(int)
        if (np.abs(n_steps * sizes - end) > 1e-9 * end).any():
            raise ValueError(f"time must be a multiple of every step size, got {end:g} and {sizes.tolist()}")
        return end, sizes

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curves over the iterations, on a logarithmic axis.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return figures.comparison(ax, self.fit, self.exact, self.equations)


def compare(
    problem: LeastSquares,
    *,
    step_size: float,
    n_steps: int,
    n_runs: int | None = None,
    theta0: ArrayLike | None = None,
    batch_size: int = 1,
    **options: Any,
) -> Comparison:
    """Run SGD at a constant step size and set it beside its modified equations of order 1 and 2 and the simplified one.

    Parameters
    ----------
    problem : LeastSquares
        With inputs that have a fourth moment, or on data.
    step_size : float
        The same for all iterations and parameters.
    n_steps, n_runs, batch_size : int
        As for `sgd`.
    theta0 : array_like of shape (d,), optional
        Start, zero by default.
    **options
        What else `sgd` takes: ``seed``, ``save_at``, ``dtype``, ``device``, ``threads``, ...

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range.

    Examples
    --------
    >>> import sdefast as sf
    >>> problem = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
    >>> comparison = sf.compare(problem, step_size=0.0125, n_steps=160, n_runs=1000, seed=0)
    >>> {name: round(order) for name, order in comparison.weak_errors().orders.items()}
    {'order 1': 1, 'order 2': 2, 'Ornstein-Uhlenbeck': 1}
    """
    size = checks.real("step_size", step_size, positive=True)
    refuse_others(problem)
    start = checks.array("theta0", np.zeros(problem.dim) if theta0 is None else theta0, shape=(problem.dim,))
    n = checks.count("n_steps", n_steps)
    batch = checks.count("batch_size", batch_size)
    settings: dict[str, Any] = {"theta0": start, "batch_size": batch}
    curves = {
        name: problem.modified_expected_error(
            size * np.arange(n + 1), size, order=order, covariance=covariance, **settings
        )
        for name, (order, covariance) in EQUATIONS.items()
    }
    fit = sgd(problem, step_size=size, n_steps=n, n_runs=n_runs, **settings, **options)
    exact = problem.expected_error(step_size=size, n_steps=n, **settings)
    saved = fit.iterations
    return Comparison(fit, size, start, exact[saved], {name: curve[saved] for name, curve in curves.items()})
