"""What all schedulers share: a row for every call of the model, where a trajectory is, whose noise it has."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ... import checks
from .. import kernel
from ..kernel import Keys, State
from ..levels import Levels
from ..plan import planned
from ..samplers.base import HOLD, PUSH
from ..schedule import Schedule, cosine_schedule, linear_beta_schedule, scaled_linear_beta_schedule
from ..step import given_noise, not_finite
from .thresholds import thresholded

__all__ = ["Steps", "refuse", "schedule_of", "seeded"]

#: diffusers' names of what a model predicts.
_PREDICTIONS = {"epsilon": "eps", "sample": "x0", "original_sample": "x0", "v_prediction": "v"}


def seeded(parent: type) -> Callable[..., None]:
    """An ``__init__`` with one more setting, ``seed``, that saves and loads with the others."""

    def init(self: Any, *args: Any, seed: int | None = None, **settings: Any) -> None:
        if seed is not None:
            checks.seed("seed", seed)
        parent.__init__(self, *args, **settings)  # type: ignore[misc]
        unsaid = [*self.config.get("_use_default_values", []), *(["seed"] if seed is None else [])]
        self.register_to_config(seed=seed, _use_default_values=unsaid)
        self.check()

    known = inspect.signature(parent.__init__)  # type: ignore[misc]
    more = inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=int | None)
    init.__signature__ = known.replace(parameters=[*known.parameters.values(), more])  # type: ignore[attr-defined]
    return init


def refuse(config: Mapping[str, Any], **supported: tuple[Any, ...]) -> None:
    """ValueError for a setting that is none of those that are supported."""
    for name, values in supported.items():
        if (got := config.get(name, values[0])) not in values:
            raise ValueError(f"{name} must be {' or '.join(map(repr, values))}, all that is supported, got {got!r}")


def schedule_of(scheduler: Any, least: float = 0.0) -> Schedule:
    """The schedule of a config, in float64; the last alpha of one of zero terminal SNR is at most ``least``."""
    config = scheduler.config
    n, first, last = config.num_train_timesteps, config.beta_start, config.beta_end
    if config.trained_betas is not None:
        made = Schedule.from_betas(np.asarray(config.trained_betas, np.float64))
    elif config.beta_schedule == "linear":
        made = linear_beta_schedule(n, first, last)
    elif config.beta_schedule == "scaled_linear":
        made = scaled_linear_beta_schedule(n, first, last)
    elif config.beta_schedule == "squaredcos_cap_v2":
        made = cosine_schedule(n)
    else:
        return Schedule.from_betas(scheduler.betas.double())  # as diffusers computes them
    if not config.get("rescale_betas_zero_snr", False):
        return made
    alpha = made.zero_terminal_snr().alpha.copy()
    alpha[-1] = min(least, alpha[-2] / 2)  # diffusers' 2^-12 is above the one before in its default betas
    return Schedule(alpha, np.sqrt((1 - alpha) * (1 + alpha)))


@dataclass
class _Trajectory:
    """Samples on their way: whose noise they have, and what rows kept."""

    shape: tuple[int, ...]
    keys: Keys | None = None
    h1: Any = None
    h2: Any = None


class Steps:
    """A scheduler whose steps are rows; its subclasses say which rows, by `_prepare`, and how `step` is called."""

    _step_index: int | None = None
    _begin_index: int | None = None
    _rows: Any = None
    _coefficients: Any = None
    _given: Any = None
    _trajectory: _Trajectory | None = None
    _schedule: Schedule | None = None
    config: Any
    timesteps: Any
    num_inference_steps: int | None
    sigmas: Any
    #: the least alpha where the signal vanishes
    _least = 0.0
    #: whether timesteps are not indices
    _refuses_integers = False

    def check(self) -> None:
        """Refuse what is not supported, once the config is known."""

    @property
    def schedule(self) -> Schedule:
        """What the model was trained on, in float64."""
        if self._schedule is None:
            self._schedule = schedule_of(self, self._least)
        return self._schedule

    @property
    def prediction(self) -> str:
        """What the model predicts, in the library's word."""
        return _PREDICTIONS[self.config.prediction_type]

    @property
    def clip(self) -> float | None:
        """Where the data that the model means are clipped, if they are not thresholded."""
        if self.config.get("thresholding", False):
            return None
        return float(self.config.clip_sample_range) if self.config.get("clip_sample", False) else None

    def _begin(self, timesteps: torch.Tensor) -> None:
        """A new list of what the model is given; rows follow."""
        self.timesteps, self._given = timesteps, timesteps.tolist()
        self._step_index = self._begin_index = self._trajectory = None

    def _prepare(self, method: str, levels: Levels, prediction: str, **options: Any) -> np.ndarray:
        """The rows through these levels."""
        rows = planned(method, levels, prediction, self.clip, options).rows.copy()
        self._use(rows)
        return rows

    def _use(self, rows: np.ndarray) -> None:
        self._rows, self._coefficients = rows, kernel.coefficients_of(rows)

    def _seek(self, timestep: Any) -> int:
        """Which call this timestep is: the one that is due, or else a new beginning."""
        t, due = self._told(timestep), self._step_index
        if due is None and self._trajectory is None:
            due = self._begin_index
        if due is not None and due < len(self._given) and self._given[due] == t:
            self._step_index = due
            return due
        found = [i for i, given in enumerate(self._given) if given == t]
        if not found:
            raise ValueError(
                f"timestep {t:g} is none of the {len(self._given)} that set_timesteps made, from {self._given[0]:g} "
                f"to {self._given[-1]:g}: pass one of scheduler.timesteps"
            )
        self._trajectory = None
        self._step_index = found[min(1, len(found) - 1)]  # of a level's correction and its step, the step
        return self._step_index

    def _told(self, timestep: Any) -> float:
        if self._given is None or self._coefficients is None:
            raise ValueError("no timesteps yet: call set_timesteps(n) before step")
        whole = isinstance(timestep, int) or (torch.is_tensor(timestep) and not timestep.is_floating_point())
        if self._refuses_integers and whole:
            raise ValueError(f"timestep must be one of scheduler.timesteps, not an index of them, got {timestep}")
        return float(timestep)

    @torch.compiler.disable  # type: ignore[untyped-decorator,unused-ignore]
    def _advance(
        self, output: torch.Tensor, timestep: Any, sample: torch.Tensor, generator: Any = None, noise: Any = None,
        row: np.ndarray | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """The samples after the row of this timestep, or after ``row``, and the data that the model meant."""
        i = self._seek(timestep)
        x = sample if sample.dtype in (torch.float32, torch.float64) else sample.float()
        state = State("sample", x.contiguous())
        output, code = kernel.matching("model_output", output, state)
        way = self._way(i, tuple(x.shape))
        row, record = self._row(i, way) if row is None else row, self._rows[i]
        noisy = bool(row[8] != 0)
        given = None if noise is None or not noisy else given_noise(noise.to(x.dtype), state)
        if noisy and given is None:
            self._draws(way, generator)
        scale = None
        if self.config.get("thresholding", False):
            row, scale = thresholded(row, state.x, output, self.config)
        after, data = torch.empty_like(state.x), torch.empty_like(state.x)
        wrong = kernel.apply(
            row, state, output, code, after, h1=way.h1, h2=way.h2, kept=data, noisy=noisy, given=given,
            keys=way.keys or Keys(), key=int(record["key"]),
        )  # fmt: skip
        if wrong >= 0:
            raise FloatingPointError(not_finite(f"{self._given[i]:g}", wrong))
        if scale is not None:
            data /= scale
        self._keep(int(record["keep"]), way, state.x, data)
        self._step_index = i + 1
        return after.to(sample.dtype), data.to(sample.dtype)

    def _draws(self, way: _Trajectory, generator: Any) -> Keys:
        """Whose noise these samples have, settled when the first is drawn."""
        if way.keys is None:
            way.keys = Keys.of(_seeds(generator, way.shape[0], self.config.seed), 0, way.shape[0])
        return way.keys

    def _noised(self, i: int, sample: torch.Tensor, scale: float, generator: Any) -> torch.Tensor:
        """New samples with noise of this scale, that of the i-th row, in float32 or float64."""
        x = sample if sample.dtype in (torch.float32, torch.float64) else sample.float()
        state = State("sample", x.contiguous())
        keys = self._draws(self._way(i, tuple(x.shape)), generator)
        row, after = np.array([0, 0, math.inf, 1, 0, 0, 0, 0, scale]), torch.empty_like(state.x)
        kernel.apply(
            row, state, state.x, int(state.doubles), after, noisy=True, keys=keys, key=int(self._rows["key"][i])
        )
        return after

    def _way(self, i: int, shape: tuple[int, ...]) -> _Trajectory:
        """The trajectory that these samples are on: another batch is another one."""
        if self._trajectory is None or self._trajectory.shape != shape:
            self._trajectory = _Trajectory(shape)
        return self._trajectory

    def _row(self, i: int, way: _Trajectory) -> np.ndarray:
        """The coefficients: without what earlier rows kept a multistep one is of first order."""
        row: np.ndarray = self._coefficients[i]
        if way.h1 is not None or (row[6] == 0 and row[7] == 0):
            return row
        if self._rows["keep"][i] != PUSH:
            raise ValueError(
                f"the correction at timestep {self._given[i]:g} needs the step before it, of the same samples: begin "
                "anew with set_timesteps"
            )
        return first_order_only(row)

    @staticmethod
    def _keep(keep: int, way: _Trajectory, x: torch.Tensor, data: torch.Tensor) -> None:
        """What later rows need."""
        if keep == PUSH:
            way.h1, way.h2 = data.clone(), way.h1  # callers may overwrite theirs
        elif keep == HOLD:
            way.h1, way.h2 = x.clone(), data.clone()
        else:
            way.h1 = way.h2 = None


def first_order_only(row: np.ndarray) -> np.ndarray:
    """A multistep row whose D stands for those before, too."""
    row = row.copy()
    row[4], row[6], row[7] = row[4] + row[6] + row[7], 0.0, 0.0
    return row


def _seeds(generator: Any, n: int, seed: int | None) -> Any:
    """Of one trajectory: a number from each generator, or the config's, or a new one."""
    if isinstance(generator, (list, tuple)):
        if len(generator) != n:
            raise ValueError(f"generator must be one, or one for each of the {n} samples, got {len(generator)}")
        return [_drawn(one) for one in generator]
    if generator is not None:
        return _drawn(generator)
    return int.from_bytes(os.urandom(8), "little") if seed is None else seed


def _drawn(generator: Any) -> int:
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, or a list of them, got {type(generator).__name__}")
    low = torch.randint(-(2**63), 2**63 - 1, (1,), generator=generator, device=generator.device)
    return int(low.item()) % 2**64


def levels_of_ratios(ratios: np.ndarray, timesteps: np.ndarray, variance_preserving: bool = False) -> Levels:
    """Levels at sigma / alpha, alpha being 1 unless the variance is preserved; noise is numbered by the step."""
    alpha = 1 / np.sqrt(1 + ratios**2) if variance_preserving else np.ones_like(ratios)
    keys = np.append(np.arange(len(ratios) - 1), -1)
    return Levels(alpha, alpha * ratios, np.append(timesteps, math.nan), keys)


def respaced(scheduler: Any, ratios: np.ndarray, n: int) -> np.ndarray | None:
    """Karras', exponential or beta spacing of sigma / alpha between the ends of these, if the config asks for it."""
    for setting in ("karras", "exponential", "beta"):
        if scheduler.config.get(f"use_{setting}_sigmas", False):
            return np.asarray(getattr(scheduler, f"_convert_to_{setting}")(in_sigmas=ratios, num_inference_steps=n))
    return None
