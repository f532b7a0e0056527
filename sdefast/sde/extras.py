"""What else happens to a chain besides its scheme's step, and what is asked of it: as given, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .. import checks
from ..engine.gathering import MOST
from ..lazy import cached_property
from ..run import options
from ..run.boundaries import Boundary, boundaries_of
from ..run.records import Recorded
from ..trace import captured
from .arrivals import Written
from .events import Reset, checked_events
from .functionals import Functional
from .models.base import Model
from .sensitivities import checked_sensitivities, refuse_jumps


@dataclass(frozen=True)
class Extras(Recorded):
    """What else happens to a chain.

    ``functionals`` and ``expectations`` are pairs of a name and what it stands for; ``jumps`` is what a
    step of a model with jumps is written for.
    """

    boundaries: tuple[Boundary, ...] = ()
    functionals: tuple[tuple[str, Functional], ...] = ()
    stop_when: Callable[..., Any] | None = None
    antithetic: bool = False
    expectations: tuple[tuple[str, Callable[..., Any]], ...] = ()
    controls: tuple[tuple[str, Callable[..., Any], Any], ...] = ()
    sensitivities: tuple[str, ...] = ()
    jumps: Written | None = None
    events: tuple[tuple[str, Reset], ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Functions travel by value: lambdas too reach a file or another process."""
        import cloudpickle

        return _unpickle, (cloudpickle.dumps({field.name: getattr(self, field.name) for field in fields(self)}),)

    @cached_property
    def captured(self) -> Any:
        """What the functions depend on besides their arguments."""
        others = [vars(functional) for _, functional in (*self.functionals, *self.events)]
        return captured([self.stop_when, self.expectations, [f for _, f, _ in self.controls], others])

    @property
    def has_functions_in_step(self) -> bool:
        """Whether functions of the user decide what a step does."""
        own = any(callable(getattr(f, "of", None)) for _, f in self.functionals)
        return own or self.stop_when is not None or bool(self.events)

    @property
    def change_step(self) -> bool:
        """Whether a step is more than the scheme's."""
        followed = self.boundaries or self.functionals or self.stop_when or self.antithetic or self.sensitivities
        return bool(followed or self.jumps or self.events)

    def n_carried(self, dim: int) -> int:
        """Rows that a path of ``dim`` components carries: functionals, events, tangents, the time of stopping."""
        followed = dim + len(self.functionals)
        own = len(self.functionals) + sum(event.n_rows for _, event in self.events)
        return own + len(self.sensitivities) * followed + (self.stop_when is not None)

    @property
    def n_asked(self) -> int:
        """How many expectations there are, with their derivatives."""
        return len(self.expectations) * (1 + len(self.sensitivities))


def _unpickle(data: bytes) -> Extras:
    import cloudpickle

    return Extras(**cloudpickle.loads(data))


_NOTHING = Extras()


def checked_controls(controls: Any) -> tuple[tuple[str, Any, Any], ...]:
    """Functions with their expected values, checked."""
    if controls is None:
        return ()
    if not isinstance(controls, Mapping) or not all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in controls.values()
    ):
        raise TypeError(
            f"controls must be a mapping of names to (function, expected value), got {checks.shown(controls)}"
        )
    functions = options.named_functions("controls", {name: pair[0] for name, pair in controls.items()})
    return tuple(
        (name, function, _expected(f"controls[{name!r}][1]", controls[name][1])) for name, function in functions
    )


def _expected(what: str, known: Any) -> Any:
    """A control's expected value: a function of time, a number, or a tuple with one number for every saved time."""
    if callable(known):
        return known
    values = checks.array(what, known)
    if values.ndim > 1:
        raise ValueError(f"{what} must be a number or of shape (n_times,), got shape {values.shape}")
    return tuple(values.tolist()) if values.ndim else float(values)


def checked_extras(model: Model, chain: dict[str, Any], expectations: Any, controls: Any) -> Extras:
    """What else happens to a chain, checked."""
    if all(value is None for name, value in chain.items() if name != "method"):
        return with_expectations(_NOTHING, expectations, controls)
    boundaries = boundaries_of(chain["boundary"], model.dim)
    functionals = chain["functionals"]
    if functionals is None:
        functionals = {}
    if not isinstance(functionals, Mapping):
        raise TypeError(
            f"functionals must be a mapping of names to sdefast.functionals, got {checks.shown(functionals)}"
        )
    for name, functional in functionals.items():
        if not checks.is_attribute(name):
            raise ValueError(f"functionals must have names that can follow 'y.', got {name!r}")
        if not isinstance(functional, Functional):
            raise TypeError(f"functionals[{name!r}] must be one of sdefast.functionals, got {checks.shown(functional)}")
        functional.check(model.dim)
    stop_when = chain["stop_when"]
    if stop_when is not None and not callable(stop_when):
        raise TypeError(f"stop_when must be a function of (t, x), got {checks.shown(stop_when)}")
    antithetic = chain["antithetic"] is not None and checks.flag("antithetic", chain["antithetic"])
    named = tuple(functionals.items())
    events = checked_events(chain.get("events"))
    both = sorted({name for name, _ in events} & set(functionals))
    if both:
        raise ValueError(f"events must have other names than functionals, got {both[0]!r} twice")
    derived = () if chain.get("sensitivities") is None else chain["sensitivities"]
    derived = checked_sensitivities(derived, model.parameters(), model.dim)
    if derived:
        refuse_jumps(derived, model, named, events, stop_when)
    extras = Extras(boundaries, named, stop_when, antithetic, sensitivities=derived, events=events)
    return with_expectations(extras, expectations, controls)


def with_expectations(extras: Extras, expectations: Any, controls: Any) -> Extras:
    """The same with other expectations."""
    if not expectations and not controls:
        return extras if not extras.expectations else replace(extras, expectations=(), controls=())
    if not expectations:
        raise TypeError("controls correct expectations: pass expectations too")
    names = [name for name, *_ in (*expectations, *controls)]
    if len(set(names)) < len(names):
        raise ValueError("controls must have other names than expectations")
    if len(names) > MOST:
        raise ValueError(f"expectations and controls may be {MOST} together, got {len(names)}")
    return replace(extras, expectations=expectations, controls=controls)
