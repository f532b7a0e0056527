"""A plan's rows run in plain numpy: what the kernel computes, slow and obvious, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sdefast.diffusion import Plan


def run_plan(
    model: Callable[[np.ndarray, Any], np.ndarray], plan: Plan, x: np.ndarray, noise: Callable[[int], np.ndarray]
) -> np.ndarray:
    """The state after all rows, from ``x`` of shape (n, ...), with ``noise(key)`` of its shape and ``model(x, t)``."""
    x = np.asarray(x, np.float64)
    h1 = h2 = np.zeros_like(x)
    for row in plan.rows:
        x, h1, h2 = step(model, row, x, h1, h2, noise)
    return x


def step(model: Any, row: np.void, x: np.ndarray, h1: np.ndarray, h2: np.ndarray, noise: Any) -> tuple[np.ndarray, ...]:
    """The state and what is kept after one row."""
    e = D = np.zeros_like(x)
    if row["call"]:
        e = np.asarray(model(x, row["t"]), np.float64)
        D = np.clip(row["p"] * x + row["q"] * e, -row["limit"], row["limit"])
    if row["snr"] > 0:
        out = corrected(x, row["a"] * x + row["b"] * D, noise(int(row["key"])), row["snr"], row["sigma"])
    else:
        out = row["a"] * x + row["b"] * D + row["g"] * e + row["c1"] * h1 + row["c2"] * h2
        if row["s"] != 0:
            out = out + row["s"] * noise(int(row["key"]))
    kept = {0: (h1, h2), 1: (D, h1), 2: (x, D)}[int(row["keep"])]
    return out, *kept


def corrected(x: np.ndarray, score: np.ndarray, z: np.ndarray, snr: float, sigma: float) -> np.ndarray:
    """A Langevin step whose size comes from each sample's own norms, or of few coordinates from sigma."""
    axes = tuple(range(1, x.ndim))
    h = 2 * snr**2 * (z**2).sum(axes, keepdims=True) / (score**2).sum(axes, keepdims=True)
    if x[0].size < 256:
        h = np.full_like(h, 2 * (snr * sigma) ** 2)
    return x + h * score + np.sqrt(2 * h) * z
