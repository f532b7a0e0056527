"""Two paths in one chain: a fine and a coarse one under the same Brownian motion, for multilevel Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..jit.emit import Step
from ..lazy import cached_property
from ..run.step import Settings
from ..trace import Expr, as_expr, make, substitute, symbol
from .antithetic import averaged, mirrored
from .chain import NO_VALUES, Chain
from .extras import Extras
from .functionals import Functional, Move, RunningMax
from .schemes.equation import Equation, Vector


@dataclass(frozen=True)
class Coupled(Chain):
    """A fine and a coarse path under the same Brownian motion: the fine one's rows come first.

    A step is the coarse path's; the constants of the fine steps follow its own.
    """

    refinement: int

    @property
    def n_rows(self) -> int:
        return 2 * self.n_single * (1 + self.extras.antithetic)

    @cached_property
    def step(self) -> Step:
        single, m = self._single_step, self.refinement
        constants = ("fine_h", "fine_root", *(f"fine_{name}" for name in single.constants))
        both = replace(
            single, outputs=(*self._fine_steps(), *self._coarse_step()), constants=(*single.constants, *constants),
            n_draws=m * single.n_draws, n_uniforms=m * single.n_uniforms,
        )  # fmt: skip
        return mirrored(both) if self.extras.antithetic else both

    def constants(self, run: Settings) -> np.ndarray:
        """The scheme's constants for the coarse steps, then step sizes and constants for the fine ones."""
        fine = run.grid.step_sizes() / self.refinement
        return np.hstack([super().constants(run), np.column_stack([fine, np.sqrt(fine)]), self._constants(fine)])

    def start_rows(self, start: np.ndarray, t0: float, own: np.ndarray = NO_VALUES) -> np.ndarray:
        return np.concatenate(2 * (1 + self.extras.antithetic) * [self._single_rows(start, t0)])

    @cached_property
    def observed(self) -> list[Expr]:
        """How far f is from the coarse path's, and f; of antithetic pairs their averages."""
        (f,) = Chain(self.sde, self.scheme, replace(self.extras, antithetic=False)).observed
        values = [as_expr(f - substitute(f, self._coarse_rows)), f]
        return averaged(values, 2 * self.n_single) if self.extras.antithetic else values

    def _fine_steps(self) -> Vector:
        single = self._single_step
        rows = _symbols("x", self.n_single)
        at = {symbol("h"): symbol("fine_h"), symbol("root"): symbol("fine_root")}
        at |= {symbol(name): symbol(f"fine_{name}") for name in single.constants}
        for j in range(self.refinement):
            now = {symbol(clock): self._fine_time(j, clock) for clock in ("t", "elapsed")}
            now[symbol("step")] = as_expr(self.refinement * symbol("step") + j)
            now |= dict(zip(_symbols("x", self.n_single), rows, strict=True))
            now |= dict(zip(_symbols("z", single.n_draws), self._draws(j), strict=True))
            now |= dict(zip(_symbols("u", single.n_uniforms), self._uniforms(j), strict=True))
            known: dict[Expr, Expr] = {}
            rows = tuple(substitute(e, {**at, **now}, known) for e in single.outputs)
        return rows

    def _coarse_step(self) -> Vector:
        single, known = self._single_step, dict[Expr, Expr]()
        at = {**self._coarse_rows, **dict(zip(_symbols("z", single.n_draws), self._coarse_draws(), strict=True))}
        rows = [substitute(e, at, known) for e in single.outputs]
        without_borders = Chain(self.sde, self.scheme, Extras()).step.outputs
        free = tuple(substitute(e, at, known) for e in without_borders)
        for i, functional in enumerate(self.functionals, start=self.sde.dim):
            if functional.n_uniforms:
                value = self._coarse_rows[symbol(f"x{i}")]
                rows[i] = self._extreme(functional, value, free, tuple(rows[: self.sde.dim]))
        return tuple(rows)

    # What belongs to fine step j, and what the coarse step makes of it --------------------------------------------

    def _fine_time(self, j: int, clock: str = "t") -> Expr:
        return as_expr(symbol(clock) + j * symbol("fine_h"))

    def _draws(self, j: int) -> Vector:
        n = self._single_step.n_draws
        return _symbols("z", n, first=j * n)

    def _uniforms(self, j: int) -> Vector:
        n = self._single_step.n_uniforms
        return _symbols("u", n, first=j * n)

    @cached_property
    def _coarse_rows(self) -> dict[Expr, Expr]:
        n = self.n_single
        return dict(zip(_symbols("x", n), _symbols("x", n, first=n), strict=True))

    def _walk(self, k: int) -> list[Expr]:
        """Brownian motion k at the fine times, in units of the fine increments."""
        path = [as_expr(0.0)]
        for j in range(self.refinement):
            path.append(path[-1] + self._draws(j)[k])
        return path

    def _coarse_draws(self) -> Vector:
        """Standard normals of the coarse step: increments, then, of schemes with two draws, those of the integrals.

        A step's integral is that of the fine steps, I_(1,0) / h the mean over the step of what the motion has moved;
        such schemes make it sqrt(h) (U + V / sqrt 3) / 2 of their draws U and V.
        """
        m, n = self.refinement, self.equation.noise_dim
        walks = [self._walk(k) for k in range(n)]
        u = tuple(as_expr((1 / math.sqrt(m)) * walk[m]) for walk in walks)
        if self._single_step.n_draws == n:
            return u
        v = []
        for k, walk in enumerate(walks):
            moved = as_expr(0.0)
            for j in range(m):
                z = self._draws(j)
                moved = moved + (walk[j] + (0.5 * z[k] + (0.5 / math.sqrt(3)) * z[n + k]))
            v.append(as_expr((2 * math.sqrt(3) * m**-1.5) * moved - math.sqrt(3) * u[k]))
        return (*u, *v)

    def _extreme(self, functional: Functional, value: Expr, free: Vector, new: Vector) -> Expr:
        """The coarse path's extreme: of the bridges between its points at the fine times, with the fine uniforms."""
        t, old = symbol("t"), tuple(self._coarse_rows[x] for x in _symbols("x", self.sde.dim))
        equation, begin = _Frozen(self.equation, t, old), symbol("elapsed")
        points, reached = self._interpolated(equation, old, free), value
        for j in range(self.refinement):
            at = (self._fine_time(j), symbol("fine_h"), points[j], points[j + 1], points[j + 1])
            u = tuple(self._uniforms(j)[self.uniform_slots[key]] for key in functional.uniforms)
            reached = functional.follow(reached, Move(equation, self._parameters, begin, *at, ()), u)
        # Boundaries act on the coarse step as a whole, as they did when this grid was the fine one.
        whole = Move(equation, self._parameters, begin, t, symbol("h"), old, free, new, self.extras.boundaries)
        component, name = functional.of, "max" if isinstance(functional, RunningMax) else "min"  # type: ignore[attr-defined]
        reached = whole.confined(component, reached)
        if free[component] is not new[component]:
            reached = make(name, reached, new[component])
        return whole.unless_absorbed(reached, value)

    def _interpolated(self, equation: Equation, old: Vector, new: Vector) -> list[Vector]:
        """The Brownian bridge from ``old`` to ``new`` at the fine times, moved by the fine path's noise."""
        m, walks = self.refinement, [self._walk(k) for k in range(equation.noise_dim)]
        b, points = equation.diffusion(symbol("t"), old), [old]
        for j in range(1, m):
            bends = [symbol("fine_root") * (walk[j] - (j / m) * walk[m]) for walk in walks]
            point = [x + (j / m) * (y - x) for x, y in zip(old, new, strict=True)]
            for entry, bend in ((k, bend) for k, bend in enumerate(bends)):
                point = [x + row[entry] * bend for x, row in zip(point, b, strict=True)]
            points.append(tuple(map(as_expr, point)))
        return [*points, new]


class _Frozen(Equation):
    """An equation with the coefficients of one point everywhere, as a step sees it that begins there."""

    def __init__(self, e: Equation, t: Expr, x: Vector) -> None:
        super().__init__(e.t, e.x, e.drift(t, x), e.diffusion(t, x), e.noise, e.calculus)

    def diffusion(self, t: Expr, x: Sequence[Expr]) -> tuple[Vector, ...]:
        return self._b


def _symbols(kind: str, n: int, first: int = 0) -> Vector:
    return tuple(symbol(f"{kind}{i}") for i in range(first, first + n))
