"""The Wiener process: increments on coarser and finer grids, bridges, and stochastic integrals along given paths.

Increments are arrays of shape (n_steps, n_paths, noise_dim) in the unit of a square root of time, paths and states
arrays of shape (n_times, n_paths, dim) with n_times = n_steps + 1. All functions compute in float64, whatever comes in;
only `increments` returns what a simulation used in the type in which it was used.

The sources are Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, chapter 3 (stochastic
integrals, the Ito formula) and Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 3.1 (Brownian
motion and bridges).

Examples
--------
The Ito formula d(W^2) = 2 W dW + dt: the left-point sum misses W(1)^2 - 1 by the fluctuation of sum dW^2 around 1,
whose standard deviation is sqrt(2 h).

>>> import numpy as np
>>> import sdefast as sf
>>> h = 1 / 1024
>>> t = h * np.arange(1025)
>>> dw = sf.noise.brownian(7, t, n_chains=1000, increments=True)
>>> w = sf.wiener.path(dw)
>>> w.shape
(1025, 1000, 1)
>>> ito = sf.wiener.ito_integral(lambda t, w: w, w, dw, running=False)
>>> error = w[-1, :, 0] ** 2 - (2 * ito + 1.0)
>>> bool(0.9 < error.std() / np.sqrt(2 * h) < 1.1)
True

In the Stratonovich calculus the ordinary chain rule holds, for W^2 up to rounding on any grid:

>>> stratonovich = sf.wiener.stratonovich_integral(lambda t, w: w, w, dw, running=False)
>>> bool(np.abs(w[-1, :, 0] ** 2 - 2 * stratonovich).max() < 1e-12)
True

For sin(W) it reads d sin(W) = cos(W) dW - sin(W) / 2 dt in the first calculus, with an error of the order sqrt(h), and
d sin(W) = cos(W) o dW in the second, with an error of the order h:

>>> ito = sf.wiener.ito_integral(lambda t, w: np.cos(w), w, dw, running=False)
>>> error = np.sin(w[-1, :, 0]) - (ito - h / 2 * np.sin(w[:-1, :, 0]).sum(axis=0))
>>> bool(error.std() < np.sqrt(h))
True
>>> stratonovich = sf.wiener.stratonovich_integral(lambda t, w: np.cos(w), w, dw, running=False)
>>> bool((np.sin(w[-1, :, 0]) - stratonovich).std() < h)
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .. import checks, noise, resources
from .models import BlackScholes, BrownianMotion, Model
from .result import Simulation
from .schemes import SCHEMES, Scheme
from .sde import sde_of
from .settings import Settings

__all__ = ["bridge", "coarsen", "increments", "ito_integral", "path", "refine", "stratonovich_integral", "subdivide"]


def __dir__() -> list[str]:
    return __all__


Integrand: TypeAlias = Callable[[Any, np.ndarray], ArrayLike]

# --------------------------------------------------------------------------------------------------------------------
# How the increments of a simulation come from its draws
# --------------------------------------------------------------------------------------------------------------------

#: what a scheme draws (`Scheme.draws`) -> the function of `sdefast.noise` that returns it. Schemes whose draws are not
#: named here have no increments to return.
_SOURCES: Mapping[str, Callable[..., np.ndarray]] = {"normals": noise.normals, "signs": noise.signs}

#: models whose exact step is a function of the increments; others draw from a transition law of its own variance
_EXACT_IN_THE_INCREMENTS = (BrownianMotion, BlackScholes)


def _driving(z: np.ndarray, scheme: Scheme, noise_dim: int) -> np.ndarray:
    """Of a step's draws, (n_steps, n_draws, n_paths), those that times sqrt(h) are its increments.

    They are the first of every step: a scheme that draws more, for integrals of W or random signs, draws them after
    these. A scheme with another layout is told apart here.
    """
    return z[:, :noise_dim]


def increments(run: Simulation, *, first_path: int = 0, n_paths: int | None = None) -> np.ndarray:
    """Brownian increments W(t[k+1]) - W(t[k]) that a simulation used.

    They are computed again from the seed, whether or not the run kept its states. Component j drives column j of the
    model's diffusion; the components are independent also where the model correlates its noises (`Heston`).

    Parameters
    ----------
    run : Simulation
        Result of `simulate` or of `merge`. For a resumed run the increments are those of its own steps.
    first_path, n_paths : int
        Which of the run's paths: by default all of them.

    Returns
    -------
    ndarray of shape (n_steps, n_paths, noise_dim)
        For all steps, whichever were saved, in the type of the run's state. float32 noise that drove float64 states
        comes as float64: the normals times sqrt(h) without further rounding.

    Raises
    ------
    TypeError
        If ``run`` is no simulation.
    ValueError
        If the run's method does not step by Brownian increments, it was given its normals, or a path is out of range.
        The exact transitions of
        `OrnsteinUhlenbeck` and `LinearSDE` draw integrals of a kernel against dW, of which the increments of W are no
        function; those of `BrownianMotion` and `BlackScholes` are driven by the increments.
    MemoryError
        If the increments cannot fit; refused before allocation.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.simulate(sf.BrownianMotion(), x0=0.0, t1=1.0, n_steps=8, n_paths=5, seed=1)
    >>> bool(abs(sf.wiener.increments(run).sum(axis=0) - run.x[-1]).max() < 1e-14)
    True
    """
    if not isinstance(run, Simulation):
        raise TypeError(f"run must be the result of simulate, got {checks.shown(run)}")
    settings = run.settings
    first = checks.count("first_path", first_path, least=0, most=settings.n_paths - 1)
    rest = settings.n_paths - first
    n = rest if n_paths is None else checks.count("n_paths", n_paths, most=rest)
    if settings.given_normals:
        raise ValueError("run must have drawn its own noise, and it was given its normals")
    if settings.extras.antithetic:
        chains = settings.n_chains
        dw = increments_of(replace(settings, extras=replace(settings.extras, antithetic=False)))
        return np.concatenate(
            [dw[:, first : first + n], -dw[:, max(first - chains, 0) : max(first + n - chains, 0)]], 1
        )
    return increments_of(replace(settings, first_chain=settings.first_chain + first, n_chains=n))


def increments_of(settings: Settings) -> np.ndarray:
    """The increments of a run with these settings; see `increments`.

    What decides them are model, method, seed, dtype, noise_dtype, first_chain, n_chains and grid; the rest is ignored.
    """
    s, scheme = settings, SCHEMES[settings.method]
    draw, n_draws = _source(s.model, scheme), draws_per_step(s.model, scheme)
    n_steps, dim = s.grid.n_steps, s.model.noise_dim
    converted = 0 if s.noise_dtype == s.dtype else s.dtype.itemsize
    resources.refuse_too_large(
        n_steps * s.n_paths * (n_draws * s.noise_dtype.itemsize + dim * converted),
        f"the increments ({n_steps} steps x {s.n_paths} paths x {dim} Brownian motions)",
        ["first_path= and n_paths= take some paths at a time"],
    )
    z = draw(
        s.seed, n_steps * n_draws, s.n_paths, first_draw=s.grid.first_step * n_draws, first_chain=s.first_chain,
        dtype=s.noise_dtype,
    ).reshape(n_steps, n_draws, s.n_paths)  # fmt: skip
    dw = _driving(z, scheme, dim).astype(s.dtype, copy=False)
    dw *= np.sqrt(s.grid.step_sizes())[:, None, None].astype(s.dtype)
    return dw.transpose(0, 2, 1)


def _source(model: Model, scheme: Scheme) -> Callable[..., np.ndarray]:
    """The function that draws; ValueError if what it draws does not make increments."""
    if scheme.step is None and not isinstance(model, _EXACT_IN_THE_INCREMENTS):
        raise ValueError(
            f"run must step by Brownian increments, and method={scheme.name!r} of {type(model).__name__} draws from "
            "the transition law; method='euler-maruyama' is driven by increments"
        )
    if scheme.draws not in _SOURCES:
        raise ValueError(f"run must step by Brownian increments, and method={scheme.name!r} draws {scheme.draws}")
    return _SOURCES[scheme.draws]


def draws_per_step(model: Any, scheme: Scheme) -> int:
    """Draws of a step: models know them for the schemes that they bring, schemes for all other models."""
    if scheme.name in model.schemes:
        return int(model.noise_dim_of(scheme.name))
    own = model.own_step(scheme.name)
    if own is not None:
        return int(own.n_normals)
    return scheme.n_draws(sde_of(model).equation)


# --------------------------------------------------------------------------------------------------------------------
# The same path on other grids
# --------------------------------------------------------------------------------------------------------------------


def path(dw: ArrayLike) -> np.ndarray:
    """The Wiener process with W = 0 at the first time, from its increments.

    Parameters
    ----------
    dw : array_like of shape (n_steps, ...)
        Increments.

    Returns
    -------
    ndarray of shape (n_steps + 1, ...)
        W at the n_steps + 1 times; float64.

    Raises
    ------
    TypeError, ValueError
        If ``dw`` is no array of finite numbers, or has no steps.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.wiener.path([1.0, -0.5, 0.25])
    array([0.  , 1.  , 0.5 , 0.75])
    """
    return _cumulated(_steps(dw))


def coarsen(
    dw: ArrayLike,
    factor: int | None = None,
    *,
    times: ArrayLike | None = None,
    coarse_times: ArrayLike | None = None,
) -> np.ndarray:
    """Increments of the same path on a coarser grid: sums of neighbours.

    Parameters
    ----------
    dw : array_like of shape (n_steps, ...)
        Increments.
    factor : int
        How many steps make one; it divides n_steps.
    times, coarse_times : array_like of shape (n_steps + 1,), (n + 1,)
        Instead of ``factor``: the times between which ``dw`` leads, and those of them between which the result shall
        lead. What lies before the first or after the last of ``coarse_times`` is left out.

    Returns
    -------
    ndarray of shape (n_steps // factor, ...) or (n, ...)
        float64.

    Raises
    ------
    TypeError
        If neither or both of ``factor`` and the times are given.
    ValueError
        If ``factor`` does not divide the number of steps, or ``coarse_times`` are not among ``times``.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.wiener.coarsen([1.0, 2.0, 3.0, 4.0], 2)
    array([3., 7.])
    >>> sf.wiener.coarsen([1.0, 2.0, 3.0, 4.0], times=[0.0, 0.1, 0.2, 0.3, 0.4], coarse_times=[0.0, 0.3, 0.4])
    array([6., 4.])
    """
    fine = _steps(dw)
    if (factor is None) == (times is None and coarse_times is None) or (times is None) != (coarse_times is None):
        raise TypeError("coarsen needs either factor, or both times and coarse_times")
    if factor is not None:
        factor = checks.count("factor", factor)
        if len(fine) % factor:
            raise ValueError(f"factor must divide the number of steps, got factor={factor} for {len(fine)} steps")
        together: np.ndarray = fine.reshape(-1, factor, *fine.shape[1:]).sum(axis=1)
        return together
    where = _positions(_times(times, len(fine)), coarse_times)
    summed: np.ndarray = np.add.reduceat(fine[: where[-1]], where[:-1], axis=0)
    return summed


def subdivide(times: ArrayLike, factor: int) -> np.ndarray:
    """Every interval between neighbouring times in ``factor`` equal parts: the times of `refine`.

    Parameters
    ----------
    times : array_like of shape (n_steps + 1,)
        Strictly increasing.
    factor : int
        Number of parts.

    Returns
    -------
    ndarray of shape (n_steps * factor + 1,)
        The given times are among them, unchanged.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or of the wrong type, or the parts are too short to be told apart.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.wiener.subdivide([0.0, 1.0, 3.0], 2)
    array([0. , 0.5, 1. , 2. , 3. ])
    """
    grid, factor = checks.increasing("times", times, at_least=2), checks.count("factor", factor)
    resources.refuse_too_large(16 * (len(grid) - 1) * factor, "the finer times", ["use a smaller factor"])
    parts = grid[:-1, None] + np.diff(grid)[:, None] * (np.arange(factor) / factor)
    fine = np.append(parts.ravel(), grid[-1])
    if (np.diff(fine) <= 0).any():
        raise ValueError(f"factor is too large: parts of an interval cannot be told apart, got {factor}")
    return fine


def refine(
    dw: ArrayLike, grid: ArrayLike, factor: int, *, seed: int, first_step: int = 0, first_chain: int = 0
) -> np.ndarray:
    r"""Increments of the same path on a finer grid, drawn from their law given the coarser ones.

    Every step is divided into ``factor`` equal parts by a Brownian bridge. Of a step of length h with increment
    :math:`\Delta W`, the parts are

    .. math:: \frac{\Delta W}{m} + \sqrt{\frac hm}\,(Z_i - \bar Z), \qquad i = 1, \dots, m,

    with independent standard normals :math:`Z_i` and their mean :math:`\bar Z`: independent increments of variance
    h / m given that their sum is :math:`\Delta W`. So ``coarsen(refine(dw, ...), factor)`` is ``dw`` up to rounding.

    Parameters
    ----------
    dw : array_like of shape (n_steps, n_paths, noise_dim)
        Increments, for example `increments` of a run.
    grid : float or array_like of shape (n_steps + 1,)
        The length h of a step, or the times between which ``dw`` leads. `subdivide` gives the finer times.
    factor : int
        The number m of parts of a step.
    seed : int
        In [0, 2**64), for example the run's. The bridges use normals of another seed, derived from this one.
    first_step : int
        The number of the first step. A resumed run's ``settings.grid.first_step`` gives its steps bridges other than
        those of the run before it.
    first_chain : int
        The number of the first path; a run's is ``settings.first_chain``. A path has the same bridges, to the last bit,
        alone as among others.

    Returns
    -------
    ndarray of shape (n_steps * factor, n_paths, noise_dim)
        float64; a view in whose memory the paths are contiguous, like a run's ``x``.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or of the wrong type, or ``grid`` does not belong to ``dw``.
    MemoryError
        If the result cannot fit; refused before allocation.

    Notes
    -----
    The normals are draws 0, 1, ... of the chains under a 64-bit hash (BLAKE2b) of ``seed``, the word "refine",
    ``first_step``, n_steps and ``factor``. So they are independent of the simulation's own, and those of a second
    refinement, which has more steps, are independent of those of the first. Refining ``dw`` piece by piece is as good
    as at once if every piece has its own ``first_step``, but the numbers are others.

    References
    ----------
    Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 3.1.

    Examples
    --------
    >>> import sdefast as sf
    >>> dw = sf.noise.brownian(1, [0.0, 0.5, 1.0], n_chains=3, increments=True)
    >>> fine = sf.wiener.refine(dw, 0.5, 8, seed=1)
    >>> fine.shape, bool(abs(sf.wiener.coarsen(fine, 8) - dw).max() < 1e-15)
    ((16, 3, 1), True)
    """
    coarse = _increments(dw)
    n_steps, n_paths, dim = coarse.shape
    h, m = _lengths(grid, n_steps), checks.count("factor", factor)
    seed, first_step = checks.seed("seed", seed), checks.count("first_step", first_step, least=0)
    first_chain = checks.count("first_chain", first_chain, least=0)
    what = f"the finer increments ({n_steps * m} steps x {n_paths} paths x {dim} Brownian motions)"
    options = ["use a smaller factor", "refine some paths at a time with first_chain="]
    resources.refuse_too_large(coarse.nbytes * (m + 2), what, options)
    own = derived_seed(seed, "refine", first_step, n_steps, m)
    parts = noise.normals(own, n_steps * m * dim, n_paths, first_chain=first_chain).reshape(n_steps, m, dim, n_paths)
    parts -= parts.mean(axis=1, keepdims=True)
    parts *= np.sqrt(h / m)[:, None, None, None]
    parts += (coarse / m).transpose(0, 2, 1)[:, None]
    return parts.reshape(n_steps * m, dim, n_paths).transpose(0, 2, 1)


def bridge(
    times: ArrayLike,
    a: ArrayLike = 0.0,
    b: ArrayLike = 0.0,
    *,
    seed: int,
    n_paths: int = 1,
    t0: float | None = None,
    t1: float | None = None,
    first_chain: int = 0,
) -> np.ndarray:
    r"""Brownian bridges: Wiener paths that are at ``a`` at the time ``t0`` and at ``b`` at the time ``t1``.

    With :math:`T = t_1 - t_0` and times counted from :math:`t_0`, the mean is :math:`a + (b - a) s / T` and the
    covariance of every component :math:`s (T - t) / T` for :math:`s \le t`, on any grid; the components are
    independent.

    Parameters
    ----------
    times : array_like of shape (n_times,)
        Strictly increasing, within [t0, t1].
    a, b : array_like
        Ends: a number, of shape (dim,), or of shape (n_paths, dim).
    seed : int
        In [0, 2**64). The normals used are those of another seed, derived from this one (a hash of it and the word
        "bridge"), so bridges are independent of simulations under the same seed.
    n_paths : int
        Number of paths.
    t0, t1 : float
        The times of the ends, by default the first and the last of ``times``.
    first_chain : int
        The number of the first path. A path is the same, to the last bit, alone as among others on the same ``times``.

    Returns
    -------
    ndarray of shape (n_times, n_paths, dim)
        float64. At ``t0`` and ``t1`` it is ``a`` and ``b`` exactly.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or of the wrong type.
    MemoryError
        If the result cannot fit; refused before allocation.

    Notes
    -----
    The construction is W(t) - W(t0) - (t - t0) / T (W(t1) - W(t0)) added to the straight line from a to b.

    References
    ----------
    Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 3.1.

    Examples
    --------
    >>> import sdefast as sf
    >>> x = sf.wiener.bridge([0.0, 0.25, 1.0], a=1.0, b=3.0, n_paths=10_000, seed=1)
    >>> x.shape, bool(abs(x[1].mean() - 1.5) < 0.02), bool(abs(x[1].var() - 0.25 * 0.75) < 0.02)
    ((3, 10000, 1), True, True)
    """
    grid = checks.increasing("times", times, at_least=1)
    start = float(grid[0]) if t0 is None else checks.real("t0", t0, most=float(grid[0]))
    end = float(grid[-1]) if t1 is None else checks.real("t1", t1, least=float(grid[-1]))
    if end <= start:
        raise ValueError(f"t1 must be greater than t0, got t0={start} and t1={end}")
    n_paths, seed = checks.count("n_paths", n_paths), checks.seed("seed", seed)
    a, b = _ends(a, b, n_paths)
    dim, whole = a.shape[1], np.unique(np.concatenate([[start], grid, [end]]))
    what = f"the bridges ({len(whole)} times x {n_paths} paths x {dim} components)"
    options = ["ask for fewer times, or for some paths at a time with first_chain="]
    resources.refuse_too_large(len(whole) * n_paths * dim * 24, what, options)
    x = noise.brownian(derived_seed(seed, "bridge"), whole, n_paths, dim=dim, first_chain=first_chain)
    s = ((whole - start) / (end - start))[:, None, None]
    x -= s * x[-1].copy()
    x += (1 - s) * a + s * b
    skipped = int(start < grid[0])
    return x[skipped : skipped + len(grid)]


# --------------------------------------------------------------------------------------------------------------------
# Integrals
# --------------------------------------------------------------------------------------------------------------------


def ito_integral(
    integrand: Integrand | ArrayLike,
    x: ArrayLike | None,
    dw: ArrayLike,
    times: ArrayLike | None = None,
    *,
    running: bool = True,
) -> np.ndarray:
    r"""Ito integral along given paths, with the integrand at the left end of every step.

    .. math:: \int f(t, X) \cdot dW \approx \sum_k \sum_j f_j(t_k, X_k) (W_j(t_{k+1}) - W_j(t_k))

    Parameters
    ----------
    integrand : callable or array_like
        ``integrand(t, x)``, called once with the left ends of all steps: times of shape (n_steps, 1, 1), or None
        without ``times``, and states of shape (n_steps, n_paths, dim). It returns the integrand of every Brownian
        motion, of shape (n_steps, n_paths, noise_dim) or, if there is one motion, (n_steps, n_paths); of three axes
        those of length 1 are repeated.
        Or an array of its values at all n_steps + 1 times, of which the last does not matter.
    x : array_like of shape (n_steps + 1, n_paths, dim)
        Paths, for example a run's ``x`` with ``save_at="all"``, or the `path` of ``dw`` itself; None will do if
        ``integrand`` is an array.
    dw : array_like of shape (n_steps, n_paths, noise_dim)
        Increments.
    times : array_like of shape (n_steps + 1,)
        Times of ``x``, for an integrand that depends on them.
    running : bool
        Return the integral up to every time instead of the last one alone.

    Returns
    -------
    ndarray of shape (n_steps + 1, n_paths), or (n_paths,) if not ``running``
        float64; the running integral begins with 0. The two differ in rounding.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or ``integrand`` returns a wrong one.

    Notes
    -----
    Against the integral itself the root-mean-square error is of the order sqrt(h) for an integrand that varies like W;
    the sum is a martingale on any grid. Kloeden and Platen, 1992, chapter 3.

    Examples
    --------
    >>> import sdefast as sf
    >>> dw = sf.noise.brownian(1, [0.0, 0.5, 1.0], n_chains=4, increments=True)
    >>> sf.wiener.ito_integral(lambda t, w: 2 * w, sf.wiener.path(dw), dw).shape
    (3, 4)
    """
    steps = _increments(dw)
    t, states = _along(x, times, steps, integrand)
    if callable(integrand):
        values = _evaluate(integrand, None if t is None else t[:-1], states[:-1], steps.shape)
    else:
        values = _values(integrand, steps.shape)[:-1]
    return _sum(values, steps, running)


def stratonovich_integral(
    integrand: Integrand | ArrayLike,
    x: ArrayLike | None,
    dw: ArrayLike,
    times: ArrayLike | None = None,
    *,
    rule: str = "trapezoid",
    running: bool = True,
) -> np.ndarray:
    r"""Stratonovich integral along given paths, with the integrand averaged over the ends of every step.

    .. math:: \int f(t, X) \circ dW
              \approx \sum_k \tfrac12 \bigl(f(t_k, X_k) + f(t_{k+1}, X_{k+1})\bigr) \cdot \Delta W_k
              \quad\text{or}\quad
              \sum_k f\bigl(\tfrac12 (t_k + t_{k+1}), \tfrac12 (X_k + X_{k+1})\bigr) \cdot \Delta W_k

    Parameters
    ----------
    integrand, x, dw, times
        As in `ito_integral`; an array of values serves the rule "trapezoid" only. That rule calls a function with all
        n_steps + 1 times, the other with the n_steps middles.
    rule : {"trapezoid", "midpoint"}
        The average of the integrand at both ends, or the integrand at the average of both ends.
    running : bool
        Return the integral up to every time instead of the last one alone.

    Returns
    -------
    ndarray of shape (n_steps + 1, n_paths), or (n_paths,) if not ``running``
        float64; the running integral begins with 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or shape, or ``integrand`` returns a wrong one; if ``rule`` is unknown or
        does not go with an array.

    Notes
    -----
    Both rules tend to the same integral and agree where f is affine. If W is one-dimensional and x is W, the
    root-mean-square error is of the order h; with several Brownian motions that drive x it is in general of the order
    sqrt(h), since sums of increments do not know their Levy areas. The Stratonovich integral is the Ito integral plus
    half of the quadratic covariation of f(t, X) and W. Kloeden and Platen, 1992, chapter 3.

    Examples
    --------
    >>> import sdefast as sf
    >>> w = sf.wiener.path(sf.noise.brownian(1, [0.0, 0.5, 1.0], n_chains=4, increments=True))
    >>> integral = sf.wiener.stratonovich_integral(lambda t, w: 2 * w, w, w[1:] - w[:-1])
    >>> bool(abs(integral - w[:, :, 0] ** 2).max() < 1e-14)
    True
    """
    checks.choice("rule", rule, ("midpoint", "trapezoid"))
    steps = _increments(dw)
    t, states = _along(x, times, steps, integrand)
    if rule == "midpoint":
        if not callable(integrand):
            raise ValueError("rule='midpoint' needs integrand to be a function: its values at the times do not tell")
        middle = None if t is None else t[:-1] + 0.5 * np.diff(t, axis=0)
        values = _evaluate(integrand, middle, 0.5 * (states[:-1] + states[1:]), steps.shape)
    else:
        shape = (len(steps) + 1, *steps.shape[1:])
        ends = _evaluate(integrand, t, states, shape) if callable(integrand) else _values(integrand, steps.shape)
        values = 0.5 * (ends[:-1] + ends[1:])
    return _sum(values, steps, running)


def _along(
    x: Any, times: Any, steps: np.ndarray, integrand: Integrand | ArrayLike
) -> tuple[np.ndarray | None, np.ndarray]:
    """The times, of shape (n_steps + 1, 1, 1), and the states (none where the integrand's values are given)."""
    n_steps, n_paths, _ = steps.shape
    t = None if times is None else _times(times, n_steps)[:, None, None]
    if x is None:
        if callable(integrand):
            raise TypeError("x must be given if integrand is a function")
        return t, np.empty((n_steps + 1, n_paths, 0))
    return t, checks.array("x", x, shape=(n_steps + 1, n_paths, None))


def _evaluate(integrand: Integrand, t: np.ndarray | None, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What a function returns, repeated to ``shape``. Paths that it makes non-finite stay so, others are unharmed."""
    try:
        result = integrand(t, x)
    except TypeError as error:
        if t is not None:
            raise
        raise TypeError(f"integrand failed, and t is None without times=: pass them if it needs t ({error})") from error
    checks.refuse_loss("what integrand returns", result)
    values = np.asarray(result)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"integrand must return an array of real numbers, got {checks.shown(result)}")
    return _repeated(values, shape)


def _values(integrand: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Given values at all times, repeated along axes of length 1."""
    values = checks.array("integrand", integrand)
    if values.ndim == 0 or len(values) != shape[0] + 1:
        raise ValueError(f"integrand must have values at {shape[0] + 1} times, got shape {values.shape}")
    return _repeated(values, (shape[0] + 1, *shape[1:]))


def _repeated(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``values`` broadcast to (times, paths, noises); two axes are all times and paths of a single noise."""
    if values.shape == shape[:2] and shape[2] == 1:
        values = values[:, :, None]
    if values.ndim in (0, 3) and all(have in (1, want) for have, want in zip(values.shape, shape, strict=False)):
        return np.broadcast_to(values, shape)
    short = f", {shape[:2]}" if shape[2] == 1 else ""
    raise ValueError(f"integrand must be of shape {shape}{short} or three axes some of length 1, got {values.shape}")


def _sum(values: np.ndarray, steps: np.ndarray, running: Any) -> np.ndarray:
    if not checks.flag("running", running):
        final: np.ndarray = np.einsum("kpj,kpj->p", values, steps)
        return final
    return _cumulated(np.einsum("kpj,kpj->kp", values, steps))


def _cumulated(steps: np.ndarray) -> np.ndarray:
    """Sums of the steps so far, beginning with 0."""
    sums = np.zeros((len(steps) + 1, *steps.shape[1:]))
    np.cumsum(steps, axis=0, out=sums[1:])
    return sums


# --------------------------------------------------------------------------------------------------------------------
# Checks, and seeds
# --------------------------------------------------------------------------------------------------------------------


def _steps(dw: ArrayLike) -> np.ndarray:
    steps = checks.array("dw", dw)
    if steps.ndim == 0 or len(steps) == 0:
        raise ValueError(f"dw must hold at least one step along its first axis, got shape {steps.shape}")
    return steps


def _increments(dw: ArrayLike) -> np.ndarray:
    steps = checks.array("dw", dw, shape=(None, None, None))
    if steps.size == 0:
        raise ValueError(f"dw must have shape (n_steps, n_paths, noise_dim) without zeros, got {steps.shape}")
    return steps


def _times(times: Any, n_steps: int, name: str = "times") -> np.ndarray:
    grid = checks.increasing(name, times)
    if len(grid) != n_steps + 1:
        raise ValueError(f"{name} must hold one more than the {n_steps} steps of dw, got {len(grid)}")
    return grid


def _lengths(grid: Any, n_steps: int) -> np.ndarray:
    """Step sizes, of shape (1,) or (n_steps,), of a grid given by its step size or by its times."""
    if np.ndim(grid) == 0:
        return np.array([checks.real("grid", grid, positive=True)])
    return np.diff(_times(grid, n_steps, "grid"))


def _positions(grid: np.ndarray, coarse_times: Any) -> np.ndarray:
    """Where in ``grid`` the coarse times lie."""
    coarse = checks.increasing("coarse_times", coarse_times, at_least=2)
    where = np.searchsorted((grid[1:] + grid[:-1]) / 2, coarse)
    off = np.abs(grid[where] - coarse) > 1e-6 * np.diff(grid).min()
    if off.any():
        i = int(np.argmax(off))
        raise ValueError(f"coarse_times must be among times, got {coarse[i]}; the nearest is {grid[where[i]]}")
    if (np.diff(where) == 0).any():
        i = int(np.argmax(np.diff(where) == 0))
        raise ValueError(f"coarse_times must name a time once, got {coarse[i]} and {coarse[i + 1]}")
    return where


def _ends(a: Any, b: Any, n_paths: int) -> tuple[np.ndarray, np.ndarray]:
    """Both ends, as (1, dim) or (n_paths, dim)."""
    start, end = (_end(name, value, n_paths) for name, value in (("a", a), ("b", b)))
    dim = max(start.shape[1], end.shape[1])
    for name, one, other in (("a", start, end), ("b", end, start)):
        if one.shape[1] not in (1, dim):
            raise ValueError(
                f"{name} must have as many components as the other end, {other.shape[1]}, got {one.shape[1]}"
            )
    return np.broadcast_to(start, (len(start), dim)), np.broadcast_to(end, (len(end), dim))


def _end(name: str, value: Any, n_paths: int) -> np.ndarray:
    end = checks.array(name, value)
    if end.ndim > 2 or end.size == 0 or (end.ndim == 2 and len(end) != n_paths):
        raise ValueError(f"{name} must be a number, of shape (dim,) or ({n_paths}, dim), got shape {end.shape}")
    return end if end.ndim == 2 else end.reshape(1, -1)


def derived_seed(seed: int, *labels: str | int) -> int:
    """A seed for other noise than the simulation's; it meets any given seed with probability 2**-64."""
    return int.from_bytes(hashlib.blake2b(repr((seed, *labels)).encode(), digest_size=8).digest(), "little")
