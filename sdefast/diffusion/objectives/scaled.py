"""Networks whose input and target have variance 1 at every sigma (Karras et al. 2022, section 5)."""

from __future__ import annotations

from ..tensors import column
from .base import Level, Objective, Tensor


class Scaled(Objective):
    """What EDM and noise-conditional scores share, at x = x_0 + sigma eps.

    With S^2 = sigma^2 + sd^2 the network sees x / S and says F, which stands for the data
    D = (sd / S)^2 x + sigma sd / S F: F's target (D - (sd / S)^2 x) S / (sigma sd) is
    (sigma x_0 / sd - sd eps) / S, written without the difference of large numbers.
    """

    sd: float

    def scale(self, sigma: Tensor) -> Tensor:
        """S, the standard deviation of x."""
        return sigma.new_tensor(self.sd).hypot(sigma)

    def input(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / column(self.scale(sigma), x)

    def target(self, x0: Tensor, z: Tensor, level: Level) -> Tensor:
        S = self.scale(level.sigma)
        return column(level.sigma / (self.sd * S), x0) * x0 - column(self.sd / S, z) * z
