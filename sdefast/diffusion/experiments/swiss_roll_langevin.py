"""The lecture's swiss roll: a score learned at one level of noise by a ReLU network, and plain Langevin along it.

Denoising score matching at one sigma learns the score of the data with noise of that sigma, not of the data; plain
Langevin samples that law with a bias of its step. Pilanci's lecture (EE364b, 2023) shows three ways over the learned
field. Where there are no data the score is learned from few samples or none: ways that start far outside are lost for
long, which several levels of noise cure (`smld_swiss_roll`).
"""

from __future__ import annotations

import numpy as np

from ... import checks, noise, plots
from .. import data, figures, objectives
from ..sample import sample
from ..tensors import torch
from .base import Bench, Outcome, Table, timed
from .learning import PointJudge, Training, learned, score_at, settings_note

_COLUMNS = ("Langevin steps", "energy distance", "of real points", "deviation of that", "part beyond 3")

#: Points that are trained on; starts lie evenly in a square of this half width.
_N_DATA, _REACH = 10_000, 2.0


def run(
    bench: Bench, *, steps: int = 3000, batch: int = 256, seed: int = 0, samples: int = 1000, sigma: float = 0.1,
    langevin_steps: int = 2000, part: float = 0.1,
) -> Outcome:  # fmt: skip
    """Train the score at one level, and go along it.

    Parameters
    ----------
    bench : Bench
        The data are a swiss roll, whatever it says.
    steps, batch, seed : int
        Of the training; the seed is that of all noise.
    samples : int
        Chains, and points in each set of real ones.
    sigma : float
        The level of noise.
    langevin_steps : int
        Steps x + h score + sqrt(2 h) z of every chain.
    part : float
        h / sigma^2.
    """
    n, walk = checks.count("samples", samples, least=3), checks.count("langevin_steps", langevin_steps, least=4)
    sigma, part = checks.real("sigma", sigma, positive=True), checks.real("part", part, positive=True)
    how, x = Training(steps, batch, seed), data.swiss_roll(_N_DATA, seed)
    objective = objectives.suited("ve", x, sigmas=(sigma,))
    made = objective.plan("annealed-langevin", steps_per_level=walk, step_size=part * sigma**2)
    trained, seconds = learned(bench, "swiss-roll-one-level", x, objective, how)
    even = 2 * _REACH * (noise.uniforms(seed, 2, n).T - 0.5)
    start = torch.tensor(even, dtype=torch.float32, device=bench.device).contiguous()
    ways, cost = timed(lambda: sample(trained.model(), made, x=start, seed=seed, save_every=1, progress=bench.progress))
    states = ways.states.cpu().numpy()

    def noised(i: int) -> np.ndarray:
        points = data.swiss_roll(n, seed, first_point=_N_DATA + i * n)
        return np.asarray(points + sigma * noise.normals(seed, 2, n, first_chain=(i + 1) * n).T, np.float32)

    judge = PointJudge(noised)
    some = sorted({0, walk // 100, walk // 10, walk // 2, walk})
    rows = [(k, judge.distance(states[k]), judge.floor, judge.spread, _beyond(states[k])) for k in some]
    notes = [
        f"{settings_note(how, _N_DATA, trained)}, {seconds:.0f} CPU seconds",
        f"{n:,} chains from a square of half width {_REACH:g}, h = {part:g} sigma^2, sigma = {sigma:g}, {cost:.0f} CPU "
        "seconds; energy distance to as many new points with noise of that sigma, whose score it is",
    ]
    axes = plots.new_row(2)
    figures.trajectories(states[:-1, :3], score=score_at(trained, 0), data=x, ax=axes[0])
    axes[0].set_title("the learned score, and three ways of Langevin", fontsize="medium")
    plots.points(axes[1], x[:2000, 0], x[:2000, 1], "data", "0.7")
    plots.points(axes[1], states[walk, :, 0], states[walk, :, 1], f"chains after {walk:,} steps")
    axes[1].set(aspect="equal", xlabel="x[0]", ylabel="x[1]")
    plots.legend(axes[1])
    return Outcome("swiss-roll-langevin", Table(_COLUMNS, rows), notes, {"": axes[0]})


def _beyond(x: np.ndarray) -> float:
    return float((np.abs(x) > 3).any(1).mean())
