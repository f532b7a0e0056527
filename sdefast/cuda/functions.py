"""Device functions: the elementary functions and the noise of the CPU's kernels, with the same bits on a GPU.

They are emitted instruction by instruction where they are called, every operation rounded to nearest by name, so that
no compiler behind contracts a product and a sum that are separate in the source. Under numba's simulator, where
kernels are Python, the same functions are those that numba compiles for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from ..jit import vector_math
from ..jit.arithmetic import Arithmetic, Bits, Number
from ..jit.calls import SPARE, UNIT, flip, part, shift, sign
from ..jit.vector_math import as_intrinsic
from . import noise
from .target import SIMULATED

if SIMULATED:
    from numba.extending import intrinsic
else:
    from numba.cuda.extending import intrinsic

#: Arithmetic that is written with signs on the CPU.
OPERATIONS = ("add", "sub", "mul", "div", "neg")


class _Rounded:
    """A builder of LLVM instructions for which NVVM has no other reading than IEEE 754, round to nearest."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def call_nvvm(self, name: str, *args: Any) -> Any:
        real = args[0].type
        full = f"llvm.nvvm.{name}.{'f' if isinstance(real, ir.FloatType) else 'd'}"
        kind = ir.FunctionType(real, [real] * len(args))
        return self._builder.call(self._builder.module.declare_intrinsic(full, (), kind), args)

    def fadd(self, a: Any, b: Any) -> Any:
        return self.call_nvvm("add.rn", a, b)

    def fsub(self, a: Any, b: Any) -> Any:
        return self.call_nvvm("add.rn", a, self.fneg(b))

    def fmul(self, a: Any, b: Any) -> Any:
        return self.call_nvvm("mul.rn", a, b)

    def fdiv(self, a: Any, b: Any) -> Any:
        return self.call_nvvm("div.rn", a, b)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.call_nvvm("fma.rn", a, b, c)

    def fneg(self, a: Any) -> Any:
        return self._builder.fsub(ir.Constant(a.type, -0.0), a)  # NVVM knows no fneg, but this form of it


class GpuArithmetic(Arithmetic):
    """Arithmetic of a GPU."""

    def __init__(self, context: Any, builder: Any, real: Any, integer: Any) -> None:
        super().__init__(context, _Rounded(builder), real, integer)

    def sqrt(self, x: Number) -> Number:
        return Number(self, self.builder.call_nvvm("sqrt.rn", x.ir))

    def floor(self, x: Number) -> Number:
        return Number(self, self.builder.call_nvvm("floor", x.ir))


_ARITHMETIC = Arithmetic if SIMULATED else GpuArithmetic


def _rounded(builder: Any) -> Any:
    """A builder whose arithmetic is rounded by name, on a GPU."""
    return builder if SIMULATED else _Rounded(builder)


class _Function(NamedTuple):
    """A function's types and what emits it."""

    result: Any
    arguments: list[Any]
    emit: Callable[..., Any]


def functions(dtype: str, noise_dtype: str) -> dict[str, Any]:
    """What the source of a kernel calls, by name: arithmetic and functions of ``dtype``, the noise, bits, types."""
    space = {f"{name}_": f for name, f in _numbers(dtype).items()}
    space |= {f"{name}64_": f for name, f in _numbers("float64").items()}
    space |= {f"{name}_": f for name, f in _words().items()} | _bits(dtype)
    space |= {"uniform_": _draws(dtype)["uniform"]}
    if noise_dtype != "uint32":
        space["pair_"] = _draws(noise_dtype)["pair"]
    kinds = {
        "T": np.dtype(dtype).type,
        "Z": np.dtype(noise_dtype).type,
        "F": np.float32,
        "D": np.float64,
        "I": np.int32,
        "U": np.uint64,
        "L": getattr(types, dtype),
    }
    return space | kinds


@cache
def _numbers(dtype: str) -> dict[str, Any]:
    real = getattr(types, dtype)

    def operation(name: str) -> _Function:
        def emit(context: Any, builder: Any, args: Any) -> Any:
            v = _ARITHMETIC(context, builder, real, None)
            return getattr(v.builder, f"f{name}")(*args)

        return _Function(real, [real] * (1 if name == "neg" else 2), emit)

    made = {name: _callable(operation(name)) for name in OPERATIONS}
    for name in vector_math.FUNCTIONS:
        emit = vector_math.emitter(name, dtype, _ARITHMETIC)
        made[name] = _callable(_Function(*vector_math.signature(name, dtype), emit))
    return made


@cache
def _words() -> dict[str, Any]:
    """Halves of 64-bit integers, a float32 of its bits and back, and what the noise is made of.

    That is the next word of a generator, the start of a segment, a number below another.
    """
    word, wide = types.uint32, types.int64

    def emit_low(context: Any, builder: Any, args: Any) -> Any:
        return builder.trunc(args[0], ir.IntType(32))

    def emit_high(context: Any, builder: Any, args: Any) -> Any:
        return builder.trunc(builder.lshr(args[0], ir.IntType(64)(32)), ir.IntType(32))

    def emit_single(context: Any, builder: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    def emit_bits(context: Any, builder: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(32)), ir.IntType(64))

    def emit_next(context: Any, builder: Any, args: Any) -> Any:
        _, generator = _given(context, builder, args)
        value, generator = noise.next_word(generator)
        return _tuple(context, builder, [word] * 5, [value, *generator])

    def emit_key(context: Any, builder: Any, args: Any) -> Any:
        w, (low, high, *counter) = _given(context, builder, args)
        return _tuple(context, builder, [word] * 4, noise.philox(w, (low, high), tuple(counter)))

    def emit_pick(context: Any, builder: Any, args: Any) -> Any:
        """floor(w n / 2^64) for w = 2^32 high + low and n < 2^32: nothing on the way is longer than 64 bits."""
        high, low, n = (builder.zext(arg, ir.IntType(64)) if arg.type.width == 32 else arg for arg in args)
        half = ir.IntType(64)(32)
        return builder.lshr(builder.add(builder.mul(high, n), builder.lshr(builder.mul(low, n), half)), half)

    return {
        "pick": _callable(_Function(wide, [word, word, wide], emit_pick)),
        "single": _callable(_Function(types.float32, [word], emit_single)),
        "bits": _callable(_Function(wide, [types.float32], emit_bits)),
        "low": _callable(_Function(word, [wide], emit_low)),
        "high": _callable(_Function(word, [wide], emit_high)),
        "next": _callable(_Function(types.UniTuple(word, 5), [word] * 4, emit_next)),
        "key": _callable(_Function(types.UniTuple(word, 4), [word] * 6, emit_key)),
    }


@cache
def _draws(dtype: str) -> dict[str, Any]:
    """A pair of normals, a uniform, each with the generator that is left."""
    word, real, integer = types.uint32, getattr(types, dtype), getattr(types, dtype.replace("float", "uint"))

    def emitter(draw: Callable[..., Any], results: list[Any]) -> Callable[..., Any]:
        def emit(context: Any, builder: Any, args: Any) -> Any:
            v = _ARITHMETIC(context, builder, real, integer)
            *numbers, generator = draw(v, _given(context, builder, args)[1])
            return _tuple(context, builder, results, [*numbers, *generator])

        return emit

    made = {}
    for name, draw, count in (("pair", noise.normal_pair, 2), ("uniform", noise.uniform, 1)):
        results = [real] * count + [word] * 4
        made[name] = _callable(_Function(types.Tuple(results), [word] * 4, emitter(draw, results)))
    return made


@cache
def _bits(dtype: str) -> dict[str, Any]:
    """What turns words into signs, see ``jit/calls.py``."""
    real, word, n = getattr(types, dtype), types.uint32, types.int64
    return {
        "shift_": _callable(_Function(word, [word, n], lambda _, builder, args: shift(builder, *args))),
        "sign_": _callable(_Function(real, [word, n], lambda _, builder, args: sign(builder, dtype, *args))),
        "flip_": _callable(_Function(real, [real, real], lambda _, builder, args: flip(builder, dtype, *args))),
        "unit_": _callable(
            _Function(real, [word], lambda _, builder, args: part(_rounded(builder), dtype, UNIT, *args))
        ),
        "spare_": _callable(
            _Function(real, [word], lambda _, builder, args: part(_rounded(builder), dtype, SPARE, *args))
        ),
    }


def _given(context: Any, builder: Any, args: Any) -> tuple[Arithmetic, Any]:
    """The arithmetic of words, and words."""
    w = _ARITHMETIC(context, builder, types.float32, types.uint32)
    return w, tuple(Bits(w, arg) for arg in args)


def _tuple(context: Any, builder: Any, kinds: list[Any], values: Any) -> Any:
    same = len(set(kinds)) == 1
    kind = types.UniTuple(kinds[0], len(kinds)) if same else types.Tuple(kinds)
    return context.make_tuple(builder, kind, [value.ir for value in values])


def _callable(f: _Function) -> Any:
    """The function as a kernel's source may call it."""
    made = as_intrinsic(intrinsic, *f)
    return _simulated(made, f.result, f.arguments) if SIMULATED else made


def _simulated(function: Any, result: Any, arguments: list[Any]) -> Callable[..., Any]:
    """The function compiled for the CPU, from and to numpy's scalars."""
    kinds = list(result.types) if isinstance(result, types.BaseTuple) else [result]
    scalars = [getattr(np, kind.name) for kind in kinds]

    made: list[Any] = []

    def compiled() -> Any:
        if not made:
            import numba

            names = ", ".join(f"a{i}" for i in range(len(arguments)))
            space: dict[str, Any] = {"function": function}
            exec(f"def call({names}): return function({names})", space)
            made.append(numba.njit(result(*arguments))(space["call"]))
        return made[0]

    def call(*args: Any) -> Any:
        value = (made[0] if made else compiled())(*args)
        if len(scalars) == 1:
            return scalars[0](value)
        return tuple(scalar(part) for scalar, part in zip(scalars, value, strict=True))

    call.compile_now = compiled  # type: ignore[attr-defined]
    return call


def compile_used(kernel: Any) -> None:
    """In the simulator, what a kernel calls before it runs: its threads would all compile at once."""
    for name in kernel.__code__.co_names if SIMULATED else ():
        getattr(kernel.__globals__.get(name), "compile_now", lambda: None)()
