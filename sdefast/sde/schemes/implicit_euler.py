r"""Drift-implicit Euler, for stiff drifts: stable at any step where the drift pulls inwards.

.. math:: X_{k+1} = X_k + a(t_{k+1}, X_{k+1}) h + b(t_k, X_k) \Delta W

The increment d solves :math:`d = b \Delta W + h a(t_{k+1}, X_k + d)`, by Newton iterations from :math:`b \Delta W` with
the exact Jacobian J of the drift. A drift that is linear in the state needs one. Otherwise there are always
`ITERATIONS`: from an error e the next one has about :math:`h |a''| e^2`, so that where the step is small,
e = O(h), two would leave the scheme's own error as it is, and where the drift is stiff the others count: for
:math:`a = -x^3` at :math:`h x^2 = 1`, where Euler-Maruyama is about to explode, five reach float64's precision. Farther
out every iteration takes x by a third towards the solution and never past it.

Elimination is without pivoting: where the drift pulls inwards, the symmetric part of 1 - h J is at least 1, and no
pivot can vanish.
"""

from typing import Any

from ...trace import Expr, constant, depends_on
from .base import Interval, Scheme
from .equation import Equation, Matrix, Vector
from .euler_maruyama import noise_term

ITERATIONS = 5
MOST_COMPONENTS = 8


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    dw = tuple(interval.root * n for n in z)
    noise = tuple(noise_term(row, dw) for row in equation.diffusion(interval.t, x))
    d = noise
    for _ in range(iterations(equation)):
        d = newton(equation, interval, x, noise, d)
    return tuple(x[i] + d[i] for i in range(equation.dim))


def iterations(equation: Equation) -> int:
    """How many Newton iterations a step takes."""
    jacobian = equation.drift_jacobian(equation.t, equation.x)
    return ITERATIONS if any(depends_on(entry, equation.x) for row in jacobian for entry in row) else 1


def newton(equation: Equation, interval: Interval, x: Vector, noise: Vector, d: Vector) -> Vector:
    """One iteration on d - b dW - h a(t + h, x + d) = 0."""
    t, h, _ = interval
    point, components = tuple(xi + di for xi, di in zip(x, d, strict=True)), range(equation.dim)
    a, jacobian = equation.drift(t + h, point), equation.drift_jacobian(t + h, point)
    matrix = tuple(tuple(float(i == j) - h * jacobian[i][j] for j in components) for i in components)
    missing = tuple(h * a[i] if d is noise else noise[i] - d[i] + h * a[i] for i in components)
    return tuple(di + change for di, change in zip(d, solve(matrix, missing), strict=True))


def solve(matrix: Matrix, right: Vector) -> Vector:
    """matrix^-1 right, by Gaussian elimination; nothing is computed where the matrix is zero."""
    rows, y, n = [list(row) for row in matrix], list(right), len(right)
    for k in range(n):
        for i in range(k + 1, n):
            if not rows[i][k].is_constant(0):
                factor = rows[i][k] / rows[k][k]
                rows[i] = [entry - factor * pivot for entry, pivot in zip(rows[i], rows[k], strict=True)]
                y[i] = y[i] - factor * y[k]
    solution: list[Expr] = [constant(0)] * n
    for i in reversed(range(n)):
        rest = y[i]
        for j in range(i + 1, n):
            rest = rest - rows[i][j] * solution[j]
        solution[i] = rest / rows[i][i]
    return tuple(solution)


def check(sde: Any, equation: Equation) -> None:
    if equation.dim > MOST_COMPONENTS:
        raise ValueError(
            f"method='implicit-euler' solves linear equations in every step and takes up to {MOST_COMPONENTS} "
            f"components, got {equation.dim}; 'tamed-euler' and 'exponential-euler' have no limit"
        )


IMPLICIT_EULER = Scheme(
    name="implicit-euler",
    calculus="ito",
    strong_order=0.5,
    weak_order=1.0,
    strong_order_additive=1.0,
    strong_order_general=0.5,
    step=step,
    check=check,
    reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 12.2; "
    "Higham, Mao and Stuart, Strong convergence of Euler-type methods for nonlinear SDEs, SIAM J. Numer. Anal. 40, "
    "2002",
)
