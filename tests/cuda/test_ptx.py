"""The machine that executes PTX: instructions against exact arithmetic, kernels of numba against numpy, to the bit."""

import functools
import itertools
import math
import operator
import struct
from fractions import Fraction

import numpy as np
import ptx
import pytest

RNG = np.random.default_rng(2024)

#: of a floating point type: bits of the significand, the exponent of the smallest number and of the first too large
FORMATS = {"f32": (24, -149, 128), "f64": (53, -1074, 1024)}
DTYPES = {"f32": np.float32, "f64": np.float64}
floats = pytest.mark.parametrize("kind", FORMATS)


# One instruction -----------------------------------------------------------------------------------------------------


def text(body, *parameters):
    """A kernel made by hand."""
    listed = ", ".join(f".param .{kind} p{i}" for i, kind in enumerate(parameters))
    registers = ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<19>; .reg .b64 %d<29>; .reg .f32 %f<9>; .reg .f64 %e<9>;"
    return f".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k({listed})\n{{\n{registers}\n{body}\n}}\n"


def each(instruction, out, *inputs):
    """The results of "opcode" for vectors of operands: each of n threads has one element of all."""
    sizes = [a.dtype.itemsize for a in (*inputs, out)]
    names = [f"{'hrd'[size.bit_length() - 2]}{'' if size > 2 else ''}" for size in sizes]
    lines = ["mov.u32 %r18, %tid.x;", "mov.u32 %r17, %ctaid.x;", "mad.lo.u32 %r18, %r17, 64, %r18;"]
    for i, (name, size) in enumerate(zip(names, sizes, strict=True)):
        lines += [f"ld.param.u64 %d{i + 10}, [p{7 * i + 4}];", f"mad.wide.u32 %d{i + 10}, %r18, {size}, %d{i + 10};"]
        if i < len(inputs):
            lines.append(f"ld.global.b{8 * size} %{name}{i + 1}, [%d{i + 10}];")
    operands = ", ".join(f"%{name}{i + 1}" for i, name in enumerate(names[:-1]))
    lines.append(f"{instruction} %{names[-1]}9, {operands};")
    return lines
