"""From expressions to the source of GPU kernels: one thread takes one chain through its steps, all of it in registers.

The statements of a step are those of ``jit/emit.py``; here they stand in a loop over steps instead of lanes, between
what draws their noise and what records their states. Draws follow ``csrc/noise/stream.hpp``: threads walk through the
segments of their streams together, so that all branches are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ..jit.emit import CLOCK, SIGNS, Code, Step, indent
from ..trace import Expr
from .noise import NORMALS, UNIFORMS, WORDS, WORDS_PER_SEGMENT

#: Operations that may be written with signs: arithmetic may not, a compiler would contract it.
_WRITTEN = {name: sign for name, sign in SIGNS.items() if name not in ("add", "sub", "mul", "div", "neg")}

_TIMES = {
    "t": "T(add64_(clock[r, 0], mul64_(D({k}), clock[r, 1])))",
    "elapsed": "T(add64_(sub64_(clock[r, 0], clock[r, 4]), mul64_(D({k}), clock[r, 1])))",
}

#: Where a segment may begin at any normal of a step, more of them are drawn in a loop, into memory: straight code that
#: looks for it at each is long.
_MANY = 12

#: Steps of up to so many statements stand in the loop several times over, where that saves branches.
_SHORT = 32

PATHS_ARGUMENTS = (
    "clock", "c", "seed_low", "seed_high", "first_chain", "n", "first_step", "n_steps", "saves", "state", "saved",
    "given",
)  # fmt: skip


class Linear(NamedTuple):
    """The step X += M X + c + L Z of ``csrc/models/linear.hpp``, whose coefficients are M, c and L row by row."""

    dim: int
    n_draws: int
    n_uniforms: int = 0
    signs: bool = False


@lru_cache(maxsize=256)
def paths_source(step: Step | Linear, dtype: str, noise_dtype: str, *, uniform_grid: bool, given: bool) -> str:
    """The source of the kernel that takes chains through steps and stores them where they are saved.

    ``c`` are rows of coefficients, one for all steps of a uniform grid, else one a step, and ``clock`` their clocks in
    float64; ``saves`` the steps after which to save, the first of which may be the start, and at the end a number that
    no step has. ``given`` normals (draws, n) take the generator's place.
    """
    steps = _LinearSteps(step, uniform_grid) if isinstance(step, Linear) else _Steps(step, uniform_grid)
    return _Paths(steps, _draws(step, noise_dtype, given), 1 if dtype == "float32" else 2).source()


def _draws(step: Step | Linear, noise_dtype: str, given: bool) -> _Given | _Signs | _Normals:
    if given or not step.n_draws:
        return _Given(step.n_draws, in_array=isinstance(step, Linear))
    if step.signs:
        return _Signs(step.n_draws)
    words = 1 if noise_dtype == "float32" else 2
    if isinstance(step, Linear):
        return _NormalsInArray(step.n_draws, words, unpacked=False)
    normals = _Normals(step.n_draws, words)
    if step.n_draws <= _MANY or normals.holds_whole_steps:
        return normals
    return _NormalsInArray(step.n_draws, words, unpacked=True)


class _Steps:
    """The statements of a step on one chain, whose rows are variables."""

    def __init__(self, step: Step, uniform_grid: bool) -> None:
        self.step, self.uniform_grid = step, uniform_grid
        self.rows = [f"x{i}" for i in range(len(step.outputs))]
        self.constants: dict[str, str] = {}
        self._first, self._results = self._code(0)
        first = len(CLOCK) + len(step.parameters)
        where = {name: at for at, name in enumerate(CLOCK)}
        where |= {name: first + j for j, name in enumerate(step.constants)}
        clock = [f"{name}_v = c[r, {at}]" for name, at in where.items() if name in self._first.used]
        #: what does not depend on the time
        self.fixed = [*clock, *self._first.fixed]

    @property
    def is_short(self) -> bool:
        return len(self._first.per_lane) <= _SHORT

    @property
    def needs_k(self) -> bool:
        return not self.uniform_grid or not self._first.used.isdisjoint(_TIMES)

    def load(self) -> list[str]:
        return [f"{name} = state[{j}, i]" for j, name in enumerate(self.rows)]

    def record(self) -> list[str]:
        return [f"saved[save, {j}, i] = {name}" for j, name in enumerate(self.rows)]

    def store(self) -> list[str]:
        return [f"state[{j}, i] = {name}" for j, name in enumerate(self.rows)]

    def setup(self) -> list[str]:
        """Before the first step."""
        lines = [f"{name} = c[0, {j}]" for j, name in enumerate(self.step.parameters, start=len(CLOCK))]
        return [*lines, "r = 0", *self.fixed] if self.uniform_grid else lines

    def lines(self, index: int) -> list[str]:
        """Step number k + ``index``."""
        k = f"k + {index}" if index else "k"
        if self.uniform_grid:
            code, results = (self._first, self._results) if index == 0 else self._code(index)
            again = []
        else:
            code, results, index = self._first, self._results, 0
            again = [f"r = {k} - first_step", *self.fixed]
        times = [f"{name}_{index} = {_TIMES[name].format(k=k)}" for name in _TIMES if name in code.used]
        new = f"{', '.join(self.rows)} = {', '.join(f'T({result})' for result in results)}"
        return [*again, *times, *code.once, *code.per_lane, new]

    def _code(self, index: int) -> tuple[Code, list[str]]:
        step = self.step
        names = {name: f"{name}_{index}" for name in _TIMES}
        names |= {name: f"{name}_v" for name in (*CLOCK, *step.constants)}
        signs = frozenset(f"z{j}" for j in range(step.n_draws)) if step.signs else frozenset()
        code = Code(step.lane_inputs, signs, f"v{index}_", names, self.constants, _WRITTEN)
        if index:
            code.follow(self._first)
        return code, code.add(step.outputs)


class _LinearSteps:
    """The linear step in loops over arrays of a thread's own: as straight code it would take minutes to compile."""

    is_short, needs_k = False, True

    def __init__(self, step: Linear, uniform_grid: bool) -> None:
        self.step, self.uniform_grid = step, uniform_grid
        self.constants: dict[str, str] = {}

    def _each(self, line: str) -> list[str]:
        return [f"for j in range({self.step.dim}):", f"    {line}"]

    def load(self) -> list[str]:
        made = [f"{name} = cuda.local.array({self.step.dim}, L)" for name in "xy"]
        return [*made, *self._each("x[j] = state[j, i]")]

    def record(self) -> list[str]:
        return self._each("saved[save, j, i] = x[j]")

    def store(self) -> list[str]:
        return self._each("state[j, i] = x[j]")

    def setup(self) -> list[str]:
        return ["r = 0"]

    def lines(self, index: int) -> list[str]:
        """Step number k."""
        d, m = self.step.dim, self.step.n_draws
        first = len(CLOCK)
        row = [
            f"total, b = c[r, {first + d * d} + a], 0",
            f"while b < {d}:", f"    total, b = fma_(c[r, {first} + a * {d} + b], x[b], total), b + 1",
            "b = 0",
            f"while b < {m}:", f"    total, b = fma_(c[r, {first + d * d + d} + a * {m} + b], z[b], total), b + 1",
            "y[a], a = add_(x[a], total), a + 1",
        ]  # fmt: skip
        again = [] if self.uniform_grid else ["r = k - first_step"]
        # (counted by hand: numba's range costs some instructions a turn)
        return [*again, "a = 0", f"while a < {d}:", *indent(row), *self._each("x[j] = y[j]")]


class _Paths:
    """The kernel's source, put together from the step, its normals or signs, and its uniforms."""

    def __init__(self, step: _Steps | _LinearSteps, draws: _Given | _Signs | _Normals, words: int) -> None:
        self.step, self.draws = step, draws
        self.uniforms = _Uniforms(step.step.n_uniforms, words)

    def source(self) -> str:
        step = self.step
        loop = self.draws.loop(self)  # first, since it collects constants
        lines = [
            "chain = first_chain + i", "low, high = low_(chain), high_(chain)",
            *step.load(), *step.setup(), *self.draws.begin(), *self.uniforms.begin(),
            "k, save, last = first_step, 0, first_step + n_steps",
            "while True:",
            *indent(["while saves[save] == k:", *indent([*step.record(), "save += 1"])]),
            *indent(["if k == last:", "    break", "end = min(last, saves[save])"]),
            *indent(loop),
            *step.store(),
        ]  # fmt: skip
        header = f"def kernel({', '.join(PATHS_ARGUMENTS)}):"
        kernel = [header, "    i = cuda.grid(1)", "    if i < n:", *indent(lines, 2), ""]
        return "\n".join([*(f"{name} = {value}" for value, name in step.constants.items()), *kernel])

    @property
    def is_short(self) -> bool:
        return self.step.is_short

    @property
    def needs_k(self) -> bool:
        return self.step.needs_k

    def __call__(self, index: int) -> list[str]:
        """Step number k + ``index``, its normals being there."""
        return [*self.uniforms.draw(), *self.step.lines(index)]


# Noise ---------------------------------------------------------------------------------------------------------------


class _Generator:
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
            *self._key(),
            f"for _ in range({skip} * {self.words_per_draw}):",
            f"    {self.draw('next', 'ignored')}",
            f"{self.left} -= {skip}",
        ]

    def draw(self, function: str, *results: str) -> str:
        return f"{', '.join([*results, self.words])} = {function}_({self.words})"

    def go_on(self) -> list[str]:
        """Begin the next segment where this one has ended."""
        return [f"if {self.left} == 0:", *indent(self._key())]

    def spend(self, draws: int | str) -> str:
        return f"{self.left} -= {draws}"

    def _key(self) -> list[str]:
        key = f"key_(seed_low, seed_high, low_({self.segment}), {self.stream}, low, high)"
        return [f"{self.words} = {key}", f"{self.segment} += 1", f"{self.left} = {self.per_segment}"]


def _repeated(count: int, body: list[str], step: _Paths) -> list[str]:
    """``body``, which is ``count`` steps, as often as it fits between k and ``stop``.

    Turns are counted in 32 bits, since a GPU puts 64-bit numbers together from two.
    """
    if step.needs_k:
        return [f"while k + {count - 1} < stop:", *indent([*body, f"k += {count}"])]
    turns = [f"turns = I((stop - k) // {count})", f"k += {count} * int(turns)"]
    return [*turns, "while turns > 0:", *indent([*body, "turns = I(turns - 1)"])]


class _Given:
    """Normals from memory."""

    def __init__(self, m: int, in_array: bool) -> None:
        self.m, self.in_array = m, in_array

    def begin(self) -> list[str]:
        return [f"z = cuda.local.array({self.m}, L)"] if self.in_array else []

    def loop(self, step: _Paths) -> list[str]:
        z = [f"z{j} = T(given[(k - first_step) * {self.m} + {j}, i])" for j in range(self.m)]
        if self.in_array:
            z = [f"for j in range({self.m}):", f"    z[j] = T(given[(k - first_step) * {self.m} + j, i])"]
        return ["while k < end:", *indent([*z, *step(0), "k += 1"])]


class _Normals:
    """Normals of the generator, which come in pairs; steps that draw an odd number of them share one with the next."""

    def __init__(self, m: int, words: int) -> None:
        self.m, self.odd = m, m % 2 == 1
        self.generator = _Generator("s", NORMALS, words)
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

    def loop(self, step: _Paths) -> list[str]:
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

    def _two_steps(self, step: _Paths) -> list[str]:
        """Two steps for a pair, and single ones at the ends."""
        pair = self.generator.draw("pair", "z0", "spare")
        return [
            "if (k & 1) == 1:", *indent(["z0 = T(spare)", *step(0), "k += 1"]),
            *_repeated(2, [pair, "z0 = T(z0)", *step(0), "z0 = T(spare)", *step(1)], step),
            "if k < stop:", *indent([pair, "z0 = T(z0)", *step(0), "k += 1"]),
        ]  # fmt: skip

    def _alternating(self, step: _Paths) -> list[str]:
        """One step at a time, every other of which draws."""
        draw = ["if (k & 1) == 0:", f"    {self.generator.draw('pair', 'z0', 'spare')}", "else:", "    z0 = spare"]
        return ["while k < stop:", *indent([*draw, "z0 = T(z0)", *step(0), "k += 1"])]

    def _checked_loop(self, step: _Paths) -> list[str]:
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


class _NormalsInArray(_Normals):
    """Normals of a step in an array ``z``, from which ``unpacked`` ones are taken by their names."""

    def __init__(self, m: int, words: int, unpacked: bool) -> None:
        super().__init__(m, words)
        self.names_from_array = [f"z{j} = z[{j}]" for j in range(m)] if unpacked else []

    def begin(self) -> list[str]:
        return [f"z = cuda.local.array({self.m}, L)", *super().begin()]

    def loop(self, step: _Paths) -> list[str]:
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


class _Signs:
    """Random signs, the bits of a word one after the other; ``bit`` is the next, 32 when none is left."""

    def __init__(self, m: int) -> None:
        self.m, self.generator = m, _Generator("s", WORDS, 1)

    def begin(self) -> list[str]:
        g = self.generator
        lines = [f"draw = first_step * {self.m}", *g.begin("(draw // 32)"), "bit = draw % 32", "word = low_(draw)"]
        next_word = [*g.go_on(), g.draw("next", "word"), g.spend(1)]
        return [*lines, "if bit == 0:", "    bit = 32", "else:", *indent(next_word)]

    def _next_word(self) -> list[str]:
        g = self.generator
        return ["if bit == 32:", *indent([*g.go_on(), g.draw("next", "word"), g.spend(1), "bit = 0"])]

    def loop(self, step: _Paths) -> list[str]:
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

    def _steps(self, step: _Paths, count: int) -> list[str]:
        lines, m = [], self.m
        for index in range(count):
            lines += [*(f"z{j} = sign_(bits, {index * m + j})" for j in range(m)), *step(index)]
        return lines + ([f"bits = shift_(bits, {count * m})"] if count * m < 32 else [])


class _Uniforms:
    """The uniforms of a step."""

    def __init__(self, n: int, words: int) -> None:
        self.n, self.generator = n, _Generator("w", UNIFORMS, words)

    def begin(self) -> list[str]:
        return self.generator.begin(f"(first_step * {self.n})") if self.n else []

    def draw(self) -> list[str]:
        g = self.generator
        return [line for j in range(self.n) for line in (*g.go_on(), g.draw("uniform", f"u{j}"), g.spend(1))]


# Observers -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def observer_source(outputs: tuple[Expr, ...], names: tuple[str, ...], dim: int) -> str:
    """The source of the kernel that evaluates functions at saved times.

    ``outputs`` are expressions of ``t``, ``x0``, ... and of the parameters ``names``, in the order of ``p``; ``x`` is
    (n_times, rows, n), ``out`` (n_times, outputs, n); the grid is (chains, times).
    """
    code = Code((f"x{i}" for i in range(dim)), written=_WRITTEN)
    results = code.add(outputs)
    lines = [f"{name} = T(p[{i}])" for i, name in enumerate(names)]
    lines += ["time = cuda.blockIdx.y", "t = T(times[time])", *(f"x{i} = x[time, {i}, i]" for i in range(dim))]
    lines += [*code.fixed, *code.once, *code.per_lane]
    lines += [f"out[time, {r}, i] = T({name})" for r, name in enumerate(results)]
    header = ["def kernel(p, times, n, x, out):", "    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x"]
    constants = [f"{name} = {value}" for value, name in code.constants.items()]
    return "\n".join([*constants, *header, "    if i < n:", *indent(lines, 2), ""])


# Statistics ----------------------------------------------------------------------------------------------------------


def function_source(name: str, arguments: Sequence[str], outputs: Sequence[Expr]) -> str:
    """The source of a device function of numbers that returns ``outputs``, every operation rounded on its own."""
    code = Code(arguments, written=_WRITTEN, fuses=False)
    results = code.add(outputs)
    body = [*code.fixed, *code.once, *code.per_lane, f"return {', '.join(results)}"]
    constants = [f"{constant} = {value}" for value, constant in code.constants.items()]
    return "\n".join([*constants, f"def {name}({', '.join(arguments)}):", *indent(body), ""])
