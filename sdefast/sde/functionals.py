"""Functionals of whole paths, computed while they run: extremes, averages, first passages.

A functional is one more number that a chain carries along. ``simulate(..., functionals={"high": running_max()})`` gives
``run.functionals["high"]`` with its mean and standard error at every saved time and, where states are kept, its values.
Functions that `simulate` takes as expectations see it as ``y.high``.

Between two steps a path moves on: the largest value of a path at its steps is too small by about 0.58 b sqrt(h). So
extremes and passages of a component are those of the Brownian bridge between the steps, drawn from uniforms of their
own, which does not change the path (Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 6.4). The
bridge has the diffusion at the start of the step, which is exact for Brownian motion and, under the exact transition of
`BlackScholes`, where it is one of the logarithm; otherwise its error is that of the scheme. Functionals of one path
agree with one another, but maximum and minimum within one step are drawn independently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from .. import checks
from ..run.boundaries import Boundary
from ..run.expectations import as_number
from ..run.records import Recorded
from ..trace import Expr, as_expr, call_with, constant, make, select
from .passages import N_UNIFORMS, share_of_step, touches
from .schemes.equation import Equation, Vector

__all__ = ["Functional", "first_passage", "running_max", "running_min", "time_average"]


def __dir__() -> list[str]:
    return __all__


Of = int | Callable[..., Any]

#: What a uniform of a step is for: of (component, 1) how far up a path goes between the steps, of (component, -1) how
#: far down, of (component, 2) and on when it passes a level; words in place of components are a condition's to stop.
UniformKey = tuple[Any, int]


def passage_keys(component: Any) -> tuple[UniformKey, ...]:
    """The uniforms by which a component passes a level: upwards, downwards, and when."""
    return ((component, 1), (component, -1), *((component, 2 + k) for k in range(N_UNIFORMS)))


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
    logarithmic: bool = False

    def coordinate(self, value: Any) -> Expr:
        """The number that moves as a Brownian bridge between the steps: the value, or its logarithm."""
        return make("log", as_expr(value)) if self.logarithmic else as_expr(value)

    def value(self, coordinate: Any) -> Expr:
        """What has that coordinate."""
        return make("exp", as_expr(coordinate)) if self.logarithmic else as_expr(coordinate)

    def variance(self, component: Any) -> Expr:
        """Variance of a coordinate's increment over the step."""
        row = self.equation.diffusion(self.t, self.x)[component]
        if self.logarithmic:
            row = tuple(b / self.x[component] for b in row)
        return as_expr(sum((b * b for b in row), constant(0)) * self.h)

    def confined(self, component: Any, value: Any) -> Expr:
        """A value of a component between the steps, as far as the boundaries let it go."""
        for boundary in self.boundaries:
            value = boundary.confine(component, as_expr(value))
        return as_expr(value)

    @property
    def is_free(self) -> Expr:
        """Whether the path moves in this step."""
        is_free = constant(True)
        for boundary in self.boundaries:
            is_free = is_free & boundary.is_free(self.x)
        return is_free

    def unless_absorbed(self, moved: Any, stayed: Expr) -> Expr:
        """``moved`` where the path moves in this step, else ``stayed``."""
        return as_expr(select(self.is_free, moved, stayed))


class Leap(NamedTuple):
    """A move in no time at the end of a step of length ``h``: from ``x`` to ``new`` at ``t``, ``elapsed`` on."""

    parameters: Any
    elapsed: Expr
    t: Expr
    h: Expr
    x: Vector
    new: Vector


@dataclass(frozen=True)
class Functional(Recorded):
    """Base class of functionals: a start value and what becomes of it in a step."""

    @property
    def uniforms(self) -> tuple[UniformKey, ...]:
        """The uniforms that a step draws, which functionals share, so that what they say of one path agrees."""
        return ()

    @property
    def n_uniforms(self) -> int:
        """How many these are."""
        return len(self.uniforms)

    def check(self, dim: int) -> None:
        """ValueError if the functional does not fit a state of ``dim`` components."""

    def begin(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        """The value at the start."""
        raise NotImplementedError

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        """The value after a step."""
        raise NotImplementedError

    def stop(self, value: Expr, followed: Expr, move: Move, u: Vector) -> Expr:
        """The value of a path that stops at the end of ``move``, within a step after which it is ``followed``."""
        return self.follow(value, move, u)

    def leap(self, value: Expr, leap: Leap) -> Expr:
        """The value after a move in no time."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bridge", checks.flag("bridge", self.bridge))

    @property
    def uniforms(self) -> tuple[UniformKey, ...]:
        return ((self.of, self._sign),) if self.bridge and not callable(self.of) else ()

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        new = self.at(move.t + move.h, move.new, move.parameters)
        name = "max" if self._sign > 0 else "min"
        if not self.n_uniforms:
            return make(name, value, new)
        old, end = (move.coordinate(x[self.of]) for x in (move.x, move.free))  # type: ignore[index]
        distance = end - old
        reach = make("sqrt", as_expr(distance * distance - 2.0 * move.variance(self.of) * make("log", u[0])))
        farthest = move.confined(self.of, move.value(0.5 * ((old + end) + self._sign * reach)))
        if move.free[self.of] is not new:  # type: ignore[index]
            farthest = make(name, farthest, new)
        return move.unless_absorbed(make(name, value, farthest), value)

    def leap(self, value: Expr, leap: Leap) -> Expr:
        name = "max" if self._sign > 0 else "min"
        return make(name, value, self.at(leap.t, leap.new, leap.parameters))


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

    def leap(self, value: Expr, leap: Leap) -> Expr:
        """As if it had come in the middle of the step, where it is on average."""
        moved = self.at(leap.t, leap.new, leap.parameters) - self.at(leap.t, leap.x, leap.parameters)
        return as_expr(value + (0.5 * leap.h / leap.elapsed) * moved)


@dataclass(frozen=True)
class FirstPassage(_OfPath):
    """See `first_passage`."""

    level: float = 0.0
    bridge: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "level", checks.real("level", self.level))
        object.__setattr__(self, "bridge", checks.flag("bridge", self.bridge))

    @property
    def uniforms(self) -> tuple[UniformKey, ...]:
        return passage_keys(self.of) if self.bridge and not callable(self.of) else ()

    def begin(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        at_level = self.at(t, x, parameters) == self.level
        return as_expr(select(at_level, t, math.inf))

    def follow(self, value: Expr, move: Move, u: Vector) -> Expr:
        old = self.at(move.t, move.x, move.parameters) - self.level
        new = self.at(move.t + move.h, move.new, move.parameters) - self.level
        crossed, share = old * new <= 0, old / (old - new)
        if self.n_uniforms and not move.confined(self.of, constant(self.level)).is_constant(self.level):
            return value  # beyond a border
        if self.n_uniforms and not (move.logarithmic and self.level <= 0):
            level, free = move.coordinate(self.level), move.free[self.of]  # type: ignore[index]
            old, passed = (move.coordinate(x) - level for x in (move.x[self.of], free))  # type: ignore[index]
            end, variance = move.coordinate(move.confined(self.of, free)) - level, move.variance(self.of)
            chosen = select(old < 0, u[0], u[1])
            crossed = crossed | touches(old, end, variance, chosen)
            share = share_of_step(old, passed, variance, chosen, u[2:])
        passed = as_expr(select((value == math.inf) & crossed, move.t + move.h * share, value))
        return move.unless_absorbed(passed, value) if self.n_uniforms else passed

    def stop(self, value: Expr, followed: Expr, move: Move, u: Vector) -> Expr:
        end = as_expr(move.t + move.h)
        stopped_here = self.at(end, move.new, move.parameters) == self.level
        value = as_expr(select(stopped_here & (value == math.inf), end, value))
        return as_expr(select(followed <= end, followed, value))

    def leap(self, value: Expr, leap: Leap) -> Expr:
        old, new = (self.at(leap.t, x, leap.parameters) - self.level for x in (leap.x, leap.new))
        return as_expr(select((value == math.inf) & (old * new <= 0), leap.t, value))


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

    The mean is over the paths that have reached it, ``n_nonfinite`` counts the others. The time within a step is drawn
    from the law of the Brownian bridge, see ``sdefast/sde/passages.py``; without bridges a path goes straight.

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
