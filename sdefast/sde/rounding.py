"""Steps that float32 rounds away: each is less than half a unit in the last place of the state that it is added to."""

from __future__ import annotations

import math

import numpy as np

from .. import checks
from ..engine.grid import TimeGrid
from .models.base import Model

#: components whose outermost start states are looked at, where paths have their own
_MOST_LOOKED_AT = 8


def warn_of_lost_steps(model: Model, start: np.ndarray, grid: TimeGrid) -> None:
    """RuntimeWarning if drift or noise vanishes at the start of a float32 run; ``start`` as given, (dim, n) in float64.

    Noise below half a unit in the last place is lost, with any drift that leaves the state about there. A smaller drift
    is lost only where no noise carries it over, and missed only if all steps together would have moved the state. Of
    unequal steps the mean counts.
    """
    n, t0 = grid.n_steps, grid.t0
    h = grid.h if grid.h is not None else float(grid.time(np.array(grid.last_step)) - t0) / n
    root = math.sqrt(h)
    for x in _outermost(start):
        try:
            drift, noise = model.rates(t0, x)
        except (ArithmeticError, ValueError):  # not a number there, which the run will tell
            continue
        for i, value in enumerate(x):
            spread = noise[i] * root
            if spread > 2.0**-24 * abs(value):  # and so more than half a unit in the last place: mostly
                continue
            half, move = 0.5 * max(math.ulp(value) * 2.0**29, 2.0**-149), abs(drift[i]) * h
            if spread < half and ((spread > 0 and move < abs(value)) or move < half <= move * n):
                checks.warn(
                    f"float32 rounds steps of component {i} away: at x0[{i}] = {value:g} a step of {h:.3g} moves it by "
                    f"{move:.2g} (drift) and {spread:.2g} (noise), of which what is below {half:.2g} is lost; "
                    "pass dtype='float64'",
                )
                return


def _outermost(start: np.ndarray) -> list[list[float]]:
    """The start, or those of the paths in which a component is largest or smallest: there roundings are largest."""
    if start.shape[1] == 1:
        return [start[:, 0].tolist()]
    rows = start[:_MOST_LOOKED_AT]
    paths = {int(i) for i in (*rows.argmax(axis=1), *rows.argmin(axis=1))}
    return [start[:, i].tolist() for i in sorted(paths)]
