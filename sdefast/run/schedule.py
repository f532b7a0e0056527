"""Step sizes and saved iterations: what users may pass, checked in one place; schedules that are formulas."""

from __future__ import annotations

import ast
import math
import operator
import warnings
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
    step_size : float, array_like, callable or str
        - a number: one step size for all;
        - an array of shape (n_steps,): one per iteration;
        - a function of the iteration k = first, first + 1, ..., that returns a number, or an array of shape (d,) with
          one step size per parameter, or per what ``per`` names. It is called once with all k, float64 of shape
          (n_steps,), or (n_steps, 1) for step sizes per parameter, if it takes them and says the same of some k alone;
          otherwise once for each k;
        - a formula of the update t = k + 1 such as "0.1/t", or a `Schedule`;
        - an array of shape (1, d): one per parameter, the same in all iterations;
        - an array of shape (n_steps, 1) or (n_steps, d): one per iteration, or one per iteration and parameter.

        Where n_steps equals d > 1 an array needs two axes, so that nothing is guessed.
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
    MemoryError
        If so many step sizes cannot fit.
    """
    if type(step_size) is float and 0 < step_size < math.inf:  # the usual, without the cost of looking at everything
        return np.array([[step_size]])
    return StepSizes.of(step_size, n_steps, dim, first, per).values()


@dataclass(frozen=True)
class StepSizes:
    """Step sizes that were asked for, before a function of the iteration is asked for all of them."""

    given: np.ndarray | Callable[[Any], Any]
    iterations: range
    #: 1, or d for step sizes per parameter
    width: int

    @classmethod
    def of(cls, step_size: Any, n_steps: int, dim: int, first: int = 0, per: str = "parameter") -> StepSizes:
        """Arguments and errors as in `step_sizes`; of a function's values the first and the last are looked at."""
        iterations = range(first, first + n_steps)
        if isinstance(step_size, str):
            step_size = Schedule(step_size)
        if not callable(step_size):
            given = _shaped(checks.array("step_size", step_size), n_steps, dim, per)
            return cls(_positive(given), iterations, given.shape[1])
        width = 1 if isinstance(step_size, Schedule) else max(
            len(_called(step_size, k, dim)) for k in {iterations[0], iterations[-1]}
        )  # fmt: skip
        resources.refuse_too_large(
            4 * 8 * n_steps * width, f"{n_steps} step sizes by a function",
            ["a number is kept once", "n_steps= fewer, and on with resume="],
        )  # fmt: skip
        return cls(step_size, iterations, width)

    def values(self) -> np.ndarray:
        """The step sizes, float64 of shape (1 or n_steps, ``width``)."""
        if isinstance(self.given, np.ndarray):
            return self.given
        if isinstance(self.given, Schedule):
            return self.given.over(self.iterations)[:, None]
        at_once = self._at_once(self.given)
        return _positive(self._one_by_one(self.given) if at_once is None else at_once)

    def _at_once(self, function: Callable[[Any], Any]) -> np.ndarray | None:
        """What the function says of all iterations in one call, if it takes an array and means each k alone."""
        n = len(self.iterations)
        k = np.arange(self.iterations.start, self.iterations.stop, dtype=np.float64)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                values = np.asarray(function(k if self.width == 1 else k[:, None]))
        except Exception:  # whatever a function of one number may raise of an array: it is asked for each k then
            return None
        shape = (n,) if self.width == 1 else (n, self.width)
        if n == 1 or values.shape != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            return None
        values = values.reshape(n, self.width).astype(np.float64)
        for i in {int(i) for i in np.linspace(0, n - 1, _LOOKED_AT)}:
            if not np.allclose(values[i], _called(function, self.iterations[i], self.width), rtol=1e-12, atol=0):
                return None
        return values

    def _one_by_one(self, function: Callable[[Any], Any]) -> np.ndarray:
        """What the function says of each iteration alone."""
        steps = np.empty((len(self.iterations), self.width))
        for i, k in enumerate(self.iterations):
            value = _value_at(function, k)
            # (a float needs no other check than that of all of them, which saves nine tenths of the time)
            steps[i] = value if type(value) is float else _step_of(value, k, self.width)
        if not np.isfinite(steps).all():
            i = int(np.argmin(np.isfinite(steps).all(axis=1)))
            raise ValueError(f"step_size must be finite, got {steps[i, 0]} at k = {self.iterations[i]}")
        return steps


#: Of the values of a function that was asked for all at once, so many are compared with those for one k alone.
_LOOKED_AT = 16


def is_constant(steps: np.ndarray) -> bool:
    """Whether step sizes of shape (n, m) are the same in all iterations, however they were given."""
    return bool((steps == steps[0]).all())


def _shaped(given: np.ndarray, n_steps: int, dim: int, per: str) -> np.ndarray:
    """An array of step sizes with two axes."""
    if given.ndim == 0:
        return given.reshape(1, 1)
    if given.shape == (n_steps,) and n_steps == dim > 1:
        raise ValueError(
            f"step_size of shape ({dim},) can be read in two ways, as there are as many iterations as {per}s: give it "
            f"the shape ({n_steps}, 1) for one step size per iteration, or (1, {dim}) for one per {per}"
        )
    if given.shape == (n_steps,):
        return given.reshape(n_steps, 1)
    if given.ndim == 2 and given.shape[0] in (1, n_steps) and given.shape[1] in (1, dim):
        return given
    hint = f"; for one step size per {per} give it the shape (1, {dim})" if given.shape == (dim,) else ""
    raise ValueError(
        f"step_size must be a number, a function of the iteration, a formula such as '0.1/t', or an array of shape "
        f"({n_steps},) with one step size per iteration, (1, {dim}) with one per {per}, or ({n_steps}, {dim}), got "
        f"shape {given.shape}{hint}"
    )


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
        raise ValueError(
            f"save_at must hold iterations from {grid.first_step} to {grid.last_step}, got {checks.shown(save_at)}"
        )
    return given.astype(np.int64)


def iteration_grid(n_steps: int) -> TimeGrid:
    """The iterations 0 to ``n_steps`` as the engine counts them: time is the iteration."""
    return TimeGrid(0.0, 0, n_steps, h=1.0)


def _called(function: Callable[[Any], Any], k: int, dim: int) -> np.ndarray:
    """What a function says of one iteration, of shape (1,) or (d,)."""
    return _step_of(_value_at(function, k), k, dim)


def _value_at(function: Callable[[Any], Any], k: int) -> Any:
    try:
        return function(k)
    except ZeroDivisionError:
        raise ValueError(
            f"step_size divides by zero at k = {k}; iterations count from 0, so write for example "
            "lambda k: 0.1 / (k + 1)"
        ) from None


def _step_of(value: Any, k: int, dim: int) -> np.ndarray:
    value = checks.array("step_size", value)
    if value.shape not in ((), (dim,)):
        raise ValueError(
            f"step_size must return a number or an array of shape ({dim},), got shape {value.shape} at k = {k}"
        )
    return np.ravel(value)


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
            raise TypeError(f"formula must be a string such as '0.1/t', got {checks.shown(self.formula)}")
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
        f"parentheses and {', '.join(_FUNCTIONS)}, such as 0.1/t, got {checks.shown(formula)}"
    )
