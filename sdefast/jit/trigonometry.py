"""Trigonometric functions, their inverses and the length of a vector.

Errors are the largest seen in units in the last place, of float32 / float64.
"""

from __future__ import annotations

import math

from .arithmetic import Arithmetic, Bits, Number, Pair, number_pair, table

_PI = tuple(
    number_pair(*pair)
    for pair in (
        ("0x1.921fb6p+1", "0x1.921fb54442d18p+1"),
        ("-0x1.777a5cp-24", "0x1.1a62633145c07p-53"),
        ("-0x1.ee59dap-49", "-0x1.f1976b7ed9000p-109"),
    )
)
_HALF_PI = tuple(Pair(part.float32 / 2, part.float64 / 2) for part in _PI)
_ONE_OVER_PI = number_pair("0x1.45f306p-2", "0x1.45f306dc9c883p-2")
_TWO_OVER_PI = Pair(2 * _ONE_OVER_PI.float32, 2 * _ONE_OVER_PI.float64)

# (sin(r) / r - 1) / r^2 in r^2 for |r| <= 1.58, last digits such that the rounded sin(pi / 2) is 1
_SIN = table(
    "-0x1.55554cp-3 0x1.110edep-7 -0x1.9f701ap-13 0x1.5da16cp-19",
    """-0x1.5555555555555p-3 0x1.11111111110c5p-7 -0x1.a01a01a014a91p-13 0x1.71de3a528882cp-19 -0x1.ae6454c7c6483p-26
       0x1.6123c9879617bp-33 -0x1.ae428a86ad632p-41 0x1.8816db9275f51p-49""",
)

_TAN_TOP = Pair(2.0**17, 2.0**40)  # what is farther from 0 gives 0

# tan(r) = r (1 + r^2 p) / (1 + r^2 q) for |r| <= 0.793: p and q in r^2
_TAN_OVER = table("-0x1.c7ef7ap-4 0x1.18f50ap-10", "-0x1.112843dc1d57dp-3 0x1.c0d00f8e2ea9ap-9 -0x1.2b77b90d91bcap-16")
_TAN_UNDER = table(
    "-0x1.c75134p-2 0x1.056286p-6",
    "-0x1.dde9774364014p-2 0x1.a46ea025fd539p-6 -0x1.46d615b5e8f3ap-12 0x1.0b27dcf9006edp-21",
)

# (atan(t) / t - 1) / t^2 in t^2 for |t| <= tan(pi / 8)
_ATAN = table(
    "-0x1.55554ap-2 0x1.9991e2p-3 -0x1.23b99ep-3 0x1.b223d6p-4 -0x1.f2e1cap-5",
    """-0x1.555555555553dp-2 0x1.9999999995855p-3 -0x1.24924922ac874p-3 0x1.c71c70e5a490dp-4 -0x1.745cf8ce9a724p-4
       0x1.3b11180e8aec5p-4 -0x1.10ebab7a8b693p-4 0x1.df0e876cec99ep-5 -0x1.9ccf271c31ba4p-5 0x1.37cc3b54ecc41p-5
       -0x1.255528478fde6p-6""",
)
_TAN_PI_OVER_8, _TAN_3_PI_OVER_8 = math.sqrt(2) - 1, math.sqrt(2) + 1


def _minus_multiple(v: Arithmetic, x: Number, n: Number, parts: tuple[Pair, ...]) -> Number:
    """x - n times a constant in three parts: the first step is exact."""
    for part in parts:
        x = v.fma(-n, part, x)
    return x


def _signed_sine(v: Arithmetic, r: Number, bits: Bits) -> Number:
    """sin(r) for |r| <= pi / 2, negative if the lowest bit is 1; far outside of the range of sin, r is anything."""
    r = v.clamp(r, -1.58, 1.58)
    square = r * r
    sine = v.fma(r * square, v.horner(square, _SIN), r)
    return v.from_bits(v.bits(sine) ^ (bits << (v.width - 1)))


def sin(v: Arithmetic, x: Number) -> Number:
    """(-1)^n sin(x - n pi). 2.0 / 2.1 ulp."""
    n, bits = v.nearest(x, _ONE_OVER_PI)
    return _signed_sine(v, _minus_multiple(v, x, n, _PI), bits)


def cos(v: Arithmetic, x: Number) -> Number:
    """(-1)^n sin((n + 1/2) pi - x). 2.0 / 2.1 ulp."""
    n, bits = v.nearest(v.fma(x, _ONE_OVER_PI, -0.5), 1.0)
    return _signed_sine(v, -_minus_multiple(v, x, n + 0.5, _PI), bits)


def tan(v: Arithmetic, x: Number) -> Number:
    """tan(r) or -1 / tan(r), r = x - n pi / 2 in two parts, by one quotient. 2.3 / 2.3 ulp."""
    x = v.select(v.abs(x) > _TAN_TOP, x * 0.0, x)
    n, bits = v.nearest(x, _TWO_OVER_PI)
    first, second, third = _HALF_PI
    start, multiple = v.fma(-n, first, x), v.product(n, second)
    r = start - multiple
    r_low = start - r - multiple + v.fma(-n, third, v.fma(-n, second, multiple))
    square = v.fma(r, r, (r + r) * r_low)
    over = v.fma(square * r, v.horner(square, _TAN_OVER), r_low) + r
    under = v.fma(square, v.horner(square, _TAN_UNDER), 1.0)
    odd = bits.is_odd()
    return v.select(odd, -under, over) / v.select(odd, over, under)


def atan(v: Arithmetic, x: Number) -> Number:
    """0, pi/4 or pi/2 + atan(t), t = a, (a - 1) / (a + 1) or -1 / a, by one quotient. 2.6 / 2.5 ulp."""
    a = v.abs(x)
    middle, large = a > _TAN_PI_OVER_8, a > _TAN_3_PI_OVER_8
    over = v.select(large, -1.0, v.select(middle, a - 1.0, a))
    under = v.select(large, a, v.select(middle, a + 1.0, 1.0))
    start = v.select(large, math.pi / 2, v.select(middle, math.pi / 4, 0.0))
    t = over / under
    square = t * t
    return v.with_sign(v.fma(t * square, v.horner(square, _ATAN), t) + start, x)


def asin(v: Arithmetic, x: Number) -> Number:
    """atan(x / sqrt((1 - x) (1 + x))). 3.6 / 3.1 ulp."""
    return atan(v, x / v.sqrt(v.product(1.0 - x, x + 1.0)))


def acos(v: Arithmetic, x: Number) -> Number:
    """2 atan(sqrt((1 - x) / (1 + x))). 3.1 / 2.8 ulp."""
    return atan(v, v.sqrt((1.0 - x) / (x + 1.0))) * 2.0


def atan2(v: Arithmetic, y: Number, x: Number) -> Number:
    """atan(|y| / |x|), or pi less that where x has a minus, with the sign of y; infinities are equal. 2.9 / 2.7 ulp."""
    a, b = v.abs(y), v.abs(x)
    ratio = v.select((a == b) & (a == math.inf), 1.0, v.select((a == 0.0) & (b == 0.0), 0.0, a / b))
    angle = atan(v, ratio)
    is_left = (v.bits(x) >> (v.width - 1)).is_odd()
    return v.with_sign(v.select(is_left, (v.number(_PI[0]) - angle) + _PI[1], angle), y)


#: Beyond what sizes `hypot` scales its arguments, and by what.
_HYPOT_LARGE, _HYPOT_SMALL = Pair(2.0**60, 2.0**500), Pair(2.0**-40, 2.0**-400)
_HYPOT_DOWN, _HYPOT_UP = Pair(2.0**-100, 2.0**-600), Pair(2.0**100, 2.0**600)


def hypot(v: Arithmetic, a: Number, b: Number) -> Number:
    """sqrt(a^2 + b^2) of numbers scaled by a power of two; infinite if one of them is. 1.2 / 1.2 ulp."""
    a, b = v.abs(a), v.abs(b)
    large = v.select(a > b, a, b)
    is_large, is_small = large > v.number(_HYPOT_LARGE), large < v.number(_HYPOT_SMALL)
    scale = v.select(is_large, _HYPOT_DOWN, v.select(is_small, _HYPOT_UP, 1.0))
    back = v.select(is_large, _HYPOT_UP, v.select(is_small, _HYPOT_DOWN, 1.0))
    a_scaled, b_scaled = a * scale, b * scale
    length = v.sqrt(v.fma(a_scaled, a_scaled, v.product(b_scaled, b_scaled))) * back
    return v.select((a == math.inf) | (b == math.inf), math.inf, length)
