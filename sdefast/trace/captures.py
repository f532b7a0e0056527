"""What a traced function depends on besides its arguments."""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np

from .tracing import AS_THEY_ARE, names_in

#: objects that `captured` looks into; others count by identity
_MOST_CAPTURED = 200

#: bytes of an array from which on it counts by a digest
_MOST_BYTES = 2**16


def captured(value: Any, seen: dict[int, tuple[int, Any]] | None = None) -> Any:
    """What a traced function depends on besides its arguments, as something that can be compared and hashed.

    Numbers, arrays and tables count by value (long ones by a digest of it), also those in the functions and objects
    that it refers to: when one of them has changed, the function has to be traced again.
    """
    seen = {} if seen is None else seen
    if value is None or isinstance(value, (int, float, str, np.generic)):
        return type(value).__name__, repr(value)
    if id(value) in seen:
        return "seen", seen[id(value)][0]
    if len(seen) > _MOST_CAPTURED:
        return "object", id(value)
    seen[id(value)] = len(seen), value
    if isinstance(value, np.ndarray) and value.dtype != object:
        import hashlib

        data = value.tobytes()
        short = data if len(data) <= _MOST_BYTES else hashlib.blake2b(data, digest_size=16).digest()
        return value.shape, value.dtype.str, short
    if hasattr(value, "to_numpy") and hasattr(value, "columns"):
        return "table", tuple(map(str, value.columns)), captured(value.to_numpy(), seen)
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value).__name__, tuple(captured(v, seen) for v in value)
    if isinstance(value, dict):
        return "dict", tuple((captured(k, seen), captured(v, seen)) for k, v in value.items())
    if isinstance(value, functools.partial):
        return "partial", *(captured(part, seen) for part in (value.func, value.args, value.keywords))
    if isinstance(value, types.MethodType):
        return "method", captured(value.__func__, seen), captured(value.__self__, seen)
    value = getattr(value, "__wrapped__", value) if isinstance(value, functools._lru_cache_wrapper) else value
    function = getattr(value, "py_func", value)
    if isinstance(function, types.FunctionType):
        return _captured_by(function, seen)
    if isinstance(value, (type, types.ModuleType)) or not hasattr(value, "__dict__"):
        return "object", id(value)
    return type(value), captured(vars(value), seen)


def _captured_by(function: types.FunctionType, seen: dict[int, tuple[int, Any]]) -> Any:
    names = sorted(names_in(function.__code__))
    space = function.__globals__
    parts = [function.__defaults__, function.__kwdefaults__, *(space[name] for name in names if name in space)]
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:  # an empty cell: a name that is not bound yet
            parts.append("empty")
    modules = [part for part in parts if isinstance(part, types.ModuleType) and part.__name__ not in AS_THEY_ARE]
    parts += [vars(module)[name] for module in modules for name in names if name in vars(module)]
    return "function", function.__code__, tuple(captured(part, seen) for part in parts)
