r"""Stochastic gradient Langevin dynamics: the score from a few rows of data, drawn anew with replacement every step.

.. math::
    x' = x + h\, \hat s(x) + \sqrt{2 T h}\; z, \qquad
    \hat s(x) = s_0(x) + \frac NB \sum_{b=1}^B s_{i_b}(x)

for a log density that is a sum over N rows, :math:`s = s_0 + \sum_i s_i`, with B = ``batch_size``. ``sgld-cv`` takes
the differences from the mode :math:`\hat x` instead, control variates:

.. math::
    \hat s(x) = s(\hat x) + s_0(x) - s_0(\hat x) + \frac NB \sum_{b=1}^B \big(s_{i_b}(x) - s_{i_b}(\hat x)\big) .

A minibatch is no constant noise. On quadratic terms of curvatures :math:`p_i` with :math:`P = \sum p_i + p_0`,
gradients :math:`g_i` at the mode, :math:`V_P = N^2 \mathrm{Var}(p_i) / B` and
:math:`V_0 = N^2 \mathrm{Var}(g_i) / B`, variances are :math:`(1 + h V_0 / 2) / (P - \tfrac h2 (P^2 + V_P))` and, with
control variates, :math:`1 / (P - \tfrac h2 (P^2 + V_P))`; both are stable for :math:`h < 2 P / (P^2 + V_P)`.
"""

from collections.abc import Sequence

from ...trace import Expr, as_expr, symbol
from ...trace.vectors import symbols, total
from ..targets.density import Vector
from .base import Method, Move, Point
from .ula import stable_step


def step(at: Point) -> Move:
    return _move(at, _sum(at, at.x), at.density.rest_score(at.x))


def step_with_control_variates(at: Point) -> Move:
    mode, whole = tuple(symbols("mode", at.dim)), symbols("mode_score", at.dim)
    known = at.density.rest_score(mode)
    terms = [a - b for a, b in zip(_sum(at, at.x), _sum(at, mode), strict=True)]
    rest = [w + a - b for w, a, b in zip(whole, at.density.rest_score(at.x), known, strict=True)]
    return _move(at, terms, rest)


def _sum(at: Point, x: Vector) -> list[Expr]:
    """The gradients of the picked rows' terms, added up."""
    return [total(entries) for entries in zip(*(at.density.term_score(x, row) for row in at.rows), strict=True)]


def _move(at: Point, terms: Sequence[Expr], rest: Sequence[Expr]) -> Move:
    weight = symbol("n_data") / len(at.rows)
    return Move(
        tuple(
            as_expr(x + at.h * (r + weight * t) + at.noise * z)
            for x, r, t, z in zip(at.x, rest, terms, at.z, strict=True)
        )
    )


_REFERENCE = "Welling and Teh, ICML 2011"

SGLD = Method(
    name="sgld",
    step=step,
    needs=("data",),
    bias_order=1.0,
    options={"batch_size": None},
    structural=("batch_size",),
    draws_rows=True,
    stable_step=stable_step,  # (a minibatch lowers it)
    reference=_REFERENCE,
)

SGLD_CV = Method(
    name="sgld-cv",
    step=step_with_control_variates,
    needs=("data",),
    bias_order=1.0,
    options={"batch_size": None},
    structural=("batch_size",),
    draws_rows=True,
    uses_mode=True,
    stable_step=stable_step,
    reference=_REFERENCE + "; Baker, Fearnhead, Fox and Nemeth, Statistics and Computing 29, 2019",
)
