"""DLPack capsules of arrays on a GPU.

What makes a capsule hard is its end: the function that frees it may run in any thread, while an exception is on its
way, or when the interpreter is gone. NumPy has such a function, in C, so NumPy makes the capsule, of an array that
claims our addresses as the host's. It is never read: it only keeps our memory alive for as long as the capsule or
whoever takes it lives. Then the capsule is told on which device the memory is.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

#: kinds of device
CPU, CUDA = 1, 2


class _Tensor(ctypes.Structure):
    """The beginning of DLTensor."""

    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class _Versioned(ctypes.Structure):
    """The beginning of DLManagedTensorVersioned; the older DLManagedTensor begins with the tensor."""

    _fields_ = (
        ("version", ctypes.c_uint32 * 2),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


class _Claim:
    """What NumPy takes for memory of the host."""

    def __init__(self, array: Any, pointer: int) -> None:
        self.array = array  # kept alive
        strides = tuple(abs(stride) for stride in array.strides)  # negative only where an axis has no second element
        pointer = pointer or array.dtype.itemsize  # at 0, NumPy would look for elements elsewhere
        self.__array_interface__ = array.__cuda_array_interface__ | {"strides": strides, "data": (pointer, False)}


#: a function of our own: other modules set the argument types of the one that they find in ctypes.pythonapi
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

#: older ones know only the older capsule, which every consumer has to take too
_NUMPY_HAS_VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


def capsule_of(array: Any, pointer: int, device: tuple[int, int], is_versioned: bool) -> Any:
    """A DLPack capsule of a `DeviceArray` at that address, "dltensor_versioned" or "dltensor"."""
    if is_versioned and _NUMPY_HAS_VERSIONED:
        capsule = np.asarray(_Claim(array, pointer)).__dlpack__(max_version=(1, 0))
        tensor = _Versioned.from_address(_get_pointer(capsule, b"dltensor_versioned")).tensor
    else:
        capsule = np.asarray(_Claim(array, pointer)).__dlpack__()
        tensor = _Tensor.from_address(_get_pointer(capsule, b"dltensor"))
    tensor.data = pointer or None
    tensor.device_type, tensor.device_id = device
    return capsule
