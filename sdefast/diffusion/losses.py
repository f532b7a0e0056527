"""Losses that fit a score to data: explicit, implicit, sliced and denoising score matching.

Each is a mean over samples of half a square, summed over the elements of a sample. Some tutorials leave out the half,
which moves no optimum. A score is ``score(x)`` for x (n, ...), each sample on its own, and losses can be differentiated
by what it depends on.

The optimum of the explicit, the implicit and the sliced loss is the score of the data; that of the denoising losses is
the score of the data with noise. Minus (x~ - x) / sigma^2 is the score of x~ given x, not of x~: only its mean given x~
is what the network learns (Vincent 2011).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tensors import alike, column, samples, torch

__all__ = [
    "denoising_score_matching",
    "explicit_score_matching",
    "implicit_score_matching",
    "noise_conditional",
    "sliced_score_matching",
]

Tensor = torch.Tensor
Score = Callable[[Tensor], Tensor]


def explicit_score_matching(score: Score, x: Tensor, true_score: Score) -> Tensor:
    """The Fisher divergence, the mean of |score(x) - true_score(x)|^2 / 2.

    Parameters
    ----------
    score, true_score : callable
        Of x (n, ...), like x.
    x : Tensor of shape (n, ...)
        Data.

    Returns
    -------
    Tensor
        A number.

    Raises
    ------
    TypeError, ValueError
        If a tensor is not what it must be.

    Examples
    --------
    >>> import torch
    >>> from sdefast.diffusion import losses
    >>> losses.explicit_score_matching(lambda x: -x, torch.tensor([[1.0, 2.0]]), lambda x: -2 * x)
    tensor(2.5000)
    """
    samples("x", x)
    return _half_square(_said(score, x) - alike("true_score(x)", true_score(x), x))


def implicit_score_matching(score: Score, x: Tensor) -> Tensor:
    """The mean of tr(grad score(x)) + |score(x)|^2 / 2, which needs no true score (Hyvarinen 2005, theorem 1).

    It is the explicit loss less the mean of |true score|^2 / 2, a constant. The trace is exact and takes as many
    backward passes as a sample has elements.

    Parameters
    ----------
    score : callable
        Of x (n, ...), like x.
    x : Tensor of shape (n, ...)
        Data.

    Examples
    --------
    >>> import torch
    >>> from sdefast.diffusion import losses
    >>> losses.implicit_score_matching(lambda x: -x, torch.tensor([[1.0, 2.0]])).item()
    0.5
    """
    x, asked = samples("x", x).detach().requires_grad_(), torch.is_grad_enabled()
    with torch.enable_grad():
        s = _said(score, x)
        sums = s.flatten(1).sum(0)
        diagonal = [_slope(part, x).flatten(1)[:, e].sum() for e, part in enumerate(sums)]
        value = torch.stack(diagonal).sum() / len(x) + _half_square(s)
    return value if asked else value.detach()


def sliced_score_matching(score: Score, x: Tensor, directions: Tensor, *, reduced: bool = False) -> Tensor:
    """The implicit loss along random directions, the mean of v' grad score(x) v + (v' score(x))^2 / 2.

    Of standard normal or random signs as directions it has the implicit loss as its mean (Song et al. 2019, equation
    7), at one backward pass a direction.

    Parameters
    ----------
    score : callable
        Of x (n, ...), like x.
    x : Tensor of shape (n, ...)
        Data.
    directions : Tensor of shape (n, ...) or (m, n, ...)
        One direction v per sample, or m of them.
    reduced : bool
        Whether (v' score)^2 is replaced by its mean |score|^2, which has less variance (equation 8).

    Examples
    --------
    >>> import torch
    >>> from sdefast.diffusion import losses
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> losses.sliced_score_matching(lambda x: -x, x, torch.tensor([[1.0, -1.0]])).item()
    -1.5
    """
    x, asked = samples("x", x).detach().requires_grad_(), torch.is_grad_enabled()
    if not isinstance(directions, Tensor) or directions.ndim == x.ndim:
        directions = alike("directions", directions, x)[None]
    if not len(directions):
        raise ValueError(f"directions must hold at least one for each sample, got {tuple(directions.shape)}")
    alike("directions[0]", directions[0], x)
    with torch.enable_grad():
        s = _said(score, x)
        along = (directions * s).flatten(2).sum(2)
        curvature = [(v * _slope(part.sum(), x)).sum() for v, part in zip(directions, along, strict=True)]
        square = _half_square(s) if reduced else along.square().mean() / 2
        value = torch.stack(curvature).sum() / along.numel() + square
    return value if asked else value.detach()


def denoising_score_matching(score: Score, x: Tensor, sigma: Any, z: Tensor) -> Tensor:
    """The mean of |score(x~) + z / sigma|^2 / 2 at x~ = x + sigma z (Vincent 2011, equation 11).

    It is the explicit loss on the data with noise, up to a constant.

    Parameters
    ----------
    score : callable
        Of x~ (n, ...), like x.
    x : Tensor of shape (n, ...)
        Data.
    sigma : float or Tensor of shape (n,)
        Scale of the noise, of all samples or of each.
    z : Tensor like x
        Standard normal noise.

    Examples
    --------
    >>> import torch
    >>> from sdefast.diffusion import losses
    >>> losses.denoising_score_matching(lambda x: -x, torch.tensor([[1.0]]), 0.5, torch.tensor([[2.0]]))
    tensor(2.)
    """
    noisy, sigmas = _noised(x, sigma, z)
    return _half_square(_said(score, noisy) + z / column(sigmas, x))


def noise_conditional(score: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Any, z: Tensor) -> Tensor:
    """The mean of sigma^2 |score(x~, sigma) + z / sigma|^2 / 2 at x~ = x + sigma z (Song and Ermon 2019, equation 5).

    Parameters
    ----------
    score : callable
        ``score(x, sigma)`` of x (n, ...) and sigma (n,), like x.
    x : Tensor of shape (n, ...)
        Data.
    sigma : float or Tensor of shape (n,)
        Scales of noise.
    z : Tensor like x
        Standard normal noise.

    Examples
    --------
    >>> import torch
    >>> from sdefast.diffusion import losses
    >>> losses.noise_conditional(lambda x, sigma: -x, torch.tensor([[1.0]]), 0.5, torch.tensor([[2.0]]))
    tensor(0.5000)
    """
    noisy, sigmas = _noised(x, sigma, z)
    return _half_square(column(sigmas, x) * _said(lambda x: score(x, sigmas), noisy) + z)


def _half_square(r: Tensor) -> Tensor:
    """Half the square of samples' lengths, in the mean."""
    return r.square().sum() / (2 * len(r))


def _said(score: Score, x: Tensor) -> Tensor:
    return alike("score(x)", score(x), x)


def _slope(value: Tensor, x: Tensor) -> Tensor:
    """The derivative by x of what may not depend on it."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
    return slope


def _noised(x: Tensor, sigma: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """x + sigma z, and sigma of each sample."""
    samples("x", x)
    alike("z", z, x)
    sigmas = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    if sigmas.ndim > 1 or (sigmas.ndim == 1 and len(sigmas) != len(x)):
        raise ValueError(f"sigma must be one number, or have shape ({len(x)},), got shape {tuple(sigmas.shape)}")
    if sigmas.is_cpu and not ((sigmas > 0) & sigmas.isfinite()).all():
        raise ValueError(f"sigma must be positive, got {sigma}")
    sigmas = sigmas.expand(len(x))
    return x + column(sigmas, x) * z, sigmas
