r"""Annealed Langevin sampling: chains on a target with noise added, less and less of it.

.. math:: x' = x + h_i\, \nabla \log p_{\sigma_i}(x) + \sqrt{2 h_i}\; z, \qquad h_i = h\, \sigma_i^2 / \sigma_L^2

for :math:`\sigma_1 > \dots > \sigma_L`, largest first, :math:`p_\sigma` being the law of the target with noise
:math:`N(0, \sigma^2)` added. At the end, without noise, comes :math:`x + \sigma_L^2 \nabla \log p_{\sigma_L}(x)`, the
mean of the target given its noisy value. (Sources that begin with the smallest noise, or descend the score, have the
order or the sign wrong.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import checks, noise
from ..engine import plan
from ..engine.grid import TimeGrid
from ..run import options
from ..run.checkpoint import Checkpoint
from ..run.schedule import iteration_grid
from ..run.where import Where
from .levels import AnnealedSettings, Levels, checked_sigmas
from .metric import IDENTITY
from .result import Chains
from .running import run
from .smoothed import Smoothed
from .targets import BaseTarget, BatchTarget, DisjointMixture, Gaussian, GaussianMixture
from .targets.base import FIRST_START_DRAW
from .wanted import Wanted

#: What a convention's step size is in that of the SDE.
CONVENTIONS = {"sde": 1.0, "eps/2": 0.5}


@dataclass(frozen=True, eq=False, repr=False)
class AnnealedChains(Chains):
    """Result of `annealed_langevin`: that of `langevin`, and the levels."""

    settings: AnnealedSettings

    call: ClassVar[str] = "annealed_langevin"

    @property
    def sigmas(self) -> np.ndarray:
        """The scale of the noise at the saved iterations, of shape (n_times,)."""
        return self.settings.levels.sigma_at(self.iterations, self.settings.grid.first_step)

    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""
        levels = self.settings.levels
        return super().describe() | {
            "method": "annealed ula", "sigmas": np.array2string(levels.sigmas, separator=", ", threshold=16),
            "steps_per_level": levels.n_steps, "step_size": levels.ratio * levels.sigmas[-1] ** 2,
            "denoise": levels.denoise,
        }  # fmt: skip

    def __repr__(self) -> str:
        return super().__repr__().replace("<", "<annealed ", 1)


def annealed_langevin(
    target: BaseTarget | Callable[..., Any],
    *,
    sigmas: ArrayLike | None = None,
    step_size: float | None = None,
    steps_per_level: int | None = None,
    n_chains: int | None = None,
    convention: str = "sde",
    denoise: bool = True,
    x0: ArrayLike | None = None,
    dim: int | None = None,
    chunk: int | None = None,
    save_at: str | int | ArrayLike | None = None,
    paths: bool = True,
    moments: int | None = None,
    extremes: bool = False,
    covariance: bool = False,
    histogram: tuple[float, float, int] | None = None,
    final_states: bool = True,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    noise_dtype: DTypeLike | None = None,
    first_chain: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    resume: AnnealedChains | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> AnnealedChains:
    r"""Sample by Langevin steps on the target with noise added, of which there is less from level to level.

    Parameters
    ----------
    target : Gaussian, GaussianMixture, BatchTarget or callable
        What to sample. A Gaussian or a mixture is smoothed exactly, and all steps are taken in kernels. A callable
        ``score(x, sigma)`` of many samples, of shape (n, dim), on arrays of numpy or, where ``x0`` is one or the score
        is a ``torch.nn.Module``, tensors: a learned score. It is `sdefast.targets.BatchTarget`, which has more options.
    sigmas : array_like of shape (n_levels,)
        Standard deviations of the noise, decreasing: `geometric_sigmas` makes some.
    step_size : float
        h at the last level; :math:`h\, \sigma_i^2 / \sigma_L^2` at the others.
    steps_per_level, n_chains : int
        Numbers of steps at every level and of chains.
    convention : {"sde", "eps/2"}
        Whether ``step_size`` is h of :math:`x + h s + \sqrt{2h} z`, or the :math:`\epsilon = 2h` of
        :math:`x + (\epsilon/2) s + \sqrt\epsilon z`.
    denoise : bool
        End with a step of size :math:`\sigma_L^2` without noise.
    x0 : array_like, optional
        Start, of shape (dim,) or (n_chains, dim). By default :math:`N(0, \sigma_1^2)` around the target's mean, if that
        is known, else around 0.

    Other Parameters
    ----------------
    dim, chunk : int
        Of a callable the components of a sample, if ``x0`` does not say it, and how many samples are handed over at
        once (2048).
    save_at : {"final", "levels", "all"}, int or array_like
        Iterations to save: the last, the ends of all levels (and the denoised states), all, every so many, given ones.
    resume : AnnealedChains
        Go on from the end of this run, which must have been made with ``denoise=False``, through further ``sigmas``.
        What decides the numbers is the run's; step sizes keep their proportion to sigma squared, and ``step_size`` and
        ``convention`` are left out. What to save and to gather is said anew.
    paths, moments, extremes, covariance, histogram, final_states, seed, dtype, noise_dtype, first_chain, device, \
    threads, executor, progress, checkpoint
        As for `langevin`. A score of many samples is called by one thread, unless ``threads=`` says otherwise.

    Returns
    -------
    AnnealedChains
        As `langevin` gives, with ``sigmas`` at the saved iterations. A tensor as start gives tensors as states.

    Raises
    ------
    TypeError, ValueError
        If an argument is missing, of the wrong type or out of range; if sigmas do not decrease; if the target cannot be
        smoothed; if a score is not as it must be, naming the step and the chain.

    Warns
    -----
    RuntimeWarning
        If a level's step is beyond what is stable, or chains have left the numbers.

    References
    ----------
    Song and Ermon, Generative modeling by estimating gradients of the data distribution, NeurIPS 2019.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.GaussianMixture([0.2, 0.8], [-4.0, 4.0], 0.09)
    >>> sigmas = sf.geometric_sigmas(10.0, 0.1, 10)
    >>> chains = sf.annealed_langevin(target, sigmas=sigmas, step_size=1e-3, steps_per_level=100, n_chains=4096, seed=0)
    >>> 0.75 < (chains.x[-1] > 0).mean() < 0.82
    np.True_
    """
    checks.flag("progress", progress)
    target = _target(target, x0, dim, chunk)
    if isinstance(target, BatchTarget) and threads is None and executor is None:
        threads = 1
    where = Where.of(device, threads, executor)
    wanted = Wanted(
        save_at, None, checks.flag("paths", paths), options.moments(moments), checks.flag("extremes", extremes),
        checks.flag("covariance", covariance), options.histogram(histogram), 0,
        checks.flag("final_states", final_states), None,
    )  # fmt: skip
    if sigmas is None or steps_per_level is None:
        raise TypeError("annealed_langevin needs sigmas and steps_per_level")
    scales, n_steps = checked_sigmas(sigmas), checks.count("steps_per_level", steps_per_level)
    denoise = checks.flag("denoise", denoise)
    fixed = {
        "step_size": step_size, "n_chains": n_chains, "x0": x0, "seed": seed, "dtype": dtype,
        "noise_dtype": noise_dtype, "first_chain": first_chain,
    }  # fmt: skip
    part = checks.choice("convention", convention, CONVENTIONS)
    with Checkpoint.of(checkpoint, "annealed_langevin", where.gpu is not None) as keeping:
        if resume is not None:
            settings, start = _continued(target, resume, scales, n_steps, denoise, fixed, wanted)
        else:
            if seed is None:
                fixed["seed"] = keeping.seed
            settings, start = _fresh(target, scales, n_steps, denoise, CONVENTIONS[part], fixed, wanted)
        _warn_of_step(settings)
        chains = run(settings, start, wanted, where, progress, keeping, AnnealedChains)
    assert isinstance(chains, AnnealedChains)
    return chains


def _target(target: Any, x0: Any, dim: Any, chunk: Any) -> BaseTarget:
    """The target, if it can be smoothed; of a callable the one that it is the score of."""
    if not isinstance(target, BaseTarget) and callable(target):
        if dim is None:
            shape = np.shape(x0)
            if not shape:
                raise TypeError("annealed_langevin needs dim= or x0= with a score of many samples")
            dim = shape[-1]
        target = BatchTarget(target, dim, chunk=2048 if chunk is None else chunk)
    elif dim is not None or chunk is not None:
        raise TypeError("dim and chunk are for a callable, a score of many samples: leave them out")
    if isinstance(target, BatchTarget):
        return target.taking(x0)
    if not isinstance(target, (Gaussian, GaussianMixture)) or isinstance(target, DisjointMixture):
        raise TypeError(
            "target must be one that noise can be added to, a Gaussian or GaussianMixture of sdefast.targets, or a "
            f"function score(x, sigma) of many samples, got {checks.shown(target)}"
        )
    return target


def _fresh(
    target: BaseTarget, sigmas: np.ndarray, n_steps: int, denoise: bool, part: float, fixed: dict[str, Any],
    wanted: Wanted,
) -> tuple[AnnealedSettings, np.ndarray]:  # fmt: skip
    """Check everything that a new run needs."""
    if fixed["step_size"] is None or fixed["n_chains"] is None:
        raise TypeError("annealed_langevin needs step_size and n_chains")
    n = options.many("n_chains", fixed["n_chains"])
    h = part * checks.real("step_size", fixed["step_size"], positive=True)
    levels = Levels(sigmas, h / sigmas[-1] ** 2, n_steps, denoise)
    dtype, noise_dtype = checks.types(fixed["dtype"], fixed["noise_dtype"])
    seed, first = options.seed(fixed["seed"]), options.first_chain(fixed["first_chain"])
    mean = np.zeros(target.dim) if target.mean is None else target.mean
    if fixed["x0"] is None:
        z = noise.normals(seed, target.dim, n, first_draw=FIRST_START_DRAW, first_chain=first)
        x0 = mean[:, None] + sigmas[0] * z
    else:
        x0 = plan.given_states(fixed["x0"], target.dim, n)
        target.check_start(x0.T)
    grid = iteration_grid(levels.length)
    saves, layout = _iterations(wanted, levels, grid).gathering(grid, 0, target.dim)
    settings = AnnealedSettings(
        target=target, method="ula", options={}, metric=IDENTITY, temperature=1.0, step_sizes=levels.step_sizes,
        burn_in=0, x0=x0[:, 0].copy() if x0.shape[1] == 1 and fixed["x0"] is not None else None, batches=None,
        center=np.asarray(mean, float), seed=seed, dtype=dtype, noise_dtype=noise_dtype, first_chain=first, n_chains=n,
        grid=grid, saves=saves, layout=layout, keeps_states=wanted.paths, histogram=wanted.histogram, levels=levels,
        start_sigma=float(sigmas[0]) if fixed["x0"] is None else 0.0,
    )  # fmt: skip
    return settings, x0.astype(dtype)


def _continued(
    target: BaseTarget, before: Any, sigmas: np.ndarray, n_steps: int, denoise: bool, fixed: dict[str, Any],
    wanted: Wanted,
) -> tuple[AnnealedSettings, np.ndarray]:  # fmt: skip
    """Check everything that going on needs: what decides the numbers is the earlier run's."""
    if not isinstance(before, AnnealedChains):
        raise TypeError(f"resume must be the result of an earlier annealed_langevin, got {checks.shown(before)}")
    given = [name for name, value in fixed.items() if value is not None]
    if given:
        raise TypeError(f"a resumed run goes on with the earlier run's settings: leave out {', '.join(given)}")
    old = before.settings
    if target != old.target:
        raise ValueError(
            f"resume goes on with the same target: the run was of {old.target!r}, got {checks.shown(target)}"
        )
    if old.levels.denoise:
        raise ValueError("resume goes on from noisy states, and the run has denoised them: run it with denoise=False")
    if sigmas[0] > old.levels.sigmas[-1]:
        raise ValueError(f"sigmas must go on from the run's last, {old.levels.sigmas[-1]:g}, got {sigmas[0]:g}")
    levels = Levels(sigmas, old.levels.ratio, n_steps, denoise)
    grid = plan.continued_grid(old.grid, levels.length, None)
    saves, layout = _iterations(wanted, levels, grid).gathering(grid, 0, target.dim)
    settings = replace(
        old, levels=levels, step_sizes=levels.step_sizes, x0=None, start_sigma=0.0, grid=grid, saves=saves,
        layout=layout, keeps_states=wanted.paths, histogram=wanted.histogram,
    )  # fmt: skip
    return settings, np.array(before._final_rows())


def _iterations(wanted: Wanted, levels: Levels, grid: TimeGrid) -> Wanted:
    """What is wanted, "levels" by their iterations."""
    if isinstance(wanted.save_at, str):
        checks.choice("save_at", wanted.save_at, ("final", "levels", "all"))
        if wanted.save_at == "levels":
            return replace(wanted, save_at=levels.ends(grid.first_step))
    return wanted


def _warn_of_step(s: AnnealedSettings) -> None:
    """Of levels whose step is beyond what is stable: twice the smallest variance of the smoothed target.

    Of a target that is not known this is twice sigma squared at least: larger steps may be too large.
    """
    least = 0.0 if isinstance(s.target, BatchTarget) else Smoothed(s.target).smallest_variance  # type: ignore[arg-type]
    variances = s.levels.sigmas**2
    unstable = np.flatnonzero(s.levels.ratio * variances >= 2 * (least + variances))
    if len(unstable):
        i = int(unstable[0])
        known = "is" if least else "may be"
        warnings.warn(
            f"the step h = {s.levels.ratio * variances[i]:g} at sigma = {s.levels.sigmas[i]:g} {known} unstable: it is "
            f"not below {2 * (least + variances[i]):g}, twice the smallest variance of the smoothed target",
            RuntimeWarning,
            stacklevel=3,
        )
