"""From expressions to statements: straight-line scalar code.

What depends on time and parameters alone is computed once a step, the rest for every lane. What depends on time is
computed in float64 there, whatever the state's type, and rounded once: a phase of many periods has no digits left in
float32. A product that is added to something becomes a fused multiply-add, written out, so that a kernel has the same
bits on every machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from ..trace import Expr, all_parts, flip, inside_out, make, plain
from ..trace.lookups import LOOKUPS
from ..trace.operations import FUNCTIONS
from . import lookups

_T = TypeVar("_T")

#: What moves on with every step, in float64 from the number of the step, in which float32 would stop to count.
TIMES = {"t": "c[r] + {k} * c[r + 1]", "elapsed": "(c[r] - c[r + 4]) + {k} * c[r + 1]", "step": "D({k})"}

#: Operations that are written with signs.
SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "neg": "-",
    "lt": "<", "le": "<=", "eq": "==", "and": "&", "or": "|", "not": "not ",
}  # fmt: skip


#: Functions whose instructions wait for one another, as the terms of Horner's rule do.
LONG = frozenset(FUNCTIONS) - {"abs", "min", "max", "floor", "sqrt", "hypot"} | {"exp_moderate", "log_positive"}

_LONG_CALL = re.compile(rf"\b({'|'.join(sorted(LONG))})_\(")

#: So many of them are written side by side at most: what they take must be computed before and kept.
_MOST_ABREAST = 8


@dataclass
class Code:
    """Statements that compute expressions: ``per_lane``; ``once`` for all lanes; of these those ``fixed`` in time.

    What is computed once and depends on time is so in float64, with all that it is made of: of a symbol ``a`` it takes
    the float64 value ``d_a``, of the times nothing else is there; ``doubles`` are the names of such symbols.
    ``names`` says what symbols that are equal in all lanes are called, ``prefix`` what the statements' own names begin
    with, ``constants`` collects constants and their names, ``signs`` are the lane inputs that are +1 or -1.
    ``written`` has the operations that are written with signs; others are calls of ``add_`` and so on. ``fuses`` says
    whether products and sums become multiply-adds, ``abreast`` whether long functions that do not need one another are
    written side by side, ``v1, v2 = exp_(v0), exp_(x0)``.
    """

    lane_inputs: Iterable[str]
    signs: frozenset[str] = frozenset()
    prefix: str = "v"
    names: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=lambda: SIGNS)
    fuses: bool = True
    abreast: bool = False
    fixed: list[str] = field(default_factory=list)
    once: list[str] = field(default_factory=list)
    per_lane: list[str] = field(default_factory=list)
    _known: dict[Expr, str] = field(default_factory=dict)
    _doubles: dict[Expr, str] = field(default_factory=dict)
    _varying: dict[Expr, bool] = field(default_factory=dict)
    _moving: dict[Expr, bool] = field(default_factory=dict)
    _uses: Counter[Expr] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.lane_inputs = frozenset(self.lane_inputs)

    def add(self, outputs: Iterable[Expr]) -> list[str]:
        """Append what computes ``outputs``; returns what holds them."""
        factored = gather_factors(list(outputs), self.varies, self.signs)
        self._uses = count_uses(factored)
        parts = all_parts(factored)
        absorbed = {id(product) for e in parts for product in self._own_product(e)}
        groups = self._groups(parts) if self.abreast else {}
        for e in in_groups(parts, groups):  # every part after its own parts, so that nothing recurses deeply
            if self._is_clocked(e):
                for part in inside_out(e, self._doubles):
                    self._hold_double(part)
            elif e in groups:
                self._hold_abreast(groups[e])
            elif id(e) not in absorbed:
                self.hold(e)
        return [self.hold(e) for e in factored]

    def _groups(self, parts: Sequence[Expr]) -> dict[Expr, Sequence[Expr]]:
        """What is written side by side with one: the same function after as many others, which needs none of it."""
        levels: dict[Expr, int] = {}
        alike: dict[tuple[str, int], list[Expr]] = {}
        for e in parts:
            levels[e] = max((levels[a] + self._is_long(a) for a in e.args), default=0)
            if self._is_long(e) and e not in self._known:
                alike.setdefault((e.op, levels[e]), []).append(e)
        chunks = [chunk for members in alike.values() for chunk in in_equal_parts(members, _MOST_ABREAST)]
        return {e: chunk for chunk in chunks for e in chunk if len(chunk) > 1}

    def _is_long(self, e: Expr) -> bool:
        return e.op in LONG and self.varies(e)

    def _hold_abreast(self, group: Sequence[Expr]) -> None:
        """One statement that computes functions whose arguments are there."""
        if group[0] in self._known:
            return
        calls = [self._text(e, [self.hold(a) for a in e.args]) for e in group]
        for e in group:
            self._known[e] = self._new_name()
        self.per_lane.append(f"{', '.join(self._known[e] for e in group)} = {', '.join(calls)}")

    def follow(self, first: Code) -> None:
        """Take over from the step before what is equal in all lanes and at all times."""
        for known, own in ((first._known, self._known), (first._doubles, self._doubles)):
            own.update({e: name for e, name in known.items() if not first.varies(e) and not first.moves(e)})

    @property
    def used(self) -> frozenset[str]:
        """Names of the symbols that occur in the state's type."""
        return frozenset(e.value for e in self._known if e.op == "symbol")

    @property
    def doubles(self) -> frozenset[str]:
        """Names of the symbols that occur in float64."""
        return frozenset(e.value for e in self._doubles if e.op == "symbol")

    def varies(self, e: Expr) -> bool:
        """Whether an expression differs between lanes."""
        for part in inside_out(e, self._varying):
            named = part.op == "symbol" and part.value in self.lane_inputs
            self._varying[part] = named or any(self._varying[a] for a in part.args)
        return self._varying[e]

    def moves(self, e: Expr) -> bool:
        """Whether an expression depends on the time."""
        for part in inside_out(e, self._moving):
            named = part.op == "symbol" and part.value in TIMES
            self._moving[part] = named or any(self._moving[a] for a in part.args)
        return self._moving[e]

    def _is_clocked(self, e: Expr) -> bool:
        """Whether an expression depends on the time and is equal in all lanes."""
        return self.moves(e) and not self.varies(e)

    def hold(self, e: Expr) -> str:
        """The name that holds an expression."""
        if e not in self._known:
            if self._is_clocked(e):
                double = self._hold_double(e)
                self._known[e] = double if e.is_boolean else self._new_name()
                self.once += [] if e.is_boolean else [f"{self._known[e]} = T({double})"]
            elif e.op == "symbol":
                self._known[e] = self.names.get(e.value, e.value)
            elif e.op == "constant":
                self._known[e] = self._constant(e.value)
            else:
                fused = self._fused(e)
                args = [] if fused else [self.hold(a) for a in e.args]
                self._known[e] = name = self._new_name()
                where = self.per_lane if self.varies(e) else self.fixed
                where += [f"{name} = {fused}"] if fused else self._statements(e, name, args)
        return self._known[e]

    def _hold_double(self, e: Expr) -> str:
        """The name that holds the float64 value of an expression that is equal in all lanes."""
        if e not in self._doubles:
            if e.op == "symbol":
                name = self.names.get(e.value, e.value)
                self._doubles[e] = name if e.value in TIMES else f"d_{name}"
            elif e.op == "constant":
                self._doubles[e] = self._constant(e.value, "D")
            else:
                args = [self._hold_double(a) for a in e.args]
                self._doubles[e] = name = self._new_name()
                where = self.once if self.moves(e) else self.fixed
                where += self._statements(e, name, args, "64")
        return self._doubles[e]

    def _new_name(self) -> str:
        return f"{self.prefix}{len(self._known) + len(self._doubles)}"

    def _constant(self, value: float | bool, kind: str = "T") -> str:
        if isinstance(value, bool):
            return repr(value)
        literal = f"{kind}({value!r})" if value - value == 0 else f"{kind}('{value!r}')"
        return self.constants.setdefault(literal, f"k{len(self.constants)}")

    def _statements(self, e: Expr, name: str, args: list[str], width: str = "") -> Iterable[str]:
        """What leaves an operation on what has these names in another."""
        if e.op in LOOKUPS:
            return lookups.statements(e, name, args[0], width)
        return [f"{name} = {self._text(e, args, width)}"]

    def _text(self, e: Expr, args: list[str], width: str = "") -> str:
        sign = self.written.get(e.op)
        if sign is None:
            return f"{e.op}{width}_({', '.join(args)})"
        return f"{args[0]} {sign} {args[1]}" if len(args) == 2 else f"{sign}{args[0]}"

    def _fused(self, e: Expr) -> str | None:
        """The multiply-add of a sum with a product that nothing else needs."""
        for product in self._own_product(e):
            first, other = product is e.args[0], e.args[1] if product is e.args[0] else e.args[0]
            x, y, z = (self.hold(part) for part in (*product.args, other))
            if e.op == "add":
                return f"fma_({x}, {y}, {z})"
            return f"fma_({x}, {y}, {self._minus(z)})" if first else f"fma_({self._minus(x)}, {y}, {z})"
        return None

    def _minus(self, name: str) -> str:
        return f"-{name}" if "neg" in self.written else f"neg_({name})"

    def _own_product(self, e: Expr) -> list[Expr]:
        """The product that a sum takes in, as a list of one, or of none."""
        if e.op not in ("add", "sub") or not self.fuses or not self.varies(e):
            return []
        return [a for a in reversed(e.args) if a.op == "mul" and self._uses[a] == 1 and self.varies(a)][:1]


def count_uses(outputs: Sequence[Expr]) -> Counter[Expr]:
    """How often every part is one of another part, or an output."""
    uses: Counter[Expr] = Counter()
    todo = list(outputs)
    while todo:
        e = todo.pop()
        uses[e] += 1
        if uses[e] == 1:
            todo.extend(e.args)
    return uses


def in_groups(parts: Sequence[Expr], groups: Mapping[Expr, Sequence[Expr]]) -> list[Expr]:
    """The same in another order, all members of a group one after the other; every part after its own parts."""
    placed: dict[Expr, bool] = {}

    def place(e: Expr) -> None:
        members = groups.get(e, (e,))
        for argument in (a for member in members for a in member.args):
            for part in inside_out(argument, placed):
                place(part)
        placed.update(dict.fromkeys(members, True))

    for e in parts:
        if e not in placed:
            place(e)
    return list(placed)


def in_equal_parts(members: Sequence[_T], most: int) -> list[Sequence[_T]]:
    """A sequence in as few parts as there may be of ``most`` members each, of about one length."""
    n = -(-len(members) // most)
    ends = [i * len(members) // n for i in range(n + 1)]
    return [members[begin:end] for begin, end in pairwise(ends)]


def gather_factors(
    outputs: Sequence[Expr], varies: Callable[[Expr], bool], signs: frozenset[str] = frozenset()
) -> list[Expr]:
    """Products with the factors that are equal in all lanes first, so that these are multiplied once a step.

    Signs come last and only flip the sign of the product.
    """
    uses = count_uses(outputs)
    done: dict[Expr, Expr] = {}

    def is_sign(e: Expr) -> bool:
        return e.op == "symbol" and e.value in signs

    def factors(e: Expr) -> list[Expr]:
        parts: list[Expr] = []
        for a in e.args:
            parts += factors(a) if a.op == "mul" and uses[a] == 1 else [rebuild(a)]
        return parts

    def rebuild(e: Expr) -> Expr:
        if e not in done:
            if e.op == "mul":
                product, *rest = sorted(factors(e), key=lambda part: (is_sign(part), varies(part)))
                for part in rest:
                    product = flip(product, part) if is_sign(part) else make("mul", product, part)
                done[e] = product
            else:
                done[e] = plain(e, [rebuild(a) for a in e.args]) if e.args else e
        return done[e]

    for part in all_parts(outputs):  # inner parts first, so that nothing recurses deeply
        if part.op != "mul" or uses[part] > 1:
            rebuild(part)
    return [rebuild(e) for e in outputs]


def indent(lines: Iterable[str], depth: int = 1) -> list[str]:
    return ["    " * depth + line for line in lines]


#: Of more statements registers hold little, and two vectors take half as long again to compile.
_MOST_PAIRED = 400


def over_lanes(lane: Sequence[str]) -> list[str]:
    """The loop over lanes of these statements; where they are long, half of them wait for others of one vector."""
    pays = len(lane) <= _MOST_PAIRED and any(_LONG_CALL.search(line) for line in lane)
    loop = "paired" if pays else "range"
    return [f"for l in {loop}(lanes):", *indent(lane)]


def known_lanes(row: int) -> str:
    """What tells the compiler that there are 32, 64, ... lanes, at most a row: so no vector is left over."""
    return f"lanes = min(whole_(lanes), {row})"


def constant_lines(constants: dict[str, str]) -> list[str]:
    return [f"{name} = {value}" for value, name in constants.items()]


def few_lanes(at_once: int) -> str:
    """The number of lanes from ``b`` on that are taken at once.

    (Written out: as the compiler sees it numba's `min` may raise, and what may raise is not kept on disk.)
    """
    return f"{at_once} if lanes - b > {at_once} else lanes - b"
