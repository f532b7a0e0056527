"""An iteration of SGD, and the kernels that run it.

A run's rows are delta = theta - theta* (see coordinates.py) and, with averaging, its running average. An iteration
draws ``batch_size`` samples and does delta += (g / B) sum of x (xi - <x, delta>), xi = y - <theta*, x>. Short ones on
streams are written down as expressions, from which straight-line kernels for the CPU and the GPU are made; long ones
and those on data run in loops, in ``csrc/least_squares/``. Where both can run,
they have the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine.tiles import Data, Draws
from ...jit.emit import Step
from ...lazy import cached_property
from ...run.step import Kernel, Observing, refuse_rows, side_by_side
from ...run.step import Settings as RunSettings
from ...trace import Expr, as_expr, make, select, symbol
from ...trace.vectors import entries, numbered, symbols, times
from ..inputs import Normal, Rademacher, Student, Uniform
from ..problem import LeastSquares
from ..samples import rows_in_order
from .base import DescentStep, Settings

#: Parameters, samples and draws of an iteration in a loop at most: `largest_narrow_dim` and `most_narrow_draws` in
#: csrc/engine/job.hpp, `most_samples` in csrc/least_squares/streams.hpp.
MOST_PARAMETERS, MOST_SAMPLES, MOST_DRAWS = 8192, 1024, 131072

#: Inputs of an iteration up to which the compiled one is faster than the loop.
_SHORT = 16

#: `Law` in csrc/least_squares/streams.hpp.
_LAWS = {"normal": 0, "uniform": 1, "rademacher": 2}


@dataclass(frozen=True)
class Iteration(DescentStep):
    """SGD on a problem: ``per_parameter`` says whether each parameter has a step size of its own."""

    problem: LeastSquares
    batch_size: int
    per_parameter: bool = False
    averaged: bool = False
    shuffled: bool = False
    average_from: int = 0
    order: tuple[int, ...] = ()

    @property
    def n_parts(self) -> int:
        """Vectors of the state: theta - theta*, and its average."""
        return 1 + self.averaged

    @property
    def n_rows(self) -> int:
        """Rows of the state."""
        return self.dim * self.n_parts

    @property
    def n_errors(self) -> int:
        """Errors: of theta, and of the average."""
        return self.n_parts

    @cached_property
    def errors(self) -> tuple[Expr, ...]:
        """|theta - theta*|^2, of the average too where there is one."""
        return tuple(self.squared_norm(self.dim * part) for part in range(self.n_parts))

    def start(self, theta0: np.ndarray) -> np.ndarray:
        """Rows (n_rows, n) from parameters (n, d)."""
        rows = self.coordinates.rows(theta0)
        start = np.zeros((self.n_rows, rows.shape[1]))
        for part in range(self.n_parts):
            start[part * self.dim : (part + 1) * self.dim] = rows
        return start

    @cached_property
    def n_noises(self) -> int:
        """Normals of a sample that are noise."""
        problem = self.problem
        return int(problem.label_noise > 0 if problem.is_finite else problem.noise_std > 0)

    @cached_property
    def is_built_in(self) -> bool:
        """Whether it runs in loops."""
        law = self.problem.inputs
        loops = law is None or (law.kind in _LAWS and self.coordinates.root is None)
        return (
            loops
            and not self.order
            and not self.problem.is_penalised
            and (law is None or self.dim * self.batch_size > _SHORT)
        )

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What an iteration draws."""
        d, B, law, float32 = self.dim, self.batch_size, self.problem.inputs, noise_dtype.itemsize == 4
        if not self.is_built_in:
            return super().draws(noise_dtype)
        if law is None:
            return Draws(0, float32=float32, picks=B)
        if isinstance(law, Normal):
            return Draws(B * (d + self.n_noises), float32=float32)
        return Draws(B * self.n_noises, B * d, float32=float32)

    @property
    def cost(self) -> float:
        """Work of an iteration, in steps of a scalar model."""
        d, B = self.dim, self.batch_size
        if self.problem.is_finite:
            return max(B * d / 20, 1)
        return B * (d + 1) if self.is_built_in else super().cost

    # In loops ---------------------------------------------------------------------------------------------------

    def _header(self, constants: np.ndarray) -> np.ndarray:
        """Rows of coefficients as in csrc/least_squares/streams.hpp."""
        law, scales = self.problem.inputs, self.coordinates.scales
        low, high = law.parameters if isinstance(law, Uniform) else (0.0, 0.0)
        noise = 1.0 if law is None else self.problem.noise_std
        kind = 0 if law is None else _LAWS[law.kind]
        scaled = () if scales is None else scales
        n_rates = self.dim if self.per_parameter else 1
        weights = constants[:, n_rates:] if self.averaged else np.zeros((1, 1))
        fixed = np.array([[noise, self.batch_size, self.dim, kind, low, high - low]])
        sizes = np.array([[len(scaled), n_rates, *scaled]])
        return side_by_side(fixed, weights, sizes, constants[:, :n_rates])

    def data(self, dtype: np.dtype, noise_dtype: np.dtype) -> Data | None:
        """The rows that are picked: x, e = y - <theta*, x>, and zeros up to whole vectors of the state's type."""
        if self.problem.data is None or self.order:
            return None
        return Data(self.problem.padded_rows(noise_dtype, 64 // dtype.itemsize), self.dim, self.shuffled)

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
        if self.problem.ridge > 0:
            pulls = [symbol("p_ridge") * (symbol(f"p_star{i}") + old) for i, old in enumerate(delta)]
            moves = [move - B * rate * pull for move, rate, pull in zip(moves, rates, pulls, strict=True)]
        new = [old + move for old, move in zip(delta, moves, strict=True)]
        constants = tuple(f"rate{i}" for i in range(d if self.per_parameter else 1))
        if self.averaged:  # the average of theta_0 to theta_k after iteration k
            weight = symbol("weight")
            new += [old + weight * (t - old) for old, t in zip(symbols("x", d, first=d), delta, strict=True)]
            constants += ("weight",)
        constants += tuple(f"d{b}_{j}" for b in range(B) for j in range(d + 1)) if self.order else ()
        n_picks = 0 if self.order else draw.n_picks
        return Step(
            tuple(map(as_expr, new)), tuple(self.parameters), constants, draw.n_normals, draw.n_uniforms,
            picks=n_picks, columns=(d + 1) * (n_picks > 0),
        )  # fmt: skip

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Symbols of the step that are numbers of the problem, in the order of ``step.parameters``."""
        scales, root = self.coordinates.scales, self.coordinates.root
        problem = self.problem
        values = {"p_noise": problem.label_noise if problem.is_finite else problem.noise_std}
        if problem.ridge > 0:
            values |= {"p_ridge": problem.ridge} | numbered("p_star", problem.theta_star)
        values |= {} if scales is None else numbered("p_scale", scales)
        return values | ({} if root is None else entries("p_root", root))

    def rate_constants(self, rates: np.ndarray, first_step: int, n_steps: int) -> np.ndarray:
        """Step sizes over the batch size, and with averaging the weights of the newest iterates."""
        if not (self.averaged or self.order):
            return rates / self.batch_size
        columns = [np.broadcast_to(rates / self.batch_size, (n_steps, rates.shape[1]))]
        if self.averaged:
            columns.append(1 / np.maximum(np.arange(first_step + 1.0, first_step + n_steps + 1) - self.average_from, 1))
        if self.order:
            columns.append(self._rows_in_order(first_step, n_steps))
        return np.column_stack(columns)

    def _rows_in_order(self, first_step: int, n_steps: int) -> np.ndarray:
        """The rows of data of given order, (n_steps, batch_size (d + 1)): each x, then y - <theta*, x>."""
        assert self.problem.data is not None
        refuse_rows(n_steps, self.batch_size * (self.dim + 1))
        picked = rows_in_order(self.order, n_steps, self.batch_size, first_step)
        rows = np.column_stack([self.problem.data[0], self.problem._residuals])
        return np.asarray(rows[picked].reshape(n_steps, -1))

    def exact_error(self, run: RunSettings) -> np.ndarray:
        """The exact E|theta - theta*|^2 at the saved iterations; ValueError for rows in a given order."""
        if self.order:
            raise ValueError("rows in a given order are not random: there is no expected error to compare with")
        assert isinstance(run, Settings)
        return super().exact_error(run)

    def threshold_warning(self, rates: np.ndarray) -> str | None:
        """What is to be said of constant step sizes that no error survives, where rows are random."""
        return None if self.order else super().threshold_warning(rates)

    # Kernels ----------------------------------------------------------------------------------------------------

    def kernel(self, run: RunSettings, device: Any) -> Kernel:
        """The kernel of the run's iterations."""
        if not self.is_built_in:
            return super().kernel(run, device)
        assert isinstance(run, Settings)
        if device is None:
            n = run.n_steps if self.averaged else len(run.rates)
            refuse_rows(n, 9 + self.dim * (1 + self.per_parameter))
            name = "least_squares" if self.problem.inputs is not None else "least_squares_on_data"
            return Kernel(name, self._header(self.constants(run)), self.cost)
        program = self._gpu_kernel(len(run.rates) == 1, run.dtype.name, run.noise_dtype.name)
        return Kernel(program, run.rates / self.batch_size, self.cost)

    def _gpu_kernel(self, constant: bool, dtype: str, noise_dtype: str) -> Any:
        """The GPU's kernel of long iterations."""
        from ..cuda import kernels
        from ..cuda.shape import Shape

        law, scales = self.problem.inputs, self.coordinates.scales
        shape = Shape(
            self.dim, self.batch_size, self.problem.noise_std > 0, scales is not None, self.per_parameter,
            self.averaged, "normal" if law is None else law.kind, law is None, self.average_from,
        )  # fmt: skip
        data = self.problem.padded_rows(np.dtype(noise_dtype), 1) if law is None else None
        return kernels.least_squares(
            shape, dtype, noise_dtype, constant=constant, noise_std=self.problem.noise_std, scale=scales,
            bounds=(law.low, law.high) if isinstance(law, Uniform) else (0.0, 1.0), data=data,
        )  # fmt: skip

    def error_observer(self, basis: np.ndarray | None, dtype: str, device: Any, layout: str) -> Observing:
        """What computes the errors and, with a basis Q, Q times the first rows."""
        if not self.is_built_in:
            return super().error_observer(basis, dtype, device, layout)
        n = self.n_parts if basis is None else self.n_parts + self.dim
        matrix = np.zeros(0) if basis is None else basis.ravel()
        if device is not None:
            from ..cuda import kernels

            program = kernels.errors(self.dim, self.averaged, dtype, basis is not None)
            return Observing(program, n, matrix if len(matrix) else np.zeros(1))
        name = "squared_norms" if basis is None else "squared_norms_and_rotated"
        return Observing(name, n, np.array([self.dim, self.n_parts, *matrix], float))


class _Draw:
    """Samples of the inputs and of the noise, in the order of their draws."""

    def __init__(self, iteration: Iteration) -> None:
        self.problem, self.coordinates = iteration.problem, iteration.coordinates
        self.law, self.n_noises = self.problem.inputs, iteration.n_noises
        self.n_normals = self.n_uniforms = self.n_picks = 0

    def sample(self) -> tuple[list[Any], Any]:
        """An input, and what its label is off from what theta* says."""
        d = self.problem.dim
        if self.problem.is_finite:
            row = symbols(f"d{self.n_picks}_", d + 1)
            self.n_picks += 1
            return row[:d], row[d] + self._noise() if self.n_noises else row[d]
        x = self._correlated([self._normal() for _ in range(d)]) if isinstance(self.law, Normal) else self._inputs(d)
        return x, self._noise() if self.n_noises else as_expr(0.0)

    def _noise(self) -> Any:
        return symbol("p_noise") * self._normal()

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
        return times("p_root", root, z)

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
