"""What happens to few lanes after a step: a search in many lanes at once, and statements where it finds something.

Of a jump that one path in a thousand makes in a step nothing is computed for the others. What is computed has the bits
that it has anywhere else: only who computes it is decided here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .code import Code, indent
from .step import Step, draw_lines

#: Lanes that are searched at once, of which rows have whole multiples.
_AT_ONCE = 32


class Found(NamedTuple):
    """Statements of what is rare: ``search`` computes the ``condition``, ``then`` the ``results`` where it holds."""

    search: Code
    condition: str
    then: Code
    results: list[str]

    @property
    def fixed(self) -> list[str]:
        """What does not depend on the time."""
        return self.search.fixed + self.then.fixed

    @property
    def once(self) -> list[str]:
        """What is equal in all lanes."""
        return self.search.once + self.then.once

    @property
    def used(self) -> frozenset[str]:
        """Names of the symbols that occur in the state's type."""
        return self.search.used | self.then.used

    @property
    def doubles(self) -> frozenset[str]:
        """Names of the symbols that occur in float64."""
        return self.search.doubles | self.then.doubles


def found_in(
    step: Step, main: Code, names: dict[str, str], constants: dict[str, str], first: Found | None = None
) -> Found | None:
    """What is rare after a step, whose statements are ``main`` and call what is equal in all lanes by ``names``.

    ``first`` is the same after an earlier step.
    """
    if step.rare is None:
        return None

    def code(letter: str, before: Code) -> Code:
        new = Code(step.lane_inputs, main.signs, main.prefix + letter, names, constants, main.written)
        new.follow(before)
        return new

    search, then = code("q", first.search if first else main), code("r", first.then if first else main)
    (condition,), results = search.add((step.rare.condition,)), then.add(step.rare.outputs)
    return Found(search, condition, then, results)


def searching_loop(step: Step, found: Found, lane: list[str]) -> list[str]:
    """The loop over lanes of a step, ``lane`` by lane, and over those of them where something rare happens.

    The lanes of a group have a bit each in a word, which is 0 most of the time.
    """
    row = step.lanes
    loads = [f"x{i} = x[{i * row} + l]" for i in range(len(step.outputs))] + draw_lines(step, 0, 1)
    new = [f"x[{i * row} + l] = {result}" for i, result in enumerate(found.results) if result != f"x{i}"]
    handled = [
        "while hits != 0:",
        *indent(["l = group + lowest_(hits)", "hits = rest_(hits)", *loads, *found.then.per_lane, *new]),
    ]
    drawn = _word_below(step, found)
    if drawn is not None:
        place, bound = drawn
        groups = [f"for group in range(0, lanes, {_AT_ONCE}):"]
        groups += indent([f"hits = below_(u, {place} + group, bound)", *handled])
        return [
            "for l in range(lanes):", *indent(lane),
            # (a loop of its own: what would be carried through the one above takes its registers)
            f"bound = bound_({bound})", "least = W(0xFFFFFFFF)",
            "for l in range(lanes):", f"    least = least_(least, word_(u[{place} + l]))",
            "if seldom_(least >> W(9) < bound):", *indent(groups),
        ]  # fmt: skip
    return [
        f"for group in range(0, lanes, {_AT_ONCE}):",
        *indent(["hits = W(0)", f"for j in range({_AT_ONCE}):"]),
        *indent(
            ["l = group + j", *lane, *found.search.per_lane, f"hits = both_(hits, mark_({found.condition}, j))"], 2
        ),
        *indent(handled),
    ]


def _word_below(step: Step, found: Found) -> tuple[str, str] | None:
    """Where a uniform that comes as a word lies, and what holds the bound, if the condition is that it is below one.

    The least word of all lanes then says whether there is anything to be found.
    """
    condition = step.rare.condition if step.rare else None
    if condition is None or condition.op != "lt" or not step.words:
        return None
    drawn, bound = condition.args
    uniforms = [f"u{i}" for i in range(step.n_uniforms)]
    if drawn.op != "symbol" or drawn.value not in uniforms or found.search.varies(bound):
        return None
    return f"us + {uniforms.index(drawn.value) * step.lanes}", found.search.hold(bound)


def mask_functions(intrinsic: Any) -> dict[str, Any]:
    """What the search is written with: words of 32 bits, by a decorator for functions that emit LLVM instructions.

    Words of uniforms (see `Step.words`) are below a number if their first 23 bits are so below ``bound_(number)``:
    ``below_(values, first, bound)`` has a bit for each of the words from the first on, ``least_`` is the less of two,
    and ``seldom_`` tells the compiler that a condition holds seldom, so that registers go to what is done otherwise.
    ``mark_(holds, n)`` is bit n or nothing, ``both_`` has the bits of two words, ``lowest_`` is the number of the
    lowest bit and ``rest_`` the word without it.
    """
    from llvmlite import ir
    from numba import types

    word = ir.IntType(32)

    @intrinsic  # type: ignore[untyped-decorator]
    def mark(typing: Any, holds: Any, n: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            holds, n = args
            bit = builder.shl(word(1), builder.trunc(n, word))
            return builder.select(holds, bit, word(0))

        return types.uint32(types.boolean, types.int64), build

    @intrinsic  # type: ignore[untyped-decorator]
    def lowest(typing: Any, hits: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.zext(builder.cttz(args[0], ir.IntType(1)(1)), ir.IntType(64))

        return types.int64(types.uint32), build

    @intrinsic  # type: ignore[untyped-decorator]
    def rest(typing: Any, hits: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.and_(args[0], builder.sub(args[0], word(1)))

        return types.uint32(types.uint32), build

    @intrinsic  # type: ignore[untyped-decorator]
    def both(typing: Any, one: Any, other: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.or_(*args)

        return types.uint32(types.uint32, types.uint32), build

    @intrinsic  # type: ignore[untyped-decorator]
    def least(typing: Any, one: Any, other: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(builder.icmp_unsigned("<", *args), *args)

        return types.uint32(types.uint32, types.uint32), build

    @intrinsic  # type: ignore[untyped-decorator]
    def seldom(typing: Any, holds: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bit = ir.IntType(1)
            expect = builder.module.declare_intrinsic("llvm.expect", (bit,), ir.FunctionType(bit, [bit, bit]))
            return builder.call(expect, [args[0], bit(0)])

        return types.boolean(types.boolean), build

    @intrinsic  # type: ignore[untyped-decorator]
    def bound(typing: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            double = ir.DoubleType()
            scaled = builder.fmul(builder.fpext(args[0], double), double(2.0**23))
            scaled = builder.fsub(scaled, double(0.5))  # (exact, of which the next integer is the bound)
            whole = builder.fptosi(scaled, word)
            more = builder.fcmp_ordered(">", scaled, builder.sitofp(whole, double))
            return builder.add(whole, builder.zext(more, word))

        return types.uint32(types.float32), build

    @intrinsic  # type: ignore[untyped-decorator]
    def below(typing: Any, values: Any, first: Any, bound: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer, first, bound = args
            many = ir.VectorType(word, _AT_ONCE)
            place = builder.bitcast(builder.gep(pointer, [first]), many.as_pointer())
            words = builder.load(place, align=4)
            shift = ir.Constant(many, [9] * _AT_ONCE)
            one = builder.insert_element(ir.Constant(many, ir.Undefined), bound, word(0))
            bounds = builder.shuffle_vector(one, one, ir.Constant(many, [0] * _AT_ONCE))
            return builder.bitcast(builder.icmp_unsigned("<", builder.lshr(words, shift), bounds), word)

        return types.uint32(values, types.int64, types.uint32), build

    return {
        "seldom_": seldom,
        "least_": least,
        "bound_": bound,
        "below_": below,
        "mark_": mark,
        "lowest_": lowest,
        "rest_": rest,
        "both_": both,
        "W": np.uint32,
    }
