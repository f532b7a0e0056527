"""Handwritten digits: MNIST from its files, and the 8 x 8 ones that come with scikit-learn."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ... import checks, noise
from . import idx

__all__ = ["SPLITS", "digits", "held_out", "mnist"]

#: What is trained on, and what is kept for judging.
SPLITS = ("train", "test")

#: How MNIST's files begin.
_PREFIX = {"train": "train", "test": "t10k"}

#: What a byte becomes: 0 is -1 and 255 is 1.
LEVELS = (np.arange(256) / 127.5 - 1).astype(np.float32)


def mnist(folder: str | os.PathLike[str], split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of MNIST, or of what is kept in files of the same names (Fashion-MNIST, KMNIST).

    Parameters
    ----------
    folder : path
        Where ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte`` lie, plain or with ``.gz``; the plain one is read where both are.
    split : {"train", "test"}
        The 60,000 images of the first, or the 10,000 of the second kind.

    Returns
    -------
    images : ndarray of float32, of shape (n, 1, height, width)
        In [-1, 1]: a byte b becomes b / 127.5 - 1.
    labels : ndarray of int64, of shape (n,)

    Raises
    ------
    ValueError
        That names the file which is missing, truncated, longer than it says or something else, or both files where
        there are not as many labels as images.

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> images, labels = data.mnist("mnist")  # doctest: +SKIP
    >>> images.shape, labels.shape  # doctest: +SKIP
    ((60000, 1, 28, 28), (60000,))
    """
    prefix = _PREFIX[checks.choice("split", split, SPLITS)]
    image_file = _found(folder, f"{prefix}-images-idx3-ubyte")
    images = idx.read(image_file, 3)
    label_file = _found(folder, f"{prefix}-labels-idx1-ubyte")
    labels = idx.read(label_file, 1)
    if len(images) != len(labels):
        raise ValueError(f"{image_file} holds {len(images)} images, {label_file} {len(labels)} labels")
    return LEVELS[images][:, None], labels.astype(np.int64)


def _found(folder: Any, name: str) -> str:
    """The path of a file, plain or gzipped."""
    paths = [os.path.join(os.fspath(folder), name + ending) for ending in ("", ".gz")]
    for path in paths:
        if os.path.isfile(path):
            return path
    raise ValueError(f"{paths[0]} is missing, and so is {os.path.basename(paths[1])}")


def digits(split: str = "train", *, pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits of 8 x 8 pixels that come with scikit-learn, from the UCI's optical recognition of digits.

    Parameters
    ----------
    split : {"train", "test"}
        Four fifths for training, or the other fifth, which a fixed permutation sets aside.
    pad : int
        Pixels of background that are added on every side.

    Returns
    -------
    images : ndarray of float32, of shape (n, 1, 8 + 2 pad, 8 + 2 pad)
        In [-1, 1]: the 17 levels v = 0, ..., 16 become v / 8 - 1.
    labels : ndarray of int64, of shape (n,)

    Raises
    ------
    ImportError
        If scikit-learn is missing.

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> images, labels = data.digits()
    >>> images.shape, data.digits("test", pad=4)[0].shape
    ((1438, 1, 8, 8), (359, 1, 16, 16))
    """
    split, pad = checks.choice("split", split, SPLITS), checks.count("pad", pad, least=0, most=1024)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("digits come with scikit-learn: pip install 'sdefast[diffusion]'") from error
    bunch = load_digits()
    chosen = held_out(len(bunch.target), 0.2) == (split == "test")
    images = (bunch.images[chosen] / 8 - 1).astype(np.float32)[:, None]
    sides = ((0, 0), (0, 0), (pad, pad), (pad, pad))
    return np.pad(images, sides, constant_values=-1), bunch.target[chosen].astype(np.int64)


def held_out(n: int, share: float) -> np.ndarray:
    """Which of n samples are set aside: always the same ones, chosen at random."""
    order = np.argsort(noise.uniforms(0, 1, n)[0], kind="stable")
    mask = np.zeros(n, bool)
    mask[order[: int(n * share)]] = True
    return mask
