"""Instructions that calculate, with integers, bits and floats."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .rules import Binder, of, rule, simple
from .text import TYPES, Instruction, Literal

if TYPE_CHECKING:
    from .execution import Lanes


def _wide(kind: str) -> np.dtype[Any]:
    return TYPES[f"{kind[0]}{2 * int(kind[1:])}"]


def _high(kind: str) -> Callable[..., Any]:
    """The upper half of a product."""
    width = int(kind[1:])
    if width < 64:
        return lambda a, b: np.right_shift(np.multiply(a, b, dtype=_wide(kind)), width)
    return _high_unsigned if kind == "u64" else _high_signed


def _high_unsigned(a: Any, b: Any) -> Any:
    low = np.uint64(0xFFFFFFFF)
    a0, a1, b0, b1 = a & low, a >> 32, b & low, b >> 32
    middle = a1 * b0 + (a0 * b0 >> 32)
    return a1 * b1 + (middle >> 32) + ((middle & low) + a0 * b1 >> 32)


def _high_signed(a: Any, b: Any) -> Any:
    high = _high_unsigned(a.view(np.uint64), b.view(np.uint64)).view(np.int64)
    return high - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)


def _quotient(a: Any, b: Any) -> Any:
    """Rounded to zero; all bits of x / 0 are set, as the hardware has it."""
    quotient = np.floor_divide(a - np.fmod(a, b), b)
    return np.where(b == 0, np.invert(np.zeros_like(b)), quotient)


def _remainder(a: Any, b: Any) -> Any:
    """With the sign of a; x modulo 0 is x."""
    return np.where(b == 0, a, np.fmod(a, b))


def _least(a: Any, b: Any) -> Any:
    """A number if there is one, and -0 < 0: the bits of equal numbers differ in the sign alone."""
    bits = f"u{a.dtype.itemsize}"
    return np.where(a == b, (a.view(bits) | b.view(bits)).view(a.dtype), np.fmin(a, b))


def _greatest(a: Any, b: Any) -> Any:
    bits = f"u{a.dtype.itemsize}"
    return np.where(a == b, (a.view(bits) & b.view(bits)).view(a.dtype), np.fmax(a, b))


@cache
def rounded_once() -> Any:
    """a * b + c by the CPU's own instruction, or what stands for it in the C library; both round once."""
    from numba import types, vectorize
    from numba.extending import intrinsic

    @intrinsic
    def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return a(a, a, a), lambda context, builder, signature, args: builder.fma(*args)

    signatures = [real(real, real, real) for real in (types.float32, types.float64)]
    made = vectorize(signatures)(lambda a, b, c: fma(a, b, c))
    return getattr(made, "ufunc", made)


def _fma(a: Any, b: Any, c: Any, out: Any, where: Any = True) -> None:
    if where is True:
        rounded_once()(a, b, c, out=out)
    else:
        np.copyto(out, rounded_once()(a, b, c), where=where)


_SIGNED = {"add": np.add, "sub": np.subtract, "min": np.minimum, "max": np.maximum}
_SIGNED |= {"div": of(_quotient), "rem": of(_remainder), "mul.lo": np.multiply}
BITWISE = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert}
_INTEGER_TYPE = r"([us](?:16|32|64))"


@rule(rf"(add|sub|min|max|div|rem|mul\.lo)\.{_INTEGER_TYPE}")
def _integer(name: str, kind: str) -> Binder:
    return simple(_SIGNED[name], kind, kind, kind)


@rule(r"(abs|neg)\.(s16|s32|s64|f32|f64)")
def _sign(name: str, kind: str) -> Binder:
    return simple(np.absolute if name == "abs" else np.negative, kind, kind)


@rule(rf"(mul|mad)\.(wide|hi)\.{_INTEGER_TYPE}")
def _multiply(name: str, part: str, kind: str) -> Binder:
    if part == "wide" and kind[1:] == "64":
        raise NotImplementedError(f"{name}.{part}.{kind}")
    out = f"{kind[0]}{2 * int(kind[1:])}" if part == "wide" else kind
    product = partial(np.multiply, dtype=TYPES[out]) if part == "wide" else _high(kind)
    if name == "mul":
        return simple(product if part == "wide" else of(product), out, kind, kind)
    return simple(of(lambda a, b, c: product(a, b).astype(TYPES[out]) + c), out, kind, kind, out)


@rule(rf"mad\.lo\.{_INTEGER_TYPE}")
def _multiply_add(kind: str) -> Binder:
    return simple(of(lambda a, b, c: a * b + c), kind, kind, kind, kind)


@rule(r"(and|or|xor|not)\.(pred|b16|b32|b64)")
def _bitwise(name: str, kind: str) -> Binder:
    return simple(BITWISE[name], kind, *[kind] * (1 if name == "not" else 2))


@rule(r"cnot\.(b16|b32|b64)")
def _logical_not(kind: str) -> Binder:
    return simple(of(lambda a: (a == 0).astype(a.dtype)), kind, kind)


@rule(r"(shl|shr)\.([bus](?:16|32|64))")
def _shift(name: str, kind: str) -> Binder:
    """numpy shifts by the width or more as PTX does; a negative count is a large one without a sign."""
    shift = np.left_shift if name == "shl" else np.right_shift
    constant, variable = (simple(shift, kind, kind, by) for by in (kind, "s32" if kind[0] == "s" else "u32"))

    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        return (constant if isinstance(instruction.operands[-1], Literal) else variable)(lanes, instruction)

    return bind


@rule(r"shf\.([lr])\.(wrap|clamp)\.b32")
def _funnel(side: str, mode: str) -> Binder:
    def shift(low: Any, high: Any, count: Any) -> Any:
        count = count & np.uint32(31) if mode == "wrap" else np.minimum(count, np.uint32(32))
        left, right = (count, 32 - count) if side == "l" else (32 - count, count)
        return high << left | low >> right

    return simple(of(shift), "u32", "u32", "u32", "u32")


@rule(r"(popc|clz|brev)\.(b32|b64)")
def _counts(name: str, kind: str) -> Binder:
    width = int(kind[1:])

    def zeros(a: Any) -> Any:
        for step in (1, 2, 4, 8, 16, 32):
            a = a | a >> step
        return width - np.bitwise_count(a).astype(np.uint32)

    def reverse(a: Any) -> Any:
        octets = np.asarray(a)[..., np.newaxis].view(np.uint8)[..., ::-1]
        bits = np.packbits(np.unpackbits(octets, axis=-1, bitorder="little"), axis=-1)
        return np.ascontiguousarray(bits).view(a.dtype)[..., 0]

    function = {"popc": np.bitwise_count, "clz": zeros, "brev": reverse}[name]
    return simple(of(function), kind if name == "brev" else "u32", kind)


@rule(r"bfe\.([us](?:32|64))")
def _extract(kind: str) -> Binder:
    width = int(kind[1:])

    def extract(a: Any, position: Any, length: Any) -> Any:
        position, length = (np.asarray(v & np.uint32(255), np.int64) for v in (position, length))
        top = np.minimum(position + length - 1, width - 1)
        if kind[0] == "u":
            mask = (np.ones_like(a) << length.astype(a.dtype)) - np.ones_like(a)
            return a >> position.astype(a.dtype) & mask
        left = width - 1 - top
        field = a << left.astype(a.dtype) >> (left + position).astype(a.dtype)
        return np.where(length == 0, np.zeros_like(a), field)

    return simple(of(extract), kind, kind, "u32", "u32")


@rule(r"bfi\.(b32|b64)")
def _insert(kind: str) -> Binder:
    def insert(a: Any, b: Any, position: Any, length: Any) -> Any:
        position, length = ((v & np.uint32(255)).astype(a.dtype) for v in (position, length))
        mask = (np.ones_like(a) << length) - np.ones_like(a) << position
        return b & ~mask | a << position & mask

    return simple(of(insert), kind, kind, kind, "u32", "u32")


@rule(r"prmt\.b32")
def _permute() -> Binder:
    def permute(a: Any, b: Any, selectors: Any) -> Any:
        octets = b.astype(np.uint64) << 32 | a
        result = np.zeros_like(octets)
        for i in range(4):
            selector = selectors.astype(np.uint64) >> (4 * i)
            octet = octets >> ((selector & 7) << 3) & 255
            octet = np.where(selector & 8, (octet >> 7) * 255, octet)
            result = result | octet << (8 * i)
        return result

    return simple(of(permute), "u32", "u32", "u32", "u32")


@rule(r"lop3\.b32")
def _lookup() -> Binder:
    def lookup(a: Any, b: Any, c: Any, table: Any) -> Any:
        result = np.zeros_like(a)
        for i in range(8):
            term = (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
            result = result | np.where(table >> i & 1, term, 0).astype(np.uint32)
        return result

    return simple(of(lookup), "u32", "u32", "u32", "u32", "u32")


_FLOAT = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


@rule(r"(?:(add|sub|mul)(?:\.rn)?|(div)\.rn)\.(f32|f64)")
def _float(name: str | None, division: str | None, kind: str) -> Binder:
    return simple(_FLOAT[name or division], kind, kind, kind)


@rule(r"fma\.rn\.(f32|f64)")
def _multiply_and_add(kind: str) -> Binder:
    return simple(_fma, kind, kind, kind, kind)


@rule(r"(sqrt|rcp)\.rn\.(f32|f64)")
def _root(name: str, kind: str) -> Binder:
    return simple(np.sqrt if name == "sqrt" else np.reciprocal, kind, kind)


@rule(r"(min|max)\.(f32|f64)")
def _extreme(name: str, kind: str) -> Binder:
    return simple(of(_least if name == "min" else _greatest), kind, kind, kind)


@rule(r"copysign\.(f32|f64)")
def _copysign(kind: str) -> Binder:
    return simple(of(lambda sign, size: np.copysign(size, sign)), kind, kind, kind)


_TESTS = {
    "finite": np.isfinite,
    "infinite": np.isinf,
    "number": lambda a: ~np.isnan(a),
    "notanumber": np.isnan,
    "normal": lambda a: np.isfinite(a) & (np.abs(a) >= np.finfo(a.dtype).tiny),
    "subnormal": lambda a: (a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny),
}


@rule(rf"testp\.({'|'.join(_TESTS)})\.(f32|f64)")
def _test(name: str, kind: str) -> Binder:
    return simple(of(_TESTS[name]), "pred", kind)
