"""Lists of timesteps of configs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import checks
from ..spacing import SPACINGS, timesteps

__all__ = ["fractions", "integers", "multistep", "times_of"]


def integers(config: Any, n: int | None, own: Any = None) -> np.ndarray:
    """As many timesteps as asked for, by the spacing of the config; or an own list."""
    n_train = config.num_train_timesteps
    if (n is None) == (own is None):
        raise ValueError("give num_inference_steps or timesteps, one of them")
    if own is not None:
        return timesteps(n_train, None, own)
    n = checks.count("num_inference_steps", n, most=n_train)
    found = timesteps(n_train, n, checks.choice("timestep_spacing", config.timestep_spacing, SPACINGS))
    return _moved(config, n_train, found)


def fractions(config: Any, n: int | None, own: Any = None) -> np.ndarray:
    """The same for schedulers that interpolate between timesteps: ``"linspace"`` is not rounded."""
    if n is not None and own is None and config.timestep_spacing == "linspace":
        last = config.num_train_timesteps - 1
        n = checks.count("num_inference_steps", n, most=last + 1)
        return np.linspace(last, 0, n)  # one alone is the last
    if own is not None and n is None:
        return _own(config, own)
    return integers(config, n, own).astype(np.float64)


def multistep(config: Any, n: int | None, n_train: int, own: Any = None) -> np.ndarray:
    """Those of multistep solvers: the last of n + 1, which is the one nearest to the data, is left out."""
    if own is not None or n is None:
        return integers(config, n, own)
    n = checks.count("num_inference_steps", n, most=n_train)
    spacing = checks.choice("timestep_spacing", config.timestep_spacing, SPACINGS)
    if spacing == "trailing" or n == n_train:
        return timesteps(n_train, n, spacing)
    return _moved(config, config.num_train_timesteps, timesteps(n_train, n + 1, spacing)[:-1])


def times_of(ratios: np.ndarray, schedule_ratios: np.ndarray) -> np.ndarray:
    """Timesteps at which sigma / alpha is this, its logarithm being interpolated."""
    found: np.ndarray = np.interp(
        np.log(np.maximum(ratios, 1e-10)), np.log(schedule_ratios), np.arange(len(schedule_ratios))
    )
    return found


def _moved(config: Any, n_train: int, found: np.ndarray) -> np.ndarray:
    """By ``steps_offset``, where that is looked at."""
    if config.timestep_spacing != "leading" or not config.steps_offset:
        return found
    return timesteps(n_train, None, (found + config.steps_offset).tolist())


def _own(config: Any, own: Any) -> np.ndarray:
    given = checks.array("timesteps", own, shape=(None,))
    last = config.num_train_timesteps - 1
    wrong = given[(given < 0) | (given > last)]
    if len(wrong):
        raise ValueError(f"timesteps must be between 0 and {last}, got {wrong[0]:g}")
    if not len(given) or (np.diff(given) >= 0).any():
        raise ValueError("timesteps must hold one number or more and decrease strictly, noisiest first")
    return given
