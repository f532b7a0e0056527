"""One writer at a time: a lock on a file that stands beside the one that is written, whose name changes hands.

The lock is the operating system's and ends with the process that has it, however that ends; the file beside it, which
says who that is, goes away with the lock, or with the next one where it was left behind. Where a file system has no
locks there are none.
"""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import suppress
from io import FileIO

from .archive import host

#: Files by which this process holds locks.
_held: weakref.WeakSet[FileIO] = weakref.WeakSet()


#: How often a lock is tried whose file is removed meanwhile.
_TRIES = 100


def _let_go() -> None:
    """In a forked child: a lock ends when all processes that have its file open are gone, and workers may stay."""
    for file in list(_held):
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class LockedError(RuntimeError):
    """A file is in use by somebody else."""


class Lock:
    """The lock of a file that is to be written, from now until `release`; LockedError where somebody else has it."""

    def __init__(self, what: str, path: str) -> None:
        self.path, self._file = f"{path}.lock", self._locked(what, f"{path}.lock")

    @staticmethod
    def _locked(what: str, path: str) -> FileIO | None:
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            return None
        for _ in range(_TRIES):
            file = _open(path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = file.read(200).decode(errors="replace")
                file.close()
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    os.unlink(path)
                    return None
                raise LockedError(f"{what} is in use by {owner or 'another process'}, which has not ended") from None
            if _is_there(file, path):
                file.truncate()
                file.write(f"process {os.getpid()} of {host()}".encode())
                _held.add(file)
                return file
            file.close()  # who had it before has removed it meanwhile
        return None

    def release(self) -> None:
        """Let others have it."""
        file, self._file = self._file, None
        if file is not None and not file.closed:
            with suppress(OSError):
                os.unlink(self.path)
            _held.discard(file)
            file.close()


def _open(path: str) -> FileIO:
    return FileIO(os.open(path, os.O_CREAT | os.O_RDWR, 0o666), "r+")


def _is_there(file: FileIO, path: str) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
