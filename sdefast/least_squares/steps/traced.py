"""What the runner asks of an iteration, and how iterations that are written as expressions answer.

It says in symbols what becomes of a run's rows; its kernels, for the CPU and for a GPU, are made of that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np

from ...engine.tiles import Compiled, Data, Draws
from ...jit.compile import Program
from ...jit.emit import CLOCK, Step, observer_source, stepper_source
from ...trace import Expr, all_parts, as_expr, symbol
from ..problem import LeastSquares
from .coordinates import Coordinates

#: Rows that a compiled iteration holds at most, `largest_dim` in csrc/engine/job.hpp.
MOST_ROWS = 64

#: Numbers of inputs of an iteration at most where it is compiled: more would take too long.
MOST_INPUTS = 512

#: A kernel's name, or a kernel that is compiled, and the numbers that it takes.
Kernel = tuple[str | Compiled | Any, np.ndarray]


class TracedIteration(ABC):
    """An iteration on a least-squares problem, for frozen data classes to derive from.

    The first rows of the state are theta - theta* in `coordinates`. The constants of ``step``, which may differ from
    iteration to iteration, are the step sizes, ``rate0``, ``rate1``, ...: one, or one per parameter.
    """

    problem: LeastSquares
    batch_size: int
    per_parameter: bool

    #: Whether the state holds an average too.
    averaged = False

    #: Whether rows of data are drawn in shuffled epochs.
    shuffled = False

    #: Whether the state is nothing but the error.
    is_error = False

    @property
    @abstractmethod
    def step(self) -> Step:
        """An iteration."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, float]:
        """Symbols of the step that are numbers of the problem, in the order of ``step.parameters``."""

    @property
    def observed(self) -> tuple[Expr, ...]:
        """What to observe: first of all |theta - theta*|^2."""
        return (self.squared_norm(0),)

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the expressions, which are made again."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    # Rows -------------------------------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return self.problem.dim

    @property
    def n_rows(self) -> int:
        """Rows of the state."""
        return len(self.step.outputs)

    @property
    def n_observed(self) -> int:
        """Numbers that are observed."""
        return len(self.observed)

    @cached_property
    def coordinates(self) -> Coordinates:
        """What the rows mean."""
        return Coordinates.of(self.problem, self.per_parameter)

    def start(self, theta0: np.ndarray) -> np.ndarray:
        """Rows (n_rows, n) from parameters (n, d); those besides theta - theta* begin with zero."""
        start = np.zeros((self.n_rows, len(theta0)))
        start[: self.dim] = self.coordinates.rows(theta0)
        return start

    def squared_norm(self, first_row: int) -> Expr:
        """The square of a vector of rows."""
        return total([row * row for row in symbols("x", self.dim, first=first_row)])

    # What the engine needs to know ------------------------------------------------------------------------------

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What an iteration draws."""
        return Draws(self.step.n_draws, self.step.n_uniforms, float32=noise_dtype.itemsize == 4)

    @property
    def cost(self) -> float:
        """Work of an iteration, in steps of a scalar model."""
        operations = sum(bool(e.args) for e in all_parts(self.step.outputs))
        return max(operations / 16, self.step.n_draws, self.step.n_uniforms, 1)

    @property
    def n_coefficients(self) -> int:
        """Numbers in a row of coefficients, about."""
        return len(CLOCK) + len(self.parameters) + self.dim

    def data(self, dtype: np.dtype, noise_dtype: np.dtype) -> Data | None:
        """Rows that the iteration draws from, if it does."""
        return None

    def constants(self, rates: np.ndarray, n_steps: int) -> np.ndarray:
        """Values of the step's constants, of shape (1 or n_steps, number), for step sizes (1 or n_steps, 1 or d)."""
        return rates

    def coefficients(self, rates: np.ndarray, n_steps: int) -> np.ndarray:
        """Rows of coefficients, for step sizes of shape (1 or n_steps, 1 or d)."""
        constants = self.constants(rates, n_steps)
        clock = np.zeros((len(constants), len(CLOCK)))
        clock[:, 1:3] = 1.0  # time is the iteration
        numbers = np.tile(list(self.parameters.values()), (len(constants), 1))
        return np.ascontiguousarray(np.hstack([clock, numbers, constants]))

    # Kernels ----------------------------------------------------------------------------------------------------

    def kernel(self, rates: np.ndarray, n_steps: int, dtype: str, noise_dtype: str, device: Any) -> Kernel:
        """The kernel of an iteration and its coefficients, for step sizes of shape (1 or n_steps, 1 or d)."""
        coefficients = self.coefficients(rates, n_steps)
        if device is None:
            return Program("stepper", self._source, dtype, noise_dtype), coefficients
        from ...cuda import kernels

        return kernels.paths(self.step, dtype, noise_dtype, len(coefficients) == 1, False), coefficients

    @cached_property
    def _source(self) -> str:
        return stepper_source(self.step)

    def observer(self, dtype: str, device: Any) -> Kernel:
        """The kernel of what is observed."""
        return self._observer(self.observed, dtype, device)

    def turned(self, dtype: str, device: Any) -> Kernel | None:
        """What observes theta - theta* where the rows are others."""
        if self.coordinates.basis is None:
            return None
        rows = symbols("x", self.dim)
        outputs = [
            total([q * row for q, row in zip(own, rows, strict=True)]) for own in self.coordinates.basis.tolist()
        ]
        return self._observer(tuple(outputs), dtype, device)

    def _observer(self, outputs: tuple[Expr, ...], dtype: str, device: Any) -> Kernel:
        nothing = np.zeros(1)
        if device is None:
            return Program("observer", observer_source(outputs, (), self.n_rows), dtype, dtype), nothing
        from ...cuda import kernels

        return kernels.observer(outputs, (), self.n_rows, dtype), nothing


def symbols(name: str, n: int, first: int = 0) -> list[Expr]:
    """``name0``, ``name1``, ..."""
    return [symbol(f"{name}{i}") for i in range(first, first + n)]


def numbered(name: str, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """What the symbols ``name0``, ``name1``, ... stand for."""
    return {f"{name}{i}": float(value) for i, value in enumerate(values)}


def entries(name: str, matrix: np.ndarray) -> dict[str, float]:
    """What the symbols ``name0_0``, ... stand for; entries that are 0 or 1 have none."""
    return {f"{name}{i}_{j}": float(v) for (i, j), v in np.ndenumerate(matrix) if v not in (0, 1)}


def times(name: str, matrix: np.ndarray, vector: Sequence[Any]) -> list[Any]:
    """A matrix times a vector, its `entries` as symbols."""
    rows: list[list[Any]] = [[] for _ in matrix]
    for i, j in np.argwhere(matrix).tolist():
        rows[i].append(vector[j] if matrix[i, j] == 1 else symbol(f"{name}{i}_{j}") * vector[j])
    return [total(terms) for terms in rows]


def total(terms: Sequence[Any]) -> Expr:
    """A sum, from the first term to the last."""
    result = as_expr(0.0)
    for term in terms:
        result = as_expr(result + term)
    return result
