"""The chain that a run samples with, as expressions: a method's step, what is counted, what diagnostics need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import checks
from ..engine.tiles import Data
from ..jit.step import Rare, Step
from ..jit.sums import sums_in
from ..lazy import cached_property
from ..run.boundaries import Boundary
from ..run.step import Observing, TracedStepping, short_steps_at_once
from ..trace import Expr, as_expr, evaluate, select, symbol
from ..trace.vectors import symbols
from . import diagnostics
from .diagnostics import N_ROWS
from .methods import STEPS, Method
from .methods.base import Point
from .metric import IDENTITY, Metric
from .targets.base import BaseTarget
from .targets.density import Vector, state_symbols


@dataclass(frozen=True)
class Chain(TracedStepping):
    """A method on a target.

    Its rows are the position, what the method carries, the mean probability of acceptance and the number of proposals
    whose density was no number, the diagnostics of every component, and a step size of its own with what the method
    makes of it: each where there is one. ``structure`` are options that shape the step. ``boundaries`` are applied to
    the position after it.
    """

    target: BaseTarget
    name: str
    structure: tuple[tuple[str, int], ...] = ()
    metric: Metric = IDENTITY
    diagnoses: bool = False
    own_step_size: bool = False
    boundaries: tuple[Boundary, ...] = ()

    @property
    def method(self) -> Method:
        """The method."""
        return STEPS[self.name]

    @cached_property
    def dim(self) -> int:
        """Components of the position."""
        return self.target.dim

    # Rows ---------------------------------------------------------------------------------------------------------

    @cached_property
    def n_carried(self) -> int:
        """Rows that the method carries besides the position."""
        return len(self.method.start_rows(self.point(state_symbols(self.dim), ())))

    @cached_property
    def counted(self) -> int:
        """Where the mean acceptance lies, if the method accepts; the undefined proposals come after it."""
        return self.dim + self.n_carried

    @cached_property
    def diagnosed(self) -> int:
        """Where the diagnostics begin."""
        return self.counted + 2 * self.method.accepts

    @cached_property
    def n_shown(self) -> int:
        """Rows that users see: positions, and velocities where there are any."""
        return self.dim * (1 + self.method.has_velocity)

    @cached_property
    def sized(self) -> int:
        """Where a step size of its own lies, if it has one; the method's constants come after it."""
        return self.diagnosed + N_ROWS * self.dim * self.diagnoses

    @cached_property
    def n_rows(self) -> int:
        """Rows of a chain."""
        return self.sized + (1 + self.n_constants) * self.own_step_size

    @cached_property
    def n_constants(self) -> int:
        """Numbers that the method makes of the step size."""
        options = dict.fromkeys(self.method.options, 1.0) | dict(self.structure)
        return len(self.method.constants(np.ones(1), options, 1.0))

    # Rows of data ---------------------------------------------------------------------------------------------------

    @property
    def n_picks(self) -> int:
        """Rows of data that a step draws."""
        return dict(self.structure)["batch_size"] if self.method.draws_rows else 0

    @property
    def n_columns(self) -> int:
        """Numbers of a row of data."""
        rows = self.target.density.rows
        return 0 if rows is None or not self.method.draws_rows else int(rows.values.shape[1])

    def data(self, dtype: np.dtype, noise_dtype: np.dtype) -> Data | None:
        """The rows that steps draw from."""
        rows = self.target.density.rows
        if rows is None or not self.method.draws_rows:
            return None
        return Data(np.ascontiguousarray(rows.values, noise_dtype), self.n_columns, False)

    # The step -----------------------------------------------------------------------------------------------------

    def point(self, x: Vector, carried: Vector) -> Point:
        """A point in symbols."""
        method = self.method
        options: dict[str, Any] = {name: symbol(f"option_{name}") for name in method.options}
        return Point(
            self.target.density, x, carried, tuple(symbols("z", method.normals(self.dim))),
            tuple(symbols("u", method.uniforms(self.dim))), symbol("step_size"), symbol("temperature"),
            options | dict(self.structure), self.metric, tuple(symbols("k", self.n_constants)),
            tuple(tuple(symbols(f"d{b}_", self.n_columns)) for b in range(self.n_picks)),
        )  # fmt: skip

    @cached_property
    def step(self) -> Step:
        """A step in symbols."""
        rows, dim = symbols("x", self.n_rows), self.dim
        point = self.point(tuple(rows[:dim]), tuple(rows[dim : self.counted]))
        if self.own_step_size:
            point = replace(point, h=rows[self.sized], constants=tuple(rows[self.sized + 1 :]))
        move = self.method.step(point)
        for boundary in self.boundaries:
            move = replace(move, position=boundary.apply(point.x, move.position))
        draw = as_expr(symbol("step") + 1 - symbol("burn_in"))
        outputs = [*move.position, *move.carried]
        if move.probability is not None:
            mean, undefined = rows[self.counted : self.diagnosed]
            weight = select(draw >= 1, 1 / draw, 0.0)
            outputs += [as_expr(mean + weight * (move.probability - mean))]
            outputs += [as_expr(undefined + select(move.undefined, 1.0, 0.0))]
        rare = None
        if self.diagnoses:
            flags, own = diagnostics.Flags.at(draw), rows[self.diagnosed : self.sized]
            outputs += diagnostics.follow(own, move.position, flags)
            ended = (*rows[: self.diagnosed], *diagnostics.ended(own, flags), *rows[self.sized :])
            rare = Rare(flags.ends, tuple(map(as_expr, ended)))
        outputs += rows[self.sized :]
        return Step(
            tuple(map(as_expr, outputs)), self.parameters, self.constant_names, len(point.z), len(point.u),
            picks=self.n_picks, columns=self.n_columns, rare=rare,
        )  # fmt: skip

    @property
    def constant_names(self) -> tuple[str, ...]:
        """Symbols of the step that may differ from step to step, whose values `constants` has."""
        return () if self.own_step_size else ("step_size", *(f"k{i}" for i in range(self.n_constants)))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Symbols of the step that are numbers of the run, in their order."""
        names = [*self.target.parameters, *self.metric.parameters, "temperature", "burn_in"]
        names += [f"option_{name}" for name in self.method.options]
        if self.method.draws_rows:
            names.append("n_data")
        if self.method.uses_mode:
            names += [f"{what}{i}" for what in ("mode", "mode_score") for i in range(self.dim)]
        if self.diagnoses:
            names += ["batch_length", "counted", *(f"center{i}" for i in range(self.dim))]
        return tuple(names)

    @property
    def steps_at_once(self) -> int:
        """Steps that a kernel takes with the state in registers."""
        return short_steps_at_once(self.step, self.n_operations)

    def values(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """What the parameters stand for in a run that has these ``numbers``."""
        return {**self.target.parameters, **self.metric.parameters, **numbers}

    def values_in(self, run: Any) -> Sequence[float]:
        """Values of ``step.parameters`` in a run."""
        values = self.values(run.numbers)
        return [values[name] for name in self.parameters]

    def constants(self, run: Any) -> np.ndarray:
        """The step sizes and what the method makes of them, for every step."""
        return np.empty((1, 0)) if self.own_step_size else np.array(self.sizes(run)).T

    def sizes(self, run: Any) -> list[np.ndarray]:
        """The step sizes of a run, and the method's constants of them."""
        sizes = run.step_sizes.ravel()
        return [sizes, *self.method.constants(sizes, run.options, run.temperature)]

    # What is observed ---------------------------------------------------------------------------------------------

    def asked(self, run: Any) -> tuple[Expr, ...]:
        """The functions of users, of iteration, position and velocity."""
        groups = [tuple(symbols("x", self.dim, first=first)) for first in range(0, self.n_shown, self.dim)]
        return tuple(as_expr(f(symbol("t"), *groups)) for _, f in run.expectations)

    def observing(self, run: Any, device: Any, layout: str) -> Observing | None:
        """What computes them."""
        if not run.expectations:
            return None
        return self.asked_observer(self.asked(run), checks.type_name(run.dtype), device, layout, self.sums_end)

    @property
    def sums_end(self) -> int:
        """Numbers that sums over rows in the step have in the run's table: those of what is observed come next."""
        return sums_in(self.step.whole).end

    def table(self, run: Any) -> np.ndarray | None:
        """What sums over rows in the step read, then those in what is observed."""
        if not run.expectations:
            return super().table(run)
        values = np.concatenate([self._table, self.asked_table(run)])
        return values.astype(run.dtype) if values.size else None

    def asked_table(self, run: Any) -> np.ndarray:
        """What sums over rows in what is observed read."""
        return np.asarray(sums_in(self.asked(run), self.sums_end).values()) if run.expectations else np.zeros(0)

    # The start ----------------------------------------------------------------------------------------------------

    def start_rows(self, run: Any, x0: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """All rows at the start, from positions (dim, n) and normals (start_normals * dim, n)."""
        if self.n_rows == self.dim:  # positions alone
            return np.array(x0, float)
        sizes = self.sizes(run)
        n = max(x0.shape[1], normals.shape[1], len(sizes[0]) * self.own_step_size)
        rows = np.zeros((self.n_rows, n))
        rows[: self.dim] = x0
        values: dict[Expr, Any] = {symbol(name): value for name, value in self.values(run.numbers).items()}
        values |= dict(zip(state_symbols(self.dim), x0, strict=True))
        values |= {symbol(f"z{i}"): z for i, z in enumerate(normals)}
        known: dict[Expr, Any] = {}
        for i, e in enumerate(self.method.start_rows(self.point(state_symbols(self.dim), ()))):
            rows[self.dim + i] = evaluate(e, values, known)
        if self.own_step_size:
            rows[self.sized :] = sizes
        return rows
