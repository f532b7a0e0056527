"""Files of arrays in the idx format, those of MNIST: a magic number, the lengths of the axes, and bytes.

The magic number is two zero bytes, the type of the entries (8 for unsigned bytes) and the number of axes; lengths are
big-endian and of four bytes. (Y. LeCun, C. Cortes, C. J. C. Burges: "The MNIST database", "File formats".)
"""

from __future__ import annotations

import gzip
import math
import struct
from typing import IO

import numpy as np

from ... import resources
from .files import naming, read_most, refuse_inflation

_UNSIGNED_BYTE = 8


def read(path: str, axes: int) -> np.ndarray:
    """The uint8 array of a file with so many axes, gzipped if its name ends in ``.gz``.

    Raises
    ------
    ValueError
        That names the file and what is wrong with it. Nothing is allocated before the file is known to be able to hold
        what it says.
    """
    with naming(path), _opened(path) as file:
        shape = _shape(file, axes)
        size = math.prod(shape)
        refuse_inflation(path, size)
        # (for the bytes and what becomes of them in float32)
        resources.refuse_too_large(5 * size, f"{path}: {_words(shape)} numbers", ["use a smaller file"])
        content = read_most(file, size)
        if len(content) < size:
            raise ValueError(
                f"is truncated: {len(content)} bytes of data where its header says {_words(shape)} = {size}"
            )
        if file.read(1):
            raise ValueError(f"is longer than its header says, {_words(shape)} = {size} bytes of data")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(file: IO[bytes], axes: int) -> tuple[int, ...]:
    """Lengths of the axes, from the header."""
    magic = file.read(4)
    wanted = bytes((0, 0, _UNSIGNED_BYTE, axes))
    if magic != wanted:
        what = f"begins with {magic.hex(' ')}" if magic else "is empty"
        raise ValueError(
            f"{what}: not an idx file of unsigned bytes with {axes} axes, which begins with {wanted.hex(' ')}"
        )
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError("is truncated in its header")
    shape = struct.unpack(f">{axes}I", lengths)
    if 0 in shape:
        raise ValueError(f"holds nothing: its axes have the lengths {_words(shape)}")
    return shape


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _opened(path: str) -> IO[bytes]:
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")  # type: ignore[return-value]
