"""What a model is: parameters, a compiled step per scheme with its coefficients, and closed forms where they exist."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...run.boundaries import Boundary
from ...run.records import Recorded
from ..schemes import SCHEMES


class Step(NamedTuple):
    """A compiled step and its coefficients.

    ``kernel`` names a step in ``csrc/models``; ``coefficients`` is a float64 array of shape (n, c) with one row per
    step size, in the order that the kernel's header lists.
    """

    kernel: str
    coefficients: np.ndarray


def rows(*columns: Any) -> np.ndarray:
    """Columns, of which the first is an array and others may be numbers, side by side as float64."""
    out = np.empty((len(columns[0]), len(columns)))
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


@dataclass(frozen=True)
class Model(Recorded):
    """Base class of the built-in models: an Ito SDE dX = a(t, X) dt + b(t, X) dW.

    A model gives, for each scheme that it has a compiled step for, a method that turns step sizes into a `Step`;
    ``schemes`` lists them. Its coefficients in scalar Python code, ``a(t, x, p)`` and ``b(t, x, p)``, run under all
    other schemes. Subclasses are frozen dataclasses whose fields are the parameters, checked in ``__post_init__``.
    """

    #: scheme name -> name of the method that returns its `Step` for an array of step sizes
    schemes: ClassVar[Mapping[str, str]]
    #: where the command line starts it, one number per component
    example_start: ClassVar[tuple[float, ...]] = (1.0,)
    #: whether b does not depend on the state (Euler-Maruyama then has strong order 1)
    additive_noise: ClassVar[bool] = False

    @property
    def dim(self) -> int:
        """Number of components of the state."""
        return 1

    @property
    def noise_dim(self) -> int:
        """Number of independent Brownian motions, which is the number of normals drawn per step."""
        return 1

    def noise_dim_of(self, scheme: str) -> int:
        """Number of normals that a step of ``scheme`` draws; `noise_dim` unless a model says otherwise."""
        return self.noise_dim

    #: the kind of noise that ``b`` returns, see `sdefast.SDE`
    noise_kind: ClassVar[str] = "diagonal"

    @staticmethod
    def a(t: Any, x: Any, p: Any) -> Any:
        """The drift."""
        raise NotImplementedError

    @staticmethod
    def b(t: Any, x: Any, p: Any) -> Any:
        """The diffusion."""
        raise NotImplementedError

    #: the exact transition in scalar Python code, ``exact_step(h, root, x, z, p)`` with ``root`` = sqrt(h), if any
    exact_step: ClassVar[Callable[..., Any] | None] = None

    #: whether the logarithm of the state is a Brownian motion
    logarithmic: ClassVar[bool] = False

    def in_python(self) -> dict[str, Any]:
        """The equation in scalar Python code, as the arguments of `SDE`; `sde.sde_of` makes one."""
        return {
            "drift": self.a, "diffusion": self.b, "dim": self.dim, "noise": self.noise_kind,
            "noise_dim": self.noise_dim, "params": self.parameters(), "jumps": self.jumps,
        }  # fmt: skip

    @property
    def jumps(self) -> Any:
        """What else moves the state, `sdefast.jumps`; None for a diffusion."""
        return None

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the schemes that it runs under."""
        return tuple(name for name, scheme in SCHEMES.items() if scheme.step is not None or self._brings(name))

    def _brings(self, scheme: str) -> bool:
        """Whether the model has a step of its own for a scheme."""
        return scheme in self.schemes or (scheme == "exact" and self.exact_step is not None)

    def boundaries(self) -> tuple[Boundary, ...]:
        """What keeps the state in its space where a scheme in Python code would leave it."""
        return ()

    def step(self, scheme: str, h: np.ndarray) -> Step:
        """The compiled step of ``scheme`` for step sizes ``h`` of shape (n,)."""
        step: Step = getattr(self, self.schemes[scheme])(h)
        return step

    def check_start(self, x0: np.ndarray) -> None:
        """Raise ValueError if a start value lies outside the state space; ``x0`` has shape (dim,) or (n, dim)."""

    def rates(self, t: float, x: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """Drift and strength of the noise (the root of its variance per unit of time) of every component at a point."""
        a, b = self.a(t, x, self), self.b(t, x, self)
        if self.dim == 1:
            return (a,), (abs(b),)
        return a, [math.hypot(*row) for row in b]

    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def exact_moments(model: Model, elapsed: np.ndarray, x0: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Exact mean and variance, each (n_times, dim), or None for a model without closed forms."""
    if not (hasattr(model, "mean") and hasattr(model, "variance")):
        return None
    start = np.asarray(x0, np.float64).reshape(model.dim)
    shape = (len(elapsed), model.dim)
    x = start if model.dim > 1 else start[0]
    return np.reshape(model.mean(elapsed, x), shape), np.reshape(model.variance(elapsed, x), shape)
