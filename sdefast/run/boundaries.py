"""Boundaries of the state space, applied after every step: ``simulate(..., boundary=reflect(lower=0.0))``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..trace import Expr, as_expr, constant, make, select
from .records import Recorded

__all__ = ["Boundary", "absorb", "positive", "reflect"]


def __dir__() -> list[str]:
    return __all__


Vector = tuple[Expr, ...]


@dataclass(frozen=True)
class Boundary(Recorded):
    """Base class of boundaries of one component."""

    component: int
    lower: float | None
    upper: float | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "component", checks.count("component", self.component, least=0))
        for name in ("lower", "upper"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.real(name, getattr(self, name)))
        if self.lower is None and self.upper is None:
            raise TypeError("a boundary needs lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower must be less than upper, got {self.lower} and {self.upper}")

    def check(self, dim: int) -> None:
        """ValueError if there is no such component."""
        if self.component >= dim:
            raise ValueError(f"component must be from 0 to {dim - 1}, got {self.component}")

    def check_start(self, x0: np.ndarray) -> None:
        """ValueError if a start state, (dim, n), lies beyond a border."""
        values = x0[self.component]
        low, high = -math.inf if self.lower is None else self.lower, math.inf if self.upper is None else self.upper
        wrong = (values < low) | (values > high)
        if wrong.any():
            raise ValueError(
                f"x0 must begin within the boundary: component {self.component} from {low} to {high}, "
                f"got {values[wrong][0]}"
            )

    def apply(self, old: Vector, new: Vector) -> Vector:
        """The state after a step from ``old`` that would lead to ``new``."""
        raise NotImplementedError

    def is_free(self, x: Vector) -> Expr:
        """Whether a path moves on from ``x``."""
        return constant(True)

    def confine(self, component: int, value: Expr) -> Expr:
        """A value that the component would take on the way, as far as it can go."""
        return self._clamp(value) if component == self.component else value

    def _replace(self, x: Vector, value: Expr) -> Vector:
        return tuple(value if i == self.component else xi for i, xi in enumerate(x))

    def _clamp(self, value: Expr) -> Expr:
        if self.lower is not None:
            value = make("max", value, constant(self.lower))
        return value if self.upper is None else make("min", value, constant(self.upper))


def boundaries_of(given: Any, dim: int) -> tuple[Boundary, ...]:
    """What ``boundary=`` asks for, of a state of ``dim`` components; None, one or a list of them."""
    found = () if given is None else tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for boundary in found:
        if not isinstance(boundary, Boundary):
            raise TypeError(
                f"boundary must be one of sdefast.boundaries, or a list of them, got {checks.shown(boundary)}"
            )
        boundary.check(dim)
    return found


@dataclass(frozen=True)
class Reflect(Boundary):
    """See `reflect`."""

    def apply(self, old: Vector, new: Vector) -> Vector:
        value = new[self.component]
        if self.lower is not None:
            value = as_expr(select(value < self.lower, 2 * self.lower - value, value))
        if self.upper is not None:
            value = as_expr(select(value > self.upper, 2 * self.upper - value, value))
        return self._replace(new, self._clamp(value))  # a step longer than the interval ends at its border


@dataclass(frozen=True)
class Absorb(Boundary):
    """See `absorb`."""

    def is_free(self, x: Vector) -> Expr:
        value, inside = x[self.component], constant(True)
        if self.lower is not None:
            inside = inside & (value > self.lower)
        if self.upper is not None:
            inside = inside & (value < self.upper)
        return inside

    def apply(self, old: Vector, new: Vector) -> Vector:
        free = self.is_free(old)
        new = self._replace(new, self._clamp(new[self.component]))
        return tuple(as_expr(select(free, n, o)) for n, o in zip(new, old, strict=True))


@dataclass(frozen=True)
class Positive(Boundary):
    """See `positive`."""

    def apply(self, old: Vector, new: Vector) -> Vector:
        return self._replace(new, self._clamp(new[self.component]))


def reflect(lower: float | None = None, upper: float | None = None, component: int = 0) -> Boundary:
    """What a step takes beyond a border is folded back: exact in law for Brownian motion without drift.

    Parameters
    ----------
    lower, upper : float, optional
        The borders, one or both.
    component : int
        Which component of the state.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.simulate(sf.BrownianMotion(), x0=0.5, t1=1.0, n_steps=100, n_paths=1000, seed=1,
    ...                   boundary=sf.boundaries.reflect(lower=0.0, upper=1.0))
    >>> bool((run.x >= 0).all() and (run.x <= 1).all())
    True
    """
    return Reflect(component, lower, upper)


def absorb(lower: float | None = None, upper: float | None = None, component: int = 0) -> Boundary:
    """A path that reaches a border at the end of a step stays as it is there, in all components.

    What happens between the steps is not seen, so that too few paths are absorbed, by an amount of order sqrt(h).
    Stopping, which sees it, has an error of the order of h, and none for Brownian motion::

        simulate(..., stop_when=lambda t, x: x[0] > 1.0)

    Parameters as for `reflect`.
    """
    return Absorb(component, lower, upper)


def positive(component: int = 0) -> Boundary:
    """A component that a step makes negative is set to zero, and may leave it again."""
    return Positive(component, 0.0, None)
