r"""How iterations pick rows of data; exact laws of shuffled epochs, by a recursion over the sets of rows used.

Every epoch goes through a fresh uniform permutation of the n rows in batches of B, and skips the n mod B rows that are
left over. Whatever set U of k B rows the first k iterations used, every order of them is as likely, so that their last
batch is a uniform choice of B rows of U. With :math:`T_S = I - G_k X_S'X_S / B` and :math:`c_S = G_k X_S'\xi_S / B` for
a batch S,

.. math::

    E[\delta_k \mid U] = \operatorname*{mean}_{S \subset U}\, E_S, \qquad
    E_S = T_S\, E[\delta_{k-1} \mid U \setminus S] + c_S,

    \operatorname{Cov}[\delta_k \mid U] = \operatorname*{mean}_{S \subset U}\,
    T_S \operatorname{Cov}[\delta_{k-1} \mid U \setminus S]\, T_S' + (E_S - E[\delta_k \mid U])(\dots)',

and the law of an iteration is the mixture over the sets of k B rows. An epoch has 2^n sets; rows that occur several
times are interchangeable, so that sets are numbers of copies and there are fewer. Nothing is approximated, and nothing
cancels: covariances are never differences.

An epoch of a single iteration needs no sets, see `independent_samples`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ... import checks, resources
from ...lazy import cached_property
from .expectations import Independent, infinite_from_overflow
from .moments import EmpiricalMoments, Moments, PenalisedMoments
from .momentum import HeavyBall

SAMPLINGS = ("replacement", "shuffle")

#: Sets of rows at most: 14 different rows have so many.
MOST_SETS = 2**14


def recursion(
    moments: Moments, batch_size: Any, sampling: Any, momentum: float = 0.0
) -> Independent | Epochs | HeavyBall:
    """The recursion that has the exact law of batches that are picked so.

    Raises
    ------
    ValueError
        If ``sampling`` is unknown, or "shuffle" for a stream, for batches larger than the data, or with momentum, ridge
        or label noise.
    """
    batch = checks.count("batch_size", batch_size)
    part = checks.momentum(momentum)
    if checks.choice("sampling", sampling, SAMPLINGS) == "replacement":
        return HeavyBall(moments, batch, part) if part else Independent(moments, batch)
    if part or isinstance(moments, PenalisedMoments):
        raise ValueError(
            "sampling='shuffle' has no exact law with momentum, ridge or label noise: simulate it with sgd"
        )
    if not isinstance(moments, EmpiricalMoments):
        raise ValueError("sampling='shuffle' needs LeastSquares(data=(X, y)): a stream has no epochs")
    n = len(moments.X)
    if batch > n:
        raise ValueError(f"batch_size must be at most the {n} rows of data with sampling='shuffle', got {batch}")
    return Independent(moments, independent_samples(n, batch)) if n // batch == 1 else Epochs(moments, batch)


def independent_samples(n: int, batch_size: int) -> float:
    """The number of samples with replacement whose mean has the covariance of a mean of ``batch_size`` rows without.

    Epochs of one iteration are independent batches without replacement, whose covariance is (n - B) / (n - 1) times
    that with replacement (Cochran, Sampling Techniques, 1977, theorem 2.2); it is zero for the full gradient.
    """
    return math.inf if n == batch_size else batch_size * (n - 1) / (n - batch_size)


@dataclass(frozen=True)
class Epochs:
    """Shuffled epochs in batches of ``batch_size`` over the rows of data that ``moments`` has.

    There are laws if an epoch has up to `MOST_SETS` sets of rows; ValueError if it has more.
    """

    moments: EmpiricalMoments
    batch_size: int

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Different rows (x, residual), of shape (n_different, d + 1), and how often they occur."""
        X = self.moments.X
        rows = np.column_stack([X, self.moments.residuals])
        rows[~X.any(axis=1)] = 0  # no gradient, whatever the residual
        first = rows[np.arange(len(rows)), (rows != 0).argmax(axis=1)]
        rows[first < 0] *= -1  # (x, y) and (-x, -y) have the same gradient
        different, copies = np.unique(rows + 0.0, axis=0, return_counts=True)
        return different, copies

    @property
    def n_different(self) -> int:
        """Number of different rows."""
        return len(self._rows[1])

    @property
    def n_sets(self) -> int:
        """Number of sets of rows that an epoch may have used."""
        return math.prod(int(copies) + 1 for copies in self._rows[1])

    def means(self, delta0: np.ndarray, steps: np.ndarray, n_steps: int) -> Iterator[np.ndarray]:
        """E delta_k for k = 0, ..., n_steps."""
        return (mean for mean, _ in self.mean_and_covariance(delta0, steps, n_steps))

    def mean_and_covariance(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int, summed: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """E and Cov of delta_k, or of delta_0 + ... + delta_k, of shapes (d,) and (d, d), for k = 0, ..., n_steps.

        An epoch costs O(d^3) for each set and each batch in it.
        """
        self._refuse_many_sets()
        d, (rows, copies) = len(delta0), self._rows
        sets = _sets(tuple(copies.tolist()), self.batch_size)
        size = 2 * d if summed else d
        most = max(len(level.probability) for level in sets.levels)
        resources.refuse_too_large(5 * 8 * most * size**2, f"{most} sets of rows", ["data= fewer rows or columns"])
        slopes, offsets = _mean_gradients(rows, sets.batches / self.batch_size)
        mean, covariance = np.concatenate([delta0] * (size // d)), np.zeros((size, size))
        yield mean[-d:], covariance[-d:, -d:]
        for k in range(n_steps):
            level = sets.levels[k % len(sets.levels)]
            if level is sets.levels[0]:  # a fresh permutation: no row is used
                means, covariances = mean[None], covariance[None]
            g = steps[k % len(steps)]
            T, c = np.eye(d) - g[:, None] * slopes, g * offsets
            if summed:  # (delta, sum) -> (T delta + c, sum + T delta + c)
                zero, one = np.zeros_like(T), np.broadcast_to(np.eye(d), T.shape)
                T, c = np.block([[T, zero], [T, one]]), np.hstack([c, c])
            means, covariances = _advance(level, T, c, means, covariances)
            mean, covariance = level.mixture(means, covariances)
            yield mean[-d:], covariance[-d:, -d:]

    def errors(
        self, delta0: np.ndarray, steps: np.ndarray, n_steps: int, loss: bool = False, averaged: bool = False,
        first: int = 0,
    ) -> np.ndarray:  # fmt: skip
        """E delta_k' W delta_k for k = 0, ..., n_steps, as `Independent.errors`."""
        if first:
            raise ValueError("average_from has no exact law for shuffled epochs of several iterations")
        W = self.moments.hessian if loss else np.eye(len(delta0))
        laws = self.mean_and_covariance(delta0, steps, n_steps, averaged)
        squares = (float(np.vdot(W, C) + m @ W @ m) for m, C in laws)
        values = (square / (k + 1) ** 2 for k, square in enumerate(squares)) if averaged else squares
        return infinite_from_overflow(values, n_steps + 1)

    def _refuse_many_sets(self) -> None:
        if self.n_sets > MOST_SETS:
            raise ValueError(
                "sampling='shuffle' has an exact law for data of up to 14 different rows (of more if several occur "
                f"more than once: up to {MOST_SETS} sets of rows) and for batches of more than half the data; here "
                f"{self.n_different} of {len(self.moments.X)} rows are different and batch_size={self.batch_size}: "
                "simulate it with sgd"
            )


class _Move(NamedTuple):
    """Sets ``after`` a batch from those before it; ``weight`` is the probability of the batch given the set after."""

    batch: int
    before: np.ndarray
    after: np.ndarray
    weight: np.ndarray


class _Level(NamedTuple):
    """An iteration of an epoch: its sets' probabilities, and how they are reached."""

    probability: np.ndarray
    moves: list[_Move]

    def mixture(self, means: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the mixture over the sets."""
        mean = self.probability @ means
        far = means - mean
        return mean, np.tensordot(self.probability, covariances, 1) + (far.T * self.probability) @ far


class _Sets(NamedTuple):
    """Batches as numbers of copies, of shape (n_batches, n_different), and the iterations of an epoch."""

    batches: np.ndarray
    levels: list[_Level]


@lru_cache(maxsize=2)
def _sets(copies: tuple[int, ...], batch_size: int) -> _Sets:
    """The sets of rows that epochs go through, for so many copies of each different row."""
    n, limits = sum(copies), np.array(copies)
    sets = np.array(list(itertools.product(*(range(m + 1) for m in copies))))
    codes = np.arange(len(sets)).reshape(limits + 1)  # a set's place in the list
    chosen = _choices(limits, sets, n)
    of_size = [np.flatnonzero(sets.sum(axis=1) == k * batch_size) for k in range(n // batch_size + 1)]
    place = np.empty(len(sets), dtype=np.int64)  # a set's place among those of its size
    for codes_of_size in of_size:
        place[codes_of_size] = np.arange(len(codes_of_size))
    levels = []
    for k, now in enumerate(of_size[1:], start=1):
        used, moves = sets[now], []
        for b, batch in enumerate(sets[of_size[1]]):
            after = np.flatnonzero((used >= batch).all(axis=1))
            before = place[codes[tuple((used[after] - batch).T)]]
            weight = _choices(used[after], batch, k * batch_size) if len(after) else np.empty(0)
            moves.append(_Move(b, before, after, weight))
        levels.append(_Level(chosen[now], [move for move in moves if len(move.after)]))
    return _Sets(sets[of_size[1]], levels)


def _choices(available: np.ndarray, taken: np.ndarray, n: int) -> np.ndarray:
    """The probability that a uniform choice among ``n`` things, of kinds ``available``, takes so many of each kind.

    In integers where they are beyond the whole numbers that float64 holds.
    """
    available, taken = np.broadcast_arrays(available, taken)
    exact: type = float if math.comb(n, n // 2) < 2**53 else object
    table: np.ndarray = np.array(
        [[math.comb(m, k) for k in range(taken.max() + 1)] for m in range(available.max() + 1)], exact
    )
    total = np.array([math.comb(n, k) for k in range(n + 1)], exact)[taken.sum(axis=-1)]
    return np.asarray(table[available, taken].prod(axis=-1) / total, dtype=float)


def _mean_gradients(rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A (n_batches, d, d) and b (n_batches, d): the gradient of a batch is A delta - b."""
    x, residual = rows[:, :-1], rows[:, -1]
    d = x.shape[1]
    return (weights @ (x[:, :, None] * x[:, None, :]).reshape(-1, d * d)).reshape(-1, d, d), weights @ (
        x * residual[:, None]
    )


def _advance(
    level: _Level, T: np.ndarray, c: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means (n_sets, d) and covariances (n_sets, d, d) given the sets after an iteration, from those before it."""
    n, d = len(level.probability), means.shape[1]
    new_means, new_covariances = np.zeros((n, d)), np.zeros((n, d, d))
    for b, before, after, weight in level.moves:
        new_means[after] += weight[:, None] * (means[before] @ T[b].T + c[b])
    for b, before, after, weight in level.moves:
        far = means[before] @ T[b].T + c[b] - new_means[after]
        spread = _congruence(T[b], covariances[before]) + far[:, :, None] * far[:, None, :]
        new_covariances[after] += weight[:, None, None] * spread
    return new_means, new_covariances


def _congruence(T: np.ndarray, C: np.ndarray) -> np.ndarray:
    """T C T' for symmetric C of shape (n, d, d), in two products of large matrices."""
    d = len(T)
    half = (C.reshape(-1, d) @ T.T).reshape(C.shape)
    return np.asarray((half.swapaxes(1, 2).reshape(-1, d) @ T.T).reshape(C.shape))
