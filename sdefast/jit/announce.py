"""A word where something takes longer than a user expects, on stderr by `logging`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger("sdefast")

#: Seconds after which it is said of a long source, and of a short one, which only a busy machine compiles so slowly.
SOON, LATE = 1.0, 8.0

#: Lines of a source that is long, and of one that is long because sums are written out.
_LONG, _WRITTEN_OUT = 300, 1500


@contextmanager
def announced(source: str) -> Iterator[None]:
    """A line (logger "sdefast", level WARNING) if it takes long to compile a source here."""
    n = source.count("\n")
    timer = threading.Timer(SOON if n >= _LONG else LATE, _log.warning, [said_of(n)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def said_of(n: int) -> str:
    """What to say of the compilation of so many lines."""
    said = f"compiling a kernel of about {n:,} operations, which is then kept: this may take a while"
    slow = (
        "; what compiles fast, as loops: sums over the rows of a table by sdefast.math.sum, and components of the "
        "state that are alike, or sums of terms that are: the same but for the components and numbers that they take"
    )
    return said + (slow if n >= _WRITTEN_OUT else "")
