r"""Platen's explicit scheme of strong order 1: Milstein with differences in place of derivatives.

.. math::
    \Upsilon_j &= X_k + a h + b_j \sqrt h \\
    X_{k+1} &= X_k + a h + \sum_j b_j \Delta W_j
        + \sum_j \frac{b_j(t_k, \Upsilon_j) - b_j}{2 \sqrt h} \big(\Delta W_j^2 - h\big)

with coefficients at :math:`(t_k, X_k)` where nothing is written, for noises that do not change one another.
"""

from typing import Any

from .base import Interval, Scheme
from .commuting import refuse_interacting
from .equation import Equation, Vector
from .euler_maruyama import noise_term


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    dw = tuple(root * n for n in z)
    a, b = equation.drift(t, x), equation.diffusion(t, x)
    increment: list[Any] = [a[i] * h + noise_term(b[i], dw) for i in range(equation.dim)]
    for j in range(equation.noise_dim):
        support = tuple(x[i] + (a[i] * h + b[i][j] * root) for i in range(equation.dim))
        factor = 0.5 * root * (z[j] * z[j] - 1.0)  # (dW^2 - h) / (2 sqrt h)
        for i, moved in enumerate(equation.column(j, t, support)):
            if moved is not b[i][j]:
                increment[i] = increment[i] + (moved - b[i][j]) * factor
    return tuple(x[i] + increment[i] for i in range(equation.dim))


def check(sde: Any, equation: Equation) -> None:
    refuse_interacting("srk1", equation)


SRK1 = Scheme(
    name="srk1",
    calculus="ito",
    strong_order=1.0,
    weak_order=1.0,
    strong_order_additive=1.0,
    noises=frozenset({"additive", "scalar", "diagonal"}),
    step=step,
    check=check,
    reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 11.1",
)
