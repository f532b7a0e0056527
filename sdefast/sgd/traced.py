"""Iterations that are written as expressions: what the runner asks of them, and the runner itself.

An iteration says in symbols what becomes of a run's rows; its kernels, for the CPU and for a GPU, are made of that.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checks
from ..engine.parts import ONE
from ..jit.compile import Program
from ..jit.emit import CLOCK, Step, observer_source, stepper_source
from ..trace import Expr, all_parts, as_expr, symbol
from ..where import Outcome, Where, progress_bar
from .problem import LeastSquares

if TYPE_CHECKING:
    from .descent import DescentSettings


class TracedIteration(ABC):
    """An iteration on a least-squares problem, for frozen data classes to derive from.

    The first rows of the state are the parameters theta. The constants of ``step``, which may differ from iteration to
    iteration, are the step sizes, ``rate0``, ``rate1``, ...: one, or one per parameter.
    """

    problem: LeastSquares
    batch_size: int
    per_parameter: bool

    averaged: ClassVar[bool] = False
    is_built_in: ClassVar[bool] = False

    @property
    @abstractmethod
    def step(self) -> Step:
        """An iteration."""

    @property
    @abstractmethod
    def errors(self) -> tuple[Expr, ...]:
        """What to observe: first of all |theta - theta*|^2."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, float]:
        """Symbols of the step that are numbers of the problem, in the order of ``step.parameters``."""

    @property
    def observed_parameters(self) -> dict[str, float]:
        """Symbols of ``errors`` that are numbers of the problem."""
        return self.parameters

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the expressions, which are made again."""
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    @property
    def n_rows(self) -> int:
        return len(self.step.outputs)

    @property
    def n_operations(self) -> int:
        return sum(bool(e.args) for e in all_parts(self.step.outputs))

    @property
    def parameter_values(self) -> np.ndarray:
        """The numbers of the problem that the observer takes."""
        return np.array(list(self.observed_parameters.values()))

    def coefficients(self, rates: np.ndarray) -> np.ndarray:
        """Rows of coefficients, for step sizes of shape (1 or n_steps, 1 or d)."""
        clock = np.zeros((len(rates), len(CLOCK)))
        clock[:, 1:3] = 1.0  # time is the iteration
        numbers = np.tile(list(self.parameters.values()), (len(rates), 1))
        return np.ascontiguousarray(np.hstack([clock, numbers, rates]))

    def kernel(
        self, rates: np.ndarray, n_steps: int, dtype: str, noise_dtype: str, device: Any
    ) -> tuple[Any, np.ndarray]:
        """The kernel of an iteration and its coefficients, for step sizes of shape (1 or n_steps, 1 or d)."""
        coefficients = self.coefficients(rates)
        if device is None:
            return Program("stepper", self._source, dtype, noise_dtype), coefficients
        from ..cuda import kernels

        return kernels.paths(self.step, dtype, noise_dtype, len(coefficients) == 1, False), coefficients

    @cached_property
    def _source(self) -> str:
        return stepper_source(self.step)

    def observer(self, dtype: str, device: Any) -> Any:
        """The kernel of what is observed."""
        names = tuple(self.observed_parameters)
        if device is None:
            return Program("observer", observer_source(self.errors, names, self.n_rows), dtype, dtype)
        from ..cuda import kernels

        return kernels.observer(self.errors, names, self.n_rows, dtype)


def symbols(name: str, n: int, first: int = 0) -> list[Expr]:
    """``name0``, ``name1``, ..."""
    return [symbol(f"{name}{i}") for i in range(first, first + n)]


def numbered(name: str, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """What the symbols ``name0``, ``name1``, ... stand for."""
    return {f"{name}{i}": float(value) for i, value in enumerate(values)}


def total(terms: Sequence[Any]) -> Expr:
    """A sum, from the first term to the last."""
    result = as_expr(0.0)
    for term in terms:
        result = as_expr(result + term)
    return result


def start_theta(problem: LeastSquares, theta0: Any, n_runs: int) -> np.ndarray:
    """Start values, (1, d) or (n_runs, d), checked."""
    d = problem.dim
    given = np.zeros(d) if theta0 is None else checks.array("theta0", theta0)
    if given.ndim == 0 and d == 1:
        given = given.reshape(1)
    if given.shape not in ((d,), (n_runs, d)):
        raise ValueError(f"theta0 must be of shape ({d},) or ({n_runs}, {d}), got {given.shape}")
    return given.reshape(-1, d)


def start_rows(theta: np.ndarray, n_rows: int, dtype: np.dtype) -> np.ndarray:
    """Start rows, (n_rows, 1) or (n_rows, n_runs): theta, and zeros in the rows that an iteration has besides."""
    start = np.zeros((n_rows, len(theta)), dtype)
    start[: theta.shape[1]] = theta.T
    if not np.isfinite(start).all():
        raise ValueError(f"theta0 must be finite in {dtype.name}")
    return start


def run(settings: DescentSettings, where: Where, name: str, progress: bool) -> tuple[Outcome, Any]:
    """Run an iteration: statistics over all runs, and the rows (n_times, n_rows, kept) of those that are kept."""
    start, n_runs, kept = settings.start, settings.n_runs, settings.kept
    with progress_bar(progress, name, n_runs * settings.n_steps, "iteration") as bar:
        gathered = where.run(settings.tile(start, n_runs, False, where.gpu), None if bar is None else bar.update)
    diverged = n_runs - int(ONE.total(gathered.nodes[1])[-1, 0])
    if diverged:
        warnings.warn(
            f"{diverged} of {n_runs} runs are no longer finite at iteration {settings.saves[-1]}; error and moments "
            "are over the others",
            RuntimeWarning,
            stacklevel=3,
        )
    if not kept:
        return gathered, None
    first = start if start.shape[1] == 1 else start[:, :kept]
    return gathered, where.run(settings.tile(first, kept, True, where.gpu), None).states
