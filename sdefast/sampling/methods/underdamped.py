r"""What underdamped methods share: numbers of the exact free flow, which differences of exponentials would lose.

The flow without a force over a time t, of friction :math:`\Gamma` and unit mass, is

.. math:: v(t) = e^{-\Gamma t} v + \xi_v, \qquad x(t) = x + \frac{1 - e^{-\Gamma t}}\Gamma v + \xi_x .
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...trace import as_expr, make
from ..targets.density import Vector
from .base import Point

_TERMS = 16


def begin(at: Point) -> Vector:
    """Velocities in their law, and the score."""
    return (*velocities(at), *at.density.score(at.x))


def velocities(at: Point) -> Vector:
    """Velocities in their law N(0, T)."""
    return tuple(as_expr(make("sqrt", at.temperature) * z) for z in at.z[: at.dim])


def free_motion(a: Any) -> Any:
    """e^-a + a - 1, of a > 0, to the last digits."""
    return _series(a, lambda n: 1.0, 2, lambda a: np.exp(-a) + a - 1)


def free_spread(a: Any) -> Any:
    """2 a - 3 + 4 e^-a - e^-2a, of a > 0, to the last digits: the variance of the position times Gamma^2 / T."""
    return _series(a, lambda n: 4.0 - 2.0**n, 3, lambda a: 2 * a - 3 + 4 * np.exp(-a) - np.exp(-2 * a))


def _series(a: Any, factor: Any, first: int, closed: Any) -> Any:
    """sum over n from ``first`` of factor(n) (-a)^n / n! where a is small, else its closed form."""
    a = np.asarray(a, float)
    terms = [factor(n) * (-a) ** n / math.factorial(n) for n in range(first, first + _TERMS)]
    return np.where(a < 0.5, sum(reversed(terms)), closed(a))


def free_flow(t: Any, friction: float, temperature: float) -> list[Any]:
    """Numbers of the flow over t: e^-Gt, (1 - e^-Gt)/G, and the root ((a, 0), (b, c)) of the noise (xi_v, xi_x)."""
    a = friction * np.asarray(t, float)
    moved = -np.expm1(-a)
    of_v = np.sqrt(-temperature * np.expm1(-2 * a))
    of_both = temperature * moved**2 / friction / of_v
    of_x = np.sqrt(temperature * free_spread(a) / friction**2 - of_both**2)
    return [np.exp(-a), moved / friction, of_v, of_both, of_x]
