r"""Weak Euler: Euler-Maruyama on two-point increments :math:`\pm\sqrt h`, whose first three moments are those of
:math:`\Delta W`. Expectations converge as Euler-Maruyama's do; paths do not.

.. math:: X_{k+1} = X_k + a(t_k, X_k) h + b(t_k, X_k) \sqrt h\, \xi_k, \qquad P(\xi_k = \pm 1) = \tfrac12
"""

import math

from .base import Scheme
from .euler_maruyama import step

WEAK_EULER = Scheme(
    name="weak-euler",
    calculus="ito",
    strong_order=math.nan,
    weak_order=1.0,
    strong_order_additive=math.nan,
    draws="signs",
    step=step,
    reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 14.1",
)
