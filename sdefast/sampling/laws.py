"""The exact law of a run on a Gaussian, of methods whose steps are linear there: mean and covariance at any iteration.

A step takes the rows r (positions and what the method carries) to A r + B z + c; A, B and c are found by derivatives of
the step's own expressions. So the law is that of the discrete chain, with its bias.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        """That of a run; ValueError where the step is not linear."""
        chain = s.stepping
        rows, normals = symbols("x", chain.counted), symbols("z", chain.step.n_draws)
        outputs = chain.step.outputs[: chain.counted]
        return cls(*_linear(outputs, rows, normals, s, step_size))

    def moments(self, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the rows after a step."""
        a = self.matrix
        return a @ mean + self.constant, a @ covariance @ a.T + self.noise @ self.noise.T


def _linear(
    outputs: Any, rows: list[Expr], normals: list[Expr], s: Settings, step_size: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives by rows and by normals, and the value at zero, of outputs that are linear in both."""
    values: dict[Expr, Any] = {symbol(name): value for name, value in s.stepping.values(s.numbers).items()}
    constants = s.how.constants(np.array([step_size]), s.options, s.temperature)
    values |= {symbol("step_size"): step_size, **{symbol(f"k{i}"): float(c[0]) for i, c in enumerate(constants)}}
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
    if (s.x0 is None and not s.sampled) or s.step_sizes.ndim > 1:
        raise ValueError("the law is that of chains with a common start, or sampled ones, and common step sizes")
    mean, covariance = _start(s)
    known: dict[float, LinearStep] = {}
    found, dim, sizes = [], s.layout.dim, np.broadcast_to(s.step_sizes, (s.n_steps,))
    at = 0
    for saved in s.saves - s.grid.first_step:
        for size in sizes[at:saved].tolist():
            if size not in known:
                known[size] = LinearStep.of(s, size)
            mean, covariance = known[size].moments(mean, covariance)
        at = saved
        found.append((mean[:dim], covariance[:dim, :dim]))
    return Moments(*(np.stack(part) for part in zip(*found, strict=True)))


def _start(s: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the rows at the start."""
    x0, spread = s.x0, np.zeros((s.layout.dim,) * 2)
    if s.sampled:
        x0, spread = s.target.mean, s.target.covariance  # type: ignore[assignment]
    chain, x = s.stepping, state_symbols(s.layout.dim)
    point = chain.point(x, ())
    normals = list(point.z)[: s.how.start_normals * chain.dim]
    outputs = (*x, *s.how.start_rows(point))
    a, b, constant = _linear(outputs, list(x), normals, s, float(s.step_sizes[0]))
    return a @ np.asarray(x0) + constant, a @ spread @ a.T + b @ b.T
