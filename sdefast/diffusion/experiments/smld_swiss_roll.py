"""SMLD on a swiss roll: a noise-conditional score that is learned, annealed Langevin and predictor-corrector along it.

The score network is trained by denoising score matching at several levels of noise at once with the weights sigma^2
(Song and Ermon 2019, equation 5). Samples are judged by their energy distance to points that nothing was trained on,
beside what two such sets are apart.

The corrector of Song et al. (2021) sizes a step as 2 (snr |z| / |score|)^2, with norms that are each sample's own. In
two dimensions |score| is often near 0; steps are at most sigma^2 there, and still long ones with their snr of .16: .05
is better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ... import checks, plots
from .. import data, figures, objectives
from ..plan import Plan
from ..sample import sample
from ..schedule import geometric_sigmas
from ..training import Trained
from .base import Bench, Outcome, Table
from .learning import PointJudge, Training, drawn, learned, score_at, settings_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("sampler", "calls", "energy distance", "of real points", "deviation of that", "CPU seconds")

#: Points that are trained on.
_N_DATA = 10_000


def run(
    bench: Bench, *, steps: int = 3000, batch: int = 256, seed: int = 0, samples: int = 2000, levels: int = 20,
    steps_per_level: int = 50, snr: float = 0.05, fine_levels: int = 200, sigma_max: float = 5.0,
    sigma_min: float = 0.02,
) -> Outcome:  # fmt: skip
    """Train a score, and sample along it.

    Parameters
    ----------
    bench : Bench
        The data are a swiss roll, whatever it says.
    steps, batch, seed : int
        Of the training; the seed is that of all noise.
    samples : int
        Points that are drawn, and in each set of real ones.
    levels : int
        Levels of noise, geometric between ``sigma_max`` and ``sigma_min``.
    steps_per_level : int
        Of annealed Langevin.
    snr : float
        Of the predictor-corrector, whose predictor is the ancestral step.
    fine_levels : int
        Of a second ancestral sampler, spaced as EDM does between the same ends: the network is asked between the
        levels that it was trained on.
    """
    n = checks.count("samples", samples, least=2)
    sigmas = geometric_sigmas(sigma_max, sigma_min, checks.count("levels", levels, least=2))
    how = Training(steps, batch, seed)
    x = data.swiss_roll(_N_DATA, seed)
    objective = objectives.suited("ve", x, sigmas=tuple(sigmas.tolist()))
    plans = {
        "annealed Langevin": objective.plan("annealed-langevin", steps_per_level=steps_per_level),
        "predictor-corrector": objective.plan("predictor-corrector", predictor="ancestral", snr=snr),
        "ancestral": objective.plan("euler-ancestral"),
        "ancestral, finely": objective.plan("euler-ancestral", fine_levels, spacing="karras"),
    }
    trained, seconds = learned(bench, "swiss-roll", x, objective, how)
    judge = PointJudge(lambda i: data.swiss_roll(n, seed, first_point=_N_DATA + i * n))
    found = {name: drawn(trained, made, n, seed=seed, bench=bench, batch=n) for name, made in plans.items()}
    rows = [(name, plans[name].n_calls, judge.distance(points), judge.floor, judge.spread, cost)
            for name, (points, cost) in found.items()]  # fmt: skip
    notes = [
        f"{settings_note(how, _N_DATA, trained)}, {seconds:.0f} CPU seconds",
        f"{levels} levels, sigma {sigma_max:g} to {sigma_min:g}; {n:,} samples; energy distance to as many new points, "
        f"and of {judge.repeats} other such sets to them, mean and deviation",
    ]
    picture = _picture(trained, plans, {name: points for name, (points, _) in found.items()}, x, seed)
    return Outcome("smld-swiss-roll", Table(_COLUMNS, rows), notes, {"": picture})


def _picture(trained: Trained, plans: dict[str, Plan], found: dict[str, np.ndarray], x: np.ndarray, seed: int) -> Axes:
    """Three ways of annealed Langevin through the lower half of the levels, and the samples of all."""
    axes = plots.new_row(1 + len(found))
    made, schedule = plans["annealed Langevin"], trained.objective.schedule
    assert schedule is not None
    ways = sample(trained.model(), made, shape=(3, 2), seed=seed, save_every=1).states.cpu().numpy()
    middle = schedule.n // 2
    lower = ways[1 + (schedule.n - middle) * made.options["steps_per_level"] : -1]
    figures.trajectories(lower, score=score_at(trained, 0), data=x, ax=axes[0])
    axes[0].set_title(f"ways of annealed Langevin from sigma = {schedule.sigma[middle - 1]:.2g} on", fontsize="medium")
    for ax, (name, points) in zip(axes[1:], found.items(), strict=True):
        plots.points(ax, x[:2000, 0], x[:2000, 1], "data", "0.7")
        plots.points(ax, points[:2000, 0], points[:2000, 1], "samples")
        ax.set(aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
        ax.set_title(name, fontsize="medium")
        plots.legend(ax)
    plots.heading(axes[0], "SMLD on a swiss roll")
    return axes[0]
