r"""Primal-dual Langevin for :math:`p \propto e^{-f(x) - g(Dx)}`, by proximal maps of f and of the conjugate of g.

.. math::
    x' &= \operatorname{prox}_{h f}\big(x - h D^T \tilde u + \sqrt{2 T h}\; z\big) \\
    u' &= \operatorname{prox}_{\lambda g^*}\big(u + \lambda D (2 x' - x)\big), \qquad
    \tilde u' = u + \tau (u' - u)

with :math:`\lambda = R h`, R = ``ratio`` and :math:`\tau` = ``relaxation``; ``primal-dual-gradient`` takes a gradient
step :math:`x + h\, s_f(x) - h D^T \tilde u + \sqrt{2 T h}\, z` instead of the proximal map of f. It is stable for
:math:`R h^2 |D|^2 \le 1`, with the gradient step, of an f that is curved by L at most, for
:math:`R h^2 |D|^2 + L h / 2 \le 1`.

It is biased even as h goes to 0, unless R is large: for quadratics a x^2 / 2 and k u^2 / 2 and D = 1 the variance goes
to :math:`(R/k + a + k) / (a (R/k + a + k) + R)`, with a = 1, k = 4 to .840, .4286, .2308, .2032 for R = 1, 10, 100,
1000, where the target's is .2. The bias in h has the opposite sign.
"""

import math
from collections.abc import Mapping, Sequence

from ...trace import Expr, as_expr, constant
from ..targets.density import Parts, Vector
from .base import Method, Move, Point


def begin(at: Point) -> Vector:
    return (constant(0.0),) * (2 * at.density.dual_dim)


def step(at: Point) -> Move:
    inside = [x - at.h * p + at.noise * z for x, p, z in zip(at.x, _pull(at), at.z, strict=True)]
    return _move(at, at.density.smooth_prox(tuple(map(as_expr, inside)), at.h))


def step_by_gradient(at: Point) -> Move:
    s = at.density.smooth_score(at.x)
    new = [x + at.h * (si - p) + at.noise * z for x, si, p, z in zip(at.x, s, _pull(at), at.z, strict=True)]
    return _move(at, new)


def _pull(at: Point) -> Vector:
    """D' u~."""
    return at.density.adjoint(at.carried[at.density.dual_dim :])


def _move(at: Point, new: Sequence[Expr]) -> Move:
    x, u = tuple(map(as_expr, new)), at.carried[: at.density.dual_dim]
    scale, relaxation = as_expr(at.options["ratio"] * at.h), at.options["relaxation"]
    ahead = at.density.forward(tuple(as_expr(2 * a - b) for a, b in zip(x, at.x, strict=True)))
    dual = at.density.dual_prox(tuple(as_expr(ui + scale * d) for ui, d in zip(u, ahead, strict=True)), scale)
    relaxed = [as_expr(old + relaxation * (now - old)) for old, now in zip(u, dual, strict=True)]
    return Move(x, (*dual, *relaxed))


#: The bounds belong to what is stable.
_AND_ITSELF = 1 + 1e-9


def stable_parts(parts: Parts, options: Mapping[str, float]) -> float | None:
    return _AND_ITSELF / math.sqrt(options["ratio"] * parts.norm_squared)


def stable_by_gradient(parts: Parts, options: Mapping[str, float]) -> float | None:
    quarter = (parts.smooth or 0.0) / 4
    return _AND_ITSELF / (quarter + math.sqrt(quarter**2 + options["ratio"] * parts.norm_squared))


_OPTIONS = {"ratio": 100.0, "relaxation": 1.0}
_REFERENCE = "Narnhofer, Habring, Holler and Pock, SIAM Journal on Imaging Sciences 17, 2024; Chambolle and Pock, 2011"

PRIMAL_DUAL = Method(
    name="primal-dual",
    step=step,
    needs=("smooth_prox", "dual_prox"),
    bias_order=0.0,
    begin=begin,
    options=_OPTIONS,
    stable_parts=stable_parts,
    reference=_REFERENCE,
)

PRIMAL_DUAL_GRADIENT = Method(
    name="primal-dual-gradient",
    step=step_by_gradient,
    needs=("smooth_score", "dual_prox"),
    bias_order=0.0,
    begin=begin,
    options=_OPTIONS,
    stable_parts=stable_by_gradient,
    reference=_REFERENCE + "; Condat, 2013; Vu, 2013",
)
