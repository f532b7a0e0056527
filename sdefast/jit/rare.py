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
    """Statements of what is rare: ``fixed`` in time, ``once`` for all lanes, and per lane.

    ``search`` computes the ``condition``, ``then`` the ``results`` where it holds. ``used`` and ``doubles`` are names
    of symbols as in `Code`.
    """

    fixed: list[str]
    once: list[str]
    search: list[str]
    condition: str
    then: list[str]
    results: list[str]
    used: frozenset[str]
    doubles: frozenset[str]


def found_in(step: Step, main: Code, names: dict[str, str], constants: dict[str, str]) -> Found | None:
    """What is rare after a step, whose statements are ``main`` and call the same in all lanes by ``names``."""
    if step.rare is None:
        return None

    def code(letter: str) -> Code:
        new = Code(step.lane_inputs, main.signs, main.prefix + letter, names, constants, main.written)
        new.follow(main)
        return new

    search, then = code("q"), code("r")
    (condition,), results = search.add((step.rare.condition,)), then.add(step.rare.outputs)
    return Found(
        search.fixed + then.fixed, search.once + then.once, search.per_lane, condition, then.per_lane, results,
        search.used | then.used, search.doubles | then.doubles,
    )  # fmt: skip


def searching_loop(step: Step, found: Found, lane: list[str]) -> list[str]:
    """The loop over lanes of a step, ``lane`` by lane, and over those of them where something rare happens.

    The lanes of a group have a bit each in a word, which is 0 most of the time.
    """
    row = step.lanes
    loads = [f"x{i} = x[{i * row} + l]" for i in range(len(step.outputs))] + draw_lines(step, 0, 1)
    new = [f"x[{i * row} + l] = {result}" for i, result in enumerate(found.results) if result != f"x{i}"]
    return [
        f"for group in range(0, lanes, {_AT_ONCE}):",
        *indent(["hits = W(0)", f"for j in range({_AT_ONCE}):"]),
        *indent(["l = group + j", *lane, *found.search, f"hits = both_(hits, mark_({found.condition}, j))"], 2),
        *indent(["while hits != 0:"]),
        *indent(["l = group + lowest_(hits)", "hits = rest_(hits)"], 2),
        *indent([*loads, *found.then, *new], 2),
    ]


def mask_functions(intrinsic: Any) -> dict[str, Any]:
    """What the search is written with: words of 32 bits, by a decorator for functions that emit LLVM instructions.

    ``mark_(holds, n)`` is bit n or nothing, ``both_`` has the bits of two words, ``lowest_`` is the number of the lowest
    bit and ``rest_`` the word without it.
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

    return {"mark_": mark, "lowest_": lowest, "rest_": rest, "both_": both, "W": np.uint32}
