"""The machine that executes PTX: its instructions against exact arithmetic, to the bit."""

import functools
import math
import operator
from fractions import Fraction

import numpy as np
import pytest
from ptx import KernelError
from ptx.exact import DTYPES, FORMATS, exact, floats, fused, integers, machine_of, nearest, numbers, same

# This machine seldom changes; what the package's kernels do on it is compared with the CPU whenever tests are run.
pytestmark = pytest.mark.thorough

INTEGERS = ("s16", "u16", "s32", "u32", "s64", "u64")


# Single instructions -------------------------------------------------------------------------------------------------


def evaluate(body, result, *arrays):
    """What instructions make of %a, %b, ... with elements of the arrays, in %x, as an array of the given type."""
    out = np.zeros(len(arrays[0]), result)
    named = [*zip("abcd"[: len(arrays)], arrays, strict=True), ("x", out)]
    before = [
        ".reg .pred %p, %q, %r; .reg .b32 %i, %t;",
        "mov.u32 %i, %tid.x; mov.u32 %t, %ctaid.x; mad.lo.u32 %i, %t, 256, %i;",
        "ld.param.u64 %n, [p2]; cvt.u32.u64 %t, %n; setp.ge.u32 %p, %i, %t; @%p ret;",
    ]
    for k, (name, array) in enumerate(named):
        at, width = f"%at{k}", array.itemsize
        before.append(f".reg .b64 {at}; .reg .b{8 * width} %{name};")
        before.append(f"ld.param.u64 {at}, [p{7 * k + 4}]; mad.wide.u32 {at}, %i, {width}, {at};")
        before.append(f"ld.global.b{8 * width} %{name}, [{at}];")
    machine = machine_of("\n".join([*before, body, f"st.global.b{8 * out.itemsize} [{at}], %x; ret;"]), 7 * len(named))
    machine.run(-(-len(out) // 256), 256, [array for _, array in named])
    return out


def simple(opcode, result, *arrays):
    return evaluate(f"{opcode} %x, {', '.join('%' + name for name in 'abcd'[: len(arrays)])};", result, *arrays)


def truncated(a, b):
    return -1 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul.lo": operator.mul,
    "min": min,
    "max": max,
    "div": truncated,
    "rem": lambda a, b: a - b * truncated(a, b) if b else a,
}


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("name", BINARY)
def test_integer_arithmetic(name, kind):
    a, b = integers(kind, 1), integers(kind, 2)
    have = simple(f"{name}.{kind}", a.dtype, a, b)
    want = [BINARY[name](x, y) % 2 ** int(kind[1:]) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_array_equal(have.view(f"u{a.itemsize}"), np.array(want, f"u{a.itemsize}"))


@pytest.mark.parametrize("kind", INTEGERS)
def test_products(kind):
    width = int(kind[1:])
    a, b, c = (integers(kind, seed) for seed in (1, 2, 3))
    exact = [(x * y, z) for x, y, z in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)]

    def check(have, want):
        np.testing.assert_array_equal(have, np.array([v % 2 ** (8 * have.itemsize) for v in want], have.dtype))

    same_width = f"u{a.itemsize}"
    check(simple(f"mul.hi.{kind}", same_width, a, b), [p >> width for p, _ in exact])
    check(simple(f"mad.hi.{kind}", same_width, a, b, c), [(p >> width) + z for p, z in exact])
    check(simple(f"mad.lo.{kind}", same_width, a, b, c), [p + z for p, z in exact])
    if width < 64:
        d = integers(f"{kind[0]}{2 * width}", 4)
        wide = f"u{2 * a.itemsize}"
        check(simple(f"mul.wide.{kind}", wide, a, b), [p for p, _ in exact])
        check(simple(f"mad.wide.{kind}", wide, a, b, d), [p + z for (p, _), z in zip(exact, d.tolist(), strict=True)])


def field(a, position, length, width, signed):
    """bfe as the manual has it, bit by bit."""
    position, length = position & 255, length & 255
    top = a >> min(position + length - 1, width - 1) & 1 if signed and length else 0
    bits = ((a >> position + i & 1 if i < length and position + i < width else top) << i for i in range(width))
    return sum(bits)


def inserted(a, b, position, length, width):
    position, length = position & 255, length & 255
    mask = ((1 << length) - 1 << position) & (1 << width) - 1
    return b & ~mask | (a << position) & mask


def permuted(a, b, selectors):
    octets = (a | b << 32).to_bytes(8, "little")
    chosen = [(octets[s & 7], s & 8) for s in (selectors >> 4 * i & 15 for i in range(4))]
    return int.from_bytes(bytes((255 if octet >> 7 else 0) if spread else octet for octet, spread in chosen), "little")


def majority(a, b, c):
    return a & b | a & c | b & c


#: name -> types of operands, and the result of unsigned numbers
BITS = {
    "and.b64": ("u64 u64", operator.and_),
    "or.b16": ("u16 u16", operator.or_),
    "xor.b32": ("u32 u32", operator.xor),
    "not.b64": ("u64", operator.invert),
    "cnot.b32": ("u32", lambda a: int(a == 0)),
    "shf.l.wrap.b32": ("u32 u32 count", lambda a, b, n: (b << 32 | a) << (n & 31) >> 32),
    "shf.r.wrap.b32": ("u32 u32 count", lambda a, b, n: (b << 32 | a) >> (n & 31)),
    "shf.l.clamp.b32": ("u32 u32 count", lambda a, b, n: (b << 32 | a) << min(n, 32) >> 32),
    "shf.r.clamp.b32": ("u32 u32 count", lambda a, b, n: (b << 32 | a) >> min(n, 32)),
    "popc.b32": ("u32", int.bit_count),
    "clz.b32": ("u32", lambda a: 32 - a.bit_length()),
    "brev.b32": ("u32", lambda a: int(f"{a:032b}"[::-1], 2)),
    "brev.b64": ("u64", lambda a: int(f"{a:064b}"[::-1], 2)),
    "bfe.u32": ("u32 count count", functools.partial(field, width=32, signed=False)),
    "bfe.s32": ("u32 count count", functools.partial(field, width=32, signed=True)),
    "bfe.u64": ("u64 count count", functools.partial(field, width=64, signed=False)),
    "bfe.s64": ("u64 count count", functools.partial(field, width=64, signed=True)),
    "bfi.b32": ("u32 u32 count count", functools.partial(inserted, width=32)),
    "bfi.b64": ("u64 u64 count count", functools.partial(inserted, width=64)),
    "prmt.b32": ("u32 u32 u32", permuted),
} | {
    f"{name}.{kind}{width}": (f"{'s' if kind == 's' else 'u'}{width} count", shift)
    for name, kind, shift in (
        ("shl", "b", lambda a, n: a << min(n, 64)),
        ("shr", "u", lambda a, n: a >> min(n, 64)),
        ("shr", "s", lambda a, n: a >> min(n, 64)),
    )
    for width in (16, 32, 64)
}


@pytest.mark.parametrize("name", BITS)
def test_bits(name):
    kinds, function = BITS[name]
    n, rng = 700, np.random.default_rng(5)
    counts = [*range(70), 2**31, 2**32 - 1, 255, 256, 257]
    arrays = [
        rng.choice(np.array(counts, np.uint32), n) if kind == "count" else integers(kind, seed, n)
        for seed, kind in enumerate(kinds.split())
    ]
    out = np.dtype(f"u{arrays[0].itemsize}")
    have = simple(name, out, *arrays)
    want = [function(*values) % 2 ** (8 * out.itemsize) for values in zip(*(a.tolist() for a in arrays), strict=True)]
    np.testing.assert_array_equal(have, np.array(want, out))


def test_counts_of_64_bits_have_32():
    a = integers("u64", 1)
    assert simple("popc.b64", np.uint32, a).tolist() == [v.bit_count() for v in a.tolist()]
    assert simple("clz.b64", np.uint32, a).tolist() == [64 - v.bit_length() for v in a.tolist()]


def test_lookup_tables():
    a, b, c = (integers("u32", seed) for seed in (1, 2, 3))
    have = evaluate("lop3.b32 %x, %a, %b, %c, 0xE8;", np.uint32, a, b, c)
    np.testing.assert_array_equal(have, majority(a, b, c))
    have = evaluate("lop3.b32 %x, %a, %b, %c, 0x96;", np.uint32, a, b, c)
    np.testing.assert_array_equal(have, a ^ b ^ c)


def test_words_are_packed_the_lowest_first():
    a, b = integers("u32", 1), integers("u32", 2)
    have = evaluate("mov.b64 %x, {%a, %b};", np.uint64, a, b)
    np.testing.assert_array_equal(have, a | b.astype(np.uint64) << np.uint64(32))
    np.testing.assert_array_equal(evaluate("mov.b64 {%t, %x}, %a;", np.uint32, have), b)
    np.testing.assert_array_equal(evaluate("mov.b64 {%x, _}, %a;", np.uint32, have), a)
    body = ".reg .b16 %low, %high; mov.b32 {%low, %high}, %a; mov.b32 %x, {%high, %low};"
    np.testing.assert_array_equal(evaluate(body, np.uint32, a), a << np.uint32(16) | a >> np.uint32(16))


def test_predicated_instructions():
    """Lanes part at each of them."""
    a = integers("s32", 1)
    body = """
        .reg .b32 %y; setp.gt.s32 %p, %a, 0; mov.b32 %y, 7;
        @%p add.s32 %y, %a, 1;
        @!%p neg.s32 %y, %a;
        setp.eq.s32 %q, %a, 1;
        @%q bra $done;
        @%p xor.b32 %y, %y, 5;
        $done: mov.b32 %x, %y;
    """
    want = np.where(a > 0, np.where(a == 1, 2, (a.astype(np.int64) + 1) ^ 5), -a.astype(np.int64)).astype(np.int32)
    np.testing.assert_array_equal(evaluate(body, np.int32, a), want)


def test_predicated_barrier_and_return():
    a = np.arange(256, dtype=np.uint32)
    body = """
        .shared .align 4 .b8 s[1024]; .reg .b64 %y; .reg .b32 %z;
        setp.lt.u32 %p, %a, 100; @!%p ret;
        mov.u64 %y, s; mul.wide.u32 %n, %a, 4; add.s64 %n, %n, %y; st.shared.u32 [%n], %a;
        @%p bar.sync 0;
        ld.shared.u32 %z, [%n+4]; setp.eq.u32 %q, %a, 99; @%q trap; mov.b32 %x, %z;
    """
    with pytest.raises(KernelError, match=r"line \d+: trap"):
        evaluate(body, np.uint32, a)
    want = np.where(a < 99, a + 1, np.where(a == 99, 2**32 - 1, 0))  # what nobody has written has all bits set
    np.testing.assert_array_equal(evaluate(body.replace("@%q trap;", ""), np.uint32, a), want)


def test_variables_and_vectors():
    body = """
        .global .align 16 .u32 numbers[8] = {1, 2, 0xFFFFFFFF, 4, 5};
        .const .align 8 .f64 one = 0d3FF0000000000000;
        .local .align 16 .b8 depot[16];
        .reg .b32 %y<4>; .reg .b64 %z<2>; .reg .b16 %h;
        mov.u64 %z0, depot; cvta.local.u64 %z1, %z0;
        ld.global.v4.u32 {%y0, %y1, %y2, %y3}, [numbers];
        st.local.v2.b32 [%z0+8], {%y2, %y1};
        ld.u8 %h, [%z1+10]; cvt.u32.u16 %y0, %h;
        ld.s16 %y1, [%z1+8];
        ld.global.u32 %y2, [numbers+16]; ld.global.u32 %y3, [numbers+28];
        add.s32 %y0, %y0, %y1; mad.lo.s32 %y0, %y2, 1000, %y0; sub.s32 %y0, %y0, %y3;
        ld.const.f64 %n, [one]; cvt.rzi.u32.f64 %y1, %n; sub.u32 %y0, %y0, %y1; sub.u32 %x, %y0, %a;
    """
    a = np.arange(300, dtype=np.uint32)
    np.testing.assert_array_equal(evaluate(body, np.int32, a), 5000 + 255 - 1 - 1 - a.astype(int))
    with pytest.raises(KernelError, match="offset 32 of numbers, 32 bytes: out of bounds"):
        evaluate("\n.global .align 16 .u32 numbers[8]; ld.global.u32 %x, [numbers+32];", np.uint32, a)


# Floating point ------------------------------------------------------------------------------------------------------


def hard_sums(kind):
    """Triples for which two roundings may differ from one, be the first to the type or to a wider one."""
    digits, low, _ = FORMATS[kind]
    rng = np.random.default_rng(3)
    dtype, n = DTYPES[kind], 3000

    def significands():
        return (1 + rng.integers(0, 2 ** (digits - 1), n) * 2.0 ** (1 - digits)) * rng.choice([-1.0, 1.0], n)

    a, b = significands(), significands()
    yield numbers(kind, 1), numbers(kind, 2), numbers(kind, 3)
    product = (a * b).astype(dtype)
    yield a, b, -product  # nothing but the rounding error of the product is left
    yield a, b, -np.nextafter(product, dtype(0))
    # A product just above, at or below half a unit of c, or a quarter where the unit changes
    ones = 1 + rng.integers(-2, 3, n) * 2.0 ** (1 - digits)
    others = 1 + rng.integers(-2, 3, n) * 2.0 ** (1 - digits)
    c = np.where(rng.random(n) < 0.3, 1.0, significands())
    yield ones * rng.choice([1, 0.5, 0.25], n), others * 2.0**-digits * rng.choice([-1, 1], n), c
    # Subnormal results: the same there, and with terms that are subnormal themselves
    small = rng.integers(0, 2 ** (digits - 2), n) * 2.0**low
    yield ones * 2.0 ** (low // 2), others * 2.0 ** (low - low // 2) * rng.choice([0.5, 0.25, 1.5], n), small
    yield a * 2.0 ** (low // 2), b * 2.0 ** (low - low // 2 + rng.integers(-2, 30, n)), -small


@floats
def test_fma_rounds_once(kind):
    for case in hard_sums(kind):
        a, b, c = (np.asarray(v).astype(DTYPES[kind]) for v in case)
        have = simple(f"fma.rn.{kind}", a.dtype, a, b, c)
        same(have, fused(a, b, c, kind))


@floats
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_float_arithmetic(name, kind):
    a, b = numbers(kind, 1), numbers(kind, 2)
    function = {"div": operator.truediv}.get(name) or getattr(operator, name)
    want = exact(function, a, b, kind=kind, rounded=function)
    same(simple(f"{name}.rn.{kind}", a.dtype, a, b), want)
    if name != "div":
        same(simple(f"{name}.{kind}", a.dtype, a, b), want)


def root(x):
    """Rounded by `nearest` as the square root would be: more digits than it keeps, and whether others follow."""
    scale = 1 << 1300
    exact = x * scale * scale
    whole = math.isqrt(exact.numerator // exact.denominator)
    return Fraction(2 * whole + (whole * whole != exact), 2 * scale)


@floats
def test_roots_and_reciprocals(kind):
    a = numbers(kind, 1)
    same(simple(f"sqrt.rn.{kind}", a.dtype, a), exact(root, a, kind=kind, rounded=np.sqrt))
    same(simple(f"rcp.rn.{kind}", a.dtype, a), exact(lambda x: 1 / x, a, kind=kind, rounded=lambda x: 1 / x))


@floats
def test_signs_and_extremes(kind):
    a, b = numbers(kind, 1), numbers(kind, 2)
    a[:400] = np.repeat(np.array([0.0, -0.0, math.nan, 1.0], a.dtype), 100)
    b[:400] = np.tile(np.array([0.0, -0.0, math.nan, 1.0], a.dtype), 100)
    same(simple(f"neg.{kind}", a.dtype, a), -a)
    same(simple(f"abs.{kind}", a.dtype, a), abs(a))
    same(simple(f"copysign.{kind}", a.dtype, a, b), np.copysign(b, a))

    def order(x):
        return x, math.copysign(1, x)  # -0 < 0

    def extreme(choose, x, y):
        present = [v for v in (x, y) if v == v]
        return choose(present, key=order, default=math.nan)

    for name, choose in (("min", min), ("max", max)):
        want = [extreme(choose, x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        same(simple(f"{name}.{kind}", a.dtype, a, b), want)


def predicate(instructions, *arrays):
    """%p as 0 or 1."""
    return evaluate(f"{instructions} selp.u32 %x, 1, 0, %p;", np.uint32, *arrays).astype(bool)


@floats
def test_tests(kind):
    a = numbers(kind, 1)
    tiny = np.finfo(a.dtype).tiny
    want = {
        "finite": np.isfinite(a),
        "infinite": np.isinf(a),
        "number": ~np.isnan(a),
        "notanumber": np.isnan(a),
        "normal": np.isfinite(a) & (abs(a) >= tiny),
        "subnormal": (abs(a) < tiny) & (a != 0),
    }
    for name, truth in want.items():
        np.testing.assert_array_equal(predicate(f"testp.{name}.{kind} %p, %a;", a), truth)


COMPARE = {name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}


@floats
def test_comparisons_of_floats(kind):
    a, b = numbers(kind, 1), numbers(kind, 2)
    a[:100] = b[:100]
    nan = np.isnan(a) | np.isnan(b)
    for name, compare in COMPARE.items():
        np.testing.assert_array_equal(predicate(f"setp.{name}.{kind} %p, %a, %b;", a, b), compare(a, b) & ~nan)
        np.testing.assert_array_equal(predicate(f"setp.{name}u.{kind} %p, %a, %b;", a, b), compare(a, b) | nan)
    np.testing.assert_array_equal(predicate(f"setp.num.{kind} %p, %a, %b;", a, b), ~nan)
    np.testing.assert_array_equal(predicate(f"setp.nan.{kind} %p, %a, %b;", a, b), nan)


def test_comparisons_of_integers():
    for kind in INTEGERS:
        a, b = integers(kind, 1), integers(kind, 2)
        for name, compare in COMPARE.items():
            np.testing.assert_array_equal(predicate(f"setp.{name}.{kind} %p, %a, %b;", a, b), compare(a, b))
    for name, like in {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.items():
        np.testing.assert_array_equal(predicate(f"setp.{name}.u64 %p, %a, %b;", a, b), COMPARE[like](a, b))


def test_comparisons_joined_with_others():
    a, b = integers("s32", 1), integers("s32", 2)
    less, positive = a < b, a > 0
    start = "setp.gt.s32 %q, %a, 0;"
    for join in ("and", "or", "xor"):
        combine = getattr(np, f"bitwise_{join}")
        body = f"{start} setp.lt.{join}.s32 %p, %a, %b, %q;"
        np.testing.assert_array_equal(predicate(body, a, b), combine(less, positive))
        body = f"{start} setp.lt.{join}.s32 %r|%p, %a, %b, !%q;"
        np.testing.assert_array_equal(predicate(body, a, b), combine(~less, ~positive))
    np.testing.assert_array_equal(evaluate("set.lt.u32.s32 %x, %a, %b;", np.uint32, a, b), np.where(less, 2**32 - 1, 0))
    np.testing.assert_array_equal(evaluate("set.lt.f32.s32 %x, %a, %b;", np.float32, a, b), less)
    np.testing.assert_array_equal(evaluate("slct.s32.s32 %x, %a, %b, %a;", np.int32, a, b), np.where(a >= 0, a, b))


# Conversions ---------------------------------------------------------------------------------------------------------

ROUNDINGS = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}


def wrapped(value, kind):
    """The low bits as a number of this type."""
    width = int(kind[1:])
    value %= 2**width
    return value - 2**width if kind[0] == "s" and value >> width - 1 else value


def test_conversions_of_integers():
    """Registers may be wider than the types: results are extended then."""
    kinds = ("s8", "u8", *INTEGERS)
    for source in kinds:
        a = integers("u64" if source[1:] == "64" else "u32", 1)
        for kind in kinds:
            out = np.dtype("i8" if kind[1:] == "64" else "i4")
            want = [wrapped(wrapped(wrapped(v, source), kind), f"s{8 * out.itemsize}") for v in a.tolist()]
            assert simple(f"cvt.{kind}.{source}", out, a).tolist() == want, (kind, source)


@floats
def test_integers_become_floats(kind):
    for source in INTEGERS:
        a = integers(source, 1)
        have = simple(f"cvt.rn.{kind}.{source}", DTYPES[kind], a)
        same(have, [nearest(Fraction(v), kind) for v in a.tolist()])


@floats
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_floats_become_integers(rounding, kind):
    rng = np.random.default_rng(6)
    a = numbers(kind, 1)
    a[:1500] = (rng.integers(-600, 600, 1500) / 4).astype(a.dtype)
    edges = 2.0 ** rng.integers(7, 65, 1000) * (1 + rng.integers(-1, 2, 1000) / 64)
    a[1500:2500] = (edges * rng.choice([-1, 1], 1000)).astype(a.dtype)
    for integer in INTEGERS:
        width, signed = int(integer[1:]), integer[0] == "s"
        low, high = (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if signed else (0, 2**width - 1)
        of_nan = 2 ** (width - 1) if "64" in integer + kind else 0

        whole = [v if v != v or math.isinf(v) else ROUNDINGS[rounding](v) for v in a.tolist()]
        want = [of_nan if v != v else int(min(max(v, low), high)) for v in whole]
        have = simple(f"cvt.{rounding}.{integer}.{kind}", f"u{width // 8}", a)
        assert have.tolist() == [v % 2**width for v in want], integer
    rounded = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[rounding]
    same(simple(f"cvt.{rounding}.{kind}.{kind}", a.dtype, a), rounded(a))


def test_conversions_between_floats():
    a = numbers("f64", 1)
    near = np.random.default_rng(7).integers(-2, 3, 2000) * 2.0**-24
    with np.errstate(all="ignore"):
        a[:2000] = numbers("f32", 2)[:2000] * (1 + near)
        narrow = simple("cvt.rn.f32.f64", np.float32, a)
        same(narrow, exact(lambda x: x, a, kind="f32", rounded=lambda x: x.astype(np.float32)))
    same(simple("cvt.f64.f32", np.float64, narrow), narrow.astype(float))


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instruction",
    [
        "ex2.approx.ftz.f32 %x, %a;",
        "add.ftz.f32 %x, %a, %a;",
        "add.rz.f32 %x, %a, %a;",
        "add.sat.f32 %x, %a, %a;",
        "div.full.f32 %x, %a, %a;",
        "sqrt.approx.f32 %x, %a;",
        "cvt.rz.f32.s32 %x, %a;",
        "cvt.f32.s32 %x, %a;",
        "shfl.sync.down.b32 %x, %a, 1, 31, -1;",
        "call.uni (%x), somewhere, (%a);",
        "mov.u32 %x, %clock;",
        "mov.f64 %x, 0d3FF0000000000000;",
        "mov.f32 %x, 1;",
        "add.s32 %x, %a;",
        "bar.sync 1;",
    ],
)
def test_unknown_instructions_are_named(instruction):
    with pytest.raises(NotImplementedError, match=f"line 1[0-9]: {instruction.split()[0]}"):
        evaluate(f"\n{instruction}", np.float32, np.zeros(3, np.float32))
