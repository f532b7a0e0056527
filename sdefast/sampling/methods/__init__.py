"""Sampling methods, and descents, which are such methods without noise: one file each."""

from .baoab import BAOAB
from .barker import BARKER
from .base import Method
from .gd import GD
from .heavy_ball import HEAVY_BALL
from .mala import MALA
from .mirror import MIRROR, MIRROR_SIMPLEX
from .myula import MYULA
from .preconditioned import PRECONDITIONED
from .primal_dual import PRIMAL_DUAL, PRIMAL_DUAL_GRADIENT
from .proximal import PROXIMAL
from .proximal_gradient import PROXIMAL_GRADIENT
from .proximal_outside import PROXIMAL_OUTSIDE
from .sgld import SGLD, SGLD_CV
from .skrock import SK_ROCK
from .sort import SORT
from .tamed import TAMED
from .ubu import UBU
from .ula import ULA

METHODS = {
    method.name: method
    for method in (
        ULA,
        MALA,
        BARKER,
        PRECONDITIONED,
        TAMED,
        SK_ROCK,
        BAOAB,
        UBU,
        SORT,
        PROXIMAL,
        MYULA,
        PROXIMAL_OUTSIDE,
        MIRROR,
        MIRROR_SIMPLEX,
        PRIMAL_DUAL,
        PRIMAL_DUAL_GRADIENT,
        SGLD,
        SGLD_CV,
    )
}

DESCENTS = {method.name: method for method in (GD, HEAVY_BALL, PROXIMAL_GRADIENT)}

#: All of them, by name.
STEPS = METHODS | DESCENTS

__all__ = ["DESCENTS", "METHODS", "STEPS", "Method"]
