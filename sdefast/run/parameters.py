"""Parameters of users' functions that are arrays: a number for every path, or a table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from .. import checks
from ..lazy import cached_property
from . import options
from .records import Recorded


@dataclass(frozen=True, eq=False)
class Array(Recorded):
    """The values of a parameter, one per path or those of a table; None where they are no matter.

    Of a parameter that differs between paths ``first`` is the first path's value, for what can only look at one.
    """

    values: np.ndarray | None
    is_table: bool = False
    first: float = 0.0

    @classmethod
    def of(cls, name: str, values: Any) -> Array:
        """That of checked values, which are copied."""
        numbers = checks.array(name, values)
        if numbers.ndim != 1 or not len(numbers):
            raise ValueError(
                f"{name} must be a number, of shape (n_paths,), or a table of one dimension, got shape "
                f"{numbers.shape}: a table of every path's own is one long table, its values ravelled, and a parameter "
                "of shape (n_paths,) that says where in it the path's begins, as in p.table[p.first + k]"
            )
        numbers.setflags(write=False)
        return cls(numbers, first=float(numbers[0]))

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        values = None if self.values is None else hashlib.blake2b(self.values.tobytes(), digest_size=16).digest()
        return self.is_table, values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        if self.values is None:
            return "<one per path>"
        return f"<{len(self.values):,} values, {'a table' if self.is_table else 'one per path'}>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def _no_number(self, *others: Any) -> NoReturn:
        raise TypeError(
            "a parameter that differs between paths has no one value here: ask a model with the parameters of one path"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _no_number
    __pow__ = __rpow__ = __neg__ = __abs__ = __float__ = __lt__ = __le__ = __gt__ = __ge__ = _no_number
    __array_ufunc__ = None

    @property
    def of_any_path(self) -> Array:
        """Without the values of paths."""
        return self if self.is_table else replace(self, values=None)

    def joined(self, others: list[Array]) -> Array:
        """Those of neighbouring ranges of paths, of which this is the first."""
        parts = [part.values for part in (self, *others) if part.values is not None]
        return self if self.is_table or not parts else replace(self, values=np.concatenate(parts))


def parameters(params: Any) -> dict[str, Any]:
    """Parameters of users' functions: a mapping of names to numbers or arrays."""
    if not isinstance(params, Mapping):
        return options.parameters(params)
    arrays = {name: value for name, value in params.items() if isinstance(value, Array) or is_array(value)}
    numbers = options.parameters({name: 0.0 if name in arrays else value for name, value in params.items()})
    found = {
        name: value if isinstance(value, Array) else Array.of(f"params[{name!r}]", value)
        for name, value in arrays.items()
    }
    return {**numbers, **found}


def is_array(value: Any) -> bool:
    """Whether a parameter is more than one number."""
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0


def per_path(params: Mapping[str, Any]) -> dict[str, Array]:
    """The parameters that differ between paths."""
    return {name: value for name, value in params.items() if isinstance(value, Array) and not value.is_table}


def first_numbers(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are numbers, and the first path's of those that differ between paths."""
    tables = {name for name, value in params.items() if isinstance(value, Array) and value.is_table}
    return {
        name: value.first if isinstance(value, Array) else value for name, value in params.items() if name not in tables
    }


def refuse_other_lengths(params: Mapping[str, Any], n: int) -> None:
    """ValueError where a parameter does not have a value for each of ``n`` paths."""
    for name, value in per_path(params).items():
        if value.values is not None and len(value.values) != n:
            raise ValueError(
                f"params[{name!r}] must be a number or of shape (n_paths,) = ({n},), got shape ({len(value.values)},)"
            )
