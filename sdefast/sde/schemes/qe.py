r"""Quadratic-exponential: square-root processes whose steps have the exact mean and variance, however large they are.

With m and s^2 the exact mean and variance of V(t + h) given V(t), and :math:`\psi = s^2 / m^2`, the new variance is
:math:`a (b + Z)^2` where :math:`\psi \le 3/2`, and else 0 with probability p and exponential of rate :math:`\beta`
otherwise; a and b, p and beta are those that match m and s^2. The price takes
:math:`\log S' = \log S + \mu h + K_0^* + K_1 V + K_2 V' + \sqrt{K_3 V + K_4 V'}\,Z_S`, with
:math:`K_0^* = -\log E[e^{A V'}] - (K_1 + K_3 / 2) V` and :math:`A = K_2 + K_4 / 2`, which makes
:math:`e^{-\mu t} S` a martingale at any step size.

Andersen, Simple and efficient simulation of the Heston stochastic volatility model, Journal of Computational Finance
11, 2008: sections 3.2 (variance), 4.1 and 4.2 (price), 4.3 (martingale correction).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ...trace import as_expr, make, maximum, minimum, select
from .base import Scheme

#: between 1, from where a mass at zero is possible, and 2, up to where a square of a normal can have the variance
_LARGEST_PSI_OF_SQUARES = 1.5
#: stands for a law without variance, and for the probability of what float32 cannot tell from nothing
_LEAST_PSI, _LEAST_PROBABILITY = 1e-28, 2.0**-26


class Quadratic(NamedTuple):
    """V' = a (b + Z)^2, of the smaller variances; ``b2`` = b^2."""

    a: Any
    b2: Any

    def draw(self, z: Any) -> Any:
        """V' of a standard normal."""
        root = make("sqrt", as_expr(self.b2)) + z
        return self.a * root * root

    def log_exponential_moment(self, A: Any) -> tuple[Any, Any]:
        """log E exp(A V'), and whether it is finite."""
        left = 1 - 2 * A * self.a
        finite = left > 0
        left = select(finite, left, 1.0)
        return A * self.b2 * self.a / left - 0.5 * make("log", as_expr(left)), finite


class Exponential(NamedTuple):
    """V' = 0 with probability p, else exponential of rate beta, of the larger variances."""

    p: Any
    beta: Any

    def draw(self, z: Any) -> Any:
        """V' of a standard normal, whose probability to be exceeded is inverted."""
        exceeded = 0.5 - 0.5 * make("erf", as_expr(z * math.sqrt(0.5)))
        return maximum(make("log", as_expr((1 - self.p) / maximum(exceeded, _LEAST_PROBABILITY))), 0.0) / self.beta

    def log_exponential_moment(self, A: Any) -> tuple[Any, Any]:
        """log E exp(A V'), and whether it is finite."""
        left = self.beta - A
        finite = left > 0
        return make("log", as_expr(self.p + self.beta * (1 - self.p) / select(finite, left, 1.0))), finite


class Variance(NamedTuple):
    """The law of V(t + h) given V(t) = v >= 0, of dV = kappa (theta - V) dt + xi sqrt(V) dW."""

    is_square: Any
    square: Quadratic
    exponential: Exponential

    def draw(self, z: Any) -> Any:
        """V' of a standard normal."""
        return select(self.is_square, self.square.draw(z), self.exponential.draw(z))

    def log_exponential_moment(self, A: Any) -> tuple[Any, Any]:
        """log E exp(A V'), and whether it is finite."""
        of_square, square_is_finite = self.square.log_exponential_moment(A)
        of_exponential, exponential_is_finite = self.exponential.log_exponential_moment(A)
        finite = select(self.is_square, square_is_finite, exponential_is_finite)
        return select(self.is_square, of_square, of_exponential), finite


def variance_law(h: Any, v: Any, kappa: Any, theta: Any, xi: Any) -> Variance:
    """The law that has the exact mean and variance."""
    decay = make("exp", as_expr(-kappa * h))
    grown = -make("expm1", as_expr(-kappa * h))
    m = theta * grown + v * decay
    s2 = xi * xi * grown / kappa * (v * decay + 0.5 * theta * grown)
    psi = maximum(s2 / (m * m), _LEAST_PSI)
    inverse = 2 / minimum(psi, _LARGEST_PSI_OF_SQUARES)
    b2 = inverse - 1 + make("sqrt", as_expr(inverse)) * make("sqrt", as_expr(inverse - 1))
    wide = maximum(psi, 1.0)
    p = (wide - 1) / (wide + 1)
    return Variance(psi <= _LARGEST_PSI_OF_SQUARES, Quadratic(m / (1 + b2), b2), Exponential(p, (1 - p) / m))


def price_step(h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
    """The state (S, v) after a step; the first normal is the price's, the second that of the variance."""
    v = maximum(x[1], 0.0)
    law = variance_law(h, v, p.kappa, p.theta, p.xi)
    new = law.draw(z[1])
    slope, share = 0.5 * h * (p.kappa * p.rho / p.xi - 0.5), 0.5 * h * (1 - p.rho) * (1 + p.rho)
    K1, K2 = slope - p.rho / p.xi, slope + p.rho / p.xi
    log_moment, finite = law.log_exponential_moment(K2 + 0.5 * share)
    # Where exp(A V') has no mean no correction makes a martingale, and the discretised drift is left as it is.
    K0 = select(finite, -log_moment - (K1 + 0.5 * share) * v, -p.rho * p.kappa * p.theta * h / p.xi)
    spread = make("sqrt", as_expr(share * (v + new)))
    return x[0] * make("exp", as_expr(p.mu * h + K0 + K1 * v + K2 * new + spread * z[0])), new


def square_root_step(h: Any, root: Any, x: Any, z: Any, u: Any, p: Any) -> Any:
    """The state of a Cox-Ingersoll-Ross process after a step."""
    return variance_law(h, maximum(x[0], 0.0), p.kappa, p.theta, p.sigma).draw(z[0])


QE = Scheme(
    name="qe",
    calculus="ito",
    strong_order=math.nan,
    weak_order=1.0,
    strong_order_additive=math.nan,
    reference="Andersen, Simple and efficient simulation of the Heston stochastic volatility model, Journal of "
    "Computational Finance 11, 2008",
)
