r"""Platen's explicit scheme of weak order 2, without derivatives, for any noise.

.. math::
    \Upsilon &= X_k + a h + \sum_j b_j \Delta W_j, \qquad
        R^j_\pm = X_k + a h \pm b_j \sqrt h, \qquad U^r_\pm = X_k \pm b_r \sqrt h \\
    X_{k+1} &= X_k + \tfrac12 \big(a(\Upsilon) + a\big) h
        + \tfrac14 \sum_j \Big[ b_j(R^j_+) + b_j(R^j_-) + 2 b_j
        + \sum_{r \ne j} \big(b_j(U^r_+) + b_j(U^r_-) - 2 b_j\big) \Big] \Delta W_j \\
        &\quad + \tfrac14 \sum_j \Big[ \big(b_j(R^j_+) - b_j(R^j_-)\big) (\Delta W_j^2 - h)
        + \sum_{r \ne j} \big(b_j(U^r_+) - b_j(U^r_-)\big) (\Delta W_j \Delta W_r + V_{rj}) \Big] h^{-1/2}

The times of :math:`\Upsilon` and R are :math:`t_{k+1}`, those of U are :math:`t_k`. :math:`V_{rj} = -V_{jr} = \pm h`
with equal probability, here by the signs of further normals, drawn only for noises that change one another. As the
increments are normal, paths converge too.
"""

from typing import Any

from ...trace import Expr, select
from .base import Interval, Scheme
from .commuting import interacting_pairs
from .equation import Equation, Vector
from .euler_maruyama import noise_term


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, h, root = interval
    components, dw = range(equation.dim), tuple(root * n for n in z[: equation.noise_dim])
    a, b = equation.drift(t, x), equation.diffusion(t, x)
    reach = tuple(tuple(row[j] * root for row in b) for j in range(equation.noise_dim))
    drifted = tuple(x[i] + a[i] * h for i in components)
    end = equation.drift(t + h, tuple(drifted[i] + noise_term(b[i], dw) for i in components))
    increment: list[Any] = [0.5 * ((a[i] + end[i]) * h) for i in components]

    for j in range(equation.noise_dim):
        plus, minus = around(equation, j, t + h, drifted, reach[j])
        quarter, area = 0.25 * dw[j], 0.25 * root * (z[j] * z[j] - 1.0)
        for i in components:
            increment[i] = increment[i] + (plus[i] + minus[i] + 2.0 * b[i][j]) * quarter
            if plus[i] is not minus[i]:
                increment[i] = increment[i] + (plus[i] - minus[i]) * area

    for (r, j), v in two_point_variables(equation, z).items():
        plus, minus = around(equation, j, t, x, reach[r])
        quarter, area = 0.25 * dw[j], 0.25 * root * (z[j] * z[r] + v)
        for i in components:
            if plus[i] is not minus[i]:
                increment[i] = increment[i] + (plus[i] + minus[i] - 2.0 * b[i][j]) * quarter
                increment[i] = increment[i] + (plus[i] - minus[i]) * area
    return tuple(x[i] + increment[i] for i in components)


def around(equation: Equation, j: int, t: Expr, x: Vector, reach: Vector) -> tuple[Vector, Vector]:
    """b_j on both sides of x."""
    above = tuple(xi + r for xi, r in zip(x, reach, strict=True))
    below = tuple(xi - r for xi, r in zip(x, reach, strict=True))
    return equation.column(j, t, above), equation.column(j, t, below)


def two_point_variables(equation: Equation, z: Vector) -> dict[tuple[int, int], Expr]:
    """V_rj / h for the pairs (r, j) where noise r changes what noise j does."""
    result: dict[tuple[int, int], Expr] = {}
    signs: dict[frozenset[int], Expr] = {}
    for r, j in interacting_pairs(equation):
        pair = frozenset((r, j))
        if pair not in signs:
            signs[pair] = select(z[equation.noise_dim + len(signs)] < 0, -1.0, 1.0)
        result[r, j] = signs[pair] if r < j else -signs[pair]
    return result


def n_draws(equation: Equation) -> int:
    """One increment per noise, and one sign per pair of noises that change one another."""
    return equation.noise_dim + len({frozenset(pair) for pair in interacting_pairs(equation)})


WEAK2 = Scheme(
    name="weak2",
    calculus="ito",
    strong_order=1.0,
    weak_order=2.0,
    strong_order_additive=1.0,
    strong_order_general=0.5,
    n_draws=n_draws,
    step=step,
    reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 15.1",
)
