"""Descent to a mode of a target: Langevin sampling at temperature 0."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks
from ..run import options
from ..run.checkpoint import Checkpoint
from ..run.where import Where
from .methods import DESCENTS
from .prepare import continued, fresh
from .result import Chains
from .running import run
from .targets.base import BaseTarget
from .wanted import Wanted


def gradient_descent(
    target: BaseTarget,
    *,
    step_size: Any = None,
    n_steps: int | None = None,
    n_chains: int | None = None,
    method: str | None = None,
    momentum: float | None = None,
    x0: ArrayLike | str | None = None,
    save_at: str | int | ArrayLike | None = None,
    paths: bool = True,
    covariance: bool = False,
    histogram: tuple[float, float, int] | None = None,
    final_states: bool = True,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    first_chain: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    resume: Chains | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Chains:
    r"""Descend along -log p to a mode: what Langevin chains do without their noise, at temperature 0.

    .. math:: x_{k+1} = x_k + h\, \nabla\log p(x_k)

    `langevin` with the same step size is the same descent with noise.

    Parameters
    ----------
    target : a target of `sdefast.targets`
        Its density p, by its score or log density.
    step_size : float, array_like or callable
        h: as for `langevin`.
    n_steps : int
        Number of steps.
    n_chains : int, optional
        Number of descents; by default as many as ``x0`` has rows, else 1.
    method : {"gd", "heavy-ball", "proximal-gradient"}, optional
        Gradient descent; with momentum; or, for a target with a proximal map and then by default, proximal gradient
        descent.
    momentum : float, default 0.9
        What is kept of the last move, between 0 and 1, with ``method="heavy-ball"``.
    x0 : array_like or "sample", optional
        Start, of shape (dim,) or (n_chains, dim), or exact draws: as for `langevin`.

    Other Parameters
    ----------------
    save_at : {"all", "final"}, int or array_like
        Iterations to save: all with the start, the last (by default), every so many, or given ones.
    paths, covariance, histogram, final_states, dtype, first_chain, device, threads, executor, progress, checkpoint
        As for `langevin`. Statistics are over the descents.
    seed : int, optional
        Of exact draws as starts; nothing else is random.
    resume : Chains
        Go on from the end of this descent for ``n_steps`` more steps: as for `langevin`.

    Returns
    -------
    Chains
        As of `langevin`, with ``x`` (n_times, n_chains, dim); ``exact_mean`` is the descent itself on a Gaussian.

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range; if the target lacks what the method needs; if the
        density is 0 or undefined at a start.

    Warns
    -----
    RuntimeWarning
        If the step is beyond what is stable on the target, or descents have left the numbers.

    References
    ----------
    Cauchy, Comptes Rendus 25, 1847; each method names its own.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Gaussian(1.0, 2.0)
    >>> sf.gradient_descent(target, step_size=1.0, n_steps=3, x0=9.0, save_at="all").x[:, 0, 0]
    array([9., 5., 3., 2.])
    >>> noisy = sf.langevin(target, step_size=1.0, n_steps=3, n_chains=1, x0=9.0, save_at="all", seed=0)
    """
    where = Where.of(device, threads, executor)
    checks.flag("progress", progress)
    if not isinstance(target, BaseTarget):
        raise TypeError(f"target must be one of sdefast.targets, got {checks.shown(target)}")
    wanted = Wanted(
        save_at, None, checks.flag("paths", paths), None, False, checks.flag("covariance", covariance),
        options.histogram(histogram), 0, checks.flag("final_states", final_states), None,
    )  # fmt: skip
    if n_steps is None:
        raise TypeError("gradient_descent needs n_steps")
    steps = checks.count("n_steps", n_steps)
    fixed = {
        "n_chains": n_chains, "method": method, "x0": x0, "burn_in": None, "temperature": None, "metric": None,
        "seed": seed, "dtype": dtype, "noise_dtype": None, "first_chain": first_chain,
    }  # fmt: skip
    given = {} if momentum is None else {"momentum": _momentum(momentum)}
    with Checkpoint.of(checkpoint, "gradient_descent", where.gpu is not None) as keeping:
        if resume is not None:
            settings, start = continued(target, resume, step_size, steps, fixed | given, wanted, DESCENTS)
            return run(settings, start, wanted, where, progress, keeping)
        if step_size is None:
            raise TypeError("gradient_descent needs step_size")
        fixed |= {"n_chains": _number(n_chains, x0), "method": _method(method, target)}
        if given and fixed["method"] != "heavy-ball":
            raise TypeError(f"momentum is for method='heavy-ball', not for {fixed['method']!r}")
        if seed is None:
            fixed["seed"] = keeping.seed if isinstance(x0, str) else 0
        settings, start = fresh(target, step_size, steps, fixed, given, wanted, DESCENTS)
        return run(replace(settings, temperature=0.0), start, wanted, where, progress, keeping)


def _momentum(value: Any) -> float:
    momentum = checks.real("momentum", value)
    if not 0 < momentum < 1:
        raise ValueError(f"momentum must be between 0 and 1, got {momentum}")
    return momentum


def _method(method: Any, target: BaseTarget) -> Any:
    """The method that is asked for, or the one that fits."""
    if method is not None:
        return method
    return "proximal-gradient" if all(map(target.density.has, DESCENTS["proximal-gradient"].needs)) else "gd"


def _number(n_chains: Any, x0: Any) -> Any:
    """How many descents."""
    if n_chains is not None:
        return n_chains
    several = not isinstance(x0, str) and np.ndim(x0) == 2
    return len(x0) if several else 1
