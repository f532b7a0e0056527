"""The lines of a kernel that draw the noise of steps, in loops over as many as a segment of the stream holds.

Draws follow ``csrc/noise/stream.hpp``: threads walk through the segments of their streams together, so that all
branches are the same for all of them.
"""

from __future__ import annotations

from typing import Protocol

from ..jit.emit import indent
from .noise import NORMALS, UNIFORMS, WORDS, WORDS_PER_SEGMENT

#: Where a segment may begin at any normal of a step, more of them are drawn in a loop, into memory: straight code that
#: looks for it at each is long.
MANY = 12


class Body(Protocol):
    """What stands in a loop over steps: the lines of a step whose normals are there."""

    @property
    def is_short(self) -> bool:
        """Whether it may stand in the loop several times over where that saves branches."""
        ...

    @property
    def needs_k(self) -> bool:
        """Whether it reads the number of its step, k."""
        ...

    def __call__(self, index: int) -> list[str]:
        """Step number k + ``index``."""
        ...


class Draws(Protocol):
    """What draws the normals of steps."""

    def begin(self) -> list[str]:
        """At the start of the kernel."""
        ...

    def loop(self, step: Body) -> list[str]:
        """Steps from k to ``end``."""
        ...


class Others(Protocol):
    """What a step draws besides."""

    def begin(self) -> list[str]:
        """At the start of the kernel."""
        ...

    def draw(self) -> list[str]:
        """Those of a step."""
        ...


class Generator:
    """The lines that walk a generator through the segments of its stream.

    ``name`` begins the names of its variables: the four words, ``_segment``, the next segment's number, and ``_left``,
    how many ``draws`` are left of this one.
    """

    def __init__(self, name: str, stream: int, words_per_draw: int) -> None:
        self.name, self.stream, self.words_per_draw = name, stream, words_per_draw
        self.per_segment = WORDS_PER_SEGMENT // words_per_draw
        self.words = ", ".join(f"{name}{i}" for i in range(4))
        self.left, self.segment = f"{name}_left", f"{name}_segment"

    def begin(self, draw: str) -> list[str]:
        """At the start of the kernel: ready for draw number ``draw``."""
        skip = f"{self.name}_skip"
        return [
            f"{self.segment}, {skip} = {draw} // {self.per_segment}, {draw} % {self.per_segment}",
            *self.key(),
            f"for _ in range({skip} * {self.words_per_draw}):",
            f"    {self.draw('next', 'ignored')}",
            f"{self.left} -= {skip}",
        ]

    def draw(self, function: str, *results: str) -> str:
        return f"{', '.join([*results, self.words])} = {function}_({self.words})"

    def copy(self, other: Generator) -> list[str]:
        """Stand where another one of the stream stands."""
        return [f"{self.words} = {other.words}", f"{self.left}, {self.segment} = {other.left}, {other.segment}"]

    def go_on(self) -> list[str]:
        """Begin the next segment where this one has ended."""
        return [f"if {self.left} == 0:", *indent(self.key())]

    def spend(self, draws: int | str) -> str:
        return f"{self.left} -= {draws}"

    def key(self) -> list[str]:
        key = f"key_(seed_low, seed_high, low_({self.segment}), {self.stream}, low, high)"
        return [f"{self.words} = {key}", f"{self.segment} += 1", f"{self.left} = {self.per_segment}"]


def _repeated(count: int, body: list[str], step: Body) -> list[str]:
    """``body``, which is ``count`` steps, as often as it fits between k and ``stop``.

    Turns are counted in 32 bits, since a GPU puts 64-bit numbers together from two.
    """
    if step.needs_k:
        return [f"while k + {count - 1} < stop:", *indent([*body, f"k += {count}"])]
    turns = [f"turns = I((stop - k) // {count})", f"k += {count} * int(turns)"]
    return [*turns, "while turns > 0:", *indent([*body, "turns = I(turns - 1)"])]


def drawn_normals(m: int, words: int) -> Normals:
    """``m`` normals a step, as ``z0``, ``z1``, ..., in the way that suits so many."""
    normals = Normals(m, words)
    return normals if m <= MANY or normals.holds_whole_steps else NormalsInArray(m, words, unpacked=True)


class Given:
    """Normals from memory."""

    def __init__(self, m: int, in_array: bool) -> None:
        self.m, self.in_array = m, in_array

    def begin(self) -> list[str]:
        return [f"z = cuda.local.array({self.m}, L)"] if self.in_array else []

    def loop(self, step: Body) -> list[str]:
        z = [f"z{j} = T(given[(k - first_step) * {self.m} + {j}, i])" for j in range(self.m)]
        if self.in_array:
            z = [f"for j in range({self.m}):", f"    z[j] = T(given[(k - first_step) * {self.m} + j, i])"]
        return ["while k < end:", *indent([*z, *step(0), "k += 1"])]


class Normals:
    """Normals of the generator, which come in pairs; steps that draw an odd number of them share one with the next."""

    def __init__(self, m: int, words: int) -> None:
        self.m, self.odd = m, m % 2 == 1
        self.generator = Generator("s", NORMALS, words)
        self.names = [f"z{j}" for j in range(m)]
        self.convert = [f"{z} = T({z})" for z in self.names]

    def begin(self) -> list[str]:
        g = self.generator
        lines = [f"draw = first_step * {self.m}", *g.begin("(draw - draw % 2)")]
        if self.odd:
            lines += ["spare = Z(0)", "if draw % 2 == 1:", *indent([g.draw("pair", "z0", "spare"), g.spend(2)])]
        return lines

    @property
    def holds_whole_steps(self) -> bool:
        """Whether segments end between steps, or between pairs of steps that share a pair of normals."""
        return self.generator.per_segment % (2 * self.m if self.odd else self.m) == 0

    def loop(self, step: Body) -> list[str]:
        if not self.holds_whole_steps:
            return self._checked_loop(step)
        if not self.odd:
            return self._whole_loop(_repeated(1, [*self._pairs(self.names), *step(0)], step))
        return self._whole_loop(self._two_steps(step) if step.is_short else self._alternating(step))

    def _whole_loop(self, inner: list[str]) -> list[str]:
        """Where segments hold whole steps: up to the end of a segment at a time, with nothing to check within."""
        g = self.generator
        if not self.odd:
            begin = [*g.go_on(), f"stop = min(end, k + {g.left} // {self.m})", g.spend(f"(stop - k) * {self.m}")]
        else:  # one normal a step, which an odd step has from the one before
            begin = [f"if {g.left} == 0 and (k & 1) == 0:", *g.go_on()[1:]]
            begin += [f"stop = min(end, k + {g.left} + (k & 1))", g.spend("((stop + 1) // 2 - (k + 1) // 2) * 2")]
        return ["while k < end:", *indent([*begin, *inner])]

    def _two_steps(self, step: Body) -> list[str]:
        """Two steps for a pair, and single ones at the ends."""
        pair = self.generator.draw("pair", "z0", "spare")
        return [
            "if (k & 1) == 1:", *indent(["z0 = T(spare)", *step(0), "k += 1"]),
            *_repeated(2, [pair, "z0 = T(z0)", *step(0), "z0 = T(spare)", *step(1)], step),
            "if k < stop:", *indent([pair, "z0 = T(z0)", *step(0), "k += 1"]),
        ]  # fmt: skip

    def _alternating(self, step: Body) -> list[str]:
        """One step at a time, every other of which draws."""
        draw = ["if (k & 1) == 0:", f"    {self.generator.draw('pair', 'z0', 'spare')}", "else:", "    z0 = spare"]
        return ["while k < stop:", *indent([*draw, "z0 = T(z0)", *step(0), "k += 1"])]

    def _checked_loop(self, step: Body) -> list[str]:
        """Where segments may end within a step."""
        if self.odd:
            even = self._pairs([*self.names, "spare"], checked=True)
            odd = ["z0 = spare", *self._pairs(self.names[1:], checked=True)]
            draw = ["if (k & 1) == 0:", *indent(even), "else:", *indent(odd)]
        else:
            draw = self._pairs(self.names, checked=True)
        return ["while k < end:", *indent([*draw, *self.convert, *step(0), "k += 1"])]

    def _pairs(self, numbers: list[str], checked: bool = False) -> list[str]:
        g, lines = self.generator, []
        for two in zip(numbers[::2], numbers[1::2], strict=True):
            lines += [*g.go_on(), g.spend(2)] if checked else []
            lines.append(g.draw("pair", *two))
        return lines if checked else [*lines, *self.convert]


class NormalsInArray(Normals):
    """Normals of a step in an array ``z``, from which ``unpacked`` ones are taken by their names."""

    def __init__(self, m: int, words: int, unpacked: bool) -> None:
        super().__init__(m, words)
        self.names_from_array = [f"z{j} = z[{j}]" for j in range(m)] if unpacked else []

    def begin(self) -> list[str]:
        return [f"z = cuda.local.array({self.m}, L)", *super().begin()]

    def loop(self, step: Body) -> list[str]:
        fill = self._fill(0)
        if self.odd:
            even, odd = [*fill, *self._pair("one, spare"), f"z[{self.m - 1}] = T(one)"], ["z[0] = T(spare)"]
            fill = ["if (k & 1) == 0:", *indent(even), "else:", *indent([*odd, *self._fill(1)])]
        return ["while k < end:", *indent([*fill, *self.names_from_array, *step(0), "k += 1"])]

    def _fill(self, first: int) -> list[str]:
        """Whole pairs from z[first] on."""
        pair = [*self._pair("one, other"), f"z[{first} + 2 * q], z[{first + 1} + 2 * q] = T(one), T(other)"]
        return [f"for q in range({(self.m - first) // 2}):", *indent(pair)]

    def _pair(self, names: str) -> list[str]:
        return [*self.generator.go_on(), self.generator.spend(2), self.generator.draw("pair", names)]


class Signs:
    """Random signs, the bits of a word one after the other; ``bit`` is the next, 32 when none is left."""

    def __init__(self, m: int) -> None:
        self.m, self.generator = m, Generator("s", WORDS, 1)

    def begin(self) -> list[str]:
        g = self.generator
        lines = [f"draw = first_step * {self.m}", *g.begin("(draw // 32)"), "bit = draw % 32", "word = low_(draw)"]
        next_word = [*g.go_on(), g.draw("next", "word"), g.spend(1)]
        return [*lines, "if bit == 0:", "    bit = 32", "else:", *indent(next_word)]

    def _next_word(self) -> list[str]:
        g = self.generator
        return ["if bit == 32:", *indent([*g.go_on(), g.draw("next", "word"), g.spend(1), "bit = 0"])]

    def loop(self, step: Body) -> list[str]:
        m = self.m
        if 32 % m:
            each = [line for j in range(m) for line in (*self._next_word(), f"z{j} = sign_(word, bit)", "bit += 1")]
            return ["while k < end:", *indent([*each, *step(0), "k += 1"])]
        begin = [*self._next_word(), f"stop = min(end, k + (32 - bit) // {m})"]
        begin += ["bits = shift_(word, bit)", f"bit += (stop - k) * {m}"]
        inner = _repeated(1, self._steps(step, 1), step)
        if step.is_short and 32 % (4 * m) == 0:
            inner = [*_repeated(4, self._steps(step, 4), step), *inner]
        return ["while k < end:", *indent([*begin, *inner])]

    def _steps(self, step: Body, count: int) -> list[str]:
        lines, m = [], self.m
        for index in range(count):
            lines += [*(f"z{j} = sign_(bits, {index * m + j})" for j in range(m)), *step(index)]
        return lines + ([f"bits = shift_(bits, {count * m})"] if count * m < 32 else [])


class Uniforms:
    """The uniforms of a step, each of so many words; ``split``: and what those leave out of their words."""

    def __init__(self, n: int, words: int, split: bool = False) -> None:
        self.n, self.split, self.generator = n, split, Generator("w", UNIFORMS, words)

    def begin(self) -> list[str]:
        return self.generator.begin(f"(first_step * {self.n})") if self.n else []

    def draw(self) -> list[str]:
        g = self.generator
        if self.split:
            parts = [[g.draw("next", "whole"), f"u{j}, b{j} = unit_(whole), spare_(whole)"] for j in range(self.n)]
        else:
            parts = [[g.draw("uniform", f"u{j}")] for j in range(self.n)]
        return [line for part in parts for line in (*g.go_on(), *part, g.spend(1))]


class Picks:
    """Where a row of ``data`` begins, ``pick``, which 64 bits of the stream of integers pick from all rows."""

    def __init__(self, row: int) -> None:
        self.row = row
        self.generator = Generator("q", WORDS, 2)

    def begin(self) -> list[str]:
        return [*self.generator.begin("first_step"), f"n_data = data.size // {self.row}"]

    def draw(self) -> list[str]:
        g = self.generator
        words = [g.draw("next", "high_word"), g.draw("next", "low_word")]
        return [*g.go_on(), g.spend(1), *words, f"pick = pick_(high_word, low_word, n_data) * {self.row}"]
