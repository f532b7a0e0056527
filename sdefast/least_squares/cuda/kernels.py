"""The source of the kernels of SGD on least squares, for any number of parameters: one thread takes one run through it.

A run's rows are delta = theta - theta* and, with averaging, their running average. To a kernel a step is one sample;
an iteration is over when its batch is. Few parameters stay in registers. Many stay in memory, and inputs are drawn once
for the residual and again for the update, since to draw them takes less time than to write and to read them.

In memory a run's numbers lie `TILE` apart, those of neighbouring runs side by side: a warp reads whole lines, one after
the other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from ...cuda.draws import MANY, Generator, Given, Normals, Others, Picks, Uniforms, drawn_normals
from ...cuda.emit import SHORT, Paths
from ...cuda.noise import NORMALS, UNIFORMS
from ...jit.emit import indent

#: Registers of 32 bits for the state, an input and whatever else each parameter has, of 255 that a thread may have:
#: the generator takes some 40, and few threads fit on a multiprocessor that take nearly all.
_REGISTERS = 128

#: Words of memory that are asked for at once. More take more registers and save little.
_AT_ONCE = 8

#: Runs whose numbers lie together, the threads of a warp.
TILE = 32

#: What ``numbers`` begin with; the scale of each input follows if there is one.
NOISE, LOW, WIDTH, SCALE = range(4)

#: Numbers and their names; to -0 a multiply-add adds nothing, not even to a zero with its sign.
_CONSTANTS = {"T(0.0)": "zero", "T(-0.0)": "nothing", "T(0.5)": "half", "T(1.0)": "one", "T(-1.0)": "minus_one"}

_BEFORE, _AFTER = ("numbers",), ("data",)

LAWS = ("normal", "uniform", "rademacher")


class Shape(NamedTuple):
    """What decides a kernel of SGD.

    Batches of ``batch_size`` samples of ``dim`` inputs of a ``law``, each times a number of its own if they are
    ``scaled``, with noise in the responses if they are ``noisy``; or rows picked from ``finite`` data, whatever law and
    noise there are. Step sizes are one for all parameters or ``per_parameter``; ``averaged`` says whether the average
    is taken along.
    """

    dim: int
    batch_size: int = 1
    noisy: bool = True
    scaled: bool = False
    per_parameter: bool = False
    averaged: bool = False
    law: str = "normal"
    finite: bool = False

    @property
    def n_rows(self) -> int:
        """Rows of the state."""
        return self.dim * (1 + self.averaged)

    @property
    def has_noise(self) -> bool:
        """Whether a normal is drawn for a response."""
        return self.noisy and not self.finite

    @property
    def n_normals(self) -> int:
        """Normals of a sample."""
        return 0 if self.finite else self.dim * (self.law == "normal") + self.has_noise

    @property
    def n_uniforms(self) -> int:
        """Uniforms of a sample."""
        return 0 if self.finite or self.law == "normal" else self.dim

    def in_registers(self, dtype: str) -> bool:
        """Whether the state stays in registers."""
        numbers = 2 + self.averaged + (self.batch_size > 1) + self.scaled + self.per_parameter
        return self.dim * numbers * _words(dtype) <= _REGISTERS and self.n_uniforms <= MANY

    def rows_in_memory(self, dtype: str) -> int:
        """Rows of the state and, where they do not stay in registers either, sums of a batch."""
        return self.n_rows + (0 if self.batch_size == 1 or self.in_registers(dtype) else self.dim)


def _words(dtype: str) -> int:
    """Words of 32 bits of a number."""
    return np.dtype(dtype).itemsize // 4


@lru_cache(maxsize=256)
def source(shape: Shape, dtype: str, noise_dtype: str, *, constant: bool) -> str:
    """The source of the kernel that takes runs through samples and stores them where they are saved.

    ``c`` are rows of step sizes over the batch size, one for all iterations if they are ``constant``, else one each.
    ``data`` has rows of inputs and the residual y - <theta*, x>. ``first_step``, ``n_steps`` and ``saves`` count
    samples and are multiples of the batch size.
    """
    draws: Given | Normals = Given(0, in_array=False)
    others: Others = Uniforms(0, 1)
    if not shape.in_registers(dtype):
        return Paths(_InMemory(shape, dtype, noise_dtype, constant), draws, others).source(_BEFORE, _AFTER)
    if shape.n_normals:
        draws = drawn_normals(shape.n_normals, _words(noise_dtype))
    others = Picks(shape.dim + 1) if shape.finite else Uniforms(shape.n_uniforms, _words(dtype))
    return Paths(_InRegisters(shape, dtype, constant), draws, others).source(_BEFORE, _AFTER)


@lru_cache(maxsize=2)
def turned_source(dtype: str) -> str:
    """The source of the kernel that turns rows by a matrix at saved times; parameters are their number and its rows."""
    lines = [
        "time, dim, a = cuda.blockIdx.y, int(p[0]), 0",
        "while a < dim:",
        "    total, b = zero, 0",
        "    while b < dim:",
        "        total = fma_(T(p[U(1 + a * dim + b)]), x[time, U(b), i], total)",
        "        b += 1",
        "    out[time, U(a), i] = total",
        "    a += 1",
    ]
    header = ["def kernel(p, times, n, x, out):", "    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x"]
    return "\n".join(["zero = T(0.0)", *header, "    if i < n:", *indent(lines, 2), ""])


@lru_cache(maxsize=256)
def errors_source(dim: int, averaged: bool, dtype: str) -> str:
    """The source of the kernel that sums the squares of the rows, and of those of the average, at saved times.

    Arguments are those of `emit.observer_source`.
    """
    lines = ["time, first = cuda.blockIdx.y, 0", f"dim = x.shape[1] // {1 + averaged}"]
    for part in range(1 + averaged):
        square = _Each((f"y{{e}} = x[time, U({part} * dim + {{j}}), i]",), ("total = fma_(y{e}, y{e}, total)",))
        lines += ["total = zero", *square.loop(dim, dtype), f"out[time, {part}, i] = total"]
    header = ["def kernel(p, times, n, x, out):", "    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x"]
    return "\n".join(["zero = T(0.0)", *header, "    if i < n:", *indent(lines, 2), ""])


class _Each(NamedTuple):
    """What is done for each parameter: lines that read, and lines that work.

    They hold ``e``, with which names end, ``j``, the parameter's number, and ``at``, its place in a tile. Indices have
    no sign, U: with one, numba would count those below zero from the end.
    """

    reads: tuple[str, ...]
    work: tuple[str, ...]

    def read(self, count: int) -> list[str]:
        """For parameters from number j on."""
        return self._filled(self.reads, count)

    def do(self, count: int) -> list[str]:
        return self._filled(self.work, count)

    def _filled(self, lines: tuple[str, ...], count: int) -> list[str]:
        return [line.format(e=e, j=f"j + {e}", at=f"at + {e * TILE}") for e in range(count) for line in lines]

    def loop(self, dim: int, dtype: str, many: int = 0) -> list[str]:
        """For all, so ``many`` at a time; their number is a variable too, or else a compiler would unroll the loop."""
        many = many or _AT_ONCE // _words(dtype)
        turn = [*self.read(many), *self.do(many), _next(many)]
        loop = [f"while j + {many} <= dim:", *indent(turn)] if dim >= many else []
        return [_BEGIN, *loop, *self.read(dim % many), *self.do(dim % many)]


#: At parameter number j.
_BEGIN = "j, at = 0, first"


def _next(count: int) -> str:
    return f"j, at = j + {count}, at + {count * TILE}"


class _Iteration:
    """What both kinds of kernels know of an iteration: where it stands in a batch, its step sizes, its weight."""

    def __init__(self, shape: Shape, dtype: str, constant: bool) -> None:
        self.shape, self.dtype, self.constant, self.batched = shape, dtype, constant, shape.batch_size > 1
        self.constants = _CONSTANTS

    def load(self) -> list[str]:
        rows = self.shape.rows_in_memory(self.dtype)
        return [f"first = i // {TILE} * {TILE * rows} + i % {TILE}"]

    def setup(self) -> list[str]:
        shape, lines = self.shape, ["row = 0"]
        if shape.has_noise:
            lines.append(f"noise = numbers[{NOISE}]")
        if shape.law == "uniform":
            lines.append(f"least, width = numbers[{LOW}], numbers[{WIDTH}]")
        if shape.averaged:
            lines.append(f"iteration = first_step // {shape.batch_size}")
        return [*lines, "b = 0"] if self.batched else lines

    def over(self, update: list[str]) -> list[str]:
        """The end of a sample: the update after the last of a batch."""
        shape, update = self.shape, list(update)
        if shape.averaged:
            update = ["iteration += 1", "weight = T(div64_(D(1), D(iteration)))", *update]
        if not self.constant:
            update.append(f"row += {shape.dim if shape.per_parameter else 1}")
        if not self.batched:
            return update
        return ["b += 1", f"if b == {shape.batch_size}:", *indent([*update, "b = 0"])]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What makes an input of a draw."""
        shape = self.shape
        if shape.finite:
            return ()
        made = {
            "normal": "x{e} = T(z{e})",
            "uniform": "x{e} = fma_(u{e}, width, least)",
            "rademacher": "x{e} = minus_one if u{e} < half else one",
        }
        return (made[shape.law], *(("x{e} = mul_(scale{e}, x{e})",) if shape.scaled else ()))


_RESIDUAL = "r = fma_(x{e}, neg_(y{e}), r)"
_COLUMN = "c{e} = fma_(x{e}, y{e}, c{e})"
_SUM = "t{e} = fma_(x{e}, r, t{e})"
_AVERAGE = "v{e} = fma_(weight, sub_(y{e}, v{e}), v{e})"


def _columns(dtype: str) -> int:
    """Columns in which products of rows of data are summed, `vector` in csrc/least_squares/data.hpp."""
    return 64 // np.dtype(dtype).itemsize


def _less_product(columns: int) -> list[str]:
    """What becomes of ``r`` by the sums ``c`` of so many columns, taken together by halving."""
    lines, half = [], 1
    while 2 * half < columns:
        half *= 2
    while half > 0:
        lines += [f"c{q} = add_(c{q}, c{q + half})" for q in range(min(half, columns - half))]
        columns, half = half, half // 2
    return [*lines, "r = sub_(r, c0)"]


def _update(shape: Shape) -> str:
    if shape.batch_size > 1:
        return f"y{{e}} = fma_(rate{'{e}' * shape.per_parameter}, t{{e}}, y{{e}})"
    if shape.per_parameter:
        return "y{e} = fma_(mul_(rate{e}, x{e}), r, y{e})"
    return "y{e} = fma_(x{e}, step, y{e})"


def _step(shape: Shape) -> list[str]:
    """What all parameters move by, but for their inputs."""
    return ["step = mul_(rate, r)"] if shape.batch_size == 1 and not shape.per_parameter else []


# Few parameters ------------------------------------------------------------------------------------------------------


class _InRegisters(_Iteration):
    """Straight code: differences ``y``, inputs ``x``, sums of a batch ``t``, averages ``v``."""

    needs_k = False

    @property
    def is_short(self) -> bool:
        return len(self.lines(0)) <= SHORT

    @property
    def rows(self) -> list[str]:
        return [f"{name}{j}" for name in "yv"[: 1 + self.shape.averaged] for j in range(self.shape.dim)]

    def load(self) -> list[str]:
        return [*super().load(), *(f"{name} = state[U(first + {j * TILE})]" for j, name in enumerate(self.rows))]

    def record(self) -> list[str]:
        return [f"saved[save, U({j}), i] = {name}" for j, name in enumerate(self.rows)]

    def store(self) -> list[str]:
        return [f"state[U(first + {j * TILE})] = {name}" for j, name in enumerate(self.rows)]

    def setup(self) -> list[str]:
        lines = [*super().setup(), *(self._rates() if self.constant else [])]
        if self.shape.scaled:
            lines += self._each(f"scale{{e}} = numbers[{SCALE} + {{e}}]")
        return lines + (self._each("t{e} = nothing") if self.batched else [])

    def lines(self, index: int) -> list[str]:
        shape = self.shape
        if shape.finite:
            lines = [*self._each("x{e} = data[U(pick + {e})]"), f"r = data[U(pick + {shape.dim})]"]
        else:
            lines = [*self._each(*self.inputs), "r = zero"]
        if shape.has_noise:
            lines[-1] = f"r = mul_(noise, T(z{shape.n_normals - 1}))"
        if shape.finite:
            columns = min(shape.dim, _columns(self.dtype))
            lines += [f"c{q} = zero" for q in range(columns)]
            lines += [f"c{e % columns} = fma_(x{e}, y{e}, c{e % columns})" for e in range(shape.dim)]
            lines += _less_product(columns)
        else:
            lines += self._each(_RESIDUAL)
        update = [] if self.constant else self._rates()
        update += _step(shape)
        update += self._each(_AVERAGE) if shape.averaged else []
        update += self._each(_update(shape))
        if self.batched:
            return [*lines, *self._each(_SUM), *self.over([*update, *self._each("t{e} = nothing")])]
        return [*lines, *self.over(update)]

    def _each(self, *lines: str) -> list[str]:
        return [line.format(e=e) for e in range(self.shape.dim) for line in lines]

    def _rates(self) -> list[str]:
        return self._each("rate{e} = c[U(row + {e})]") if self.shape.per_parameter else ["rate = c[U(row)]"]


# Many parameters -----------------------------------------------------------------------------------------------------


_DELTA = "state[U({at})]"


class _Inputs(Protocol):
    """Where the inputs of samples come from."""

    def begin(self) -> list[str]:
        """At the start of the kernel."""
        ...

    def sample(self) -> list[str]:
        """Begin a sample: ``r`` is the noise in its response."""
        ...

    def first(self, each: _Each) -> list[str]:
        """Something for each input."""
        ...

    def again(self, each: _Each) -> list[str]:
        """Something else for each input of the same sample, the last there is to do."""
        ...


class _InMemory(_Iteration):
    """Loops over parameters that stay in ``state``, where sums of a batch come last."""

    is_short, needs_k = False, True

    def __init__(self, shape: Shape, dtype: str, noise_dtype: str, constant: bool) -> None:
        super().__init__(shape, dtype, constant)
        self.from_where: _Inputs
        if shape.finite:
            self.from_where = _FromData(shape.dim, dtype)
        elif shape.law == "normal":
            self.from_where = _FromNormals(shape, dtype, noise_dtype)
        else:
            self.from_where = _FromUniforms(shape, dtype, noise_dtype)

    @property
    def average(self) -> str:
        return f"state[U({{at}} + {TILE * self.shape.dim})]"

    @property
    def sums(self) -> str:
        return f"state[U({{at}} + {TILE * self.shape.n_rows})]"

    def record(self) -> list[str]:
        lines = _Each((f"y{{e}} = {_DELTA}",), ("saved[save, U({j}), i] = y{e}",)).loop(self.shape.dim, self.dtype)
        if self.shape.averaged:
            record = f"saved[save, U({self.shape.dim} + {{j}}), i] = v{{e}}"
            lines += _Each((f"v{{e}} = {self.average}",), (record,)).loop(self.shape.dim, self.dtype)
        return lines

    def store(self) -> list[str]:
        return []

    def setup(self) -> list[str]:
        lines = [*super().setup(), *self.from_where.begin(), f"dim = saved.shape[1] // {1 + self.shape.averaged}"]
        if self.constant and not self.shape.per_parameter:
            lines.append("rate = c[0]")
        clear = _Each((), (f"{self.sums} = nothing",)).loop(self.shape.dim, self.dtype)
        return [*lines, *clear] if self.batched else lines

    def lines(self, index: int) -> list[str]:
        """Sample number k."""
        inputs, shape = self.from_where, self.shape
        reads = (f"scale{{e}} = numbers[U({SCALE} + {{j}})]",) if shape.scaled else ()
        work = _COLUMN if shape.finite else _RESIDUAL
        lines = [*inputs.sample(), *inputs.first(_Each((f"y{{e}} = {_DELTA}", *reads), (*self.inputs, work)))]
        update = self._update()
        rate = [] if self.constant or shape.per_parameter else ["rate = c[U(row)]"]
        if not self.batched:
            each = _Each((*update.reads, *reads), (*self.inputs, *update.work))
            return [*lines, *self.over([*rate, *_step(shape), *inputs.again(each)])]
        add = _Each((f"t{{e}} = {self.sums}", *reads), (*self.inputs, _SUM, f"{self.sums} = t{{e}}"))
        return [*lines, *inputs.again(add), *self.over([*rate, *update.loop(shape.dim, self.dtype)])]

    def _update(self) -> _Each:
        reads, work = [f"y{{e}} = {_DELTA}"], []
        if self.shape.per_parameter:
            reads.append("rate{e} = c[U(row + {j})]")
        if self.batched:
            reads.append(f"t{{e}} = {self.sums}")
        if self.shape.averaged:
            reads.append(f"v{{e}} = {self.average}")
            work += [_AVERAGE, f"{self.average} = v{{e}}"]
        work += [_update(self.shape), f"{_DELTA} = y{{e}}"]
        if self.batched:
            work.append(f"{self.sums} = nothing")
        return _Each(tuple(reads), tuple(work))


class _FromData:
    """A row of data, picked by two words, whose last number is the residual."""

    def __init__(self, dim: int, dtype: str) -> None:
        self.dim, self.dtype, self.picks = dim, dtype, Picks(dim + 1)

    def begin(self) -> list[str]:
        return self.picks.begin()

    def sample(self) -> list[str]:
        return [*self.picks.draw(), f"r = data[U(pick + {self.dim})]"]

    def first(self, each: _Each) -> list[str]:
        columns = _columns(self.dtype)
        begin = [f"c{q} = zero" for q in range(columns)]
        return [*begin, *self._read(each).loop(self.dim, self.dtype, columns), *_less_product(columns)]

    def again(self, each: _Each) -> list[str]:
        return self._read(each).loop(self.dim, self.dtype)

    def _read(self, each: _Each) -> _Each:
        return _Each(("x{e} = data[U(pick + {j})]", *each.reads), each.work)


class _FromUniforms:
    """Uniforms of their own stream, and a normal every sample."""

    def __init__(self, shape: Shape, dtype: str, noise_dtype: str) -> None:
        self.shape, self.many = shape, _AT_ONCE // _words(dtype)
        self.generator, self.ahead = (Generator(name, UNIFORMS, _words(dtype)) for name in ("w", "ahead"))
        self.normals = Normals(1, _words(noise_dtype))

    def begin(self) -> list[str]:
        normals = self.normals.begin() if self.shape.noisy else []
        return [*normals, *self.generator.begin(f"(first_step * {self.shape.dim})")]

    def sample(self) -> list[str]:
        if not self.shape.noisy:
            return ["r = zero"]
        g = self.normals.generator
        draw = [*g.go_on(), g.draw("pair", "z", "spare"), g.spend(2)]
        return ["if (k & 1) == 1:", "    z = spare", "else:", *indent(draw), "r = mul_(noise, T(z))"]

    def first(self, each: _Each) -> list[str]:
        return [*self.ahead.copy(self.generator), *self._walk(self.ahead, each)]

    def again(self, each: _Each) -> list[str]:
        return self._walk(self.generator, each)

    def _walk(self, g: Generator, each: _Each) -> list[str]:
        def draw(count: int) -> list[str]:
            drawn = [g.draw("uniform", f"u{e}") for e in range(count)]
            return [g.spend(count), *each.read(count), *drawn, *each.do(count), _next(count)]

        many = self.many
        some = [f"if {g.left} >= {many} and j + {many} <= dim:", *indent(draw(many))]
        return [_BEGIN, "while j < dim:", *indent([*some, "else:", *indent([*g.go_on(), *draw(1)])])]


class _FromNormals:
    """Normals of a stream that also has the noise, as the last of a sample: a generator goes there first.

    Where samples have an odd number of normals, every other one begins with the second of a pair, ``spare``.
    """

    def __init__(self, shape: Shape, dtype: str, noise_dtype: str) -> None:
        self.shape, self.many = shape, _AT_ONCE // _words(dtype)
        self.m, self.odd = shape.n_normals, shape.n_normals % 2 == 1
        self.normals = Normals(self.m, _words(noise_dtype))
        self.generator = self.normals.generator
        self.ahead, self.after = (Generator(name, NORMALS, _words(noise_dtype)) for name in ("ahead", "after"))

    def begin(self) -> list[str]:
        return self.normals.begin()

    def sample(self) -> list[str]:
        """With noise, leave ``after`` at the end of the sample."""
        if not self.shape.noisy:
            return ["r = zero"]
        g, after = self.generator, self.after
        there = [f"{after.left}, skip = {g.left}, skip - ({g.per_segment} - {g.left})"]
        skipped = [after.draw("next", "word")] * (2 * g.words_per_draw)
        noise = [after.draw("pair", "unused", "z")]
        if self.odd:
            noise = [after.draw("pair", "z", "after_spare"), "if (k & 1) == 1:", "    z = after_spare"]
        return [
            f"draw = k * {self.m} + {self.shape.dim}",
            f"{after.segment}, skip = draw // {g.per_segment}, draw % {g.per_segment} // 2 * 2",
            f"if {after.segment} + 1 == {g.segment}:", *indent([*after.copy(g), *there]),
            "else:", *indent(after.key()),
            after.spend("skip + 2"),
            "while skip > 0:", *indent([*skipped, "skip -= 2"]),
            *noise, "r = mul_(noise, T(z))",
        ]  # fmt: skip

    def first(self, each: _Each) -> list[str]:
        return [*self.ahead.copy(self.generator), *self._walk(self.ahead, "unused", each)]

    def again(self, each: _Each) -> list[str]:
        if not self.shape.noisy:
            return self._walk(self.generator, "spare", each)
        end = [*self.generator.copy(self.after), *(["spare = after_spare"] if self.odd else [])]
        return [*self._walk(self.generator, "unused", each), *end]

    def _walk(self, g: Generator, last: str, each: _Each) -> list[str]:
        """All inputs; ``last`` gets what is left of the last pair."""

        def draw(count: int) -> list[str]:
            pairs = [g.draw("pair", f"z{e}", f"z{e + 1}") for e in range(0, count, 2)]
            return [g.spend(count), *each.read(count), *pairs, *each.do(count), _next(count)]

        many = self.many
        some = [f"if {g.left} >= {many} and j + {many} <= dim:", *indent(draw(many))]
        pairs = ["while j + 1 < dim:", *indent([*some, "else:", *indent([*g.go_on(), *draw(2)])])]
        single = [*each.read(1), *g.go_on(), g.draw("pair", "z0", last), g.spend(2), *each.do(1)]
        lines = [_BEGIN]
        if self.odd:
            lines += ["if (k & 1) == 1:", *indent([*each.read(1), "z0 = spare", *each.do(1), _next(1)])]
        return [*lines, *pairs, *(["if j < dim:", *indent(single)] if self.odd or self.shape.dim % 2 else [])]
