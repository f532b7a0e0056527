"""Elementary functions for the coefficients of SDEs, targets and observables; they also work on numbers and arrays.

In a function that is compiled, a call becomes the vector instructions that it also runs here, whose results have the
same bits on every machine. float32 arrays stay float32, everything else is computed in float64; arguments are
broadcast, and numbers give a Python float. The first use of a function compiles it (0.1 s).

The largest errors in units in the last place of the exact result, in float32 over all arguments:

========== ======== ======== ========================================================================
function   float32  float64
========== ======== ======== ========================================================================
exp        0.9      0.9
expm1      1.5      1.9
log        2.3      4.2
log1p      1.6      2.0
sqrt       0.5      0.5
pow        E        E        E = 1.1 + 0.09 times the size of b log(a)
sin, cos   2.0      2.1      up to 1e5 in float32 and 1e12 in float64; beyond, something from -1 to 1
tan        2.3      2.3      up to 1e5 in float32 and 1e12 in float64; far beyond, 0
sinh       2.2      2.5
cosh       1.5      1.5
tanh       2.5      2.6
atan       2.6      2.5
asin, acos 3.8      3.4
atan2      3.0      2.9
hypot      1.3      1.3
log2       0.6      0.6
log10      0.6      0.6
erf        1.8      1.9
========== ======== ======== ========================================================================

In `ceil`, `floor`, `round`, `sign`, `where` and `clip` nothing is rounded. `logsumexp` and `softmax` are made of these
and know their derivatives; `sum` adds up a function of every row of data.

Where the result is subnormal, it is right to two of the smallest numbers. NaN gives NaN, but ``pow(x, 0)`` and
``pow(1, x)`` are 1. Infinities give limits where there are any; ``pow(-1, inf)`` is NaN.

>>> from sdefast import math
>>> math.exp(0.0), math.max(2.0, -3.0)
(1.0, 2.0)
"""

from __future__ import annotations

from math import e, inf, nan, pi

from .exponentials import cosh, erf, exp, expm1, log, log1p, log2, log10, pow, sinh, sqrt, tanh
from .selections import abs, ceil, clip, floor, max, min, round, sign, where
from .sums import dot, logsumexp, softmax, sum
from .trigonometry import acos, asin, atan, atan2, cos, hypot, sin, tan

__all__ = [
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "ceil",
    "clip",
    "cos",
    "cosh",
    "dot",
    "e",
    "erf",
    "exp",
    "expm1",
    "floor",
    "hypot",
    "inf",
    "log",
    "log1p",
    "log2",
    "log10",
    "logsumexp",
    "max",
    "min",
    "nan",
    "pi",
    "pow",
    "round",
    "sign",
    "sin",
    "sinh",
    "softmax",
    "sqrt",
    "sum",
    "tan",
    "tanh",
    "where",
]


def __dir__() -> list[str]:
    return __all__
