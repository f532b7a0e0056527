"""For tests of the machine: numbers to try, what exact arithmetic makes of them, and kernels written by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest

from .execution import Machine

DTYPES = {"f32": np.float32, "f64": np.float64}

#: bits of the significand, and the exponents of the smallest number and of the first that is too large
FORMATS = {"f32": (24, -149, 128), "f64": (53, -1074, 1024)}

floats = pytest.mark.parametrize("kind", FORMATS)


def machine_of(body, parameters, registers=""):
    """A kernel written by hand, all of whose parameters are 64 bits wide."""
    listed = ", ".join(f".param .u64 p{i}" for i in range(parameters))
    head = ".version 9.0\n.target sm_90\n.address_size 64\n"
    return Machine(f"{head}.visible .entry k({listed})\n{{ .reg .b64 %n, %at; {registers}\n{body}\n}}\n")


def integer_dtype(kind):
    return np.dtype(f"{'i' if kind[0] == 's' else 'u'}{int(kind[1:]) // 8}")


def integers(kind, seed, n=700):
    """Small numbers, both ends, powers of two and anything."""
    rng = np.random.default_rng([seed, *kind.encode()])
    dtype, width = integer_dtype(kind), int(kind[1:])
    bits = rng.integers(0, 2**63, n, np.uint64) * np.uint64(2) + rng.integers(0, 2, n, np.uint64)
    kinds = rng.integers(0, 4, n)
    near = rng.integers(0, 3, n).astype(np.uint64) - np.uint64(1)
    powers = np.uint64(1) << rng.integers(0, width, n).astype(np.uint64)
    made = np.select([kinds == 0, kinds == 1, kinds == 2], [near, powers, bits >> np.uint64(40)], bits)
    return made.astype(dtype)


def numbers(kind, seed, n=3000):
    """All exponents, subnormal ones as well, and now and then zero, infinity and NaN."""
    rng = np.random.default_rng([seed, *kind.encode()])
    word = {"f32": np.uint32, "f64": np.uint64}[kind]
    digits = FORMATS[kind][0] - 1
    bits = rng.integers(0, np.iinfo(word).max, n, word, endpoint=True)
    bits &= np.where(rng.random(n) < 0.1, ~(word(2 * FORMATS[kind][2] - 1) << word(digits)), ~word(0))
    made = bits.view(DTYPES[kind])
    special = rng.choice([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan], n)
    return np.where(rng.random(n) < 0.05, special.astype(made.dtype), made)


def nearest(value, kind, zero=0.0):
    """The fraction rounded to even once; ``zero`` has the sign of the result if the fraction is 0."""
    if value == 0:
        return zero
    digits, low, high = FORMATS[kind]
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, low)
    rounded = round(size / unit) * unit
    return math.copysign(math.inf if rounded >= 2**high else float(rounded), value)


def same(have, want):
    """Bits, but for those of NaN."""
    want = np.array(want, have.dtype)
    word = f"u{have.itemsize}"
    np.testing.assert_array_equal(np.isnan(have), np.isnan(want))
    finite = ~np.isnan(want)
    np.testing.assert_array_equal(have.view(word)[finite], want.view(word)[finite])


def exact(function, *arrays, kind, rounded):
    """The function of fractions rounded, or where a number is not finite what numpy makes of it."""
    with np.errstate(all="ignore"):
        fallback = np.asarray(rounded(*arrays)).tolist()
    want = []
    for *values, other in zip(*(a.tolist() for a in arrays), fallback, strict=True):
        try:
            # numpy's zeros have the right signs: the exact result is zero, and so the rounded one
            want.append(nearest(function(*map(Fraction, values)), kind, other))
        except (ValueError, OverflowError, ZeroDivisionError):
            want.append(other)
    return want


def fused(a, b, c, kind):
    def rounded(x, y, z):
        return np.where(np.isinf(z) & np.isfinite(x) & np.isfinite(y), z, x * y + z)

    return exact(lambda x, y, z: x * y + z, a, b, c, kind=kind, rounded=rounded)
