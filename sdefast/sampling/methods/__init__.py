"""Sampling methods, one file each."""

from .baoab import BAOAB
from .base import Method
from .mala import MALA
from .ula import ULA

METHODS = {method.name: method for method in (ULA, MALA, BAOAB)}

__all__ = ["METHODS", "Method"]
