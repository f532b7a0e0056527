"""What a scheme sees of an SDE: coefficients and their derivatives as expressions, in the calculus that it wants."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...lazy import cached_property
from ...run.parameters import Array
from ...trace import Expr, Names, constant, depends_on, derivative, evaluate, substitute, symbol, symbols_in
from ...trace.lookups import array_symbol

Vector = tuple[Expr, ...]
#: rows of a matrix: entry [i][j] is component i under noise j
Matrix = tuple[Vector, ...]


class Equation:
    """The SDE dX = a(t, X) dt + sum_j b_j(t, X) dW_j, in expressions of the symbols `t`, `x` and of parameters.

    Attributes
    ----------
    dim, noise_dim : int
        Numbers of components of the state and of Brownian motions.
    noise : str
        "additive", "scalar", "diagonal" or "general".
    calculus : str
        "ito" or "stratonovich": how `drift` is to be read.
    known_slope : matrix of expressions or None
        The derivatives d b_k / d x_k on its diagonal, where the user gave them.
    """

    def __init__(
        self, t: Expr, x: Vector, a: Vector, b: Matrix, noise: str, calculus: str, known_slope: Matrix | None = None
    ) -> None:
        self.t, self.x, self._a, self._b = t, x, a, b
        self.noise, self.calculus, self.known_slope = noise, calculus, known_slope
        self.dim, self.noise_dim = len(x), len(b[0])

    @cached_property
    def identity(self) -> tuple[int, ...]:
        """Equal for equations with the same coefficients: equal expressions are one object."""
        slope = self.known_slope or ()
        return tuple(id(e) for row in (self._a, *self._b, *slope) for e in row)

    # At any point ------------------------------------------------------------------------------------------------

    def drift(self, t: Expr, x: Sequence[Expr]) -> Vector:
        """a(t, x), of length dim."""
        return self._at(self._a, t, x)

    def diffusion(self, t: Expr, x: Sequence[Expr]) -> Matrix:
        """b(t, x) as dim rows of noise_dim entries; entries that are always zero are the constant 0."""
        return tuple(self._at(row, t, x) for row in self._b)

    def column(self, j: int, t: Expr, x: Sequence[Expr]) -> Vector:
        """b_j(t, x), of length dim: what noise j does."""
        return self._at(tuple(row[j] for row in self._b), t, x)

    def along(self, j: int, k: int, t: Expr, x: Sequence[Expr]) -> Vector:
        """L^j b_k = sum_i b_ij d b_k / d x_i, of length dim: how noise k changes as noise j moves the state."""
        return self._at(self._along[j][k], t, x)

    def drift_jacobian(self, t: Expr, x: Sequence[Expr]) -> Matrix:
        """d a_i / d x_j, of shape (dim, dim)."""
        return tuple(self._at(row, t, x) for row in self._drift_jacobian)

    def _at(self, values: Vector, t: Expr, x: Sequence[Expr]) -> Vector:
        point = {self.t: t, **dict(zip(self.x, x, strict=True))}
        known: dict[Expr, Expr] = {}
        return tuple(substitute(v, point, known) for v in values)

    # Derivatives -------------------------------------------------------------------------------------------------

    @cached_property
    def _drift_jacobian(self) -> Matrix:
        return tuple(tuple(derivative(a, x) for x in self.x) for a in self._a)

    @cached_property
    def _along(self) -> list[list[Vector]]:
        zero = constant(0)
        slopes = [[self._slopes(row[k], k, m) for m, row in enumerate(self._b)] for k in range(self.noise_dim)]
        columns = [_not_zero(enumerate(column)) for column in zip(*self._b, strict=True)]
        return [
            [tuple(sum((bj[i] * e for i, e in slope.items() if i in bj), zero) for slope in own) for own in slopes]
            for bj in columns
        ]

    def _slopes(self, b: Expr, k: int, m: int) -> dict[int, Expr]:
        """The d b / d x_i that are not 0, of the entry b = b_mk; the user may have given d b_k / d x_k."""
        names = symbols_in((b,))
        slopes = {i: derivative(b, x) for i, x in enumerate(self.x) if x.value in names}
        if self.known_slope is not None and k == m:
            slopes[k] = self.known_slope[k][k]
        return _not_zero(sorted(slopes.items(), key=lambda slope: slope[0]))

    # Properties --------------------------------------------------------------------------------------------------

    @cached_property
    def is_additive(self) -> bool:
        """Whether b does not depend on the state."""
        return not any(depends_on(entry, self.x) for row in self._b for entry in row)

    def is_commutative(self, points: np.ndarray, parameters: dict[Expr, float]) -> bool:
        """Whether L^j b_k = L^k b_j for all noises, tried at states of shape (n, dim)."""
        values = {self.t: 0.5, **parameters, **dict(zip(self.x, points.T, strict=True))}
        for j in range(self.noise_dim):
            for k in range(j):
                for one, other in zip(self._along[j][k], self._along[k][j], strict=True):
                    if one is not other:
                        a, b = (np.broadcast_to(evaluate(e, values), len(points)) for e in (one, other))
                        good = np.isfinite(a) & np.isfinite(b)
                        if not np.allclose(a[good], b[good], rtol=1e-8, atol=1e-12):
                            return False
        return True

    def read_as(self, calculus: str) -> Equation:
        """The same process with its drift in the other calculus: a_S = a_I - 1/2 sum_j L^j b_j."""
        if calculus == self.calculus:
            return self
        factor = -0.5 if calculus == "stratonovich" else 0.5
        a = []
        for i, drift in enumerate(self._a):
            correction = sum((self._along[j][j][i] for j in range(self.noise_dim)), constant(0))
            a.append(drift + factor * correction)
        return Equation(self.t, self.x, tuple(a), self._b, self.noise, calculus, self.known_slope)


def _not_zero(entries: Iterable[tuple[int, Expr]]) -> dict[int, Expr]:
    """The entries that are not always 0."""
    return {i: e for i, e in entries if not e.is_constant(0)}


def time_symbol() -> Expr:
    """The time."""
    return symbol("t")


def state_symbols(dim: int) -> Vector:
    """The components of the state."""
    return tuple(symbol(f"x{i}") for i in range(dim))


def parameter_symbol(name: str) -> Expr:
    """A parameter."""
    return symbol(f"p_{name}")


def seen_parameter(name: str, value: Any) -> Expr:
    """A parameter as functions see it: it may be one that is an array."""
    plain = parameter_symbol(name)
    has_values = isinstance(value, Array) and value.values is not None
    return array_symbol(str(plain.value), value.values) if has_values else plain


def named(traced: Any, names: Mapping[Expr, Expr], known: dict[Expr, Expr]) -> Any:
    """Nested tuples of expressions with other symbols; ``known`` has what was replaced before."""
    if isinstance(traced, tuple):
        return tuple(named(part, names, known) for part in traced)
    return substitute(traced, names, known)


def plainly_named(traced: Any, p: Any) -> Any:
    """What a function of the parameters ``p`` computes, in symbols that know nothing of what the parameters are."""
    plain = {s: parameter_symbol(name) for name, s in zip(p._fields, p, strict=True)}
    changed = {s: e for s, e in plain.items() if s is not e}
    return named(traced, changed, {}) if changed else traced


@lru_cache(maxsize=256)
def named_tuple(kind: str, names: tuple[str, ...]) -> Any:
    """The class of named tuples, which takes a while to make."""
    return namedtuple(kind, names)


def replayed_inputs(dim: int, parameters: Any, *more: tuple[str, Any]) -> tuple[tuple[str, Names], ...]:
    """The arguments (t, x, p) of a user's function and ``more`` tuples of symbols, for `Replayed`."""
    tuples = (("x", state_symbols(dim)), ("p", parameters), *more)
    return (("t", str(time_symbol().value)), *((name, tuple(str(s.value) for s in of)) for name, of in tuples))
