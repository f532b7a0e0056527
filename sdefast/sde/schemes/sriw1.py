r"""Roessler's SRIW1: strong order 1.5 without derivatives, for noises that do not change one another.

Its weak order is 1.5 too, and 2 for additive noise: where b depends on the state, the variance of a step has errors
such as :math:`-\tfrac1{12} b^4 b^{(3)} h^{5/2}`.

.. math::
    H^{(0)}_i &= X_k + \sum_j A^0_{ij} a(t_k + c^0_j h, H^{(0)}_j) h
        + \sum_l \sum_j B^0_{ij} b_l(t_k + c^1_j h, H^{(l)}_j) \frac{I_{(l,0)}}{h} \\
    H^{(l)}_i &= X_k + \sum_j A^1_{ij} a(t_k + c^0_j h, H^{(0)}_j) h
        + \sum_j B^1_{ij} b_l(t_k + c^1_j h, H^{(l)}_j) \sqrt h \\
    X_{k+1} &= X_k + \sum_i \alpha_i a(t_k + c^0_i h, H^{(0)}_i) h + \sum_l \sum_i \Big(
        \beta^1_i I_{(l)} + \beta^2_i \frac{I_{(l,l)}}{\sqrt h} + \beta^3_i \frac{I_{(l,0)}}{h}
        + \beta^4_i \frac{I_{(l,l,l)}}{h} \Big) b_l(t_k + c^1_i h, H^{(l)}_i)

A step draws two normals per noise, U and V (all U first): :math:`I_{(l)} = U \sqrt h`,
:math:`I_{(l,0)} = \int (W_l(s) - W_l(t_k))\,ds = \tfrac12 h^{3/2} (U + V / \sqrt 3)`.
"""

import math
from typing import Any

from ...trace import Expr
from .base import Interval, Scheme
from .commuting import refuse_interacting
from .equation import Equation, Vector

# The tableau of SRIW1 with its zeros left out: the drift is needed at two stages, the diffusion at four.
BETA1 = (-1.0, 4 / 3, 2 / 3, 0.0)
BETA2 = (-1.0, 4 / 3, -1 / 3, 0.0)
BETA3 = (2.0, -4 / 3, -2 / 3, 0.0)
BETA4 = (-2.0, 5 / 3, -2 / 3, 1.0)


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, _ = interval
    m, components = equation.noise_dim, range(equation.dim)
    u, i10 = z[:m], mean_integrals(interval, z, m)
    a1, b1 = equation.drift(t, x), equation.diffusion(t, x)
    ah = tuple(a * h for a in a1)
    late = tuple(x[i] + (0.75 * ah[i] + weighted(b1[i], 1.5, i10)) for i in components)
    a2 = equation.drift(t + 0.75 * h, late)
    increment: list[Any] = [(1 / 3) * (ah[i] + 2.0 * (a2[i] * h)) for i in components]
    for j in range(m):
        stages = diffusion_stages(equation, interval, j, x, ah, tuple(row[j] for row in b1))
        weights = stage_weights(interval, u[j], i10[j])
        for i in components:
            for b, weight in zip(stages, weights, strict=True):
                increment[i] = increment[i] + b[i] * weight
    return tuple(x[i] + increment[i] for i in components)


def mean_integrals(interval: Interval, z: Vector, m: int) -> Vector:
    """I_(j,0) / h: the mean over the step of what each Brownian motion has moved."""
    half, third = 0.5 * interval.root, (0.5 / math.sqrt(3.0)) * interval.root
    return tuple(half * z[j] + third * z[m + j] for j in range(m))


def weighted(b_row: Vector, factor: float, values: Vector) -> Any:
    """factor * sum_j b_j values_j."""
    return sum((b * (factor * value) for b, value in zip(b_row, values, strict=True)), 0.0)


def diffusion_stages(
    equation: Equation, interval: Interval, j: int, x: Vector, ah: Vector, b1: Vector
) -> tuple[Vector, ...]:
    """b_j at its four stages, which noise j alone moves."""
    t, h, root = interval
    early, late, components = t + 0.25 * h, t + h, range(equation.dim)
    r1 = tuple(b * root for b in b1)
    b2 = equation.column(j, early, tuple(x[i] + (0.25 * ah[i] + 0.5 * r1[i]) for i in components))
    b3 = equation.column(j, late, tuple(x[i] + (ah[i] - r1[i]) for i in components))
    moved = tuple((3.0 * b2[i] + 0.5 * b3[i]) * root - 5.0 * r1[i] for i in components)
    b4 = equation.column(j, early, tuple(x[i] + (0.25 * ah[i] + moved[i]) for i in components))
    return b1, b2, b3, b4


def stage_weights(interval: Interval, u: Expr, i10: Expr) -> Vector:
    """What multiplies b at each stage, for I_(1) = u sqrt(h), I_(1,1) and I_(1,1,1) Hermite polynomials of u."""
    root, square = interval.root, u * u
    i1 = root * u
    i11 = 0.5 * root * (square - 1.0)  # over sqrt(h)
    i111 = (1 / 6) * i1 * (square - 3.0)  # over h
    rows = zip(BETA1, BETA2, BETA3, BETA4, strict=True)
    return tuple(b1 * i1 + b2 * i11 + b3 * i10 + b4 * i111 for b1, b2, b3, b4 in rows)


def two_per_noise(equation: Equation) -> int:
    """One draw for the increment and one for its integral."""
    return 2 * equation.noise_dim


def check(sde: Any, equation: Equation) -> None:
    refuse_interacting("sriw1", equation)


SRIW1 = Scheme(
    name="sriw1",
    calculus="ito",
    strong_order=1.5,
    weak_order=1.5,
    strong_order_additive=1.5,
    noises=frozenset({"additive", "scalar", "diagonal"}),
    n_draws=two_per_noise,
    step=step,
    check=check,
    reference="Roessler, Runge-Kutta methods for the strong approximation of solutions of stochastic differential "
    "equations, SIAM J. Numer. Anal. 48, 2010, table 6.2",
)
