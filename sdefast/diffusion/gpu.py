"""Rows on samples that lie on a GPU: what `kernel` calls there, if numba-cuda and the card are there."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import cuda
from .arrays import NUMPY

if TYPE_CHECKING:
    from .cuda.card import Card

__all__ = ["apply", "noise_into", "squares"]


def apply(
    row: np.ndarray, state: Any, output: Any, code: int, out: Any, h1: Any, h2: Any, kept: Any, noisy: bool,
    given: Any, keys: Any, key: Any,
) -> int:  # fmt: skip
    """The first sample whose output is not finite, or -1; arguments are those of `kernel.apply`."""
    return _card_of(state).apply(row, state, output, code, out, h1, h2, kept, noisy, given, keys, key)


def noise_into(row: np.ndarray, state: Any, keys: Any, key: Any) -> None:
    """The row's s times normal noise in place of the samples."""
    _card_of(state).noise_into(row, state, keys, key)


def squares(state: Any) -> np.ndarray:
    """The sum of squares of each sample, float64, added in the order of the CPU."""
    return _card_of(state).squares(state)


def _card_of(state: Any) -> Card:
    """The card that holds the samples."""
    if state.library is NUMPY:  # the simulator's, whose memory is the host's
        return _card(0)
    place = state.x.device
    if place.type not in ("cpu", "cuda"):
        raise ValueError(f"x must be on a CPU or on a GPU of CUDA, got device {place}")
    return _card(place.index or 0)


@lru_cache(maxsize=64)
def _card(number: int) -> Card:
    device = cuda.find(f"cuda:{number}")  # which says what is missing
    from .cuda.card import Card

    return Card(device)
