"""The source of kernels with sums over rows: loops over lanes and over the rows of tables in turn, see ``sums.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from ..trace import Expr, all_parts, substitute, symbol
from .code import SIGNS, Code, constant_lines, few_lanes, indent
from .sums import LANES, RowLoop, Sums

#: Operations that the values of rows.py have signs for.
_ON_VECTORS = {name: sign for name, sign in SIGNS.items() if name not in ("le", "not")}

#: Expressions of so many parts may be the same for many rows, and so many such ones are a loop.
_SHORT, _MANY = 40, 8

_ROW_SYMBOL = re.compile(r"([a-z])(\d+)")


class _Run(NamedTuple):
    """Outputs from ``begin`` to ``end`` that are one expression, in symbols for the rows near one: see `near_row`.

    They go to rows from output + ``shift`` on.
    """

    pattern: Expr
    begin: int
    end: int
    shift: int


class Turns:
    """The statements that compute expressions with sums, a few lanes at a time.

    ``loads`` is what lane ``l`` has by the names of the inputs, ``rows`` the same for row ``{}`` of a letter, of which
    ``q`` are those that sums need; other options are those of `Code`.
    """

    def __init__(self, sums: Sums, loads: Mapping[str, str], rows: Mapping[str, str], **options: Any) -> None:
        self.sums, self.options = sums, options
        self.rows = {"q": f"q[({{}}) * {LANES} + l - b]", **rows}
        self.loads = {**loads, **{f"q{row}": self._row("q", row) for row in range(sums.n_rows)}}
        self.constants: dict[str, str] = {}
        self.codes: list[Code] = []
        self.loops = [f"scratch_rows = scratch_({sums.n_rows})"]

    def lines(self, into: str, in_place: bool) -> list[str]:
        """All loops, the last of which leaves the expressions in rows of that name."""
        lines: list[str] = []
        for turn in self.sums.turns:
            lines += self._over_lanes([e for e, _ in turn.inputs], "q", [row for _, row in turn.inputs], False)
            for loop in turn.loops:
                lines.append(f"rows{len(self.loops)}(table, q, m)")
                self.loops.append(_row_loop(f"rows{len(self.loops)}", loop))
        lines += self._over_lanes(self.sums.outputs, into, list(range(len(self.sums.outputs))), in_place)
        return [f"for b in range(0, lanes, {LANES}):", f"    m = {few_lanes(LANES)}", *indent(lines)]

    def _row(self, letter: str, number: Any) -> str:
        return self.rows[letter].format(number)

    def _over_lanes(self, outputs: Sequence[Expr], into: str, where: Sequence[int], in_place: bool) -> list[str]:
        """What stores outputs in rows: loops over rows where these are alike, after all others."""
        alone, runs = self._alone_and_runs(outputs, where, in_place)
        lines = []
        if alone:
            code, results = self._code([outputs[i] for i in alone], self.loads)
            stores = [f"{self._row(into, where[i])} = T({name})" for i, name in zip(alone, results, strict=True)]
            lines += ["for l in range(b, b + m):", *indent([*self._loaded(code, self.loads), *code.per_lane, *stores])]
        for run in runs:
            near = {name: self._row(letter, f"i + {offset}") for name, letter, offset in near_rows(run.pattern)}
            code, (result,) = self._code([run.pattern], near)
            lane = [*self._loaded(code, near), *code.per_lane, f"{self._row(into, f'i + {run.shift}')} = T({result})"]
            lines += [f"for i in range({run.begin}, {run.end}):", "    for l in range(b, b + m):", *indent(lane, 2)]
        return lines

    def _code(self, outputs: Sequence[Expr], inputs: Mapping[str, str]) -> tuple[Code, list[str]]:
        code = Code(inputs, prefix=f"v{len(self.codes)}_", constants=self.constants, **self.options)
        self.codes.append(code)
        return code, code.add(outputs)

    def _loaded(self, code: Code, loads: Mapping[str, str]) -> list[str]:
        return [f"{name} = {value}" for name, value in loads.items() if name in code.used]

    def _alone_and_runs(
        self, outputs: Sequence[Expr], where: Sequence[int], in_place: bool
    ) -> tuple[list[int], list[_Run]]:
        """The outputs that are computed together, by their numbers, and those that are alike."""
        runs = list(self._runs(outputs, where, in_place))
        return [i for i in range(len(outputs)) if not any(run.begin <= i < run.end for run in runs)], runs

    def _runs(self, outputs: Sequence[Expr], where: Sequence[int], in_place: bool) -> Iterator[_Run]:
        """Outputs that follow on one another and are alike; in place they must read no row but their own."""
        patterns = [self._pattern(e, i) for i, e in enumerate(outputs)]
        for (_, shift), group in groupby(range(len(outputs)), key=lambda i: (id(patterns[i]), where[i] - i)):
            members = list(group)
            pattern = patterns[members[0]]
            if pattern is None or len(members) < _MANY:
                continue
            if not in_place or all(letter != "x" or offset == 0 for _, letter, offset in near_rows(pattern)):
                yield _Run(pattern, members[0], members[-1] + 1, shift)

    def _pattern(self, e: Expr, i: int) -> Expr | None:
        """The expression with rows counted from ``i``; None if it is long or speaks of no row."""
        parts = all_parts([e])
        if len(parts) > _SHORT:
            return None
        found = [(part, _ROW_SYMBOL.fullmatch(part.value)) for part in parts if part.op == "symbol"]
        rows = {part: match for part, match in found if match is not None and match[1] in self.rows}
        if any(match is not None and match[1] not in self.rows and part.value in self.loads for part, match in found):
            return None
        names = {part: near_row(match[1], int(match[2]) - i) for part, match in rows.items()}
        return substitute(e, names) if names else None

    # What comes before the loops ----------------------------------------------------------------------------------

    @property
    def used(self) -> frozenset[str]:
        return frozenset().union(*(code.used for code in self.codes))

    @property
    def doubles(self) -> frozenset[str]:
        return frozenset().union(*(code.doubles for code in self.codes))

    @property
    def fixed(self) -> list[str]:
        return [line for code in self.codes for line in code.fixed]

    @property
    def once(self) -> list[str]:
        return [line for code in self.codes for line in code.once]

    def source(self, header: str, body: Sequence[str]) -> str:
        """The source of the kernel."""
        lines = [*constant_lines(self.constants), *self.loops, header, "    q = scratch_rows()", *indent(body), ""]
        return "\n".join(lines)


def near_row(letter: str, offset: int) -> Expr:
    """The symbol of a row so far from an output, ``x__2`` or ``x__m1``: no parameter of a user has such a name."""
    return symbol(f"{letter}__{offset}".replace("-", "m"))


def near_rows(pattern: Expr) -> Iterator[tuple[str, str, int]]:
    """The symbols for rows near an output: their names, letters and how far from it they are."""
    for e in all_parts([pattern]):
        match = re.fullmatch(r"([a-z])__(m?\d+)", e.value) if e.op == "symbol" else None
        if match is not None:
            yield e.value, match[1], int(match[2].replace("m", "-"))


def terms_of(loop: RowLoop) -> tuple[list[Expr], list[str]]:
    """The terms of sums and the slopes of families, and the names of the symbols in them."""
    terms = [e for e, _ in loop.sums] + [e for e, *_ in loop.families]
    return terms, sorted({e.value for e in all_parts(terms) if e.op == "symbol"})


def _row_loop(name: str, loop: RowLoop) -> str:
    """The statement that makes a loop over rows from the source of its terms, see rows.py."""
    terms, names = terms_of(loop)
    code, n = Code(names, written=_ON_VECTORS), len(loop.sums)
    results = code.add(terms)
    kinds = {"r": "column", "a": "part", "d": "product"}
    lines = [f"{symbol} = {kinds[symbol[0]]}({symbol[1:]})" for symbol in names if symbol in code.used]
    lines += [*code.fixed, *code.per_lane]
    lines.append(f"return [{', '.join(results[:n])}], [{', '.join(results[n:])}]")
    text = "\n".join([*constant_lines(code.constants), "def terms(column, part, product):", *indent(lines), ""])
    where = [row for _, row in loop.sums], [tuple(place) for _, *place in loop.families]
    shape = f"{loop.first}, {loop.table.n_rows}, {loop.n_columns}, {loop.products}"
    return f"{name} = row_loop_({text!r}, {shape}, {where[0]}, {where[1]})"
