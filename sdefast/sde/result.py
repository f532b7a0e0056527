"""What a simulation returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, plots
from ..engine.parts import ONE
from ..engine.statistics import Layout, Nodes
from ..engine.tiles import BLOCK
from . import figures, prepare
from .models.base import Model
from .settings import Settings

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Cost:
    """What a run took: wall-clock seconds, threads, instruction set (of a GPU its architecture), what ran it."""

    seconds: float
    threads: int
    isa: str
    executor: str


@dataclass(frozen=True)
class Expectation:
    """Mean of a user function at every saved time: ``value`` and ``standard_error`` of shape (n_times,).

    ``n_nonfinite`` counts the paths (or antithetic pairs) that are left out because the function is not finite there.
    """

    value: np.ndarray
    standard_error: np.ndarray
    n_nonfinite: np.ndarray


@dataclass(frozen=True)
class FunctionalResult:
    """A functional of the paths at every saved time: statistics of shape (n_times,) over the paths where it is finite.

    ``values`` are those of all paths, of shape (n_times, n_paths), where states were kept; else None.
    """

    mean: np.ndarray
    standard_error: np.ndarray
    variance: np.ndarray
    n_nonfinite: np.ndarray
    values: Any = field(repr=False)


def _mean_error(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and its standard error from statistics of one number."""
    n, mean, squares = total[:, 0], total[:, 1], total[:, 2]
    error = np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))
    return np.where(n >= 1, mean, np.nan), np.where(n >= 2, error, np.nan)


@dataclass(frozen=True, eq=False)
class Simulation:
    """Result of `simulate`: saved states, and statistics over all paths at every saved time.

    Statistics are over the paths that are finite at that time; ``n_nonfinite`` counts the others.
    """

    settings: Settings
    cost: Cost
    _states: Any = field(repr=False)  # an array of numpy, or one on the GPU, or None
    _nodes: tuple[Nodes, ...] = field(repr=False)
    _counts: np.ndarray | None = field(default=None, repr=False)

    # What was simulated ------------------------------------------------------------------------------------------

    @property
    def model(self) -> Model:
        """The model that was run."""
        return self.settings.model

    @property
    def seed(self) -> int:
        """The seed, also where none was given."""
        return self.settings.seed

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return self.settings.n_paths

    @property
    def t(self) -> np.ndarray:
        """Saved times, of shape (n_times,)."""
        return self.settings.grid.time(self.settings.saves)

    @property
    def x(self) -> Any:
        """Saved states, a view of shape (n_times, n_paths, dim) in whose memory the paths are contiguous.

        A numpy array, or of a run on a GPU a `DeviceArray` there.
        """
        if self._states is None:
            raise AttributeError("no states were kept: this run was made with paths=False")
        return self._paths(0, self.model.dim)

    def _paths(self, first: int, n: int) -> Any:
        """Rows ``first`` to ``first + n - 1`` of all paths, (n_times, n_paths, n); of pairs, all first ones lead."""
        assert self._states is not None
        if not self.settings.extras.antithetic:
            return self._states[:, first : first + n].transpose(0, 2, 1)
        second = first + self._states.shape[1] // 2
        both = [self._states[:, start : start + n].transpose(0, 2, 1) for start in (first, second)]
        if isinstance(self._states, np.ndarray):
            return np.concatenate(both, axis=1)
        return self._states.joined(both, axis=1)

    @property
    def path_steps_per_second(self) -> float:
        """Paths times steps per second of wall-clock time."""
        return self.n_paths * self.settings.grid.n_steps / self.cost.seconds

    # Statistics --------------------------------------------------------------------------------------------------

    @property
    def n_nonfinite(self) -> np.ndarray:
        """How many paths are not finite at each saved time, of shape (n_times,)."""
        return self.n_paths - self._total[:, 0].astype(np.int64)

    @property
    def mean(self) -> np.ndarray:
        """Sample mean, of shape (n_times, dim)."""
        return self._per_path(self._component(0), least=1)

    @property
    def variance(self) -> np.ndarray:
        """Unbiased sample variance, of shape (n_times, dim)."""
        return self._per_path(self._component(1) / self._at_least_one(self._count - 1), least=2)

    @property
    def standard_deviation(self) -> np.ndarray:
        """Square root of `variance`, of shape (n_times, dim)."""
        deviation: np.ndarray = np.sqrt(self.variance)
        return deviation

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `mean`, of shape (n_times, dim)."""
        if self.settings.extras.antithetic:
            pairs = self.settings.parts.pairs[: self.model.dim]
            return np.column_stack([_mean_error(self._totals[i])[1] for i in pairs])
        error: np.ndarray = np.sqrt(self.variance / self._at_least_one(self._count))
        return error

    @property
    def variance_standard_error(self) -> np.ndarray:
        """Standard error of `variance`, from the fourth central moment, of shape (n_times, dim).

        Antithetic pairs have squares that go together, so theirs is an upper bound: that of half as many paths.
        """
        n = self._at_least_one(self._count)
        effective = n / 2 if self.settings.extras.antithetic else n
        with np.errstate(over="ignore", invalid="ignore"):
            m2, m4 = self._component(1) / n, self._powers(3) / n
            return self._per_path(np.sqrt(np.maximum(m4 - m2**2, 0.0) / effective), least=2)

    @property
    def skewness(self) -> np.ndarray:
        """Sample skewness m3 / m2^(3/2), of shape (n_times, dim)."""
        n = self._at_least_one(self._count)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._per_path((self._powers(2) / n) / (self._component(1) / n) ** 1.5, least=2)

    @property
    def kurtosis(self) -> np.ndarray:
        """Sample excess kurtosis m4 / m2^2 - 3, of shape (n_times, dim)."""
        n = self._at_least_one(self._count)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._per_path((self._powers(3) / n) / (self._component(1) / n) ** 2 - 3.0, least=2)

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
        layout = self.settings.layout
        if not layout.covariance and layout.dim > 1:
            raise AttributeError("covariance was not gathered: pass covariance=True to simulate")
        enough = self._count[:, :, None] >= 2
        return np.where(enough, layout.covariances(self._total), np.nan)

    @property
    def expectations(self) -> dict[str, Expectation]:
        """Means of user functions with their standard errors, by the names given to `simulate`."""
        e = self.settings.extras
        if not e.expectations:
            return {}
        names = [name for name, _ in e.expectations]
        totals = [self._totals[i] for i in self.settings.parts.expectations]
        n_averaged = self.settings.n_chains
        if e.controls:
            return dict(zip(names, self._controlled(totals[0], len(names)), strict=True))
        return {
            name: Expectation(*_mean_error(total), n_averaged - total[:, 0].astype(np.int64))
            for name, total in zip(names, totals, strict=True)
        }

    def _controlled(self, total: np.ndarray, n: int) -> list[Expectation]:
        """Expectations less what the controls are off by, times their regression coefficients."""
        known = prepare.known_values(self.settings)
        size = n + known.shape[1]
        layout = Layout(size, 2, False, True)
        mean, products = total[:, layout.component(0)], np.empty((len(total), size, size))
        products[:, range(size), range(size)] = total[:, layout.component(1)]
        i, j = layout.pairs
        products[:, i, j] = products[:, j, i] = total[:, layout.products]
        between, across = products[:, n:, n:], products[:, n:, :n]
        slopes = np.linalg.pinv(between) @ across  # a control that does not vary, as at the start, corrects nothing
        value = mean[:, :n] - ((mean[:, n:] - known)[:, None] @ slopes)[:, 0]
        left = products[:, range(n), range(n)] - (across * slopes).sum(1)
        count = total[:, :1]
        freedom = count - 1 - known.shape[1]
        error = np.sqrt(np.maximum(left, 0) / np.maximum(freedom, 1) / np.maximum(count, 1))
        error = np.where(freedom > 0, error, np.nan)
        missing = self.settings.n_chains - total[:, 0].astype(np.int64)
        return [Expectation(value[:, k], error[:, k], missing) for k in range(n)]

    def _control_errors(self) -> dict[str, float]:
        """How many standard errors the mean of every control is off what was said, at the worst time."""
        controls, n = self.settings.extras.controls, len(self.settings.extras.expectations)
        if not controls:
            return {}
        total = self._totals[self.settings.parts.expectations[0]]
        layout = Layout(n + len(controls), 2, False, True)
        known, count = prepare.known_values(self.settings), np.maximum(total[:, :1], 2)
        mean, squares = (total[:, layout.component(k)][:, n:] for k in (0, 1))
        error = np.sqrt(squares / (count - 1) / count) + 1e-6 * np.abs(known) + 1e-300
        worst = np.max(np.abs(mean - known) / error, axis=0)
        return {name: float(z) for (name, *_), z in zip(controls, worst, strict=True)}

    @property
    def functionals(self) -> dict[str, FunctionalResult]:
        """Functionals of the paths, by the names given to `simulate`."""
        names = [name for name, _ in self.settings.extras.functionals]
        return {name: self._carried(i) for i, name in enumerate(names)}

    @property
    def stop_time(self) -> FunctionalResult:
        """When ``stop_when`` first held for a path; infinite where it has not."""
        if self.settings.extras.stop_when is None:
            raise AttributeError("stop_time is that of runs with stop_when")
        return self._carried(len(self.settings.extras.functionals))

    def _carried(self, i: int) -> FunctionalResult:
        total = self._merged(self.settings.parts.carried[i], ONE)
        mean, error = _mean_error(total)
        pairs = self.settings.parts.pairs[self.model.dim :]
        if i < len(pairs):
            error = _mean_error(self._totals[pairs[i]])[1]
        missing = self.n_paths - total[:, 0].astype(np.int64)
        variance = total[:, 2] / np.maximum(total[:, 0] - 1, 1)
        values = None if self._states is None else self._paths(self.model.dim + i, 1)[:, :, 0]
        return FunctionalResult(mean, error, variance, missing, values)

    @property
    def histogram(self) -> np.ndarray:
        """Counts of the values of every component in the bins, of shape (n_times, dim, bins).

        ``histogram_edges`` has the bins' edges; values outside, and those that are not finite, are not in it.
        """
        return self._all_counts[:, :, 1:-1]

    @property
    def histogram_edges(self) -> np.ndarray:
        """Edges of the bins, of shape (bins + 1,)."""
        if self.settings.histogram is None:
            raise AttributeError("no histogram was counted: pass histogram=(low, high, bins) to simulate")
        return self.settings.histogram.edges

    @property
    def _all_counts(self) -> np.ndarray:
        if self._counts is None:
            raise AttributeError("no histogram was counted: pass histogram=(low, high, bins) to simulate")
        dim, rows = self.model.dim, self._counts.shape[1]
        if not self.settings.extras.antithetic:
            return self._counts[:, :dim]
        both: np.ndarray = self._counts[:, :dim] + self._counts[:, rows // 2 : rows // 2 + dim]
        return both

    def quantile(self, q: float | np.ndarray) -> np.ndarray:
        """Quantiles of the components from the histogram, linear within a bin: of shape ``q.shape + (n_times, dim)``.

        NaN where a quantile lies outside the bins.
        """
        wanted = np.asarray(q, float)
        if not ((wanted >= 0) & (wanted <= 1)).all():
            raise ValueError(f"q must be within [0, 1], got {q!r}")
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
        return [g.layout.total(nodes) for g, nodes in zip(self.settings.parts.all, self._nodes, strict=True)]

    def _merged(self, part: range, layout: Layout) -> np.ndarray:
        total = self._totals[part[0]]
        return total if len(part) == 1 else layout.merge(total, self._totals[part[1]])

    @cached_property
    def _total(self) -> np.ndarray:
        return self._merged(self.settings.parts.state, self.settings.layout)

    @property
    def _count(self) -> np.ndarray:
        return self._total[:, :1]

    @staticmethod
    def _at_least_one(n: np.ndarray) -> np.ndarray:
        positive: np.ndarray = np.maximum(n, 1.0)
        return positive

    def _component(self, offset: int) -> np.ndarray:
        return self._total[:, self.settings.layout.component(offset)]

    def _per_path(self, value: np.ndarray, least: int) -> np.ndarray:
        """``value`` where at least that many paths are finite, NaN elsewhere."""
        return np.where(self._count >= least, value, np.nan)

    def _powers(self, offset: int) -> np.ndarray:
        if self.settings.layout.moments < 4:
            raise AttributeError(
                "third and fourth moments are not gathered by default at so many times: pass moments=4 to simulate"
            )
        return self._component(offset)

    def _extreme(self, which: int) -> np.ndarray:
        if not self.settings.layout.extremes:
            raise AttributeError("minimum and maximum were not gathered: pass extremes=True to simulate")
        return self._per_path(self._component(self.settings.layout.moments + which), least=1)

    # Going on ----------------------------------------------------------------------------------------------------

    def _final_rows(self) -> np.ndarray:
        """All rows at the end, (n_rows, n_chains); ValueError if they were not kept."""
        if self._states is None:
            raise ValueError("resume needs the final states, and this run was made with paths=False")
        if self.settings.saves[-1] != self.settings.grid.last_step:
            raise ValueError("resume needs the final states, and save_at did not include the final time")
        return np.asarray(self._states[-1])

    def to_xarray(self) -> xarray.Dataset:
        """States (if kept), mean, variance and standard error as an `xarray.Dataset` over time, path and component.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise ImportError("to_xarray needs xarray: pip install xarray") from None
        over_time = {
            name: (("time", "component"), getattr(self, name)) for name in ("mean", "variance", "standard_error")
        }
        data: dict[str, Any] = {**over_time, "n_nonfinite": (("time",), self.n_nonfinite)}
        coordinates: dict[str, Any] = {"time": self.t}
        if self._states is not None:
            data["x"] = (("time", "path", "component"), np.asarray(self.x))
            first = self.settings.first_chain
            coordinates["path"] = np.arange(first, first + self.n_paths)
        return xarray.Dataset(data, coordinates, attrs=self.describe())

    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""
        s, grid = self.settings, self.settings.grid
        return {
            "model": repr(s.model),
            "x0": "one per path" if s.x0 is None else s.x0.tolist(),
            "method": s.method,
            "seed": s.seed,
            "dtype": s.dtype.name,
            "noise_dtype": s.noise_dtype.name,
            "first_chain": s.first_chain,
            "n_paths": s.n_paths,
            "t0": grid.t0,
            "first_step": grid.first_step,
            "n_steps": grid.n_steps,
            "step_size": "given times" if grid.h is None else grid.h,
            **self._describe_extras(),
        }

    def _describe_extras(self) -> dict[str, Any]:
        """What else was asked of the chains, where it was."""
        s, e = self.settings, self.settings.extras
        named: dict[str, tuple[Any, ...]] = {
            "functionals": e.functionals, "expectations": e.expectations, "controls": e.controls
        }  # fmt: skip
        described: dict[str, Any] = {
            what: ", ".join(item[0] for item in items) for what, items in named.items() if items
        }
        if e.boundaries:
            described["boundaries"] = ", ".join(map(repr, e.boundaries))
        if e.stop_when is not None:
            described["stop_when"] = getattr(e.stop_when, "__name__", repr(e.stop_when))
        if s.histogram is not None:
            described["histogram"] = [s.histogram.low, s.histogram.high, s.histogram.bins]
        flags = {"antithetic": e.antithetic, "given_normals": s.given_normals}
        return described | {name: int(value) for name, value in flags.items() if value}

    def plot(self, ax: Axes | None = None, *, component: int = 0, n_paths: int = 20) -> Axes:
        """Draw sample paths, mean and a two-standard-deviation band, beside the exact ones where the model has them.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        component : int
            Which component of the state.
        n_paths : int
            How many sample paths, if states were kept.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a single time was saved.
        """
        c = checks.count("component", component, least=0, most=self.model.dim - 1)
        n_paths = checks.count("n_paths", n_paths, least=0)
        s = self.settings
        ax = figures.statistics(ax, self.t, self.mean[:, c], self.standard_deviation[:, c], self.n_paths)
        if s.keeps_paths:
            plots.thin(ax, self.t, np.asarray(self.x[:, :n_paths, c]))
        if s.x0 is not None:
            figures.exact(ax, s.model, c, self.t, self.t - s.grid.t0, s.x0)
        figures.labels(ax, s.model, c, f"{s.method}, {s.dtype.name}, seed {self.seed}")
        return ax

    def __repr__(self) -> str:
        s, grid = self.settings, self.settings.grid
        start, end = grid.time(np.array([grid.first_step, grid.last_step]))
        kept = f"{len(s.saves)} saved times" + ("" if s.keeps_paths else ", statistics only")
        return (
            f"<Simulation of {s.model!r}: {s.n_paths:,} paths x {grid.n_steps:,} steps, t = {start:g} to {end:g}, "
            f"{s.method}, {s.dtype.name}, seed {s.seed}; {kept}; {self.cost.seconds:.3g} s, "
            f"{self.path_steps_per_second / 1e6:,.0f} M path-steps/s, {self.cost.executor}, {self.cost.isa}>"
        )


def merge(*runs: Simulation) -> Simulation:
    """Put shards of one run together: equal to the last bit to the run of all their paths.

    Parameters
    ----------
    *runs : Simulation
        Runs with equal settings over neighbouring ranges of paths, in order; every one but the last has whole blocks
        of 4096 paths, and the first begins at a multiple of 4096.

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        If the runs are no shards of one run.

    Examples
    --------
    >>> import sdefast as sf
    >>> shards = [sf.simulate(sf.BrownianMotion(), x0=0.0, t1=1.0, n_steps=8, n_paths=4096, first_chain=c, seed=1)
    ...           for c in (0, 4096)]
    >>> sf.merge(*shards).n_paths
    8192
    """
    if not runs or not all(isinstance(run, Simulation) for run in runs):
        raise TypeError("merge takes one or more results of simulate: merge(run, run, ...)")
    first = runs[0].settings
    nodes: tuple[Nodes, ...] = tuple({} for _ in runs[0]._nodes)
    next_chain = first.first_chain
    for i, run in enumerate(runs):
        if _identity(run.settings) != _identity(first):
            raise ValueError(f"run {i} has other settings than run 0: only shards of one run can be merged")
        if run.settings.first_chain != next_chain:
            raise ValueError(f"run {i} begins with path {run.settings.first_chain}, expected {next_chain}")
        if next_chain % BLOCK:
            raise ValueError(f"run {i} begins with path {next_chain}, which is no multiple of {BLOCK}")
        next_chain += run.settings.n_chains
        for gathered, all_nodes, new in zip(first.parts.all, nodes, run._nodes, strict=True):
            gathered.layout.add(all_nodes, new)
    kept = [np.asarray(run._states) for run in runs if run._states is not None]
    states = np.concatenate(kept, axis=2) if kept else None
    counted = [run._counts for run in runs if run._counts is not None]
    counts = np.sum(counted, axis=0) if counted else None
    settings = replace(first, n_paths=sum(run.n_paths for run in runs))
    cost = Cost(sum(r.cost.seconds for r in runs), runs[0].cost.threads, runs[0].cost.isa, f"{len(runs)} shards")
    return Simulation(settings, cost, states, nodes, counts)


def _identity(s: Settings) -> tuple[Any, ...]:
    times = None if s.grid.times is None else s.grid.times.tobytes()
    grid = (s.grid.t0, s.grid.first_step, s.grid.n_steps, s.grid.h, times)
    start = None if s.x0 is None else s.x0.tobytes()
    what = (s.saves.tobytes(), s.layout, s.keeps_paths, prepare.extras_identity(s), s.histogram)
    return (s.model, start, s.method, s.seed, s.dtype, s.noise_dtype, grid, *what)
