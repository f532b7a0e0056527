"""What a method is: one step of a chain, and what it claims, for users and for the tests that hold it to that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...trace import Expr, as_expr, make
from ..metric import Metric
from ..targets.density import Density, Parts, Vector


@dataclass(frozen=True)
class Point:
    """Where a chain is before a step, and what the step may use, as expressions.

    ``x`` is the position and ``carried`` the method's other rows; ``z`` are independent standard normals, ``u``
    uniforms on (0, 1); ``h`` is the step size, ``temperature`` that of the target p^(1/T); ``options`` are the method's
    own numbers by name; ``metric`` is what preconditions the step; ``constants`` are what the method makes of step
    size, options and temperature alone; ``rows`` are those of data that a step drew.
    """

    density: Density
    x: Vector
    carried: Vector
    z: Vector
    u: Vector
    h: Expr
    temperature: Expr
    options: Mapping[str, Any]
    metric: Metric
    constants: Vector = ()
    rows: tuple[Vector, ...] = ()

    @property
    def dim(self) -> int:
        """Number of components of the position."""
        return len(self.x)

    @property
    def noise(self) -> Expr:
        """sqrt(2 T h), the standard deviation of the noise of a Langevin step."""
        return make("sqrt", as_expr(2 * self.temperature * self.h))


@dataclass(frozen=True)
class Move:
    """What a step makes of a chain: the new position and carried rows.

    Of methods that accept or reject, ``probability`` is that of acceptance, and ``undefined`` holds where it is no
    number, as the density is none.
    """

    position: Vector
    carried: Vector = ()
    probability: Expr | None = None
    undefined: Expr | None = None


def _nothing_carried(at: Point) -> Vector:
    return ()


@dataclass(frozen=True, repr=False)
class Method:
    """A sampling method and what it claims.

    Attributes
    ----------
    name : str
        What users pass as ``method=``.
    step : callable
        ``step(point)``: the `Move` from a `Point`.
    needs : tuple of str
        What a target must have: "log_density", "score", "hessian", "smooth_score", "prox", "data".
    bias_order : float
        Power of the step size with which the stationary law approaches the target; ``inf`` where it is the target, 0
        where it does not, as of descents.
    reference : str
        Where it was published.
    begin : callable
        ``begin(point)``: the carried rows at the start, where ``point.z`` has ``start_normals`` normals a component.
    normals, uniforms : callable
        ``normals(dim)``, ``uniforms(dim)``: how many it draws a step.
    start_normals : int
        Normals a component that `begin` uses.
    takes_metric : bool
        Whether it can be preconditioned by ``metric=``.
    has_velocity : bool
        Whether the first ``dim`` carried rows are velocities.
    draws_rows : bool
        Whether a step draws ``batch_size`` rows of data; ``uses_mode``: whether it has to know the target's mode.
    accepts : bool
        Whether it accepts or rejects; ``best_acceptance`` is then the rate that adaptation aims at.
    options : mapping of str to float
        Numbers of its own, with their defaults, None where they must be given; ``structural`` names those that shape
        the step, integers.
    constants : callable
        ``constants(h, options, temperature)``: numbers for every step size, which are computed once in float64.
    stable_step : callable or None
        ``stable_step(curvature, options)``: the largest step that is stable on a Gaussian with that largest eigenvalue
        of the precision.
    stable_parts : callable or None
        ``stable_parts(parts, options)``, the same of methods for -log p(x) = f(x) + g(Dx), from the `Parts`; None where
        there is no bound.
    gaussian_variance : callable or None
        ``gaussian_variance(p, h, options)``: the exact variance of the stationary law on N(0, 1/p) at temperature 1.
    """

    name: str
    step: Callable[[Point], Move]
    needs: tuple[str, ...]
    bias_order: float
    reference: str
    begin: Callable[[Point], Vector] = _nothing_carried
    normals: Callable[[int], int] = lambda dim: dim
    uniforms: Callable[[int], int] = lambda dim: 0
    start_normals: int = 0
    takes_metric: bool = False
    has_velocity: bool = False
    draws_rows: bool = False
    uses_mode: bool = False
    accepts: bool = False
    best_acceptance: float = 0.574
    options: Mapping[str, float | None] = field(default_factory=dict)
    structural: tuple[str, ...] = ()
    constants: Callable[[np.ndarray, Mapping[str, float], float], list[Any]] = lambda h, options, temperature: []
    stable_step: Callable[[float, Mapping[str, float]], float] | None = None
    stable_parts: Callable[[Parts, Mapping[str, float]], float | None] | None = None
    gaussian_variance: Callable[[Any, Any, Mapping[str, float]], Any] | None = None

    def __repr__(self) -> str:
        order = "exact" if math.isinf(self.bias_order) else f"bias of order {self.bias_order:g}"
        return f"<{self.name}: {order}; {self.reference}>"

    @property
    def takes_boundary(self) -> bool:
        """Whether positions may be confined by ``boundary=``: chains are nothing else, and every step is taken."""
        return self.begin is _nothing_carried and not self.accepts

    def start_rows(self, at: Point) -> tuple[Expr, ...]:
        """The carried rows at the start."""
        return tuple(map(as_expr, self.begin(at)))


def stable_gradient(parts: Parts, options: Mapping[str, float]) -> float | None:
    """2 / L of methods that take a gradient step of f alone, of curvature L at most, where g has kinks.

    A g that is curved everywhere makes longer steps stable.
    """
    return 2 / parts.smooth if parts.smooth is not None and parts.penalty is None else None


def exact_variance(p: Any, h: Any, options: Mapping[str, float]) -> Any:
    """That of a method whose stationary law is the target."""
    return 1 / np.asarray(p, float)
