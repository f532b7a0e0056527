"""What a sweep returns: the simulations of a grid of parameters, as one result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checks, plots
from ..run.report import Report
from ..run.result import Expectation
from . import figures
from .models.base import exact_moments
from .result import FunctionalResult, Simulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Sweep"]

#: Names that tables of results have for other things than parameters.
_TAKEN = frozenset(("time", "path", "component", "mean", "variance", "standard_error", "n_nonfinite", "x"))


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Report):
    """Simulations over a grid of parameters.

    It is saved, and read again by `sdefast.load`, as one run is; `to_xarray` has an axis for every parameter.

    Attributes
    ----------
    over : dict of str to ndarray
        The values of every parameter, in the order of the grid's axes.
    runs : ndarray of Simulation
        What `simulate` gives in every cell, an array of the grid's shape.

    Examples
    --------
    >>> import sdefast as sf
    >>> found = sf.sweep(sf.OrnsteinUhlenbeck(), {"kappa": [1.0, 2.0], "sigma": [0.1, 0.2, 0.3]}, x0=1.0, t1=1.0,
    ...                  n_steps=10, n_paths=100, seed=1)
    >>> found.shape, found.mean.shape, found[1, 2].model
    ((2, 3), (2, 3, 1, 1), OrnsteinUhlenbeck(kappa=2.0, theta=0.0, sigma=0.3))
    """

    over: dict[str, np.ndarray]
    runs: np.ndarray

    call: ClassVar[str] = "sweep"

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of values."""
        return self.runs.shape

    @property
    def t(self) -> np.ndarray:
        """Saved times, of shape (n_times,)."""
        times: np.ndarray = self.runs.flat[0].t
        return times

    @property
    def mean(self) -> np.ndarray:
        """Means of the components, of shape (*shape, n_times, dim); so are the next three."""
        return self.each(lambda run: run.mean)

    @property
    def variance(self) -> np.ndarray:
        """Unbiased sample variances."""
        return self.each(lambda run: run.variance)

    @property
    def standard_deviation(self) -> np.ndarray:
        """Roots of the variances."""
        return self.each(lambda run: run.standard_deviation)

    @property
    def standard_error(self) -> np.ndarray:
        """Standard errors of the means, each of its own cell: cells that share noise go together."""
        return self.each(lambda run: run.standard_error)

    @property
    def n_nonfinite(self) -> np.ndarray:
        """Numbers of paths that are not finite, of shape (*shape, n_times)."""
        return self.each(lambda run: run.n_nonfinite)

    @property
    def x(self) -> np.ndarray:
        """Saved states, where they were kept, of shape (*shape, n_times, n_paths, dim)."""
        return self.each(lambda run: np.asarray(run.x))

    @property
    def expectations(self) -> dict[str, Expectation]:
        """Expectations by name, with arrays of shape (*shape, n_times)."""
        return {
            name: Expectation(*self._numbers("expectations", name, "value", "standard_error", "n_nonfinite"))
            for name in self.runs.flat[0].expectations
        }

    @property
    def functionals(self) -> dict[str, FunctionalResult]:
        """Functionals by name, with arrays of shape (*shape, n_times); values of paths are those of ``runs``."""
        found = {}
        for name in self.runs.flat[0].functionals:
            mean, error, variance, n = self._numbers(
                "functionals", name, "mean", "standard_error", "variance", "n_nonfinite"
            )
            found[name] = FunctionalResult(mean, error, variance, n, None)
        return found

    def _numbers(self, what: str, name: str, *numbers: str) -> list[np.ndarray]:
        found = np.array([getattr(run, what)[name] for run in self.runs.flat], object).reshape(self.shape)
        return [_stacked(found, attrgetter(number)) for number in numbers]

    def each(self, function: Callable[[Simulation], Any]) -> np.ndarray:
        """An array or number of every run, such as ``lambda run: run.quantile(0.9)``, the grid's axes first."""
        return _stacked(self.runs, function)

    # As one result ------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The settings of the first cell as plain numbers and strings, and what was swept."""
        return {"over": self._grid, **self.runs.flat[0].describe()}

    def _axes(self) -> dict[str, np.ndarray]:
        own = {f"{name}_" if name in _TAKEN else name: values for name, values in self.over.items()}
        return own | super()._axes()

    def _tabulated(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        tables = np.array([run._tabulated() for run in self.runs.flat], object).reshape(self.shape)
        found = {}
        for name, (axes, _) in tables.flat[0].items():
            found[name] = axes, np.array([table[name][1] for table in tables.flat])
        return {name: (axes, of.reshape(*self.shape, *of.shape[1:])) for name, (axes, of) in found.items()}

    def _coordinates(self) -> dict[str, np.ndarray]:
        found = [run._coordinates() for run in self.runs.flat]
        same = all(run.settings.first_chain == self.runs.flat[0].settings.first_chain for run in self.runs.flat)
        return found[0] if same else {}

    def _to_record(self) -> dict[str, Any]:
        return {"over": self.over, "runs": tuple(self.runs.flat)}

    @classmethod
    def _from_record(cls, record: dict[str, Any]) -> Sweep:
        runs = np.empty(len(record["runs"]), object)
        runs[:] = record["runs"]
        return cls(record["over"], runs.reshape([len(values) for values in record["over"].values()]))

    # Figures ------------------------------------------------------------------------------------------------------

    def plot(
        self, ax: Axes | None = None, *, statistic: str = "mean", component: int = 0, against: str | None = None
    ) -> Axes:
        """Draw a statistic over a parameter, or over time, with two standard errors, beside the exact one if known.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        statistic : str
            ``"mean"`` or ``"variance"``, or the name of an expectation or a functional.
        component : int
            Which component of the state.
        against : str, optional
            A parameter's name, for the statistic at the last saved time over its values, by default that of most
            values; or ``"time"``. There is a line for every combination of the other values.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such statistic, component or parameter, or for ``"time"`` a single time was saved.

        Examples
        --------
        >>> import sdefast as sf
        >>> found = sf.sweep(sf.OrnsteinUhlenbeck(), {"kappa": [1.0, 2.0, 3.0], "sigma": [0.1, 0.2]}, x0=1.0, t1=1.0,
        ...                  n_steps=10, n_paths=100, seed=1)
        >>> found.plot(against="kappa").get_xlabel()
        'kappa'
        """
        component = checks.count("component", component, least=0, most=self.runs.flat[0].model.dim - 1)
        value, error, exact = self._drawn(statistic, component)
        if against is None:
            against = max(self.over, key=lambda name: len(self.over[name]))
        checks.choice("against", against, (*self.over, "time"))
        if against == "time" and len(self.t) < 2:
            raise ValueError("plot against time needs several saved times: sweep with save_at='all' or given times")
        ax = plots.new_axes() if ax is None else ax
        names = list(self.over)
        if against in names:  # the last time alone, and the parameter's axis last
            names.remove(against)
            value, error, exact = (np.moveaxis(a[..., -1], list(self.over).index(against), -1) for a in
                                   (value, error, exact))  # fmt: skip
        x = self.over.get(against, self.t)
        for i, index in enumerate(np.ndindex(value.shape[:-1])):
            label = ", ".join(f"{name} = {self.over[name][k]:g}" for name, k in zip(names, index, strict=True))
            figures.with_errors(ax, x, value[index], error[index], exact[index], f"C{i % 10}", label or "simulated")
        what = figures.component_name(self.runs.flat[0].model, component) if statistic in _OF_STATES else ""
        ax.set(xlabel=against if against in self.over else "t", ylabel=f"{statistic} {what}".strip())
        end = "" if against not in self.over else f" at t = {self.t[-1]:g}"
        ax.set_title(f"{type(self.runs.flat[0].model).__name__}{end}, ± 2 std. errors", fontsize="medium")
        plots.legend(ax, beside=value.size // value.shape[-1] > _MANY_LINES)
        return ax

    def _drawn(self, statistic: str, component: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A statistic of all cells, its standard error and what it is exactly, NaN if unknown: (*shape, n_times)."""
        named = {name: (found.mean, found.standard_error) for name, found in self.functionals.items()}
        named |= {name: (found.value, found.standard_error) for name, found in self.expectations.items()}
        checks.choice("statistic", statistic, (*_OF_STATES, *named))
        if statistic in named:
            value, error = named[statistic]
            return value, error, np.full_like(value, np.nan)
        if statistic == "mean":
            value, error = self.mean, self.standard_error
        else:
            value = self.variance
            known = self.runs.flat[0].settings.layout.moments == 4
            error = self.each(lambda run: run.variance_standard_error) if known else np.full_like(value, np.nan)
        exact = self.each(lambda run: _exact(run)[_OF_STATES.index(statistic)])
        return value[..., component], error[..., component], exact[..., component]

    def __getitem__(self, index: Any) -> Any:
        """The `Simulation` of a cell, or an array of them."""
        return self.runs[index]

    @property
    def _grid(self) -> str:
        return " x ".join(f"{len(values)} {name}" for name, values in self.over.items())

    def __repr__(self) -> str:
        return f"<Sweep over {self._grid}, each {self.runs.flat[0]!r}>"


#: Statistics of the state that are drawn, and from how many lines on their legend lies beside them.
_OF_STATES, _MANY_LINES = ("mean", "variance"), 10


def _exact(run: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Exact mean and variance, NaN where there are none."""
    s, nothing = run.settings, np.full_like(run.mean, np.nan)
    known = None if s.x0 is None else exact_moments(run.model, run.t - s.grid.t0, s.x0)
    return (nothing, nothing) if known is None else known


def _stacked(cells: np.ndarray, function: Callable[[Any], Any]) -> np.ndarray:
    found = np.array([np.asarray(function(cell)) for cell in cells.flat])
    return found.reshape(*cells.shape, *found.shape[1:])
