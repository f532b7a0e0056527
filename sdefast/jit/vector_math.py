"""Elementary functions for compiled lanes: branch-free, so that loops vectorise, and with the same bits everywhere.

Their instructions are emitted where they are called, by kernels for the CPU (``calls.py``) and by numba for GPUs. The
mathematics is plain Python over an `Arithmetic`: operators, `fma`, `select`, and the change between a number and its
bits. All floating point is strict, and no product is a term of a sum but in a written-out fma, so that
a compiler that contracts finds nothing to do. `exp` and `log` are those of ``csrc/noise/vector_math.hpp``, with the
same bits for normal arguments of log and normal results of exp.

A `Pair` holds what differs between the types, first for float32, then for float64. The errors in the docstrings are the
largest seen, in units in the last place of the exact result, in the same order.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import DTypeLike

__all__ = [
    "FUNCTIONS",
    "Arithmetic",
    "Bits",
    "Number",
    "Pair",
    "Truth",
    "as_intrinsic",
    "emitter",
    "scalars",
    "signature",
    "table",
]


class _Type(NamedTuple):
    """A type of LLVM's under the names that numba has for its own."""

    name: str
    bitwidth: int
    ir: Any


class _Plain:
    """What an `Arithmetic` needs of a compiler, by LLVM alone."""

    types: ClassVar[dict[str, _Type]] = {
        "float32": _Type("float32", 32, ir.FloatType()), "float64": _Type("float64", 64, ir.DoubleType()),
        "uint32": _Type("uint32", 32, ir.IntType(32)), "uint64": _Type("uint64", 64, ir.IntType(64)),
    }  # fmt: skip

    @staticmethod
    def get_value_type(kind: _Type) -> Any:
        return kind.ir

    @staticmethod
    def get_constant(kind: _Type, value: Any) -> Any:
        return ir.Constant(kind.ir, value)


class Pair(NamedTuple):
    """What float32 and float64 have in place of each other: numbers, tables of coefficients or integers."""

    float32: Any
    float64: Any


def _hex(float32: str, float64: str) -> Pair:
    """Two numbers written as C writes them."""
    return Pair(float.fromhex(float32), float.fromhex(float64))


def table(float32: str, float64: str) -> Pair:
    """Two tables of such numbers."""
    return Pair(*(tuple(map(float.fromhex, text.split())) for text in (float32, float64)))


# The arithmetic ------------------------------------------------------------------------------------------------------


class Arithmetic:
    """Emits instructions on scalars of one type through an LLVM builder; a backend may replace any of its methods."""

    def __init__(self, context: Any, builder: Any, real: Any, integer: Any) -> None:
        self.context, self.builder = context, builder
        self.name: str = real.name
        self._real, self._integer = real, integer
        self.width: int = real.bitwidth
        self.digits: int = self.pick(Pair(23, 52))
        self.bias: int = self.pick(Pair(127, 1023))
        self.one = self.bias << self.digits  # the bits of 1
        self.sign = 1 << (self.width - 1)  # the bit of the sign
        # Adding this leaves the nearest integer in the low bits: rounder_bits + n are the bits of rounder + n.
        self.rounder = 1.5 * 2.0**self.digits
        self.rounder_bits = (self.bias + self.digits << self.digits) + (1 << self.digits - 1)

    def pick(self, pair: Pair) -> Any:
        return getattr(pair, self.name)

    @property
    def real(self) -> Any:
        """LLVM's type of the numbers."""
        return self.context.get_value_type(self._real)

    def number(self, value: Any) -> Number:
        """A Python number or a `Pair` of them as a number of this type."""
        if isinstance(value, Number):
            return value
        value = self.pick(value) if isinstance(value, Pair) else value
        return Number(self, self.context.get_constant(self._real, float(value)))

    def integer(self, value: Any) -> Bits:
        """A Python integer, modulo 2^width."""
        if isinstance(value, Bits):
            return value
        return Bits(self, self.context.get_constant(self._integer, value % (1 << self.width)))

    @property
    def _bits_type(self) -> Any:
        return self.context.get_value_type(self._integer)

    def bits(self, x: Number) -> Bits:
        return Bits(self, self.builder.bitcast(x.ir, self._bits_type))

    def from_bits(self, u: Bits) -> Number:
        return Number(self, self.builder.bitcast(u.ir, self.real))

    def widened(self, word: Bits) -> Bits:
        """A word of 32 bits in as many bits as the numbers have."""
        return Bits(self, word.ir if self.width == 32 else self.builder.zext(word.ir, self._bits_type))

    def wide_product(self, word: Bits, factor: int) -> tuple[Bits, Bits]:
        """High and low word of the product of two words of 32 bits."""
        word_type, wide = word.ir.type, ir.IntType(64)
        product = self.builder.mul(self.builder.zext(word.ir, wide), wide(factor))
        high = self.builder.trunc(self.builder.lshr(product, wide(32)), word_type)
        return Bits(self, high), Bits(self, self.builder.trunc(product, word_type))

    def from_signed(self, word: Bits) -> Number:
        """The nearest number to a word of 32 bits, read as a signed integer."""
        return Number(self, self.builder.sitofp(word.ir, self.real))

    def from_unsigned(self, word: Bits) -> Number:
        return Number(self, self.builder.uitofp(word.ir, self.real))

    def fma(self, a: Any, b: Any, c: Any) -> Number:
        return Number(self, self.builder.fma(*(self.number(x).ir for x in (a, b, c))))

    def sqrt(self, x: Number) -> Number:
        return self._call("llvm.sqrt", x)

    def floor(self, x: Number) -> Number:
        return self._call("llvm.floor", x)

    def select(self, condition: Truth, a: Any, b: Any) -> Number:
        return Number(self, self.builder.select(condition.ir, self.number(a).ir, self.number(b).ir))

    def _call(self, name: str, x: Number) -> Number:
        function = self.builder.module.declare_intrinsic(name, [x.ir.type])
        return Number(self, self.builder.call(function, [x.ir]))

    # What follows is made of the above.

    def clamp(self, x: Number, low: Any, high: Any) -> Number:
        """x between low and high; NaN stays."""
        x = self.at_most(x, high)
        return self.select(x < low, low, x)

    def at_most(self, x: Number, high: Any) -> Number:
        return self.select(x > high, high, x)

    def abs(self, x: Number) -> Number:
        return self.from_bits(self.bits(x) & (self.sign - 1))

    def with_sign(self, magnitude: Number, x: Number) -> Number:
        """A number that is not negative, or has the sign of x already, with the sign of x."""
        return self.from_bits(self.bits(magnitude) | (self.bits(x) & self.sign))

    def product(self, a: Any, b: Any) -> Number:
        """a * b rounded, also where it is a term of a sum that a compiler may contract."""
        return self.fma(a, b, 0.0)

    def nearest(self, x: Number, factor: Any) -> tuple[Number, Bits]:
        """The integer n nearest to x * factor, and bits that are those of n but for an offset, ``rounder_bits``."""
        shifted = self.fma(x, factor, self.rounder)
        return shifted - self.rounder, self.bits(shifted)

    def horner(self, x: Number, table: Pair, first: int = 0) -> Number:
        """c[first] + c[first + 1] x + ..., one fma a coefficient."""
        *rest, last = self.pick(table)[first:]
        total = self.number(last)
        for c in reversed(rest):
            total = self.fma(total, x, c)
        return total


class _Value:
    """A value that the emitted code computes."""

    def __init__(self, arithmetic: Arithmetic, ir: Any) -> None:
        self.arithmetic, self.ir = arithmetic, ir


class Number(_Value):
    """A number of the type of the arithmetic."""

    def _make(self, operation: str, a: Any, b: Any) -> Number:
        number = self.arithmetic.number
        return Number(self.arithmetic, getattr(self.arithmetic.builder, operation)(number(a).ir, number(b).ir))

    def _compare(self, how: str, other: Any) -> Truth:
        """Comparisons with NaN are false, but for !=."""
        compare = self.arithmetic.builder.fcmp_unordered if how == "!=" else self.arithmetic.builder.fcmp_ordered
        return Truth(self.arithmetic, compare(how, self.ir, self.arithmetic.number(other).ir))

    def __add__(self, other: Any) -> Number:
        return self._make("fadd", self, other)

    def __sub__(self, other: Any) -> Number:
        return self._make("fsub", self, other)

    def __mul__(self, other: Any) -> Number:
        return self._make("fmul", self, other)

    def __truediv__(self, other: Any) -> Number:
        return self._make("fdiv", self, other)

    def __rsub__(self, other: Any) -> Number:
        return self._make("fsub", other, self)

    def __rtruediv__(self, other: Any) -> Number:
        return self._make("fdiv", other, self)

    def __neg__(self) -> Number:
        return Number(self.arithmetic, self.arithmetic.builder.fneg(self.ir))

    def __lt__(self, other: Any) -> Truth:
        return self._compare("<", other)

    def __gt__(self, other: Any) -> Truth:
        return self._compare(">", other)

    def __eq__(self, other: Any) -> Truth:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Truth:  # type: ignore[override]
        return self._compare("!=", other)

    __hash__ = None  # type: ignore[assignment]


class Bits(_Value):
    """An unsigned integer as wide as the numbers."""

    def _make(self, operation: str, other: Any) -> Bits:
        other = self.arithmetic.integer(other).ir
        return Bits(self.arithmetic, getattr(self.arithmetic.builder, operation)(self.ir, other))

    def __add__(self, other: Any) -> Bits:
        return self._make("add", other)

    def __sub__(self, other: Any) -> Bits:
        return self._make("sub", other)

    def __and__(self, other: Any) -> Bits:
        return self._make("and_", other)

    def __or__(self, other: Any) -> Bits:
        return self._make("or_", other)

    def __xor__(self, other: Any) -> Bits:
        return self._make("xor", other)

    def __lshift__(self, other: int) -> Bits:
        return self._make("shl", other)

    def __rshift__(self, other: int) -> Bits:
        return self._make("lshr", other)

    def is_odd(self) -> Truth:
        builder, zero = self.arithmetic.builder, self.arithmetic.integer(0)
        return Truth(self.arithmetic, builder.icmp_unsigned("!=", (self & 1).ir, zero.ir))


class Truth(_Value):
    """True or false."""

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.arithmetic, self.arithmetic.builder.and_(self.ir, other.ir))

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.arithmetic, self.arithmetic.builder.or_(self.ir, other.ir))

    def __xor__(self, other: Truth) -> Truth:
        return Truth(self.arithmetic, self.arithmetic.builder.xor(self.ir, other.ir))


# Exponentials --------------------------------------------------------------------------------------------------------

_LOG2_E = _hex("0x1.715476p+0", "0x1.71547652b82fep+0")
_LN2 = _hex("0x1.62e43p-1", "0x1.62e42fefa39efp-1")
_LN2_LOW = _hex("-0x1.05c61p-29", "0x1.abc9e3b39803fp-56")

# (exp(r) - 1) / r for |r| <= log 2 / 2
_EXPM1 = table(
    "0x1.000000p+0 0x1.000000p-1 0x1.555554p-3 0x1.5554aep-5 0x1.1111a6p-7 0x1.6d7480p-10 0x1.a019e8p-13",
    """0x1.000000p+0 0x1.000000p-1 0x1.555555555555ap-3 0x1.555555555553cp-5 0x1.111111110f25ep-7
       0x1.6c16c16c1f571p-10 0x1.a01a01b12e967p-13 0x1.a01a017bc387bp-16 0x1.71ddf5a65171fp-19
       0x1.27e5343c12af4p-22 0x1.af62ca347a8f4p-26 0x1.1eed87a785875p-29""",
)

# (2^r - 1) / r for |r| <= 1/2
_EXP2M1 = table(
    "0x1.62e430p-1 0x1.ebfbe0p-3 0x1.c6b058p-5 0x1.3b2a54p-7 0x1.5dc5dep-10 0x1.441780p-13 0x1.b4e268p-17",
    """0x1.62e42fefa39f3p-1 0x1.ebfbdff82c599p-3 0x1.c6b08d7048dd0p-5 0x1.3b2ab6fba1c69p-7 0x1.5d87fe7bf56ebp-10
       0x1.4309130987908p-13 0x1.ffcbed3a4f9aep-17 0x1.62bfd4a8e16f1p-20 0x1.b543689aa8152p-24
       0x1.e6055debde7c9p-28 0x1.bd728e67a2df9p-32""",
)

# -log(erfc(a)) / a for 0 <= a <= 4 or 6, the relative error of erf minimised: its value at 0 and the rest
_TWO_OVER_SQRT_PI = _hex("0x1.20dd76p+0", "0x1.20dd750429b6dp+0")
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
_EXP2_RANGE = Pair(-170.0, -1200.0), Pair(140.0, 1060.0)
_SINH_TOP = Pair(89.75, 710.75)  # just above the largest argument with a finite sinh


def _remainder_of_ln2(v: Arithmetic, y: Number) -> tuple[Number, Bits]:
    """r = y - n log 2 in [-log 2 / 2, log 2 / 2], and bits that hold n."""
    n, bits = v.nearest(y, _LOG2_E)
    return v.fma(-n, _LN2_LOW, v.fma(-n, _LN2, y)), bits


def _times_power_of_two(v: Arithmetic, m: Number, bits: Bits) -> Number:
    """2^n m by two factors, since 2^n alone may be no number; unsigned, because a NaN leaves anything in the bits."""
    e = bits + (2 * v.bias - v.rounder_bits)
    half = e >> 1
    return m * v.from_bits(half << v.digits) * v.from_bits((e - half) << v.digits)


def _exp(v: Arithmetic, x: Number) -> Number:
    """2^n (1 + r p(r)), x = n log 2 + r. 0.9 / 0.9 ulp."""
    r, bits = _remainder_of_ln2(v, v.clamp(x, *_EXP_RANGE))
    return _times_power_of_two(v, v.fma(r, v.horner(r, _EXPM1), 1.0), bits)


def _exp_parts(v: Arithmetic, y: Number, k: int = 0) -> tuple[Number, Number]:
    """p and s with exp(y) = 2^k s (1 + p), s a power of two: with k = 2 finite up to the top of sinh."""
    r, bits = _remainder_of_ln2(v, y)
    power = v.from_bits((bits + (v.bias - k - v.rounder_bits)) << v.digits)
    return v.fma(r * r, v.horner(r, _EXPM1, first=1), r), power


def _expm1(v: Arithmetic, x: Number) -> Number:
    """2^n p + (2^n - 1), a quarter of it first, which is always finite. 1.5 / 1.9 ulp."""
    p, s = _exp_parts(v, v.clamp(x, Pair(-20.0, -40.0), _SINH_TOP), k=2)
    return v.with_sign(v.fma(p, s, s - 0.25) * 4.0, x)


def _sinh(v: Arithmetic, x: Number) -> Number:
    """(u + u / (u + 1)) / 2, u = expm1(|x|) = 4 q. 2.2 / 2.5 ulp."""
    p, s = _exp_parts(v, v.at_most(v.abs(x), _SINH_TOP), k=2)
    q = v.fma(p, s, s - 0.25)
    return v.with_sign((q + q / v.fma(q, 4.0, 1.0)) * 2.0, x)


def _cosh(v: Arithmetic, x: Number) -> Number:
    """(e + 1 / e) / 2, e = exp(|x|) = 4 q. 1.5 / 1.5 ulp."""
    p, s = _exp_parts(v, v.at_most(v.abs(x), _SINH_TOP), k=2)
    q = v.fma(p, s, s)
    return v.fma(q, 2.0, 0.125 / q)


def _tanh(v: Arithmetic, x: Number) -> Number:
    """u / (u + 2), u = expm1(2 |x|). 2.5 / 2.6 ulp."""
    a = v.at_most(v.abs(x), Pair(10.0, 20.0))
    p, s = _exp_parts(v, a + a)
    u = v.fma(p, s, s - 1.0)
    return v.with_sign(u / (u + 2.0), x)


def _erf(v: Arithmetic, x: Number) -> Number:
    """-expm1(log(erfc(|x|))): well-conditioned for all x, with one smooth polynomial. 1.8 / 1.9 ulp."""
    a = v.at_most(v.abs(x), Pair(4.0, 6.0))
    p, s = _exp_parts(v, v.fma(-a, _TWO_OVER_SQRT_PI, -a * v.horner(a, _MINUS_LOG_ERFC)))
    return v.with_sign(v.abs(v.fma(p, s, s - 1.0)), x)


# Logarithms and powers -----------------------------------------------------------------------------------------------

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
_TWO_LOG2_E = _hex("0x1.715476p+1", "0x1.71547652b82fep+1")
_TWO_LOG2_E_LOW = _hex("0x1.4ae0c0p-25", "0x1.777d0ffda0d24p-55")


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


def _log(v: Arithmetic, x: Number) -> Number:
    """e log 2 + f p(f), x = 2^e (1 + f). 2.3 / 4.2 ulp."""
    e, f = _positive_parts(v, x)
    return _log_edges(v, v.fma(e, _LN2, f * v.horner(f, _LOG)), x, 0.0)


def _log_positive(v: Arithmetic, x: Number) -> Number:
    """log(x) of a normal number x > 0, which is not checked. 2.3 / 2.1 ulp.

    In float64 by log((1 + s) / (1 - s)) with s = f / (2 + f): a quotient costs less than the terms that it saves.
    """
    e, m = _exponent_and_mantissa(v, x)
    f, e_log2 = m - 1.0, _difference(v, e, 2.0**v.digits + v.bias)
    if v.width == 32:
        return v.fma(e_log2, _LN2, f * v.horner(f, _LOG))
    s = f / (f + 2.0)
    square = s * s
    return v.fma(e_log2, _LN2, v.fma(s * square, v.horner(square, _ATANH), s + s))


def _log1p(v: Arithmetic, x: Number) -> Number:
    """e log 2 + f + f^2 q(f), 1 + x = 2^e (1 + f), f from x and not from the rounded 1 + x. 1.6 / 2.0 ulp."""
    e, _ = _exponent_and_mantissa(v, x + 1.0)
    scale = v.from_bits((v.integer(2 * v.bias + 2) - e) << v.digits)  # 4 / 2^e: 1 / 2^e may be subnormal
    f = v.fma(x * 0.25, scale, v.fma(scale, 0.25, -1.0))
    result = v.fma(_difference(v, e, 2.0**v.digits + v.bias), _LN2, v.fma(f * f, v.horner(f, _LOG1P), f))
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


def _log2(v: Arithmetic, x: Number) -> Number:
    """Both parts of log2(x) together: exact where it is whole. 0.6 / 0.6 ulp."""
    high, low = _log2_in_two(v, x)
    return _log_edges(v, high + low, x, 0.0)


_LOG10_2 = _hex("0x1.344136p-2", "0x1.34413509f79ffp-2")
_LOG10_2_LOW = _hex("-0x1.ec10c0p-27", "-0x1.9dc1da994fd21p-59")


def _log10(v: Arithmetic, x: Number) -> Number:
    """log2(x) in two parts times log10(2) in two. 0.6 / 0.6 ulp."""
    high, low = _log2_in_two(v, x)
    first = v.product(high, _LOG10_2)
    rest = v.fma(high, _LOG10_2, -first) + v.fma(low, _LOG10_2, v.product(high, _LOG10_2_LOW))
    return _log_edges(v, first + rest, x, 0.0)


def _positive_power(v: Arithmetic, x: Number, b: Number) -> Number:
    """2^(b log2(x)) for finite x > 0."""
    high, low = _log2_in_two(v, x)
    y = v.product(b, high)
    y_low = v.fma(b, low, v.fma(b, high, -y))
    n, bits = v.nearest(y + y_low, 1.0)
    r = y - n + y_low
    power = _times_power_of_two(v, v.fma(r, v.horner(r, _EXP2M1), 1.0), bits)
    zero, infinite = _EXP2_RANGE
    return v.select(y < zero, 0.0, v.select(y > infinite, math.inf, power))


def _pow(v: Arithmetic, a: Number, b: Number) -> Number:
    """2^(b log2|a|), 1.1 + 0.09 |b log a| ulp; edges as IEEE 754 says, but for pow(-1, +-infinity), which is NaN."""
    size, half = v.abs(a), b * 0.5
    whole = v.floor(b) == b
    odd = whole & (v.floor(half) != half)
    inside = v.select((a < 0.0) & (v.floor(b) != b), math.nan, _positive_power(v, size, b))
    outside = v.select((size == 0.0) ^ (b < 0.0), 0.0, math.inf)  # of 0 and of infinity
    result = v.select((size > 0.0) & (size < math.inf), inside, outside)
    result = v.with_sign(v.select((a == a) & (b == b), result, math.nan), v.select(odd, a, 0.0))
    return v.select((b == 0.0) | (a == 1.0), 1.0, result)


# Trigonometry --------------------------------------------------------------------------------------------------------

_PI = tuple(
    _hex(*pair)
    for pair in (
        ("0x1.921fb6p+1", "0x1.921fb54442d18p+1"),
        ("-0x1.777a5cp-24", "0x1.1a62633145c07p-53"),
        ("-0x1.ee59dap-49", "-0x1.f1976b7ed9000p-109"),
    )
)
_HALF_PI = tuple(Pair(part.float32 / 2, part.float64 / 2) for part in _PI)
_ONE_OVER_PI = _hex("0x1.45f306p-2", "0x1.45f306dc9c883p-2")
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


def _sin(v: Arithmetic, x: Number) -> Number:
    """(-1)^n sin(x - n pi). 2.0 / 2.1 ulp."""
    n, bits = v.nearest(x, _ONE_OVER_PI)
    return _signed_sine(v, _minus_multiple(v, x, n, _PI), bits)


def _cos(v: Arithmetic, x: Number) -> Number:
    """(-1)^n sin((n + 1/2) pi - x). 2.0 / 2.1 ulp."""
    n, bits = v.nearest(v.fma(x, _ONE_OVER_PI, -0.5), 1.0)
    return _signed_sine(v, -_minus_multiple(v, x, n + 0.5, _PI), bits)


def _tan(v: Arithmetic, x: Number) -> Number:
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


def _atan(v: Arithmetic, x: Number) -> Number:
    """0, pi/4 or pi/2 + atan(t), t = a, (a - 1) / (a + 1) or -1 / a, by one quotient. 2.6 / 2.5 ulp."""
    a = v.abs(x)
    middle, large = a > _TAN_PI_OVER_8, a > _TAN_3_PI_OVER_8
    over = v.select(large, -1.0, v.select(middle, a - 1.0, a))
    under = v.select(large, a, v.select(middle, a + 1.0, 1.0))
    start = v.select(large, math.pi / 2, v.select(middle, math.pi / 4, 0.0))
    t = over / under
    square = t * t
    return v.with_sign(v.fma(t * square, v.horner(square, _ATAN), t) + start, x)


def _asin(v: Arithmetic, x: Number) -> Number:
    """atan(x / sqrt((1 - x) (1 + x))). 3.6 / 3.1 ulp."""
    return _atan(v, x / v.sqrt(v.product(1.0 - x, x + 1.0)))


def _acos(v: Arithmetic, x: Number) -> Number:
    """2 atan(sqrt((1 - x) / (1 + x))). 3.1 / 2.8 ulp."""
    return _atan(v, v.sqrt((1.0 - x) / (x + 1.0))) * 2.0


def _atan2(v: Arithmetic, y: Number, x: Number) -> Number:
    """atan(|y| / |x|), or pi less that where x has a minus, with the sign of y; infinities are equal. 2.9 / 2.7 ulp."""
    a, b = v.abs(y), v.abs(x)
    ratio = v.select((a == b) & (a == math.inf), 1.0, v.select((a == 0.0) & (b == 0.0), 0.0, a / b))
    angle = _atan(v, ratio)
    is_left = (v.bits(x) >> (v.width - 1)).is_odd()
    return v.with_sign(v.select(is_left, (v.number(_PI[0]) - angle) + _PI[1], angle), y)


#: Beyond what sizes `hypot` scales its arguments, and by what.
_HYPOT_LARGE, _HYPOT_SMALL = Pair(2.0**60, 2.0**500), Pair(2.0**-40, 2.0**-400)
_HYPOT_DOWN, _HYPOT_UP = Pair(2.0**-100, 2.0**-600), Pair(2.0**100, 2.0**600)


def _hypot(v: Arithmetic, a: Number, b: Number) -> Number:
    """sqrt(a^2 + b^2) of numbers scaled by a power of two; infinite if one of them is. 1.2 / 1.2 ulp."""
    a, b = v.abs(a), v.abs(b)
    large = v.select(a > b, a, b)
    is_large, is_small = large > v.number(_HYPOT_LARGE), large < v.number(_HYPOT_SMALL)
    scale = v.select(is_large, _HYPOT_DOWN, v.select(is_small, _HYPOT_UP, 1.0))
    back = v.select(is_large, _HYPOT_UP, v.select(is_small, _HYPOT_DOWN, 1.0))
    a_scaled, b_scaled = a * scale, b * scale
    length = v.sqrt(v.fma(a_scaled, a_scaled, v.product(b_scaled, b_scaled))) * back
    return v.select((a == math.inf) | (b == math.inf), math.inf, length)


# The rest ------------------------------------------------------------------------------------------------------------


def _min(v: Arithmetic, a: Number, b: Number) -> Number:
    """The smaller number; NaN if any is."""
    return v.select(a == a, v.select(a < b, a, b), a)


def _max(v: Arithmetic, a: Number, b: Number) -> Number:
    """The larger number; NaN if any is."""
    return v.select(a == a, v.select(a > b, a, b), a)


FUNCTIONS: dict[str, Callable[..., Number]] = {
    "exp": _exp,
    "log": _log,
    "log_positive": _log_positive,
    "sqrt": lambda v, x: v.sqrt(x),
    "sin": _sin,
    "cos": _cos,
    "tan": _tan,
    "tanh": _tanh,
    "pow": _pow,
    "abs": lambda v, x: v.abs(x),
    "min": _min,
    "max": _max,
    "erf": _erf,
    "floor": lambda v, x: v.floor(x),
    "fma": lambda v, a, b, c: v.fma(a, b, c),
    "select": lambda v, condition, a, b: v.select(condition, a, b),
    "expm1": _expm1,
    "log1p": _log1p,
    "sinh": _sinh,
    "cosh": _cosh,
    "atan": _atan,
    "asin": _asin,
    "acos": _acos,
    "atan2": _atan2,
    "hypot": _hypot,
    "log2": _log2,
    "log10": _log10,
}


def scalars(builder: Any, name: str, arithmetic: type[Arithmetic] = Arithmetic) -> Any:
    """The arithmetic of a type, float32 or float64, on instructions that a builder emits."""
    types = _Plain.types
    return arithmetic(_Plain, builder, types[name], types[name.replace("float", "uint")])


# Any target's compiler ------------------------------------------------------------------------------------------------


def signature(function: str, name: str) -> tuple[Any, list[Any]]:
    """The type of the result and those of the arguments of a function of type ``name``."""
    from numba import types

    real = getattr(types, name)
    _, *arguments = inspect.signature(FUNCTIONS[function]).parameters
    return real, [types.boolean if argument == "condition" else real for argument in arguments]


def emitter(function: str, name: str, arithmetic: type[Arithmetic] = Arithmetic) -> Callable[..., Any]:
    """What emits the code of a function of type ``name``: ``(context, builder, args)`` to its value."""
    from numba import types

    body, real, integer = FUNCTIONS[function], getattr(types, name), getattr(types, name.replace("float", "uint"))
    _, *arguments = inspect.signature(body).parameters

    def emit(context: Any, builder: Any, args: Any) -> Any:
        v = arithmetic(context, builder, real, integer)
        kinds = (Truth if argument == "condition" else Number for argument in arguments)
        return body(v, *(kind(v, ir) for kind, ir in zip(kinds, args, strict=True))).ir

    return emit


def as_intrinsic(intrinsic: Callable[..., Any], result: Any, arguments: list[Any], emit: Callable[..., Any]) -> Any:
    """A function of numba code by a target's decorator for functions that emit LLVM instructions."""
    typed = result(*arguments)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(context, builder, args)

    # numba looks at the number of arguments
    names = ", ".join(f"a{i}" for i in range(len(arguments)))
    space = {"answer": (typed, build)}
    exec(f"def function(typing, {names}): return answer", space)
    return intrinsic(space["function"])
