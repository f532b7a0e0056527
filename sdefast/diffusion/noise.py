"""Noise by number: a function of (seed, sample, step), for whole samples.

A sample does not depend on its batch, and no generator is touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from .. import checks, resources
from . import kernel
from .arrays import NUMPY, Library, library_of, outside_graphs, torch_library
from .kernel import Keys, State
from .plan import Plan
from .schedule import Schedule

__all__ = ["empty", "noise_sampler", "prior", "randn_like"]


def prior(
    shape: Any, schedule: Any, *, seed: Any = 0, first_sample: int = 0, like: Any = None, dtype: Any = None,
    device: Any = None, threads: int | None = None,
) -> Any:  # fmt: skip
    """Where sampling begins: normal noise of the schedule's scale.

    Parameters
    ----------
    shape : tuple of int
        (n, ...).
    schedule : Schedule or Plan
        The scale is its ``prior_scale``: 1 if the variance is preserved and for flows, else the largest sigma; a plan
        knows where it begins, which may be at less.
    seed, first_sample
        As of `ddpm_step`; the noise has a number that no step has.
    like : ndarray or torch.Tensor, optional
        Whose kind, type and device the samples get.
    dtype : optional
        Type, float32 by default; one of torch's makes a tensor.
    device : optional
        Torch's; makes a tensor. Without any of these it is an array of numpy.

    Returns
    -------
    ndarray or torch.Tensor

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.diffusion.prior((4, 1, 28, 28), sf.diffusion.linear_beta_schedule(1000), seed=1).dtype
    dtype('float32')
    """
    state = State("x", empty(shape, like, dtype, device))
    if not isinstance(schedule, (Schedule, Plan)):
        raise TypeError(f"schedule must be a Schedule or a Plan, got {type(schedule).__name__}")
    number = schedule.prior_key if isinstance(schedule, Plan) else schedule.n
    kernel.noise_into(state, float(schedule.prior_scale), Keys.of(seed, first_sample, state.n), number, threads)
    return state.x


def randn_like(x: Any, *, seed: Any = 0, step: int = 0, first_sample: int = 0, threads: int | None = None) -> Any:
    """The normal noise of a step, like x: what `ddpm_step` draws at timestep ``step``.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> z = sf.diffusion.randn_like(np.zeros((3, 2)), seed=1, step=5)
    >>> bool((z[1:] == sf.diffusion.randn_like(np.zeros((2, 2)), seed=1, step=5, first_sample=1)).all())
    True
    """
    library = library_of("x", x)
    state = State("x", library.empty_like(x))
    number = checks.count("step", step, least=0, most=2**32)
    kernel.noise_into(state, 1.0, Keys.of(seed, first_sample, state.n), number, threads)
    return state.x


def noise_sampler(x: Any, *, seed: Any = 0, first_sample: int = 0) -> Callable[[Any, Any], Any]:
    """A callable as k-diffusion's samplers take it, ``sampler(sigma, sigma_next)``: noise like x, call after call.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> sf.diffusion.noise_sampler(np.zeros((2, 3)), seed=[5, 6])(1.0, 0.5).shape
    (2, 3)
    """
    calls = count(1)

    def sampler(sigma: Any, sigma_next: Any) -> Any:
        return randn_like(x, seed=seed, step=next(calls), first_sample=first_sample)

    outside_graphs(sampler)
    return sampler


def empty(shape: Any, like: Any, dtype: Any, device: Any) -> Any:
    """Memory for samples, of numpy unless something says otherwise."""
    try:
        sizes = tuple(checks.count(f"shape[{i}]", n) for i, n in enumerate(shape))
    except TypeError:
        raise TypeError(f"shape must be a tuple of integers, (n, ...), got {shape!r}") from None
    if not sizes:
        raise ValueError("shape must be (n, ...), got ()")
    resources.refuse_too_large(
        8 * math.prod(sizes), f"samples of shape {sizes}", ["draw fewer at a time, with first_sample"]
    )
    torch = _wanted_torch(like, dtype, device)
    if torch is None:
        wanted = dtype if dtype is not None else "float32" if like is None else like.dtype
        return np.empty(sizes, checks.dtype("dtype", wanted))
    kind: Any = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if isinstance(dtype, str) and kind is None:
        raise TypeError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    place = device if device is not None or like is None else like.device
    return torch.empty(sizes, dtype=kind or (torch.float32 if like is None else like.dtype), device=place)


def _wanted_torch(like: Any, dtype: Any, device: Any) -> Any:
    """The module, if a tensor is wanted."""
    if like is not None:
        library: Library = library_of("like", like)
        if library is NUMPY and device is None:
            return None
    named = type(dtype).__module__ == "torch"
    if like is None and device is None and not named:
        return None
    import torch

    torch_library()
    return torch


for _entry in (prior, randn_like, noise_sampler):
    outside_graphs(_entry)
