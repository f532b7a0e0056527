"""Sampling: a plan's rows on samples, the model called in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..run.where import progress_bar
from . import kernel
from .kernel import Keys, State
from .noise import prior
from .plan import Plan, plan
from .schedule import Schedule
from .step import given_noise, not_finite

__all__ = ["Progress", "Trajectory", "ddim_sample", "ddpm_sample", "sample"]

#: Coordinates of a sample from which on norms of scores say what they are in the mean.
_MANY = 256


class Progress(NamedTuple):
    """What a callback is told after each call of the model and what follows from it.

    Attributes
    ----------
    i : int
        Number of the call, from 0.
    n : int
        How many there are.
    t : int or float
        What the model was given.
    x : ndarray or torch.Tensor
        The samples now; the loop goes on with them, so copy what is to be kept.
    x0 : ndarray or torch.Tensor
        The data that the model means, D.
    """

    i: int
    n: int
    t: int | float
    x: Any
    x0: Any


class Trajectory(NamedTuple):
    """Samples, and what became of them on the way.

    Attributes
    ----------
    x : ndarray or torch.Tensor of shape (n, ...)
        The samples.
    states : ndarray or torch.Tensor of shape (n_saves, n, ...)
        At the start, after every ``save_every`` calls of the model, and at the end.
    calls : ndarray of shape (n_saves,)
        After how many calls.
    """

    x: Any
    states: Any
    calls: np.ndarray


def sample(
    model: Callable[[Any, Any], Any], plan: Plan, *, x: Any = None, shape: Any = None, seed: Any = 0,
    first_sample: int = 0, noise: Any = None, callback: Callable[[Progress], object] | None = None,
    save_every: int | None = None, mask: Any = None, known: Any = None, progress: bool = False, like: Any = None,
    dtype: Any = None, device: Any = None, threads: int | None = None,
) -> Any:  # fmt: skip
    """Draw samples: run a plan from noise to data.

    Parameters
    ----------
    model : callable
        ``model(x, t)`` says of the samples x (n, ...) what the plan's ``prediction`` is called; t is a vector (n,) of
        what `Plan.timesteps` holds, int64, or of the type of x if these are no integers. It must leave x as it is.
    plan : Plan
        What `plan` or `plan_of_sigmas` made.
    x : ndarray or torch.Tensor of shape (n, ...), optional
        Where to begin, float32 or float64; it is left as it was.
    shape : tuple of int, optional
        (n, ...), in place of x: the samples begin with `prior`.
    seed : int, torch.Generator or list of them
        Of all noise; a list has one for each sample.
    first_sample : int
        Number of the first sample.
    noise : None, False or callable
        None draws the noise by seed, sample and timestep; False leaves it out; ``noise(sigma, sigma_next)`` gives z,
        like x, and is not called where there is none.
    callback : callable, optional
        ``callback(progress)`` after every call of the model, see `Progress`.
    save_every : int, optional
        Return a `Trajectory` with the samples after every so many calls.
    mask, known : like x, optional
        Inpainting: where ``mask`` is 1 (or True) samples become ``known``, noised as the others are.
    progress : bool
        Show a bar.
    like, dtype, device : optional
        As of `prior`, with ``shape``. A ``torch.nn.Module`` gets tensors where its parameters are.
    threads : int, optional
        Of the updates, at most.

    Returns
    -------
    ndarray, torch.Tensor or Trajectory

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    FloatingPointError
        If the model's output is not finite: it names the timestep and the sample.

    Notes
    -----
    Guidance is a model of one's own around the model, ``lambda x, t: e_0(x, t) + w (e_c(x, t) - e_0(x, t))``.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> steps = sf.diffusion.plan("ddim", sf.diffusion.linear_beta_schedule(1000), n_steps=10)
    >>> sf.diffusion.sample(lambda x, t: np.zeros_like(x), steps, shape=(4, 2), seed=0).shape
    (4, 2)
    """
    _check(model, plan)
    loop = _Loop(model, plan, _begun(model, plan, x, shape, seed, first_sample, like, dtype, device, threads),
                 Keys(), noise, threads)  # fmt: skip
    loop.keys = Keys.of(seed, first_sample, loop.n)
    if (mask is None) != (known is None):
        raise TypeError("mask and known go together")
    painted = None if mask is None else _Known.of(mask, known, loop)
    every = None if save_every is None else checks.count("save_every", save_every)
    saves = [] if every is None else [(0, _copy(loop))]
    with progress_bar(checks.flag("progress", progress), plan.method, plan.n_calls, "calls") as bar:
        for told in loop.run(wants_x0=callback is not None):
            if painted is not None:
                painted.put(loop, told.i)
            if every is not None and ((told.i + 1) % every == 0 or told.i + 1 == told.n):
                saves.append((told.i + 1, _copy(loop)))
            if callback is not None:
                callback(told)
            if bar is not None:
                bar.update()
    if every is None:
        return loop.x
    return Trajectory(loop.x, loop.library.stack([s for _, s in saves]), np.array([i for i, _ in saves]))


def ddpm_sample(
    model: Callable[[Any, Any], Any], *, schedule: Schedule, n_steps: int | None = None, spacing: Any = None,
    variance: Any = "beta_tilde", prediction: str = "eps", clip: float | None = None, **others: Any,
) -> Any:  # fmt: skip
    """Samples by DDPM: `sample` with the plan ``"ddpm"``, by default through every timestep.

    Parameters
    ----------
    model : callable
        As of `sample`.
    schedule, n_steps, spacing, variance, prediction, clip
        As of `plan`.
    **others
        ``x`` or ``shape``, ``seed`` and all else that `sample` takes.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> schedule = sf.diffusion.linear_beta_schedule(1000)
    >>> sf.diffusion.ddpm_sample(lambda x, t: np.zeros_like(x), shape=(4, 2), schedule=schedule, seed=0).dtype
    dtype('float32')
    """
    made = plan("ddpm", schedule, n_steps, spacing=spacing, prediction=prediction, clip=clip, variance=variance)
    return sample(model, made, **others)


def ddim_sample(
    model: Callable[[Any, Any], Any], *, schedule: Schedule, n_steps: int | None = 50, spacing: Any = None,
    eta: float = 0.0, prediction: str = "eps", clip: float | None = None, **others: Any,
) -> Any:  # fmt: skip
    """Samples by DDIM: `sample` with the plan ``"ddim"``.

    Parameters
    ----------
    model : callable
        As of `sample`.
    schedule, n_steps, spacing, eta, prediction, clip
        As of `plan`.
    **others
        ``x`` or ``shape``, ``seed`` and all else that `sample` takes.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> schedule = sf.diffusion.linear_beta_schedule(1000)
    >>> sf.diffusion.ddim_sample(lambda x, t: np.zeros_like(x), shape=(4, 2), schedule=schedule, n_steps=20).shape
    (4, 2)
    """
    made = plan("ddim", schedule, n_steps, spacing=spacing, prediction=prediction, clip=clip, eta=eta)
    return sample(model, made, **others)


class _Row(NamedTuple):
    """What a loop asks of a record of `Plan.rows` besides its coefficients."""

    t: float
    key: int
    call: bool
    keep: int
    s: float
    snr: float
    alpha: float
    sigma: float


def _check(model: Any, plan: Any) -> None:
    if not callable(model):
        raise TypeError(f"model must be callable as model(x, t), got {model!r}")
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be a Plan: plan(method, schedule) makes one, got {plan!r}")


def _begun(
    model: Any, plan: Plan, x: Any, shape: Any, seed: Any, first_sample: int, like: Any, dtype: Any, device: Any,
    threads: int | None,
) -> State:  # fmt: skip
    """The first samples, in memory of our own."""
    if (x is None) == (shape is None):
        raise TypeError("give x or shape, one of them")
    if x is not None:
        if not (like is None and dtype is None and device is None):
            raise TypeError("like, dtype and device are for shape: x says its own")
        given = State("x", x)
        return State("x", given.library.copied(x, given.library.empty_like(x)))
    if like is None and device is None and hasattr(model, "parameters") and hasattr(model, "register_buffer"):
        like = next((p.detach() for p in model.parameters()), None)  # a network of torch
    if like is not None and dtype is None and getattr(like, "is_floating_point", bool)() and like.itemsize == 2:
        dtype = "float32"  # a network in half precision
    return State("x", prior(shape, plan, seed=seed, first_sample=first_sample, like=like, dtype=dtype, device=device,
                            threads=threads))  # fmt: skip


def _copy(loop: _Loop) -> Any:
    return loop.library.copied(loop.x, loop.library.empty_like(loop.x))


class _Loop:
    """A plan on its way: the samples, what is kept of earlier rows, memory that is used again."""

    def __init__(
        self, model: Callable[[Any, Any], Any], plan: Plan, state: State, keys: Keys, noise: Any, threads: int | None
    ) -> None:
        if noise is not None and noise is not False and not callable(noise):
            raise TypeError(f"noise must be None, False or a callable of (sigma, sigma_next), got {noise!r}")
        self.model, self.plan, self.keys, self.noise, self.threads = model, plan, keys, noise, threads
        self.state, self.library, self.n = state, state.library, state.n
        self.rows = kernel.coefficients_of(plan.rows)
        self.h1 = self.h2 = self.spare = self.kept_output = None
        self.output: Any = state.x
        self.code = int(state.doubles)
        self.level = plan.start

    @property
    def x(self) -> Any:
        """The samples."""
        return self.state.x

    def run(self, wants_x0: bool = False) -> Iterator[Progress]:
        """Take the rows; what is told comes after each that has called the model."""
        calls, times = 0, self.plan.timesteps.tolist()
        for i, record in enumerate(map(_Row._make, self.plan.rows[list(_Row._fields)].tolist())):
            if record.call:
                self._call(times[calls])
            x0 = self._take(i, record, wants_x0 and record.call)
            self.level = record.alpha, record.sigma
            if record.call:
                if wants_x0 and record.keep:  # rows that follow read it
                    x0 = self.library.copied(x0, self.library.empty_like(x0))
                yield Progress(calls, len(times), times[calls], self.x, x0)
                calls += 1

    def _call(self, t: float | int) -> None:
        """Ask the model."""
        with self.library.no_gradients():
            said = self.model(self.library.seen(self.x), self.library.times(self.x, t))
        self.output, self.code = kernel.matching("the model's output", said, self.state, self.kept_output)
        if self.output is not said:
            self.kept_output = self.output

    def _take(self, i: int, record: _Row, wants_x0: bool) -> Any:
        """One row, in place."""
        keep = record.keep
        # what is told of no more is written over, but never what somebody was told
        x0 = self._memory(None if wants_x0 or keep != 1 else self.h2) if wants_x0 or keep else None
        if record.snr > 0:
            self._correct(i, record, x0)
            return x0
        row, old = self.rows[i], self.x
        out = self._memory(self.spare) if keep == 2 else old  # x as it was is kept
        if not record.call:
            self.output, self.code = old, int(self.state.doubles)
        noisy, given = self._noise_of(record)
        wrong = kernel.apply(
            row, self.state, self.output, self.code, out, h1=self._read(self.h1), h2=self._read(self.h2), kept=x0,
            noisy=noisy, given=given, keys=self.keys, key=record.key, threads=self.threads,
        )  # fmt: skip
        self.library.changed(out)
        if wrong >= 0:
            raise FloatingPointError(not_finite(_time(record.t), wrong))
        if keep == 1:
            self.h1, self.h2 = x0, self.h1
        elif keep == 2:
            self.spare, self.h1, self.h2 = self.h1 if self.h1 is not self.h2 else None, old, x0
            self.state = State("x", out)
        return x0

    def _read(self, kept: Any) -> Any:
        """What an earlier row kept; the state itself, times 0, before there is one."""
        return self.x if kept is None and self.h1 is not None else kept

    def _memory(self, spare: Any) -> Any:
        return self.library.empty_like(self.x) if spare is None else spare

    def _noise_of(self, record: _Row) -> tuple[bool, Any]:
        """Whether a row has noise, and z if somebody else draws it."""
        if self.noise is False or not (record.s != 0 or record.snr > 0):
            return False, None
        if self.noise is None:
            return True, None
        to = record.sigma / record.alpha if record.alpha else float("inf")
        now = self.level[1] / self.level[0] if self.level[0] else float("inf")
        return True, given_noise(self.noise(now, to), self.state)

    def _correct(self, i: int, record: _Row, x0: Any) -> None:
        """A Langevin step x + h score + sqrt(2 h) z, h = 2 (snr |z| / |score|)^2 of each sample's own norms.

        Norms of few coordinates vary, and a step that depends on them does not leave the law as it is (of a mixture in
        one dimension with weights .2 and .8 it makes .36 and .64): there h = 2 (snr sigma)^2.
        """
        score = State("x", self.library.empty_like(self.x))
        wrong = kernel.apply(self.rows[i], self.state, self.output, self.code, score.x, kept=x0, threads=self.threads)
        if wrong >= 0:
            raise FloatingPointError(not_finite(_time(record.t), wrong))
        noisy, given = self._noise_of(record)
        if self.state.elements < _MANY:
            fixed = 2 * (record.snr * record.sigma) ** 2
            row = np.array([0, 0, np.inf, 1, 0, fixed, 0, 0, np.sqrt(2 * fixed)])
            return self._follow(row, score, noisy, given, record)
        z = State("noise", self.library.empty_like(self.x) if given is None else given)
        if given is None:
            kernel.noise_into(z, 1.0, self.keys, record.key, self.threads)
        with np.errstate(divide="ignore", invalid="ignore"):
            h = 2 * record.snr**2 * kernel.squares(z) / kernel.squares(score)
        h = np.where(np.isfinite(h), h, 0.0)  # where the score is 0 there is nowhere to go
        rows = np.zeros((self.n, 9))
        rows[:, 2], rows[:, 3], rows[:, 5], rows[:, 8] = np.inf, 1.0, h, np.sqrt(2 * h)
        self._follow(rows, score, noisy, z.x, record)

    def _follow(self, rows: np.ndarray, score: State, noisy: bool, z: Any, record: _Row) -> None:
        """A row on the score in place of an output; the noise is z, if somebody drew it."""
        kernel.apply(
            rows, self.state, score.x, int(self.state.doubles), self.x, noisy=noisy, given=z if noisy else None,
            keys=self.keys, key=record.key, threads=self.threads,
        )  # fmt: skip
        self.library.changed(self.x)


def _time(t: Any) -> int | float:
    """A timestep as it is written."""
    return int(t) if float(t).is_integer() else float(t)


@dataclass
class _Known:
    """What samples are known to be, and where: RePaint's replacement (Lugmayr et al. 2022, equation 8)."""

    mask: Any
    known: Any
    key: int

    @classmethod
    def of(cls, mask: Any, known: Any, loop: _Loop) -> _Known:
        """Checked, in the type of the samples."""
        found = []
        for name, value in (("mask", mask), ("known", known)):
            checks.refuse_loss(name, value)
            try:
                found.append(_spread(value, loop))
            except (ValueError, RuntimeError):
                raise ValueError(
                    f"{name} must have the shape of x, {tuple(loop.x.shape)}, or spread to it, got {np.shape(value)}"
                ) from None
        inside, values = found
        if bool(((inside != 0) & (inside != 1)).any()):
            raise ValueError("mask must be 0 or 1, or True where the samples are known")
        known = loop.library.where(inside != 0, values)
        if not bool((known - known == 0).all()):
            raise ValueError("known must be finite where mask is 1")
        return cls(inside, known, max(int(loop.plan.rows["key"].max()), loop.plan.prior_key) + 1)

    def put(self, loop: _Loop, call: int) -> None:
        """Overwrite the known part with ``alpha known + sigma z``."""
        alpha, sigma = loop.level
        noised = self.known * alpha
        if sigma > 0 and loop.noise is not False:
            z = State("x", loop.library.empty_like(loop.x))
            kernel.noise_into(z, sigma, loop.keys, self.key + call, loop.threads)
            noised = noised + z.x
        loop.x[...] = loop.x * (1 - self.mask) + noised * self.mask


def _spread(value: Any, loop: _Loop) -> Any:
    """In the type and shape of the samples."""
    x = loop.x
    if loop.library.word == "array":
        return np.broadcast_to(np.asarray(value, x.dtype), x.shape)
    torch = loop.library.torch  # type: ignore[attr-defined]
    return torch.as_tensor(value, dtype=x.dtype, device=x.device).expand(x.shape)
