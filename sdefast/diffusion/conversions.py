r"""One prediction of a network in the form of another, :math:`x_t = \alpha x_0 + \sigma\varepsilon` being given.

========= ====================================== ===========================
name      predicts                               undefined where
========= ====================================== ===========================
``eps``   the noise                              its x_0: alpha = 0
``x0``    the data                               its noise: sigma = 0
``v``     alpha eps - sigma x_0
``score`` -eps / sigma, grad log p of x_t        sigma = 0; its x_0: alpha = 0
``flow``  eps - x_0
========= ====================================== ===========================

Predictions of a trained network are means given x_t, and the score is that of the noised data, not of the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from .predictions import PREDICTIONS

__all__ = ["along", "convert", "linear_form"]


def convert(value: Any, x: Any, alpha: Any, sigma: Any, *, given: str, wanted: str) -> Any:
    """A prediction in another form.

    Parameters
    ----------
    value, x : array or tensor
        What was predicted, and the noisy x_t that it was predicted from.
    alpha, sigma : float or array of shape (n,)
        Scales of data and noise in x_t, for all or one per sample (the first axis).
    given, wanted : {"eps", "x0", "v", "score", "flow"}
        What ``value`` is and what it becomes.

    Raises
    ------
    ValueError
        If what is wanted is undefined there: x_0 of a predicted eps or score where alpha is 0, and eps or score where
        sigma is 0.

    Examples
    --------
    >>> from sdefast.diffusion import convert
    >>> convert(-1.0, 2.0, 0.5, 0.75**0.5, given="v", wanted="x0")  # doctest: +ELLIPSIS
    1.866025...
    """
    given, wanted = checks.choice("given", given, PREDICTIONS), checks.choice("wanted", wanted, PREDICTIONS)
    if given == wanted:
        return value
    a, b = linear_form(alpha, sigma, given=given, wanted=wanted)
    return along(a, x) * x + along(b, x) * value


def linear_form(alpha: Any, sigma: Any, *, given: str, wanted: str) -> tuple[Any, Any]:
    """The numbers a and b with which ``wanted`` is a x + b ``given``."""
    alpha, sigma = _host(alpha), _host(sigma)
    if given == wanted:
        return 0.0 * alpha, 1.0 + 0.0 * alpha
    if wanted == "x0":
        return _x0(alpha, sigma, given)
    if wanted == "eps":
        return _eps(alpha, sigma, given)
    if wanted == "score":
        _refuse_zero("sigma", sigma, "score")
        a, b = _eps(alpha, sigma, given)
        return -a / sigma, -b / sigma
    (a0, b0), (a1, b1) = _x0(alpha, sigma, given), _eps(alpha, sigma, given)
    if wanted == "v":
        return alpha * a1 - sigma * a0, alpha * b1 - sigma * b0
    return a1 - a0, b1 - b0


def _x0(alpha: Any, sigma: Any, given: str) -> tuple[Any, Any]:
    if given in ("eps", "score"):
        _refuse_zero("alpha", alpha, "x_0", f" from {given}: predict v, x0 or flow")
    return PREDICTIONS[given](alpha, sigma)


def _eps(alpha: Any, sigma: Any, given: str) -> tuple[Any, Any]:
    if given == "eps":
        return 0.0 * alpha, 1.0 + 0.0 * alpha
    if given == "score":
        return 0.0 * alpha, -sigma
    if given == "x0":
        _refuse_zero("sigma", sigma, "the noise", " from x0")
        return 1 / sigma, -alpha / sigma
    if given == "v":
        square = alpha**2 + sigma**2
        return sigma / square, alpha / square
    return 1 / (alpha + sigma), alpha / (alpha + sigma)


def _refuse_zero(name: str, value: Any, what: str, how: str = "") -> None:
    if np.any(np.asarray(value) == 0):
        raise ValueError(f"{what} is undefined where {name} is 0{how}")


def _host(values: Any) -> Any:
    """Numbers as they are, arrays and tensors as float64 arrays of numpy."""
    return checks.array("alpha and sigma", values) if np.ndim(values) else checks.real("alpha and sigma", values)


def along(values: Any, x: Any) -> Any:
    """A number as it is; one number per sample in the shape, and in the kind, in which it multiplies ``x``."""
    if not np.ndim(values):
        return values
    values, shape = np.asarray(values), tuple(np.shape(x))
    if values.ndim != 1 or not shape or len(values) != shape[0]:
        raise ValueError(f"give one number, or one per sample, got shape {values.shape} for x of shape {shape}")
    column = values.reshape(-1, *(1,) * (len(shape) - 1))
    return x.new_tensor(column) if hasattr(x, "new_tensor") else column
