"""What decides a simulation's numbers, and how its paths step: a built-in step, or a chain compiled for the run."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .. import checks
from ..engine.gathering import Gathering, gathering_of
from ..engine.grid import TimeGrid
from ..engine.tiles import Draws
from ..lazy import cached_property
from ..run import step
from ..run.step import Kernel, Observing, Stepping, clock_rows, refuse_rows
from ..trace import trace
from .arrivals import Written
from .chain import Chain
from .extras import Extras
from .jumps import parameter_values
from .models.base import Model
from .models.linear import LinearSDE
from .replayed import as_traced, replayed
from .schemes import SCHEMES
from .schemes.base import Interval
from .schemes.equation import Equation, Vector
from .sde import SDE, sde_of


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings(step.Settings):
    """Everything that decides a simulation's numbers.

    ``x0`` is the common start of all paths, of shape (dim,), or None where every path has its own, as when resumed.
    Chains are paths, or pairs of antithetic ones.
    """

    model: Model
    method: str
    x0: np.ndarray | None
    extras: Extras = field(default_factory=Extras)

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return self.n_chains * (1 + self.extras.antithetic)

    @cached_property
    def gathering(self) -> Gathering:
        """Where in the gathered statistics is what."""
        e, at = self.extras, self.layout
        n_carried = e.n_carried + (e.stop_when is not None)
        pairs = at.dim + n_carried if e.antithetic else 0
        asked = len(e.expectations), len(e.controls)
        return gathering_of(at.dim, at.moments, at.extremes, at.covariance, n_carried, *asked, pairs)

    @cached_property
    def stepping(self) -> Stepping:
        """The step: the model's own compiled one, or a chain."""
        return chain_of(self) or _built_in(self.model, self.method)

    def identity(self) -> tuple[Any, ...]:
        """Equal for shards of one run, whichever functions say what they compute."""
        e, chain = self.extras, chain_of(self)
        expressions = [] if chain is None else [*chain.step.whole]
        if e.expectations or e.antithetic:
            expressions += _observing(self).observed
        names = [[name for name, *_ in named] for named in (e.functionals, e.events, e.expectations, e.controls)]
        asked = (
            names,
            e.stop_when is None,
            e.antithetic,
            e.jumps,
            known_values(self).tobytes(),
            list(map(_Same, expressions)),
        )
        start = None if self.x0 is None else self.x0.tobytes()
        return (*super().identity(), self.model, self.method, start, *asked)

    def _to_record(self) -> dict[str, Any]:
        """Functions travel as what they compute; ValueError if that is not what it was when the run was made."""
        e, sde = self.extras, _sde(self.model)
        again = replace(self, extras=replayed(e, sde.dim, sde.parameter_tuple(), known_values(self)))
        if replace(e).captured != e.captured and again.identity() != self.identity():
            raise ValueError(
                "the run cannot be saved: functions that it was given refer to values that have changed since then"
            )
        return super(Settings, again)._to_record()


@dataclass(frozen=True)
class BuiltIn(Stepping):
    """A step of a model that is compiled with the library, in ``csrc/sde``."""

    model: Model
    method: str

    @property
    def n_rows(self) -> int:
        """Rows of a chain."""
        return self.model.dim

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What a step draws."""
        return Draws(self.model.noise_dim_of(self.method), float32=noise_dtype.itemsize == 4)

    def kernel(self, run: step.Settings, device: Any) -> Kernel:
        """The kernel of the run's steps; on a GPU models run by their equation in Python code."""
        if device is not None:
            return self._on_gpu(run, device)
        if run.grid.h is not None:
            return _built_in_kernel(self, run.grid.h)
        sizes = run.grid.step_sizes()
        refuse_rows(len(sizes), self.model.step(self.method, sizes[:1]).coefficients.shape[1])
        return self.kernel_of(sizes)

    def kernel_of(self, step_sizes: np.ndarray) -> Kernel:
        """The CPU's kernel of steps of these sizes: one for all of them, or one a step."""
        kernel, coefficients = self.model.step(self.method, step_sizes)
        dim, n_draws = self.model.dim, self.model.noise_dim_of(self.method)
        return Kernel(kernel, np.ascontiguousarray(coefficients, np.float64), max(dim * (dim + n_draws) // 4, 1))

    def _on_gpu(self, run: step.Settings, device: Any) -> Kernel:
        if not isinstance(self.model, LinearSDE):
            return compiled_chain(self.model, self.method, Extras()).kernel(run, device)
        from .cuda import linear

        dim, n_draws = self.model.dim, self.model.noise_dim_of(self.method)
        refuse_rows(len(run.grid.step_sizes()), 5 + dim * (dim + 1 + n_draws))
        rows = self.model.step(self.method, run.grid.step_sizes()).coefficients
        program = linear(dim, n_draws, run.dtype.name, run.noise_dtype.name, run.grid.is_uniform, run.given_normals)
        return Kernel(program, np.hstack([clock_rows(run.grid), rows]), max(dim * (dim + n_draws) / 4, 1))

    def observing(self, run: step.Settings, device: Any, layout: str) -> Observing | None:
        """What computes the expectations."""
        assert isinstance(run, Settings)
        return _observing(run).observing(run, device, layout) if run.extras.expectations else None

    def table(self, run: step.Settings) -> np.ndarray | None:
        """What sums over rows in the expectations read."""
        assert isinstance(run, Settings)
        return _observing(run).table(run) if run.extras.expectations else None


_built_in = lru_cache(maxsize=256)(BuiltIn)


@lru_cache(maxsize=256)
def _built_in_kernel(step: BuiltIn, h: float) -> Kernel:
    kernel = step.kernel_of(np.array([h]))
    kernel.coefficients.setflags(write=False)  # those of all such runs
    return kernel


# Which chain ---------------------------------------------------------------------------------------------------------


_sde = lru_cache(maxsize=256)(sde_of)


# Functions are traced once while what they depend on stays as it is: ``captured`` is a part of the caches' keys.


@lru_cache(maxsize=256)
def _chain(sde: SDE, method: str, extras: Extras, captured: Any) -> Chain:
    scheme = SCHEMES[method]
    if scheme.step is None:
        raise ValueError(
            f"the exact transition of {sde!r} cannot be combined with functionals, boundaries, stop_when or antithetic"
        )
    if sde.noise not in scheme.noises:
        raise ValueError(
            f"method={method!r} is for noise that is {' or '.join(sorted(scheme.noises))}, not {sde.noise}"
        )
    chain = Chain(sde, scheme, extras)
    if scheme.check is not None:
        scheme.check(sde, chain.equation)
    if chain.flaw is not None and chain.flaw.is_fatal:
        raise ValueError(f"method={method!r} is not for this equation: {chain.flaw.why}; {_that_work(sde)}")
    return chain


def _that_work(sde: SDE) -> str:
    """The schemes that are right for an equation whose noise is clipped, for an error message."""
    names = []
    for name, scheme in SCHEMES.items():
        if scheme.step is not None and sde.noise in scheme.noises and scheme.calculus == sde.calculus:
            with suppress(ValueError):
                if scheme.check is not None:
                    scheme.check(sde, sde.equation)
                if Chain(sde, scheme, Extras()).flaw is None:
                    names.append(repr(name))
    return f"methods that work: {', '.join(names)}"


def warn_of_flaw(chain: Chain, step_size: float, stacklevel: int) -> None:
    """RuntimeWarning where a scheme is wrong, or slow to become right, for noise that is clipped."""
    if chain.flaw is not None and step_size >= chain.flaw.from_step:
        warnings.warn(
            f"method={chain.scheme.name!r} may not be for this equation: {chain.flaw.why}; {_that_work(chain.sde)}",
            RuntimeWarning,
            stacklevel=stacklevel + 1,
        )


def written_for(model: Model, grid: TimeGrid, dtype: np.dtype) -> Written:
    """What the steps of a model that has jumps are to be written for."""
    sde = _sde(model)
    assert sde.jumps is not None
    return sde.jumps.written(grid, parameter_values(sde.params or {}), dtype)


def kept(model: Model, extras: Extras) -> Extras:
    """Extras that a run keeps: functions that decide its steps stay what they are when it is made."""
    return _kept(_sde(model), extras, extras.captured) if extras.has_functions_in_step else extras


@lru_cache(maxsize=256)
def _kept(sde: SDE, extras: Extras, captured: Any) -> Extras:
    return as_traced(extras, sde.dim, sde.parameter_tuple())


def chain_of(s: Settings) -> Chain | None:
    """The chain to compile, or None where the model's own compiled step does."""
    if s.method in s.model.schemes and not s.extras.change_step:
        return None
    return compiled_chain(s.model, s.method, s.extras)


def compiled_chain(model: Model, method: str, extras: Extras) -> Chain:
    """The chain of a model under a scheme written in Python, also where the model has a compiled step of its own."""
    captured, own = extras.captured, model.boundaries()
    if own:
        extras = replace(extras, boundaries=(*own, *extras.boundaries))
    if SCHEMES[method].step is None and model.exact_step is not None:
        return _exact_chain(model, method, extras, captured)
    return _chain(_sde(model), method, extras, captured)


@lru_cache(maxsize=256)
def _exact_chain(model: Model, method: str, extras: Extras, captured: Any) -> Chain:
    sde, transition = _sde(model), model.exact_step
    assert transition is not None

    def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
        new = trace(transition, interval.h, interval.root, x, z, sde.parameter_tuple(), what="transition")
        return new if isinstance(new, tuple) else (new,)

    kind = _LogarithmicChain if model.logarithmic else Chain
    return kind(sde, replace(SCHEMES[method], step=step), extras)


class _LogarithmicChain(Chain):
    """That of a model whose logarithm is a Brownian motion."""

    logarithmic = True


def start_rows(s: Settings, start: np.ndarray) -> np.ndarray:
    """Start states with the rows that the chain carries besides; errors in the user's functions are raised here."""
    check_observed(s)
    chain = s.stepping if isinstance(s.stepping, Chain) else None
    if chain is not None and chain.flaw is not None:
        warn_of_flaw(chain, float(s.grid.step_sizes().max()), stacklevel=4)
    for boundary in s.extras.boundaries:
        boundary.check_start(start)
    if s.extras.jumps is not None or s.extras.events:
        _check_moved(s, _sde(s.model), start)
    return start if chain is None else chain.start_rows(start, s.grid.t0)


def _check_moved(s: Settings, sde: SDE, start: np.ndarray) -> None:
    """Errors in what jumps and events make of start states."""
    values = parameter_values(sde.params or {})
    if sde.jumps is not None:
        sde.jumps.check_start(start, s.grid.t0, values)
    for name, event in s.extras.events:
        event.check_start(name, start, s.grid.t0, sde.parameter_tuple(), values)


def check_observed(s: Settings) -> None:
    """Errors in the functions of expectations, raised before any work."""
    if s.extras.expectations:
        _observing(s).observed  # noqa: B018  errors in the functions are raised here and now
        known_values(s)


def _observing(s: Settings) -> Chain:
    """A chain that knows the expectations, under whatever step."""
    return chain_of(s) or _observing_chain(_sde(s.model), s.extras, s.extras.captured)


@lru_cache(maxsize=256)
def _observing_chain(sde: SDE, extras: Extras, captured: Any) -> Chain:
    return Chain(sde, SCHEMES["euler-maruyama"], extras)


def known_values(s: Settings) -> np.ndarray:
    """Expected values of the controls, of shape (n_times, n_controls)."""
    t = s.grid.time(s.saves)
    values = np.empty((len(t), len(s.extras.controls)))
    for i, (name, _, known) in enumerate(s.extras.controls):
        value = checks.array(
            f"controls[{name!r}][1]", np.vectorize(known, otypes=[float])(t) if callable(known) else known
        )
        if value.shape not in ((), t.shape):
            raise ValueError(f"controls[{name!r}][1] must be a number or of shape {t.shape}, got {value.shape}")
        values[:, i] = value
    return values


class _Same:
    """An expression that equals itself alone."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.expression is other.expression
