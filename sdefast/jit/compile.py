"""Compiling kernels: a program is the source of a kernel and its types; compiled once per process it is an address."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from .vector_math import library


@dataclass(frozen=True)
class Program:
    """A kernel as plain data, which reaches any worker.

    ``kind`` is "stepper" or "observer", ``dtype`` the state's type, ``noise`` that of the draws ("uint32" for signs).
    """

    kind: str
    source: str
    dtype: str
    noise: str

    def address(self) -> int:
        """Address of the compiled kernel in this process."""
        with _lock:
            if self not in _compiled:
                _compiled[self] = _compile(self)
            address: int = _compiled[self].address
            return address


_lock = threading.Lock()

#: what was compiled, kept alive as long as the process
_compiled: dict[Program, Any] = {}


def _compile(program: Program) -> Any:
    import numba

    return numba.cfunc(_signature(program), error_model="numpy")(_function(program))


def _function(program: Program) -> Any:
    space: dict[str, Any] = {f"{name}_": f for name, f in library(program.dtype).items()}
    space |= {"T": np.dtype(program.dtype).type, "sign_": _sign(program.dtype)}
    exec(compile(program.source, f"<sdefast {program.kind}>", "exec"), space)
    return space["kernel"]


def _signature(program: Program) -> Any:
    from numba import types

    pointer: Any = types.CPointer
    state, noise, double = (pointer(getattr(types, name)) for name in (program.dtype, program.noise, "float64"))
    if program.kind == "observer":
        return types.void(double, types.float64, types.int32, state, state)
    clock, sizes = (types.int64,) * 3, (types.int32,) * 3
    return types.void(double, *clock, *sizes, state, noise, state, state)


_signs: dict[str, Any] = {}


def _sign(dtype: str) -> Any:
    """``sign(word, n)``: +1 or -1 as bit n of the word is 1 or 0, put together from bits."""
    if dtype in _signs:
        return _signs[dtype]
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    width, real, bits = (
        (32, ir.FloatType(), types.float32) if dtype == "float32" else (64, ir.DoubleType(), types.float64)
    )
    top, minus_one = 1 << (width - 1), int(np.array(-1.0, dtype).view(f"u{width // 8}"))

    @intrinsic
    def sign(typing: Any, word: Any, n: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            integer = ir.IntType(width)
            value, position = args
            value = builder.trunc(value, ir.IntType(32)) if value.type.width > 32 else value
            value = builder.zext(value, integer) if width > 32 else value
            position = builder.trunc(position, integer) if position.type.width > width else position
            position = builder.zext(position, integer) if position.type.width < width else position
            moved = builder.shl(value, builder.sub(integer(width - 1), position))
            flipped = builder.xor(builder.and_(moved, integer(top)), integer(minus_one))
            return builder.bitcast(flipped, real)

        return bits(word, n), build

    _signs[dtype] = sign
    return sign
