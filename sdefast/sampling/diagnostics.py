r"""Effective sample size and split R-hat without keeping draws: rows that chains carry, and what is made of them.

The draws that a chain keeps, after burn-in, are cut into B batches of b. With v the variance of all draws and v_b that
of the batches' means, the integrated autocorrelation time is about b v_b / v and the effective sample size the number
of draws divided by it (batch means, see Flegal and Jones, Annals of Statistics 38, 2010). It is biased: for an
autocorrelation a^k, :math:`b v_b / v = (1+a)/(1-a) - 2a(1-a^b) / (b(1-a)^2)`, so b should be 20 times the time or more.
Split R-hat compares the means of the chains' halves with the variance within them (Gelman et al., Bayesian Data
Analysis, third edition, section 11.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..run.records import register
from ..trace import Expr, as_expr, make, select, symbol

#: Rows that a component takes: the sum of a batch and of its squares, the sums of the batches' means, of their squares
#: and of the squares, and the sum of means at the half.
N_ROWS = 6


@register
@dataclass(frozen=True)
class Batches:
    """How a chain's draws are cut: ``number`` batches, which is even, of ``length``; draws left over do not count."""

    number: int
    length: int

    @property
    def n_draws(self) -> int:
        """Draws of a chain that count."""
        return self.number * self.length

    @property
    def parameters(self) -> dict[str, float]:
        """Symbols of the step, and what they stand for."""
        return {"batch_length": float(self.length), "counted": float(self.n_draws)}


class Flags(NamedTuple):
    """What holds for all chains of a step alike: whether its draw counts, ends a batch, ends the first half."""

    counts: Expr
    ends: Expr
    halves: Expr

    @classmethod
    def at(cls, draw: Expr) -> Flags:
        """Those of draw number ``draw`` = 1, 2, ... after burn-in."""
        length, counted = symbol("batch_length"), symbol("counted")
        inside = (draw >= 1) & (draw <= counted)
        ends = inside & (draw - length * make("floor", as_expr(draw / length)) == 0)
        return cls(inside, ends, inside & (2 * draw == counted))


def follow(rows: Sequence[Expr], x: Sequence[Expr], flags: Flags) -> list[Expr]:
    """The rows after a step to ``x``, which come component by component; ``center0``, ... are near the mean.

    Where a batch ends they are `ended` after that.
    """
    counts = as_expr(select(flags.counts, 1.0, 0.0))
    new: list[Expr] = []
    for i, xi in enumerate(x):
        batch, squares, *others = rows[N_ROWS * i : N_ROWS * (i + 1)]
        away = xi - symbol(f"center{i}")
        new += map(as_expr, (batch + counts * away, squares + counts * (away * away), *others))
    return new


def ended(rows: Sequence[Expr], flags: Flags) -> list[Expr]:
    """The rows after the end of a batch, whose sums move to the others."""
    share = 1 / symbol("batch_length")
    new: list[Expr] = []
    for i in range(0, len(rows), N_ROWS):
        batch, squares, means, mean_squares, all_squares, half = rows[i : i + N_ROWS]
        mean = share * batch
        after = means + mean
        new += map(
            as_expr,
            (0.0, 0.0, after, mean_squares + mean * mean, all_squares + squares, select(flags.halves, after, half)),
        )  # fmt: skip
    return new


class Summary(NamedTuple):
    """What the rows say of all draws of all chains, of shape (dim,) each."""

    mean: np.ndarray
    variance: np.ndarray
    autocorrelation_time: np.ndarray
    ess: np.ndarray
    rhat: np.ndarray


def summary(rows: np.ndarray, batches: Batches, center: np.ndarray) -> Summary:
    """From the rows at the end, (N_ROWS * dim, n_chains), over the chains that are finite."""
    finite = np.isfinite(rows).all(axis=0)
    rows = rows[:, finite].astype(float).reshape(-1, N_ROWS, int(finite.sum()))
    _, _, means, mean_squares, squares, half = rows.transpose(1, 0, 2)
    m, number, n = rows.shape[2], batches.number, batches.n_draws
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = means.mean(axis=1) / number
        variance = (squares.sum(axis=1) - m * n * mean**2) / (m * n - 1)
        between = (mean_squares.sum(axis=1) - m * number * mean**2) / (m * number - 1)
        time = batches.length * between / variance
        halves = np.concatenate([half, means - half], axis=1) / (number // 2)  # means of the chains' halves
        h = n // 2
        within = (squares - h * (halves[:, :m] ** 2 + halves[:, m:] ** 2)).mean(axis=1) / (2 * (h - 1))
        rhat = np.sqrt((h - 1) / h + halves.var(axis=1, ddof=1) / within)
        return Summary(mean + center, variance, time, m * n / time, rhat)
