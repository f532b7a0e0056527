"""Functionals of whole paths, computed while they run: extremes, averages, first passages.

A functional is one more number that a chain carries along. ``simulate(..., functionals={"high": running_max()})`` gives
``run.functionals["high"]`` with its mean and standard error at every saved time and, where states are kept, its values.
Functions that `simulate` takes as expectations see it as ``y.high``.

Between two steps a path moves on: the largest value of a path at its steps is too small by about 0.58 b sqrt(h). So
extremes and passages of a component are those of the Brownian bridge between the steps, drawn from uniforms of their
own, which does not change the path (Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 6.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from . import checks
from .boundaries import Boundary
from .schemes.equation import Equation, Vector
from .trace import Expr, as_expr, constant, make, select, trace

Of = int | Callable[..., Any]


class Move(NamedTuple):
    """A step that a functional follows: from ``x`` at ``t`` to ``new`` at ``t + h``.

    ``elapsed`` is the time since the start. Without ``boundaries`` it would have gone to ``free``.
    """

    equation: Equation
    parameters: Any
    elapsed: Expr
    t: Expr
    h: Expr
    x: Vector
    free: Vector
    new: Vector
    boundaries: tuple[Boundary, ...]

    def confined(self, component: Any, value: Any) -> Expr:
        """A value of a component between the steps, as far as the boundaries let it go."""
        for boundary in self.boundaries:
            value = boundary.confine(component, as_expr(value))
        return as_expr(value)

    def unless_absorbed(self, moved: Any, stayed: Expr) -> Expr:
        """``moved`` where the path moves in this step, else ``stayed``."""
        is_free = constant(True)
        for boundary in self.boundaries:
            is_free = is_free & boundary.is_free(self.x)
        return as_expr(select(is_free, moved, stayed))


@dataclass(frozen=True)
class Functional:
    """Base class of functionals: a start value and what becomes of it in a step."""

    #: uniforms that a step draws
    n_uniforms: ClassVar[int] = 0

    def check(self, dim: int) -> None:
        """ValueError if the functional does not fit a state of ``dim`` components."""

    def begin(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        """The value at the start."""
        raise NotImplementedError

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        """The value after a step."""
        raise NotImplementedError


@dataclass(frozen=True)
class _OfPath(Functional):
    """A functional of a component, or of a function ``of(t, x)`` or ``of(t, x, p)``."""

    of: Of = 0

    def __post_init__(self) -> None:
        if not callable(self.of):
            object.__setattr__(self, "of", checks.count("of", self.of, least=0, most=63))

    def check(self, dim: int) -> None:
        if not callable(self.of) and self.of >= dim:
            raise ValueError(f"of must be a component from 0 to {dim - 1}, or a function of (t, x), got {self.of}")

    def at(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        if not callable(self.of):
            return x[self.of]
        return as_number("of", call_with(self.of, "of", t, x, parameters))

    def begin(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        return self.at(t, x, parameters)


@dataclass(frozen=True)
class _Extreme(_OfPath):
    bridge: bool = True

    _sign: ClassVar[int] = 1

    @property
    def n_uniforms(self) -> int:  # type: ignore[override]
        return int(self.bridge and not callable(self.of))

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        new = self.at(move.t + move.h, move.new, move.parameters)
        name = "max" if self._sign > 0 else "min"
        if not self.n_uniforms:
            return make(name, value, new)
        old, end = move.x[self.of], move.free[self.of]  # type: ignore[index]
        distance = end - old
        reach = make("sqrt", as_expr(distance * distance - 2.0 * _variance(move, self.of) * make("log", u[0])))
        farthest = move.confined(self.of, 0.5 * ((old + end) + self._sign * reach))
        if end is not new:
            farthest = make(name, farthest, new)
        return move.unless_absorbed(make(name, value, farthest), value)


@dataclass(frozen=True)
class RunningMax(_Extreme):
    """See `running_max`."""


@dataclass(frozen=True)
class RunningMin(_Extreme):
    """See `running_min`."""

    _sign: ClassVar[int] = -1


@dataclass(frozen=True)
class TimeAverage(_OfPath):
    """See `time_average`."""

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        old, new = self.at(move.t, move.x, move.parameters), self.at(move.t + move.h, move.new, move.parameters)
        weight = move.h / (move.elapsed + move.h)
        return as_expr(value + weight * (0.5 * (old + new) - value))


@dataclass(frozen=True)
class FirstPassage(_OfPath):
    """See `first_passage`."""

    level: float = 0.0
    bridge: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "level", checks.real("level", self.level))

    @property
    def n_uniforms(self) -> int:  # type: ignore[override]
        return int(self.bridge and not callable(self.of))

    def begin(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        at_level = self.at(t, x, parameters) == self.level
        return as_expr(select(at_level, t, math.inf))

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        old = self.at(move.t, move.x, move.parameters) - self.level
        new = self.at(move.t + move.h, move.new, move.parameters) - self.level
        crossed, share = old * new <= 0, old / (old - new)
        if self.n_uniforms and not move.confined(self.of, constant(self.level)).is_constant(self.level):
            return value  # beyond a border
        if self.n_uniforms:
            end = move.confined(self.of, move.free[self.of]) - self.level  # type: ignore[index]
            product = old * end
            share = select(product <= 0, old / (old - end), share)
            crossed = crossed | (product <= 0)
            # The bridge reaches the level with probability exp(-2 old end / (b^2 h)).
            touched = -2.0 * product > _variance(move, self.of) * make("log", u[0])
            share = select(crossed, share, 0.5)
            crossed = crossed | touched
        passed = as_expr(select((value == math.inf) & crossed, move.t + move.h * share, value))
        return move.unless_absorbed(passed, value) if self.n_uniforms else passed


def _variance(move: Move, component: Any) -> Expr:
    """Variance of a component's increment over the step."""
    row = move.equation.diffusion(move.t, move.x)[component]
    total = constant(0)
    for b in row:
        total = total + b * b
    return as_expr(total * move.h)


def call_with(function: Callable[..., Any], what: str, *args: Any) -> Any:
    """Trace a user's function with as many of the arguments as it takes, at least two."""
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return trace(function, *args[:2], what=what)
    kinds = {p.kind for p in parameters}
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    most = len(args) if any(k.name == "VAR_POSITIONAL" for k in kinds) else len(positional)
    if len(required) > len(args) or most < 2:
        names = ", ".join(("t", "x", "p", "y")[: len(args)])
        raise TypeError(f"{what} must be a function of (t, x), up to ({names}), got one of {len(positional)} arguments")
    # Arguments with defaults are the caller's own: lambda t, x, strike=100: ...
    n = min(max(len(required), 2), len(args))
    return trace(function, *args[:n], what=what)


def as_number(what: str, value: Any) -> Expr:
    """A traced result that must be one number."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Expr):
        raise ValueError(f"{what} must return one number, got {len(value)}")
    return select(value, 1.0, 0.0) if value.is_boolean else value


def running_max(of: Of = 0, *, bridge: bool = True) -> Functional:
    """The largest value so far.

    Parameters
    ----------
    of : int or callable
        A component, or a function ``of(t, x)`` or ``of(t, x, p)`` of the path.
    bridge : bool
        For a component: the maximum of the Brownian bridge between the steps, exact where drift and diffusion are
        constant; otherwise, and for functions, that at the steps.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.simulate(sf.BrownianMotion(), x0=0.0, t1=1.0, n_steps=4, n_paths=10_000, seed=1,
    ...                   functionals={"high": sf.functionals.running_max()})
    >>> bool(abs(run.functionals["high"].mean[0] - (2 / 3.141592653589793) ** 0.5) < 0.03)
    True
    """
    return RunningMax(of, bridge)


def running_min(of: Of = 0, *, bridge: bool = True) -> Functional:
    """The smallest value so far; arguments as for `running_max`."""
    return RunningMin(of, bridge)


def time_average(of: Of = 0) -> Functional:
    """The average over time so far, by the trapezoidal rule.

    Parameters
    ----------
    of : int or callable
        A component, or a function ``of(t, x)`` or ``of(t, x, p)`` of the path.
    """
    return TimeAverage(of)


def first_passage(level: float, of: Of = 0, *, bridge: bool = True) -> Functional:
    """The time at which a level is first reached; infinite until then.

    The mean is over the paths that have reached it, ``n_nonfinite`` counts the others.

    Parameters
    ----------
    level : float
        The level, reached from above or below.
    of : int or callable
        A component, or a function ``of(t, x)`` or ``of(t, x, p)`` of the path.
    bridge : bool
        For a component: also passages between the steps, by the crossing probability of the Brownian bridge.
    """
    return FirstPassage(of, level, bridge)
