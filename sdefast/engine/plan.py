"""From what a user asks for to what the engine runs: time grid, saved steps, start states, memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks, resources
from .grid import TimeGrid


def time_grid(t0: Any, t1: Any, n_steps: Any, times: Any) -> TimeGrid:
    """A grid of ``n_steps`` equal steps from ``t0`` to ``t1``, or one that steps through ``times``."""
    if times is not None:
        if t1 is not None or n_steps is not None or t0 is not None:
            raise ValueError("times already says where steps begin and end: leave out t0, t1 and n_steps")
        grid = checks.increasing("times", times, at_least=2)
        return TimeGrid(float(grid[0]), 0, len(grid) - 1, times=grid)
    if t1 is None or n_steps is None:
        raise TypeError("simulate needs t1 and n_steps, or times")
    start = 0.0 if t0 is None else checks.real("t0", t0)
    end, n = checks.real("t1", t1), checks.count("n_steps", n_steps)
    if end <= start:
        raise ValueError(f"t1 must be greater than t0, got t0={start} and t1={end}")
    h = (end - start) / n
    if not math.isfinite(h):
        raise ValueError(f"t1 - t0 must be finite, got t0={start} and t1={end}")
    if start + h == start or end + h == end:
        raise ValueError(f"n_steps is too large: steps of {h} cannot be told apart at t={end}")
    return TimeGrid(start, 0, n, h=h)


#: how far, relative to it, an interval may be from a whole number of steps: rounding of decimal fractions
_WHOLE = 1e-9


def steps_of_size(dt: Any, t0: Any, t1: Any, n_steps: Any, times: Any, resume: Any) -> int:
    """How many steps of size ``dt`` make up the time interval."""
    given = {"n_steps": n_steps, "times": times, "resume": resume}
    extra = [name for name, value in given.items() if value is not None]
    if extra or t1 is None:
        what = f"leave out {', '.join(extra)}" if extra else "pass t1"
        raise TypeError(f"dt is the step size on the way to t1: {what}")
    dt = checks.real("dt", dt, positive=True)
    length = checks.real("t1", t1) - (0.0 if t0 is None else checks.real("t0", t0))
    n: int = round(length / dt)
    if n < 1 or abs(n * dt - length) > _WHOLE * length:
        near = (
            f"the nearest are {length / max(n, 1):.6g} and {length / (n + 1):.6g}" if length > 0 else "t1 is not later"
        )
        raise ValueError(f"dt must divide the time interval of {length:g} into whole steps, got {dt:g}; {near}")
    return n


def continued_grid(before: TimeGrid, n_steps: Any, times: Any) -> TimeGrid:
    """The grid that goes on where ``before`` ends."""
    if before.is_uniform:
        if times is not None or n_steps is None:
            raise TypeError("a run on a uniform grid is resumed with n_steps=")
        return TimeGrid(before.t0, before.last_step, checks.count("n_steps", n_steps), h=before.h)
    if times is None or n_steps is not None:
        raise TypeError("a run through given times is resumed with times=, beginning at its last time")
    grid = checks.increasing("times", times, at_least=2)
    assert before.times is not None
    if grid[0] != before.times[-1]:
        raise ValueError(f"times must begin at the resumed run's last time {before.times[-1]}, got {grid[0]}")
    return TimeGrid(before.t0, before.last_step, len(grid) - 1, times=grid)


def count_saves(save_at: Any, grid: TimeGrid) -> int:
    """How many times `saved_steps` would name, found without allocating anything."""
    if isinstance(save_at, str):
        return 1 if checks.choice("save_at", save_at, ("all", "final")) == "final" else grid.n_steps + 1
    if isinstance(save_at, (int, np.integer)) and not isinstance(save_at, bool):
        return -(-grid.n_steps // checks.count("save_at", save_at)) + 1
    return len(_save_times(save_at))


def _save_times(save_at: Any) -> np.ndarray:
    if save_at is None or np.ndim(save_at) == 0:
        raise TypeError(
            f"save_at must be 'final', 'all', a number of steps or an array of times, got {checks.shown(save_at)}"
        )
    return checks.increasing("save_at", save_at)


def saved_steps(save_at: Any, grid: TimeGrid) -> np.ndarray:
    """Absolute step indices at which to save."""
    first, last = grid.first_step, grid.last_step
    if isinstance(save_at, str):
        if checks.choice("save_at", save_at, ("all", "final")) == "final":
            return np.array([last], np.int64)
        return np.arange(first, last + 1)
    if isinstance(save_at, (int, np.integer)) and not isinstance(save_at, bool):
        every = checks.count("save_at", save_at)
        steps = np.arange(first, last + 1, every)
        return steps if steps[-1] == last else np.append(steps, last)
    return grid.steps_at(_save_times(save_at))


def start_states(x0: Any, dim: int, n_paths: int, dtype: np.dtype) -> np.ndarray:
    """Start states as (dim, 1), or (dim, n_paths) where every path has its own."""
    return in_type(given_states(x0, dim, n_paths), x0, dtype)


def given_states(x0: Any, dim: int, n_paths: int) -> np.ndarray:
    """The same in float64."""
    start = checks.array("x0", x0)
    if start.ndim == 0 and dim == 1:
        start = start.reshape(1, 1)
    elif start.shape == (dim,):
        start = start.reshape(dim, 1)
    elif start.shape == (n_paths, dim):
        start = start.T
    elif dim == 1 and start.shape == (n_paths,):
        start = start.reshape(1, n_paths)
    else:
        one = "a number, " if dim == 1 else ""
        raise ValueError(f"x0 must be {one}of shape ({dim},) or ({n_paths}, {dim}), got shape {start.shape}")
    return start


def in_type(start: np.ndarray, x0: Any, dtype: np.dtype, what: str = "x0") -> np.ndarray:
    """Start states ``x0``, or ``what`` is made of them, float64, in the state's type."""
    if start.dtype == dtype:
        return start  # known to be finite
    with np.errstate(over="ignore"):
        result = start.astype(dtype)
    if not np.isfinite(result).all() and np.isfinite(start).all():
        raise ValueError(f"{what} must be finite in {dtype.name}, got {checks.shown(x0)}")
    return result


def refuse_too_large(
    n_times: int, dim: int, n_paths: int, itemsize: int, n_steps: int, statistics_size: int, paths: bool
) -> None:
    """MemoryError, before anything is allocated, if what a run keeps at its saved times cannot fit."""
    # Statistics: the merged blocks, and those of some tiles in flight.
    statistics = n_times * statistics_size * 8 * 32
    one_time = dim * n_paths * itemsize if paths else 0
    needed = n_times * one_time + statistics
    if needed < 2**30:
        return
    room = resources.USABLE * (resources.available_memory() or needed * 2)
    options = []
    if paths and statistics < room:
        options.append("paths=False keeps the statistics alone")
    fit = int(room // (one_time + statistics_size * 8 * 32))
    if fit >= 2:
        options.append(f"save_at={-(-n_steps // (fit - 1))} saves {fit} times at most")
    if itemsize == 8 and paths and needed < 2 * room:
        options.append("dtype='float32' halves it")
    what = (
        f"the saved states ({n_times} times x {n_paths} paths x {dim * itemsize} bytes)"
        if paths
        else (f"the statistics of {n_times} times")
    )
    resources.refuse_too_large(needed, what, options)
