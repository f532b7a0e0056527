"""Time-stepping schemes, one file each."""

from .base import Scheme
from .euler_maruyama import EULER_MARUYAMA
from .exact import EXACT

SCHEMES = {scheme.name: scheme for scheme in (EULER_MARUYAMA, EXACT)}

__all__ = ["EULER_MARUYAMA", "EXACT", "SCHEMES", "Scheme"]
