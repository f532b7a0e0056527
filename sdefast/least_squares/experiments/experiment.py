"""What the experiments behind the thesis' figures are: runs of SGD, and of the Ornstein-Uhlenbeck process beside it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ...run.schedule import Schedule, step_sizes
from ...sde.models import LinearSDE
from ...sde.result import Simulation
from ...sde.simulate import simulate
from ..laws.epochs import SAMPLINGS
from ..problem import LeastSquares, refuse_others
from ..result import Descent
from ..sgd import sgd
from . import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: what the figures of an experiment show of a run, each in its panels
_PANELS = (("linear", "logarithmic"), ("first",), ("second",))


@dataclass(frozen=True)
class SGDExperiment:
    """An experiment on SGD with everything that reproduces it.

    Parameters
    ----------
    name : str
        Name on the command line.
    problem : LeastSquares
        The problem.
    step_size : float, Schedule or str
        A number or a formula such as "0.1/t": what enters the update, theta - step_size x (<theta, x> - y).
    n_steps : int
        Number of iterations.
    theta0 : tuple of float, optional
        Start, of length d; zero by default.
    batch_size, averaging, sampling, momentum, average_from
        As for `sgd`, rows in a given order as a tuple.
    measure : {"squared norm", "norm", "half norm"}
        Error that is drawn, of theta - theta*.
    first_shown : int
        Iteration with which curves begin: 0, or 1 where they are recorded after each update.
    n_shown : int
        Number of runs that are drawn.
    figures : tuple of int
        The figures that show the error, the first and the second coordinate, if it has any.
    figure : int, optional
        The one among them that is meant.
    source, description : str
        Where it comes from, and what it is, with what had to be decided.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.sgd_presets.figure(4, as_="program").problem
    LeastSquares(dim=5, noise_std=1, inputs=Uniform(low=0.0, high=5.0))
    """

    name: str
    problem: LeastSquares
    step_size: float | Schedule
    n_steps: int = 1000
    theta0: tuple[float, ...] | None = None
    batch_size: int = 1
    averaging: str | bool | None = None
    sampling: str | tuple[int, ...] = "replacement"
    momentum: float = 0.0
    average_from: int = 0
    measure: str = "squared norm"
    first_shown: int = 0
    n_shown: int = 5
    figures: tuple[int, ...] = ()
    figure: int | None = None
    source: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        refuse_others(self.problem)
        checks.count("n_steps", self.n_steps)
        checks.choice("measure", self.measure, figures.MEASURES)
        checks.count("first_shown", self.first_shown, least=0, most=self.n_steps)
        checks.count("n_shown", self.n_shown, least=0)
        object.__setattr__(self, "averaging", "polyak-ruppert" if checks.averaging(self.averaging) else None)
        checks.momentum(self.momentum)
        checks.average_from(self.average_from, self.averaging is not None)
        if not self.is_ordered:
            checks.choice("sampling", self.sampling, SAMPLINGS)
        if isinstance(self.step_size, str):
            object.__setattr__(self, "step_size", Schedule(self.step_size))
        if not isinstance(self.step_size, Schedule):
            checks.real("step_size", self.step_size, positive=True)

    @property
    def is_ordered(self) -> bool:
        """Whether all runs take the rows of data in a given order."""
        return not isinstance(self.sampling, str)

    @property
    def step_sizes(self) -> np.ndarray:
        """The step sizes of all iterations, of shape (n_steps,); ValueError if a schedule's are not all positive."""
        return np.array(np.broadcast_to(step_sizes(self.step_size, self.n_steps, 1)[:, 0], self.n_steps))

    def run(self, n_runs: int, **options: Any) -> Descent:
        """Run it by `sgd`, which takes the ``options``: ``seed``, ``save_at``, ``runs``, ``dtype``, ``device``, ..."""
        first: dict[str, Any] = {"average_from": self.average_from} if self.average_from else {}
        return sgd(self.problem, n_runs=n_runs, averaging=self.averaging, **first, **self._settings, **options)

    def expected_error(self) -> np.ndarray:
        """The exact E|theta - theta*|^2 at iterations 0 to n_steps, of shape (n_steps + 1,), whatever is drawn."""
        return self.problem.expected_error(**self._known_settings)

    def expected_averaged_error(self) -> np.ndarray:
        """The exact squared error of the average of the iterates, of shape (n_steps + 1,)."""
        return self.problem.expected_error(
            **self._known_settings, averaging="polyak-ruppert", average_from=self.average_from
        )

    def exact_errors(self) -> dict[str, np.ndarray]:
        """The exact curves there are: "error", and with averaging "averaged"."""
        curves = {"error": self.expected_error()}
        return curves if self.averaging is None else curves | {"averaged": self.expected_averaged_error()}

    def errors(self, theta: ArrayLike) -> np.ndarray:
        """The error that is drawn, for iterates of shape (..., d); infinite where they are not finite."""
        return figures.MEASURES[self.measure].of(np.asarray(theta, np.float64) - self.problem.theta_star)

    def of_mean_square(self, squared: ArrayLike) -> np.ndarray:
        """The error that is drawn, of a root mean square: from values of E|theta - theta*|^2."""
        return np.asarray(figures.MEASURES[self.measure].of_norm(np.sqrt(squared)))

    def plot(self, fit: Descent) -> list[Axes]:
        """The figure that is meant, of a run that kept iterates (``runs=``): the error or a coordinate, by iteration.

        The error is on two axes, a linear one as the thesis has it and a logarithmic one. If no figure is meant, the
        error and the first two coordinates.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        measure = figures.MEASURES[self.measure]
        panels = None if self.figure is None else _PANELS[self.figures.index(self.figure)]
        axes = figures.descent(
            fit, measure, self._exact_curves(), first_shown=self.first_shown, n_shown=self.n_shown, panels=panels
        )
        how = f"{self.problem}, step size {self.step_size}, seed {fit.seed}"
        figures.number(axes, self.figure, self.source, how)
        return axes

    def _exact_curves(self) -> dict[str, np.ndarray]:
        """Exact errors and the "mean" of theta, (n_steps + 1, d), as far as they exist."""
        curves = {}
        with suppress(ValueError):  # inputs without a fourth moment
            curves = self.exact_errors()
        with suppress(ValueError):  # and without a second one
            curves["mean"] = self.problem.expected_theta(**self._known_settings, save_at="all")
        return curves

    @property
    def _settings(self) -> dict[str, Any]:
        names = ("step_size", "n_steps", "theta0", "batch_size", "sampling", "momentum")
        return {name: getattr(self, name) for name in names}

    @property
    def _known_settings(self) -> dict[str, Any]:
        """Those of exact laws; ValueError if there are none."""
        if self.is_ordered:
            raise ValueError("rows in a given order are not random: there is no expected error to compare with")
        return self._settings


@dataclass(frozen=True)
class OUExperiment:
    r"""The Ornstein-Uhlenbeck model of SGD, :math:`d\theta = \kappa(\theta^* - \theta)\,dt + s\,dW`, by Euler-Maruyama.

    Parameters
    ----------
    name : str
        Name on the command line.
    theta_star : tuple of float
        Mean theta*, of length d; the start is zero.
    kappa : float
        Rate of mean reversion, per unit of time.
    noise : float
        Noise strength s, per square root of time.
    t1 : float
        End of the time interval from 0.
    n_steps : int
        Number of equal steps.
    n_shown : int
        Number of paths that are drawn, each with all its coordinates.
    figures, figure, source, description
        As in `SGDExperiment`.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.sgd_presets.figure(16).run(n_paths=100, seed=0)
    >>> run.mean.shape
    (1, 5)
    """

    name: str
    theta_star: tuple[float, ...]
    kappa: float
    noise: float
    t1: float
    n_steps: int
    n_shown: int = 1
    figures: tuple[int, ...] = ()
    figure: int | None = None
    source: str = ""
    description: str = ""

    @property
    def model(self) -> LinearSDE:
        """The equation, with its closed forms."""
        one = np.eye(len(self.theta_star))
        return LinearSDE(A=-self.kappa * one, b=self.kappa * np.array(self.theta_star), B=self.noise * one)

    @property
    def step_size(self) -> float:
        """The step in time."""
        return self.t1 / self.n_steps

    def run(self, n_paths: int, **options: Any) -> Simulation:
        """Run it by `simulate`, which takes the ``options``: ``seed``, ``save_at``, ``paths``, ``dtype``, ..."""
        x0 = np.zeros(len(self.theta_star))
        return simulate(self.model, x0=x0, t1=self.t1, n_steps=self.n_steps, n_paths=n_paths, **options)

    def scheme_moments(self, t: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance that Euler-Maruyama has at times ``t`` on its grid, each of shape (n_times, d).

        After k steps h the mean is theta* (1 - a^k) and the variance s^2 h (1 - a^(2k)) / (1 - a^2), a = 1 - kappa h.
        """
        h = self.step_size
        k = np.rint(np.asarray(t, np.float64) / h)[:, None]
        a = 1 - self.kappa * h
        mean = np.array(self.theta_star) * (1 - a**k)
        variance = self.noise**2 * h * (1 - a ** (2 * k)) / (1 - a**2)
        return mean, np.broadcast_to(variance, mean.shape)

    def plot(self, run: Simulation, shown: Simulation) -> list[Axes]:
        """Paths of ``shown``, beside exact mean and band, and variances of ``run`` over time, an axes each.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        axes = figures.coordinates(self.model, run, shown)
        how = f"rate {self.kappa:g}, noise {self.noise:.4g}, step {self.step_size:g}, seed {run.seed}"
        figures.number(axes, self.figure, self.source, how)
        return axes
