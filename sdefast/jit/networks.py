"""Kernels of networks, whose rows are sums of many terms that are alike: loops over lists of what the terms take.

Rows are alike here if they are the same expression but for the rows, numbers and parameters in it, wherever these lie:
a loop reads from lists which ones each member takes. A sum of many terms is a loop too, of terms that are added one
after the other as in straight-line code, with the same bits. So a step of ten thousand sines, as a hundred oscillators
have that all pull at one another, is compiled like one of a few.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache, reduce
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..trace import Expr, all_parts, constant, node, substitute, symbol
from .alike import COSTLY, MANY, SHARED, Loops, Plan, Unit, is_row, least
from .code import Code, count_uses, gather_factors, indent
from .shapes import Kinds, Shape, shape_of, with_leaves
from .step import CLOCK, Step

#: Operations of a step for which this is worth it, and those that other loops may leave in straight-line code.
_LONG, _FEW = 300, 250

#: Terms of sums, and operations of a row, for which no other loops are tried: that of many thousand terms takes long.
_DENSE = 64

#: Terms from which on a sum is looked at as a loop, and those from which on it is if every other one is alike.
_TERMS, _FEW_TERMS = 8, 4

#: Lanes that go through all loops together, if their rows take no more bytes than this in float64.
_LANES, _FEW_BYTES = 64, 2**18

#: Operations as many as which a loop over lanes takes to compile.
_LOOP = 60

#: The sum so far.
_SO_FAR = symbol("sum__")


@lru_cache(maxsize=16)
def loops_of(step: Step) -> Loops | None:
    """The loops of a long step, if they are much shorter than straight-line code."""
    if step.signs or step.picks or len(step.outputs) < MANY:
        return None
    n = sum(bool(e.args) for e in all_parts(step.outputs))
    network = Network(step) if n >= _DENSE * len(step.outputs) else None
    if network is not None and network.plan.longest >= _DENSE and network.is_better(work(step.outputs)):
        return network
    found = Loops(step) if n >= least(step) else None
    if found is not None and not found.is_short(n):
        found = None
    if n >= _LONG and (found is None or found.n_operations > _FEW):
        network = network or Network(step)
        if network.is_better(work(step.outputs) if found is None else _work_of(found)):
            return network
    return found


def _work_of(loops: Loops) -> int:
    """What it takes to compile loops, in operations."""
    return loops.n_operations + _LOOP * sum(line.lstrip().startswith("for l ") for line in loops.lines)


def work(outputs: Sequence[Expr]) -> int:
    """Operations, functions counted as many."""
    return sum(SHARED if e.op in COSTLY else bool(e.args) for e in all_parts(outputs))


# Sums of many terms ---------------------------------------------------------------------------------------------------


class Term(NamedTuple):
    """What is added to a sum, or subtracted; ``comes_last`` says whether it stands after the sum so far."""

    op: str
    comes_last: bool
    value: Expr

    def added(self, so_far: Expr) -> Expr:
        """The sum with this term."""
        return node(self.op, (so_far, self.value) if self.comes_last else (self.value, so_far))

    def scaled(self) -> Term | None:
        """The same as a product with a number that is added, where a multiply-add rounds it in the same way."""
        factor, value = 1.0, self.value
        if value.op == "mul":
            number, value = value.args
            if number.op != "constant" or value.op == "mul":
                return None
            factor = float(number.value)
        return Term("add", True, node("mul", (constant(-factor if self.op == "sub" else factor), value)))


class Sum(NamedTuple):
    """What a row becomes: ``first``, to which terms are added one after the other."""

    row: int
    first: Expr
    terms: list[Term]


class Sums:
    """The sums of many terms in ``outputs``: ``whole`` ones, and how they are put together."""

    def __init__(self, outputs: Sequence[Expr], kinds: Kinds) -> None:
        self.kinds = kinds
        uses, lengths, before = count_uses(outputs), dict[Expr, int](), dict[Expr, Expr]()
        varies: dict[Expr, bool] = {}
        for e in all_parts(outputs):
            varies[e] = is_row(e) or any(varies[a] for a in e.args)
            if e.op not in ("add", "sub") or not varies[e]:
                continue
            inner = [a for a in e.args[: 2 if e.op == "add" else 1] if a in lengths and uses[a] == 1]
            so_far = max(inner, key=lengths.__getitem__, default=None)
            lengths[e] = 1 if so_far is None else lengths[so_far] + 1
            if so_far is None and (e.args[0].op != "mul" or (uses[e.args[1]] == 1 and e.args[1].op == "mul")):
                so_far = e.args[0]  # (else it may be this product that a multiply-add takes in)
            if so_far is not None:
                before[e] = so_far
        self._before, self._lengths = before, lengths
        ends = set(lengths) - {b for b in before.values() if uses[b] == 1}
        self.whole = {e for e in ends if lengths[e] >= _FEW_TERMS - 1 and self._is_loop(e)}
        #: partial sums, and what is added last in each
        self.last = {e: term.value for end in self.whole for e, term in self._down(end)}

    def _is_loop(self, e: Expr) -> bool:
        """Whether a sum is worth a loop."""
        _, terms = self.taken_apart(e)
        if len(terms) >= _TERMS - 1:
            return True
        keys = []
        for term in terms:
            self.kinds.look_at(term.value)
            keys.append((term.op, term.comes_last, shape_of(term.value, self.kinds).key))
        return 2 * sum(a != b for a, b in pairwise([None, *keys])) <= len(keys)

    def _down(self, e: Expr) -> Iterator[tuple[Expr, Term]]:
        """The partial sums of a sum, itself first, with what is added last in each."""
        while e in self._before:
            before = self._before[e]
            comes_last = before is e.args[0]
            yield e, Term(e.op, comes_last, e.args[1 if comes_last else 0])
            if self._lengths[e] == 1:
                return
            e = before

    def taken_apart(self, e: Expr) -> tuple[Expr, list[Term]]:
        """What a sum begins with, and its terms."""
        partial = list(self._down(e))
        return self._before[partial[-1][0]], [term for _, term in reversed(partial)]


class NetworkPlan(Plan):
    """A plan in which sums of many terms are stored; ``sums`` has those by their rows."""

    def __init__(self, step: Step, kinds: Kinds) -> None:
        self.sums: dict[int, Sum] = {}
        self.kinds = kinds
        super().__init__(gather_factors(list(step.outputs), Code(step.lane_inputs).varies))

    def _wanted(self) -> set[Expr]:
        self.all_sums = Sums(self.outputs, self.kinds)
        return self.all_sums.whole

    @property
    def longest(self) -> int:
        """Terms of the longest sum."""
        return max((len(s.terms) + 1 for s in self.sums.values()), default=0)

    def _left(self, e: Expr, part: Expr, owners: set[Hashable]) -> set[Hashable]:
        """Every term of a sum is computed on its own."""
        return {e} if self.all_sums.last.get(e) is part else owners

    def _turn(self, ends: list[tuple[int, Expr]], own: list[Expr]) -> list[Unit]:
        known = dict(self._known)
        units = super()._turn(ends, own)
        for row, e in (*ends, *((int(self._known[e].value[1:]), e) for e in own)):
            if e in self.all_sums.whole:
                first, terms = self.all_sums.taken_apart(e)
                inside = [term._replace(value=substitute(term.value, {}, known)) for term in terms]
                self.sums[row] = Sum(row, substitute(first, {}, known), inside)
        return units


# Loops ----------------------------------------------------------------------------------------------------------------


def is_worth(n: int, value: Expr, shape: Shape) -> bool:
    """Whether ``n`` expressions of a shape are better a loop."""
    return n >= MANY and n * (work([value]) + len(shape.leaves) + 1) >= _LOOP


class Part(NamedTuple):
    """A term of a sum and its shape."""

    term: Term
    shape: Shape

    @property
    def key(self) -> Hashable:
        """The same for terms that are alike."""
        return self.term.op, self.term.comes_last, self.shape.key


class Network(Loops):
    """Loops in which rows that are nowhere near one another are alike, and sums of many terms are loops."""

    plan: NetworkPlan

    def __init__(self, step: Step) -> None:
        self.lists: dict[str, str] = {}
        self.kinds, self.written = Kinds(step.parameters), 0
        super().__init__(step)

    @property
    def work(self) -> int:
        """What it takes to compile them, in operations, functions counted as many."""
        return _work_of(self) + self.written - self.n_operations

    def is_better(self, other: int) -> bool:
        """Whether they are compiled much faster than what takes as long as ``other`` operations."""
        return 2 * self.work < other and self.is_small

    def _planned(self, step: Step) -> Plan:
        plan = NetworkPlan(step, self.kinds)
        if plan.n_rows * _LANES * 8 <= _FEW_BYTES:
            self.at_once = _LANES
        return plan

    def _lists(self) -> list[str]:
        rows = f"scratch_row = scratch_(1, {self.at_once})"
        return [rows, *(f"{name}_ = numbers_({values})" for values, name in self.lists.items())]

    def _begin(self) -> list[str]:
        return ["a = scratch_row()", *(f"{name} = {name}_()" for name in self.lists.values())]

    def _turn(self, units: Sequence[Unit]) -> list[str]:
        sums = [self.plan.sums[unit.row] for unit in units if unit.row in self.plan.sums]
        begun = {s.row: s.first for s in sums}
        return [*self._begun([Unit(unit.row, begun.get(unit.row, unit.value)) for unit in units]), *self._added(sums)]

    def _begun(self, units: Sequence[Unit]) -> list[str]:
        """What stores units: loops over those of one shape, after all others."""
        alike, alone, lines = defaultdict[Hashable, list[tuple[Unit, Shape]]](list), list[Unit](), list[str]()
        for unit in units:
            self.kinds.look_at(unit.value)
            shape = shape_of(unit.value, self.kinds)
            alike[shape.key].append((unit, shape))
        for members in alike.values():
            if not is_worth(len(members), members[0][0].value, members[0][1]):
                alone += [unit for unit, _ in members]
                continue
            lists = _Lists(self, [[shape.leaves] for _, shape in members])
            own, lane, result = lists.code(with_leaves(members[0][0].value, iter(lists.symbols), self.kinds))
            o, row = self.list_of([unit.row for unit, _ in members]), self._row("q").format("o")
            if lists.read_stored:  # (a compiler cannot know that no row is read that is written)
                stored = [*_over_lanes(lane, result), *_over_lanes([], "a[l - b]", row)]
            else:
                stored = _over_lanes(lane, result, row)
            lines += [f"for i in range({len(members)}):", *indent([f"o = {o}[i]", *lists.of_sums, *own, *stored])]
        return [*self._straight(alone), *lines]

    def _added(self, sums: Sequence[Sum]) -> list[str]:
        """Loops that add terms to sums which have begun: to all as many as are alike, until none is left."""
        left, lines = {s.row: self._shaped(s.terms) for s in sums}, list[str]()
        self._scale(left)
        while any(left.values()):
            runs = {row: _run([term.key for term in terms]) for row, terms in left.items() if terms}
            count = Counter[Hashable]()
            for row, n in runs.items():
                count[left[row][0].key] += n
            ((key, n),) = count.most_common(1)
            taken = [row for row in runs if left[row][0].key == key]
            if not is_worth(n, left[taken[0]][0].term.value, left[taken[0]][0].shape):
                break
            lines += self._loop_of_sums(taken, [left[row][: runs[row]] for row in taken])
            left |= {row: left[row][runs[row] :] for row in taken}
        rest = [
            Unit(row, reduce(lambda e, part: part.term.added(e), terms, symbol(f"q{row}")))
            for row, terms in left.items()
            if terms
        ]
        return [*lines, *self._straight(rest)]

    def _shaped(self, terms: Sequence[Term]) -> list[Part]:
        for term in terms:
            self.kinds.look_at(term.value)
        return [Part(term, shape_of(term.value, self.kinds)) for term in terms]

    def _scale(self, sums: dict[int, list[Part]]) -> None:
        """Write terms as products with numbers where those of some are like others' then."""
        scaled: dict[Part, Part] = {}
        kinds = defaultdict[Hashable, set[Hashable]](set)
        for part in (part for parts in sums.values() for part in parts):
            term = part.term.scaled()
            if term is not None:
                (scaled[part],) = self._shaped([term])
                kinds[scaled[part].key].add(part.key)
        for row, parts in sums.items():
            sums[row] = [scaled[p] if p in scaled and len(kinds[scaled[p].key]) > 1 else p for p in parts]

    def _loop_of_sums(self, rows: Sequence[int], parts: Sequence[Sequence[Part]]) -> list[str]:
        """The loop that adds terms of one shape to sums in these rows."""
        leaves, term = [[part.shape.leaves for part in own] for own in parts], parts[0][0].term
        lists = _Lists(self, leaves)
        pattern = term._replace(value=with_leaves(term.value, iter(lists.symbols), self.kinds)).added(_SO_FAR)
        own, lane, result = lists.code(pattern)
        lengths = [len(members) for members in leaves]
        if len(set(lengths)) == 1:
            begin, end = f"i * {lengths[0]}", f"(i + 1) * {lengths[0]}"
        else:
            begin, end = (f"{self.list_of([0, *accumulate(lengths)])}[{i}]" for i in ("i", "i + 1"))
        o, total = self.list_of(rows), self._row("q").format("o")
        so_far = "a[l - b]" if lists.read_stored else total
        adding = [*lists.of_terms, *own, *_over_lanes([f"{_SO_FAR.value} = {so_far}", *lane], result, so_far)]
        added = [f"for k in range({begin}, {end}):", *indent(adding)]
        if lists.read_stored:
            added = [*_over_lanes([], total), *added, *_over_lanes([], so_far, total)]
        return [f"for i in range({len(rows)}):", *indent([f"o = {o}[i]", *lists.of_sums, *added])]

    def _straight(self, units: Sequence[Unit]) -> list[str]:
        self.written += work([unit.value for unit in units])
        return super()._straight(units)

    def row_of(self, e: Expr) -> str:
        """What lane l of a row is."""
        return self._row(e.value[0]).format(e.value[1:])

    def list_of(self, values: Sequence[float | int]) -> str:
        """The name of a list."""
        return self.lists.setdefault(_written(values), f"list{len(self.lists)}")


def _over_lanes(lines: Sequence[str], result: str, into: str = "a[l - b]") -> list[str]:
    """A loop that leaves a result in a row of lanes."""
    return ["for l in range(b, b + m):", *indent([*lines, f"{into} = T({result})"])]


def _run(keys: Sequence[Hashable]) -> int:
    """How many of them are as the first one."""
    return next((i for i, key in enumerate(keys) if key != keys[0]), len(keys))


def _written(values: Sequence[float | int]) -> str:
    """A list in a kernel's source."""
    return f"[{', '.join(repr(v) if v - v == 0 else f'float({str(v)!r})' for v in values)}]"


class _Lists:
    """What the members of a loop take, by ``symbols`` for their leaves: what is the same for all stays what it is.

    ``members`` are the leaves of every term of every sum. Lines ``of_sums`` read what all terms of sum i have in
    common, lines ``of_terms`` the rest, of term k; ``loads`` are rows of lanes.
    """

    def __init__(self, network: Network, members: Sequence[Sequence[tuple[Expr, ...]]]) -> None:
        self.network, self.kinds = network, network.kinds
        self.symbols: list[Expr] = []
        self._names: dict[tuple[Expr, ...], str] = {}
        self._rows: dict[str, str] = {}
        self._scalars: dict[str, str] = {}
        self.of_sums: list[str] = []
        self.of_terms: list[str] = []
        for place in range(len(members[0][0])):
            self.symbols.append(self._symbol([[leaves[place] for leaves in terms] for terms in members]))

    def _symbol(self, members: list[list[Expr]]) -> Expr:
        first = members[0][0]
        per_sum = all(e is terms[0] for terms in members for e in terms)
        leaves = tuple(terms[0] for terms in members) if per_sum else tuple(e for terms in members for e in terms)
        if all(e is first for e in leaves):
            if is_row(first):
                self._rows[first.value] = self.network.row_of(first)
            return first
        if leaves not in self._names:
            self._names[leaves] = self._read(
                leaves, "i" if per_sum else "k", self.of_sums if per_sum else self.of_terms
            )
        return symbol(self._names[leaves])

    def _read(self, leaves: tuple[Expr, ...], index: str, lines: list[str]) -> str:
        """The name for what differs."""
        letter, n = self.kinds[leaves[0]], f"{len(self.network.codes)}_{len(self._names)}"
        name, where = f"{letter}__s{n}", f"{self.network.list_of([self.kinds.number(e) for e in leaves])}[{index}]"
        if letter == "k":
            self._scalars[name] = where
        elif letter == "c":
            self._scalars[name] = f"c[{len(CLOCK)} + {where}]"
        else:
            lines.append(f"at{n} = {where}")
            self._rows[name] = self.network._row(letter).format(f"at{n}")
        return name

    @property
    def read_stored(self) -> bool:
        """Whether they are, in part, rows that are stored between the loops."""
        return any(where.startswith("q") for where in self._rows.values())

    def code(self, pattern: Expr) -> tuple[list[str], list[str], str]:
        """The code of a pattern in the symbols, for every member before all lanes, for every lane, and the result."""
        code = self.network._code([*self._rows, _SO_FAR.value])
        (result,) = code.add([pattern])
        own = [f"{name} = T({where})" for name, where in self._scalars.items()]
        own += [f"d_{name} = {where}" for name, where in self._scalars.items() if name in code.doubles]
        if own:
            own += [*code.fixed, *code.once]
            code.fixed, code.once = [], []
        self.network.written += work([pattern])
        loads = [f"{name} = {where}" for name, where in self._rows.items()]
        return own, [*loads, *code.per_lane], result
