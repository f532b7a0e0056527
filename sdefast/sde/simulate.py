"""Simulating many paths of an SDE."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import lru_cache
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks
from ..engine import plan
from ..engine.grid import TimeGrid
from ..engine.statistics import Histogram, Layout
from ..run import options
from ..run.boundaries import Boundary
from ..run.checkpoint import Checkpoint
from ..run.keywords import OF_MODELS, known_keywords
from ..run.overflow import warn_of_overflow
from ..run.parameters import refuse_other_lengths
from ..run.where import Where, progress_bar
from ..words import counted, gone
from .events import Reset, warn_of_unfinished
from .extras import checked_controls, checked_extras, with_expectations
from .functionals import Functional
from .models.base import Model, check_model
from .result import Simulation
from .rounding import warn_of_lost_steps
from .settings import Settings, check_observed, kept, method_of, start_rows, written_for

#: Standard errors between a control's mean and the stated one that no chance explains.
_FAR = 7.0


@known_keywords(OF_MODELS)
def simulate(
    model: Model,
    *,
    x0: ArrayLike | None = None,
    t1: float | None = None,
    n_steps: int | None = None,
    n_paths: int | None = None,
    dt: float | None = None,
    t0: float | None = None,
    times: ArrayLike | None = None,
    method: str | None = None,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    noise_dtype: DTypeLike | None = None,
    save_at: str | int | ArrayLike = "final",
    paths: bool = True,
    moments: int | None = None,
    extremes: bool = False,
    covariance: bool = False,
    histogram: tuple[float, float, int] | None = None,
    expectations: Mapping[str, Callable[..., Any]] | None = None,
    controls: Mapping[str, tuple[Callable[..., Any], Any]] | None = None,
    functionals: Mapping[str, Functional] | None = None,
    boundary: Boundary | list[Boundary] | None = None,
    events: list[Reset] | Mapping[str, Reset] | None = None,
    stop_when: Callable[..., Any] | None = None,
    antithetic: bool | None = None,
    sensitivities: Sequence[str] | None = None,
    normals: ArrayLike | None = None,
    first_chain: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    resume: Simulation | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> Simulation:
    """Simulate paths of an SDE, with statistics over all of them gathered on the way.

    Numbers depend on the settings alone: any number of threads, any executor and any instruction set give the same
    bits, path i of a million can be replayed alone with ``first_chain=i, n_paths=1``, and a run that was stopped and
    resumed equals one that was not.

    Parameters
    ----------
    model : Model
        For example `OrnsteinUhlenbeck`, `BlackScholes`, `Heston`.
    x0 : array_like
        Start: a number (one dimension), of shape (dim,), or of shape (n_paths, dim).
    t1 : float
        End of the time interval.
    n_steps : int
        Number of equal steps.
    n_paths : int
        Number of paths.

    Other Parameters
    ----------------
    dt : float
        Step size, instead of ``n_steps``: the interval must be a whole number of such steps.
    t0 : float, default 0
        Start of the time interval.
    times : array_like of shape (n,)
        Strictly increasing times to step through, instead of ``t0``, ``t1`` and ``n_steps``.
    method : str
        Scheme, one of `sdefast.SCHEMES`, of which ``model.methods`` fit; by default ``"euler-maruyama"`` (also
        ``"euler"`` or ``"em"``). ``"exact"`` is for the models that have an exact transition, ``"qe"`` for `Heston` and
        `CIR`.
    seed : int
        In [0, 2**64); a random one by default, recorded in the result.
    dtype : {"float64", "float32"}
        Type of the state. float32 is about three times as fast.
    noise_dtype : {"float64", "float32"}
        Type of the normals, the state's by default; float32 normals may drive a float64 state.
    save_at : {"final", "all"}, int or array_like
        Times to save: the last, all (with the start), every so many steps (with start and end), or given times, which
        must lie on the grid.
    paths : bool
        Keep the states at the saved times; without them memory does not grow with ``n_paths``.
    moments : {2, 4}
        4 gathers third and fourth moments too, for the variance's standard error; by default 2 where most steps are
        saved and 4 otherwise. The two add up differently, so mean and variance can differ in their last bits.
    extremes, covariance : bool
        Gather minimum and maximum, the covariance of the components.
    histogram : (float, float, int)
        ``(low, high, bins)``: count the values of every component in equal bins, for ``run.histogram`` and
        ``run.quantile``.
    expectations : mapping of str to callable
        Functions ``f(t, x)``, ``f(t, x, p)`` or ``f(t, x, p, y)`` of time, state, parameters and functionals, scalar
        code as for `SDE`; ``run.expectations[name]`` has their means and standard errors at every saved time, over the
        paths where they are finite; a warning says so where they are not.
    controls : mapping of str to (callable, float or array_like)
        Functions like ``expectations`` whose expected values (at every saved time, or a function of it) are known: the
        expectations are corrected by regression on them, which lowers their standard errors.
    functionals : mapping of str to Functional
        Numbers that depend on the whole path, see `sdefast.functionals`.
    boundary : Boundary or list of Boundary
        See `sdefast.boundaries`.
    events : list or mapping of str to Reset
        What changes the state where a condition comes true, see `sdefast.events`; ``run.events`` has their numbers and
        times, by name or as ``event0``, ``event1``, ...; functions of ``y`` see how many there were.
    stop_when : callable
        A condition ``f(t, x)``, ``f(t, x, p)`` or ``f(t, x, p, y)``: a path stays as it is from when it holds;
        ``run.stop_time`` says when that is, rounded to the state's type (float32 knows times near 2024 to 1e-4).
        Comparisons, also several of which one will do, are followed between the steps: path, functionals and time stop
        where the Brownian bridge passes, exactly so where drift and diffusion are constant, but that passages upwards
        and downwards in one step are drawn independently. Conditions that must hold together (``and``), and those on
        functionals other than a `sdefast.functionals.first_passage`, are looked at after the steps; so is a level under
        ``running_max(bridge=False)``.
    antithetic : bool
        Simulate paths in pairs driven by opposite noise: path i + n_paths / 2 mirrors path i. Standard errors are
        those of the pairs.
    sensitivities : list of str
        Names of parameters, and ``"x0"`` (``"x0[i]"`` of several components): ``run.sensitivities[name]`` has the
        means, with standard errors, of derivatives of state, functionals and continuous expectations along paths. They
        pass through jumps whose number does not depend on the parameter, and are refused where a path jumps with it.
    normals : array_like of shape (n_steps, n_paths, n_draws)
        Standard normals to use instead of the generator's; for antithetic runs those of the first half of the paths.
    first_chain : int, default 0
        Number of the first path: shards of one large run, or one path of it.
    device : str, default "cpu"
        Where to run: ``"cpu"``, ``"cuda"`` (the current GPU) or ``"cuda:N"``. States stay on the card, as arrays that
        torch and cupy take without a copy; those that do not fit there come back as numpy's. The noise is the same,
        and so are results but for last digits.
    threads : int
        Worker threads; by default the processors that this process may use.
    executor : concurrent.futures.Executor
        Where to run instead of threads: `ProcessPoolExecutor`, ``dask.distributed.Client().get_executor()``, ...
        ``threads`` is then the number of its workers to keep busy, by default the executor's own number or 16.
    progress : bool
        Show a progress bar.
    resume : Simulation
        Go on from the end of this run, which kept its final states, for ``n_steps`` more steps (or through more
        ``times``). Model, method, seed, paths, types, functionals, boundaries, ``stop_when`` and ``antithetic`` are the
        run's, with the numbers that its functions read when it was made; what to save and to gather (``save_at``,
        ``expectations``, ``histogram``, ...) is said anew.
    checkpoint : path
        A file in which to keep what is done, from time to time and at the end. Where there is one already the run goes
        on from it, to the same bits, or is there at once if it had come to its end; a line of `logging` on stderr
        (logger "sdefast", level WARNING) says so. It has to be of the same call: ValueError says what differs. No other
        call may be at work on it: RuntimeError says which one is. A call without a ``seed`` takes the file's. Threads
        and executor may differ, CPU and GPU may not; runs on executors other than threads are kept tile by tile.

    Returns
    -------
    Simulation
        With ``t`` (n_times,), ``x`` (n_times, n_paths, dim), and ``mean``, ``variance``, ``standard_error`` of shape
        (n_times, dim).

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range.
    MemoryError
        If the saved states cannot fit; refused before allocation.

    Warns
    -----
    RuntimeWarning
        If paths or expectations are not finite, statistics overflow, a control's mean is not the stated one, ``method``
        is wrong or slow for noise that is clipped at a root, or float32 rounds the steps at the start away.

    Notes
    -----
    Euler-Maruyama: Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 10.2.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.simulate(sf.OrnsteinUhlenbeck(), x0=1.0, t1=1.0, n_steps=100, n_paths=10_000, seed=7)
    >>> run.x.shape, bool(abs(run.mean[0, 0] - 0.99**100) < 5 * run.standard_error[0, 0])
    ((1, 10000, 1), True)
    """
    started = time.perf_counter()
    check_model(model)
    where = Where.of(device, threads, executor)
    wanted = _Wanted(
        save_at, checks.flag("paths", paths), _layout_options(moments, extremes, covariance),
        options.histogram(histogram), options.named_functions("expectations", expectations),
        checked_controls(controls), where.gpu is None,
    )  # fmt: skip
    chain = {
        "method": method, "functionals": functionals, "boundary": boundary, "stop_when": stop_when,
        "antithetic": antithetic, "events": events, "sensitivities": sensitivities,
    }  # fmt: skip
    numbers = {
        "x0": x0, "n_paths": n_paths, "seed": seed, "dtype": dtype, "noise_dtype": noise_dtype,
        "first_chain": first_chain,
    }  # fmt: skip
    with Checkpoint.of(checkpoint, "simulate", where.gpu is not None) as keeping:
        if seed is None and resume is None:
            numbers["seed"] = keeping.seed
        if dt is not None:
            n_steps = plan.steps_of_size(dt, t0, t1, n_steps, times, resume)
        if resume is None:
            settings, start = _fresh(model, plan.time_grid(t0, t1, n_steps, times), numbers, chain, wanted)
        else:
            fixed = {**numbers, **chain, "t0": t0, "t1": t1}
            settings, start = _continued(model, resume, fixed, n_steps, times, wanted)
        draws = None if normals is None else _given(normals, settings)
        settings = settings if draws is None else replace(settings, given_normals=True)
        keeping.belongs_to(settings, n_paths=settings.n_paths)
        result = _run(settings, start, draws, where, checks.flag("progress", progress), started, keeping)
        _warn_of_nonfinite(result)
        warn_of_overflow(result)
        warn_of_unfinished(result.events.values())
        if settings.extras.expectations:
            _warn_of_expectations(result)
        return result


class _Wanted(NamedTuple):
    """What to keep and to gather, as asked for."""

    save_at: Any
    paths: bool
    layout: _LayoutOptions
    histogram: Histogram | None
    expectations: tuple[tuple[str, Callable[..., Any]], ...]
    controls: tuple[tuple[str, Callable[..., Any], Any], ...]
    on_host: bool


_LayoutOptions = tuple["int | None", bool, bool]


def _layout_options(moments: Any, extremes: Any, covariance: Any) -> _LayoutOptions:
    return options.moments(moments), checks.flag("extremes", extremes), checks.flag("covariance", covariance)


def _layout(dim: int, asked: _LayoutOptions, n_saves: int, n_steps: int) -> Layout:
    moments, extremes, covariance = asked
    return _cached_layout(dim, options.gathered_moments(moments, n_saves, n_steps), extremes, covariance)


@lru_cache(maxsize=256)
def _cached_layout(*numbers: Any) -> Layout:
    """The `Layout` of these numbers, which then need not be computed again."""
    return Layout(*numbers)


def _fresh(
    model: Model, grid: TimeGrid, numbers: dict[str, Any], chain: dict[str, Any], wanted: _Wanted
) -> tuple[Settings, np.ndarray]:
    """Check everything a new run needs."""
    x0, n_paths, dtype, noise_dtype = (numbers[name] for name in ("x0", "n_paths", "dtype", "noise_dtype"))
    if x0 is None or n_paths is None:
        raise TypeError("simulate needs x0 and n_paths")
    scheme = method_of(model, chain["method"])
    state_type, noise_type = checks.types(dtype, noise_dtype)
    n = options.many("n_paths", n_paths)
    refuse_other_lengths(model.parameters(), n)
    extras = kept(model, checked_extras(model, chain, wanted.expectations, wanted.controls))
    if model.jumps is not None:
        extras = replace(extras, jumps=written_for(model, grid, state_type, extras))
    if extras.antithetic and n % 2:
        raise ValueError(f"n_paths must be even for antithetic pairs, got {n}")
    exact = plan.given_states(x0, model.dim, n)
    start = plan.in_type(exact, x0, state_type)
    model.check_start(start.T if start.shape[1] > 1 else start[:, 0])
    n_rows = model.dim + extras.n_carried(model.dim) + len(model.per_path)
    saves, layout = _saves(wanted, grid, n, n_rows, model.dim, state_type)
    settings = Settings(
        model=model, method=scheme, x0=start[:, 0].copy() if start.shape[1] == 1 else None, extras=extras,
        seed=options.seed(numbers["seed"]), dtype=state_type, noise_dtype=noise_type,
        first_chain=options.first_chain(numbers["first_chain"]), n_chains=n // (1 + extras.antithetic), grid=grid,
        saves=saves, layout=layout, keeps_states=wanted.paths, histogram=wanted.histogram,
    )  # fmt: skip
    rows = start_rows(settings, start)
    if state_type.itemsize == 4:
        warn_of_lost_steps(model, exact, grid)
    return settings, rows


def _saves(
    wanted: _Wanted, grid: TimeGrid, n_paths: int, n_rows: int, dim: int, dtype: np.dtype
) -> tuple[np.ndarray, Layout]:
    """The steps to save and what to gather there, once it is known that it fits."""
    n_times = plan.count_saves(wanted.save_at, grid)
    layout = _layout(dim, wanted.layout, n_times, grid.n_steps)
    size = layout.size + 3 * (n_rows - dim + len(wanted.expectations))
    if wanted.histogram is not None:
        size += dim * (wanted.histogram.bins + 2)
    # (what a GPU keeps is looked at where it is allocated)
    paths = wanted.paths and wanted.on_host
    plan.refuse_too_large(n_times, n_rows, n_paths, dtype.itemsize, grid.n_steps, size, paths)
    return plan.saved_steps(wanted.save_at, grid), layout


def _continued(
    model: Model, before: Simulation, fixed: dict[str, Any], n_steps: Any, times: Any, wanted: _Wanted
) -> tuple[Settings, np.ndarray]:
    """Check everything that going on needs: what decides the numbers is the earlier run's."""
    if not isinstance(before, Simulation):
        raise TypeError(f"resume must be the result of an earlier simulate, got {checks.shown(before)}")
    given = [name for name, value in fixed.items() if value is not None]
    if given:
        raise TypeError(
            f"a resumed run goes on with the earlier run's settings and step size, for n_steps more steps or through "
            f"more times: leave out {', '.join(given)}"
        )
    old = before.settings
    if model != old.model:
        raise ValueError(f"resume goes on with the same model: the run was of {old.model!r}, got {checks.shown(model)}")
    start = before._final_rows()
    grid = plan.continued_grid(old.grid, n_steps, times)
    extras = with_expectations(old.extras, wanted.expectations, wanted.controls)
    if extras.jumps is not None and written_for(model, grid, old.dtype, extras).most > extras.jumps.most:
        raise ValueError("a resumed run has no longer steps, and no more jumps in them, than the run before it")
    n_rows = model.dim + extras.n_carried(model.dim) + len(model.per_path)
    saves, layout = _saves(wanted, grid, old.n_paths, n_rows, model.dim, old.dtype)
    settings = replace(
        old, x0=None, grid=grid, saves=saves, layout=layout, keeps_states=wanted.paths, extras=extras,
        histogram=wanted.histogram,
    )  # fmt: skip
    check_observed(settings)
    return settings, start


def _given(normals: Any, s: Settings) -> np.ndarray:
    """Normals of shape (n_steps, n_paths, n_draws) as the kernels take them, (draws, n_paths)."""
    draws = s.stepping.draws(s.noise_dtype)
    n_draws = draws.noise_dim
    if draws.signs:
        raise ValueError(f"normals are for methods that draw normals, not for {s.method!r}")
    z = checks.array("normals", normals)
    if z.ndim == 2 and n_draws == 1:
        z = z[:, :, None]
    shape = (s.grid.n_steps, s.n_chains, n_draws)
    if z.shape != shape:
        raise ValueError(f"normals must have shape {shape}, got {z.shape}")
    return np.ascontiguousarray(z.transpose(0, 2, 1).reshape(-1, s.n_chains), s.noise_dtype)


def _run(
    s: Settings,
    start: np.ndarray,
    normals: np.ndarray | None,
    where: Where,
    progress: bool,
    started: float,
    keeping: Checkpoint,
) -> Simulation:
    whole = s.tile(start, normals, where.gpu)
    with progress_bar(progress, type(s.model).__name__, s.n_chains * s.grid.n_steps, "path-step") as bar:
        outcome = where.run(whole, None if bar is None else bar.update, keeping.part("run"))
    keeping.finish()
    return Simulation(s, where.cost(started, keeping.found), outcome.states, outcome.nodes, outcome.counts)


def _warn_of_nonfinite(result: Simulation) -> None:
    parts = result.settings.gathering.state
    finite = sum(node[-1, 0] for part in parts for node in result._nodes[part].values())
    if finite < result.n_paths:
        lost = gone(result.n_paths - int(finite), result.n_paths, "path")
        checks.warn(
            f"{lost} no longer finite at t={result.t[-1]:g}; the statistics are over the "
            "others. A smaller step or another method may help",
        )


def _warn_of_expectations(result: Simulation) -> None:
    """Of expectations that leave paths out, and of controls whose mean is not what was said."""
    e, lost = result.settings.extras, result.n_nonfinite[-1]
    for name, expectation in result.expectations.items():
        left_out = int(expectation.n_nonfinite[-1])
        if left_out > lost:
            what = f"expectations[{name!r}]" + (" or a control" if e.controls else "")
            checks.warn(
                f"{what} is not finite on {left_out} of {counted(result.settings.n_chains, 'path')} at "
                f"t={result.t[-1]:g}; the value is over the others"
            )
    for name, z in result._control_errors().items():
        if z > _FAR:
            checks.warn(
                f"controls[{name!r}] has a mean that is {z:.3g} standard errors from the stated one; the corrected "
                "expectations are then wrong",
            )
