"""Data by name, from a folder, from a file, or as an array."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from . import points
from .arrays import checked, read_array
from .images import SPLITS, digits, held_out, mnist

__all__ = ["NAMES", "halves", "load"]

#: Number of the first point of those that are kept for judging.
_FIRST_TEST_POINT = 2**40

Labelled = tuple[np.ndarray, np.ndarray | None]


def _without_labels(generator: Callable[..., np.ndarray]) -> Callable[..., Labelled]:
    return lambda *arguments, **options: (generator(*arguments, **options), None)


_POINTS: dict[str, Callable[..., Labelled]] = {
    "swiss-roll": _without_labels(points.swiss_roll),
    "two-moons": points.labelled_moons,
    "rings": points.labelled_rings,
    "mixture": points.labelled_mixture,
    "checkerboard": _without_labels(points.checkerboard),
}

#: Data that come by name.
NAMES = ("digits", *_POINTS)


def load(what: Any = "digits", split: str = "train", *, n: int = 10_000, seed: int = 0) -> Labelled:
    """Samples, and labels or None.

    Parameters
    ----------
    what : str, path or array
        A name of `NAMES`; a folder with MNIST's files; a file ``.npy`` or ``.npz``; or an array, which is checked.
    split : {"train", "test"}
        What is trained on, or what is kept for judging: of digits and of folders, which have both. Points of a name are
        others for each. A file or an array is what it is, and is returned whole for both.
    n, seed : int
        How many points of a name, and of which seed; unused otherwise.

    Returns
    -------
    samples : ndarray of float32, of shape (n, channels, height, width) or (n, d)
    labels : ndarray of int64, of shape (n,), or None

    Raises
    ------
    ValueError, TypeError
        If there is no such name, folder or file, or something is wrong with what is in it: the file is named.

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> x, labels = data.load("swiss-roll", n=500)
    >>> x.shape, labels
    ((500, 2), None)
    """
    split = checks.choice("split", split, SPLITS)
    if not isinstance(what, (str, os.PathLike)):
        return checked("data", what), None
    if what == "digits":
        return digits(split)
    if isinstance(what, str) and what in _POINTS:
        return _POINTS[what](n, seed, first_point=_FIRST_TEST_POINT if split == "test" else 0)
    return _from_disk(os.fspath(what), split)


def _from_disk(path: str, split: str) -> Labelled:
    if os.path.isdir(path):
        return mnist(path, split)
    if path.endswith((".npy", ".npz")) and os.path.isfile(path):
        return read_array(path)
    raise ValueError(
        f"data must be one of {', '.join(NAMES)}, a folder with MNIST's files, or a file .npy or .npz, "
        f"got {path!r}" + ("" if os.path.exists(path) else ", which does not exist")
    )


def halves(x: np.ndarray, labels: np.ndarray | None) -> tuple[Labelled, Labelled]:
    """Two halves of data that come without a split, chosen at random and always the same.

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import data
    >>> (train, _), (test, _) = data.halves(np.arange(6.0)[:, None], None)
    >>> len(train), len(test)
    (3, 3)
    """
    chosen = held_out(len(x), 0.5)
    parts = [(x[part], None if labels is None else labels[part]) for part in (~chosen, chosen)]
    return parts[0], parts[1]
