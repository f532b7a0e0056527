"""What a target is: a density up to a constant, in scalar code, and what else is known of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ... import checks
from ...lazy import cached_property
from ...run.records import Recorded
from ...trace import Expr, evaluate, symbol
from .density import Density, Parts, Vector, state_symbols
from .tabulated import Tabulated

#: Where starts are drawn from a chain's draws: so far out that no run comes there.
FIRST_START_DRAW = 2**39


class Compared(Recorded):
    """Data classes that are equal where their fields are; what they derive from these is made again elsewhere."""

    def __repr__(self) -> str:
        assert is_dataclass(self)
        values = ", ".join(f"{field.name}={_shown(getattr(self, field.name))}" for field in fields(self))
        return f"{type(self).__name__}({values})"

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        """Equal for those that are the same."""
        assert is_dataclass(self)
        return tuple(comparable(getattr(self, field.name)) for field in fields(self))

    @cached_property
    def _hash(self) -> int:
        return hash((type(self), self._key))

    def __eq__(self, other: object) -> bool:
        return other is self or (type(other) is type(self) and other._key == self._key)

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        """What was given, without the expressions, which are made again."""
        assert is_dataclass(self)
        return {field.name: getattr(self, field.name) for field in fields(self)}


class BaseTarget(Compared, ABC):
    """Base class of targets, frozen data classes whose fields are the parameters, checked in ``__post_init__``.

    They are made with ``eq=False, repr=False``. A target gives ``dim``, `parameters` and `log_density_of`, or its own
    `density`, and what it knows of mean, covariance and `sample`.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of components of the state."""

    @property
    def parameters(self) -> dict[str, float]:
        """Names of the symbols that stand for numbers of the target, and the numbers: others run the same kernel."""
        return {}

    def log_density_of(self, x: Vector) -> Any:
        """The log density up to a constant, in scalar code, of the state and the symbols of `parameters`."""
        raise NotImplementedError

    @cached_property
    def density(self) -> Density:
        """What methods see."""
        from ...trace import as_expr

        return Density(self.dim, as_expr(self.log_density_of(state_symbols(self.dim))))

    @property
    def own_prox(self) -> Callable[[Vector, Expr], Sequence[Expr]] | None:
        """``own_prox(v, scale)``: the proximal map of -log p in scalar code, where it is known."""
        return None

    @property
    def tabulated(self) -> Tabulated | None:
        """The density as a table, where there are built-in steps that read it."""
        return None

    # Where chains begin ---------------------------------------------------------------------------------------------

    @cached_property
    def usual_start(self) -> np.ndarray:
        """Where chains begin if nobody says: at the mean, else at 0, of shape (dim, 1); checked as any other."""
        mean = self.mean
        start = np.zeros(self.dim) if mean is None else checks.array("x0", mean, shape=(self.dim,))
        try:
            self.check_start(start[None])
        except ValueError as error:
            raise ValueError(f"{error}; that is where chains begin if no x0 is given") from None
        start.flags.writeable = False
        return start[:, None]

    @cached_property
    def center(self) -> np.ndarray | None:
        """The mean, of shape (dim,), where there is a finite one."""
        mean = self.mean
        return None if mean is None or not np.isfinite(mean).all() else np.asarray(mean, float)

    # What may be known --------------------------------------------------------------------------------------------

    @property
    def mean(self) -> np.ndarray | None:
        """Its mean, of shape (dim,), where it is known."""
        return None

    @property
    def covariance(self) -> np.ndarray | None:
        """Its covariance matrix, of shape (dim, dim), where it is known."""
        return None

    @property
    def is_gaussian(self) -> bool:
        """Whether the law is known to be a Gaussian."""
        return False

    @property
    def curvature(self) -> float | None:
        """A bound of the second derivatives of -log p in any direction, by which steps are unstable, if it is known."""
        return None

    @property
    def parts(self) -> Parts | None:
        """How curved its two parts are, of targets that have a penalty."""
        return None

    @cached_property
    def mode(self) -> np.ndarray:
        """A maximum of the density, of shape (dim,), found from the mean or 0; that of a Gaussian is its mean."""
        if self.is_gaussian and self.mean is not None:
            return self.mean
        try:
            from scipy.optimize import minimize
        except ImportError:
            raise ImportError("the mode is found by scipy: pip install 'sdefast[stats]'") from None
        start = np.zeros(self.dim) if self.mean is None else self.mean
        found = minimize(
            lambda x: -float(self.log_density(x)), start, jac=lambda x: -self.score(x), method="BFGS",
            options={"gtol": 1e-9},
        )  # fmt: skip
        return np.asarray(found.x)

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim), where there is a way: draw i depends on ``seed`` and ``first_chain + i``."""
        raise ValueError(f"{type(self).__name__} cannot be sampled exactly: give x0= as a point, or one a chain")

    def convolved(self, sigma: float) -> BaseTarget:
        """The law with noise N(0, sigma^2) added, where it is known."""
        raise ValueError(f"{type(self).__name__} with noise added is no law that is known in closed form")

    # Values -------------------------------------------------------------------------------------------------------

    def log_density(self, x: ArrayLike) -> Any:
        """Log density up to a constant at points of shape (..., dim), of shape (...)."""
        self._refuse_missing("log_density", "log density")
        symbols = state_symbols(self.dim)
        return self._values((self.density.log_density(symbols),), symbols, x)[..., 0][()]

    def score(self, x: ArrayLike) -> np.ndarray:
        """Gradient of the log density at points of shape (..., dim), of that shape."""
        self._refuse_missing("score", "score")
        symbols = state_symbols(self.dim)
        return self._values(self.density.score(symbols), symbols, x)

    # Of -log p(x) = f(x) + g(D x) ---------------------------------------------------------------------------------

    def smooth_score(self, x: ArrayLike) -> np.ndarray:
        """-grad f at points of shape (..., dim), of that shape, of a target in two parts, f(x) + g(D x)."""
        self._refuse_missing("smooth_score", "smooth part")
        symbols = state_symbols(self.dim)
        return self._values(self.density.smooth_score(symbols), symbols, x)

    def prox(self, v: ArrayLike, scale: float) -> np.ndarray:
        """The u that makes g(u) + |u - v|^2 / (2 scale) least, for v of shape (..., dim), where D is the identity."""
        self._refuse_missing("prox", "proximal map")
        symbols = state_symbols(self.dim)
        return self._values(self.density.prox(symbols, symbol("scale")), symbols, v, "v", scale)

    def dual_prox(self, v: ArrayLike, scale: float) -> np.ndarray:
        """The u that makes g*(u) + |u - v|^2 / (2 scale) least, for v of shape (..., dual_dim), g* the conjugate."""
        self._refuse_missing("dual_prox", "proximal map")
        symbols = state_symbols(self.density.dual_dim)
        return self._values(self.density.dual_prox(symbols, symbol("scale")), symbols, v, "v", scale)

    def _refuse_missing(self, what: str, called: str) -> None:
        if not self.density.has(what):
            raise AttributeError(f"{self!r} has no {called} that is known")

    def _values(
        self, outputs: Vector, symbols: Vector, x: ArrayLike, name: str = "x", scale: float | None = None
    ) -> np.ndarray:
        """Expressions in symbols, and in the scale of a proximal map, at points."""
        points, n = checks.array(name, x), len(symbols)
        if points.ndim == 0 and n == 1:
            points = points.reshape(1)
        if points.ndim == 0 or points.shape[-1] != n:
            raise ValueError(f"{name} must have shape (..., {n}), got {points.shape}")
        values: dict[Expr, Any] = {symbol(name): value for name, value in self.parameters.items()}
        values |= {s: points[..., i] for i, s in enumerate(symbols)}
        if scale is not None:
            values[symbol("scale")] = checks.real("scale", scale, positive=True)
        known: dict[Expr, Any] = {}
        found = [np.broadcast_to(evaluate(e, values, known), points.shape[:-1]) for e in outputs]
        return np.stack(found, axis=-1).astype(float)

    def check_start(self, x0: np.ndarray) -> None:
        """ValueError if a start, of shape (n, dim), has no density there."""
        if not self.density.has("log_density"):
            return
        value = np.atleast_1d(self.log_density(x0))
        wrong = ~np.isfinite(value)
        if wrong.any():
            i = int(np.argmax(wrong))
            which = f" of chain {i}" if len(x0) > 1 else ""
            what = "undefined" if np.isnan(value[i]) else "infinite" if value[i] > 0 else "0"
            raise ValueError(f"x0{which} is {x0[i].tolist()}, where the density is {what}")


def _shown(value: Any) -> str:
    """A value in a line: of an array its numbers if they are few, else its shape."""
    if not isinstance(value, np.ndarray):
        return repr(value)
    return str(value.tolist()) if value.size <= 4 else f"<of shape {value.shape}>"


def comparable(value: Any) -> Any:
    """A value as something that can be compared and hashed."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return tuple(map(comparable, value))
    return value


def put(target: Any, **values: Any) -> None:
    """Set fields of a frozen data class to checked values."""
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        object.__setattr__(target, name, value)


def vector(name: str, value: Any) -> np.ndarray:
    """A vector, or a number as one of length 1."""
    given = checks.array(name, value)
    if given.ndim == 0:
        given = given.reshape(1)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"{name} must be a vector, of shape (dim,), got shape {given.shape}")
    return given


def positive_definite(name: str, value: Any, dim: int) -> np.ndarray:
    """A positive definite matrix from a number (that times the identity), a diagonal (dim,), or a matrix (dim, dim)."""
    given = checks.array(name, value)
    if given.ndim == 0:
        matrix = np.eye(dim) * given
    elif given.shape == (dim,):
        matrix = np.diag(given)
    elif given.shape == (dim, dim):
        matrix = given
    else:
        raise ValueError(f"{name} must be a number, or of shape ({dim},) or ({dim}, {dim}), got {given.shape}")
    if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=1e-14 * np.abs(matrix).max()):
        raise ValueError(f"{name} must be symmetric")
    least = np.linalg.eigvalsh(matrix)[0]
    if not least > 0:
        raise ValueError(f"{name} must be positive definite, its least eigenvalue is {least:g}")
    return np.asarray((matrix + matrix.T) / 2)


def as_vector(what: str, value: Any, dim: int) -> Vector:
    """What a user's function gave, if it is ``dim`` numbers."""
    values: Sequence[Any] = value if isinstance(value, tuple) else (value,)
    if len(values) != dim or any(isinstance(v, tuple) for v in values):
        raise ValueError(f"{what} must return {dim} number{'s' * (dim > 1)}, got {len(values)}")
    return tuple(values)
