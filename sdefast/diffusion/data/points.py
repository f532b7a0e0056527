r"""Points in the plane, and mixtures in any dimension, drawn by number: point i is a function of (seed, i) alone.

So a longer list of points begins with the shorter one of the same seed, and ``first_point`` continues it. Coordinates
are of the order of 1, as networks like them, and centred at 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks, noise
from ..seeds import DATA, apart

__all__ = ["checkerboard", "mixture", "rings", "swiss_roll", "two_moons"]


class _Draws:
    """Uniform and normal numbers of n points."""

    def __init__(self, n: Any, seed: Any, first_point: Any) -> None:
        self.n, seed = checks.count("n", n), checks.seed("seed", seed)
        self.first = checks.count("first_point", first_point, least=0, most=2**48)
        self.seed = apart(seed, DATA)

    def uniforms(self, each: int) -> np.ndarray:
        """Of shape (each, n)."""
        return noise.uniforms(self.seed, each, self.n, first_chain=self.first)

    def normals(self, each: int) -> np.ndarray:
        """Of shape (each, n)."""
        return noise.normals(self.seed, each, self.n, first_chain=self.first)

    def around(self, x: Any, y: Any, sd: Any) -> np.ndarray:
        """Points about given ones, of standard deviation ``sd``, as float32 (n, 2)."""
        sd = checks.real("sd", sd, least=0)
        points = np.stack([x, y], axis=1)
        return (points + sd * self.normals(2).T if sd else points).astype(np.float32)


def swiss_roll(n: int = 10_000, seed: int = 0, *, sd: float = 0.05, first_point: int = 0) -> np.ndarray:
    r"""A spiral of one and a half turns, the swiss roll of the score-matching lectures seen from its end.

    :math:`(t \cos t, t \sin t)` with t uniform on :math:`[3\pi/2, 9\pi/2]`, less its mean :math:`(2, 2/3\pi)`, over
    :math:`\pi\sqrt{9.75/2} = 6.94`: the coordinates have nearly unit variance. (Marsland's "Machine Learning", 2009,
    section 6.5, has it in three dimensions.)

    Parameters
    ----------
    n, seed : int
        How many points, of which seed.
    sd : float
        Standard deviation of normal noise that is added.
    first_point : int
        Number of the first point.

    Returns
    -------
    ndarray of float32, of shape (n, 2)

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> (data.swiss_roll(1000)[:10] == data.swiss_roll(10)).all()
    np.True_
    """
    draws = _Draws(n, seed, first_point)
    t = np.pi * (1.5 + 3 * draws.uniforms(1)[0])
    scale = np.pi * np.sqrt(9.75 / 2)
    return draws.around((t * np.cos(t) - 2) / scale, (t * np.sin(t) - 2 / (3 * np.pi)) / scale, sd)


def two_moons(n: int = 10_000, seed: int = 0, *, sd: float = 0.05, first_point: int = 0) -> np.ndarray:
    r"""Two interleaved half circles of radius 1 about (-1/2, -1/4) and (1/2, 1/4), arguments as for `swiss_roll`.

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> data.two_moons(100, seed=1).shape
    (100, 2)
    """
    return labelled_moons(n, seed, sd=sd, first_point=first_point)[0]


def labelled_moons(n: int, seed: int = 0, *, sd: float = 0.05, first_point: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points, and 0 for those of the upper moon, 1 for the lower."""
    draws = _Draws(n, seed, first_point)
    which, angle = draws.uniforms(2)
    label = (which >= 0.5).astype(np.int64)
    side = 1 - 2 * label
    x, y = side * (np.cos(np.pi * angle) - 0.5), side * (np.sin(np.pi * angle) - 0.25)
    return draws.around(x, y, sd), label


def rings(
    n: int = 10_000, seed: int = 0, *, radii: Any = (0.5, 1.0, 1.5), sd: float = 0.03, first_point: int = 0
) -> np.ndarray:
    """Circles about 0 of these radii, equally likely, the angle uniform; other arguments as for `swiss_roll`.

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> points = data.rings(100, radii=[1.0, 2.0], sd=0)
    >>> sorted(set((points**2).sum(axis=1).round(3).tolist()))
    [1.0, 4.0]
    """
    return labelled_rings(n, seed, radii=radii, sd=sd, first_point=first_point)[0]


def labelled_rings(
    n: int, seed: int = 0, *, radii: Any = (0.5, 1.0, 1.5), sd: float = 0.03, first_point: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Points, and the index of the radius of each."""
    draws, radii = _Draws(n, seed, first_point), checks.array("radii", radii, shape=(None,))
    if not len(radii) or (radii <= 0).any():
        raise ValueError(f"radii must be positive, and at least one, got {radii!r}")
    which, angle = draws.uniforms(2)
    label = np.minimum((which * len(radii)).astype(np.int64), len(radii) - 1)
    r, angle = radii[label], 2 * np.pi * angle
    return draws.around(r * np.cos(angle), r * np.sin(angle), sd), label


#: Means of the default mixture: eight on a circle.
CIRCLE = 1.5 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def mixture(
    n: int = 10_000,
    seed: int = 0,
    *,
    means: Any = CIRCLE,
    weights: Any = None,
    sd: Any = 0.1,
    first_point: int = 0,
) -> np.ndarray:
    """Draws of a mixture of round Gaussians, by default eight on a circle of radius 1.5.

    Parameters
    ----------
    n, seed, first_point : int
        How many points, of which seed, and the number of the first.
    means : array_like of shape (k, d)
        In any dimension.
    weights : array_like of shape (k,), optional
        Not negative, adding up to 1; equal ones by default.
    sd : float or array_like of shape (k,)
        Standard deviation of every coordinate about its mean, for all components or one each.

    Returns
    -------
    ndarray of float32, of shape (n, d)

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> points = data.mixture(1000, means=[[-4.0], [4.0]], weights=[0.2, 0.8], sd=0.3)
    >>> points.shape
    (1000, 1)
    """
    return labelled_mixture(n, seed, means=means, weights=weights, sd=sd, first_point=first_point)[0]


def labelled_mixture(
    n: int, seed: int = 0, *, means: Any = CIRCLE, weights: Any = None, sd: Any = 0.1, first_point: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Points, and the index of the component of each."""
    draws, means = _Draws(n, seed, first_point), checks.array("means", means, shape=(None, None))
    k, d = means.shape
    if not means.size:
        raise ValueError(f"means must hold at least one point, got shape {means.shape}")
    deviations = checks.array("sd", sd)
    if deviations.shape not in ((), (k,)) or (deviations < 0).any():
        raise ValueError(f"sd must be one number or {k}, none negative, got {sd!r}")
    ends = np.cumsum(_checked_weights(weights, k))
    # (the last end may be 1 less a rounding error)
    label = np.searchsorted(ends[:-1], draws.uniforms(1)[0], side="right")
    scale = np.broadcast_to(deviations, (k,))[label]
    return (means[label] + (scale * draws.normals(d)).T).astype(np.float32), label


def _checked_weights(weights: Any, k: int) -> np.ndarray:
    if weights is None:
        return np.full(k, 1 / k)
    found = checks.array("weights", weights, shape=(k,))
    if (found < 0).any() or abs(found.sum() - 1) > 1e-6:
        raise ValueError(f"weights must not be negative and add up to 1, got {weights!r}")
    return np.asarray(found / found.sum())


def checkerboard(n: int = 10_000, seed: int = 0, *, cells: int = 4, first_point: int = 0) -> np.ndarray:
    """Uniform on every other cell of a board with so many cells a side, which fills [-2, 2]^2.

    Parameters
    ----------
    n, seed, first_point : int
        As for `swiss_roll`.
    cells : int
        Even. The cell in the corner (-2, -2) is one of those that hold points.

    Examples
    --------
    >>> from sdefast.diffusion import data
    >>> x, y = data.checkerboard(100).T
    >>> set(((x + 2) // 1 + (y + 2) // 1) % 2)
    {np.float32(0.0)}
    """
    draws, cells = _Draws(n, seed, first_point), checks.count("cells", cells, least=2, most=2**16)
    if cells % 2:
        raise ValueError(f"cells must be even, got {cells}")
    across, up = draws.uniforms(2)
    across *= cells
    up *= cells / 2
    row = 2 * np.floor(up) + np.floor(across) % 2
    points = np.stack([across, row + up % 1], axis=1)
    return (points * (4 / cells) - 2).astype(np.float32)
