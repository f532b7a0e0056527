"""Every scheme converges with the orders that it declares, no less and no more, under every noise that it takes.

Strong orders: paths on coarse grids against the exact solution, or against those of another scheme on a fine grid,
driven by the same Brownian motion.

Weak orders: no sampling at all. The expectation over the draws of one step is a Gauss-Hermite sum, so that on functions
of a state on the torus, given by their values on a grid, a step is a matrix, and its powers are compared with the exact
semigroup of the same SDE. On quadratic functions of a state under a linear SDE it is a matrix as well.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy import cos, sin
from sde.schemes.numpy_step import NumpyStep

from sdefast.sde.schemes import SCHEMES
from sdefast.sde.sde import SDE

NAMES = [name for name, scheme in SCHEMES.items() if scheme.step is not None]


def slope(counts, errors):
    """Of log error against log step size, by regression."""
    return np.polyfit(-np.log(counts), np.log(errors), 1)[0]


def takes(scheme, sde):
    if sde.noise not in scheme.noises:
        return False
    try:
        NumpyStep(scheme, sde)
    except ValueError:  # from the scheme's own check
        return False
    return True


def assert_worst_is(order, slopes, tolerance):
    """Of several problems: all converge that fast, and one of them no faster."""
    assert abs(min(slopes.values()) - order) < tolerance, slopes


# Problems for strong orders ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Problem:
    """An SDE on [0, 1] from ``x0``.

    ``order`` is the attribute of a scheme that says how fast its paths converge here. ``exact`` gives X(1) from W(1) of
    shape (noise_dim, n); where there is none, ``reference`` is the scheme that gives it on a fine grid.
    """

    name: str
    order: str
    sde: SDE
    x0: Any
    exact: Any = None
    reference: str = ""


def log_normal(start, rates, spread, w):
    """dX_i = X_i (rate_i dt + sum_j spread_ij dW_j)."""
    rates, spread = np.array(rates), np.array(spread)
    return np.array(start)[:, None] * np.exp((rates - 0.5 * (spread**2).sum(1))[:, None] + spread @ w)


def spiral(w):
    """dZ = Z (alpha dt + beta dW) in the complex plane."""
    alpha, beta = -0.5 + 1j, 0.5 + 0.7j
    z = (1.0 - 0.5j) * np.exp(alpha - beta**2 / 2 + beta * w[0])
    return z.real, z.imag


def sinh_drift(t, x, p):
    """Of X = sinh(Y), Y = g(t) W + t, g(t) = 0.6 + 0.3 t, by Ito's formula; dY = (1 + g' (Y - t) / g) dt + g dW."""
    g, root = 0.6 + 0.3 * t, np.sqrt(1 + x[0] ** 2)
    y = np.log(x[0] + root)
    return root * (1 + 0.3 * (y - t) / g) + 0.5 * g**2 * x[0]


def sinh_diffusion(t, x, p):
    return (0.6 + 0.3 * t) * np.sqrt(1 + x[0] ** 2)


PROBLEMS = [
    Problem(
        "geometric",
        "strong_order",
        SDE(
            lambda t, x, p: p.a * x[0],
            lambda t, x, p: p.b * x[0],
            noise="scalar",
            params={"a": 0.5, "b": 0.8},
            linear=0.5,
        ),
        1.0,
        lambda w: log_normal([1.0], [0.5], [[0.8]], w),
    ),
    Problem(  # X = arctan(a W + tan X(0))
        "arctangent",
        "strong_order",
        SDE(
            lambda t, x, p: -(p.a**2) * sin(x[0]) * cos(x[0]) ** 3,
            lambda t, x, p: p.a * cos(x[0]) ** 2,
            params={"a": 0.9},
            linear=-0.3,
        ),
        0.7,
        lambda w: np.arctan(0.9 * w + math.tan(0.7)),
    ),
    Problem(  # Kloeden and Platen 1992 (4.46): X = tanh(Y), dY = -alpha dt + beta dW
        "cubic",
        "strong_order",
        SDE(
            lambda t, x, p: -(p.alpha + p.beta**2 * x[0]) * (1 - x[0] ** 2),
            lambda t, x, p: p.beta * (1 - x[0] ** 2),
            noise="scalar",
            params={"alpha": 0.3, "beta": 0.7},
            linear=-0.3,
        ),
        0.2,
        lambda w: np.tanh(math.atanh(0.2) - 0.3 + 0.7 * w),
    ),
    Problem(  # the same process
        "stratonovich",
        "strong_order",
        SDE(
            lambda t, x, p: -p.alpha * (1 - x[0] ** 2),
            lambda t, x, p: p.beta * (1 - x[0] ** 2),
            params={"alpha": 0.3, "beta": 0.7},
            calculus="stratonovich",
            linear=-0.3,
        ),
        0.2,
        lambda w: np.tanh(math.atanh(0.2) - 0.3 + 0.7 * w),
    ),
    Problem(
        "hyperbolic sine in time",
        "strong_order",
        SDE(sinh_drift, sinh_diffusion, linear=0.5),
        0.0,
        lambda w: np.sinh(0.9 * w + 1),
    ),
    Problem(
        "spiral",
        "strong_order",
        SDE(
            lambda t, x, p: (-0.5 * x[0] - x[1], x[0] - 0.5 * x[1]),
            lambda t, x, p: (0.5 * x[0] - 0.7 * x[1], 0.7 * x[0] + 0.5 * x[1]),
            dim=2,
            noise="scalar",
            linear=[[-0.5, -1.0], [1.0, -0.5]],
        ),
        (1.0, -0.5),
        spiral,
    ),
    Problem(
        "diagonal with a coupled drift",
        "strong_order",
        SDE(
            lambda t, x, p: (x[1] - x[0] * (1 + t), sin(2 * x[0]) - 0.5 * x[1]),
            lambda t, x, p: (0.6 + 0.5 * sin(x[0] + t), 0.8 * cos(x[1])),
            dim=2,
            linear=[[-1.0, 1.0], [0.5, -0.5]],
        ),
        (0.5, -0.3),
        reference="sriw1",
    ),
    Problem(  # X = (1 + t)^2 (X(0) + b (W + t))
        "polynomial in time",
        "strong_order_additive",
        SDE(
            lambda t, x, p: 2 / (1 + t) * x[0] + p.b * (1 + t) ** 2,
            lambda t, x, p: p.b * (1 + t) ** 2,
            noise="additive",
            params={"b": 0.2},
            linear=1.0,
        ),
        0.1,
        lambda w: 4 * (0.1 + 0.2 * (w + 1)),
    ),
    Problem(
        "three additive noises",
        "strong_order_additive",
        SDE(
            lambda t, x, p: (sin(x[1]) - x[0], cos(x[0])),
            lambda t, x, p: ((2.0, 0.5 * t, 0.0), (-0.3, 2.0, 0.9 * cos(t))),
            dim=2,
            noise="additive",
            noise_dim=3,
            linear=[-1.0, -0.5],
        ),
        (0.3, 0.8),
        reference="sra1",
    ),
    Problem(  # Kloeden and Platen 1992 (4.59)
        "geometric with two noises",
        "strong_order",
        SDE(
            lambda t, x, p: p.a * x[0],
            lambda t, x, p: ((p.b * x[0], p.c * x[0]),),
            noise="general",
            noise_dim=2,
            params={"a": 0.3, "b": 0.4, "c": 0.6},
            linear=0.3,
        ),
        1.0,
        lambda w: log_normal([1.0], [0.3], [[0.4, 0.6]], w),
    ),
    Problem(
        "two noises that commute",
        "strong_order",
        SDE(
            lambda t, x, p: (0.2 * x[0], -0.4 * x[1]),
            lambda t, x, p: ((0.4 * x[0], 0.3 * x[0]), (-0.2 * x[1], 0.5 * x[1])),
            dim=2,
            noise="general",
            noise_dim=2,
            linear=[0.2, -0.4],
        ),
        (1.0, 2.0),
        lambda w: log_normal([1.0, 2.0], [0.2, -0.4], [[0.4, 0.3], [-0.2, 0.5]], w),
    ),
    Problem(
        "two noises that do not commute",
        "strong_order_general",
        SDE(
            lambda t, x, p: (-0.5 * x[0] + x[1], -sin(x[0])),
            lambda t, x, p: ((0.2, 0.8 * cos(x[1])), (0.9 * x[0], 0.1)),
            dim=2,
            noise="general",
            noise_dim=2,
            linear=[[-0.5, 1.0], [0.0, 0.0]],
        ),
        (0.3, -0.2),
        reference="euler-maruyama",
    ),
    Problem(  # the integral of one Brownian motion by another: diagonal noise need not commute
        "area",
        "strong_order_general",
        SDE(lambda t, x, p: (0.0, 0.0), lambda t, x, p: (1.0, x[0]), dim=2, linear=[0.0, 0.0]),
        (0.0, 0.0),
        reference="euler-maruyama",
    ),
]


# Strong orders -------------------------------------------------------------------------------------------------------

COARSE, FINE, N_PATHS = (16, 32, 64), 512, 1000


@functools.cache
def brownian_path(n, noise_dim):
    """On ``n`` steps of [0, 1]: the increments of W, and the integrals over each step of W less its value before."""
    u, v = np.random.default_rng(5).normal(size=(2, n, N_PATHS, noise_dim))
    return u / math.sqrt(n), 0.5 * n**-1.5 * (u + v / math.sqrt(3))


def coarser(path, n):
    """The same Brownian motion on ``n`` steps: in a coarse step, W has moved by all earlier increments."""
    dw, integral = (part.reshape(n, -1, *part.shape[1:]) for part in path)
    before = np.cumsum(dw, axis=1) - dw
    return dw.sum(1), (integral + before / (n * dw.shape[1])).sum(1)


def draws(path, n_draws):
    """The standard normals of a path, in the schemes' order, and further ones where a scheme needs them."""
    dw, integral = path
    n, _, m = dw.shape
    u = dw * math.sqrt(n)
    v = math.sqrt(3) * (2 * integral * n**1.5 - u)
    further = np.random.default_rng(6).normal(size=(n, N_PATHS, max(0, n_draws - 2 * m)))
    return np.concatenate([u, v, further], axis=2)[:, :, :n_draws]


def path_of(problem):
    return brownian_path(COARSE[-1] if problem.exact else FINE, problem.sde.noise_dim)


def end_of(name, problem, path):
    """X(1) by a scheme, shape (n_paths, dim)."""
    step = NumpyStep(SCHEMES[name], problem.sde)
    return step.path(problem.x0, 0.0, 1 / len(path[0]), draws(path, step.n_draws))


@functools.cache
def true_end(problem):
    path = path_of(problem)
    if problem.exact:
        return np.stack(problem.exact(path[0].sum(0).T), axis=1)
    return end_of(problem.reference, problem, path)


def strong_slope(name, problem):
    ends = (end_of(name, problem, coarser(path_of(problem), n)) for n in COARSE)
    return slope(COARSE, [np.linalg.norm(end - true_end(problem), axis=1).mean() for end in ends])


def problems_for(name, order):
    scheme = SCHEMES[name]
    return [p for p in PROBLEMS if p.order == order and takes(scheme, p.sde)]


ORDERS = ("strong_order", "strong_order_additive", "strong_order_general")


@pytest.mark.parametrize(
    ("name", "order"), [(n, o) for n in NAMES for o in ORDERS if not math.isnan(getattr(SCHEMES[n], o))]
)
def test_strong_order(name, order):
    slopes = {problem.name: strong_slope(name, problem) for problem in problems_for(name, order)}
    if not slopes:
        assert SCHEMES[name].noises == {"additive"}
        return
    # The regression's error over the paths is below 0.065; higher terms bend the lines by up to 0.1.
    assert_worst_is(getattr(SCHEMES[name], order), slopes, tolerance=0.15)


def test_no_order_is_left_undeclared():
    """A scheme says nothing only where it takes no problem, or draws no Brownian motion."""
    for name, order in itertools.product(NAMES, ORDERS):
        if math.isnan(getattr(SCHEMES[name], order)) and SCHEMES[name].draws == "normals":
            assert not problems_for(name, order), (name, order)


# Problems for weak orders --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Torus:
    """An SDE whose coefficients have period 2 pi, with the (odd) number of grid points per component."""

    name: str
    sde: SDE
    n_grid: int
    moving: bool = False


# No drift vanishes anywhere: |a| of the tamed scheme has no kink there.
TORI = [
    Torus(
        "scalar",
        SDE(
            lambda t, x, p: 0.9 + 0.6 * sin(x[0]),
            lambda t, x, p: 0.6 + 0.4 * cos(x[0]),
            noise="scalar",
            linear=-0.8,
        ),
        31,
    ),
    Torus(
        "scalar in time",
        SDE(
            lambda t, x, p: 0.8 + 0.5 * sin(x[0] + 2 * t),
            lambda t, x, p: (0.5 + 0.4 * t) * (1 + 0.3 * cos(x[0] - t)),
            noise="scalar",
            linear=-0.8,
        ),
        25,
        moving=True,
    ),
    Torus(
        "additive in time",
        SDE(
            lambda t, x, p: 0.9 + 0.6 * sin(x[0]),
            lambda t, x, p: 0.5 + 0.4 * t,
            noise="additive",
            linear=-0.8,
        ),
        25,
        moving=True,
    ),
    Torus(
        "diagonal",
        SDE(
            lambda t, x, p: (0.9 + 0.5 * sin(x[1]), 0.8 + 0.5 * cos(x[0])),
            lambda t, x, p: (0.6 + 0.3 * cos(x[0]), 0.6 - 0.3 * sin(x[1])),
            dim=2,
            linear=[[-0.8, 0.3], [0.1, -0.4]],
        ),
        15,
    ),
    Torus(
        "general that commutes",
        SDE(
            lambda t, x, p: 0.9 + 0.6 * sin(x[0]),
            lambda t, x, p: ((0.2 + 0.1 * cos(x[0]), 0.6 + 0.3 * cos(x[0])),),
            noise="general",
            noise_dim=2,
            linear=-0.8,
        ),
        31,
    ),
    Torus(
        "general that does not commute",
        SDE(
            lambda t, x, p: (0.9 + 0.3 * sin(x[1]), 0.8 + 0.3 * cos(x[0])),
            lambda t, x, p: ((0.5, 0.4 * sin(x[1])), (0.5 * cos(x[0]), 0.4)),
            dim=2,
            noise="general",
            noise_dim=2,
            linear=[-0.8, -0.4],
        ),
        15,
    ),
]


# Weak orders ---------------------------------------------------------------------------------------------------------

STEPS = (16, 32)  # errors are exact, so that two tell the order


def quadrature(scheme, n_draws):
    """Draws of shape (n, n_draws) and their weights in an expectation.

    Exact for polynomials of degree 11, or 7: of one step, powers of h beyond those that matter. As the number of nodes
    is even, a normal of which a scheme takes the sign is positive with weight 1/2.
    """
    if scheme.draws == "signs":
        z, w = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    else:
        z, w = np.polynomial.hermite_e.hermegauss(6 if n_draws < 4 else 4)
        w = w / w.sum()
    return np.array(list(itertools.product(z, repeat=n_draws))), np.prod(list(itertools.product(w, repeat=n_draws)), 1)


def grid(problem):
    """Points of the torus, shape (n, dim)."""
    line = 2 * np.pi * np.arange(problem.n_grid) / problem.n_grid
    return np.stack([axis.ravel() for axis in np.meshgrid(*[line] * problem.sde.dim, indexing="ij")], axis=1)


@functools.cache
def modes(n):
    """Frequencies, and the matrix from values on the grid to the coefficients of exp(i k x)."""
    k = np.fft.fftfreq(n, 1 / n)
    return k, np.exp(-2j * np.pi * np.outer(k, np.arange(n)) / n) / n


def transition(scheme, problem, t, h):
    """The matrix from the values of f on the grid to those of x -> E f(X(t + h)) given X(t) = x."""
    step = NumpyStep(scheme, problem.sde)
    x, (z, w) = grid(problem), quadrature(scheme, step.n_draws)
    ends = step(t, h, np.repeat(x, len(z), axis=0), np.tile(z, (len(x), 1))).reshape(len(x), len(z), -1)
    k, coefficients = modes(problem.n_grid)
    values = [np.exp(1j * ends[:, :, i, None] * k) @ coefficients for i in range(ends.shape[2])]
    first = np.swapaxes(values[0] * w[:, None], 1, 2)
    return (first @ values[1] if len(values) == 2 else first.sum(2)).reshape(len(x), -1).real


def generator(problem, t):
    """a . grad + 1/2 sum_ij (b b')_ij d_i d_j on functions on the grid; a and b are read off Euler-Maruyama's step."""
    x, dim, m = grid(problem), problem.sde.dim, problem.sde.noise_dim
    step = NumpyStep(SCHEMES["euler-maruyama"], problem.sde)
    a = step(t, 1.0, x, np.zeros((len(x), m))) - x
    b = np.stack([step(t, 1.0, x, np.tile(z, (len(x), 1))) - x - a for z in np.eye(m)], axis=2)
    q = b @ b.transpose(0, 2, 1)
    k, coefficients = modes(problem.n_grid)
    one, eye = (np.linalg.inv(coefficients) @ (1j * k[:, None] * coefficients)).real, np.eye(problem.n_grid)
    d = [one] if dim == 1 else [np.kron(one, eye), np.kron(eye, one)]
    pairs = itertools.product(range(dim), repeat=2)
    return sum(a[:, i, None] * d[i] for i in range(dim)) + sum(0.5 * q[:, i, j, None] * (d[i] @ d[j]) for i, j in pairs)


def some_function(problem):
    return sin(grid(problem).sum(1)) + cos(grid(problem)[:, 0])


@functools.cache
def true_expectation(problem):
    """E f(X(1)) given X(0) on the grid; with moving coefficients by Runge-Kutta steps backwards in time."""
    f, n = some_function(problem), 128
    if not problem.moving:
        return scipy.linalg.expm(generator(problem, 0.0)) @ f
    for i in reversed(range(n)):
        now, middle, before = (generator(problem, (i + part) / n) / n for part in (1.0, 0.5, 0.0))
        k1 = now @ f
        k2 = middle @ (f + k1 / 2)
        k3 = middle @ (f + k2 / 2)
        f = f + (k1 + 2 * k2 + 2 * k3 + before @ (f + k3)) / 6
    return f


def weak_error(scheme, problem, n):
    f = some_function(problem)
    if problem.moving:
        for i in reversed(range(n)):
            f = transition(scheme, problem, i / n, 1 / n) @ f
    else:
        f = np.linalg.matrix_power(transition(scheme, problem, 0.0, 1 / n), n) @ f
    return np.sqrt(np.mean((f - true_expectation(problem)) ** 2))


@pytest.mark.parametrize("name", NAMES)
def test_weak_order(name):
    scheme = SCHEMES[name]
    slopes = {
        problem.name: slope(STEPS, [weak_error(scheme, problem, n) for n in STEPS])
        for problem in TORI
        if takes(scheme, problem.sde)
    }
    assert_worst_is(scheme.weak_order, slopes, tolerance=0.08)


# Second moments under linear SDEs ------------------------------------------------------------------------------------

#: dX = A X dt + sum_j B_j X dW_j: noise, A, all B_j
LINEAR = {
    "scalar": ("scalar", [[-0.4, 0.8], [-0.9, 0.1]], [[[0.3, 0.5], [-0.2, 0.4]]]),
    "diagonal": ("diagonal", [[-0.4, 0.8], [-0.9, 0.1]], [[[0.5, 0], [0, 0]], [[0, 0], [0, 0.7]]]),
    "commuting": ("general", [[-0.4, 0.8], [-0.9, 0.1]], [[[0.3, 0.4], [-0.4, 0.3]], [[0.1, -0.6], [0.6, 0.1]]]),
    "not commuting": ("general", [[-0.4, 0.8], [-0.9, 0.1]], [[[0.0, 0.7], [0.2, 0.3]], [[0.5, 0.0], [-0.6, -0.2]]]),
}


def linear_sde(noise, A, B):
    def drift(t, x, p):
        return tuple(row[0] * x[0] + row[1] * x[1] for row in A)

    def diffusion(t, x, p):
        rows = [[b[i][0] * x[0] + b[i][1] * x[1] for b in B] for i in range(2)]
        if noise == "diagonal":
            return rows[0][0], rows[1][1]
        return tuple(row[0] for row in rows) if noise == "scalar" else rows

    return SDE(drift, diffusion, dim=2, noise=noise, noise_dim=len(B), linear=A)


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "tamed-euler"])  # whose step is not linear
def test_weak_order_of_second_moments(name, kind):
    """E[X X'] follows a linear equation under the SDE and under a step G(z) X alike."""
    noise, A, B = LINEAR[kind]
    scheme, sde = SCHEMES[name], linear_sde(noise, A, B)
    if not takes(scheme, sde):
        return
    eye, step, errors = np.eye(2), NumpyStep(scheme, sde), []
    exact = scipy.linalg.expm(np.kron(A, eye) + np.kron(eye, A) + sum(np.kron(b, b) for b in np.array(B)))
    z, w = quadrature(scheme, step.n_draws)
    for n in STEPS:
        G = np.stack([step(0.0, 1 / n, np.tile(x, (len(z), 1)), z) for x in eye], axis=2)
        moments = np.einsum("q,qij,qkl->ikjl", w, G, G).reshape(4, 4)
        errors.append(np.linalg.norm(np.linalg.matrix_power(moments, n) - exact))
    assert slope(STEPS, errors) > scheme.weak_order - 0.08
