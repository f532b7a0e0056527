"""Single updates, for loops of one's own.

A step takes the samples, what the model says of them and the timestep, and returns the samples one step nearer to the
data; ``ddpm_step_`` and ``ddim_step_`` do so in place. Noise is a function of (seed, sample, timestep): a sample does
not depend on its batch, and no generator is touched.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import _core, checks
from . import kernel
from .arrays import outside_graphs
from .kernel import Keys, State
from .plan import row_of
from .schedule import Schedule

__all__ = ["ddim_step", "ddim_step_", "ddpm_step", "ddpm_step_"]

#: Types of options by which coefficients are remembered.
_HASHED = frozenset({str, float, int})


def ddpm_step(
    x: Any, output: Any, t: Any, schedule: Schedule, *, seed: Any = 0, first_sample: int = 0,
    variance: Any = "beta_tilde", prediction: str = "eps", clip: float | None = None, noise: Any = None,
    previous: int | None = None, return_x0: bool = False, threads: int | None = None,
) -> Any:  # fmt: skip
    r"""One ancestral step of DDPM, from timestep ``t`` to the one before.

    :math:`x' = a x + b D + s z`, where D is the data that the model means: the posterior of :math:`x_{t-1}` given
    :math:`x_t` and :math:`x_0 = D`. With ``variance="beta_tilde"`` and epsilon prediction this is
    :math:`(x - \beta_t / \sqrt{1 - \bar\alpha_t}\, \epsilon) / \sqrt{\alpha_t} + \sqrt{\tilde\beta_t}\, z`.

    Parameters
    ----------
    x : ndarray or torch.Tensor of shape (n, ...)
        Samples, float32 or float64, contiguous; any number of axes.
    output : like x
        What the model says of x, float32, float64, float16 or bfloat16.
    t : int or int array of shape (n,)
        Timestep, from 0, or one for each sample.
    schedule : Schedule
        What the model was trained on.
    seed : int, torch.Generator or list of them
        Of the noise. A list has one for each sample, whose noise then does not depend on its place; of a generator it
        is the seed that it was made with; None is a random one at every call. Equal numbers have equal noise: the next
        batch wants another seed, or the next ``first_sample``, and so does a timestep that is visited again.
    first_sample : int
        Number of the first sample: noise is that of (seed, number, timestep).
    variance : {"beta_tilde", "beta"} or array of shape (T,)
        Variance of the noise.
    prediction : {"eps", "x0", "v", "score", "flow"}
        What the model predicts.
    clip : float, optional
        D is clipped to +-clip.
    noise : None, False or like x
        None draws the noise, False leaves it out, an array is z itself. The step to the data has none.
    previous : int, optional
        Timestep to go to, ``t - 1`` by default; -1 are the data.
    return_x0 : bool
        Return D, too.
    threads : int, optional
        At most so many; all that are available by default, where they pay.

    Returns
    -------
    like x, or (like x, like x)
        The samples, and D if asked for. x is left as it was.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these; a timestep out of range is named with the last one.
    FloatingPointError
        If the output is not finite: it names the timestep and the sample.

    References
    ----------
    Ho, Jain and Abbeel 2020, algorithm 2.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> schedule = sf.diffusion.linear_beta_schedule(1000)
    >>> sf.diffusion.ddpm_step(np.ones((1, 2)), np.zeros((1, 2)), 0, schedule).round(6)
    array([[1.00005, 1.00005]])
    """
    return _step("ddpm", ("variance", variance), x, output, t, schedule, seed, first_sample, prediction, clip, noise,
                 previous, return_x0, threads, False)  # fmt: skip


def ddpm_step_(
    x: Any, output: Any, t: Any, schedule: Schedule, *, seed: Any = 0, first_sample: int = 0,
    variance: Any = "beta_tilde", prediction: str = "eps", clip: float | None = None, noise: Any = None,
    previous: int | None = None, return_x0: bool = False, threads: int | None = None,
) -> Any:  # fmt: skip
    """`ddpm_step` in place: x is overwritten and returned.

    If the output is not finite x holds what became of it when the error is raised.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> x = np.ones((1, 2), np.float32)
    >>> sf.diffusion.ddpm_step_(x, x.copy(), 999, sf.diffusion.linear_beta_schedule(1000)) is x
    True
    """
    return _step("ddpm", ("variance", variance), x, output, t, schedule, seed, first_sample, prediction, clip, noise,
                 previous, return_x0, threads, True)  # fmt: skip


def ddim_step(
    x: Any, output: Any, t: Any, schedule: Schedule, *, previous: int | None = None, eta: float = 0.0, seed: Any = 0,
    first_sample: int = 0, prediction: str = "eps", clip: float | None = None, noise: Any = None,
    return_x0: bool = False, threads: int | None = None,
) -> Any:  # fmt: skip
    """One step of DDIM, from timestep ``t`` to ``previous``, ``t - 1`` by default; -1 are the data.

    Parameters
    ----------
    eta : float
        Part of the noise of DDPM: 0 has none, 1 is `ddpm_step`.
    x, output, t, schedule, previous, seed, first_sample, prediction, clip, noise, return_x0, threads
        As of `ddpm_step`.

    References
    ----------
    Song, Meng and Ermon 2021, equation 12.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> schedule = sf.diffusion.linear_beta_schedule(1000)
    >>> sf.diffusion.ddim_step(np.ones((1, 1)), np.zeros((1, 1)), 999, schedule, previous=888).round(4)
    array([[2.8842]])
    """
    return _step("ddim", ("eta", eta), x, output, t, schedule, seed, first_sample, prediction, clip, noise, previous,
                 return_x0, threads, False)  # fmt: skip


def ddim_step_(
    x: Any, output: Any, t: Any, schedule: Schedule, *, previous: int | None = None, eta: float = 0.0, seed: Any = 0,
    first_sample: int = 0, prediction: str = "eps", clip: float | None = None, noise: Any = None,
    return_x0: bool = False, threads: int | None = None,
) -> Any:  # fmt: skip
    """`ddim_step` in place: x is overwritten and returned.

    Examples
    --------
    >>> import numpy as np, sdefast as sf
    >>> x = np.ones((1, 2), np.float32)
    >>> sf.diffusion.ddim_step_(x, x.copy(), 999, sf.diffusion.linear_beta_schedule(1000)) is x
    True
    """
    return _step("ddim", ("eta", eta), x, output, t, schedule, seed, first_sample, prediction, clip, noise, previous,
                 return_x0, threads, True)  # fmt: skip


def _step(
    method: str, option: tuple[str, Any], x: Any, output: Any, t: Any, schedule: Schedule, seed: Any,
    first_sample: int, prediction: str, clip: float | None, noise: Any, previous: int | None, return_x0: bool,
    threads: int | None, in_place: bool,
) -> Any:  # fmt: skip
    if (
        noise is None and return_x0 is False and type(schedule) is Schedule and type(t) is int
        and (previous is None or type(previous) is int) and (clip is None or type(clip) is float)
        and type(option[1]) in _HASHED and type(prediction) is str
    ):  # fmt: skip
        # the short way: on this thread, if nothing about x and the others is unusual
        row = _coefficients(method, schedule, t, previous, prediction, clip, option)
        done = _core.field_step_at_once(x, output, row, seed, first_sample, t, threads, in_place)
        if type(done) is int:
            raise FloatingPointError(not_finite(t, done))
        if done is not None:
            return done
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule must be a Schedule: Schedule.from_betas(betas) makes one, got {type(schedule).__name__}"
        )
    state = State("x", x)
    output, code = kernel.matching("output", output, state)
    row, key = _rows(method, schedule, t, previous, prediction, clip, option, state.n)
    noisy, given = _noise(noise, state, row)
    sound = type(seed) is type(first_sample) is int and 0 <= seed < 2**64 and 0 <= first_sample < 2**62
    keys = Keys(seed, first_sample) if sound else Keys.of(seed, first_sample, state.n)
    library = state.library
    if in_place:
        library.refuse_fixed("x", x)
        output, given = _apart(output, state), _apart(given, state)
    x0 = library.empty_like(x) if checks.flag("return_x0", return_x0) else None
    out = x if in_place else library.empty_like(x)
    wrong = kernel.apply(
        row, state, output, code, out, kept=x0, noisy=noisy, given=given, keys=keys, key=key, threads=threads
    )
    if in_place:
        library.changed(x)
    if wrong >= 0:
        at = int(key[wrong]) if isinstance(key, np.ndarray) else key
        raise FloatingPointError(not_finite(at, wrong))
    return out if x0 is None else (out, x0)


def _apart(array: Any, state: State) -> Any:
    """An array that x is not written over before it is read: a copy, if it lies in x and not number by number."""
    if array is None:
        return None
    library, x = state.library, state.x
    at, own = library.address(array), library.address(x)
    if at + array.nbytes <= own or own + x.nbytes <= at or (at == own and array.dtype == x.dtype):
        return array
    return library.copied(array, library.empty_like(array))


def not_finite(t: Any, sample: int) -> str:
    """What to say of an output that is not finite."""
    return f"the model's output is not finite at timestep {t}, in sample {sample} of the batch"


def _rows(
    method: str, schedule: Schedule, t: Any, previous: int | None, prediction: str, clip: float | None,
    option: tuple[str, Any], n: int,
) -> tuple[np.ndarray, Any]:  # fmt: skip
    """Coefficients, and the number of the noise: for all samples, or for each if they are at timesteps of their own."""
    if previous is not None and type(previous) is not int:
        previous = checks.count("previous", previous, least=-1)
    if clip is not None and type(clip) is not float:
        clip = checks.real("clip", clip, positive=True)
    known = type(option[1]) in _HASHED and type(prediction) is str
    find = _coefficients if known else _coefficients.__wrapped__
    if type(t) is int:
        return find(method, schedule, t, previous, prediction, clip, option), t
    each = _timesteps(t, n)
    if each is None:
        t = checks.count("t", t, least=-(2**62))
        return find(method, schedule, t, previous, prediction, clip, option), t
    rows = [find(method, schedule, one, previous, prediction, clip, option) for one in each.tolist()]
    if len(set(each.tolist())) == 1:
        return rows[0], int(each[0])
    return np.ascontiguousarray(rows), each


def _timesteps(t: Any, n: int) -> np.ndarray | None:
    """One for each sample, int64; None if there is one for all."""
    if not hasattr(t, "shape") or not len(t.shape):
        if isinstance(t, (list, tuple)):
            return _timesteps(np.asarray(t), n)
        return None
    given = np.asarray(t.cpu() if hasattr(t, "cpu") else t)
    if given.shape != (n,) or given.dtype.kind not in "iu":
        raise ValueError(f"t must be an integer, or {n} of them, one for each sample; got {given.dtype} {given.shape}")
    return np.ascontiguousarray(given, np.int64)


@lru_cache(maxsize=4096)
def _coefficients(
    method: str, schedule: Schedule, t: int, previous: int | None, prediction: str, clip: float | None,
    option: tuple[str, Any],
) -> np.ndarray:  # fmt: skip
    """Those of one step; timesteps are checked by `row_of`."""
    before = t - 1 if previous is None else previous
    schedule.check_timestep(t)
    return kernel.coefficients_of(
        row_of(method, schedule, t, before, prediction=prediction, clip=clip, **{option[0]: option[1]})
    )


def _noise(noise: Any, state: State, row: np.ndarray) -> tuple[bool, Any]:
    """Whether there is any, and z if it was given."""
    if noise is None:
        return bool(row[8] != 0 if row.ndim == 1 else (row[:, 8] != 0).any()), None
    if noise is False:
        return False, None
    if noise is True:
        raise TypeError("noise must be None, which draws it, False, which leaves it out, or an array like x; got True")
    return True, given_noise(noise, state)


def given_noise(noise: Any, state: State) -> Any:
    """z, an array like x."""
    noise, code = kernel.matching("noise", noise, state)
    if code != int(state.doubles):
        raise TypeError(f"noise must have the type of x, {state.x.dtype}, got {noise.dtype}")
    return noise


for _entry in (ddpm_step, ddpm_step_, ddim_step, ddim_step_):
    outside_graphs(_entry)
