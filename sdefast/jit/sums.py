"""How sums over the rows of tables are computed beside lanes: in loops over rows between loops over lanes.

What sums take from outside is stored in rows of lanes of their own first; a loop over the rows of a table (``rows.py``)
then adds up all sums over that table and leaves them in rows of lanes, which the next loop over lanes reads. Sums of
sums take as many turns. A few lanes take their turns together, so that all of it stays in the first-level cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..trace import Expr, all_parts, evaluate, make, symbol
from ..trace.sums import COLUMN, LEAST_DOT, dependence, halves, outermost, replaced
from ..trace.table import Table
from .lookups import Lookups

#: Lanes that take their turns together, a part of a row.
LANES = 64


class _Places:
    """Where expressions lie, those that belong together side by side."""

    def __init__(self) -> None:
        self.items: list[Expr | None] = []
        self._first: dict[tuple[int, ...], int] = {}

    def place(self, *wanted: Expr) -> int:
        """Where they begin."""
        key = tuple(map(id, wanted))
        if key not in self._first:
            self._first[key] = len(self.items)
            for e in wanted:
                self._first.setdefault((id(e),), len(self.items))
                self.items.append(e)
        return self._first[key]

    def reserve(self, n: int) -> int:
        """The first of ``n`` places for what is not there yet."""
        self.items += [None] * n
        return len(self.items) - n


@dataclass
class RowLoop:
    """The sums over one table: terms, and where in the kernel's table and in the rows of lanes everything is.

    ``first`` is where the table begins in the kernel's. Terms are expressions in ``r0``, ... for what its rows hold, in
    ``a0``, ... for rows of lanes and in ``d0``, ... for inner ``products`` (first column, number, first row of lanes).
    ``sums`` are pairs of a term and the row of its sum; ``families`` are sums whose terms are one slope times a column
    each: (slope, first column, number, first row of lanes).
    """

    table: Table
    first: int
    columns: _Places = field(default_factory=_Places)
    products: list[tuple[int, int, int]] = field(default_factory=list)
    sums: list[tuple[Expr, int]] = field(default_factory=list)
    families: list[tuple[Expr, int, int, int]] = field(default_factory=list)

    @property
    def n_columns(self) -> int:
        return len(self.columns.items)

    def values(self) -> np.ndarray:
        """The rows of the table, in float64."""
        known = {symbol(f"#{j}"): column for j, column in enumerate(self.table.values.T)}
        columns = [evaluate(e, known) for e in self.columns.items if e is not None]
        return np.column_stack([np.broadcast_to(column, self.table.n_rows) for column in columns])

    def product(self, dot: Expr, row: int) -> Expr:
        """The symbol of an inner product with rows of lanes from ``row`` on."""
        columns, _ = halves(dot)
        where = self.columns.place(*columns), len(columns), row
        if where not in self.products:
            self.products.append(where)
        return symbol(f"d{self.products.index(where)}")

    def add(self, terms: dict[Expr, Expr], rows: _Places) -> dict[Expr, int]:
        """Take up terms, whose columns are still those of the table; returns the rows of their sums."""
        found, families = dict[Expr, int](), dict[Expr, list[tuple[Expr, Expr]]]()
        for e, term in terms.items():
            slope, column = _slope_and_column(term)
            if slope is not None:
                families.setdefault(slope, []).append((e, column))
        for slope, members in families.items():
            if len(members) >= LEAST_DOT:
                first = rows.reserve(len(members))
                found |= {e: first + k for k, (e, _) in enumerate(members)}
                begin = self.columns.place(*(column for _, column in members))
                self.families.append((slope, begin, len(members), first))
        for e in (e for e in terms if e not in found):
            found[e] = rows.reserve(1)
            self.sums.append((self._named(terms[e]), found[e]))
        self.families = [(self._named(slope), begin, n, row) for slope, begin, n, row in self.families]
        return found

    def _named(self, term: Expr) -> Expr:
        """A term with what depends on the row alone as columns of the kernel's table."""
        kinds = dependence(term)
        columns = outermost(term, lambda e: kinds[e] == COLUMN)
        return replaced(term, {e: symbol(f"r{self.columns.place(e)}") for e in columns})


def _slope_and_column(term: Expr) -> tuple[Expr | None, Expr]:
    """The factors of a term of which one depends on the row alone."""
    if term.op == "neg":
        slope, column = _slope_and_column(term.args[0])
        return None if slope is None else make("neg", slope), column
    if term.op == "mul":
        kinds = dependence(term)
        for column, slope in (term.args, term.args[::-1]):
            if kinds[column] == COLUMN and kinds[slope] != COLUMN:
                return slope, column
    return None, term


@dataclass
class Turn:
    """A loop over lanes that stores what sums take, as pairs of an expression and a row, and the loops over rows."""

    inputs: list[tuple[Expr, int]]
    loops: list[RowLoop]


@lru_cache(maxsize=64)
def sums_in(outputs: tuple[Expr, ...], first: int = 0) -> Sums:
    """The sums in expressions."""
    return Sums(outputs, first)


class Sums:
    """The sums in expressions: the turns in which they are computed; ``outputs`` have symbols ``q0``, ... for them.

    The numbers of their tables, and those of tables that are looked up, lie in the kernel's table from ``first`` up to
    ``end``.
    """

    def __init__(self, outputs: Sequence[Expr], first: int = 0) -> None:
        self.turns: list[Turn] = []
        self._lookups = Lookups(outputs, first)
        outputs, self.end = self._lookups.outputs, self._lookups.end
        self._rows = _Places()
        self._known: dict[Expr, Expr] = {}
        levels: dict[Expr, int] = {}
        for e in all_parts(outputs):
            levels[e] = max((levels[a] for a in e.args), default=0) + (e.op == "sum")
        for level in range(1, max(levels.values(), default=0) + 1):
            self._add_turn([e for e in levels if e.op == "sum" and levels[e] == level])
        self.outputs = [replaced(e, self._known) for e in outputs]

    @property
    def n_rows(self) -> int:
        """Rows of lanes that are needed beside the state's."""
        return len(self._rows.items)

    def values(self) -> np.ndarray:
        """What belongs into the kernel's table."""
        tables = [loop.values().ravel() for turn in self.turns for loop in turn.loops]
        return np.concatenate([self._lookups.values(), *tables])

    def _add_turn(self, sums: list[Expr]) -> None:
        begin, loops, found = self.n_rows, dict[Table, RowLoop](), dict[Expr, int]()
        parts = {a: replaced(a, self._known) for e in sums for a in e.args}
        terms: dict[Table, dict[Expr, Expr]] = {}
        for e in sums:  # inner products first: what they take must lie side by side
            table = e.value.table
            loop = loops.setdefault(table, RowLoop(table, 0))
            terms.setdefault(table, {})[e] = self._with_products(e, loop, parts)
        for e in sums:
            used = {symbol(f"@{i}"): parts[a] for i, a in enumerate(e.args)}
            term = terms[e.value.table][e]
            names = {part: symbol(f"a{self._rows.place(used[part])}") for part in all_parts([term]) if part in used}
            terms[e.value.table][e] = replaced(term, names)
        inputs = [(e, row) for row, e in enumerate(self._rows.items) if row >= begin and e is not None]
        for table, loop in loops.items():
            found |= loop.add(terms[table], self._rows)
            loop.first, self.end = self.end, self.end + table.n_rows * loop.n_columns
        stored = {e: row for e, row in inputs if e.op not in ("symbol", "constant")}
        self._known |= {a: symbol(f"q{stored[e]}") for a, e in parts.items() if e in stored}
        self._known |= {e: symbol(f"q{row}") for e, row in found.items()}
        self.turns.append(Turn(inputs, list(loops.values())))

    def _with_products(self, e: Expr, loop: RowLoop, parts: dict[Expr, Expr]) -> Expr:
        """The term of a sum with symbols for its inner products."""
        outside = {symbol(f"@{i}"): parts[a] for i, a in enumerate(e.args)}
        names = {}
        for dot in e.value.products:
            row = self._rows.place(*(outside.get(part, part) for part in halves(dot)[1]))
            names[dot] = loop.product(dot, row)
        return replaced(e.value.body, names)
