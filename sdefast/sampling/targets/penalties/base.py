r"""What a penalty is: the part :math:`g(D x)` of a composite target, in scalar code.

With the conjugate :math:`g^*(u) = \sup_v \langle u, v\rangle - g(v)`, the two proximal maps

.. math::
    \mathrm{prox}_{sg}(v) = \arg\min_u\; g(u) + \frac{|u - v|^2}{2s}, \qquad
    \mathrm{prox}_{sg^*}(v) = v - s\, \mathrm{prox}_{g/s}(v/s)

are one by Moreau's identity. Each penalty writes both out, as closed forms that need no iteration.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from .... import checks
from ....trace import Expr, make, maximum, minimum, select, symbol
from ....trace.vectors import numbered, symbols, total
from ..base import Compared
from ..density import Vector

#: components of the state, in scalar code
Values = Sequence[Any]


class Penalty(Compared, ABC):
    """Base class of penalties, frozen data classes whose fields are the parameters, checked in ``__post_init__``."""

    #: D is the identity, and g has a closed proximal map
    has_prox = True

    #: g is infinite but on a set without volume, where there is no density
    is_thin = False

    @property
    def parameters(self) -> dict[str, float]:
        """Names of the symbols that stand for numbers of the penalty, all ``penalty_...``, and the numbers."""
        return {}

    @property
    def curvature(self) -> float:
        """A bound of the second derivatives of g in any direction, where g is smooth; 0 where it has kinks."""
        return 0.0

    def check_dim(self, dim: int) -> None:
        """ValueError if the state cannot have so many components."""

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Whether points, of shape (n, dim), are where g is finite, to rounding, of a penalty that is thin."""
        return np.ones(len(x), bool)

    @abstractmethod
    def value(self, u: Vector) -> Any:
        """g(u)."""

    @abstractmethod
    def gradient(self, u: Vector) -> Values:
        """That of g, where there is one; some subgradient elsewhere, 0 where g is infinite."""

    def prox(self, v: Vector, scale: Expr) -> Values:
        """The u that makes g(u) + |u - v|^2 / (2 scale) least."""
        raise NotImplementedError

    @abstractmethod
    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """The u that makes g*(u) + |u - v|^2 / (2 scale) least."""

    def forward(self, x: Vector) -> Values:
        """D x."""
        return x

    def adjoint(self, u: Vector) -> Values:
        """D' u."""
        return u

    def dual_dim(self, dim: int) -> int:
        """Number of components of D x."""
        return dim

    def norm_squared(self, dim: int) -> float:
        """|D|^2, the square of the largest singular value."""
        return 1.0


# Numbers that are one for all components or one for each --------------------------------------------------------------


def number_or_vector(name: str, value: Any, *, positive: bool = False) -> float | np.ndarray:
    """A number, or one a component of shape (dim,)."""
    given = checks.array(name, value)
    if given.ndim > 1 or not given.size:
        raise ValueError(f"{name} must be a number or of shape (dim,), got shape {given.shape}")
    if positive and (given <= 0).any():
        raise ValueError(f"{name} must be positive, got {checks.shown(value)}")
    return given if given.ndim else float(given)


def check_length(name: str, value: float | np.ndarray, n: int, of: str = "components") -> None:
    """ValueError if there is one a component, and they are not as many."""
    if isinstance(value, np.ndarray) and len(value) != n:
        raise ValueError(f"{name} must be one number or {n}, one for each of the {of}, got {len(value)}")


def named(name: str, value: float | np.ndarray) -> dict[str, float]:
    """What the symbols of a number, or of one a component, stand for."""
    return numbered(name, value) if isinstance(value, np.ndarray) else {name: value}


def each(name: str, value: float | np.ndarray, n: int) -> list[Expr]:
    """The symbols that ``named`` has, component by component."""
    return symbols(name, n) if isinstance(value, np.ndarray) else [symbol(name)] * n


# Scalar code that penalties share -------------------------------------------------------------------------------------


def clip(v: Any, lower: Any, upper: Any) -> Expr:
    """The nearest number between two."""
    return minimum(maximum(v, lower), upper)


def soft(v: Any, threshold: Any) -> Any:
    """``v`` moved towards 0 by the threshold, but not past it."""
    return v - clip(v, -threshold, threshold)


def signed(v: Any, size: Any) -> Any:
    """``size`` with the sign of ``v``, 0 at 0."""
    return select(v < 0, -size, select(v > 0, size, 0.0))


def length(v: Values) -> Any:
    """The Euclidean norm."""
    return abs(v[0]) if len(v) == 1 else make("sqrt", total([vi * vi for vi in v]))


def shrunk(v: Values, threshold: Any) -> list[Any]:
    """A vector made shorter by the threshold, 0 if it is no longer."""
    if len(v) == 1:
        return [soft(v[0], threshold)]
    norm = length(v)
    factor = select(norm > threshold, 1 - threshold / norm, 0.0)
    return [factor * vi for vi in v]


def onto_ball(v: Values, radius: Any) -> list[Any]:
    """The nearest vector that is no longer than the radius."""
    if len(v) == 1:
        return [clip(v[0], -radius, radius)]
    norm = length(v)
    factor = select(norm > radius, radius / norm, 1.0)
    return [factor * vi for vi in v]


def direction(v: Values, size: Any) -> list[Any]:
    """A vector made ``size`` long, 0 at 0."""
    if len(v) == 1:
        return [signed(v[0], size)]
    norm = length(v)
    factor = select(norm > 0, size / norm, 0.0)
    return [factor * vi for vi in v]
