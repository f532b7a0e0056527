r"""Multilevel Monte Carlo: an expectation to a given accuracy, for little more than coarse paths cost.

The expectation on a fine grid is telescoped, E f_L = E f_0 + sum over l of E (f_l - f_{l-1}), every grid having
``refinement`` times as many steps as the one before. The two paths of a difference are driven by the same Brownian
motion, so that the difference varies little and few paths of the fine grids are needed.

One compiled chain carries both paths in its rows. Its step is ``refinement`` steps of the fine path, with normals z_0,
z_1, ..., and one of the coarse path with (z_0 + z_1 + ...) / sqrt(refinement); so no path is stored, and chain i of a
level is a pure function of the seed.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks
from ..engine import plan
from ..run import options
from ..run.boundaries import Boundary
from ..run.keywords import OF_MODELS, known_keywords
from ..run.where import Where, progress_bar
from .chain import Chain
from .coupled import Coupled
from .extras import checked_controls, checked_extras
from .functionals import Functional, RunningMax, RunningMin
from .levels.controlled import controlled
from .levels.decay import estimated_bias, order_of, weak_order_of
from .levels.estimate import Found, Target, estimate, estimate_on_points
from .levels.result import Level, Multilevel
from .levels.sampling import FIRST_LEVELS, How, Problem
from .models.base import Model, check_model
from .rounding import warn_of_lost_steps
from .schemes import SCHEMES, Scheme
from .schemes.sriw1 import two_per_noise
from .seeds import derived_seed
from .settings import compiled_chain, known_values, method_of, warn_of_flaw
from .simulate import simulate

__all__ = ["Level", "Multilevel", "multilevel"]


@known_keywords(OF_MODELS)
def multilevel(
    model: Model,
    f: Callable[..., Any],
    *,
    x0: ArrayLike,
    t1: float,
    accuracy: float,
    t0: float = 0.0,
    n_steps: int = 4,
    refinement: int = 4,
    method: str = "euler-maruyama",
    functionals: Mapping[str, Functional] | None = None,
    boundary: Boundary | list[Boundary] | None = None,
    controls: Mapping[str, tuple[Callable[..., Any], Any]] | None = None,
    antithetic: bool = False,
    sobol: bool = False,
    replicates: int = 32,
    seed: int | None = None,
    dtype: DTypeLike = "float64",
    noise_dtype: DTypeLike | None = None,
    n_initial: int = 4096,
    max_level: int = 10,
    max_cost: float = 1e13,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> Multilevel:
    r"""Estimate E f(t1, X(t1)) to a given root-mean-square error by multilevel Monte Carlo.

    How many levels and how many paths of each are needed is found on the way. Results depend on the arguments alone:
    any number of threads and any executor give the same bits. On a GPU paths have the same bits too, and what is summed
    over them differs in last digits.

    Parameters
    ----------
    model : Model
        A built-in model or an `SDE`.
    f : callable
        ``f(t, x)``, ``f(t, x, p)`` or ``f(t, x, p, y)`` of time, state, parameters and functionals: scalar code as for
        `SDE`, returning one number.
    x0 : array_like
        Start: a number (one dimension) or of shape (dim,).
    t1 : float
        End of the time interval.
    accuracy : float
        Root-mean-square error to reach: half of its square is left to the variance, half to the bias.
    t0 : float
        Start of the time interval.
    n_steps : int
        Steps of the coarsest grid, level 0. It must resolve the model well enough to be stable.
    refinement : int
        How many steps of a level make one of the level before, 2 to 8.
    method : str
        Scheme, one of `sdefast.SCHEMES` whose paths converge and whose draws on two grids can be coupled.
    functionals : mapping of str to Functional
        Numbers that depend on the whole path, see `sdefast.functionals`; ``f`` sees them as ``y.name``.
    boundary : Boundary or list of Boundary
        See `sdefast.boundaries`.
    controls : mapping of str to (callable, float or callable)
        Functions like ``f`` whose expected values at ``t1`` are known, as in `simulate`: f is corrected by them on all
        levels, with regression coefficients from ``n_initial`` paths of their own on the coarsest grid. What the finest
        grid's control is off by becomes part of the bias.
    antithetic : bool
        Simulate paths in pairs driven by opposite noise; a pair then counts as one path.
    sobol : bool
        Drive the paths by scrambled Sobol' points in the order of the Brownian bridge: where f is smooth enough, far
        fewer paths are needed. See Notes.
    replicates : int
        Independent scramblings of every level with ``sobol``, whose spread gives the standard error; at least 8.
    seed : int
        In [0, 2**64); a random one by default, recorded in the result. Every level uses a seed derived from it.
    dtype, noise_dtype : {"float64", "float32"}
        Types of states and normals, as in `simulate`. In float32 differences of fine levels are little but rounding.
    n_initial : int
        Paths of each of the first levels from which the variances are first estimated.
    max_level : int
        The finest level that may be used, at least 2.
    max_cost : float
        Path-steps that may be spent. A run that turns out to need more stops there and then.
    device, threads, executor, progress
        As in `simulate`.

    Returns
    -------
    Multilevel

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, the scheme cannot be coupled, or ``accuracy`` would take
        more than ``max_cost``, as it does where paths on the coarsest grid explode.

    Warns
    -----
    RuntimeWarning
        If ``max_level`` is reached while the estimated bias is still too large (the result then says
        ``converged=False``), or if f is not finite on some paths.

    Notes
    -----
    With V_l and C_l the variance and cost of a path of level l, the numbers of paths are
    :math:`N_l = 2 \epsilon^{-2} \sqrt{V_l / C_l} \sum_k \sqrt{V_k C_k}`. The bias is estimated from the last three
    differences by :math:`\max_l |m_l| M^{\alpha (l - L)} / (M^\alpha - 1)`, M being the refinement and alpha fitted,
    but taken no smaller than 1/2 and no larger than the scheme's weak order. An expectation that none of the first
    levels sees, as of a rare event, can be missed like in any Monte Carlo.

    Functionals of the steps alone are followed on both grids. Extremes between the steps are those of Brownian bridges:
    the coarse path is interpolated to the fine times by the fine path's noise, and both use the same uniforms.

    On Sobol' points the points of one level after the other are doubled, where that takes most variance off for its
    cost, and a level's ``variance`` is that of independent paths as many as its own whose mean would be as good. Levels
    whose paths have more than 21201 normals are not used. Uniforms, as of extremes, stay random.

    Where the noise commutes ``method="milstein"`` makes the differences' variances decay with the square of the step,
    and fine levels then cost little.

    References
    ----------
    Giles, Multilevel Monte Carlo path simulation, Operations Research 56, 2008; Multilevel Monte Carlo methods, Acta
    Numerica 24, 2015. Extremes: Giles, Improved multilevel Monte Carlo convergence using the Milstein scheme, in Monte
    Carlo and Quasi-Monte Carlo Methods 2006, 2008. Sobol' points: Giles and Waterhouse, Multilevel quasi-Monte Carlo
    path simulation, Radon Series on Computational and Applied Mathematics 8, 2009.

    Examples
    --------
    >>> import sdefast as sf
    >>> model = sf.BlackScholes(mu=0.05, sigma=0.2)
    >>> call = multilevel(model, lambda t, x: max(x[0] - 100.0, 0.0), x0=100.0, t1=1.0, accuracy=0.05, seed=1)
    >>> exact = model.call_price(100.0, t=1.0, x0=100.0, rate=0.0)
    >>> bool(abs(call.value - exact) < 3 * call.accuracy), call.converged
    (True, True)
    """
    started = time.perf_counter()
    check_model(model)
    if model.per_path:
        raise ValueError(f"multilevel takes as many paths as it needs, which cannot have own parameters, got {model!r}")
    if not callable(f):
        raise TypeError(f"f must be a function of (t, x), got {checks.shown(f)}")
    where = Where.of(device, threads, executor)
    chain = _chain(model, f, method, functionals, boundary, controls, antithetic)
    m = checks.count("refinement", refinement, least=2, most=8)
    most = checks.count("max_level", max_level, least=FIRST_LEVELS - 1, most=40)
    state_type, noise_type = checks.types(dtype, noise_dtype)
    start = _start(model, x0, chain, state_type)
    steps, key = checks.count("n_steps", n_steps), options.seed(seed)
    if chain.extras.controls:
        first = checks.count("n_initial", n_initial, least=2, most=2**40)
        pilot = {
            "x0": x0, "t0": t0, "t1": t1, "n_steps": steps, "n_paths": first, "method": method,
            "seed": derived_seed(key, "control", 0), "functionals": functionals, "boundary": boundary,
            "expectations": {"f": f}, "controls": controls, "device": device, "threads": threads, "executor": executor,
        }  # fmt: skip
        chain = controlled(chain, *_control_slopes(model, pilot))
    problem = Problem(
        chain, Coupled(chain.sde, chain.scheme, chain.extras, m), start, checks.real("t0", t0), checks.real("t1", t1),
        steps, key, noise_type, where.gpu, checks.flag("sobol", sobol),
    )  # fmt: skip
    scramblings = checks.count("replicates", replicates, least=8, most=2**16)
    most = problem.deepest(most)
    problem.check(most)
    warn_of_flaw(chain, (problem.t1 - problem.t0) / problem.n_steps)
    if state_type.itemsize == 4:
        coarsest = plan.time_grid(problem.t0, problem.t1, problem.n_steps, None)
        warn_of_lost_steps(model, plan.given_states(x0, model.dim, 1), coarsest)
    target = Target(
        checks.real("accuracy", accuracy, positive=True), checks.count("n_initial", n_initial, least=2, most=2**40),
        most, checks.real("max_cost", max_cost, positive=True),
    )  # fmt: skip
    shown = checks.flag("progress", progress)
    with progress_bar(shown, type(model).__name__, None, "path-step") as bar:
        how = How(where, bar)
        if problem.sobol:
            found = Found.of_points(estimate_on_points(problem, target, how, scramblings))
        else:
            found = estimate(problem, target, how).found()
    result = _result(problem, target, found, started)
    _warn(result)
    return result


def _control_slopes(model: Model, pilot: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Expected values of the controls and regression coefficients on them, (n_controls,), from paths of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # on the coarsest grid controls have other means
        run = simulate(model, **pilot, paths=False)
    return known_values(run.settings)[-1], run.control_slopes[-1, :, 0]


def _chain(
    model: Model, f: Any, method: Any, functionals: Any, boundary: Any, controls: Any = None, antithetic: Any = None
) -> Chain:
    """The chain of a single path, with what is asked of it checked."""
    scheme = SCHEMES[method_of(model, method)]
    if scheme.step is None:
        raise ValueError(f"method={method!r} has no steps to refine: use simulate")
    pairs = None if antithetic is None else checks.flag("antithetic", antithetic)
    asked = {"boundary": boundary, "functionals": functionals, "stop_when": None, "antithetic": pairs}
    extras = checked_extras(model, asked, (("f", f),), checked_controls(controls))
    chain = compiled_chain(model, scheme.name, extras)
    _refuse_uncoupled(scheme, chain)
    return chain


def _refuse_uncoupled(scheme: Scheme, chain: Chain) -> None:
    """ValueError where noise of a fine grid does not make noise of a coarse one."""
    equation, name = chain.equation, scheme.name
    if scheme.draws != "normals" or math.isnan(scheme.strong_order):
        raise ValueError(f"method={name!r} draws {scheme.draws}, and its paths do not converge: fine and coarse ones "
                         "cannot be coupled; 'euler-maruyama' has the same weak order")  # fmt: skip
    twice = scheme.n_draws is two_per_noise
    if scheme.n_draws(equation) != equation.noise_dim and not twice:
        raise ValueError(f"method={name!r} draws more than Brownian increments for this SDE, which have no counterpart "
                         "on a coarser grid; use 'euler-maruyama', 'milstein' or 'heun'")  # fmt: skip
    for key, functional in chain.extras.functionals:
        if functional.n_uniforms and (twice or not isinstance(functional, (RunningMax, RunningMin))):
            raise ValueError(
                f"functionals[{key!r}] looks between the steps in a way that cannot be coupled under method={name!r}: "
                "pass bridge=False to it"
            )


def _start(model: Model, x0: Any, chain: Chain, dtype: np.dtype) -> np.ndarray:
    """The start state, (dim, 1)."""
    start = plan.start_states(x0, model.dim, 1, dtype)
    model.check_start(start[:, 0])
    for boundary in chain.extras.boundaries:
        boundary.check_start(start)
    return start


def _result(problem: Problem, target: Target, found: Found, started: float) -> Multilevel:
    m, (levels, known, left) = problem.coupled.refinement, found
    bias = estimated_bias(known, m, problem.chain.scheme.weak_order)
    plain = math.ceil(2 * levels[-1].fine_variance / target.accuracy**2)
    return Multilevel(
        math.fsum(r.mean for r in levels), math.sqrt(math.fsum(r.variance / r.n_paths for r in levels)), bias,
        target.accuracy, bias <= target.accuracy / math.sqrt(2), tuple(levels), weak_order_of(known, m),
        order_of([r.variance for r in known[1:]], m), sum(r.cost for r in levels) + left, plain * levels[-1].n_steps,
        problem.seed, time.perf_counter() - started,
    )  # fmt: skip


def _warn(result: Multilevel) -> None:
    gone, n = sum(r.n_nonfinite for r in result.levels), sum(r.n_paths for r in result.levels)
    if gone:
        message = f"f is not finite on {gone} of {n} paths; the estimate is over the others. A larger n_steps may help"
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    if not result.converged:
        warnings.warn(
            f"the bias is still about {result.bias:.2g} on level {result.levels[-1].level}, more than accuracy / "
            f"sqrt(2) = {result.accuracy / math.sqrt(2):.2g}: allow a larger max_level, or ask for less",
            RuntimeWarning,
            stacklevel=3,
        )
