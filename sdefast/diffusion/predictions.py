"""What a model predicts, and how the data it means follow: D = p x + q out."""

from __future__ import annotations

from collections.abc import Callable

from .. import checks

__all__ = ["PREDICTIONS", "coefficients"]


def _eps(alpha: float, sigma: float) -> tuple[float, float]:
    """The noise: x = alpha x0 + sigma out (Ho et al. 2020)."""
    return 1 / alpha, -sigma / alpha


def _x0(alpha: float, sigma: float) -> tuple[float, float]:
    """The data themselves."""
    return 0.0, 1.0


def _v(alpha: float, sigma: float) -> tuple[float, float]:
    """The velocity alpha eps - sigma x0 (Salimans and Ho 2022)."""
    square = alpha * alpha + sigma * sigma
    return alpha / square, -sigma / square


def _score(alpha: float, sigma: float) -> tuple[float, float]:
    """The gradient of the log density of x_t, -eps / sigma (Song et al. 2021)."""
    return 1 / alpha, sigma * sigma / alpha


def _flow(alpha: float, sigma: float) -> tuple[float, float]:
    """The velocity eps - x0 of flow matching (Lipman et al. 2023)."""
    return 1 / (alpha + sigma), -sigma / (alpha + sigma)


PREDICTIONS: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "eps": _eps,
    "x0": _x0,
    "v": _v,
    "score": _score,
    "flow": _flow,
}


def coefficients(prediction: str, alpha: float, sigma: float) -> tuple[float, float]:
    """(p, q) such that D = p x + q out are the data that the model's output at x = alpha x0 + sigma eps means.

    Parameters
    ----------
    prediction : {"eps", "x0", "v", "score", "flow"}
        What the model predicts: the noise, the data, alpha eps - sigma x0, the score of x, or eps - x0.
    alpha, sigma : float
        The scales of data and noise in x.

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        If ``alpha`` is 0 and the model predicts noise or score, from which the data do not follow then.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.coefficients("v", 0.6, 0.8)
    (0.6, -0.8)
    """
    found = PREDICTIONS[checks.choice("prediction", prediction, PREDICTIONS)]
    if alpha == 0 and found in (_eps, _score):
        raise ValueError(
            f"prediction={prediction!r} says nothing about the data where alpha = 0, a signal-to-noise ratio of zero: "
            "the model must predict 'v', 'x0' or 'flow' there"
        )
    return found(alpha, sigma)
