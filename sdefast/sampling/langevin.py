"""Sampling from a target with many chains at once."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks, noise, resources
from ..engine import plan
from ..engine.grid import TimeGrid
from ..engine.statistics import Histogram, Layout
from ..run import options
from ..run.checkpoint import Checkpoint
from ..run.schedule import iteration_grid, saved_iterations, step_sizes
from ..run.where import Where, progress_bar
from . import adaptation
from .diagnostics import Batches
from .methods import METHODS, Method
from .metric import Metric
from .result import Chains
from .settings import Settings
from .targets.base import FIRST_START_DRAW, BaseTarget
from .targets.batch import BatchTarget

#: Diagnostics are gathered without being asked for of so many components at most; in so many batches.
_FEW_COMPONENTS, _BATCHES = 16, 16

_FEW_TIMES = 16


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
    save_at: str | int | ArrayLike | None = None,
    paths: bool = True,
    moments: int | None = None,
    extremes: bool = False,
    covariance: bool = False,
    histogram: tuple[float, float, int] | None = None,
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
    save_at : {"all", "final"}, int or array_like
        Iterations to save instead of ``thin``: all from ``burn_in`` on, the last, every so many, or given ones.
    paths : bool, default True
        Keep states at saved iterations; False keeps statistics alone.
    moments, extremes, covariance, histogram
        As for `simulate`.
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
    checks.flag("progress", progress)
    if not isinstance(target, BaseTarget):
        raise TypeError(f"target must be one of sdefast.targets, got {target!r}")
    if isinstance(target, BatchTarget):
        target, threads = target.taking(x0), 1 if threads is None and executor is None else threads
    where = Where.of(device, threads, executor)
    wanted = _Wanted(
        save_at, thin, checks.flag("paths", paths), options.moments(moments), checks.flag("extremes", extremes),
        checks.flag("covariance", covariance), options.histogram(histogram), _asked_batches(diagnostics),
        checks.flag("final_states", final_states), _asked_acceptance(adapt),
    )  # fmt: skip
    fixed = {
        "n_chains": n_chains, "method": method, "x0": x0, "burn_in": burn_in, "temperature": temperature,
        "metric": metric, "seed": seed, "dtype": dtype, "noise_dtype": noise_dtype, "first_chain": first_chain,
    }  # fmt: skip
    if n_steps is None:
        raise TypeError("langevin needs n_steps")
    steps = checks.count("n_steps", n_steps)
    with Checkpoint.of(checkpoint, "langevin", where.gpu is not None) as keeping:
        if seed is None and resume is None:
            fixed["seed"] = keeping.seed
        if resume is None:
            settings, start = _fresh(target, step_size, steps, fixed, method_options, wanted)
        else:
            settings, start = _continued(target, resume, step_size, steps, fixed | method_options, wanted)
        return _run(settings, start, wanted, where, progress, keeping)


@dataclass(frozen=True)
class _Wanted:
    """What to keep and to gather, as asked for."""

    save_at: Any
    thin: Any
    paths: bool
    moments: int | None
    extremes: bool
    covariance: bool
    histogram: Histogram | None
    batches: int | None
    final_states: bool
    acceptance: bool | float | None

    def check_adapting(self, method: Method, sizes: np.ndarray, burn_in: int) -> None:
        """Errors where a step size cannot be adapted."""
        if not self.acceptance:
            return
        if not method.accepts:
            accepting = ", ".join(m.name for m in METHODS.values() if m.accepts)
            raise ValueError(f"adapt is for methods that accept or reject, {accepting}, not for {method.name!r}")
        if sizes.shape != (1,):
            raise ValueError("adapt begins with one step_size, a number")
        if not burn_in:
            raise ValueError("adapt finds the step size during burn-in: pass burn_in=")

    def goal(self, method: Method) -> float:
        """The acceptance to aim at."""
        return method.best_acceptance if self.acceptance is True else float(self.acceptance or 0)

    def saves(self, grid: TimeGrid, burn_in: int) -> np.ndarray:
        """The iterations to save."""
        if self.save_at is not None:
            if self.thin is not None:
                raise TypeError("thin and save_at both say what to save: leave one out")
            saves = saved_iterations(self.save_at, grid)
            return saves[saves >= burn_in] if isinstance(self.save_at, (str, int)) else saves
        if self.thin is None:
            return np.array([grid.last_step])
        first, kept = max(burn_in, grid.first_step), grid.last_step - max(burn_in, grid.first_step)
        every = checks.count("thin", self.thin)
        if every > kept:
            raise ValueError(f"thin must be at most the {kept} steps after burn-in, got {every}")
        resources.refuse_too_large(8 * (kept // every), f"{kept // every} saved iterations", ["thin= saves fewer"])
        return first + every * np.arange(1, kept // every + 1)

    def cut(self, target: BaseTarget, n_draws: int) -> Batches | None:
        """The batches of diagnostics, if there are any."""
        if isinstance(target, BatchTarget):
            if self.batches:
                raise ValueError(
                    f"diagnostics are gathered by kernels, and the score of {target!r} is computed outside"
                )
            return None
        if self.batches == 0 or (self.batches is None and target.dim > _FEW_COMPONENTS):
            return None
        number = _BATCHES if self.batches is None or self.batches == 1 else self.batches
        if n_draws < 2 * number:
            if self.batches:
                raise ValueError(
                    f"diagnostics in {number} batches need {2 * number} steps after burn-in, got {n_draws}"
                )
            return None
        return Batches(number, n_draws // number)


def _asked_batches(value: Any) -> int | None:
    """None where nothing is asked for, 0 for False, 1 for True, or an even number."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else int(value)
    number = checks.count("diagnostics", value, least=4, most=10_000)
    if number % 2:
        raise ValueError(f"diagnostics must be an even number of batches, got {number}")
    return number


def _asked_acceptance(value: Any) -> bool | float | None:
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    rate = checks.real("adapt", value)
    if not 0 < rate < 1:
        raise ValueError(f"adapt must be True or an acceptance between 0 and 1, got {rate}")
    return rate


def _fresh(
    target: BaseTarget, step_size: Any, n_steps: int, fixed: dict[str, Any], given: Mapping[str, Any], wanted: _Wanted,
    methods: Mapping[str, Method] = METHODS,
) -> tuple[Settings, np.ndarray]:  # fmt: skip
    """Check everything that a new run needs, of one of ``methods``."""
    if (step_size is None and not wanted.acceptance) or fixed["n_chains"] is None:
        raise TypeError("langevin needs step_size and n_chains")
    name = "ula" if fixed["method"] is None else checks.choice("method", fixed["method"], methods)
    method, n, dim = methods[name], options.many("n_chains", fixed["n_chains"]), target.dim
    _check_needs(method, target, methods)
    chosen = _method_options(method, given)
    if step_size is None:
        step_size = 0.1 if target.curvature is None else 1 / target.curvature
    sizes = _sizes(step_size, n_steps, n)
    burn_in = 0 if fixed["burn_in"] is None else checks.count("burn_in", fixed["burn_in"], least=0, most=n_steps - 1)
    dtype, noise_dtype = checks.types(fixed["dtype"], fixed["noise_dtype"])
    if isinstance(target, BatchTarget) and (fixed["metric"] is not None or sizes.ndim > 1):
        raise ValueError(f"on {target!r} steps have no metric, and are alike for all chains: give one step_size")
    temperature = (
        1.0 if fixed["temperature"] is None else checks.real("temperature", fixed["temperature"], positive=True)
    )
    metric = _metric(fixed["metric"], method, target)
    seed, first = options.seed(fixed["seed"]), options.first_chain(fixed["first_chain"])
    x0 = _start(target, fixed["x0"], n, seed, first)
    grid = iteration_grid(n_steps)
    wanted.check_adapting(method, sizes, burn_in)
    saves, layout = _saves(wanted, grid, burn_in, dim)
    settings = Settings(
        target=target, method=name, options=chosen, metric=metric, temperature=temperature,
        step_sizes=sizes, burn_in=burn_in, x0=x0[:, 0].copy() if x0.shape[1] == 1 else None,
        sampled=isinstance(fixed["x0"], str),
        batches=wanted.cut(target, n_steps - burn_in), center=_center(target, x0), seed=seed, dtype=dtype,
        noise_dtype=noise_dtype, first_chain=first, n_chains=n, grid=grid, saves=saves, layout=layout,
        keeps_states=wanted.paths, histogram=wanted.histogram,
    )  # fmt: skip
    _warn_of_step(settings)
    normals = np.zeros((0, 1))
    if method.start_normals:
        normals = noise.normals(
            seed, method.start_normals * dim, n, first_draw=FIRST_START_DRAW + dim, first_chain=first
        )  # fmt: skip
    rows = settings.stepping.start_rows(settings, x0, normals)
    return settings, rows.astype(dtype)


def _continued(
    target: BaseTarget, before: Any, step_size: Any, n_steps: int, fixed: dict[str, Any], wanted: _Wanted,
    methods: Mapping[str, Method] = METHODS,
) -> tuple[Settings, np.ndarray]:  # fmt: skip
    """Check everything that going on needs: what decides the numbers is the earlier run's."""
    if not isinstance(before, Chains) or before.settings.method not in methods:
        call = "langevin" if methods is METHODS else "gradient_descent"
        raise TypeError(f"resume must be the result of an earlier {call}, got {before!r}")
    given = [name for name, value in (fixed | {"adapt": wanted.acceptance}).items() if value is not None]
    if given:
        raise TypeError(f"a resumed run goes on with the earlier run's settings: leave out {', '.join(given)}")
    old = before.settings
    if target != old.target:
        raise ValueError(f"resume goes on with the same target: the run was of {old.target!r}, got {target!r}")
    final = before._final_rows()
    grid = plan.continued_grid(old.grid, n_steps, None)
    sizes = old.step_sizes
    if step_size is not None:
        sizes = _sizes(step_size, n_steps, old.n_chains, old.grid.last_step)
        if (sizes.ndim > 1) != (old.step_sizes.ndim > 1):
            raise ValueError("step_size must be one for all chains, or one for each, as in the run that is resumed")
    elif sizes.ndim == 1 and len(sizes) > 1:
        after = sizes[max(old.burn_in - old.grid.first_step, 0) :]
        if not len(after) or (after != after[0]).any():
            raise TypeError("step_size must be given: it changed from step to step")
        sizes = after[:1]
    burn_in = max(old.burn_in, grid.first_step)
    saves, layout = _saves(wanted, grid, burn_in, target.dim)
    settings = replace(
        old, step_sizes=sizes, x0=None, sampled=False, burn_in=burn_in,
        batches=wanted.cut(target, grid.last_step - burn_in),
        grid=grid, saves=saves, layout=layout, keeps_states=wanted.paths, histogram=wanted.histogram,
    )  # fmt: skip
    rows = np.zeros((settings.stepping.n_rows, old.n_chains), old.dtype)
    n = settings.stepping.counted
    rows[:n] = final[:n]
    if sizes.ndim > 1:
        rows[settings.stepping.sized :] = settings.stepping.sizes(settings)
    return settings, rows


#: A Hessian's inverse, its root and its divergence are written out in so many dimensions at most.
_MOST_HESSIAN = 8


def _metric(value: Any, method: Method, target: BaseTarget) -> Metric:
    """The metric, if the method takes it."""
    if value is not None and not method.takes_metric:
        with_metric = ", ".join(m.name for m in METHODS.values() if m.takes_metric)
        raise ValueError(f"metric is for {with_metric}, not for {method.name!r}")
    metric = Metric.of(value, target.dim)
    if metric.is_hessian and (method.name != "preconditioned" or target.dim > _MOST_HESSIAN):
        raise ValueError(
            f"metric='hessian' is for method='preconditioned' in up to {_MOST_HESSIAN} dimensions, not for "
            f"{method.name!r} in {target.dim}"
        )
    if value is None and method.name == "preconditioned":
        raise TypeError("method 'preconditioned' needs metric=, a positive definite matrix or 'hessian'")
    return metric


def _check_needs(method: Method, target: BaseTarget, methods: Mapping[str, Method]) -> None:
    if isinstance(target, BatchTarget):
        if method.name != "ula":
            raise ValueError(
                f"method {method.name!r} needs a target in scalar code; on {target!r}, whose score is not, 'ula' works"
            )
        return
    missing = [what for what in method.needs if not target.density.has(what)]
    if missing:
        fit = ", ".join(m.name for m in methods.values() if all(map(target.density.has, m.needs)))
        raise ValueError(
            f"method {method.name!r} needs {' and '.join(missing)} of the target, which {target!r} lacks; {fit} work"
        )


def _method_options(method: Method, given: Mapping[str, Any]) -> dict[str, float]:
    """The method's own numbers."""
    for name in given:
        if name not in method.options:
            have = ", ".join(method.options) or "none"
            raise TypeError(f"langevin has no argument {name!r}; options of method {method.name!r}: {have}")
    chosen = {}
    for name, default in method.options.items():
        value = given.get(name, default)
        if value is None:
            raise TypeError(f"method {method.name!r} needs {name}=")
        positive = name not in method.structural
        chosen[name] = checks.real(name, value, positive=True) if positive else checks.count(name, value)
    return chosen


def _sizes(step_size: Any, n_steps: int, n_chains: int, first: int = 0) -> np.ndarray:
    """Step sizes of shape (1,), (n_steps,) or (1, n_chains)."""
    sizes = step_sizes(step_size, n_steps, n_chains, first, per="chain")
    if sizes.shape[1] == 1:
        return sizes[:, 0]
    if len(sizes) > 1:
        raise ValueError("step sizes may differ from step to step or from chain to chain, not both")
    return sizes


def _start(target: BaseTarget, x0: Any, n: int, seed: int, first_chain: int) -> np.ndarray:
    """Positions at the start, (dim, 1) or (dim, n)."""
    if isinstance(x0, str):
        if x0 != "sample":
            raise ValueError(f"x0 must be an array or 'sample', got {x0!r}")
        return target.sample(n, seed=seed, first_chain=first_chain).T
    if x0 is None:
        x0 = np.zeros(target.dim) if target.mean is None else target.mean
    start = plan.given_states(x0, target.dim, n)
    target.check_start(start.T)
    return start


def _center(target: BaseTarget, x0: np.ndarray) -> np.ndarray:
    """A point near the mean."""
    mean = target.mean
    return x0.mean(axis=1) if mean is None or not np.isfinite(mean).all() else np.asarray(mean, float)


def _saves(wanted: _Wanted, grid: TimeGrid, burn_in: int, dim: int) -> tuple[np.ndarray, Layout]:
    saves = wanted.saves(grid, burn_in)
    n_draws = grid.last_step - grid.first_step
    few = len(saves) <= _FEW_TIMES or 8 * len(saves) <= n_draws
    moments = wanted.moments if wanted.moments is not None else 4 if few else 2
    return saves, Layout(dim, moments, wanted.extremes, wanted.covariance)


def _warn_of_step(s: Settings) -> None:
    """Of a step beyond what is stable on a Gaussian as curved as the target."""
    curvature, stable = s.target.curvature, s.how.stable_step
    if curvature is None or stable is None:
        return
    bound, largest = stable(s.metric.largest(curvature), s.options), float(s.step_sizes.max())
    if largest >= bound:
        warnings.warn(
            f"step_size={largest:g} is not below {bound:.6g}, beyond which {s.method!r} is unstable on this target",
            RuntimeWarning,
            stacklevel=4,
        )


def _run(
    s: Settings, start: np.ndarray, wanted: _Wanted, where: Where, progress: bool, keeping: Checkpoint,
    kind: type[Chains] = Chains,
) -> Chains:  # fmt: skip
    _refuse_too_large(s, wanted)
    keeping.belongs_to(s, n_chains=s.n_chains, final_states=wanted.final_states, adapt=wanted.acceptance)
    started = time.perf_counter()
    with progress_bar(progress, s.method, s.n_chains * s.n_steps, "chain-step") as bar:
        told, own = None if bar is None else bar.update, s
        if wanted.acceptance:
            s, start = adaptation.adapt(s, start, wanted.goal(s.how), where, told)
            own = adaptation.section(s, s.burn_in, s.n_steps - s.burn_in, s.step_sizes[-1:])
        whole = own.tile(start, device=where.gpu, keep_final=wanted.final_states)
        outcome = where.run(whole, told, keeping.part("run"))
    keeping.finish()
    chains = kind(s, where.cost(started, keeping.found), outcome.states, outcome.nodes, outcome.counts, outcome.final)
    gone = int(chains.n_nonfinite[-1])
    if gone:
        warnings.warn(
            f"{gone} of {s.n_chains} chains are no longer finite at iteration {chains.iterations[-1]}; the statistics "
            "are over the others. A smaller step may help",
            RuntimeWarning,
            stacklevel=3,
        )
    return chains


def _refuse_too_large(s: Settings, wanted: _Wanted) -> None:
    """MemoryError, before any work, if what is kept cannot fit."""
    size, chain = s.layout.size + 6 * s.how.accepts, s.stepping
    if wanted.histogram is not None:
        size += chain.n_shown * (wanted.histogram.bins + 2)
    plan.refuse_too_large(
        len(s.saves), chain.n_shown, s.n_chains, s.dtype.itemsize, s.n_steps, size, wanted.paths
    )  # fmt: skip
    if wanted.final_states:
        needed = chain.n_rows * s.n_chains * s.dtype.itemsize
        resources.refuse_too_large(needed, "the rows at the end", ["final_states=False does not keep them"])
