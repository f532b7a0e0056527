"""Checks of what these functions are given: increments, times, ends of bridges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks


def steps_in(dw: ArrayLike) -> np.ndarray:
    """Increments of any shape, with one step at least."""
    steps = checks.array("dw", dw)
    if steps.ndim == 0 or len(steps) == 0:
        raise ValueError(f"dw must hold at least one step along its first axis, got shape {steps.shape}")
    return steps


def increments_in(dw: ArrayLike) -> np.ndarray:
    """Increments of shape (n_steps, n_paths, noise_dim)."""
    steps = checks.array("dw", dw, shape=(None, None, None))
    if steps.size == 0:
        raise ValueError(f"dw must have shape (n_steps, n_paths, noise_dim) without zeros, got {steps.shape}")
    return steps


def times_of(times: Any, n_steps: int, name: str = "times") -> np.ndarray:
    """The times between which so many steps lead."""
    grid = checks.increasing(name, times)
    if len(grid) != n_steps + 1:
        raise ValueError(f"{name} must hold one more than the {n_steps} steps of dw, got {len(grid)}")
    return grid


def step_lengths(grid: Any, n_steps: int) -> np.ndarray:
    """Step sizes, of shape (1,) or (n_steps,), of a grid given by its step size or by its times."""
    if np.ndim(grid) == 0:
        return np.array([checks.real("grid", grid, positive=True)])
    return np.diff(times_of(grid, n_steps, "grid"))


def positions(grid: np.ndarray, coarse_times: Any) -> np.ndarray:
    """Where in ``grid`` the coarse times lie."""
    coarse = checks.increasing("coarse_times", coarse_times, at_least=2)
    where = np.searchsorted((grid[1:] + grid[:-1]) / 2, coarse)
    off = np.abs(grid[where] - coarse) > 1e-6 * np.diff(grid).min()
    if off.any():
        i = int(np.argmax(off))
        raise ValueError(f"coarse_times must be among times, got {coarse[i]}; the nearest is {grid[where[i]]}")
    if (np.diff(where) == 0).any():
        i = int(np.argmax(np.diff(where) == 0))
        raise ValueError(f"coarse_times must name a time once, got {coarse[i]} and {coarse[i + 1]}")
    return where


def ends_of(a: Any, b: Any, n_paths: int) -> tuple[np.ndarray, np.ndarray]:
    """Both ends, as (1, dim) or (n_paths, dim)."""
    start, end = (_end(name, value, n_paths) for name, value in (("a", a), ("b", b)))
    dim = max(start.shape[1], end.shape[1])
    for name, one, other in (("a", start, end), ("b", end, start)):
        if one.shape[1] not in (1, dim):
            raise ValueError(
                f"{name} must have as many components as the other end, {other.shape[1]}, got {one.shape[1]}"
            )
    return np.broadcast_to(start, (len(start), dim)), np.broadcast_to(end, (len(end), dim))


def _end(name: str, value: Any, n_paths: int) -> np.ndarray:
    end = checks.array(name, value)
    if end.ndim > 2 or end.size == 0 or (end.ndim == 2 and len(end) != n_paths):
        raise ValueError(f"{name} must be a number, of shape (dim,) or ({n_paths}, dim), got shape {end.shape}")
    return end if end.ndim == 2 else end.reshape(1, -1)
