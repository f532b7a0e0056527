"""The exponential, hyperbolic functions and the error function.

Errors are the largest seen in units in the last place, of float32 / float64.
"""

from __future__ import annotations

from .arithmetic import Arithmetic, Bits, Number, Pair, number_pair, table

_LOG2_E = number_pair("0x1.715476p+0", "0x1.71547652b82fep+0")
LN2 = number_pair("0x1.62e43p-1", "0x1.62e42fefa39efp-1")
_LN2_LOW = number_pair("-0x1.05c61p-29", "0x1.abc9e3b39803fp-56")

# (exp(r) - 1) / r for |r| <= log 2 / 2
_EXPM1 = table(
    "0x1.000000p+0 0x1.000000p-1 0x1.555554p-3 0x1.5554aep-5 0x1.1111a6p-7 0x1.6d7480p-10 0x1.a019e8p-13",
    """0x1.000000p+0 0x1.000000p-1 0x1.555555555555ap-3 0x1.555555555553cp-5 0x1.111111110f25ep-7
       0x1.6c16c16c1f571p-10 0x1.a01a01b12e967p-13 0x1.a01a017bc387bp-16 0x1.71ddf5a65171fp-19
       0x1.27e5343c12af4p-22 0x1.af62ca347a8f4p-26 0x1.1eed87a785875p-29""",
)

# -log(erfc(a)) / a for 0 <= a <= 4 or 6, the relative error of erf minimised: its value at 0 and the rest
_TWO_OVER_SQRT_PI = number_pair("0x1.20dd76p+0", "0x1.20dd750429b6dp+0")
_MINUS_LOG_ERFC = table(
    """-0x1.d0d882p-25 0x1.45f2fap-1 0x1.a4fa4ap-4 -0x1.39cca0p-6 -0x1.516774p-13 0x1.b52002p-10 -0x1.4beb3ep-11
       0x1.edb430p-14 -0x1.36d496p-17""",
    """-0x1.5472ea38d4590p-57 0x1.45f306dc9c8d9p-1 0x1.a4f4e2a1a9bcep-4 -0x1.396685908fb0bp-6
       -0x1.b6b6a1be69552p-13 0x1.bca691d655fd0p-10 -0x1.35663b90523b5p-11 0x1.b29ad9cb5edc2p-16
       0x1.0e33070f8035bp-14 -0x1.f033059eeec59p-16 0x1.a9725a0910094p-19 0x1.a47a54ed37bb8p-19
       -0x1.1168d92d7cccep-19 0x1.324fbe17e7528p-21 -0x1.90d45a9cf75e1p-27 -0x1.1a65eb8596baep-24
       0x1.292148398b4f8p-25 -0x1.7237fe4ad4dbep-27 0x1.44771f7b79eeep-29 -0x1.9d8a523a6ca06p-32
       0x1.7a6da6b79799fp-35 -0x1.d9893a453bc69p-39 0x1.6bab4f4402194p-43 -0x1.02ddac6c06f81p-48""",
)

# Where exp is 0 and where it is infinite. At the lower end both factors of 2^n are 0: no underflow slows the CPU down.
_EXP_RANGE = Pair(-176.0, -1418.0), Pair(89.0, 710.0)
_SINH_TOP = Pair(89.75, 710.75)  # just above the largest argument with a finite sinh


def _remainder_of_ln2(v: Arithmetic, y: Number) -> tuple[Number, Bits]:
    """r = y - n log 2 in [-log 2 / 2, log 2 / 2], and bits that hold n."""
    n, bits = v.nearest(y, _LOG2_E)
    return v.fma(-n, _LN2_LOW, v.fma(-n, LN2, y)), bits


def times_power_of_two(v: Arithmetic, m: Number, bits: Bits) -> Number:
    """2^n m by two factors, since 2^n alone may be no number; unsigned, because a NaN leaves anything in the bits."""
    e = bits + (2 * v.bias - v.rounder_bits)
    half = e >> 1
    return m * v.from_bits(half << v.digits) * v.from_bits((e - half) << v.digits)


def exp(v: Arithmetic, x: Number) -> Number:
    """2^n (1 + r p(r)), x = n log 2 + r. 0.9 / 0.9 ulp."""
    r, bits = _remainder_of_ln2(v, v.clamp(x, *_EXP_RANGE))
    return times_power_of_two(v, v.fma(r, v.horner(r, _EXPM1), 1.0), bits)


def exp_moderate(v: Arithmetic, x: Number) -> Number:
    """exp(x) for |x| up to 87 / 708, and NaN, which is not checked: 2^n is a number. The bits of `exp`."""
    r, bits = _remainder_of_ln2(v, x)
    return v.fma(r, v.horner(r, _EXPM1), 1.0) * v.from_bits((bits + (v.bias - v.rounder_bits)) << v.digits)


def _exp_parts(v: Arithmetic, y: Number, k: int = 0) -> tuple[Number, Number]:
    """p and s with exp(y) = 2^k s (1 + p), s a power of two: with k = 2 finite up to the top of sinh."""
    r, bits = _remainder_of_ln2(v, y)
    power = v.from_bits((bits + (v.bias - k - v.rounder_bits)) << v.digits)
    return v.fma(r * r, v.horner(r, _EXPM1, first=1), r), power


def expm1(v: Arithmetic, x: Number) -> Number:
    """2^n p + (2^n - 1), a quarter of it first, which is always finite. 1.5 / 1.9 ulp."""
    p, s = _exp_parts(v, v.clamp(x, Pair(-20.0, -40.0), _SINH_TOP), k=2)
    return v.with_sign(v.fma(p, s, s - 0.25) * 4.0, x)


def sinh(v: Arithmetic, x: Number) -> Number:
    """(u + u / (u + 1)) / 2, u = expm1(|x|) = 4 q. 2.2 / 2.5 ulp."""
    p, s = _exp_parts(v, v.at_most(v.abs(x), _SINH_TOP), k=2)
    q = v.fma(p, s, s - 0.25)
    return v.with_sign((q + q / v.fma(q, 4.0, 1.0)) * 2.0, x)


def cosh(v: Arithmetic, x: Number) -> Number:
    """(e + 1 / e) / 2, e = exp(|x|) = 4 q. 1.5 / 1.5 ulp."""
    p, s = _exp_parts(v, v.at_most(v.abs(x), _SINH_TOP), k=2)
    q = v.fma(p, s, s)
    return v.fma(q, 2.0, 0.125 / q)


def tanh(v: Arithmetic, x: Number) -> Number:
    """u / (u + 2), u = expm1(2 |x|). 2.5 / 2.6 ulp."""
    a = v.at_most(v.abs(x), Pair(10.0, 20.0))
    p, s = _exp_parts(v, a + a)
    u = v.fma(p, s, s - 1.0)
    return v.with_sign(u / (u + 2.0), x)


def erf(v: Arithmetic, x: Number) -> Number:
    """-expm1(log(erfc(|x|))): well-conditioned for all x, with one smooth polynomial. 1.8 / 1.9 ulp."""
    a = v.at_most(v.abs(x), Pair(4.0, 6.0))
    p, s = _exp_parts(v, v.fma(-a, _TWO_OVER_SQRT_PI, -a * v.horner(a, _MINUS_LOG_ERFC)))
    return v.with_sign(v.abs(v.fma(p, s, s - 1.0)), x)
