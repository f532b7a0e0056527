"""Checkpoints: what of a call is done, in a file from which the same call goes on and gives the same bits.

A call runs one or more tiles, its parts, each by `Where.run`. The file has of every part the merged statistics, the
counts and the ranges of chains that are finished, with their states where these are kept, and of tiles on threads of
this process, or ranges on a GPU, that are in the middle what there is at the end of a chunk of steps. How a run is cut
into tiles and who runs them decides no number, so the call may go on with other threads or another executor; between
CPU and GPU the last bits of statistics differ, and those of built-in steps, so that it goes on where it began. While
the call is at work the file is its own, by a `Lock`.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import numpy as np

from .. import checks
from .archive import Archive, remove_unfinished, write
from .compare import differences, flat
from .files import library_version
from .lock import Lock
from .partly import Book, Part

#: Version of the files.
FORMAT = 2

KIND = "checkpoint"

#: A checkpoint is written when so many times what the last one took have passed, and at least so many seconds.
TIMES, SECONDS = 20.0, 1.0

_log = logging.getLogger("sdefast")


class Checkpoint:
    """A call's checkpoint, its own until the end of the context; with no path there is none, and nothing is done."""

    def __init__(self, path: str | None, call: str, device: str = "cpu") -> None:
        self.path, self.call, self.device = path, call, device
        self._file: Archive | None = None
        self._lock: Lock | None = None
        self._header: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self._parts: dict[str, Part] = {}
        self._done: dict[str, np.ndarray] = {}
        self._took, self._due, self._dirty = 0.0, time.monotonic() + SECONDS, False
        self.whole = True  # whether what is kept agrees: not in the middle of merging
        self.found = 0.0  # the part of the work that was done before

    @classmethod
    def of(cls, path: Any, call: str, on_gpu: bool) -> Checkpoint:
        """What ``checkpoint=path`` asks for in that call, and what the file has; all that can be refused is."""
        if path is None:
            return _NONE
        if isinstance(path, Cell):
            return path
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise TypeError(f"checkpoint must be the path of a file, got {checks.shown(path)}")
        where = os.path.realpath(os.fsdecode(path))
        folder = os.path.dirname(where)
        if os.path.isdir(where) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise ValueError(
                f"checkpoint must be a file in a folder that exists and can be written to, got {checks.shown(path)}"
            )
        found = cls(where, call, "cuda" if on_gpu else "cpu")
        found._lock = Lock(f"checkpoint {where}", where)
        try:
            remove_unfinished(where)
            if os.path.lexists(where):
                found._open()
        except BaseException:
            found.__exit__()
            raise
        return found

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        if self._lock is not None:
            self._lock.release()

    def _open(self) -> None:
        assert self.path is not None
        try:
            self._file = Archive(self.path)
            self._header = self._file.header
            kind, version = self._header.get("kind"), self._header.get("format")
        except ValueError as error:
            raise self._damaged(error) from error
        if kind != KIND:
            raise ValueError(f"checkpoint {self.path} is another file: it holds a {kind}, not a checkpoint")
        if version != FORMAT or self._header.get("sdefast") != library_version():
            made = f"sdefast {self._header.get('sdefast')} (format {version})"
            raise ValueError(
                f"checkpoint {self.path} was written by {made}; this is {library_version()} (format {FORMAT}), whose "
                f"numbers may be others. {_ADVICE}"
            )
        if self._header["call"] != self.call:
            raise ValueError(f"checkpoint {self.path} is of {self._header['call']}, not of {self.call}. {_ADVICE}")

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"checkpoint {self.path} is damaged, or no checkpoint: {error}. {_ADVICE}")

    @property
    def seed(self) -> int | None:
        """The seed of the call whose checkpoint there is: a call that names none goes on with it."""
        return self._header["settings"].get("seed") if self._header else None

    def belongs_to(self, settings: Any, **asked: Any) -> None:
        """ValueError if the file is of a call with other settings, or that asked for other things besides."""
        if self.path is None:
            return
        self._settings = {"device": self.device} | flat(asked) | flat(settings)
        if self._file is None:
            return
        other = differences(self._header["settings"], self._settings)
        if other:
            raise ValueError(f"checkpoint {self.path} is of another call: {other}. {_ADVICE}")
        try:
            self._done = {name: self._file.array(f"done.{name}") for name in self._header["done"]}
        except ValueError as error:
            raise self._damaged(error) from error

    # What there is ----------------------------------------------------------------------------------------------

    def part(self, name: str, book: Book | None = None) -> Part | None:
        """Who keeps a part of the call for `Where.run`, and tells ``book``, by default itself, of it."""
        if self.path is None:
            return None
        self._parts[name] = Part(self if book is None else book, name)
        return self._parts[name]

    def cells(self, n: int, **asked: Any) -> list[Cell] | None:
        """Those of the ``n`` calls that this one makes, one after the other; None if there is no file."""
        if self.path is None:
            return None
        if self._header:
            begun = len(self._header["parts"])
            _log.warning(
                "sdefast.%s goes on from checkpoint %s: %d of %d cells are there", self.call, self.path, begun, n
            )
        return [Cell(self, k, asked) for k in range(n)]

    def done(self, name: str) -> np.ndarray | None:
        """What was made of a part."""
        return self._done.get(name)

    def put(self, name: str, made: np.ndarray) -> None:
        """Keep what was made of a part instead of the part."""
        if self.path is not None:
            self._parts.pop(name, None)
            self._done[name] = made
            self.changed()
            self.write_if_due()

    def finish(self) -> None:
        """All is done: the same call again finds it."""
        if self._dirty:
            self._write()
        self._close()

    # Writing ----------------------------------------------------------------------------------------------------

    def patience(self) -> float:
        """Seconds until it is to be written."""
        return max(self._due - time.monotonic(), 0.01)

    def is_due(self) -> bool:
        """Whether it is to be written now."""
        return time.monotonic() >= self._due

    def changed(self) -> None:
        """There is more than was written."""
        self._dirty = True

    def write_if_due(self) -> None:
        """Write it if the last time was long enough ago."""
        if not self.is_due():
            return
        if self._dirty:
            self._write()
        else:
            self._due = time.monotonic() + SECONDS

    def stopped(self) -> None:
        """Something ends the call too soon: write what there is, if that is soon done."""
        if self._dirty and self.whole and self._took < 1:
            try:
                self._write()
            except OSError as error:  # (what ended the call is what the user hears of)
                _log.warning("sdefast.%s: %s", self.call, error.strerror)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self) -> None:
        assert self.path is not None
        self._close()
        self._dirty = False
        started = time.monotonic()
        header: dict[str, Any] = {
            "kind": KIND, "format": FORMAT, "sdefast": library_version(), "call": self.call, "settings": self._settings,
            "done": list(self._done), "parts": {},
        }  # fmt: skip
        arrays = {f"done.{name}": made for name, made in self._done.items()}
        for name, part in self._parts.items():
            header["parts"][name] = part.pack(arrays)
        try:
            write(self.path, header, arrays)
        except OSError as error:
            before = "the one before it is still there" if os.path.exists(self.path) else "there is none"
            what = f"checkpoint {self.path} could not be written, {before}: {error.strerror}"
            raise OSError(error.errno, what) from error
        except BaseException:
            self._dirty = True
            raise
        self._took = time.monotonic() - started
        self._due = time.monotonic() + max(SECONDS, TIMES * self._took)

    def load(self, part: Part) -> None:
        """Give a part what the file has of it."""
        record = self._header["parts"].get(part.name) if self._file is not None else None
        if self._file is None or record is None:
            return
        known = record.get("tile", {})
        other = ", ".join(name for name, digest in part.identity.items() if known.get(name) != digest)
        if other:
            raise self.of_another_call(other)
        try:
            part.unpack(record, self._file)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise self._damaged(error) from error

    def of_another_call(self, other: str) -> ValueError:
        """What is raised where the file's call has other functions or starts, of which ``other`` tells."""
        return ValueError(f"checkpoint {self.path} is of another call, with other {other}. {_ADVICE}")

    def say(self, found: float) -> None:
        """Tell the user what was found."""
        self.found = found
        done = f"{100 * found:.3g} %"
        _log.warning("sdefast.%s goes on from checkpoint %s: %s of the work is done", self.call, self.path, done)


class Cell(Checkpoint):
    """What one of the calls that a call is made of has in that call's file. They come one after the other."""

    def __init__(self, file: Checkpoint, number: int, asked: dict[str, Any]) -> None:
        super().__init__(file.path, file.call, file.device)
        self._whole_file, self._number, self._asked = file, number, asked
        self.load, self.changed, self.stopped = file.load, file.changed, file.stopped  # type: ignore[method-assign]
        self.patience, self.is_due = file.patience, file.is_due  # type: ignore[method-assign]
        self.write_if_due = file.write_if_due  # type: ignore[method-assign]

    @property
    def whole(self) -> bool:
        """Whether what the file's call keeps agrees."""
        return self._whole_file.whole

    @whole.setter
    def whole(self, agrees: bool) -> None:
        if hasattr(self, "_whole_file"):
            self._whole_file.whole = agrees

    def belongs_to(self, settings: Any, **asked: Any) -> None:
        """That of the first call stands for all: the others are known by what they run."""
        if self._number == 0:
            self._whole_file.belongs_to(settings, **asked, **self._asked)

    def part(self, name: str, book: Book | None = None) -> Part | None:
        """Who keeps a part of this one of the calls."""
        return self._whole_file.part(f"cell{self._number}.{name}", self)

    def say(self, found: float) -> None:
        """The call has told what it found."""
        self.found = found

    def finish(self) -> None:
        """The file's call goes on."""


#: That of calls that have none: it never changes.
_NONE = Checkpoint(None, "")

_ADVICE = "Remove the file to begin anew, or name another one"
