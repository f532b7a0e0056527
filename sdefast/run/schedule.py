"""Step sizes and saved iterations: what users may pass, checked in one place; schedules that are formulas."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks, resources
from ..engine.grid import TimeGrid
from ..engine.plan import count_saves, saved_steps


def step_sizes(step_size: Any, n_steps: int, dim: int, first: int = 0, per: str = "parameter") -> np.ndarray:
    """The step sizes of iterations k = first, ..., first + n_steps - 1 as one array.

    Parameters
    ----------
    step_size : float, array_like or callable
        - a number: one step size for all;
        - an array of shape (n_steps,): one per iteration;
        - a function of the iteration k = first, first + 1, ..., called once for each k, that returns a number, or an
          array of shape (d,) with one step size per parameter, or per what ``per`` names (a `Schedule` is called once
          for all);
        - an array of shape (1, d): one per parameter, the same in all iterations;
        - an array of shape (n_steps, d): one per iteration and parameter.

        Step sizes per parameter always have two axes, so that nothing is guessed when n_steps equals d.
    n_steps : int
        Number of iterations, at least 1.
    dim : int
        Number of parameters, d.
    first : int
        The first iteration.
    per : str
        What there are d of, for the messages.

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
    asked = range(first, first + n_steps)
    if isinstance(step_size, Schedule):
        given = step_size.over(asked)
    else:
        given = _called(step_size, asked, dim) if callable(step_size) else checks.array("step_size", step_size)
    if given.ndim == 0:
        steps = given.reshape(1, 1)
    elif given.shape == (n_steps,):
        steps = given.reshape(n_steps, 1)
    elif given.ndim == 2 and given.shape[0] in (1, n_steps) and given.shape[1] in (1, dim):
        steps = given
    else:
        hint = ""
        if given.shape == (dim,):
            hint = f"; for one step size per {per} give it the shape (1, {dim})"
        raise ValueError(
            f"step_size must be a number, a function of the iteration, or an array of shape ({n_steps},) with one step "
            f"size per iteration, (1, {dim}) with one per {per}, or ({n_steps}, {dim}), got shape "
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


def saved_iterations(save_at: Any, grid: TimeGrid, size: int = 0) -> np.ndarray:
    """The iterations to save: "final", "all", every so many (int) with the final one, or an array of iterations.

    The state of iteration k is the one after k updates; 0 is the start. Returns an increasing int64 array. What is
    saved takes ``size`` numbers at each; MemoryError, before any work, if that cannot fit.
    """
    n_saved = count_saves(save_at, grid)
    resources.refuse_too_large(8 * n_saved * (size + 1), f"{n_saved} saved iterations", ["save_at= saves fewer"])
    if save_at is None or isinstance(save_at, str) or np.ndim(save_at) == 0:
        return saved_steps(save_at, grid)
    given = checks.increasing("save_at", save_at)
    if (given != np.rint(given)).any() or given[0] < grid.first_step or given[-1] > grid.last_step:
        raise ValueError(f"save_at must hold iterations from {grid.first_step} to {grid.last_step}, got {save_at!r}")
    return given.astype(np.int64)


def iteration_grid(n_steps: int) -> TimeGrid:
    """The iterations 0 to ``n_steps`` as the engine counts them: time is the iteration."""
    return TimeGrid(0.0, 0, n_steps, h=1.0)


def _called(function: Any, iterations: range, dim: int) -> np.ndarray:
    values = []
    for k in iterations:
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


# Formulas -----------------------------------------------------------------------------------------------------------

_MOST_CHARACTERS = 200

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}

_FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "sqrt": (np.sqrt, 1),
    "exp": (np.exp, 1),
    "log": (np.log, 1),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
}


@dataclass(frozen=True)
class Schedule:
    """Step sizes by a formula of the iteration: what `sgd` takes as ``step_size``, kept readable and comparable.

    Parameters
    ----------
    formula : str
        Numbers, ``t`` = 1, 2, ..., the number of the update, or ``k`` = t - 1, the iteration that it starts from,
        with ``+ - * / **``, parentheses, ``sqrt``, ``exp``, ``log`` and ``min`` and ``max`` of two. It is read, never
        executed as Python.

    Raises
    ------
    TypeError
        If the formula is no string.
    ValueError
        If it holds anything else.

    Examples
    --------
    >>> from sdefast.least_squares import Schedule
    >>> Schedule("0.1/t")([0, 1, 9])
    array([0.1 , 0.05, 0.01])
    """

    formula: str

    def __post_init__(self) -> None:
        if not isinstance(self.formula, str):
            raise TypeError(f"formula must be a string such as '0.1/t', got {self.formula!r}")
        _value(_parsed(self.formula), self.formula, {"t": np.float64(1), "k": np.float64(0)})

    def __call__(self, k: ArrayLike) -> Any:
        """The step sizes of iterations ``k`` = 0, 1, ..., of the shape of ``k``; infinite or nan where undefined."""
        k = np.asarray(k, np.float64)
        value = _value(_parsed(self.formula), self.formula, {"t": k + 1, "k": k})
        return np.broadcast_to(value, k.shape).copy()[()]

    def over(self, iterations: range) -> np.ndarray:
        """The step sizes of some iterations; ValueError if one is not positive and finite."""
        steps = np.asarray(self(np.arange(iterations.start, iterations.stop)))
        bad = np.flatnonzero(~((steps > 0) & np.isfinite(steps)))
        if len(bad):
            first = int(bad[0])
            at = f"{steps[first]:g} at t = {iterations[first] + 1}"
            raise ValueError(f"step_size must be positive and finite, but {self} is {at}")
        return steps

    def __str__(self) -> str:
        return self.formula


def _parsed(formula: str) -> ast.expr:
    if len(formula) > _MOST_CHARACTERS:  # a limit to how deeply it can be nested
        raise ValueError(f"a step size's formula must have at most {_MOST_CHARACTERS} characters, got {len(formula)}")
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _refusal(formula) from None


def _value(node: ast.expr, formula: str, names: dict[str, Any]) -> Any:
    """The value of one node, in numpy's arithmetic: nothing but what is named here can be in it."""
    with np.errstate(all="ignore"):
        match node:
            case ast.Constant(value=float() | int() as number) if not isinstance(number, bool):
                try:
                    return np.float64(number)
                except OverflowError:
                    return np.float64(np.inf)
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -_value(operand, formula, names)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](_value(left, formula, names), _value(right, formula, names))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                function, n_arguments = _FUNCTIONS[name]
                if len(args) == n_arguments:
                    return function(*(_value(argument, formula, names) for argument in args))
    raise _refusal(formula)


def _refusal(formula: str) -> ValueError:
    return ValueError(
        "a step size must be a number or a formula of the update t = 1, 2, ... (or k = t - 1) with + - * / **, "
        f"parentheses and {', '.join(_FUNCTIONS)}, such as 0.1/t, got {formula!r}"
    )
