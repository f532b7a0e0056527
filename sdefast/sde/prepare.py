"""From a run's settings to what the engine runs: a built-in step, or a chain that is compiled for the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, resources
from ..engine.parts import MOST
from ..engine.tiles import Draws, Observer, Tile
from ..trace import trace
from .boundaries import Boundary
from .chain import Chain, Extras, clock_rows
from .functionals import Functional
from .models.linear import LinearSDE
from .schemes import SCHEMES
from .schemes.base import Interval
from .schemes.equation import Equation, Vector

if TYPE_CHECKING:
    from .models.base import Model
    from .sde import SDE
    from .settings import Settings

_NOTHING = Extras()


# Checks of what was asked for ----------------------------------------------------------------------------------------


def named_functions(what: str, functions: Any) -> tuple[tuple[str, Any], ...]:
    """A mapping of names to functions, checked."""
    if functions is None:
        return ()
    if not isinstance(functions, Mapping):
        raise TypeError(f"{what} must be a mapping of names to functions, got {functions!r}")
    for name, function in functions.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"{what} must have strings as names, got {name!r}")
        if not callable(function):
            raise TypeError(f"{what}[{name!r}] must be a function of (t, x), got {function!r}")
    return tuple(functions.items())


def workers(executor: Any, threads: Any) -> int:
    """Workers to keep busy: ``threads``, by default as many as the executor says it has, or processors."""
    if executor is not None and (isinstance(executor, type) or not hasattr(executor, "submit")):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    if threads is None:
        threads = resources.available_threads() if executor is None else getattr(executor, "_max_workers", 16)
    return checks.count("threads", threads, most=65536)


def checked_controls(controls: Any) -> tuple[tuple[str, Any, Any], ...]:
    """Functions with their expected values, checked."""
    if controls is None:
        return ()
    if not isinstance(controls, Mapping) or not all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in controls.values()
    ):
        raise TypeError(f"controls must be a mapping of names to (function, expected value), got {controls!r}")
    functions = named_functions("controls", {name: pair[0] for name, pair in controls.items()})
    return tuple(
        (name, function, _expected(f"controls[{name!r}][1]", controls[name][1])) for name, function in functions
    )


def _expected(what: str, known: Any) -> Any:
    """A control's expected value: a function of time, a number, or a tuple with one number for every saved time."""
    if callable(known):
        return known
    values = checks.array(what, known)
    if values.ndim > 1:
        raise ValueError(f"{what} must be a number or of shape (n_times,), got shape {values.shape}")
    return tuple(values.tolist()) if values.ndim else float(values)


def checked_extras(model: Model, chain: dict[str, Any], expectations: Any, controls: Any) -> Extras:
    """What else happens to a chain, checked."""
    if all(chain[name] is None for name in ("boundary", "functionals", "stop_when", "antithetic")):
        return with_expectations(_NOTHING, expectations, controls)
    boundary = chain["boundary"]
    boundaries = () if boundary is None else tuple(boundary) if isinstance(boundary, (list, tuple)) else (boundary,)
    for b in boundaries:
        if not isinstance(b, Boundary):
            raise TypeError(f"boundary must be one of sdefast.boundaries, or a list of them, got {b!r}")
        b.check(model.dim)
    functionals = chain["functionals"]
    if functionals is None:
        functionals = {}
    if not isinstance(functionals, Mapping):
        raise TypeError(f"functionals must be a mapping of names to sdefast.functionals, got {functionals!r}")
    for name, functional in functionals.items():
        if not checks.is_attribute(name):
            raise ValueError(f"functionals must have names that can follow 'y.', got {name!r}")
        if not isinstance(functional, Functional):
            raise TypeError(f"functionals[{name!r}] must be one of sdefast.functionals, got {functional!r}")
        functional.check(model.dim)
    stop_when = chain["stop_when"]
    if stop_when is not None and not callable(stop_when):
        raise TypeError(f"stop_when must be a function of (t, x), got {stop_when!r}")
    antithetic = chain["antithetic"]
    if antithetic is not None and not isinstance(antithetic, (bool, np.bool_)):
        raise TypeError(f"antithetic must be True or False, got {antithetic!r}")
    extras = Extras(boundaries, tuple(functionals.items()), stop_when, bool(antithetic))
    return with_expectations(extras, expectations, controls)


def with_expectations(extras: Extras, expectations: Any, controls: Any) -> Extras:
    """The same with other expectations."""
    if not expectations and not controls:
        return extras if not extras.expectations else replace(extras, expectations=(), controls=())
    if not expectations:
        raise TypeError("controls correct expectations: pass expectations too")
    names = [name for name, *_ in (*expectations, *controls)]
    if len(set(names)) < len(names):
        raise ValueError("controls must have other names than expectations")
    if len(names) > MOST:
        raise ValueError(f"expectations and controls may be {MOST} together, got {len(names)}")
    return replace(extras, expectations=expectations, controls=controls)


# What runs -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _sde(model: Model) -> SDE:
    return model.sde()


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
    return chain


def chain_of(s: Settings) -> Chain | None:
    """The chain to compile, or None where the model's own compiled step does."""
    if s.method in s.model.schemes and not s.extras.change_step:
        return None
    return _compiled_chain(s)


def _compiled_chain(s: Settings) -> Chain:
    return compiled_chain(s.model, s.method, s.extras)


def compiled_chain(model: Model, method: str, extras: Extras) -> Chain:
    """The chain of a model under a scheme written in Python, also where the model has a compiled step of its own."""
    captured = extras.captured
    extras = replace(extras, boundaries=(*model.boundaries(), *extras.boundaries))
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
    chain = chain_of(s)
    for boundary in s.extras.boundaries:
        boundary.check_start(start)
    return start if chain is None else chain.start_rows(start, s.grid.t0)


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


def extras_identity(s: Settings) -> tuple[Any, ...]:
    """Equal for runs whose extras compute the same, whichever functions say so."""
    e = s.extras
    chain = chain_of(s)
    expressions = [] if chain is None else [*chain.step.outputs]
    if e.expectations or e.antithetic:
        expressions += _observing(s).observed
    names = [[name for name, *_ in named] for named in (e.functionals, e.expectations, e.controls)]
    return names, e.stop_when is None, e.antithetic, known_values(s).tobytes(), list(map(_Same, expressions))


def draws(s: Settings) -> Draws:
    """What a step draws."""
    chain, float32 = chain_of(s), s.noise_dtype.itemsize == 4
    if chain is None:
        return Draws(s.model.noise_dim_of(s.method), float32=float32)
    step = chain.step
    return Draws(step.n_draws, step.n_uniforms, step.signs, float32)


def tile(s: Settings, start: np.ndarray, normals: np.ndarray | None, device: Any = None) -> Tile:
    """The whole run as one tile, for the CPU or a GPU."""
    what = draws(s)
    program, coefficients, cost = _on_cpu(s, what) if device is None else _on_gpu(s)
    return Tile(
        program, coefficients, what, s.seed, s.first_chain, s.n_chains, s.grid.first_step, s.grid.n_steps, start,
        s.saves, s.keeps_paths, s.parts.all, cost, _observer(s, device), s.histogram, normals,
    )  # fmt: skip


def _on_cpu(s: Settings, what: Draws) -> tuple[Any, np.ndarray, float]:
    """The kernel of a step, its coefficients and its cost: what a scalar model's step is worth."""
    chain, step_sizes = chain_of(s), s.grid.step_sizes()
    if chain is None:
        if len(step_sizes) > 1:
            _refuse_rows(len(step_sizes), s.model.step(s.method, step_sizes[:1]).coefficients.shape[1])
        kernel, coefficients = s.model.step(s.method, step_sizes)
        cost: float = max(s.model.dim * (s.model.dim + what.noise_dim) // 4, 1)
        return kernel, np.ascontiguousarray(coefficients, np.float64), cost
    _refuse_rows(len(step_sizes), 5 + len(s.model.parameters()))
    # Normals are most of a short step's cost; signs take almost nothing.
    cost = max(chain.n_operations / 16, what.noise_dim, 1) if not what.signs else max(chain.n_operations / 32, 0.2)
    return chain.program(s.dtype.name, s.noise_dtype.name), chain.coefficients(s.grid), cost


def _on_gpu(s: Settings) -> tuple[Any, np.ndarray, float]:
    """The same for a GPU, where built-in models too run by their equation in Python code."""
    from ..cuda.kernels import paths

    types = s.dtype.name, s.noise_dtype.name, s.grid.is_uniform, s.given_normals
    if isinstance(s.model, LinearSDE) and chain_of(s) is None:
        from .cuda import linear

        dim, n_draws = s.model.dim, s.model.noise_dim_of(s.method)
        _refuse_rows(len(s.grid.step_sizes()), 5 + dim * (dim + 1 + n_draws))
        rows = s.model.step(s.method, s.grid.step_sizes()).coefficients
        cost = max(dim * (dim + n_draws) / 4, 1)
        return linear(dim, n_draws, *types), np.hstack([clock_rows(s.grid), rows]), cost
    chain = _compiled_chain(s)
    _refuse_rows(len(s.grid.step_sizes()), 5 + len(s.model.parameters()))
    return paths(chain.step, *types), chain.coefficients(s.grid), max(chain.n_operations / 16, chain.step.n_draws, 1)


def _refuse_rows(n: int, width: int) -> None:
    if n > 1:  # a row of coefficients for every step
        what = f"the coefficients of {n} different steps"
        resources.refuse_too_large(n * width * 16, what, ["use a uniform grid or fewer times"])


def _observer(s: Settings, device: Any) -> Observer | None:
    if not s.extras.expectations and not s.extras.antithetic:
        return None
    chain = _observing(s)
    times = np.ascontiguousarray(s.grid.time(s.saves), float)
    if device is None:
        program: Any = chain.observer(s.dtype.name, chain.observed)
    else:
        from ..cuda.kernels import observer

        program = observer(tuple(chain.observed), chain.parameter_names, chain.n_rows, s.dtype.name)
    return Observer(program, len(chain.observed), chain.parameter_values, times)
