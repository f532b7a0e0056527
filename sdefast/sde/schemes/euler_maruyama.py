"""Euler-Maruyama: X[k+1] = X[k] + a(t[k], X[k]) h + b(t[k], X[k]) (W[k+1] - W[k])."""

from ...trace import Expr, constant
from .base import Interval, Scheme
from .equation import Equation, Vector


def noise_term(b_row: Vector, dw: Vector) -> Expr:
    """One component of b dW."""
    return sum((b * increment for b, increment in zip(b_row, dw, strict=True)), constant(0))


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    dw = tuple(root * n for n in z)
    a, b = equation.drift(t, x), equation.diffusion(t, x)
    return tuple(x[i] + (a[i] * h + noise_term(b[i], dw)) for i in range(equation.dim))


EULER_MARUYAMA = Scheme(
    name="euler-maruyama",
    calculus="ito",
    strong_order=0.5,
    weak_order=1.0,
    strong_order_additive=1.0,
    strong_order_general=0.5,
    step=step,
    aliases=("euler", "em"),
    reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 10.2",
)
