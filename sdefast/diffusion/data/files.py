"""What readers of files have in common: errors that name the file, and sizes that cannot be."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["naming", "read_most", "refuse_inflation"]

#: Bytes that deflate can make of one, at most.
_MOST_INFLATION = 1032

_PIECE = 2**24

#: What is raised of files that are damaged or something else, besides ValueError.
_DAMAGE = (OSError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """ValueError or TypeError that begins with the path, whatever readers raise."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        raise type(error)(text if text.startswith(path) else f"{path} {text}") from None
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged, truncated or no such file: {error}") from None


def refuse_inflation(path: str, size: int) -> None:
    """ValueError if a compressed file says that it holds more bytes than one of its size can."""
    if size > _MOST_INFLATION * os.path.getsize(path):
        raise ValueError(f"says that it holds {size} bytes, more than its size allows: truncated or damaged")


def read_most(file: IO[bytes], size: int) -> bytes:
    """As many bytes, or those that there are: memory is taken for what is read, not for what was asked for."""
    pieces = []
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
