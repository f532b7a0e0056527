"""Checkpoints: one file with all of a training, written whole or not at all, which runs no code when it is read.

The file is torch's (``torch.load(file, weights_only=True)``): ``model``, ``ema``, ``optimizer``, ``log``, the counters
``step`` and ``ema_counter``, and ``config``, from which network and objective are built again. It carries a digest of
its content, which stands in a file beside it too: equal trainings have equal digests, torch's archives differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ...noise import STREAM_VERSION
from ...run import archive, compare, files
from ..tensors import torch

__all__ = ["FORMAT", "KIND", "of_another_network", "read", "write"]

#: Version of the files.
FORMAT = 1

KIND = "sdefast diffusion training"

#: What a file has, besides what says that it is one.
_PARTS = ("step", "model", "ema", "ema_counter", "optimizer", "log", "config")


def write(path: str, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, and beside it its digest; the one before stays until the new one is whole.

    Raises OSError, which names the file, if that fails: nothing of it is left then.
    """
    whole = {"kind": KIND, "format": FORMAT, "version": files.library_version(), "stream_version": STREAM_VERSION}
    whole |= content
    whole["digest"] = _digest(whole)
    beside = f"{path}.sha"
    with suppress(FileNotFoundError):  # whoever is killed between the two leaves none, not that of another
        os.unlink(beside)
    try:
        with archive.replacing(path) as file:
            torch.save(whole, file)
    except (OSError, RuntimeError) as error:  # torch's writer has an error of its own
        before = "the one before it is still there" if os.path.exists(path) else "there is none"
        reason = getattr(error, "strerror", None) or str(error)
        what = f"checkpoint {path} could not be written, {before}: {reason}"
        raise OSError(getattr(error, "errno", None), what) from error
    with archive.replacing(beside) as file:
        file.write(f"{whole['digest']}\n".encode())


def read(path: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a checkpoint holds, checked.

    Raises FileNotFoundError if there is none, ValueError, which names the file, if it is another file, damaged, or was
    written in another format.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a dozen kinds, of what is truncated or something else
        raise ValueError(f"{path} is damaged, or no checkpoint: {_first_line(error)}") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise ValueError(f"{path} is another file, not a checkpoint of sdefast.diffusion.train")
    if found.get("format") != FORMAT:
        made = f"sdefast {found.get('version')} in format {found.get('format')}"
        raise ValueError(
            f"{path} was written by {made}; this is sdefast {files.library_version()}, which reads format {FORMAT}"
        )
    missing = [name for name in _PARTS if name not in found]
    if missing or found.pop("digest", None) != _digest(found):
        raise ValueError(f"{path} is damaged: {f'it has no {missing[0]}' if missing else 'its digest is another'}")
    return found


@contextmanager
def of_another_network(path: str) -> Iterator[None]:
    """ValueError that names the file, for what torch says of weights that do not fit."""
    try:
        yield
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{path} is of another network: {' '.join(str(error).split())[:300]}") from error


def _digest(content: Mapping[str, Any]) -> str:
    return compare.digest(_plain({name: part for name, part in content.items() if name != "digest"}))


def _plain(value: Any) -> Any:
    """Tensors as arrays, dictionaries as lists of pairs in the order of their keys."""
    if isinstance(value, torch.Tensor):
        return np.ascontiguousarray(value.detach().cpu().numpy())
    if isinstance(value, Mapping):
        return [(str(name), _plain(value[name])) for name in sorted(value, key=str)]
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
