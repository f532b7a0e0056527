r"""DDPM as the thesis ran it, its figures 18 and 19, beside schedules that end in noise.

Ge, Stochastic Differential Equations for Large-scale Machine Learning, New York University Shanghai, section 5.2.3.
Figure 17 is Algorithms 1 and 2 of Ho et al. (2020). As they should read:

Training. Repeat: x_0 from the data; t uniform on 1, ..., T; eps ~ N(0, I); a gradient step on
:math:`|\varepsilon - \varepsilon_\theta(\sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon,\,t)|^2`.

Sampling. x_T ~ N(0, I); for t = T, ..., 1 with z ~ N(0, I), and z = 0 at t = 1,
:math:`x_{t-1} = \frac{1}{\sqrt{\alpha_t}}\Big(x_t - \frac{1-\alpha_t}{\sqrt{1-\bar\alpha_t}}\,
\varepsilon_\theta(x_t, t)\Big) + \sigma_t z`,
where the thesis' transcription has :math:`\sqrt{1-\alpha_t}` in the denominator, without the bar.
:math:`\sigma_t^2` is :math:`\tilde\beta_t = \beta_t (1-\bar\alpha_{t-1})/(1-\bar\alpha_t)`.

The thesis takes T = 200 with betas from 1e-4 to 0.02, which are made for T = 1000: alpha-bar_T is .132, so that x_T is
far from the N(0, I) that sampling begins with. Beside it are trained, for as many steps, T = 1000 with the same betas
and T = 200 with betas times 1000 / T. The loss is squared, where the program behind the figures has Huber's; digits
are not flipped, as a mirrored digit is no digit; and nothing is reseeded within a step, which froze t and eps there.
So its loss level is not comparable with that of its figure 19.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import checks, plots
from .. import figures
from ..objectives import Eps, Objective
from ..sample import sample
from ..schedule import Schedule, linear_beta_schedule
from ..training import Trained
from .base import Bench, Outcome, Table
from .learning import ImageJudge, Training, drawn, images, learned, settings_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = (
    "setting", "T", "alpha-bar_T", "seeds", "last loss", "deviation over seeds", "sampling", "calls", "Frechet",
    "CPU s training", "CPU s sampling",
)  # fmt: skip

#: Images of figure 18, and its number of steps between pictures.
_SHOWN, _EVERY = 4, 10


def schedule(n: int = 200) -> Schedule:
    """The thesis' schedule: betas from 1e-4 to 0.02 in 200 steps.

    Warns
    -----
    RuntimeWarning
        If so few steps leave data in x_T.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     made = schedule()
    >>> len(said), round(float(made.alphas_cumprod[-1]), 5)
    (1, 0.13218)
    """
    made = linear_beta_schedule(n)
    left = float(made.alphas_cumprod[-1])
    if left > 0.01:
        warnings.warn(
            f"alpha-bar_T is {left:.3f} with {n} betas from 1e-4 to 0.02: x_T is far from the N(0, I) that sampling "
            "begins with, and samples suffer; take linear_beta_schedule(n, scaled=True), cosine_schedule, or n = 1000",
            RuntimeWarning,
            stacklevel=2,
        )
    return made


def run(
    bench: Bench, *, steps: int = 1000, batch: int = 64, seed: int = 0, seeds: int = 5, learning_rate: float = 5e-4,
    samples: int = 512, calls: int = 200, every: int | None = None,
) -> Outcome:  # fmt: skip
    """Train by the thesis' schedule with several seeds, and by two others; sample; judge.

    Parameters
    ----------
    bench : Bench
        With images, by default scikit-learn's digits.
    steps, batch : int
        Of every training; the thesis has 15 epochs of MNIST in batches of 128, which are 7035 steps.
    seed, seeds : int
        The first seed and how many are trained by the thesis' schedule; the others have one.
    learning_rate : float
        The thesis'.
    samples : int
        That are judged, of the first seed of each.
    calls : int
        Of T = 1000's network in sampling, evenly spaced; the others are called at every timestep.
    every : int, optional
        Steps whose losses are averaged in the curves, by default a fortieth of them.
    """
    n, how = checks.count("samples", samples, least=2), Training(steps, batch, seed, learning_rate)
    calls, seeds = checks.count("calls", calls), checks.count("seeds", seeds)
    every = max(1, steps // 40) if every is None else checks.count("every", every, most=steps)
    x, judge = images(bench), ImageJudge(bench, n, seed)
    schedules = {
        "thesis": schedule(),
        "scaled-betas": linear_beta_schedule(200, scaled=True),
        "T-1000": linear_beta_schedule(1000),
    }
    rows, logs, first = [], {}, {}
    for name, made in schedules.items():
        n_seeds = seeds if name == "thesis" else 1
        objective = Eps(made)
        runs = [learned(bench, f"{name}-seed-{seed + i}", x, objective, how, seed=seed + i) for i in range(n_seeds)]
        logs[name], first[name] = [trained.log for trained, _ in runs], runs[0][0]
        loss = np.array([log["loss"][-max(1, steps // 10) :].mean() for log in logs[name]])
        told = (name, made.n, float(made.alphas_cumprod[-1]), n_seeds, float(loss.mean()), _deviation(loss))
        for sampling, found in _judged(first[name], n, min(calls, made.n), seed, judge, bench).items():
            rows.append((*told, sampling, *found[:2], sum(seconds for _, seconds in runs), found[2]))
    notes = [
        settings_note(how, len(x), first["thesis"]),
        "squared loss, no flips, no reseeding within a step: the loss level is not that of the thesis' figure 19",
        judge.note,
    ]
    pictures = {"figure-18": _strip(first["thesis"], seed), "figure-19": figures.losses(logs, every=every)}
    return Outcome("thesis", Table(_COLUMNS, rows), notes, pictures)


def _deviation(values: np.ndarray) -> float | None:
    """Between seeds, where there are several."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _judged(
    trained: Trained, n: int, calls: int, seed: int, judge: ImageJudge, bench: Bench
) -> dict[str, tuple[int, float, float]]:
    """Calls, Frechet distance and seconds of ancestral sampling, x_0 as it is, as the thesis has it, and clipped."""
    found = {}
    for name, clip in (("beta~", None), ("beta~, clipped", 1.0)):
        x, seconds = drawn(trained, trained.objective.plan("ddpm", calls, clip=clip), n, seed=seed, bench=bench)
        found[name] = (calls, judge.frechet(x), seconds)
    return found


def _strip(trained: Trained, seed: int) -> Axes:
    """Figure 18: samples of the thesis' schedule after every 10th step."""
    objective: Objective = trained.objective
    plan = objective.plan("ddpm")
    way: Any = sample(trained.model(), plan, shape=(_SHOWN, *trained.shape), seed=seed, save_every=_EVERY)
    ax = figures.strip(way.states, labels=way.calls.tolist())
    ax.set_xlabel("steps taken")
    plots.heading(ax, "figure 18: DDPM from noise to digits, the thesis' schedule")
    return ax
