"""Arrays on the GPU: views, copies on the host, what other libraries see of them, and who keeps the memory alive."""

import ctypes
import gc
import importlib
import sys
import threading
import weakref
from unittest.mock import patch

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from conftest import python
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba_cuda", reason="the simulator of the GPU is numba-cuda's")

from numba import cuda

from sdefast.cuda import array as module
from sdefast.cuda.array import DeviceArray

#: the GPU is simulated, and its memory the host's
SIMULATED = hasattr(cuda.device_array(1, np.float32), "_ary")

#: gathers with fewer threads than elements; a GPU has enough of them, and Numba would warn
FEW_THREADS = {"_BLOCKS": 2, "_THREADS": 2} if SIMULATED else {}

NUMPY_HAS_VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


def pair(*shape, dtype=np.float32):
    """Different numbers on the host, and the same ones on the device."""
    values = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    return values, DeviceArray.of(cuda.to_device(values))


def assert_same(have, want):
    """A view on the device is that on the host, and so are its copies."""
    assert (have.shape, have.dtype, have.ndim, have.size, have.nbytes) == (
        want.shape, want.dtype, want.ndim, want.size, want.nbytes
    )  # fmt: skip
    assert not want.size or have.strides == want.strides
    copied = have.to_numpy()
    assert type(copied) is np.ndarray
    assert copied.shape == want.shape
    assert copied.dtype == want.dtype
    np.testing.assert_array_equal(copied, want)


# Views ---------------------------------------------------------------------------------------------------------------


@st.composite
def views(draw):
    """A shape, and what to do one after the other: index, transpose, index."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=8))
    have, steps = np.empty(shape), []
    for _ in range(draw(st.integers(1, 3))):
        index = draw(hnp.basic_indices(have.shape, allow_newaxis=False))
        have = np.asarray(have[index])  # also where a number comes out
        order = draw(st.permutations(range(have.ndim)))
        have = have.transpose(order)
        steps.append((index, order))
    return shape, steps


def follow(x, steps):
    for index, order in steps:
        x = (np.asarray(x[index]) if isinstance(x, np.ndarray) else x[index]).transpose(order)
    return x


@settings(max_examples=150, deadline=None)
@given(views())
def test_views_are_those_of_numpy(view):
    shape, steps = view
    values, x = pair(*shape)
    assert_same(follow(x, steps), follow(values, steps))


@settings(max_examples=100, deadline=None)
@given(views(), st.sampled_from([8, 64, 2**26]))
def test_copies_of_all_kinds_are_right(view, most_gathered):
    """However small a view is, it is copied like a large one: with its gaps, gathered, or in halves."""
    shape, steps = view
    values, x = pair(*shape)
    with patch.multiple(module, _FEW_BYTES=0, _MOST_GATHERED=most_gathered, **FEW_THREADS):
        np.testing.assert_array_equal(follow(x, steps).to_numpy(), follow(values, steps))


def test_indices():
    values, x = pair(5, 4, 3)
    every = slice(None)
    indices = [1, -1, np.int64(2), np.array(3), slice(None, None, -2), ..., (), (..., 1), (1, ..., 2), (1, 2, 0, ...)]
    indices += [(1, 2, 0), (slice(3, 1), 2), (slice(-2, None), every, 0), (slice(100), np.uint8(1))]
    for index in indices:
        assert_same(x[index], np.asarray(values[index]))
    assert_same(x[1:][2], values[3])
    assert [float(np.asarray(row)[0, 0]) for row in x] == [0, 12, 24, 36, 48]
    assert len(x) == 5


def test_transposes():
    values, x = pair(2, 3, 4)
    assert_same(x.T, values.T)
    for axes in [(), (None,), (0, 2, 1), ((2, 0, 1),), (-1, 0, 1), ([1, 0, 2],), (np.array([2, 1, 0]),)]:
        assert_same(x.transpose(*axes), values.transpose(*axes))
    assert_same(x[0, 0, 0].T, values[0, 0, :1].reshape(()))
    assert_same(x.T[0].T, values.T[0].T)
    assert_same(x[0].transpose(1, 0), values[0].transpose(1, 0))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (3, "index 3 is out of bounds for axis 0 with size 3"),
        (-4, "index -4 is out of bounds for axis 0 with size 3"),
        ((0, 2), "index 2 is out of bounds for axis 1 with size 2"),
        ((..., 2), "index 2 is out of bounds for axis 1 with size 2"),
        ((0, 0, 0), "too many indices for array: array is 2-dimensional, but 3 were indexed"),
        ((..., 0, ...), "an index can only have a single ellipsis ('...')"),
    ],
)
def test_wrong_indices_read_as_numpys(index, message):
    values, x = pair(3, 2)
    for array in (values, x):
        with pytest.raises(IndexError) as error:
            array[index]
        assert str(error.value) == message


@pytest.mark.parametrize("index", [1.0, "a", None, [0, 1], True, np.True_, np.array([0, 1]), np.array([True, False])])
def test_other_indices(index):
    with pytest.raises(IndexError, match=r"only integers, slices \(`:`\) and ellipsis \(`...`\) are valid indices"):
        pair(2, 2)[1][index]


def test_other_errors():
    _, x = pair(3, 2)
    with pytest.raises(TypeError, match="slice indices must be integers"):
        x[0.5:]
    with pytest.raises(ValueError, match="slice step cannot be zero"):
        x[::0]
    with pytest.raises(ValueError, match="axes don't match array"):
        x.transpose(0)
    with pytest.raises(ValueError, match="repeated axis"):
        x.transpose(0, 0)
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds for array of dimension 2"):
        x.transpose(0, 2)
    with pytest.raises(TypeError, match="len"):
        len(x[0, 0])
    with pytest.raises(TypeError, match="iteration over a 0-d array"):
        iter(x[0, 0])
    with pytest.raises(ValueError, match="C-contiguous"):
        DeviceArray.of(cuda.device_array((2, 3), np.float32, order="F"))


def test_repr():
    assert repr(pair(3, 2)[1][1:]) == "DeviceArray(shape=(2, 2), dtype=float32, device='cuda:0')"
    assert (
        repr(DeviceArray.of(OnGPU((3,), np.float64), 1)[0]) == "DeviceArray(shape=(), dtype=float64, device='cuda:1')"
    )


# Copies on the host --------------------------------------------------------------------------------------------------


class Copies:
    """What the copies to the host were, while it is entered: "range" with its length, "gathered" with its size."""

    def __enter__(self):
        self.made = []
        with_gaps, gathered = DeviceArray._copied_with_gaps, DeviceArray._gathered

        def copied_with_gaps(x, first, end):
            self.made.append(("range", end - first))
            return with_gaps(x, first, end)

        def recorded_gathered(x):
            self.made.append(("gathered", x.size))
            return gathered(x)

        self.patched = patch.multiple(DeviceArray, _copied_with_gaps=copied_with_gaps, _gathered=recorded_gathered)
        self.patched.__enter__()
        return self

    def __exit__(self, *exception):
        self.patched.__exit__(*exception)


def states(n_times, n_paths, dim):
    """States as runs have them: views (n_times, n_paths, dim) of memory (n_times, dim, n_paths)."""
    return tuple(memory.transpose(0, 2, 1) for memory in pair(n_times, dim, n_paths))


@pytest.mark.parametrize(
    ("index", "copies"),
    [
        (..., [("range", 9 * 20 * 3)]),
        (-1, [("range", 60)]),
        (slice(2, 4), [("range", 120)]),
        (slice(None, None, 4), [("gathered", 180), ("range", 60), ("gathered", 120), ("range", 60), ("range", 60)]),
        ((-1, slice(None), 1), [("range", 20)]),
        ((0, 0, 0), [("range", 1)]),
        ((-1, slice(None, None, -1)), [("range", 60)]),
        ((0, slice(10)), [("range", 50)]),
        ((0, slice(4)), [("gathered", 12)]),
        ((0, slice(5)), [("gathered", 15), ("range", 5), ("gathered", 10)]),
        ((slice(1, 2), slice(5)), [("gathered", 15), ("range", 5), ("gathered", 10)]),
        (slice(0), []),
    ],
)
def test_copies_little_more_than_the_view(index, copies):
    """A range with at most twice as many elements, or those of the view, gathered: 12 at a time, more in halves."""
    values, x = states(9, 20, 3)
    with patch.multiple(module, _FEW_BYTES=0, _MOST_GATHERED=48, **FEW_THREADS), Copies() as recorded:
        copied = x[index].to_numpy()
    np.testing.assert_array_equal(copied, values[index])
    assert recorded.made == copies


def test_a_long_axis_is_gathered_in_halves():
    values, x = pair(9000)
    with patch.multiple(module, _FEW_BYTES=0, _MOST_GATHERED=400, **FEW_THREADS):
        np.testing.assert_array_equal(x[::-3].to_numpy(), values[::-3])


def test_copies_have_the_memory_order_of_the_view():
    values, x = states(9, 20, 3)
    assert x.to_numpy().strides == values.strides
    assert x[1:3, ::-1].to_numpy().strides == values[1:3, ::-1].strides
    with patch.multiple(module, _FEW_BYTES=0, **FEW_THREADS):
        gathered = x[:, :5].to_numpy()
    assert gathered.strides == values[:, :5].copy(order="K").strides != values[:, :5].copy().strides


def test_a_small_copy_does_not_keep_a_large_one():
    _, x = states(9, 1000, 3)
    copied = x[-1, :2].to_numpy()
    assert copied.base is None or copied.base.nbytes <= 2 * copied.nbytes


def test_a_copy_is_ones_own():
    values, x = pair(4, 3)
    copied = x.to_numpy()
    copied[:] = -1
    np.testing.assert_array_equal(x.to_numpy(), values)


def test_numpy_takes_a_copy():
    values, x = states(4, 5, 2)
    for copied in (np.asarray(x), np.array(x), np.array(x, copy=True), np.asarray(x, np.float32)):
        assert copied.dtype == np.float32
        np.testing.assert_array_equal(copied, values)
    assert np.asarray(x, np.float64).dtype == np.float64
    assert np.mean(x) == np.mean(values)
    assert float(np.asarray(x[1, 2, 0])) == values[1, 2, 0]
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        np.array(x, copy=False)


@pytest.mark.skipif(SIMULATED, reason="there, nothing goes on while Python does")
def test_copies_are_waited_for_whatever_stream_the_memory_has():
    values = np.arange(12.0)
    base = cuda.to_device(values).bind(cuda.stream())
    x = DeviceArray.of(base)
    with patch.object(type(base), "copy_to_host", autospec=True, side_effect=type(base).copy_to_host) as copy:
        np.testing.assert_array_equal(x.to_numpy(), values)
    assert all(call.args[0].stream == 0 for call in copy.call_args_list)


def test_the_kernel_compiles_for_a_gpu():
    """Not the simulator's business, which runs it as Python."""
    pytest.importorskip("cuda.bindings.nvvm", reason="needs NVVM, which numba-cuda[cu13] brings")
    code = """
from numba import cuda
from numba.cuda import types
from sdefast.cuda import array
try:
    from cuda.bindings import nvvm
    nvvm.version()
except Exception:
    print("no NVVM")
else:
    row = types.Array(types.float32, 1, "C")
    signature = (row, types.int64, types.Array(types.int64, 2, "C"), row, types.int64)
    print(".visible .entry" in cuda.compile_ptx(array._copy_some, signature, cc=(9, 0))[0])
"""
    result = python(code, NUMBA_ENABLE_CUDASIM="0").strip()
    if result == "no NVVM":
        pytest.skip("there is no NVVM")
    assert result == "True"


# What other libraries see --------------------------------------------------------------------------------------------


class OnGPU:
    """What an array of Numba's on a GPU shows, at an address that nothing can read."""

    ADDRESS = 0x7F0000000000

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.__cuda_array_interface__ = {"data": (self.ADDRESS, False)}

    def is_c_contiguous(self):
        return True


def test_interface_dictionary():
    x = DeviceArray.of(OnGPU((4, 3), np.float64))
    whole = {"shape": (4, 3), "typestr": "<f8", "data": (OnGPU.ADDRESS, False), "strides": None, "version": 3,
             "stream": None}  # fmt: skip
    assert x.__cuda_array_interface__ == whole
    assert x[1:].__cuda_array_interface__ == whole | {"shape": (3, 3), "data": (OnGPU.ADDRESS + 24, False)}
    assert x.T.__cuda_array_interface__ == whole | {"shape": (3, 4), "strides": (8, 24)}
    last_first = x[::-1].__cuda_array_interface__
    assert last_first == whole | {"strides": (-24, 8), "data": (OnGPU.ADDRESS + 72, False)}
    assert x[1, 2].__cuda_array_interface__ == whole | {"shape": (), "data": (OnGPU.ADDRESS + 40, False)}
    assert x[2:, 3:].__cuda_array_interface__ == whole | {"shape": (2, 0), "data": (0, False)}
    assert x[:1].T.__cuda_array_interface__ == whole | {"shape": (3, 1)}  # its one column is contiguous


def test_a_stream_is_waited_for():
    waited = []

    class Stream:
        def __init__(self, handle):
            self.handle = handle

        def synchronize(self):
            waited.append(self.handle)

    with patch.object(cuda, "external_stream", Stream):
        DeviceArray.of(OnGPU((3,), np.float32))
        assert not waited
        DeviceArray.of(OnGPU((3,), np.float32), 0, 1234)
    assert waited == [1234]


@pytest.mark.skipif(not SIMULATED, reason="NumPy and this PyTorch take memory of the host")
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_libraries_share_the_memory(library, dtype):
    take = importlib.import_module(library).from_dlpack
    memory = cuda.to_device(np.arange(24, dtype=dtype).reshape(2, 3, 4))
    x = DeviceArray.of(memory).transpose(0, 2, 1)
    assert x.__dlpack_device__() == (1, 0)
    for index in [..., 1, (1, slice(1, 4, 2)), (0, 1, 2), slice(0), (1, slice(2, 1)), slice(1, 0, -1)]:
        taken, want = take(x[index]), np.asarray(x[index])
        assert tuple(taken.shape) == want.shape
        np.testing.assert_array_equal(np.asarray(taken), want)
    take(x[1])[2, 0] = -5
    assert x.to_numpy()[1, 2, 0] == memory.copy_to_host()[1, 0, 2] == -5


@pytest.mark.skipif(SIMULATED, reason="needs a GPU")
def test_pytorch_shares_the_memory_of_a_gpu():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a PyTorch for the GPU")
    memory = cuda.to_device(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    x = DeviceArray.of(memory).transpose(0, 2, 1)
    for take in (torch.from_dlpack, lambda array: torch.as_tensor(array, device="cuda")):
        taken = take(x[1])
        assert str(taken.device) == x.device
        np.testing.assert_array_equal(taken.cpu().numpy(), x[1].to_numpy())
        taken[2, 0] -= 5
        torch.cuda.synchronize()
        assert x.to_numpy()[1, 2, 0] == memory.copy_to_host()[1, 0, 2] == taken[2, 0].item()


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER))


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", DELETER),
        ("flags", ctypes.c_uint64), ("tensor", Tensor),
    )  # fmt: skip


def prototype(name, *types):
    return ctypes.PYFUNCTYPE(*types)((name, ctypes.pythonapi))


get_name = prototype("PyCapsule_GetName", ctypes.c_char_p, ctypes.py_object)
set_name = prototype("PyCapsule_SetName", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
get_pointer = prototype("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)


#: name of a capsule -> what it points at, and its name once it is taken
KINDS = {b"dltensor": (Managed, b"used_dltensor"), b"dltensor_versioned": (Versioned, b"used_dltensor_versioned")}


class Consumer:
    """A library that takes a capsule by the letter of the standard, wherever the memory is."""

    def __init__(self, capsule):
        self.name = get_name(capsule)
        kind, used = KINDS[self.name]
        self.managed = kind.from_address(get_pointer(capsule, self.name))
        set_name(capsule, used)

    def release(self):
        self.managed.deleter(ctypes.addressof(self.managed))


VERSIONS = [None, (0, 8), (1, 0), (1, 3), (2, 0)]


@pytest.mark.parametrize("version", VERSIONS)
def test_capsules(version):
    x = DeviceArray.of(OnGPU((4, 3, 5), np.float64), 3)[1:, 1, ::2].T
    consumer = Consumer(x.__dlpack__(stream=1, max_version=version, dl_device=(2, 3), copy=False))
    is_versioned = version is not None and version >= (1, 0) and NUMPY_HAS_VERSIONED
    assert consumer.name == (b"dltensor_versioned" if is_versioned else b"dltensor")
    if is_versioned:
        assert (consumer.managed.major, consumer.managed.flags) == (1, 0)
    tensor = consumer.managed.tensor
    assert (tensor.data + tensor.byte_offset, tensor.device_type, tensor.device_id) == (OnGPU.ADDRESS + 20 * 8, 2, 3)
    assert (tensor.ndim, tensor.code, tensor.bits, tensor.lanes) == (2, 2, 64, 1)
    assert (tensor.shape[:2], tensor.strides[:2]) == ([3, 3], [2, 15])
    consumer.release()


@pytest.mark.parametrize("version", VERSIONS)
def test_capsules_of_nothing_point_nowhere(version):
    consumer = Consumer(DeviceArray.of(OnGPU((4, 3), np.float32))[2:2].__dlpack__(max_version=version))
    assert consumer.managed.tensor.data is None
    assert consumer.managed.tensor.shape[:2] == [0, 3]
    consumer.release()


def test_what_cannot_be_shared():
    _, x = pair(3, 2)
    with pytest.raises(BufferError, match=r"and cannot be had on \(8, 0\)"):
        x.__dlpack__(dl_device=(8, 0))
    with pytest.raises(BufferError, match="not a copy"):
        x.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="negative step"):  # PyTorch would end the process
        x[::-1].__dlpack__()
    for one_or_none in (x[0::-1], x[:0:-3], x[:0, ::-1]):
        consumer = Consumer(one_or_none.__dlpack__())
        assert not consumer.managed.tensor.strides or min(consumer.managed.tensor.strides[:2]) >= 0
        consumer.release()


# Lifetimes -----------------------------------------------------------------------------------------------------------


class Owned:
    """An array whose memory tells when it is freed, and how often."""

    def __init__(self):
        base = cuda.to_device(np.arange(6, dtype=np.float32).reshape(3, 2))
        self.x = DeviceArray.of(base)
        self.freed = []
        weakref.finalize(base, self.freed.append, True)

    def is_freed(self):
        gc.collect()
        return bool(self.freed)


class Older:
    """An array as it looks to a library that asks for no version."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, *, stream=None):
        return self.x.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def test_views_keep_the_memory():
    owned = Owned()
    view = owned.x[1:].T
    del owned.x
    assert not owned.is_freed()
    del view
    assert owned.is_freed()


def test_copies_do_not_keep_the_memory():
    owned = Owned()
    copies = owned.x.to_numpy(), owned.x[::2, :1].to_numpy()
    del owned.x
    assert owned.is_freed()
    assert copies[0].sum() == 15


@pytest.mark.parametrize("version", VERSIONS)
def test_a_capsule_that_nobody_takes_frees(version):
    owned = Owned()
    capsule = owned.x[1].__dlpack__(max_version=version)
    del owned.x
    assert not owned.is_freed()
    del capsule
    assert owned.is_freed()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_consumer_frees(version):
    owned = Owned()
    capsule = owned.x[1].__dlpack__(max_version=version)
    first, second = Consumer(capsule), Consumer(owned.x.T.__dlpack__(max_version=version))
    del owned.x
    assert not owned.is_freed()
    del capsule  # it was used, so this frees nothing
    assert not owned.is_freed()
    first.release()
    assert not owned.is_freed()
    release = threading.Thread(target=second.release)  # any thread may
    release.start()
    release.join()
    assert owned.is_freed()
    assert len(owned.freed) == 1


@pytest.mark.skipif(not SIMULATED, reason="NumPy and this PyTorch take memory of the host")
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", [DeviceArray.__getitem__, lambda x, index: Older(x[index])])
def test_libraries_free(library, kind):
    take = importlib.import_module(library).from_dlpack
    owned = Owned()
    first, second = take(kind(owned.x, 1)), take(kind(owned.x, slice(None)))
    del owned.x
    part = second[1:]
    del second
    assert not owned.is_freed()
    assert float(part[0, 0]) == 2
    del first
    assert not owned.is_freed()
    del part
    assert owned.is_freed()


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_leaked(version):
    """References to the memory are as many after a thousand capsules as before."""
    base = cuda.to_device(np.zeros(3))
    x = DeviceArray.of(base)
    before = sys.getrefcount(base), sys.getrefcount(x)
    for _ in range(500):
        x.__dlpack__(max_version=version)
        Consumer(x.__dlpack__(max_version=version)).release()
    assert (sys.getrefcount(base), sys.getrefcount(x)) == before


def test_an_error_of_a_library_comes_through():
    """Its capsule is freed while the exception is on the way."""
    base = OnGPU((3,), np.float32)
    x, freed = DeviceArray.of(base), []
    weakref.finalize(base, freed.append, True)
    del base
    for array in (x, Older(x)):
        with pytest.raises((BufferError, RuntimeError), match=r"(?i)unsupported device"):
            np.from_dlpack(array)
    del array, x
    gc.collect()
    assert freed


#: takes and frees, twice would be noticed by PYTHONMALLOC=debug; then leaves some to be freed when Python ends
EXIT = """
import gc, os, sys, weakref
os.dup2(1, 2)  # complaints count
import numpy as np
import torch
from numba import cuda
from sdefast.cuda.array import DeviceArray
sys.path.insert(1, "cuda")
import test_array as checks

takes = [np.from_dlpack, torch.from_dlpack] if checks.SIMULATED else []
takes += [lambda x, version=version: checks.Consumer(x.__dlpack__(max_version=version)) for version in checks.VERSIONS]

def drop(taken):
    if isinstance(taken, checks.Consumer):
        taken.release()

freed = []
for take in takes:
    for _ in range(20):
        base = cuda.to_device(np.zeros((50, 3)))
        weakref.finalize(base, freed.append, True)
        x = DeviceArray.of(base)
        both = [take(x[1:]), take(x)]
        capsule = x.__dlpack__()
        del base, x, capsule
        while both:
            drop(both.pop())
gc.collect()
print(len(freed) - 20 * len(takes))

left = DeviceArray.of(cuda.to_device(np.zeros((50, 3))))
taken = [take(left) for take in takes]
capsules = [left.__dlpack__(), left[1:].__dlpack__(max_version=(1, 0))]
taken.append(taken)
sys.modules["kept"] = capsules
"""


@pytest.mark.thorough
def test_frees_once_and_ends_well():
    assert python(EXIT, PYTHONMALLOC="debug").strip() == "0"
