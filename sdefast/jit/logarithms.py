"""Logarithms and powers.

Errors are the largest seen in units in the last place, of float32 / float64.
"""

from __future__ import annotations

import math
from typing import Any

from .arithmetic import Arithmetic, Bits, Number, Pair, number_pair, table
from .exponentials import LN2, times_power_of_two

_TINY = Pair(2.0**-126, 2.0**-1022)
_SQRT_HALF_BITS = Pair(0x3F3504F3, 0x3FE6A09E667F3BCD)

# log(1 + f) / f for sqrt(1/2) <= 1 + f <= sqrt(2)
_LOG = table(
    """0x1.000000p+0 -0x1.fffff8p-2 0x1.555792p-2 -0x1.000570p-2 0x1.98b748p-3 -0x1.5332a4p-3 0x1.3238f0p-3
       -0x1.263ba6p-3 0x1.654492p-4""",
    """0x1.000000p+0 -0x1.ffffffffffee4p-2 0x1.55555555553d7p-2 -0x1.00000000223a7p-2 0x1.9999999a056c7p-3
       -0x1.5555552eef811p-3 0x1.249248d7c7bacp-3 -0x1.0000099975a6ep-3 0x1.c71ca18629ed1p-4
       -0x1.99971b727cb86p-4 0x1.74557acf393d0p-4 -0x1.5581dd7fe9074p-4 0x1.3bbe500783386p-4
       -0x1.23103bea2968cp-4 0x1.08e0842844607p-4 -0x1.027fc808a6588p-4 0x1.2298fc6fc5198p-4
       -0x1.122bc3eaa4ab3p-4 0x1.f6d822c593123p-6""",
)

# (log(1 + f) - f) / f^2 on the same interval
_LOG1P = table(
    """-0x1.000000p-1 0x1.555554p-2 -0x1.000228p-2 0x1.99a034p-3 -0x1.547234p-3 0x1.22d68ep-3 -0x1.0d8202p-3
       0x1.05709ep-3 -0x1.38f91ap-4""",
    """-0x1.0000000000000p-1 0x1.55555555551f3p-2 -0x1.000000000046dp-2 0x1.9999999a2af43p-3 -0x1.555555555b4aep-3
       0x1.249248e2bf412p-3 -0x1.ffffff80a4deap-4 0x1.c71c8e516c667p-4 -0x1.9999cad25d521p-4 0x1.7459bcf1f5752p-4
       -0x1.554d2c268e6c4p-4 0x1.3b4b8f2224e9ep-4 -0x1.2547c9c877198p-4 0x1.0f3dbebc66455p-4
       -0x1.eef70bbbd0bfep-5 0x1.e93ec4b72db77p-5 -0x1.15da1499cf61fp-4 0x1.0311e2406ca7ep-4
       -0x1.d01485f0a8a8dp-6""",
)

# (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2 for |s| <= 0.1716
_ATANH = table(
    "",
    """0x1.5555555555558p-1 0x1.99999999952e2p-2 0x1.2492492df148dp-2 0x1.c71c62e5800a1p-3 0x1.7462b4ab2ef6bp-3
       0x1.39fe606542ddep-3 0x1.2b584aae78a57p-3""",
)

# (log2((1 + s) / (1 - s)) - 2 s / log 2) / s^3 in s^2 for |s| <= 0.1716, and 2 / log 2 in two parts
_LOG2 = table(
    "0x1.ec709ep-1 0x1.2776e0p-1 0x1.a5d046p-2 0x1.589068p-2",
    """0x1.ec709dc3a03fdp-1 0x1.2776c50ef9e6dp-1 0x1.a61762a730040p-2 0x1.484b14361b937p-2 0x1.0c9a5e4dbdce2p-2
       0x1.c6a1367e0f8cfp-3 0x1.878f296afbacdp-3 0x1.86fdafd0889e4p-3""",
)
_TWO_LOG2_E = number_pair("0x1.715476p+1", "0x1.71547652b82fep+1")
_TWO_LOG2_E_LOW = number_pair("0x1.4ae0c0p-25", "0x1.777d0ffda0d24p-55")


def _exponent_and_mantissa(v: Arithmetic, x: Number) -> tuple[Bits, Number]:
    """e + bias and m of a normal x = 2^e m > 0 with m in [sqrt(1/2), sqrt(2))."""
    offset = v.bits(x) + (v.one - v.pick(_SQRT_HALF_BITS))
    return offset >> v.digits, v.from_bits((offset & ((1 << v.digits) - 1)) + v.pick(_SQRT_HALF_BITS))


def _difference(v: Arithmetic, n: Bits, subtrahend: Any) -> Number:
    """n - subtrahend as a number, n < 2^digits: n is the low bits of 2^digits + n."""
    return v.from_bits(n | (v.bias + v.digits << v.digits)) - v.number(subtrahend)


def _positive_parts(v: Arithmetic, x: Number) -> tuple[Number, Number]:
    """e and f of any finite x = 2^e (1 + f) > 0; a subnormal x is made normal first."""
    subnormal = x < _TINY
    e, m = _exponent_and_mantissa(v, v.select(subnormal, x * 2.0**v.digits, x))
    zero = 2.0**v.digits + v.bias
    return _difference(v, e, v.select(subnormal, zero + v.digits, zero)), m - 1.0


def _log_edges(v: Arithmetic, result: Number, x: Number, pole: float) -> Number:
    """-infinity at the pole, NaN below it and for NaN, infinity at infinity."""
    outside = v.select(x == pole, -math.inf, math.nan)
    return v.select(x == math.inf, math.inf, v.select(x > pole, result, outside))


def log(v: Arithmetic, x: Number) -> Number:
    """e log 2 + f p(f), x = 2^e (1 + f). 2.3 / 4.2 ulp."""
    e, f = _positive_parts(v, x)
    return _log_edges(v, v.fma(e, LN2, f * v.horner(f, _LOG)), x, 0.0)


def log_positive(v: Arithmetic, x: Number) -> Number:
    """log(x) of a normal number x > 0, which is not checked. 2.3 / 2.1 ulp.

    In float64 by log((1 + s) / (1 - s)) with s = f / (2 + f): a quotient costs less than the terms that it saves.
    """
    e, m = _exponent_and_mantissa(v, x)
    f, e_log2 = m - 1.0, _difference(v, e, 2.0**v.digits + v.bias)
    if v.width == 32:
        return v.fma(e_log2, LN2, f * v.horner(f, _LOG))
    s = f / (f + 2.0)
    square = s * s
    return v.fma(e_log2, LN2, v.fma(s * square, v.horner(square, _ATANH), s + s))


def log1p(v: Arithmetic, x: Number) -> Number:
    """e log 2 + f + f^2 q(f), 1 + x = 2^e (1 + f), f from x and not from the rounded 1 + x. 1.6 / 2.0 ulp."""
    e, _ = _exponent_and_mantissa(v, x + 1.0)
    scale = v.from_bits((v.integer(2 * v.bias + 2) - e) << v.digits)  # 4 / 2^e: 1 / 2^e may be subnormal
    f = v.fma(x * 0.25, scale, v.fma(scale, 0.25, -1.0))
    result = v.fma(_difference(v, e, 2.0**v.digits + v.bias), LN2, v.fma(f * f, v.horner(f, _LOG1P), f))
    return v.with_sign(_log_edges(v, result, x, -1.0), x)


def _log2_in_two(v: Arithmetic, x: Number) -> tuple[Number, Number]:
    """log2(x) as a sum, the second part under 1% of the first: e + log2((1 + s) / (1 - s)) with s = f / (2 + f)."""
    e, f = _positive_parts(v, x)
    reciprocal = 1.0 / (f + 2.0)
    s = f * reciprocal
    s_low = v.fma(-s, f, v.fma(s, -2.0, f)) * reciprocal
    first = v.product(s, _TWO_LOG2_E)
    first_low = v.fma(s_low, _TWO_LOG2_E, v.fma(s, _TWO_LOG2_E, -first))
    square = s * s
    rest = v.fma(s * square, v.horner(square, _LOG2), v.fma(s, _TWO_LOG2_E_LOW, first_low))
    high = e + first
    return high, first - (high - e) + rest


def log2(v: Arithmetic, x: Number) -> Number:
    """Both parts of log2(x) together: exact where it is whole. 0.6 / 0.6 ulp."""
    high, low = _log2_in_two(v, x)
    return _log_edges(v, high + low, x, 0.0)


_LOG10_2 = number_pair("0x1.344136p-2", "0x1.34413509f79ffp-2")
_LOG10_2_LOW = number_pair("-0x1.ec10c0p-27", "-0x1.9dc1da994fd21p-59")


def log10(v: Arithmetic, x: Number) -> Number:
    """log2(x) in two parts times log10(2) in two. 0.6 / 0.6 ulp."""
    high, low = _log2_in_two(v, x)
    first = v.product(high, _LOG10_2)
    rest = v.fma(high, _LOG10_2, -first) + v.fma(low, _LOG10_2, v.product(high, _LOG10_2_LOW))
    return _log_edges(v, first + rest, x, 0.0)


# (2^r - 1) / r for |r| <= 1/2
_EXP2M1 = table(
    "0x1.62e430p-1 0x1.ebfbe0p-3 0x1.c6b058p-5 0x1.3b2a54p-7 0x1.5dc5dep-10 0x1.441780p-13 0x1.b4e268p-17",
    """0x1.62e42fefa39f3p-1 0x1.ebfbdff82c599p-3 0x1.c6b08d7048dd0p-5 0x1.3b2ab6fba1c69p-7 0x1.5d87fe7bf56ebp-10
       0x1.4309130987908p-13 0x1.ffcbed3a4f9aep-17 0x1.62bfd4a8e16f1p-20 0x1.b543689aa8152p-24
       0x1.e6055debde7c9p-28 0x1.bd728e67a2df9p-32""",
)

# Where 2^y is 0 and where it is infinite, as of exp
_EXP2_RANGE = Pair(-170.0, -1200.0), Pair(140.0, 1060.0)


def _positive_power(v: Arithmetic, x: Number, b: Number) -> Number:
    """2^(b log2(x)) for finite x > 0."""
    high, low = _log2_in_two(v, x)
    y = v.product(b, high)
    y_low = v.fma(b, low, v.fma(b, high, -y))
    n, bits = v.nearest(y + y_low, 1.0)
    r = y - n + y_low
    power = times_power_of_two(v, v.fma(r, v.horner(r, _EXP2M1), 1.0), bits)
    zero, infinite = _EXP2_RANGE
    return v.select(y < zero, 0.0, v.select(y > infinite, math.inf, power))


def pow(v: Arithmetic, a: Number, b: Number) -> Number:
    """2^(b log2|a|), 1.1 + 0.09 |b log a| ulp; edges as IEEE 754 says, but for pow(-1, +-infinity), which is NaN."""
    size, half = v.abs(a), b * 0.5
    whole = v.floor(b) == b
    odd = whole & (v.floor(half) != half)
    inside = v.select((a < 0.0) & (v.floor(b) != b), math.nan, _positive_power(v, size, b))
    outside = v.select((size == 0.0) ^ (b < 0.0), 0.0, math.inf)  # of 0 and of infinity
    result = v.select((size > 0.0) & (size < math.inf), inside, outside)
    result = v.with_sign(v.select((a == a) & (b == b), result, math.nan), v.select(odd, a, 0.0))
    return v.select((b == 0.0) | (a == 1.0), 1.0, result)
