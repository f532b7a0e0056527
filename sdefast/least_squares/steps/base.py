"""What an iteration of SGD is: how its rows come from parameters, and what is observed of them.

Its first rows are theta - theta* in `Coordinates`. The constants of its step, which may differ from iteration to
iteration, are the step sizes, ``rate0``, ``rate1``, ...: one, or one per parameter.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from ... import checks
from ...engine.gathering import ONE, Gathering
from ...engine.tiles import Counted, Gathered
from ...jit.sums import sums_in
from ...lazy import cached_property
from ...run import step
from ...run.expectations import Named
from ...run.step import Observing, TracedStepping
from ...trace import Expr, as_expr, symbol
from ...trace.vectors import symbols, total
from ..laws import epochs, thresholds
from ..laws.expectations import Independent
from ..problem import LeastSquares
from .coordinates import Coordinates

#: Rows and numbers of inputs of an iteration at most where it is compiled: more would take too long.
MOST_ROWS = MOST_INPUTS = 512


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings(step.Settings):
    """Everything that decides a fit's numbers.

    ``rates`` are the step sizes, of shape (1 or n_steps, 1 or d); ``theta0`` the common start, of shape (d,), or None
    where runs have their own; ``gathers_moments`` says whether mean and variance of the iterates are gathered;
    ``expectations`` are functions of the iteration and the parameters by name.
    """

    iteration: DescentStep
    rates: np.ndarray
    theta0: np.ndarray | None
    gathers_moments: bool = False
    expectations: Named = ()

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return self.n_chains

    @property
    def stepping(self) -> DescentStep:
        """An iteration."""
        return self.iteration

    @property
    def observes_theta(self) -> bool:
        """Whether theta - theta* is observed, for moments and a histogram, after the errors: rows are others then."""
        wanted = self.gathers_moments or self.histogram is not None
        return wanted and self.iteration.coordinates.basis is not None

    @property
    def counted(self) -> Counted | None:
        """The rows that a histogram is of."""
        observed = self.histogram is not None and self.observes_theta
        return Counted(self.layout.dim, self.iteration.n_errors, True) if observed else None

    @cached_property
    def gathering(self) -> Gathering:
        """Where in the gathered statistics is what: errors, moments of theta - theta*, expectations."""
        errors, observed = self.iteration.gathered_errors, self.observes_theta
        n = len(errors)
        state = (Gathered(self.layout, n if observed else 0, observed),) * self.gathers_moments
        first = n + self.layout.dim * observed
        asked = tuple(Gathered(ONE, first + i, True) for i in range(len(self.expectations)))
        end = n + len(asked)
        return Gathering((*errors, *asked, *state), range(end, end + len(state)), [], range(end), range(0))

    def identity(self) -> tuple[Any, ...]:
        """Equal for shards of one run."""
        start = None if self.theta0 is None or self.theta0.ndim > 1 else self.theta0.tobytes()
        own = (self.iteration.identity(), self.rates.tobytes(), self.rates.shape, start, self.gathers_moments)
        return (*super().identity(), *own, self.expectations)

    def merged(self, shards: Sequence[Any]) -> Settings:
        """Those of shards put together."""
        starts = [shard.theta0 for shard in shards]
        own = self.theta0 is not None and self.theta0.ndim > 1
        theta0 = np.concatenate(starts) if own else self.theta0
        return replace(self, theta0=theta0, n_chains=sum(shard.n_chains for shard in shards))


class DescentStep(TracedStepping):
    """An iteration on a least-squares problem, for frozen data classes to derive from."""

    problem: LeastSquares
    batch_size: int
    per_parameter: bool

    #: what it is called
    name: ClassVar[str] = "SGD"

    #: What is computed from the problem and may be rounded differently elsewhere, eigenvectors among it: files have it.
    derived: ClassVar[tuple[str, ...]] = ("coordinates", "parameters")

    #: Whether the state holds an average too.
    averaged = False

    #: The first iterate that is averaged.
    average_from = 0

    #: Rows of data in the order in which all runs take them, if it is given.
    order: tuple[int, ...] = ()

    #: The part of the last move that is kept.
    momentum: float = 0.0

    #: Whether rows of data are drawn in shuffled epochs.
    shuffled = False

    #: Whether the state is nothing but the error.
    is_error = False

    @property
    @abstractmethod
    def parameters(self) -> dict[str, float]:
        """Symbols of the step that are numbers of the problem, in the order of ``step.parameters``."""

    @property
    def parameter_values(self) -> Sequence[float]:
        """Their values."""
        return list(self.parameters.values())

    def identity(self) -> tuple[Any, ...]:
        """Equal for iterations that do the same."""
        return type(self), *(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the expressions, which are made again."""
        kind, *values = self.identity()
        return kind, tuple(values)

    def _to_record(self) -> dict[str, Any]:
        return {**super()._to_record(), "derived": {name: getattr(self, name) for name in self.derived}}

    @classmethod
    def _from_record(cls, record: dict[str, Any]) -> DescentStep:
        derived = record.pop("derived")
        step: DescentStep = cls(**record)
        vars(step).update((name, derived[name]) for name in cls.derived)  # where cached properties keep their values
        return step

    # Rows -------------------------------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return self.problem.dim

    @cached_property
    def coordinates(self) -> Coordinates:
        """What the rows mean."""
        return Coordinates.of(self.problem, self.per_parameter)

    def start(self, theta0: np.ndarray) -> np.ndarray:
        """Rows (n_rows, n) from parameters (n, d); those besides theta - theta* begin with zero."""
        start = np.zeros((self.n_rows, len(theta0)))
        start[: self.dim] = self.coordinates.rows(theta0)
        return start

    def rate_constants(self, rates: np.ndarray, first_step: int, n_steps: int) -> np.ndarray:
        """Values of the step's constants, of shape (1 or n_steps, number), for step sizes (1 or n_steps, 1 or d)."""
        return rates

    def constants(self, run: step.Settings) -> np.ndarray:
        """Values of the step's constants."""
        assert isinstance(run, Settings)
        return self.rate_constants(run.rates, run.grid.first_step, run.n_steps)

    def known_start(self, run: Settings) -> np.ndarray:
        """The start of a fit, for its exact laws; ValueError where it went on from another's end."""
        if run.theta0 is None:
            raise ValueError("a fit that was resumed has no start whose law is known: see the first one's exact error")
        return run.theta0

    def exact_error(self, run: Settings) -> np.ndarray:
        """The exact E|theta - theta*|^2 at the saved iterations."""
        start = self.known_start(run)
        if start.ndim > 1:
            raise ValueError("runs have starts of their own: average LeastSquares.expected_error over them")
        error = self.problem.expected_error(
            step_size=run.rates, n_steps=run.n_steps, theta0=start, batch_size=self.batch_size,
            sampling="shuffle" if self.shuffled else "replacement", momentum=self.momentum,
        )  # fmt: skip
        return np.asarray(error[run.saves])

    def threshold_warning(self, rates: np.ndarray) -> str | None:
        """What is to be said of constant step sizes, of shape (1,) or (d,), that no error survives."""
        if self.shuffled and self.problem.is_penalised:
            return None
        if (rates == rates[0]).all():
            moments, g, what = self.problem._moments, float(rates[0]), f"step_size={rates[0]:g}"
        else:  # SGD with the step size 1 on inputs diag(rates)^{1/2} x
            moments, g, what = self.problem._moments.scaled(np.sqrt(rates)), 1.0, "step_size"
        law = epochs.recursion(moments, self.batch_size, "shuffle" if self.shuffled else "replacement")
        # (of shuffled epochs of several iterations no threshold is known)
        if not isinstance(law, Independent) or thresholds.surely_stable(moments, g, law.batch_size):
            return None
        grows = "the expected error grows without bound, and averages over runs do not tell it"
        try:
            threshold = thresholds.mean_square_threshold(moments, law.batch_size)
        except ValueError:
            return f"the fourth moment of the inputs is infinite, no step size has a mean-square error: {grows}"
        if g < threshold:
            return None
        times = "" if what != "step_size" else " times these"
        return f"{what} is beyond the mean-square threshold {threshold:.6g}{times}: {grows}"

    # What is observed -------------------------------------------------------------------------------------------

    @cached_property
    def errors(self) -> tuple[Expr, ...]:
        """First of all |theta - theta*|^2."""
        return (self.squared_norm(0),)

    @property
    def n_errors(self) -> int:
        """How many there are."""
        return len(self.errors)

    @property
    def gathered_errors(self) -> tuple[Gathered, ...]:
        """What is gathered of the errors, which are observed or, in the chain of the error alone, the state."""
        if self.is_error:
            return (Gathered(ONE),)
        return tuple(Gathered(ONE, i, True) for i in range(self.n_errors))

    def squared_norm(self, first_row: int) -> Expr:
        """The square of a vector of rows."""
        return total([row * row for row in symbols("x", self.dim, first=first_row)])

    def observing(self, run: step.Settings, device: Any, layout: str) -> Observing | None:
        """Errors and, where it is wanted and rows are others, theta - theta*."""
        assert isinstance(run, Settings)
        if self.is_error:
            return None
        if run.expectations:
            return self.asked_observer(self._asked(run), checks.type_name(run.dtype), device, layout)
        basis = self.coordinates.basis if run.observes_theta else None
        return self.error_observer(basis, checks.type_name(run.dtype), device, layout)

    def table(self, run: step.Settings) -> np.ndarray | None:
        """What sums over rows in the expectations read; iterations have none."""
        assert isinstance(run, Settings)
        values = sums_in(self._asked(run)).values() if run.expectations else np.zeros(0)
        return values.astype(run.dtype) if values.size else None

    def _asked(self, run: Settings) -> tuple[Expr, ...]:
        """The errors and, where rows are others and it is wanted, theta - theta*, then functions of the parameters."""
        theta = self.theta()
        turned = self._turned if run.observes_theta else ()
        return (*self.errors, *turned, *(as_expr(f(symbol("t"), theta)) for _, f in run.expectations))

    def theta(self) -> tuple[Expr, ...]:
        """The parameters, of the first rows."""
        rows, star = symbols("x", self.dim), self.coordinates.star.tolist()
        delta = rows if self.coordinates.basis is None else self._turned
        return tuple(as_expr(s + d) for s, d in zip(star, delta, strict=True))

    def error_observer(self, basis: np.ndarray | None, dtype: str, device: Any, layout: str) -> Observing:
        """What computes the errors and, with a basis Q, Q times the first rows."""
        turned = () if basis is None else self._turned
        return self.observer((*self.errors, *turned), dtype, device, layout)

    @cached_property
    def _turned(self) -> tuple[Expr, ...]:
        """theta - theta* where the rows are its coordinates in an eigenbasis."""
        assert self.coordinates.basis is not None
        rows = symbols("x", self.dim)
        vectors = self.coordinates.basis.tolist()
        return tuple(total([q * row for q, row in zip(own, rows, strict=True)]) for own in vectors)
