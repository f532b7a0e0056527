"""The exact law of a run on a Gaussian, of methods whose steps are linear there: mean and covariance at any iteration.

A step takes the rows r (positions and what the method carries) to A r + B z + c; A, B and c are found by derivatives of
the step's own expressions. So the law is that of the discrete chain, with its bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..trace import Expr, all_parts, derivative, evaluate, symbol
from ..trace.vectors import symbols
from .settings import Settings
from .targets.density import state_symbols


class Moments(NamedTuple):
    """Exact mean (n_times, dim) and covariance (n_times, dim, dim) of the positions."""

    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class LinearStep:
    """r' = A r + B z + c."""

    matrix: np.ndarray
    noise: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, s: Settings, step_size: float) -> LinearStep:
        """That of a run with this step size; ValueError where the step is not linear."""
        return cls.with_constants(s, s.stepping.constants(replace(s, step_sizes=np.array([step_size])))[0])

    @classmethod
    def with_constants(cls, s: Settings, constants: np.ndarray) -> LinearStep:
        """That of a run in a step with these constants; ValueError where the step is not linear."""
        chain = s.stepping
        rows, normals = symbols("x", chain.counted), symbols("z", chain.step.n_draws)
        outputs = chain.step.outputs[: chain.counted]
        return cls(*_linear(outputs, rows, normals, s, constants))

    def moments(self, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the rows after a step."""
        a = self.matrix
        return a @ mean + self.constant, a @ covariance @ a.T + self.noise @ self.noise.T


def _linear(
    outputs: Any, rows: list[Expr], normals: list[Expr], s: Settings, constants: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives by rows and by normals, and the value at zero, of outputs that are linear in both."""
    values: dict[Expr, Any] = {symbol(name): value for name, value in s.stepping.values(s.numbers).items()}
    values |= {symbol(name): float(c) for name, c in zip(s.stepping.constant_names, constants, strict=True)}
    free = set(rows) | set(normals) | {symbol(f"u{i}") for i in range(s.stepping.step.n_uniforms)}
    known: dict[Expr, Any] = {}

    def slopes(by: list[Expr]) -> np.ndarray:
        matrix = np.zeros((len(outputs), len(by)))
        for i, output in enumerate(outputs):
            for j, variable in enumerate(by):
                slope = derivative(output, variable)
                if any(part in free for part in all_parts([slope])):
                    raise ValueError(f"steps of {s.method!r} on {s.target!r} are not linear: their law is not known")
                matrix[i, j] = evaluate(slope, values, known)
        return matrix

    a, b = slopes(rows), slopes(normals)
    zeros = values | dict.fromkeys(free, 0.0)
    constant = np.array([float(evaluate(output, zeros)) for output in outputs])
    return a, b, constant


def moments(s: Settings) -> Moments:
    """Exact moments of the positions at the saved iterations, from a common start or from the target's law.

    Velocities start from their law. ValueError where steps are not linear or the start is not known.
    """
    if s.how.draws_rows:
        raise ValueError(f"steps of {s.method!r} draw rows of data: their law is not known")
    if s.start_law is None or s.step_sizes.ndim > 1:
        raise ValueError("the law is that of chains with a common start, or sampled ones, and common step sizes")
    constants = s.stepping.constants(s)
    mean, covariance = _start(s, constants[0])
    known: dict[bytes, LinearStep] = {}
    found, dim, rows = [], s.layout.dim, np.broadcast_to(constants, (s.n_steps, constants.shape[1]))
    at = 0
    for saved in s.saves - s.grid.first_step:
        for row in rows[at:saved]:
            key = row.tobytes()
            if key not in known:
                known[key] = LinearStep.with_constants(s, row)
            mean, covariance = known[key].moments(mean, covariance)
        at = saved
        found.append((mean[:dim], covariance[:dim, :dim]))
    return Moments(*(np.stack(part) for part in zip(*found, strict=True)))


def _start(s: Settings, constants: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the rows at the start."""
    assert s.start_law is not None
    x0, spread = s.start_law
    chain, x = s.stepping, state_symbols(s.layout.dim)
    point = chain.point(x, ())
    normals = list(point.z)[: s.how.start_normals * chain.dim]
    outputs = (*x, *s.how.start_rows(point))
    a, b, constant = _linear(outputs, list(x), normals, s, constants)
    return a @ x0 + constant, a @ spread @ a.T + b @ b.T
