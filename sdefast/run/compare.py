"""Telling whether two calls ask for the same: settings by name and value, and what is run by digests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..engine.tiles import Tile
from .archive import pieces

#: Differences that are named at most, letters of a value that are shown, numbers of an array that are compared singly.
_NAMED, _SHOWN, _FEW = 4, 60, 8

#: JSON's plain values.
Plain = Any


def flat(value: Any, name: str = "") -> dict[str, Plain]:
    """Everything that a value is made of, by name, as plain values that JSON knows.

    Functions are left out: what they compute is in the kernels, see `fingerprint`.
    """
    if isinstance(value, Mapping):
        return _flat_parts(value, name)
    if callable(value):
        return {}
    if isinstance(value, np.ndarray) and value.size <= _FEW:
        return {name: value.tolist()}
    parts = _made_of(value)
    if parts is not None:
        kind = {} if isinstance(value, (list, tuple)) else {name or "kind": type(value).__name__}
        return kind | _flat_parts(parts, name)
    return {name: _plain(value)}


def _flat_parts(parts: Mapping[str, Any], name: str) -> dict[str, Plain]:
    flattened: dict[str, Plain] = {}
    for key, part in parts.items():
        flattened |= flat(part, f"{name}.{key}" if name else str(key))
    return flattened


def _made_of(value: Any) -> dict[str, Any] | None:
    """Parts of data classes, tuples and lists."""
    if hasattr(value, "_asdict"):  # a named tuple
        return dict(value._asdict())
    if is_dataclass(value) and not isinstance(value, type) and not callable(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return {"length": len(value), **{str(i): item for i, item in enumerate(value)}}
    return None


def _plain(value: Any) -> Plain:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} {digest(value)[:16]}"
    return repr(value)


def fingerprint(tile: Tile) -> dict[str, str]:
    """Digests of all that decides what a tile gives: its kernels' sources, coefficients, starts, ..."""
    return {field.name: digest(getattr(tile, field.name)) for field in fields(tile)}


def digest(value: Any) -> str:
    """Of a value, in hexadecimal digits."""
    import hashlib

    made = hashlib.sha256()
    _add(made, value)
    return made.hexdigest()


def _add(made: Any, value: Any) -> None:
    made.update(f"{type(value).__name__}(".encode())
    if isinstance(value, np.ndarray):
        made.update(f"{value.dtype.str}{value.shape}".encode())
        for piece in pieces(value):
            made.update(piece.tobytes())
    elif (parts := _made_of(value)) is not None:
        for name, part in parts.items():
            made.update(f"{name}=".encode())
            _add(made, part)
    elif value is None or isinstance(value, (bool, int, float, str, np.generic)):
        made.update(repr(value).encode())
    else:
        raise TypeError(f"what cannot be told from others has no checkpoint: {value!r}")
    made.update(b")")


def differences(there: Mapping[str, Plain], here: Mapping[str, Plain]) -> str:
    """What differs, in words; nothing if nothing does."""
    missing = object()
    names = [name for name in {**there, **here} if there.get(name, missing) != here.get(name, missing)]
    told = [f"{name} is {_shown(there, name)} there and {_shown(here, name)} here" for name in names[:_NAMED]]
    return ", ".join(told) + (f", and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _shown(values: Mapping[str, Plain], name: str) -> str:
    text = repr(values[name]) if name in values else "nothing"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
