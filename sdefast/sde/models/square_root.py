r"""The exact transition of square-root processes: noncentral chi-square draws in a bounded number of draws.

Given X(t) = x, X(t + h) / scale is noncentral chi-square with :math:`d = 4\kappa\theta/\sigma^2` degrees of freedom and
noncentrality :math:`\lambda = x e^{-\kappa h} / \mathrm{scale}`, where :math:`\mathrm{scale} = \sigma^2 (1 -
e^{-\kappa h}) / (4\kappa)` (Cox, Ingersoll and Ross, Econometrica 53, 1985; Glasserman, Monte Carlo Methods in
Financial Engineering, 2003, section 3.4). For d > 1 it is :math:`(Z + \sqrt\lambda)^2 + \chi^2_{d-1}`; otherwise
:math:`\chi^2_{d + 2N}` with N Poisson of mean :math:`\lambda/2`.

A step has a fixed number of draws, so what is drawn by rejection has a fixed number of trials, of which the first that
is accepted counts. That none is has a probability of about 1e-8 at most, and then the law's centre is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...trace import as_expr, constant, make, maximum, select
from .base import OwnStep

#: trials for a gamma variate, each accepted with a probability of at least 0.951
_GAMMA_TRIALS = 6
#: trials for a Poisson variate of a large mean, each accepted with a probability of at least 0.8
_POISSON_TRIALS = 12
#: a mean up to which a Poisson variate is found by going through its values, and how many of these: the rest has 1e-13
_SMALL_MEAN, _VALUES = 10.0, 42
#: below this place values of n log(n!) are summed, from it on taken from Stirling's series, correct to 1e-12
_STIRLING_FROM = 10


def transition_step(degrees: float) -> OwnStep:
    """The exact step of a square-root process with so many degrees of freedom."""
    if degrees > 1:
        return OwnStep(_step_by(_above_one), 1 + _GAMMA_TRIALS, _GAMMA_TRIALS + 1)
    return OwnStep(_step_by(_up_to_one), _GAMMA_TRIALS, _GAMMA_TRIALS + 2 + 2 * _POISSON_TRIALS)


def _step_by(chi_square: Callable[..., Any]) -> Callable[..., Any]:
    def move(h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
        scale = 0.25 * p.sigma * p.sigma / p.kappa * -math.expm1(-p.kappa * h)
        noncentrality = max(x[0], 0) * math.exp(-p.kappa * h) / scale
        return scale * chi_square(4 * p.kappa * p.theta / (p.sigma * p.sigma), noncentrality, z, u)

    return move


def _above_one(degrees: Any, noncentrality: Any, z: Sequence[Any], u: Sequence[Any]) -> Any:
    """A noncentral chi-square variate of more than one degree of freedom."""
    shifted = z[0] + math.sqrt(noncentrality)
    return shifted * shifted + 2 * _gamma(0.5 * (degrees - 1), z[1:], u)


def _up_to_one(degrees: Any, noncentrality: Any, z: Sequence[Any], u: Sequence[Any]) -> Any:
    """A noncentral chi-square variate of any number of degrees of freedom."""
    n = _poisson(0.5 * noncentrality, u[_GAMMA_TRIALS + 1 :])
    return 2 * _gamma(0.5 * degrees + n, z, u[: _GAMMA_TRIALS + 1])


def _gamma(shape: Any, z: Sequence[Any], u: Sequence[Any]) -> Any:
    """A gamma variate of any shape > 0 and rate 1: one of shape + 1 times U^(1 / shape).

    Marsaglia and Tsang, A simple method for generating gamma variables, ACM Transactions on Mathematical Software 26,
    2000.
    """
    d = shape + 2 / 3
    c = 1 / make("sqrt", as_expr(9 * d))
    accepted, factor = constant(False), as_expr(1.0)
    for normal, uniform in zip(z, u[:-1], strict=True):
        v = 1 + c * normal
        cube = v * v * v
        log_ratio = 0.5 * normal * normal + d * (1 - cube + make("log", as_expr(maximum(cube, 1e-30))))
        accepts = (v > 0) & (make("log", as_expr(uniform)) < log_ratio)
        factor = select(accepts & ~accepted, cube, factor)
        accepted = accepted | accepts
    return d * factor * make("exp", as_expr(make("log", as_expr(u[-1])) / shape))


def _poisson(mean: Any, u: Sequence[Any]) -> Any:
    """A Poisson variate."""
    is_small = mean < _SMALL_MEAN
    return select(
        is_small, _poisson_by_inversion(select(is_small, mean, 0.0), u[0]),
        _poisson_by_rejection(maximum(mean, _SMALL_MEAN), u[1:]),
    )  # fmt: skip


def _poisson_by_inversion(mean: Any, u: Any) -> Any:
    """How many values of the distribution function lie below a uniform."""
    term = total = make("exp", as_expr(-mean))
    n = as_expr(0.0)
    for k in range(1, _VALUES + 1):
        n = n + select(u > total, 1.0, 0.0)
        term = term * mean * (1 / k)
        total = total + term
    return n


def _poisson_by_rejection(mean: Any, u: Sequence[Any]) -> Any:
    """A Poisson variate of mean at least 10: transformed rejection.

    Hörmann, The transformed rejection method for generating Poisson random variables, Insurance: Mathematics and
    Economics 12, 1993, algorithm PTRD without its quick acceptance, which changes speed alone.
    """
    b = 0.931 + 2.53 * make("sqrt", as_expr(mean))
    a = -0.059 + 0.02483 * b
    log_inverse_alpha = make("log", as_expr(1.1239 + 1.1328 / (b - 3.4)))
    log_mean = make("log", as_expr(mean))
    accepted, chosen = constant(False), make("floor", as_expr(mean))
    for first, second in zip(u[::2], u[1::2], strict=True):
        centred = first - 0.5
        edge = maximum(0.5 - abs(centred), 1e-9)
        k = make("floor", as_expr((2 * a / edge + b) * centred + mean + 0.43))
        possible = maximum(k, 0.0)
        log_v = make("log", as_expr(second)) + log_inverse_alpha - make("log", as_expr(a / (edge * edge) + b))
        accepts = (k >= 0) & (log_v <= possible * log_mean - mean - _log_factorial(possible))
        chosen = select(accepts & ~accepted, k, chosen)
        accepted = accepted | accepts
    return chosen


def _log_factorial(n: Any) -> Any:
    """log(n!) for whole n >= 0: Stirling's series at n + 10, and the logarithm of what lies between."""
    y = n + _STIRLING_FROM
    product = as_expr(1.0)
    for k in range(1, _STIRLING_FROM):
        product = product * (n + k)
    inverse = 1 / y
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    return (
        (y - 0.5) * make("log", as_expr(y)) - y + 0.5 * math.log(2 * math.pi) + series - make("log", as_expr(product))
    )
