"""Laws of input vectors whose coordinates are independent copies of one real random variable."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

from .. import checks
from ..run.records import Recorded

__all__ = ["InputLaw", "Normal", "Rademacher", "Student", "Uniform"]


def __dir__() -> list[str]:
    return __all__


class InputLaw(Recorded, ABC):
    """Law of one coordinate of the inputs x; all d coordinates are independent and follow it.

    A law of one's own gives the mean and three central moments; the exact results need nothing else.

    Examples
    --------
    >>> from sdefast.least_squares import InputLaw, Uniform
    >>> isinstance(Uniform(0.0, 5.0), InputLaw)
    True
    """

    kind: ClassVar[str] = "custom"

    @property
    @abstractmethod
    def mean(self) -> float:
        """E x."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """E (x - E x)^2."""

    @property
    def third_central_moment(self) -> float:
        """E (x - E x)^3, zero for a law that is symmetric about its mean."""
        return 0.0

    @property
    @abstractmethod
    def fourth_central_moment(self) -> float:
        """E (x - E x)^4."""

    @property
    def parameters(self) -> tuple[float, ...]:
        """The numbers that, with ``kind``, say which law this is."""
        return ()

    def moment(self, k: int) -> float:
        """The raw moment E x^k for k from 1 to 4, by the binomial theorem from the central moments.

        Raises
        ------
        ValueError
            If the moment is infinite.
        """
        k = checks.count("k", k, most=4)
        central = ("mean", "variance", "third_central_moment", "fourth_central_moment")
        # Only the moments up to order k are asked for: higher ones may be infinite.
        terms = (math.comb(k, j) * getattr(self, central[j - 1]) * self.mean ** (k - j) for j in range(2, k + 1))
        return float(self.mean**k + sum(terms))


@dataclass(frozen=True)
class Normal(InputLaw):
    """The standard normal law, with mean 0, variance 1 and fourth moment 3.

    Examples
    --------
    >>> from sdefast.least_squares import Normal
    >>> Normal().moment(4)
    3.0
    """

    kind = "normal"
    mean, variance, fourth_central_moment = 0.0, 1.0, 3.0


@dataclass(frozen=True)
class Rademacher(InputLaw):
    """Random signs, 1 and -1 with probability 1/2 each: mean 0, variance 1 and fourth moment 1.

    Examples
    --------
    >>> from sdefast.least_squares import Rademacher
    >>> Rademacher().moment(4)
    1.0
    """

    kind = "rademacher"
    mean, variance, fourth_central_moment = 0.0, 1.0, 1.0


@dataclass(frozen=True)
class Uniform(InputLaw):
    """The uniform law on the interval from ``low`` to ``high``.

    Parameters
    ----------
    low, high : float
        Ends of the interval, low < high. Their mean need not be zero.

    Examples
    --------
    >>> from sdefast.least_squares import Uniform
    >>> Uniform(0.0, 5.0).mean
    2.5
    """

    low: float
    high: float

    kind = "uniform"

    def __post_init__(self) -> None:
        low, high = checks.real("low", self.low), checks.real("high", self.high)
        if not low < high:
            raise ValueError(f"low must be below high, got low={low:g} and high={high:g}")
        object.__setattr__(self, "low", low + 0.0)
        object.__setattr__(self, "high", high + 0.0)

    @property
    def mean(self) -> float:
        """The middle of the interval."""
        return 0.5 * self.low + 0.5 * self.high

    @property
    def variance(self) -> float:
        """The squared length of the interval over 12."""
        return (self.high - self.low) ** 2 / 12

    @property
    def fourth_central_moment(self) -> float:
        """The fourth power of the length of the interval over 80."""
        return (self.high - self.low) ** 4 / 80

    @property
    def parameters(self) -> tuple[float, ...]:
        """(low, high)."""
        return astuple(self)


@dataclass(frozen=True)
class Student(InputLaw):
    """Student's t law, not rescaled: its variance is df / (df - 2).

    Its moment of order k is finite if df > k. A moment that is infinite raises ValueError when it is asked for.

    Parameters
    ----------
    df : float
        Degrees of freedom, positive. Least squares needs df > 2, its second-moment recursions df > 4.

    Examples
    --------
    >>> from sdefast.least_squares import Student
    >>> Student(6.0).variance
    1.5
    """

    df: float

    kind = "student"

    def __post_init__(self) -> None:
        object.__setattr__(self, "df", checks.real("df", self.df, positive=True))

    @property
    def mean(self) -> float:
        """E x = 0, for df > 1."""
        self._need(1, "mean")
        return 0.0

    @property
    def variance(self) -> float:
        """Var x = df / (df - 2), for df > 2."""
        self._need(2, "variance")
        return self.df / (self.df - 2)

    @property
    def third_central_moment(self) -> float:
        """E x^3 = 0, for df > 3."""
        self._need(3, "third moment")
        return 0.0

    @property
    def fourth_central_moment(self) -> float:
        """E x^4 = 3 df^2 / ((df - 2) (df - 4)), for df > 4."""
        self._need(4, "fourth moment")
        return 3 * self.df**2 / ((self.df - 2) * (self.df - 4))

    @property
    def parameters(self) -> tuple[float, ...]:
        """(df,)."""
        return astuple(self)

    def _need(self, order: int, what: str) -> None:
        if self.df <= order:
            raise ValueError(f"df must be above {order} for a finite {what} of Student's law, got {self.df:g}")


#: laws by their names in text, with the number of their parameters
_LAWS: dict[str, tuple[Callable[..., InputLaw], int]] = {
    "normal": (Normal, 0), "uniform": (Uniform, 2), "rademacher": (Rademacher, 0), "student": (Student, 1),
}  # fmt: skip


def law_of(given: Any, name: str = "inputs") -> InputLaw:
    """A law, or one in text: its name and its parameters, separated by colons.

    Raises
    ------
    TypeError, ValueError
        If it is neither.

    Examples
    --------
    >>> from sdefast.least_squares.inputs import law_of
    >>> law_of("uniform:-1:1")
    Uniform(low=-1.0, high=1.0)
    """
    if isinstance(given, InputLaw):
        return given
    if not isinstance(given, str):
        raise TypeError(f"{name} must be a law such as sf.inputs.Uniform(-1, 1), got {checks.shown(given)}")
    word, *parameters = given.split(":")
    law, n_parameters = _LAWS.get(word, (None, 0))
    try:
        numbers = [float(number) for number in parameters]
    except ValueError:
        law = None
    if law is None or len(parameters) != n_parameters:
        raise ValueError(
            f"{name} must be normal, uniform:LOW:HIGH, rademacher or student:DF, got {checks.shown(given)}"
        )
    return law(*numbers)
