"""Targets that users write."""

from __future__ import annotations

import inspect
from collections import namedtuple
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ... import _core, checks
from ...lazy import cached_property
from ...run import options
from ...trace import Replayed, symbol, trace
from .base import BaseTarget, as_vector
from .density import Density, Vector, state_symbols


class Target(BaseTarget):
    r"""A density in scalar Python code.

    Parameters
    ----------
    log_density : callable, optional
        ``log_density(x)`` or ``log_density(x, p)``: the logarithm of the density, up to a constant, of the state as a
        tuple of ``dim`` numbers and of the parameters as a named tuple. Plain scalar Python, as for `sdefast.SDE`;
        ``-math.inf`` where the density is 0. Sums over data are `sdefast.math.sum`.
    score : callable, optional
        ``score(x)`` or ``score(x, p)``: the gradient of the log density, ``dim`` numbers; derived from ``log_density``
        by automatic differentiation if it is not given.
    dim : int
        Number of components of the state.
    params : mapping of str to float
        Parameters. Other values run the same compiled code; numbers that a function closes over are compiled in.

    Raises
    ------
    TypeError
        If neither function is given, one has the wrong number of arguments or cannot be compiled: the message shows its
        line.
    ValueError
        If a function returns the wrong number of values, or an argument is out of range.

    Examples
    --------
    >>> import sdefast as sf
    >>> double_well = sf.targets.Target(log_density=lambda x, p: -p.a * (x[0] ** 2 - 1) ** 2, params={"a": 2.0})
    >>> double_well.score([0.5])
    array([3.])
    """

    def __init__(
        self,
        log_density: Callable[..., Any] | None = None,
        score: Callable[..., Any] | None = None,
        dim: int = 1,
        params: Mapping[str, float] | None = None,
    ) -> None:
        if log_density is None and score is None:
            raise TypeError("a target needs log_density or score")
        for name, function in (("log_density", log_density), ("score", score)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function of (x) or (x, p), got {checks.shown(function)}")
        self._log_density, self._score = log_density, score
        self._dim = checks.count("dim", dim, most=_core.largest_dim)
        self.params: Mapping[str, float] = MappingProxyType(options.parameters(params))
        self.density  # noqa: B018  errors in the functions are raised here and now

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return self._dim

    @property
    def parameters(self) -> dict[str, float]:
        """Names of the parameters' symbols, and the parameters."""
        return {f"p_{name}": value for name, value in self.params.items()}

    @cached_property
    def density(self) -> Density:
        """What methods see."""
        value, score = self._traced("log_density", self._log_density), self._traced("score", self._score)
        return Density(self.dim, None if value is None else value[0], score)

    def _traced(self, name: str, function: Callable[..., Any] | None) -> Vector | None:
        if function is None:
            return None
        takes_parameters = _takes_parameters(name, function)
        p = namedtuple("Parameters", self.params)(*map(symbol, self.parameters))
        arguments = (state_symbols(self.dim), p) if takes_parameters else (state_symbols(self.dim),)
        return as_vector(name, trace(function, *arguments, what=name), self.dim if name == "score" else 1)

    # What it is, for comparison, files and other processes --------------------------------------------------------

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        """Equal for targets that compute the same, whichever functions say so."""
        density, x = self.density, state_symbols(self.dim)
        outputs = (density.log_density(x),) if density.has("log_density") else ()
        return tuple(map(id, (*outputs, *density.score(x)))), self.dim, tuple(self.params.items())

    def __getstate__(self) -> dict[str, Any]:
        """Never used: see `__reduce__`."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Functions travel by value: lambdas too reach another process."""
        import cloudpickle

        return _unpickle, (cloudpickle.dumps((self._log_density, self._score, self.dim, dict(self.params))),)

    def _to_record(self) -> dict[str, Any]:
        """Functions travel as what they compute, which no version of Python need understand."""
        density, x = self.density, state_symbols(self.dim)
        record: dict[str, Any] = {"dim": self.dim, "params": dict(self.params), "log_density": None, "score": None}
        if self._log_density is not None:
            record["log_density"] = self._replayed("log_density", density.log_density(x))
        if self._score is not None:
            record["score"] = self._replayed("score", density.score(x))
        return record

    def _replayed(self, name: str, outputs: Any) -> Replayed:
        inputs = (("x", tuple(str(s.value) for s in state_symbols(self.dim))), ("p", tuple(self.parameters)))
        return Replayed(name, inputs, outputs)

    def __repr__(self) -> str:
        function = self._score if self._log_density is None else self._log_density
        given = "".join(f", {name}={value:g}" for name, value in self.params.items())
        return f"Target({getattr(function, '__name__', type(function).__name__)}, dim={self.dim}{given})"


def _unpickle(data: bytes) -> Target:
    import cloudpickle

    return Target(*cloudpickle.loads(data))


def _takes_parameters(name: str, function: Callable[..., Any]) -> bool:
    """Whether a function takes (x, p) rather than (x)."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    for arguments, answer in (("x, p", True), ("x", False)):
        try:
            signature.bind(*arguments.split(", "))
        except TypeError:
            continue
        return answer
    raise TypeError(f"{name} must be a function of (x) or (x, p), got one of {signature}")
