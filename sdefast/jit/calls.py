"""What the sources of kernels call besides elementary functions of Python: each emits its instructions there.

``exp_`` and so on are functions of the state's type, ``exp64_`` of float64. Random bits become signs by ``shift_(word,
n)``, which shifts right, ``sign_(word, n)``, +1 or -1 as bit n of the word is 1 or 0, and ``flip_(x, sign)``, their
product, all put together from bits. ``whole_(lanes)`` is the number of lanes, which has whole multiples of 32, in a
form that shows it. The search for what is rare is written with words of 32 bits: ``mark_(holds, n)``
is bit n or nothing, ``both_`` has the bits of two words, ``lowest_`` is the number of the lowest bit and ``rest_`` the
word without it. Of words that uniforms of float32 are made of (see csrc/noise/stream.hpp) ``unit_`` makes the uniform
and ``spare_`` one of 512 values, of the bits that it leaves out; ``word_`` is the word whose bits a float has. They are
below a number if their first 23 bits are so below ``bound_(number)``: ``below_(values, first, bound)`` has a bit for
each of 32 words from the first on, ``least_`` is the less of two, ``seldom_(word, bound)`` whether one is, which the
compiler is told to be seldom, so that registers go to what is done otherwise. ``scratch_``, ``numbers_`` and
``row_loop_`` make more of them, see ``rows.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import ir

from .arithmetic import Truth, scalars
from .assembly import Emitter, Kernel, Value
from .rows import numbers, row_loop, scratch
from .vector_math import FUNCTIONS, arguments_of

__all__ = ["SPARE", "UNIT", "calls", "flip", "part", "shift", "sign"]

_WORD = ir.IntType(32)

#: What of a word a uniform is made of: the first bit, and how many.
UNIT, SPARE = (9, 23), (0, 9)

#: Lanes that are searched at once.
_AT_ONCE = 32


@cache
def calls(dtype: str) -> dict[str, Any]:
    """Everything that a kernel may call by name, for states of a type."""
    known: dict[str, Any] = {f"{name}64_": _function(name, "float64") for name in FUNCTIONS}
    known |= {f"{name}_": _function(name, dtype) for name in FUNCTIONS}
    known |= {"shift_": _shift, "sign_": partial(_sign, dtype), "flip_": partial(_flip, dtype)}
    known |= {"whole_": _whole, "mark_": _mark, "both_": _both, "lowest_": _lowest, "rest_": _rest}
    known |= {"unit_": partial(_part, dtype, UNIT), "spare_": partial(_part, dtype, SPARE), "word_": _word_of}
    known |= {"bound_": _bound, "below_": _below, "least_": _least, "seldom_": _seldom}
    return known | {"scratch_": partial(scratch, dtype), "numbers_": numbers, "row_loop_": partial(row_loop, dtype)}


def _function(name: str, dtype: str) -> Emitter:
    body: Callable[..., Any] = FUNCTIONS[name]
    kinds = [("bool" if kind is Truth else dtype, kind) for kind in arguments_of(name)]

    def emit(kernel: Kernel, args: list[Value]) -> Value:
        v = scalars(kernel.builder, dtype)
        given = (wrap(v, kernel.converted(a, kind).ir) for a, (kind, wrap) in zip(args, kinds, strict=True))
        return Value(dtype, body(v, *given).ir)

    return emit


# Signs ----------------------------------------------------------------------------------------------------------------


def _resized(builder: Any, value: Any, to: Any) -> Any:
    if value.type.width > to.width:
        return builder.trunc(value, to)
    return builder.zext(value, to) if value.type.width < to.width else value


def shift(builder: Any, value: Any, n: Any) -> Any:
    """A word shifted right."""
    value, n = (_resized(builder, x, _WORD) for x in (value, n))
    return builder.lshr(value, n)


def sign(builder: Any, dtype: str, value: Any, n: Any) -> Any:
    """+1 or -1, by a bit of a word."""
    real, integer = _real_and_integer(dtype)
    value, n = (_resized(builder, x, integer) for x in (value, n))
    moved = builder.shl(value, builder.sub(integer(integer.width - 1), n))
    minus_one = int(np.array(-1.0, dtype).view(f"u{integer.width // 8}"))
    return builder.bitcast(builder.xor(builder.and_(moved, _top(integer)), integer(minus_one)), real)


def flip(builder: Any, dtype: str, x: Any, by: Any) -> Any:
    """A number times +1 or -1."""
    real, integer = _real_and_integer(dtype)
    x, by = (builder.bitcast(arg, integer) for arg in (x, by))
    return builder.bitcast(builder.xor(x, builder.and_(by, _top(integer))), real)


def _real_and_integer(dtype: str) -> tuple[Any, Any]:
    return (ir.FloatType(), ir.IntType(32)) if dtype == "float32" else (ir.DoubleType(), ir.IntType(64))


def _top(integer: Any) -> Any:
    return integer(1 << (integer.width - 1))


def _shift(kernel: Kernel, args: list[Value]) -> Value:
    return Value("uint32", shift(kernel.builder, *(a.ir for a in args)))


def _sign(dtype: str, kernel: Kernel, args: list[Value]) -> Value:
    return Value(dtype, sign(kernel.builder, dtype, *(a.ir for a in args)))


def _flip(dtype: str, kernel: Kernel, args: list[Value]) -> Value:
    return Value(dtype, flip(kernel.builder, dtype, *(kernel.converted(a, dtype).ir for a in args)))


# Searches -------------------------------------------------------------------------------------------------------------


def _mark(kernel: Kernel, args: list[Value]) -> Value:
    (holds, n), builder = (a.ir for a in args), kernel.builder
    return Value("uint32", builder.select(holds, builder.shl(_WORD(1), builder.trunc(n, _WORD)), _WORD(0)))


def _both(kernel: Kernel, args: list[Value]) -> Value:
    return Value("uint32", kernel.builder.or_(*(a.ir for a in args)))


def _whole(kernel: Kernel, args: list[Value]) -> Value:
    return Value("int32", kernel.builder.and_(args[0].ir, _WORD(-_AT_ONCE)))


def _lowest(kernel: Kernel, args: list[Value]) -> Value:
    found = kernel.builder.cttz(args[0].ir, ir.IntType(1)(1))
    return Value("int64", kernel.builder.zext(found, ir.IntType(64)))


def _rest(kernel: Kernel, args: list[Value]) -> Value:
    word = args[0].ir
    return Value("uint32", kernel.builder.and_(word, kernel.builder.sub(word, _WORD(1))))


# Uniforms as words ----------------------------------------------------------------------------------------------------


def part(builder: Any, dtype: str, bits: tuple[int, int], value: Any) -> Any:
    """The middle of one of 2^n equal parts of (0, 1), which n bits of a word say."""
    (first, n), single = bits, ir.FloatType()
    taken = builder.and_(builder.lshr(value, _WORD(first)), _WORD((1 << n) - 1))
    one = builder.or_(builder.shl(taken, _WORD(23 - n)), _WORD(0x3F800000))  # from 1 to 2
    found = builder.fsub(builder.bitcast(one, single), ir.Constant(single, 1.0 - 2.0 ** -(n + 1)))
    return found if dtype == "float32" else builder.fpext(found, ir.DoubleType())


def _part(dtype: str, bits: tuple[int, int], kernel: Kernel, args: list[Value]) -> Value:
    return Value(dtype, part(kernel.builder, dtype, bits, args[0].ir))


def _word_of(kernel: Kernel, args: list[Value]) -> Value:
    return Value("uint32", kernel.builder.bitcast(args[0].ir, _WORD))


def _bound(kernel: Kernel, args: list[Value]) -> Value:
    """The least integer that is not below 2^23 times the number, less 1/2; 0 for no number and those below 0."""
    builder, double = kernel.builder, ir.DoubleType()
    given, none, all_ = kernel.converted(args[0], "float64").ir, double(0.0), double(1.0)
    given = builder.select(builder.fcmp_ordered(">", given, none), given, none)
    given = builder.select(builder.fcmp_ordered("<", given, all_), given, all_)
    scaled = builder.fmul(given, double(2.0**23))
    scaled = builder.fsub(scaled, double(0.5))  # (exact, of which the next integer is the bound)
    whole = builder.fptosi(scaled, _WORD)
    more = builder.fcmp_ordered(">", scaled, builder.sitofp(whole, double))
    return Value("uint32", builder.add(whole, builder.zext(more, _WORD)))


def _below(kernel: Kernel, args: list[Value]) -> Value:
    (values, first, bound), builder = (a.ir for a in args), kernel.builder
    many = ir.VectorType(_WORD, _AT_ONCE)
    words = builder.load(builder.bitcast(builder.gep(values, [first]), many.as_pointer()), align=4)
    one = builder.insert_element(ir.Constant(many, ir.Undefined), bound, _WORD(0))
    bounds = builder.shuffle_vector(one, one, ir.Constant(many, [0] * _AT_ONCE))
    shifted = builder.lshr(words, ir.Constant(many, [UNIT[0]] * _AT_ONCE))
    return Value("uint32", builder.bitcast(builder.icmp_unsigned("<", shifted, bounds), _WORD))


def _least(kernel: Kernel, args: list[Value]) -> Value:
    one, other = (a.ir for a in args)
    return Value("uint32", kernel.builder.select(kernel.builder.icmp_unsigned("<", one, other), one, other))


def _seldom(kernel: Kernel, args: list[Value]) -> Value:
    (word, bound), builder, bit = (a.ir for a in args), kernel.builder, ir.IntType(1)
    holds = builder.icmp_unsigned("<", builder.lshr(word, _WORD(UNIT[0])), bound)
    expect = builder.module.declare_intrinsic("llvm.expect", (bit,), ir.FunctionType(bit, [bit, bit]))
    return Value("bool", builder.call(expect, [holds, bit(0)]))
