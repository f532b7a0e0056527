"""An iteration of SGD in lines of source: where it stands in a batch, and what is done for each parameter.

To a kernel a step is one sample; an iteration is over when its batch is. Few parameters stay in registers, many in
memory (``memory.py``), where a run's numbers lie `TILE` apart, those of neighbouring runs side by side: a warp reads
whole lines, one after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...cuda.emit import SHORT
from ...cuda.statistics import TILE
from ...jit.emit import indent
from .shape import Shape, words

#: Words of memory that are asked for at once. More take more registers and save little.
AT_ONCE = 8

#: What ``numbers`` begin with; the scale of each input follows if there is one.
NOISE, LOW, WIDTH, SCALE = range(4)

#: Numbers and their names; to -0 a multiply-add adds nothing, not even to a zero with its sign.
_CONSTANTS = {"T(0.0)": "zero", "T(-0.0)": "nothing", "T(0.5)": "half", "T(1.0)": "one", "T(-1.0)": "minus_one"}


class Each(NamedTuple):
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
        many = many or AT_ONCE // words(dtype)
        turn = [*self.read(many), *self.do(many), move_on(many)]
        loop = [f"while j + {many} <= dim:", *indent(turn)] if dim >= many else []
        return [BEGIN, *loop, *self.read(dim % many), *self.do(dim % many)]


#: At parameter number j.
BEGIN = "j, at = 0, first"


def move_on(count: int) -> str:
    return f"j, at = j + {count}, at + {count * TILE}"


class Iteration:
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
            first = shape.average_from
            n = f"iteration - {first} if iteration > {first} else 1" if first else "iteration"
            update = ["iteration += 1", f"weight = T(div64_(D(1), D({n})))", *update]
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


RESIDUAL = "r = fma_(x{e}, neg_(y{e}), r)"
COLUMN = "c{e} = fma_(x{e}, y{e}, c{e})"
SUM = "t{e} = fma_(x{e}, r, t{e})"
AVERAGE = "v{e} = fma_(weight, sub_(y{e}, v{e}), v{e})"


def n_columns(dtype: str) -> int:
    """Columns in which products of rows of data are summed, `vector` in csrc/least_squares/data.hpp."""
    return 64 // np.dtype(dtype).itemsize


def less_product(columns: int) -> list[str]:
    """What becomes of ``r`` by the sums ``c`` of so many columns, taken together by halving."""
    lines, half = [], 1
    while 2 * half < columns:
        half *= 2
    while half > 0:
        lines += [f"c{q} = add_(c{q}, c{q + half})" for q in range(min(half, columns - half))]
        columns, half = half, half // 2
    return [*lines, "r = sub_(r, c0)"]


def own_update(shape: Shape) -> str:
    if shape.batch_size > 1:
        return f"y{{e}} = fma_(rate{'{e}' * shape.per_parameter}, t{{e}}, y{{e}})"
    if shape.per_parameter:
        return "y{e} = fma_(mul_(rate{e}, x{e}), r, y{e})"
    return "y{e} = fma_(x{e}, step, y{e})"


def common_step(shape: Shape) -> list[str]:
    """What all parameters move by, but for their inputs."""
    return ["step = mul_(rate, r)"] if shape.batch_size == 1 and not shape.per_parameter else []


# Few parameters ------------------------------------------------------------------------------------------------------


class InRegisters(Iteration):
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
            columns = min(shape.dim, n_columns(self.dtype))
            lines += [f"c{q} = zero" for q in range(columns)]
            lines += [f"c{e % columns} = fma_(x{e}, y{e}, c{e % columns})" for e in range(shape.dim)]
            lines += less_product(columns)
        else:
            lines += self._each(RESIDUAL)
        update = [] if self.constant else self._rates()
        update += common_step(shape)
        update += self._each(AVERAGE) if shape.averaged else []
        update += self._each(own_update(shape))
        if self.batched:
            return [*lines, *self._each(SUM), *self.over([*update, *self._each("t{e} = nothing")])]
        return [*lines, *self.over(update)]

    def _each(self, *lines: str) -> list[str]:
        return [line.format(e=e) for e in range(self.shape.dim) for line in lines]

    def _rates(self) -> list[str]:
        return self._each("rate{e} = c[U(row + {e})]") if self.shape.per_parameter else ["rate = c[U(row)]"]
