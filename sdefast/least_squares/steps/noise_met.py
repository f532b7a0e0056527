r"""SGD that keeps the squares of the gradient noise that it meets, of which weak errors are made with little variance.

See `sdefast.least_squares.experiments.weak_errors` for why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...jit.emit import Step
from ...lazy import cached_property
from ...trace import Expr, as_expr, symbol
from ...trace.vectors import numbered, symbols, total
from ..problem import LeastSquares
from .base import DescentStep
from .coordinates import Coordinates


@dataclass(frozen=True)
class NoiseIteration(DescentStep):
    """SGD with a diagonal H, and rows for the squares of the gradient noise that a run meets.

    There is one such row for every eigenvalue h of H: V <- (1 - g h)^2 V + g^2 sum e_i^2, over the directions i with
    that eigenvalue. What is observed are |theta - theta*|^2 and the sum of these rows.
    """

    problem: LeastSquares
    batch_size: int
    per_parameter: bool = False

    @cached_property
    def _curvatures(self) -> np.ndarray:
        """The different eigenvalues."""
        return np.unique(np.diag(self.problem.hessian))

    @cached_property
    def step(self) -> Step:
        """An iteration."""
        d, curvatures, n = self.problem.dim, self._curvatures.tolist(), 0
        which = [curvatures.index(h) for h in np.diag(self.problem.hessian).tolist()]
        delta = symbols("x", d)
        sums: list[Any] = [0.0] * d
        for _ in range(self.batch_size):
            x = [symbol(f"p_root{which[j]}") * symbol(f"z{n + j}") for j in range(d)]
            residual = symbol("p_noise") * symbol(f"z{n + d}")
            for xj, old in zip(x, delta, strict=True):
                residual = residual - xj * old
            sums = [s + xj * residual for s, xj in zip(sums, x, strict=True)]
            n += d + 1
        rate, curvature = symbol("rate0"), symbols("p_h", len(curvatures))
        moves = [rate * (s * symbol("p_share")) for s in sums]
        noises = [m + (rate * curvature[k]) * old for m, k, old in zip(moves, which, delta, strict=True)]
        new = [old + m for old, m in zip(delta, moves, strict=True)]
        for k, old in enumerate(symbols("x", len(curvatures), first=d)):
            decay = 1 - rate * curvature[k]
            new.append(total([(decay * decay) * old, *(e * e for e, w in zip(noises, which, strict=True) if w == k)]))
        return Step(tuple(map(as_expr, new)), tuple(self.parameters), ("rate0",), n)

    @cached_property
    def coordinates(self) -> Coordinates:
        return Coordinates(self.problem.theta_star)

    @property
    def errors(self) -> tuple[Expr, ...]:
        return self.squared_norm(0), total(symbols("x", len(self._curvatures), first=self.dim))

    @cached_property
    def parameters(self) -> dict[str, float]:
        values = numbered("p_h", self._curvatures) | numbered("p_root", np.sqrt(self._curvatures))
        return values | {"p_noise": self.problem.noise_std, "p_share": 1 / self.batch_size}
