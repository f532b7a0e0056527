"""Total variation: sizes of the differences of neighbours, in a line and in an image.

The proximal map of :math:`g(Dx)` is no closed form, that of the conjugate of g is: methods that go between x and a dual
variable use these penalties.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .... import checks
from ....lazy import cached_property
from ....trace import Expr, as_expr, symbol
from ....trace.vectors import total
from ..base import put
from ..density import Vector
from .base import Penalty, Values, clip, direction, length, onto_ball, signed
from .norms import by_group


@dataclass(frozen=True, eq=False, repr=False)
class TotalVariation1D(Penalty):
    r"""Sizes of steps in a line, :math:`w \sum_i |x_{i+1} - x_i|`: :math:`g(u) = w \sum_i |u_i|` of the differences.

    Parameters
    ----------
    weight : float
        w, positive.

    Raises
    ------
    ValueError, TypeError
        If it is not positive.

    References
    ----------
    Rudin, Osher and Fatemi, Physica D 60, 1992; Chambolle and Pock, J. Mathematical Imaging and Vision 40, 2011.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Composite(sf.targets.Gaussian([0.0, 0.0, 0.0], 1e6), sf.targets.TotalVariation1D(2.0))
    >>> round(float(target.log_density([0.0, 3.0, 2.0])), 4)
    -8.0
    >>> target.dual_prox([5.0, -1.0], scale=0.5)
    array([ 2., -1.])
    """

    weight: float = 1.0

    has_prox = False

    def __post_init__(self) -> None:
        put(self, weight=checks.real("weight", self.weight, positive=True))

    @property
    def parameters(self) -> dict[str, float]:
        """The weight."""
        return {"penalty_weight": self.weight}

    def check_dim(self, dim: int) -> None:
        """ValueError if there are no neighbours."""
        if dim < 2:
            raise ValueError("TotalVariation1D needs a state of 2 components or more, it has 1")

    def value(self, u: Vector) -> Any:
        """g(u), of differences."""
        return symbol("penalty_weight") * total([abs(ui) for ui in u])

    def gradient(self, u: Vector) -> Values:
        """w with the sign of u."""
        return [signed(ui, symbol("penalty_weight")) for ui in u]

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """v cut to [-w, w]."""
        weight = symbol("penalty_weight")
        return [clip(vi, -weight, weight) for vi in v]

    def forward(self, x: Vector) -> Values:
        """The differences."""
        return _differences(x, _line(len(x)))

    def adjoint(self, u: Vector) -> Values:
        """Of each component, the difference before it less that after it."""
        return _divergence(u, _line(len(u) + 1), len(u) + 1)

    def dual_dim(self, dim: int) -> int:
        """Number of differences."""
        return dim - 1

    def norm_squared(self, dim: int) -> float:
        """The largest eigenvalue of D' D, below 4."""
        return _largest_eigenvalue(dim)


@dataclass(frozen=True, eq=False, repr=False)
class TotalVariation2D(Penalty):
    r"""Sizes of the slopes of an image, :math:`w \sum_{ij} |(x_{i,j+1} - x_{ij},\ x_{i+1,j} - x_{ij})|`.

    The state is the image row by row; beyond the border nothing changes.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    weight : float
        w, positive.
    isotropic : bool
        Whether the size of a slope is its Euclidean norm, or the sum of the sizes of its components.

    Raises
    ------
    ValueError, TypeError
        If the weight is not positive, or the shape is no pair.

    References
    ----------
    Rudin, Osher and Fatemi, Physica D 60, 1992; Chambolle and Pock, J. Mathematical Imaging and Vision 40, 2011.

    Examples
    --------
    >>> import sdefast as sf
    >>> penalty = sf.targets.TotalVariation2D((2, 2), weight=2.0)
    >>> target = sf.targets.Composite(sf.targets.Gaussian([0.0] * 4, 1e6), penalty)
    >>> round(float(target.log_density([0.0, 3.0, 4.0, 4.0])), 4)
    -12.0
    """

    shape: tuple[int, int]
    weight: float = 1.0
    isotropic: bool = True

    has_prox = False

    def __post_init__(self) -> None:
        try:
            rows, columns = self.shape
        except (TypeError, ValueError):
            raise TypeError(f"shape must be (rows, columns), got {checks.shown(self.shape)}") from None
        shape = checks.count("rows", rows), checks.count("columns", columns)
        if shape == (1, 1):
            raise ValueError("shape must be that of two pixels or more, got (1, 1)")
        weight, isotropic = checks.real("weight", self.weight, positive=True), checks.flag("isotropic", self.isotropic)
        put(self, shape=shape, weight=weight, isotropic=isotropic)

    @property
    def parameters(self) -> dict[str, float]:
        """The weight."""
        return {"penalty_weight": self.weight}

    def check_dim(self, dim: int) -> None:
        """ValueError if the state is no such image."""
        rows, columns = self.shape
        if rows * columns != dim:
            raise ValueError(f"shape {self.shape} is of {rows * columns} pixels, the state has {dim} components")

    def value(self, u: Vector) -> Any:
        """g(u), of differences."""
        return symbol("penalty_weight") * total([length([u[k] for k in slope]) for slope in self._slopes])

    def gradient(self, u: Vector) -> Values:
        """Slopes made w long."""
        return by_group(direction, u, self._slopes, self._weights)

    def dual_prox(self, v: Vector, scale: Expr) -> Values:
        """Slopes cut to the length w."""
        return by_group(onto_ball, v, self._slopes, self._weights)

    def forward(self, x: Vector) -> Values:
        """The differences with the right neighbours, row by row, then those with the lower ones, 0 at the border."""
        ends = [(xi, end) for own in self._neighbours for xi, end in zip(x, own, strict=True)]
        return [0.0 if end is None else x[end] - xi for xi, end in ends]

    def adjoint(self, u: Vector) -> Values:
        """Of each pixel, the differences that end there less those that begin there."""
        n = len(u) // 2
        result = [as_expr(0.0)] * n
        for own, ends in zip((u[:n], u[n:]), self._neighbours, strict=True):
            for start, (uk, end) in enumerate(zip(own, ends, strict=True)):
                if end is not None:
                    result[start], result[end] = as_expr(result[start] - uk), as_expr(result[end] + uk)
        return result

    def dual_dim(self, dim: int) -> int:
        """Number of differences, two for every pixel."""
        return 2 * dim

    def norm_squared(self, dim: int) -> float:
        """The largest eigenvalue of D' D, below 8."""
        return sum(map(_largest_eigenvalue, self.shape))

    @cached_property
    def _neighbours(self) -> tuple[list[int | None], list[int | None]]:
        """Of every pixel the right one and the lower one, None beyond the border."""
        rows, columns = self.shape
        pixels = [(i, j) for i in range(rows) for j in range(columns)]
        right = [i * columns + j + 1 if j + 1 < columns else None for i, j in pixels]
        return right, [(i + 1) * columns + j if i + 1 < rows else None for i, j in pixels]

    @cached_property
    def _slopes(self) -> list[list[int]]:
        """Differences that are sized together: those from one pixel, or each alone."""
        n = self.shape[0] * self.shape[1]
        return [[k, n + k] for k in range(n)] if self.isotropic else [[k] for k in range(2 * n)]

    @property
    def _weights(self) -> Values:
        return [symbol("penalty_weight")] * len(self._slopes)


def _line(n: int) -> list[tuple[int, int]]:
    """Neighbours in a line of n."""
    return [(i, i + 1) for i in range(n - 1)]


def _differences(x: Vector, pairs: list[tuple[int, int]]) -> Values:
    """D x."""
    return [x[end] - x[start] for start, end in pairs]


def _divergence(u: Vector, pairs: list[tuple[int, int]], n: int) -> Values:
    """D' u."""
    result = [as_expr(0.0)] * n
    for uk, (start, end) in zip(u, pairs, strict=True):
        result[start], result[end] = as_expr(result[start] - uk), as_expr(result[end] + uk)
    return result


def _largest_eigenvalue(n: int) -> float:
    """That of the second difference of n in a line: 4 cos(pi / 2n)^2, 0 for one alone."""
    return 4 * math.cos(math.pi / (2 * n)) ** 2
