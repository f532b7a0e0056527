"""Batches of samples, arrays of numpy or tensors of torch, as float64 rows on the host and back.

For what is computed once per model call; sampling works in place. Torch is only used if somebody's tensor comes in.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .. import checks
from .arrays import library_of, torch_library


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a tensor of torch, which is not imported for the question."""
    known = torch_library()
    return known is not None and isinstance(x, known.torch.Tensor)


def flat(x: Any) -> np.ndarray:
    """Float64 rows (n, E), one per sample."""
    if is_tensor(x):
        x = x.detach().cpu().double().numpy()
    values = checks.array("x", x)
    if not values.ndim or not values.size:
        raise ValueError(f"x must hold at least one sample along its first axis, got shape {values.shape}")
    return values.reshape(len(values), -1)


def like(x: Any, rows: np.ndarray) -> Any:
    """Rows in the shape, type and place of ``x``; floating point."""
    if is_tensor(x):
        kind = x.dtype if x.is_floating_point() else None
        torch = sys.modules["torch"]
        return torch.as_tensor(rows.reshape(tuple(x.shape)), dtype=kind, device=x.device)
    kind = np.asarray(x).dtype
    return rows.reshape(np.shape(x)).astype(kind if kind.kind == "f" else np.float64)


def steps(x: Any, t: int) -> Any:
    """The int64 vector that holds a timestep once per sample."""
    if is_tensor(x):
        torch = sys.modules["torch"]
        return torch.full((len(x),), t, dtype=torch.int64, device=x.device)
    return np.full(len(x), t, np.int64)


def times(x: Any, t: float) -> Any:
    """The vector, of the type of ``x``, that holds a time once per sample."""
    rows = np.full(len(x), t)
    return like(x[(slice(None), *(0,) * (np.ndim(x) - 1))], rows)


def checked(out: Any, x: Any, when: str) -> Any:
    """What a model returned, if it has the shape of ``x`` and is finite."""
    if tuple(np.shape(out)) != tuple(np.shape(x)):
        raise ValueError(f"the model returned shape {tuple(np.shape(out))} for x of shape {tuple(np.shape(x))}")
    finite = out.isfinite() if is_tensor(out) else np.isfinite(out)
    if not finite.all():
        rows = np.asarray(finite.cpu() if is_tensor(finite) else finite).reshape(len(x), -1)
        raise ValueError(f"the model returned NaN or infinity at {when}, for sample {int(np.argmin(rows.all(axis=1)))}")
    return out


def without_gradients(x: Any) -> AbstractContextManager[Any]:
    """No gradients are recorded for tensors."""
    return library_of("x", x).no_gradients() if is_tensor(x) else nullcontext()


def numbers(name: str, values: Any, n: int) -> np.ndarray:
    """What a user's function returned, as n float64 numbers."""
    found = flat(values) if np.ndim(values) else np.empty((0, 0))
    if found.shape not in ((n, 1), (1, n)):
        raise ValueError(f"{name} must return {n} numbers, one per sample, got shape {tuple(np.shape(values))}")
    return found.ravel()


def numbers_like(x: Any, values: np.ndarray) -> Any:
    """One float64 number per sample, of the kind of ``x``."""
    if is_tensor(x):
        return sys.modules["torch"].as_tensor(values, device=x.device)
    return values
