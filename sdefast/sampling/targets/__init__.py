"""Targets: densities up to a constant, one file a kind."""

from .base import BaseTarget
from .gaussian import Gaussian
from .mixture import GaussianMixture
from .user import Target

__all__ = ["BaseTarget", "Gaussian", "GaussianMixture", "Target"]
