"""What a simulation returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checks, plots
from ..engine.gathering import ONE
from ..engine.statistics import Layout
from ..run.result import Expectation, Result, mean_error
from . import figures
from .events import Reset
from .models.base import Model
from .settings import Settings, known_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


@dataclass(frozen=True)
class EventResult:
    """An event at every saved time: its number on a path, and the times of the first and the last, infinite until then.

    Intervals are the times between events that followed one another on a path, of all paths together. Where there are
    few on a path, those that are short are seen more often than those that are long.
    """

    name: str
    event: Reset = field(repr=False)
    n_paths: int
    count: FunctionalResult
    first: FunctionalResult
    last: FunctionalResult
    _squares: FunctionalResult = field(repr=False)
    _unfinished: FunctionalResult = field(repr=False)

    @property
    def n_intervals(self) -> np.ndarray:
        """How many intervals there are, of shape (n_times,)."""
        return np.asarray(np.rint(self.n_paths * self.count.mean - self._n_seen))

    @property
    def interval_mean(self) -> np.ndarray:
        """Mean of the intervals, of shape (n_times,); NaN where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            between = self._n_seen * (self.last.mean - self.first.mean)
            return np.asarray(np.where(self.n_intervals > 0, between / self.n_intervals, np.nan))

    @property
    def interval_variance(self) -> np.ndarray:
        """Variance of the intervals, of shape (n_times,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.n_paths * self._squares.mean / self.n_intervals - self.interval_mean**2)

    @property
    def interval_cv(self) -> np.ndarray:
        """Coefficient of variation of the intervals, of shape (n_times,): 1 for a Poisson process."""
        return np.asarray(np.sqrt(np.maximum(self.interval_variance, 0.0)) / self.interval_mean)

    @property
    def n_unfinished(self) -> np.ndarray:
        """In how many steps, of all paths together, there were more than ``most`` events, of shape (n_times,)."""
        return np.asarray(np.rint(self.n_paths * self._unfinished.mean), np.int64)

    @property
    def _n_seen(self) -> np.ndarray:
        """Paths that have had one."""
        return np.asarray(self.n_paths - self.first.n_nonfinite)


@dataclass(frozen=True, eq=False, repr=False)
class Simulation(Result):
    """Result of `simulate`: saved states, and statistics over all paths at every saved time.

    Statistics are over the paths that are finite at that time; ``n_nonfinite`` counts the others.
    """

    settings: Settings

    call: ClassVar[str] = "simulate"
    chain_word: ClassVar[str] = "path"

    @property
    def model(self) -> Model:
        """The model that was run."""
        return self.settings.model

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return self.settings.n_paths

    @property
    def _n_shown(self) -> int:
        return self.settings.n_paths

    @property
    def path_steps_per_second(self) -> float:
        """Paths times steps per second of wall-clock time."""
        return (1 - self.cost.found) * self.n_paths * self.settings.grid.n_steps / self.cost.seconds

    # Antithetic pairs: the second path of a pair lies in further rows of the same chain ---------------------------

    def _rows(self, first: int, n: int) -> Any:
        """Rows ``first`` to ``first + n - 1`` of all paths, (n_times, n_paths, n); of pairs, all first ones lead."""
        if not self.settings.extras.antithetic:
            return super()._rows(first, n)
        second = first + self._states.shape[1] // 2
        both = [self._states[:, start : start + n].transpose(0, 2, 1) for start in (first, second)]
        if isinstance(self._states, np.ndarray):
            return np.concatenate(both, axis=1)
        return self._states.joined(both, axis=1)

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `mean`, of shape (n_times, dim)."""
        if self.settings.extras.antithetic:
            pairs = self.settings.gathering.pairs[: self.dim]
            return np.column_stack([mean_error(self._totals[i])[1] for i in pairs])
        return super().standard_error

    @property
    def variance_standard_error(self) -> np.ndarray:
        """Standard error of `variance`, from the fourth central moment, of shape (n_times, dim).

        Antithetic pairs have squares that go together, so theirs is an upper bound: that of half as many paths.
        """
        n = self._at_least_one(self._count)
        return self._variance_error(n / 2 if self.settings.extras.antithetic else n)

    @property
    def _all_counts(self) -> np.ndarray:
        first = super()._all_counts
        if not self.settings.extras.antithetic:
            return first
        assert self._counts is not None
        rows = self._counts.shape[1] // 2
        both: np.ndarray = first + self._counts[:, rows : rows + self.dim]
        return both

    # Expectations and functionals --------------------------------------------------------------------------------

    @property
    def expectations(self) -> dict[str, Expectation]:
        """Means of user functions with their standard errors, by the names given to `simulate`."""
        e = self.settings.extras
        if not e.expectations:
            return {}
        names = [name for name, _ in e.expectations]
        if e.controls:
            total = self._totals[self.settings.gathering.expectations[0]]
            return dict(zip(names, self._controlled(total, len(names)), strict=True))
        return {name: self._expectation(i) for i, name in enumerate(names)}

    def _controlled(self, total: np.ndarray, n: int) -> list[Expectation]:
        """Expectations less what the controls are off by, times their regression coefficients."""
        known = known_values(self.settings)
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
        total = self._totals[self.settings.gathering.expectations[0]]
        layout = Layout(n + len(controls), 2, False, True)
        known, count = known_values(self.settings), np.maximum(total[:, :1], 2)
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
        return self._carried(self.settings.extras.n_carried)

    @property
    def events(self) -> dict[str, EventResult]:
        """How often and when events came, by the names given to `simulate`."""
        first, found = len(self.settings.extras.functionals), {}
        for name, event in self.settings.extras.events:
            found[name] = EventResult(name, event, self.n_paths, *(self._carried(first + i) for i in range(5)))
            first += event.n_rows
        return found

    def _carried(self, i: int) -> FunctionalResult:
        total = self._merged(self.settings.gathering.carried[i], ONE)
        mean, error = mean_error(total)
        pairs = self.settings.gathering.pairs[self.dim :]
        if i < len(pairs):
            error = mean_error(self._totals[pairs[i]])[1]
        missing = self.n_paths - total[:, 0].astype(np.int64)
        variance = total[:, 2] / np.maximum(total[:, 0] - 1, 1)
        values = None if self._states is None else self._rows(self.dim + i, 1)[:, :, 0]
        return FunctionalResult(mean, error, variance, missing, values)

    # What was run ------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""
        s, grid = self.settings, self.settings.grid
        return {
            "model": repr(s.model),
            "x0": "one per path" if s.x0 is None else s.x0.tolist(),
            "method": s.method,
            **super().describe(),
            "n_paths": s.n_paths,
            "t0": grid.t0,
            "step_size": "given times" if grid.h is None else grid.h,
            **self._describe_extras(),
        }

    def _describe_extras(self) -> dict[str, Any]:
        """What else was asked of the chains, where it was."""
        s, e = self.settings, self.settings.extras
        named: dict[str, tuple[Any, ...]] = {
            "functionals": e.functionals, "events": e.events, "expectations": e.expectations, "controls": e.controls
        }  # fmt: skip
        described: dict[str, Any] = {
            what: ", ".join(item[0] for item in items) for what, items in named.items() if items
        }
        if e.boundaries:
            described["boundaries"] = ", ".join(map(repr, e.boundaries))
        if e.stop_when is not None:
            described["stop_when"] = getattr(e.stop_when, "__name__", repr(e.stop_when))
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
        if s.keeps_states:
            plots.thin(ax, self.t, np.asarray(self.x[:, :n_paths, c]))
        if s.x0 is not None:
            figures.exact(ax, s.model, c, self.t, self.t - s.grid.t0, s.x0)
        figures.labels(ax, s.model, c, f"{s.method}, {s.dtype.name}, seed {self.seed}")
        return ax

    def __repr__(self) -> str:
        s, grid = self.settings, self.settings.grid
        start, end = grid.time(np.array([grid.first_step, grid.last_step]))
        kept = f"{len(s.saves)} saved times" + ("" if s.keeps_states else ", statistics only")
        return (
            f"<Simulation of {s.model!r}: {s.n_paths:,} paths x {grid.n_steps:,} steps, t = {start:g} to {end:g}, "
            f"{s.method}, {s.dtype.name}, seed {s.seed}; {kept}; {self.cost.seconds:.3g} s, "
            f"{self.path_steps_per_second / 1e6:,.0f} M path-steps/s, {self.cost.executor}, {self.cost.isa}>"
        )
