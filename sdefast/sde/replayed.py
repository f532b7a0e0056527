"""Extras whose functions are known by what they compute: as files have them, and runs those that step their chains."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..trace import Replayed, call_with, symbol
from .events import Reset
from .extras import Extras
from .functionals import Functional
from .schemes.equation import replayed_inputs, state_symbols, time_symbol


def replayed(extras: Extras, dim: int, parameters: tuple[Any, ...], known: np.ndarray) -> Extras:
    """The same with functions that replay what these compute.

    ``parameters`` are their symbols; ``known`` are the controls' expected values, of shape (n_times, n_controls).
    """
    calls = _Calls.of(dim, parameters, [name for name, _ in (*extras.functionals, *extras.events)])
    controls = zip(extras.controls, known.T, strict=True)
    return replace(
        extras,
        functionals=tuple((name, calls.followed(f"functionals[{name!r}]", f)) for name, f in extras.functionals),
        events=calls.happening(extras.events),
        stop_when=None if extras.stop_when is None else calls.replay("stop_when", extras.stop_when),
        expectations=tuple((name, calls.replay(f"expectations[{name!r}]", f)) for name, f in extras.expectations),
        controls=tuple(
            (name, calls.replay(f"controls[{name!r}]", f), tuple(values.tolist()) if callable(value) else value)
            for (name, f, value), values in controls
        ),
    )


def as_traced(extras: Extras, dim: int, parameters: tuple[Any, ...]) -> Extras:
    """The same with functions in the step, of functionals and `stop_when`, that replay what these compute now.

    A run that goes on then goes on with them, whatever has become of the numbers that they read.
    """
    calls = _Calls.of(dim, parameters, [name for name, _ in (*extras.functionals, *extras.events)])
    return replace(
        extras,
        functionals=tuple((name, calls.followed("of", functional)) for name, functional in extras.functionals),
        events=calls.happening(extras.events),
        stop_when=None if extras.stop_when is None else calls.replay("stop_when", extras.stop_when),
    )


class _Calls(NamedTuple):
    """How users' functions are called: with (t, x, p, y) in symbols."""

    args: tuple[Any, ...]
    inputs: tuple[Any, ...]

    @classmethod
    def of(cls, dim: int, parameters: tuple[Any, ...], functionals: list[str]) -> _Calls:
        """In ``dim`` components, with functionals of these names."""
        y = namedtuple("Functionals", functionals)(*(symbol(f"y_{name}") for name in functionals))
        args = (time_symbol(), state_symbols(dim), parameters, y)
        return cls(args, replayed_inputs(dim, parameters, ("y", y)))

    def replay(self, what: str, function: Callable[..., Any], n_args: int = 4) -> Replayed:
        """A function of the first arguments."""
        outputs = call_with(function, what, *self.args[:n_args])
        return Replayed(getattr(function, "__name__", type(function).__name__), self.inputs[:n_args], outputs)

    def happening(self, events: tuple[tuple[str, Reset], ...]) -> tuple[tuple[str, Reset], ...]:
        """Events, of functions of (t, x, p)."""
        return tuple(
            (name, replace(event, when=self.replay("when", event.when, 3), to=self.replay("to", event.to, 3)))
            for name, event in events
        )

    def followed(self, what: str, functional: Functional) -> Functional:
        """A functional, of a component or of a function of (t, x, p)."""
        of = getattr(functional, "of", None)
        if not callable(of):
            return functional
        changed: Functional = replace(functional, of=self.replay(what, of, 3))  # type: ignore[call-arg]
        return changed
