"""Small helpers that the models' closed forms share."""

from __future__ import annotations

import math
from collections.abc import Callable
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


def black(forward: ArrayLike, strike: ArrayLike, deviation: ArrayLike, sign: int = 1) -> np.ndarray:
    """E[max(sign (S - strike), 0)] for lognormal S of mean ``forward`` whose logarithm has that standard deviation."""
    # A tiny deviation stands for none: the two quotients then go to +-infinity, or to zero at the money.
    deviation = np.maximum(deviation, 1e-300)
    upper = np.log(forward / np.asarray(strike)) / deviation + 0.5 * deviation
    lower = upper - deviation
    return np.asarray(sign * (forward * normal_cdf(sign * upper) - strike * normal_cdf(sign * lower)))


def put_from_call(call: ArrayLike, forward: ArrayLike, strike: ArrayLike, discount: ArrayLike) -> np.ndarray:
    """A put's price from a call's, both discounted."""
    return np.asarray(np.maximum(call - discount * (np.asarray(forward) - np.asarray(strike)), 0.0))


_SPACING = 1 / 16  # of the price's Fourier integral
_CHUNK = 4096
_MOST_POINTS = 2**22


def lewis_call(exponent: Callable[[np.ndarray], np.ndarray], strike: float, forward: float) -> float:
    r"""E[max(S - strike, 0)] by Lewis's integral from E[(S / F)^{iw}] = exp(exponent(w)), where F = E[S] = ``forward``.

    With K = strike and k = log(F / K) it is
    :math:`F - \frac{\sqrt{FK}}{\pi}\int_0^\infty \Re(e^{iuk + exponent(u - i/2)}) / (u^2 + 1/4)\,du`. The integrand is
    even and analytic for \|Im u\| < 1/2, so the trapezoidal rule is wrong by about exp(-pi / spacing) = 1e-22.
    Points are added until what is left out is of no account.
    """
    log_ratio, integral = math.log(forward / strike), 0.0
    for first in range(0, _MOST_POINTS, _CHUNK):
        u = _SPACING * np.arange(first, first + _CHUNK)
        values = np.exp(1j * u * log_ratio + exponent(u - 0.5j)) / (u**2 + 0.25)
        if first == 0:
            values[0] *= 0.5
        integral += _SPACING * float(values.real.sum())
        if u[-1] * abs(values[-1]) < 1e-14:
            call = forward - math.sqrt(forward * strike) / math.pi * integral
            return float(np.clip(call, max(forward - strike, 0.0), forward))
    raise ArithmeticError("the price's Fourier integral does not converge: S is almost not random")


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
