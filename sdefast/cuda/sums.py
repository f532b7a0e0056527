"""Sums over the rows of tables on a GPU: a thread adds up its own, in the order of the CPU's kernels.

What stands in loops over lanes there (``jit/turns.py``) is straight code here, and the loop over rows of
``jit/rows.py`` is one of the thread: four rows at once, ``sum += (t0 + t1) + (t2 + t3)`` or one fma after the other
where terms are a slope times a column, and those that are left one by one. All threads of a warp read the same number
of the table, which lies in the card's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ..jit.code import Code, indent
from ..jit.rows import FOUR
from ..jit.sums import RowLoop, Sums
from ..jit.turns import Turns, near_rows, terms_of
from ..trace import Expr

#: Inner products of so many numbers, and so many sums with one slope, are straight code; longer ones are loops.
SHORT = 24


class SummingCode(Turns):
    """The statements that compute expressions with sums: a `Code`'s, ``per_lane`` being those of a thread.

    What the CPU keeps in rows of lanes are variables ``q0``, ``q1``, ..., or an array ``rows`` of the thread's own if
    there are loops over them. ``inputs`` are the names of what differs between threads, ``letters`` those of rows.
    """

    def __init__(
        self, sums: Sums, inputs: Iterable[str], letters: Iterable[str], constants: dict[str, str],
        written: Mapping[str, str], signs: frozenset[str] = frozenset(), names: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        loops = [loop for turn in sums.turns for loop in turn.loops]
        lengths = [n for loop in loops for n in (*(n for _, n, _ in loop.products), *(n for *_, n, _ in loop.families))]
        self._in_array = max(lengths, default=0) > SHORT
        rows = {letter: f"{letter}{{}}" for letter in letters} | {"q": "rows[{}]" if self._in_array else "q{}"}
        super().__init__(sums, {name: name for name in inputs}, rows, written=written, signs=signs)
        self.constants, self.written, self.names = constants, written, dict(names or {})
        self.begin = [f"rows = cuda.local.array({sums.n_rows}, L)"] if self._in_array else []
        self.per_lane: list[str] = []
        self.n_loops = 0

    def results(self, in_place: bool = True) -> list[str]:
        """Write everything down; returns what holds the expressions, which go where the inputs are if ``in_place``."""
        for turn in self.sums.turns:
            rows = [row for _, row in turn.inputs]
            held = self._held([e for e, _ in turn.inputs], rows, False)
            self.per_lane += [f"{self._row('q', row)} = T({name})" for row, name in zip(rows, held, strict=True)]
            for loop in turn.loops:
                self.per_lane += _Loop(self, loop).lines()
                self.n_loops += 1
        return self._held(self.sums.outputs, list(range(len(self.sums.outputs))), in_place)

    def _held(self, outputs: Sequence[Expr], where: Sequence[int], in_place: bool) -> list[str]:
        """What holds expressions; those that the CPU computes together are computed together."""
        alone, runs = self._alone_and_runs(outputs, where, in_place)
        found = dict(zip(alone, self._written([outputs[i] for i in alone], self.loads), strict=True))
        for run in runs:
            for i in range(run.begin, run.end):
                near = {name: self._row(letter, i + offset) for name, letter, offset in near_rows(run.pattern)}
                (found[i],) = self._written([run.pattern], near)
        return [found[i] for i in range(len(outputs))]

    def _written(self, outputs: Sequence[Expr], loads: Mapping[str, str]) -> list[str]:
        # (what is loaded has names of its own: it may be the result)
        own = {name: f"{name}_{len(self.codes)}" for name, value in loads.items() if not value.isidentifier()}
        self.options["names"] = self.names | {**loads, **own}
        code, results = self._code(outputs, loads)
        self.per_lane += [f"{variable} = {loads[name]}" for name, variable in own.items() if name in code.used]
        self.per_lane += code.per_lane
        return results

    def row(self, number: int, j: int | str = 0) -> str:
        """What holds a row of the CPU's that sums need."""
        return self._row("q", _plus(number, j))


class _Loop(NamedTuple):
    """The loop over the rows of a table; ``row`` is where one begins in the kernel's table."""

    code: SummingCode
    loop: RowLoop

    def lines(self) -> list[str]:
        """Those that leave all sums in their rows."""
        loop, width, lines = self.loop, self.loop.n_columns, list[str]()
        for begin, n in [(row, 1) for _, row in loop.sums] + [(row, n) for *_, n, row in loop.families]:
            lines += _each(n, partial(self._zero, begin))
        end, whole = loop.table.n_rows, loop.table.n_rows // FOUR * FOUR
        for first, last, count in ((0, whole, FOUR), (whole, end, 1)):
            if first < last:
                lines += [
                    f"row = {loop.first + first * width}", f"while row < {loop.first + last * width}:",
                    *indent([*self._add(count), f"row += {count * width}"]),
                ]  # fmt: skip
        return lines

    def _zero(self, row: int, j: int | str) -> list[str]:
        return [f"{self.code.row(row, j)} = T(0.0)"]

    def _add(self, count: int) -> list[str]:
        """Add up the terms of ``count`` rows."""
        n, lines, found = len(self.loop.sums), list[str](), list[list[str]]()
        for p in range(len(self.loop.products)):
            lines += self._product(p, count)
        for k in range(count):
            statements, results = self._terms(k)
            lines += statements
            found.append(results)
        for i, (_, row) in enumerate(self.loop.sums):
            terms = [results[i] for results in found]
            while len(terms) > 1:
                terms = [f"add_({a}, {b})" for a, b in zip(terms[::2], terms[1::2], strict=True)]
            lines.append(f"{self.code.row(row)} = add_({self.code.row(row)}, {terms[0]})")
        for i in range(len(self.loop.families)):
            lines += self._family(i, [results[n + i] for results in found])
        return lines

    def _product(self, p: int, count: int) -> list[str]:
        """Inner products ``d{p}_{k}`` of columns and what is in rows of the CPU's."""
        column, n, first = self.loop.products[p]

        def add(j: int | str) -> list[str]:
            other = self.code.row(first, j)
            return [f"d{p}_{k} = fma_({self._number(k, column, j)}, {other}, d{p}_{k})" for k in range(count)]

        return [*(f"d{p}_{k} = T(0.0)" for k in range(count)), *_each(n, add)]

    def _terms(self, k: int) -> tuple[list[str], list[str]]:
        """The statements of a row's terms and slopes, and what holds these."""
        owner, (terms, names) = self.code, terms_of(self.loop)
        own = {name: f"{name}_{k}" for name in names if name[0] in "rd"}
        rows = {name: owner.row(int(name[1:])) for name in names if name[0] == "a"}
        variables = {name: row for name, row in rows.items() if row.isidentifier()}
        code = Code(
            names, prefix=f"w{owner.n_loops}_{k}_", names=own | variables, constants=owner.constants,
            written=owner.written,
        )  # fmt: skip
        results = code.add(terms)
        lines = [f"{own[name]} = {self._number(k, int(name[1:]), 0)}" for name in names if name[0] == "r"]
        lines += [f"{name} = {row}" for name, row in rows.items() if name not in variables]
        return [*lines, *code.fixed, *code.per_lane], results

    def _family(self, i: int, slopes: Sequence[str]) -> list[str]:
        """Sums of a slope, one of each row, times a column."""
        _, column, n, first = self.loop.families[i]

        def add(j: int | str) -> list[str]:
            total = self.code.row(first, j)
            return [f"{total} = fma_({s}, {self._number(k, column, j)}, {total})" for k, s in enumerate(slopes)]

        return _each(n, add)

    def _number(self, k: int, column: int, j: int | str) -> str:
        """A number of row ``k``; nobody asks of an unsigned index whether it counts from the end."""
        return f"table[U(row + {_plus(k * self.loop.n_columns + column, j)})]"


def _each(n: int, lines: Callable[[int | str], list[str]]) -> list[str]:
    """The lines for 0 to n - 1, one after the other if they are few, else in a loop over ``j``."""
    if n <= SHORT:
        return [line for j in range(n) for line in lines(j)]
    # (counted by hand: numba's range costs some instructions a turn)
    return ["j = 0", f"while j < {n}:", *indent([*lines("j"), "j += 1"])]


def _plus(first: int, j: int | str) -> int | str:
    return first + j if isinstance(j, int) else f"{first} + {j}"
