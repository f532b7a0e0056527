"""The elementary functions of compiled coefficients, in units in the last place of the exact result.

float32 results are compared with numpy's float64, float64 results with numpy's long double where it has 64 bits, and
both with mpmath at arguments that hypothesis picks.
"""

import ctypes
import functools
import hashlib
import math
import re

import mpmath
import numpy as np
import pytest
from conftest import in_both_types, python, thorough_but
from hypothesis import given, settings
from hypothesis import strategies as st

from sdefast import _core
from sdefast import math as sdefast_math
from sdefast.jit import compile, machine
from sdefast.jit.objects import Loaded
from sdefast.jit.vector_math import FUNCTIONS
from sdefast.math import calls
from sdefast.trace.expression import COMPOSED

N = 40_000
DTYPES = ("float32", "float64")
BINARY = ("pow", "min", "max", "atan2", "hypot")
ARITIES = {name: 2 if name in BINARY else 1 for name in FUNCTIONS} | {"fma": 3, "select": 3}

#: name -> largest errors in float32 and float64, those that the documentation of sdefast.math promises
ULPS = {
    "exp": (0.9, 0.9),
    "expm1": (1.5, 1.9),
    "log": (2.3, 4.2),
    "log1p": (1.6, 2.0),
    "sqrt": (0.5001, 0.5001),
    "sin": (2.0, 2.1),
    "cos": (2.0, 2.1),
    "tan": (2.3, 2.3),
    "sinh": (2.2, 2.5),
    "cosh": (1.5, 1.5),
    "tanh": (2.5, 2.6),
    "atan": (2.6, 2.5),
    "asin": (3.8, 3.4),
    "acos": (3.8, 3.4),
    "log2": (0.6, 0.6),
    "log10": (0.6, 0.6),
    "erf": (1.8, 1.9),
}
NUMPY = {name: getattr(np, re.sub("^a(?!bs)", "arc", name)) for name in ULPS if name != "erf"}
NUMPY["erf"] = lambda x: np.array([math.erf(v) for v in x.tolist()])

#: the largest argument of trigonometric functions
TRIGONOMETRIC = {"float32": 1e5, "float64": 1e12}

#: those in which a compiler finds sums and products
WITH_SUMS = (
    "exp",
    "exp_moderate",
    "log_positive",
    "log1p",
    "pow",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "atan",
    "asin",
    "acos",
    "atan2",
    "hypot",
    "log2",
    "log10",
    "erf",
)

both = pytest.mark.parametrize("dtype", DTYPES)
unary = pytest.mark.parametrize("name", ULPS)
every = pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("fma", "select")])


def source(name):
    """y[i] = f(x[i], ...) as the source of a kernel, and its arguments' types."""
    arguments = [f"x{i}" for i in range(ARITIES[name])]
    given = [f"{x}[i]" for x in arguments]
    if name == "select":
        given[0] += " != 0.0"
    names = ", ".join(["n", *arguments, "y"])
    return f"def kernel({names}):\n    for i in range(n):\n        y[i] = {name}_({', '.join(given)})\n"


def instructions(name, dtype, contract=False):
    """The same in LLVM's, which may contract products and sums if it likes."""
    text = compile.instructions(source(name), ("int64", *[f"{dtype}*"] * (1 + ARITIES[name])), dtype)
    return re.sub(r" = (fadd|fsub|fmul|fneg) ", r" = \1 contract ", text) if contract else text


@functools.cache
def loop(name, dtype, contract=False):
    """That compiled, if possible as sdefast.math does."""
    if not contract and hasattr(sdefast_math, name):
        return calls._loop(name, dtype, ARITIES[name])
    compiled = Loaded(compile.NAME, machine.object_code(instructions(name, dtype, contract)))
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (1 + ARITIES[name]))(compiled.address)
    run.kept = compiled
    return lambda *arrays: run(len(arrays[-1]), *(array.ctypes.data for array in arrays))


def call(name, *args, contract=False):
    y = np.empty_like(args[-1])
    loop(name, y.dtype.name, contract)(*(np.ascontiguousarray(x, y.dtype) for x in args), y)
    return y


def both_signs(rng, low, high):
    """Numbers of either sign whose magnitudes are spread evenly over the exponents from 10^low to 10^high."""
    return rng.choice([-1.0, 1.0], N) * 10.0 ** rng.uniform(low, high, N)


def arguments(name, dtype):
    """Where the function is neither 0 nor infinite, dense where it is curved."""
    rng = np.random.default_rng(1)
    info = np.finfo(dtype)
    smallest, largest = math.log10(info.tiny) + 1, math.log10(info.max)
    parts = [rng.uniform(-1, 1, N), rng.uniform(-5, 5, N), both_signs(rng, smallest, 0)]
    if name in ("exp", "expm1", "sinh", "cosh"):
        parts += [rng.uniform(math.log(info.tiny), math.log(info.max), N), rng.uniform(-50, 50, N)]
    elif name in ("sin", "cos", "tan"):
        top = TRIGONOMETRIC[dtype]
        zeros = np.pi / 2 * rng.integers(-60000, 60000, N)
        parts += [rng.uniform(-top, top, N), both_signs(rng, -3, math.log10(top)), zeros]
    else:
        parts += [both_signs(rng, -1, largest), 1 + both_signs(rng, -16, -1), both_signs(rng, -16, -1) - 1]
    x = np.concatenate(parts).astype(dtype)
    if name in ("log", "log2", "log10", "sqrt"):
        return np.abs(x)
    if name in ("asin", "acos"):
        return x[np.abs(x) <= 1]
    return x[x > -1] if name == "log1p" else x


def ulps(have, exact):
    """Distance in units in the last place of the exact result; where that is subnormal, in the smallest number."""
    spacing = np.spacing(np.abs(exact).astype(have.dtype)).astype(np.longdouble)
    return np.abs(have - exact) / spacing


def wide(dtype):
    if dtype == "float64" and np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("float64 results need a wider long double to compare with")
    return np.float64 if dtype == "float32" else np.longdouble


@pytest.mark.parametrize(
    ("name", "dtype"),
    thorough_but(
        [(name, DTYPES[0 if name == "erf" else i % 2]) for i, name in enumerate(ULPS)],
        [(name, dtype) for name in ULPS for dtype in DTYPES if (name, dtype) != ("erf", "float64")],
    ),
)
def test_largest_errors(name, dtype):
    x = arguments(name, dtype)
    exact = NUMPY[name](x.astype(wide(dtype)))
    finite = (np.abs(exact) <= np.finfo(dtype).max) & (np.abs(exact) >= 4 * np.finfo(dtype).tiny) & (exact != 0)
    assert finite.mean() > 0.7
    assert ulps(call(name, x[finite]), exact[finite]).max() < ULPS[name][DTYPES.index(dtype)]


def test_largest_errors_of_erf_in_float64():
    x = np.concatenate([np.linspace(0.001, 1.2, 700), np.geomspace(1e-5, 6, 300)])
    have = call("erf", x)
    with mpmath.workdps(30):
        errors = [
            abs(mpmath.erf(mpmath.mpf(a)) - mpmath.mpf(b)) for a, b in zip(x.tolist(), have.tolist(), strict=True)
        ]
    assert (np.array(errors, float) / np.spacing(have)).max() < ULPS["erf"][1]


@both
def test_largest_errors_of_log_positive(dtype):
    x = arguments("log", dtype)
    x = x[(x >= np.finfo(dtype).tiny) & (x != 1)]
    exact = np.log(x.astype(wide(dtype)))
    assert ulps(call("log_positive", x), exact).max() < {"float32": 2.3, "float64": 2.1}[dtype]
    assert call("log_positive", np.ones(1, dtype))[0] == 0


@both
def test_largest_errors_of_pow(dtype):
    """The exponent of the result is spread over all that there are."""
    rng = np.random.default_rng(2)
    info = np.finfo(dtype)
    a = np.concatenate(
        [10.0 ** rng.uniform(math.log10(info.tiny), math.log10(info.max), N), rng.uniform(0.5, 2, 5 * N)]
    )
    a = a.astype(dtype)
    a = a[a != 1]
    log = np.log(a.astype(wide(dtype)))
    b = rng.uniform(math.log(info.tiny), math.log(info.max), a.size) / log
    b = np.where(rng.random(a.size) < 0.3, rng.uniform(-3, 3, a.size), b).astype(dtype)
    exact = np.power(a.astype(wide(dtype)), b.astype(wide(dtype)))
    finite = (exact <= info.max) & (exact >= info.tiny)
    assert finite.mean() > 0.8
    a, b, log, exact = a[finite], b[finite], log[finite], exact[finite]
    assert (ulps(call("pow", a, b), exact) / (1.1 + 0.09 * np.abs(b * log))).max() < 1


def exactly(name, x):
    """The exact result as an mpmath number."""
    return mpmath.log(x, 2) if name == "log2" else getattr(mpmath, name)(mpmath.mpf(x))


@unary
@both
def test_against_mpmath(name, dtype):
    """Arguments anywhere, also subnormal ones: a subnormal result may be off by two of the smallest number."""
    info = np.finfo(dtype)
    bound = ULPS[name][DTYPES.index(dtype)]
    top = float(info.max)
    if name in ("sin", "cos", "tan"):
        top = TRIGONOMETRIC[dtype]
    elif name in ("exp", "expm1", "sinh", "cosh"):
        top = math.log(info.max)
    elif name in ("asin", "acos"):
        top = 1.0
    top = float(np.nextafter(info.dtype.type(top), info.dtype.type(0)))
    low = {"sqrt": 0.0, "log1p": -0.75} | dict.fromkeys(("log", "log2", "log10"), float(info.smallest_subnormal))
    low = low.get(name, -top)

    @settings(max_examples=25, deadline=None, database=None, derandomize=True)
    @given(st.floats(low, top, width=32 if dtype == "float32" else 64))
    def check(x):
        have = float(call(name, np.array([x], dtype))[0])
        with mpmath.workdps(60 if abs(x) < 1e5 or name in ("sin", "cos", "tan") else 30):
            exact = exactly(name, x)
            spacing = float(np.spacing(np.abs(np.array(float(exact), dtype))))
            allowed = bound * spacing + (2 * float(info.smallest_subnormal) if abs(exact) < 4 * info.tiny else 0)
            assert abs(mpmath.mpf(have) - exact) <= allowed

    check()


@both
def test_same_bits_as_cpp(dtype):
    rng = np.random.default_rng(3)
    info = np.finfo(dtype)
    low, high = math.log(info.tiny), math.log(info.max)
    x = np.concatenate([rng.uniform(low, high, N), rng.uniform(-1, 1, N), [0, 1e3, 1e4, np.inf]]).astype(dtype)
    np.testing.assert_array_equal(call("exp", x), _core.exp(x))
    top = 87 if dtype == "float32" else 708
    moderate = np.append(np.clip(x, -top, top), np.array(np.nan, dtype))
    np.testing.assert_array_equal(call("exp_moderate", moderate), call("exp", moderate))
    x = np.concatenate([np.exp(rng.uniform(low, high, N)), rng.uniform(0.4, 2.5, N), [info.tiny, info.max]])
    x = np.clip(x, info.tiny, info.max).astype(dtype)
    np.testing.assert_array_equal(call("log", x), _core.log(x))


# Edges ---------------------------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan

EDGES = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0), (1e30, INF)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (-1e4, -1.0), (1e4, INF)],
    "log": [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (-INF, NAN), (-1e-40, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-2.0, NAN), (-INF, NAN)],
    "sqrt": [(0.0, 0.0), (-0.0, -0.0), (4.0, 2.0), (INF, INF), (-1.0, NAN)],
    "sin": [(0.0, 0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN)],
    "tan": [(0.0, 0.0), (INF, NAN), (-INF, NAN)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (1e4, INF), (-1e4, -INF)],
    "cosh": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, INF), (-1e4, INF)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (30.0, 1.0), (-1e30, -1.0)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (INF, math.pi / 2), (-INF, -math.pi / 2), (1e30, math.pi / 2)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (7.0, 1.0), (-1e30, -1.0)],
    "abs": [(-0.0, 0.0), (-2.5, 2.5), (-INF, INF), (3.0, 3.0)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.0, math.pi / 2), (-1.0, -math.pi / 2), (1.5, NAN), (-INF, NAN)],
    "acos": [(1.0, 0.0), (0.0, math.pi / 2), (-1.0, math.pi), (1.5, NAN), (INF, NAN)],
    "log2": [(0.0, -INF), (1.0, 0.0), (8.0, 3.0), (0.0625, -4.0), (INF, INF), (-1.0, NAN)],
    "log10": [(-0.0, -INF), (1.0, 0.0), (1e3, 3.0), (1e10, 10.0), (INF, INF), (-INF, NAN)],
    "floor": [(2.5, 2.0), (-2.5, -3.0), (-0.0, -0.0), (INF, INF), (3.0, 3.0)],
}


def assert_equal_with_signs(have, want):
    np.testing.assert_array_equal(have, want)
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(have[number]), np.signbit(want[number]))


@pytest.mark.parametrize("name", EDGES)
@both
def test_edges(name, dtype):
    x, want = np.array([*EDGES[name], (NAN, NAN)], dtype).T.copy()
    assert_equal_with_signs(call(name, x), want)


@both
def test_results_that_underflow(dtype):
    info = np.finfo(dtype)
    x = np.linspace(math.log(info.smallest_subnormal) - 1, math.log(info.tiny), 1000).astype(dtype)
    exact = np.exp(x.astype(np.longdouble))
    assert (np.abs(call("exp", x) - exact) <= info.smallest_subnormal.astype(np.longdouble)).all()


@both
def test_far_out_arguments_of_trigonometric_functions(dtype):
    x = np.concatenate([10.0 ** np.linspace(5, np.log10(np.finfo(dtype).max) - 0.1, 1000)]).astype(dtype)
    for name in ("sin", "cos"):
        assert (np.abs(call(name, x)) <= 1).all()
    assert np.isfinite(call("tan", x)).all()


@both
def test_pow_as_ieee_754_says(dtype):
    """Signs, zeros, infinities and NaN are those of numpy."""
    info = np.finfo(dtype)
    sizes = [0, 0.1, 0.5, 1, 1.5, 2, 3, 4, 7, 1e10, 1e30, info.tiny, info.tiny / 4, info.max, INF]
    sizes += [info.smallest_subnormal, 2**22 + 1, 2**24, 2**23 - 0.5, 1 + info.eps, 1 - info.epsneg]
    values = np.array([*sizes, *(-s for s in sizes), NAN], dtype)
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    defined = ~((a == -1) & np.isinf(b))  # NaN here, 1 there
    a, b = a[defined], b[defined]
    have = call("pow", a, b)
    with np.errstate(all="ignore"):
        want = np.power(a, b)
    plain = np.isfinite(want) & (want != 0)
    assert_equal_with_signs(have[~plain], want[~plain])
    assert_equal_with_signs(np.sign(have[plain]), np.sign(want[plain]))
    np.testing.assert_allclose(have[plain], want[plain], rtol=50 * info.eps, atol=2 * info.smallest_subnormal)


@both
def test_min_and_max(dtype):
    values = np.array([0, 1, -1, 2.5, INF, -INF, NAN], dtype)
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    np.testing.assert_array_equal(call("min", a, b), np.minimum(a, b))
    np.testing.assert_array_equal(call("max", a, b), np.maximum(a, b))


@both
@pytest.mark.parametrize("name", ["min", "max"])
@pytest.mark.parametrize("known", [2.0, -60.0, 0.0, INF, NAN])
def test_min_and_max_with_a_constant_have_the_bits_of_those_without(name, known, dtype):
    x = np.array([0.0, -0.0, 1, -1, 2, 2.5, -60, -61, INF, -INF, NAN], dtype)
    text = f"k = T('{known}')\ndef kernel(n, x, y):\n    for i in range(n):\n        y[i] = {name}_(x[i], k)\n"
    compiled = compile.function(text, ("int64", f"{dtype}*", f"{dtype}*"), dtype)
    have = np.empty_like(x)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(compiled.address)
    run(len(x), x.ctypes.data, have.ctypes.data)
    assert_equal_with_signs(have, call(name, x, np.full_like(x, known)))


@both
def test_largest_errors_of_angles_and_lengths(dtype):
    rng = np.random.default_rng(7)
    a, b = (both_signs(rng, -3, 3).astype(dtype) for _ in range(2))
    wider = a.astype(wide(dtype)), b.astype(wide(dtype))
    assert ulps(call("atan2", a, b), np.arctan2(*wider)).max() < (3.0 if dtype == "float32" else 2.9)
    assert ulps(call("hypot", a, b), np.hypot(*wider)).max() < 1.3


@both
def test_angles_and_lengths_of_anything(dtype):
    """Zeros of both signs, infinities, NaN, numbers whose square is none."""
    info = np.finfo(dtype)
    values = np.array([0, 1, 2.5, INF, info.max / 2, info.tiny, 4 * info.smallest_subnormal, NAN], dtype)
    a, b = (v.ravel() for v in np.meshgrid([*values, *-values], [*values, *-values]))
    assert_equal_with_signs(np.sign(call("atan2", a, b)), np.sign(np.arctan2(a, b)))
    for name, exact in (("atan2", np.arctan2), ("hypot", np.hypot)):
        small = 4 * info.smallest_subnormal
        np.testing.assert_allclose(call(name, a, b), exact(a, b), rtol=4 * info.eps, atol=small)


@both
def test_fma_and_select(dtype):
    eps = np.finfo(dtype).eps
    a, b, c = (np.array([v], dtype) for v in (1 + eps, 1 - eps, -1.0))
    assert call("fma", a, b, c)[0] == -(eps**2)
    condition = np.array([True, False])
    first, second = np.array([[1, NAN], [INF, 2]], dtype)
    np.testing.assert_array_equal(call("select", condition, first, second), np.array([1, 2], dtype))


# What they are compiled to -------------------------------------------------------------------------------------------


def test_import_leaves_numba_alone():
    assert python("import sys, sdefast.math, sdefast.jit.vector_math; print('numba' in sys.modules)") == "False\n"


@every
def test_no_wider_numbers_in_float32(name):
    assert "double" not in str(machine.optimised(instructions(name, "float32")))


@every
@both
def test_loops_become_vector_instructions(name, dtype):
    if "+avx2" not in machine.processor()[1]:
        pytest.skip("counts registers of AVX2 and AVX-512, which this CPU lacks")
    assembly = machine.native().emit_assembly(machine.optimised(instructions(name, dtype)))
    assert len(re.findall(r"%[yz]mm\d+", assembly)) >= 2
    calls = set(re.findall(r"\bcall\S*\s+\S+|movabsq\s+\$(\w+), %\w+", assembly))
    assert not {c for c in calls if re.match(r"(exp|log|sin|cos|tan|pow|fma|sqrt|floor|atan|erf|sinh|cosh)f?$", c)}


def sample(name, dtype):
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.uniform(-4, 4, 500), both_signs(rng, -20, 30)[:500]]).astype(dtype)
    if name == "select":
        return rng.random(1000) < 0.5, x, x[::-1].copy()
    return tuple(rng.permutation(x) for _ in range(ARITIES[name]))


@pytest.mark.parametrize(("name", "dtype"), in_both_types(WITH_SUMS))
def test_contraction_changes_nothing(name, dtype):
    args = sample(name, dtype)
    np.testing.assert_array_equal(call(name, *args, contract=True), call(name, *args))


def digest():
    """Of the bits of results."""
    bits = hashlib.sha256()
    for dtype in DTYPES:
        for name in WITH_SUMS:
            y = call(name, *sample(name, dtype))
            bits.update(np.where(np.isnan(y), 0, y).tobytes())
    return bits.hexdigest()


def test_instruction_sets_change_nothing():
    """Host against AVX2 alone (which has no registers of 512 bits, nor masks)."""
    if "x86-64-v4" not in _core.isas:
        pytest.skip("needs a CPU with AVX-512")
    code = f"""
import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("vector_math_tests", {__file__!r})
module = module_from_spec(spec)
spec.loader.exec_module(module)
print(module.digest())
"""
    assert python(code, SDEFAST_ISA="x86-64-v3").strip() == digest()


# The public face -----------------------------------------------------------------------------------------------------


def test_types_and_shapes():
    x = np.linspace(0, 1, 12).reshape(3, 4)
    assert sdefast_math.exp(x).dtype == np.float64
    assert sdefast_math.exp(x.astype("float32")).dtype == np.float32
    assert sdefast_math.max(x.astype("float32"), 0.5).dtype == np.float32
    assert sdefast_math.max(x.astype("float32"), x).dtype == np.float64
    assert sdefast_math.sqrt(np.array([4, 9])).dtype == np.float64
    np.testing.assert_array_equal(sdefast_math.sqrt([4, 9]), [2.0, 3.0])
    assert sdefast_math.pow(x[:, :1], x[0]).shape == (3, 4)
    np.testing.assert_array_equal(sdefast_math.abs(-x.T[::2]), x.T[::2])
    assert sdefast_math.exp(np.empty((0, 2))).shape == (0, 2)
    read_only = np.broadcast_to(2.0, 3)
    np.testing.assert_array_equal(sdefast_math.min(read_only, 1), [1, 1, 1])


def test_numbers_give_a_float():
    for x in (1, 1.0, np.float32(1), np.int64(1), np.array(1.0), True):
        assert type(sdefast_math.sqrt(x)) is float
    assert sdefast_math.pow(2, 10) == 1024.0
    assert (sdefast_math.pi, sdefast_math.e, sdefast_math.inf) == (math.pi, math.e, math.inf)
    assert math.isnan(sdefast_math.nan)


@pytest.mark.parametrize("x", [1j, "1", None, np.array([1 + 0j]), 10**400, [[1], [2, 3]]])
def test_what_is_no_real_number_is_refused(x):
    with pytest.raises(TypeError, match="exp takes real numbers and arrays of them"):
        sdefast_math.exp(x)


@both
def test_functions_in_which_nothing_is_rounded(dtype):
    x = np.array([-2.5, -1.5, -0.3, 0.0, 0.5, 1.5, 2.5, 1e30, INF, -INF, NAN], dtype)
    for name, of_numpy in (("ceil", np.ceil), ("round", np.rint), ("sign", np.sign)):
        have = getattr(sdefast_math, name)(x)
        assert have.dtype == dtype
        np.testing.assert_array_equal(have, of_numpy(x))
        assert type(getattr(sdefast_math, name)(1.5)) is float
    np.testing.assert_array_equal(sdefast_math.clip(x, -1, 2), np.clip(x, -1, 2))
    np.testing.assert_array_equal(sdefast_math.where(x > 0, x, -1), np.where(x > 0, x, -1))


def test_traced_arguments():
    class Traced:
        def __sdefast_trace__(self, name, *args):
            return name, args

    x = Traced()
    assert sdefast_math.exp(x) == ("exp", (x,))
    assert sdefast_math.max(0.0, x) == ("max", (0.0, x))


#: functions of many numbers
OVER_MANY = {"sum", "dot", "logsumexp", "softmax"}


def test_public_names():
    inside = {"fma", "select", "exp_moderate", "log_positive"}
    assert set(sdefast_math.__all__) == {*FUNCTIONS, *COMPOSED, *OVER_MANY, "pi", "e", "inf", "nan"} - inside
