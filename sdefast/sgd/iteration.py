"""An iteration of SGD as expressions, from which kernels for the CPU and the GPU are made.

A run's rows are the parameters theta and, with averaging, their running average. An iteration draws ``batch_size``
samples (x, y), y = <theta*, x> + noise_std xi, and does theta += (g / B) sum of x (y - <theta, x>).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..jit.compile import Program
from ..jit.emit import CLOCK, Step, observer_source, stepper_source
from ..trace import Expr, all_parts, as_expr, make, select, symbol
from .inputs import Normal, Rademacher, Student, Uniform
from .problem import LeastSquares

#: Rows that a kernel holds at most, `largest_dim` in csrc/engine/job.hpp.
MOST_ROWS = 64

#: Draws of an iteration at most, `noise_dim` in csrc/bindings/bind_run.cpp.
MOST_DRAWS = 4096

#: Numbers of inputs of an iteration at most where it is compiled: more would take too long.
MOST_INPUTS = 512

#: Up to so many the compiled iteration is faster than the built-in one.
_SHORT = 16


@dataclass(frozen=True)
class Iteration:
    """SGD on a streamed problem: ``per_parameter`` says whether each parameter has a step size of its own."""

    problem: LeastSquares
    batch_size: int
    per_parameter: bool
    averaged: bool

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the expressions, which are made again."""
        return Iteration, (self.problem, self.batch_size, self.per_parameter, self.averaged)

    @property
    def n_rows(self) -> int:
        return self.problem.dim * (1 + self.averaged)

    @cached_property
    def step(self) -> Step:
        """An iteration."""
        d, B = self.problem.dim, self.batch_size
        theta, star = symbols("x", d), symbols("p_star", d)
        draw = _Draw(self)
        total: list[Any] = [0.0] * d
        for _ in range(B):
            x, noise = draw.sample()
            residual = noise
            for xj, old, best in zip(x, theta, star, strict=True):
                residual = residual + xj * (best - old)
            total = [t + xj * residual for t, xj in zip(total, x, strict=True)]
        rates = symbols("rate", d) if self.per_parameter else symbols("rate", 1) * d
        new = [old + rate * t for old, rate, t in zip(theta, rates, total, strict=True)]
        constants = tuple(f"rate{j}" for j in range(d if self.per_parameter else 1))
        if self.averaged:  # the average of theta_0 to theta_k after iteration k
            weight = symbol("weight")
            new += [old + weight * (t - old) for old, t in zip(symbols("x", d, first=d), theta, strict=True)]
            constants += ("weight",)
        names = tuple(self._parameters)
        return Step(tuple(map(as_expr, new)), names, constants, draw.n_normals, draw.n_uniforms)

    @property
    def n_operations(self) -> int:
        return sum(bool(e.args) for e in all_parts(self.step.outputs))

    @cached_property
    def _parameters(self) -> dict[str, float]:
        """Symbols that are numbers of the problem."""
        problem = self.problem
        values = {f"p_star{j}": float(t) for j, t in enumerate(problem.theta_star)}
        values["p_noise"] = problem.noise_std
        if self.root is not None:
            values |= {f"p_root{i}_{j}": float(v) for (i, j), v in np.ndenumerate(self.root) if v != 0}
        return values

    @cached_property
    def root(self) -> np.ndarray | None:
        """R with R R' = H where inputs are normal and H is not the identity; triangular if H is not singular."""
        H = self.problem.covariance
        if H is None or np.array_equal(H, np.eye(len(H))):
            return None
        try:
            return np.linalg.cholesky(H)
        except np.linalg.LinAlgError:
            values, vectors = np.linalg.eigh(H)
            return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def coefficients(self, rates: np.ndarray, n_steps: int) -> np.ndarray:
        """Rows of coefficients, for step sizes of shape (1 or n_steps, 1 or d)."""
        n = n_steps if self.averaged else len(rates)
        clock = np.zeros((n, len(CLOCK)))
        clock[:, 1:3] = 1.0  # time is the iteration
        columns = [clock, np.tile(list(self._parameters.values()), (n, 1))]
        columns.append(np.broadcast_to(rates / self.batch_size, (n, rates.shape[1])))
        if self.averaged:
            columns.append(1 / np.arange(1.0, n_steps + 1)[:, None])
        return np.ascontiguousarray(np.hstack(columns))

    @property
    def parameter_values(self) -> np.ndarray:
        """The numbers of the problem, in the order of the kernels."""
        return np.array(list(self._parameters.values()))

    @cached_property
    def errors(self) -> tuple[Expr, ...]:
        """|theta - theta*|^2, of the average too where there is one."""
        d, star = self.problem.dim, symbols("p_star", self.problem.dim)
        found = []
        for first in range(0, self.n_rows, d):
            total = as_expr(0.0)
            for row, best in zip(symbols("x", d, first=first), star, strict=True):
                total = total + (row - best) * (row - best)
            found.append(total)
        return tuple(found)

    @property
    def is_built_in(self) -> bool:
        """Whether the CPU runs it by ``csrc/models/least_squares.hpp``: in loops, where straight code is long."""
        is_long = self.problem.dim * self.batch_size > _SHORT
        return is_long and isinstance(self.problem.inputs, Normal) and self.root is None and not self.averaged

    def kernel(
        self, rates: np.ndarray, n_steps: int, dtype: str, noise_dtype: str, device: Any
    ) -> tuple[Any, np.ndarray]:
        """The kernel of an iteration and its coefficients, for step sizes of shape (1 or n_steps, 1 or d)."""
        if device is None and self.is_built_in:
            fixed = [self.problem.noise_std, self.batch_size, *self.problem.theta_star]
            rows = np.broadcast_to(rates / self.batch_size, (len(rates), self.problem.dim))
            return "least_squares", np.ascontiguousarray(np.hstack([np.tile(fixed, (len(rates), 1)), rows]))
        coefficients = self.coefficients(rates, n_steps)
        if device is None:
            return Program("stepper", stepper_source(self.step), dtype, noise_dtype), coefficients
        from ..cuda import kernels

        return kernels.paths(self.step, dtype, noise_dtype, len(coefficients) == 1, False), coefficients

    def observer(self, dtype: str, device: Any) -> Any:
        """The kernel of the errors."""
        names = tuple(self._parameters)
        if device is None:
            return Program("observer", observer_source(self.errors, names, self.n_rows), dtype, dtype)
        from ..cuda import kernels

        return kernels.observer(self.errors, names, self.n_rows, dtype)


def symbols(name: str, n: int, first: int = 0) -> list[Expr]:
    """``name0``, ``name1``, ..."""
    return [symbol(f"{name}{i}") for i in range(first, first + n)]


class _Draw:
    """Samples of the inputs and of the noise, in the order of their draws."""

    def __init__(self, iteration: Iteration) -> None:
        self.problem, self.root = iteration.problem, iteration.root
        self.law = self.problem.inputs
        self.n_normals = self.n_uniforms = 0

    def sample(self) -> tuple[list[Any], Any]:
        """An input and noise_std times a normal."""
        d = self.problem.dim
        x = self._correlated([self._normal() for _ in range(d)]) if isinstance(self.law, Normal) else self._inputs(d)
        noise = symbol("p_noise") * self._normal() if self.problem.noise_std > 0 else as_expr(0.0)
        return x, noise

    def _normal(self) -> Expr:
        self.n_normals += 1
        return symbol(f"z{self.n_normals - 1}")

    def _uniform(self) -> Expr:
        self.n_uniforms += 1
        return symbol(f"u{self.n_uniforms - 1}")

    def _correlated(self, z: list[Expr]) -> list[Any]:
        if self.root is None:
            return z
        rows = []
        for i in range(len(z)):
            total: Any = 0.0
            for j in range(len(z)):
                if self.root[i, j] != 0:
                    total = total + symbol(f"p_root{i}_{j}") * z[j]
            rows.append(total)
        return rows

    def _inputs(self, d: int) -> list[Any]:
        law = self.law
        if isinstance(law, Uniform):
            return [law.low + (law.high - law.low) * self._uniform() for _ in range(d)]
        if isinstance(law, Rademacher):
            return [select(self._uniform() < 0.5, -1.0, 1.0) for _ in range(d)]
        if isinstance(law, Student):
            return [self._student(law.df) for _ in range(d)]
        raise ValueError(f"sgd draws Normal, Uniform, Rademacher and Student inputs, not {law!r}")

    def _student(self, df: float) -> Any:
        """The polar method of Bailey, Mathematics of Computation 62, 1994."""
        u, angle = self._uniform(), self._uniform()
        radius = make("sqrt", as_expr(df * (make("pow", u, as_expr(-2 / df)) - 1)))
        return radius * make("cos", as_expr(2 * math.pi * angle))
