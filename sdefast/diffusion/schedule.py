"""Schedules of noise: how much of the data and how much noise there is in x_t = alpha_t x_0 + sigma_t eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..lazy import cached_property
from ..run.sigmas import geometric_sigmas, karras_sigmas
from .numbers import check_noise_grows, numbers

__all__ = [
    "Schedule",
    "cosine_schedule",
    "flow_schedule",
    "geometric_sigmas",
    "karras_sigmas",
    "linear_beta_schedule",
    "scaled_linear_beta_schedule",
    "sigmoid_schedule",
]

#: How far alpha^2 + sigma^2, or alpha + sigma, may be from 1: numbers may have been computed in float32.
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Schedule:
    """The law of x_t given the data, x_t = alpha_t x_0 + sigma_t eps, for the timesteps t = 0, ..., n - 1.

    Timesteps are 0-based and the noise grows with them. Variance-preserving (DDPM), variance-exploding (SMLD, EDM) and
    flow-matching models differ in these two arrays only. Everything is float64 on the host, whatever came in.

    Parameters
    ----------
    alpha, sigma : array_like of shape (n,)
        Scale of the data and of the noise; ``sigma / alpha`` increases strictly, and ``alpha`` may be 0 at the end
        (a terminal signal-to-noise ratio of zero).

    Raises
    ------
    TypeError, ValueError
        If that is not so, or the numbers come in half precision, in which alpha is 1 for the smallest timesteps.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.Schedule.from_betas([0.1, 0.2]).alphas_cumprod
    array([0.9 , 0.72])
    """

    alpha: np.ndarray
    sigma: np.ndarray

    def __post_init__(self) -> None:
        alpha, sigma = numbers("alpha", self.alpha), numbers("sigma", self.sigma)
        if len(alpha) != len(sigma):
            raise ValueError(f"alpha and sigma must be equally long, got {len(alpha)} and {len(sigma)}")
        check_noise_grows(alpha, sigma)
        for name, value in (("alpha", alpha), ("sigma", sigma)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def from_betas(cls, betas: Any) -> Schedule:
        """The variance-preserving one of DDPM: alpha_t^2 is the product of 1 - beta up to t.

        Parameters
        ----------
        betas : array_like of shape (n,)
            Numbers, an array or a tensor, each between 0 and 1; the last may be 1.

        Examples
        --------
        >>> from sdefast import diffusion
        >>> diffusion.Schedule.from_betas([0.1, 0.2]).n
        2
        """
        given = numbers("betas", betas)
        below = given < 1
        below[-1:] |= given[-1:] == 1
        wrong = np.flatnonzero(~((given > 0) & below))
        if len(wrong):
            raise ValueError(
                f"betas must be larger than 0 and smaller than 1, got {given[wrong[0]]:g} at index {wrong[0]}"
                + (f": they reach {given.max():g}, too large for {len(given)} timesteps" if given.max() > 1 else "")
            )
        with np.errstate(divide="ignore"):
            logs = np.cumsum(np.log1p(-given))
        return cls(np.exp(logs / 2), np.sqrt(-np.expm1(logs)))

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod: Any) -> Schedule:
        """The variance-preserving one with these alpha_t^2, which decrease strictly within (0, 1); the last may be 0.

        Examples
        --------
        >>> from sdefast import diffusion
        >>> diffusion.Schedule.from_alphas_cumprod([0.9, 0.72]).betas
        array([0.1, 0.2])
        """
        given = numbers("alphas_cumprod", alphas_cumprod)
        falling = np.diff(given, prepend=1.0) < 0
        wrong = np.flatnonzero(~falling | (given < 0))
        if len(wrong):
            raise ValueError(
                "alphas_cumprod must decrease strictly from below 1 to no less than 0, "
                f"got {given[wrong[0]]:g} at index {wrong[0]}"
            )
        return cls(np.sqrt(given), np.sqrt(1 - given))

    @classmethod
    def from_sigmas(cls, sigmas: Any) -> Schedule:
        """The variance-exploding one, alpha = 1, with these scales of noise, smallest first.

        Examples
        --------
        >>> from sdefast import diffusion
        >>> diffusion.Schedule.from_sigmas([0.1, 1.0, 10.0]).prior_scale
        10.0
        """
        given = numbers("sigmas", sigmas)
        return cls(np.ones_like(given), given)

    @property
    def n(self) -> int:
        """How many timesteps there are."""
        return len(self.alpha)

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def alphas_cumprod(self) -> np.ndarray:
        """alpha^2, the product of 1 - beta where the variance is preserved."""
        return np.asarray(self.alpha**2)

    @cached_property
    def is_vp(self) -> bool:
        """Whether the variance is preserved, alpha^2 + sigma^2 = 1."""
        return bool(np.abs(self.alpha**2 + self.sigma**2 - 1).max() < _TOLERANCE)

    @property
    def betas(self) -> np.ndarray:
        """1 - (alpha_t / alpha_{t-1})^2, the variances that a variance-preserving chain adds step by step."""
        if not self.is_vp:
            raise ValueError("betas belong to a variance-preserving schedule, alpha^2 + sigma^2 = 1")
        return self.forward_variance

    @cached_property
    def forgotten(self) -> np.ndarray:
        """1 - (alpha_t / alpha_{t-1})^2, the part of the variance that a timestep of the forward chain forgets."""
        return np.asarray(1 - (self.alpha / np.append(1.0, self.alpha[:-1])) ** 2)

    @cached_property
    def forward_variance(self) -> np.ndarray:
        """The variance of x_t given x_{t-1}, which a timestep of the forward chain adds; beta_t if it is preserved."""
        before = np.append(0.0, self.ratio[:-1])
        kept = np.divide(before, self.ratio)
        return np.asarray(self.sigma**2 * (1 - kept) * (1 + kept))

    @cached_property
    def ratio(self) -> np.ndarray:
        """sigma / alpha, the scale of noise of x_t / alpha_t; infinite where alpha = 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.sigma / self.alpha)

    @property
    def log_snr(self) -> np.ndarray:
        """log(alpha^2 / sigma^2)."""
        return np.asarray(-2 * np.log(self.ratio))

    @property
    def prior_scale(self) -> float:
        """The standard deviation of what sampling starts from: 1 if the variance is preserved, else the last sigma."""
        return 1.0 if self.is_vp else float(self.sigma[-1])

    def alpha_of(self, ratio: np.ndarray) -> np.ndarray:
        """alpha where sigma / alpha is this: exact for the three families, else interpolated."""
        if self.is_vp:
            return np.asarray(1 / np.sqrt(1 + ratio**2))
        if (self.alpha == 1).all():
            return np.ones_like(ratio)
        if np.abs(self.alpha + self.sigma - 1).max() < _TOLERANCE:
            return np.asarray(1 / (1 + ratio))
        return np.asarray(np.interp(np.log(ratio), np.log(self.ratio), self.alpha))

    def time_of(self, ratio: np.ndarray) -> np.ndarray:
        """The timesteps, not all integers, at which sigma / alpha is this, its logarithm taken as piecewise linear."""
        times: np.ndarray = np.interp(np.log(ratio), np.log(self.ratio), np.arange(self.n))
        return times

    def zero_terminal_snr(self) -> Schedule:
        """A copy whose last alpha is 0 and whose first is the same, between them shifted and scaled (Lin et al. 2023).

        A model of the noise cannot be used at the last timestep: it must predict ``"v"``, ``"x0"`` or ``"flow"``.

        Examples
        --------
        >>> from sdefast import diffusion
        >>> diffusion.linear_beta_schedule(1000).zero_terminal_snr().alpha[-1]
        np.float64(0.0)
        """
        if not self.is_vp:
            raise ValueError("zero_terminal_snr rescales variance-preserving schedules, alpha^2 + sigma^2 = 1")
        first, last = self.alpha[0], self.alpha[-1]
        alpha = (self.alpha - last) * (first / (first - last))
        return Schedule(alpha, np.sqrt((1 - alpha) * (1 + alpha)))

    def check_timestep(self, t: Any) -> int:
        """``t`` as an int, if it is one of the timesteps.

        Raises
        ------
        TypeError, ValueError
            If it is no integer between 0 and n - 1.

        Examples
        --------
        >>> from sdefast import diffusion
        >>> diffusion.linear_beta_schedule(1000).check_timestep(999)
        999
        """
        return checks.count("timestep", t, least=0, most=self.n - 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return self is other or (np.array_equal(self.alpha, other.alpha) and np.array_equal(self.sigma, other.sigma))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.alpha.tobytes(), self.sigma.tobytes()))

    def __repr__(self) -> str:
        ends = f"alpha {self.alpha[0]:.6g} to {self.alpha[-1]:.6g}, sigma {self.sigma[0]:.6g} to {self.sigma[-1]:.6g}"
        return f"Schedule({self.n} timesteps, {ends})"


def linear_beta_schedule(n: int = 1000, first: float = 1e-4, last: float = 0.02, *, scaled: bool = False) -> Schedule:
    """Betas that grow linearly, those of DDPM (Ho, Jain and Abbeel 2020).

    Parameters
    ----------
    n : int
        Number of timesteps. The default betas are made for 1000: with fewer, the last alpha is far from 0 (alpha^2 is
        .13 at 200) and the samples suffer.
    first, last : float
        The smallest and the largest beta.
    scaled : bool
        Whether they are multiplied by 1000 / n, so that alpha ends as near to 0 with fewer timesteps.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.linear_beta_schedule(1000)
    Schedule(1000 timesteps, alpha 0.99995 to 0.00635282, sigma 0.01 to 0.99998)
    """
    n, first, last = _ends(n, first, last)
    factor = 1000 / n if checks.flag("scaled", scaled) else 1.0
    if factor * max(first, last) >= 1:
        raise ValueError(
            f"linear betas scaled to {n} timesteps reach {factor * max(first, last):g}, and must be smaller than 1: "
            f"take more than {int(1000 * max(first, last))} timesteps, or cosine_schedule({n})"
        )
    return Schedule.from_betas(factor * np.linspace(first, last, n))


def scaled_linear_beta_schedule(n: int = 1000, first: float = 0.00085, last: float = 0.012) -> Schedule:
    """Betas whose square roots grow linearly, those of latent diffusion (Rombach et al. 2022).

    Parameters
    ----------
    n : int
        Number of timesteps.
    first, last : float
        The smallest and the largest beta.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.scaled_linear_beta_schedule(1000)
    Schedule(1000 timesteps, alpha 0.999575 to 0.0682649, sigma 0.0291548 to 0.997667)
    """
    n, first, last = _ends(n, first, last)
    return Schedule.from_betas(np.linspace(first**0.5, last**0.5, n) ** 2)


def cosine_schedule(n: int = 1000, s: float = 0.008, most: float = 0.999) -> Schedule:
    """alpha^2 that falls like cos^2 (Nichol and Dhariwal 2021, equation 17); betas are at most ``most``.

    Parameters
    ----------
    n : int
        Number of timesteps.
    s : float
        What keeps the first betas from being too small.
    most : float
        The largest beta.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.cosine_schedule(1000).betas[-1].round(9)
    np.float64(0.999)
    """
    n, s = checks.count("n", n), checks.real("s", s, least=0)
    u = np.arange(n + 1) / n
    return _from_curve(np.cos((u + s) / (1 + s) * np.pi / 2) ** 2, most)


def sigmoid_schedule(
    n: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0, most: float = 0.999
) -> Schedule:
    """alpha^2 that falls like a sigmoid from ``start`` to ``end`` (Jabri, Fleet and Chen 2022); betas at most ``most``.

    Parameters
    ----------
    n : int
        Number of timesteps.
    start, end, tau : float
        The part of the sigmoid of u / tau.
    most : float
        The largest beta.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.sigmoid_schedule(1000).n
    1000
    """
    n, tau = checks.count("n", n), checks.real("tau", tau, positive=True)
    start = checks.real("start", start)
    end = checks.real("end", end)
    if not start < end:
        raise ValueError(f"start must be smaller than end, got {start:g} and {end:g}")
    curve = 1 / (1 + np.exp(np.linspace(start, end, n + 1) / tau))
    return _from_curve(curve - curve[-1], most)


def flow_schedule(n: int = 1000, shift: float = 1.0) -> Schedule:
    """The straight path of flow matching, x_t = (1 - sigma) x_0 + sigma eps, sigma = shift u / (1 + (shift - 1) u).

    u = (t + 1) / n, so that the last timestep is noise alone; a larger ``shift`` spends more timesteps near noise, as
    large images want (Esser et al. 2024, section 5.3.2).

    Parameters
    ----------
    n : int
        Number of timesteps.
    shift : float
        1 for a uniform sigma.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.flow_schedule(4).sigma
    array([0.25, 0.5 , 0.75, 1.  ])
    """
    n, shift = checks.count("n", n), checks.real("shift", shift, positive=True)
    u = np.arange(1, n + 1) / n
    below = 1 + (shift - 1) * u
    return Schedule((1 - u) / below, shift * u / below)


def _from_curve(curve: np.ndarray, most: float) -> Schedule:
    """The schedule whose alpha^2 is this curve over its first value, up to betas of ``most``."""
    most = checks.real("most", most, positive=True)
    return Schedule.from_betas(np.minimum(1 - curve[1:] / curve[:-1], most))


def _ends(n: Any, first: Any, last: Any) -> tuple[int, float, float]:
    """Number, first and last of betas."""
    return checks.count("n", n), checks.real("first", first, positive=True), checks.real("last", last, positive=True)
