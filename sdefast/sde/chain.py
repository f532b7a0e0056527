"""The chain that a run simulates, as expressions: a scheme's step, boundaries, functionals, a condition to stop."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..engine.grid import TimeGrid
from ..jit.emit import Step
from ..jit.step import Rare
from ..jit.sums import sums_in
from ..lazy import cached_property
from ..run.expectations import as_number
from ..run.step import Settings, TracedStepping, short_steps_at_once, side_by_side
from ..trace import Expr, as_expr, constant, evaluate, select, substitute, symbol
from .extras import Extras
from .functionals import Functional, Leap, Move, call_with
from .jumps import parameter_values
from .schemes.base import Interval, Scheme
from .schemes.clipping import Flaw, flaw
from .schemes.equation import Equation, Vector, parameter_symbol

if TYPE_CHECKING:
    from .sde import SDE

#: Rows from which on those that are alike are looked for.
_MANY_ROWS = 6


@dataclass(frozen=True)
class Chain(TracedStepping):
    """An SDE under a scheme, with extras.

    Its rows are the state, the functionals and the time of stopping; of antithetic pairs those of the mirror image too.
    """

    sde: SDE
    scheme: Scheme
    extras: Extras

    #: whether paths are Brownian bridges between the steps in the logarithm of the state
    logarithmic: ClassVar[bool] = False

    @cached_property
    def equation(self) -> Equation:
        return self.sde.equation.read_as(self.scheme.calculus)

    @cached_property
    def flaw(self) -> Flaw | None:
        """What is wrong with the scheme where the equation's noise is clipped."""
        return flaw(self.sde, self.scheme)

    @property
    def functionals(self) -> list[Functional]:
        return [functional for _, functional in self.extras.functionals]

    @property
    def n_single(self) -> int:
        """Rows of one path."""
        return self.sde.dim + self.extras.n_carried + (self.extras.stop_when is not None)

    @property
    def n_rows(self) -> int:
        """Rows of a chain."""
        return self.n_single * (1 + self.extras.antithetic)

    @cached_property
    def step(self) -> Step:
        """The step of a path, or of a pair of which one sees -z and 1 - u where the other sees z and u."""
        single = self._single_step
        if not self.extras.antithetic:
            jumps = self.extras.jumps
            return single.folded() if _is_long(single) or (jumps and jumps.often) else single
        single, n = single.folded(), self.n_single
        mirror = {symbol(f"x{i}"): symbol(f"x{i + n}") for i in range(n)}
        mirror |= {symbol(f"z{i}"): -symbol(f"z{i}") for i in range(single.n_draws)}
        mirror |= {symbol(f"u{i}"): as_expr(1 - symbol(f"u{i}")) for i in range(single.n_uniforms)}
        known: dict[Expr, Expr] = {}
        return replace(single, outputs=(*single.outputs, *(substitute(e, mirror, known) for e in single.outputs)))

    @cached_property
    def _single_step(self) -> Step:
        t, h, root, elapsed = (symbol(name) for name in ("t", "h", "root", "elapsed"))
        dim, n_functionals = self.sde.dim, len(self.functionals)
        rows = tuple(symbol(f"x{i}") for i in range(self.n_single))
        x, carried = rows[:dim], rows[dim : dim + n_functionals]
        n_draws = self.scheme.n_draws(self.equation)
        z = tuple(symbol(f"z{j}") for j in range(n_draws))
        constants = tuple(f"c{i}" for i in range(self._constants(np.ones(1)).shape[1]))
        assert self.scheme.step is not None
        c = tuple(map(symbol, constants))
        free = new = tuple(map(as_expr, self.scheme.step(self.equation, Interval(t, h, root), x, z, c)))
        for boundary in self.extras.boundaries:
            new = boundary.apply(x, new)
        move = Move(
            self.equation, self._parameters, elapsed, t, h, x, free, new, self.extras.boundaries, self.logarithmic
        )
        move, counted, n_uniforms = self._happen(rows, move)
        outputs = (*move.new, *self._follow(carried, move), *counted)
        if self.extras.stop_when is not None:
            outputs = self._stop(rows, outputs, as_expr(t + h))
        names = self.parameter_names, (*constants, *self._jump_constants)
        uniforms, signs = n_uniforms + self._n_jump_uniforms, self.scheme.draws == "signs"
        return Step(outputs, *names, n_draws, uniforms, signs, rare=self._jumps(n_uniforms))

    # Jumps -------------------------------------------------------------------------------------------------------

    @property
    def _n_jump_uniforms(self) -> int:
        jumps, written = self.sde.jumps, self.extras.jumps
        if jumps is None:
            return 0
        if written is None:
            raise ValueError("an SDE with jumps runs under sdefast.simulate alone")
        return jumps.n_uniforms(written)

    @property
    def _jump_constants(self) -> tuple[str, ...]:
        jumps, written = self.sde.jumps, self.extras.jumps
        n = 0 if jumps is None or written is None else jumps.n_coefficients(written)
        return tuple(f"jump{i}" for i in range(n))

    def _jumps(self, first_uniform: int) -> Rare | None:
        """What jumps do to the rows to which the rest of the step has led."""
        jumps, written = self.sde.jumps, self.extras.jumps
        if jumps is None or written is None:
            return None
        t, h = as_expr(symbol("t") + symbol("h")), symbol("h")
        rows = tuple(symbol(f"x{i}") for i in range(self.n_single))
        x, c = rows[: self.sde.dim], tuple(map(symbol, self._jump_constants))
        u = tuple(symbol(f"u{first_uniform + i}") for i in range(self._n_jump_uniforms))
        new = jumps.after(t, h, self._parameters, x, u, c, written)
        return Rare(u[0] < c[0], self._landed(rows, new, t, h))

    def _landed(self, rows: Vector, new: Vector, t: Expr, h: Expr) -> Vector:
        """All rows of a path that has gone from ``rows`` to the state ``new`` in no time at the end of a step."""
        dim = self.sde.dim
        for boundary in self.extras.boundaries:
            new = boundary.apply(rows[:dim], new)
        leap = Leap(self._parameters, as_expr(symbol("elapsed") + h), t, h, rows[:dim], new)
        carried = zip(self.functionals, rows[dim:], strict=False)
        values = tuple(as_expr(functional.leap(value, leap)) for functional, value in carried)
        outputs = (*new, *values, *(row for own in self._event_rows(rows) for row in own))
        return outputs if self.extras.stop_when is None else self._stop(rows, outputs, t)

    @property
    def _parameters(self) -> tuple[Any, ...]:
        return self.sde.parameter_tuple()

    def _constants(self, h: np.ndarray) -> np.ndarray:
        if self.scheme.constants is None:
            return np.empty((len(h), 0))
        return np.asarray(self.scheme.constants(self.sde, h), float)

    def _happen(self, rows: Vector, move: Move) -> tuple[Move, Vector, int]:
        """Where events lead, what becomes of the rows that they carry, and uniforms of functionals and events."""
        n_uniforms, counted = len(self.uniform_slots), list[Expr]()
        for (_, event), own in zip(self.extras.events, self._event_rows(rows), strict=True):
            u = (symbol(f"u{n_uniforms}"),) if event.bridged(self.equation, self._parameters) else ()
            move, after = event.apply(move, own, u)
            n_uniforms += len(u)
            counted += after
        return move, tuple(counted), n_uniforms

    def _event_rows(self, rows: Vector) -> list[Vector]:
        """The rows of every event."""
        first, found = self.sde.dim + len(self.functionals), []
        for _, event in self.extras.events:
            found.append(rows[first : first + event.n_rows])
            first += event.n_rows
        return found

    def _follow(self, carried: Vector, move: Move) -> Vector:
        values, slots = [], self.uniform_slots
        for functional, value in zip(self.functionals, carried, strict=True):
            u = tuple(symbol(f"u{slots[key]}") for key in functional.uniforms)
            values.append(as_expr(functional.follow(value, move, u)))
        return tuple(values)

    @cached_property
    def uniform_slots(self) -> dict[tuple[int, int], int]:
        """Which uniform of a step is what `Functional.uniforms` names."""
        keys = dict.fromkeys(key for functional in self.functionals for key in functional.uniforms)
        return {key: i for i, key in enumerate(keys)}

    def _stop(self, rows: Vector, outputs: Vector, time: Expr) -> Vector:
        """Everything stays as it is once the condition has held; the last row is the time from which on it did."""
        stopped = rows[-1]
        running = stopped == np.inf
        outputs = tuple(as_expr(select(running, new, old)) for new, old in zip(outputs, rows[:-1], strict=True))
        holds = self._condition(time, outputs)
        return (*outputs, as_expr(select(running & holds, time, stopped)))

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
        values = rows[self.sde.dim : self.sde.dim + len(self.functionals)]
        counts = (own[0] for own in self._event_rows(rows))
        names = tuple(name for name, _ in (*self.extras.functionals, *self.extras.events))
        return namedtuple("Functionals", names)(*values, *counts)

    # What the engine runs ----------------------------------------------------------------------------------------

    @property
    def steps_at_once(self) -> int:
        """Steps that a kernel takes with the state in registers."""
        m = self.step.n_draws
        if self.step.signs:
            per_word = 32 // m if m and 32 % m == 0 else 1
            return min(per_word, 4 if self.n_operations <= 40 else 1)
        return short_steps_at_once(self.n_operations)

    def constants(self, run: Settings) -> np.ndarray:
        """The scheme's constants, for every step size, and those of jumps."""
        own = self._constants(run.grid.step_sizes())
        return own if self.sde.jumps is None else side_by_side(own, self._jump_coefficients(run.grid))

    def _jump_coefficients(self, grid: TimeGrid) -> np.ndarray:
        jumps, written = self.sde.jumps, self.extras.jumps
        assert jumps is not None
        assert written is not None
        return jumps.coefficients(grid, parameter_values(self.sde.params or {}), written.most)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The parameters' symbols."""
        return tuple(str(parameter_symbol(name).value) for name in self.sde.params or ())

    @property
    def parameter_values(self) -> np.ndarray:
        """The parameters' values."""
        return np.array(list((self.sde.params or {}).values()), float)

    def start_rows(self, start: np.ndarray, t0: float) -> np.ndarray:
        """Start states (dim, n) with the rows that the chain carries besides."""
        if self.n_rows == len(start):
            return start
        if self.extras.antithetic:
            half = start.shape[1] // 2
            first, second = (start, start) if start.shape[1] == 1 else (start[:, :half], start[:, half:])
            return np.concatenate([self._single_rows(first, t0), self._single_rows(second, t0)])
        return self._single_rows(start, t0)

    def _single_rows(self, start: np.ndarray, t0: float) -> np.ndarray:
        if self.n_single == len(start):
            return start
        t, x = constant(t0), tuple(symbol(f"x{i}") for i in range(len(start)))
        begun = [as_expr(f.begin(t, x, self._parameters)) for f in self.functionals]
        begun += [row for _, event in self.extras.events for row in event.begin()]
        if self.extras.stop_when is not None:
            holds = self._condition(t, (*x, *begun))
            begun.append(as_expr(select(holds, t, np.inf)))
        values: dict[Expr, Any] = dict(zip(x, start.astype(float), strict=True))
        values |= {parameter_symbol(name): value for name, value in (self.sde.params or {}).items()}
        known: dict[Expr, Any] = {}
        rows = [np.broadcast_to(evaluate(e, values, known), start.shape[1:]) for e in begun]
        return np.concatenate([start, np.array(rows).astype(start.dtype)])

    @cached_property
    def observed(self) -> list[Expr]:
        """What to observe at saved times: the expectations, then the controls, of ``t`` and the rows.

        Of antithetic pairs the averages: of these too, then of all rows.
        """
        rows = tuple(symbol(f"x{i}") for i in range(self.n_single))
        dim, y = self.sde.dim, self._named(rows)
        asked = [(f"expectations[{name!r}]", f) for name, f in self.extras.expectations]
        asked += [(f"controls[{name!r}]", f) for name, f, _ in self.extras.controls]
        values = [
            as_number(what, call_with(f, what, symbol("t"), rows[:dim], self._parameters, y)) for what, f in asked
        ]
        if not self.extras.antithetic:
            return values
        mirror = {row: symbol(f"x{i + self.n_single}") for i, row in enumerate(rows)}
        known: dict[Expr, Expr] = {}
        values += rows
        return [as_expr(0.5 * (value + substitute(value, mirror, known))) for value in values]


def _is_long(step: Step) -> bool:
    """Whether a step is better computed as a whole for all chains: loops over rows know nothing that is rare."""
    return len(step.outputs) >= _MANY_ROWS or bool(sums_in(step.whole).turns)
