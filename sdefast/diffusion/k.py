"""k-diffusion's samplers and lists of sigmas, by its names and arguments.

A model says of ``x = x_0 + sigma eps`` what the data are: ``model(x, sigma, **extra_args)`` with sigma a vector (n,).
Samplers take the rows of `plan_of_sigmas`, and noise by (seed, sample, step) unless a ``noise_sampler`` gives it: a
sample depends neither on its batch nor on a generator, and the same seed is the same noise in every call.

Progress is shown as there: ``disable=None`` shows it on terminals only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import checks
from ..run.sigmas import karras_sigmas
from .arrays import library_of
from .plan import Plan, plan_of_sigmas
from .sample import sample

__all__ = [
    "append_zero",
    "get_sigmas_exponential",
    "get_sigmas_karras",
    "get_sigmas_polyexponential",
    "get_sigmas_vp",
    "sample_dpmpp_2m",
    "sample_dpmpp_2m_sde",
    "sample_dpmpp_3m_sde",
    "sample_euler",
    "sample_euler_ancestral",
    "sample_heun",
]

_INFINITE = math.inf


# Lists of sigmas -----------------------------------------------------------------------------------------------------


def append_zero(x: Any) -> Any:
    """The list with a 0 at its end, where samples are data.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> sf.diffusion.k.append_zero(np.array([2.0, 1.0]))
    array([2., 1., 0.])
    """
    if isinstance(x, np.ndarray):
        return np.append(x, np.zeros(1, x.dtype))
    library_of("x", x)
    return sys.modules["torch"].cat([x, x.new_zeros([1])])


def get_sigmas_karras(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0, device: Any = "cpu") -> Any:
    """Sigmas whose 1 / rho-th powers are evenly spaced, and 0 (Karras et al. 2022, equation 5).

    Parameters
    ----------
    n : int
        Number of steps.
    sigma_min, sigma_max : float
        The last but the 0, and the first.
    rho : float
        The larger, the more of them are small.
    device : optional
        Torch's, of the tensor that is returned; None returns a float64 array of numpy, without torch.

    Returns
    -------
    torch.Tensor or ndarray of shape (n + 1,)

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.diffusion.k.get_sigmas_karras(3, 0.02, 80.0, device=None).round(4)
    array([8.0000e+01, 4.0456e+00, 2.0000e-02, 0.0000e+00])
    """
    return _with_zero(karras_sigmas(n, sigma_min, sigma_max, rho), device)


def get_sigmas_exponential(n: int, sigma_min: float, sigma_max: float, device: Any = "cpu") -> Any:
    """Sigmas whose logarithms are evenly spaced, and 0; arguments as of `get_sigmas_karras`.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.diffusion.k.get_sigmas_exponential(3, 0.1, 10.0, device=None).round(6)
    array([10. ,  1. ,  0.1,  0. ])
    """
    return get_sigmas_polyexponential(n, sigma_min, sigma_max, 1.0, device)


def get_sigmas_polyexponential(
    n: int, sigma_min: float, sigma_max: float, rho: float = 1.0, device: Any = "cpu"
) -> Any:
    """Sigmas whose logarithms fall as the ``rho``-th power of a ramp, and 0; arguments as of `get_sigmas_karras`.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.diffusion.k.get_sigmas_polyexponential(3, 0.01, 100.0, rho=2.0, device=None).round(6)
    array([1.e+02, 1.e-01, 1.e-02, 0.e+00])
    """
    n, rho = checks.count("n", n), checks.real("rho", rho, positive=True)
    least, most = (
        math.log(checks.real(name, value, positive=True))
        for name, value in (("sigma_min", sigma_min), ("sigma_max", sigma_max))
    )
    if not least < most and n > 1:
        raise ValueError(f"sigma_min must be smaller than sigma_max, got {sigma_min:g} and {sigma_max:g}")
    ramp = np.linspace(1, 0, n) ** rho
    return _with_zero(np.exp(ramp * (most - least) + least), device)


def get_sigmas_vp(n: int, beta_d: float = 19.9, beta_min: float = 0.1, eps_s: float = 1e-3, device: Any = "cpu") -> Any:
    """Sigmas of the variance-preserving SDE at times from 1 to ``eps_s``, evenly spaced, and 0.

    ``beta_d`` and ``beta_min`` are slope and start of beta(t) (Song et al. 2021, appendix C).

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.diffusion.k.get_sigmas_vp(2, device=None).round(4)
    array([1.52167e+02, 1.05000e-02, 0.00000e+00])
    """
    slope, start = (checks.real(name, b, least=0.0) for name, b in (("beta_d", beta_d), ("beta_min", beta_min)))
    t = np.linspace(1, checks.real("eps_s", eps_s, positive=True, most=1.0), checks.count("n", n))
    return _with_zero(np.sqrt(np.expm1(slope * t**2 / 2 + start * t)), device)


def _with_zero(sigmas: np.ndarray, device: Any) -> Any:
    """On a device of torch, in its default type; of numpy if there is none."""
    if device is None:
        return np.append(sigmas, 0.0)
    import torch

    return torch.tensor(np.append(sigmas, 0.0), dtype=torch.get_default_dtype(), device=device)


# Samplers ------------------------------------------------------------------------------------------------------------


def sample_euler(
    model: Callable[..., Any], x: Any, sigmas: Any, extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None, disable: bool | None = None, s_churn: float = 0.0,
    s_tmin: float = 0.0, s_tmax: float = _INFINITE, s_noise: float = 1.0, *, seed: Any = 0, first_sample: int = 0,
) -> Any:  # fmt: skip
    """Euler's method (Karras et al. 2022, algorithm 2 without its correction).

    Parameters
    ----------
    model : callable
        ``model(x, sigma, **extra_args)``, the data that it means at x; sigma is a vector (n,) of the type of x.
    x : ndarray or torch.Tensor of shape (n, ...)
        Where to begin, noise of scale ``sigmas[0]``, float32 or float64. It is left as it was.
    sigmas : ndarray or torch.Tensor
        Scales of noise, strictly decreasing; the last is 0, or where sampling is to stop.
    extra_args : mapping, optional
        Further arguments of the model.
    callback : callable, optional
        Called after the model, once a step, with a dict of ``x``, where the model was called, ``i``, the number of
        the step, ``sigma``, ``sigma_hat`` (sigma and what is added to it), ``denoised``.
    disable : bool, optional
        Show no progress; None shows it on terminals.
    s_churn, s_tmin, s_tmax, s_noise : float
        Noise that is added before steps, between which sigmas, and what it is multiplied by.
    seed : int, torch.Generator or list of them
        Of the noise; a list has one for each sample. None is a random one at every call.
    first_sample : int
        Number of the first sample: noise is that of (seed, number, step).

    Returns
    -------
    like x

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    FloatingPointError
        If what the model says is not finite.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> k = sf.diffusion.k
    >>> sigmas = k.get_sigmas_karras(5, 0.02, 80.0, device=None)
    >>> k.sample_euler(lambda x, sigma: 0.5 * np.ones_like(x), 80 * np.ones((1, 2)), sigmas)
    array([[0.5, 0.5]])
    """
    churn = {"s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax, "s_noise": s_noise}
    return _sampled(model, x, _plan("euler", sigmas, **churn), sigmas, extra_args, callback, disable, None, seed,
                    first_sample)  # fmt: skip


def sample_euler_ancestral(
    model: Callable[..., Any], x: Any, sigmas: Any, extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None, disable: bool | None = None, eta: float = 1.0,
    s_noise: float = 1.0, noise_sampler: Callable[[Any, Any], Any] | None = None, *, seed: Any = 0,
    first_sample: int = 0,
) -> Any:  # fmt: skip
    """Euler's method to below the next sigma, and noise back up to it.

    Parameters
    ----------
    eta : float
        How much of that noise: 0 has none.
    s_noise : float
        What it is multiplied by.
    noise_sampler : callable, optional
        ``noise_sampler(sigma, sigma_next)`` gives standard normal noise like x; not called where there is none.
    model, x, sigmas, extra_args, callback, disable, seed, first_sample
        As of `sample_euler`.
    """
    made = _plan("euler-ancestral", sigmas, eta=eta, s_noise=s_noise)
    return _sampled(model, x, made, sigmas, extra_args, callback, disable, noise_sampler, seed, first_sample)


def sample_heun(
    model: Callable[..., Any], x: Any, sigmas: Any, extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None, disable: bool | None = None, s_churn: float = 0.0,
    s_tmin: float = 0.0, s_tmax: float = _INFINITE, s_noise: float = 1.0, *, seed: Any = 0, first_sample: int = 0,
) -> Any:  # fmt: skip
    """Heun's method, with two calls of the model a step but for the one to 0 (Karras et al. 2022, algorithm 2).

    Arguments are those of `sample_euler`; the callback is called after the first call of a step.
    """
    churn = {"s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax, "s_noise": s_noise}
    return _sampled(model, x, _plan("heun", sigmas, **churn), sigmas, extra_args, callback, disable, None, seed,
                    first_sample)  # fmt: skip


def sample_dpmpp_2m(
    model: Callable[..., Any], x: Any, sigmas: Any, extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None, disable: bool | None = None, *, seed: Any = 0,
    first_sample: int = 0,
) -> Any:  # fmt: skip
    """DPM-Solver++(2M).

    Arguments are those of `sample_euler`; there is no noise, so that ``seed`` and ``first_sample`` change nothing.
    """
    made = _plan("dpm++2m", sigmas)
    return _sampled(model, x, made, sigmas, extra_args, callback, disable, None, seed, first_sample)


def sample_dpmpp_2m_sde(
    model: Callable[..., Any], x: Any, sigmas: Any, extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None, disable: bool | None = None, eta: float = 1.0,
    s_noise: float = 1.0, noise_sampler: Callable[[Any, Any], Any] | None = None, solver_type: str = "midpoint", *,
    seed: Any = 0, first_sample: int = 0,
) -> Any:  # fmt: skip
    """SDE-DPM-Solver++(2M).

    Parameters
    ----------
    eta, s_noise, noise_sampler
        As of `sample_euler_ancestral`.
    solver_type : {"midpoint", "heun"}
        How the difference of this step's and the last one's data is weighed.
    model, x, sigmas, extra_args, callback, disable, seed, first_sample
        As of `sample_euler`.
    """
    made = _plan("dpm++2m-sde", sigmas, eta=eta, s_noise=s_noise, solver_type=solver_type)
    return _sampled(model, x, made, sigmas, extra_args, callback, disable, noise_sampler, seed, first_sample)


def sample_dpmpp_3m_sde(
    model: Callable[..., Any], x: Any, sigmas: Any, extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], object] | None = None, disable: bool | None = None, eta: float = 1.0,
    s_noise: float = 1.0, noise_sampler: Callable[[Any, Any], Any] | None = None, *, seed: Any = 0,
    first_sample: int = 0,
) -> Any:  # fmt: skip
    """SDE-DPM-Solver++(3M), with half of the second difference as k-diffusion has it.

    ``plan_of_sigmas("dpm++3m-sde", sigmas)`` takes the whole of it: without noise that is of third order, this is of
    second.

    Parameters
    ----------
    eta, s_noise, noise_sampler
        As of `sample_euler_ancestral`.
    model, x, sigmas, extra_args, callback, disable, seed, first_sample
        As of `sample_euler`.
    """
    made = _plan("dpm++3m-sde", sigmas, eta=eta, s_noise=s_noise, curvature=0.5)
    return _sampled(model, x, made, sigmas, extra_args, callback, disable, noise_sampler, seed, first_sample)


def _plan(method: str, sigmas: Any, **options: Any) -> Plan:
    return plan_of_sigmas(method, sigmas, **options)


def _sampled(
    model: Any, x: Any, plan: Plan, sigmas: Any, extra_args: Any, callback: Any, disable: Any, noise_sampler: Any,
    seed: Any, first_sample: int,
) -> Any:  # fmt: skip
    """The plan's samples from ``x``."""
    steps = _Steps(model, plan, sigmas, extra_args, callback, noise_sampler)
    library = library_of("x", x)
    x = x if library.is_contiguous(x) else library.copied(x, None)
    shown = sys.stderr.isatty() if disable is None else not checks.flag("disable", disable)
    return sample(
        steps.denoised, plan, x=x, noise=None if noise_sampler is None else steps.noise, seed=seed,
        first_sample=first_sample, progress=shown,
    )  # fmt: skip


class _Steps:
    """A model and functions of the user's as `sample` calls them, and which step it is at."""

    def __init__(self, model: Any, plan: Plan, sigmas: Any, extra_args: Any, callback: Any, noise_sampler: Any) -> None:
        if not callable(model):
            raise TypeError(f"model must be callable as model(x, sigma, **extra_args), got {model!r}")
        for name, value in (("callback", callback), ("noise_sampler", noise_sampler)):
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be callable, got {value!r}")
        if not isinstance(extra_args, Mapping | None):
            raise TypeError(f"extra_args must be a dict of arguments of the model, got {extra_args!r}")
        self.model, self.extra = model, dict(extra_args or {})
        self.callback, self.noise_sampler = callback, noise_sampler
        self.sigmas = sigmas if hasattr(sigmas, "dtype") else np.asarray(sigmas, np.float64)
        calls = plan.rows[plan.rows["call"]]
        steps = len(self.sigmas) - 2 - calls["key"]  # keys count what is left
        self.calls = iter(zip(steps.tolist(), calls["t"].tolist(), strict=True))
        self.i = -1

    def denoised(self, x: Any, sigma: Any) -> Any:
        """What the model means, told to the callback if it is the first of a step."""
        said = self.model(x, sigma, **self.extra)
        i, hat = next(self.calls)
        first, self.i = i != self.i, i
        if first and self.callback is not None:
            library = library_of("x", x)
            kept = library.copied(x, library.empty_like(x))  # sampling goes on in place
            self.callback({"x": kept, "i": i, "sigma": self.sigmas[i], "sigma_hat": self._hat(hat), "denoised": said})
        return said

    def _hat(self, value: float) -> Any:
        """Sigma with the noise that was added, of the kind of the list's."""
        now = self.sigmas[self.i]
        return now if float(now) == value else now * 0 + value

    def noise(self, sigma: float, sigma_next: float) -> Any:
        """The user's, told the list's own numbers."""
        return self.noise_sampler(self.sigmas[self.i], self.sigmas[self.i + 1])
