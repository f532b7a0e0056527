"""The same simulation over a grid of parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checks, plots
from ..engine.tiles import BLOCK
from ..run import options
from ..run.checkpoint import Checkpoint
from ..run.report import Report
from ..run.result import Expectation
from ..run.where import Where
from . import figures
from .models.base import Model, check_model, exact_moments
from .result import FunctionalResult, Simulation
from .simulate import simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Seconds of a cell below which several run side by side: so long Ctrl-C waits for them.
_SHORT = 0.2

#: Options of `simulate` that a sweep decides, or that are of one run.
_DECIDED = ("progress",)

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


def sweep(
    model: Model,
    over: Mapping[str, Any],
    *,
    common_noise: bool = True,
    paths: bool = False,
    seed: int | None = None,
    first_chain: int = 0,
    threads: int | None = None,
    resume: Sweep | None = None,
    checkpoint: str | PathLike[str] | None = None,
    **simulation: Any,
) -> Sweep:
    """Simulate a model for every combination of values of its parameters.

    A cell is to the last bit what `simulate` gives for its parameters alone. Nothing is compiled for other values, and
    cells that are soon done run side by side.

    Parameters
    ----------
    model : Model
        Any model with parameters: `SDE`, `BlackScholes`, ...
    over : mapping of str to array_like
        Values of parameters by name, of shape (n,) each: the grid has an axis for each name.

    Other Parameters
    ----------------
    common_noise : bool
        Drive all cells by the same noise (common random numbers: Glasserman, Monte Carlo Methods in Financial
        Engineering, 2004, section 7.1), so that differences between them have small errors; otherwise cell k takes the
        chains after those of cell k - 1, from the next multiple of 4096 on.
    paths : bool
        Keep the states at the saved times.
    seed : int
        That of all cells; a random one by default, recorded in the results.
    first_chain : int
        Number of the first path of the first cell.
    threads : int
        Worker threads; by default the processors that this process may use.
    resume : Sweep
        Go on from the end of this sweep, of the same model over the same values, which kept its final states, for
        ``n_steps`` more steps: every cell as by ``simulate(resume=...)``.
    checkpoint : path
        A file in which to keep what is done of all cells, and from which the same call goes on, as for `simulate`.
        Cells then run one after the other.
    **simulation
        What else `simulate` takes: ``x0``, ``t1``, ``n_steps``, ``n_paths`` (of every cell), ``expectations``, ...

    Returns
    -------
    Sweep
        With ``mean``, ``variance``, ``standard_error`` of shape (*shape, n_times, dim), ``expectations``, and ``runs``.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not the model's, values are not finite numbers of one dimension, or `simulate` refuses a cell.

    Examples
    --------
    >>> import numpy as np
    >>> import sdefast as sf
    >>> rates = np.linspace(0.0, 0.1, 5)
    >>> found = sf.sweep(sf.BlackScholes(sigma=0.2), {"mu": rates}, x0=1.0, t1=1.0, n_steps=10, n_paths=4000, seed=1,
    ...                  method="exact")
    >>> bool((abs(found.mean[:, 0, 0] - np.exp(rates)) < 5 * found.standard_error[:, 0, 0]).all())
    True
    """
    check_model(model)
    given = [name for name in _DECIDED if name in simulation]
    if given:
        raise TypeError(f"a sweep is made of many runs: leave out {', '.join(given)}, and save runs of cells")
    values = _checked(model, over)
    cells = [model.with_parameters(dict(zip(values, cell, strict=True))) for cell in product(*values.values())]
    where = Where.of(simulation.get("device", "cpu"), threads, simulation.get("executor"))
    common = checks.flag("common_noise", common_noise)
    if resume is not None:
        _refuse_another(resume, values, {"seed": seed is not None, "first_chain": first_chain != 0})
    with Checkpoint.of(checkpoint, "sweep", where.gpu is not None) as keeping:
        kept = keeping.cells(len(cells), over=values, common_noise=common)
        fixed = {"paths": paths, "threads": threads, **simulation}
        if resume is None:
            fixed["seed"] = options.seed(keeping.seed if seed is None else seed)
        apart = 0 if common or resume is not None else _apart(simulation)

        def run(k: int) -> Simulation:
            own = {"first_chain": first_chain + k * apart} if resume is None else {"resume": resume.runs.flat[k]}
            return simulate(cells[k], checkpoint=None if kept is None else kept[k], **own, **fixed)  # type: ignore[arg-type]

        runs = np.empty(len(cells), object)
        try:
            runs[:] = _all(run, len(cells), where) if kept is None else [run(k) for k in range(len(cells))]
        except BaseException:
            keeping.stopped()
            raise
        keeping.finish()
    return Sweep(values, runs.reshape([len(of) for of in values.values()]))


def _refuse_another(before: Any, values: Mapping[str, np.ndarray], given: Mapping[str, bool]) -> None:
    """Errors where a sweep cannot go on from another one."""
    if not isinstance(before, Sweep):
        raise TypeError(f"resume must be the result of an earlier sweep, got {checks.shown(before)}")
    extra = [name for name, is_given in given.items() if is_given]
    if extra:
        raise TypeError(f"a resumed sweep goes on with the earlier one's settings: leave out {', '.join(extra)}")
    same = list(before.over) == list(values)
    if not same or any(not np.array_equal(before.over[name], of) for name, of in values.items()):
        raise ValueError("resume goes on over the same values: over must be that of the earlier sweep")


def _checked(model: Model, over: Any) -> dict[str, np.ndarray]:
    """The values of parameters, as arrays."""
    if not isinstance(over, Mapping) or not over:
        raise TypeError(f"over must be a mapping of names of parameters to values, got {over!r}")
    unknown = [name for name in over if name not in model.numbers()]
    if unknown:
        known = ", ".join(model.numbers())
        raise ValueError(
            f"over must have names of the model's parameters, {known}, got {', '.join(map(repr, unknown))}"
        )
    values = {name: checks.array(f"over[{name!r}]", given) for name, given in over.items()}
    for name, of in values.items():
        if of.ndim != 1 or not len(of):
            raise ValueError(f"over[{name!r}] must be of shape (n,), got {of.shape}")
    return values


def _apart(simulation: Mapping[str, Any]) -> int:
    """Chains from the first of a cell to that of the next: whole blocks."""
    n = options.many("n_paths", simulation.get("n_paths"))
    chains = n // 2 if simulation.get("antithetic") else n
    return -(-chains // BLOCK) * BLOCK


def _all(run: Callable[[int], Simulation], n: int, where: Where) -> list[Simulation]:
    """All cells: one after the other, or side by side if the second, which has all kernels, takes no time."""
    found = [run(0)]
    started = time.perf_counter()
    found += [run(1)] if n > 1 else []
    is_short = time.perf_counter() - started < _SHORT
    if where.gpu is not None or where.executor is not None or where.threads == 1 or not is_short:
        return found + [run(k) for k in range(len(found), n)]
    # (a pool of its own: cells wait for tiles of the default one)
    pool = ThreadPoolExecutor(where.threads, thread_name_prefix="sdefast-sweep")
    try:
        return found + list(pool.map(run, range(len(found), n)))
    finally:
        pool.shutdown(cancel_futures=True)


__all__ = ["Sweep", "sweep"]
