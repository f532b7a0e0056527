"""Every scheme converges with the orders that it declares, under every kind of noise that it takes.

Strong orders: paths on coarse grids against the exact solution, or paths of another scheme on a fine grid, driven by
the same Brownian motion. Weak orders: no sampling at all. The expectation over the draws of one step is a Gauss-Hermite
sum, and on periodic functions of a state on the torus, kept by their values on a grid, a step is then a matrix, compared
with the exact semigroup of the same SDE.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from schemes.numpy_step import NumpyStep

import sdefast as sf
from sdefast.schemes import SCHEMES
from sdefast.sde import SDE

NAMES = [name for name, scheme in SCHEMES.items() if scheme.step is not None]


def slope(sizes, errors):
    """Of log error against log step size, by regression."""
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


# Problems for strong orders -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Problem:
    """An SDE on [0, 1].

    ``order`` is the attribute of a scheme that holds its strong order here; ``exact`` gives X(1) from W(1) of shape
    (noise_dim, n); where there is none, ``reference`` is the scheme that gives it on a fine grid.
    """

    name: str
    order: str
    sde: SDE
    x0: Any
    exact: Any = None
    reference: str = ""


def complex_exponential(w):
    """dZ = alpha Z dt + beta Z dW."""
    z = (1.0 - 0.5j) * np.exp((-0.5 + 1j) - 0.5 * (0.5 + 0.7j) ** 2 + (0.5 + 0.7j) * w[0])
    return z.real, z.imag


def two_noise_exponential(w):
    spread = np.array([[0.4, 0.3], [-0.2, 0.5]])
    return np.array([[1.0], [2.0]]) * np.exp(
        np.array([[0.2], [-0.4]]) - 0.5 * (spread**2).sum(1, keepdims=True) + spread @ w
    )


def hyperbolic_sine(growth):
    """Coefficients of sinh(growth(t) W + t), for growth(t) = 1 + r t."""

    def drift(t, x, p):
        root = math.sqrt(1 + x[0] * x[0])
        g = 1 + growth * t
        y = math.log(x[0] + root)
        return (root * (1 + growth * (y - t) / g) + 0.5 * g * g * x[0],)

    def diffusion(t, x, p):
        return ((1 + growth * t) * math.sqrt(1 + x[0] * x[0]),)

    return drift, diffusion


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
        lambda w: [np.exp(0.5 - 0.32 + 0.8 * w[0])],
    ),
    Problem(
        "arctangent",
        "strong_order",
        SDE(
            lambda t, x, p: (-(p.a**2) * np.sin(x[0]) * np.cos(x[0]) ** 3,),
            lambda t, x, p: (p.a * np.cos(x[0]) ** 2,),
            params={"a": 0.9},
            linear=-0.3,
        ),
        0.7,
        lambda w: [np.arctan(0.9 * w[0] + math.tan(0.7))],
    ),
    Problem(
        "cubic",
        "strong_order",
        SDE(
            lambda t, x, p: -(0.3 + p.b**2 * x[0]) * (1 - x[0] ** 2),
            lambda t, x, p: p.b * (1 - x[0] ** 2),
            noise="scalar",
            params={"b": 0.7},
            linear=-0.3,
        ),
        0.2,
        lambda w: [np.tanh(math.atanh(0.2) - 0.3 + 0.7 * w[0])],
    ),
    Problem(
        "stratonovich",
        "strong_order",
        SDE(
            lambda t, x, p: -0.3 * (1 - x[0] ** 2),
            lambda t, x, p: 0.7 * (1 - x[0] ** 2),
            calculus="stratonovich",
            linear=-0.3,
        ),
        0.2,
        lambda w: [np.tanh(math.atanh(0.2) - 0.3 + 0.7 * w[0])],
    ),
    Problem(
        "hyperbolic sine in time",
        "strong_order",
        SDE(*hyperbolic_sine(0.5), noise="diagonal", linear=0.5),
        0.0,
        lambda w: [np.sinh(1.5 * w[0] + 1)],
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
        complex_exponential,
    ),
    Problem(
        "coupled",
        "strong_order",
        SDE(
            lambda t, x, p: (x[1] - x[0] * (1 + t), np.sin(2 * x[0]) - 0.5 * x[1]),
            lambda t, x, p: (0.6 + 0.5 * np.sin(x[0] + t), 0.8 * np.cos(x[1])),
            dim=2,
            linear=[[-1.0, 1.0], [0.5, -0.5]],
        ),
        (0.5, -0.3),
        reference="sriw1",
    ),
    Problem(
        "polynomial in time",
        "strong_order_additive",
        SDE(
            lambda t, x, p: 2 / (1 + t) * x[0] + p.b * (1 + t) ** 2,
            lambda t, x, p: p.b * (1 + t) ** 2,
            noise="additive",
            params={"b": 0.8},
            linear=1.0,
        ),
        0.5,
        lambda w: [4 * 0.5 + 0.8 * 4 * (w[0] + 1)],
    ),
    Problem(
        "three additive noises",
        "strong_order_additive",
        SDE(
            lambda t, x, p: (np.sin(3 * x[1]) - x[0], np.cos(2 * x[0] + t) - x[1] ** 3),
            lambda t, x, p: ((0.6, 0.5 * t, 0.0), (-0.3, 0.4, 0.7 * np.cos(3 * t))),
            dim=2,
            noise="additive",
            noise_dim=3,
            linear=[-1.0, -0.5],
        ),
        (0.3, 0.8),
        reference="sra1",
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
        two_noise_exponential,
    ),
    Problem(
        "two noises that do not commute",
        "strong_order_general",
        SDE(
            lambda t, x, p: (-0.5 * x[0] + x[1], -np.sin(x[0])),
            lambda t, x, p: ((0.2, 0.8 * np.cos(x[1])), (0.9 * x[0], 0.1)),
            dim=2,
            noise="general",
            noise_dim=2,
            linear=[[-0.5, 1.0], [0.0, 0.0]],
        ),
        (0.3, -0.2),
        reference="euler-maruyama",
    ),
    Problem(
        "area",
        "strong_order_general",
        SDE(
            lambda t, x, p: (0.0, 0.0),
            lambda t, x, p: (1.0, x[0]),
            dim=2,
            noise="diagonal",
            linear=[0.0, 0.0],
        ),
        (0.0, 0.0),
        reference="euler-maruyama",
    ),
]


def strong_order(scheme, problem):
    """What the scheme claims for the problem; NaN if it does not take it or its paths do not converge."""
    taken = problem.sde.noise in scheme.noises
    return getattr(scheme, problem.order) if taken else math.nan


# Strong order ---------------------------------------------------------------------------------------------------------

COARSE = (8, 16, 32, 64)
N_PATHS = 2000


@functools.cache
def brownian_path(n_fine, noise_dim):
    """Increments of Brownian motions on [0, 1], and the integral over each step of what has moved since its start."""
    u, v = np.random.default_rng(5).normal(size=(2, n_fine, N_PATHS, noise_dim))
    h = 1 / n_fine
    return math.sqrt(h) * u, 0.5 * h**1.5 * (u + v / math.sqrt(3))


def coarse(path, n):
    """The same path on ``n`` steps: before a fine step starts, W has moved by the increments before it."""
    dw, integral = (part.reshape(n, -1, *part.shape[1:]) for part in path)
    fine_h = 1 / (n * dw.shape[1])
    before = np.cumsum(dw, axis=1) - dw
    return dw.sum(1), (integral + fine_h * before).sum(1)


def draws(path, n_draws):
    """Standard normals that make the increments and their integrals, in a scheme's order, and fresh ones after them."""
    dw, integral = path
    n, _, m = dw.shape
    u = dw * math.sqrt(n)
    v = math.sqrt(3) * (2 * integral * n**1.5 - u)
    fresh = np.random.default_rng(6).normal(size=(n, N_PATHS, max(0, n_draws - 2 * m)))
    return np.concatenate([u, v, fresh], axis=2)[:, :, :n_draws]


def n_fine(problem):
    return COARSE[-1] if problem.exact else 2048 if problem.order == "strong_order_general" else 1024


@functools.cache
def true_end(problem):
    """X(1), shape (n_paths, dim)."""
    path = brownian_path(n_fine(problem), problem.sde.noise_dim)
    if problem.exact:
        return np.stack(problem.exact(path[0].sum(0).T), axis=1)
    step = NumpyStep(SCHEMES[problem.reference], problem.sde)
    return step.path(problem.x0, 0.0, 1 / n_fine(problem), draws(path, step.n_draws))


@functools.cache
def strong_slope(name, problem):
    step, errors = NumpyStep(SCHEMES[name], problem.sde), []
    path = brownian_path(n_fine(problem), problem.sde.noise_dim)
    for n in COARSE:
        end = step.path(problem.x0, 0.0, 1 / n, draws(coarse(path, n), step.n_draws))
        errors.append(np.linalg.norm(end - true_end(problem), axis=1).mean())
    return slope(1 / np.array(COARSE), errors)


STRONG = [
    pytest.param(name, problem, id=f"{name}-{problem.name}")
    for name, problem in itertools.product(NAMES, PROBLEMS)
    if not math.isnan(strong_order(SCHEMES[name], problem))
]


@pytest.mark.parametrize(("name", "problem"), STRONG)
def test_strong_order(name, problem):
    print(f"MEAS strong {name} | {problem.name} | {strong_order(SCHEMES[name], problem)} | {strong_slope(name, problem):.3f}")


# Problems for weak orders ---------------------------------------------------------------------------------------------

sin, cos = np.sin, np.cos


@dataclass(frozen=True, eq=False)
class Torus:
    """An SDE whose coefficients have period 2 pi, and an odd number of grid points per component to hold functions."""

    name: str
    sde: SDE
    n_grid: int
    nodes: int = 6


def torus(name, drift, diffusion, n_grid, **options):
    return Torus(name, SDE(drift, diffusion, **options), n_grid)


TORI = [
    torus(
        "scalar",
        lambda t, x, p: (0.9 + 0.6 * sin(x[0]),),
        lambda t, x, p: (0.6 + 0.4 * cos(x[0]),),
        41,
        noise="scalar",
        linear=-0.8,
    ),
    torus(
        "scalar in time",
        lambda t, x, p: (0.8 + 0.5 * sin(x[0] + 2 * t),),
        lambda t, x, p: ((0.5 + 0.4 * t) * (1 + 0.5 * cos(x[0] - t)),),
        41,
        noise="scalar",
        linear=-0.8,
    ),
    torus(
        "additive",
        lambda t, x, p: (0.9 + 0.6 * sin(x[0]),),
        lambda t, x, p: ((0.5, 0.4 * (1 + t)),),
        41,
        noise="additive",
        noise_dim=2,
        linear=-0.8,
    ),
    torus(
        "diagonal",
        lambda t, x, p: (0.9 + 0.5 * sin(x[1]), 0.8 + 0.5 * cos(x[0])),
        lambda t, x, p: (0.6 + 0.3 * cos(x[0]), 0.6 - 0.3 * sin(x[1])),
        17,
        dim=2,
        linear=[[-0.8, 0.3], [0.1, -0.4]],
    ),
    torus(
        "general that commutes",
        lambda t, x, p: (0.9 + 0.6 * sin(x[0]),),
        lambda t, x, p: ((0.4 + 0.3 * cos(x[0]), 0.8 + 0.6 * cos(x[0])),),
        41,
        noise="general",
        noise_dim=2,
        linear=-0.8,
    ),
    torus(
        "general that does not commute",
        lambda t, x, p: (0.9 + 0.3 * sin(x[1]), 0.8 + 0.3 * cos(x[0])),
        lambda t, x, p: ((0.5, 0.4 * sin(x[1])), (0.5 * cos(x[0]), 0.4)),
        17,
        dim=2,
        noise="general",
        noise_dim=2,
        linear=[-0.8, -0.4],
    ),
]


# Weak order -----------------------------------------------------------------------------------------------------------


def quadrature(scheme, step, nodes):
    """Draws of shape (n, n_draws) and weights that give expectations over them."""
    normal = np.polynomial.hermite_e.hermegauss(nodes)
    sign = np.array([-1.0, 1.0]), np.array([1.0, 1.0])
    rules = [sign if scheme.draws == "signs" else normal] * step.n_draws
    if scheme.name == "weak2":  # of the draws after the increments it takes the signs
        rules[step.noise_dim :] = [sign] * (step.n_draws - step.noise_dim)
    points = np.array(list(itertools.product(*(z for z, _ in rules))))
    weights = np.array([math.prod(w) for w in itertools.product(*(w / w.sum() for _, w in rules))])
    return points, weights


def grid(problem):
    """Points of the torus, shape (n, dim)."""
    line = 2 * np.pi * np.arange(problem.n_grid) / problem.n_grid
    return np.stack([axis.ravel() for axis in np.meshgrid(*[line] * problem.sde.dim, indexing="ij")], axis=1)


@functools.cache
def modes(n):
    """Whole frequencies, and the matrix from values on the grid to their coefficients."""
    k = np.fft.fftfreq(n, 1 / n)
    return k, np.exp(-2j * np.pi * np.outer(k, np.arange(n)) / n) / n


def transition(scheme, problem, step, t, h):
    """The matrix from the values of f on the grid to those of x -> E f(X(t + h)) given X(t) = x."""
    x, (z, w) = grid(problem), quadrature(scheme, step, problem.nodes)
    ends = step(t, h, np.repeat(x, len(z), axis=0), np.tile(z, (len(x), 1))).reshape(len(x), len(z), -1)
    k, coefficients = modes(problem.n_grid)
    waves = [np.exp(1j * ends[:, :, i, None] * k) @ coefficients for i in range(ends.shape[2])]
    first = np.swapaxes(waves[0] * w[:, None], 1, 2)
    if len(waves) == 1:
        return first.sum(2).real
    return (first @ waves[1]).reshape(len(x), -1).real


def generator(problem, t):
    """a . grad + 1/2 sum_ij (b b')_ij d_i d_j on functions on the grid."""
    x = grid(problem)
    step = NumpyStep(SCHEMES["euler-maruyama"], problem.sde)
    m, zero = step.noise_dim, np.zeros((len(x), step.n_draws))
    a = step(t, 1.0, x, zero) - x
    b = np.stack([step(t, 1.0, x, zero + np.eye(m)[j]) - x - a for j in range(m)], axis=2)
    k, coefficients = modes(problem.n_grid)
    one = ((1j * k) * np.linalg.inv(coefficients)) @ coefficients
    eye, dim = np.eye(problem.n_grid), problem.sde.dim
    d = [one.real] if dim == 1 else [np.kron(one.real, eye), np.kron(eye, one.real)]
    q = b @ b.transpose(0, 2, 1)
    first = sum(a[:, i, None] * d[i] for i in range(dim))
    return first + 0.5 * sum(q[:, i, j, None] * (d[i] @ d[j]) for i in range(dim) for j in range(dim))


def some_function(problem):
    return sin(grid(problem).sum(1)) + cos(grid(problem)[:, 0])


@functools.cache
def true_expectation(problem):
    """E f(X(1)) given X(0) on the grid, by Runge-Kutta steps backwards in time."""
    f, n = some_function(problem), 400
    moving = not np.allclose(generator(problem, 0.0), generator(problem, 0.5))
    L = functools.cache(lambda t: generator(problem, t if moving else 0.0))
    if not moving:
        return scipy.linalg.expm(L(0.0)) @ f
    for i in reversed(range(n)):
        h, end = 1 / n, (i + 1) / n
        k1 = L(end) @ f
        k2 = L(end - h / 2) @ (f + h / 2 * k1)
        k3 = L(end - h / 2) @ (f + h / 2 * k2)
        k4 = L(end - h) @ (f + h * k3)
        f = f + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return f


@functools.cache
def weak_slope(name, problem):
    scheme, counts, errors = SCHEMES[name], (8, 16, 32), []
    step = NumpyStep(scheme, problem.sde)
    for n in counts:
        f = some_function(problem)
        moving = "time" in problem.name or "additive" in problem.name
        P = None if moving else transition(scheme, problem, step, 0.0, 1 / n)
        for i in reversed(range(n)):
            f = (transition(scheme, problem, step, i / n, 1 / n) if moving else P) @ f
        errors.append(np.sqrt(((f - true_expectation(problem)) ** 2).mean()))
    print(name, problem.name, errors)
    return slope(1 / np.array(counts), errors)

def takes(scheme, sde):
    if sde.noise not in scheme.noises: return False
    try: 
        if scheme.check: scheme.check(sde, sde.equation.read_as(scheme.calculus))
    except ValueError: return False
    return True

@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("problem", TORI, ids=lambda p: p.name)
def test_weak_order(name, problem):
    if not takes(SCHEMES[name], problem.sde): return
    print(f"MEAS weak {name} | {problem.name} | {SCHEMES[name].weak_order} | {weak_slope(name, problem):.3f}")
