"""Constraints: penalties that are 0 in a convex set and infinite outside, whose proximal map is the projection.

The log density is -inf outside, so that methods that accept or reject never leave the set; the score knows nothing of
it, so that the unadjusted method does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from .... import checks
from ....trace import Expr, as_expr, constant, maximum, minimum, select, symbol
from ....trace.vectors import numbered
from ..base import put
from ..density import Vector
from .base import Penalty, Values, check_length


def _infinite_unless(*conditions: Any) -> Any:
    """0 where all conditions hold."""
    return select(reduce(lambda a, b: a & b, conditions, constant(True)), 0.0, math.inf)


@dataclass(frozen=True, eq=False, repr=False)
class Box(Penalty):
    r"""The box :math:`l_i \le x_i \le r_i`.

    Parameters
    ----------
    lower, upper : float or array_like of shape (dim,)
        l and r, the one below the other: for all components, or for each; ``-inf`` and ``inf`` where there is no bound.

    Raises
    ------
    ValueError, TypeError
        If a lower bound is not below the upper one, or a shape does not fit.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Composite(sf.targets.Gaussian([0.0, 0.0]), sf.targets.Box(0.0, [1.0, float("inf")]))
    >>> target.prox([-2.0, 5.0], scale=1.0), target.log_density([0.5, -1.0])
    (array([0., 5.]), np.float64(-inf))
    """

    lower: float | np.ndarray
    upper: float | np.ndarray

    def __post_init__(self) -> None:
        lower, upper = _bound("lower", self.lower), _bound("upper", self.upper)
        try:
            below = np.less(lower, upper)
        except ValueError:
            raise ValueError(f"lower and upper must be as long, got {np.shape(lower)} and {np.shape(upper)}") from None
        if not np.all(below) or np.any(np.equal(lower, np.inf)) or np.any(np.equal(upper, -np.inf)):
            raise ValueError(f"lower must be below upper, got {checks.shown(self.lower)} and {self.upper!r}")
        put(self, lower=lower, upper=upper)

    @property
    def parameters(self) -> dict[str, float]:
        """The bounds that there are."""
        found: dict[str, float] = {}
        for name in ("lower", "upper"):
            bound = getattr(self, name)
            values = numbered(f"penalty_{name}", bound) if np.ndim(bound) else {f"penalty_{name}": float(bound)}
            found |= {key: value for key, value in values.items() if math.isfinite(value)}
        return found

    def check_dim(self, dim: int) -> None:
        """ValueError if there are bounds of another number of components."""
        check_length("lower", self.lower, dim)
        check_length("upper", self.upper, dim)

    def value(self, u: Vector) -> Any:
        """0 in the box."""
        lower = [ui >= bound for ui, bound in zip(u, self._bounds("lower", len(u)), strict=True) if bound is not None]
        upper = [ui <= bound for ui, bound in zip(u, self._bounds("upper", len(u)), strict=True) if bound is not None]
        return _infinite_unless(*lower, *upper)

    def gradient(self, u: Vector) -> Values:
        """0."""
        return [0.0] * len(u)

    def prox(self, v: Vector, scale: Expr) -> Values:
        """The nearest point of the box."""
        return self._clipped(v, as_expr(1.0))

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """v less the nearest point of the box s times as large."""
        return [vi - inside for vi, inside in zip(v, self._clipped(v, scale), strict=True)]

    def _clipped(self, v: Vector, scale: Expr) -> Values:
        """The nearest point of the box times the scale."""
        result = list(v)
        for i, (lower, upper) in enumerate(
            zip(self._bounds("lower", len(v)), self._bounds("upper", len(v)), strict=True)
        ):
            if lower is not None:
                result[i] = maximum(result[i], scale * lower)
            if upper is not None:
                result[i] = minimum(result[i], scale * upper)
        return result

    def _bounds(self, name: str, n: int) -> list[Expr | None]:
        """The symbols of bounds, None where there is none."""
        bound = getattr(self, name)
        names = [f"penalty_{name}{i}" for i in range(n)] if np.ndim(bound) else [f"penalty_{name}"] * n
        values = np.broadcast_to(bound, (n,))
        return [symbol(key) if math.isfinite(value) else None for key, value in zip(names, values, strict=True)]


def _bound(name: str, value: Any) -> float | np.ndarray:
    """A number or a vector, that may be infinite but not NaN."""
    try:
        given = np.asarray(value)
        infinite = np.isinf(given)
        checks.array(name, np.where(infinite, 0.0, given))
    except (TypeError, ValueError):
        checks.array(name, value)
        raise
    if given.ndim > 1 or not given.size:
        raise ValueError(f"{name} must be a number or of shape (dim,), got shape {given.shape}")
    return given.astype(float) if given.ndim else float(given)


@dataclass(frozen=True, eq=False, repr=False)
class NonNegative(Penalty):
    """Components that are not negative.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.targets.Composite(sf.targets.Gaussian([0.0, 0.0]), sf.targets.NonNegative()).prox([-2.0, 5.0], scale=1.0)
    array([0., 5.])
    """

    def value(self, u: Vector) -> Any:
        """0 where no component is negative."""
        return _infinite_unless(*(ui >= 0 for ui in u))

    def gradient(self, u: Vector) -> Values:
        """0."""
        return [0.0] * len(u)

    def prox(self, v: Vector, scale: Expr) -> Values:
        """max(v, 0)."""
        return [maximum(vi, 0.0) for vi in v]

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """min(v, 0)."""
        return [minimum(vi, 0.0) for vi in v]


@dataclass(frozen=True, eq=False, repr=False)
class Simplex(Penalty):
    r"""The simplex :math:`x_i \ge 0,\ \sum_i x_i = t`, of up to 64 components.

    It has no volume: a composite target with it has no log density, and its score, that of the smooth part, is for
    methods that stay in the simplex by themselves ("mirror-simplex"). The projection takes off all components the
    largest :math:`(v_{(1)} + \dots + v_{(k)} - t) / k` over k, where :math:`v_{(1)} \ge v_{(2)} \ge \dots` are the
    components sorted, by a network of comparisons.

    Parameters
    ----------
    total : float
        t, positive.

    Raises
    ------
    ValueError, TypeError
        If it is not positive.

    References
    ----------
    Projection: Held, Wolfe and Crowder, Mathematical Programming 6, 1974. Sorting network: Batcher, AFIPS 1968.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Composite(sf.targets.Gaussian([0.0, 0.0, 0.0]), sf.targets.Simplex())
    >>> target.prox([1.5, 0.7, -1.0], scale=1.0)
    array([0.9, 0.1, 0. ])
    """

    total: float = 1.0

    #: the projection of more takes too many operations
    most_components: ClassVar[int] = 64

    is_thin = True

    def __post_init__(self) -> None:
        put(self, total=checks.real("total", self.total, positive=True))

    @property
    def parameters(self) -> dict[str, float]:
        """The sum."""
        return {"penalty_total": self.total}

    def check_dim(self, dim: int) -> None:
        """ValueError if the state has too many components."""
        if dim > self.most_components:
            raise ValueError(f"Simplex is for up to {self.most_components} components, the state has {dim}")

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Whether points are in the simplex, to rounding in float32."""
        near = 1e-5 * self.total
        return np.asarray((x >= -near).all(axis=1) & (np.abs(x.sum(axis=1) - self.total) <= near))

    def value(self, u: Vector) -> Any:
        """0 in the simplex."""
        return _infinite_unless(*(ui >= 0 for ui in u), sum(u) == symbol("penalty_total"))

    def gradient(self, u: Vector) -> Values:
        """0."""
        return [0.0] * len(u)

    def prox(self, v: Vector, scale: Expr) -> Values:
        """The nearest point of the simplex."""
        return self._projected(v, symbol("penalty_total"))

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """v less the nearest point of the simplex s times as large."""
        nearest = self._projected(v, scale * symbol("penalty_total"))
        return [vi - inside for vi, inside in zip(v, nearest, strict=True)]

    def _projected(self, v: Vector, sum_to: Any) -> Values:
        largest, excess = descending(v), []
        partial: Any = -sum_to
        for k, vk in enumerate(largest, 1):
            partial = partial + vk
            excess.append(partial / k)
        off = reduce(maximum, excess)
        return [maximum(vi - off, 0.0) for vi in v]


def descending(v: Values) -> list[Any]:
    """The components from the largest to the smallest: Batcher's merging of odd and even places, for any number."""
    result, n = list(v), len(v)
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(j, min(j + k, n - k)):
                    if i // (2 * p) == (i + k) // (2 * p):
                        a, b = result[i], result[i + k]
                        result[i], result[i + k] = maximum(a, b), minimum(a, b)
            k //= 2
        p *= 2
    return result
