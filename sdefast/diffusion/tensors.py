"""Torch, which networks and their training need, and checks of its tensors.

Modules that need torch take it from here, so that one error says what to install where it is missing.
"""

from __future__ import annotations

from typing import Any

try:
    import torch
except ImportError as error:
    raise ImportError(
        "networks and their training need torch, which is missing or broken: pip install 'sdefast[diffusion]' "
        f"(importing it said: {error})"
    ) from error

__all__ = ["alike", "column", "per_sample", "samples", "torch"]


def samples(name: str, x: Any) -> torch.Tensor:
    """A tensor of samples, (n, ...) with at least one of them and one element each, float32 or float64."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name} must be a tensor of torch, got {type(x).__name__}")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}")
    if x.ndim < 2 or not x.numel():
        raise ValueError(f"{name} must have shape (n, ...), a sample along each row, got {tuple(x.shape)}")
    return x


def alike(name: str, value: Any, x: torch.Tensor, than: str = "x") -> torch.Tensor:
    """A tensor of the shape, the type and the device of ``x``."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a tensor of torch, got {type(value).__name__}")
    if value.shape != x.shape:
        raise ValueError(f"{name} must have the shape of {than}, {tuple(x.shape)}, got {tuple(value.shape)}")
    if value.dtype != x.dtype or value.device != x.device:
        raise TypeError(f"{name} must be {x.dtype} on {x.device}, as {than} is, got {value.dtype} on {value.device}")
    return value


def per_sample(name: str, value: Any, n: int) -> torch.Tensor:
    """Real numbers of shape (n,), where they lie, from a tensor or an array."""
    given = torch.as_tensor(value)
    if given.ndim != 1 or len(given) != n:
        raise ValueError(f"{name} must have shape ({n},), one number per sample, got {tuple(given.shape)}")
    if given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers, got {given.dtype}")
    return given


def column(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One number per sample in the shape, the type and the place in which it multiplies ``x``."""
    return values.to(x.device, x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
