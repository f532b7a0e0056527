r"""Where noise that is clipped at a root breaks a scheme that uses the noise's derivative.

Noise such as :math:`\sigma \sqrt{\max(x, 0)}` is cut off beyond x = 0. At the border, with g the inward component:

* The drift of the Stratonovich form is :math:`a - \tfrac12 b b'`, here :math:`a - \sigma^2 / 4`, inside and a beyond. A
  path comes to the border as often as a squared Bessel process of dimension :math:`\delta = 2 g / (b b')`
  (:math:`4 a / \sigma^2`), and spends there a share of time of the order :math:`h^{\delta/2}` in which every step is
  wrong by O(h): that is the error of expectations. For :math:`\delta < 1` the Stratonovich drift points outwards, paths
  stick, and the error does not become small at any step that can be computed. Ito schemes have the right mean in every
  step, on both sides.
* Where :math:`b b'` grows towards the border as :math:`x^q` with :math:`q \le -1/2` (:math:`b = x^\beta`,
  :math:`\beta \le 1/4`), a step of Milstein's has infinite variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...trace import Expr, all_parts, depends_on, derivative, evaluate
from .base import Scheme
from .equation import Equation, parameter_symbol

#: distances from a border at 0, and relative ones from another, at which coefficients are looked at
_NEAR, _NEARER, _NEAR_OTHER = 1e-90, 1e-100, 1e-12


class Flaw(NamedTuple):
    """What is wrong with a scheme for an equation, whether it can give no right answer, and from which step size on."""

    why: str
    is_fatal: bool = False
    from_step: float = 0.0


class _Border(NamedTuple):
    """Component ``i`` at ``value``, with the noise cut off on the side away from ``inward`` (1 or -1).

    ``floor`` is how far inside what is under the root has doubled, where something is left of it at the border.
    """

    i: int
    value: float
    inward: int
    floor: float

    def inside(self, distance: float) -> float:
        """The component's value near the border."""
        if self.value != 0 and distance > 0:
            distance = _NEAR_OTHER * abs(self.value)
        return self.value + self.inward * distance


def flaw(sde: Any, scheme: Scheme) -> Flaw | None:
    """What is wrong with a scheme for an equation with clipped noise, if anything."""
    converts = sde.calculus == "ito" and scheme.calculus == "stratonovich"
    if not converts and scheme.name != "milstein":
        return None
    equation: Equation = sde.equation
    parameters = {parameter_symbol(name): value for name, value in sde.numbers().items()}
    look = _of_conversion if converts else _of_milstein
    found = [look(equation, border, parameters) for border in dict.fromkeys(_borders(equation, parameters))]
    flaws = sorted((f for f in found if f is not None), key=lambda f: not f.is_fatal)
    return flaws[0] if flaws else None


def _of_conversion(equation: Equation, border: _Border | None, parameters: dict[Expr, float]) -> Flaw | None:
    rule = "the Stratonovich form, which this method runs, takes half of b b' off the drift where there is noise"
    unknown = f"{rule}, and nothing where a root is clipped: if paths get there, its results may not converge"
    if border is None:
        return Flaw(unknown)
    converted = equation.read_as("stratonovich")
    here = equation.t, equation.x
    drifts = ((equation, 0.0), (converted, _NEARER))
    values = [_at(border, e.drift(*here)[border.i], equation, parameters, distance) for e, distance in drifts]
    if any(value is None for value in values):
        return Flaw(unknown)
    ito, stratonovich = (border.inward * value for value in values if value is not None)
    taken_off = ito - stratonovich
    if ito <= 1e-12 * taken_off or stratonovich >= taken_off * (1 - 1e-12):
        return None  # paths end at the border or cross it for good, or do not reach it
    where = f"x[{border.i}] = {border.value:g}"
    numbers = f"{ito:.3g} in the Ito form and {stratonovich:.3g} in the Stratonovich form, which this method runs"
    if stratonovich < -1e-12 * ito:
        then, is_fatal = "paths stick there, and results do not converge", border.floor == 0
    else:
        then, is_fatal = f"expectations converge with order {0.5 * ito / taken_off:.2g} only", False
    why = f"at {where}, where the noise ends, the drift inwards is {numbers}: {then}"
    return Flaw(why, is_fatal, border.floor / taken_off)


def _of_milstein(equation: Equation, border: _Border | None, parameters: dict[Expr, float]) -> Flaw | None:
    if border is None or border.floor > 0 or border.value != 0:
        return None
    for j in range(equation.noise_dim):
        change = equation.along(j, j, equation.t, equation.x)[border.i]
        near, nearer = (_at(border, change, equation, parameters, d) for d in (_NEAR, _NEARER))
        if near and nearer and math.log(nearer / near) / math.log(_NEARER / _NEAR) < -0.5 + 1e-9:
            why = f"towards x[{border.i}] = 0 the noise's derivative grows so fast that a step has infinite variance"
            return Flaw(why, is_fatal=True)
    return None


def _at(border: _Border, e: Expr, equation: Equation, parameters: dict[Expr, float], distance: float) -> float | None:
    """An expression just inside a border, if it depends on nothing else."""
    others = [x for i, x in enumerate(equation.x) if i != border.i]
    if depends_on(e, [equation.t, *others]):
        return None
    value = float(evaluate(e, {equation.x[border.i]: border.inside(distance), **parameters}))
    return value if math.isfinite(value) else None


# Finding where noise is clipped --------------------------------------------------------------------------------------


def _borders(equation: Equation, parameters: dict[Expr, float]) -> Iterator[_Border | None]:
    """Where a root in the noise is clipped; None for every one of which it cannot be told where that is."""
    entries = [entry for row in equation.diffusion(equation.t, equation.x) for entry in row]
    for part in all_parts(entries):
        if _is_root(part, equation, parameters):
            for clip in all_parts([part.args[0]]):
                for inside in _clipped_at(clip, equation):
                    yield from _border(inside, part.args[0], equation, parameters)
        elif part.op == "select" and any(_is_root(p, equation, parameters) for p in all_parts(part.args[1:])):
            roots = [p.args[0] for p in all_parts(part.args[1:]) if _is_root(p, equation, parameters)]
            for inside in _clipped_at(part, equation):
                yield from _border(inside, roots[0], equation, parameters)


def _is_root(e: Expr, equation: Equation, parameters: dict[Expr, float]) -> bool:
    """A square root, or a power below 1, of something that depends on the state."""
    if e.op not in ("sqrt", "pow") or not depends_on(e.args[0], equation.x):
        return False
    if e.op == "sqrt":
        return True
    exponent = e.args[1]
    return not depends_on(exponent, [equation.t, *equation.x]) and float(evaluate(exponent, parameters)) < 1


def _clipped_at(e: Expr, equation: Equation) -> Iterator[Expr | None]:
    """What is positive where an expression is not cut off, if it is one that cuts off; None if that cannot be told."""
    if e.op in ("max", "min"):
        moving = [a for a in e.args if depends_on(a, equation.x)]
        if len(moving) == 1:
            fixed = e.args[0] if e.args[1] is moving[0] else e.args[1]
            yield moving[0] - fixed if e.op == "max" else fixed - moving[0]
    elif e.op == "select":
        condition, yes, no = e.args
        moves = depends_on(yes, equation.x), depends_on(no, equation.x)
        if depends_on(condition, equation.x) and moves.count(True) == 1:
            holds = moves[0]
            while condition.op == "not":
                condition, holds = condition.args[0], not holds
            if condition.op not in ("lt", "le"):
                yield None
            else:
                low, high = condition.args
                yield high - low if holds else low - high


def _border(
    inside: Expr | None, under_root: Expr, equation: Equation, parameters: dict[Expr, float]
) -> Iterator[_Border | None]:
    """The border of where ``inside`` is positive, for one that is linear in one component."""
    if inside is None:
        yield None
        return
    slopes = [derivative(inside, x) for x in equation.x]
    moving = [i for i, slope in enumerate(slopes) if not slope.is_constant(0)]
    if len(moving) != 1 or depends_on(slopes[moving[0]], equation.x) or depends_on(inside, [equation.t]):
        yield None
        return
    i, x = moving[0], equation.x[moving[0]]
    slope, offset = (float(evaluate(e, {**parameters, x: 0.0})) for e in (slopes[i], inside))
    if slope == 0:
        return
    value = -offset / slope + 0.0
    if any(depends_on(under_root, [other]) for other in (equation.t, *equation.x) if other is not x):
        yield None
        return
    border = _Border(i, value, 1 if slope > 0 else -1, 0.0)
    left = float(evaluate(under_root, {**parameters, x: value}))
    growth = border.inward * (_at(border, derivative(under_root, x), equation, parameters, _NEARER) or 0.0)
    if left >= 0 and growth > 0:
        floor = left / growth
        yield border._replace(floor=0.0 if floor <= 1e-12 * abs(value) else floor)
