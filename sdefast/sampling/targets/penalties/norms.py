"""Norms as penalties: the sum of sizes, of sizes of groups, and the square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .... import checks
from ....trace import Expr
from ....trace.vectors import total
from ..base import put
from ..density import Vector
from .base import (
    Penalty,
    Values,
    check_length,
    clip,
    direction,
    each,
    length,
    named,
    number_or_vector,
    onto_ball,
    shrunk,
    signed,
    soft,
)


@dataclass(frozen=True, eq=False, repr=False)
class _Centered(Penalty):
    """What the sum of sizes and that of squares share: weights w and centers c."""

    weight: float | np.ndarray = 1.0
    center: float | np.ndarray = 0.0

    def __post_init__(self) -> None:
        put(self, weight=number_or_vector("weight", self.weight, positive=True))
        put(self, center=number_or_vector("center", self.center))

    @property
    def parameters(self) -> dict[str, float]:
        """Weights, and centers where there are any."""
        return named("penalty_weight", self.weight) | (named("penalty_center", self.center) if self._has_center else {})

    @property
    def _has_center(self) -> bool:
        return bool(np.any(self.center))

    def check_dim(self, dim: int) -> None:
        """ValueError if there are weights or centers for another number of components."""
        check_length("weight", self.weight, dim)
        check_length("center", self.center, dim)

    def _weights(self, n: int) -> Values:
        return each("penalty_weight", self.weight, n)

    def _centers(self, n: int) -> Values:
        return each("penalty_center", self.center, n) if self._has_center else [0.0] * n

    def _parts(self, v: Vector) -> list[tuple[Any, Any, Any]]:
        """Components, their weights and their centers."""
        return list(zip(v, self._weights(len(v)), self._centers(len(v)), strict=True))


@dataclass(frozen=True, eq=False, repr=False)
class L1(_Centered):
    r"""The sum of sizes, :math:`g(u) = \sum_i w_i |u_i - c_i|`, whose proximal map is soft thresholding.

    Parameters
    ----------
    weight : float or array_like of shape (dim,)
        w, positive: one for all components, or one for each.
    center : float or array_like of shape (dim,)
        c.

    Raises
    ------
    ValueError, TypeError
        If a weight is not positive, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Composite(sf.targets.Gaussian([0.0, 0.0]), sf.targets.L1(2.0))
    >>> target.prox([3.0, -0.5], scale=0.5)
    array([2., 0.])
    """

    def value(self, u: Vector) -> Any:
        """g(u)."""
        return total([w * abs(ui - c) for ui, w, c in self._parts(u)])

    def gradient(self, u: Vector) -> Values:
        """w with the sign of u - c."""
        return [signed(ui - c, w) for ui, w, c in self._parts(u)]

    def prox(self, v: Vector, scale: Expr) -> Values:
        """c, and what is left of v - c beyond s w."""
        return [c + soft(vi - c, scale * w) for vi, w, c in self._parts(v)]

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """v - s c cut to [-w, w], as g*(u) is <c, u> there."""
        return [clip(vi - scale * c, -w, w) for vi, w, c in self._parts(v)]


@dataclass(frozen=True, eq=False, repr=False)
class Quadratic(_Centered):
    r"""The square, :math:`g(u) = \sum_i \tfrac{w_i}{2} (u_i - c_i)^2`: a ridge, on which all exact laws are known.

    Parameters
    ----------
    weight : float or array_like of shape (dim,)
        w, positive: one for all components, or one for each.
    center : float or array_like of shape (dim,)
        c.

    Raises
    ------
    ValueError, TypeError
        If a weight is not positive, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Composite(sf.targets.Gaussian([1.0]), sf.targets.Quadratic(3.0))
    >>> target.mean, target.covariance
    (array([0.25]), array([[0.25]]))
    """

    @property
    def curvature(self) -> float:
        """The largest weight."""
        return float(np.max(self.weight))

    def value(self, u: Vector) -> Any:
        """g(u)."""
        return 0.5 * total([w * (ui - c) * (ui - c) for ui, w, c in self._parts(u)])

    def gradient(self, u: Vector) -> Values:
        """w (u - c)."""
        return [w * (ui - c) for ui, w, c in self._parts(u)]

    def prox(self, v: Vector, scale: Expr) -> Values:
        """c + (v - c) / (1 + s w)."""
        return [c + (vi - c) / (1 + scale * w) for vi, w, c in self._parts(v)]

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """w (v - s c) / (w + s), as g*(u) = <c, u> + sum u^2 / (2 w)."""
        return [w * (vi - scale * c) / (w + scale) for vi, w, c in self._parts(v)]


@dataclass(frozen=True, eq=False, repr=False)
class GroupL2(Penalty):
    r"""The sum of sizes of groups of components, :math:`g(u) = \sum_k w_k |u_{G_k}|`, which are 0 together.

    Parameters
    ----------
    groups : sequence of sequences of int
        Which components are in which group: each in one.
    weight : float or array_like
        w, positive: one for all groups, or one for each.

    Raises
    ------
    ValueError, TypeError
        If the groups are no partition of 0, 1, ..., a weight is not positive, or there are as many weights as groups.

    References
    ----------
    Yuan and Lin, JRSS B 68, 2006.

    Examples
    --------
    >>> import sdefast as sf
    >>> penalty = sf.targets.GroupL2([[0, 1], [2]], weight=1.0)
    >>> sf.targets.Composite(sf.targets.Gaussian([0.0, 0.0, 0.0]), penalty).prox([3.0, 4.0, 0.5], scale=2.5)
    array([1.5, 2. , 0. ])
    """

    groups: tuple[tuple[int, ...], ...]
    weight: float | np.ndarray = 1.0

    def __post_init__(self) -> None:
        put(self, groups=_partition(self.groups), weight=number_or_vector("weight", self.weight, positive=True))
        check_length("weight", self.weight, len(self.groups), "groups")

    @property
    def parameters(self) -> dict[str, float]:
        """The weights."""
        return named("penalty_weight", self.weight)

    def check_dim(self, dim: int) -> None:
        """ValueError if the groups are of another number of components."""
        n = sum(map(len, self.groups))
        if n != dim:
            raise ValueError(f"groups must hold each of the {dim} components of the state, they hold {n}")

    def value(self, u: Vector) -> Any:
        """g(u)."""
        return total([w * length([u[i] for i in group]) for group, w in self._parts()])

    def gradient(self, u: Vector) -> Values:
        """Groups made w long."""
        return self._by_group(direction, u, self._weights())

    def prox(self, v: Vector, scale: Expr) -> Values:
        """Groups made shorter by s w."""
        return self._by_group(shrunk, v, [scale * w for w in self._weights()])

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """Groups cut to the length w."""
        return self._by_group(onto_ball, v, self._weights())

    def _weights(self) -> Values:
        return each("penalty_weight", self.weight, len(self.groups))

    def _parts(self) -> list[tuple[tuple[int, ...], Any]]:
        return list(zip(self.groups, self._weights(), strict=True))

    def _by_group(self, function: Any, v: Vector, sizes: Values) -> Values:
        return by_group(function, v, self.groups, sizes)


def by_group(function: Any, v: Values, groups: Sequence[Sequence[int]], sizes: Values) -> Values:
    """A function of a vector and a size, group by group."""
    result: list[Any] = list(v)
    for group, size in zip(groups, sizes, strict=True):
        for i, value in zip(group, function([v[i] for i in group], size), strict=True):
            result[i] = value
    return result


def _partition(groups: Any) -> tuple[tuple[int, ...], ...]:
    """Groups of which each component is in one."""
    if isinstance(groups, (str, bytes)) or not hasattr(groups, "__iter__"):
        raise TypeError(f"groups must be a sequence of sequences of integers, got {checks.shown(groups)}")
    found = []
    for group in groups:
        if isinstance(group, (str, bytes)) or not hasattr(group, "__iter__"):
            raise TypeError(f"groups must be a sequence of sequences of integers, got {checks.shown(groups)}")
        found.append(tuple(checks.count("an index of groups", i, least=0) for i in group))
    members = sorted(i for group in found for i in group)
    if not all(found) or not members or members != list(range(len(members))):
        raise ValueError(
            f"groups must hold each of the components 0, 1, ... once and none be empty, got {checks.shown(groups)}"
        )
    return tuple(found)
