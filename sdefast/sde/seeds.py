"""Seeds that are derived from a user's."""

from __future__ import annotations

import hashlib


def derived_seed(seed: int, *labels: str | int) -> int:
    """A seed for other noise than the simulation's; it meets any given seed with probability 2**-64."""
    return int.from_bytes(hashlib.blake2b(repr((seed, *labels)).encode(), digest_size=8).digest(), "little")
