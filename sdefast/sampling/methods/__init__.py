"""Sampling methods, one file each."""

from .baoab import BAOAB
from .barker import BARKER
from .base import Method
from .mala import MALA
from .mirror import MIRROR, MIRROR_SIMPLEX
from .myula import MYULA
from .preconditioned import PRECONDITIONED
from .proximal import PROXIMAL
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
        SGLD,
        SGLD_CV,
    )
}

__all__ = ["METHODS", "Method"]
