r"""Heun: the trapezoidal rule with an Euler predictor, on the Stratonovich form of the SDE.

.. math::
    \bar X &= X_k + a(t_k, X_k) h + b(t_k, X_k) \Delta W \\
    X_{k+1} &= X_k + \tfrac12 \big(a(t_k, X_k) + a(t_{k+1}, \bar X)\big) h
        + \tfrac12 \big(b(t_k, X_k) + b(t_{k+1}, \bar X)\big) \Delta W
"""

from ...trace import Expr
from .base import Interval, Scheme
from .equation import Equation, Vector
from .euler_maruyama import noise_term


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    dw = tuple(root * n for n in z)
    here = euler_increment(equation, interval, t, x, dw)
    predicted = tuple(xi + d for xi, d in zip(x, here, strict=True))
    there = euler_increment(equation, interval, t + h, predicted, dw)
    return tuple(x[i] + 0.5 * (here[i] + there[i]) for i in range(equation.dim))


def euler_increment(equation: Equation, interval: Interval, t: Expr, x: Vector, dw: Vector) -> Vector:
    """a(t, x) h + b(t, x) dW."""
    a, b = equation.drift(t, x), equation.diffusion(t, x)
    return tuple(a[i] * interval.h + noise_term(b[i], dw) for i in range(equation.dim))


HEUN = Scheme(
    name="heun",
    calculus="stratonovich",
    strong_order=1.0,
    weak_order=1.0,
    strong_order_additive=1.0,
    strong_order_general=0.5,
    step=step,
    reference="Ruemelin, Numerical treatment of stochastic differential equations, SIAM J. Numer. Anal. 19, 1982",
)
