"""What a method sees of a target: its density and what follows from it, as expressions, at any point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ...lazy import cached_property
from ...trace import Expr, Rows, as_expr, derivative, rows_in, substitute, symbol

Vector = tuple[Expr, ...]


class Parts(NamedTuple):
    """How curved f and g are at most, where -log p(x) = f(x) + g(Dx), and |D|^2: None is not known, or has kinks."""

    smooth: float | None
    penalty: float | None
    norm_squared: float


class Split(Protocol):
    """The part g(D x) of -log p(x) = f(x) + g(D x), as expressions: one of ``targets/penalties``."""

    @property
    def has_prox(self) -> bool:
        """Whether D is the identity and g has a proximal map."""

    def prox(self, v: Vector, scale: Expr) -> Sequence[Any]:
        """That of g."""

    def dual_prox(self, v: Vector, scale: Expr) -> Sequence[Any]:
        """That of the conjugate of g."""

    def forward(self, x: Vector) -> Sequence[Any]:
        """D x."""

    def adjoint(self, u: Vector) -> Sequence[Any]:
        """D' u."""

    def dual_dim(self, dim: int) -> int:
        """Components of D x."""

    def norm_squared(self, dim: int) -> float:
        """A bound of |D|^2."""


class Density:
    """A log density in expressions of the state's symbols and of parameters; scores derived from it if none is given.

    Where a target has two parts, -log p(x) = f(x) + g(D x), ``smooth_score`` is that of f and ``penalty`` is the other.
    ``by_rows`` is the log density as a sum over rows of data, where ``log_density`` is not written so. What a target
    has not is None.
    """

    def __init__(
        self,
        dim: int,
        log_density: Expr | None,
        score: Vector | None = None,
        smooth_score: Vector | None = None,
        penalty: Split | None = None,
        smooth_prox: Callable[[Vector, Expr], Sequence[Expr]] | None = None,
        by_rows: Expr | None = None,
    ) -> None:
        self.dim, self._log_density, self._given_score = dim, log_density, score
        self._smooth_score, self._smooth_prox, self._penalty = smooth_score, smooth_prox, penalty
        self._by_rows = log_density if by_rows is None else by_rows

    @cached_property
    def _x(self) -> Vector:
        return state_symbols(self.dim)

    def has(self, what: str) -> bool:
        """Whether there is a "log_density", "score", "hessian", "smooth_score", "prox", "dual_prox", or "data" in rows.

        With "dual_prox" there are `forward` and `adjoint`. A density in two parts has no Hessian.
        """
        whole, penalty = self._log_density is not None, self._penalty
        score = whole or self._given_score is not None
        known = {
            "log_density": whole, "score": score, "hessian": score and penalty is None,
            "smooth_score": self._smooth_score is not None, "prox": penalty is not None and penalty.has_prox,
            "dual_prox": penalty is not None, "smooth_prox": self._smooth_prox is not None,
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

    # Of two parts -------------------------------------------------------------------------------------------------

    def smooth_score(self, x: Vector) -> Vector:
        """-grad f(x)."""
        assert self._smooth_score is not None
        return self._at(self._smooth_score, x)

    def smooth_prox(self, v: Vector, scale: Expr) -> Vector:
        """The u that makes f(u) + |u - v|^2 / (2 scale) least, f the smooth part."""
        assert self._smooth_prox is not None
        return tuple(map(as_expr, self._smooth_prox(v, scale)))

    def prox(self, v: Vector, scale: Expr) -> Vector:
        """The u that makes g(u) + |u - v|^2 / (2 scale) least, where D is the identity."""
        return tuple(map(as_expr, self._split.prox(v, scale)))

    def dual_prox(self, v: Vector, scale: Expr) -> Vector:
        """The u that makes g*(u) + |u - v|^2 / (2 scale) least, g* the conjugate: v has `dual_dim` components."""
        return tuple(map(as_expr, self._split.dual_prox(v, scale)))

    def forward(self, x: Vector) -> Vector:
        """D x, of `dual_dim` components."""
        return tuple(map(as_expr, self._split.forward(x)))

    def adjoint(self, u: Vector) -> Vector:
        """D' u."""
        return tuple(map(as_expr, self._split.adjoint(u)))

    @property
    def dual_dim(self) -> int:
        """Number of components of D x."""
        return self._split.dual_dim(self.dim)

    @property
    def operator_norm_squared(self) -> float:
        """A bound of |D|^2, by which step sizes of primal-dual methods are bounded."""
        return self._split.norm_squared(self.dim)

    @property
    def _split(self) -> Split:
        assert self._penalty is not None
        return self._penalty

    # Densities that are sums over rows of data --------------------------------------------------------------------

    @cached_property
    def rows(self) -> Rows | None:
        """The log density as a sum over rows of data and a rest, where it is one."""
        return None if self._by_rows is None else rows_in(self._by_rows)

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

    # Derived ------------------------------------------------------------------------------------------------------

    @cached_property
    def _score(self) -> Vector:
        if self._given_score is not None:
            return self._given_score
        assert self._log_density is not None
        return tuple(derivative(self._log_density, x) for x in self._x)

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
