"""An iteration of SGD, and the kernels that run it.

A run's rows are delta = theta - theta* (see coordinates.py) and, with averaging, its running average. An iteration
draws ``batch_size`` samples and does delta += (g / B) sum of x (xi - <x, delta>), xi = y - <theta*, x>. Short ones on
streams are written down as expressions, from which straight-line kernels for the CPU and the GPU are made; long ones
and those on data run in loops, in ``csrc/models/least_squares.hpp`` and ``least_squares_data.hpp``. Where both can run,
they have the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.tiles import Compiled, Data, Draws
from ..jit.compile import Program
from ..jit.emit import CLOCK, Step, observer_source, stepper_source
from ..trace import Expr, all_parts, as_expr, make, select, symbol
from .coordinates import Coordinates
from .inputs import Normal, Rademacher, Student, Uniform
from .problem import LeastSquares

#: Rows that a compiled iteration holds at most, `largest_dim` in csrc/engine/job.hpp.
MOST_ROWS = 64

#: Numbers of inputs of an iteration at most where it is compiled: more would take too long.
MOST_INPUTS = 512

#: Parameters, samples and draws of an iteration in a loop at most: `largest_narrow_dim` and `most_narrow_draws` in
#: csrc/engine/job.hpp, `most_samples` in csrc/models/least_squares.hpp.
MOST_PARAMETERS, MOST_SAMPLES, MOST_DRAWS = 8192, 1024, 131072

#: Inputs of an iteration up to which the compiled one is faster than the loop.
_SHORT = 16

#: `Law` in csrc/models/least_squares.hpp.
_LAWS = {"normal": 0, "uniform": 1, "rademacher": 2}


@dataclass(frozen=True)
class Iteration:
    """SGD on a problem: ``per_parameter`` says whether each parameter has a step size of its own."""

    problem: LeastSquares
    batch_size: int
    per_parameter: bool = False
    averaged: bool = False
    shuffled: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the expressions, which are made again."""
        return Iteration, (self.problem, self.batch_size, self.per_parameter, self.averaged, self.shuffled)

    @property
    def dim(self) -> int:
        """Components of a vector of the state."""
        return self.problem.dim

    @property
    def n_parts(self) -> int:
        """Vectors of the state: delta, and its average."""
        return 1 + self.averaged

    @cached_property
    def coordinates(self) -> Coordinates:
        """What the rows mean."""
        return Coordinates.of(self.problem, self.per_parameter)

    def start(self, theta0: np.ndarray) -> np.ndarray:
        """Rows from parameters (n, d)."""
        rows = self.coordinates.rows(theta0)
        return np.concatenate([rows] * self.n_parts)

    @cached_property
    def n_noises(self) -> int:
        """Normals of a sample that are noise."""
        return int(self.problem.noise_std > 0)

    @cached_property
    def is_built_in(self) -> bool:
        """Whether the CPU runs it in loops."""
        law = self.problem.inputs
        loops = law is None or (law.kind in _LAWS and self.coordinates.root is None)
        return loops and (law is None or self.dim * self.batch_size > _SHORT)

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What an iteration draws; picks of rows take the place of normals."""
        d, B, law, float32 = self.dim, self.batch_size, self.problem.inputs, noise_dtype.itemsize == 4
        if law is None:
            return Draws(B, float32=float32)
        if isinstance(law, Normal):
            return Draws(B * (d + self.n_noises), float32=float32)
        return Draws(B * self.n_noises, B * d * (2 if isinstance(law, Student) else 1), float32=float32)

    @property
    def cost(self) -> float:
        """Work of an iteration, in steps of a scalar model."""
        d, B = self.dim, self.batch_size
        if self.problem.is_finite:
            return max(B * d / 20, 1)
        if self.is_built_in:
            return B * (d + 1)
        operations = sum(bool(e.args) for e in all_parts(self.step.outputs))
        draws = self.draws(np.dtype(float))
        return max(operations / 16, draws.noise_dim, draws.uniform_dim, 1)

    # In loops ---------------------------------------------------------------------------------------------------

    def _header(self, rates: np.ndarray, n_steps: int) -> np.ndarray:
        """Rows of coefficients as in csrc/models/least_squares.hpp."""
        law, scales = self.problem.inputs, self.coordinates.scales
        low, high = law.parameters if isinstance(law, Uniform) else (0.0, 0.0)
        noise = 1.0 if law is None else self.problem.noise_std
        kind = 0 if law is None else _LAWS[law.kind]
        n = n_steps if self.averaged else len(rates)
        weights = 1 / np.arange(1.0, n_steps + 1) if self.averaged else np.zeros(n)
        scaled = np.zeros(0) if scales is None else scales
        fixed = [noise, self.batch_size, self.dim, kind, low, high - low]
        sizes = [len(scaled), rates.shape[1], *scaled]
        return np.ascontiguousarray(
            np.hstack(
                [
                    np.tile(fixed, (n, 1)),
                    weights[:, None],
                    np.tile(sizes, (n, 1)),
                    np.broadcast_to(rates / self.batch_size, (n, rates.shape[1])),
                ]
            )
        )

    @property
    def n_coefficients(self) -> int:
        """Numbers in a row of coefficients, about."""
        scales = self.coordinates.scales
        return 9 + (0 if scales is None else len(scales)) + (self.dim if self.per_parameter else 1)

    def data(self, dtype: np.dtype, noise_dtype: np.dtype) -> Data | None:
        """The rows that are picked: x, e = y - <theta*, x>, and zeros up to whole vectors of the state's type."""
        if self.problem.data is None:
            return None
        X, y = self.problem.data
        vector = 64 // dtype.itemsize
        width = -(-(self.dim + 1) // vector) * vector
        rows = aligned((len(X), width), noise_dtype)
        rows[:, : self.dim] = X
        rows[:, self.dim] = y - X @ self.problem.theta_star
        if not np.isfinite(rows).all():
            raise ValueError(f"data must be finite in {noise_dtype.name}")
        return Data(rows, self.dim, self.shuffled)

    # Compiled ---------------------------------------------------------------------------------------------------

    @cached_property
    def step(self) -> Step:
        """An iteration."""
        d, B = self.dim, self.batch_size
        delta = symbols("x", d)
        draw = _Draw(self)
        total: list[Any] = [0.0] * d
        rates = symbols("rate", d) if self.per_parameter else symbols("rate", 1) * d
        for _ in range(B):
            x, noise = draw.sample()
            residual = noise
            for xi, old in zip(x, delta, strict=True):
                residual = residual - xi * old
            if B == 1:
                total = [xi * (rate * residual) for xi, rate in zip(x, rates, strict=True)]
            else:
                total = [t + xi * residual for t, xi in zip(total, x, strict=True)]
        moves = total if B == 1 else [rate * t for rate, t in zip(rates, total, strict=True)]
        new = [old + move for old, move in zip(delta, moves, strict=True)]
        constants = tuple(f"rate{i}" for i in range(d if self.per_parameter else 1))
        if self.averaged:  # the average of theta_0 to theta_k after iteration k
            weight = symbol("weight")
            new += [old + weight * (t - old) for old, t in zip(symbols("x", d, first=d), delta, strict=True)]
            constants += ("weight",)
        return Step(tuple(map(as_expr, new)), tuple(self._parameters), constants, draw.n_normals, draw.n_uniforms)

    @cached_property
    def _parameters(self) -> dict[str, float]:
        """Symbols that are numbers of the problem."""
        scales, root = self.coordinates.scales, self.coordinates.root
        values = {"p_noise": self.problem.noise_std}
        if scales is not None:
            values |= {f"p_scale{i}": float(v) for i, v in enumerate(scales)}
        if root is not None:
            values |= {f"p_root{i}_{j}": float(v) for (i, j), v in np.ndenumerate(root) if v != 0}
        return values

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

    # Kernels ----------------------------------------------------------------------------------------------------

    def kernel(
        self, rates: np.ndarray, n_steps: int, dtype: str, noise_dtype: str, device: Any
    ) -> tuple[str | Compiled | Any, np.ndarray]:
        """The kernel of an iteration and its coefficients, for step sizes of shape (1 or n_steps, 1 or d)."""
        if device is None and self.is_built_in:
            return "least_squares", self._header(rates, n_steps)
        coefficients = self.coefficients(rates, n_steps)
        if device is None:
            return Program("stepper", stepper_source(self.step), dtype, noise_dtype), coefficients
        from ..cuda import kernels

        return kernels.paths(self.step, dtype, noise_dtype, len(coefficients) == 1, False), coefficients

    def errors(self, dtype: str, device: Any) -> tuple[str | Compiled | Any, np.ndarray]:
        """What observes |theta - theta*|^2, of the average too where there is one, and its parameters."""
        if device is None and self.is_built_in:
            return "squared_norms", np.array([self.dim, self.n_parts], float)
        lengths = []
        for first in range(0, self.dim * self.n_parts, self.dim):
            total = as_expr(0.0)
            for row in symbols("x", self.dim, first=first):
                total = total + row * row
            lengths.append(total)
        return self._observer(tuple(lengths), dtype, device)

    def turned(self, dtype: str, device: Any) -> tuple[str | Compiled | Any, np.ndarray] | None:
        """What observes theta - theta* where the rows are turned, and its parameters."""
        basis = self.coordinates.basis
        if basis is None:
            return None
        if device is None and self.is_built_in:
            return "rotated", np.array([self.dim, *basis.ravel()], float)
        rows = symbols("x", self.dim)
        outputs = []
        for own in basis.tolist():
            total = as_expr(0.0)
            for q, row in zip(own, rows, strict=True):
                total = total + q * row
            outputs.append(total)
        return self._observer(tuple(outputs), dtype, device)

    def _observer(self, outputs: tuple[Expr, ...], dtype: str, device: Any) -> tuple[Any, np.ndarray]:
        n_rows, nothing = self.dim * self.n_parts, np.zeros(1)
        if device is None:
            return Program("observer", observer_source(outputs, (), n_rows), dtype, dtype), nothing
        from ..cuda import kernels

        return kernels.observer(outputs, (), n_rows, dtype), nothing


def symbols(name: str, n: int, first: int = 0) -> list[Expr]:
    """``name0``, ``name1``, ..."""
    return [symbol(f"{name}{i}") for i in range(first, first + n)]


def aligned(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Zeros whose rows begin with cache lines if their length is one of lines."""
    n, line = math.prod(shape), 64 // dtype.itemsize
    memory = np.zeros(n + line, dtype)
    first = -memory.ctypes.data // dtype.itemsize % line
    return memory[first : first + n].reshape(shape)


class _Draw:
    """Samples of the inputs and of the noise, in the order of their draws."""

    def __init__(self, iteration: Iteration) -> None:
        self.problem, self.coordinates = iteration.problem, iteration.coordinates
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
        scales, root = self.coordinates.scales, self.coordinates.root
        if scales is not None:
            return [symbol(f"p_scale{i}") * zi for i, zi in enumerate(z)]
        if root is None:
            return z
        rows = []
        for i in range(len(z)):
            total: Any = 0.0
            for j in range(len(z)):
                if root[i, j] != 0:
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
