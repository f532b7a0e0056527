"""How far statistics of runs are from exact values."""

import numpy as np


def far(value, exact, error, dtype="float64", rtol=1e-6, atol=None):
    """The largest distance in standard errors, of what is not exactly known: theta* plus what is kept in that type."""
    atol = 20 * np.finfo(dtype).eps if atol is None else atol
    off = np.abs(value - exact) - rtol * np.abs(exact) - atol
    return float(np.max(np.where(off > 0, off / np.maximum(np.asarray(error, float), 1e-300), 0.0)))
