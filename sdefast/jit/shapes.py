"""Expressions that are the same but for the rows, numbers and parameters in them, wherever these lie."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..trace import Expr, all_parts, plain
from .alike import matched


class Shape(NamedTuple):
    """An expression but for its ``leaves``: rows, numbers and parameters, one for each place where they stand."""

    key: Hashable
    leaves: tuple[Expr, ...]


def shape_of(value: Expr, kinds: Mapping[Expr, str]) -> Shape:
    """The shape of an expression; ``kinds`` says of what may differ between members what it is."""
    if value in kinds:
        return Shape(kinds[value], (value,))
    numbers: dict[Expr, int] = {}
    found: list[Hashable] = []
    leaves: list[Expr] = []
    for e in all_parts([value]):
        if e not in kinds:
            found.append((e.op, e.value, *(kinds[a] if a in kinds else numbers[a] for a in e.args)))
            leaves += [a for a in e.args if a in kinds]
            numbers[e] = len(numbers)
    return Shape(tuple(found), tuple(leaves))


def with_leaves(value: Expr, leaves: Iterator[Expr], kinds: Mapping[Expr, str]) -> Expr:
    """The expression with others in place of its leaves."""
    if value in kinds:
        return next(leaves)
    known: dict[Expr, Expr] = {}
    for e in all_parts([value]):
        if e not in kinds:
            args = [next(leaves) if a in kinds else known[a] for a in e.args]
            known[e] = plain(e, args) if args else e
    return known[value]


class Kinds(dict[Expr, str]):
    """What the leaves of expressions are: rows of a letter, numbers (k) and parameters (c), which have their places."""

    def __init__(self, parameters: Sequence[str]) -> None:
        super().__init__()
        self.places = {name: i for i, name in enumerate(parameters)}

    def look_at(self, value: Expr) -> None:
        """Take up the leaves of an expression."""
        for e in all_parts([value]):
            if (match := matched(e)) is not None:
                self[e] = match[1]
            elif e.op == "constant" and not e.is_boolean:
                self[e] = "k"
            elif e.op == "symbol" and e.value in self.places:
                self[e] = "c"

    def number(self, leaf: Expr) -> float | int:
        """What a list holds of a leaf: a number, or where it lies."""
        if self[leaf] == "k":
            return float(leaf.value)
        return self.places[leaf.value] if self[leaf] == "c" else int(leaf.value[1:])
