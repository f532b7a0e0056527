"""One trained network, and what samplers make of it in so many calls: Frechet distance and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import checks, plots
from .. import objectives, training
from ..objectives import Objective
from ..plan import Plan
from ..training import Trained
from .base import Bench, Outcome, Table
from .learning import ImageJudge, Training, drawn, labelled, learned, settings_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("sampler", "steps", "calls", "Frechet", "CPU seconds", "CPU s per sample")

#: Samplers that call the model twice in a step, but for a last step of Heun's.
_TWICE = frozenset({"heun", "ode", "predictor-corrector"})


def run(
    bench: Bench, *, folder: str = "", objective: str = "flow", steps: int = 2000, batch: int = 64, seed: int = 0,
    samples: int = 512, methods: Sequence[str] = ("dpm++2m-sde", "dpm++2m", "euler-ancestral", "euler", "heun"),
    calls: Sequence[int] = (5, 10, 20, 50), labels: bool = False,
) -> Outcome:  # fmt: skip
    """Sample by every method in every number of calls, and judge.

    Parameters
    ----------
    bench : Bench
        With the images that the network was trained on, by default scikit-learn's digits.
    folder : str
        Of a trained network, the ``out`` of its training; by default one is trained.
    objective : str
        What it is trained for then.
    steps, batch : int
        Of its training.
    seed : int
        Of all noise.
    samples : int
        That are drawn each time.
    methods : sequence of str
        Samplers.
    calls : sequence of int
        How often each may call the network, at most.
    labels : bool
        Whether the network is told the classes, and as many samples are drawn of each.
    """
    n, how = checks.count("samples", samples, least=2), Training(steps, batch, seed)
    labels = checks.flag("labels", labels)
    if folder:
        trained = training.load(folder, device=bench.device)
        plans, source = _plans(trained.objective, methods, calls), f"the network in {folder}, {trained.step:,} steps"
        judge = ImageJudge(bench, n, seed)
    else:
        x, classes = labelled(bench)
        wanted = objectives.suited(objective, x)
        plans, judge = _plans(wanted, methods, calls), ImageJudge(bench, n, seed)
        name = f"{objective}{'-labels' * labels}-seed-{seed}"
        trained, seconds = learned(bench, name, x, wanted, how, labels=classes if labels else None)
        source = f"{settings_note(how, len(x), trained)}, {seconds:.0f} CPU seconds"
    if labels and trained.classes is None:
        raise ValueError("labels must be False: the network was trained without any")
    of = np.arange(n) % (trained.classes or 1) if labels else None
    rows = [(*key, made.n_calls, *_judged(trained, made, n, seed, judge, bench, of)) for key, made in plans.items()]
    notes = [f"objective {trained.objective.name!r}; {source}", judge.note]
    if labels:
        notes.append(f"as many samples of each of {trained.classes} classes, which the network is told")
    table = Table(_COLUMNS, rows)
    return Outcome("samplers", table, notes, {"": _picture(table, judge.floor.mean)})


def _plans(objective: Objective, methods: Sequence[str], calls: Sequence[int]) -> dict[tuple[str, int], Plan]:
    """Plans by sampler and number of steps; x_0 is clipped to [-1, 1], as images are."""
    plans = {}
    for method in methods:
        for most in calls:
            most = checks.count("calls", most, least=2)
            n_steps = (most + 1) // 2 if method in _TWICE else most
            plans[method, n_steps] = objective.plan(method, n_steps, clip=1.0)
    return plans


def _judged(
    trained: Trained, made: Plan, n: int, seed: int, judge: ImageJudge, bench: Bench, labels: np.ndarray | None
) -> tuple[float, float, float]:
    """Frechet distance, CPU seconds, and those of a sample."""
    x, seconds = drawn(trained, made, n, seed=seed, bench=bench, labels=labels)
    return judge.frechet(x), seconds, seconds / n


def _picture(table: Table, floor: float) -> Axes:
    """Distances over calls."""
    ax = plots.new_axes()
    for i, method in enumerate(dict.fromkeys(table["sampler"])):
        rows: list[dict[str, Any]] = table.where(sampler=method)
        ax.plot([row["calls"] for row in rows], [row["Frechet"] for row in rows], "o-", color=f"C{i}", label=method)
    ax.axhline(floor, color="k", linestyle="--", linewidth=1, label="real images")
    ax.set(xscale="log", yscale="log", xlabel="calls of the network", ylabel="Frechet distance")
    plots.legend(ax)
    return ax
