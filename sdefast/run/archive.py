"""Files of arrays with a header in JSON, in numpy's format (npz): written whole or not at all, read piece by piece.

``unzip -p file header.json`` shows the header, ``numpy.load(file)`` has the arrays. Nothing is pickled, and what is
read runs no code. (What reads and writes them is imported when it is needed.)
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

if TYPE_CHECKING:
    from zipfile import ZipFile

#: Bytes at a time, which are copied.
_PIECE = 2**24


def write(path: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file, as `replacing` does."""
    import json
    from zipfile import ZipFile

    with replacing(path) as file, ZipFile(file, "w") as members:
        members.writestr("header.json", json.dumps(header))
        for name, array in arrays.items():
            _write_array(members, name, array)


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of the one before when it is whole and on the disk.

    Where that fails nothing is left of it.
    """
    temporary = f"{path}.{_writer()}.{os.urandom(4).hex()}.tmp"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync(os.path.dirname(path))


def _writer() -> str:
    """This process, in the names of its temporary files."""
    return f"{host()}.{os.getpid()}"


def host() -> str:
    """This machine's name."""
    import socket

    return socket.gethostname()


def remove_unfinished(path: str) -> None:
    """Remove what processes of this machine that are no more have left of writing a file."""
    folder, name = os.path.split(path)
    begins = f"{name}.{host()}."
    for entry in os.listdir(folder):
        pid, _, rest = entry.removeprefix(begins).partition(".")
        if entry.startswith(begins) and rest.endswith(".tmp") and pid.isdigit() and not _is_alive(int(pid)):
            with suppress(OSError):
                os.unlink(os.path.join(folder, entry))


def _is_alive(pid: int) -> bool:
    if os.name != "posix":
        return True  # asking for it there would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync(folder: str) -> None:
    """Make the new name of a file last."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _write_array(members: ZipFile, name: str, array: np.ndarray) -> None:
    described = {"descr": npy.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    with members.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy.write_array_header_1_0(member, described)
        for piece in pieces(array):
            member.write(piece.tobytes())


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views of an array's parts in the order of its entries, of 16 MiB at most."""
    if array.nbytes <= _PIECE:
        yield array
        return
    length = _PIECE * len(array) // array.nbytes
    if length == 0:
        for part in array:
            yield from pieces(part)
        return
    for first in range(0, len(array), length):
        yield array[first : first + length]


@contextmanager
def _telling_damage() -> Iterator[None]:
    """ValueError for what numpy, zipfile and json raise of files that are damaged or something else: a dozen kinds."""
    try:
        yield
    except (MemoryError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{error}") from error


class Archive:
    """A file to read; ValueError, of any kind of damage too, where it is none."""

    def __init__(self, path: str) -> None:
        import json
        from zipfile import ZipFile

        with _telling_damage():
            self._members = ZipFile(path)
            self._check_sizes(os.path.getsize(path))
            self.header = json.loads(self._members.read("header.json"))
            if not isinstance(self.header, dict):
                raise ValueError("its header is no dictionary")

    def _check_sizes(self, size: int) -> None:
        """ValueError where a member says that it is larger than the file, or compressed, which none is."""
        if any(member.compress_type or member.file_size > size for member in self._members.infolist()):
            raise ValueError("its table of contents is wrong")

    def close(self) -> None:
        """Read no more."""
        self._members.close()

    @property
    def arrays(self) -> list[str]:
        """The names of the arrays."""
        names = self._members.namelist()
        return [name.removesuffix(".npy") for name in names if name != "header.json"]

    @property
    def size(self) -> int:
        """Bytes that all members take together."""
        return sum(member.file_size for member in self._members.infolist())

    def array(self, name: str) -> np.ndarray:
        """An array."""
        shape, dtype = self._described(name)
        out = np.empty(shape, dtype)
        self.into(name, out)
        return out

    def _described(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        with _telling_damage(), self._members.open(f"{name}.npy") as member:
            return self._begin(name, member)

    def _begin(self, name: str, member: Any) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, of which the entries follow, as many as there are."""
        npy.read_magic(member)
        shape, fortran, dtype = npy.read_array_header_1_0(member)
        if fortran or dtype.hasobject:
            raise ValueError("an array is not in the order, or of the types, that are written")
        size = self._members.getinfo(f"{name}.npy").file_size - member.tell()
        if math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name} is not as large as it says")
        return shape, dtype

    def into(self, name: str, out: np.ndarray) -> None:
        """Read an array into one of its shape and type, which need not be contiguous."""
        with _telling_damage(), self._members.open(f"{name}.npy") as member:
            if self._begin(name, member) != (out.shape, out.dtype):
                raise ValueError(f"{name} is not of shape {out.shape} and type {out.dtype}")
            for piece in pieces(out):
                piece[...] = np.frombuffer(member.read(piece.nbytes), out.dtype).reshape(piece.shape)
            if member.read(1):  # (the end has the checksum, too)
                raise ValueError(f"{name} is longer than it says")
