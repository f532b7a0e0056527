"""Time-stepping schemes, one file each."""

from collections.abc import Callable, Iterable
from typing import Any

from ... import checks
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

#: all names that users may give -> the scheme's own
_NAMES = {name: scheme.name for scheme in SCHEMES.values() for name in (scheme.name, *scheme.aliases)}


def scheme_name(method: Any, allowed: Callable[[], Iterable[str]]) -> str:
    """The name of the scheme that a user means: written in any case, with ``_`` for ``-``, or by an alias.

    Raises
    ------
    ValueError
        If there is none of that name: it says which are ``allowed``, and suggests one of them if it is but misspelt.
    """
    written = method.lower().replace("_", "-").replace(" ", "-") if isinstance(method, str) else method
    if isinstance(written, str) and written in _NAMES:
        return _NAMES[written]
    return checks.choice("method", written, allowed(), written=checks.shown(method))


__all__ = ["EULER_MARUYAMA", "EXACT", "SCHEMES", "Scheme", "scheme_name"]
