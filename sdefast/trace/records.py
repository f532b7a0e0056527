"""Functions that replay expressions, and expressions as plain lists: what a user's function computes outlives it.

In a list of operations every one comes after what it works on: ``["symbol", "x0"]``, ``["constant", 0.5]``,
``["mul", 0, 1]``. A sum over rows, ``["sum", 1, body, 0]``, comes after its table, ``["table", array]``, which may be
long and is no list, and what its terms take from outside; the body is a list like this one and the place of the term in
it. What is looked up, ``["element", 1, 0]``, comes after its table and its place there.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluate import evaluate, substitute
from .expression import Expr, as_expr, constant, node, remade, symbol
from .lookups import LOOKUPS
from .operations import FUNCTIONS
from .sums import sum_again
from .table import Table
from .walk import all_parts

#: operations of two numbers, of one, and all that users' functions are made of
_TWO = ("add", "sub", "mul", "div", "pow", "min", "max", "lt", "le", "eq", "and", "or", "atan2", "hypot")
_ONE = (*FUNCTIONS, "exp_moderate", "neg", "not", "held")
_ARITY = dict.fromkeys(_ONE, 1) | dict.fromkeys((*_TWO, "raised"), 2) | {"select": 3}

#: a symbol's name, or names of what a tuple holds
Names = str | tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Replayed:
    """A function that computes known expressions of its arguments.

    ``inputs`` are the arguments' names with the symbols that stand for them in ``outputs``, an expression or (nested)
    tuples of them. Called with expressions it gives expressions; called with numbers or arrays, what numpy makes of
    them, in float64.
    """

    name: str
    inputs: tuple[tuple[str, Names], ...]
    outputs: Any

    def __post_init__(self) -> None:
        known = {name for _, names in self.inputs for name in ((names,) if isinstance(names, str) else names)}
        for part in all_parts(_flat(self.outputs)):
            if part.op == "symbol" and part.value not in known:
                raise ValueError(f"{self.name} uses {part.value!r}, which is none of its arguments")

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def __signature__(self) -> inspect.Signature:
        kind = inspect.Parameter.POSITIONAL_ONLY
        return inspect.Signature([inspect.Parameter(name, kind) for name, _ in self.inputs])

    def __call__(self, *args: Any) -> Any:
        """What the function computes."""
        names = [name for name, _ in self.inputs]
        if len(args) != len(names):
            raise TypeError(f"{self.name} takes ({', '.join(names)}), got {len(args)} arguments")
        values: dict[Expr, Any] = {}
        for (_, inside), arg in zip(self.inputs, args, strict=True):
            pairs = [(inside, arg)] if isinstance(inside, str) else zip(inside, arg, strict=True)
            values |= {symbol(name): value for name, value in pairs}
        known: dict[Expr, Any] = {}
        if any(isinstance(value, Expr) for value in values.values()):
            exprs = {name: as_expr(value) for name, value in values.items()}
            return _mapped(lambda e: substitute(e, exprs, known), self.outputs)
        return _mapped(lambda e: np.asarray(evaluate(e, values, known))[()], self.outputs)

    def _key(self) -> tuple[Any, ...]:
        return self.inputs, _mapped(id, self.outputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replayed) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        n = sum(bool(part.args) for part in all_parts(_flat(self.outputs)))
        return f"<{self.name}({', '.join(name for name, _ in self.inputs)}), replayed from its {n} operations>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Replayed._from_record, (self._to_record(),)

    def _to_record(self) -> dict[str, Any]:
        """As plain lists."""
        return {"name": self.name, "inputs": self.inputs, **listed(self.outputs)}

    @classmethod
    def _from_record(cls, record: Mapping[str, Any]) -> Replayed:
        inputs = tuple((name, names if isinstance(names, str) else tuple(names)) for name, names in record["inputs"])
        return cls(record["name"], inputs, rebuilt(record["operations"], record["outputs"]))


def listed(outputs: Any) -> dict[str, Any]:
    """Expressions, or nested tuples of them, as a list of operations and the places of the outputs in it."""
    places: dict[Expr, int] = {}
    tables: dict[str, int] = {}
    operations: list[list[Any]] = []
    for part in all_parts(_flat(outputs)):
        table = part.value.table if part.op == "sum" else part.value if part.op in LOOKUPS else None
        if table is not None and table.digest not in tables:
            tables[table.digest] = len(operations)
            operations.append(["table", table.values])
        places[part] = len(operations)
        if table is not None and part.op in LOOKUPS:
            operations.append([part.op, tables[table.digest], places[part.args[0]]])
        elif table is not None:
            body = listed(part.value.body)
            at = [body["operations"], body["outputs"]]
            operations.append(["sum", tables[table.digest], at, *(places[a] for a in part.args)])
        elif part.args:
            operations.append([part.op, *(places[a] for a in part.args)])
        else:
            finite = not isinstance(part.value, float) or math.isfinite(part.value)
            operations.append([part.op, part.value if finite else repr(part.value)])
    return {"operations": operations, "outputs": _mapped(places.__getitem__, outputs)}


def rebuilt(operations: Sequence[Sequence[Any]], outputs: Any) -> Any:
    """The expressions of which `listed` made the lists; ValueError for what it cannot have made."""
    parts: list[Any] = []
    for op, *of in operations:
        places = of[2:] if op == "sum" else of[1:] if op in LOOKUPS else of
        known = all(type(i) is int and 0 <= i < len(parts) and isinstance(parts[i], Expr) for i in places)
        if op == "table" and len(of) == 1:
            parts.append(_table(of[0], len(parts)))
        elif op == "sum" and known and places and _is_sum(of, parts):
            parts.append(sum_again(parts[of[0]], rebuilt(*of[1]), [parts[i] for i in places]))
        elif op in LOOKUPS and known and len(places) == 1 and _is_table(of[0], parts):
            parts.append(remade(op, [parts[places[0]]], parts[of[0]]))
        elif op == "dot" and known and len(of) % 2 == 0 and of:
            parts.append(node("dot", tuple(parts[i] for i in of)))
        elif op == "symbol" and len(of) == 1 and isinstance(of[0], str):
            parts.append(symbol(of[0]))
        elif op == "constant" and len(of) == 1 and isinstance(of[0], (bool, int, float, str)):
            parts.append(constant(float(of[0]) if isinstance(of[0], str) else of[0]))
        elif len(of) == _ARITY.get(op) and known:
            parts.append(remade(op, [parts[i] for i in of]))
        else:
            raise ValueError(f"operation {len(parts)} cannot be {[op, *of]!r}")
    return _mapped(dict(enumerate(parts)).__getitem__, outputs)


def _table(values: Any, place: int) -> Table:
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"operation {place} is no table of numbers")
    return Table.of(array)


def _is_sum(of: Sequence[Any], parts: Sequence[Any]) -> bool:
    """Whether a table and a body come first."""
    place, body = of[0], of[1]
    has_table = _is_table(place, parts)
    has_body = isinstance(body, (list, tuple)) and len(body) == 2 and type(body[1]) is int
    return has_table and has_body and 0 <= body[1] < len(body[0])


def _is_table(place: Any, parts: Sequence[Any]) -> bool:
    return type(place) is int and 0 <= place < len(parts) and isinstance(parts[place], Table)


def _flat(outputs: Any) -> list[Expr]:
    return [outputs] if not isinstance(outputs, tuple) else [e for part in outputs for e in _flat(part)]


def _mapped(function: Callable[[Any], Any], outputs: Any) -> Any:
    """A function of every part of nested tuples, or lists, as tuples."""
    if isinstance(outputs, (tuple, list)):
        return tuple(_mapped(function, part) for part in outputs)
    return function(outputs)
