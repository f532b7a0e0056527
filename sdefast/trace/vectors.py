"""Vectors and matrices of expressions: numbered symbols, sums, products with matrices of named numbers, solving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .expression import Expr, as_expr, make, symbol

#: a lower triangular matrix, row by row
Rows = list[list[Any]]


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


def cholesky(matrix: Sequence[Sequence[Expr]]) -> Rows:
    """The lower triangular L with L L' = matrix."""
    root: Rows = []
    for i, row in enumerate(matrix):
        root.append([])
        for j in range(i + 1):
            left = row[j] - total([root[i][k] * root[j][k] for k in range(j)])
            root[i].append(make("sqrt", as_expr(left)) if i == j else as_expr(left / root[j][j]))
    return root


def forward(root: Rows, b: Sequence[Any]) -> list[Any]:
    """y with L y = b."""
    y: list[Any] = []
    for i, bi in enumerate(b):
        y.append(as_expr((bi - total([root[i][k] * y[k] for k in range(i)])) / root[i][i]))
    return y


def backward(root: Rows, b: Sequence[Any]) -> list[Any]:
    """w with L' w = b."""
    d, w = len(b), {}  # type: ignore[var-annotated]
    for i in reversed(range(d)):
        w[i] = as_expr((b[i] - total([root[k][i] * w[k] for k in range(i + 1, d)])) / root[i][i])
    return [w[i] for i in range(d)]


def solve(root: Rows, b: Sequence[Any]) -> list[Any]:
    """x with L L' x = b."""
    return backward(root, forward(root, b))
