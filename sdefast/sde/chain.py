"""The chain that a run simulates, as expressions: a scheme's step, boundaries, functionals, a condition to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..jit.emit import Step
from ..jit.step import Rare
from ..jit.sums import sums_in
from ..lazy import cached_property
from ..run.expectations import as_number
from ..run.step import Settings, TracedStepping, short_steps_at_once, side_by_side
from ..trace import Expr, as_expr, call_with, constant, evaluate, select, substitute, symbol, trace
from .antithetic import averaged, mirrored
from .extras import Extras
from .functionals import Functional, Leap, Move, UniformKey
from .happenings import after_events, event_rows, jump_coefficients, jump_constants, jumped
from .jump_process import parameter_values
from .schemes.base import Interval, Scheme
from .schemes.clipping import Flaw, flaw
from .schemes.equation import Equation, Vector, named_tuple, parameter_symbol
from .sensitivities import along, first_tangent, refuse_jump
from .stopping import Levels, Passage, Stops, passages_of

if TYPE_CHECKING:
    from .models.base import OwnStep
    from .sde import SDE


#: Rows from which on those that are alike are looked for.
MANY_ROWS = 6


class Uniforms:
    """The uniforms of a step, numbered as they are asked for after those that have numbers."""

    def __init__(self, slots: dict[UniformKey, int]) -> None:
        self.slots = dict(slots)

    def of(self, key: UniformKey) -> Expr:
        """The symbol of what a key is for."""
        return symbol(f"u{self.slots.setdefault(key, len(self.slots))}")


#: the values of no parameters
NO_VALUES = np.empty((0, 0))


@dataclass(frozen=True)
class Chain(TracedStepping):
    """An SDE under a scheme, with extras.

    Its rows are the state, the functionals, what events carry, tangents, the time of stopping and the parameters that
    differ between paths; of antithetic pairs those of the mirror image too.
    """

    sde: SDE
    scheme: Scheme
    extras: Extras

    @property
    def logarithmic(self) -> bool:
        """Whether paths are Brownian bridges between the steps in the logarithm of the state."""
        return False

    @cached_property
    def equation(self) -> Equation:
        return self.sde.equation.read_as(self.scheme.calculus)

    @cached_property
    def flaw(self) -> Flaw | None:
        """What is wrong with the scheme where the equation's noise is clipped."""
        return flaw(self.sde, self.scheme)

    def with_numbers_of(self, sde: SDE) -> Chain:
        """That of an equation which differs in the numbers of its parameters alone, and need not be traced again."""
        self.step, self.observed  # noqa: B018  of both
        own = object.__new__(type(self))
        own.__dict__.update({name: value for name, value in self.__dict__.items() if name != "flaw"})
        own.__dict__["sde"] = sde
        return own

    @property
    def functionals(self) -> list[Functional]:
        return [functional for _, functional in self.extras.functionals]

    @property
    def n_single(self) -> int:
        """Rows of one path."""
        return self.n_moving + len(self.sde.per_path)

    @property
    def n_moving(self) -> int:
        """Those of them that change."""
        return self.sde.dim + self.extras.n_carried(self.sde.dim)

    @property
    def n_followed(self) -> int:
        """Rows of a path that are no derivatives: the state and the functionals."""
        return self.sde.dim + len(self.functionals)

    @property
    def _own(self) -> dict[Expr, Expr]:
        """The rows of the parameters that differ between paths."""
        names = enumerate(self.sde.per_path, start=self.n_moving)
        return {parameter_symbol(name): symbol(f"x{i}") for i, name in names}

    @property
    def n_rows(self) -> int:
        """Rows of a chain."""
        return self.n_single * (1 + self.extras.antithetic)

    @cached_property
    def step(self) -> Step:
        """The step of a path, or of a pair of which one sees -z and 1 - u where the other sees z and u."""
        single, jumps = self._single_step, self.extras.jumps
        if self.extras.antithetic:
            return mirrored(single.folded())
        return single.folded() if _is_long(single) or (jumps and jumps.often) else single

    @cached_property
    def _single_step(self) -> Step:
        t, h, root, elapsed = (symbol(name) for name in ("t", "h", "root", "elapsed"))
        dim, n_functionals = self.sde.dim, len(self.functionals)
        rows = tuple(symbol(f"x{i}") for i in range(self.n_moving))
        x, carried = rows[:dim], rows[dim : dim + n_functionals]
        n_draws = self.n_draws
        z = tuple(symbol(f"z{j}") for j in range(n_draws))
        constants = tuple(f"c{i}" for i in range(self._constants(np.ones(1)).shape[1]))
        c = tuple(map(symbol, constants))
        free = new = tuple(map(as_expr, self._move(Interval(t, h, root), x, z, c)))
        for boundary in self.extras.boundaries:
            new = boundary.apply(x, new)
        move = Move(
            self.equation, self._parameters, elapsed, t, h, x, free, new, self.extras.boundaries, self.logarithmic
        )
        uniforms = Uniforms(self.uniform_slots)
        for i in range(self.n_own_uniforms):
            uniforms.of(("own step", i))
        move, counted = after_events(self.extras.events, self._event_rows(rows), move, uniforms.of)
        outputs = (*move.new, *self._follow(carried, move, uniforms), *counted)
        outputs += tuple(e for tangents in self._derived(outputs, rows) for e in tangents)
        if self.extras.stop_when is not None:
            outputs = self._stop(rows, outputs, move, uniforms)
        known: dict[Expr, Expr] = {}
        outputs = (*(substitute(e, self._own, known) for e in outputs), *self._own.values())
        rare = self._jumps(uniforms)
        names, constants = self.parameter_names, (*constants, *jump_constants(self.sde.jumps, self.extras.jumps))
        signs, words = self.scheme.draws == "signs", self.extras.jumps is not None and self.extras.jumps.words
        return Step(outputs, names, constants, n_draws, len(uniforms.slots), signs, rare=rare, words=words)

    @property
    def n_draws(self) -> int:
        """Normals or signs of a step."""
        return self.scheme.n_draws(self.equation)

    @property
    def n_own_uniforms(self) -> int:
        """Uniforms of a step besides those of the functionals, which they follow."""
        return 0

    def _move(self, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
        assert self.scheme.step is not None
        return self.scheme.step(self.equation, interval, x, z, c)

    # Jumps and events --------------------------------------------------------------------------------------------

    def _jumps(self, uniforms: Uniforms) -> Rare | None:
        """What jumps do to the rows to which the rest of the step has led."""
        if self.sde.jumps is None:
            return None
        rows = tuple(symbol(f"x{i}") for i in range(self.n_moving))
        x = rows[: self.sde.dim]
        moved = (*self.sde.per_path, *self.extras.sensitivities)
        happens, new = jumped(self.sde.jumps, self.extras.jumps, self._parameters, x, uniforms.of, moved)
        known: dict[Expr, Expr] = {}
        landed = self._landed(rows, new, as_expr(symbol("t") + symbol("h")), symbol("h"))
        return Rare(happens, (*(substitute(e, self._own, known) for e in landed), *self._own.values()))

    def _landed(self, rows: Vector, new: Vector, t: Expr, h: Expr) -> Vector:
        """All rows of a path that has gone from ``rows`` to the state ``new`` in no time at the end of a step."""
        dim = self.sde.dim
        for boundary in self.extras.boundaries:
            new = boundary.apply(rows[:dim], new)
        leap = Leap(self._parameters, as_expr(symbol("elapsed") + h), t, h, rows[:dim], new)
        carried = zip(self.functionals, rows[dim:], strict=False)
        values = tuple(as_expr(functional.leap(value, leap)) for functional, value in carried)
        outputs = (*new, *values, *(row for own in self._event_rows(rows) for row in own))
        outputs += tuple(e for tangents in self._derived((*new, *values), rows) for e in tangents)
        return outputs if self.extras.stop_when is None else self._stopped(rows, outputs, self._time_if_due(t, outputs))

    def _event_rows(self, rows: Vector) -> list[Vector]:
        """The rows of every event."""
        return event_rows(self.extras.events, rows, self.n_followed)

    @property
    def _parameters(self) -> tuple[Any, ...]:
        return self.sde.parameter_tuple()

    def _constants(self, h: np.ndarray) -> np.ndarray:
        if self.scheme.constants is None:
            return np.empty((len(h), 0))
        return np.asarray(self.scheme.constants(self.sde, h), float)

    def _derived(self, values: Sequence[Expr], rows: Vector) -> list[list[Expr]]:
        """For each sensitivity the derivatives of functions of the rows that are no derivatives."""
        n = self.n_followed
        return [
            along(values, name, rows[:n], rows[n * (1 + s) : n * (2 + s)])
            for s, name in enumerate(self.extras.sensitivities)
        ]

    def _follow(self, carried: Vector, move: Move, uniforms: Uniforms) -> Vector:
        pairs = zip(self.functionals, carried, strict=True)
        return tuple(as_expr(f.follow(value, move, tuple(map(uniforms.of, f.uniforms)))) for f, value in pairs)

    @cached_property
    def uniform_slots(self) -> dict[UniformKey, int]:
        """Which uniform of a step is what `Functional.uniforms` names."""
        keys = dict.fromkeys(key for functional in self.functionals for key in functional.uniforms)
        return {key: i for i, key in enumerate(keys)}

    def _stop(self, rows: Vector, outputs: Vector, move: Move, uniforms: Uniforms) -> Vector:
        """Everything stays as it is once the condition has held; the last row is the time from which on it did.

        A path that events have moved is no bridge: there the condition is looked at after the step alone.
        """
        time = self._time_if_due(as_expr(move.t + move.h), outputs)
        if not self.extras.events and self._passages:
            time, outputs = self._stop_within(rows, outputs, move, uniforms, time)
        return self._stopped(rows, outputs, time)

    def _time_if_due(self, t: Expr, outputs: Vector) -> Expr:
        """The time, if the condition holds then; else infinity."""
        return as_expr(select(self._condition(t, outputs), t, np.inf))

    def _stopped(self, rows: Vector, outputs: Vector, time: Expr) -> Vector:
        """All rows, of paths that stop at a time and of those that have stopped before."""
        stopped = rows[-1]
        running = stopped == np.inf
        outputs = tuple(as_expr(select(running, new, old)) for new, old in zip(outputs, rows[:-1], strict=True))
        return (*outputs, as_expr(select(running, time, stopped)))

    def _stop_within(
        self, rows: Vector, outputs: Vector, move: Move, uniforms: Uniforms, time: Expr
    ) -> tuple[Expr, Vector]:
        """The time of the first passage and all rows there, where there is one; else ``time`` and ``outputs``."""
        stops, dim = Stops(self._passages, move, uniforms.of), self.sde.dim
        first, state = stops.first()
        when = as_expr(move.t + move.h * first)
        levels = Levels(self._passages, lambda p: stops.level(p, when))
        boundaries: Any = (*move.boundaries, levels)  # what extremes ask of a boundary, levels say too
        short = move._replace(h=as_expr(move.h * first), free=state, new=state, boundaries=boundaries)
        there = [*state]
        for functional, old, followed in zip(self.functionals, rows[dim:-1], outputs[dim:], strict=True):
            u = tuple(map(uniforms.of, functional.uniforms))
            there.append(functional.stop(old, followed, short, u))
        passed = first <= 1
        chosen = tuple(as_expr(select(passed, a, b)) for a, b in zip(there, outputs, strict=True))
        return as_expr(select(passed, when, time)), chosen

    @cached_property
    def _passages(self) -> list[Passage]:
        """What may stop a path within a step."""
        t, x = self.equation.t, self.equation.x
        carried = tuple(symbol(f"y{i}") for i in range(len(self.functionals)))
        condition = self._condition(t, (*x, *carried))
        return passages_of(condition, x, dict(zip(carried, self.functionals, strict=True)))

    def _condition(self, t: Expr, rows: Vector) -> Expr:
        assert self.extras.stop_when is not None
        x, y = rows[: self.sde.dim], self._named(rows)
        result = call_with(self.extras.stop_when, "stop_when", t, x, self._parameters, y)
        if isinstance(result, tuple):
            raise ValueError(f"stop_when must return one condition, got {len(result)} values")
        if not result.is_boolean:
            raise TypeError("stop_when must return a condition, such as x[0] > 1, not a number")
        return as_expr(result)

    def _named(self, rows: Vector) -> Any:
        """What users' functions see as y: functionals, and how many events there were."""
        values = rows[self.sde.dim : self.n_followed]
        counts = (own[0] for own in self._event_rows(rows))
        names = tuple(name for name, _ in (*self.extras.functionals, *self.extras.events))
        return named_tuple("Functionals", names)(*values, *counts)

    # What the engine runs ----------------------------------------------------------------------------------------

    @property
    def steps_at_once(self) -> int:
        """Steps that a kernel takes with the state in registers."""
        m = self.step.n_draws
        if self.step.signs:
            per_word = 32 // m if m and 32 % m == 0 else 1
            return min(per_word, 4 if self.n_operations <= 40 and not self.step.has_long_functions else 1)
        return short_steps_at_once(self.step, self.n_operations)

    def constants(self, run: Settings) -> np.ndarray:
        """The scheme's constants, for every step size, and those of jumps."""
        own = self._constants(run.grid.step_sizes())
        if self.sde.jumps is None:
            return own
        values = parameter_values(self.sde.numbers(), run.model.per_path)  # type: ignore[attr-defined]
        return side_by_side(own, jump_coefficients(self.sde.jumps, self.extras.jumps, run.grid, values))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The parameters' symbols."""
        return tuple(str(parameter_symbol(name).value) for name in self._shared)

    @property
    def parameter_values(self) -> np.ndarray:
        """The parameters' values."""
        return np.array(list(self._shared.values()), float)

    @property
    def _shared(self) -> dict[str, float]:
        """The parameters that are the same for all paths."""
        return {name: value for name, value in self.sde.numbers().items() if name not in self.sde.per_path}

    def start_rows(self, start: np.ndarray, t0: float, own: np.ndarray = NO_VALUES) -> np.ndarray:
        """Start states (dim, n) with the rows that the chain carries besides.

        Those are made of the values (number, n_paths) of the parameters that differ between paths, too.
        """
        if self.n_rows == len(start):
            return start
        if len(own):
            start = np.broadcast_to(start, (len(start), own.shape[1]))
        if self.extras.antithetic:
            half = start.shape[1] // 2
            first, second = (start, start) if start.shape[1] == 1 else (start[:, :half], start[:, half:])
            rows = [self._single_rows(first, t0, own[:, :half]), self._single_rows(second, t0, own[:, half:])]
            return np.concatenate(rows)
        return self._single_rows(start, t0, own)

    def _single_rows(self, start: np.ndarray, t0: float, own: np.ndarray = NO_VALUES) -> np.ndarray:
        if self.n_single == len(start):
            return start
        t, x = constant(t0), tuple(symbol(f"x{i}") for i in range(len(start)))
        begun = [as_expr(f.begin(t, x, self._parameters)) for f in self.functionals]
        begun += [row for _, event in self.extras.events for row in event.begin()]
        for name in self.extras.sensitivities:
            first = first_tangent(name, len(x))
            begun += [*first, *along(begun[: len(self.functionals)], name, x, first)]
        if self.extras.stop_when is not None:
            holds = self._condition(t, (*x, *begun))
            begun.append(as_expr(select(holds, t, np.inf)))
        values: dict[Expr, Any] = dict(zip(x, start.astype(float), strict=True))
        values |= {parameter_symbol(name): value for name, value in self.sde.numbers().items()}
        values |= dict(zip(self._own, own, strict=True))
        known: dict[Expr, Any] = {}
        begun_rows = [evaluate(e, values, known) for e in begun]
        whole = np.empty((len(start) + len(begun) + len(own), start.shape[1]), start.dtype)
        for row, values_of_row in zip(whole, (*start, *begun_rows, *own), strict=True):  # each is copied once
            row[:] = values_of_row
        return whole

    @cached_property
    def observed(self) -> list[Expr]:
        """What to observe at saved times: the expectations, their derivatives, the controls, of ``t`` and the rows.

        Of antithetic pairs the averages: of these too, then of all rows.
        """
        rows = tuple(symbol(f"x{i}") for i in range(self.n_moving))
        dim, y = self.sde.dim, self._named(rows)

        def number(what: str, f: Any) -> Expr:
            return as_number(what, call_with(f, what, symbol("t"), rows[:dim], self._parameters, y))

        values = [number(f"expectations[{name!r}]", f) for name, f in self.extras.expectations]
        if self.extras.sensitivities:
            for (name, _), value in zip(self.extras.expectations, values, strict=True):
                refuse_jump(f"expectations[{name!r}]", value)
        values += [e for derived in self._derived(values, rows) for e in derived]
        values += [number(f"controls[{name!r}]", f) for name, f, _ in self.extras.controls]
        values = [substitute(value, self._own) for value in values]
        if not self.extras.antithetic:
            return values
        return averaged([*values, *rows], self.n_single)


def _is_long(step: Step) -> bool:
    """Whether a step is better computed as a whole for all chains: loops over rows and tables know nothing of rare."""
    sums = sums_in(step.whole)
    return len(step.outputs) >= MANY_ROWS or bool(sums.turns or sums.end)


@dataclass(frozen=True)
class OwnChain(Chain):
    """A chain whose step a model brings itself, and whose logarithm may be a Brownian motion."""

    own: OwnStep
    in_logarithm: bool = False

    @property
    def logarithmic(self) -> bool:
        return self.in_logarithm

    @property
    def n_draws(self) -> int:
        return self.own.n_normals

    @property
    def n_own_uniforms(self) -> int:
        return self.own.n_uniforms

    def _move(self, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
        first = len(self.uniform_slots)
        u = tuple(symbol(f"u{first + i}") for i in range(self.n_own_uniforms))
        new = trace(self.own.move, interval.h, interval.root, x, z, u, self._parameters, what="step")
        return new if isinstance(new, tuple) else (new,)
