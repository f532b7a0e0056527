"""Ctrl-C between steps: whoever trains stops where all that it has agrees."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupts", "between_steps"]


class Interrupts:
    """Whether Ctrl-C was pressed; pressed again it does not wait for the end of the step."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: Any) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True


@contextmanager
def between_steps() -> Iterator[Interrupts]:
    """Note Ctrl-C instead of raising it, in the main thread and where the user has no handler of his own."""
    found = Interrupts()
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield found
        return
    try:
        signal.signal(signal.SIGINT, found)
    except ValueError:  # not the main thread, where it is not raised
        yield found
        return
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
