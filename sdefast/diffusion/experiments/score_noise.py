r"""Score and noise, :math:`s = -\varepsilon / \sigma`, checked on a trained network.

A network that is trained to say the noise says the mean of eps given x_t, and -eps / sigma is the score of the noised
law, not of the data and not that of one noised point. Two checks: samples drawn by prediction "eps", and by prediction
"score" with the network's output over -sigma, must be the same to rounding; and on a mixture of Gaussians, whose noised
scores are known, the network's eps is set beside -sigma times the exact score at several levels of noise, and its loss
beside the least that any network can have there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import checks, plots
from .. import data
from ..noise import randn_like
from ..objectives import Eps
from ..plan import Plan, plan
from ..sample import sample
from ..schedule import Schedule, linear_beta_schedule
from ..tensors import torch
from ..training import Trained
from .base import Bench, Outcome, Table
from .exact import Mixture
from .learning import Training, learned, settings_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAW = Mixture([0.1, 0.2, 0.3, 0.4], [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], 0.2)

_COLUMNS = ("t", "alpha", "sigma", "loss", "least loss", "rms of eps", "rms error of eps", "part")

#: Points that are trained on.
_N_DATA = 20_000


def run(
    bench: Bench, *, steps: int = 3000, batch: int = 256, seed: int = 0, samples: int = 4000, timesteps: int = 1000,
    calls: int = 100, levels: int = 10,
) -> Outcome:  # fmt: skip
    """Train eps on a mixture in the plane, and compare.

    Parameters
    ----------
    bench : Bench
        The data are a mixture, whatever it says.
    steps, batch, seed : int
        Of the training; the seed is that of all noise.
    samples : int
        Points at every level, and points that are drawn.
    timesteps : int
        Of the schedule, DDPM's with betas scaled.
    calls : int
        Of the network in sampling.
    levels : int
        Timesteps at which eps is compared.
    """
    n, how = checks.count("samples", samples, least=2), Training(steps, batch, seed)
    schedule = linear_beta_schedule(timesteps, scaled=True)
    pairs = {method: [plan(method, schedule, calls, prediction=said) for said in ("eps", "score")]
             for method in ("ddpm", "ddim", "dpm++2m")}  # fmt: skip
    x = data.mixture(_N_DATA, seed, means=LAW.means, weights=LAW.weights, sd=LAW.variance**0.5)
    trained, seconds = learned(bench, "score-noise", x, Eps(schedule), how)
    fresh = data.mixture(n, seed, means=LAW.means, weights=LAW.weights, sd=LAW.variance**0.5, first_point=_N_DATA)
    some = np.unique(np.linspace(0, schedule.n - 1, checks.count("levels", levels)).round().astype(int)).tolist()
    table = Table(_COLUMNS, [_at_level(trained, schedule, t, fresh, seed + 1) for t in some])
    apart = {method: _apart(trained, schedule, pair, n, seed) for method, pair in pairs.items()}
    notes = [
        f"{settings_note(how, _N_DATA, trained)}, {seconds:.0f} CPU seconds; {n:,} points at every level",
        f"{n:,} samples by eps and by score = -eps / sigma, largest difference in {calls} calls: "
        + ", ".join(f"{method} {difference:.1e}" for method, difference in apart.items()),
        "least loss: that of -sigma times the exact score on the same points; part: rms error over rms of eps",
    ]
    return Outcome("score-noise", table, notes, {"": _picture(table)})


def _at_level(trained: Trained, schedule: Schedule, t: int, x0: np.ndarray, seed: int) -> tuple[Any, ...]:
    """What the network says at a timestep beside what is exact."""
    alpha, sigma = float(schedule.alpha[t]), float(schedule.sigma[t])
    z = randn_like(x0.astype(np.float64), seed=seed, step=t)
    x = alpha * x0 + sigma * z
    with torch.no_grad():
        model = trained.model()
        given = torch.as_tensor(x, dtype=torch.float32).to(next(model.parameters()))
        said = np.asarray(model(given, torch.full((len(x),), t, device=given.device)).cpu(), np.float64)
    exact = -sigma * LAW.score(x, alpha, sigma)
    size, error = (float(np.sqrt((values**2).mean())) for values in (exact, said - exact))
    loss, least = (float(((values - z) ** 2).mean()) for values in (said, exact))
    return t, alpha, sigma, loss, least, size, error, error / size


def score_of(model: Callable[[Any, Any], Any], schedule: Schedule) -> Callable[[Any, Any], Any]:
    """A model of the score that is made of one of the noise, at integer timesteps."""

    def score(x: Any, t: Any) -> Any:
        return -model(x, t) / float(schedule.sigma[int(t[0])])

    return score


def _apart(trained: Trained, schedule: Schedule, pair: list[Plan], n: int, seed: int) -> float:
    """The largest difference of samples by prediction of eps and of the score, in float32."""
    model = trained.model()
    like = next(model.parameters()).detach()
    found = [
        sample(said, made, shape=(n, LAW.dim), seed=seed, like=like)
        for made, said in zip(pair, (model, score_of(model, schedule)), strict=True)
    ]
    return float((found[0] - found[1]).abs().max())


def _picture(table: Table) -> Axes:
    """Errors and losses over the level of noise."""
    axes = plots.new_row(2)
    sigma = table["sigma"]
    for name, style in (("loss", "o-"), ("least loss", "k--")):
        axes[0].plot(sigma, table[name], style, label=name)
    axes[1].plot(sigma, table["part"], "o-", label="rms error over rms of eps")
    for ax in axes:
        ax.set(xlabel="sigma", yscale="log")
        plots.legend(ax)
    plots.heading(axes[0], "a trained eps beside -sigma times the exact score, on a mixture")
    return axes[0]
