"""What a call of `sgd` asks for, checked: settings and start of a new fit, or of one that goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .. import checks, resources
from ..engine import plan
from ..engine.grid import TimeGrid
from ..engine.statistics import Histogram, Layout
from ..run import options
from ..run.expectations import Named, traced
from ..run.schedule import StepSizes, iteration_grid, saved_iterations, step_sizes
from .problem import LeastSquares
from .result import Descent
from .steps import iterations
from .steps.base import MOST_ROWS, DescentStep, Settings


class Wanted(NamedTuple):
    """What to keep and to gather, as asked for."""

    save_at: Any
    runs: Any
    coordinates: Any
    moments: bool | None
    covariance: bool
    histogram: Histogram | None
    final_states: bool
    expectations: Any

    def asked(self, iteration: DescentStep) -> Named:
        """The functions of parameters, traced."""
        if not self.expectations:
            return traced(self.expectations, ())
        if iteration.is_error:
            raise ValueError("reduced=True runs the error alone: there are no parameters for expectations=")
        if iteration.dim > MOST_ROWS:
            raise ValueError(
                f"expectations are of up to {MOST_ROWS} parameters, got {iteration.dim}: keep some with runs="
            )
        names = tuple(f"theta{i}" for i in range(iteration.dim))
        return traced(self.expectations, (("k", "t"), ("theta", names)))


#: Runs where their number is not said.
_RUNS = 10_000


def fresh(
    problem: LeastSquares, step_size: Any, n_steps: int, fixed: dict[str, Any], wanted: Wanted, on_gpu: bool
) -> tuple[Settings, np.ndarray]:
    """Check everything that a new fit needs."""
    if step_size is None:
        raise TypeError("sgd needs step_size")
    n_runs, d = options.many("n_runs", _RUNS if fixed["n_runs"] is None else fixed["n_runs"]), problem.dim
    asked = StepSizes.of(step_size, n_steps, d)
    iteration = iterations.of(problem, asked.width > 1, fixed, on_gpu)
    dtype, noise_dtype = checks.types(fixed["dtype"], fixed["noise_dtype"])
    theta0 = _start(problem, fixed["theta0"], n_runs)
    grid = iteration_grid(n_steps)
    saves, layout, gathers = _gathering(iteration, grid, wanted)
    seed, first_chain = options.seed(fixed["seed"]), options.first_chain(fixed["first_chain"])
    expectations = wanted.asked(iteration)
    # (a function is asked for all step sizes when everything else is known to be right)
    settings = Settings(
        iteration=iteration, rates=asked.values(), theta0=theta0, gathers_moments=gathers, seed=seed, dtype=dtype,
        noise_dtype=noise_dtype, first_chain=first_chain, n_chains=n_runs, grid=grid, saves=saves, layout=layout,
        keeps_states=False, histogram=wanted.histogram, expectations=expectations,
    )  # fmt: skip
    return settings, start_rows(settings)


def continued(
    problem: LeastSquares, before: Any, step_size: Any, n_steps: int, fixed: dict[str, Any], wanted: Wanted
) -> tuple[Settings, np.ndarray]:
    """Check everything that going on needs: what decides the numbers is the earlier fit's."""
    if not isinstance(before, Descent):
        raise TypeError(f"resume must be the result of an earlier sgd, got {checks.shown(before)}")
    given = [name for name, value in fixed.items() if value is not None]
    if given:
        raise TypeError(f"a resumed fit goes on with the earlier fit's settings: leave out {', '.join(given)}")
    old = before.settings
    if problem != old.iteration.problem:
        raise ValueError(
            f"resume goes on with the same problem: the fit was of {before.problem!r}, got {checks.shown(problem)}"
        )
    start = before._final_rows()
    grid = plan.continued_grid(old.grid, n_steps, None)
    if step_size is None:
        if len(old.rates) > 1:
            raise TypeError("step_size must be given: it changed from iteration to iteration")
        rates = old.rates
    else:
        rates = step_sizes(step_size, n_steps, problem.dim, old.grid.last_step)
        if (rates.shape[1] > 1) != old.iteration.per_parameter:
            raise ValueError("step_size must be one for all parameters, or one for each, as in the fit that is resumed")
    saves, layout, gathers = _gathering(old.iteration, grid, wanted)
    settings = replace(
        old, rates=rates, theta0=None, grid=grid, saves=saves, layout=layout, gathers_moments=gathers,
        histogram=wanted.histogram, expectations=wanted.asked(old.iteration),
    )  # fmt: skip
    return settings, start


#: Moments are gathered without being asked for where they cost little: of so few parameters, or at so few iterations.
_FEW_PARAMETERS, _FEW_TIMES = 16, 16

#: Saved times of many numbers that a chunk of steps has, about: `steps_per_chunk` in csrc/engine/chain_loop.hpp.
_CHUNK_TIMES = 32


def _gathering(iteration: DescentStep, grid: TimeGrid, wanted: Wanted) -> tuple[np.ndarray, Layout, bool]:
    """Iterations to save, what to gather there, and whether moments are, once it is known that it fits."""
    d, rotated = iteration.dim, iteration.coordinates.basis is not None
    saves = saved_iterations(wanted.save_at, grid)
    cheap = len(saves) <= max(_FEW_TIMES, grid.n_steps // 64) or (d <= _FEW_PARAMETERS and not rotated)
    gathers = bool(wanted.moments or wanted.covariance or (wanted.moments is None and cheap and not iteration.is_error))
    if iteration.is_error:
        for name in ("moments", "covariance", "histogram"):
            if getattr(wanted, name):
                raise ValueError(f"reduced=True runs the error alone: there are no iterates for {name}=")
    if wanted.covariance and wanted.moments is False:
        raise ValueError("moments=False contradicts covariance=True")
    layout = Layout(d, 2, False, wanted.covariance)
    bins = 0 if wanted.histogram is None else iteration.n_rows * (wanted.histogram.bins + 2)
    # Merged blocks and those of tiles in flight; and the sums for the times of a chunk, in 16 columns.
    size = 3 * iteration.n_errors + gathers * layout.size + bins
    resources.refuse_too_large(
        (32 * len(saves) + 16 * (min(len(saves), _CHUNK_TIMES) + 1)) * size * 8,
        f"the statistics of {len(saves)} iterations",
        ["save fewer: save_at=", *["mean and variance alone: covariance=False"] * wanted.covariance],
    )
    return saves, layout, gathers


def _start(problem: LeastSquares, theta0: Any, n_runs: int) -> np.ndarray:
    """The start, of shape (d,) or (n_runs, d)."""
    d = problem.dim
    given = np.zeros(d) if theta0 is None else checks.array("theta0", theta0)
    if given.ndim == 0 and d == 1:
        given = given.reshape(1)
    if given.shape not in ((d,), (n_runs, d)):
        raise ValueError(f"theta0 must be of shape ({d},) or ({n_runs}, {d}), got {given.shape}")
    return given


def start_rows(settings: Settings) -> np.ndarray:
    """Start rows, (n_rows, 1) or (n_rows, n_runs)."""
    assert settings.theta0 is not None
    with np.errstate(over="ignore"):
        start = settings.iteration.start(np.atleast_2d(settings.theta0)).astype(settings.dtype)
    if not np.isfinite(start).all():
        raise ValueError(f"theta0 must be finite in {settings.dtype.name}")
    return start
