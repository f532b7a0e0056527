"""Kernels of steps with many rows that are alike, as images and lattices have them: loops over rows of one expression.

What several rows share is stored in rows of lanes of its own first, and rows that are alike but for where they lie are
one loop. So an image of any size is compiled as fast as a small one, and nothing is computed twice. Numbers are those
of straight-line code: a product that more than one sum takes is rounded before.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from ..trace import Expr, all_parts, plain, substitute, symbol
from ..trace.operations import FUNCTIONS
from .code import TIMES, Code, constant_lines, count_uses, few_lanes, indent
from .step import CLOCK, Step, clock_lines, draw_setup, parameter_lines
from .turns import near_row, near_rows

#: Lanes that go through all loops together: with them a thousand rows lie in the second-level cache.
_LANES = 16

#: Bytes of such rows at most: they lie on the stack, of which a thread has some megabytes.
_MOST_BYTES = 2**22

#: Operations of steps that are worth it; of an expression that may be a loop; rows that are alike and are a loop.
_LONG, _SHORT, MANY = 1500, 250, 6

#: The first where chains have more rows than wide ones: a hundred oscillators are compiled and run in half the time.
_LONG_IF_NARROW = 300

#: What several rows share is stored if it is at least so many operations; of these, those that count as many.
SHARED = 8
COSTLY = frozenset(FUNCTIONS) - {"abs", "min", "max", "floor"} | {"div", "exp_moderate", "log_positive"}

_ROW_SYMBOL = re.compile(r"([xzuq])(\d+)")


def least(step: Step) -> int:
    """Operations of a step for which loops are worth it."""
    return _LONG if step.layout == "wide" else _LONG_IF_NARROW


# What is stored -------------------------------------------------------------------------------------------------------


class Unit(NamedTuple):
    """An expression that is stored in a row; what is stored before are symbols ``q0``, ``q1``, ... in it."""

    row: int
    value: Expr


#: Own expressions that are alike: where each belongs, itself, and with what is stored before as symbols.
_Class = list[tuple[int, Expr, Expr]]


class Plan:
    """What is stored, in ``turns`` that need nothing but those before; the step's outputs come to the first rows."""

    def __init__(self, outputs: Sequence[Expr]) -> None:
        known: dict[Expr, Expr] = {}
        for e in all_parts(outputs):
            known[e] = plain(e, [known[a] for a in e.args]) if e.args else e
        self.outputs = [known[e] for e in outputs]
        self.parts = all_parts(self.outputs)
        stored = self._stored()
        levels: dict[Expr, int] = {}
        for e in self.parts:
            levels[e] = max((levels[a] + (a in stored) for a in e.args), default=0)
        self.n_rows, ends = len(outputs), set(self.outputs)
        self._known: dict[Expr, Expr] = {}
        own, rows = defaultdict[int, list[Expr]](list), defaultdict[int, list[tuple[int, Expr]]](list)
        for e in self.parts:
            if e in stored and e not in ends:
                own[levels[e]].append(e)
        for row, e in enumerate(self.outputs):
            rows[levels[e]].append((row, e))
        self.turns = [self._turn(rows[level], own[level]) for level in range(max(levels.values()) + 1)]

    def _stored(self) -> set[Expr]:
        """New values that others are made of, and what is long and needed more than once by more than one row."""
        wanted = self._wanted()
        shared, ends, uses = self._shared(), set(self.outputs), count_uses(self.outputs)
        varying: dict[Expr, bool] = {}
        work: dict[Expr, int] = {}
        stored: set[Expr] = set()
        for e in self.parts:
            varying[e] = is_row(e) or any(varying[a] for a in e.args)
            work[e] = (SHARED if e.op in COSTLY else 1) + sum(work[a] for a in e.args if a not in stored)
            if e in wanted:
                stored.add(e)
            if not e.args or e.is_boolean or e not in shared or not varying[e]:
                continue
            # (a product that several sums take is no part of a multiply-add)
            if e in ends or (uses[e] > 1 and (e.op == "mul" or work[e] >= SHARED)):
                stored.add(e)
        return stored

    def _wanted(self) -> set[Expr]:
        """What is stored in any case."""
        return set()

    def _shared(self) -> set[Expr]:
        """Parts of more than one output."""
        owners: dict[Expr, set[Hashable]] = {e: set() for e in self.parts}
        for i, output in enumerate(self.outputs):
            owners[output].add(i)
        for e in reversed(self.parts):  # what is made of a part comes before it; two owners are as good as all
            for a in e.args:
                if len(owners[a]) < 2:
                    owners[a] |= self._left(e, a, owners[e])
        return {e for e in self.parts if len(owners[e]) > 1}

    def _left(self, e: Expr, part: Expr, owners: set[Hashable]) -> set[Hashable]:
        """The owners of a part that is computed wherever ``e`` is, which has ``owners``."""
        return owners

    def _turn(self, ends: list[tuple[int, Expr]], own: list[Expr]) -> list[Unit]:
        """Outputs and own expressions of a turn, in rows; those of one pattern one after the other."""
        units = [Unit(row, self._inside(e)) for row, e in ends]
        found: dict[Expr, Expr] = {e: symbol(f"q{row}") for row, e in ends}
        alike = defaultdict[Hashable, list[tuple[int, Expr, Expr]]](list)
        for e in own:
            inside = self._inside(e)
            at = min(int(match[2]) for match in map(matched, all_parts([inside])) if match is not None)
            alike[likeness(inside, at, {})].append((at, e, inside))
        for members, row in self._sheets(list(alike.values())):
            for at, e, inside in members:
                units.append(Unit(row + at, inside))
                found[e] = symbol(f"q{row + at}")
        self._known |= found
        return sorted(units, key=lambda unit: unit.row)

    def _sheets(self, classes: list[_Class]) -> Iterator[tuple[_Class, int]]:
        """Rows for own expressions: those that are alike as far from one another as what they are made of.

        Others, as of the borders of an image, come where there is room between.
        """
        sheets: list[tuple[set[int], list[_Class]]] = []
        for members in sorted(classes, key=len, reverse=True):
            if len({at for at, *_ in members}) < len(members):
                members = [(i, e, inside) for i, (_, e, inside) in enumerate(members)]
            places = {at for at, *_ in members}
            near = (sheet for sheet in sheets if _fits(places, sheet[0]))
            taken, held = next(near, (set[int](), []))
            if not held:
                sheets.append((taken, held))
            taken |= places
            held.append(members)
        for taken, held in sheets:
            for members in held:
                yield members, self.n_rows - min(taken)
            self.n_rows += _spread(taken)

    def _inside(self, e: Expr) -> Expr:
        """An expression with what is stored before as symbols."""
        return plain(e, [substitute(a, {}, self._known) for a in e.args]) if e.args else e


def _fits(places: set[int], taken: set[int]) -> bool:
    """Whether rows lie in the gaps between others, or next to them."""
    return not places & taken and _spread(places | taken) < 1.25 * _spread(taken)


def _spread(places: set[int]) -> int:
    """Rows from the first to the last."""
    return max(places) - min(places) + 1


def matched(e: Expr) -> re.Match[str] | None:
    """The letter and number of a symbol for a row."""
    return _ROW_SYMBOL.fullmatch(e.value) if e.op == "symbol" else None


def is_row(e: Expr) -> bool:
    """Whether this is a symbol for a row."""
    return matched(e) is not None


def likeness(value: Expr, row: int, places: dict[str, int]) -> Hashable:
    """The same for expressions that are the same with rows counted from ``row``; ``places`` are as for `pattern_of`."""
    numbers: dict[Expr, int] = {}
    found: list[Hashable] = []
    for e in all_parts([value]):
        match = matched(e)
        if match is not None:
            found.append((match[1], int(match[2]) - row))
        elif e.op == "symbol" and e.value in places:
            found.append(("c", places[e.value] - row))
        else:
            found.append((e.op, e.value, *(numbers[a] for a in e.args)))
        numbers[e] = len(numbers)
    return tuple(found)


def pattern_of(value: Expr, row: int, places: dict[str, int]) -> Expr:
    """An expression with rows counted from ``row``, see `near_row`.

    So are parameters that belong together, as letter "c"; ``places`` says where they lie among all.
    """
    names: dict[Expr, Expr] = {}
    for e in all_parts([value]):
        match = matched(e)
        if match is not None:
            names[e] = near_row(match[1], int(match[2]) - row)
        elif e.op == "symbol" and e.value in places:
            names[e] = near_row("c", places[e.value] - row)
    return substitute(value, names)


# Loops ----------------------------------------------------------------------------------------------------------------


class Nest(NamedTuple):
    """Rows of one pattern: ``length`` of them from ``begin`` on, ``times`` over, each ``stride`` after the last."""

    begin: int
    length: int
    stride: int
    times: int


def nests(rows: Sequence[int]) -> Iterator[Nest]:
    """Rising numbers as runs, and equal runs that are equally far from one another together."""
    begins = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(rows)) if b != a + 1), len(rows)]
    runs = [(rows[first], last - first) for first, last in pairwise(begins)]
    while runs:
        (begin, length), n, stride = runs[0], 1, 0
        while n < len(runs) and runs[n][1] == length and (n == 1 or runs[n][0] - runs[n - 1][0] == stride):
            stride = runs[n][0] - runs[n - 1][0]
            n += 1
        yield Nest(begin, length, stride or 1, n)
        runs = runs[n:]


class Loops:
    """The kernel of a step, some lanes at a time: turn after turn of loops over rows around loops over lanes."""

    def __init__(self, step: Step) -> None:
        self.step, self.at_once = step, _LANES
        self.plan = self._planned(step)
        self.places = _vectors(step.parameters)
        self.constants: dict[str, str] = {}
        self.codes: list[Code] = []
        self.lines = [line for turn in self.plan.turns for line in self._turn(turn)]

    def _planned(self, step: Step) -> Plan:
        return Plan(step.outputs)

    def is_short(self, n: int) -> bool:
        """Whether they are much shorter than ``n`` operations, and their rows are not too many."""
        return 2 * self.n_operations < n and self.is_small

    @property
    def is_small(self) -> bool:
        """Whether the rows of lanes that it keeps, in float64, are not too much for a thread's stack."""
        return self.plan.n_rows * self.at_once * 8 <= _MOST_BYTES

    @property
    def n_operations(self) -> int:
        """Operations that are written down."""
        return sum(len(code.per_lane) for code in self.codes)

    def source(self) -> str:
        """The source of the kernel."""
        step, row = self.step, self.step.lanes
        used = frozenset[str]().union(*(code.used for code in self.codes))
        doubles = frozenset[str]().union(*(code.doubles for code in self.codes))
        before, _ = draw_setup(step, 1)
        times = [f"{name}_0 = " + TIMES[name].format(k="(first_step + s)") for name in TIMES if name in doubles]
        back = ["for l in range(b, b + m):", f"    x[i * {row} + l] = {self._row('q').format('i')}"]
        lanes = [
            f"for b in range(0, lanes, {self.at_once}):", f"    m = {few_lanes(self.at_once)}",
            *indent([*self.lines, f"for i in range({len(step.outputs)}):", *indent(back)]),
        ]  # fmt: skip
        once = [line for code in self.codes for line in code.once]
        fixed = [line for code in self.codes for line in code.fixed]
        body = [*clock_lines(step, self._names, used, doubles), *fixed, *before, *times, *once, *lanes]
        wanted = parameter_lines(step.parameters, doubles, "c", len(CLOCK))
        parameters = [line for line in wanted if line.split(" = ")[0].removeprefix("d_") in used | doubles]
        return "\n".join([
            *constant_lines(self.constants), f"scratch_rows = scratch_({self.plan.n_rows}, {self.at_once})",
            *self._lists(), step.head, "    q = scratch_rows()", *indent([*self._begin(), *parameters]),
            *indent(["for s in range(n_steps):", *indent(body)]), "",
        ])  # fmt: skip

    def _lists(self) -> list[str]:
        """What else stands before the kernel."""
        return []

    def _begin(self) -> list[str]:
        """What else stands at its beginning."""
        return []

    @property
    def _names(self) -> dict[str, str]:
        clock = {name: f"{name}_v" for name in (*CLOCK, *self.step.constants)}
        return {name: f"{name}_0" for name in TIMES} | clock

    def _row(self, letter: str) -> str:
        """What lane l of a row is, whose number is to be filled in."""
        row = self.step.lanes
        return {
            "x": f"x[({{}}) * {row} + l]", "z": f"T(z[zs + ({{}}) * {row} + l])", "u": f"u[us + ({{}}) * {row} + l]",
            "q": f"q[({{}}) * {self.at_once} + l - b]", "c": f"T(c[{len(CLOCK)} + {{}}])",
        }[letter]  # fmt: skip

    def _turn(self, units: Sequence[Unit]) -> list[str]:
        """Loops over rows that are alike, after all others."""
        alike, alone, lines = defaultdict[Hashable, list[Unit]](list), list[Unit](), list[str]()
        for unit in units:
            if len(all_parts([unit.value])) <= _SHORT:
                alike[likeness(unit.value, unit.row, self.places)].append(unit)
            else:
                alone.append(unit)
        for members in alike.values():
            pattern, first = pattern_of(members[0].value, members[0].row, self.places), 0
            for nest in nests([unit.row for unit in members]):
                n = nest.length * nest.times
                if n >= MANY:
                    lines += self._loop(pattern, nest)
                else:
                    alone += members[first : first + n]
                first += n
        return [*self._straight(alone), *lines]

    def _code(self, inputs: Sequence[str]) -> Code:
        code = Code(inputs, prefix=f"v{len(self.codes)}_", names=dict(self._names), constants=self.constants)
        self.codes.append(code)
        return code

    def _straight(self, units: Sequence[Unit]) -> list[str]:
        """What stores units that are like no others."""
        if not units:
            return []
        rows = {e.value: m for u in units for e in all_parts([u.value]) if (m := matched(e)) is not None}
        code = self._code(list(rows))
        results = code.add([unit.value for unit in units])
        loads = [f"{name} = {self._row(match[1]).format(match[2])}" for name, match in rows.items()]
        stores = [f"{self._row('q').format(unit.row)} = T({name})" for unit, name in zip(units, results, strict=True)]
        return ["for l in range(b, b + m):", *indent([*loads, *code.per_lane, *stores])]

    def _loop(self, pattern: Expr, nest: Nest) -> list[str]:
        """The loop that stores rows of one pattern."""
        near = list(near_rows(pattern))
        code = self._code([name for name, letter, _ in near if letter != "c"])
        (result,) = code.add([pattern])
        loads = [f"{name} = {self._row(letter).format(f'i + {k}')}" for name, letter, k in near if letter != "c"]
        own = [f"{name} = {self._row('c').format(f'i + {k}')}" for name, letter, k in near if letter == "c"]
        own += [f"d_{name} = c[{len(CLOCK)} + i + {k}]" for name, _, k in near if name in code.doubles]
        if own:  # what parameters of the row make is computed for every row
            own += [*code.fixed, *code.once]
            code.fixed, code.once = [], []
        lane = [*loads, *code.per_lane, f"{self._row('q').format('i')} = T({result})"]
        inner = [*own, "for l in range(b, b + m):", *indent(lane)]
        begin, length, stride, times = nest
        if times == 1:
            return [f"for i in range({begin}, {begin + length}):", *indent(inner)]
        if length == 1:
            return [f"for i in range({begin}, {begin + times * stride}, {stride}):", *indent(inner)]
        outer = f"for j in range({begin}, {begin + times * stride}, {stride}):"
        return [outer, f"    for i in range(j, j + {length}):", *indent(inner, 2)]


def _vectors(parameters: Sequence[str]) -> dict[str, int]:
    """Where parameters lie that are one of many of a name, one after the other."""
    places: dict[str, int] = {}
    for _, group in groupby(enumerate(parameters), key=lambda pair: re.sub(r"\d+", "#", pair[1])):
        members = list(group)
        if len(members) >= MANY:
            places |= {name: i for i, name in members}
    return places
