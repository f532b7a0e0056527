"""The folder of a training: its checkpoint, the checkpoint's digest and the log of losses; one writer at a time."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

from ...run import archive
from ...run.lock import Lock
from . import checkpoint
from .log import LOG, csv
from .state import State

__all__ = ["CHECKPOINT", "LOSSES", "Folder", "checkpoint_of", "refuse_taken"]

CHECKPOINT, LOSSES = "last.pt", "loss.csv"


def checkpoint_of(path: Any) -> str:
    """The file of a folder, or the file itself; TypeError if that is no path."""
    name = _path("path", path)
    return os.path.join(name, CHECKPOINT) if os.path.isdir(name) else name


def _path(name: str, value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise TypeError(f"{name} must be the path of a folder, got {value!r}")
    return os.path.realpath(os.fsdecode(value))


def refuse_taken(out: Any) -> None:
    """ValueError if there is a checkpoint of some steps, which a training that begins would write over."""
    path = _path("out", out)
    file = os.path.join(path, CHECKPOINT)
    if os.path.lexists(file) and not _is_of_no_step(file):
        raise ValueError(
            f"out {path} already holds a training, which would be lost: go on with it by resume=True (--resume on the "
            "command line), or name another folder"
        )


def _is_of_no_step(file: str) -> bool:
    """Whether it is a checkpoint in which nothing is trained; a file that cannot be read is somebody's."""
    try:
        return bool(checkpoint.read(file)["step"] == 0)
    except ValueError:
        return False


class Folder:
    """Where a training is kept, from now until the end of the context; with no path it is not.

    Parameters
    ----------
    out : str, path or None
        It is made if it is not there.
    resume : bool
        Whether it may hold a checkpoint.
    need : int
        Bytes of one.

    Raises
    ------
    TypeError, ValueError
        If it is no folder, or holds a checkpoint and may not.
    OSError
        If the disk has too little space.
    RuntimeError
        If somebody else trains into it.
    """

    def __init__(self, out: Any, resume: bool, need: int) -> None:
        self.path: str | None = None if out is None else _path("out", out)
        self.saved: int | None = None  # the step of the checkpoint that is there
        self._resume = resume
        self._lock: Lock | None = None
        self._lines, self._noted = [",".join(LOG.names or ()) + "\n"], 0
        if self.path is None:
            return
        self._make(out)
        self._check_space(need)
        self._lock = Lock(f"out {self.path}", self.file(CHECKPOINT))
        if not resume:
            try:
                refuse_taken(self.path)
            except BaseException:
                self._lock.release()
                raise

    def _make(self, out: Any) -> None:
        assert self.path is not None
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise ValueError(f"out must be a folder that can be made, got {out!r}: {error.strerror}") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise ValueError(f"out must be a folder that can be written to, got {out!r}")
        for name in (CHECKPOINT, f"{CHECKPOINT}.sha", LOSSES):
            archive.remove_unfinished(self.file(name))

    def _check_space(self, need: int) -> None:
        """A new checkpoint is whole before the old one goes."""
        assert self.path is not None
        free = shutil.disk_usage(self.path).free
        if free < 2 * need:
            raise OSError(
                errno.ENOSPC,
                f"out {self.path} has {free / 1e6:,.0f} MB of space left, and two checkpoints take "
                f"{2 * need / 1e6:,.0f} MB",
            )

    def file(self, name: str) -> str:
        """One of its files."""
        assert self.path is not None
        return os.path.join(self.path, name)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def read(self, device: Any) -> dict[str, Any] | None:
        """The checkpoint to go on with, if there is one."""
        if self.path is None or not self._resume or not os.path.lexists(self.file(CHECKPOINT)):
            return None
        return checkpoint.read(self.file(CHECKPOINT), device)

    def save(self, state: State, config: dict[str, Any]) -> None:
        """Write the log of losses, then the checkpoint."""
        state.log.settle()  # which refuses what is not finite
        if self.path is None:
            return
        self._lines.append(csv(state.log.rows[self._noted :]))
        self._noted = len(state.log.rows)
        with archive.replacing(self.file(LOSSES)) as file:
            file.writelines(lines.encode() for lines in self._lines)
        checkpoint.write(self.file(CHECKPOINT), state.content() | {"config": config})
        self.saved = state.step

    def kept(self) -> str:
        """What is there, in words."""
        return "" if self.saved is None else f"; the checkpoint of step {self.saved} in {self.path} is as it was"
