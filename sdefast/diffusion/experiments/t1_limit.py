r"""Whether DDPM is annealed Langevin with one step per level, in exact numbers.

Pilanci's lecture (EE364b, 2023) takes annealed Langevin, x + (eps_i / 2) score + sqrt(eps_i) z for T steps at every
level, sets T = 1 and calls what is left a denoising diffusion model. On Gaussian data with exact scores every chain is
a linear recursion, so that the claim can be checked without a random number.

What holds: in y = x / alpha a step of DDPM is one step along the score of y, from one level to the next, with noise:

    y' = y + (r^2 - r'^2) score(y) + sqrt(r'^2 (r^2 - r'^2) / r^2) z,    r = sigma / alpha,

the ancestral step of the variance-exploding chain. In x there is a factor alpha' / alpha before it, DDPM's
1 / sqrt(alpha_t). What differs: Langevin's step of that drift, h = r^2 - r'^2, has noise of variance 2 h and not of
h r'^2 / r^2, which is less than half of it. Langevin holds a level and does not come down to the next: with that drift
and T = 1 the excess of the variance over u = v + r^2 obeys d(excess)/du = 2 excess / u - 1, which the excess u itself
solves and others approach, so that samples end with **twice** the variance, however many levels there are. Steps that
are larger than the fall of r^2, as the lecture's are where levels are many, or more of them at a level, bring it down.
DDPM's step is the posterior q(x' | x, D) and needs no more than one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import checks, plots
from ..plan import Plan, plan
from ..schedule import Schedule, linear_beta_schedule
from .base import Bench, Outcome, Table, timed
from .exact import Moments, propagated

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("chain", "levels", "calls", "mean", "variance", "exact mean", "exact variance", "variance / exact")


def run(
    bench: Bench, *, mean: float = 0.7, variance: float = 0.25, levels: int = 1000, steps_per_level: int = 100
) -> Outcome:
    """DDPM, its ancestral form in y = x / alpha, and Langevin with one and with more steps per level, on a Gaussian.

    Parameters
    ----------
    bench : Bench
        No data, nothing is trained and nothing is random.
    mean, variance : float
        Of the data.
    levels : int
        Number of timesteps of the linear betas.
    steps_per_level : int
        Of the Langevin chain that stays at its levels for longer, at a hundredth of which it stops.
    """
    data = checks.real("mean", mean), checks.real("variance", variance, positive=True)
    schedule = linear_beta_schedule(checks.count("levels", levels, least=21), scaled=True)
    plans = chains(schedule, steps_per_level)
    found, seconds = timed(lambda: {name: propagated(made, *data) for name, made in plans.items()})
    rows = [
        (name, len(np.unique(plans[name].timesteps)), plans[name].n_calls, m, v, *data, v / data[1])
        for name, (m, v) in ((name, (x.mean[-1], x.variance[-1])) for name, x in found.items())
    ]
    apart = largest_difference(schedule)
    notes = [
        f"data N({data[0]:g}, {data[1]:g}), exact scores, moments through the rows of the plans: nothing is trained, "
        f"no samples, no seed; {seconds:.2f} CPU seconds",
        f"DDPM and the ancestral chain in y = x / alpha agree to {apart:.1e} in all coefficients",
        *_compared(schedule, schedule.n // 2),
    ]
    return Outcome("t1-limit", Table(_COLUMNS, rows), notes, {"": _picture(plans, found, data)})


def chains(schedule: Schedule, steps_per_level: int) -> dict[str, Plan]:
    """The plans by name: DDPM's on the schedule, the others in y = x / alpha on its levels or on geometric ones."""
    n, per_level = schedule.n, checks.count("steps_per_level", steps_per_level)
    falling = 1 - (schedule.ratio[0] / schedule.ratio[-1]) ** (2 / (n - 1))  # of r^2, from one geometric level on
    many, few = _geometric(schedule, n), _geometric(schedule, max(n // per_level, 2))
    return {
        "DDPM, beta~": plan("ddpm", schedule),
        "DDPM, beta": plan("ddpm", schedule, variance="beta"),
        "ancestral in y": plan("euler-ancestral", Schedule.from_sigmas(schedule.ratio), prediction="score"),
        "ancestral in y, geometric levels": plan("euler-ancestral", many, prediction="score"),
        "Langevin, T = 1, its drift": langevin(many, 1, falling),
        "Langevin, T = 1, h = r^2 / 10": langevin(many, 1, 0.1),
        f"Langevin, T = {per_level}, h = r^2 / 10": langevin(few, per_level, 0.1),
    }


def _geometric(schedule: Schedule, n: int) -> Schedule:
    """So many levels between the ends of sigma / alpha."""
    return Schedule.from_sigmas(np.geomspace(schedule.ratio[0], schedule.ratio[-1], n))


def langevin(schedule: Schedule, steps_per_level: int, part: float) -> Plan:
    """Annealed Langevin, x + h score + sqrt(2 h) z with h = part sigma^2; the lecture's eps_i is 2 h."""
    step_size = part * float(schedule.sigma[0]) ** 2
    return plan("annealed-langevin", schedule, prediction="score", steps_per_level=steps_per_level, step_size=step_size)


def largest_difference(schedule: Schedule) -> float:
    """Between the rows of DDPM in y = x / alpha and those of the ancestral chain, over all coefficients a, b and s."""
    ddpm = plan("ddpm", schedule).rows
    ancestral = plan("euler-ancestral", Schedule.from_sigmas(schedule.ratio), prediction="score").rows
    before = schedule.alpha[::-1]
    inside = {"a": ddpm["a"] * before, "b": ddpm["b"], "s": ddpm["s"]}
    return max(float(np.abs(value / ddpm["alpha"] - ancestral[name]).max()) for name, value in inside.items())


def _compared(schedule: Schedule, t: int) -> list[str]:
    """One step of both, at one level, in y = x / alpha and in x."""
    high, low, beta = float(schedule.ratio[t]) ** 2, float(schedule.ratio[t - 1]) ** 2, float(schedule.betas[t])
    drift = high - low
    noise, langevins = (low * drift / high) ** 0.5, (2 * drift) ** 0.5
    return [
        f"at t = {t}, in y = x / alpha: DDPM's step is y + {drift:.4g} score + {noise:.4g} z, and Langevin's with that "
        f"drift has {langevins:.4g} z, {2 * high / low:.4g} times the variance",
        f"and in x: DDPM's is (x + {beta:.4g} score) / {(1 - beta) ** 0.5:.6g} + ..., and Langevin's has no division",
    ]


def _picture(plans: dict[str, Plan], found: dict[str, Moments], data: tuple[float, float]) -> Axes:
    """Means and variances of x / alpha along the way down, before the last of a level's steps if there are several."""
    axes = plots.new_row(2)
    for i, (name, moments) in enumerate(found.items()):
        every = plans[name].options.get("steps_per_level", 1)
        some = slice(every - 1, -1, every)  # the last row goes to the data
        ratio = (moments.sigma / moments.alpha)[some]
        style: dict[str, Any] = {"color": f"C{i}", "label": name, "linewidth": 1, "linestyle": "-:"[i % 2]}
        axes[0].plot(ratio, (moments.mean / moments.alpha)[some], **style)
        axes[1].plot(ratio, (moments.variance / moments.alpha**2)[some] / (data[1] + ratio**2), **style)
    for ax, label, exact in zip(axes, ("mean of y", "variance of y / exact"), (data[0], 1.0), strict=True):
        ax.axhline(exact, color="k", linewidth=0.8, linestyle="--", label="exact")
        ax.set(xscale="log", xlabel="level of noise, sigma / alpha (the way goes to the right)", ylabel=label)
        ax.xaxis.set_inverted(True)
        plots.legend(ax)
    plots.heading(axes[0], "Is DDPM annealed Langevin with one step per level?")
    return axes[0]
