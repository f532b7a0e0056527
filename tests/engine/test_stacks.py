"""The stacks of the library's threads, on which compiled kernels keep rows of lanes."""

import ctypes
import threading

import numpy as np

from sdefast.engine import executors
from sdefast.jit.compile import function

#: six megabytes of rows, all of which are written
SOURCE = """room = scratch_(12288, 64)
def kernel(n, found):
    q = room()
    for i in range(0, n, 128):
        q[i] = D(i)
    found[0] = q[n - 128] + q[0]
"""


def test_kernels_of_many_rows_have_room_whatever_threads_have_by_default():
    made = function(SOURCE, ("int64", "float64*"), "float64")
    run, n, found = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(made.address), 12288 * 64, np.zeros(1)
    before = threading.stack_size(2**18)
    try:
        pool = executors._Pool(1)
        pool.submit(run, n, found.ctypes.data).result()
        pool.shutdown()
        assert threading.stack_size() == 2**18
    finally:
        threading.stack_size(before)
    assert found[0] == n - 128
