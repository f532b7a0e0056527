"""A bent Gaussian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, noise
from ...lazy import cached_property
from ...trace import symbol
from .base import FIRST_START_DRAW, BaseTarget, put
from .density import Vector


@dataclass(frozen=True, eq=False, repr=False)
class Banana(BaseTarget):
    r"""A Gaussian bent along a parabola.

    .. math:: x_0 \sim N(0, s^2), \qquad x_1 \mid x_0 \sim N(c\,(x_0^2 - s^2), t^2)

    Parameters
    ----------
    bend : float
        c; 0 is a Gaussian.
    length : float
        s, the standard deviation along the banana; positive.
    thickness : float
        t, the standard deviation across it; positive.

    Raises
    ------
    ValueError, TypeError
        If the length or the thickness is not positive.

    References
    ----------
    Haario, Saksman and Tamminen, Computational Statistics 14, 1999 (length 10, thickness 1, bend 0.03 or 0.1).

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.targets.Banana(bend=0.5, length=2.0).covariance
    array([[4., 0.],
           [0., 9.]])
    """

    bend: float = 0.1
    length: float = 10.0
    thickness: float = 1.0

    def __post_init__(self) -> None:
        put(self, bend=checks.real("bend", self.bend))
        for name in ("length", "thickness"):
            put(self, **{name: checks.real(name, getattr(self, name), positive=True)})

    @property
    def dim(self) -> int:
        """2."""
        return 2

    @cached_property
    def parameters(self) -> dict[str, float]:
        """c, s^2, 1 / s and 1 / t."""
        return {
            "bend": self.bend, "length_squared": self.length**2, "inverse_length": 1 / self.length,
            "inverse_thickness": 1 / self.thickness,
        }  # fmt: skip

    def log_density_of(self, x: Vector) -> Any:
        """That of x_0 and that of x_1 given it."""
        along = x[0] * symbol("inverse_length")
        across = (x[1] - symbol("bend") * (x[0] * x[0] - symbol("length_squared"))) * symbol("inverse_thickness")
        return -0.5 * (along * along + across * across)

    @property
    def mean(self) -> np.ndarray:
        """0."""
        return np.zeros(2)

    @property
    def covariance(self) -> np.ndarray:
        """Diagonal: s^2 and t^2 + 2 c^2 s^4."""
        return np.diag([self.length**2, self.thickness**2 + 2 * self.bend**2 * self.length**4])

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, 2)."""
        z = noise.normals(seed, 2, checks.count("n", n), first_draw=FIRST_START_DRAW, first_chain=first_chain)
        along = self.length * z[0]
        return np.stack([along, self.bend * (along**2 - self.length**2) + self.thickness * z[1]], axis=1)
