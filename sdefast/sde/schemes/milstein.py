r"""Milstein: what each noise does to the others' coefficients is followed to first order.

.. math:: X_{k+1} = X_k + a h + \sum_j b_j \Delta W_j + \sum_{j,l} L^j b_l\, I_{(j,l)}, \qquad
    L^j = \sum_i b_{ij} \frac{\partial}{\partial x_i}

Where the noises commute, :math:`L^j b_l = L^l b_j`, only sums of double integrals are left, and those are known:
:math:`I_{(j,l)} + I_{(l,j)} = \Delta W_j \Delta W_l` and :math:`I_{(j,j)} = (\Delta W_j^2 - h)/2`.
"""

from typing import Any

from ...trace import Expr
from .base import Interval, Scheme
from .commuting import refuse_non_commuting
from .equation import Equation, Vector
from .euler_maruyama import noise_term


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    dw = tuple(root * n for n in z)
    a, b = equation.drift(t, x), equation.diffusion(t, x)
    correction = double_integrals(equation, interval, x, dw)
    return tuple(x[i] + (a[i] * h + noise_term(b[i], dw) + correction[i]) for i in range(equation.dim))


def double_integrals(equation: Equation, interval: Interval, x: Vector, dw: Vector) -> Vector:
    """The sum over j and l of L^j b_l I_(j,l)."""
    t, h, _ = interval
    total: list[Any] = [0.0] * equation.dim
    for j in range(equation.noise_dim):
        for l in range(j, equation.noise_dim):  # noqa: E741  as in the formula
            integral: Expr = 0.5 * (dw[j] * dw[j] - h) if j == l else dw[j] * dw[l]
            total = [s + change * integral for s, change in zip(total, equation.along(j, l, t, x), strict=True)]
    return tuple(total)


def check(sde: Any, equation: Equation) -> None:
    refuse_non_commuting("milstein", sde, equation)


MILSTEIN = Scheme(
    name="milstein",
    calculus="ito",
    strong_order=1.0,
    weak_order=1.0,
    strong_order_additive=1.0,
    step=step,
    check=check,
    reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 10.3",
)
