"""Compiled kernels on disk, so that a process does not compile again what another one has.

A kernel is kept as the object code that LLVM made, under a hash of all that it depends on: its source, the versions of
the compiler and of this package's own code, the processor, the compiler's settings. Loading one takes a millisecond.
The folder is that of the environment variable ``SDEFAST_CACHE_DIR`` if it is set (empty: keep
nothing), else the user's cache folder. A folder that cannot be written to is no error, only slower.

What lies there is run as native code. So the folder is made for its user alone, and nothing is taken from a folder or a
file that belongs to somebody else than this user or root, or that others may write to. The folders above need no look:
who may write to them can put another folder in this one's place, but none that passes. A link to a folder may be
followed if it is this user's or root's; a kernel must not be a link.

Some ``SDEFAST_CACHE_SIZE`` MiB (128) are kept: past that, kernels go that were not used for the longest time.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import stat
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from .objects import Loaded, is_whole

_HEADER = b"sdefast kernel 2\n"
_ENDING = ".kernel"
_UNFINISHED = ".unfinished"
_LARGEST = 2**26  # bytes of a kernel; twenty components that all act on one another have a hundredth of it
_HOUR = 3600.0


def folder() -> Path | None:
    """Where kernels are kept; None for nowhere."""
    try:
        given = os.environ.get("SDEFAST_CACHE_DIR")
        if given is not None:
            return Path(given).expanduser() if given else None
        base = _users_folder()
    except RuntimeError:  # there is no home
        return None
    return base / "sdefast" if base.is_absolute() else None


def _users_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if os.environ.get("HOME") == "":  # the root folder, for `Path.home`
        raise RuntimeError("there is no home")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return base if base.is_absolute() else Path.home() / ".cache"  # that standard ignores relative ones


def limit() -> float:
    """How many bytes are kept, up to a few kernels more."""
    given = os.environ.get("SDEFAST_CACHE_SIZE") or "128"
    try:
        size = float(given)
    except ValueError:
        size = math.nan
    if not size >= 0:
        raise ValueError(f"the environment variable SDEFAST_CACHE_SIZE is {given!r}; allowed are MiB, 0 or more")
    return size * 2**20


# What a kernel depends on ---------------------------------------------------------------------------------------------


@cache
def _surroundings() -> bytes:
    """What a kernel depends on besides its source and the compiler's settings."""
    import importlib.metadata

    import llvmlite.binding as llvm

    from .machine import processor

    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py*")))
    parts = [importlib.metadata.version("llvmlite"), str(llvm.llvm_version_info), sys.version, platform.machine()]
    parts += [llvm.get_process_triple(), *processor()]
    return hashlib.sha256("\n".join(parts).encode() + code).digest()


def _settings() -> bytes:
    """What the compiler is told by environment variables."""
    names = sorted(name for name in os.environ if name.startswith("LLVMLITE_"))
    return os.fsencode("\n".join(f"{name}={os.environ[name]}" for name in names))


def _key(program: Any) -> bytes:
    settings = hashlib.sha256(_settings()).digest()
    return hashlib.sha256(_surroundings() + settings + repr(program).encode()).hexdigest().encode()


# Whom to trust --------------------------------------------------------------------------------------------------------


def _is_ours(status: os.stat_result) -> bool:
    """Whether something belongs to this user or to root; Windows keeps each user's folder to the user."""
    return sys.platform == "win32" or status.st_uid in (0, os.geteuid())


def _is_safe(status: os.stat_result) -> bool:
    """Whether nobody but this user and root may write to it."""
    return sys.platform == "win32" or (_is_ours(status) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _is_trusted(where: Path) -> bool:
    """Whether nobody but this user and root can put files into a folder."""
    status = os.stat(where)
    if not stat.S_ISDIR(status.st_mode):
        return False
    if _is_safe(status) and _is_ours(os.lstat(where)):
        return True
    _warn(where, status.st_uid, stat.S_IMODE(status.st_mode))
    return False


@cache
def _warn(where: Path, owner: int, mode: int) -> None:
    warnings.warn(
        f"compiled kernels are neither kept in {printable(where)} nor taken from there: they are run as native code, "
        f"and others than this user can put files there (owner {owner}, mode {mode:o}). Make it yours, with mode 700, "
        "or set SDEFAST_CACHE_DIR to another folder (or to nothing: then none are kept)",
        RuntimeWarning,
        stacklevel=4,
    )


def printable(path: Path) -> str:
    """A path as text that can be printed anywhere."""
    return os.fsencode(path).decode(errors="backslashreplace")


# Loading and storing --------------------------------------------------------------------------------------------------


def load(program: Any) -> Loaded | None:
    """The kernel of a program, if it is kept."""
    limit()  # a wrong one is told at once
    where = folder()
    try:
        if where is None or not _is_trusted(where):
            return None
        key = _key(program)
        data = _read(where / (key.decode() + _ENDING))
    except OSError:
        return None
    found = _opened(data, key)
    loaded = Loaded(*found) if found else None
    return loaded if loaded and loaded.address else None


def _read(file: Path) -> bytes:
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    with open(os.open(file, os.O_RDONLY | sum(flags)), "rb") as entry:
        status = os.fstat(entry.fileno())
        if not (stat.S_ISREG(status.st_mode) and _is_safe(status) and status.st_size <= _LARGEST):
            return b""
        if time.time() - status.st_mtime > _HOUR:
            with suppress(OSError):
                os.utime(file)  # when it was used, for `_shrink`
        return entry.read()


def _closed(name: bytes, code: bytes, key: bytes) -> bytes:
    """A kernel as it is kept."""
    content = name + b"\0" + code
    return b"\0".join((_HEADER, hashlib.sha256(key + content).hexdigest().encode(), content))


def _opened(data: bytes, key: bytes) -> tuple[str, bytes] | None:
    """Name and code of a kernel that is whole and has its own place.

    Others are what an interrupted write, another version or a copy under a wrong name has left.
    """
    header, _, rest = data.partition(b"\0")
    digest, _, content = rest.partition(b"\0")
    name, _, code = content.partition(b"\0")
    if header != _HEADER or hashlib.sha256(key + content).hexdigest().encode() != digest:
        return None
    return (name.decode(), code) if name.isascii() and is_whole(code, name) else None


def store(program: Any, name: str, code: bytes) -> None:
    """Keep the object code of a kernel, a function of that name."""
    where = folder()
    if where is None or not is_whole(code, name.encode()):
        return
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_trusted(where):
            return
        key = _key(program)
        data = _closed(name.encode(), code, key)
        if _on_disk(len(data)) <= limit():
            _write(where / (key.decode() + _ENDING), data)
            if key.startswith(b"0"):  # one in sixteen: a folder of thousands takes long to read
                _shrink(where)
    except OSError:
        return


def _write(file: Path, data: bytes) -> None:
    """Write a file so that nobody ever reads half of it, and nothing is left of what fails."""
    number, name = tempfile.mkstemp(_UNFINISHED, dir=file.parent)
    try:
        with open(number, "wb") as new:
            new.write(data)
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _shrink(where: Path) -> None:
    """Remove what was not used for the longest time, to three quarters, if there is more than the limit."""
    kernels = []
    with os.scandir(where) as found:
        for entry in found:
            if entry.name.endswith((_ENDING, _UNFINISHED)):
                with suppress(FileNotFoundError):  # another process shrinks the folder too
                    status = entry.stat(follow_symlinks=False)
                    kernels.append((status.st_mtime_ns, _on_disk(status.st_size), entry.path))
    total, most = sum(size for _, size, _ in kernels), limit()
    if total <= most:
        return
    for _, size, path in sorted(kernels):
        if total <= 0.75 * most:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        total -= size


def _on_disk(size: int) -> int:
    """Bytes that a file takes, in whole pages."""
    return -(-size // 4096) * 4096
