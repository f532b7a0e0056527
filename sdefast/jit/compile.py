"""Compiling kernels: a program is the source of a kernel and its types; compiled once per process it is an address."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from .announce import announced
from .forks import compiling


@dataclass(frozen=True)
class Program:
    """A kernel as plain data, which reaches any worker.

    ``kind`` is "stepper", "data stepper" (whose steps draw rows of data) or "observer", with the arguments of the
    functions of that name in csrc/levels/table.hpp; ``dtype`` is the state's type, ``noise`` that of the draws (signs:
    "uint32"); ``layout`` is how the states lie that it was written for.
    """

    kind: str
    source: str
    dtype: str
    noise: str
    layout: str = "wide"

    def address(self) -> int:
        """Address of the compiled kernel in this process."""
        compiled = _compiled.get(self)
        if compiled is None:
            with compiling:
                if self not in _compiled:
                    from . import cache

                    with announced(self.source):
                        _compiled[self] = cache.load(self) or _compile(self)
                compiled = _compiled[self]
        address: int = compiled.address
        return address


#: what was compiled, kept alive as long as the process
_compiled: dict[Program, Any] = {}


def _compile(program: Program) -> Any:
    from numba.core import ccallback, sigutils

    from . import cache

    signature = sigutils.normalize_signature(_signature(program))
    compiled: Any = ccallback.CFunc(_function(program), signature, locals={}, options={"error_model": "numpy"})
    _keep_apart(compiled._compiler)
    compiled.compile()
    cache.store(program, compiled)
    return compiled


def _keep_apart(compiler: Any) -> None:
    """Have LLVM know that a kernel's arguments never point to the same memory, which numba has no option for.

    It would look where they point when a kernel runs, and where there are many rows it gives up to vectorise.
    """
    customize = compiler._customize_flags

    def customized(flags: Any) -> Any:
        flags = customize(flags)
        flags.noalias = True
        return flags

    compiler._customize_flags = customized


def _function(program: Program) -> Any:
    from numba.extending import intrinsic

    from .rare import mask_functions
    from .rows import row_loop, scratch
    from .vector_math import library

    space: dict[str, Any] = {f"{name}_": f for name, f in library(program.dtype).items()}
    space |= {f"{name}64_": f for name, f in library("float64").items()}
    space |= {"T": np.dtype(program.dtype).type, "D": np.float64, "I": np.int32, "U": np.uint64}
    space |= {**bit_functions(program.dtype, intrinsic), **mask_functions(intrinsic)}
    space |= {"scratch_": functools.partial(scratch, intrinsic, program.dtype)}
    space |= {"row_loop_": functools.partial(row_loop, intrinsic, program.dtype)}
    exec(compile(program.source, f"<sdefast {program.kind}>", "exec"), space)
    return space["kernel"]


def _signature(program: Program) -> Any:
    from numba import types

    pointer: Any = types.CPointer
    state, noise, double = (pointer(getattr(types, name)) for name in (program.dtype, program.noise, "float64"))
    if program.kind == "observer":
        return types.void(double, types.float64, types.int32, state, state, state)
    clock, sizes = (types.int64,) * 3, (types.int32,) * 3
    data = (pointer(types.uint32), types.int32, noise, types.int64) if program.kind == "data stepper" else ()
    return types.void(double, *clock, *sizes, state, noise, state, state, state, *data)


@functools.cache
def bit_functions(dtype: str, intrinsic: Any) -> dict[str, Any]:
    """What turns random words into noise, by a target's decorator for functions that emit LLVM instructions.

    ``shift_(word, n)`` shifts right, ``sign_(word, n)`` is +1 or -1 as bit n of the word is 1 or 0, and
    ``flip_(x, sign)`` is their product, all of them put together from bits. Of words that uniforms of float32 are made
    of ``unit_`` makes the uniform (see csrc/noise/stream.hpp) and ``spare_`` one of 512 values, of the bits that it
    leaves out; ``word_`` is the word whose bits a float has.
    """
    from llvmlite import ir
    from numba import types

    word, integer = ir.IntType(32), ir.IntType(32 if dtype == "float32" else 64)
    real, number = (ir.FloatType(), types.float32) if dtype == "float32" else (ir.DoubleType(), types.float64)
    top, minus_one = 1 << (integer.width - 1), int(np.array(-1.0, dtype).view(f"u{integer.width // 8}"))

    def resized(builder: Any, value: Any, to: Any) -> Any:
        if value.type.width > to.width:
            return builder.trunc(value, to)
        return builder.zext(value, to) if value.type.width < to.width else value

    @intrinsic  # type: ignore[untyped-decorator]
    def shift(typing: Any, value: Any, n: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, n = (resized(builder, arg, word) for arg in args)
            return builder.lshr(value, n)

        return types.uint32(value, n), build

    @intrinsic  # type: ignore[untyped-decorator]
    def sign(typing: Any, value: Any, n: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, n = (resized(builder, arg, integer) for arg in args)
            moved = builder.shl(value, builder.sub(integer(integer.width - 1), n))
            bits = builder.xor(builder.and_(moved, integer(top)), integer(minus_one))
            return builder.bitcast(bits, real)

        return number(value, n), build

    @intrinsic  # type: ignore[untyped-decorator]
    def flip(typing: Any, x: Any, sign: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, sign = (builder.bitcast(arg, integer) for arg in args)
            return builder.bitcast(builder.xor(x, builder.and_(sign, integer(top))), real)

        return number(number, number), build

    def part(first: int, n: int) -> Any:
        """The middle of one of 2^n equal parts of (0, 1), which the n bits from ``first`` on say."""

        @intrinsic  # type: ignore[untyped-decorator]
        def uniform(typing: Any, value: Any) -> Any:
            def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                bits = builder.and_(builder.lshr(args[0], word(first)), word((1 << n) - 1))
                one = builder.or_(builder.shl(bits, word(23 - n)), word(0x3F800000))  # from 1 to 2
                single = builder.bitcast(one, ir.FloatType())
                value = builder.fsub(single, ir.Constant(ir.FloatType(), 1.0 - 2.0 ** -(n + 1)))
                return value if dtype == "float32" else builder.fpext(value, real)

            return number(types.uint32), build

        return uniform

    @intrinsic  # type: ignore[untyped-decorator]
    def of_float(typing: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], word)

        return types.uint32(types.float32), build

    bits = {"unit_": part(9, 23), "spare_": part(0, 9), "word_": of_float}
    return {"shift_": shift, "sign_": sign, "flip_": flip, **bits}
