"""SMLD (the variance-exploding chain) on mixtures of Gaussians with exact scores, which the thesis leaves undone.

Three laws, all of deviation .3: the modes -4 and 4 with weights .2 and .8 on the line, four modes with weights .1 to .4
in the plane, and two with weights .2 and .8, 8 apart, in 16 dimensions. Scores are those of the noised law at every
level, so that what is wrong is the sampler's.

Every number stands beside the exact one with its z-score. Annealing from the largest noise gets the weights of the
modes right but for what is forgotten too late (.79 for .8 with the steps here); the same steps from the smallest noise
on throw points far beyond the data, and Langevin at the smallest noise alone leaves the weights as it finds them,
because a score does not know them. The variance within a mode is also known exactly: by the rows of the plan on one
mode (`exact.propagated`). For the predictor-corrector there is no such number, as the size of a corrector's step is
2 (snr |z| / |score|)^2 with norms that are each sample's own: in one or two dimensions they are often near 0, between
modes above all, so that points leave their mode and weights and variances are wrong (no point is thrown away, as no
step is longer than sigma^2 there). It is a sampler for many dimensions, where norms hardly vary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ... import checks, noise, plots
from .. import figures
from ..plan import Plan, plan
from ..sample import sample
from ..schedule import Schedule
from .base import Bench, Outcome, Table, mean_and_error, timed, variance_and_error, z_score
from .exact import Mixture, propagated

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE = Mixture([0.2, 0.8], [[-4.0], [4.0]], 0.3)
PLANE = Mixture([0.1, 0.2, 0.3, 0.4], [[-4.0, -4.0], [-4.0, 4.0], [4.0, -4.0], [4.0, 4.0]], 0.3)
SPACE = Mixture([0.2, 0.8], [[-1.0] * 16, [1.0] * 16], 0.3)

_COLUMNS = ("law", "sampler", "calls", "quantity", "value", "standard error", "exact", "z")

#: Points start evenly in a cube of this half width, in which all modes are.
_REACH = 8.0


def run(
    bench: Bench, *, samples: int = 20_000, seed: int = 0, levels: int = 12, steps_per_level: int = 100,
    step_size: float = 1e-3, fine_levels: int = 500,
) -> Outcome:  # fmt: skip
    """All samplers on all laws.

    Parameters
    ----------
    bench : Bench
        No data, and nothing is trained.
    samples, seed : int
        Number of points, and the seed of their starts and noise.
    levels, steps_per_level, step_size
        Of annealed Langevin: sigmas from 10 to .1, geometrically, and steps x + h score + sqrt(2 h) z, h = step_size
        sigma^2 / .1^2 (the source's eps_0 is 2 step_size).
    fine_levels : int
        Of predictor-corrector and the ancestral sampler, whose steps go from level to level: sigmas from 50, so large
        that the prior's forgetting the data's mean costs little, to .01.
    """
    n, seed = checks.count("samples", samples, least=2), checks.seed("seed", seed)
    coarse = Schedule.from_sigmas(np.geomspace(0.1, 10.0, checks.count("levels", levels, least=2)))
    fine = Schedule.from_sigmas(np.geomspace(0.01, 50.0, checks.count("fine_levels", fine_levels, least=2)))
    ways = plans(coarse, fine, steps_per_level, step_size)
    laws = {"line": LINE, "plane": PLANE, "16 dimensions": SPACE}
    runs = {
        (law, name): sampled(laws[law], made, schedule, n, seed=seed, saves=coarse.n, progress=bench.progress)
        for law in laws
        for name, (made, schedule) in ways.items()
    }
    rows = [
        (law, name, ways[name][0].n_calls, *found)
        for (law, name), ran in runs.items()
        for found in judged(laws[law], ways[name][0], ran.x)
    ]
    cost = {name: sum(ran.seconds for (_, other), ran in runs.items() if other == name) for name in ways}
    notes = [
        f"exact scores, nothing is trained; {n:,} samples, seed {seed}; CPU seconds of all laws: "
        + ", ".join(f"{name} {seconds:.1f}" for name, seconds in cost.items()),
        "exact: weights, mean and variance of the data's law; within a mode also what the plan's rows make of one mode",
    ]
    planar = {name: ran for (law, name), ran in runs.items() if law == "plane"}
    pictures = {"": _plane(planar), "levels": _line(runs["line", "annealed Langevin"].states, coarse)}
    return Outcome("smld-mixture", Table(_COLUMNS, rows), notes, pictures)


def plans(coarse: Schedule, fine: Schedule, steps_per_level: int, step_size: float) -> dict[str, tuple[Plan, Schedule]]:
    """What is run, with the schedule that its timesteps are of."""
    how: dict[str, Any] = {"prediction": "score", "step_size": step_size}
    annealed = plan("annealed-langevin", coarse, steps_per_level=steps_per_level, **how)
    alone = Schedule.from_sigmas(coarse.sigma[:1])
    plain = plan("annealed-langevin", alone, steps_per_level=steps_per_level * coarse.n, **how)
    return {
        "annealed Langevin": (annealed, coarse),
        "smallest noise first": (upwards(annealed), coarse),
        "plain Langevin": (plain, alone),
        "predictor-corrector": (plan("predictor-corrector", fine, prediction="score"), fine),
        "ancestral": (plan("euler-ancestral", fine, prediction="score"), fine),
    }


def upwards(annealed: Plan) -> Plan:
    """The Langevin steps of a plan from the smallest noise to the largest, the order that the lecture's text has.

    What is left out is the last denoising, which belongs to the smallest noise.
    """
    return replace(annealed, rows=annealed.rows[-2::-1])


class Run(NamedTuple):
    """Points at the end and on the way, (n, d) and (n_saves, n, d), and CPU seconds."""

    x: np.ndarray
    states: np.ndarray
    seconds: float


def sampled(
    law: Mixture, made: Plan, schedule: Schedule, n: int, *, seed: int, saves: int = 1, progress: bool = False
) -> Run:
    """Run a plan: Langevin's from points that lie evenly in a cube, the others from their prior."""
    start: dict[str, Any] = {"shape": (n, law.dim), "dtype": "float64"}
    if made.method == "annealed-langevin":
        start = {"x": np.ascontiguousarray(2 * _REACH * (noise.uniforms(seed, law.dim, n).T - 0.5))}
    every = max(1, made.n_calls // saves)
    found, seconds = timed(
        lambda: sample(law.model(schedule), made, seed=seed, save_every=every, progress=progress, **start)
    )
    return Run(found.x, found.states, seconds)


def judged(law: Mixture, made: Plan, x: np.ndarray) -> Iterator[tuple[str, float, float, float, float | None]]:
    """Quantities of the samples with standard error, exact value and z-score."""
    near = law.nearest(x)
    for i, weight in enumerate(law.weights):
        yield _row(f"weight of mode {i + 1}", *mean_and_error(near == i), weight)
    yield _row("mean of x[0]", *mean_and_error(x[:, 0]), law.mean[0])
    yield _row("variance of x[0]", *variance_and_error(x[:, 0]), law.variances[0])
    within = ((x - law.means[near]) ** 2).mean(1)
    yield _row("variance within a mode", *mean_and_error(within), law.variance)
    if made.rows["sigma"][-1] == 0 and not (made.rows["snr"] > 0).any():
        rows = float(propagated(made, 0.0, law.variance).variance[-1])
        yield _row("variance within a mode, by the rows", *mean_and_error(within), rows)
    yield _row("part beyond 8", *mean_and_error((np.abs(x) > _REACH).any(1)), 0.0)


def _row(quantity: str, value: float, error: float, exact: float) -> tuple[str, float, float, float, float | None]:
    return quantity, value, error, float(exact), z_score(value, error, float(exact))


def _plane(runs: dict[str, Run]) -> Axes:
    """Samples in the plane, with a few ways to them."""
    axes = plots.new_row(len(runs))
    for ax, (name, ran) in zip(axes, runs.items(), strict=True):
        figures.trajectories(ran.states[:, :3], data=ran.x, ax=ax)
        ax.set(xlim=(-1.5 * _REACH, 1.5 * _REACH), ylim=(-1.5 * _REACH, 1.5 * _REACH))
        ax.set_title(name, fontsize="medium")
    plots.heading(axes[0], "four modes with weights .1, .2, .3 and .4: samples, and the ways of three")
    return axes[0]


def _line(states: np.ndarray, coarse: Schedule) -> Axes:
    """Annealed Langevin on the line after each of some levels, beside the noised law."""
    sigmas = coarse.sigma[::-1]
    some = sorted({0, len(sigmas) // 3, 2 * len(sigmas) // 3, len(sigmas) - 1})
    axes = figures.levels(
        [states[i + 1, :, 0] for i in some],
        [f"sigma = {sigmas[i]:.3g}" for i in some],
        [_density(float(sigmas[i])) for i in some],
    )
    plots.heading(axes[0], "annealed Langevin after its steps at some levels")
    return axes[0]


def _density(sigma: float) -> Any:
    return lambda x: np.exp(LINE.log_density(x[:, None], 1.0, sigma))
