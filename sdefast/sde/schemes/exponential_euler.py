r"""Exponential Euler: the linear part L of the drift is treated exactly, for drifts that are stiff in it.

.. math:: X_{k+1} = X_k + h \varphi_1(h L)\, a(t_k, X_k) + N b(t_k, X_k) \Delta W, \qquad
    \varphi_1(z) = \frac{e^z - 1}{z}

with a the whole drift; for :math:`a = L x + f` this is :math:`e^{hL} X_k + h \varphi_1(h L) f + N b \Delta W`. For
diagonal L it is :math:`N = \varphi_1(2 h L)^{1/2}`, which gives the noise of a step its exact variance however stiff L
is (exact for Ornstein-Uhlenbeck processes); for a matrix :math:`N = e^{hL}`, whose noise is too small where L is stiff.
"""

from typing import Any

import numpy as np

from ...trace import depends_on, evaluate
from ..linear_moments import linear_moments
from .base import Interval, Scheme
from .equation import Equation, Vector, parameter_symbol
from .euler_maruyama import noise_term

#: components up to which it is looked whether a drift is linear
_FEW = 64


def step(equation: Equation, interval: Interval, x: Vector, z: Vector, c: Vector) -> Vector:
    t, _, root = interval
    dw = tuple(root * n for n in z)
    damping, mean_growth = c[: len(c) // 2], c[len(c) // 2 :]  # N and h phi1(h L)
    a = equation.drift(t, x)
    noise = tuple(noise_term(row, dw) for row in equation.diffusion(t, x))
    drifts, noises = times(mean_growth, a), times(damping, noise)
    return tuple(x[i] + (drifts[i] + noises[i]) for i in range(equation.dim))


def times(matrix: Vector, vector: Vector) -> Vector:
    """The product, for a matrix given by its diagonal or by all its entries."""
    n = len(vector)
    if len(matrix) == n:
        return tuple(m * v for m, v in zip(matrix, vector, strict=True))
    return tuple(noise_term(matrix[n * i : n * (i + 1)], vector) for i in range(n))


def constants(sde: Any, h: np.ndarray) -> np.ndarray:
    """N and h phi1(h L), for diagonal L only the diagonals, one row per step size."""
    linear = linear_part(sde)
    dim, diagonal = sde.dim, not np.any(linear - np.diag(np.diag(linear)))
    entries = slice(None, None, dim + 1) if diagonal else slice(None)
    sizes, where = np.unique(np.asarray(h, dtype=float), return_inverse=True)
    rows = []
    for size in sizes:
        growth, integral, covariance = linear_moments(linear, np.eye(dim), np.eye(dim), float(size))
        damping = np.sqrt(covariance / size) if diagonal else np.eye(dim) + growth
        rows.append(np.concatenate([damping.ravel()[entries], integral.ravel()[entries]]))
    return np.array(rows)[where]


def linear_part(sde: Any) -> Any:
    """L of shape (dim, dim): as given, or the Jacobian of a drift that is linear in the state; or None."""
    if sde.linear is not None or sde.dim > _FEW:
        return sde.linear
    equation = sde.equation.read_as("ito")
    jacobian = equation.drift_jacobian(equation.t, equation.x)
    if any(depends_on(e, (equation.t, *equation.x)) for row in jacobian for e in row):
        return None
    parameters = {parameter_symbol(name): value for name, value in sde.parameters().items()}
    return np.array([[evaluate(e, parameters) for e in row] for row in jacobian], float)


def check(sde: Any, equation: Equation) -> None:
    if linear_part(sde) is None:
        raise ValueError(
            "method='exponential-euler' needs SDE(linear=...), the linear part of a drift that is not linear with "
            "constant coefficients: rates of shape (dim,) or a matrix of shape (dim, dim)"
        )


EXPONENTIAL_EULER = Scheme(
    name="exponential-euler",
    calculus="ito",
    strong_order=0.5,
    weak_order=1.0,
    strong_order_additive=1.0,
    strong_order_general=0.5,
    step=step,
    constants=constants,
    check=check,
    reference="Lord and Tambue, Stochastic exponential integrators for the finite element discretization of SPDEs for "
    "multiplicative and additive noise, IMA J. Numer. Anal. 33, 2013",
)
