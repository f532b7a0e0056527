"""The chain that a run simulates, as expressions: a scheme's step, boundaries, functionals, a condition to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..jit.emit import Step
from ..lazy import cached_property
from ..run.expectations import as_number
from ..run.step import Settings, TracedStepping, short_steps_at_once
from ..trace import Expr, as_expr, constant, evaluate, select, substitute, symbol
from .extras import Extras
from .functionals import Functional, Move, call_with
from .schemes.base import Interval, Scheme
from .schemes.clipping import Flaw, flaw
from .schemes.equation import Equation, Vector, named_tuple, parameter_symbol

if TYPE_CHECKING:
    from .sde import SDE


#: the values of no parameters
NO_VALUES = np.empty((0, 0))


@dataclass(frozen=True)
class Chain(TracedStepping):
    """An SDE under a scheme, with extras.

    Its rows are the state, the functionals, the time of stopping and the parameters that differ between paths; of
    antithetic pairs those of the mirror image too.
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
        return self.n_followed + len(self.sde.per_path)

    @property
    def n_followed(self) -> int:
        """Those of them that change."""
        return self.sde.dim + len(self.functionals) + (self.extras.stop_when is not None)

    @property
    def _own(self) -> dict[Expr, Expr]:
        """The rows of the parameters that differ between paths."""
        names = enumerate(self.sde.per_path, start=self.n_followed)
        return {parameter_symbol(name): symbol(f"x{i}") for i, name in names}

    @property
    def n_rows(self) -> int:
        """Rows of a chain."""
        return self.n_single * (1 + self.extras.antithetic)

    @cached_property
    def step(self) -> Step:
        """The step of a path, or of a pair of which one sees -z and 1 - u where the other sees z and u."""
        single = self._single_step
        if not self.extras.antithetic:
            return single
        n = self.n_single
        mirror = {symbol(f"x{i}"): symbol(f"x{i + n}") for i in range(n)}
        mirror |= {symbol(f"z{i}"): -symbol(f"z{i}") for i in range(single.n_draws)}
        mirror |= {symbol(f"u{i}"): as_expr(1 - symbol(f"u{i}")) for i in range(single.n_uniforms)}
        known: dict[Expr, Expr] = {}
        return replace(single, outputs=(*single.outputs, *(substitute(e, mirror, known) for e in single.outputs)))

    @cached_property
    def _single_step(self) -> Step:
        t, h, root, elapsed = (symbol(name) for name in ("t", "h", "root", "elapsed"))
        dim, n_functionals = self.sde.dim, len(self.functionals)
        rows = tuple(symbol(f"x{i}") for i in range(self.n_followed))
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
        values, n_uniforms = self._follow(carried, move)
        outputs = (*new, *values)
        if self.extras.stop_when is not None:
            outputs = self._stop(rows, outputs, move)
        known: dict[Expr, Expr] = {}
        outputs = (*(substitute(e, self._own, known) for e in outputs), *self._own.values())
        names = self.parameter_names
        return Step(outputs, names, constants, n_draws, n_uniforms, self.scheme.draws == "signs")

    @property
    def _parameters(self) -> tuple[Any, ...]:
        return self.sde.parameter_tuple()

    def _constants(self, h: np.ndarray) -> np.ndarray:
        if self.scheme.constants is None:
            return np.empty((len(h), 0))
        return np.asarray(self.scheme.constants(self.sde, h), float)

    def _follow(self, carried: Vector, move: Move) -> tuple[Vector, int]:
        values, slots = [], self.uniform_slots
        for functional, value in zip(self.functionals, carried, strict=True):
            u = tuple(symbol(f"u{slots[key]}") for key in functional.uniforms)
            values.append(as_expr(functional.follow(value, move, u)))
        return tuple(values), len(slots)

    @cached_property
    def uniform_slots(self) -> dict[tuple[int, int], int]:
        """Which uniform of a step is what `Functional.uniforms` names."""
        keys = dict.fromkeys(key for functional in self.functionals for key in functional.uniforms)
        return {key: i for i, key in enumerate(keys)}

    def _stop(self, rows: Vector, outputs: Vector, move: Move) -> Vector:
        """Everything stays as it is once the condition has held; the last row is the time from which on it did."""
        stopped = rows[-1]
        running = stopped == np.inf
        time = as_expr(move.t + move.h)
        outputs = tuple(as_expr(select(running, new, old)) for new, old in zip(outputs, rows[:-1], strict=True))
        holds = self._condition(time, outputs)
        return (*outputs, as_expr(select(running & holds, time, stopped)))

    def _condition(self, t: Expr, rows: Vector) -> Expr:
        assert self.extras.stop_when is not None
        x, y = rows[: self.sde.dim], self._named(rows[self.sde.dim :])
        result = call_with(self.extras.stop_when, "stop_when", t, x, self._parameters, y)
        if isinstance(result, tuple):
            raise ValueError(f"stop_when must return one condition, got {len(result)} values")
        if not result.is_boolean:
            raise TypeError("stop_when must return a condition, such as x[0] > 1, not a number")
        return as_expr(result)

    def _named(self, values: Sequence[Expr]) -> Any:
        return named_tuple("Functionals", tuple(name for name, _ in self.extras.functionals))(*values)

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
        """The scheme's constants, for every step size."""
        return self._constants(run.grid.step_sizes())

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
        if self.extras.stop_when is not None:
            holds = self._condition(t, (*x, *begun))
            begun.append(as_expr(select(holds, t, np.inf)))
        values: dict[Expr, Any] = dict(zip(x, start.astype(float), strict=True))
        values |= {parameter_symbol(name): value for name, value in self.sde.numbers().items()}
        values |= dict(zip(self._own, own, strict=True))
        known: dict[Expr, Any] = {}
        rows = [np.broadcast_to(evaluate(e, values, known), start.shape[1:]) for e in begun]
        return np.concatenate([start, np.array([*rows, *own]).astype(start.dtype)])

    @cached_property
    def observed(self) -> list[Expr]:
        """What to observe at saved times: the expectations, then the controls, of ``t`` and the rows.

        Of antithetic pairs the averages: of these too, then of all rows.
        """
        rows = tuple(symbol(f"x{i}") for i in range(self.n_followed))
        dim, n_functionals = self.sde.dim, len(self.functionals)
        y = self._named(rows[dim : dim + n_functionals])
        asked = [(f"expectations[{name!r}]", f) for name, f in self.extras.expectations]
        asked += [(f"controls[{name!r}]", f) for name, f, _ in self.extras.controls]
        found = [call_with(f, what, symbol("t"), rows[:dim], self._parameters, y) for what, f in asked]
        values = [substitute(as_number(what, e), self._own) for (what, _), e in zip(asked, found, strict=True)]
        if not self.extras.antithetic:
            return values
        mirror = {symbol(f"x{i}"): symbol(f"x{i + self.n_single}") for i in range(self.n_single)}
        known: dict[Expr, Expr] = {}
        values += rows
        return [as_expr(0.5 * (value + substitute(value, mirror, known))) for value in values]
