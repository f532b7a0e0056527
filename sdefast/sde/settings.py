"""What decides a simulation's numbers, and how its paths step: a built-in step, or a chain compiled for the run."""

from __future__ import annotations

from collections.abc import Sequence
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
from ..run.where import Where
from .arrivals import Written
from .chain import MANY_ROWS, Chain, OwnChain
from .extras import Extras
from .jump_process import parameter_values
from .models.base import Model
from .models.linear import LinearSDE
from .replayed import as_traced, replayed
from .schemes import SCHEMES, Scheme, scheme_name
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
        n_carried = e.n_carried(at.dim)
        pairs = at.dim + n_carried if e.antithetic else 0
        asked = e.n_asked, len(e.controls)
        n_own = len(self.model.per_path)
        return gathering_of(at.dim, at.moments, at.extremes, at.covariance, n_carried, *asked, pairs, n_own)

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
            e.sensitivities,
            e.stop_when is None,
            e.antithetic,
            e.jumps,
            known_values(self).tobytes(),
            list(map(_Same, expressions)),
        )
        start = None if self.x0 is None else self.x0.tobytes()
        return (*super().identity(), self.model.of_any_path, self.method, start, *asked)

    def merged(self, shards: Sequence[Any]) -> Settings:
        """Those of shards put together, of which these are the first."""
        model = self.model.joined([shard.model for shard in shards[1:]])
        return replace(self, n_chains=super().merged(shards).n_chains, model=model)

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


def _sde(model: Model) -> SDE:
    """The equation of a model, whatever the values of the paths' own parameters."""
    return _sde_of(model.of_any_path)


_sde_of = lru_cache(maxsize=256)(sde_of)


# Functions are traced once while what they depend on stays as it is: ``captured`` is a part of the caches' keys.


@lru_cache(maxsize=256)
def _chain(sde: SDE, method: str, extras: Extras, captured: Any) -> Chain:
    scheme = SCHEMES[method]
    if scheme.step is None:
        raise ValueError(
            f"the {method} transition of {sde!r} cannot be combined with functionals, boundaries, stop_when, "
            "antithetic or parameters that differ between paths"
        )
    if sde.noise not in scheme.noises:
        raise ValueError(_for_other_noise(sde, method, sde.methods))
    chain = _form(sde.of_any_numbers, scheme, extras, captured).with_numbers_of(sde)
    if scheme.check is not None:
        scheme.check(sde, chain.equation)
    if chain.flaw is not None and chain.flaw.is_fatal:
        raise ValueError(f"method={method!r} is not for this equation: {chain.flaw.why}; {_that_work(sde)}")
    return chain


def _for_other_noise(sde: SDE, method: str, methods: tuple[str, ...]) -> str:
    """What is said where a scheme is not for the noise of an equation; ``methods`` are those that run."""
    fitting = " or ".join(sorted(SCHEMES[method].noises))
    return f"method={method!r} is for noise that is {fitting}, not {sde.noise}; methods that fit: {', '.join(methods)}"


@lru_cache(maxsize=256)
def _form(sde: SDE, scheme: Scheme, extras: Extras, captured: Any) -> Chain:
    """The chain of an equation, whatever numbers its parameters are."""
    return Chain(sde, scheme, extras)


def _that_work(sde: SDE) -> str:
    """The schemes that are right for an equation whose noise is clipped, for an error message."""
    names = [
        repr(name) for name, scheme in SCHEMES.items()
        if scheme.calculus == sde.calculus and _fits(sde, name) and _bare_chain(sde, name).flaw is None
    ]  # fmt: skip
    return f"methods that work: {', '.join(names)}"


def _bare_chain(sde: SDE, method: str) -> Chain:
    return Chain(sde, SCHEMES[method], Extras())


#: components up to which schemes are tried on an equation to know whether they fit
_FEW_COMPONENTS = 32


def _fits(sde: SDE, method: str) -> bool:
    """Whether an equation runs under a scheme that is written in Python."""
    scheme = SCHEMES[method]
    if scheme.step is None or sde.noise not in scheme.noises:
        return False
    if sde.dim > _FEW_COMPONENTS:
        return True
    try:
        if scheme.check is not None:
            scheme.check(sde, sde.equation.read_as(scheme.calculus))
    except ValueError:
        return False
    found = _bare_chain(sde, method).flaw
    return found is None or not found.is_fatal


@lru_cache(maxsize=256)
def methods_of(model: Model) -> tuple[str, ...]:
    """Names of the schemes that a model runs under."""
    return tuple(name for name in SCHEMES if _brings(model, name) or _fits(_sde(model), name))


def _brings(model: Model, method: str) -> bool:
    """Whether a model has a step of its own for a scheme, with these parameters."""
    if method in model.schemes:
        return True
    try:
        return model.own_step(method) is not None
    except ValueError:
        return False


Model.find_methods = staticmethod(methods_of)


def method_of(model: Model, method: Any) -> str:
    """The name of the scheme that a user asks for; the error lists those under which the model runs."""
    if method is None:
        return "euler-maruyama"
    name = scheme_name(method, lambda: model.methods)
    if not model.has(name) and SCHEMES[name].step is None:
        raise ValueError(f"{type(model).__name__} has no method {name!r}; it has {', '.join(model.methods)}")
    if not model.has(name) and _sde(model).noise not in SCHEMES[name].noises:
        raise ValueError(_for_other_noise(_sde(model), name, model.methods))
    return name


def warn_of_flaw(chain: Chain, step_size: float) -> None:
    """RuntimeWarning where a scheme is wrong, or slow to become right, for noise that is clipped."""
    if chain.flaw is not None and step_size >= chain.flaw.from_step:
        checks.warn(
            f"method={chain.scheme.name!r} may not be for this equation: {chain.flaw.why}; {_that_work(chain.sde)}"
        )


def written_for(model: Model, grid: TimeGrid, dtype: np.dtype, extras: Extras) -> Written:
    """What the steps of a model that has jumps are to be written for."""
    n_rows = (model.dim + extras.n_carried(model.dim) + len(model.per_path)) * (1 + extras.antithetic)
    sde = _sde(model)
    assert sde.jumps is not None
    values = parameter_values(sde.numbers(), model.per_path)
    written = sde.jumps.written(grid, values, dtype)
    return written if n_rows < MANY_ROWS else written._replace(words=False)


def kept(model: Model, extras: Extras) -> Extras:
    """Extras that a run keeps: functions that decide its steps stay what they are when it is made."""
    return _kept(_sde(model).of_any_numbers, extras, extras.captured) if extras.has_functions_in_step else extras


@lru_cache(maxsize=256)
def _kept(sde: SDE, extras: Extras, captured: Any) -> Extras:
    return as_traced(extras, sde.dim, sde.parameter_tuple())


def chain_of(s: Settings) -> Chain | None:
    """The chain to compile, or None where the model's own compiled step does."""
    if s.method in s.model.schemes and not s.extras.change_step and not s.model.per_path:
        return None
    return compiled_chain(s.model, s.method, s.extras)


def compiled_chain(model: Model, method: str, extras: Extras) -> Chain:
    """The chain of a model under a scheme written in Python, also where the model has a compiled step of its own."""
    captured, own = extras.captured, model.boundaries()
    if own:
        extras = replace(extras, boundaries=(*own, *extras.boundaries))
    if method in model.own_steps:
        return _own_chain(model.of_any_path, method, extras, captured)
    return _chain(_sde(model), method, extras, captured)


@lru_cache(maxsize=256)
def _own_chain(model: Model, method: str, extras: Extras, captured: Any) -> Chain:
    own = model.own_step(method)
    assert own is not None
    if extras.sensitivities and not (SCHEMES[method].is_exact and own.n_uniforms == 0):
        raise ValueError(f"sensitivities cannot see method={method!r} jump, which chooses between laws")
    return OwnChain(_sde(model), SCHEMES[method], extras, own, model.logarithmic)


def start_rows(s: Settings, start: np.ndarray) -> np.ndarray:
    """Start states with the rows that the chain carries besides; errors in the user's functions are raised here."""
    check_observed(s)
    chain = s.stepping if isinstance(s.stepping, Chain) else None
    if chain is not None and chain.flaw is not None:
        warn_of_flaw(chain, float(s.grid.step_sizes().max()))
    for boundary in s.extras.boundaries:
        boundary.check_start(start)
    if s.extras.jumps is not None or s.extras.events:
        _check_moved(s, _sde(s.model), start)
    if chain is None:
        return start
    own = [value.values for value in s.model.per_path.values() if value.values is not None]
    if not own:
        return chain.start_rows(start, s.grid.t0)
    return chain.start_rows(start, s.grid.t0, own[0][None] if len(own) == 1 else np.array(own))


def replayed_states(s: Settings, n: int) -> np.ndarray | None:
    """Saved states of the first n paths, (n_times, n, dim), run once more; None if they have their own start or so."""
    if s.x0 is None or s.given_normals or s.extras.antithetic or s.model.per_path:
        return None
    few = replace(s, n_chains=min(n, s.n_chains), keeps_states=True, histogram=None)
    start = s.x0[:, None]
    if isinstance(few.stepping, Chain):
        start = few.stepping.start_rows(start, s.grid.t0)
    states = Where(None, 1, None).run(few.tile(start, gathers=False), None).states
    return np.asarray(states[:, : s.layout.dim].transpose(0, 2, 1))


def _check_moved(s: Settings, sde: SDE, start: np.ndarray) -> None:
    """Errors in what jumps and events make of start states."""
    values = parameter_values(sde.numbers(), s.model.per_path)
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
    return _form(sde.of_any_numbers, SCHEMES["euler-maruyama"], extras, captured).with_numbers_of(sde)


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
