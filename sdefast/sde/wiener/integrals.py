"""Ito and Stratonovich integrals along given paths: sums of left ends, and of ends or middles averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from .arguments import increments_in, times_of
from .grids import cumulated

Integrand: TypeAlias = Callable[[Any, np.ndarray], ArrayLike]


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
    steps = increments_in(dw)
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
    steps = increments_in(dw)
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
    t = None if times is None else times_of(times, n_steps)[:, None, None]
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
    return cumulated(np.einsum("kpj,kpj->kp", values, steps))
