"""Forks while other threads compile.

A child has only the thread that forked: a lock that another thread held at that moment stays locked in it for ever, and
what the lock guards half done. So the thread that forks takes the locks before, those of numba and LLVM included, and
gives them back on both sides: a fork waits until what is being compiled is compiled. Nothing is imported for that.
"""

from __future__ import annotations

import importlib
import logging  # noqa: F401  (its lock must be taken after ours, as numba does: what registers first is called last)
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from ..trace import expression, tracing

#: Held while a kernel is loaded or compiled. Reentrant: a thread that compiles may fork.
compiling = threading.RLock()

_held = threading.local()


def _locks() -> Iterator[Any]:
    """The locks, each before those that are taken under it."""
    yield tracing._tracing
    yield compiling
    if "numba" in sys.modules:
        importlib.import_module("numba")  # waits for a thread that is importing it
        yield importlib.import_module("numba.core.compiler_lock").global_compiler_lock
    if "llvmlite.binding" in sys.modules:
        yield importlib.import_module("llvmlite.binding.ffi").lib._lock


def _before() -> None:
    _held.locks = []
    for lock in _locks():
        lock.__enter__()
        _held.locks.append(lock)


def _after() -> None:
    while _held.locks:
        _held.locks.pop().__exit__(None, None, None)


def _in_child() -> None:
    _after()
    # Nothing is left half done under it: a new lock is enough.
    expression._adding = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
