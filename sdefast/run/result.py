"""What the results of all families can do: statistics at every saved time, quantiles, merging of shards, tables.

A family derives its result from `Result`, adds what only it knows, and says its own words for a chain and for time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from .. import checks, noise
from ..engine.gathering import ONE
from ..engine.statistics import Layout, Nodes
from ..engine.tiles import BLOCK
from ..lazy import cached_property
from .records import register
from .saving import Savable
from .step import Settings


@register
@dataclass(frozen=True)
class Cost:
    """What a run took: wall-clock seconds, threads, instruction set (of a GPU its architecture), what ran it.

    ``found`` is the part of the work that was done before, as a checkpoint had it.
    """

    seconds: float
    threads: int
    isa: str
    executor: str
    found: float = 0.0


@dataclass(frozen=True)
class Expectation:
    """Mean of a user function at every saved time: ``value`` and ``standard_error`` of shape (n_times,).

    ``n_nonfinite`` counts the chains (or antithetic pairs) that are left out because the function is not finite there.
    """

    value: np.ndarray
    standard_error: np.ndarray
    n_nonfinite: np.ndarray


def mean_error(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and its standard error from statistics of one number."""
    n, mean, squares = total[:, 0], total[:, 1], total[:, 2]
    error = np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))
    return np.where(n >= 1, mean, np.nan), np.where(n >= 2, error, np.nan)


@dataclass(frozen=True, eq=False)
class Result(Savable):
    """Saved states, and statistics over all chains at every saved time.

    Statistics are over the chains that are finite at that time; ``n_nonfinite`` counts the others.
    """

    settings: Settings
    cost: Cost
    _states: Any = field(repr=False)  # an array of numpy, or one on the GPU, or None
    _nodes: tuple[Nodes, ...] = field(repr=False)
    _counts: np.ndarray | None = field(default=None, repr=False)
    _final: np.ndarray | None = field(default=None, repr=False)  # all rows at the end, where states are not kept

    #: the family's word for a chain
    chain_word: ClassVar[str] = "chain"

    @property
    def seed(self) -> int:
        """The seed, also where none was given."""
        return self.settings.seed

    @property
    def t(self) -> np.ndarray:
        """Saved times, of shape (n_times,)."""
        return self.settings.grid.time(self.settings.saves)

    @property
    def dim(self) -> int:
        """Components of the state."""
        return self.settings.layout.dim

    @property
    def _n_shown(self) -> int:
        """How many there are of what users count: chains, or paths of which chains carry two."""
        return self.settings.n_chains

    @property
    def x(self) -> Any:
        """Saved states, a view of shape (n_times, n, dim) in whose memory the chains are contiguous.

        A numpy array, or of a run on a GPU a `DeviceArray` there.
        """
        if self._states is None:
            raise AttributeError(f"no states were kept: {self._why_not_kept}")
        return self._rows(0, self.dim)

    #: why there may be no states
    _why_not_kept: ClassVar[str] = "this run was made with paths=False"

    def _rows(self, first: int, n: int) -> Any:
        """Rows ``first`` to ``first + n - 1`` of all chains, (n_times, n_chains, n)."""
        return self._states[:, first : first + n].transpose(0, 2, 1)

    # Statistics --------------------------------------------------------------------------------------------------

    @property
    def n_nonfinite(self) -> np.ndarray:
        """How many are not finite at each saved time, of shape (n_times,)."""
        return self._n_shown - self._total[:, 0].astype(np.int64)

    @property
    def mean(self) -> np.ndarray:
        """Sample mean, of shape (n_times, dim)."""
        return self._where_finite(self._component(0), least=1)

    @property
    def variance(self) -> np.ndarray:
        """Unbiased sample variance, of shape (n_times, dim)."""
        return self._where_finite(self._component(1) / self._at_least_one(self._count - 1), least=2)

    @property
    def standard_deviation(self) -> np.ndarray:
        """Square root of `variance`, of shape (n_times, dim)."""
        deviation: np.ndarray = np.sqrt(self.variance)
        return deviation

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `mean`, of shape (n_times, dim)."""
        error: np.ndarray = np.sqrt(self.variance / self._at_least_one(self._count))
        return error

    @property
    def variance_standard_error(self) -> np.ndarray:
        """Standard error of `variance`, from the fourth central moment, of shape (n_times, dim)."""
        return self._variance_error(self._at_least_one(self._count))

    def _variance_error(self, effective: np.ndarray) -> np.ndarray:
        n = self._at_least_one(self._count)
        with np.errstate(over="ignore", invalid="ignore"):
            m2, m4 = self._component(1) / n, self._powers(3) / n
            return self._where_finite(np.sqrt(np.maximum(m4 - m2**2, 0.0) / effective), least=2)

    @property
    def skewness(self) -> np.ndarray:
        """Sample skewness m3 / m2^(3/2), of shape (n_times, dim)."""
        n = self._at_least_one(self._count)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._where_finite((self._powers(2) / n) / (self._component(1) / n) ** 1.5, least=2)

    @property
    def kurtosis(self) -> np.ndarray:
        """Sample excess kurtosis m4 / m2^2 - 3, of shape (n_times, dim)."""
        n = self._at_least_one(self._count)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._where_finite((self._powers(3) / n) / (self._component(1) / n) ** 2 - 3.0, least=2)

    @property
    def minimum(self) -> np.ndarray:
        """Smallest value, of shape (n_times, dim)."""
        return self._extreme(0)

    @property
    def maximum(self) -> np.ndarray:
        """Largest value, of shape (n_times, dim)."""
        return self._extreme(1)

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased sample covariance of the components, of shape (n_times, dim, dim)."""
        layout, total = self.settings.layout, self._total
        if not layout.covariance and layout.dim > 1:
            raise AttributeError(f"covariance was not gathered: pass covariance=True to {self.call}")
        return np.where(self._count[:, :, None] >= 2, layout.covariances(total), np.nan)

    @property
    def histogram(self) -> np.ndarray:
        """Counts of the values of every component in the bins, of shape (n_times, dim, bins).

        ``histogram_edges`` has the bins' edges; a value on an edge is in the bin above it. Values outside, and those
        that are not finite, are not in it.
        """
        return self._all_counts[:, :, 1:-1]

    @property
    def histogram_edges(self) -> np.ndarray:
        """Edges of the bins, of shape (bins + 1,)."""
        if self.settings.histogram is None:
            raise AttributeError(f"no histogram was counted: pass histogram=(low, high, bins) to {self.call}")
        return self.settings.histogram.edges

    @property
    def _all_counts(self) -> np.ndarray:
        """Counts of the components, with those below and above."""
        if self._counts is None:
            raise AttributeError(f"no histogram was counted: pass histogram=(low, high, bins) to {self.call}")
        return self._counts[:, : self.dim]

    def quantile(self, q: float | np.ndarray) -> np.ndarray:
        """Quantiles of the components from the histogram, linear within a bin: of shape ``q.shape + (n_times, dim)``.

        NaN where a quantile lies outside the bins.
        """
        checks.refuse_loss("q", q)
        wanted = np.asarray(q, float)
        if not ((wanted >= 0) & (wanted <= 1)).all():
            raise ValueError(f"q must be within [0, 1], got {checks.shown(q)}")
        edges, counts = self.histogram_edges, self._all_counts
        below = np.cumsum(counts, axis=-1)
        result = np.full((*wanted.shape, *counts.shape[:2]), np.nan)
        for at in np.ndindex(*counts.shape[:2]):
            ranks = below[at]  # of the edges, and of all values
            if ranks[-1]:
                # The first edge below which all values lie, and those after it, count as one: the largest value's.
                last = np.searchsorted(ranks[:-1], ranks[-1]) + 1
                inside = np.interp(wanted * ranks[-1], ranks[:-1][:last], edges[:last], left=np.nan, right=np.nan)
                result[(..., *at)] = inside
        return result

    @cached_property
    def _totals(self) -> list[np.ndarray]:
        return [g.layout.total(nodes) for g, nodes in zip(self.settings.gathering.all, self._nodes, strict=True)]

    def _merged(self, part: range, layout: Layout) -> np.ndarray:
        total = self._totals[part[0]]
        return total if len(part) == 1 else layout.merge(total, self._totals[part[1]])

    @cached_property
    def _total(self) -> np.ndarray:
        """Statistics of the state."""
        return self._merged(self.settings.gathering.state, self.settings.layout)

    def _expectation(self, i: int) -> Expectation:
        """The mean of what is observed, number i."""
        total = self._merged(self.settings.gathering.expectations[i : i + 1], ONE)
        return Expectation(*mean_error(total), self.settings.n_chains - total[:, 0].astype(np.int64))

    @property
    def _count(self) -> np.ndarray:
        return self._total[:, :1]

    @staticmethod
    def _at_least_one(n: np.ndarray) -> np.ndarray:
        positive: np.ndarray = np.maximum(n, 1.0)
        return positive

    def _component(self, offset: int) -> np.ndarray:
        return self._total[:, self.settings.layout.component(offset)]

    def _where_finite(self, value: np.ndarray, least: int) -> np.ndarray:
        """``value`` where at least that many chains are finite, NaN elsewhere."""
        return np.where(self._count >= least, value, np.nan)

    def _powers(self, offset: int) -> np.ndarray:
        total = self._total
        if self.settings.layout.moments < 4:
            raise AttributeError(
                "third and fourth moments are not gathered by default at so many times: pass moments=4 to " + self.call
            )
        return total[:, self.settings.layout.component(offset)]

    def _extreme(self, which: int) -> np.ndarray:
        total = self._total
        if not self.settings.layout.extremes:
            raise AttributeError(f"minimum and maximum were not gathered: pass extremes=True to {self.call}")
        at = self.settings.layout.component(self.settings.layout.moments + which)
        return self._where_finite(total[:, at], least=1)

    # Going on, and going elsewhere -------------------------------------------------------------------------------

    def _final_rows(self) -> np.ndarray:
        """All rows at the end, (n_rows, n_chains); ValueError if they were not kept or cannot go on."""
        version = self.settings.stream_version
        if version != noise.STREAM_VERSION:
            raise ValueError(
                f"resume needs the noise that the run had, of stream version {version}: this version of sdefast draws "
                f"that of {noise.STREAM_VERSION}"
            )
        if self._final is not None:
            return self._final
        if self._states is None:
            raise ValueError(f"resume needs the final states, and {self._why_not_kept}")
        if self.settings.saves[-1] != self.settings.grid.last_step:
            raise ValueError("resume needs the final states, and save_at did not include the final time")
        if self._states.shape[1] < self.settings.stepping.n_rows:
            raise ValueError("resume needs all rows at the end, which were not kept: run with final_states=True")
        return np.asarray(self._states[-1])

    def _joined(self, shards: Sequence[Any]) -> dict[str, Any]:
        """The family's own fields of shards put together, of which this is the first."""
        return {}

    def _tabulated(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        moments = {name: (("component",), getattr(self, name)) for name in ("mean", "variance", "standard_error")}
        states = {} if self._states is None else {"x": ((self.chain_word, "component"), np.asarray(self.x))}
        return {**moments, "n_nonfinite": ((), self.n_nonfinite), **states}

    def _coordinates(self) -> dict[str, np.ndarray]:
        first = self.settings.first_chain
        return {} if self._states is None else {self.chain_word: np.arange(first, first + self._n_shown)}

    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""
        s, grid = self.settings, self.settings.grid
        described: dict[str, Any] = {
            "seed": s.seed,
            "dtype": s.dtype.name,
            "noise_dtype": s.noise_dtype.name,
            "first_chain": s.first_chain,
            "first_step": grid.first_step,
            "n_steps": grid.n_steps,
        }
        if s.histogram is not None:
            described["histogram"] = [s.histogram.low, s.histogram.high, s.histogram.bins]
        return described


AnyResult = TypeVar("AnyResult", bound=Result)


def merge(*runs: AnyResult) -> AnyResult:
    """Put shards of one run together: equal to the last bit to the run of all their chains.

    Parameters
    ----------
    *runs : Simulation or Descent
        Runs with equal settings over neighbouring ranges of chains, in order; every one but the last has whole blocks
        of 4096 chains, and the first begins at a multiple of 4096.

    Returns
    -------
    Simulation or Descent
        Of the kind that was given.

    Raises
    ------
    TypeError, ValueError
        If the runs are no shards of one run.

    Examples
    --------
    >>> import sdefast as sf
    >>> shards = [sf.simulate(sf.BrownianMotion(), x0=0.0, t1=1.0, n_steps=8, n_paths=4096, first_chain=c, seed=1)
    ...           for c in (0, 4096)]
    >>> sf.merge(*shards).n_paths
    8192
    """
    if not runs or not all(isinstance(run, Result) and type(run) is type(runs[0]) for run in runs):
        raise TypeError(
            "merge takes one or more results of the same call, of many chains each: merge(run, run, ...), got "
            + ", ".join(type(run).__name__ for run in runs)
        )
    first, word = runs[0].settings, runs[0].chain_word
    nodes: tuple[Nodes, ...] = tuple({} for _ in runs[0]._nodes)
    next_chain = first.first_chain
    for i, run in enumerate(runs):
        if run.settings.identity() != first.identity():
            raise ValueError(f"run {i} has other settings than run 0: only shards of one run can be merged")
        if run.settings.first_chain != next_chain:
            raise ValueError(f"run {i} begins with {word} {run.settings.first_chain}, expected {next_chain}")
        if next_chain % BLOCK:
            raise ValueError(f"run {i} begins with {word} {next_chain}, which is no multiple of {BLOCK}")
        next_chain += run.settings.n_chains
        for gathered, all_nodes, new in zip(first.gathering.all, nodes, run._nodes, strict=True):
            gathered.layout.add(all_nodes, new)
    kept = [np.asarray(run._states) for run in runs if run._states is not None]
    states = np.concatenate(kept, axis=2) if kept else None
    counted = [run._counts for run in runs if run._counts is not None]
    counts = np.sum(counted, axis=0) if counted else None
    finals = [run._final for run in runs if run._final is not None]
    final = np.concatenate(finals, axis=1) if len(finals) == len(runs) else None
    settings = first.merged([run.settings for run in runs])
    cost = Cost(sum(r.cost.seconds for r in runs), runs[0].cost.threads, runs[0].cost.isa, f"{len(runs)} shards")
    own = runs[0]._joined(runs)
    return replace(
        runs[0], settings=settings, cost=cost, _states=states, _nodes=nodes, _counts=counts, _final=final, **own
    )  # fmt: skip
