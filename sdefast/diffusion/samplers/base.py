"""What a sampler is: the rows of the table that one kernel runs, and what it claims, for users and for the tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ... import checks
from ..levels import Level

#: What a row does with its D, or with its x and D, once out is computed.
NOTHING, PUSH, HOLD = 0, 1, 2


@dataclass(frozen=True)
class Row:
    """One call of the kernel: x becomes a x + b D + noise eps + c1 H1 + c2 H2 + s z, D being what the model means.

    Attributes
    ----------
    at : Level or None
        Where the model is called at x; None if it is not.
    to : Level
        Where x is after the row.
    a, b, noise, c1, c2, s : float
        The coefficients; ``noise`` is that of eps = (x - alpha D) / sigma before D was clipped.
    keep : int
        `PUSH`: H2 becomes H1, and H1 becomes D; `HOLD`: H1 becomes x as it was, and H2 becomes D.
    key : int
        Which noise z is.
    snr : float
        If above 0, the row is a Langevin step along the score a x + b D, of size 2 (snr |z| / |score|)^2.
    """

    at: Level | None
    to: Level
    a: float = 0.0
    b: float = 0.0
    noise: float = 0.0
    c1: float = 0.0
    c2: float = 0.0
    s: float = 0.0
    keep: int = NOTHING
    key: int = 0
    snr: float = 0.0


@dataclass(frozen=True)
class Option:
    """What a sampler can be told: what it is if nothing is said, and what refuses other values."""

    default: Any
    check: Callable[[str, Any], Any]


@dataclass(frozen=True)
class Sampler:
    """A sampler by name.

    Attributes
    ----------
    name : str
        What `plan` calls it.
    rows : callable
        ``rows(levels, **options)``, the rows that go through these levels.
    order : int
        How the error of the law falls with the size of the steps.
    reference : str
        Where it is from.
    options : mapping of str to Option
        What it can be told.
    """

    name: str
    rows: Callable[..., Iterator[Row]]
    order: int
    reference: str
    options: Mapping[str, Option]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", dict(self.options))

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, those that were not given by default."""
        unknown = [name for name in given if name not in self.options]
        if unknown:
            takes = "takes " + ", ".join(map(repr, self.options)) if self.options else "takes no options"
            raise TypeError(f"{self.name!r} has no option {unknown[0]!r}: it {takes}")
        return {
            name: option.check(name, given[name]) if name in given else option.default
            for name, option in self.options.items()
        }


def nonnegative(name: str, value: Any) -> float:
    """A number, at least 0."""
    return checks.real(name, value, least=0.0)


def bound(name: str, value: Any) -> float:
    """A number, at least 0, that may be infinite."""
    return math.inf if isinstance(value, float) and value == math.inf else nonnegative(name, value)


def one_of(*names: str) -> Callable[[str, Any], str]:
    """What takes these names only."""
    return lambda name, value: checks.choice(name, value, names)


def first_order(now: Level, to: Level, eta: float = 0.0) -> tuple[float, float, float]:
    """(a, b, s) of the step that is exact if D stays the same, with ``eta`` times the noise of q(x' | x, D).

    Into sigma = 0 it is x' = D.
    """
    left = now.alpha * to.sigma / (to.alpha * now.sigma)
    s = min(eta * to.sigma * math.sqrt(max(0.0, (1 - left) * (1 + left))), to.sigma)
    a = math.sqrt(max(0.0, (to.sigma - s) * (to.sigma + s))) / now.sigma
    return a, to.alpha - now.alpha * a, s
