"""Neal's funnel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _core, checks, noise
from ...lazy import cached_property
from ...math import exp
from ...trace import symbol
from ...trace.vectors import total
from .base import FIRST_START_DRAW, BaseTarget, put
from .density import Vector


@dataclass(frozen=True, eq=False, repr=False)
class Funnel(BaseTarget):
    r"""Neal's funnel: :math:`x_0 \sim N(0, s^2)`, and given it :math:`x_1, \dots, x_{d-1} \sim N(0, e^{x_0})`.

    Its neck is too narrow for any step that is long enough for its mouth: a test of samplers that adapt to the place.

    Parameters
    ----------
    dim : int
        Number of components, 2 or more.
    spread : float
        s, positive.

    Raises
    ------
    ValueError, TypeError
        If one of them is out of range.

    References
    ----------
    Neal, Annals of Statistics 31, 2003, section 8.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.targets.Funnel(dim=3, spread=1.0).score([0.0, 1.0, 2.0])
    array([ 1.5, -1. , -2. ])
    """

    dim: int = 10
    spread: float = 3.0

    def __post_init__(self) -> None:
        put(self, dim=checks.count("dim", self.dim, least=2, most=_core.largest_dim))
        put(self, spread=checks.real("spread", self.spread, positive=True))

    @cached_property
    def parameters(self) -> dict[str, float]:
        """1 / s^2."""
        return {"precision": 1 / self.spread**2}

    def log_density_of(self, x: Vector) -> Any:
        """That of x_0 and those of the others given it."""
        neck, *others = x
        squares = total([xi * xi for xi in others])
        return -0.5 * (symbol("precision") * neck * neck + (self.dim - 1) * neck + exp(-neck) * squares)

    @property
    def mean(self) -> np.ndarray:
        """0."""
        return np.zeros(self.dim)

    @property
    def covariance(self) -> np.ndarray:
        """Diagonal: s^2, and exp(s^2 / 2) for the others."""
        return np.diag([self.spread**2, *[float(np.exp(self.spread**2 / 2))] * (self.dim - 1)])

    def sample(self, n: int, *, seed: int, first_chain: int = 0) -> np.ndarray:
        """Exact draws, of shape (n, dim)."""
        z = noise.normals(seed, self.dim, checks.count("n", n), first_draw=FIRST_START_DRAW, first_chain=first_chain)
        z[0] *= self.spread
        z[1:] *= np.exp(z[0] / 2)
        return z.T.copy()
