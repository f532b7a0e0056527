"""What happens to few lanes after a step: a search in many lanes at once, and statements where it finds something.

Of a jump that one path in a thousand makes in a step nothing is computed for the others. What is computed has the bits
that it has anywhere else: only who computes it is decided here. What happens to all lanes in few steps is looked for
once a step.
"""

from __future__ import annotations

from typing import NamedTuple

from .code import Code, indent, over_lanes
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

    The lanes of a group have a bit each in a word, which is 0 most of the time; see ``calls.py``.
    """
    assert step.rare is not None
    row = step.lanes
    loads = [f"x{i} = x[{i * row} + l]" for i in range(len(step.outputs))] + draw_lines(step, 0, 1)
    new = [f"x[{i * row} + l] = {result}" for i, result in enumerate(found.results) if result != f"x{i}"]
    if not found.search.varies(step.rare.condition):
        happening = ["for l in range(lanes):", *indent([*loads, *found.then.per_lane, *new])]
        return [*over_lanes(lane), f"if {found.condition}:", *indent(happening)]
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
            *over_lanes(lane),
            # (a loop of its own: what would be carried through the one above takes its registers)
            f"bound = bound_({bound})", "least = W(0xFFFFFFFF)",
            "for l in range(lanes):", f"    least = least_(least, word_(u[{place} + l]))",
            "if seldom_(least, bound):", *indent(groups),
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
