"""Targets: densities up to a constant, one file a kind."""

from .base import BaseTarget
from .batch import BatchTarget
from .gaussian import Gaussian
from .mixture import GaussianMixture
from .user import Target

__all__ = ["BaseTarget", "BatchTarget", "Gaussian", "GaussianMixture", "Target"]
