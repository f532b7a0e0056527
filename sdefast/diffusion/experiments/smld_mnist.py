"""SMLD on images, which the thesis leaves undone: a noise-conditional score, and three samplers along it.

The score is trained at geometric levels of noise with the weights sigma^2 (Song and Ermon 2019). Annealed Langevin is
their algorithm, with a last denoising; predictor-corrector and ancestral sampling are those of Song et al. (2021) for
the variance-exploding chain. The data that a score means are clipped to [-1, 1], as images are.
"""

from __future__ import annotations

import numpy as np

from ... import checks, plots
from .. import figures, objectives
from ..schedule import geometric_sigmas
from .base import Bench, Outcome, Table
from .learning import ImageJudge, Training, drawn, images, learned, settings_note

_COLUMNS = ("sampler", "calls", "Frechet", "CPU seconds")

#: Images of each sampler that are shown, in rows of so many.
_SHOWN, _COLUMNS_SHOWN = 64, 8


def run(
    bench: Bench, *, steps: int = 4000, batch: int = 64, seed: int = 0, samples: int = 512, levels: int = 40,
    sigma_max: float = 30.0, sigma_min: float = 0.05, steps_per_level: int = 10, part: float = 0.1,
    fine_levels: int = 60,
) -> Outcome:  # fmt: skip
    """Train a score, sample along it, judge.

    Parameters
    ----------
    bench : Bench
        With images, by default scikit-learn's digits.
    steps, batch, seed : int
        Of the training; the seed is that of all noise.
    samples : int
        That are drawn by each sampler.
    levels, sigma_max, sigma_min
        Levels of noise, geometric. Below 0.05 noise hides nothing of a digit, and training would be wasted.
    steps_per_level, part
        Of annealed Langevin: steps x + h score + sqrt(2 h) z with h = part sigma^2.
    fine_levels : int
        Of predictor-corrector and ancestral sampling, spaced as EDM does between the same ends.
    """
    n, how = checks.count("samples", samples, least=2), Training(steps, batch, seed)
    part = checks.real("part", part, positive=True)
    sigmas = geometric_sigmas(sigma_max, sigma_min, checks.count("levels", levels, least=2))
    x = images(bench)
    objective = objectives.objective("ve", sigmas=tuple(sigmas.tolist()), sd=float(np.sqrt(x.var(0).mean())))
    step_size = part * float(sigmas[-1]) ** 2
    plans = {
        "annealed Langevin": objective.plan(
            "annealed-langevin", clip=1.0, steps_per_level=steps_per_level, step_size=step_size
        ),
        "predictor-corrector": objective.plan("predictor-corrector", fine_levels, clip=1.0, spacing="karras"),
        "ancestral": objective.plan("euler-ancestral", fine_levels, clip=1.0, spacing="karras"),
    }
    judge = ImageJudge(bench, n, seed)
    trained, seconds = learned(bench, "smld", x, objective, how)
    found = {name: drawn(trained, made, n, seed=seed, bench=bench) for name, made in plans.items()}
    rows = [(name, plans[name].n_calls, judge.frechet(y), cost) for name, (y, cost) in found.items()]
    notes = [
        f"{settings_note(how, len(x), trained)}, {seconds:.0f} CPU seconds",
        f"{levels} levels, sigma {sigma_max:g} to {sigma_min:g}; Langevin's h is {part:g} sigma^2",
        judge.note,
    ]
    axes = plots.new_row(len(found))
    for ax, (name, (y, _)) in zip(axes, found.items(), strict=True):
        figures.grid(np.asarray(y[:_SHOWN]), n_columns=_COLUMNS_SHOWN, ax=ax)
        ax.set_title(f"{name}, {plans[name].n_calls} calls", fontsize="medium")
    return Outcome("smld-mnist", Table(_COLUMNS, rows), notes, {"": axes[0]})
