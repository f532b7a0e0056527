"""Walking through what expressions are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from .expression import Expr


def inside_out(expr: Expr, known: Mapping[Expr, Any]) -> Iterator[Expr]:
    """What an expression is made of, every part after its own parts, however deep; what is ``known`` is left out."""
    todo = [expr]
    while todo:
        e = todo[-1]
        missing = [] if e in known else [a for a in e.args if a not in known]
        if missing:
            todo += missing
            continue
        todo.pop()
        if e not in known:
            yield e


def all_parts(outputs: Iterable[Expr]) -> list[Expr]:
    """All that expressions are made of, themselves too: every part once and after its own parts."""
    seen: dict[Expr, bool] = {}
    for output in outputs:
        for part in inside_out(output, seen):
            seen[part] = True
    return list(seen)


@lru_cache(maxsize=256)
def symbols_in(outputs: tuple[Expr, ...]) -> frozenset[str]:
    """Names of the symbols in expressions."""
    return frozenset(part.value for part in all_parts(outputs) if part.op == "symbol")


def depends_on(expr: Expr, symbols: Sequence[Expr]) -> bool:
    """Whether any of the symbols occurs in an expression."""
    wanted = set(map(id, symbols))
    return any(id(part) in wanted for part in all_parts([expr]))
