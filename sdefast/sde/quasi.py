r"""Quasi-Monte Carlo: paths driven by Sobol' points in place of random numbers.

The error of an average over n scrambled Sobol' points falls faster than 1 / sqrt(n) where few dimensions of the points
decide most of what is averaged. So the first dimensions should decide the most about a path: with the Brownian bridge
the first one is its end, the next its middle, the last ones details.

`quasi_monte_carlo` runs a simulation on several independent scramblings, whose spread gives the standard error;
`sobol_normals` makes the normals of one, for ``simulate(..., normals=...)``.

References
----------
Owen, Scrambled net variance for integrals of smooth functions, Annals of Statistics 25, 1997. Brownian bridge:
Caflisch, Morokoff and Owen, Valuation of mortgage-backed securities using Brownian bridges to reduce effective
dimension, Journal of Computational Finance 1, 1997; Glasserman, Monte Carlo Methods in Financial Engineering, 2003,
section 5.5.

Examples
--------
>>> import sdefast as sf
>>> from sdefast import quasi
>>> model = sf.BlackScholes(mu=0.05, sigma=0.2)
>>> run = quasi.quasi_monte_carlo(model, expectations={"call": lambda t, x: max(x[0] - 100.0, 0.0)}, x0=100.0, t1=1.0,
...                               n_steps=16, n_paths=1024, method="exact", seed=1)
>>> error = run.expectations["call"].value[0] - model.call_price(100.0, t=1.0, x0=100.0, rate=0.0)
>>> bool(abs(error) < 0.01)  # of as many independent paths: 0.12
True
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks, resources
from ..engine import plan
from ..run.options import seed as seed_of
from ..run.result import Expectation
from .models.base import Model, check_model
from .result import Simulation
from .schemes import SCHEMES
from .seeds import derived_seed
from .settings import method_of
from .simulate import simulate
from .wiener.run_increments import draws_per_step

__all__ = ["QuasiMonteCarlo", "quasi_monte_carlo", "sobol_normals"]


def __dir__() -> list[str]:
    return __all__


#: Dimensions for which there are direction numbers (Joe and Kuo, SIAM J. Sci. Comput. 30, 2008).
MOST_DIMENSIONS = 21201

#: Bits of those of `SobolPaths`, of which there are many scramblings: they take a third of the time.
_FEW_BITS = 32

#: Bits of a point's coordinate: with half a unit added it is exact in float64, and never 0 or 1.
_BITS = 52


# --------------------------------------------------------------------------------------------------------------------
# Normals
# --------------------------------------------------------------------------------------------------------------------


def sobol_normals(
    n_steps_or_times: int | ArrayLike, n_paths: int, noise_dim: int = 1, *, seed: int, bridge: bool = True
) -> np.ndarray:
    """Standard normals from scrambled Sobol' points, for ``simulate(..., normals=...)``.

    Parameters
    ----------
    n_steps_or_times : int or array_like of shape (n_steps + 1,)
        The number of equal steps, or the times that the simulation steps through.
    n_paths : int
        Number of points, one a path; a power of two, for which the points are balanced.
    noise_dim : int
        Normals of a step, for a model ``model.noise_dim_of(method)``.
    seed : int
        In [0, 2**64), of the scrambling. Scramblings with different seeds are independent.
    bridge : bool
        Give the normals to the steps by the Brownian bridge: the first ``noise_dim`` dimensions of the points decide
        the path's end, the others successive midpoints. Otherwise step after step takes the next dimensions.

    Returns
    -------
    ndarray of shape (n_steps, n_paths, noise_dim)
        float64. Every path by itself is one of independent standard normals; the paths are spread evenly.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or n_steps * noise_dim is more than 21201 dimensions.
    ImportError
        If scipy is missing.
    MemoryError
        If the normals cannot fit; refused before allocation.

    Warns
    -----
    UserWarning
        If ``n_paths`` is no power of two.

    Examples
    --------
    >>> from sdefast import quasi
    >>> z = quasi.sobol_normals(8, 1024, seed=1)
    >>> z.shape, bool(abs(z.sum(axis=0).mean()) < 0.001)  # the ends of the paths
    ((8, 1024, 1), True)
    """
    times = _times(n_steps_or_times)
    n, m = checks.count("n_paths", n_paths, most=2**_BITS), checks.count("noise_dim", noise_dim)
    seed = checks.seed("seed", seed)
    _check(len(times) - 1, n, m, bridge)
    return _normals(times, n, m, seed, bridge)


def _times(n_steps_or_times: Any) -> np.ndarray:
    if np.ndim(n_steps_or_times) == 0:
        return np.arange(checks.count("n_steps_or_times", n_steps_or_times) + 1.0)
    return checks.increasing("n_steps_or_times", n_steps_or_times, at_least=2)


def _check(n_steps: int, n: int, m: int, bridge: Any) -> None:
    checks.flag("bridge", bridge)
    if n_steps * m > MOST_DIMENSIONS:
        raise ValueError(
            f"n_steps is too large: {n_steps} steps with {m} normals each are {n_steps * m} dimensions, of which "
            f"Sobol' points have {MOST_DIMENSIONS} at most; use {MOST_DIMENSIONS // m} steps or fewer"
        )
    needed = 16 * n_steps * m * (_power_of_two(n) + n)
    what = f"the normals of {n_steps} steps x {n} paths x {m} noises"
    resources.refuse_too_large(needed, what, ["use fewer paths, and more replicates of them"])
    if n != _power_of_two(n):
        warnings.warn(
            f"n_paths={n} is no power of two: Sobol' points are balanced, and at their best, in whole powers, here "
            f"{_power_of_two(n) // 2} or {_power_of_two(n)}",
            UserWarning,
            stacklevel=3,
        )


class SobolPaths:
    """Normals of paths of one scrambling, some points after the others, by the Brownian bridge.

    ``times`` are those of the steps, ``m`` the normals of a step.
    """

    def __init__(self, times: np.ndarray, m: int, seed: int) -> None:
        sobol, self._quantile = _scipy()
        self.times, self.m = times, m
        self._points = sobol((len(times) - 1) * m, scramble=True, bits=_FEW_BITS, seed=np.random.default_rng(seed))

    def next(self, n: int) -> np.ndarray:
        """Those of the next ``n`` points, (n_steps, m, n); of the first ones ``n`` is a power of two."""
        u = np.ascontiguousarray(self._points.random(n).T)
        u += 0.5 ** (_FEW_BITS + 1)
        return _bridged(self._quantile(u, out=u).reshape(-1, self.m, n), self.times)


def _power_of_two(n: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << (n - 1).bit_length()


def _normals(times: np.ndarray, n: int, m: int, seed: int, bridge: bool) -> np.ndarray:
    """Normals of the steps, (n_steps, n, m)."""
    n_steps = len(times) - 1
    z = _points(n_steps * m, n, seed).reshape(n_steps, m, n)
    return (_bridged(z, times) if bridge else z).transpose(0, 2, 1)


def _points(dim: int, n: int, seed: int) -> np.ndarray:
    """Standard normals (dim, n) of the first n points of a scrambled Sobol' sequence."""
    sobol, quantile = _scipy()
    points = sobol(dim, scramble=True, bits=_BITS, seed=np.random.default_rng(seed))
    u = np.ascontiguousarray(points.random_base2((n - 1).bit_length())[:n].T)
    u += 0.5 ** (_BITS + 1)
    z: np.ndarray = quantile(u, out=u)
    return z


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy.special import ndtri
        from scipy.stats.qmc import Sobol
    except ImportError as error:
        raise ImportError("Sobol' points need scipy: pip install 'sdefast[stats]'") from error
    return Sobol, ndtri


def _bridged(z: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Normals of the steps, (n_steps, m, n), of paths that take the normals ``z`` in the order of the bridge.

    An orthogonal map of every path's normals: W is built from coarse to fine, and its increments are scaled back.
    """
    w = np.zeros((len(times), *z.shape[1:]))
    w[-1] = np.sqrt(times[-1] - times[0]) * z[0]
    for normals, (left, middle, right) in zip(z[1:], _kept_midpoints(times.tobytes()), strict=True):
        before, after = times[middle] - times[left], times[right] - times[middle]
        share = before / (before + after)
        w[middle] = (1 - share) * w[left] + share * w[right] + np.sqrt(share * after) * normals
    increments = np.diff(w, axis=0)
    increments /= np.sqrt(np.diff(times))[:, None, None]
    return increments


@lru_cache(maxsize=16)
def _kept_midpoints(times: bytes) -> list[tuple[int, int, int]]:
    return _midpoints(np.frombuffer(times))


def _midpoints(times: np.ndarray) -> list[tuple[int, int, int]]:
    """Which point is filled in when, between which two: the one nearest to the middle of the widest gap first."""
    todo, order = [(0, len(times) - 1)], []
    while todo:  # level by level: gaps of a level halve those of the one before
        inner = [(left, right) for left, right in todo if right - left > 1]
        cuts = [(left, _nearest(times, left, right), right) for left, right in inner]
        order += sorted(cuts, key=lambda cut: times[cut[0]] - times[cut[2]])
        todo = [gap for left, middle, right in cuts for gap in ((left, middle), (middle, right))]
    return order


def _nearest(times: np.ndarray, left: int, right: int) -> int:
    """The point within nearest to the middle of the gap."""
    middle = 0.5 * (times[left] + times[right])
    return left + 1 + int(np.argmin(np.abs(times[left + 1 : right] - middle)))


# --------------------------------------------------------------------------------------------------------------------
# Simulations
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QuasiMonteCarlo:
    """Result of `quasi_monte_carlo`.

    Attributes
    ----------
    t : ndarray of shape (n_times,)
        Saved times.
    expectations : dict of str to Expectation
        ``value`` and ``standard_error`` of shape (n_times,): the mean over the replicates and its standard error.
        ``n_nonfinite`` counts paths of all replicates.
    replicates : dict of str to ndarray of shape (replicates, n_times)
        The replicates' own values.
    n_paths : int
        Paths of one replicate.
    seed : int
        The seed, also where none was given.
    """

    t: np.ndarray
    expectations: dict[str, Expectation]
    replicates: dict[str, np.ndarray] = field(repr=False)
    n_paths: int
    seed: int


#: Options of `simulate` that say what quasi-Monte Carlo decides by itself.
_DECIDED = ("normals", "resume", "antithetic", "first_chain", "paths")


def quasi_monte_carlo(
    model: Model,
    *,
    expectations: Mapping[str, Callable[..., Any]],
    replicates: int = 16,
    seed: int | None = None,
    bridge: bool = True,
    **options: Any,
) -> QuasiMonteCarlo:
    """Expectations over paths driven by scrambled Sobol' points, from several independent scramblings.

    Parameters
    ----------
    model : Model
        A built-in model or an `SDE`.
    expectations : mapping of str to callable
        As in `simulate`.
    replicates : int
        Independent scramblings, at least 2; their spread gives the standard errors.
    seed : int
        In [0, 2**64); a random one by default, recorded in the result. Every replicate uses one derived from it.
    bridge : bool
        See `sobol_normals`.
    **options
        Of `simulate`: ``x0``, ``t1`` and ``n_steps`` or ``times``, ``n_paths`` (of every replicate, a power of two),
        ``method``, ``save_at``, ``functionals``, ``threads``, ... A method that draws more than Brownian increments
        takes them from the same points; uniforms, as of extremes between the steps, stay random.

    Returns
    -------
    QuasiMonteCarlo

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.
    ImportError
        If scipy is missing.

    Notes
    -----
    The normals of one replicate, n_steps * n_paths * draws numbers, are in memory while it runs. The mean over the
    replicates has no bias; what the standard error of few replicates is worth, Student's distribution with
    ``replicates - 1`` degrees of freedom says.

    Examples
    --------
    >>> import sdefast as sf
    >>> from sdefast import quasi
    >>> run = quasi.quasi_monte_carlo(sf.OrnsteinUhlenbeck(), expectations={"square": lambda t, x: x[0] ** 2}, x0=1.0,
    ...                               t1=1.0, n_steps=8, n_paths=256, seed=1)
    >>> run.expectations["square"].value.shape
    (1,)
    """
    check_model(model)
    given = [name for name in _DECIDED if name in options]
    if given:
        raise TypeError(f"quasi_monte_carlo decides by itself about {', '.join(given)}: leave it out")
    if not expectations:
        raise TypeError("expectations must name at least one function")
    count = checks.count("replicates", replicates, least=2, most=2**20)
    seed = seed_of(seed)
    if options.get("n_paths") is None:
        raise TypeError("quasi_monte_carlo needs n_paths, the paths of a replicate")
    n_paths, times = checks.count("n_paths", options["n_paths"], most=2**_BITS), _grid(options)
    draws = _draws(model, options.get("method"))
    _check(len(times) - 1, n_paths, draws, bridge)
    runs = [
        simulate(
            model, expectations=expectations, paths=False, seed=own,
            normals=_normals(times, n_paths, draws, own, bridge), **options,
        )
        for own in (derived_seed(seed, "quasi", i) for i in range(count))
    ]  # fmt: skip
    return _summary(runs, n_paths, seed)


def _grid(options: Mapping[str, Any]) -> np.ndarray:
    """The times of the steps, of equal ones in their unit, checked as `simulate` does."""
    grid = plan.time_grid(*(options.get(name) for name in ("t0", "t1", "n_steps", "times")))
    return np.arange(grid.n_steps + 1.0) if grid.times is None else grid.times


def _draws(model: Model, method: Any) -> int:
    """Normals of a step."""
    name = method_of(model, method)
    scheme = SCHEMES[name]
    if scheme.draws != "normals":
        raise ValueError(f"method={name!r} draws {scheme.draws}, and Sobol' points are for methods that draw normals")
    return draws_per_step(model, scheme)


def _summary(runs: list[Simulation], n_paths: int, seed: int) -> QuasiMonteCarlo:
    found = [run.expectations for run in runs]
    values = {name: np.array([e[name].value for e in found]) for name in found[0]}
    means = {
        name: Expectation(
            value.mean(0),
            value.std(0, ddof=1) / np.sqrt(len(runs)),
            np.sum([e[name].n_nonfinite for e in found], axis=0),
        )
        for name, value in values.items()
    }
    return QuasiMonteCarlo(runs[0].t, means, values, n_paths, seed)
