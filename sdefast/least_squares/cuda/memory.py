"""SGD in loops over parameters that stay in memory.

Inputs are drawn once for the residual and again for the update, since to draw them takes less time than to write and
to read them.
"""

from __future__ import annotations

from typing import Protocol

from ...cuda.draws import Generator, Normals, Picks
from ...cuda.noise import NORMALS, UNIFORMS
from ...cuda.statistics import TILE
from ...jit.emit import indent
from .iteration import (
    AT_ONCE,
    AVERAGE,
    BEGIN,
    COLUMN,
    RESIDUAL,
    SCALE,
    SUM,
    Each,
    Iteration,
    common_step,
    less_product,
    move_on,
    n_columns,
    own_update,
)
from .shape import Shape, words

_DELTA = "state[U({at})]"


class _Inputs(Protocol):
    """Where the inputs of samples come from."""

    def begin(self) -> list[str]:
        """At the start of the kernel."""
        ...

    def sample(self) -> list[str]:
        """Begin a sample: ``r`` is the noise in its response."""
        ...

    def first(self, each: Each) -> list[str]:
        """Something for each input."""
        ...

    def again(self, each: Each) -> list[str]:
        """Something else for each input of the same sample, the last there is to do."""
        ...


class InMemory(Iteration):
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
        lines = Each((f"y{{e}} = {_DELTA}",), ("saved[save, U({j}), i] = y{e}",)).loop(self.shape.dim, self.dtype)
        if self.shape.averaged:
            record = f"saved[save, U({self.shape.dim} + {{j}}), i] = v{{e}}"
            lines += Each((f"v{{e}} = {self.average}",), (record,)).loop(self.shape.dim, self.dtype)
        return lines

    def store(self) -> list[str]:
        return []

    def setup(self) -> list[str]:
        lines = [*super().setup(), *self.from_where.begin(), f"dim = saved.shape[1] // {1 + self.shape.averaged}"]
        if self.constant and not self.shape.per_parameter:
            lines.append("rate = c[0]")
        clear = Each((), (f"{self.sums} = nothing",)).loop(self.shape.dim, self.dtype)
        return [*lines, *clear] if self.batched else lines

    def lines(self, index: int) -> list[str]:
        """Sample number k."""
        inputs, shape = self.from_where, self.shape
        reads = (f"scale{{e}} = numbers[U({SCALE} + {{j}})]",) if shape.scaled else ()
        work = COLUMN if shape.finite else RESIDUAL
        lines = [*inputs.sample(), *inputs.first(Each((f"y{{e}} = {_DELTA}", *reads), (*self.inputs, work)))]
        update = self._update()
        rate = [] if self.constant or shape.per_parameter else ["rate = c[U(row)]"]
        if not self.batched:
            each = Each((*update.reads, *reads), (*self.inputs, *update.work))
            return [*lines, *self.over([*rate, *common_step(shape), *inputs.again(each)])]
        add = Each((f"t{{e}} = {self.sums}", *reads), (*self.inputs, SUM, f"{self.sums} = t{{e}}"))
        return [*lines, *inputs.again(add), *self.over([*rate, *update.loop(shape.dim, self.dtype)])]

    def _update(self) -> Each:
        reads, work = [f"y{{e}} = {_DELTA}"], []
        if self.shape.per_parameter:
            reads.append("rate{e} = c[U(row + {j})]")
        if self.batched:
            reads.append(f"t{{e}} = {self.sums}")
        if self.shape.averaged:
            reads.append(f"v{{e}} = {self.average}")
            work += [AVERAGE, f"{self.average} = v{{e}}"]
        work += [own_update(self.shape), f"{_DELTA} = y{{e}}"]
        if self.batched:
            work.append(f"{self.sums} = nothing")
        return Each(tuple(reads), tuple(work))


class _FromData:
    """A row of data, picked by two words, whose last number is the residual."""

    def __init__(self, dim: int, dtype: str) -> None:
        self.dim, self.dtype, self.picks = dim, dtype, Picks(dim + 1)

    def begin(self) -> list[str]:
        return self.picks.begin()

    def sample(self) -> list[str]:
        return [*self.picks.draw(), f"r = data[U(pick + {self.dim})]"]

    def first(self, each: Each) -> list[str]:
        columns = n_columns(self.dtype)
        begin = [f"c{q} = zero" for q in range(columns)]
        return [*begin, *self._read(each).loop(self.dim, self.dtype, columns), *less_product(columns)]

    def again(self, each: Each) -> list[str]:
        return self._read(each).loop(self.dim, self.dtype)

    def _read(self, each: Each) -> Each:
        return Each(("x{e} = data[U(pick + {j})]", *each.reads), each.work)


class _FromUniforms:
    """Uniforms of their own stream, and a normal every sample."""

    def __init__(self, shape: Shape, dtype: str, noise_dtype: str) -> None:
        self.shape, self.many = shape, AT_ONCE // words(dtype)
        self.generator, self.ahead = (Generator(name, UNIFORMS, words(dtype)) for name in ("w", "ahead"))
        self.normals = Normals(1, words(noise_dtype))

    def begin(self) -> list[str]:
        normals = self.normals.begin() if self.shape.noisy else []
        return [*normals, *self.generator.begin(f"(first_step * {self.shape.dim})")]

    def sample(self) -> list[str]:
        if not self.shape.noisy:
            return ["r = zero"]
        g = self.normals.generator
        draw = [*g.go_on(), g.draw("pair", "z", "spare"), g.spend(2)]
        return ["if (k & 1) == 1:", "    z = spare", "else:", *indent(draw), "r = mul_(noise, T(z))"]

    def first(self, each: Each) -> list[str]:
        return [*self.ahead.copy(self.generator), *self._walk(self.ahead, each)]

    def again(self, each: Each) -> list[str]:
        return self._walk(self.generator, each)

    def _walk(self, g: Generator, each: Each) -> list[str]:
        def draw(count: int) -> list[str]:
            drawn = [g.draw("uniform", f"u{e}") for e in range(count)]
            return [g.spend(count), *each.read(count), *drawn, *each.do(count), move_on(count)]

        many = self.many
        some = [f"if {g.left} >= {many} and j + {many} <= dim:", *indent(draw(many))]
        return [BEGIN, "while j < dim:", *indent([*some, "else:", *indent([*g.go_on(), *draw(1)])])]


class _FromNormals:
    """Normals of a stream that also has the noise, as the last of a sample: a generator goes there first.

    Where samples have an odd number of normals, every other one begins with the second of a pair, ``spare``.
    """

    def __init__(self, shape: Shape, dtype: str, noise_dtype: str) -> None:
        self.shape, self.many = shape, AT_ONCE // words(dtype)
        self.m, self.odd = shape.n_normals, shape.n_normals % 2 == 1
        self.normals = Normals(self.m, words(noise_dtype))
        self.generator = self.normals.generator
        self.ahead, self.after = (Generator(name, NORMALS, words(noise_dtype)) for name in ("ahead", "after"))

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

    def first(self, each: Each) -> list[str]:
        return [*self.ahead.copy(self.generator), *self._walk(self.ahead, "unused", each)]

    def again(self, each: Each) -> list[str]:
        if not self.shape.noisy:
            return self._walk(self.generator, "spare", each)
        end = [*self.generator.copy(self.after), *(["spare = after_spare"] if self.odd else [])]
        return [*self._walk(self.generator, "unused", each), *end]

    def _walk(self, g: Generator, last: str, each: Each) -> list[str]:
        """All inputs; ``last`` gets what is left of the last pair."""

        def draw(count: int) -> list[str]:
            pairs = [g.draw("pair", f"z{e}", f"z{e + 1}") for e in range(0, count, 2)]
            return [g.spend(count), *each.read(count), *pairs, *each.do(count), move_on(count)]

        many = self.many
        some = [f"if {g.left} >= {many} and j + {many} <= dim:", *indent(draw(many))]
        pairs = ["while j + 1 < dim:", *indent([*some, "else:", *indent([*g.go_on(), *draw(2)])])]
        single = [*each.read(1), *g.go_on(), g.draw("pair", "z0", last), g.spend(2), *each.do(1)]
        lines = [BEGIN]
        if self.odd:
            lines += ["if (k & 1) == 1:", *indent([*each.read(1), "z0 = spare", *each.do(1), move_on(1)])]
        return [*lines, *pairs, *(["if j < dim:", *indent(single)] if self.odd or self.shape.dim % 2 else [])]
