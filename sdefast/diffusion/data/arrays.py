"""Arrays of one's own, given or in files of numpy, checked and brought to the form that images and points have."""

from __future__ import annotations

import math
import os
import zipfile
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ... import checks, resources
from .files import naming, read_most, refuse_inflation
from .images import LEVELS

__all__ = ["checked", "checked_labels", "read_array"]

#: What an array of samples, and one of labels, may be called in an npz file.
_SAMPLES, _LABELS = ("x", "images", "points", "samples", "arr_0"), ("labels", "y")


def checked(name: str, value: Any) -> np.ndarray:
    """Samples as float32: images (n, channels, height, width), or points (n, d).

    Parameters
    ----------
    name : str
        What the message calls it.
    value : array or tensor
        Numbers in floating point as they are, or uint8, of which 0, ..., 255 become -1, ..., 1. (n, height, width) is
        taken for images of one channel, (n,) for points of one dimension.

    Raises
    ------
    TypeError
        If it is of another type: integers may be labels, or pixels whose largest value nobody has said.
    ValueError
        If it is empty, not finite or of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import data
    >>> data.checked("x", np.full((2, 8, 8), 255, np.uint8)).shape
    (2, 1, 8, 8)
    """
    checks.refuse_loss(name, value)
    given = _as_array(name, value)
    if given.dtype != np.uint8 and given.dtype.kind != "f":
        raise TypeError(f"{name} must be in floating point, or uint8 for images of 0 to 255, got {given.dtype}")
    if not 1 <= given.ndim <= 4 or not given.size:
        allowed = "(n, channels, height, width), (n, height, width), (n, d) or (n,)"
        raise ValueError(f"{name} must have a shape {allowed} without a 0, got {given.shape}")
    if given.ndim == 4 and given.shape[-1] in (1, 3, 4) and given.shape[1] not in (1, 3, 4):
        raise ValueError(f"{name} must have its channels in the second axis, got {given.shape}: np.moveaxis(x, -1, 1)")
    result = LEVELS[given] if given.dtype == np.uint8 else _float32(name, given)
    if given.ndim == 3:
        return result[:, None]
    return result[:, None] if given.ndim == 1 else result


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(checks.on_host(name, value))
    except (TypeError, ValueError):  # what is ragged, and bfloat16, which numpy does not know
        what = getattr(value, "dtype", f"a {type(value).__name__} of parts that differ")
    hint = "; images and labels are two arguments" if isinstance(value, tuple) else ""
    raise TypeError(f"{name} must be one array in floating point, or uint8 for images, got {what}{hint}")


def _float32(name: str, given: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        result = given.astype(np.float32)
    finite = np.isfinite(result)
    if not finite.all():
        i = int(np.argmin(finite.reshape(len(result), -1).all(axis=1)))
        raise ValueError(f"{name} must be finite in float32, but sample {i} is not")
    return result


def checked_labels(name: str, value: Any, n: int) -> np.ndarray:
    """Labels as int64 (n,), whole numbers from 0 on.

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> data.checked_labels("labels", [0, 2], 2)
    array([0, 2])
    """
    checks.refuse_loss(name, value)
    given = np.asarray(checks.on_host(name, value))
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} must be whole numbers, got {given.dtype}")
    if given.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one for each sample, got {given.shape}")
    if given.min() < 0 or given.max() >= 2**31:
        raise ValueError(f"{name} must be between 0 and {2**31 - 1}, got {given.min()} to {given.max()}")
    return given.astype(np.int64)


def read_array(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples, and labels where there are some, of a file of numpy: ``.npy``, or ``.npz`` (x or images; labels or y).

    Nothing is unpickled, and nothing is allocated before the file is known to be able to hold it.

    Raises
    ------
    ValueError
        That names the file and what is wrong with it.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from sdefast.diffusion import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.npy")
    ...     np.save(path, np.zeros((5, 2)))
    ...     data.read_array(path)[0].shape
    (5, 2)
    """
    path = os.fspath(path)
    with naming(path):
        if path.endswith(".npz"):
            return _from_npz(path)
        with open(path, "rb") as file:
            return checked(path, _array(file, os.path.getsize(path))), None


def _from_npz(path: str) -> tuple[np.ndarray, np.ndarray | None]:
    with zipfile.ZipFile(path) as members:
        names = [name.removesuffix(".npy") for name in members.namelist()]
        samples = next((name for name in _SAMPLES if name in names), None)
        labels = next((name for name in _LABELS if name in names), None)
        if samples is None:
            raise ValueError(f"must hold an array called {' or '.join(_SAMPLES)}, got {', '.join(names) or 'nothing'}")
        x = checked(f"{path}: {samples}", _member(members, samples, path))
        if labels is None:
            return x, None
        return x, checked_labels(f"{path}: {labels}", _member(members, labels, path), len(x))


def _member(members: zipfile.ZipFile, name: str, path: str) -> np.ndarray:
    """An array of an npz file."""
    size = members.getinfo(f"{name}.npy").file_size
    refuse_inflation(path, size)
    with members.open(f"{name}.npy") as file:
        return _array(file, size)


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array of an npy file of so many bytes, which must be as long as its header says."""
    read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("holds objects of Python, which are not read")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"is truncated or damaged: {size - file.tell()} bytes for {dtype} of shape {shape}")
    resources.refuse_too_large(2 * size, f"arrays of shape {shape}", ["use a smaller file"])
    flat = np.frombuffer(read_most(file, size), dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
