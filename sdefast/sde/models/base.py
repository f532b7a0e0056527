"""What a model is: parameters, a compiled step per scheme with its coefficients, and closed forms where they exist."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ... import checks
from ...lazy import cached_property
from ...run.boundaries import Boundary
from ...run.keywords import refuse_unknown
from ...run.parameters import Array, first_numbers, is_array, per_path
from ...run.records import Recorded


class Step(NamedTuple):
    """A compiled step and its coefficients.

    ``kernel`` names a step in ``csrc/models``; ``coefficients`` is a float64 array of shape (n, c) with one row per
    step size, in the order that the kernel's header lists.
    """

    kernel: str
    coefficients: np.ndarray


class OwnStep(NamedTuple):
    """A scheme's step that a model brings itself, in scalar Python code.

    ``move(h, root, x, z, u, p)`` with ``root`` = sqrt(h), standard normals ``z``, uniforms ``u`` on (0, 1) and the
    parameters ``p``: the state after a step from ``x``.
    """

    move: Callable[..., Any]
    n_normals: int
    n_uniforms: int = 0


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
    ``schemes`` lists them. ``own_steps`` lists the schemes whose step, in scalar Python code, is the model's. Its
    coefficients in scalar Python code, ``a(t, x, p)`` and ``b(t, x, p)``, run under all other schemes. Subclasses are
    frozen dataclasses whose fields are the parameters, checked in ``__post_init__``.
    """

    #: scheme name -> name of the method that returns its `Step` for an array of step sizes
    schemes: ClassVar[Mapping[str, str]]
    #: scheme name -> name of the method that returns its `OwnStep`, for schemes that are every model's own
    own_steps: ClassVar[Mapping[str, str]] = {}
    #: where the command line starts it, one number per component
    example_start: ClassVar[tuple[float, ...]] = (1.0,)
    #: what the components are called, if they have names
    component_names: ClassVar[tuple[str, ...]] = ()
    #: whether its law may have several modes, which a mean and a deviation do not show
    is_multimodal: ClassVar[bool] = False
    #: whether b does not depend on the state (Euler-Maruyama then has strong order 1)
    additive_noise: ClassVar[bool] = False

    def __new__(cls, *args: Any, **given: Any) -> Any:
        """Refuse parameters that there are not, naming those that are meant."""
        if given:
            refuse_unknown(cls.__name__, given, [field.name for field in fields(cls)])
        return super().__new__(cls)

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
        """Names of the schemes that it runs under, with these parameters."""
        return type(self).find_methods(self)

    #: what finds them: settings.py, where schemes meet equations
    find_methods: ClassVar[Callable[[Model], tuple[str, ...]]]

    def has(self, scheme: str) -> bool:
        """Whether it brings a step for a scheme itself."""
        return scheme in self.schemes or scheme in self.own_steps

    def own_step(self, scheme: str) -> OwnStep | None:
        """The step of ``scheme`` in scalar Python code where it is the model's own; ValueError if these parameters have
        none."""
        if scheme not in self.own_steps:
            return None
        step: OwnStep = getattr(self, self.own_steps[scheme])()
        return step

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
        p = SimpleNamespace(**self.numbers()) if self.per_path else self
        a, b = self.a(t, x, p), self.b(t, x, p)
        if self.dim == 1:
            return (a,), (abs(b),)
        return a, [math.hypot(*row) for row in b]

    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    # Parameters of which every path has its own ------------------------------------------------------------------

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__post_init__")
        if own is not None and not hasattr(cls, "drift"):
            cls.__post_init__ = _checking_each_path(own)  # type: ignore[attr-defined]

    @cached_property
    def per_path(self) -> dict[str, Array]:
        """The parameters that differ between paths."""
        return per_path(self.parameters())

    def numbers(self) -> dict[str, Any]:
        """The parameters as numbers: of those that differ between paths the first path's."""
        return first_numbers(self.parameters())

    @property
    def of_any_path(self) -> Model:
        """Itself without the values of the paths' own parameters."""
        changed = {name: value.of_any_path for name, value in self.per_path.items()}
        return self._with_parameters(changed) if changed else self

    def with_parameters(self, values: Mapping[str, Any]) -> Model:
        """The same model with other values of some parameters.

        >>> import sdefast as sf
        >>> sf.BlackScholes(mu=0.05, sigma=0.2).with_parameters({"mu": 0.1})
        BlackScholes(mu=0.1, sigma=0.2)
        """
        unknown = [name for name in values if name not in self.parameters()]
        if unknown:
            raise ValueError(f"{type(self).__name__} has parameters {', '.join(self.parameters())}, not {unknown[0]!r}")
        return self._changed(values)

    def _changed(self, values: Mapping[str, Any]) -> Model:
        return replace(self, **values)

    def _with_parameters(self, changed: Mapping[str, Any]) -> Model:
        """The same with other values, which are not checked."""
        own = object.__new__(type(self))
        own.__dict__.update({**self.__dict__, **changed})
        own.__dict__.pop("per_path", None)
        return own

    def joined(self, others: Sequence[Model]) -> Model:
        """That of all paths of neighbouring ranges of them, of which this is the first's."""
        changed = {
            name: value.joined([other.per_path[name] for other in others]) for name, value in self.per_path.items()
        }
        return self._with_parameters(changed) if changed else self


def _checking_each_path(check: Callable[[Any], None]) -> Callable[[Any], None]:
    """A model's checks, also of arrays with a number for every path: those of their ends are those of all."""

    @wraps(check)
    def post_init(self: Any) -> None:
        floats = [field.name for field in fields(self) if field.type in (float, "float")]
        arrays = {
            name: value if isinstance(value, Array) else Array.of(name, value)
            for name in floats
            if isinstance(value := getattr(self, name), Array) or is_array(value)
        }
        for ends in (np.min, np.max) if arrays else ():
            for name, value in arrays.items():
                end = value.first if value.values is None else float(ends(value.values))
                object.__setattr__(self, name, end)
            check(self)
        if not arrays:
            check(self)
        for name, value in arrays.items():
            object.__setattr__(self, name, value)

    return post_init


def check_model(value: Any) -> None:
    """TypeError if ``value`` is no model."""
    if not isinstance(value, Model):
        raise TypeError(f"model must be a model such as sdefast.OrnsteinUhlenbeck(), got {checks.shown(value)}")


def exact_moments(model: Model, elapsed: np.ndarray, x0: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Exact mean and variance, each (n_times, dim), or None for a model without closed forms, or of many parameters."""
    if model.per_path or not (hasattr(model, "mean") and hasattr(model, "variance")):
        return None
    start = np.asarray(x0, np.float64).reshape(model.dim)
    shape = (len(elapsed), model.dim)
    x = start if model.dim > 1 else start[0]
    return np.reshape(model.mean(elapsed, x), shape), np.reshape(model.variance(elapsed, x), shape)
