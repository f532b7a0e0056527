"""Values in files: what `records.write` takes, in an archive of arrays with a header in JSON."""

from __future__ import annotations

import os
from typing import Any

from .. import checks, resources
from ..noise import STREAM_VERSION
from . import records

#: Version of the files: those of later ones are refused, those of earlier ones are read.
FORMAT = 1


def write(path: Any, kind: str, value: Any) -> None:
    """Write a value that `records.write` takes; a file that is there is replaced once the new one is whole.

    ``kind`` says what the file is, for `read`. Raises TypeError if ``path`` is no path, FileNotFoundError if its folder
    is not there, ValueError if it is a folder itself.
    """
    from . import archive

    target = os.path.realpath(_checked(path))
    if os.path.isdir(target):
        raise ValueError(f"path must be that of a file, and {path} is a folder")
    if not os.path.isdir(os.path.dirname(target)):
        raise FileNotFoundError(f"path must lie in a folder that is there, and {os.path.dirname(target)} is none")
    record, arrays = records.write(value)
    header = {
        "format": FORMAT,
        "kind": kind,
        "sdefast": library_version(),
        "stream_version": STREAM_VERSION,
        kind: record,
    }
    archive.write(target, header, arrays)


def read(path: Any, kind: str) -> Any:
    """The value that was written with this ``kind``.

    Raises TypeError if ``path`` is no path, FileNotFoundError if there is nothing, ValueError if it is no such file, is
    damaged, or was written in a later format.
    """
    name = _checked(path)
    if os.path.isdir(name):
        raise ValueError(f"path must be that of a file, and {path} is a folder")
    header, arrays = _read(name, path, kind)
    try:
        return records.read(header[kind], arrays)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read, {error}: it is damaged, or was written by another version of sdefast, "
            f"{header.get('sdefast')}, than this, {library_version()}"
        ) from error


def _read(name: str, path: Any, kind: str) -> tuple[dict[str, Any], records.Arrays]:
    """Header and arrays of a file, whose sums are checked as it is read."""
    from .archive import Archive

    other = f"{path} is damaged, or no file that save of a result wrote"
    try:
        file = Archive(name)
    except ValueError as error:
        raise ValueError(f"{other}: {error}") from error
    try:
        header = file.header
        if not isinstance(header.get("format"), int):
            raise ValueError(f"{other}: its header has no format")
        if header["format"] > FORMAT:
            by = f"which sdefast {header.get('sdefast')} wrote; sdefast {library_version()} reads up to {FORMAT}"
            raise ValueError(f"{path} has format {header['format']}, {by}: a later version is needed")
        if header.get("kind") != kind:
            raise ValueError(f"{path} holds a {header.get('kind')}, not a {kind}")
        resources.refuse_too_large(file.size, f"the arrays in {path}", ["read it where there is more memory"])
        try:
            return header, {array: file.array(array) for array in file.arrays}
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    finally:
        file.close()


def library_version() -> str:
    """Of this library."""
    from importlib import metadata

    return metadata.version("sdefast")


def _checked(path: Any) -> str:
    try:
        name = os.fspath(path)
    except TypeError:
        name = None
    if not isinstance(name, str) or not name or "\0" in name:
        raise TypeError(f"path must be the name of a file, got {checks.shown(path)}")
    return name
