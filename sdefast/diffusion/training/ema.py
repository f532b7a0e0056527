"""The average of the weights on the way: what samples are drawn with."""

from __future__ import annotations

import copy

import numpy as np

from ..tensors import torch

__all__ = ["Average", "exponent"]


def exponent(width: float) -> float:
    """The power of time by which weights of earlier steps count, such that the average is that wide.

    The average at time t weighs what was at time s as s^gamma. The standard deviation of that density, in parts of t,
    is sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)): `width`, which gives gamma as the largest root of a cubic.

    References
    ----------
    Karras, Aittala, Lehtinen et al. 2024 (EDM2), section 3.1.

    Examples
    --------
    >>> round(exponent(0.1), 2), round(exponent(0.05), 2)
    (6.94, 16.97)
    """
    t = width**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


class Average:
    """A network whose weights are the average of another's: the floats averaged, buffers copied.

    Its rate at the k-th update is 1 - (1 - 1/k)^(gamma + 1), the larger the earlier: it needs no horizon, and the first
    update copies.
    """

    def __init__(self, net: torch.nn.Module, width: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.gamma = exponent(width) if width else None
        self.count = 0
        self._mine, self._theirs = ([p.detach() for p in one.parameters()] for one in (self.net, net))
        self._buffers, self._copied = list(self.net.buffers()), list(net.buffers())

    def rate(self) -> float:
        """How much of the weights goes into the next average."""
        if self.gamma is None:
            return 1.0
        kept: float = (1.0 - 1.0 / (self.count + 1)) ** (self.gamma + 1)
        return 1.0 - kept

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of now in."""
        torch._foreach_lerp_(self._mine, self._theirs, self.rate())
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._copied)
        self.count += 1
