"""Values in files: numpy's .npz, with a header in JSON beside the arrays, so that every tool opens them.

``unzip -p file header.json`` shows what was run; ``numpy.load(file)["states"]`` has the states. Nothing is pickled. A
file is there as a whole or not at all: it is written under another name first.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import resources
from ..noise import STREAM_VERSION
from . import records

if TYPE_CHECKING:
    from zipfile import ZipFile

#: Version of the files: those of later ones are refused, those of earlier ones are read.
FORMAT = 1

_HEADER = "header.json"
_ARRAY = ".npy"

#: Bytes that are read at a time.
_PIECE = 2**22


def write(path: Any, kind: str, value: Any) -> None:
    """Write a value that `records.write` takes; a file that is there is replaced once the new one is whole.

    ``kind`` says what the file is, for `read`. Raises TypeError if ``path`` is no path, FileNotFoundError if its folder
    is not there, ValueError if it is a folder itself.
    """
    target = Path(os.path.realpath(_checked(path)))
    if target.is_dir():
        raise ValueError(f"path must be that of a file, and {path} is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path must lie in a folder that is there, and {target.parent} is none")
    record, arrays = records.write(value)
    header = {
        "format": FORMAT, "kind": kind, "sdefast": _version(), "stream_version": STREAM_VERSION, kind: record,
    }  # fmt: skip
    text = json.dumps(header, allow_nan=False).encode()
    unfinished = target.with_name(f".sdefast-{secrets.token_hex(8)}.unfinished")
    try:
        with open(unfinished, "xb") as file:
            _write_archive(file, text, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _write_archive(file: IO[bytes], header: bytes, arrays: records.Arrays) -> None:
    from zipfile import ZipFile

    with ZipFile(file, "w") as archive:
        archive.writestr(_HEADER, header)
        for name, array in arrays.items():
            with archive.open(name + _ARRAY, "w", force_zip64=True) as member:
                # (numpy copies piece by piece what is not contiguous, but keeps an order of columns as it is)
                columns = array.flags.f_contiguous and not array.flags.c_contiguous
                np.lib.format.write_array(member, array.copy("C") if columns else array, allow_pickle=False)


def read(path: Any, kind: str) -> Any:
    """The value that was written with this ``kind``.

    Raises TypeError if ``path`` is no path, FileNotFoundError if there is nothing, ValueError if it is no such file, is
    damaged, or was written in a later format.
    """
    name = _checked(path)
    if os.path.isdir(name):
        raise ValueError(f"path must be that of a file, and {path} is a folder")
    with open(name, "rb") as file:
        header, arrays = _read_archive(file, path)
    if header["kind"] != kind:
        raise ValueError(f"{path} holds a {header['kind']}, not a {kind}")
    try:
        return records.read(header[kind], arrays)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read, {error}: it is damaged, or was written by another version of sdefast, "
            f"{header['sdefast']}, than this, {_version()}"
        ) from error


def _read_archive(file: IO[bytes], path: Any) -> tuple[dict[str, Any], records.Arrays]:
    """Header and arrays of a file, whose sums are checked as it is read."""
    from zipfile import ZipFile, is_zipfile

    not_ours = f"{path} is no file that save of a result wrote, or its end is missing"
    if not is_zipfile(file):
        raise ValueError(not_ours)
    size = os.fstat(file.fileno()).st_size
    try:
        with ZipFile(file) as archive:
            if _HEADER not in archive.namelist():
                raise _OtherFileError(not_ours)
            header = json.loads(archive.read(_HEADER))
            if not isinstance(header, dict) or not isinstance(header.get("format"), int):
                raise _OtherFileError(not_ours)
            if header["format"] > FORMAT:
                by = f"which sdefast {header.get('sdefast')} wrote; sdefast {_version()} reads up to {FORMAT}"
                raise _OtherFileError(f"{path} has format {header['format']}, {by}: a later version is needed")
            return header, _read_arrays(archive, size, path)
    except (_OtherFileError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error}") from error


class _OtherFileError(ValueError):
    """A file that is not damaged, but another."""


def _read_arrays(archive: ZipFile, size: int, path: Any) -> records.Arrays:
    members = [info for info in archive.infolist() if info.filename != _HEADER]
    if any(info.compress_type or info.file_size > size for info in members):
        raise ValueError("its table of contents is wrong")
    needed = sum(info.file_size for info in members)
    resources.refuse_too_large(needed, f"the arrays in {path}", ["read it where there is more memory"])
    arrays = {}
    for info in members:
        with archive.open(info) as member:
            arrays[info.filename.removesuffix(_ARRAY)] = _read_array(member, info.file_size)
    return arrays


def _read_array(member: IO[bytes], size: int) -> np.ndarray:
    """What `numpy.lib.format.read_array` reads; nothing is allocated that the ``size`` of the member does not hold."""
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError("an array has another format")
    shape, columns, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - member.tell():
        raise ValueError("an array is not as large as it says")
    array = np.empty(shape, dtype, "F" if columns else "C")
    bytes_ = array.ravel("K").view(np.uint8)
    for first in range(0, len(bytes_), _PIECE):
        piece = member.read(_PIECE)
        bytes_[first : first + len(piece)] = np.frombuffer(piece, np.uint8)
    return array


def _version() -> str:
    """Of this library."""
    from importlib.metadata import version

    return version("sdefast")


def _checked(path: Any) -> str:
    try:
        name = os.fspath(path)
    except TypeError:
        name = None
    if not isinstance(name, str) or not name or "\0" in name:
        raise TypeError(f"path must be the name of a file, got {path!r}")
    return name
