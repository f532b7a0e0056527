"""Running SGD many times over, with the error at every iteration."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks, resources
from ..engine.tiles import BLOCK
from ..run import options
from ..run.checkpoint import Checkpoint
from ..run.keywords import known_keywords
from ..run.overflow import warn_of_overflow
from ..run.schedule import is_constant
from ..run.where import Where, progress_bar
from ..words import gone
from .asked import Wanted, continued, fresh
from .problem import OF_PROBLEMS, LeastSquares, refuse_others
from .result import Descent, Kept, kept_runs, kept_theta
from .steps.base import Settings


@known_keywords(OF_PROBLEMS)
def sgd(
    problem: LeastSquares,
    *,
    step_size: Any = None,
    n_steps: int | None = None,
    n_runs: int | None = None,
    batch_size: int | None = None,
    theta0: ArrayLike | None = None,
    sampling: str | ArrayLike | None = None,
    noise: str | None = None,
    averaging: str | bool | None = None,
    average_from: int | None = None,
    momentum: float | None = None,
    reduced: bool | None = None,
    save_at: str | int | ArrayLike = "all",
    runs: int | ArrayLike = 0,
    coordinates: ArrayLike | None = None,
    moments: bool | None = None,
    covariance: bool = False,
    histogram: tuple[float, float, int] | None = None,
    expectations: Mapping[str, Callable[..., Any]] | None = None,
    final_states: bool = True,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    noise_dtype: DTypeLike | None = None,
    first_chain: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    resume: Descent | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Descent:
    r"""Run stochastic gradient descent many times over, and gather error and iterates over the runs.

    Every iteration draws ``batch_size`` samples and does

    .. math:: \theta_{k+1} = \theta_k + \frac{\gamma_k}{B} \sum_{b=1}^B x_b (y_b - \langle\theta_k, x_b\rangle).

    Runs are independent of each other; numbers depend on the settings alone, not on threads, executor or how many other
    runs there are.

    Parameters
    ----------
    problem : LeastSquares
        A stream, or data. Up to 8192 parameters; with inputs of Student's law up to 512 (256 with averaging), and up to
        22 where parameters with correlated inputs have step sizes of their own.
    step_size : float, array_like, callable or str
        One for all iterations, one for each, of shape (n_steps,) or (n_steps, 1), a function of the iteration
        k = 0, 1, ..., which is called once with all of them if it takes an array, a formula of the update t = k + 1
        such as "0.1/t", or one per parameter, of shape (1, d) or (n_steps, d).
    n_steps, n_runs : int
        Numbers of iterations and of runs, of which there are 10,000 by default.
    batch_size : int, default 1
        Samples of an iteration, up to 1024; of streams at most 131072 / (d + 1), with inputs of Student's law 512 / d,
        and 512 / d^2 where parameters with correlated inputs have step sizes of their own.
    theta0 : array_like, optional
        Start, of shape (d,) or (n_runs, d); zero by default.

    Other Parameters
    ----------------
    sampling : {"replacement", "shuffle"} or array_like of int, default "replacement"
        How rows of data are drawn. "shuffle": every run goes through all rows in a fresh random order, epoch after
        epoch of n // batch_size iterations; rows that are left over are not used in that epoch. On the CPU alone.
        Numbers of rows: all runs take the rows in this order, and again from its begin when it is at its end.
    noise : {"sampled", "gaussian", "isotropic"}, default "sampled"
        Where the noise of the gradients comes from: samples, as above; or normals that have the samples' covariance at
        theta ("gaussian", the same mean and second moments), or at theta* ("isotropic"). See `noisy_gd`.
    averaging : {None, "polyak-ruppert", True}
        Gather also the error of the average of theta_0 to theta_{k-1} at iteration k.
    average_from : int, default 0
        The first iterate that is averaged: a tail average leaves out those that still know the start. Up to then the
        "average" is the last iterate.
    momentum : float, default 0
        The part mu, at least 0 and below 1, of the last move that is added to every move (heavy ball): :math:`v_{k+1} =
        \mu v_k - \gamma_k \nabla_k`, :math:`\theta_{k+1} = \theta_k + v_{k+1}`. Up to 256 parameters.
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
    moments, covariance : bool
        Gather mean and variance of the iterates over the runs, or the whole covariance, besides the errors. By default
        mean and variance are gathered where that is a small part of the work: see Notes.
    histogram : (float, float, int)
        ``(low, high, bins)``: count theta - theta* of every parameter in equal bins, for ``fit.histogram`` and
        ``fit.quantile``.
    expectations : mapping of str to callable
        Functions ``f(k, theta)`` (or ``f(theta, k)``) of the iteration and the parameters, up to 512, in scalar Python
        code as for `simulate`; their means over the runs with standard errors are ``fit.expectations``.
    final_states : bool, default True
        Keep all runs at the last iteration, which ``resume`` goes on from.
    seed : int
        In [0, 2**64); a random one by default, recorded in the result.
    dtype, noise_dtype : {"float64", "float32"}
        Types of the iterates and of the normals, as for `simulate`; of data the type in which they are kept.
    first_chain : int, default 0
        Number of the first run: shards of one large set of runs, or one of them.
    device, threads, executor, progress
        As for `simulate`.
    resume : Descent
        Go on from the end of this fit for ``n_steps`` more iterations. Problem, start, seed, types and what an
        iteration does are the fit's; ``step_size`` may be left out if it was one for all iterations, and as a function
        sees k go on. What to save and to gather is said anew.
    checkpoint : path
        A file in which to keep what is done, from time to time and at the end, and from which the same call goes on:
        as for `simulate`.

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
        If step sizes that are the same in all iterations, given as a number, array, function or formula, are beyond the
        mean-square threshold (which is not known of shuffled epochs of several iterations), or if runs have left the
        numbers.

    Notes
    -----
    Gathering moments of the iterates at every iteration takes 10 to 30 % longer than the errors alone, and d times as
    long as an iteration where correlated inputs run in an eigenbasis; so does a histogram. By default moments are
    gathered for up to 16 parameters with uncorrelated inputs, and for any where up to 16 iterations (or a 64th of all)
    are saved.

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
    checks.flag("progress", progress)
    wanted = Wanted(
        save_at, runs, coordinates, None if moments is None else checks.flag("moments", moments),
        checks.flag("covariance", covariance), options.histogram(histogram),
        checks.flag("final_states", final_states), expectations,
    )  # fmt: skip
    fixed = {
        "n_runs": n_runs, "batch_size": batch_size, "theta0": theta0, "sampling": sampling, "noise": noise,
        "averaging": averaging, "average_from": average_from, "momentum": momentum, "reduced": reduced, "seed": seed,
        "dtype": dtype, "noise_dtype": noise_dtype, "first_chain": first_chain,
    }  # fmt: skip
    refuse_others(problem)
    if n_steps is None:
        raise TypeError("sgd needs n_steps")
    steps = checks.count("n_steps", n_steps)
    started = time.perf_counter()  # (what is computed to be checked and warned of belongs to what a fit costs)
    with Checkpoint.of(checkpoint, "sgd", where.gpu is not None) as keeping:
        if seed is None and resume is None:
            fixed["seed"] = keeping.seed
        if resume is None:
            settings, start = fresh(problem, step_size, steps, fixed, wanted, where.gpu is not None)
        else:
            settings, start = continued(problem, resume, step_size, steps, fixed, wanted)
        if resume is None or step_size is not None:
            _warn_of_threshold(settings)
        return run(settings, start, wanted, where, progress, keeping, started)


def noisy_gd(problem: LeastSquares, *, noise: str = "gaussian", **how: Any) -> Descent:
    r"""Run gradient descent with the Gaussian noise that stands for SGD's, many times over: ``sgd(..., noise=noise)``.

    .. math::

        \theta_{k+1} = \theta_k - g_k H (\theta_k - \theta^*) + \frac{g_k}{\sqrt B}\, \Sigma^{1/2} z_k .

    At a constant step size g this is the Euler-Maruyama scheme with step g of the order-1 modified equation
    :math:`d\theta = -H(\theta - \theta^*)\,dt + \sqrt{g/B}\,\Sigma^{1/2} dW`, as
    :math:`\sqrt{g/B}\,\Sigma^{1/2} \sqrt g\, z = (g/\sqrt B)\, \Sigma^{1/2} z`: the same as `simulate` makes of
    ``problem.modified_equation(g, batch_size=B)`` in steps of g, but for rounding.

    Parameters
    ----------
    problem : LeastSquares
        For ``noise="gaussian"`` with Gaussian inputs.
    noise : {"gaussian", "isotropic"}
        Sigma is the covariance of one sample's gradient at theta, with which mean and second moments are exactly those
        of SGD, or at theta*, a linear recursion with additive noise.
    **how
        As for `sgd`.

    Returns
    -------
    Descent

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range.

    Warns
    -----
    RuntimeWarning
        If a constant step size is beyond the mean-square threshold, for "isotropic" beyond 2 / lambda_max, or if runs
        have left the numbers.

    References
    ----------
    Li, Tai and E, Journal of Machine Learning Research 20, 2019. Wu, Hu, Xiong, Huan, Braverman and Zhu, On the noisy
    gradient descent that generalizes as SGD, ICML 2020.

    Examples
    --------
    >>> import sdefast as sf
    >>> problem = sf.LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
    >>> fit = sf.noisy_gd(problem, step_size=0.05, n_steps=100, n_runs=10_000, seed=0)
    >>> bool((abs(fit.error - fit.exact) < 5 * fit.error_standard_error + 1e-12).all())
    True
    """
    return sgd(problem, noise=checks.choice("noise", noise, ("gaussian", "isotropic")), **how)


def run(
    settings: Settings, start: np.ndarray, wanted: Wanted, where: Where, progress: bool, keeping: Checkpoint,
    started: float,
) -> Descent:  # fmt: skip
    """Run what was checked since that time of `time.perf_counter`, and warn of runs that are gone."""
    iteration, n_runs = settings.iteration, settings.n_runs
    kept = kept_runs(wanted.runs, wanted.coordinates, n_runs, iteration.dim)
    if iteration.is_error and kept is not None:
        raise ValueError("reduced=True runs the error alone: there are no iterates for runs=")
    _refuse_too_large(settings, start, wanted.final_states, kept, where.threads)
    keeping.belongs_to(
        settings, n_runs=n_runs, step_size=settings.rates, kept=kept, final_states=wanted.final_states,
        problem=dict(zip(iteration.problem._NAMES, iteration.problem._arguments(), strict=True)),
    )  # fmt: skip
    whole = settings.tile(start, device=where.gpu, keep_final=wanted.final_states)
    with progress_bar(progress, iteration.name, n_runs * settings.n_steps, "iteration") as bar:
        outcome = where.run(whole, None if bar is None else bar.update, keeping.part("run"))
    theta = None if kept is None else kept_theta(settings, start, kept, where, keeping)
    keeping.finish()
    cost = where.cost(started, keeping.found)
    fit = Descent(settings, cost, None, outcome.nodes, outcome.counts, outcome.final, theta, kept)
    if fit.n_nonfinite[-1]:
        checks.warn(
            f"{gone(int(fit.n_nonfinite[-1]), n_runs, 'run')} no longer finite at iteration {fit.iterations[-1]}; "
            "error and moments are over the others"
        )
    warn_of_overflow(fit)
    return fit


def _refuse_too_large(s: Settings, start: np.ndarray, final: bool, kept: Kept | None, threads: int) -> None:
    """MemoryError, before any work, if what is kept, or the orders of shuffled rows, cannot fit."""
    size = s.dtype.itemsize
    if final:
        advice = ["final_states=False does not keep them"]
        resources.refuse_too_large(len(start) * s.n_runs * size, f"the final iterates of {s.n_runs} runs", advice)
    if kept is not None:
        kept.refuse_too_large(s)
    rows = s.iteration.problem.n_data
    if s.iteration.shuffled and rows is not None:
        working = min(threads, -(-s.n_runs // BLOCK))
        resources.refuse_too_large(
            rows * working * 4 * 32, f"the orders of {rows} rows on {working} threads",
            ["sampling='replacement' has none", "threads= takes fewer"],
        )  # fmt: skip


def _warn_of_threshold(s: Settings) -> None:
    """Of step sizes that no error survives, if they are the same in all iterations, however they were given."""
    warning = s.iteration.threshold_warning(s.rates[0]) if is_constant(s.rates) else None
    if warning:
        checks.warn(warning)
