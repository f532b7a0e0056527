"""States on a GPU: strided views of memory of the device, which other libraries take without a copy."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any, SupportsIndex

import numba.cuda
import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.typing import DTypeLike

from . import dlpack
from .target import SIMULATED

__all__ = ["DeviceArray"]

cuda: Any = numba.cuda  # its functions have no types

_FEW_BYTES = 2**20  # so little is copied whole, whatever part of it is wanted: the kernel would take longer to compile
_MOST_GATHERED = 2**26  # bytes that are gathered at a time: a GPU full of states has no room for many more
_BLOCKS, _THREADS = (
    (2, 2) if SIMULATED else (128, 128)
)  # of the kernel that gathers: enough to be faster than the copy to the host


@dataclass(frozen=True, eq=False, repr=False)
class DeviceArray:
    """An n-dimensional array on a GPU, the type of states that a simulation there returns.

    Indexing with integers, slices and ``...`` and transposing make views of the same memory, as NumPy's do. To
    calculate with the array, give it to a library for GPUs, ``torch.from_dlpack(x)`` or ``cupy.asarray(x)``, which
    shares the memory; or copy it to the host: ``x.to_numpy()``, ``np.asarray(x)``.

    Attributes
    ----------
    shape, strides : tuple of int
        Lengths of the axes, and bytes from one element to the next along each.
    dtype : numpy.dtype
        Type of an element.
    device : str
        Where the memory is, such as ``"cuda:0"``.

    Notes
    -----
    The memory is freed when neither views nor other libraries hold it any more. Its contents are complete: whoever
    takes it need not wait for a stream.

    Examples
    --------
    >>> import sdefast as sf, torch  # doctest: +SKIP
    >>> run = sf.simulate(
    ...     sf.BrownianMotion(), x0=0.0, t1=1.0, n_steps=100, n_paths=1000, save_at="all", device="cuda"
    ... )  # doctest: +SKIP
    >>> run.x  # doctest: +SKIP
    DeviceArray(shape=(101, 1000, 1), dtype=float64, device='cuda:0')
    >>> torch.from_dlpack(run.x[-1]).device  # doctest: +SKIP
    device(type='cuda', index=0)
    >>> run.x[-1, :3].to_numpy().shape  # doctest: +SKIP
    (3, 1)
    """

    shape: tuple[int, ...]
    _steps: tuple[int, ...]  # strides in elements
    _first: int  # where in the memory the first element is, in elements
    _base: Any  # Numba's array, which owns the memory
    _ordinal: int

    @classmethod
    def of(cls, base: Any, device: int = 0, stream: int = 0) -> DeviceArray:
        """The whole of a C-contiguous array of Numba's.

        Parameters
        ----------
        base : numba.cuda device array
            Kept alive by the result and all its views.
        device : int
            Ordinal of the GPU that holds it.
        stream : int
            Handle of a stream that may still be at work on the contents: it is waited for. 0: they are complete.
        """
        if not base.is_c_contiguous():
            raise ValueError("base must be C-contiguous")
        shape = tuple(int(n) for n in base.shape)
        array = cls(shape, _contiguous_steps(shape), 0, base, operator.index(device))
        if stream and not array._is_simulated:
            with cuda.gpus[device]:
                cuda.external_stream(stream).synchronize()
        return array

    # What it is --------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype:
        """Type of an element."""
        kind: np.dtype = self._base.dtype
        return kind

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements of this view take."""
        return self.size * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis."""
        return tuple(step * self.dtype.itemsize for step in self._steps)

    @property
    def device(self) -> str:
        """Where the memory is, such as ``"cuda:0"``."""
        return f"cuda:{self._ordinal}"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self.device!r})"

    # Views -------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[DeviceArray]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(
        self, index: SupportsIndex | slice | EllipsisType | tuple[SupportsIndex | slice | EllipsisType, ...]
    ) -> DeviceArray:
        shape, steps, first = [], [], self._first
        for axis, part in enumerate(self._one_per_axis(index if isinstance(index, tuple) else (index,))):
            n, step = self.shape[axis], self._steps[axis]
            if isinstance(part, slice):
                start, stop, stride = part.indices(n)
                shape.append(len(range(start, stop, stride)))
                steps.append(step * stride)
                first += step * start
            else:
                first += step * _position(part, axis, n)
        return replace(self, shape=tuple(shape), _steps=tuple(steps), _first=first)

    def _one_per_axis(self, parts: tuple[Any, ...]) -> list[Any]:
        """The parts of an index, one for every axis."""
        ellipses = [i for i, part in enumerate(parts) if part is ...]
        if len(ellipses) > 1:
            raise IndexError("an index can only have a single ellipsis ('...')")
        n_indexed = len(parts) - len(ellipses)
        if n_indexed > self.ndim:
            raise IndexError(
                f"too many indices for array: array is {self.ndim}-dimensional, but {n_indexed} were indexed"
            )
        gap = ellipses[0] if ellipses else len(parts)
        return [*parts[:gap], *[slice(None)] * (self.ndim - n_indexed), *parts[gap + 1 :]]

    def transpose(self, *axes: Any) -> DeviceArray:
        """A view with the axes in another order, the reverse one if none is given; arguments as NumPy's."""
        if all(axis is None for axis in axes):
            order = tuple(range(self.ndim))[::-1]
        else:
            order = normalize_axis_tuple(axes[0] if len(axes) == 1 and np.ndim(axes[0]) else axes, self.ndim)
        if len(order) != self.ndim:
            raise ValueError("axes don't match array")
        return replace(self, shape=tuple(self.shape[i] for i in order), _steps=tuple(self._steps[i] for i in order))

    @property
    def T(self) -> DeviceArray:  # noqa: N802 - NumPy's name
        """A view with the axes in reverse order."""
        return self.transpose()

    @classmethod
    def joined(cls, parts: list[DeviceArray], axis: int) -> DeviceArray:
        """A new array of arrays one after the other along an axis, whose last axes lie in memory in the same order."""
        first = parts[0]
        shape = list(first.shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        order = sorted(range(first.ndim), key=lambda i: first._steps[i], reverse=True)
        with cuda.gpus[first._ordinal]:
            base = cuda.device_array([shape[i] for i in order], first.dtype)
        whole = cls.of(base, first._ordinal).transpose(sorted(range(first.ndim), key=order.__getitem__))
        start = 0
        for part in parts:
            end = start + part.shape[axis]
            whole[(slice(None),) * axis + (slice(start, end),)]._fill(part)
            start = end
        if not whole._is_simulated:  # contents are complete
            with cuda.gpus[first._ordinal]:
                cuda.default_stream().synchronize()
        return whole

    # Copies on the host ------------------------------------------------------------------------------------------

    def to_numpy(self) -> np.ndarray:
        """A copy on the host, whose axes lie in memory in the same order as here."""
        if not self.size:
            return np.empty(self.shape, self.dtype)
        first, end = self._range()
        n_bytes = (end - first) * self.dtype.itemsize
        if n_bytes <= max(2 * self.nbytes, _FEW_BYTES):
            copied = self._copied_with_gaps(first, end)
            return copied if n_bytes <= 2 * self.nbytes else copied.copy(order="K")  # does not keep the gaps
        order = sorted(range(self.ndim), key=lambda i: abs(self._steps[i]) if self.shape[i] > 1 else 0, reverse=True)
        return self.transpose(order)._gathered().transpose(sorted(range(self.ndim), key=order.__getitem__))

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes get a copy in memory of the host."""
        return np.asarray, (self.to_numpy(),)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested: the memory is on the GPU")
        return self.to_numpy() if dtype is None else self.to_numpy().astype(dtype, copy=False)

    def _range(self) -> tuple[int, int]:
        """The smallest range of the memory that holds all elements, of which there is at least one."""
        reach = [step * (n - 1) for n, step in zip(self.shape, self._steps, strict=True)]
        return self._first + sum(min(r, 0) for r in reach), self._first + sum(max(r, 0) for r in reach) + 1

    def _memory(self) -> Any:
        """All of the memory as one row; copies of it to the host are waited for, whatever stream the base has."""
        return self._base.bind().ravel()

    def _copied_with_gaps(self, first: int, end: int) -> np.ndarray:
        """A view of a copy of a range of the memory that holds all elements."""
        with cuda.gpus[self._ordinal]:
            memory = self._memory()[first:end].copy_to_host()
        offset = (self._first - first) * self.dtype.itemsize
        return np.ndarray(self.shape, self.dtype, memory, offset, self.strides)

    def _gathered(self) -> np.ndarray:
        """A C-contiguous copy that leaves out what is between the elements; longest strides have to come first."""
        if self.nbytes > _MOST_GATHERED:
            both, half = np.empty(self.shape, self.dtype), len(self) // 2
            both[:half] = self[:half].to_numpy()
            both[half:] = self[half:].to_numpy()
            return both
        with cuda.gpus[self._ordinal]:
            base = cuda.device_array(self.shape, self.dtype)
            DeviceArray.of(base, self._ordinal)._fill(self)
            copied: np.ndarray = base.copy_to_host()
        return copied

    def _fill(self, source: DeviceArray) -> None:
        """Put the elements of an array of the same shape here."""
        with cuda.gpus[self._ordinal]:
            axes = cuda.to_device(np.array([self.shape, source._steps, self._steps], np.int64))
            _copy[_BLOCKS, _THREADS](source._memory(), source._first, axes, self._memory(), self._first)

    # Other libraries on the GPU ----------------------------------------------------------------------------------

    @property
    def _is_simulated(self) -> bool:
        """Whether the memory is the host's: only arrays of Numba's simulator wrap one of NumPy's."""
        return isinstance(getattr(self._base, "_ary", None), np.ndarray)

    @property
    def _pointer(self) -> int:
        """Address of the first element; 0, as both protocols want, if there is none."""
        if not self.size:
            return 0
        base = self._base
        start = base._ary.ctypes.data if self._is_simulated else base.__cuda_array_interface__["data"][0]
        return int(start) + self._first * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._pointer, False),
            "strides": None if self._is_contiguous else self.strides,
            "version": 3,
            "stream": None,  # the contents are complete
        }

    @property
    def _is_contiguous(self) -> bool:
        axes = zip(self.shape, self._steps, _contiguous_steps(self.shape), strict=True)
        return not self.size or all(step == contiguous for n, step, contiguous in axes if n > 1)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (dlpack.CPU, 0) if self._is_simulated else (dlpack.CUDA, self._ordinal)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        # The contents are complete, so every stream sees them: nothing is to be done for the one given.
        device = self.__dlpack_device__()
        if dl_device is not None and tuple(dl_device) != device:
            raise BufferError(f"the memory is on DLPack device {device} and cannot be had on {tuple(dl_device)}")
        if copy:
            raise BufferError("only the memory itself can be had, not a copy: copy it with the library that takes it")
        if self.size and any(step < 0 and n > 1 for n, step in zip(self.shape, self._steps, strict=True)):
            # The standard does not forbid them, but PyTorch then ends the process.
            raise BufferError("an axis with a negative step cannot be shared: reverse it in the library that takes it")
        return dlpack.capsule_of(
            self, self._pointer, device, is_versioned=max_version is not None and tuple(max_version) >= (1, 0)
        )


def _contiguous_steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of C-contiguous memory."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _position(index: Any, axis: int, n: int) -> int:
    """An index as one from the start of an axis of length ``n``."""
    try:
        i = operator.index(index)
    except TypeError:
        i = None
    if i is None or isinstance(index, bool):  # True is an integer to Python, but a mask to NumPy
        raise IndexError(
            f"only integers, slices (`:`) and ellipsis (`...`) are valid indices, got {type(index).__name__}"
        )
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for axis {axis} with size {n}")
    return i % n


def _copy_some(source: Any, first: int, axes: Any, target: Any, target_first: int) -> None:
    """Kernel: from one view to another; ``axes`` holds their shape and the strides of both in elements."""
    # (an array: of tuples that are indexed at run time, numba-cuda makes code that its compiler refuses)
    size = 1
    for axis in range(axes.shape[1]):
        size *= axes[0, axis]
    for i in range(cuda.grid(1), size, cuda.gridsize(1)):
        place, target_place, rest = first, target_first, i
        for axis in range(axes.shape[1] - 1, -1, -1):
            place += (rest % axes[0, axis]) * axes[1, axis]
            target_place += (rest % axes[0, axis]) * axes[2, axis]
            rest //= axes[0, axis]
        target[target_place] = source[place]


_copy = cuda.jit(_copy_some)
