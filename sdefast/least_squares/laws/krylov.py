"""Lanczos' method for self-adjoint maps of matrices that nobody wants to write down as matrices themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

Map = Callable[[np.ndarray], np.ndarray]


class Krylov(NamedTuple):
    """A map on the span of start, map(start), map(map(start)), ...: tridiagonal in an orthonormal ``basis``.

    ``beside[-1]`` is the length of what leads out of the span.
    """

    basis: list[np.ndarray]
    diagonal: list[float]
    beside: list[float]

    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, increasing, and eigenvectors (columns) of the tridiagonal matrix."""
        inner = self.beside[:-1]
        return np.linalg.eigh(np.diag(self.diagonal) + np.diag(inner, 1) + np.diag(inner, -1))


def krylov(apply: Map, start: np.ndarray) -> Iterator[Krylov]:
    """The spaces of growing dimension 1, 2, ..., with full orthogonalisation; the lists grow in place."""
    space = Krylov([start / np.linalg.norm(start)], [], [])
    while True:
        w = apply(space.basis[-1])
        space.diagonal.append(float(np.vdot(space.basis[-1], w)))
        for _ in range(2):  # twice is enough
            for v in space.basis:
                w = w - np.vdot(v, w) * v
        space.beside.append(float(np.linalg.norm(w)))
        yield space
        space.basis.append(w / space.beside[-1])


def largest_eigenvalue(apply: Map, start: np.ndarray, most: int = 300) -> float:
    """The largest eigenvalue of a self-adjoint map of arrays.

    ``start`` must not be orthogonal to the eigenvector: a positive definite matrix will do where that is a covariance.
    """
    top = 0.0
    for n, space in enumerate(krylov(apply, start), start=1):
        values, vectors = space.eigen()
        top = float(values[-1])
        # The error of the value is of the order of the square of this residual.
        if n >= min(most, start.size) or space.beside[-1] * abs(vectors[-1, -1]) <= 1e-9 * np.abs(values).max():
            break
    return top


def invariant_enough(apply: Map, start: np.ndarray, t: float, most: int) -> Krylov:
    """A space in which exp(s map) start is known to some 1e-12 of it for all s up to ``t``.

    What is neglected is the length of what leads out times the integral of the last coordinate of exp(s map) start
    (Saad, SIAM Journal on Numerical Analysis 29, 1992), which is looked at for some s.

    Raises
    ------
    ValueError
        If ``most`` dimensions are too few.
    """
    s = t * np.concatenate([[0.0], np.geomspace(1e-4, 1, 32)])
    for n, space in enumerate(krylov(apply, start), start=1):
        size = max(map(abs, space.diagonal), default=0.0)
        whole = n == start.size or space.beside[-1] <= 1e-14 * n * size
        if not whole and n % 8:
            continue
        values, U = space.eigen()
        with np.errstate(over="ignore", invalid="ignore"):
            parts = np.exp(np.multiply.outer(s, values - max(values[-1], 0.0))) * U[0]
            last = np.abs(parts @ U[-1]).max()
        if whole or space.beside[-1] * t * last <= 1e-12:
            return space
        if n >= most:
            raise ValueError(
                f"t times the rates is too large for an exact error, got t up to {t:g} at rates up to {-values[0]:g}"
            )
    raise AssertionError
