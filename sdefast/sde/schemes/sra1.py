r"""Roessler's SRA1: strong order 1.5 for additive noise.

.. math::
    H &= X_k + \tfrac34 a(t_k, X_k) h + \tfrac32 b(t_{k+1}) \frac{I_{(1,0)}}{h} \\
    X_{k+1} &= X_k + \tfrac13 \big(a(t_k, X_k) + 2 a(t_k + \tfrac34 h, H)\big) h
        + b(t_{k+1}) \Delta W + \big(b(t_k) - b(t_{k+1})\big) \frac{I_{(1,0)}}{h}

A step draws two normals per noise, as `sriw1` does.
"""

from ...trace import Expr, constant
from .base import Interval, Scheme
from .equation import Equation, Vector
from .euler_maruyama import noise_term
from .sriw1 import mean_integrals, two_per_noise, weighted


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    m, components = equation.noise_dim, range(equation.dim)
    dw, i10 = tuple(root * n for n in z[:m]), mean_integrals(interval, z, m)
    a1, b_start, b_end = equation.drift(t, x), equation.diffusion(t, x), equation.diffusion(t + h, x)
    late = tuple(x[i] + (0.75 * (a1[i] * h) + weighted(b_end[i], 1.5, i10)) for i in components)
    a2 = equation.drift(t + 0.75 * h, late)
    noise = tuple(noise_term(b_end[i], dw) + _change(b_start[i], b_end[i], i10) for i in components)
    return tuple(x[i] + ((1 / 3) * ((a1[i] + 2.0 * a2[i]) * h) + noise[i]) for i in components)


def _change(start: Vector, end: Vector, i10: Vector) -> Expr:
    """(b(t_k) - b(t_{k+1})) I_(1,0) / h, nothing where b is constant in time."""
    total = constant(0)
    for one, other, mean in zip(start, end, i10, strict=True):
        if one is not other:
            total = total + (one - other) * mean
    return total


SRA1 = Scheme(
    name="sra1",
    calculus="ito",
    strong_order=1.5,
    weak_order=2.0,
    strong_order_additive=1.5,
    noises=frozenset({"additive"}),
    n_draws=two_per_noise,
    step=step,
    reference="Roessler, Runge-Kutta methods for the strong approximation of solutions of stochastic differential "
    "equations, SIAM J. Numer. Anal. 48, 2010, table 6.3",
)
