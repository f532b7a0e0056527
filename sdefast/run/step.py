"""What a family gives the runner: how its chains step and what is observed of them, and what decides a run's numbers.

A `Stepping` says what becomes of a chain's rows in a step; most are written as expressions (`TracedStepping`), of which
kernels for the CPU and the GPU are made. `Settings` hold everything else, and make the tile that the engine runs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from .. import _core, checks, noise, resources
from ..engine.gathering import ONE, Gathering, gathering_of
from ..engine.grid import TimeGrid
from ..engine.statistics import Histogram, Layout
from ..engine.tiles import Compiled, Counted, Data, Draws, Gathered, Observer, Tile, layout_of
from ..jit.compile import Program
from ..jit.emit import CLOCK, Step, n_written, observer_source, stepper_source
from ..jit.sums import sums_in
from ..lazy import cached_property
from ..trace import Expr, all_parts, symbols_in, work
from . import options, records

#: Operations of a step that is compiled at most: so many take minutes, and twice as many more than twice as long.
_MOST_OPERATIONS = 20_000


class Kernel(NamedTuple):
    """What steps chains: a built-in step by name, or one that is compiled where it is needed; its coefficients.

    ``cost`` is the work of a step in steps of a scalar model.
    """

    step: str | Compiled | Any
    coefficients: np.ndarray
    cost: float


class Observing(NamedTuple):
    """What computes ``n`` numbers of a chain where it is saved, and the parameters that it takes."""

    kernel: str | Compiled | Any
    n: int
    parameters: np.ndarray


class Stepping(records.Recorded, ABC):
    """How a family's chains step."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Rows of a chain: its state, and what it carries besides."""

    @abstractmethod
    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What a step draws."""

    @abstractmethod
    def kernel(self, run: Settings, device: Any) -> Kernel:
        """The kernel of the run's steps, for the CPU (None) or a GPU."""

    def on(self, device: Any) -> Stepping:
        """The same as it runs on the CPU (None) or a GPU."""
        return self

    @property
    def n_observed(self) -> int:
        """How many numbers are observed."""
        return 0

    def observing(self, run: Settings, device: Any, layout: str) -> Observing | None:
        """What is observed at saved times, if anything, of states that lie as ``layout`` says."""
        return None

    def data(self, dtype: np.dtype, noise_dtype: np.dtype) -> Data | None:
        """Rows of data that steps draw from, if they do."""
        return None

    def table(self, run: Settings) -> np.ndarray | None:
        """Constants that steps and what is observed read, if they do."""
        return None


class TracedStepping(Stepping):
    """Steps that are written as expressions.

    Coefficients are the clock, the values of ``step.parameters``, and those of ``step.constants``, which may differ
    from step to step.
    """

    @property
    @abstractmethod
    def step(self) -> Step:
        """A step in symbols, see `sdefast.jit.emit.Step`."""

    @property
    def parameter_values(self) -> Sequence[float] | np.ndarray:
        """Values of ``step.parameters``, where they are the same in all runs."""
        return ()

    def values_in(self, run: Settings) -> Sequence[float] | np.ndarray:
        """Values of ``step.parameters`` in a run."""
        return self.parameter_values

    def constants(self, run: Settings) -> np.ndarray:
        """Values of ``step.constants``, of shape (number of step sizes, or n_steps, number)."""
        return np.empty((len(run.grid.step_sizes()), 0))

    @property
    def observed(self) -> Sequence[Expr]:
        """What to observe, of ``t``, rows and parameters."""
        return ()

    @property
    def n_observed(self) -> int:
        """How many numbers are observed."""
        return len(self.observed)

    @property
    def n_rows(self) -> int:
        """Rows of a chain."""
        return len(self.step.outputs)

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What a step draws."""
        step = self.step
        return Draws(step.n_draws, step.n_uniforms, step.signs, noise_dtype.itemsize == 4, step.picks, step.words)

    @cached_property
    def n_operations(self) -> int:
        """Operations of a step."""
        return sum(bool(e.args) for e in all_parts(self.step.outputs))

    @cached_property
    def n_written(self) -> int:
        """Operations that a CPU's kernel is written with."""
        return n_written(self.step)

    @property
    def cost(self) -> float:
        """Work of a step, in steps of a scalar model: normals are most of a short one's, signs take almost nothing."""
        if self.step.signs:
            return max(self._work / 32, 0.2)
        return max(self._work / 16, self.step.n_draws, self.step.n_uniforms, 1)

    @cached_property
    def _work(self) -> int:
        return work(self.step.outputs)

    @property
    def steps_at_once(self) -> int:
        """Steps that a kernel takes with the state in registers."""
        return 1

    @cached_property
    def source(self) -> str:
        """The CPU's kernel."""
        return stepper_source(self.step, self.steps_at_once)

    def program(self, dtype: str, noise_dtype: str) -> Program:
        """The CPU's kernel, to be compiled where it is needed."""
        kind = "data stepper" if self.step.picks else "stepper"
        return Program(kind, self.source, dtype, "uint32" if self.step.signs else noise_dtype, self.step.layout)

    def kernel(self, run: Settings, device: Any) -> Kernel:
        """The kernel of the run's steps."""
        self._refuse_too_long(device)
        coefficients, dtypes = self.coefficients(run), (checks.type_name(run.dtype), checks.type_name(run.noise_dtype))
        if device is None:
            return Kernel(self.program(*dtypes), coefficients, self.cost)
        if self.step.picks:
            raise ValueError("steps that draw rows of data run on the CPU: leave out device=")
        from ..cuda import kernels

        program = kernels.paths(self.step, *dtypes, len(coefficients) == 1, run.given_normals)
        return Kernel(program, coefficients, self.cost)

    def _refuse_too_long(self, device: Any) -> None:
        """Errors of what is too much to compile, before it is; a GPU's code has no loops over rows that are alike."""
        if self.n_rows > _core.largest_dim:
            raise ValueError(
                f"a chain has {_core.largest_dim} rows at most, for its state and what it carries (functionals and "
                f"stop_when, of antithetic pairs twice), got {self.n_rows}"
            )
        n = self.n_operations if device is not None else self.n_written
        if n > _MOST_OPERATIONS:
            raise ValueError(
                f"a step of {n} operations would take too long to compile; there may be {_MOST_OPERATIONS}"
            )

    def coefficients(self, run: Settings) -> np.ndarray:
        """Rows of coefficients, one for all steps or one a step."""
        parts = clock_rows(run.grid), np.array([self.values_in(run)], float), self.constants(run)
        refuse_rows(max(map(len, parts)), sum(part.shape[1] for part in parts))
        return side_by_side(*parts)

    def observing(self, run: Settings, device: Any, layout: str) -> Observing | None:
        """What computes `observed`."""
        if not self.observed:
            return None
        return self.observer(self.observed, checks.type_name(run.dtype), device, layout, self.values_in(run))

    def table(self, run: Settings) -> np.ndarray | None:
        """What sums over rows in the step read, then those in what is observed."""
        return self._table.astype(run.dtype) if self._table.size else None

    @cached_property
    def _table(self) -> np.ndarray:
        step = sums_in(self.step.whole)
        return np.concatenate([step.values(), sums_in(tuple(self.observed), step.end).values()])

    def observer(
        self, outputs: Sequence[Expr], dtype: str, device: Any, layout: str,
        values: Sequence[float] | np.ndarray | None = None,
    ) -> Observing:  # fmt: skip
        """What computes functions of ``t``, the rows and the parameters."""
        outputs = tuple(outputs)
        used = symbols_in(outputs)
        pairs = zip(self.step.parameters, self.parameter_values if values is None else values, strict=True)
        chosen = [(name, value) for name, value in pairs if name in used]
        names, taken = tuple(name for name, _ in chosen), np.array([value for _, value in chosen] or [0.0])
        first = sums_in(self.step.whole).end
        if device is None:
            source = observer_source(outputs, names, self.n_rows, layout, first)
            program: Any = Program("observer", source, dtype, dtype, layout)
        else:
            from ..cuda import kernels

            program = kernels.observer(outputs, names, self.n_rows, dtype, first)
        return Observing(program, len(outputs), taken)

    def asked_observer(
        self, outputs: tuple[Expr, ...], dtype: str, device: Any, layout: str, first: int = 0
    ) -> Observing:
        """What computes functions of ``t`` and the rows alone; what sums in them read begins at ``first`` in the table.

        The step need not be traced for it.
        """
        if device is not None:
            from ..cuda import kernels

            return Observing(kernels.observer(outputs, (), self.n_rows, dtype, first), len(outputs), np.zeros(1))
        rows = "narrow" if layout == "chains" else layout
        source = observer_source(outputs, (), self.n_rows, rows, first)
        return Observing(Program("observer", source, dtype, dtype, rows), len(outputs), np.zeros(1))


#: Steps at once for steps of up to so many operations: short ones gain by keeping the state in registers.
_AT_ONCE = ((12, 4), (24, 2))


def short_steps_at_once(step: Step, n_operations: int) -> int:
    """How many steps of so many operations a kernel best takes at once."""
    if step.has_long_functions:  # which are most of the work, and take all registers
        return 1
    return next((n for most, n in _AT_ONCE if n_operations <= most), 1)


def clock_rows(grid: TimeGrid) -> np.ndarray:
    """What rows of coefficients begin with, `CLOCK` in jit/emit.py."""
    if grid.h is not None:
        return np.array([[grid.t0, grid.h, grid.h, math.sqrt(grid.h), grid.t0]])
    assert grid.times is not None
    h = grid.step_sizes()
    clock = np.empty((len(h), len(CLOCK)))
    clock[:, 0], clock[:, 1] = grid.times[:-1], 0.0
    clock[:, 2], clock[:, 3], clock[:, 4] = h, np.sqrt(h), grid.t0
    return clock


def side_by_side(*parts: np.ndarray) -> np.ndarray:
    """Rows of coefficients from parts of them, of which those with one row are the same for all steps."""
    rows, first = np.empty((max(map(len, parts)), sum(part.shape[1] for part in parts))), 0
    for part in parts:
        rows[:, first : first + part.shape[1]] = part
        first += part.shape[1]
    return rows


def refuse_rows(n: int, width: int) -> None:
    """MemoryError, before any work, if the coefficients of ``n`` different steps cannot fit."""
    if n > 1:
        what = f"the coefficients of {n} different steps"
        resources.refuse_too_large(n * width * 16, what, ["use a uniform grid, one step size, or fewer steps"])


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings(records.Recorded, ABC):
    """Everything that decides a run's numbers, for families to derive from: they add what is stepped."""

    seed: int
    dtype: np.dtype
    noise_dtype: np.dtype
    first_chain: int
    n_chains: int
    grid: TimeGrid
    saves: np.ndarray
    layout: Layout
    keeps_states: bool
    histogram: Histogram | None = None
    given_normals: bool = False
    stream_version: int = noise.STREAM_VERSION

    @property
    @abstractmethod
    def stepping(self) -> Stepping:
        """How chains step."""

    @property
    def gathering(self) -> Gathering:
        """Where in the gathered statistics is what."""
        at = self.layout
        return gathering_of(at.dim, at.moments, at.extremes, at.covariance, 0, 0, 0, 0)

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return self.grid.n_steps

    @property
    def kept_rows(self) -> int | None:
        """How many of a chain's first rows are kept at saved times; None for all."""
        return None

    @property
    def counted(self) -> Counted | None:
        """The rows that a histogram is of; None for those that are kept."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """What was given: what follows from it, expressions among it, is found again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def identity(self) -> tuple[Any, ...]:
        """Equal for shards of one run, which differ in ``first_chain`` and ``n_chains`` alone."""
        times = None if self.grid.times is None else self.grid.times.tobytes()
        grid = (self.grid.t0, self.grid.first_step, self.grid.n_steps, self.grid.h, times)
        kept = (self.saves.tobytes(), self.layout, self.keeps_states, self.histogram, self.given_normals)
        return (self.seed, self.stream_version, self.dtype, self.noise_dtype, grid, *kept)

    def record(self) -> tuple[Any, records.Arrays]:
        """As JSON and the arrays that it refers to, of which `records.read` makes equal settings, functions replayed.

        ValueError where a user's function has changed since the run: it is no longer known what was run.
        """
        return records.write(self)

    def merged(self, shards: Sequence[Any]) -> Settings:
        """Those of shards put together, of which these are the first."""
        return replace(self, n_chains=sum(shard.n_chains for shard in shards))

    def tile(
        self,
        start: np.ndarray,
        normals: np.ndarray | None = None,
        device: Any = None,
        *,
        gathers: bool = True,
        keep_final: bool = False,
    ) -> Tile:
        """The whole run as one tile, for the CPU or a GPU, from start rows (n_rows, 1 or n_chains).

        Without ``gathers`` it keeps states alone; ``keep_final`` keeps all rows at the end.
        """
        stepping, grid = self.stepping.on(device), self.grid
        draws = stepping.draws(self.noise_dtype)
        options.refuse_too_many_draws(grid.last_step, max(draws.noise_dim, draws.uniform_dim, draws.picks))
        kernel, coefficients, cost = stepping.kernel(self, device)
        layout = layout_of(kernel) if device is None else "wide"
        observing = stepping.observing(self, device, layout) if gathers else None
        observer = None
        if observing is not None:
            observer = Observer(*observing, np.ascontiguousarray(grid.time(self.saves), float))
        return Tile(
            kernel, coefficients, draws, self.seed, self.first_chain, self.n_chains, grid.first_step, grid.n_steps,
            start, self.saves, self.keeps_states, self.gathering.all if gathers else (), cost,
            observer, self.histogram, normals,
            None if device is not None else stepping.data(self.dtype, self.noise_dtype), keep_final=keep_final,
            table=stepping.table(self), kept_rows=self.kept_rows, counted=self.counted,
        )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class ChainSettings(Settings):
    """Those of chains that need no more to be said than how they step.

    Gathered are statistics of the first rows, as many as the layout has, if ``gathers_state``, and of what is observed.
    """

    steps_by: Stepping
    gathers_state: bool = True

    @property
    def stepping(self) -> Stepping:
        """How chains step."""
        return self.steps_by

    @cached_property
    def gathering(self) -> Gathering:
        """Where in the gathered statistics is what."""
        state = (Gathered(self.layout),) * self.gathers_state
        n, observed = len(state), tuple(Gathered(ONE, i, True) for i in range(self.steps_by.n_observed))
        end = n + len(observed)
        return Gathering((*state, *observed), range(n), [], range(n, end), range(end, end))
