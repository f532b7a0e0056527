"""What a method sees of a target: its density and what follows from it, as expressions, at any point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...lazy import cached_property
from ...trace import Expr, Rows, derivative, rows_in, substitute, symbol

Vector = tuple[Expr, ...]


class Density:
    """A log density in expressions of the state's symbols and of parameters; scores derived from it if none is given.

    ``smooth_score`` is that of the part without ``prox``, where a target has two parts; ``prox(v, scale)`` solves
    min_u g(u) + |u - v|^2 / (2 scale) for the other part g. What a target has not is None.
    """

    def __init__(
        self,
        dim: int,
        log_density: Expr | None,
        score: Vector | None = None,
        smooth: Expr | None = None,
        prox: Callable[[Vector, Expr], Sequence[Expr]] | None = None,
    ) -> None:
        self.dim, self._log_density, self._given_score = dim, log_density, score
        self._smooth, self._prox = smooth, prox

    @cached_property
    def _x(self) -> Vector:
        return state_symbols(self.dim)

    def has(self, what: str) -> bool:
        """Whether there is a "log_density", "score", "hessian", "smooth_score", "prox", or "data" in rows."""
        smooth, whole = self._smooth is not None, self._log_density is not None
        known = {
            "log_density": whole, "score": whole or self._given_score is not None,
            "hessian": whole or self._given_score is not None, "smooth_score": smooth, "prox": self._prox is not None,
        }  # fmt: skip
        return self.rows is not None if what == "data" else known[what]

    def log_density(self, x: Vector) -> Expr:
        """log p(x) up to a constant."""
        assert self._log_density is not None
        return self._at((self._log_density,), x)[0]

    def score(self, x: Vector) -> Vector:
        """grad log p(x)."""
        return self._at(self._score, x)

    def hessian(self, x: Vector) -> tuple[Vector, ...]:
        """The second derivatives of log p at x, row by row."""
        return tuple(self._at(row, x) for row in self._hessian)

    def smooth_score(self, x: Vector) -> Vector:
        """grad log of the smooth part."""
        return self._at(self._smooth_score, x)

    def prox(self, v: Vector, scale: Expr) -> Vector:
        """The proximal map of the other part."""
        assert self._prox is not None
        return tuple(self._prox(v, scale))

    # Densities that are sums over rows of data --------------------------------------------------------------------

    @cached_property
    def rows(self) -> Rows | None:
        """The log density as a sum over rows of data and a rest, where it is one."""
        return None if self._log_density is None else rows_in(self._log_density)

    @cached_property
    def _rest_score(self) -> Vector:
        assert self.rows is not None
        return tuple(derivative(self.rows.rest, x) for x in self._x)

    @cached_property
    def _term_score(self) -> Vector:
        assert self.rows is not None
        return tuple(derivative(self.rows.term, x) for x in self._x)

    def rest_score(self, x: Vector) -> Vector:
        """The gradient of what depends on no row."""
        return self._at(self._rest_score, x)

    def term_score(self, x: Vector, row: Sequence[Expr]) -> Vector:
        """The gradient of a row's term."""
        point = dict(zip(self._x, x, strict=True)) | {symbol(f"d{j}"): e for j, e in enumerate(row)}
        known: dict[Expr, Expr] = {}
        return tuple(substitute(value, point, known) for value in self._term_score)

    @cached_property
    def _score(self) -> Vector:
        if self._given_score is not None:
            return self._given_score
        assert self._log_density is not None
        return tuple(derivative(self._log_density, x) for x in self._x)

    @cached_property
    def _smooth_score(self) -> Vector:
        assert self._smooth is not None
        return tuple(derivative(self._smooth, x) for x in self._x)

    @cached_property
    def _hessian(self) -> tuple[Vector, ...]:
        return tuple(tuple(derivative(s, x) for x in self._x) for s in self._score)

    def _at(self, values: Vector, x: Vector) -> Vector:
        if all(a is b for a, b in zip(x, self._x, strict=True)):
            return values
        point, known = dict(zip(self._x, x, strict=True)), {}  # type: ignore[var-annotated]
        return tuple(substitute(value, point, known) for value in values)


def state_symbols(dim: int) -> Vector:
    """The components of the state."""
    return tuple(symbol(f"x{i}") for i in range(dim))
