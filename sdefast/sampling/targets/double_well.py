"""A double well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import checks, noise
from ...lazy import cached_property
from ...trace import symbol
from .base import FIRST_START_DRAW, BaseTarget, put
from .density import Vector
from .draws import accepted


@dataclass(frozen=True, eq=False, repr=False)
class DoubleWell(BaseTarget):
    r"""The density :math:`\exp(-V(x))` of a double well, :math:`V(x) = b\,((x/w)^2 - 1)^2`.

    At temperature T (``langevin(temperature=T)``) it is the stationary law of the SDE `sdefast.DoubleWell`.

    Parameters
    ----------
    barrier : float
        Height b of the barrier between the wells; positive. The higher it is, the rarer are passages.
    width : float
        Distance w of either well from the barrier; positive.

    Raises
    ------
    ValueError, TypeError
        If one of them is not positive.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.DoubleWell(barrier=2.0)
    >>> target.score([0.5]), round(float(target.covariance[0, 0]), 4)
    (array([3.]), 0.8521)
    """

    barrier: float = 1.0
    width: float = 1.0

    def __post_init__(self) -> None:
        for name in ("barrier", "width"):
            put(self, **{name: checks.real(name, getattr(self, name), positive=True)})

    @property
    def dim(self) -> int:
        """1."""
        return 1

    @cached_property
    def parameters(self) -> dict[str, float]:
        """b and 1 / w."""
        return {"barrier": self.barrier, "inverse_width": 1 / self.width}

    def log_density_of(self, x: Vector) -> Any:
        """-V(x)."""
        y = x[0] * symbol("inverse_width")
        return -symbol("barrier") * (y * y - 1) ** 2

    @property
    def mean(self) -> np.ndarray:
        """0, as both wells are alike."""
        return np.zeros(1)

    @cached_property
    def covariance(self) -> np.ndarray:
        """The variance, by the trapezoidal rule, which is accurate to rounding for densities that end like this one."""
        highest = math.sqrt(1 + math.sqrt(45 / self.barrier))  # where the density is exp(-45)
        n = max(2000, math.ceil(40 * highest * math.sqrt(self.barrier)))
        y = np.linspace(0.0, highest, n + 1)
        weights = np.exp(-self.barrier * (y * y - 1) ** 2) * np.where(y == 0, 0.5, 1.0)
        variance = self.width**2 * (weights * y * y).sum() / weights.sum()
        return np.array([[variance]])

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, 1).

        Sizes y = |x| / w by rejection from a Gaussian at the well: (y^2 - 1)^2 is (y - 1)^2 (y + 1)^2, no less than
        (y - 1)^2. Then a sign.
        """
        n, b = checks.count("n", n), self.barrier

        def propose(z: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            y = 1 + z[0] / math.sqrt(2 * b)
            return y, (y > 0) & (np.log(u[0]) < -b * (y - 1) ** 2 * ((y + 1) ** 2 - 1))

        sizes = accepted(propose, 1, 1, n, seed, first_chain)
        u = noise.uniforms(seed, 1, n, first_draw=FIRST_START_DRAW, first_chain=first_chain)[0]
        return np.asarray(self.width * np.where(u < 0.5, -sizes, sizes))[:, None]
