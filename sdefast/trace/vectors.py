"""Vectors and matrices of expressions: numbered symbols, sums, products with matrices of numbers that have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .expression import Expr, as_expr, symbol


def symbols(name: str, n: int, first: int = 0) -> list[Expr]:
    """``name0``, ``name1``, ..."""
    return [symbol(f"{name}{i}") for i in range(first, first + n)]


def numbered(name: str, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """What the symbols ``name0``, ``name1``, ... stand for."""
    return {f"{name}{i}": float(value) for i, value in enumerate(values)}


def entries(name: str, matrix: np.ndarray) -> dict[str, float]:
    """What the symbols ``name0_0``, ... stand for; entries that are 0 or 1 have none."""
    return {f"{name}{i}_{j}": float(v) for (i, j), v in np.ndenumerate(matrix) if v not in (0, 1)}


def times(name: str, matrix: np.ndarray, vector: Sequence[Any]) -> list[Any]:
    """A matrix times a vector, its `entries` as symbols."""
    rows: list[list[Any]] = [[] for _ in matrix]
    for i, j in np.argwhere(matrix).tolist():
        rows[i].append(vector[j] if matrix[i, j] == 1 else symbol(f"{name}{i}_{j}") * vector[j])
    return [total(terms) for terms in rows]


def total(terms: Sequence[Any]) -> Expr:
    """A sum, from the first term to the last."""
    result = as_expr(0.0)
    for term in terms:
        result = as_expr(result + term)
    return result
