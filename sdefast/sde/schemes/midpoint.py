r"""Explicit midpoint rule, on the Stratonovich form of the SDE.

.. math::
    \bar X &= X_k + \tfrac12 \big(a(t_k, X_k) h + b(t_k, X_k) \Delta W\big) \\
    X_{k+1} &= X_k + a(t_k + \tfrac h2, \bar X) h + b(t_k + \tfrac h2, \bar X) \Delta W
"""

from .base import Interval, Scheme
from .equation import Equation, Vector
from .heun import euler_increment


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    dw = tuple(root * n for n in z)
    here = euler_increment(equation, interval, t, x, dw)
    middle = tuple(xi + 0.5 * d for xi, d in zip(x, here, strict=True))
    there = euler_increment(equation, interval, t + 0.5 * h, middle, dw)
    return tuple(x[i] + there[i] for i in range(equation.dim))


MIDPOINT = Scheme(
    name="midpoint",
    calculus="stratonovich",
    strong_order=1.0,
    weak_order=1.0,
    strong_order_additive=1.0,
    strong_order_general=0.5,
    step=step,
    reference="Burrage, Burrage and Tian, Numerical methods for strong solutions of stochastic differential equations: "
    "an overview, Proc. R. Soc. A 460, 2004",
)
