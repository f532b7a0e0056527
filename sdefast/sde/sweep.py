"""The same simulation over a grid of parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from typing import Any

import numpy as np

from .. import checks
from ..engine.tiles import BLOCK
from ..run import options
from ..run.result import Expectation
from ..run.where import Where
from .models.base import Model, check_model
from .result import FunctionalResult, Simulation
from .simulate import simulate

#: Seconds of a cell below which several run side by side: so long Ctrl-C waits for them.
_SHORT = 0.2

#: Options of `simulate` that a sweep decides, or that are of one run.
_DECIDED = ("resume", "checkpoint", "progress")


@dataclass(frozen=True, eq=False)
class Sweep:
    """Simulations over a grid of parameters.

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

    def __getitem__(self, index: Any) -> Any:
        """The `Simulation` of a cell, or an array of them."""
        return self.runs[index]

    def __repr__(self) -> str:
        grid = " x ".join(f"{len(values)} {name}" for name, values in self.over.items())
        return f"<Sweep over {grid}, each {self.runs.flat[0]!r}>"


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
    shape = tuple(map(len, values.values()))
    cells = [model.with_parameters(dict(zip(values, cell, strict=True))) for cell in product(*values.values())]
    fixed = {"paths": paths, "seed": options.seed(seed), "threads": threads, **simulation}
    apart = 0 if checks.flag("common_noise", common_noise) else _apart(simulation)

    def run(k: int) -> Simulation:
        return simulate(cells[k], first_chain=first_chain + k * apart, **fixed)

    runs = np.empty(len(cells), object)
    runs[:] = _all(run, len(cells), Where.of(simulation.get("device", "cpu"), threads, simulation.get("executor")))
    return Sweep(values, runs.reshape(shape))


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
