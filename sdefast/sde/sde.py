"""SDEs that users write."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from .. import _core, checks
from ..lazy import cached_property
from ..run import parameters
from ..trace import (
    Expr,
    Replayed,
    TraceError,
    argument_order,
    as_function,
    call_with,
    constant,
    depends_on,
    symbols_in,
)
from ..trace.lookups import noting_tables
from . import correlations
from .jumps import Jumps
from .models.base import Model
from .schemes.equation import (
    Equation,
    Matrix,
    Vector,
    named_tuple,
    parameter_symbol,
    plainly_named,
    replayed_inputs,
    seen_parameter,
    state_symbols,
    time_symbol,
)

NOISES = ("additive", "diagonal", "general", "scalar")
CALCULI = ("ito", "stratonovich")
_MOST_COMPONENTS = _core.largest_dim


@dataclass(frozen=True, eq=False)
class SDE(Model):
    r"""A stochastic differential equation :math:`dX = a(t, X)\,dt + b(t, X)\,dW` in scalar Python code.

    Parameters
    ----------
    drift : callable
        ``drift(t, x, p)``: the time, the state as a tuple of ``dim`` numbers, the parameters as a named tuple; returns
        ``dim`` numbers (a single number will do where ``dim`` is 1). Plain scalar Python: operators, branches, loops
        of known length, helper functions, closures over numbers, functions of `math`, `numpy` or `sdefast.math`.
        ``p`` may be left out. In ``drift(x, t)`` the names say that the state comes first.
        Tables are read by ``numpy.interp(t, knots, values)``, at the place ``numpy.searchsorted(knots, t)``, or with an
        index of an array that is made outside, ``values[int(t)]``, of which those out of range count as the ends.
    diffusion : callable
        ``diffusion(t, x, p)``: with diagonal noise the ``dim`` entries of the diagonal; with scalar noise the ``dim``
        factors of the one Brownian motion; with general noise ``dim`` rows of ``noise_dim`` numbers; with additive
        noise either of the first or the last.
    dim : int
        Number of components of the state, up to 8192.
    noise : {"diagonal", "scalar", "general", "additive"}
        The kind of noise. Additive noise does not depend on the state, which is checked.
    noise_dim : int, optional
        Number of independent Brownian motions, needed for general noise. Afterwards the number of those that are drawn:
        with diagonal noise a component whose entry is always zero has none.
    params : mapping of str to float or array_like
        Parameters. Other values run the same compiled code; numbers that a function closes over are compiled in. An
        array of shape (n_paths,) is a parameter of which every path has its own value; one that the functions index,
        or look up in by `numpy.interp` or `numpy.searchsorted`, is a table, of any length.
    calculus : {"ito", "stratonovich"}
        How the equation is to be read; schemes that read it otherwise convert the drift.
    diffusion_derivative : callable, optional
        ``diffusion_derivative(t, x, p)``: for diagonal noise, or scalar noise in one dimension, the ``dim`` numbers
        d b_i / d x_i; by default derived from ``diffusion`` by automatic differentiation.
    linear : array_like of shape (dim,) or (dim, dim), optional
        Linear part of the drift (rates, or a matrix), which ``method="exponential-euler"`` treats exactly. ``drift``
        is the whole drift all the same. Of a drift that is linear in the state with constant coefficients it is known.
    correlation : array_like of shape (dim, dim), optional
        Correlations of the Brownian motions of diagonal noise, positive semidefinite with ones on its diagonal. The
        noise is then general, with the matrix diag(b) L, L L' = correlation (Glasserman, Monte Carlo Methods in
        Financial Engineering, 2004, section 3.2.3); other correlations run the same compiled code.
    jumps : Jumps, optional
        What else moves the state, see `sdefast.jumps`.

    Raises
    ------
    TypeError
        If a function has the wrong number of arguments, or cannot be compiled: the message shows its line.
    ValueError
        If a function returns the wrong number of values, or an argument is out of range.

    Examples
    --------
    >>> import math
    >>> import sdefast as sf
    >>> pendulum = sf.SDE(drift=lambda t, x, p: (x[1], -math.sin(x[0])), diffusion=lambda t, x, p: (0.0, p.s),
    ...                   dim=2, noise="diagonal", params={"s": 0.1})
    >>> sf.simulate(pendulum, x0=(1.0, 0.0), t1=1.0, n_steps=100, n_paths=1000, seed=1).mean.shape
    (1, 2)
    """

    drift: Callable[..., Any]
    diffusion: Callable[..., Any]
    dim: int = 1
    noise: str = "diagonal"
    noise_dim: int | None = None  # type: ignore[assignment]
    params: Mapping[str, Any] | None = None
    calculus: str = "ito"
    diffusion_derivative: Callable[..., Any] | None = None
    linear: Any = None
    correlation: Any = None
    jumps: Jumps | None = None

    schemes: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:

        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("dim", checks.count("dim", self.dim, most=_MOST_COMPONENTS))
        put("noise", checks.choice("noise", self.noise, NOISES))
        put("calculus", checks.choice("calculus", self.calculus, CALCULI))
        put("params", parameters.parameters(self.params))
        _check_function("drift", self.drift)
        _check_function("diffusion", self.diffusion)
        put("noise_dim", self._count_noises())
        if self.correlation is not None:
            put("correlation", self._checked_correlation())
            put("noise", "general")
        if self.linear is not None:
            put("linear", _checked_linear(self.linear, self.dim))
        if self.diffusion_derivative is not None:
            _check_function("diffusion_derivative", self.diffusion_derivative)
            if self.noise != "diagonal" and not (self.noise == "scalar" and self.dim == 1):
                raise ValueError("diffusion_derivative is for diagonal noise, or for scalar noise in one dimension")
        with noting_tables() as tables:
            put("noise_dim", self.equation.noise_dim)  # errors in the functions are raised here and now
            self._traced_jumps()
        put("params", {name: self._as_used(name, value, tables) for name, value in self.parameters().items()})
        put("jumps", self._traced_jumps())

    def _traced_jumps(self) -> Jumps | None:
        """The jumps with their functions traced."""
        if self.jumps is None:
            return None
        if not isinstance(self.jumps, Jumps):
            raise TypeError(f"jumps must be one of sdefast.jumps, got {checks.shown(self.jumps)}")
        own = [parameter_symbol(name) for name in parameters.per_path(self.parameters())]
        return self.jumps.of(self.dim, self.parameter_tuple(), own)

    def _as_used(self, name: str, value: Any, tables: set[str]) -> Any:
        """A parameter as a table if a coefficient reads it as one."""
        symbol, e = parameter_symbol(name), self.equation
        if symbol.value not in tables:
            return value
        if symbol.value in symbols_in((*e.drift(e.t, e.x), *(b for row in e.diffusion(e.t, e.x) for b in row))):
            raise TypeError(f"params[{name!r}] is used as a table and as a number of the path: give it two names")
        return replace(value, is_table=True)

    def _checked_correlation(self) -> np.ndarray:
        if self.noise != "diagonal":
            raise ValueError(f"correlation is for noise='diagonal', got noise={self.noise!r}")
        if self.diffusion_derivative is not None:
            raise ValueError("diffusion_derivative is for noise without correlation")
        return correlations.checked("correlation", self.correlation, self.dim)

    def _count_noises(self) -> int:
        if self.noise_dim is not None:
            n = checks.count("noise_dim", self.noise_dim, most=_MOST_COMPONENTS)
        elif self.noise == "general":
            raise TypeError("noise='general' needs noise_dim, the number of Brownian motions")
        else:
            n = 1 if self.noise == "scalar" else self.dim
        if self.noise == "diagonal" and n != self.dim:
            raise ValueError(f"noise='diagonal' has as many noises as components, {self.dim}, got noise_dim={n}")
        if self.noise == "scalar" and n != 1:
            raise ValueError(f"noise='scalar' has one noise, got noise_dim={n}")
        return n

    def __repr__(self) -> str:
        given = "".join(f", {name}={value:g}" for name, value in (self.params or {}).items())
        given += "" if self.jumps is None else f", jumps={self.jumps!r}"
        return f"SDE({_name(self.drift)}, {_name(self.diffusion)}, dim={self.dim}, noise={self.noise!r}{given})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SDE) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        """Equal for SDEs that compute the same, whichever functions say so."""
        e = self.equation
        linear = None if self.linear is None else (self.linear.shape, self.linear.tobytes())
        values = tuple(self.parameters().items())
        return (e.identity, self.noise, self.calculus, values, linear, self.jumps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Functions travel by value: lambdas too reach another process."""
        import cloudpickle

        return _unpickle, (cloudpickle.dumps(self._given()),)

    def _given(self) -> dict[str, Any]:
        """The arguments of which it was made."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["noise_dim"] = self.noise_dim if self.noise in ("general", "additive") else None
        return given if self.correlation is None else {**given, "noise": "diagonal", "noise_dim": None}

    def _to_record(self) -> dict[str, Any]:
        """Functions travel as what they compute, which no version of Python need understand."""
        e = self.equation
        b = e.diffusion(e.t, e.x)
        entries: Any = b
        if self.noise == "scalar":
            entries = tuple(row[0] for row in b)
        elif self.noise == "diagonal":
            entries = tuple(_entry(i, row) for i, row in enumerate(b))
        given = {**self._given(), "noise": self.noise, "correlation": None}
        if self.correlation is not None:
            given["noise_dim"] = self.noise_dim
        given["drift"] = self._replayed(self.drift, e.drift(e.t, e.x))
        given["diffusion"] = self._replayed(self.diffusion, entries)
        if e.known_slope is not None:
            slope = tuple(row[i] for i, row in enumerate(e.known_slope))
            given["diffusion_derivative"] = self._replayed(self.diffusion_derivative, slope)
        return given

    def _replayed(self, function: Any, outputs: Any) -> Replayed:
        inputs = replayed_inputs(self.dim, self.parameter_tuple())
        return Replayed(_name(function), inputs, outputs)

    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return dict(self.params or {})

    def rates(self, t: float, x: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """Drift and strength of the noise of every component at a point."""
        found = self._rates(t, *x, *self.numbers().values())
        return found[: self.dim], [math.sqrt(square) for square in found[self.dim :]]

    @cached_property
    def _rates(self) -> Callable[..., tuple[float, ...]]:
        """The Ito drift and the squared strength of the noise, as a function of time, state and parameters."""
        equation = self.equation.read_as("ito")
        here = equation.t, equation.x
        squares = [sum((e * e for e in row), constant(0)) for row in equation.diffusion(*here)]
        inputs = (equation.t, *equation.x, *map(parameter_symbol, self.numbers()))
        return as_function((*equation.drift(*here), *squares), inputs)

    @property
    def additive_noise(self) -> bool:  # type: ignore[override]
        """Whether the diffusion does not depend on the state."""
        return self.equation.is_additive

    @cached_property
    def equation(self) -> Equation:
        """The coefficients as expressions."""
        t, x = time_symbol(), state_symbols(self.dim)
        p = self.parameter_tuple()
        a = _vector("drift", self._traced("drift", t, x, p), self.dim)
        b = self._matrix(self._traced("diffusion", t, x, p))
        slope = None
        if self.diffusion_derivative is not None:
            traced = self._traced("diffusion_derivative", t, x, p)
            slope = _diagonal(_vector("diffusion_derivative", traced, self.dim))
        if self.noise == "additive":
            moving = [i for i, row in enumerate(b) if any(depends_on(entry, x) for entry in row)]
            if moving:
                raise ValueError(
                    f"noise='additive' says that the diffusion does not depend on the state, but row {moving[0]} does"
                )
        if self.noise == "diagonal" and slope is None:
            b = _without_idle_noises(b)
        return Equation(t, x, a, b, self.noise, self.calculus, slope)

    def _traced(self, what: str, t: Expr, x: Vector, p: Any) -> Any:
        """What a function computes; parameters that differ between paths are symbols like others, whatever values."""
        return plainly_named(call_with(getattr(self, what), what, t, x, p, spare=3), p)

    def parameter_tuple(self) -> tuple[Any, ...]:
        """The parameters as functions see them."""
        given = self.parameters()
        symbols = [seen_parameter(name, value) for name, value in given.items()]
        found: tuple[Any, ...] = named_tuple("Parameters", tuple(given))(*symbols)
        return found

    @property
    def of_any_numbers(self) -> SDE:
        """Itself with other numbers: equal for equations that differ in them alone."""
        numbers = [name for name, value in self.parameters().items() if not isinstance(value, parameters.Array)]
        return self._with_parameters(dict.fromkeys(numbers, 0.0))

    @cached_property
    def of_any_path(self) -> SDE:
        """Itself without the values of the paths' own parameters."""
        if not self.per_path:
            return self
        return self._with_parameters({name: value.of_any_path for name, value in self.per_path.items()})

    def _changed(self, values: Mapping[str, Any]) -> SDE:
        given = parameters.parameters(values)
        if any(isinstance(value, parameters.Array) for value in (*given.values(), *map(self.parameters().get, given))):
            return SDE(**{**self._given(), "params": {**self.parameters(), **given}})
        return self._with_parameters(given)

    def _with_parameters(self, changed: Mapping[str, Any]) -> SDE:
        """The same equation, which need not be traced again, with other values."""
        own = object.__new__(type(self))
        own.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("of_any_path", "per_path")})
        own.__dict__["params"] = {**self.parameters(), **changed}
        return own

    def _matrix(self, b: Any) -> Matrix:
        if self.correlation is not None:
            return correlations.mixed(_vector("diffusion", b, self.dim), self.correlation)
        shaped = isinstance(b, tuple) and any(isinstance(row, tuple) for row in b)
        if self.noise == "diagonal":
            return _diagonal(_vector("diffusion", b, self.dim))
        if self.noise == "scalar":
            return tuple((entry,) for entry in _vector("diffusion", b, self.dim))
        if self.noise == "additive" and not shaped and self.noise_dim == self.dim:
            return _diagonal(_vector("diffusion", b, self.dim))
        rows = b if isinstance(b, tuple) else (b,)
        good = len(rows) == self.dim and all(isinstance(r, tuple) and len(r) == self.noise_dim for r in rows)
        if not good or any(isinstance(entry, tuple) for row in rows for entry in row):
            raise ValueError(f"diffusion must return {self.dim} rows of {self.noise_dim} numbers each, got {_shape(b)}")
        return tuple(tuple(row) for row in rows)


def sde_of(model: Model) -> SDE:
    """A model's equation in scalar Python code: the form that schemes in Python run."""
    if isinstance(model, SDE):
        return model
    given = model.in_python()
    if given["drift"] is not type(model).a:
        return SDE(**given)
    params = given.pop("params")
    numbers = {name: value for name, value in params.items() if not isinstance(value, parameters.Array)}
    arrays = {name: value for name, value in params.items() if name not in numbers}
    alike = _traced_once(tuple(given.items()), tuple(params))
    return alike._with_parameters({**params, **parameters.parameters(numbers), **arrays})


@lru_cache(maxsize=256)
def _traced_once(given: tuple[tuple[str, Any], ...], names: tuple[str, ...]) -> SDE:
    """The equation of models that differ in their parameters' values alone."""
    return SDE(**dict(given), params=dict.fromkeys(names, 0.0))


def _unpickle(data: bytes) -> SDE:
    import cloudpickle

    return SDE(**cloudpickle.loads(data))


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _check_function(name: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be a function of (t, x) or (t, x, p), got {function!r}")
    argument_order(name, function, 3, spare=3)


def _checked_linear(linear: Any, dim: int) -> np.ndarray:
    matrix = checks.array("linear", linear)
    if matrix.shape not in ((dim,), (dim, dim)) and not (dim == 1 and matrix.ndim == 0):
        raise ValueError(f"linear must have shape ({dim},) or ({dim}, {dim}), got {matrix.shape}")
    matrix = matrix.reshape(1) if matrix.ndim == 0 else matrix
    return np.diag(matrix) if matrix.ndim == 1 else matrix


def _vector(name: str, value: Any, length: int) -> Vector:
    if length == 1 and isinstance(value, Expr):
        value = (value,)
    if not isinstance(value, tuple) or len(value) != length or any(isinstance(v, tuple) for v in value):
        raise ValueError(f"{name} must return {length} number{'s' * (length > 1)}, got {_shape(value)}")
    return value


def _diagonal(entries: Vector) -> Matrix:
    zero = constant(0)
    return tuple(tuple(e if i == j else zero for j in range(len(entries))) for i, e in enumerate(entries))


def _entry(i: int, row: Vector) -> Expr:
    """The diagonal entry in row i of a diagonal matrix, of which columns of zeros may be missing."""
    return next((e for e in row if not e.is_constant(0)), row[i] if i < len(row) else constant(0))


def _without_idle_noises(b: Matrix) -> Matrix:
    """The columns of noises that act on something; at least one."""
    acting = [column for column in zip(*b, strict=True) if not all(entry.is_constant(0) for entry in column)]
    return tuple(zip(*(acting or [next(zip(*b, strict=True))]), strict=True))


def _shape(value: Any) -> str:
    if isinstance(value, Expr):
        return "one number"
    if any(isinstance(row, tuple) for row in value):
        return "rows of " + ", ".join(str(len(r)) if isinstance(r, tuple) else "1" for r in value) + " numbers"
    return f"{len(value)} numbers"


__all__ = ["SDE", "TraceError"]
