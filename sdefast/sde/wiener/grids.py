"""A Wiener path on coarser and finer grids, and between given ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ... import checks, noise, resources
from ..seeds import derived_seed
from .arguments import ends_of, increments_in, positions, step_lengths, steps_in, times_of


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
    return cumulated(steps_in(dw))


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
    fine = steps_in(dw)
    if (factor is None) == (times is None and coarse_times is None) or (times is None) != (coarse_times is None):
        raise TypeError("coarsen needs either factor, or both times and coarse_times")
    if factor is not None:
        factor = checks.count("factor", factor)
        if len(fine) % factor:
            raise ValueError(f"factor must divide the number of steps, got factor={factor} for {len(fine)} steps")
        together: np.ndarray = fine.reshape(-1, factor, *fine.shape[1:]).sum(axis=1)
        return together
    where = positions(times_of(times, len(fine)), coarse_times)
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
    coarse = increments_in(dw)
    n_steps, n_paths, dim = coarse.shape
    h, m = step_lengths(grid, n_steps), checks.count("factor", factor)
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
    a, b = ends_of(a, b, n_paths)
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


def cumulated(steps: np.ndarray) -> np.ndarray:
    """Sums of the steps so far, beginning with 0."""
    sums = np.zeros((len(steps) + 1, *steps.shape[1:]))
    np.cumsum(steps, axis=0, out=sums[1:])
    return sums
