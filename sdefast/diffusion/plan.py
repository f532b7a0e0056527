"""Plans: the table of rows, one for each call of the kernel, that a sampler makes of a schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .. import checks
from .levels import Levels, from_karras, from_sigmas, from_timesteps
from .predictions import PREDICTIONS, coefficients
from .samplers import SAMPLERS
from .samplers.base import Row
from .schedule import Schedule
from .spacing import SPACINGS, timesteps
from .table import printed

__all__ = ["ROW", "Plan", "plan", "plan_of_sigmas", "row_of"]

#: What a row holds: `Plan` says what its numbers mean.
ROW = np.dtype(
    [("call", np.bool_), ("t", np.float64)]
    + [(name, np.float64) for name in ("p", "q", "limit", "a", "b", "g", "c1", "c2", "s")]
    + [("keep", np.int8), ("key", np.int64), ("snr", np.float64), ("alpha", np.float64), ("sigma", np.float64)]
)


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What `plan` and `plan_of_sigmas` make: everything that a sampler computes, as a table.

    A row turns x into ``out = a x + b D + g e + c1 H1 + c2 H2 + s z`` where e is what the model says of x,
    ``D = p x + q e`` the data that it means, clipped to +-``limit``, z standard normal noise, and H1, H2 what rows
    before kept.

    Attributes
    ----------
    method : str
        The sampler's name.
    schedule : Schedule or None
        What it is for; None if it was made of sigmas.
    prediction : str
        What the model predicts.
    clip : float or None
        Where D is clipped.
    options : dict
        Those of the sampler.
    rows : ndarray
        Structured, one record for each call of the kernel. ``call``: whether the model is called at x first, with
        ``t``; without that there is no e and no D. ``p``, ``q``, ``limit``, ``a``, ``b``, ``g``, ``c1``, ``c2``, ``s``
        as above. ``keep``: 0 nothing; 1 H2 becomes H1, and H1 becomes D; 2 H1 becomes x as it was, H2 becomes D.
        ``key``: which noise z is, the timestep where there is one; further draws at one timestep are n + 1 apart.
        ``snr``: if above 0 the row is a Langevin step, ``x + h score + sqrt(2 h) z`` with ``score = a x + b D`` and
        ``h = 2 (snr |z| / |score|)^2`` for each sample. ``alpha``, ``sigma``: those of x after the row.
    start : tuple of float
        alpha and sigma of what the first row takes.
    prior_key : int
        Which noise `prior` draws: no row's.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.plan("ddim", diffusion.linear_beta_schedule(1000), 4, spacing="trailing").timesteps
    array([999, 749, 499, 249])
    """

    method: str
    schedule: Schedule | None
    prediction: str
    clip: float | None
    options: Mapping[str, Any]
    rows: np.ndarray
    start: tuple[float, float]
    prior_key: int

    @property
    def timesteps(self) -> np.ndarray:
        """What the model is given, call by call: int64 if they are timesteps of the schedule, else float64."""
        given: np.ndarray = self.rows["t"][self.rows["call"]]
        whole = self.schedule is not None and bool((given == np.round(given)).all())
        return given.astype(np.int64) if whole else given.copy()

    @property
    def n_calls(self) -> int:
        """How often the model is called."""
        return int(self.rows["call"].sum())

    @property
    def prior_scale(self) -> float:
        """The standard deviation of the noise that the first row takes for the state."""
        return 1.0 if self.schedule is not None and self.schedule.is_vp else self.start[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return NotImplemented
        mine, theirs = (
            (x.method, x.prediction, x.clip, x.start, [*map(_comparable, x.options.items())]) for x in (self, other)
        )
        return mine == theirs and self.schedule == other.schedule and np.array_equal(self.rows, other.rows)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        said = [repr(self.method), f"{len(self)} rows", f"{self.n_calls} calls", f"prediction={self.prediction!r}"]
        said += [f"clip={self.clip:g}"] if self.clip is not None else []
        return f"Plan({', '.join(said + [_short(*item) for item in self.options.items()])})"

    def __str__(self) -> str:
        return f"{self!r}\n{printed(self.rows)}"


def plan(
    method: str,
    schedule: Schedule,
    n_steps: int | None = None,
    *,
    spacing: str | Sequence[int] | None = None,
    prediction: str = "eps",
    clip: float | None = None,
    **options: Any,
) -> Plan:
    """The table of rows by which a sampler goes through a schedule to the data.

    Parameters
    ----------
    method : str
        ``"ddpm"``, ``"ddim"``, ``"euler"``, ``"euler-ancestral"``, ``"heun"``, ``"dpm++2m"``, ``"dpm++2m-sde"``,
        ``"dpm++3m"``, ``"dpm++3m-sde"``, ``"reverse-sde"``, ``"predictor-corrector"``, ``"ode"`` or
        ``"annealed-langevin"``.
    schedule : Schedule
        What the model was trained on.
    n_steps : int, optional
        Number of steps, by default one for every timestep, or for every one of an own list.
    spacing : {"leading", "trailing", "linspace", "karras"} or sequence of int
        Which timesteps are visited, see `timesteps`: by default ``"leading"``, as DDPM's scripts have it, where the
        variance is preserved and some data is left at the last timestep, else ``"trailing"``, which begins there.
        ``"karras"`` spaces sigma / alpha as EDM does, at timesteps
        that are not integers.
    prediction : {"eps", "x0", "v", "score", "flow"}
        What the model predicts.
    clip : float, optional
        The data that the model means are clipped to +-clip; 1 for images scaled to [-1, 1].
    **options
        Those of the sampler: ``variance`` ("beta_tilde", "beta", or an array of one variance per timestep) of ddpm;
        ``eta``, ``use_clipped_model_output`` of ddim; ``eta``, ``s_noise`` of euler-ancestral; ``s_churn``, ``s_tmin``,
        ``s_tmax``, ``s_noise`` of euler and heun; ``eta``, ``solver_type``, ``s_noise`` of dpm++2m-sde;
        ``curvature`` of dpm++3m, by default 1, which integrates the parabola through three D and is of third order;
        0.5 is what the authors' program, k-diffusion and diffusers compute, of second; ``eta``, ``curvature``,
        ``s_noise`` of dpm++3m-sde; ``predictor``, ``n_corrector``, ``snr`` of predictor-corrector; ``step_size``,
        ``steps_per_level`` of annealed-langevin.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If a name, an option or a number is not one of these, or the model cannot be used at a timestep.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.plan("dpm++2m", diffusion.linear_beta_schedule(1000), n_steps=20, prediction="v", clip=1.0)
    Plan('dpm++2m', 20 rows, 20 calls, prediction='v', clip=1)
    """
    schedule = _schedule(schedule)
    if spacing is None:
        spacing = "leading" if schedule.is_vp and schedule.alpha[-1] > 0 else "trailing"
    if isinstance(spacing, str) and checks.choice("spacing", spacing, (*SPACINGS, "karras")) == "karras":
        n_steps = schedule.n if n_steps is None else checks.count("n_steps", n_steps)
        levels = from_karras(schedule, n_steps)
    else:
        levels = from_timesteps(schedule, timesteps(schedule.n, n_steps, spacing))
    return planned(method, levels, prediction, clip, options)


def plan_of_sigmas(
    method: str, sigmas: Any, *, prediction: str = "x0", clip: float | None = None, **options: Any
) -> Plan:
    """The table of rows that goes through a list of sigmas, for a model that is told sigma: k-diffusion's, EDM's.

    Parameters
    ----------
    method : str
        As of `plan`.
    sigmas : array_like
        Scales of noise in x = x_0 + sigma eps, largest first; the last is 0, or where sampling is to stop.
    prediction, clip, **options
        As of `plan`.

    Returns
    -------
    Plan

    Examples
    --------
    >>> from sdefast import diffusion
    >>> diffusion.plan_of_sigmas("heun", [80.0, 5.0, 0.1, 0.0]).timesteps
    array([80. ,  5. ,  5. ,  0.1,  0.1])
    """
    return planned(method, from_sigmas(sigmas), prediction, clip, options)


def row_of(
    method: str,
    schedule: Schedule,
    t: int,
    previous: int | None = None,
    *,
    prediction: str = "eps",
    clip: float | None = None,
    **options: Any,
) -> np.void:
    """The row of one step from timestep ``t`` to ``previous``, for a loop of one's own.

    Parameters
    ----------
    method : str
        One of a single row per step: a multistep sampler is at its first step.
    schedule : Schedule
        What the model was trained on.
    t : int
        Where the state is.
    previous : int, optional
        Where it goes, smaller than ``t``; None or -1 are the data.
    prediction, clip, **options
        As of `plan`.

    Returns
    -------
    numpy.void
        A record of `Plan.rows`.

    Examples
    --------
    >>> from sdefast import diffusion
    >>> row = diffusion.row_of("ddim", diffusion.linear_beta_schedule(1000), 999, 888)
    >>> float(row["a"].round(9)), float(row["b"].round(9))
    (0.999852299, 0.011970966)
    """
    schedule = _schedule(schedule)
    start = schedule.check_timestep(t)
    end = -1 if previous is None else checks.count("previous", previous, least=-1, most=schedule.n - 1)
    if end >= start:
        raise ValueError(f"previous must be smaller than the timestep, {start}, got {end}")
    clip = None if clip is None else checks.real("clip", clip, positive=True)
    plain = all(type(value) in _PLAIN for value in (method, prediction, *options.values()))
    make = _remembered_row if plain else _made_row
    return make(method, schedule, start, end, prediction, clip, tuple(options.items()))


#: Types of options that a row can be remembered by.
_PLAIN = frozenset((bool, int, float, str))


def _made_row(
    method: str, schedule: Schedule, start: int, end: int, prediction: str, clip: float | None, options: Any
) -> np.void:
    """The row of one step."""
    levels = from_timesteps(schedule, np.array([start]), None if end < 0 else end)
    found = planned(method, levels, prediction, clip, dict(options))
    if len(found) != 1:
        raise ValueError(f"a step of {method!r} has {len(found)} rows: use plan")
    row: np.void = found.rows[0]
    return row


#: The same, made once for all the loops that ask for it step by step.
_remembered_row = lru_cache(maxsize=4096)(_made_row)


def planned(method: str, levels: Levels, prediction: str, clip: float | None, options: Mapping[str, Any]) -> Plan:
    """The plan through these levels."""
    sampler = SAMPLERS[checks.choice("method", method, SAMPLERS)]
    checks.choice("prediction", prediction, PREDICTIONS)
    clip = None if clip is None else checks.real("clip", clip, positive=True)
    checked = sampler.checked(options)
    limit = math.inf if clip is None else clip
    rows = np.array([_record(row, prediction, limit) for row in sampler.rows(levels, **checked)], ROW)
    rows.flags.writeable = False
    start, prior_key = (levels[0].alpha, levels[0].sigma), levels.further(-1, 1)
    return Plan(sampler.name, levels.schedule, prediction, clip, checked, rows, start, prior_key)


def _record(row: Row, prediction: str, limit: float) -> tuple[Any, ...]:
    """A row with what the model predicts."""
    after = (row.c1, row.c2, row.s, row.keep, row.key, row.snr, row.to.alpha, row.to.sigma)
    if row.at is None:
        return (False, row.to.t, 0.0, 0.0, limit, row.a, 0.0, 0.0, *after)
    p, q = coefficients(prediction, row.at.alpha, row.at.sigma)
    scale = row.noise / row.at.sigma  # noise eps = scale (x - alpha (p x + q e))
    a, g = row.a + scale * (1 - row.at.alpha * p), -scale * row.at.alpha * q
    return (True, row.at.t, p, q, limit, a, row.b, g, *after)


def _schedule(value: Any) -> Schedule:
    if not isinstance(value, Schedule):
        raise TypeError(
            f"schedule must be a Schedule: Schedule.from_betas(betas) makes one, got {type(value).__name__}"
        )
    return value


def _comparable(option: tuple[str, Any]) -> tuple[str, Any]:
    """An option that can be compared as a whole."""
    name, value = option
    return name, value.tolist() if isinstance(value, np.ndarray) else value


def _short(name: str, value: Any) -> str:
    """An option, its numbers left out."""
    return f"{name}=array of {len(value)}" if isinstance(value, np.ndarray) else f"{name}={value!r}"
