"""What multilevel Monte Carlo returns, and what it tells about every level."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Level:
    """One level: estimates of E (f_l - f_{l-1}), of E f_l on the first one.

    Attributes
    ----------
    level, n_steps, n_paths : int
        Number of the level, steps of its (fine) grid, paths simulated.
    mean, variance : float
        Of the differences.
    fine_variance : float
        Of f on the level's own grid.
    cost : int
        Path-steps, those of the coarse paths included.
    n_nonfinite : int
        Paths that are left out because f is not finite on them.
    """

    level: int
    n_steps: int
    n_paths: int
    mean: float
    variance: float
    fine_variance: float
    cost: int
    n_nonfinite: int


@dataclass(frozen=True)
class Multilevel:
    """Result of `multilevel`.

    Attributes
    ----------
    value : float
        The estimate of E f.
    standard_error : float
        Its standard error.
    bias : float
        Estimated size of its bias, the discretisation error of the finest level.
    accuracy : float
        The root-mean-square error that was asked for.
    converged : bool
        Whether the finest level that was allowed has a bias that fits the accuracy.
    levels : tuple of Level
        The levels, coarsest first: level 0 or, where paths converge so slowly that coarse levels cost more than they
        save, the first that pays. The last one alone is plain Monte Carlo.
    alpha, beta : float
        Orders, in the step size, at which means and variances of the differences were seen to decay: the weak order
        and twice the strong order where f is smooth.
    cost : int
        Path-steps in all, also of levels that were tried and given up.
    plain_cost : int
        Path-steps that paths on the finest grid alone would need for the same accuracy.
    seed : int
        The seed, also where none was given.
    seconds : float
        Wall-clock time.
    """

    value: float
    standard_error: float
    bias: float
    accuracy: float
    converged: bool
    levels: tuple[Level, ...]
    alpha: float
    beta: float
    cost: int
    plain_cost: int
    seed: int
    seconds: float = field(compare=False)

    @property
    def error(self) -> float:
        """Estimated root-mean-square error, of bias and standard error together."""
        return math.hypot(self.standard_error, self.bias)

    def __repr__(self) -> str:
        reached = "" if self.converged else ", not converged"
        lines = [
            f"Multilevel: {self.value:.8g}, standard error {self.standard_error:.2g}, bias about {self.bias:.2g} "
            f"(accuracy {self.accuracy:g} asked for{reached})",
            f"{'level':>5} {'steps':>12} {'paths':>14} {'mean':>12} {'variance':>11} {'path-steps':>12}",
        ]
        lines += [
            f"{r.level:5} {r.n_steps:12,} {r.n_paths:14,} {r.mean:12.5g} {r.variance:11.3g} {r.cost:12.3g}"
            for r in self.levels
        ]
        lines.append(
            f"{self.cost:.3g} path-steps, {self.plain_cost:.3g} on the finest grid alone; orders {self.alpha:.2f} "
            f"(mean), {self.beta:.2f} (variance); seed {self.seed}; {self.seconds:.3g} s"
        )
        return "\n".join(lines)
