"""What users give as numbers of a schedule."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks


def numbers(name: str, value: Any) -> np.ndarray:
    """A copy in float64 of a list, array or tensor that was not in half precision."""
    checks.refuse_loss(name, value)
    if "float16" in str(getattr(value, "dtype", "")):
        raise ValueError(
            f"{name} must not be in half precision, which is 1 for small timesteps: pass float64 or float32"
        )
    found = checks.array(name, value, shape=(None,)).copy()
    if not len(found):
        raise ValueError(f"{name} must not be empty")
    return found


def check_noise_grows(alpha: np.ndarray, sigma: np.ndarray) -> None:
    """ValueError unless both are positive and their ratio increases."""
    for name, value, fine in (("alpha", alpha, alpha >= 0), ("sigma", sigma, sigma > 0)):
        if not fine.all():
            i = int(np.argmin(fine))
            raise ValueError(f"{name} must be positive, got {value[i]:g} at index {i}")
    with np.errstate(divide="ignore"):
        ratio = sigma / alpha
    still = np.flatnonzero(~(ratio[1:] > ratio[:-1]))
    if len(still):
        i = int(still[0]) + 1
        raise ValueError(
            f"noise must grow with the timestep, but sigma / alpha is {ratio[i]:g} at index {i} "
            f"after {ratio[i - 1]:g}: timestep 0 is the one nearest to the data"
        )
