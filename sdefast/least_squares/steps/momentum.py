r"""An iteration of SGD with heavy-ball momentum: a velocity that forgets the gradients slowly.

.. math:: v_{k+1} = \mu v_k - \frac{g_k}{B} \sum_b \nabla\ell_b(\theta_k), \qquad
    \theta_{k+1} = \theta_k + v_{k+1}, \qquad v_0 = 0 .

The rows are those of an iteration without momentum, then the velocity.

Polyak, Some methods of speeding up the convergence of iteration methods, USSR Computational Mathematics and
Mathematical Physics 4, 1964.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...jit.emit import Step
from ...lazy import cached_property
from ...trace import as_expr, symbol
from ...trace.vectors import symbols
from .iteration import Iteration


@dataclass(frozen=True)
class MomentumIteration(Iteration):
    """SGD with the part ``momentum`` of the last move added to every move."""

    momentum: float = 0.0

    @property
    def n_rows(self) -> int:
        """Rows of the state."""
        return super().n_rows + self.dim

    @cached_property
    def is_built_in(self) -> bool:
        """Never: the loops know no velocity."""
        return False

    @cached_property
    def step(self) -> Step:
        """An iteration: the plain one, with the move that it makes taken as a push on the velocity."""
        plain, d = super().step, self.dim
        moved = [
            as_expr(symbol("p_momentum") * v + (new - old))
            for v, new, old in zip(symbols("x", d, first=super().n_rows), plain.outputs, symbols("x", d), strict=False)
        ]
        theta = [as_expr(old + v) for old, v in zip(symbols("x", d), moved, strict=True)]
        return replace(plain, outputs=(*theta, *plain.outputs[d:], *moved))

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Symbols of the step that are numbers of the problem."""
        return super().parameters | {"p_momentum": self.momentum}

    def threshold_warning(self, rates: np.ndarray) -> str | None:
        """Nothing: the thresholds that are known are those of SGD without momentum."""
        return None
