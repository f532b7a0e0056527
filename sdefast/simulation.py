"""What a simulation returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .engine.grid import TimeGrid
from .engine.statistics import Layout, Nodes
from .engine.tiles import BLOCK
from .models.base import Model

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Settings:
    """Everything that decides a run's numbers.

    ``x0`` is the common start of all paths, of shape (dim,), or None where every path has its own, as when resumed.
    """

    model: Model
    x0: np.ndarray | None
    method: str
    seed: int
    dtype: np.dtype
    noise_dtype: np.dtype
    first_chain: int
    n_paths: int
    grid: TimeGrid
    saves: np.ndarray
    layout: Layout
    keeps_paths: bool


@dataclass(frozen=True)
class Cost:
    """What a run took: wall-clock seconds, threads, instruction set."""

    seconds: float
    threads: int
    isa: str
    executor: str


@dataclass(frozen=True, eq=False)
class Simulation:
    """Result of `simulate`: saved states, and statistics over all paths at every saved time.

    Statistics are over the paths that are finite at that time; ``n_nonfinite`` counts the others.
    """

    settings: Settings
    cost: Cost
    _states: np.ndarray | None = field(repr=False)
    _nodes: Nodes = field(repr=False)
    _cache: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

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
    def x(self) -> np.ndarray:
        """Saved states, a view of shape (n_times, n_paths, dim) in whose memory the paths are contiguous."""
        if self._states is None:
            raise AttributeError("no states were kept: this run was made with paths=False")
        return self._states.transpose(0, 2, 1)

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
        error: np.ndarray = np.sqrt(self.variance / self._at_least_one(self._count))
        return error

    @property
    def variance_standard_error(self) -> np.ndarray:
        """Standard error of `variance`, from the fourth central moment, of shape (n_times, dim)."""
        n = self._at_least_one(self._count)
        with np.errstate(over="ignore", invalid="ignore"):
            m2, m4 = self._component(1) / n, self._powers(3) / n
            return self._per_path(np.sqrt(np.maximum(m4 - m2**2, 0.0) / n), least=2)

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
        dim = layout.dim
        result = np.empty((len(self.settings.saves), dim, dim))
        result[:, range(dim), range(dim)] = self.variance
        if layout.pairs:
            i, j = np.array(layout.pairs).T
            products = self._total[:, layout.products] / self._at_least_one(self._count - 1)
            result[:, i, j] = result[:, j, i] = self._per_path(products, least=2)
        return result

    @property
    def _total(self) -> np.ndarray:
        if "total" not in self._cache:
            self._cache["total"] = self.settings.layout.total(self._nodes)
        return self._cache["total"]

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

    def _final_states(self) -> np.ndarray:
        """States at the end, (dim, n_paths); ValueError if they were not kept."""
        if self._states is None:
            raise ValueError("resume needs the final states, and this run was made with paths=False")
        if self.settings.saves[-1] != self.settings.grid.last_step:
            raise ValueError("resume needs the final states, and save_at did not include the final time")
        final: np.ndarray = self._states[-1]
        return final

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
            data["x"] = (("time", "path", "component"), self.x)
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
        }

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
        from . import plots

        return plots.simulation(self, ax, component=component, n_paths=n_paths)

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
    nodes: Nodes = {}
    next_chain = first.first_chain
    for i, run in enumerate(runs):
        if _identity(run.settings) != _identity(first):
            raise ValueError(f"run {i} has other settings than run 0: only shards of one run can be merged")
        if run.settings.first_chain != next_chain:
            raise ValueError(f"run {i} begins with path {run.settings.first_chain}, expected {next_chain}")
        if next_chain % BLOCK:
            raise ValueError(f"run {i} begins with path {next_chain}, which is no multiple of {BLOCK}")
        next_chain += run.n_paths
        first.layout.add(nodes, run._nodes)
    kept = [run._states for run in runs if run._states is not None]
    states = np.concatenate(kept, axis=2) if kept else None
    settings = replace(first, n_paths=next_chain - first.first_chain)
    cost = Cost(sum(r.cost.seconds for r in runs), runs[0].cost.threads, runs[0].cost.isa, f"{len(runs)} shards")
    return Simulation(settings, cost, states, nodes)


def _identity(s: Settings) -> tuple[Any, ...]:
    times = None if s.grid.times is None else s.grid.times.tobytes()
    grid = (s.grid.t0, s.grid.first_step, s.grid.n_steps, s.grid.h, times)
    start = None if s.x0 is None else s.x0.tobytes()
    return (s.model, start, s.method, s.seed, s.dtype, s.noise_dtype, grid, s.saves.tobytes(), s.layout, s.keeps_paths)
