"""Euler-Maruyama: X[k+1] = X[k] + a(t[k], X[k]) h + b(t[k], X[k]) (W[k+1] - W[k])."""

from .base import Scheme

EULER_MARUYAMA = Scheme(
    name="euler-maruyama",
    calculus="ito",
    strong_order=0.5,
    weak_order=1.0,
    strong_order_additive=1.0,
    reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 10.2",
)
