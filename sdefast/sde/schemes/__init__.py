"""Time-stepping schemes, one file each."""

from .base import Scheme
from .euler_maruyama import EULER_MARUYAMA
from .exact import EXACT
from .exponential_euler import EXPONENTIAL_EULER
from .heun import HEUN
from .implicit_euler import IMPLICIT_EULER
from .midpoint import MIDPOINT
from .milstein import MILSTEIN
from .qe import QE
from .sra1 import SRA1
from .sriw1 import SRIW1
from .srk1 import SRK1
from .tamed_euler import TAMED_EULER
from .weak2 import WEAK2
from .weak_euler import WEAK_EULER

SCHEMES = {
    scheme.name: scheme
    for scheme in (
        EULER_MARUYAMA,
        EXACT,
        QE,
        MILSTEIN,
        HEUN,
        MIDPOINT,
        SRK1,
        SRIW1,
        SRA1,
        TAMED_EULER,
        IMPLICIT_EULER,
        EXPONENTIAL_EULER,
        WEAK_EULER,
        WEAK2,
    )
}

__all__ = ["EULER_MARUYAMA", "EXACT", "SCHEMES", "Scheme"]
