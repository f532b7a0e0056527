"""What a scheme is: the numbers that say how well it approximates, in one place for users and for the order test."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """A time-stepping scheme and the orders it claims.

    Attributes
    ----------
    name : str
        What users pass as ``method=``.
    calculus : str
        The calculus in which it reads the coefficients, ``"ito"`` or ``"stratonovich"``.
    strong_order, weak_order : float
        Orders of convergence in the step size; ``inf`` for a scheme that samples the exact transition.
    strong_order_additive : float
        Strong order when the diffusion does not depend on the state.
    reference : str
        Where the scheme and its orders are proved.
    """

    name: str
    calculus: str
    strong_order: float
    weak_order: float
    strong_order_additive: float
    reference: str

    @property
    def is_exact(self) -> bool:
        """Whether the scheme has no discretisation error."""
        return math.isinf(self.strong_order)
