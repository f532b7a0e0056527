"""Laws whose scores are known at every level of noise, and what the rows of a plan do to a Gaussian one exactly.

Under x_t = alpha x_0 + sigma eps a component N(m, v I) of a mixture becomes N(alpha m, (alpha^2 v + sigma^2) I).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import checks
from ..conversions import convert
from ..plan import Plan
from ..schedule import Schedule

__all__ = ["Mixture", "Moments", "propagated"]


class Mixture:
    """A mixture of isotropic Gaussians in any dimension.

    Parameters
    ----------
    weights : array_like of shape (k,)
        Positive, summing to 1.
    means : array_like of shape (k, d)
        Where the modes are.
    deviation : float
        Standard deviation of every component of every mode.

    Raises
    ------
    ValueError
        If weights are not those of a mixture, or shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> law = Mixture([0.2, 0.8], [[-4.0], [4.0]], 0.3)
    >>> law.score(np.array([[4.3]]), alpha=1.0, sigma=0.4).round(6)
    array([[-1.2]])
    """

    def __init__(self, weights: Any, means: Any, deviation: float) -> None:
        self.means = checks.array("means", means, shape=(None, None))
        self.weights = checks.array("weights", weights, shape=(len(self.means),))
        self.variance = checks.real("deviation", deviation, positive=True) ** 2
        if (self.weights <= 0).any() or abs(self.weights.sum() - 1) > 1e-9:
            raise ValueError(f"weights must be positive and sum to 1, got {self.weights.tolist()}")

    @property
    def dim(self) -> int:
        """Number of components of a point."""
        return int(self.means.shape[1])

    @property
    def mean(self) -> np.ndarray:
        """Of shape (d,)."""
        return np.asarray(self.weights @ self.means)

    @property
    def variances(self) -> np.ndarray:
        """Of the components, of shape (d,)."""
        return np.asarray(self.weights @ (self.means - self.mean) ** 2 + self.variance)

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """The mode next to each point (n, d), by number (n,)."""
        return np.asarray(((x[:, None, :] - self.means) ** 2).sum(-1).argmin(1))

    def log_density(self, x: np.ndarray, alpha: float = 1.0, sigma: float = 0.0) -> np.ndarray:
        """Of points (n, d) at a level of noise."""
        logs, variance = self._logs(x, alpha, sigma)
        top = logs.max(1)
        return np.asarray(
            top + np.log(np.exp(logs - top[:, None]).sum(1)) - self.dim / 2 * np.log(2 * np.pi * variance)
        )

    def score(self, x: np.ndarray, alpha: float = 1.0, sigma: float = 0.0) -> np.ndarray:
        """The gradient of `log_density`, (n, d)."""
        logs, variance = self._logs(x, alpha, sigma)
        parts = np.exp(logs - logs.max(1, keepdims=True))
        parts /= parts.sum(1, keepdims=True)
        return np.asarray((alpha * (parts @ self.means) - x) / variance)

    def _logs(self, x: np.ndarray, alpha: float, sigma: float) -> tuple[np.ndarray, float]:
        """Log densities of the weighted modes, up to a constant, and the variance of each."""
        variance = alpha**2 * self.variance + sigma**2
        away = ((x[:, None, :] - alpha * self.means) ** 2).sum(-1)
        return np.log(self.weights) - away / (2 * variance), variance

    def model(self, schedule: Schedule, prediction: str = "score") -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """What `sample` calls: the ideal model at the timesteps of a schedule, for arrays of numpy."""

        def predicted(x: np.ndarray, t: np.ndarray) -> np.ndarray:
            alpha, sigma = float(schedule.alpha[t[0]]), float(schedule.sigma[t[0]])
            said = convert(self.score(x, alpha, sigma), x, alpha, sigma, given="score", wanted=prediction)
            return np.asarray(said, x.dtype)

        return predicted


class Moments(NamedTuple):
    """Mean and variance after each row of a plan, of shape (n_rows + 1,), with the start; and alpha, sigma there."""

    mean: np.ndarray
    variance: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray


def propagated(plan: Plan, mean: float, variance: float, start: tuple[float, float] | None = None) -> Moments:
    """Mean and variance that a plan's rows make of Gaussian samples, the model being exact for data N(mean, variance).

    With D the posterior mean, which is affine in x, every row is affine: x' = A x + B + s z.

    Parameters
    ----------
    plan : Plan
        Of a sampler whose rows use no earlier ones and no norms: "ddpm", "ddim", "euler", "euler-ancestral",
        "reverse-sde" or "annealed-langevin".
    mean, variance : float
        Of the data.
    start : tuple of float, optional
        Mean and variance of what the first row takes, by default 0 and the square of ``plan.prior_scale``.

    Raises
    ------
    ValueError
        If the plan has other rows.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> found = propagated(diffusion.plan("ddpm", diffusion.linear_beta_schedule(200)), 0.7, 0.25)
    >>> [round(float(values[-1]), 6) for values in found[:2]]
    [0.674322, 0.24289]
    """
    rows = plan.rows
    if (rows["keep"] != 0).any() or (rows["snr"] > 0).any():
        raise ValueError(f"rows of {plan.method!r} are not affine in one state: take a sampler of one row a step")
    (alpha, sigma), (m, v) = plan.start, (0.0, plan.prior_scale**2) if start is None else start
    states = [(m, v, alpha, sigma)]
    for row in rows:
        A, B = _affine(row, mean, variance, alpha, sigma)
        alpha, sigma = float(row["alpha"]), float(row["sigma"])
        m, v = A * m + B, A**2 * v + float(row["s"]) ** 2
        states.append((m, v, alpha, sigma))
    return Moments(*np.array(states).T)


def _affine(row: np.void, mean: float, variance: float, alpha: float, sigma: float) -> tuple[float, float]:
    """A and B of a row at this level, by the row's own p, q and g for what the ideal model says."""
    if not row["call"]:
        return float(row["a"]), 0.0
    gain = alpha * variance / (alpha**2 * variance + sigma**2)
    slope, rest = gain, (1 - gain * alpha) * mean  # D = slope x + rest
    b, g, p, q = (float(row[name]) for name in ("b", "g", "p", "q"))
    return float(row["a"]) + b * slope + g * (slope - p) / q, (b + g / q) * rest
