"""How many levels there must be, and how many paths of each: found while they are simulated."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...engine.tiles import Tile
from .decay import estimated_bias, expected_variances, numbers_of_paths, order_of
from .result import Level
from .sampling import FIRST_LEVELS, PER_PATH, How, Problem, Sampler
from .sobol import FIRST_POINTS, SobolLevel, draw_enough

#: The part of the cost that beginning on a finer level must leave, before the coarse ones are given up.
_WORTH_IT = 0.8


class Target(NamedTuple):
    """What to reach, and how to go about it."""

    accuracy: float
    n_initial: int
    max_level: int
    max_cost: float


class Found(NamedTuple):
    """The levels that are summed up, what is known of all differences, and what was spent on levels that are left."""

    used: list[Level]
    differences: list[Level]
    spent_on_left: int = 0

    @classmethod
    def of_points(cls, levels: list[Level]) -> Found:
        """Of levels that are all summed up."""
        return cls(levels, levels)


class Samplers(NamedTuple):
    """The levels that are summed up, and those below, of which only the differences are known."""

    used: list[Sampler]
    left: list[Sampler]

    def differences(self) -> list[Level]:
        """What is known of every level, whose differences begin with the second."""
        return [s.level() for s in (*self.left, *(self.used[1:] if self.left else self.used))]

    def found(self) -> Found:
        """What was found."""
        return Found([s.level() for s in self.used], self.differences(), sum(s.level().cost for s in self.left))


def estimate(problem: Problem, target: Target, how: How) -> Samplers:
    """Draw paths, and add levels, until variance and bias fit the accuracy or no level is left."""
    m, weak_order = problem.coupled.refinement, problem.chain.scheme.weak_order
    samplers = Samplers([Sampler(problem, level) for level in range(FIRST_LEVELS)], [])
    for sampler in samplers.used:
        sampler.draw(target.n_initial, how)
    while True:
        samplers = _started_where_it_pays(problem, samplers, target, how)
        _draw_enough(samplers.used, m, target, how)
        levels = samplers.differences()
        if estimated_bias(levels, m, weak_order) <= target.accuracy / math.sqrt(2) or len(levels) > target.max_level:
            return samplers
        used = samplers.used
        variances = expected_variances([s.level() for s in used], m)
        used.append(Sampler(problem, used[-1].number + 1))
        variances.append(variances[-1] * m ** -order_of([r.variance for r in levels[1:]], m))
        used[-1].draw(numbers_of_paths(variances, [s.cost for s in used], target.accuracy)[-1], how)


def _started_where_it_pays(problem: Problem, samplers: Samplers, target: Target, how: How) -> Samplers:
    """The same without coarse levels whose differences cost more than they save, as where paths converge slowly.

    Beginning on level l costs (sqrt(F_l C_l) + sum over k > l of sqrt(V_k C_k))^2 for the same variance, F being the
    variance of f on that level's own grid. What was drawn of the levels that are given up must be less than is saved.
    """
    used = samplers.used
    found = [s.level() for s in used]
    ends = [math.sqrt(r.fine_variance * (s.n_steps + PER_PATH)) for s, r in zip(used, found, strict=True)]
    differences = [math.sqrt(r.variance * s.cost) for s, r in zip(used, found, strict=True)]
    costs = [(end + sum(differences[k + 1 :])) ** 2 for k, end in enumerate(ends)]
    best = int(np.argmin(np.nan_to_num(costs, nan=math.inf)))
    saved, lost = (
        2 * (costs[0] - costs[best]) / target.accuracy / target.accuracy,
        sum(s.n_paths * s.cost for s in used[: best + 1]),
    )
    if not (costs[best] < _WORTH_IT * costs[0] and saved > lost):
        return samplers
    first = Sampler(problem, used[best].number, True)
    first.draw(target.n_initial, how)
    return Samplers([first, *used[best + 1 :]], [*samplers.left, *used[1 if samplers.left else 0 : best + 1]])


def estimate_on_points(problem: Problem, target: Target, how: How, replicates: int) -> list[Level]:
    """The same on Sobol' points."""
    sampled: list[SobolLevel] = []

    def run(tile: Tile) -> Any:
        told = None if how.bar is None else lambda steps: how.bar.update(steps * sampled[-1].path_steps // tile.n_steps)
        return how.where.run(tile, told)

    def levels() -> list[Level]:
        return [_on_points(number, problem.steps(number), s) for number, s in enumerate(sampled)]

    def check(more: int) -> None:
        _refuse_nonfinite(levels())
        spent = more + sum(s.n_paths * s.path_steps for s in sampled)
        if spent > target.max_cost:
            raise ValueError(f"accuracy={target.accuracy:g} takes more than max_cost={target.max_cost:g} path-steps")

    m, weak_order = problem.coupled.refinement, problem.chain.scheme.weak_order
    while True:
        sampled.append(problem.sobol_level(len(sampled), replicates))
        sampled[-1].draw(FIRST_POINTS, run)
        if len(sampled) < FIRST_LEVELS:
            continue
        draw_enough(sampled, 0.5 * target.accuracy**2, run, check)
        done = levels()
        if estimated_bias(done, m, weak_order) <= target.accuracy / math.sqrt(2) or len(done) > target.max_level:
            return done


def _on_points(number: int, n_steps: int, s: SobolLevel) -> Level:
    """What is known of a level on points."""
    n = s.n_paths
    return Level(number, n_steps, n, s.mean, s.variance_of_mean * n, s.fine_variance, n * s.path_steps, s.n_nonfinite)


def _draw_enough(samplers: list[Sampler], m: int, target: Target, how: How) -> None:
    """Draw until every level has the paths that its variance, as known by then, asks for."""
    costs, more = [s.cost for s in samplers], True
    while more:
        levels = [s.level() for s in samplers]
        _refuse_nonfinite(levels)
        variances = expected_variances(levels, m)
        wanted = numbers_of_paths(variances, costs, target.accuracy)
        _refuse_too_costly(samplers, variances, wanted, target)
        more = False
        for sampler, n in zip(samplers, wanted, strict=True):
            if n > 1.01 * sampler.n_paths:
                sampler.draw(n - sampler.n_paths, how)
                more = True


def _refuse_nonfinite(levels: list[Level]) -> None:
    for r in levels:
        if r.n_nonfinite > r.n_paths - 2:
            raise ValueError(
                f"f is finite on {r.n_paths - r.n_nonfinite} of {r.n_paths} paths of level {r.level} (steps: "
                f"{r.n_steps}); if paths explode on so coarse a grid, use a larger n_steps"
            )


def _refuse_too_costly(samplers: list[Sampler], variances: list[float], wanted: list[float], target: Target) -> None:
    spent = [max(n, s.n_paths) * s.path_steps for s, n in zip(samplers, wanted, strict=True)]
    if not sum(spent) <= target.max_cost:  # also where variances are no longer finite
        worst = int(np.argmax(spent))
        raise ValueError(
            f"accuracy={target.accuracy:g} would take about {sum(spent):.2g} path-steps, more than max_cost="
            f"{target.max_cost:g}; most of them on level {worst} (steps: {samplers[worst].n_steps}), where the "
            f"variance is {variances[worst]:.2g}. Ask for less or, if paths explode on so coarse a grid, use a larger "
            "n_steps"
        )
