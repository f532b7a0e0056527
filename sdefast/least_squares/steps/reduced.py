r"""The error of SGD on isotropic least squares as a Markov chain of its own: a step costs the same for all d and B.

For inputs x ~ N(0, h I) let :math:`\delta = \theta - \theta^*`, :math:`u = |\delta|^2`, :math:`g` the step size times
:math:`h / B`, and :math:`s = \sigma / \sqrt h`. With :math:`a_b` the normal component of the input b along
:math:`\delta` and :math:`\xi_b` the normal of its noise, an iteration does

.. math:: u' = \Big(\sqrt u - g \sum_b a_b r_b\Big)^2 + g^2 c \sum_b r_b^2, \qquad r_b = a_b \sqrt u - s\,\xi_b,

in which :math:`c` is chi-square with d - 1 degrees of freedom: the components of :math:`\sum_b r_b x_b` across
:math:`\delta` are independent normals, given all :math:`r_b`. The sums depend on the batch through three numbers alone,
:math:`\sum a_b^2 = t^2`, :math:`\sum a_b \xi_b = t n` and :math:`\sum \xi_b^2 = n^2 + y`, where :math:`t^2` and
:math:`y` are chi-square with B and B - 1 degrees of freedom, n is normal, and all are independent (the decomposition of
Bartlett). Hence

.. math:: u' = (\sqrt u - g\,t\,r)^2 + g^2 (r^2 + s^2 y)\, c, \qquad r = t \sqrt u - s\,n,

a law that is exactly that of the whole chain, and a form that is never negative.

Reference: Bartlett, Proceedings of the Royal Society of Edinburgh 53, 1934.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ... import checks
from ...jit.emit import Step
from ...lazy import cached_property
from ...trace import Expr, as_expr, make, symbol
from ...trace.vectors import symbols
from ..problem import LeastSquares
from .base import DescentStep
from .chi_square import ChiSquare


@dataclass(frozen=True)
class ReducedIteration(DescentStep):
    """An iteration of the error alone.

    Parameters
    ----------
    problem : LeastSquares
        With inputs x ~ N(0, h I), h > 0.
    batch_size : int
        Samples of an iteration, any number.
    per_parameter, averaged : bool
        False: parameters have no step sizes of their own, and iterates are not averaged.

    Raises
    ------
    ValueError
        If the inputs are others, or anything else is out of range.
    """

    problem: LeastSquares
    batch_size: int
    per_parameter: bool = False
    averaged: bool = False

    is_error = True

    def __post_init__(self) -> None:
        self.problem._isotropic_scale("reduced=True")
        checks.count("batch_size", self.batch_size)
        if self.per_parameter:
            raise ValueError("step_size must be one for all parameters if reduced=True, got one for each")
        if self.averaged:
            raise ValueError("averaging must be None if reduced=True: there are no iterates to average")

    @cached_property
    def step(self) -> Step:
        """An iteration: draws in the order t, n, y, c, as far as they are needed."""
        draw = _Draw(self._laws)
        u, g = symbol("x0"), symbol("rate0")
        if self.problem.noise_std > 0:
            noise, root = symbol("p_noise"), make("sqrt", u)
            t = draw.root("along")
            r = g * (t * root - noise * draw.normal())
            squares = r * r
            if "beside" in self._laws:
                squares = squares + (g * noise) * (g * noise) * draw.square("beside")
            shorter = root - t * r
            new = shorter * shorter + squares * draw.square("across")
        else:
            a = draw.square("along")
            shorter = 1.0 - g * a
            new = u * (shorter * shorter + g * g * a * draw.square("across"))
        return Step((as_expr(new),), tuple(self.parameters), ("rate0",), draw.n_normals, draw.n_uniforms)

    def start(self, theta0: np.ndarray) -> np.ndarray:
        """The start row |theta0 - theta*|^2, (1, n), from parameters (n, d)."""
        delta = theta0 - self.problem.theta_star
        return np.asarray(np.sum(delta * delta, axis=1))[None]

    # Laws and numbers --------------------------------------------------------------------------------------------

    @property
    def _scale(self) -> float:
        """h."""
        return self.problem._isotropic_scale("reduced=True")

    @cached_property
    def _laws(self) -> dict[str, ChiSquare]:
        """The laws of t^2, y and c."""
        laws = {"along": ChiSquare(self.batch_size)}
        if self.problem.noise_std > 0 and self.batch_size > 1 and self.problem.dim > 1:
            laws["beside"] = ChiSquare(self.batch_size - 1)
        return laws | {"across": ChiSquare(self.problem.dim - 1)}

    @cached_property
    def parameters(self) -> dict[str, float]:
        """Symbols that are numbers of the problem."""
        values = {"p_noise": self.problem.noise_std / math.sqrt(self._scale)}
        for name, law in self._laws.items():
            values |= dict(zip(_names(law, name), law.coefficients, strict=True))
        return values

    def rate_constants(self, rates: np.ndarray, first_step: int, n_steps: int) -> np.ndarray:
        """g, the step sizes times h / B."""
        return rates * (self._scale / self.batch_size)


def _names(law: ChiSquare, name: str) -> list[str]:
    """What the law's coefficients are called."""
    return [f"p_{name}{k}" for k in range(len(law.coefficients))]


class _Draw:
    """Draws in their order, and what laws make of them."""

    def __init__(self, laws: Mapping[str, ChiSquare]) -> None:
        self.laws = laws
        self.n_normals = self.n_uniforms = 0

    def normal(self) -> Expr:
        self.n_normals += 1
        return symbol(f"z{self.n_normals - 1}")

    def square(self, name: str) -> Expr:
        """A variate of a law."""
        return self.laws[name].of(*self._given(name))

    def root(self, name: str) -> Expr:
        """A root of one."""
        return self.laws[name].root_of(*self._given(name))

    def _given(self, name: str) -> tuple[list[Expr], list[Expr], list[Expr]]:
        law = self.laws[name]
        normals = symbols("z", law.n_normals, first=self.n_normals)
        uniforms = symbols("u", law.n_uniforms, first=self.n_uniforms)
        self.n_normals += law.n_normals
        self.n_uniforms += law.n_uniforms
        return normals, uniforms, [symbol(n) for n in _names(law, name)]
