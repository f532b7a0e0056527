"""Penalties: what a composite target adds to -log p, with proximal maps."""

from .base import Penalty
from .constraints import Box, NonNegative, Simplex
from .norms import L1, GroupL2, Quadratic
from .total_variation import TotalVariation1D, TotalVariation2D

__all__ = [
    "L1", "Box", "GroupL2", "NonNegative", "Penalty", "Quadratic", "Simplex", "TotalVariation1D", "TotalVariation2D",
]  # fmt: skip
