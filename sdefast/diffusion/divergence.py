"""The divergence of a model: exactly along all directions, or in the mean over random ones.

Tensors are differentiated by torch. Arrays of numpy are differentiated by differences: models in numpy need not work
on complex numbers, and those that do not are silently wrong there (``abs``, comparisons). The noised density has no
structure below sigma(t), so a step of eps^(1/5) sigma(t), the best one of fourth order for outputs of precision eps,
costs about 1e-12 of the score's own size per sigma.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import batches

#: (call, x, t, scale) -> outputs (n, E) and divergences (n,), float64, of ``call`` at x; x varies on the given scale
Divergence = Callable[[Callable[[Any], Any], Any, Any, float], tuple[np.ndarray, np.ndarray]]


def exact(call: Callable[[Any], Any], x: Any, t: Any, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The trace of the Jacobian, direction by direction."""
    size = batches.flat(x).shape[1]
    axes = (_axis(e, len(x), size) for e in range(size))
    return _summed(call, x, axes, scale, length=1.0)


def along_probes(probes: np.ndarray) -> Divergence:
    """Hutchinson's estimate, the mean of v' J v over probes (n_probes, n, E) of signs."""

    def divergence(call: Callable[[Any], Any], x: Any, t: Any, scale: float) -> tuple[np.ndarray, np.ndarray]:
        out, total = _summed(call, x, probes, scale, length=float(np.sqrt(probes.shape[2])))
        return out, total / len(probes)

    return divergence


def _axis(e: int, n: int, size: int) -> np.ndarray:
    direction = np.zeros((n, size))
    direction[:, e] = 1
    return direction


def _summed(
    call: Callable[[Any], Any], x: Any, directions: Any, scale: float, length: float
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs, and the sum of v' J v over directions v of a length."""
    return (_by_torch if batches.is_tensor(x) else _by_differences)(call, x, directions, scale / length)


def _by_torch(call: Callable[[Any], Any], x: Any, directions: Any, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """v' J by backward passes, which never mix samples unless the model does."""
    torch = sys.modules["torch"]
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        out = call(point)
        total = np.zeros(len(x))
        if out.requires_grad:  # else it does not depend on x
            for direction in directions:
                v = batches.like(x, direction)
                (slope,) = torch.autograd.grad(out, point, v, retain_graph=True, materialize_grads=True)
                total += (batches.flat(slope) * direction).sum(axis=1)
    return batches.flat(out), total


def _by_differences(call: Callable[[Any], Any], x: Any, directions: Any, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of fourth order: (8 (s(x+h) - s(x-h)) - (s(x+2h) - s(x-2h))) / 12 h."""
    out = np.asarray(call(x))
    rows, total = batches.flat(x), np.zeros(len(x))
    h = float(np.finfo(out.dtype).eps) ** 0.2 * scale
    for v in directions:
        s = {k: batches.flat(call(batches.like(x, rows + k * h * v))) for k in (-2, -1, 1, 2)}
        total += (v * (8 * (s[1] - s[-1]) - (s[2] - s[-2]))).sum(axis=1) / (12 * h)
    return batches.flat(out), total
