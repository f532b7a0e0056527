"""Conditions to stop taken apart: which of a path's passages make them hold, and when within a step that is.

A condition becomes an alternative of comparisons, each of which begins to hold when a number f(t, X) falls to 0. That
is the passage of a level by a component, or by anything else of the state, which moves like a Brownian bridge with the
slope and the noise at the start of the step: exactly so where both are constant. Comparisons that hold together only
(``and``), equalities, and what depends on functionals other than a first passage are looked at after the steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..trace import Expr, as_expr, constant, depends_on, derivative, make, select, substitute
from .functionals import FirstPassage, Functional, Move, UniformKey, passage_keys
from .passages import normals, share_of_step, touches
from .schemes.equation import Vector

#: Ways in which a condition may come to hold, beyond which it is looked at after the steps.
_MOST = 32

#: A comparison and whether it is to hold, and several that must hold together.
Literal = tuple[Expr, bool]
Together = frozenset[Literal]


# Alternatives --------------------------------------------------------------------------------------------------------


def alternatives(condition: Expr, holds: bool = True) -> list[Together]:
    """A condition as alternatives of comparisons that must hold together; empty if they are too many."""
    if condition.op == "constant":
        return [frozenset()] if condition.value is holds else []
    if condition.op == "not":
        return alternatives(condition.args[0], not holds)
    if condition.op not in ("and", "or"):
        return [frozenset([(condition, holds)])]
    parts = [alternatives(part, holds) for part in condition.args]
    either = (condition.op == "or") is holds
    found = [*parts[0], *parts[1]] if either else [a | b for a in parts[0] for b in parts[1]]
    return _shortened(found) if len(found) <= _MOST else []


def _shortened(found: list[Together]) -> list[Together]:
    """The same without what cannot hold, and without what another alternative excludes anyway."""
    found = [part for part in found if not any((e, not holds) in part for e, holds in part)]
    alone = {next(iter(part)) for part in found if len(part) == 1}
    needless = {(e, not holds) for e, holds in alone}
    shorter = [frozenset(part - needless) if len(part) > 1 else part for part in found]
    return list(dict.fromkeys(shorter)) if shorter == found else _shortened(shorter)


def falling(literal: Literal) -> list[Expr]:
    """Numbers of which one has to fall to 0 for a comparison to hold; none for equalities."""
    comparison, holds = literal
    if comparison.op not in ("lt", "le"):
        return []
    low, high = comparison.args if holds else comparison.args[::-1]
    return [as_expr(a - b) for a in _any_of(low, "min") for b in _any_of(high, "max")]


def _any_of(side: Expr, extreme: str) -> list[Expr]:
    """What a side of a comparison is the least, or the largest, of."""
    if side.op == extreme:
        return [e for part in side.args for e in _any_of(part, extreme)]
    if extreme == "max" and side.op == "abs":
        return [side.args[0], as_expr(-side.args[0])]
    return [side]


# Passages ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Passage:
    """Where ``f(t, x)`` passes 0 upwards (side 1), downwards (-1) or in either direction (0).

    It may be a component less a ``level``. Expressions are in the symbols of the time and the state.
    """

    f: Expr
    side: int = -1
    component: int | None = None
    level: Expr | None = None
    number: int = 0

    @property
    def keys(self) -> tuple[UniformKey, ...]:
        """The uniforms that decide on it: whether it happens upwards, whether downwards, and when."""
        return passage_keys(f"passage {self.number}" if self.component is None else self.component)


def passages_of(condition: Expr, x: Vector, followed: dict[Expr, Functional]) -> list[Passage]:
    """The passages by which a condition may come to hold within a step; ``followed`` are functionals by symbol."""
    found: list[Passage] = []
    for together in alternatives(condition):
        if len(together) != 1:
            continue
        (literal,) = together
        first = _first_passage(literal, followed)
        if first is None:
            found += [p for f in falling(literal) if not depends_on(f, tuple(followed)) for p in _passages(f, x)]
        else:
            level, i = constant(first.level), int(first.of)  # type: ignore[arg-type]
            found.append(Passage(as_expr(x[i] - level), 0, i, level))
    return [replace(p, number=k) for k, p in enumerate(found)]


def _first_passage(literal: Literal, followed: dict[Expr, Functional]) -> FirstPassage | None:
    """The functional of which a comparison says that it has happened, if it looks between the steps."""
    comparison, holds = literal
    if comparison.op not in ("lt", "le"):
        return None
    low, high = comparison.args if holds else comparison.args[::-1]
    functional = followed.get(low)
    now = high.is_constant(math.inf) or (high.op == "symbol" and high.value == "t")
    return functional if now and isinstance(functional, FirstPassage) and functional.n_uniforms else None


def _passages(f: Expr, x: Vector) -> list[Passage]:
    """Where f falls to 0."""
    square = _square(f)
    if square is not None:
        root, size = square
        return [p for e in (size - root, size + root) for p in _passages(as_expr(e), x)]
    slopes = [derivative(f, xi) for xi in x]
    moved = [i for i, slope in enumerate(slopes) if not slope.is_constant(0)]
    if len(moved) == 1 and slopes[moved[0]].op == "constant":
        i, slope = moved[0], float(slopes[moved[0]].value)
        level = as_expr(substitute(f, {x[i]: constant(0)}) / -slope)
        return [Passage(as_expr(x[i] - level), 1 if slope < 0 else -1, i, level)]
    return [Passage(f)]


def _square(f: Expr) -> tuple[Expr, float] | None:
    """e and c, if f falls to 0 where e^2 rises to c^2."""
    if f.op != "sub" or f.args[0].op != "constant" or f.args[0].value < 0:
        return None
    c, square = f.args
    if square.op == "mul" and square.args[0] is square.args[1]:
        return square.args[0], math.sqrt(c.value)
    return None


# Within a step -------------------------------------------------------------------------------------------------------


class Levels:
    """What a path that has passed nothing yet keeps between: the part of a boundary that extremes ask for."""

    def __init__(self, passages: Sequence[Passage], level: Any) -> None:
        self._found = [(p.component, p.side, level(p)) for p in passages if p.side and p.level is not None]

    def confine(self, component: int, value: Expr) -> Expr:
        """A value that the component takes on the way, as far as it can go."""
        for i, side, level in self._found:
            if i == component:
                value = make("min" if side > 0 else "max", value, level)
        return value

    def is_free(self, x: Vector) -> Expr:
        """Whether a path moves on from ``x``."""
        return constant(True)


class Stops:
    """The passages that stop paths, followed through a step; ``uniform`` gives the uniform of a key."""

    def __init__(self, passages: Sequence[Passage], move: Move, uniform: Any) -> None:
        self.passages, self.move, self.uniform = passages, move, uniform
        dim = range(len(move.x))
        self.old = [move.coordinate(x) for x in move.x]
        self.free = [move.coordinate(x) for x in move.free]
        self.end = [move.coordinate(move.confined(i, move.free[i])) for i in dim]
        rows = move.equation.diffusion(move.t, move.x)
        self.noise = [[b / x for b in row] for row, x in zip(rows, move.x, strict=True)] if move.logarithmic else rows

    def _at(self, e: Expr, t: Any, x: Sequence[Any]) -> Expr:
        equation = self.move.equation
        return substitute(e, {equation.t: as_expr(t), **dict(zip(equation.x, map(as_expr, x), strict=True))})

    def level(self, p: Passage, t: Any) -> Expr:
        """The level of a component's passage at a time."""
        assert p.level is not None
        return self._at(p.level, t, self.move.x)

    def _ends(self, p: Passage) -> tuple[Any, Any]:
        """The number that passes 0 at the start and at the end of the step, in the coordinates of the bridge."""
        move = self.move
        if p.component is None:
            values = [move.value(c) for c in self.end]
            return self._at(p.f, move.t, move.x), self._at(p.f, move.t + move.h, values)
        levels = [move.coordinate(self.level(p, t)) for t in (move.t, move.t + move.h)]
        return self.old[p.component] - levels[0], self.end[p.component] - levels[1]

    def _slopes(self, p: Passage) -> list[Expr]:
        if p.component is not None:
            return [constant(float(i == p.component)) for i in range(len(self.old))]
        slopes = [self._at(derivative(p.f, x), self.move.t, self.move.x) for x in self.move.equation.x]
        return [as_expr(s * x) for s, x in zip(slopes, self.move.x, strict=True)] if self.move.logarithmic else slopes

    def first(self) -> tuple[Expr, Vector]:
        """The part of the step after which the first passage happens, infinite without one, and the state there."""
        (first, state), *others = (self.passage(p) for p in self.passages)
        for share, there in others:
            sooner = share < first
            state = [as_expr(select(sooner, a, b)) for a, b in zip(there, state, strict=True)]
            first = as_expr(select(sooner, share, first))
        return first, tuple(state)

    def passage(self, p: Passage) -> tuple[Expr, list[Expr]]:
        """The part of the step after which a passage happens, infinite if it does not, and the state there."""
        move, (old, end), slopes = self.move, self._ends(p), self._slopes(p)
        n = range(len(self.noise[0]))
        along = [as_expr(sum((s * row[j] for s, row in zip(slopes, self.noise, strict=True)), constant(0))) for j in n]
        strength = as_expr(sum((w * w for w in along), constant(0)))
        variance, chosen, when = as_expr(strength * move.h), None, []
        passed = as_expr(old * end <= 0 if p.side == 0 else end >= 0 if p.side > 0 else end <= 0)
        if not variance.is_constant(0):
            up, down, *others = p.keys
            when = [self.uniform(key) for key in others]
            if p.side == 0:
                chosen = select(old < 0, self.uniform(up), self.uniform(down))
            else:
                chosen = self.uniform(up if p.side > 0 else down)
            passed = passed | touches(old, end, variance, chosen)
        share = share_of_step(old, self._beyond(p, end), variance, chosen, when)
        state = self._state(p, share, old + share * (end - old), along, strength)
        return as_expr(select(passed & self._may_pass(p), share, math.inf)), state

    def _beyond(self, p: Passage, end: Any) -> Any:
        """The end of a component's step relative to the level, where it would be without boundaries."""
        if p.component is None:
            return end
        return self.free[p.component] - self.move.coordinate(self.level(p, self.move.t + self.move.h))

    def _may_pass(self, p: Passage) -> Expr:
        """Whether the path moves and the level is not beyond a border."""
        fixed = p.component is not None and p.level is not None and p.level.op == "constant"
        if fixed and not self.move.confined(p.component, p.level).is_constant(p.level.value):  # type: ignore[union-attr]
            return constant(False)
        return self.move.is_free

    def _state(self, p: Passage, share: Expr, off: Any, along: list[Expr], strength: Expr) -> list[Expr]:
        """The state at a passage: a bridge between the ends of the step that is at the level."""
        move, n = self.move, len(along)
        by = select(strength > 0, off / strength, 0.0)
        rest = self._rest(along, strength)
        size = make("sqrt", as_expr(move.h * share * (1.0 - share)))
        found = []
        for row, old, end in zip(self.noise, self.old, self.end, strict=True):
            pull = sum((b * w for b, w in zip(row, along, strict=True)), constant(0))
            spread = sum((row[j] * rest[j] for j in range(n)), constant(0))
            found.append(move.value(old + share * (end - old) - pull * by + spread * size))
        if p.component is not None:
            found[p.component] = self.level(p, move.t + move.h * share)
        return found

    def _rest(self, along: list[Expr], strength: Expr) -> list[Expr]:
        """Noises between the ends that leave what passes where it is."""
        if len(along) == 1 and not strength.is_constant(0):
            return [constant(0)]
        drawn = normals([self.uniform(key) for key in rest_keys(len(along))])[: len(along)]
        if strength.is_constant(0):
            return drawn
        part = sum((w * z for w, z in zip(along, drawn, strict=True)), constant(0))
        part = select(strength > 0, part / strength, 0.0)
        return [as_expr(z - w * part) for w, z in zip(along, drawn, strict=True)]


def rest_keys(n_noises: int) -> tuple[UniformKey, ...]:
    """The uniforms of the noises with which a path that stops leaves its straight way."""
    return tuple(("rest", k) for k in range(2 * (-(-n_noises // 2))))
