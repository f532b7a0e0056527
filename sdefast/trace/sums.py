"""Sums over the rows of a table as expressions: one node each, however many rows there are.

A node's parts are what its terms take from outside, each row's term is an expression of its own, the ``body``, in the
symbols ``#0``, ``#1``, ... for the row's columns and ``@0``, ``@1``, ... for the parts. So whatever walks expressions
sees the parts only, and a kernel computes the terms in a loop over rows (``jit/sums.py``). An inner product of columns
and parts is one operation of the body, ``dot``, which is a loop too.
"""

from __future__ import annotations

import math
import re
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..lazy import cached_property
from .derivatives import RULES, derivative
from .evaluate import EVALUATED, evaluate, substitute
from .expression import OTHERWISE, Expr, as_expr, constant, make, node, remake, select, symbol
from .lookups import LOOKUPS
from .table import Table
from .tracing import trace
from .walk import all_parts

#: Products of columns and parts from which on their sum is an inner product.
LEAST_DOT = 4

_depth = threading.local()


# Tables --------------------------------------------------------------------------------------------------------------


def _columns(name: str, data: Any) -> tuple[np.ndarray, Callable[[Sequence[Expr]], Any]]:
    """The columns (rows, number) of what a user calls a table, and a row as the user's function sees it."""
    if isinstance(data, np.ndarray) and data.dtype.names:
        data = {column: data[column] for column in data.dtype.names}
    elif hasattr(data, "to_numpy") and hasattr(data, "columns"):
        data = {str(column): data[column].to_numpy() for column in data.columns}
    if isinstance(data, Mapping):
        columns = [checks.array(f"{name}[{column!r}]", data[column]) for column in data]
        if not columns or any(c.ndim != 1 or len(c) != len(columns[0]) for c in columns):
            raise ValueError(f"{name} must have columns of one dimension and one length")
        row: Any = namedtuple("Row", list(map(str, data)), rename=True)  # type: ignore[misc]
        return np.column_stack(columns), row._make
    values = checks.array(name, data)
    if values.ndim not in (1, 2):
        raise ValueError(f"{name} must have rows: be of one dimension (a number each) or two, got {values.ndim}")
    return (values[:, None], lambda row: row[0]) if values.ndim == 1 else (values, tuple)


def sum_over(function: Callable[..., Any], tables: Sequence[Any]) -> Any:
    """The sum of ``function(row, ...)`` over the rows of tables of one length; see `sdefast.math.sum`."""
    if not callable(function):
        raise TypeError(f"sum takes a function of a row and the table, got {function!r}")
    if not tables:
        raise TypeError("sum takes a function of a row and at least one table")
    parts = [_columns(f"table {i}" if len(tables) > 1 else "the table", table) for i, table in enumerate(tables)]
    lengths = [len(values) for values, _ in parts]
    if len(set(lengths)) > 1:
        raise ValueError(f"tables must have as many rows as each other, got {', '.join(map(str, lengths))}")
    if not lengths[0]:
        raise ValueError("a table must have at least one row")
    table = Table.of(np.hstack([values for values, _ in parts]))
    level = getattr(_depth, "level", 0)
    symbols = [symbol(f"#{level}.{j}") for j in range(table.values.shape[1])]
    rows, first = [], 0
    for values, as_row in parts:
        rows.append(as_row(symbols[first : first + values.shape[1]]))
        first += values.shape[1]
    _depth.level = level + 1
    try:
        terms = trace(function, *rows, what="function of a row")
    finally:
        _depth.level = level
    return _summed(table, terms, {own: symbol(f"#{j}") for j, own in enumerate(symbols)})


def _summed(table: Table, terms: Any, named: dict[Expr, Expr]) -> Any:
    if isinstance(terms, tuple):
        return tuple(_summed(table, term, named) for term in terms)
    total = sum_of(table, replaced(terms, named))
    return total.value if total.op == "constant" else total


# The node ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Term:
    """What is summed: an expression for a row of a table."""

    table: Table
    body: Expr

    def __repr__(self) -> str:
        """What tells it from others, as long as it lives."""
        return f"{self.table.digest} {id(self.body)}"

    @cached_property
    def products(self) -> dict[Expr, Expr]:
        """The inner products of the body, each with a symbol."""
        return {e: symbol(f"dot{k}") for k, e in enumerate(e for e in all_parts([self.body]) if e.op == "dot")}

    @cached_property
    def reduced(self) -> Expr:
        """The body with symbols for its inner products."""
        return replaced(self.body, self.products)

    @cached_property
    def factors(self) -> dict[Expr, list[tuple[Expr, Expr]]]:
        """For parts ``@i`` that stand in inner products: the symbols of these, and the columns that go with them."""
        found: dict[Expr, list[tuple[Expr, Expr]]] = {}
        for dot, name in self.products.items():
            for column, part in zip(*halves(dot), strict=True):
                found.setdefault(part, []).append((name, column))
        return found

    @cached_property
    def slopes(self) -> dict[Expr, Expr]:
        """The derivatives of the reduced body by the symbols of its inner products."""
        return {name: derivative(self.reduced, name) for name in self.products.values()}


def sum_of(table: Table, term: Expr) -> Expr:
    """The sum over the rows of a table of a term in ``#j``, its columns, and whatever is outside."""
    term = as_expr(select(term, 1.0, 0.0)) if term.is_boolean else term
    term = _with_inner_products(term)
    kinds = dependence(term)
    if not kinds[term] & COLUMN:
        return as_expr(constant(table.n_rows) * term)
    if any(kinds[e] == BOTH and e.op in LOOKUPS for e in kinds):
        raise TypeError("what a sum over rows looks up in a table must depend on the row alone, or not at all")
    # (what is looked up at a fixed place is so outside of the loop, or where the table's columns are computed)
    held = tuple(outermost(term, lambda e: kinds[e] in (OUTSIDE, COLUMN) or (e.op in LOOKUPS and not kinds[e])))
    outside = tuple(e for e in held if kinds[e] != COLUMN)
    if any(part.op == "symbol" and part.value[0] == "#" for part in all_parts(outside)):
        raise TypeError("a sum over rows within another one cannot depend on the outer row")
    parts = {e: symbol(f"@{i}") for i, e in enumerate(outside)}
    return _made(Term(table, replaced(term, parts)), *outside)


def sum_again(table: Table, body: Expr, parts: Sequence[Expr]) -> Expr:
    """The sum that had a body and parts; ValueError if it cannot have had them."""
    if not isinstance(body, Expr):
        raise ValueError(f"a term cannot be {body!r}")
    for e in all_parts([body]):
        own = e.op == "symbol" and re.fullmatch(r"([#@])(\d+)", e.value)
        if e.op == "symbol" and not (own and int(own[2]) < (table.n_columns if own[1] == "#" else len(parts))):
            raise ValueError(f"a term cannot have {e.value!r}")
    return _made(Term(table, body), *parts)


def _made(term: Term, *parts: Expr) -> Expr:
    """The sum, of what the body has of the parts: derivatives may lack some."""
    there = set(all_parts([term.body]))
    used = [i for i in range(len(parts)) if symbol(f"@{i}") in there]
    if len(used) < len(parts):
        names = {symbol(f"@{i}"): symbol(f"@{k}") for k, i in enumerate(used)}
        return _made(Term(term.table, replaced(term.body, names)), *(parts[i] for i in used))
    if any(e.op != "constant" for e in parts):
        return node("sum", parts, term)
    values = {symbol(f"@{i}"): e.value for i, e in enumerate(parts)}
    return constant(math.fsum(rows_of(term, values, slice(None))))


def rows_of(term: Term, parts: Mapping[Expr, Any], rows: slice) -> np.ndarray:
    """The terms of some rows in numpy, for numbers or arrays ``@i``: of shape (rows, ...)."""
    values = {e: np.asarray(value) for e, value in parts.items()}
    shape = np.broadcast_shapes(*(value.shape for value in values.values()))
    chosen = term.table.values[rows]
    columns = {symbol(f"#{j}"): column.reshape(-1, *[1] * len(shape)) for j, column in enumerate(chosen.T)}
    return np.broadcast_to(evaluate(term.body, {**columns, **values}), (len(chosen), *shape))


def replaced(e: Expr, values: Mapping[Expr, Expr]) -> Expr:
    """The expression with parts of any kind replaced."""
    return substitute(e, {}, dict(values))


def outermost(term: Expr, wanted: Callable[[Expr], bool]) -> Iterator[Expr]:
    """The largest parts that are wanted, from the first to the last."""
    todo, seen = [term], set[Expr]()
    while todo:
        e = todo.pop()
        if e in seen:
            continue
        seen.add(e)
        if wanted(e):
            yield e
        else:
            todo += reversed(e.args)


#: what an expression depends on: the columns of the row, what is outside, or both
COLUMN, OUTSIDE, BOTH = 1, 2, 3


def is_column(e: Expr) -> bool:
    """Whether this is a column of the row; those of a sum around this one have names with a dot."""
    return e.op == "symbol" and e.value[0] == "#" and "." not in e.value


def dependence(term: Expr) -> dict[Expr, int]:
    """What all parts of a term depend on; constants on nothing."""
    kinds: dict[Expr, int] = {}
    for e in all_parts([term]):
        kinds[e] = COLUMN if is_column(e) else OUTSIDE * (e.op == "symbol")
        for a in e.args:
            kinds[e] |= kinds[a]
    return kinds


# Inner products ------------------------------------------------------------------------------------------------------


def _with_inner_products(term: Expr) -> Expr:
    """The term with every sum of products of a column and something from outside as one operation."""
    kinds, parts = dependence(term), all_parts([term])
    inner = {a for e in parts if e.op in ("add", "sub") for a in e.args if a.op in ("add", "sub")}
    inner -= {a for e in parts if e.op not in ("add", "sub") for a in e.args}
    inner.discard(term)
    known: dict[Expr, Expr] = {}
    for e in parts:
        if kinds[e] != BOTH:
            known[e] = e
        elif e.op in ("add", "sub") and e not in inner:
            known[e] = _gathered(e, inner, kinds, known)
        elif e not in inner:
            known[e] = remake(e, [known[a] for a in e.args])
    return known[term]


def _gathered(chain: Expr, inner: set[Expr], kinds: Mapping[Expr, int], known: Mapping[Expr, Expr]) -> Expr:
    """A sum of many terms whose products of a column and something from outside are inner products."""
    products: dict[int, list[tuple[Expr, Expr, Expr]]] = {1: [], -1: []}
    rest: list[tuple[int, Expr]] = []
    todo = [(1, chain)]
    while todo:
        sign, e = todo.pop()
        if e is chain or (e in inner and kinds[e] == BOTH):
            todo += [(-sign if e.op == "sub" else sign, e.args[1]), (sign, e.args[0])]
        elif e.op == "mul" and (factors := _two_factors(e, kinds)) is not None:
            products[sign].append((e, *factors))
        else:
            rest.append((sign, known[e]))
    for sign, found in products.items():
        if len(found) >= LEAST_DOT:
            _, columns, others = zip(*found, strict=True)
            rest.append((sign, node("dot", (*columns, *others))))
        else:
            rest += [(sign, known[e]) for e, *_ in found]
    total = constant(0)
    for sign, e in rest:
        total = make("add" if sign > 0 else "sub", total, e)
    return total


def _two_factors(product: Expr, kinds: Mapping[Expr, int]) -> tuple[Expr, Expr] | None:
    """The factors that are columns, and those from outside."""
    column, other, todo = constant(1), constant(1), [product]
    while todo:
        e = todo.pop()
        if e.op == "mul":
            todo += reversed(e.args)
        elif kinds[e] == BOTH:
            return None
        elif kinds[e] == COLUMN:
            column = make("mul", column, e)
        else:
            other = make("mul", other, e)
    return (column, other) if kinds[product] == BOTH else None


def halves(dot: Expr) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    """The columns of an inner product, and what they are multiplied by."""
    n = len(dot.args) // 2
    return dot.args[:n], dot.args[n:]


# One row at a time ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rows:
    """A sum over rows taken apart: ``rest`` and, of a row with the numbers ``d0``, ``d1``, ..., ``term``."""

    values: np.ndarray
    rest: Expr
    term: Expr


def rows_in(e: Expr) -> Rows | None:
    """An expression as a sum over the rows of a table and a rest; None if it has none, or is no such sum."""
    rest, sums = constant(0), list[tuple[float, Expr]]()
    todo = [(1.0, e)]
    while todo:
        factor, part = todo.pop()
        if part.op in ("add", "sub"):
            todo += [(-factor if part.op == "sub" else factor, part.args[1]), (factor, part.args[0])]
        elif part.op == "neg":
            todo.append((-factor, part.args[0]))
        elif part.op == "mul" and any(a.op == "constant" for a in part.args):
            number, other = part.args if part.args[0].op == "constant" else part.args[::-1]
            todo.append((factor * number.value, other))
        elif part.op == "sum":
            sums.append((factor, part))
        else:
            rest = make("add", rest, make("mul", constant(factor), part))
    if not sums or any(part.op == "sum" for part in all_parts([rest])):
        return None
    if len({part.value.table.n_rows for _, part in sums}) > 1:
        return None
    term, first, values = constant(0), 0, []
    for factor, part in sums:
        table = part.value.table
        columns = [symbol(f"d{first + j}") for j in range(table.n_columns)]
        term = make("add", term, make("mul", constant(factor), _written(part.value.body, columns, part.args)))
        values.append(table.values)
        first += table.n_columns
    return Rows(np.hstack(values), rest, term)


def _written(body: Expr, columns: Sequence[Expr], parts: Sequence[Expr]) -> Expr:
    """The term of a row with these numbers, inner products written out."""
    known = {symbol(f"#{j}"): column for j, column in enumerate(columns)}
    known |= {symbol(f"@{i}"): part for i, part in enumerate(parts)}
    for e in all_parts([body]):
        if e.op == "dot":
            total = constant(0)
            for a, b in zip(*halves(e), strict=True):
                total = make("add", total, make("mul", known[a], known[b]))
            known[e] = total
        elif e not in known:
            known[e] = remake(e, [known[a] for a in e.args]) if e.args else e
    return known[body]


# Derivatives ---------------------------------------------------------------------------------------------------------


def _d_sum(of: Expr, *rest: Expr) -> Expr:
    parts, slopes = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    total = constant(0)
    for i, slope in enumerate(slopes):
        if not slope.is_constant(0):
            total = as_expr(total + slope * _partial(of.value, i, parts))
    return total


def _partial(term: Term, i: int, parts: Sequence[Expr]) -> Expr:
    """The derivative of a sum by its part ``@i``.

    What comes by way of an inner product is the slope by that product times a column: the slopes of all parts share it.
    """
    by, back = symbol(f"@{i}"), {name: dot for dot, name in term.products.items()}
    total = _opened(term, derivative(term.reduced, by), back, parts)
    for name, column in term.factors.get(by, ()):
        slope = term.slopes[name]
        product = make("mul", slope, column)
        if slope.op == "constant" or all(e.op != "symbol" or is_column(e) for e in all_parts([slope])):
            total = make("add", total, _opened(term, product, back, parts))
        else:  # of the form that `sum_of` would give it, only that some parts may not occur
            total = make("add", total, _made(Term(term.table, replaced(product, back)), *parts))
    return total


def _opened(term: Term, slope: Expr, back: Mapping[Expr, Expr], parts: Sequence[Expr]) -> Expr:
    """The sum of another term in the same symbols."""
    outside = {symbol(f"@{k}"): e for k, e in enumerate(parts)}
    return sum_of(term.table, replaced(replaced(slope, back), outside))


# Values ---------------------------------------------------------------------------------------------------------------

#: terms that are computed at once in numpy
_AT_ONCE = 2**18


def _over_rows(e: Expr, parts: list[np.ndarray]) -> Any:
    """A sum over the rows of a table, as many at once as fit some megabytes."""
    named = {symbol(f"@{i}"): part for i, part in enumerate(parts)}
    shape = np.broadcast_shapes(*(part.shape for part in parts))
    at_once, total = max(_AT_ONCE // max(math.prod(shape), 1), 1), np.zeros(shape)
    for first in range(0, e.value.table.n_rows, at_once):
        total += rows_of(e.value, named, slice(first, first + at_once)).sum(axis=0)
    return total


def _inner_product(e: Expr, args: list[np.ndarray]) -> Any:
    n = len(args) // 2
    return sum(a * b for a, b in zip(args[:n], args[n:], strict=True))


RULES["sum"], EVALUATED["sum"], OTHERWISE["sum"] = _d_sum, _over_rows, _made
EVALUATED["dot"], OTHERWISE["dot"] = _inner_product, lambda value, *args: node("dot", args)


def work(outputs: Sequence[Expr]) -> int:
    """Operations that expressions take, those of the terms of sums once a row."""
    total = 0
    for e in all_parts(outputs):
        if e.op == "sum":
            parts = all_parts([e.value.body])
            total += e.value.table.n_rows * sum(len(p.args) // 2 if p.op == "dot" else bool(p.args) for p in parts)
        else:
            total += bool(e.args)
    return total
