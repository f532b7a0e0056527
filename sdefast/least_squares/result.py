"""What SGD gives: error and iterates over the runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import checks, plots, resources
from ..engine.gathering import ONE
from ..lazy import cached_property
from ..run.checkpoint import Checkpoint
from ..run.records import register
from ..run.result import Expectation, Result
from ..run.where import Keeper, Where
from ..words import per_second, product
from .problem import LeastSquares
from .samples import rows_in_order, rows_picked
from .steps.base import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Kept runs that run together at most, and bytes that their states may take if there are more than a row of lanes.
_AT_A_TIME, _STATES = 256, 2**28


@register
class Kept(NamedTuple):
    """Runs and parameters that are kept, by their numbers."""

    runs: np.ndarray
    parameters: np.ndarray

    def at_a_time(self, s: Settings) -> int:
        """Runs that run together: whole rows of lanes, and few where their states take much memory."""
        one = len(s.saves) * s.dtype.itemsize * s.iteration.n_rows
        return min(max(_STATES // one // 32, 1) * 32, _AT_A_TIME)

    def refuse_too_large(self, s: Settings) -> None:
        """MemoryError, before any work, if what is kept cannot fit."""
        runs, parameters, n, size = len(self.runs), len(self.parameters), len(s.saves), s.dtype.itemsize
        together = min(runs, self.at_a_time(s)) * (s.iteration.n_rows * size + parameters * 8)
        resources.refuse_too_large(
            n * (runs * parameters * size + together), f"the iterates of {runs} runs at {n} iterations",
            ["keep fewer: runs=, coordinates= or save_at="],
        )  # fmt: skip


def kept_runs(runs: Any, coordinates: Any, n_runs: int, dim: int) -> Kept | None:
    """Which runs and parameters to keep."""
    if np.ndim(runs) == 0:
        chosen = np.arange(checks.count("runs", runs, least=0, most=n_runs))
    else:
        chosen = _numbers("runs", runs, n_runs)
    parameters = np.arange(dim) if coordinates is None else _numbers("coordinates", coordinates, dim)
    if coordinates is not None and not len(chosen):
        raise ValueError("coordinates says what to keep of the runs in runs=, which keeps none")
    return Kept(chosen, parameters) if len(chosen) else None


def _numbers(name: str, given: Any, n: int) -> np.ndarray:
    """Numbers between 0 and n - 1."""
    numbers = checks.array(name, given, shape=(None,))
    if (numbers != np.rint(numbers)).any() or (numbers < 0).any() or (numbers >= n).any():
        raise ValueError(f"{name} must hold integers from 0 to {n - 1}, got {checks.shown(given)}")
    return numbers.astype(np.int64)


def kept_theta(s: Settings, start: np.ndarray, kept: Kept, where: Where, keeping: Checkpoint) -> np.ndarray:
    """The kept parameters of the kept runs, which are run alone, of shape (n_times, runs, parameters)."""
    theta = np.empty((len(s.saves), len(kept.runs), len(kept.parameters)), s.dtype)
    pieces = np.split(np.arange(len(kept.runs)), np.flatnonzero(np.diff(kept.runs) != 1) + 1)
    for piece in pieces:
        for at in np.split(piece, range(kept.at_a_time(s), len(piece), kept.at_a_time(s))):
            own, name = theta[:, at[0] : at[-1] + 1], f"theta{at[0]}"
            done = keeping.done(name)
            if done is not None:
                own[...] = done
                continue
            own[...] = _theta(s, start, kept, at, where, keeping.part(name))
            keeping.put(name, own)
    return theta


def _theta(
    s: Settings, start: np.ndarray, kept: Kept, at: np.ndarray, where: Where, keeper: Keeper | None
) -> np.ndarray:
    """The kept parameters of neighbouring runs."""
    first, n = int(kept.runs[at[0]]), len(at)
    alone = replace(s, first_chain=s.first_chain + first, n_chains=n, keeps_states=True, histogram=None)
    own = start if start.shape[1] == 1 else start[:, first : first + n]
    states = where.run(alone.tile(own, device=where.gpu, gathers=False), None, keeper).states
    rows = (states if isinstance(states, np.ndarray) else states.to_numpy())[:, : s.iteration.dim]
    return s.iteration.coordinates.theta(rows, kept.parameters).transpose(0, 2, 1)


def error_axes(ax: Axes | None, error: np.ndarray, call: str) -> Axes:
    """Axes for errors at saved iterations, new ones for None; ValueError if a single one was saved."""
    if len(error) < 2:
        raise ValueError(f"plot needs several saved iterations: {call} with save_at='all' or every so many")
    ax = ax if ax is not None else plots.new_axes()
    if (error > 0).any():
        ax.set_yscale("log")
    ax.set(xlabel="iteration", ylabel=r"$|\theta_k - \theta^*|^2$")
    return ax


def described_rates(rates: np.ndarray) -> float | str:
    """Step sizes in a word."""
    return float(rates[0, 0]) if rates.size == 1 else "several"


@dataclass(frozen=True, eq=False, repr=False)
class Descent(Result):
    """Result of `sgd`: error and iterates over all runs that are finite, at every saved iteration."""

    settings: Settings
    _theta: np.ndarray | None = field(default=None, repr=False)
    _kept: Kept | None = field(default=None, repr=False)

    call: ClassVar[str] = "sgd"
    chain_word: ClassVar[str] = "run"
    time_word: ClassVar[str] = "iteration"
    _why_not_kept: ClassVar[str] = "this fit was made with final_states=False"

    @property
    def problem(self) -> LeastSquares:
        """The problem."""
        return self.settings.iteration.problem

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return self.settings.n_chains

    @property
    def iterations(self) -> np.ndarray:
        """Saved iterations, of shape (n_times,); 0 is the start."""
        return self.settings.saves

    def rows_picked(self, run: int = 0) -> np.ndarray:
        """Numbers of the rows of data that a run took in the iterations of this fit, of shape (n_steps, batch_size).

        Raises
        ------
        ValueError
            If the problem is not on data, or there is no such run.
        """
        s, it = self.settings, self.settings.iteration
        run = checks.count("run", run, least=0, most=s.n_chains - 1)
        if self.problem.n_data is None:
            raise ValueError("rows_picked is for problems on data: LeastSquares.sample has the samples of a stream")
        first, n, B = s.grid.first_step, s.n_steps, it.batch_size
        if it.order:
            return rows_in_order(it.order, n, B, first)
        return rows_picked(self.problem.n_data, s.seed, s.first_chain + run, n, B, it.shuffled, first)

    @property
    def error(self) -> np.ndarray:
        r"""Mean over the runs of :math:`|\theta_k - \theta^*|^2`, of shape (n_times,)."""
        return self._errors[0].value

    @property
    def error_standard_error(self) -> np.ndarray:
        """Standard error of `error`, of shape (n_times,)."""
        return self._errors[0].standard_error

    @property
    def averaged_error(self) -> np.ndarray:
        """Mean over the runs of the squared error of the averaged iterate, of shape (n_times,)."""
        return self._averaged.value

    @property
    def averaged_error_standard_error(self) -> np.ndarray:
        """Standard error of `averaged_error`, of shape (n_times,)."""
        return self._averaged.standard_error

    @cached_property
    def exact(self) -> np.ndarray:
        r"""The exact :math:`E|\theta_k - \theta^*|^2`, of shape (n_times,), over the starts too if there are several.

        Raises
        ------
        ValueError
            If there is none: for shuffled epochs of many rows, or of a fit that was resumed.
        """
        return self.settings.iteration.exact_error(self.settings)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the iterates over the runs, of shape (n_times, d)."""
        return np.asarray(self.problem.theta_star + super().mean)

    @property
    def theta(self) -> np.ndarray:
        """Iterates of the runs that were kept, of shape (n_times, runs, d), or those of their kept coordinates."""
        self._refuse_error_alone()
        if self._theta is None:
            raise AttributeError("no iterates were kept: pass runs= to sgd")
        return self._theta

    @property
    def x(self) -> Any:
        """The same as `theta`."""
        return self.theta

    @property
    def n_nonfinite(self) -> np.ndarray:
        """How many runs are no longer finite at each saved iteration, of shape (n_times,)."""
        total = self._merged(self.settings.gathering.expectations[:1], ONE)
        return self.n_runs - total[:, 0].astype(np.int64)

    @property
    def expectations(self) -> dict[str, Expectation]:
        """Means of user functions with their standard errors, by the names given to `sgd`."""
        n = self.settings.iteration.n_errors
        return {name: self._expectation(n + i) for i, (name, _) in enumerate(self.settings.expectations)}

    @cached_property
    def _errors(self) -> list[Expectation]:
        return [self._expectation(i) for i in range(self.settings.iteration.n_errors)]

    @property
    def _averaged(self) -> Expectation:
        self._refuse_error_alone()
        if not self.settings.iteration.averaged:
            raise AttributeError("iterates were not averaged: pass averaging='polyak-ruppert' to sgd")
        return self._errors[1]

    @cached_property
    def _total(self) -> np.ndarray:
        self._refuse_error_alone()
        if not self.settings.gathers_moments:
            raise AttributeError("mean and variance of the iterates were not gathered: pass moments=True to sgd")
        return self._merged(self.settings.gathering.state, self.settings.layout)

    def _refuse_error_alone(self) -> None:
        if self.settings.iteration.is_error:
            raise AttributeError("reduced=True ran the error alone: sgd without it has the iterates and their moments")

    def _joined(self, shards: Sequence[Any]) -> dict[str, Any]:
        """The iterates that shards kept, if all kept the same parameters of some."""
        kept = [shard._kept for shard in shards]
        if any(k is None or not np.array_equal(k.parameters, kept[0].parameters) for k in kept):
            return {"_theta": None, "_kept": None}
        before = np.cumsum([0, *(shard.n_runs for shard in shards[:-1])])
        runs = np.concatenate([k.runs + first for k, first in zip(kept, before, strict=True)])
        theta = np.concatenate([shard._theta for shard in shards], axis=1)
        return {"_theta": theta, "_kept": Kept(runs, kept[0].parameters)}

    # What was run ------------------------------------------------------------------------------------------------

    def _tabulated(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        errors = {"error": ((), self.error), "error_standard_error": ((), self.error_standard_error)}
        if self.settings.gathers_moments:
            return {**errors, **super()._tabulated()}
        return {**errors, "n_nonfinite": ((), self.n_nonfinite)}

    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""
        s = self.settings
        return {
            "problem": repr(self.problem),
            "iteration": s.iteration.name,
            "step_size": described_rates(s.rates),
            "batch_size": s.iteration.batch_size,
            "averaging": "polyak-ruppert" if s.iteration.averaged else "none",
            **({"average_from": s.iteration.average_from} if s.iteration.average_from else {}),
            **({"momentum": s.iteration.momentum} if s.iteration.momentum else {}),
            "sampling": "given" if s.iteration.order else "shuffle" if s.iteration.shuffled else "replacement",
            **super().describe(),
            "n_runs": s.n_runs,
            **({"expectations": ", ".join(name for name, _ in s.expectations)} if s.expectations else {}),
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the error with a band of two standard errors, beside the exact curve where there is one.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a single iteration was saved.
        """
        k, error, width = self.iterations, plots.finite(self.error), plots.finite(2 * self.error_standard_error)
        ax = error_axes(ax, error, self.call)
        ax.plot(k, error, color="C0", label=f"mean of {self.n_runs:,} runs")
        ax.fill_between(k, error - width, error + width, color="C0", alpha=0.2, label="± 2 standard errors")
        with suppress(ValueError):  # there is not always an exact law
            ax.plot(k, plots.finite(self.exact), color="k", linestyle="--", linewidth=1, label="exact")
        ax.legend(fontsize="small")
        return ax

    def __repr__(self) -> str:
        s = self.settings
        done = (1 - self.cost.found) * s.n_runs * s.n_steps
        return (
            f"<{s.iteration.name} on {self.problem!r}: {product(s.n_runs, 'run', s.n_steps, 'iteration')}, batches of "
            f"{s.iteration.batch_size}, {s.dtype.name}, seed {s.seed}; {self.cost.seconds:.3g} s, "
            f"{per_second(done, self.cost.seconds, 'iterations')}, {self.cost.executor}>"
        )
