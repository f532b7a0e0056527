"""Simulating many paths of an SDE."""

from __future__ import annotations

import secrets
import time
import warnings
from concurrent.futures import Executor
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core, checks, resources
from .engine import executors, plan
from .engine.grid import TimeGrid
from .engine.statistics import Layout, Nodes
from .engine.tiles import Tile
from .models.base import Model
from .schemes import SCHEMES
from .simulation import Cost, Settings, Simulation

_FEW_TIMES = 16


def simulate(
    model: Model,
    *,
    x0: ArrayLike | None = None,
    t1: float | None = None,
    n_steps: int | None = None,
    n_paths: int | None = None,
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
    first_chain: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    resume: Simulation | None = None,
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
    t0 : float, default 0
        Start of the time interval.
    times : array_like of shape (n,)
        Strictly increasing times to step through, instead of ``t0``, ``t1`` and ``n_steps``.
    method : {"euler-maruyama", "exact"}
        Scheme; the model's ``schemes`` lists those it has.
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
    first_chain : int, default 0
        Number of the first path: shards of one large run, or one path of it.
    device : {"cpu"}
        Where to run.
    threads : int
        Worker threads; by default the processors that this process may use.
    executor : concurrent.futures.Executor
        Where to run instead of threads: `ProcessPoolExecutor`, ``dask.distributed.Client().get_executor()``, ...
        ``threads`` is then the number of its workers to keep busy, by default the executor's own number or 16.
    progress : bool
        Show a progress bar.
    resume : Simulation
        Go on from the end of this run, which kept its final states, for ``n_steps`` more steps (or through more
        ``times``). Model, seed, paths and types are the run's.

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
    if not isinstance(model, Model):
        raise TypeError(f"model must be a model such as sdefast.OrnsteinUhlenbeck(), got {model!r}")
    checks.choice("device", device, ("cpu",))
    if executor is not None and (isinstance(executor, type) or not hasattr(executor, "submit")):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    if threads is None:
        threads = resources.available_threads() if executor is None else getattr(executor, "_max_workers", 16)
    threads = checks.count("threads", threads, most=65536)
    if resume is None:
        settings, start = _fresh(
            model, x0, plan.time_grid(t0, t1, n_steps, times), n_paths, method, seed, dtype, noise_dtype, first_chain,
            save_at, paths, _layout_options(moments, extremes, covariance),
        )  # fmt: skip
    else:
        fixed = {
            "x0": x0, "t0": t0, "t1": t1, "n_paths": n_paths, "method": method, "seed": seed, "dtype": dtype,
            "noise_dtype": noise_dtype, "first_chain": first_chain,
        }  # fmt: skip
        settings, start = _continued(
            model, resume, fixed, n_steps, times, save_at, paths, _layout_options(moments, extremes, covariance)
        )
    states, nodes = _run(settings, start, executor, threads, _flag("progress", progress))
    name = type(executor).__name__ if executor is not None else f"{threads} thread{'s' * (threads > 1)}"
    cost = Cost(time.perf_counter() - started, threads, _core.isa, name)
    result = Simulation(settings, cost, states, nodes)
    _warn_of_nonfinite(nodes, result)
    return result


_LayoutOptions = tuple["int | None", bool, bool]


def _layout_options(moments: Any, extremes: Any, covariance: Any) -> _LayoutOptions:
    if moments is not None and not (isinstance(moments, (int, np.integer)) and moments in (2, 4)):
        raise ValueError(f"moments must be 2 or 4, got {moments!r}")
    for name, value in (("extremes", extremes), ("covariance", covariance)):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    return None if moments is None else int(moments), bool(extremes), bool(covariance)


def _layout(dim: int, options: _LayoutOptions, n_saves: int, n_steps: int) -> Layout:
    moments, extremes, covariance = options
    if moments is None:
        moments = 2 if n_saves > _FEW_TIMES and 8 * n_saves > n_steps else 4
    return Layout(dim, moments, extremes, covariance)


def _fresh(
    model: Model, x0: Any, grid: TimeGrid, n_paths: Any, method: Any, seed: Any, dtype: Any, noise_dtype: Any,
    first_chain: Any, save_at: Any, paths: Any, options: _LayoutOptions,
) -> tuple[Settings, np.ndarray]:  # fmt: skip
    """Check everything a new run needs."""
    if x0 is None or n_paths is None:
        raise TypeError("simulate needs x0 and n_paths")
    scheme = "euler-maruyama" if method is None else checks.choice("method", method, SCHEMES)
    if scheme not in model.schemes:
        raise ValueError(f"{type(model).__name__} has no method {scheme!r}; it has {', '.join(model.schemes)}")
    state_type = checks.dtype("dtype", "float64" if dtype is None else dtype)
    noise_type = state_type if noise_dtype is None else checks.dtype("noise_dtype", noise_dtype)
    if noise_type.itemsize > state_type.itemsize:
        raise ValueError("noise_dtype='float64' needs dtype='float64'")
    n = checks.count("n_paths", n_paths, most=2**52)
    keeps_paths = _flag("paths", paths)
    saves, layout = _saves(save_at, grid, n, model.dim, state_type, options, keeps_paths)
    start = plan.start_states(x0, model.dim, n, state_type)
    model.check_start(start.T if start.shape[1] > 1 else start[:, 0])
    settings = Settings(
        model, start[:, 0].copy() if start.shape[1] == 1 else None, scheme,
        secrets.randbits(64) if seed is None else checks.seed("seed", seed), state_type, noise_type,
        0 if first_chain is None else checks.count("first_chain", first_chain, least=0, most=2**62), n, grid, saves,
        layout, keeps_paths,
    )  # fmt: skip
    return settings, start


def _saves(
    save_at: Any, grid: TimeGrid, n_paths: int, dim: int, dtype: np.dtype, options: _LayoutOptions, keeps_paths: bool
) -> tuple[np.ndarray, Layout]:
    """The steps to save and what to gather there, once it is known that it fits."""
    n_times = plan.count_saves(save_at, grid)
    layout = _layout(dim, options, n_times, grid.n_steps)
    plan.refuse_too_large(n_times, dim, n_paths, dtype.itemsize, grid.n_steps, layout.size, keeps_paths)
    return plan.saved_steps(save_at, grid), layout


def _continued(
    model: Model, before: Simulation, fixed: dict[str, Any], n_steps: Any, times: Any, save_at: Any, paths: Any,
    options: _LayoutOptions,
) -> tuple[Settings, np.ndarray]:  # fmt: skip
    """Check everything that going on needs: what decides the numbers is the earlier run's."""
    if not isinstance(before, Simulation):
        raise TypeError(f"resume must be the result of an earlier simulate, got {before!r}")
    given = [name for name, value in fixed.items() if value is not None]
    if given:
        raise TypeError(
            f"a resumed run goes on with the earlier run's settings and step size, for n_steps more steps or through "
            f"more times: leave out {', '.join(given)}"
        )
    old = before.settings
    if model != old.model:
        raise ValueError(f"resume goes on with the same model: the run was of {old.model!r}, got {model!r}")
    start = before._final_states()
    grid = plan.continued_grid(old.grid, n_steps, times)
    keeps_paths = _flag("paths", paths)
    saves, layout = _saves(save_at, grid, old.n_paths, model.dim, old.dtype, options, keeps_paths)
    settings = Settings(
        model, None, old.method, old.seed, old.dtype, old.noise_dtype, old.first_chain, old.n_paths, grid, saves,
        layout, keeps_paths,
    )  # fmt: skip
    return settings, start


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _run(
    settings: Settings, start: np.ndarray, executor: Executor | None, threads: int, progress: bool
) -> tuple[np.ndarray | None, Nodes]:
    s, grid, dim = settings, settings.grid, settings.model.dim
    states = None
    if s.keeps_paths:
        states = np.empty((len(s.saves), dim, s.n_paths), s.dtype)
    step_sizes = grid.step_sizes()
    if len(step_sizes) > 1:  # a row of coefficients for every step
        row = s.model.step(s.method, step_sizes[:1]).coefficients.shape[1]
        what = f"the coefficients of {len(step_sizes)} different steps"
        resources.refuse_too_large(len(step_sizes) * row * 16, what, ["use a uniform grid or fewer times"])
    kernel, coefficients = s.model.step(s.method, step_sizes)
    noise_dim = s.model.noise_dim_of(s.method)
    if (grid.last_step * noise_dim) >> 40:
        raise ValueError(f"n_steps is too large: a path has 2**40 draws, {grid.last_step} steps need more")
    whole = Tile(
        kernel, np.ascontiguousarray(coefficients, np.float64), noise_dim, s.seed, s.first_chain, s.n_paths,
        grid.first_step, grid.n_steps, start, s.noise_dtype.itemsize == 4, s.saves, s.keeps_paths, s.layout,
    )  # fmt: skip
    nodes: Nodes = {}
    with _progress_bar(progress, s) as bar:
        for result in executors.run(whole, states, executor, threads, None if bar is None else bar.update):
            s.layout.add(nodes, result.nodes)
    return states, nodes


def _progress_bar(wanted: bool, s: Settings) -> Any:
    if not wanted:
        return nullcontext()
    from tqdm.auto import tqdm

    name = type(s.model).__name__
    return tqdm(total=s.n_paths * s.grid.n_steps, unit="path-step", unit_scale=True, desc=name)


def _warn_of_nonfinite(nodes: Nodes, result: Simulation) -> None:
    finite = sum(node[-1, 0] for node in nodes.values())
    if finite < result.n_paths:
        gone = result.n_paths - int(finite)
        warnings.warn(
            f"{gone} of {result.n_paths} paths are no longer finite at t={result.t[-1]:g}; the statistics are over the "
            "others. A smaller step or another method may help",
            RuntimeWarning,
            stacklevel=3,
        )
