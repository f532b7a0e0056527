"""A metric: the positive definite matrix G that steps precondition with, noise by a root of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..lazy import cached_property
from ..run.records import Recorded
from ..trace import Expr
from ..trace.vectors import entries, times
from .targets.base import positive_definite


@dataclass(frozen=True, eq=False)
class Metric(Recorded):
    """G; without a matrix the identity, which takes no operations, or the inverse Hessian, which methods know."""

    matrix: np.ndarray | None = None
    is_hessian: bool = False

    @classmethod
    def of(cls, value: Any, dim: int) -> Metric:
        """What ``metric=`` asks for: None, a number, a diagonal, a matrix, or "hessian"."""
        if isinstance(value, str):
            checks.choice("metric", value, ("hessian",))
            return cls(is_hessian=True)
        return cls() if value is None else cls(positive_definite("metric", value, dim))

    @cached_property
    def _root(self) -> np.ndarray:
        assert self.matrix is not None
        root: np.ndarray = np.linalg.cholesky(self.matrix)
        return root

    @property
    def is_diagonal(self) -> bool:
        """Whether components do not act on one another."""
        return not self.is_hessian and (self.matrix is None or not (self.matrix - np.diag(np.diag(self.matrix))).any())

    @property
    def parameters(self) -> dict[str, float]:
        """Symbols of the step, and what they stand for."""
        return {} if self.matrix is None else entries("metric", self.matrix) | entries("root", self._root)

    def times(self, vector: Sequence[Expr]) -> tuple[Expr, ...]:
        """G v."""
        return tuple(vector) if self.matrix is None else tuple(times("metric", self.matrix, vector))

    def root_times(self, vector: Sequence[Expr]) -> tuple[Expr, ...]:
        """R z with R R' = G."""
        return tuple(vector) if self.matrix is None else tuple(times("root", self._root, vector))

    def largest(self, curvature: float) -> float:
        """A bound of the curvature that a step sees."""
        if self.is_hessian:
            return 1.0
        return curvature if self.matrix is None else curvature * float(np.linalg.eigvalsh(self.matrix)[-1])

    def _key(self) -> Any:
        return self.is_hessian, None if self.matrix is None else (self.matrix.shape, self.matrix.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metric) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __getstate__(self) -> dict[str, Any]:
        return {"matrix": self.matrix, "is_hessian": self.is_hessian}


IDENTITY = Metric()
