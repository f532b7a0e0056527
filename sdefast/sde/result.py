"""What a simulation returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checks, plots
from ..engine.gathering import ONE
from ..engine.statistics import Layout
from ..lazy import cached_property
from ..run.result import Expectation, Result, mean_error
from ..words import counted, per_second, product
from . import figures
from .events import Reset
from .models.base import Model
from .sensitivities import Sensitivity
from .settings import Settings, known_values, replayed_states

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Components that a figure has unless one is asked for, and paths whose quantiles are drawn.
_MOST_DRAWN, _N_QUANTILES = 6, 2000


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
        return dict(zip([name for name, _ in e.expectations], self._asked, strict=False))

    @cached_property
    def _asked(self) -> list[Expectation]:
        """The expectations, then for each sensitivity their derivatives."""
        e = self.settings.extras
        if e.controls:
            return self._controlled(self._totals[self.settings.gathering.expectations[0]], e.n_asked)
        return [self._expectation(i) for i in range(e.n_asked)]

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
        slopes = _slopes(between, across)
        value = mean[:, :n] - ((mean[:, n:] - known)[:, None] @ slopes)[:, 0]
        left = products[:, range(n), range(n)] - (across * slopes).sum(1)
        count = total[:, :1]
        freedom = count - 1 - known.shape[1]
        error = np.sqrt(np.maximum(left, 0) / np.maximum(freedom, 1) / np.maximum(count, 1))
        error = np.where(freedom > 0, error, np.nan)
        missing = self.settings.n_chains - total[:, 0].astype(np.int64)
        return [Expectation(value[:, k], error[:, k], missing) for k in range(n)]

    @property
    def control_slopes(self) -> np.ndarray:
        """Regression coefficients of the expectations on the controls, of shape (n_times, n_controls, n_asked)."""
        e = self.settings.extras
        if not e.controls:
            raise AttributeError("control_slopes are those of runs with controls")
        n, size = e.n_asked, e.n_asked + len(e.controls)
        total = self._totals[self.settings.gathering.expectations[0]]
        products = Layout(size, 2, False, True).covariances(total)
        return _slopes(products[:, n:, n:], products[:, n:, :n])

    def _control_errors(self) -> dict[str, float]:
        """How many standard errors the mean of every control is off what was said, at the worst time."""
        controls, n = self.settings.extras.controls, self.settings.extras.n_asked
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
    def sensitivities(self) -> dict[str, Sensitivity]:
        """Derivatives in the parameters that ``sensitivities=`` named."""
        return {name: self._sensitivity(s) for s, name in enumerate(self.settings.extras.sensitivities)}

    def _sensitivity(self, s: int) -> Sensitivity:
        e, dim = self.settings.extras, self.dim
        own, asked = list(e.functionals), len(e.expectations)
        first = len(own) + s * (dim + len(own))
        state = [self._carried(first + i) for i in range(dim)]
        values = None if self._states is None else self._rows(dim + first, dim)
        return Sensitivity(
            np.stack([c.mean for c in state], 1),
            np.stack([c.standard_error for c in state], 1),
            np.stack([c.n_nonfinite for c in state], 1),
            values,
            {name: self._carried(first + dim + i) for i, (name, _) in enumerate(own)},
            dict(zip([name for name, _ in e.expectations], self._asked[asked * (1 + s) :], strict=False)),
        )

    @property
    def stop_time(self) -> FunctionalResult:
        """When ``stop_when`` first held for a path, also within a step; infinite where it has not."""
        if self.settings.extras.stop_when is None:
            raise AttributeError("stop_time is that of runs with stop_when")
        return self._carried(self.settings.extras.n_carried(self.dim) - 1)

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
        if e.sensitivities:
            described["sensitivities"] = ", ".join(e.sensitivities)
        flags = {"antithetic": e.antithetic, "given_normals": s.given_normals}
        return described | {name: int(value) for name, value in flags.items() if value}

    def plot(self, ax: Axes | None = None, *, component: int | None = None, n_paths: int = 20) -> Axes:
        """Draw sample paths, mean and a band, beside the exact ones where the model has them.

        The band is of two standard deviations; of models whose law has several modes it is one of quantiles, of up to
        2,000 paths. Paths that were not kept are run once more, from the same noise.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw one component; a new figure by default.
        component : int, optional
            Which component of the state; by default all of them beside each other, the first six if there are more,
            or in ``ax`` the first.
        n_paths : int
            How many sample paths.

        Returns
        -------
        matplotlib.axes.Axes
            The axes of the first component that is drawn; ``.figure`` has all of them.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a single time was saved.
        """
        dim, s = self.model.dim, self.settings
        if component is not None:
            component = checks.count("component", component, least=0, most=dim - 1)
        n_paths = checks.count("n_paths", n_paths, least=0)
        if len(self.t) < 2:
            raise ValueError("plot needs several saved times: simulate with save_at='all' or every so many steps")
        alone = ax is not None or component is not None or dim == 1
        shown = [component or 0] if alone else list(range(min(dim, _MOST_DRAWN)))
        axes = [ax] if ax is not None else [plots.new_axes()] if alone else plots.new_row(len(shown))
        several_modes = self.model.is_multimodal
        states = self._first_states(max(n_paths, _N_QUANTILES) if several_modes else n_paths)
        for one, c in zip(axes, shown, strict=True):
            self._draw(one, c, states, n_paths)
        title = f"{s.model}", f"{s.method}, {s.dtype.name}, seed {self.seed}"
        if len(axes) == 1:
            axes[0].set_title("\n".join(title), fontsize="medium")
        else:
            plots.heading(axes[0], *title)
        return axes[0]

    def _first_states(self, n: int) -> np.ndarray:
        """Saved states of the first n paths, or of none if they are not there and cannot be run again."""
        if not n or not self.settings.keeps_states:
            found = replayed_states(self.settings, n) if n else None
            return np.empty((len(self.t), 0, self.model.dim)) if found is None else found
        return np.asarray(self.x[:, :n])

    def _draw(self, ax: Axes, c: int, states: np.ndarray, n_paths: int) -> None:
        """A component."""
        s = self.settings
        by_quantiles = self.model.is_multimodal and states.shape[1] > 1
        deviation = None if by_quantiles else self.standard_deviation[:, c]
        figures.statistics(ax, self.t, self.mean[:, c], deviation, self.n_paths)
        if by_quantiles:
            figures.quantiles(ax, self.t, states[:, :, c])
        paths = states[:, :n_paths, c]
        if paths.shape[1]:
            plots.thin(ax, self.t, paths, counted(paths.shape[1], "path"))
        if s.x0 is not None:
            figures.exact(ax, s.model, c, self.t, self.t - s.grid.t0, s.x0)
        ax.set(xlabel="t", ylabel=figures.component_name(s.model, c))
        plots.legend(ax)

    def __repr__(self) -> str:
        s, grid = self.settings, self.settings.grid
        start, end = grid.time(np.array([grid.first_step, grid.last_step]))
        kept = counted(len(s.saves), "saved time") + ("" if s.keeps_states else ", statistics only")
        done = (1 - self.cost.found) * s.n_paths * grid.n_steps
        return (
            f"<Simulation of {s.model!r}: {product(s.n_paths, 'path', grid.n_steps, 'step')}, t = {start:g} to "
            f"{end:g}, {s.method}, {s.dtype.name}, seed {s.seed}; {kept}; {self.cost.seconds:.3g} s, "
            f"{per_second(done, self.cost.seconds, 'path-steps')}, {self.cost.executor}, {self.cost.isa}>"
        )


def _slopes(between: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Regression coefficients on controls; one that does not vary, as at the start, corrects nothing."""
    slopes: np.ndarray = np.linalg.pinv(between) @ across
    return slopes
