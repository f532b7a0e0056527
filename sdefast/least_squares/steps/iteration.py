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
        return np.concatenate([rows, rows]) if self.averaged else rows

    @cached_property
    def n_noises(self) -> int:
        """Normals of a sample that are noise."""
        return int(self.problem.noise_std > 0)

    @cached_property
    def is_built_in(self) -> bool:
        """Whether it runs in loops."""
        law = self.problem.inputs
        loops = law is None or (law.kind in _LAWS and self.coordinates.root is None)
        return loops and (law is None or self.dim * self.batch_size > _SHORT)

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What an iteration draws."""
        d, B, law, float32 = self.dim, self.batch_size, self.problem.inputs, noise_dtype.itemsize == 4
        if law is None:
            return Draws(0, float32=float32, picks=B)
        if isinstance(law, Normal):
            return Draws(B * (d + self.n_noises), float32=float32)
        return Draws(B * self.n_noises, B * d * (2 if isinstance(law, Student) else 1), float32=float32)

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
        if self.problem.data is None:
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
        new = [old + move for old, move in zip(delta, moves, strict=True)]
        constants = tuple(f"rate{i}" for i in range(d if self.per_parameter else 1))
        if self.averaged:  # the average of theta_0 to theta_k after iteration k
            weight = symbol("weight")
            new += [old + weight * (t - old) for old, t in zip(symbols("x", d, first=d), delta, strict=True)]
            constants += ("weight",)
        return Step(tuple(map(as_expr, new)), tuple(self.parameters), constants, draw.n_normals, draw.n_uniforms)

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Symbols of the step that are numbers of the problem, in the order of ``step.parameters``."""
        scales, root = self.coordinates.scales, self.coordinates.root
        values = {"p_noise": self.problem.noise_std}
        values |= {} if scales is None else numbered("p_scale", scales)
        return values | ({} if root is None else entries("p_root", root))

    def rate_constants(self, rates: np.ndarray, first_step: int, n_steps: int) -> np.ndarray:
        """Step sizes over the batch size, and with averaging the weights of the newest iterates."""
        if not self.averaged:
            return rates / self.batch_size
        weights = 1 / np.arange(first_step + 1.0, first_step + n_steps + 1)
        return np.column_stack([np.broadcast_to(rates / self.batch_size, (n_steps, rates.shape[1])), weights])

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
            self.averaged, "normal" if law is None else law.kind, law is None,
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
