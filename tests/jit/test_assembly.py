"""The language of kernels: what LLVM's instructions do is what Python does with the same source."""

import ctypes

import numpy as np
import pytest

from sdefast.jit.assembly import module_of
from sdefast.jit.calls import calls
from sdefast.jit.compile import function

HEAD = "def kernel(n, c, x, w, i, y, k):\n"
KINDS = ("int64", "float64*", "{}*", "uint32*", "int32*", "{}*", "int64*")


def compiled(source, dtype):
    """The function of numpy arrays, n first."""
    made = function(source, tuple(kind.format(dtype) for kind in KINDS), dtype)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 6)(made.address)
    return lambda n, *arrays: run(n, *(a.ctypes.data for a in arrays))


def interpreted(source, dtype):
    """The same by Python, on numpy's numbers."""
    kinds = {"T": np.dtype(dtype).type, "D": np.float64, "I": np.int32, "U": np.uint64, "W": np.uint32}
    space = {**kinds, "min": lambda a, b: b if b < a else a}
    exec(source, space)
    return space["kernel"]


def arguments(dtype):
    rng = np.random.default_rng(1)
    n = 41
    x = rng.standard_normal(n).astype(dtype)
    x[3], x[5] = np.nan, np.inf
    w = rng.integers(0, 2**32, n, dtype=np.uint32)
    i = rng.integers(-50, 50, n, dtype=np.int32)
    return n, rng.standard_normal(5), x, w, i, np.zeros(n, dtype), np.zeros(n, np.int64)


SOURCES = {
    "arithmetic": """
    a, b = T(c[0]), k0
    for l in range(n):
        v = a * x[l] - b
        y[l] = -(v / x[l]) + v
""",
    "float64 on the way": """
    for l in range(n):
        y[l] = T((D(x[l]) * c[1] + 0.1) * i[l])
""",
    "integers": """
    for l in range(n):
        q = (i[l] * 3 - 7) // 4
        k[l] = q * 1000 + i[l] % 7 + (-q) % 5
""",
    "words": """
    for l in range(n):
        h = w[l] >> W(9)
        k[l] = (h & W(255)) | W(3)
        if h < W(1000000):
            k[l] = -1
""",
    "comparisons": """
    for l in range(n):
        less, same = x[l] < k0, x[l] == x[l]
        k[l] = 1 * less + 2 * (x[l] <= k0) + 4 * same + 8 * (x[l] != x[l]) + 16 * (x[l] > k0) + 32 * (not less)
        k[l] = k[l] + 64 * (less & same) + 128 * (less | same)
""",
    "loops": """
    total = 0
    for a in range(2, n, 3):
        for b in range(a, min(a + 4, n)):
            total += i[b] * (a - b)
        k[a] = total
    for a in range(5, 5):
        k[a] = 99
""",
    "branches": """
    s = 0
    while s < n:
        if i[s] > 0 and x[s] > k0 or i[s] == 0:
            y[s] = x[s]
            s += 1
        else:
            y[s] = T(i[s] if i[s] < 10 else 10)
            s += 2
""",
    "what is not asked for is not read": """
    for l in range(n):
        j = i[0] * 0 + l
        while j > 0 and x[U(j) - U(1)] > k0:
            j = j - 1
        k[l] = j
""",
    "tuples at once": """
    a, b = x[0], x[1]
    for l in range(n):
        a, b = b, a + b
        y[l] = a
""",
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SOURCES)
def test_kernels_do_what_python_does(name, dtype):
    source = f"k0 = T(0.25)\n{HEAD}{SOURCES[name]}"
    found, expected = arguments(dtype), arguments(dtype)
    compiled(source, dtype)(*found)
    interpreted(source, dtype)(*expected)
    for a, b in zip(found[-2:], expected[-2:], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(a.any() for a in found[-2:])


def test_a_name_keeps_its_type():
    source = f"{HEAD}    a = 0.5\n    a = x[0]\n    y[0] = a\n"
    found = arguments("float32")
    compiled(source, "float32")(*found)
    assert found[5][0] == found[2][0]


def test_bounds_of_words_are_within_their_range():
    """Whatever the probability: rounded up to words of 23 bits, none below 0 or for no number, all above 1."""
    found = arguments("float32")
    found[1][:] = np.nan, -0.5, 1e30, 0.25, 0.25 + 2.0**-24
    compiled(f"{HEAD}    for l in range(5):\n        k[l] = bound_(c[l])\n", "float32")(*found)
    np.testing.assert_array_equal(found[6][:5], [0, 0, 2**23, 2**21, 2**21])


@pytest.mark.filterwarnings("error")
def test_a_number_too_large_for_the_type_is_infinite():
    source = f"k0 = T(1e300)\n{HEAD}    y[0] = k0\n"
    found = arguments("float32")
    compiled(source, "float32")(*found)
    assert found[5][0] == np.inf


def test_arguments_are_apart():
    text = str(
        module_of(f"{HEAD}    y[0] = x[0]\n", [k.format("float32") for k in KINDS], "float32", calls("float32"), "f")
    )
    assert text.count("noalias") == 6
