"""Step sizes and saved iterations: what users may pass, checked in one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks, resources
from ..engine.grid import TimeGrid
from ..engine.plan import count_saves, saved_steps


def step_sizes(step_size: Any, n_steps: int, dim: int) -> np.ndarray:
    """The step sizes of iterations k = 0, ..., n_steps - 1 as one array.

    Parameters
    ----------
    step_size : float, array_like or callable
        - a number: one step size for all;
        - an array of shape (n_steps,): one per iteration;
        - a function of the iteration k = 0, 1, ..., called once for each k, that returns a number, or an array of
          shape (d,) with one step size per parameter;
        - an array of shape (1, d): one per parameter, the same in all iterations;
        - an array of shape (n_steps, d): one per iteration and parameter.

        Step sizes per parameter always have two axes, so that nothing is guessed when n_steps equals d.
    n_steps : int
        Number of iterations, at least 1.
    dim : int
        Number of parameters, d.

    Returns
    -------
    numpy.ndarray
        Float64, of shape (1 or n_steps, 1 or d).

    Raises
    ------
    ValueError
        If a step size is not positive or not finite, or the shape is none of the above.
    TypeError
        If ``step_size`` holds anything but real numbers.
    """
    given = _called(step_size, n_steps, dim) if callable(step_size) else checks.array("step_size", step_size)
    if given.ndim == 0:
        steps = given.reshape(1, 1)
    elif given.shape == (n_steps,):
        steps = given.reshape(n_steps, 1)
    elif given.ndim == 2 and given.shape[0] in (1, n_steps) and given.shape[1] in (1, dim):
        steps = given
    else:
        hint = ""
        if given.shape == (dim,):
            hint = f"; for one step size per parameter give it the shape (1, {dim})"
        raise ValueError(
            f"step_size must be a number, a function of the iteration, or an array of shape ({n_steps},) with one step "
            f"size per iteration, (1, {dim}) with one per parameter, or ({n_steps}, {dim}), got shape "
            f"{given.shape}{hint}"
        )
    return _positive(steps)


def constant_steps(step_size: Any, dim: int) -> np.ndarray:
    """Step sizes that do not change: a number, or one per parameter of shape (d,) or (1, d).

    Returns a float64 array of shape (1,) or (d,).
    """
    given = checks.array("step_size", step_size)
    if given.shape not in ((), (1,), (dim,), (1, 1), (1, dim)):
        raise ValueError(
            f"step_size must be a number, or one number per parameter of shape ({dim},), got shape {given.shape}"
        )
    return _positive(given.reshape(-1))


def saved_iterations(save_at: Any, n_steps: int, size: int = 0) -> np.ndarray:
    """The iterations to save: "final", "all", every so many (int) with the final one, or an array of iterations.

    The state of iteration k is the one after k updates; 0 is the start. Returns an increasing int64 array. What is
    saved takes ``size`` numbers at each; MemoryError, before any work, if that cannot fit.
    """
    n_saved = count_saves(save_at, TimeGrid(0.0, 0, n_steps, h=1.0))
    resources.refuse_too_large(8 * n_saved * (size + 1), f"{n_saved} saved iterations", ["save_at= saves fewer"])
    if save_at is None or isinstance(save_at, str) or np.ndim(save_at) == 0:
        return saved_steps(save_at, TimeGrid(0.0, 0, n_steps, h=1.0))
    given = checks.increasing("save_at", save_at)
    if (given != np.rint(given)).any() or given[0] < 0 or given[-1] > n_steps:
        raise ValueError(f"save_at must hold iterations from 0 to {n_steps}, got {save_at!r}")
    return given.astype(np.int64)


def _called(function: Any, n_steps: int, dim: int) -> np.ndarray:
    values = []
    for k in range(n_steps):
        try:
            value = function(k)
        except ZeroDivisionError:
            raise ValueError(
                f"step_size divides by zero at k = {k}; iterations count from 0, so write for example "
                "lambda k: 0.1 / (k + 1)"
            ) from None
        value = checks.array("step_size", value)
        if value.shape not in ((), (dim,)):
            raise ValueError(
                f"step_size must return a number or an array of shape ({dim},), got shape {value.shape} at k = {k}"
            )
        values.append(value.reshape(-1))
    if len({len(value) for value in values}) > 1:
        values = [np.broadcast_to(value, (dim,)) for value in values]
    return np.array(values)


def _positive(steps: np.ndarray) -> np.ndarray:
    if (steps <= 0).any():
        raise ValueError(f"step_size must be positive, got {steps[steps <= 0][0]:g}")
    return steps
