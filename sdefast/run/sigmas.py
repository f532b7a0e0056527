"""Scales of noise that more than one family goes through."""

from __future__ import annotations

import numpy as np

from .. import checks


def geometric_sigmas(first: float, last: float, n: int) -> np.ndarray:
    """Scales of noise from ``first`` down to ``last``, each the same part of the one before.

    Parameters
    ----------
    first, last : float
        The largest and the smallest, positive.
    n : int
        How many.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    TypeError, ValueError
        If ``last`` is not smaller than ``first``, or a number is out of range.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.geometric_sigmas(10.0, 0.1, 3)
    array([10. ,  1. ,  0.1])
    """
    n = checks.count("n", n)
    start, end = checks.real("first", first, positive=True), checks.real("last", last, positive=True)
    if not end < start and n > 1:
        raise ValueError(f"sigmas come largest first: last must be smaller than first, got {first} and {last}")
    return np.geomspace(start, end, n) if n > 1 else np.array([start])


def karras_sigmas(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> np.ndarray:
    """Scales of noise, largest first, whose 1 / rho-th powers are evenly spaced (Karras et al. 2022, equation 5).

    The final 0 of that equation is not among them.

    Parameters
    ----------
    n : int
        How many.
    sigma_min, sigma_max : float
        The last and the first.
    rho : float
        The larger, the more of them are small.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.karras_sigmas(3, 0.02, 80.0).round(4)
    array([8.0000e+01, 4.0456e+00, 2.0000e-02])
    """
    n, rho = checks.count("n", n), checks.real("rho", rho, positive=True)
    least, most = checks.real("sigma_min", sigma_min, positive=True), checks.real("sigma_max", sigma_max, positive=True)
    if not least < most and n > 1:
        raise ValueError(f"sigma_min must be smaller than sigma_max, got {least:g} and {most:g}")
    roots = np.linspace(most ** (1 / rho), least ** (1 / rho), n)
    sigmas = roots**rho
    sigmas[0] = most
    sigmas[n - 1] = most if n == 1 else least
    return np.asarray(sigmas)
