"""What all jumps have: how often they come, how many there are in a step, and for whom a step is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from .. import checks
from ..engine.grid import TimeGrid
from ..run.expectations import as_number
from ..run.parameters import Array
from ..run.records import Recorded
from ..trace import Expr, Replayed, as_expr, call_with, constant, depends_on, evaluate, select
from .arrivals import OFTEN, WRITTEN_FOR, Arrivals, Written, counted, probabilities, probabilities_of
from .schemes.equation import Vector, parameter_symbol, plainly_named, replayed_inputs, state_symbols, time_symbol

Intensity = float | Callable[..., Any]


@dataclass(frozen=True)
class Jumps(Recorded):
    """Base class of jumps: how often they come, and where they lead.

    ``parameters`` are, of jumps that a model has, pairs of a number's name here and in the model.
    """

    intensity: Intensity
    bound: float | None = field(default=None, kw_only=True)
    parameters: tuple[tuple[str, str], ...] = field(default=(), kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.intensity):
            object.__setattr__(self, "intensity", checks.real("intensity", self.intensity, least=0.0))
        if self.bound is not None:
            object.__setattr__(self, "bound", checks.real("bound", self.bound, least=0.0))

    #: whether sizes are made of the pair of uniforms that `Arrivals` has
    takes_pair: ClassVar[bool] = True
    #: names of the numbers that decide the law of the sizes, and of those by which it chooses between cases
    law: ClassVar[tuple[str, ...]] = ()
    chances: ClassVar[tuple[str, ...]] = ()

    # What laws say ------------------------------------------------------------------------------------------------

    def number(self, name: str, value: Any) -> Any:
        """What `land` sees of one of the numbers of the law."""
        return value

    @property
    def numbers(self) -> Sequence[float]:
        """Numbers of the law, which other values of need no other kernel."""
        return [self.number(name, getattr(self, name)) for name in self.law]

    def n_more(self, most: int) -> int:
        """Uniforms of a step besides those that `Arrivals` has."""
        return 0

    def land(self, arrivals: Arrivals, x: Vector, u: Vector, numbers: Vector) -> Vector:
        """Where the jumps of a step lead from ``x``."""
        raise NotImplementedError

    # For an equation ----------------------------------------------------------------------------------------------

    def of(self, dim: int, parameters: Any, own: Sequence[Expr] = ()) -> Jumps:
        """The same with functions traced, for an equation in ``dim`` components; errors in them are raised here.

        ``own`` are the parameters of which every path has its own.
        """
        if not callable(self.intensity):
            if self.bound is not None:
                raise TypeError("bound is that of an intensity that depends on the state, which a number does not")
            return self
        args = (time_symbol(), state_symbols(dim), parameters)
        rate = plainly_named(as_number("intensity", call_with(self.intensity, "intensity", *args)), parameters)
        moves = depends_on(rate, args[1])
        if moves and self.bound is None:
            raise TypeError("an intensity that depends on the state needs bound=, a number that it does not exceed")
        if not moves and self.bound is not None and not depends_on(rate, own):
            raise TypeError(
                "bound is that of an intensity that depends on the state, which this one does not, or on parameters "
                "that differ between paths"
            )
        return replace(self, intensity=Replayed("intensity", replayed_inputs(dim, parameters), rate))

    def check_start(self, x: np.ndarray, t: float, values: dict[Expr, Any]) -> None:
        """ValueError if the intensity is not within its bound at start states (dim, n)."""
        if self.bound is None or not callable(self.intensity):
            return
        here = dict(zip(state_symbols(len(x)), x.astype(float), strict=True))
        rates = np.asarray(evaluate(self._rate, {**values, **here, time_symbol(): t}))
        wrong = rates[~((rates >= 0) & (rates <= self.bound))]
        if wrong.size:
            raise ValueError(f"intensity must be from 0 to bound={self.bound:g}, got {wrong.flat[0]:g} at x0")

    @property
    def _rate(self) -> Expr:
        """The intensity as an expression."""
        if isinstance(self.intensity, Replayed):
            rate: Expr = self.intensity.outputs
            return rate
        name = dict(self.parameters).get("intensity")
        assert not callable(self.intensity)
        return constant(self.intensity) if name is None else parameter_symbol(name)

    def rate_depends_on(self, names: Iterable[str]) -> bool:
        """Whether the intensity depends on one of the parameters of these names."""
        return depends_on(self._rate, [parameter_symbol(name) for name in names])

    def means(self, grid: TimeGrid, values: Mapping[Expr, Any]) -> np.ndarray:
        """Expected numbers of (possible) jumps in the steps: one number where it is the same in all, or one a step.

        Of parameters of which every path has its own, those of the path that jumps most.
        """
        rate = self._rate if self.bound is None else constant(self.bound)
        if not depends_on(rate, (time_symbol(),)):
            found = np.atleast_1d(evaluate(rate, dict(values)))
            wrong = ~((found >= 0) & (found < math.inf))
            if wrong.any():
                raise ValueError(f"intensity must be finite and not negative, got {found[wrong][0]:g}")
            return np.asarray(found.max() * grid.step_sizes())
        if depends_on(rate, [symbol for symbol, value in values.items() if np.ndim(value)]):
            raise ValueError(
                "an intensity of the time and of parameters that differ between paths needs bound=, a number that it "
                "does not exceed"
            )
        times = grid.time(np.arange(grid.first_step, grid.last_step + 1))
        nodes, weights = np.polynomial.legendre.leggauss(5)
        at = times[:-1, None] + 0.5 * np.diff(times)[:, None] * (1 + nodes)
        rates = np.broadcast_to(evaluate(rate, {**values, time_symbol(): at}), at.shape)
        wrong = ~(np.isfinite(rates) & (rates >= 0))
        if wrong.any():
            raise ValueError(
                f"intensity must be finite and not negative, got {rates[wrong][0]:g} at t={at[wrong][0]:g}"
            )
        return 0.5 * np.diff(times) * (rates @ weights)

    def written(self, grid: TimeGrid, values: Mapping[Expr, Any], dtype: np.dtype) -> Written:
        """What a kernel is to be written for: more jumps come less often than uniforms can say."""
        means, short = self.means(grid, values), dtype.itemsize == 4
        mean, often = float(means.max()), bool(means.mean() > OFTEN)
        if short and 0 < mean < 2.0**-16:
            raise ValueError(
                f"intensity must be such that a step of float32 states has at least 1.5e-5 jumps on average, got "
                f"{mean:.3g}: take longer steps, or dtype='float64'"
            )
        for most in WRITTEN_FOR:
            if mean <= most and probabilities(np.array([mean]), most + 1)[0, -1] < 2.0 ** -(25 if short else 54):
                return Written(most, short, often, short and self.takes_pair)
        raise ValueError(
            f"intensity must be such that a step has at most about {WRITTEN_FOR[-1] // 3} jumps on average, got "
            f"{mean:g}: take shorter steps"
        )

    def coefficients(self, grid: TimeGrid, values: Mapping[Expr, Any], most: int) -> np.ndarray:
        """For every step the probabilities of at least 1, 2, ... jumps, then the numbers of the law."""
        tails = probabilities(self.means(grid, values), most)
        return np.hstack([tails, np.broadcast_to(np.array(self.numbers, float), (len(tails), len(self.numbers)))])

    @property
    def moves(self) -> Vector:
        """What users' functions say of where a jump leads."""
        return ()

    # A step -------------------------------------------------------------------------------------------------------

    def n_uniforms(self, written: Written) -> int:
        """Uniforms of a step."""
        return 1 + (written.short and self.takes_pair and not written.words) + self.n_more(written.most)

    def n_coefficients(self, written: Written) -> int:
        """How many numbers a step has."""
        return written.most + len(self.numbers)

    def after(
        self,
        t: Expr,
        h: Expr,
        parameters: Any,
        x: Vector,
        u: Vector,
        c: Vector,
        written: Written,
        rest: Expr,
        moved: Collection[str] = (),
    ) -> Vector:
        """The state after the jumps of a step that has led to ``x``, where ``u[0] < c[0]``; elsewhere there are none.

        ``c`` are the `coefficients`, ``rest`` is what the word of ``u[0]`` has besides, for what takes words.
        Parameters that are ``moved`` are no numbers of a step: paths have their own, or derivatives are taken.
        """
        spare = rest if written.words else None
        n = self.n_uniforms(written) - self.n_more(written.most)
        tails, numbers, u, more = c[: written.most], self._numbers(c[written.most :], moved), u[:n], u[n:]
        if self.bound is None and not self.rate_depends_on(moved):
            return self.land(counted(t, parameters, u, tails, spare), x, more, numbers)
        rate = self._rate
        if callable(self.intensity):
            rate = as_number("intensity", call_with(self.intensity, "intensity", t, x, parameters))
        tails = probabilities_of(as_expr(rate * h), written.most)
        landed = self.land(counted(t, parameters, u, tails, spare), x, more, numbers)
        new = tuple(as_expr(select(u[0] < tails[0], *pair)) for pair in zip(landed, x, strict=True))
        if self.bound is None:
            return new
        wrong = (rate < 0) | (self.bound < rate)
        return tuple(as_expr(select(wrong, math.nan, value)) for value in new)

    def _numbers(self, c: Vector, moved: Collection[str]) -> Vector:
        """The numbers of the law, of which those that are moved parameters are these."""
        known = dict(self.parameters)
        own = [(name, known.get(name)) for name in self.law]
        mine = (self.number(name, parameter_symbol(p)) if p is not None and p in moved else None for name, p in own)
        return tuple(as_expr(ci if number is None else number) for ci, number in zip(c, mine, strict=True))


def parameter_values(params: Mapping[str, float], own: Mapping[str, Array] | None = None) -> dict[Expr, Any]:
    """Values of an equation's parameters by their symbols; of those that differ between paths those of all."""
    values: dict[Expr, Any] = {parameter_symbol(name): value for name, value in params.items()}
    paths = {name: value.values for name, value in (own or {}).items()}
    return values | {parameter_symbol(name): value for name, value in paths.items() if value is not None}
