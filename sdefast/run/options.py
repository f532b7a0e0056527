"""Options that the calls of all families take, checked once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import checks
from ..engine.statistics import Histogram

#: Draws of one chain, in every stream: csrc/noise/stream.hpp numbers them with so many bits.
_DRAW_BITS = 40


def seed(value: Any) -> int:
    """A seed in [0, 2**64); a random one for None."""
    return int.from_bytes(os.urandom(8), "little") if value is None else checks.seed("seed", value)


def first_chain(value: Any) -> int:
    """Number of the first chain; 0 for None."""
    return 0 if value is None else checks.count("first_chain", value, least=0, most=2**62)


def many(name: str, value: Any) -> int:
    """How many chains: ``name`` is the family's word for that number."""
    return checks.count(name, value, most=2**52)


def named_functions(what: str, functions: Any) -> tuple[tuple[str, Callable[..., Any]], ...]:
    """A mapping of names to functions."""
    if functions is None:
        return ()
    if not isinstance(functions, Mapping):
        raise TypeError(f"{what} must be a mapping of names to functions, got {checks.shown(functions)}")
    for name, function in functions.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"{what} must have strings as names, got {name!r}")
        if not callable(function):
            raise TypeError(f"{what}[{name!r}] must be a function of (t, x), got {checks.shown(function)}")
    return tuple(functions.items())


def parameters(params: Any) -> dict[str, float]:
    """Parameters of users' functions: a mapping of names to numbers."""
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping of names to numbers, got {checks.shown(params)}")
    for name in params:
        if not checks.is_attribute(name):
            raise ValueError(f"params must have names that can follow 'p.', got {name!r}")
        if np.ndim(params[name]):
            raise TypeError(
                f"params[{name!r}] must be a number, got an array of shape {np.shape(params[name])}: give each number "
                "a name, or let the functions refer to the array, whose numbers are then compiled in"
            )
    return {name: checks.real(f"params[{name!r}]", value) for name, value in params.items()}


def histogram(value: Any) -> Histogram | None:
    """``(low, high, bins)``, or None."""
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        raise TypeError(f"histogram must be (low, high, bins), got {checks.shown(value)}")
    low, high = (checks.real(f"histogram[{i}]", value[i]) for i in range(2))
    if low >= high:
        raise ValueError(f"histogram must have low < high, got {low} and {high}")
    return Histogram(low, high, checks.count("histogram[2]", value[2], most=2**24))


def moments(value: Any) -> int | None:
    """2 or 4, or None."""
    if value is not None and not (isinstance(value, (int, np.integer)) and value in (2, 4)):
        raise ValueError(f"moments must be 2 or 4, got {checks.shown(value)}")
    return None if value is None else int(value)


#: Third and fourth moments are gathered without being asked for at so few saved times, or at an eighth of the steps.
_FEW_TIMES = 16


def gathered_moments(asked: int | None, n_saves: int, n_steps: int) -> int:
    """How many moments to gather: what is asked for, else 4 where that is a small part of the work."""
    if asked is not None:
        return asked
    return 2 if n_saves > _FEW_TIMES and 8 * n_saves > n_steps else 4


def refuse_too_many_draws(n_steps: int, draws: int) -> None:
    """ValueError where a chain would need more draws of a kind than it has."""
    if (n_steps * draws) >> _DRAW_BITS:
        raise ValueError(f"n_steps is too large: a chain has 2**{_DRAW_BITS} draws, {n_steps} steps need more")
