r"""Events that change the state: ``simulate(..., events=[sf.events.reset(when=..., to=...)])``.

The time of an event lies within the step in which its condition comes true: where the path, taken to be straight, or
the Brownian bridge between the steps crosses the border. From there the path goes on for the rest of the step, moved
by the drift at its new state and by what the noise of the step has still to do. With the bridge a reset is exact in
law for a Brownian motion with drift, but for a second one in the same step; otherwise its error is that of the
scheme, of the order of h, and not of :math:`\sqrt h`, as that of a path which is looked at after the steps alone
(Gobet, Stochastic Processes and their Applications 87, 2000, for killed paths; the crossing of the bridge as in
`sdefast.functionals`). Functionals see a step from where it begins to where it ends, events included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..run.records import Recorded
from ..trace import Expr, as_expr, call_with, constant, derivative, evaluate, make, select, substitute
from .functionals import Move
from .schemes.equation import Vector, state_symbols, time_symbol

__all__ = ["Reset", "reset"]


def __dir__() -> list[str]:
    return __all__


#: Rows that an event carries: how many there were, the time of the first and the last, the sum of the squares of the
#: times between them, how often a step had more than it may have, and the time from which the path moves again.
ROWS = ("count", "first", "last", "squares", "unfinished", "free")


class Part(NamedTuple):
    """What of a step is still to come: it leads from ``x`` at ``t`` to ``new``, ``h`` later, moved by ``drift``."""

    t: Expr
    h: Expr
    x: Vector
    new: Vector
    drift: Vector


class Record(NamedTuple):
    """The rows of an event, `ROWS`."""

    number: Expr
    first: Expr
    last: Expr
    squares: Expr
    unfinished: Expr
    free: Expr

    def happened(self, now: Expr, t: Expr, free: Expr) -> Record:
        """The same after an event at ``t``, if there was one ``now``."""
        again = self.number > 0
        interval = as_expr(t - self.last)
        squares = select(again, self.squares + interval * interval, self.squares)
        after = (self.number + 1.0, select(again, self.first, t), t, squares, self.unfinished, free)
        return Record(*(as_expr(select(now, new, old)) for new, old in zip(after, self, strict=True)))


@dataclass(frozen=True)
class Reset(Recorded):
    """See `reset`."""

    when: Callable[..., Any]
    to: Callable[..., Any]
    hold: float = 0.0
    bridge: bool = True
    most: int = 2

    def __post_init__(self) -> None:
        for name in ("when", "to"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be a function of (t, x), got {checks.shown(getattr(self, name))}")
        object.__setattr__(self, "hold", checks.real("hold", self.hold, least=0.0))
        object.__setattr__(self, "bridge", checks.flag("bridge", self.bridge))
        object.__setattr__(self, "most", checks.count("most", self.most, most=16))

    # What users' functions say ------------------------------------------------------------------------------------

    def holds(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        """The condition."""
        condition: Expr = call_with(self.when, "when", t, x, parameters)
        if isinstance(condition, tuple):
            raise ValueError(f"when must return one condition, got {len(condition)} values")
        if not condition.is_boolean:
            raise TypeError("when must return a condition, such as x[0] >= p.threshold, not a number")
        return condition

    def height(self, t: Expr, x: Vector, parameters: Any) -> Expr:
        """How far the path is above the border, beyond which the condition holds.

        1 or -1 where the condition is no comparison, but a combination of them.
        """
        condition = self.holds(t, x, parameters)
        sign, compared = 1.0, condition
        while compared.op == "not":
            sign, compared = -sign, compared.args[0]
        if compared.op in ("lt", "le"):
            return as_expr(sign * (compared.args[1] - compared.args[0]))
        return as_expr(select(condition, 1.0, -1.0))

    def target(self, t: Expr, x: Vector, parameters: Any) -> Vector:
        """The state after an event."""
        new = call_with(self.to, "to", t, x, parameters)
        new = new if isinstance(new, tuple) else (new,)
        if len(new) != len(x) or any(not isinstance(value, Expr) for value in new):
            raise ValueError(f"to must return {len(x)} number{'s' * (len(x) > 1)}, got {len(new)}")
        return tuple(map(as_expr, new))

    def bridged(self, equation: Any, parameters: Any) -> bool:
        """Whether a step draws a uniform that says whether the path has crossed the border between the steps."""
        return self.bridge and not self._variance(equation, equation.t, equation.x, parameters)[0].is_constant(0)

    @property
    def n_rows(self) -> int:
        """How many rows it carries."""
        return len(ROWS) - (self.hold == 0)

    def begin(self) -> Vector:
        """The rows at the start."""
        return tuple(map(constant, (0.0, math.inf, math.inf, 0.0, 0.0, -math.inf)[: self.n_rows]))

    def check_start(self, name: str, x: np.ndarray, t: float, parameters: Any, values: dict[Expr, Any]) -> None:
        """ValueError if an event at start states (dim, n) leads to where another one is due."""
        symbols = state_symbols(len(x))
        target = self.target(time_symbol(), symbols, parameters)
        after = self.holds(time_symbol(), target, parameters)
        at = {**values, time_symbol(): t, **dict(zip(symbols, x.astype(float), strict=True))}
        if np.any(evaluate(after, at)):
            raise ValueError(
                f"events[{name!r}] never ends: where to= leads from x0, when= holds again; it must lead away from there"
            )

    # A step -------------------------------------------------------------------------------------------------------

    def apply(self, move: Move, rows: Vector, u: Vector) -> tuple[Move, Vector]:
        """Where a step leads with its events, and what becomes of the rows that they carry."""
        record = Record(*rows, *([] if self.hold else [constant(-math.inf)]))
        drift = move.equation.read_as("ito").drift(move.t, move.x)
        part = self._after_hold(Part(move.t, move.h, move.x, move.new, drift), record.free)
        happens, share = self._crossing(move, part, u)
        for i in range(self.most):
            if i:
                happens, share = self._straight(part, move.parameters)
            part, record = self._reset(move, part, record, happens, share)
        due = self.holds(as_expr(part.t + part.h), part.new, move.parameters)
        due = due & (part.h > 0) if self.hold else due
        stuck = self.target(as_expr(part.t + part.h), part.new, move.parameters)
        new = tuple(as_expr(select(due, there, here)) for there, here in zip(stuck, part.new, strict=True))
        record = record._replace(unfinished=as_expr(record.unfinished + select(due, 1.0, 0.0)))
        other = (rows[0] < record.number) | due | (self.hold > 0)
        free = (
            new
            if move.free is move.new
            else tuple(as_expr(select(other, *pair)) for pair in zip(new, move.free, strict=True))
        )
        return move._replace(free=free, new=new), record[: self.n_rows]

    def _after_hold(self, part: Part, free: Expr) -> Part:
        """The part of a step in which the path moves, from ``free`` on."""
        if not self.hold:
            return part
        begin = make("max", part.t, make("min", free, as_expr(part.t + part.h)))
        return _last(part, part.drift, as_expr(part.t + part.h - begin), part.x)

    def _crossing(self, move: Move, part: Part, u: Vector) -> tuple[Expr, Expr]:
        """Whether the border is crossed, and at which share of the part."""
        happens, share = self._straight(part, move.parameters)
        if not u:
            return happens, share
        old = self.height(part.t, part.x, move.parameters)
        end = self.height(as_expr(part.t + part.h), part.new, move.parameters)
        variance, _ = self._variance(move.equation, move.t, move.x, move.parameters)
        # As in functionals.FirstPassage: up to the maximum of the bridge and down again, by `reach` in all.
        reach = as_expr((end - old) * (end - old) - 2.0 * (variance * part.h) * make("log", u[0]))
        reach = make("sqrt", reach)
        touched = (abs(old) + abs(end) <= reach) & (part.h > 0)
        on_bridge = select(touched, abs(old) / reach, share)
        beyond = self.holds(part.t, part.x, move.parameters)
        return happens | touched, as_expr(select(beyond, 0.0, on_bridge))

    def _straight(self, part: Part, parameters: Any) -> tuple[Expr, Expr]:
        """The same for a path that goes straight on."""
        begin, end = (part.t, part.x), (as_expr(part.t + part.h), part.new)
        beyond, comes = (self.holds(*at, parameters) for at in (begin, end))
        old, new = (self.height(*at, parameters) for at in (begin, end))
        rises = comes & ~as_expr(beyond)
        happens = beyond | comes
        if self.hold:
            happens = happens & (part.h > 0)
        return happens, as_expr(select(rises, old / select(rises, old - new, 1.0), 0.0))

    def _reset(self, move: Move, part: Part, record: Record, happens: Expr, share: Expr) -> tuple[Part, Record]:
        """What is left of a part after an event at a share of it, if there is one."""
        t = as_expr(part.t + share * part.h)
        crossing = self._on_border(move, part, share, t)
        there = self.target(t, crossing, move.parameters)
        drift = move.equation.read_as("ito").drift(t, there)
        rest = Part(t, as_expr((1 - share) * part.h), crossing, part.new, part.drift)
        moving = make("max", as_expr(rest.h - self.hold), constant(0.0)) if self.hold else rest.h
        left = _last(rest, drift, moving, there)
        return _chosen(happens, left, part), record.happened(happens, t, as_expr(t + self.hold))

    def _on_border(self, move: Move, part: Part, share: Expr, t: Expr) -> Vector:
        """Where a path is that crosses the border at a share of a part: the straight path, moved there by the noise."""
        straight = tuple(as_expr(x + share * (new - x)) for x, new in zip(part.x, part.new, strict=True))
        variance, slopes = self._variance(move.equation, move.t, move.x, move.parameters)
        if variance.is_constant(0):
            return straight
        # A path that is beyond the border from the start, where a jump has led it, is reset from there.
        beyond = self.holds(part.t, part.x, move.parameters)
        off = as_expr(select(beyond, 0.0, self.height(t, straight, move.parameters)) / variance)
        rows = move.equation.diffusion(move.t, move.x)
        pulls = (sum((b * slope for b, slope in zip(row, slopes, strict=True)), constant(0)) for row in rows)
        return tuple(as_expr(select(variance > 0, x - pull * off, x)) for x, pull in zip(straight, pulls, strict=True))

    def _variance(self, equation: Any, t: Expr, x: Vector, parameters: Any) -> tuple[Expr, Vector]:
        """Variance of the height per unit of time, and how every noise moves it."""
        height = self.height(equation.t, equation.x, parameters)
        rises = [derivative(height, xi) for xi in equation.x]
        b = equation.diffusion(equation.t, equation.x)
        slopes = [sum((d * row[j] for d, row in zip(rises, b, strict=True)), constant(0)) for j in range(len(b[0]))]
        here = {equation.t: t, **dict(zip(equation.x, x, strict=True))}
        at = tuple(substitute(as_expr(slope), here) for slope in slopes)
        return as_expr(sum((slope * slope for slope in at), constant(0))), at


def _chosen(condition: Expr, new: Part, old: Part) -> Part:
    """One part where a condition holds, and another elsewhere."""

    def vector(a: Vector, b: Vector) -> Vector:
        return tuple(as_expr(select(condition, *pair)) for pair in zip(a, b, strict=True))

    t, h = vector((new.t, new.h), (old.t, old.h))
    return Part(t, h, vector(new.x, old.x), vector(new.new, old.new), vector(new.drift, old.drift))


def _last(part: Part, drift: Vector, h: Expr, x: Vector) -> Part:
    """The last ``h`` of a part, from ``x`` on under another drift: noise goes with the root of the time."""
    share = as_expr(select(part.h > 0, h / part.h, 0.0)) if h is not part.h else constant(1.0)
    root = make("sqrt", share) if h is not part.h else share
    new = []
    for begin, old, end, was, now in zip(x, part.x, part.new, part.drift, drift, strict=True):
        noise = (end - old) - was * part.h
        new.append(as_expr(begin + root * noise + now * h))
    return Part(as_expr(part.t + (part.h - h)), h, x, tuple(new), drift)


def checked_events(events: Any) -> tuple[tuple[str, Reset], ...]:
    """What ``events=`` asks for: names with events."""
    if events is None:
        return ()
    if isinstance(events, (list, tuple)):
        events = {f"event{i}": event for i, event in enumerate(events)}
    if isinstance(events, Reset):
        events = {"event0": events}
    if not isinstance(events, Mapping):
        raise TypeError(
            f"events must be a list of sdefast.events, or a mapping of names to them, got {checks.shown(events)}"
        )
    for name, event in events.items():
        if not checks.is_attribute(name):
            raise ValueError(f"events must have names that can follow 'y.', got {name!r}")
        if not isinstance(event, Reset):
            raise TypeError(f"events[{name!r}] must be one of sdefast.events, got {checks.shown(event)}")
    return tuple(events.items())


def warn_of_unfinished(events: Iterable[Any]) -> None:
    """RuntimeWarning of those, `EventResult`, that came more often in a step than they may."""
    for found in events:
        n = int(found.n_unfinished[-1])
        if n:
            checks.warn(
                f"events[{found.name!r}] came more than most={found.event.most} times in a step {n} times, of which "
                "those beyond were left out: take shorter steps, or see whether to= leads where when= does not hold",
            )


def reset(
    when: Callable[..., Any], to: Callable[..., Any], *, hold: float = 0.0, bridge: bool = True, most: int = 2
) -> Reset:
    """Where a condition comes true, the path goes on from another state.

    Parameters
    ----------
    when : callable
        The condition, ``when(t, x)`` or ``when(t, x, p)``, in scalar code as for `SDE`. Of a comparison such as
        ``x[0] >= p.threshold`` the time is found at which it comes true within a step; a combination of several is
        taken to come true in the middle of the step at whose end it holds.
    to : callable
        The state after the event, ``to(t, x)`` or ``to(t, x, p)``, of the time and the state at which it happens: as
        many numbers as there are components. It must lead to where the condition does not hold.
    hold : float
        For how long the path then stays as it is, in units of time.
    bridge : bool
        Also see crossings between steps at whose ends the condition does not hold, by the crossing probability of the
        Brownian bridge, which takes one uniform a step (of stream 1: the noise stays as it is).
    most : int
        Events in a step, from 1 to 16. A path that would have more goes on from the last one at the end of the step;
        ``run.events[name].n_unfinished`` counts these steps, and a warning says so.

    Returns
    -------
    Reset
        For ``simulate(..., events=[...])`` or ``events={"name": ...}``.

    Raises
    ------
    TypeError, ValueError
        If a function has the wrong number of arguments or of values, or a number is out of range.

    Examples
    --------
    A leaky integrate-and-fire neuron:

    >>> import sdefast as sf
    >>> neuron = sf.SDE(lambda t, v, p: (p.drive - v[0]) / p.tau, lambda t, v, p: p.sigma / p.tau**0.5,
    ...                 params={"drive": 1.2, "sigma": 0.5, "tau": 0.02})
    >>> spike = sf.events.reset(when=lambda t, v: v[0] >= 1.0, to=lambda t, v: 0.0, hold=0.002)
    >>> run = sf.simulate(neuron, x0=0.0, t1=1.0, n_steps=1000, n_paths=1000, seed=1, events={"spike": spike})
    >>> bool(10 < run.events["spike"].count.mean[0] < 60)
    True
    """
    return Reset(when, to, hold, bridge, most)
