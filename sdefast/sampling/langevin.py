"""Sampling from a target with many chains at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from os import PathLike
from typing import Any

from numpy.typing import ArrayLike, DTypeLike

from .. import checks
from ..run import options
from ..run.boundaries import Boundary
from ..run.checkpoint import Checkpoint
from ..run.keywords import refuse_unknown
from ..run.where import Where
from .methods import METHODS
from .prepare import continued, fresh
from .result import Chains
from .running import run
from .targets.base import BaseTarget
from .targets.batch import BatchTarget
from .wanted import Wanted, asked_acceptance, asked_batches

#: numbers of some method
_OPTIONS = frozenset(name for method in METHODS.values() for name in method.options)


def langevin(
    target: BaseTarget,
    *,
    step_size: Any = None,
    n_steps: int | None = None,
    n_chains: int | None = None,
    method: str | None = None,
    x0: ArrayLike | str | None = None,
    burn_in: int | None = None,
    thin: int | None = None,
    temperature: float | None = None,
    metric: ArrayLike | str | None = None,
    adapt: bool | float | None = None,
    boundary: Boundary | list[Boundary] | None = None,
    save_at: str | int | ArrayLike | None = None,
    paths: bool = True,
    moments: int | None = None,
    extremes: bool = False,
    covariance: bool = False,
    histogram: tuple[float, float, int] | None = None,
    expectations: Mapping[str, Callable[..., Any]] | None = None,
    diagnostics: bool | int | None = None,
    final_states: bool = True,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    noise_dtype: DTypeLike | None = None,
    first_chain: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    resume: Chains | None = None,
    checkpoint: str | PathLike[str] | None = None,
    **method_options: float | None,
) -> Chains:
    r"""Sample from a density known up to a constant with many Langevin chains.

    Chains are independent of each other; numbers depend on the settings alone, not on threads, executor or how many
    other chains there are.

    Parameters
    ----------
    target : a target of `sdefast.targets`
        Its density p, as a score, a log density or more, whatever the method needs.
    step_size : float, array_like or callable
        h of :math:`x + h\, \nabla\log p + \sqrt{2h}\, z` (where a source writes :math:`\epsilon/2` before the score, h
        is that :math:`\epsilon/2`): one for all steps, one for each, of shape (n_steps,), a function of the step
        k = 0, 1, ..., or one per chain, of shape (1, n_chains).
    n_steps, n_chains : int
        Numbers of steps, with those of burn-in, and of chains.
    method : str, default "ula"
        One of `sdefast.METHODS`.
    x0 : array_like or "sample", optional
        Start, of shape (dim,) or (n_chains, dim); "sample" draws exact ones from a target that can be sampled. By
        default the target's mean, where it is known, else 0.

    Other Parameters
    ----------------
    burn_in : int, default 0
        Steps whose states count for nothing: for no saved iteration, acceptance or diagnostic.
    thin : int, optional
        Save every so many states after burn-in, floor((n_steps - burn_in) / thin) of them; by default the last alone.
    temperature : float, default 1
        T of the law :math:`p^{1/T}` that is sampled.
    metric : array_like, optional
        Positive definite matrix G, of shape (dim, dim), or its diagonal: steps are preconditioned with G, their noise
        with a root of it. "hessian", for ``method="preconditioned"`` in up to 8 dimensions, is the inverse of the
        Hessian of -log p.
    adapt : bool or float, optional
        Find the step size during burn-in, for methods that accept or reject: True aims at the method's best acceptance
        (.574 of MALA), a number at that. ``step_size`` is then where to begin, by default 1 over the target's curvature
        or .1. The steps that were found are in the result, and decide its bits.
    boundary : Boundary or list of Boundary, optional
        ``sdefast.boundaries.reflect`` or ``positive``: what a step takes beyond a border is folded back, or stays on
        it, for ``method="ula"`` and others without rejection or velocity.
    save_at : {"all", "final"}, int or array_like
        Iterations to save instead of ``thin``: all from ``burn_in`` on, the last, every so many, or given ones.
    paths : bool, default True
        Keep states at saved iterations; False keeps statistics alone.
    moments, extremes, covariance, histogram
        As for `simulate`.
    expectations : mapping of str to callable, optional
        Functions ``f(k, x)`` of iteration and position, of underdamped methods ``f(k, x, v)``, in scalar code as for
        `simulate`; the state may come first, as in ``f(x, k)``. Their means over the chains at saved iterations with
        standard errors are ``chains.expectations``.
    diagnostics : bool or int, optional
        Gather what ``ess``, ``rhat`` and ``pooled_mean`` need in 16 batches a chain, or so many (even); by default for
        up to 16 components.
    final_states : bool, default True
        Keep all that chains have at the end, which ``resume`` goes on from and diagnostics are made of.
    seed, dtype, noise_dtype, first_chain, device, threads, executor, progress, checkpoint
        As for `simulate`.
    resume : Chains
        Go on from the end of this run for ``n_steps`` more steps; what decides the numbers is the run's, and
        ``step_size`` may be left out if it was one for all steps, or found by adaptation. What to save and to gather is
        said anew.
    **method_options : float
        Numbers of the method's own, such as ``friction`` of the underdamped ones.

    Returns
    -------
    Chains
        With ``x`` (n_times, n_chains, dim), ``mean`` and ``variance`` (n_times, dim) at the saved iterations,
        ``acceptance``, and over all draws after burn-in ``pooled_mean``, ``ess``, ``rhat`` (dim,).

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range; if the target lacks what the method needs; if the
        density is 0 or undefined at a start.

    Warns
    -----
    RuntimeWarning
        If the step is beyond what is stable on the target, or chains have left the numbers.

    References
    ----------
    Roberts and Tweedie, Bernoulli 2, 1996; each method names its own.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Gaussian([1.0, 0.0], [[2.0, 0.5], [0.5, 1.0]])
    >>> chains = sf.langevin(target, method="mala", step_size=0.5, n_steps=100, n_chains=10_000, x0="sample", seed=0)
    >>> bool((abs(chains.mean[-1] - target.mean) < 5 * chains.standard_error[-1]).all())
    True
    """
    if method_options and not method_options.keys() <= _OPTIONS:
        refuse_unknown("langevin", method_options, [*inspect.signature(langevin).parameters, *sorted(_OPTIONS)])
    checks.flag("progress", progress)
    if not isinstance(target, BaseTarget):
        raise TypeError(f"target must be one of sdefast.targets, got {checks.shown(target)}")
    if isinstance(target, BatchTarget):
        target, threads = target.taking(x0), 1 if threads is None and executor is None else threads
    where = Where.of(device, threads, executor)
    wanted = Wanted(
        save_at, thin, checks.flag("paths", paths), options.moments(moments), checks.flag("extremes", extremes),
        checks.flag("covariance", covariance), options.histogram(histogram), asked_batches(diagnostics),
        checks.flag("final_states", final_states), asked_acceptance(adapt), expectations,
    )  # fmt: skip
    fixed = {
        "n_chains": n_chains, "method": method, "x0": x0, "burn_in": burn_in, "temperature": temperature,
        "metric": metric, "seed": seed, "dtype": dtype, "noise_dtype": noise_dtype, "first_chain": first_chain,
        "boundary": boundary,
    }  # fmt: skip
    if n_steps is None:
        raise TypeError("langevin needs n_steps")
    steps = checks.count("n_steps", n_steps)
    with Checkpoint.of(checkpoint, "langevin", where.gpu is not None) as keeping:
        if seed is None and resume is None:
            fixed["seed"] = keeping.seed
        if resume is None:
            settings, start = fresh(target, step_size, steps, fixed, method_options, wanted)
        else:
            settings, start = continued(target, resume, step_size, steps, fixed | method_options, wanted)
        return run(settings, start, wanted, where, progress, keeping)
