r"""Step sizes that are found during burn-in, by dual averaging of the acceptance of all chains together.

After round m of :math:`M` with mean acceptance :math:`\alpha_m`, where :math:`\delta` is aimed at,

.. math::
    \bar H_m &= \big(1 - \tfrac1{m + 10}\big) \bar H_{m-1} + \tfrac{\delta - \alpha_m}{m + 10}, \qquad
    \log h_{m+1} = \log 10 h_1 - \tfrac{\sqrt m}{0.05} \bar H_m, \\
    \log \bar h_m &= m^{-3/4} \log h_{m+1} + (1 - m^{-3/4}) \log \bar h_{m-1},

and the chains go on with :math:`\bar h_M` (Hoffman and Gelman, Journal of Machine Learning Research 15, 2014, section
3.2.1). Acceptance is merged over the chains as every statistic is, so that the steps that are found have the same bits
whatever ran them; they are recorded, and a run with the recorded ones adapts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..engine.grid import TimeGrid
from ..run.where import Where
from .result import Chains
from .settings import Settings

#: Rounds at most.
MOST_ROUNDS = 100


@dataclass
class DualAveraging:
    """The step size to try next, and its average."""

    first: float
    wanted: float
    error: float = 0.0
    log_average: float = 0.0
    rounds: int = 0

    def __post_init__(self) -> None:
        self.size = self.first

    def learn(self, acceptance: float) -> None:
        """What a round with the step ``size`` had."""
        self.rounds += 1
        m = self.rounds
        self.error += (self.wanted - acceptance - self.error) / (m + 10)
        log_size = math.log(10 * self.first) - math.sqrt(m) / 0.05 * self.error
        self.size = math.exp(log_size)
        self.log_average += m**-0.75 * (log_size - self.log_average)

    @property
    def average(self) -> float:
        """The step size that was found."""
        return math.exp(self.log_average)


def section(s: Settings, first: int, n_steps: int, sizes: np.ndarray) -> Settings:
    """Steps of a run from ``first`` on, with those step sizes."""
    return replace(s, grid=TimeGrid(0.0, first, n_steps, h=1.0), step_sizes=sizes)


def adapt(
    s: Settings, rows: np.ndarray, wanted: float, where: Where, progress: Callable[[int], object] | None
) -> tuple[Settings, np.ndarray]:
    """Run the burn-in; the settings with the step sizes that were found, and the rows after it."""
    chain, averaging = s.stepping, DualAveraging(float(s.step_sizes[0]), wanted)
    sizes, done = [], s.grid.first_step
    for part in np.array_split(np.arange(s.burn_in), min(s.burn_in, MOST_ROUNDS)):
        n, size = len(part), averaging.size
        own = section(s, done, n, np.array([size]))
        own = replace(own, saves=np.array([done + n]), burn_in=done, keeps_states=False, histogram=None)
        outcome = where.run(own.tile(rows, device=where.gpu, keep_final=True), progress)
        averaging.learn(Chains(own, where.cost(0.0), None, outcome.nodes).acceptance)
        assert outcome.final is not None
        rows = outcome.final
        rows[chain.counted] = 0  # acceptance and diagnostics are those of the steps to come
        rows[chain.diagnosed : chain.sized] = 0
        sizes += [size] * n
        done += n
    sizes += [averaging.average] * (s.n_steps - s.burn_in)
    return replace(s, step_sizes=np.array(sizes)), rows
