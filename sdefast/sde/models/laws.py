"""Small helpers that the models' closed forms share."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ... import checks

Array: TypeAlias = Any  # float for scalar input, otherwise an array of the broadcast shape
Distribution: TypeAlias = Any  # a frozen distribution of scipy.stats


def unwrap(value: Any) -> Array:
    """A float for a zero-dimensional result, the array otherwise."""
    result = np.asarray(value)
    return float(result) if result.ndim == 0 else result


def bounded(name: str, value: ArrayLike, *, positive: bool = False, least: float = -math.inf) -> np.ndarray:
    """A finite float64 array whose values are positive, or at least ``least``."""
    result = checks.array(name, value)
    refused = result[(result <= 0) if positive else (result < least)]
    if refused.size:
        allowed = "positive" if positive else f"at least {least:g}"
        raise ValueError(f"{name} must be {allowed}, got {refused.flat[0]:g}")
    return result


def elapsed(name: str, value: ArrayLike) -> np.ndarray:
    """Elapsed times since the start: finite and not negative."""
    return bounded(name, value, least=0.0)


def random_at(t: float, noise: float, parameter: str) -> float:
    """The time ``t`` of a transition law, refused where X(t) is not random and has no density."""
    if noise == 0:
        raise ValueError(f"transition needs {parameter} to be positive: without noise X(t) has no density")
    return checks.real("t", t, positive=True)


_erfc = np.vectorize(math.erfc, otypes=[float])


def normal_cdf(x: ArrayLike) -> Array:
    """Distribution function of the standard normal law."""
    return unwrap(0.5 * _erfc(-np.asarray(x) / math.sqrt(2.0)))


def decay_integral(rate: float, t: np.ndarray) -> np.ndarray:
    """The integral of exp(-rate s) over s from 0 to ``t``, also for rate = 0."""
    return np.asarray(-np.expm1(-rate * t) / rate if rate else t, dtype=float)


def discount(t: np.ndarray, rate: float) -> np.ndarray:
    """The factor exp(-rate t) that turns a payment at ``t`` into a price."""
    return np.exp(-checks.real("rate", rate) * t)


def scipy_stats() -> Any:
    """The module `scipy.stats`, which the transition laws are made of."""
    try:
        import scipy.stats
    except ImportError:
        raise ImportError("transition laws need scipy: pip install 'sdefast[stats]'") from None
    return scipy.stats


def scipy_special() -> Any:
    """The module `scipy.special`, for the closed forms that need a special function."""
    try:
        import scipy.special
    except ImportError:
        raise ImportError("this closed form needs scipy: pip install 'sdefast[stats]'") from None
    return scipy.special
