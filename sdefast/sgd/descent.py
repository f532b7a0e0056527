"""Running SGD many times over, with the error at every iteration."""

from __future__ import annotations

import secrets
import time
import warnings
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks, resources
from ..engine.parts import ONE
from ..engine.statistics import Layout, Nodes
from ..engine.tiles import Draws, Gathered, Observer, Tile
from ..simulation import Cost
from ..where import Where, progress_bar
from .iteration import MOST_DRAWS, MOST_INPUTS, MOST_ROWS, Iteration
from .problem import LeastSquares
from .schedule import saved_iterations, step_sizes


def sgd(
    problem: LeastSquares,
    *,
    step_size: Any,
    n_steps: int,
    n_runs: int,
    batch_size: int = 1,
    theta0: ArrayLike | None = None,
    averaging: str | None = None,
    save_at: str | int | ArrayLike = "all",
    runs: int = 0,
    covariance: bool = False,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    noise_dtype: DTypeLike | None = None,
    first_run: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> Descent:
    r"""Run stochastic gradient descent many times over, and gather error and iterates over the runs.

    Every iteration draws ``batch_size`` samples of the stream and does

    .. math:: \theta_{k+1} = \theta_k + \frac{\gamma_k}{B} \sum_{b=1}^B x_b (y_b - \langle\theta_k, x_b\rangle).

    Runs are independent of each other; numbers depend on the settings alone, not on threads, executor or how many other
    runs there are.

    Parameters
    ----------
    problem : LeastSquares
        A streamed problem of up to 64 parameters (32 with averaging).
    step_size : float, array_like or callable
        One for all iterations, one for each, of shape (n_steps,), a function of the iteration k = 0, 1, ..., or one
        per parameter, of shape (1, d) or (n_steps, d).
    n_steps, n_runs : int
        Numbers of iterations and of runs.
    batch_size : int
        Samples of an iteration. On a GPU, with averaging, for correlated inputs and for laws other than the normal one
        an iteration draws up to 512 numbers, counting d for each correlated one; else up to some thousands.
    theta0 : array_like, optional
        Start, of shape (d,) or (n_runs, d); zero by default.

    Other Parameters
    ----------------
    averaging : {None, "polyak-ruppert"}
        Gather also the error of the average of theta_0 to theta_{k-1} at iteration k.
    save_at : {"all", "final"}, int or array_like
        Iterations at which to gather: all (with the start), the last, every so many, or given ones such as
        ``np.unique(np.geomspace(1, n_steps, 50).astype(int))``.
    runs : int, default 0
        Keep the iterates of the first so many runs, for ``fit.theta``.
    covariance : bool
        Gather the covariance of the iterates over the runs.
    seed : int
        In [0, 2**64); a random one by default, recorded in the result.
    dtype, noise_dtype : {"float64", "float32"}
        Types of the iterates and of the normals, as for `simulate`.
    first_run : int, default 0
        Number of the first run.
    device, threads, executor, progress
        As for `simulate`.

    Returns
    -------
    Descent
        With ``iterations``, ``error`` and its standard error (n_times,), ``mean`` and ``variance`` (n_times, d).

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range.

    Warns
    -----
    RuntimeWarning
        If a constant step size is beyond the mean-square threshold, or if runs have left the numbers.

    References
    ----------
    Robbins and Monro, Annals of Mathematical Statistics 22, 1951. Averaging: Polyak and Juditsky, SIAM Journal on
    Control and Optimization 30, 1992.

    Examples
    --------
    >>> import sdefast as sf
    >>> problem = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
    >>> fit = sf.sgd(problem, step_size=0.05, n_steps=100, n_runs=10_000, seed=0)
    >>> exact = problem.expected_error(step_size=0.05, n_steps=100)
    >>> bool((abs(fit.error - exact) < 5 * fit.error_standard_error + 1e-12).all())
    True
    """
    started = time.perf_counter()
    where = Where.of(device, threads, executor)
    asked = _Asked(
        batch_size, averaging, save_at, runs, covariance, seed, dtype, noise_dtype, first_run, where.gpu is not None
    )
    settings = _checked(problem, step_size, n_steps, n_runs, theta0, asked)
    _warn_of_threshold(settings)
    start = settings.start
    n = settings.n_runs * settings.n_steps
    with progress_bar(bool(progress), "SGD", n, "iteration") as bar:
        gathered = where.run(
            settings.tile(start, settings.n_runs, False, where.gpu), None if bar is None else bar.update
        )
    theta = None
    if settings.kept:
        first = start if start.shape[1] == 1 else start[:, : settings.kept]
        theta = where.run(settings.tile(first, settings.kept, True, where.gpu), None).states[:, : problem.dim]
    fit = Descent(settings, where.cost(started), gathered.nodes, theta)
    if fit.n_diverged[-1]:
        warnings.warn(
            f"{fit.n_diverged[-1]} of {settings.n_runs} runs are no longer finite at iteration {fit.iterations[-1]}; "
            "error and moments are over the others",
            RuntimeWarning,
            stacklevel=2,
        )
    return fit


class _Asked(NamedTuple):
    """Arguments as they were given."""

    batch_size: Any
    averaging: Any
    save_at: Any
    runs: Any
    covariance: Any
    seed: Any
    dtype: Any
    noise_dtype: Any
    first_run: Any
    on_gpu: bool


@dataclass(frozen=True, eq=False)
class DescentSettings:
    """What decides a fit's numbers."""

    iteration: Iteration
    rates: np.ndarray
    n_steps: int
    n_runs: int
    start: np.ndarray
    saves: np.ndarray
    layout: Layout
    kept: int
    seed: int
    first_run: int
    noise_dtype: np.dtype

    def tile(self, start: np.ndarray, n_runs: int, keep: bool, device: Any) -> Tile:
        """Some of the runs as a tile of the engine."""
        iteration, dtype = self.iteration, start.dtype.name
        step = iteration.step
        noise_dtype = self.noise_dtype.name
        kernel, coefficients = iteration.kernel(self.rates, self.n_steps, dtype, noise_dtype, device)
        errors = iteration.observer(dtype, device)
        observer = Observer(errors, len(iteration.errors), iteration.parameter_values, self.saves.astype(float))
        draws = Draws(step.n_draws, step.n_uniforms, float32=self.noise_dtype.itemsize == 4)
        gathered = (
            Gathered(self.layout),
            *(Gathered(ONE, i, observed=True) for i in range(len(iteration.errors))),
        )
        cost = max(iteration.n_operations / 16, step.n_draws, step.n_uniforms, 1)
        return Tile(
            kernel, coefficients, draws, self.seed, self.first_run, n_runs, 0, self.n_steps, start, self.saves, keep,
            gathered, cost, observer,
        )  # fmt: skip


def _checked(problem: Any, step_size: Any, n_steps: Any, n_runs: Any, theta0: Any, asked: _Asked) -> DescentSettings:
    """Everything a fit needs, checked."""
    if not isinstance(problem, LeastSquares):
        raise TypeError(f"problem must be a LeastSquares, got {problem!r}")
    if problem.is_finite:
        raise ValueError("sgd runs streamed problems so far, not LeastSquares(data=...)")
    steps, runs = checks.count("n_steps", n_steps), checks.count("n_runs", n_runs, most=2**52)
    rates = step_sizes(step_size, steps, problem.dim)
    if asked.averaging is not None:
        checks.choice("averaging", asked.averaging, ("polyak-ruppert",))
    for name, value in (("covariance", asked.covariance),):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    batch = checks.count("batch_size", asked.batch_size)
    iteration = Iteration(problem, batch, rates.shape[1] > 1, asked.averaging is not None)
    _refuse_too_large(iteration, steps, asked.on_gpu)
    dtype, noise_dtype = checks.types(asked.dtype, asked.noise_dtype)
    saves = saved_iterations(asked.save_at, steps)
    layout = Layout(problem.dim, 2, False, bool(asked.covariance))
    resources.refuse_too_large(
        len(saves) * (layout.size + 6) * 8 * 32, f"the statistics of {len(saves)} iterations", ["save fewer: save_at="]
    )
    return DescentSettings(
        iteration, rates, steps, runs, _start(problem, theta0, runs, iteration, dtype), saves, layout,
        checks.count("runs", asked.runs, least=0, most=runs),
        secrets.randbits(64) if asked.seed is None else checks.seed("seed", asked.seed),
        checks.count("first_run", asked.first_run, least=0, most=2**62), noise_dtype,
    )  # fmt: skip


def _refuse_too_large(iteration: Iteration, n_steps: int, on_gpu: bool) -> None:
    """Errors of problems that no kernel takes."""
    d, batch, most = iteration.problem.dim, iteration.batch_size, MOST_ROWS // (1 + iteration.averaged)
    if d > most:
        raise ValueError(f"sgd takes up to {most} parameters{' with averaging' * iteration.averaged}, got {d}")
    n_inputs = batch * d * (d if iteration.root is not None else 1)
    if n_inputs > MOST_INPUTS and (on_gpu or not iteration.is_built_in):
        what = "correlated parameters" if iteration.root is not None else "parameters"
        raise ValueError(
            f"batch_size={batch} with {d} {what} is too large for a compiled kernel, which takes {MOST_INPUTS} numbers "
            f"an iteration, not {n_inputs}"
        )
    draws = batch * 2 * (d + 1)
    if draws > MOST_DRAWS:
        raise ValueError(f"batch_size must be at most {MOST_DRAWS // (2 * (d + 1))} for {d} parameters, got {batch}")
    if (n_steps * draws) >> 40:
        raise ValueError(f"n_steps is too large: a run has 2**40 draws, {n_steps} iterations need more")


def _start(problem: LeastSquares, theta0: Any, n_runs: int, iteration: Iteration, dtype: np.dtype) -> np.ndarray:
    """Start rows, (n_rows, 1) or (n_rows, n_runs)."""
    d = problem.dim
    given = np.zeros(d) if theta0 is None else checks.array("theta0", theta0)
    if given.ndim == 0 and d == 1:
        given = given.reshape(1)
    if given.shape not in ((d,), (n_runs, d)):
        raise ValueError(f"theta0 must be of shape ({d},) or ({n_runs}, {d}), got {given.shape}")
    start = given.reshape(-1, d).T.astype(dtype)
    if not np.isfinite(start).all():
        raise ValueError(f"theta0 must be finite in {dtype.name}")
    return np.concatenate([start, start]) if iteration.averaged else np.ascontiguousarray(start)


def _warn_of_threshold(s: DescentSettings) -> None:
    """Of a constant step size that no error survives."""
    if s.rates.size > 1:
        return
    try:
        threshold = s.iteration.problem.mean_square_threshold(s.iteration.batch_size)
    except ValueError:  # a fourth moment that is infinite: there is none
        threshold = 0.0
    if s.rates[0, 0] >= threshold:
        warnings.warn(
            f"step_size={s.rates[0, 0]:g} is beyond the mean-square threshold {threshold:.6g}: the expected error "
            "grows without bound, and averages over runs do not tell it",
            RuntimeWarning,
            stacklevel=4,
        )


@dataclass(frozen=True, eq=False)
class Descent:
    """Result of `sgd`: error and iterates over all runs that are finite, at every saved iteration."""

    settings: DescentSettings
    cost: Cost
    _nodes: tuple[Nodes, ...] = field(repr=False)
    _theta: Any = field(repr=False)

    @property
    def problem(self) -> LeastSquares:
        """The problem."""
        return self.settings.iteration.problem

    @property
    def seed(self) -> int:
        """The seed, also where none was given."""
        return self.settings.seed

    @property
    def iterations(self) -> np.ndarray:
        """Saved iterations, of shape (n_times,); 0 is the start."""
        return self.settings.saves

    @property
    def error(self) -> np.ndarray:
        r"""Mean over the runs of :math:`|\theta_k - \theta^*|^2`, of shape (n_times,)."""
        return self._mean(1)

    @property
    def error_standard_error(self) -> np.ndarray:
        """Standard error of `error`, of shape (n_times,)."""
        return self._standard_error(1)

    @property
    def averaged_error(self) -> np.ndarray:
        """Mean over the runs of the squared error of the averaged iterate, of shape (n_times,)."""
        self._refuse_unaveraged()
        return self._mean(2)

    @property
    def averaged_error_standard_error(self) -> np.ndarray:
        """Standard error of `averaged_error`, of shape (n_times,)."""
        self._refuse_unaveraged()
        return self._standard_error(2)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the iterates over the runs, of shape (n_times, d)."""
        mean: np.ndarray = self._totals[0][:, self.settings.layout.component(0)]
        return mean

    @property
    def variance(self) -> np.ndarray:
        """Unbiased variance of the iterates over the runs, of shape (n_times, d)."""
        squares: np.ndarray = self._totals[0][:, self.settings.layout.component(1)]
        variance: np.ndarray = squares / np.maximum(self._count(0) - 1, 1)[:, None]
        return variance

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `mean`, of shape (n_times, d)."""
        error: np.ndarray = np.sqrt(self.variance / np.maximum(self._count(0), 1)[:, None])
        return error

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance of the iterates over the runs, of shape (n_times, d, d)."""
        layout = self.settings.layout
        if not layout.covariance and layout.dim > 1:
            raise AttributeError("covariance was not gathered: pass covariance=True to sgd")
        return layout.covariances(self._totals[0])

    @property
    def theta(self) -> Any:
        """Iterates of the runs that were kept, of shape (n_times, runs, d)."""
        if self._theta is None:
            raise AttributeError("no iterates were kept: pass runs= to sgd")
        return self._theta.transpose(0, 2, 1)

    @property
    def n_diverged(self) -> np.ndarray:
        """How many runs are no longer finite at each saved iteration, of shape (n_times,)."""
        return self.settings.n_runs - self._count(1).astype(np.int64)

    @cached_property
    def _totals(self) -> list[np.ndarray]:
        layouts = [self.settings.layout, *[ONE] * (len(self._nodes) - 1)]
        return [layout.total(nodes) for layout, nodes in zip(layouts, self._nodes, strict=True)]

    def _count(self, part: int) -> np.ndarray:
        return self._totals[part][:, 0]

    def _mean(self, part: int) -> np.ndarray:
        return np.where(self._count(part) > 0, self._totals[part][:, 1], np.nan)

    def _standard_error(self, part: int) -> np.ndarray:
        n = self._count(part)
        error = np.sqrt(self._totals[part][:, 2] / np.maximum(n - 1, 1) / np.maximum(n, 1))
        return np.where(n > 1, error, np.nan)

    def _refuse_unaveraged(self) -> None:
        if not self.settings.iteration.averaged:
            raise AttributeError("iterates were not averaged: pass averaging='polyak-ruppert' to sgd")

    def __repr__(self) -> str:
        s = self.settings
        return (
            f"<SGD on {self.problem!r}: {s.n_runs:,} runs x {s.n_steps:,} iterations, batches of "
            f"{s.iteration.batch_size}, {s.start.dtype.name}, seed {s.seed}; {self.cost.seconds:.3g} s, "
            f"{s.n_runs * s.n_steps / self.cost.seconds / 1e6:,.0f} M iterations/s, {self.cost.executor}>"
        )
