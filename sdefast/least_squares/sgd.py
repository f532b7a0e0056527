"""Running SGD many times over, with the error at every iteration."""

from __future__ import annotations

import math
import secrets
import time
import warnings
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks, resources
from ..engine.statistics import Layout
from ..run.where import Where, progress_bar
from .laws import epochs, thresholds
from .problem import LeastSquares
from .result import Descent, DescentSettings, Kept
from .schedule import saved_iterations, step_sizes
from .steps.iteration import MOST_DRAWS, MOST_PARAMETERS, MOST_SAMPLES, Iteration
from .steps.reduced import ReducedIteration
from .steps.traced import MOST_INPUTS, MOST_ROWS, TracedIteration


def sgd(
    problem: LeastSquares,
    *,
    step_size: Any,
    n_steps: int,
    n_runs: int,
    batch_size: int = 1,
    theta0: ArrayLike | None = None,
    sampling: str = "replacement",
    averaging: str | None = None,
    reduced: bool = False,
    save_at: str | int | ArrayLike = "all",
    runs: int | ArrayLike = 0,
    coordinates: ArrayLike | None = None,
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

    Every iteration draws ``batch_size`` samples and does

    .. math:: \theta_{k+1} = \theta_k + \frac{\gamma_k}{B} \sum_{b=1}^B x_b (y_b - \langle\theta_k, x_b\rangle).

    Runs are independent of each other; numbers depend on the settings alone, not on threads, executor or how many other
    runs there are.

    Parameters
    ----------
    problem : LeastSquares
        A stream, or data. Up to 8192 parameters; with inputs of Student's law up to 64 (32 with averaging), and up to
        22 where parameters with correlated inputs have step sizes of their own.
    step_size : float, array_like or callable
        One for all iterations, one for each, of shape (n_steps,), a function of the iteration k = 0, 1, ..., or one
        per parameter, of shape (1, d) or (n_steps, d).
    n_steps, n_runs : int
        Numbers of iterations and of runs.
    batch_size : int
        Samples of an iteration, up to 1024; of streams at most 131072 / (d + 1), with inputs of Student's law 512 / d,
        and 512 / d^2 where parameters with correlated inputs have step sizes of their own.
    theta0 : array_like, optional
        Start, of shape (d,) or (n_runs, d); zero by default.

    Other Parameters
    ----------------
    sampling : {"replacement", "shuffle"}
        How rows of data are drawn. "shuffle": every run goes through all rows in a fresh random order, epoch after
        epoch of n // batch_size iterations; rows that are left over are not used in that epoch. On the CPU alone.
    averaging : {None, "polyak-ruppert"}
        Gather also the error of the average of theta_0 to theta_{k-1} at iteration k.
    reduced : bool
        For inputs N(0, h I) and one step size for all parameters |theta - theta*|^2 is a Markov chain of its own. Run
        that chain: the same law of the error at a cost that depends neither on d nor on the batch size, for any number
        of these. There are no iterates then, nor their moments.
    save_at : {"all", "final"}, int or array_like
        Iterations at which to gather: all (with the start), the last, every so many, or given ones such as
        ``np.unique(np.geomspace(1, n_steps, 50).astype(int))``.
    runs : int or array_like, default 0
        Runs whose iterates to keep, for ``fit.theta``: the first so many, or those of given numbers, counted from 0.
    coordinates : array_like, optional
        Which parameters of these to keep, counted from 0; all by default.
    covariance : bool
        Whether to ask for the covariance of the iterates, besides mean and variance. All these are found by running
        everything once more when they are first asked for.
    seed : int
        In [0, 2**64); a random one by default, recorded in the result.
    dtype, noise_dtype : {"float64", "float32"}
        Types of the iterates and of the normals, as for `simulate`; of data the type in which they are kept.
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
        If the one step size of all parameters and iterations is beyond the mean-square threshold (which is not known of
        shuffled epochs of several iterations), or if runs have left the numbers.

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
    where = Where.of(device, threads, executor)
    asked = _Asked(
        batch_size, sampling, averaging, reduced, save_at, runs, coordinates, covariance, seed, dtype, noise_dtype,
        first_run, where.gpu is not None,
    )  # fmt: skip
    settings = _checked(problem, step_size, n_steps, n_runs, theta0, asked)
    _warn_of_threshold(settings)
    fit: Descent = run(settings, where, bool(progress), "SGD")
    return fit


def run(settings: DescentSettings, where: Where, progress: bool, name: str, kind: type[Descent] = Descent) -> Any:
    """Run what was checked, and warn of runs that are gone; returns a result of that kind."""
    settings.refuse_too_large(where.threads)
    started = time.perf_counter()
    n = settings.n_runs * settings.n_steps
    with progress_bar(progress, name, n, "iteration") as bar:
        nodes = where.run(settings.tile(where.gpu), None if bar is None else bar.update).nodes
    theta = settings.kept_theta(where)
    fit = kind(settings, where.cost(started), nodes, theta, where)
    if fit.n_diverged[-1]:
        warnings.warn(
            f"{fit.n_diverged[-1]} of {settings.n_runs} runs are no longer finite at iteration {fit.iterations[-1]}; "
            "error and moments are over the others",
            RuntimeWarning,
            stacklevel=3,
        )
    return fit


class _Asked(NamedTuple):
    """Arguments as they were given."""

    batch_size: Any
    sampling: Any
    averaging: Any
    reduced: Any
    save_at: Any
    runs: Any
    coordinates: Any
    covariance: Any
    seed: Any
    dtype: Any
    noise_dtype: Any
    first_run: Any
    on_gpu: bool


def _checked(problem: Any, step_size: Any, n_steps: Any, n_runs: Any, theta0: Any, asked: _Asked) -> DescentSettings:
    """Everything a fit needs, checked."""
    if not isinstance(problem, LeastSquares):
        raise TypeError(f"problem must be a LeastSquares, got {problem!r}")
    steps, runs = checks.count("n_steps", n_steps), checks.count("n_runs", n_runs, most=2**52)
    rates = step_sizes(step_size, steps, problem.dim)
    checks.averaging(asked.averaging)
    for name in ("covariance", "reduced"):
        if not isinstance(getattr(asked, name), (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {getattr(asked, name)!r}")
    kept = kept_runs(asked.runs, asked.coordinates, runs, problem.dim)
    if asked.reduced and (kept is not None or asked.covariance):
        raise ValueError("reduced=True runs the error alone: there are no iterates for runs= and covariance=")
    iteration = _reduced(problem, rates, asked) if asked.reduced else _iteration(problem, rates, steps, asked)
    dtype, noise_dtype = checks.types(asked.dtype, asked.noise_dtype)
    saves = saved_iterations(asked.save_at, steps)
    layout = Layout(problem.dim, 2, False, bool(asked.covariance))
    resources.refuse_too_large(
        len(saves) * 6 * 8 * 32, f"the statistics of {len(saves)} iterations", ["save fewer: save_at="]
    )
    resources.refuse_too_large(
        (steps if len(rates) > 1 or iteration.averaged else 1) * iteration.n_coefficients * 8,
        f"the coefficients of {steps} iterations", ["use one step size for all parameters and iterations"],
    )  # fmt: skip
    return DescentSettings(
        iteration, rates, steps, runs, start_rows(problem, theta0, runs, iteration, dtype), saves, layout,
        kept,
        secrets.randbits(64) if asked.seed is None else checks.seed("seed", asked.seed),
        checks.count("first_run", asked.first_run, least=0, most=2**62), noise_dtype,
    )  # fmt: skip


def _reduced(problem: LeastSquares, rates: np.ndarray, asked: _Asked) -> ReducedIteration:
    """The iteration of the error alone, if the problem has one."""
    if checks.choice("sampling", asked.sampling, epochs.SAMPLINGS) == "shuffle":
        raise ValueError("sampling='shuffle' needs a problem on data, of which reduced=True knows no chain")
    return ReducedIteration(
        problem, checks.count("batch_size", asked.batch_size), rates.shape[1] > 1, asked.averaging is not None
    )


def _iteration(problem: LeastSquares, rates: np.ndarray, n_steps: int, asked: _Asked) -> Iteration:
    """The iteration, if there is a kernel for it."""
    batch = checks.count("batch_size", asked.batch_size, most=MOST_SAMPLES)
    shuffled = checks.choice("sampling", asked.sampling, ("replacement", "shuffle")) == "shuffle"
    if shuffled and problem.n_data is None:
        raise ValueError("sampling='shuffle' needs a problem on data: LeastSquares(data=(X, y))")
    if shuffled and batch > (problem.n_data or 0):
        raise ValueError(f"batch_size must be at most the {problem.n_data} rows of the data, got {batch}")
    iteration = Iteration(problem, batch, rates.shape[1] > 1, asked.averaging is not None, shuffled)
    draws, d = iteration.draws(np.dtype(float)), problem.dim
    if (n_steps * 2 * max(draws.noise_dim, draws.uniform_dim)) >> 40:
        raise ValueError(f"n_steps is too large: a run has 2**40 draws, {n_steps} iterations need more")
    if shuffled and asked.on_gpu:
        raise ValueError("sampling='shuffle' needs device='cpu': an epoch's order is too much memory for a card's runs")
    if iteration.is_built_in:
        if d > MOST_PARAMETERS:
            raise ValueError(f"sgd takes up to {MOST_PARAMETERS} parameters, got {d}")
        if not problem.is_finite and batch * (d + 1) > MOST_DRAWS:
            raise ValueError(f"batch_size must be at most {MOST_DRAWS // (d + 1)} for {d} parameters, got {batch}")
        return iteration
    _refuse_uncompiled(iteration)
    return iteration


def _refuse_uncompiled(iteration: Iteration) -> None:
    """Errors of what is too long for straight-line kernels."""
    d, batch, most = iteration.dim, iteration.batch_size, MOST_ROWS // iteration.n_parts
    correlated = iteration.coordinates.root is not None
    what = f"{'correlated ' * correlated}parameters{' with averaging' * iteration.averaged}"
    why = "with these inputs and step sizes"
    most = min(most, math.isqrt(MOST_INPUTS)) if correlated else most
    if d > most:
        raise ValueError(f"sgd takes up to {most} {what} {why}, got {d}")
    n_inputs = batch * d * (d if correlated else 1)
    if n_inputs > MOST_INPUTS:
        raise ValueError(
            f"batch_size={batch} with {d} {what} is too large {why}: a compiled kernel takes {MOST_INPUTS} numbers an "
            f"iteration, not {n_inputs}"
        )


def start_rows(
    problem: LeastSquares, theta0: Any, n_runs: int, iteration: TracedIteration, dtype: np.dtype
) -> np.ndarray:
    """Start rows, (n_rows, 1) or (n_rows, n_runs)."""
    d = problem.dim
    given = np.zeros(d) if theta0 is None else checks.array("theta0", theta0)
    if given.ndim == 0 and d == 1:
        given = given.reshape(1)
    if given.shape not in ((d,), (n_runs, d)):
        raise ValueError(f"theta0 must be of shape ({d},) or ({n_runs}, {d}), got {given.shape}")
    with np.errstate(over="ignore"):
        start = iteration.start(given.reshape(-1, d)).astype(dtype)
    if not np.isfinite(start).all():
        raise ValueError(f"theta0 must be finite in {dtype.name}")
    return start


def kept_runs(runs: Any, coordinates: Any, n_runs: int, dim: int) -> Kept | None:
    """Which runs and parameters to keep."""
    if np.ndim(runs) == 0:
        chosen = np.arange(checks.count("runs", runs, least=0, most=n_runs))
    else:
        chosen = _numbers("runs", runs, n_runs)
    parameters = np.arange(dim) if coordinates is None else _numbers("coordinates", coordinates, dim)
    if coordinates is not None and not len(chosen):
        raise ValueError("coordinates says what to keep of the runs in runs=, which keeps none")
    return Kept(chosen, parameters) if len(chosen) else None


def _numbers(name: str, given: Any, n: int) -> np.ndarray:
    """Numbers between 0 and n - 1."""
    numbers = checks.array(name, given, shape=(None,))
    if (numbers != np.rint(numbers)).any() or (numbers < 0).any() or (numbers >= n).any():
        raise ValueError(f"{name} must hold integers from 0 to {n - 1}, got {given!r}")
    return numbers.astype(np.int64)


def _warn_of_threshold(s: DescentSettings) -> None:
    """Of a constant step size that no error survives."""
    if s.rates.size > 1:
        return
    moments, sampling = s.iteration.problem._moments, "shuffle" if s.iteration.shuffled else "replacement"
    law = epochs.recursion(moments, s.iteration.batch_size, sampling)
    # (of shuffled epochs of several iterations no threshold is known)
    if isinstance(law, epochs.Epochs) or thresholds.surely_stable(moments, s.rates[0, 0], law.batch_size):
        return
    try:
        threshold = thresholds.mean_square_threshold(moments, law.batch_size)
        what = f"step_size={s.rates[0, 0]:g} is beyond the mean-square threshold {threshold:.6g}"
    except ValueError:
        threshold, what = 0.0, "the fourth moment of the inputs is infinite, no step size has a mean-square error"
    if s.rates[0, 0] >= threshold:
        warnings.warn(
            f"{what}: the expected error grows without bound, and averages over runs do not tell it",
            RuntimeWarning,
            stacklevel=3,
        )
