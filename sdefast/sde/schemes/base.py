"""What a scheme is: one step, and the numbers that say how well it approximates, for users and for the order test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...trace import Expr
from .equation import Equation, Vector


class Interval(NamedTuple):
    """A time step: its start, its length h and sqrt(h)."""

    t: Expr
    h: Expr
    root: Expr


#: ``step(equation, interval, x, z, c)``: the state after a step from ``x`` under the draws ``z`` (independent standard
#: normals, or signs +-1), with ``c`` the scheme's own constants of this step size
StepFunction = Callable[[Equation, Interval, Vector, Vector, Vector], Vector]


def _one_per_noise(equation: Equation) -> int:
    return equation.noise_dim


@dataclass(frozen=True, repr=False)
class Scheme:
    """A time-stepping scheme and the orders it claims.

    Attributes
    ----------
    name : str
        What users pass as ``method=``.
    calculus : str
        The calculus in which it reads the coefficients, ``"ito"`` or ``"stratonovich"``; an SDE in the other one is
        converted.
    strong_order : float
        Order of convergence of paths in the step size, for scalar, diagonal and other commutative noise; ``inf`` for a
        scheme that samples the exact transition, NaN where paths do not converge (weak schemes).
    weak_order : float
        Order of convergence of expectations.
    strong_order_additive : float
        Strong order when the diffusion does not depend on the state.
    reference : str
        Where the scheme and its orders are proved.
    strong_order_general : float
        Strong order under noise that does not commute; NaN if paths do not converge.
    noises : frozenset of str
        Kinds of noise that it can have.
    draws : str
        ``"normals"``, or ``"signs"`` for two-point noise.
    n_draws : callable
        ``n_draws(equation)``: draws per step.
    step : callable or None
        The step, see `StepFunction`; None where every model brings its own.
    constants : callable or None
        ``constants(sde, h)`` for step sizes of shape (n,): an array of shape (n, c) with numbers that the step needs
        and that cost too much to compute in every step.
    check : callable or None
        ``check(sde, equation)`` raises ValueError if the scheme does not fit.
    aliases : tuple of str
        Other names that it goes by.
    """

    name: str
    calculus: str
    strong_order: float
    weak_order: float
    strong_order_additive: float
    reference: str
    strong_order_general: float = math.nan
    noises: frozenset[str] = frozenset({"additive", "scalar", "diagonal", "general"})
    draws: str = "normals"
    n_draws: Callable[[Equation], int] = _one_per_noise
    step: StepFunction | None = None
    constants: Callable[..., np.ndarray] | None = None
    check: Callable[..., None] | None = None
    aliases: tuple[str, ...] = ()

    def __repr__(self) -> str:
        strong = f"strong order {self.strong_order:g} (additive noise {self.strong_order_additive:g}"
        strong += f", noise that does not commute {self.strong_order_general:g})"
        noises = ", ".join(sorted(self.noises))
        return f"<Scheme {self.name}: {self.calculus}, {strong}, weak order {self.weak_order:g}; noise: {noises}>"

    @property
    def is_exact(self) -> bool:
        """Whether the scheme has no discretisation error."""
        return math.isinf(self.strong_order)
