"""Checking a call: from what a user asks for to the settings of a run and the rows that its chains start with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from .. import checks, noise
from ..engine import plan
from ..run import options
from ..run.boundaries import Absorb, Boundary, boundaries_of
from ..run.schedule import iteration_grid, step_sizes
from .methods import METHODS, Method
from .metric import Metric
from .result import Chains
from .settings import Settings
from .targets.base import FIRST_START_DRAW, BaseTarget
from .targets.batch import BatchTarget
from .wanted import Wanted


def fresh(
    target: BaseTarget, step_size: Any, n_steps: int, fixed: dict[str, Any], given: Mapping[str, Any], wanted: Wanted,
    methods: Mapping[str, Method] = METHODS,
) -> tuple[Settings, np.ndarray]:  # fmt: skip
    """Check everything that a new run needs, of one of ``methods``."""
    if (step_size is None and not wanted.acceptance) or fixed["n_chains"] is None:
        raise TypeError("langevin needs step_size and n_chains")
    name = "ula" if fixed["method"] is None else checks.choice("method", fixed["method"], methods)
    method, n, dim = methods[name], options.many("n_chains", fixed["n_chains"]), target.dim
    _check_needs(method, target, methods)
    chosen = _method_options(method, given)
    if step_size is None:
        step_size = 0.1 if target.curvature is None else 1 / target.curvature
    sizes = _sizes(step_size, n_steps, n)
    burn_in = 0 if fixed["burn_in"] is None else checks.count("burn_in", fixed["burn_in"], least=0, most=n_steps - 1)
    dtype, noise_dtype = checks.types(fixed["dtype"], fixed["noise_dtype"])
    if isinstance(target, BatchTarget) and (fixed["metric"] is not None or sizes.ndim > 1):
        raise ValueError(f"on {target!r} steps have no metric, and are alike for all chains: give one step_size")
    temperature = 1.0 if fixed["temperature"] is None else _temperature(fixed["temperature"])
    metric = _metric(fixed["metric"], method, target)
    seed, first = options.seed(fixed["seed"]), options.first_chain(fixed["first_chain"])
    x0 = _start(target, fixed["x0"], n, seed, first)
    grid = iteration_grid(n_steps)
    wanted.check_adapting(method, sizes, burn_in)
    saves, layout = wanted.gathering(grid, burn_in, dim)
    settings = Settings(
        target=target, method=name, options=chosen, metric=metric, temperature=temperature,
        step_sizes=sizes, burn_in=burn_in, x0=x0[:, 0].copy() if x0.shape[1] == 1 else None,
        sampled=isinstance(fixed["x0"], str),
        batches=wanted.cut(target, n_steps - burn_in), center=_center(target, x0), seed=seed, dtype=dtype,
        noise_dtype=noise_dtype, first_chain=first, n_chains=n, grid=grid, saves=saves, layout=layout,
        keeps_states=wanted.paths, histogram=wanted.histogram,
        boundaries=_boundaries(fixed.get("boundary"), method, metric, target, x0),
        expectations=wanted.asked(target, method),
    )  # fmt: skip
    _warn_of_step(settings)
    rows = _start_rows(settings, x0)
    return settings, plan.in_type(rows, x0[:, 0], dtype, "x0, and the density and score there,")


def _start_rows(s: Settings, x0: np.ndarray) -> np.ndarray:
    """All rows of chains at the positions ``x0``."""
    chain, n_normals = s.stepping, s.how.start_normals * s.layout.dim
    if n_normals:
        first_draw = FIRST_START_DRAW + s.layout.dim
        normals = noise.normals(s.seed, n_normals, s.n_chains, first_draw=first_draw, first_chain=s.first_chain)
        return chain.start_rows(s, x0, normals)
    none = np.zeros((0, 1))
    if not chain.n_carried or chain.own_step_size or x0.shape[1] > 1:
        return chain.start_rows(s, x0, none)
    key = chain, tuple(x0[:, 0].tolist()), tuple(s.numbers.items()), float(s.step_sizes[0])
    rows = _known_starts.get(key)
    if rows is None:
        if len(_known_starts) >= _MOST_STARTS:
            _known_starts.clear()
        rows = _known_starts[key] = chain.start_rows(s, x0, none)
    return rows


#: Rows that a common start has, for many short calls, and how many of them are kept.
_known_starts: dict[Any, np.ndarray] = {}
_MOST_STARTS = 64


def continued(
    target: BaseTarget, before: Any, step_size: Any, n_steps: int, fixed: dict[str, Any], wanted: Wanted,
    methods: Mapping[str, Method] = METHODS,
) -> tuple[Settings, np.ndarray]:  # fmt: skip
    """Check everything that going on needs: what decides the numbers is the earlier run's."""
    if not isinstance(before, Chains) or before.settings.method not in methods:
        call = "langevin" if methods is METHODS else "gradient_descent"
        raise TypeError(f"resume must be the result of an earlier {call}, got {checks.shown(before)}")
    given = [name for name, value in (fixed | {"adapt": wanted.acceptance}).items() if value is not None]
    if given:
        raise TypeError(f"a resumed run goes on with the earlier run's settings: leave out {', '.join(given)}")
    old = before.settings
    if target != old.target:
        raise ValueError(
            f"resume goes on with the same target: the run was of {old.target!r}, got {checks.shown(target)}"
        )
    final = before._final_rows()
    grid = plan.continued_grid(old.grid, n_steps, None)
    sizes = old.step_sizes
    if step_size is not None:
        sizes = _sizes(step_size, n_steps, old.n_chains, old.grid.last_step)
        if (sizes.ndim > 1) != (old.step_sizes.ndim > 1):
            raise ValueError("step_size must be one for all chains, or one for each, as in the run that is resumed")
    elif sizes.ndim == 1 and len(sizes) > 1:
        after = sizes[max(old.burn_in - old.grid.first_step, 0) :]
        if not len(after) or (after != after[0]).any():
            raise TypeError("step_size must be given: it changed from step to step")
        sizes = after[:1]
    burn_in = max(old.burn_in, grid.first_step)
    saves, layout = wanted.gathering(grid, burn_in, target.dim)
    settings = replace(
        old, step_sizes=sizes, x0=None, sampled=False, burn_in=burn_in,
        batches=wanted.cut(target, grid.last_step - burn_in),
        grid=grid, saves=saves, layout=layout, keeps_states=wanted.paths, histogram=wanted.histogram,
        expectations=wanted.asked(target, old.how),
    )  # fmt: skip
    if step_size is not None:
        _warn_of_step(settings)
    rows = np.zeros((settings.stepping.n_rows, old.n_chains), old.dtype)
    n = settings.stepping.counted
    rows[:n] = final[:n]
    if sizes.ndim > 1:
        rows[settings.stepping.sized :] = settings.stepping.sizes(settings)
    return settings, rows


#: A Hessian's inverse, its root and its divergence are written out in so many dimensions at most.
_MOST_HESSIAN = 8


def _metric(value: Any, method: Method, target: BaseTarget) -> Metric:
    """The metric, if the method takes it."""
    if value is not None and not method.takes_metric:
        with_metric = ", ".join(m.name for m in METHODS.values() if m.takes_metric)
        raise ValueError(f"metric is for {with_metric}, not for {method.name!r}")
    metric = Metric.of(value, target.dim)
    if metric.is_hessian and not target.density.has("hessian"):
        raise ValueError(f"metric='hessian' needs second derivatives of the log density, which {target!r} lacks")
    if metric.is_hessian and (method.name != "preconditioned" or target.dim > _MOST_HESSIAN):
        raise ValueError(
            f"metric='hessian' is for method='preconditioned' in up to {_MOST_HESSIAN} dimensions, not for "
            f"{method.name!r} in {target.dim}"
        )
    if value is None and method.name == "preconditioned":
        raise TypeError("method 'preconditioned' needs metric=, a positive definite matrix or 'hessian'")
    return metric


def _boundaries(given: Any, method: Method, metric: Metric, target: BaseTarget, x0: np.ndarray) -> tuple[Boundary, ...]:
    """The borders of positions, if the method can keep to them and starts do."""
    found = boundaries_of(given, target.dim)
    if not found:
        return ()
    if not metric.is_diagonal:
        raise ValueError("boundary goes with metrics that are diagonal alone: steps are folded back along a component")
    if not method.takes_boundary:
        fitting = ", ".join(m.name for m in METHODS.values() if m.takes_boundary)
        raise ValueError(
            f"boundary is for {fitting}, whose chains are their positions alone; methods that accept or reject keep to "
            f"the support of the density, got {method.name!r}"
        )
    if isinstance(target, BatchTarget):
        raise ValueError(f"on {target!r} steps have no boundary")
    for boundary in found:
        if isinstance(boundary, Absorb):
            raise ValueError(
                f"boundary may reflect or be positive: absorbed chains do not sample, got {checks.shown(boundary)}"
            )
        boundary.check_start(x0)
    return found


def _temperature(value: Any) -> float:
    """T of the law p^(1/T), which has a density for positive ones alone."""
    temperature = checks.real("temperature", value)
    if temperature == 0:
        raise ValueError("temperature must be positive, got 0: steps without noise are those of gradient_descent")
    return checks.real("temperature", temperature, positive=True)


def _check_needs(method: Method, target: BaseTarget, methods: Mapping[str, Method]) -> None:
    if isinstance(target, BatchTarget):
        if method.name != "ula":
            raise ValueError(
                f"method {method.name!r} needs a target in scalar code; on {target!r}, whose score is not, 'ula' works"
            )
        return
    missing = [what for what in method.needs if not target.density.has(what)]
    if missing:
        fit = ", ".join(m.name for m in methods.values() if all(map(target.density.has, m.needs)))
        raise ValueError(
            f"method {method.name!r} needs {' and '.join(missing)} of the target, which {target!r} lacks; {fit} work"
        )


def _method_options(method: Method, given: Mapping[str, Any]) -> dict[str, float]:
    """The method's own numbers."""
    for name in given:
        if name not in method.options:
            have = ", ".join(method.options) or "none"
            raise TypeError(f"langevin has no argument {name!r}; options of method {method.name!r}: {have}")
    chosen = {}
    for name, default in method.options.items():
        value = given.get(name, default)
        if value is None:
            raise TypeError(f"method {method.name!r} needs {name}=")
        positive = name not in method.structural
        chosen[name] = checks.real(name, value, positive=True) if positive else checks.count(name, value)
    return chosen


def _sizes(step_size: Any, n_steps: int, n_chains: int, first: int = 0) -> np.ndarray:
    """Step sizes of shape (1,), (n_steps,) or (1, n_chains)."""
    sizes = step_sizes(step_size, n_steps, n_chains, first, per="chain")
    if sizes.shape[1] == 1:
        return sizes[:, 0]
    if len(sizes) > 1:
        raise ValueError("step sizes may differ from step to step or from chain to chain, not both")
    return sizes


def _start(target: BaseTarget, x0: Any, n: int, seed: int, first_chain: int) -> np.ndarray:
    """Positions at the start, (dim, 1) or (dim, n)."""
    if isinstance(x0, str):
        if x0 != "sample":
            raise ValueError(f"x0 must be an array or 'sample', got {checks.shown(x0)}")
        return target.sample(n, seed=seed, first_chain=first_chain).T
    if x0 is None:
        return target.usual_start
    start = plan.given_states(x0, target.dim, n)
    if start.shape[1] == 1:
        _check_common_start(target, tuple(start[:, 0].tolist()))
    else:
        target.check_start(start.T)
    return start


@lru_cache(maxsize=64)
def _check_common_start(target: BaseTarget, x0: tuple[float, ...]) -> None:
    """What many short calls check once."""
    target.check_start(np.array([x0]))


def _center(target: BaseTarget, x0: np.ndarray) -> np.ndarray:
    """A point near the mean."""
    center = target.center
    return x0.mean(axis=1) if center is None else center


def _warn_of_step(s: Settings) -> None:
    """Of a step beyond what is stable on a Gaussian as curved as the target."""
    bound, sizes = s.stable_step, s.step_sizes
    largest = float(sizes.item() if sizes.size == 1 else sizes.max())
    if bound is not None and largest >= bound:
        verb = "is" if s.how.stable_parts is None else "may be"  # bounds of parts hold for the worst of them
        warnings.warn(
            f"step_size={largest:g} is not below {bound:.6g}, beyond which {s.method!r} {verb} unstable on this target",
            RuntimeWarning,
            stacklevel=4,
        )
