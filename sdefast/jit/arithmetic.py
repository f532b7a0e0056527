"""The arithmetic in which elementary functions are written: operators that emit instructions on scalars of one type.

All floating point is strict, and no product is a term of a sum but in a written-out fma, so that a compiler that
contracts finds nothing to do. A `Pair` holds what differs between the types, first for float32, then for float64.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

from llvmlite import ir


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


def number_pair(float32: str, float64: str) -> Pair:
    """Two numbers written as C writes them."""
    return Pair(float.fromhex(float32), float.fromhex(float64))


def table(float32: str, float64: str) -> Pair:
    """Two tables of such numbers."""
    return Pair(*(tuple(map(float.fromhex, text.split())) for text in (float32, float64)))


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

    @property
    def is_known(self) -> bool:
        """Whether it is a constant that is not NaN, so that the compiler can tell that too."""
        value = getattr(self.ir, "constant", math.nan)
        value = value[0].constant if isinstance(value, (list, tuple)) else value  # (in all lanes)
        return isinstance(value, float) and value == value

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

    def __le__(self, other: Any) -> Truth:
        return self._compare("<=", other)

    def __ge__(self, other: Any) -> Truth:
        return self._compare(">=", other)

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


def scalars(builder: Any, name: str, arithmetic: type[Arithmetic] = Arithmetic) -> Any:
    """The arithmetic of a type, float32 or float64, on instructions that a builder emits."""
    types = _Plain.types
    return arithmetic(_Plain, builder, types[name], types[name.replace("float", "uint")])
