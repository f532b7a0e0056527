"""The machine that executes PTX: kernels of Numba against numpy, to the bit, and their faults."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from ptx import LANES, KernelError, Machine, compile_ptx
from ptx.exact import floats, fused, integers, machine_of, numbers, same

# This machine seldom changes; what the package's kernels do on it is compared with the CPU whenever tests are run.
pytestmark = pytest.mark.thorough

KERNELS = """
import math
import numpy as np
from numba import cuda, float32, float64, int32, int64, uint32, uint64

def promotions(a, b, c, whole, real):
    i = cuda.grid(1)
    if i < a.size:
        whole[i, 0] = a[i] * b[i] + c[i]
        whole[i, 1] = c[i] // a[i]
        whole[i, 2] = c[i] % a[i]
        whole[i, 3] = c[i] >> b[i]
        whole[i, 4] = -a[i] ^ b[i]
        real[i, 0] = a[i] / b[i]
        real[i, 1] = a[i] * float32(b[i])

def rotations(x, n):
    i = cuda.grid(1)
    x[i, 1] = uint32(x[i, 0] << n[i]) | uint32(x[i, 0] >> (uint32(32) - n[i]))
    x[i, 2] = uint32(x[i, 0] << uint32(13)) | uint32(x[i, 0] >> uint32(19))

def floats(a, b, c, out):
    i = cuda.grid(1)
    x, y = a[i], b[i]
    out[i, 0] = x + y
    out[i, 1] = x - y
    out[i, 2] = x * y
    out[i, 3] = x / y
    out[i, 4] = math.sqrt(abs(x))
    out[i, 5] = x if x > y else -y
    out[i, 6] = math.copysign(x, y)
    out[i, 7] = math.floor(x)
    out[i, 8] = cuda.fma(x, y, c[i])

floats32, floats64 = floats, floats

def collatz(start, steps):
    i = cuda.grid(1)
    if i >= start.size:
        return
    n, count = start[i], 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        count += 1
    steps[i] = count

def nested(x, out):
    i = cuda.grid(1)
    total = 0
    for j in range(i % 7):
        if x[i] > 0:
            k = 0
            while k < x[i]:
                k += j + 1
                if k % 5 == 3:
                    continue
                if k > 20:
                    break
                total += k
        elif x[i] < -5:
            if j == 3:
                break
            total -= x[i] * j
        else:
            total += 1000
    out[i] = total

def block_sums(a, out):
    shared = cuda.shared.array(128, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]

def sort(a):
    i = cuda.grid(1)
    local = cuda.local.array(9, float64)
    for j in range(9):
        v, k = a[i, j], j
        while k > 0 and local[k - 1] > v:
            local[k] = local[k - 1]
            k -= 1
        local[k] = v
    for j in range(9):
        a[i, j] = local[j]

def counts(a, bins, last, shared_out):
    i = cuda.grid(1)
    shared = cuda.shared.array(4, uint32)
    if cuda.threadIdx.x < 4:
        shared[cuda.threadIdx.x] = 0
    cuda.syncthreads()
    cuda.atomic.add(bins, a[i], uint64(1))
    cuda.atomic.max(last, a[i], i)
    cuda.atomic.add(shared, a[i] % 4, uint32(1))
    cuda.syncthreads()
    if cuda.threadIdx.x < 4:
        shared_out[cuda.blockIdx.x, cuda.threadIdx.x] = shared[cuda.threadIdx.x]

def cubes(a, b, out):
    x, y, z = cuda.grid(3)
    if x < a.shape[0] and y < a.shape[1] and z < a.shape[2]:
        out[x, y, z] = a[x, y, z] - 2 * b[x, y, z]

TABLE = np.arange(12, dtype=np.float32) ** 2

def table(out):
    i = cuda.grid(1)
    squares = cuda.const.array_like(TABLE)
    out[i] = squares[(i * 5) % 12]

def scalars(out, flag, octet, short, whole, large, single, double):
    out[0] = 1 if flag else 0
    out[1], out[2], out[3], out[4], out[5], out[6] = octet, short, whole, large, single, double
    out[7] = large

def places(out):
    t, b = cuda.threadIdx, cuda.blockIdx
    x, y, z = cuda.grid(3)
    out[x, y, z] = ((t.x * 10 + t.y) * 10 + t.z) * 1000 + (b.x * 10 + b.y) * 10 + b.z

def shifted(a, by):
    i = cuda.grid(1)
    a[i] = a[i + by] + 1

def divided(a):
    i = cuda.grid(1)
    if i % 2:
        cuda.syncthreads()
        a[i] = 1
    else:
        cuda.syncthreads()
        a[i] = 2

def libdevice(a):
    a[0] = math.exp(a[1])
"""

SIGNATURES = {
    "promotions": "void(int32[::1], uint8[::1], int64[::1], int64[:, ::1], float64[:, ::1])",
    "rotations": "void(uint32[:, ::1], uint32[::1])",
    "floats32": "void(float32[::1], float32[::1], float32[::1], float32[:, ::1])",
    "floats64": "void(float64[::1], float64[::1], float64[::1], float64[:, ::1])",
    "collatz": "void(int64[::1], int32[::1])",
    "nested": "void(int32[::1], int64[::1])",
    "block_sums": "void(float32[::1], float32[::1])",
    "sort": "void(float64[:, :])",
    "counts": "void(int64[::1], uint64[::1], int64[::1], uint32[:, ::1])",
    "cubes": "void(float64[:, :, :], float32[:, :, :], float64[:, :, :])",
    "table": "void(float32[::1])",
    "scalars": "void(float64[::1], boolean, int8, uint16, int32, uint64, float32, float64)",
    "places": "void(int32[:, :, ::1])",
    "shifted": "void(float32[::1], int64)",
    "divided": "void(float32[::1])",
    "libdevice": "void(float32[::1])",
}


@functools.cache
def compiled():
    pytest.importorskip("numba_cuda", reason="numba-cuda makes the PTX")
    return compile_ptx(KERNELS, SIGNATURES)


@functools.cache
def kernel(name):
    return Machine(compiled()[name])


def run(name, grid, block, *args):
    kernel(name).run(grid, block, list(args))


def test_promotions():
    n = 300
    a, c = integers("s32", 1, n) | np.int32(1), integers("s64", 2, n)
    b = np.random.default_rng(1).integers(1, 60, n).astype(np.uint8)
    whole, real = np.zeros((n, 5), np.int64), np.zeros((n, 2))
    run("promotions", 3, 128, a, b, c, whole, real)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(whole[:, 0], a.astype(np.int64) * b + c)
    np.testing.assert_array_equal(whole[:, 1], [x // y for x, y in zip(c.tolist(), a.tolist(), strict=True)])
    np.testing.assert_array_equal(whole[:, 2], [x % y for x, y in zip(c.tolist(), a.tolist(), strict=True)])
    np.testing.assert_array_equal(whole[:, 3], c >> b)
    np.testing.assert_array_equal(whole[:, 4], -a.astype(np.int64) ^ b)
    same(real[:, 0], a / b.astype(np.int64))
    same(real[:, 1], a * b.astype(float))


def test_rotations():
    x = np.zeros((512, 3), np.uint32)
    x[:, 0] = integers("u32", 1, 512)
    n = np.random.default_rng(2).integers(1, 32, 512).astype(np.uint32)
    run("rotations", 2, 256, x, n)
    np.testing.assert_array_equal(x[:, 1], x[:, 0] << n | x[:, 0] >> (32 - n))
    np.testing.assert_array_equal(x[:, 2], x[:, 0] << np.uint32(13) | x[:, 0] >> np.uint32(19))


@floats
def test_floats(kind):
    a, b, c = (numbers(kind, seed, 1024) for seed in (1, 2, 3))
    out = np.zeros((1024, 9), a.dtype)
    run(f"floats{kind[1:]}", 4, 256, a, b, c, out)
    with np.errstate(all="ignore"):
        want = [a + b, a - b, a * b, a / b, np.sqrt(abs(a)), np.where(a > b, a, -b), np.copysign(a, b), np.floor(a)]
    for k, column in enumerate(want):
        same(out[:, k].copy(), column)
    same(out[:, 8].copy(), fused(a, b, c, kind))


def test_lanes_leave_loops_one_by_one():
    start = np.arange(1, 501)
    steps = np.zeros(500, np.int32)

    def count(n):
        return 0 if n == 1 else 1 + count(n // 2 if n % 2 == 0 else 3 * n + 1)

    run("collatz", 4, 128, start, steps)
    assert steps.tolist() == [count(n) for n in start.tolist()]


def test_nested_branches():
    x = np.random.default_rng(3).integers(-20, 30, 512).astype(np.int32)
    have, want = np.zeros(512, np.int64), np.zeros(512, np.int64)
    space = {}
    exec(KERNELS, space)
    for i in range(512):
        space["cuda"] = SimpleNamespace(grid=lambda dimensions, i=i: i)
        space["nested"](x, want)
    run("nested", 4, 128, x, have)
    np.testing.assert_array_equal(have, want)


def test_shared_memory_and_barriers():
    a = np.random.default_rng(4).standard_normal(5 * 128 - 17).astype(np.float32)
    out = np.zeros(5, np.float32)
    run("block_sums", 5, 128, a, out)
    sums = np.append(a, np.zeros(17, np.float32)).reshape(5, 128)
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    same(out, sums[:, 0])


def test_local_arrays():
    a = np.random.default_rng(5).standard_normal((256, 9))
    want = np.sort(a, axis=1)
    run("sort", 2, 128, a)
    np.testing.assert_array_equal(a, want)


def test_atomics():
    a = np.random.default_rng(6).integers(0, 10, 6 * 64)
    bins, last, shared = np.zeros(10, np.uint64), np.zeros(10, np.int64), np.zeros((6, 4), np.uint32)
    run("counts", 6, 64, a, bins, last, shared)
    assert bins.tolist() == np.bincount(a, minlength=10).tolist()
    assert last.tolist() == [np.flatnonzero(a == v)[-1] for v in range(10)]
    np.testing.assert_array_equal(shared, [np.bincount(block % 4, minlength=4) for block in a.reshape(6, 64)])


def test_arrays_of_any_strides():
    rng = np.random.default_rng(7)
    a = rng.standard_normal((9, 5, 6)).transpose(2, 0, 1)[:, ::-1, ::2]
    b = np.broadcast_to(rng.standard_normal((9, 3)).astype(np.float32), (6, 9, 3))
    whole = np.zeros((3, 20, 12))
    out = whole[:, 2::2, ::-2].T
    run("cubes", (2, 3, 1), (4, 4, 4), a, b, out)
    np.testing.assert_array_equal(out, a - 2 * b.astype(float))
    assert np.count_nonzero(whole) == a.size


def test_tables():
    out = np.zeros(64, np.float32)
    run("table", 2, 32, out)
    np.testing.assert_array_equal(out, (np.arange(64) * 5 % 12) ** 2)


def test_a_launch_knows_nothing_of_the_one_before():
    """Other arrays and scalars, a shorter array, and one launch that was given up in between."""
    for n, by in ((40, 8), (35, 3), (34, 8), (50, 1)):
        a = np.arange(n, dtype=np.float32)
        if n < 32 + by:
            with pytest.raises(KernelError, match="out of bounds"):
                run("shifted", 1, 32, a, np.int64(by))
            continue
        run("shifted", 1, 32, a, np.int64(by))
        np.testing.assert_array_equal(a, [*(np.arange(32) + by + 1), *range(32, n)])


def test_scalars():
    out = np.zeros(8)
    small = np.bool_(True), np.int8(-5), np.uint16(65000), np.int32(-7)
    args = *small, np.uint64(2**63), np.float32(0.1), np.float64(0.2)
    run("scalars", 1, 1, out, *args)
    np.testing.assert_array_equal(out, [*map(float, args), 2.0**63])


def test_indices_in_three_dimensions():
    grid, block = (2, 3, 2), (4, 2, 3)
    out = np.zeros((8, 6, 6), np.int32)
    run("places", grid, block, out)
    x, y, z = np.indices(out.shape)
    want = ((x % 4 * 10 + y % 2) * 10 + z % 3) * 1000 + (x // 4 * 10 + y // 2) * 10 + z // 3
    np.testing.assert_array_equal(out, want)


def test_more_lanes_than_run_at_once():
    a = np.zeros(LANES * 2 + 256, np.float32)
    run("shifted", len(a) // 256, 256, a, np.int64(0))
    assert (a == 1).all()


def test_code_for_newer_cards():
    """Another compiler makes it."""
    pytest.importorskip("numba_cuda", reason="numba-cuda makes the PTX")
    names = "block_sums", "collatz"
    old, new = compiled(), compile_ptx(KERNELS, {name: SIGNATURES[name] for name in names}, cc=(12, 0))
    a = np.random.default_rng(8).standard_normal(300).astype(np.float32)
    for name, source, out in (("block_sums", a, a[:3]), ("collatz", np.arange(1, 301), np.zeros(300, np.int32))):
        results = [np.zeros_like(out), np.zeros_like(out)]
        for text, result in zip((old[name], new[name]), results, strict=True):
            Machine(text).run(3, 128, [source, result])
        same(*(r.astype(float) for r in results))


def test_empty_arrays():
    run("collatz", 1, 32, np.zeros(0, np.int64), np.zeros(0, np.int32))


def test_instructions_are_counted():
    names = kernel("floats32").instructions
    assert names["fma.rn.f32"] == 1
    assert names["ret"] == 1
    assert "mul.f32" in names


# Faults --------------------------------------------------------------------------------------------------------------


def test_access_out_of_bounds():
    a = np.zeros(64, np.float32)
    with pytest.raises(KernelError, match=r"ld\.global\.f32 .*thread \(31, 0, 0\) reads 4 .* 256 of argument 0"):
        run("shifted", 2, 32, a, np.int64(1))
    with pytest.raises(KernelError, match=r"thread \(0, 0, 0\) reads 4 bytes at offset -4 .*bounds"):
        run("shifted", 2, 32, a, np.int64(-65))  # -1 would be the last element
    with pytest.raises(KernelError, match="where nothing is"):
        run("shifted", 2, 32, a, np.int64(2**50))
    with pytest.raises(KernelError, match="out of bounds"):
        run("shifted", 1, 32, np.zeros(63, np.float32)[::2], np.int64(1))


def test_access_between_the_elements():
    """A kernel for contiguous arrays would read what lies between those of a view."""
    a = np.zeros(64, np.float32)
    with pytest.raises(KernelError, match=r"thread \(1, 0, 0\) reads 4 bytes at offset 4"):
        run("shifted", 1, 32, a[::2], np.int64(0))


def test_misaligned_access():
    a = np.zeros(64, np.float32)
    body = ".reg .b32 %r<2>; ld.param.u64 %at, [p4]; ld.global.u32 %r0, [%at+2]; ret;"
    with pytest.raises(KernelError, match="misaligned"):
        machine_of(body, 7).run(1, 1, [a])
    body = ".reg .b32 %r<2>; ld.param.u64 %at, [p4]; ld.global.v2.u32 {%r0, %r1}, [%at+4]; ret;"
    with pytest.raises(KernelError, match="misaligned"):
        machine_of(body, 7).run(1, 1, [a])


def test_the_wrong_memory():
    body = ".shared .align 4 .b8 s[16]; .reg .b32 %r<2>; ld.param.u64 %at, [p4]; ld.shared.u32 %r0, [%at]; ret;"
    with pytest.raises(KernelError, match="not shared"):
        machine_of(body, 7).run(1, 1, [np.zeros(64, np.float32)])


def test_memory_that_is_read_only():
    a = np.zeros(64, np.float32)
    a.flags.writeable = False
    with pytest.raises(KernelError, match="read-only"):
        run("shifted", 1, 32, a, np.int64(0))


def test_lanes_at_different_barriers():
    with pytest.raises(KernelError, match="different barriers"):
        run("divided", 1, 64, np.zeros(64, np.float32))


def test_wrong_arguments():
    a = np.zeros(64, np.float32)
    with pytest.raises(ValueError, match=r"8 parameters, but 7 of these arguments: argument 0, float32 \(64,\)"):
        run("shifted", 1, 32, a)
    with pytest.raises(ValueError, match="8 parameters, but 10"):
        run("shifted", 1, 32, a.reshape(8, 8), np.int64(0))
    with pytest.raises(ValueError, match=r"argument 1, np.int32\(0\) for a parameter u64"):
        run("shifted", 1, 32, a, np.int32(0))
    with pytest.raises(ValueError, match="for a parameter u64"):
        run("shifted", 1, 32, a, np.float64(0))
    with pytest.raises(TypeError, match="argument 1 is neither"):
        run("shifted", 1, 32, a, 0)
    with pytest.raises(ValueError, match="2048 threads"):
        run("shifted", 1, 2048, a, np.int64(0))


def test_approximations_of_libraries_are_refused():
    with pytest.raises(NotImplementedError, match=r"ex2\.approx"):
        kernel("libdevice")


def test_kernels_that_do_not_compile():
    pytest.importorskip("numba_cuda", reason="numba-cuda makes the PTX")
    with pytest.raises(RuntimeError, match="no_such_name"):
        compile_ptx("def f(a):\n    a[0] = no_such_name", {"f": "void(float32[::1])"})
