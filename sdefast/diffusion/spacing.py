"""Which of the timesteps that a model was trained on a sampler visits, in integers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import checks

__all__ = ["SPACINGS", "timesteps"]


def _leading(n_train: int, n_steps: int) -> list[int]:
    """Multiples of n_train // n_steps from 0 on."""
    return [i * (n_train // n_steps) for i in reversed(range(n_steps))]


def _trailing(n_train: int, n_steps: int) -> list[int]:
    """From the last one on, n_train / n_steps apart."""
    return [_rounded(i * n_train, n_steps) - 1 for i in range(n_steps, 0, -1)]


def _linspace(n_train: int, n_steps: int) -> list[int]:
    """From the last to 0, both among them; one alone is the last."""
    if n_steps == 1:
        return [n_train - 1]
    return [_rounded(i * (n_train - 1), n_steps - 1) for i in reversed(range(n_steps))]


def _rounded(above: int, below: int) -> int:
    """The integer nearest to above / below, the even one of two, as numpy rounds."""
    whole, rest = divmod(above, below)
    return whole + (2 * rest > below or (2 * rest == below and whole % 2 == 1))


SPACINGS: dict[str, Callable[[int, int], list[int]]] = {
    "leading": _leading,
    "trailing": _trailing,
    "linspace": _linspace,
}


def timesteps(n_train: int, n_steps: int | None = None, spacing: str | Sequence[int] = "leading") -> np.ndarray:
    """The timesteps that a sampler visits, noisiest first, always as many as asked for and all different.

    Parameters
    ----------
    n_train : int
        How many the model was trained on: they are 0, ..., n_train - 1.
    n_steps : int, optional
        How many are visited, by default all, or all of an own list.
    spacing : {"leading", "trailing", "linspace"} or sequence of int
        ``"leading"`` are the multiples of ``n_train // n_steps`` from 0 on, ``"trailing"`` those that end with the last
        one, ``"linspace"`` both ends and evenly between them (Lin et al. 2023, table 2); or an own list, which
        decreases strictly.

    Returns
    -------
    ndarray of int64, of shape (n_steps,)

    Raises
    ------
    TypeError, ValueError
        If there are not as many, or an own list does not decrease, or leaves 0, ..., n_train - 1.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.timesteps(1000, 5, "trailing")
    array([999, 799, 599, 399, 199])
    """
    n_train = checks.count("n_train", n_train)
    if not isinstance(spacing, str):
        return _own(n_train, n_steps, spacing)
    found = SPACINGS[checks.choice("spacing", spacing, SPACINGS)]
    n_steps = n_train if n_steps is None else checks.count("n_steps", n_steps, most=n_train)
    return np.array(found(n_train, n_steps), np.int64)


def _own(n_train: int, n_steps: int | None, spacing: Any) -> np.ndarray:
    """A user's own list."""
    given = checks.array("spacing", spacing, shape=(None,))
    if (given != np.round(given)).any():
        raise ValueError(f"spacing must hold integers, got {spacing!r}")
    if not len(given):
        raise ValueError("spacing must not be empty")
    if n_steps is not None and checks.count("n_steps", n_steps) != len(given):
        raise ValueError(f"n_steps must be the length of spacing, {len(given)}, got {n_steps}")
    wrong = given[(given < 0) | (given >= n_train)]
    if len(wrong):
        raise ValueError(f"timesteps must be between 0 and {n_train - 1}, got {int(wrong[0])}")
    rising = np.flatnonzero(np.diff(given) >= 0)
    if len(rising):
        i = int(rising[0])
        raise ValueError(
            "timesteps must decrease strictly, noisiest first, "
            f"got {int(given[i])} before {int(given[i + 1])} at index {i}"
        )
    return given.astype(np.int64)
