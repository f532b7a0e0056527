"""What all objectives share: the loss, the model that samplers ask, and how options are checked and written down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ... import checks
from ..plan import Plan, plan
from ..schedule import Schedule
from ..tensors import alike, column, per_sample, samples, torch

Tensor = torch.Tensor


class Level(NamedTuple):
    """Levels of noise, one per sample: alpha, sigma, what the network is told, and the weight of the loss."""

    alpha: Tensor
    sigma: Tensor
    c: Tensor
    weight: Tensor | None = None


class Objective(ABC):
    """What a network is trained for.

    Attributes
    ----------
    name : str
        What `objective` calls it.
    prediction : str
        What its `model` predicts, in the words of `PREDICTIONS`.
    schedule : Schedule or None
        What samplers walk; None if the model is told sigma itself.
    """

    name: ClassVar[str]
    prediction: ClassVar[str]
    schedule: Schedule | None

    @abstractmethod
    def drawn(self, u: Tensor) -> Level:
        """The levels of noise that uniform numbers u (n,) in float64 draw."""

    @abstractmethod
    def target(self, x0: Tensor, z: Tensor, level: Level) -> Tensor:
        """What the network should say."""

    @abstractmethod
    def condition(self, t: Tensor) -> Tensor:
        """What the network is told where samplers tell the model t (n,)."""

    def input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """What the network sees of x."""
        return x

    def said(self, net: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        """The prediction at x and t, by ``net(x, c)``."""
        return net(x, self.condition(t))

    def loss(self, net: Callable[..., Tensor], x0: Tensor, u: Any, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The loss of each sample, the mean over its elements.

        Parameters
        ----------
        net : callable
            ``net(x, c, y)``.
        x0 : Tensor of shape (n, ...)
            Data, float32 or float64.
        u : Tensor or ndarray of shape (n,)
            Uniform numbers between 0 and 1, which draw the levels of noise. On the host they are checked, and nobody
            waits for a GPU.
        z : Tensor like x0
            Standard normal noise.
        y : Tensor of int64 of shape (n,), optional
            Labels, handed to ``net``.

        Returns
        -------
        Tensor of shape (n,)

        Raises
        ------
        TypeError, ValueError
            If shapes, types or places differ, a u is not between 0 and 1, or ``net`` returns no tensor.
        """
        samples("x0", x0)
        alike("z", z, x0, "x0")
        level = self.drawn(_uniform(u, len(x0)))
        x = column(level.alpha, x0) * x0 + column(level.sigma, x0) * z
        F = net(self.input(x, level.sigma), level.c.to(x.device, x.dtype), y)
        if not isinstance(F, Tensor):
            raise TypeError(
                f"the network must return a tensor, got {type(F).__name__}: wrap it, net(x, c, y) -> tensor"
            )
        if F.shape != x0.shape:
            raise ValueError(f"the network's output must have the shape of x0, {tuple(x0.shape)}, got {tuple(F.shape)}")
        squares = (F - self.target(x0, z, level)).square().flatten(1).mean(1)
        return squares if level.weight is None else level.weight.to(squares) * squares

    def model(self, net: Callable[..., Tensor], y: Any = None, guidance: float = 1.0) -> Model:
        """What `sample` calls, ``model(x, t)`` with t as `Plan.timesteps` says.

        Parameters
        ----------
        net : callable
            ``net(x, c, y)``.
        y : int or Tensor of int64 of shape (n,), optional
            The label of all samples, or of each.
        guidance : float
            How much of the difference that labels make is taken: 1 is the network with labels as it is, and more makes
            samples more typical of their class (Ho and Salimans 2022, where this is 1 + w).

        Returns
        -------
        torch.nn.Module
        """
        return Model(self, net, y, guidance)

    def plan(self, method: str, n_steps: int | None = None, clip: float | None = None, **options: Any) -> Plan:
        """The plan of a sampler for `model`; arguments as of `sdefast.diffusion.plan`."""
        assert self.schedule is not None
        return plan(method, self.schedule, n_steps, prediction=self.prediction, clip=clip, **options)

    @property
    def config(self) -> dict[str, Any]:
        """Its name and options in plain values, of which `build` makes it again."""
        options = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return {"name": self.name, **{name: _plain(value) for name, value in options.items()}}


class Model(torch.nn.Module):
    """A network as samplers ask it; `Objective.model` makes it."""

    def __init__(self, objective: Objective, net: Callable[..., Tensor], y: Any, guidance: float) -> None:
        super().__init__()
        self.objective, self.net = objective, net
        self.y = None if y is None else _labels(y)
        self.guidance = checks.real("guidance", guidance)
        if y is None and self.guidance != 1:
            raise ValueError(f"guidance needs labels: give y, or leave guidance at 1, got {self.guidance:g}")

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The prediction at samples x (n, ...) and times t (n,)."""
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a tensor of torch, got {type(x).__name__}: sample with x= or like= a tensor")
        like = next(self.parameters(), x)
        return self.objective.said(self._guided, x.to(like.dtype), per_sample("t", t, len(x)))

    def _guided(self, x: Tensor, c: Tensor) -> Tensor:
        """What the network says, as far as labels guide it."""
        c = c.to(x.device, x.dtype)
        if self.y is None:
            return self.net(x, c, None)
        if self.y.ndim and len(self.y) != len(x):
            raise ValueError(f"y must be one label, or one for each of the {len(x)} samples, got {len(self.y)}")
        F = self.net(x, c, self.y.to(x.device).expand(len(x)))
        return F if self.guidance == 1 else torch.lerp(self.net(x, c, None), F, self.guidance)


def _labels(y: Any) -> Tensor:
    """A label, or one for each sample."""
    given = torch.as_tensor(y)
    if given.dtype != torch.int64 or given.ndim > 1:
        raise TypeError(f"y must be an integer or int64 of shape (n,), got {given.dtype} of shape {tuple(given.shape)}")
    return given


def _uniform(u: Any, n: int) -> Tensor:
    """Numbers between 0 and 1, in float64."""
    given = per_sample("u", u, n).double()
    if given.is_cpu and not ((given > 0) & (given < 1)).all():
        wrong = given[~((given > 0) & (given < 1))][0]
        raise ValueError(f"u must be larger than 0 and smaller than 1, got {wrong:g}")
    return given


def _plain(value: Any) -> Any:
    """An option as numbers, words and lists of them."""
    if isinstance(value, Schedule):
        return {"alpha": value.alpha.tolist(), "sigma": value.sigma.tolist()}
    return list(value) if isinstance(value, tuple) else value


def check_schedule(value: Any) -> Schedule:
    """What must be a schedule."""
    if not isinstance(value, Schedule):
        raise TypeError(f"schedule must be a Schedule, such as flow_schedule(1000), got {type(value).__name__}")
    return value


def check_normal(mean: Any, spread: Any) -> None:
    """Mean and standard deviation of what levels are drawn by."""
    checks.real("mean", mean)
    checks.real("spread", spread, positive=True)


def index(u: Tensor, n: int) -> Tensor:
    """Which of n equal parts of [0, 1] u is in; u n rounds to less than n for the largest u below 1."""
    return (u * n).long()


def rows(k: Tensor, *tables: np.ndarray) -> tuple[Tensor, ...]:
    """Entries k of tables."""
    return tuple(torch.tensor(table, device=k.device)[k] for table in tables)


def timesteps(t: Tensor, n: int) -> Tensor:
    """Timesteps of a schedule of n, which samplers may ask for between them; on the host they are checked."""
    if t.is_cpu and not ((t >= 0) & (t <= n - 1)).all():
        raise ValueError(f"timesteps must be between 0 and {n - 1}, got {t[~((t >= 0) & (t <= n - 1))][0]:g}")
    return t


def log_ratio(schedule: Schedule, t: Tensor) -> Tensor:
    """log(sigma / alpha) at timesteps, linear between them: the inverse of `Schedule.time_of`, in float64."""
    t = timesteps(t, schedule.n)
    table = torch.tensor(np.log(schedule.ratio), device=t.device)
    low = t.long()
    part, high = t - low, (low + 1).clamp(max=schedule.n - 1)
    return torch.where(part == 0, table[low], torch.lerp(table[low], table[high], part.double()))
