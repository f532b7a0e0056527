"""Data for diffusion models: MNIST's files, digits, points in the plane, and arrays of one's own.

Images are float32 of shape (n, channels, height, width) in [-1, 1], points float32 of shape (n, d), labels int64 of
shape (n,). Nothing is flipped, cropped or otherwise augmented: a mirrored digit is no digit.
"""

from .arrays import checked, checked_labels, read_array
from .images import SPLITS, digits, mnist
from .points import checkerboard, mixture, rings, swiss_roll, two_moons
from .sources import NAMES, halves, load

__all__ = [
    "NAMES",
    "SPLITS",
    "checked",
    "checked_labels",
    "checkerboard",
    "digits",
    "halves",
    "load",
    "mixture",
    "mnist",
    "read_array",
    "rings",
    "swiss_roll",
    "two_moons",
]
