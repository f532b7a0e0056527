"""The noise contract of ``csrc/noise/stream.hpp`` over an `Arithmetic`: words, normals and uniforms with the same bits.

Functions take ``w``, the arithmetic of 32-bit words, and ``v``, that of the numbers that are drawn; a generator is the
four words of its state.
"""

from __future__ import annotations

from typing import Any

from ..jit.arithmetic import Arithmetic, Bits, Number, Pair, table

Generator = tuple[Bits, Bits, Bits, Bits]

#: Words between two keys, `words_per_segment` in csrc/noise/stream.hpp.
WORDS_PER_SEGMENT = 1024

#: Streams of the kinds of draws.
NORMALS, UNIFORMS, WORDS = 0, 1, 2


def rotated(x: Bits, k: int) -> Bits:
    return (x << k) | (x >> (32 - k))


def next_word(s: Generator) -> tuple[Bits, Generator]:
    """xoshiro128++ 1.0 (Blackman and Vigna, 2021)."""
    s0, s1, s2, s3 = s
    word = rotated(s0 + s3, 7) + s0
    t = s1 << 9
    s2, s3 = s2 ^ s0, s3 ^ s1
    s1, s0 = s1 ^ s2, s0 ^ s3
    return word, (s0, s1, s2 ^ t, rotated(s3, 11))


def philox(w: Arithmetic, key: tuple[Bits, Bits], counter: Generator) -> Generator:
    """Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = w.wide_product(c0, 0xD2511F53)
        high1, low1 = w.wide_product(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + 0x9E3779B9, k1 + 0xBB67AE85
    return c0, c1, c2, c3


def uniform(v: Arithmetic, s: Generator) -> tuple[Number, Generator]:
    """The middle of one of 2^23 or 2^52 equal parts of (0, 1)."""
    bits, s = next_word(s)
    if v.width == 64:
        low, s = next_word(s)
        bits = (v.widened(bits) << 32) | v.widened(low)
    number = v.from_bits((bits >> (v.width - v.digits)) | v.one)
    return number - (1.0 - 2.0 ** -(v.digits + 1)), s


# Box-Muller ----------------------------------------------------------------------------------------------------------

_TWO_LN2 = Pair(float.fromhex("0x1.62e43p-23"), float.fromhex("0x1.62e42fefa39efp+0"))  # in units of the exponent

# -2 log(1 + f) / f for 1/2 <= 1 + f < 1
_MINUS_2_LOG1P = table(
    """-0x1.fffffcp+0 0x1.0004cap+0 -0x1.53d3ccp-1 0x1.16c8d8p-1 -0x1.37719ep-4 0x1.922406p+0 0x1.14dfd2p+1
       0x1.2f57acp+1""",
    """-0x1.000000000002ap+1 0x1.ffffffffd1155p-1 -0x1.55555577e01d4p-1 0x1.ffffebe93daf4p-2 -0x1.999caaa4087dep-2
       0x1.550cdbafddbe1p-2 -0x1.28f76752193b3p-2 0x1.a1986ce1c4329p-3 -0x1.270e0c177e776p-1 -0x1.c8d94f1e2258cp+0
       -0x1.0c2c0062f91bep+3 -0x1.8cd69eb6548e1p+4 -0x1.bd06911f8a3eep+5 -0x1.5e1f4041a8980p+6 -0x1.77b2290e07bfbp+6
       -0x1.e9d8e293ed5c5p+5 -0x1.2fc3897cc395ep+4""",
)

# sqrt 2 sin(pi y / 4) / y and sqrt 2 cos(pi y / 4) in y^2
_SINE = table(
    "0x1.1c5832p+0 -0x1.d3ba3ep-4 0x1.cd8e5ap-9 -0x1.aa7d8ap-15",
    """0x1.1c5831add62e4p+0 -0x1.d3ba5c1c5f464p-4 0x1.cda106381db59p-9 -0x1.b1e9f347f07c8p-15 0x1.dbd6f6a23df67p-22
       -0x1.55889d4d3b074p-29 0x1.563138a42e6a7p-37""",
)
_COSINE = table(
    "0x1.6a09e6p+0 -0x1.bea55ap-2 0x1.6f3ea6p-6 -0x1.d8a514p-12",
    """0x1.6a09e667f3bccp+0 -0x1.bea5b6072b1ddp-2 0x1.6f5a49b28fd40p-6 -0x1.e36ab0b571ef7p-12 0x1.54cb87125c594p-18
       -0x1.2af4ab0a60106p-25 0x1.6166e349d6c4ap-33""",
)

_X = float.fromhex


def normal_pair(v: Arithmetic, s: Generator) -> tuple[Number, Number, Generator]:
    """Two normals from two words (float32) or four (float64): those of ``csrc/noise/normal.hpp`` to the bit."""
    u, s = _radius32(v, s) if v.width == 32 else _radius64(v, s)
    f, power = _split(v, u)
    r = v.sqrt(v.fma(f, v.horner(f, _MINUS_2_LOG1P), power))
    y, sign, s = _angle32(v, s) if v.width == 32 else _angle64(v, s)
    square = y * y
    sine, cosine = y * v.horner(square, _SINE), v.horner(square, _COSINE)
    rs = r * sine
    return rs * cosine, v.from_bits(v.bits(v.fma(-rs, sine, r)) ^ sign), s


def _radius32(v: Arithmetic, s: Generator) -> tuple[Number, Generator]:
    """u in (0, 1) with the whole word, the factor keeping it below 1."""
    word, s = next_word(s)
    return v.fma(v.from_unsigned(word), _X("0x1.fffffep-33"), _X("0x1p-33")), s


def _radius64(v: Arithmetic, s: Generator) -> tuple[Number, Generator]:
    high, s = next_word(s)
    low, s = next_word(s)
    rest = v.fma(v.from_signed(low), _X("0x1p-63"), _X("0x1.00000001p-32"))
    return v.fma(v.from_signed(high >> 1), _X("0x1.fffffffffffffp-32"), rest), s


def _angle32(v: Arithmetic, s: Generator) -> tuple[Number, Any, Generator]:
    """y in (-1, 1), phi = pi y / 2, and the sign of the cosine, the word's lowest bit."""
    word, s = next_word(s)
    return v.fma(v.from_signed(word), _X("0x1.fffffcp-32"), _X("0x1p-32")), word << 31, s


def _angle64(v: Arithmetic, s: Generator) -> tuple[Number, Any, Generator]:
    high, s = next_word(s)
    low, s = next_word(s)
    rest = v.fma(v.from_signed(low), _X("0x1p-63"), _X("0x1.00000001p-32"))
    return v.fma(v.from_signed(high), _X("0x1.ffffffffffffep-32"), rest), v.widened(low) << 63, s


def _split(v: Arithmetic, u: Number) -> tuple[Number, Number]:
    """f and -2 log(2^-e) of u = 2^-e (1 + f), 1/2 <= 1 + f < 1."""
    bits, half = v.bits(u), v.one - (1 << v.digits)  # of 1/2
    if v.width == 32:
        halvings = (v.integer(v.one - 1) - bits) & 0xFF800000  # e, in the exponent's place
        return v.from_bits(bits + halvings) - 1.0, v.from_signed(halvings) * _TWO_LN2
    exponent = v.from_bits((bits >> 52) | 0x4330000000000000)  # 2^52 + its bits
    f = v.from_bits((bits & 0x000FFFFFFFFFFFFF) | half) - 1.0
    return f, (v.number(2.0**52 + 1022) - exponent) * _TWO_LN2
