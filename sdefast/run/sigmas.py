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
