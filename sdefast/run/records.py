"""What travels in files: values as plain JSON and arrays beside it, by the names of their classes.

Numbers, strings, tuples, dictionaries, arrays and the classes that are known here are written, and nothing else; what
is read runs no code but their constructors. A class says what it is made of by `Recorded`, or is registered. Floats are
written so that they come back as they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from ..engine.grid import TimeGrid
from ..engine.statistics import Histogram, Layout
from ..trace import Replayed

#: the arrays of a record, by the names that it has for them
Arrays = dict[str, np.ndarray]

Class = TypeVar("Class", bound=type)

_classes: dict[str, type] = {}


def register(kind: Class) -> Class:
    """Make a class known: a data class or named tuple, or one with ``_to_record`` and ``_from_record``."""
    _classes[name_of(kind)] = kind
    return kind


def name_of(kind: type) -> str:
    """What files call a class: this library's by its wing, wherever in it the class lies."""
    own, _, inside = kind.__module__.partition(".")
    return f"{inside.split('.')[0] if own == 'sdefast' else kind.__module__}.{kind.__qualname__}"


class Recorded:
    """What travels in files, with its subclasses, for data classes to derive from."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        register(cls)

    def _to_record(self) -> dict[str, Any]:
        """What it takes to make it again."""
        return _fields(self)

    @classmethod
    def _from_record(cls, record: dict[str, Any]) -> Any:
        """The value of which that is the record."""
        return cls(**record)


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a data class or named tuple."""
    if isinstance(value, tuple):
        return dict(value._asdict())  # type: ignore[attr-defined]
    if not is_dataclass(value):
        raise TypeError(f"{value!r} cannot be written to a file: its class is no data class")
    return {field.name: getattr(value, field.name) for field in fields(value)}


def write(value: Any, where: str = "") -> tuple[Any, Arrays]:
    """A value as JSON and the arrays that it refers to, whose names begin with ``where``; TypeError if it cannot be."""
    arrays: Arrays = {}
    return _written(value, where, arrays), arrays


def _written(value: Any, where: str, arrays: Arrays) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        arrays[where] = value
        return {"array": where}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    return _written_parts(value, where, arrays)


def _written_parts(value: Any, where: str, arrays: Arrays) -> Any:
    def inside(items: Mapping[Any, Any]) -> dict[Any, Any]:
        names = {key: f"{where}.{str(key).strip('_')}".strip(".") for key in items}
        return {key: _written(item, names[key], arrays) for key, item in items.items()}

    name = name_of(type(value))
    if name in _classes:
        made_of = value._to_record() if hasattr(value, "_to_record") else _fields(value)
        return {"class": name, "fields": inside(made_of)}
    if isinstance(value, (tuple, list)):
        return list(inside(dict(enumerate(value))).values())
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": inside(value)}
    raise TypeError(f"{where or 'this'} cannot be written to a file: {value!r}")


def read(record: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value that was written; an exception of any kind where it was not."""
    if isinstance(record, list):
        return tuple(read(part, arrays) for part in record)
    if not isinstance(record, dict):
        return record
    if "class" in record:
        kind = _classes.get(record["class"])
        if kind is None:
            raise ValueError(f"{record['class']!r} is not known here: import the module that defines it")
        made_of = {name: read(part, arrays) for name, part in record["fields"].items()}
        maker: Any = getattr(kind, "_from_record", None)
        return kind(**made_of) if maker is None else maker(made_of)
    ((what, inside),) = record.items()
    if what == "array":
        return arrays[inside]
    if what == "dtype":
        return np.dtype({"float32": np.float32, "float64": np.float64}[inside])
    return float(inside) if what == "float" else {name: read(part, arrays) for name, part in inside.items()}


for _kind in (TimeGrid, Layout, Histogram, Replayed):
    register(_kind)
