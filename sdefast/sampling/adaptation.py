r"""Step sizes that are found during burn-in, by dual averaging of the acceptance of all chains together.

After round m of :math:`M` with mean acceptance :math:`\alpha_m`, where :math:`\delta` is aimed at,

.. math::
    \bar H_m &= \big(1 - \tfrac1{m + 10}\big) \bar H_{m-1} + \tfrac{\delta - \alpha_m}{m + 10}, \qquad
    \log h_{m+1} = \log 10 h_1 - \tfrac{\sqrt m}{0.05} \bar H_m, \\
    \log \bar h_m &= m^{-3/4} \log h_{m+1} + (1 - m^{-3/4}) \log \bar h_{m-1},

and the chains go on with :math:`\bar h_M` (Hoffman and Gelman, Journal of Machine Learning Research 15, 2014, section
3.2.1). Acceptance is merged over the chains as every statistic is, so that the steps that are found have the same bits
whatever ran them; they are recorded, and a run with the recorded ones adapts nothing. A checkpoint keeps whole rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..engine.grid import TimeGrid
from ..engine.tiles import Tile
from ..run.checkpoint import Checkpoint
from ..run.compare import digest
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


class Rounds:
    """The rounds of a burn-in that are done: their acceptances, and the rows after them; in a checkpoint, if any."""

    def __init__(self, keeping: Checkpoint, first: Tile, rows: np.ndarray) -> None:
        self.keeping, self.acceptances, self.rows = keeping, np.zeros(0), rows
        self.own = b"" if keeping.path is None else bytes.fromhex(digest(first))
        found = keeping.done("adaptation")
        if found is None:
            return
        if found[: len(self.own)].tobytes() != self.own:
            raise keeping.of_another_call("functions or starts")
        shape = first.start.shape[0], first.n_chains
        n = math.prod(shape) * rows.itemsize
        self.acceptances = found[len(self.own) : -n].view(float)
        self.rows = found[-n:].view(rows.dtype).reshape(shape)

    def add(self, acceptance: float, rows: np.ndarray) -> None:
        """What a round had, and left."""
        self.acceptances, self.rows = np.append(self.acceptances, acceptance), rows
        if self.keeping.path is not None:
            parts = np.frombuffer(self.own, np.uint8), self.acceptances.view(np.uint8), rows.ravel().view(np.uint8)
            self.keeping.put("adaptation", np.concatenate(parts))


def adapt(
    s: Settings, rows: np.ndarray, wanted: float, where: Where, progress: Callable[[int], object] | None,
    keeping: Checkpoint,
) -> tuple[Settings, np.ndarray]:  # fmt: skip
    """Run the burn-in; the settings with the step sizes that were found, and the rows after it."""
    averaging, done, sizes = DualAveraging(float(s.step_sizes[0]), wanted), s.grid.first_step, []
    lengths = [len(part) for part in np.array_split(np.arange(s.burn_in), min(s.burn_in, MOST_ROUNDS))]
    rounds = Rounds(keeping, _round(s, done, lengths[0], averaging.size).tile(rows, device=where.gpu), rows)
    n_known = len(rounds.acceptances)
    if n_known:
        keeping.say(sum(lengths[:n_known]) / s.n_steps)
    for m, n in enumerate(lengths):
        size = averaging.size
        if m >= n_known:
            rounds.add(*_run_round(_round(s, done, n, size), rounds.rows, where, progress))
        elif progress is not None:
            progress(n * s.n_chains)
        averaging.learn(float(rounds.acceptances[m]))
        sizes += [size] * n
        done += n
    sizes += [averaging.average] * (s.n_steps - s.burn_in)
    return replace(s, step_sizes=np.array(sizes)), rounds.rows


def _round(s: Settings, first: int, n_steps: int, size: float) -> Settings:
    """Steps of one size, whose acceptance alone is gathered."""
    own, end = section(s, first, n_steps, np.array([size])), first + n_steps
    return replace(own, saves=np.array([end]), burn_in=first, keeps_states=False, histogram=None, expectations=())


def _run_round(
    own: Settings, rows: np.ndarray, where: Where, progress: Callable[[int], object] | None
) -> tuple[float, np.ndarray]:
    """Its acceptance, and the rows after it: acceptance and diagnostics in them are those of the steps to come."""
    chain = own.stepping
    outcome = where.run(own.tile(rows, device=where.gpu, keep_final=True), progress)
    assert outcome.final is not None
    rows = outcome.final
    rows[chain.counted] = 0
    rows[chain.diagnosed : chain.sized] = 0
    return Chains(own, where.cost(0.0), None, outcome.nodes).acceptance, rows
