"""Antithetic pairs: a chain and, in further rows, its mirror image, which sees -z and 1 - u."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..jit.emit import Step
from ..trace import Expr, as_expr, substitute, symbol


def mirrored(step: Step) -> Step:
    """A step of two chains, of which the second one, in further rows, sees -z and 1 - u."""
    n = len(step.outputs)
    mirror = _further_rows(n)
    mirror |= {symbol(f"z{i}"): -symbol(f"z{i}") for i in range(step.n_draws)}
    mirror |= {symbol(f"{kind}{i}"): as_expr(1 - symbol(f"{kind}{i}")) for kind in "ub" for i in range(step.n_uniforms)}
    known: dict[Expr, Expr] = {}
    return replace(step, outputs=(*step.outputs, *(substitute(e, mirror, known) for e in step.outputs)))


def averaged(values: Sequence[Expr], n_rows: int) -> list[Expr]:
    """Functions of a chain's rows, averaged over it and its mirror image."""
    mirror, known = _further_rows(n_rows), dict[Expr, Expr]()
    return [as_expr(0.5 * (value + substitute(value, mirror, known))) for value in values]


def _further_rows(n: int) -> dict[Expr, Expr]:
    return {symbol(f"x{i}"): symbol(f"x{i + n}") for i in range(n)}
