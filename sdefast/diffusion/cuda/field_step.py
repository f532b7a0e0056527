"""The kernel of `csrc/diffusion/field_step.hpp` for GPUs: the same rows on the same noise, bit for bit.

Where it draws, a thread has one segment of the noise of ``csrc/noise/field.hpp``: 256 draws, 16 elements apart, so that
neighbours write neighbours. Where it does not, threads go over the elements as they lie. A source holds what its kind
of row needs and takes no other arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

from numba import types

from ...cuda.programs import Program, array
from ...jit.emit import indent

#: Draws of a segment, segments side by side, and the elements of a sample from which on they are.
DRAWS, WIDTH, LEAST_WIDE = 256, 16, 32

#: The coefficients of a row, as the C++ kernel takes them.
COEFFICIENTS = ("p", "q", "limit", "a", "b", "g", "c1", "c2", "s")


class Kind(NamedTuple):
    """What a row does.

    Attributes
    ----------
    dtype : str
        Type of the state.
    output : str or None
        What the model says is in: float32, float64, float16 or bfloat16; None if there is noise alone.
    keeps, remembers : bool
        Whether D is stored, and whether H1 and H2 are read.
    noise : str
        ``"none"``, ``"drawn"`` or ``"given"``.
    each : bool
        Whether every sample has a row, a seed, a number and a step of its own.
    """

    dtype: str
    output: str | None
    keeps: bool
    remembers: bool
    noise: str
    each: bool


#: Lines that read the model's output as a number of the state's type; halves come as the bits that they are.
_READ = {
    "float32": ["e = T(output[at])"],
    "float64": ["e = T(output[at])"],
    "bfloat16": ["e = T(single_(low_(int(output[at]) << 16)))"],
    "float16": [
        "word = int(output[at]) & 0xFFFF",
        "size = word & 0x7FFF",
        "bits = (size << 13) + 0x38000000",  # five bits of exponent become eight
        "if size >= 0x7C00:",
        "    bits = bits | 0x7F800000",  # infinities and NaN
        "half = single_(low_(bits | (word & 0x8000) << 16))",
        "if size < 0x400:",  # multiples of 2^-24
        "    half = single_(low_(bits_(F(size) * F(2.0**-24)) | (word & 0x8000) << 16))",
        "e = T(half)",
    ],
}


@dataclass(frozen=True)
class FieldProgram(Program):
    """The kernel of a kind of row; ``names`` are those of its arguments, in order."""

    output: str
    names: tuple[str, ...]

    kind: ClassVar[str] = "field step"

    @property
    def signature(self) -> Any:
        return types.void(*(self._type(name) for name in self.names))

    def _type(self, name: str) -> Any:
        if name in COEFFICIENTS:
            return getattr(types, self.dtype)
        if name in ("n", "elements", "seed", "first_sample", "step"):
            return types.int64
        if name == "output":
            return array("int16" if self.output.endswith("float16") else self.output, 1, "C")
        kinds = {"rows": "float64", "sums": "float64", "keys": "int64", "wrong": "int64"}
        return array(kinds.get(name, self.dtype), 2 if name in ("rows", "sums", "keys") else 1, "C")


@cache
def program(kind: Kind) -> FieldProgram:
    """The kernel of a kind of row."""
    names = _names(kind)
    lines = _drawing(kind) if kind.noise == "drawn" else _flat(kind)
    source = [f"def kernel({', '.join(names)}):", *indent(lines), ""]
    return FieldProgram("\n".join(source), kind.dtype, kind.dtype, kind.output or kind.dtype, names)


@cache
def squares(dtype: str) -> FieldProgram:
    """The kernel of the sums of squares of a sample's elements that are `WIDTH` apart."""
    names = ("n", "elements", "x", "sums")
    lines = [
        "unit = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x",
        f"sample, lane = unit // {WIDTH}, unit % {WIDTH}",
        "if sample < n:",
        *indent([
            "total, i = D(0), sample * elements + lane",
            "while i < (sample + 1) * elements:",
            *indent(["value = D(x[U(i)])", "total = fma64_(value, value, total)", f"i += {WIDTH}"]),
            "sums[sample, lane] = total",
        ]),
    ]  # fmt: skip
    source = [f"def kernel({', '.join(names)}):", *indent(lines), ""]
    return FieldProgram("\n".join(source), dtype, dtype, dtype, names)


def _names(kind: Kind) -> tuple[str, ...]:
    """What a kernel is called with."""
    found = ["n", "elements", "out"]
    found += ["x", "output", "wrong"] if kind.output else []
    found += ["h1", "h2"] if kind.remembers else []
    found += ["kept"] if kind.keeps else []
    found += ["given"] if kind.noise == "given" else []
    drawn = kind.noise == "drawn"
    if kind.each:
        return (*found, "rows", *(["keys"] if drawn else []))
    return (*found, *_coefficients(kind), *(["seed", "first_sample", "step"] if drawn else []))


def _coefficients(kind: Kind) -> tuple[str, ...]:
    """Those that a kind of row reads."""
    if kind.output is None:
        return ("s",)
    unread = {*(() if kind.remembers else ("c1", "c2")), *(("s",) if kind.noise == "none" else ())}
    return tuple(c for c in COEFFICIENTS if c not in unread)


def _row(kind: Kind) -> list[str]:
    """The coefficients in the state's type."""
    places = {c: f"rows[sample, {COEFFICIENTS.index(c)}]" if kind.each else c for c in _coefficients(kind)}
    lines = [f"{c} = T({place})" for c, place in places.items()]
    return [*lines, "low = neg_(limit)"] if kind.output else lines


def _element(kind: Kind, z: str, wrong: list[str]) -> list[str]:
    """The update of the element ``at``, and what to do if the model's output is not finite there."""
    if kind.output is None:
        return [f"out[at] = mul_(s, {z})"]
    lines = [
        *_READ[kind.output],
        "xi = x[at]",
        "D = fma_(p, xi, mul_(q, e))",
        "D = limit if D > limit else D",  # not a number stays so
        "D = low if D < low else D",
        "y = fma_(g, e, fma_(a, xi, mul_(b, D)))",
    ]
    lines += ["y = fma_(c2, h2[at], fma_(c1, h1[at], y))"] if kind.remembers else []
    lines += [f"y = fma_(s, {z}, y)"] if kind.noise != "none" else []
    lines += ["kept[at] = D"] if kind.keeps else []
    return [*lines, "out[at] = y", "if sub_(e, e) != T(0):", *indent(wrong)]


def _flat(kind: Kind) -> list[str]:
    """Element by element, as many threads apart as there are."""
    report = ["cuda.atomic.min(wrong, 0, i // elements)"]
    update = ["at = U(i)", *_element(kind, "given[at]", report), "i += stride"]
    own = ["sample = i // elements", *_row(kind)] if kind.each else []
    return [
        "i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x",
        "stride = cuda.gridDim.x * cuda.blockDim.x",
        *([] if kind.each else _row(kind)),
        "while i < n * elements:",
        *indent([*own, *update]),
    ]


def _drawing(kind: Kind) -> list[str]:
    """A segment of the noise, two draws at a time."""
    whose = ["seed, chain, step = keys[sample, 0], keys[sample, 1], keys[sample, 2]"]
    whose = whose if kind.each else ["chain = first_sample + sample"]
    words = "s0, s1, s2, s3"
    key = f"{words} = key_(low_(seed), high_(seed), low_(step * segments + segment), 0, low_(chain), high_(chain))"
    found = ["bad = 1"]
    loop = [
        f"z0, z1, {words} = pair_({words})",
        "at = U(i)",
        *_element(kind, "z0", found),
        "if i + width < end:",
        *indent(["at = U(i + width)", *_element(kind, "z1", found)]),
        "i += 2 * width",
    ]
    report = ["if bad == 1:", "    cuda.atomic.min(wrong, 0, sample)"] if kind.output else []
    return [
        "unit = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x",
        f"width = {WIDTH} if elements >= {LEAST_WIDE} else 1",
        f"group = {DRAWS} * width",
        "segments = (elements + group - 1) // group * width",
        "if unit < n * segments:",
        *indent([
            "sample, segment = unit // segments, unit % segments",
            *whose, *_row(kind), key,
            "begin = segment // width * group",
            "end = sample * elements + min(elements, begin + group)",
            "i = sample * elements + begin + segment % width",
            *(["bad = 0"] if kind.output else []),
            "while i < end:",
            *indent(loop),
            *report,
        ]),
    ]  # fmt: skip
