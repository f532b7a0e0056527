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
import secrets
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks
from ..engine import plan
from ..engine.statistics import Layout, Nodes
from ..engine.tiles import BLOCK, Tile
from ..jit.emit import ROW
from ..run.boundaries import Boundary
from ..run.step import ChainSettings
from ..run.where import Where, progress_bar
from .chain import Chain
from .controlled import controlled
from .coupled import Coupled
from .extras import checked_controls, checked_extras
from .functionals import Functional, RunningMax, RunningMin
from .models.base import Model
from .quasi import MOST_DIMENSIONS
from .rounding import warn_of_lost_steps
from .schemes import SCHEMES, Scheme
from .schemes.sriw1 import two_per_noise
from .seeds import derived_seed
from .settings import compiled_chain, known_values, method_of, warn_of_flaw
from .simulate import simulate
from .sobol_levels import FIRST_POINTS, SobolLevel, draw_enough, most_levels

__all__ = ["Level", "Multilevel", "multilevel"]

_ONE = Layout(1, 2, False, False)

#: What starting and observing a path costs, in path-steps.
_PER_PATH = 8

#: The part of the cost that beginning on a finer level must leave, before the coarse ones are given up.
_WORTH_IT = 0.8

#: Levels that are there from the start: two differences show a decay.
_FIRST_LEVELS = 3

_MOST_DRAWS = 2**40


# --------------------------------------------------------------------------------------------------------------------
# What comes out
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """One level: estimates of E (f_l - f_{l-1}), of E f_l on the first one.

    Attributes
    ----------
    level, n_steps, n_paths : int
        Number of the level, steps of its (fine) grid, paths simulated.
    mean, variance : float
        Of the differences.
    fine_variance : float
        Of f on the level's own grid.
    cost : int
        Path-steps, those of the coarse paths included.
    n_nonfinite : int
        Paths that are left out because f is not finite on them.
    """

    level: int
    n_steps: int
    n_paths: int
    mean: float
    variance: float
    fine_variance: float
    cost: int
    n_nonfinite: int


@dataclass(frozen=True)
class Multilevel:
    """Result of `multilevel`.

    Attributes
    ----------
    value : float
        The estimate of E f.
    standard_error : float
        Its standard error.
    bias : float
        Estimated size of its bias, the discretisation error of the finest level.
    accuracy : float
        The root-mean-square error that was asked for.
    converged : bool
        Whether the finest level that was allowed has a bias that fits the accuracy.
    levels : tuple of Level
        The levels, coarsest first: level 0 or, where paths converge so slowly that coarse levels cost more than they
        save, the first that pays. The last one alone is plain Monte Carlo.
    alpha, beta : float
        Orders, in the step size, at which means and variances of the differences were seen to decay: the weak order
        and twice the strong order where f is smooth.
    cost : int
        Path-steps in all, also of levels that were tried and given up.
    plain_cost : int
        Path-steps that paths on the finest grid alone would need for the same accuracy.
    seed : int
        The seed, also where none was given.
    seconds : float
        Wall-clock time.
    """

    value: float
    standard_error: float
    bias: float
    accuracy: float
    converged: bool
    levels: tuple[Level, ...]
    alpha: float
    beta: float
    cost: int
    plain_cost: int
    seed: int
    seconds: float = field(compare=False)

    @property
    def error(self) -> float:
        """Estimated root-mean-square error, of bias and standard error together."""
        return math.hypot(self.standard_error, self.bias)

    def __repr__(self) -> str:
        reached = "" if self.converged else ", not converged"
        lines = [
            f"Multilevel: {self.value:.8g}, standard error {self.standard_error:.2g}, bias about {self.bias:.2g} "
            f"(accuracy {self.accuracy:g} asked for{reached})",
            f"{'level':>5} {'steps':>12} {'paths':>14} {'mean':>12} {'variance':>11} {'path-steps':>12}",
        ]
        lines += [
            f"{r.level:5} {r.n_steps:12,} {r.n_paths:14,} {r.mean:12.5g} {r.variance:11.3g} {r.cost:12.3g}"
            for r in self.levels
        ]
        lines.append(
            f"{self.cost:.3g} path-steps, {self.plain_cost:.3g} on the finest grid alone; orders {self.alpha:.2f} "
            f"(mean), {self.beta:.2f} (variance); seed {self.seed}; {self.seconds:.3g} s"
        )
        return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------------------
# What users call
# --------------------------------------------------------------------------------------------------------------------


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
    if not isinstance(model, Model):
        raise TypeError(f"model must be a model such as sdefast.OrnsteinUhlenbeck(), got {checks.shown(model)}")
    if model.per_path:
        raise ValueError(f"multilevel takes as many paths as it needs, which cannot have own parameters, got {model!r}")
    if not callable(f):
        raise TypeError(f"f must be a function of (t, x), got {checks.shown(f)}")
    where = Where.of(device, threads, executor)
    chain = _chain(model, f, method, functionals, boundary, controls, antithetic)
    m = checks.count("refinement", refinement, least=2, most=8)
    most = checks.count("max_level", max_level, least=_FIRST_LEVELS - 1, most=40)
    state_type, noise_type = checks.types(dtype, noise_dtype)
    start = _start(model, x0, chain, state_type)
    steps, key = checks.count("n_steps", n_steps), secrets.randbits(64) if seed is None else checks.seed("seed", seed)
    if chain.extras.controls:
        first = checks.count("n_initial", n_initial, least=2, most=2**40)
        pilot = {
            "x0": x0, "t0": t0, "t1": t1, "n_steps": steps, "n_paths": first, "method": method,
            "seed": derived_seed(key, "control", 0), "functionals": functionals, "boundary": boundary,
            "expectations": {"f": f}, "controls": controls, "device": device, "threads": threads, "executor": executor,
        }  # fmt: skip
        chain = controlled(chain, *_control_slopes(model, pilot))
    problem = _Problem(
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
    target = _Target(
        checks.real("accuracy", accuracy, positive=True), checks.count("n_initial", n_initial, least=2, most=2**40),
        most, checks.real("max_cost", max_cost, positive=True),
    )  # fmt: skip
    shown = checks.flag("progress", progress)
    with progress_bar(shown, type(model).__name__, None, "path-step") as bar:
        how = _How(where, bar)
        if problem.sobol:
            found = _Found.of_points(_estimate_on_points(problem, target, how, scramblings))
        else:
            found = _estimate(problem, target, how).found()
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


# --------------------------------------------------------------------------------------------------------------------
# Sampling a level
# --------------------------------------------------------------------------------------------------------------------


class _How(NamedTuple):
    """Where to run, and the bar to tell."""

    where: Where
    bar: Any


@dataclass(frozen=True)
class _Problem:
    """What the levels have in common; ``start`` is the start state, (dim, 1)."""

    chain: Chain
    coupled: Coupled
    start: np.ndarray
    t0: float
    t1: float
    n_steps: int
    seed: int
    noise_dtype: np.dtype
    device: Any = None
    sobol: bool = False

    def steps(self, level: int) -> int:
        """Steps of a level's own grid."""
        return int(self.n_steps * self.coupled.refinement**level)

    def cost(self, level: int) -> int:
        """Path-steps of a path, those of its coarse twin included."""
        return (self.steps(level) + (self.steps(level - 1) if level else 0)) * (1 + self.chain.extras.antithetic)

    def deepest(self, most: int) -> int:
        """The deepest level that may be used."""
        if not self.sobol:
            return most
        draws, m = self.chain.step.n_draws, self.coupled.refinement
        fit = most_levels(self.n_steps, m, draws, most)
        if fit < _FIRST_LEVELS - 1:
            raise ValueError(
                f"n_steps is too large for sobol=True: paths of level {_FIRST_LEVELS - 1} take "
                f"{self.steps(_FIRST_LEVELS - 1) * draws} normals, and Sobol' points have {MOST_DIMENSIONS} dimensions"
            )
        return fit

    def check(self, max_level: int) -> None:
        """Errors of every level, before any work."""
        draws = max(self.chain.step.n_draws, self.chain.step.n_uniforms)
        if self.steps(max_level) * draws >= _MOST_DRAWS:
            raise ValueError(f"max_level is too large: a path has 2**40 draws, level {max_level} needs more")
        for level in (0, max_level):
            plan.time_grid(self.t0, self.t1, self.steps(level), None)
        self.coupled.observed  # noqa: B018  errors in f are raised here and now

    def tile(self, level: int, is_first: bool = False) -> Tile:
        """What a level runs, for no paths yet: paths alone on the first one, else with their coarse twins."""
        is_first = is_first or level == 0
        chain = self.chain if is_first else self.coupled
        grid = plan.time_grid(self.t0, self.t1, self.steps(level if is_first else level - 1), None)
        settings = ChainSettings(
            seed=derived_seed(self.seed, "multilevel", level), dtype=self.start.dtype, noise_dtype=self.noise_dtype,
            first_chain=0, n_chains=0, grid=grid, saves=np.array([grid.last_step], np.int64), layout=_ONE,
            keeps_states=False, steps_by=chain, gathers_state=False, given_normals=self.sobol,
        )  # fmt: skip
        return settings.tile(chain.start_rows(self.start, self.t0), device=self.device)

    def sobol_level(self, level: int, replicates: int) -> SobolLevel:
        """A level on points, before the first."""
        cost = self.cost(level)
        times = np.linspace(self.t0, self.t1, self.steps(level) + 1)
        return SobolLevel(self.tile(level), times, replicates, cost, cost + _PER_PATH)


class _Sampler:
    """The paths of one level, which become more as they are needed.

    Batches of paths begin at a new block of chains each, so that all that decides the numbers is how many paths each
    batch has.
    """

    def __init__(self, problem: _Problem, level: int, is_first: bool = False) -> None:
        self.number, self.n_steps = level, problem.steps(level)
        is_first = is_first or level == 0
        self.path_steps = self.n_steps if is_first else problem.cost(level)
        self._fine = 0 if is_first else 1  # which of what is gathered is f on the fine paths
        self.n_paths = 0
        self._tile, self._next_chain = problem.tile(level, is_first), 0
        self._nodes: tuple[Nodes, ...] = tuple({} for _ in self._tile.gathered)

    @property
    def cost(self) -> int:
        """What a path costs, in path-steps."""
        return self.path_steps + _PER_PATH

    def draw(self, n: float, how: _How) -> None:
        """Simulate that many more paths, at least, in whole rows of lanes."""
        n_chains = max(math.ceil(n / ROW), 1) * ROW
        batch = replace(self._tile, first_chain=self._next_chain, n_chains=n_chains)
        told = None if how.bar is None else lambda steps: how.bar.update(steps * self.path_steps // batch.n_steps)
        outcome = how.where.run(batch, told)
        for gathered, nodes, new in zip(batch.gathered, self._nodes, outcome.nodes, strict=True):
            gathered.layout.add(nodes, new)
        self.n_paths += n_chains
        self._next_chain += -(-n_chains // BLOCK) * BLOCK

    def level(self) -> Level:
        """What is known so far."""
        totals = [_ONE.total(nodes)[0] for nodes in self._nodes]
        (count, mean, squares), fine = totals[0], totals[self._fine]
        return Level(
            self.number, self.n_steps, self.n_paths, float(mean) if count else math.nan,
            float(squares / max(count - 1, 1)), float(fine[2] / max(fine[0] - 1, 1)), self.n_paths * self.path_steps,
            self.n_paths - int(count),
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# How many levels, how many paths
# --------------------------------------------------------------------------------------------------------------------


class _Target(NamedTuple):
    """What to reach, and how to go about it."""

    accuracy: float
    n_initial: int
    max_level: int
    max_cost: float


class _Found(NamedTuple):
    """The levels that are summed up, what is known of all differences, and what was spent on levels that are left."""

    used: list[Level]
    differences: list[Level]
    spent_on_left: int = 0

    @classmethod
    def of_points(cls, levels: list[Level]) -> _Found:
        """Of levels that are all summed up."""
        return cls(levels, levels)


class _Samplers(NamedTuple):
    """The levels that are summed up, and those below, of which only the differences are known."""

    used: list[_Sampler]
    left: list[_Sampler]

    def differences(self) -> list[Level]:
        """What is known of every level, whose differences begin with the second."""
        return [s.level() for s in (*self.left, *(self.used[1:] if self.left else self.used))]

    def found(self) -> _Found:
        """What was found."""
        return _Found([s.level() for s in self.used], self.differences(), sum(s.level().cost for s in self.left))


def _estimate(problem: _Problem, target: _Target, how: _How) -> _Samplers:
    """Draw paths, and add levels, until variance and bias fit the accuracy or no level is left."""
    m, weak_order = problem.coupled.refinement, problem.chain.scheme.weak_order
    samplers = _Samplers([_Sampler(problem, level) for level in range(_FIRST_LEVELS)], [])
    for sampler in samplers.used:
        sampler.draw(target.n_initial, how)
    while True:
        samplers = _started_where_it_pays(problem, samplers, target, how)
        _draw_enough(samplers.used, m, target, how)
        levels = samplers.differences()
        if _bias(levels, m, weak_order) <= target.accuracy / math.sqrt(2) or len(levels) > target.max_level:
            return samplers
        used = samplers.used
        variances = _variances([s.level() for s in used], m)
        used.append(_Sampler(problem, used[-1].number + 1))
        variances.append(variances[-1] * m ** -_order([r.variance for r in levels[1:]], m))
        used[-1].draw(_numbers(variances, [s.cost for s in used], target.accuracy)[-1], how)


def _started_where_it_pays(problem: _Problem, samplers: _Samplers, target: _Target, how: _How) -> _Samplers:
    """The same without coarse levels whose differences cost more than they save, as where paths converge slowly.

    Beginning on level l costs (sqrt(F_l C_l) + sum over k > l of sqrt(V_k C_k))^2 for the same variance, F being the
    variance of f on that level's own grid. What was drawn of the levels that are given up must be less than is saved.
    """
    used = samplers.used
    found = [s.level() for s in used]
    ends = [math.sqrt(r.fine_variance * (s.n_steps + _PER_PATH)) for s, r in zip(used, found, strict=True)]
    differences = [math.sqrt(r.variance * s.cost) for s, r in zip(used, found, strict=True)]
    costs = [(end + sum(differences[k + 1 :])) ** 2 for k, end in enumerate(ends)]
    best = int(np.argmin(np.nan_to_num(costs, nan=math.inf)))
    saved, lost = (
        2 * (costs[0] - costs[best]) / target.accuracy / target.accuracy,
        sum(s.n_paths * s.cost for s in used[: best + 1]),
    )
    if not (costs[best] < _WORTH_IT * costs[0] and saved > lost):
        return samplers
    first = _Sampler(problem, used[best].number, True)
    first.draw(target.n_initial, how)
    return _Samplers([first, *used[best + 1 :]], [*samplers.left, *used[1 if samplers.left else 0 : best + 1]])


def _estimate_on_points(problem: _Problem, target: _Target, how: _How, replicates: int) -> list[Level]:
    """The same on Sobol' points."""
    sampled: list[SobolLevel] = []

    def run(tile: Tile) -> Any:
        told = None if how.bar is None else lambda steps: how.bar.update(steps * sampled[-1].path_steps // tile.n_steps)
        return how.where.run(tile, told)

    def levels() -> list[Level]:
        return [_on_points(number, problem.steps(number), s) for number, s in enumerate(sampled)]

    def check(more: int) -> None:
        _refuse_nonfinite(levels())
        spent = more + sum(s.n_paths * s.path_steps for s in sampled)
        if spent > target.max_cost:
            raise ValueError(f"accuracy={target.accuracy:g} takes more than max_cost={target.max_cost:g} path-steps")

    m, weak_order = problem.coupled.refinement, problem.chain.scheme.weak_order
    while True:
        sampled.append(problem.sobol_level(len(sampled), replicates))
        sampled[-1].draw(FIRST_POINTS, run)
        if len(sampled) < _FIRST_LEVELS:
            continue
        draw_enough(sampled, 0.5 * target.accuracy**2, run, check)
        done = levels()
        if _bias(done, m, weak_order) <= target.accuracy / math.sqrt(2) or len(done) > target.max_level:
            return done


def _on_points(number: int, n_steps: int, s: SobolLevel) -> Level:
    """What is known of a level on points."""
    n = s.n_paths
    return Level(number, n_steps, n, s.mean, s.variance_of_mean * n, s.fine_variance, n * s.path_steps, s.n_nonfinite)


def _draw_enough(samplers: list[_Sampler], m: int, target: _Target, how: _How) -> None:
    """Draw until every level has the paths that its variance, as known by then, asks for."""
    costs, more = [s.cost for s in samplers], True
    while more:
        levels = [s.level() for s in samplers]
        _refuse_nonfinite(levels)
        variances = _variances(levels, m)
        wanted = _numbers(variances, costs, target.accuracy)
        _refuse_too_costly(samplers, variances, wanted, target)
        more = False
        for sampler, n in zip(samplers, wanted, strict=True):
            if n > 1.01 * sampler.n_paths:
                sampler.draw(n - sampler.n_paths, how)
                more = True


def _refuse_nonfinite(levels: list[Level]) -> None:
    for r in levels:
        if r.n_nonfinite > r.n_paths - 2:
            raise ValueError(
                f"f is finite on {r.n_paths - r.n_nonfinite} of {r.n_paths} paths of level {r.level} (steps: "
                f"{r.n_steps}); if paths explode on so coarse a grid, use a larger n_steps"
            )


def _refuse_too_costly(samplers: list[_Sampler], variances: list[float], wanted: list[float], target: _Target) -> None:
    spent = [max(n, s.n_paths) * s.path_steps for s, n in zip(samplers, wanted, strict=True)]
    if not sum(spent) <= target.max_cost:  # also where variances are no longer finite
        worst = int(np.argmax(spent))
        raise ValueError(
            f"accuracy={target.accuracy:g} would take about {sum(spent):.2g} path-steps, more than max_cost="
            f"{target.max_cost:g}; most of them on level {worst} (steps: {samplers[worst].n_steps}), where the "
            f"variance is {variances[worst]:.2g}. Ask for less or, if paths explode on so coarse a grid, use a larger "
            "n_steps"
        )


def _numbers(variances: Sequence[float], costs: Sequence[int], accuracy: float) -> list[float]:
    """The numbers of paths that give half the accuracy's square as variance at the least cost."""
    total = sum(math.sqrt(v * c) for v, c in zip(variances, costs, strict=True))
    per_variance = 2 / accuracy / accuracy
    return [per_variance * math.sqrt(v / c) * total for v, c in zip(variances, costs, strict=True)]


def _variances(levels: Sequence[Level], m: int) -> list[float]:
    """Variances, of fine levels no less than half of what the decay leads one to expect: few paths can miss much."""
    variances = [r.variance for r in levels]
    decay = m ** -_order(variances[1:], m)
    for i in range(2, len(variances)):
        variances[i] = max(variances[i], 0.5 * decay * variances[i - 1])
    return variances


def _order(values: Sequence[float], m: int, weights: Sequence[float] | None = None) -> float:
    """The order in the step size at which values of successive levels decay, at least 1/2."""
    w = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    good = (np.abs(values) > 0) & (w > 0)
    if good.sum() < 2:
        return 0.5
    x, y, w = np.arange(len(values))[good], np.log(np.abs(values)[good]) / math.log(m), w[good] / w[good].sum()
    x = x - w @ x
    return max(-float((w * x) @ y / (w @ x**2)), 0.5)


def _weak_order(levels: Sequence[Level], m: int) -> float:
    """The order at which the means decay, fitted to those that stand out of their noise."""
    differences = levels[1:]
    noise = [r.variance / r.n_paths for r in differences]
    # The error of log |mean| is that of the mean over the mean; beyond ten standard errors the fit is what is wrong.
    seen = [min(r.mean * r.mean / v, 100.0) if v > 0 else 100.0 for r, v in zip(differences, noise, strict=True)]
    return _order([r.mean for r in differences], m, seen)


def _bias(levels: Sequence[Level], m: int, most: float) -> float:
    """Estimated size of what the finest level is off by."""
    ratio = m ** min(_weak_order(levels, m), most)
    last = [abs(r.mean) for r in levels[1:]][-3:]
    return float(max(mean * ratio**-i for i, mean in enumerate(reversed(last))) / (ratio - 1))


def _result(problem: _Problem, target: _Target, found: _Found, started: float) -> Multilevel:
    m, (levels, known, left) = problem.coupled.refinement, found
    bias = _bias(known, m, problem.chain.scheme.weak_order)
    plain = math.ceil(2 * levels[-1].fine_variance / target.accuracy**2)
    return Multilevel(
        math.fsum(r.mean for r in levels), math.sqrt(math.fsum(r.variance / r.n_paths for r in levels)), bias,
        target.accuracy, bias <= target.accuracy / math.sqrt(2), tuple(levels), _weak_order(known, m),
        _order([r.variance for r in known[1:]], m), sum(r.cost for r in levels) + left, plain * levels[-1].n_steps,
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
