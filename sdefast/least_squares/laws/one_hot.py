r"""Exact laws of SGD in shuffled epochs over rows with at most one entry that is not zero, however many there are.

Each such row moves one parameter, by :math:`u \leftarrow a_i u + b_i` with :math:`a_i = 1 - g x_i^2` and
:math:`b_i = g x_i \xi_i`, and the rows of other parameters leave it alone. So after k picks of n rows a parameter with
m rows of its own has seen q of these, in uniform order, with the hypergeometric probability of q among k. Unrolled,

.. math:: u_q = a_{i_1} \cdots a_{i_q} u_0 + \sum_j b_{i_j} a_{i_{j+1}} \cdots a_{i_q} ,

and the means of this and of its square are sums of means of products over ordered tuples of different rows. In the
square they are products of one b, p factors a between the two b, one a b, and q factors a^2 after it: symmetric
polynomials in the rows, each an average of those of one row less, in O(m^3) operations for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

#: Rows of one parameter at most, for two seconds of work.
MOST_ROWS = 512


def is_one_hot(X: np.ndarray) -> bool:
    """Whether every row has at most one entry that is not zero."""
    return bool((np.count_nonzero(X, axis=1) <= 1).all())


def steps_are_constant_in_epochs(steps: np.ndarray, n: int) -> bool:
    """Whether step sizes of shape (1 or n_steps, 1 or d) change only between epochs of n iterations."""
    return len(steps) == 1 or all((steps[k : k + n] == steps[k]).all() for k in range(0, len(steps), n))


@dataclass(frozen=True)
class OneHotEpochs:
    """Shuffled epochs in batches of one over the one-hot rows of ``X`` (n, d), with ``residuals`` (n,)."""

    X: np.ndarray
    residuals: np.ndarray
    _laws: dict[tuple[int, float], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def most_rows(self) -> int:
        """The largest number of rows of one parameter."""
        return int(np.count_nonzero(self.X, axis=0).max())

    def moments(self, delta0: np.ndarray, steps: np.ndarray, n_steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """E delta_k and E delta_k^2, both of shape (d,), for k = 0, ..., n_steps."""
        n, d = self.X.shape
        mean, square = delta0, delta0**2
        yield mean, square
        for first in range(0, n_steps, n):
            g = np.broadcast_to(steps[first % len(steps)], d)
            a, b, a2, ab, b2 = np.moveaxis(np.array([self._law(j, float(g[j])) for j in range(d)]), -1, 0)
            means = a.T * mean + b.T
            squares = a2.T * square + 2 * ab.T * mean + b2.T
            yield from zip(means[1 : n_steps - first + 1], squares[1 : n_steps - first + 1], strict=True)
            mean, square = means[-1], squares[-1]

    def means(self, delta0: np.ndarray, steps: np.ndarray, n_steps: int) -> Iterator[np.ndarray]:
        """E delta_k for k = 0, ..., n_steps."""
        return (mean for mean, _ in self.moments(delta0, steps, n_steps))

    def errors(self, delta0: np.ndarray, steps: np.ndarray, n_steps: int, weight: np.ndarray | None) -> np.ndarray:
        """E delta_k' W delta_k for k = 0, ..., n_steps; W is the identity, or the diagonal Hessian ``weight``."""
        w = np.ones(len(delta0)) if weight is None else np.diagonal(weight)
        result = np.array([w @ square for _, square in self.moments(delta0, steps, n_steps)])
        lost = ~np.isfinite(result)
        if lost.any():
            result[int(np.argmax(lost)) :] = np.inf
        return result

    def _law(self, j: int, g: float) -> np.ndarray:
        """Five numbers for each of k = 0, ..., n picks: u_k = A u_0 + B has E A, E B, E A^2, E A B and E B^2."""
        if (j, g) not in self._laws:
            own = self.X[:, j] != 0
            x, residual = self.X[own, j], self.residuals[own]
            self._laws[j, g] = _spread_out(_own_picks(1 - g * x**2, g * x * residual), len(self.X))
        return self._laws[j, g]


def _own_picks(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The five numbers of `OneHotEpochs._law` after q = 0, ..., m of a parameter's own m rows, of shape (m + 1, 5)."""
    m = len(a)
    # Rows of the products: before the first b nothing, between two b factors a, at the later one a b, after it a^2.
    mean = _tuple_means(repeated=[a, a**2], single=[b, a * b])
    same = _tuple_means(repeated=[a**2], single=[b**2])[1]
    before = np.arange(m + 1)
    law = np.zeros((m + 1, 5))
    law[:, 0], law[:, 2] = mean[0, 0, :, 0], mean[0, 0, 0]
    law[1:, 1] = np.cumsum(mean[1, 0, :m, 0])
    flipped = mean[:, :, :, ::-1]  # of p factors a and q factors a^2, all with p + q = k lie on a diagonal
    totals = np.array([[np.trace(flipped[i, 1], m - k) for i in (0, 1)] for k in before])
    law[1:, 3] = totals[:m, 0]
    law[1:, 4] = np.cumsum(same[:m])
    law[2:, 4] += 2 * np.cumsum(totals[: m - 1, 1])
    return law


def _tuple_means(repeated: list[np.ndarray], single: list[np.ndarray]) -> np.ndarray:
    """Means of products over ordered tuples of different rows, of shape (2, ..., m + 1, ...).

    Entry (s, ..., p, ...) has s = 0 or 1 factors of each of ``single`` and p factors of each of ``repeated``. Of N rows
    the last takes each place of a tuple of t rows with probability 1 / N, and none with probability 1 - t / N.
    """
    m, kinds = len(repeated[0]), [*single, *repeated]
    shape = (2,) * len(single) + (m + 1,) * len(repeated)
    means = np.zeros(shape)
    means[(0,) * len(shape)] = 1.0
    for row in range(m):
        # Tuples of the rows so far have at most row + 1 places.
        seen = means[tuple(slice(min(size, row + 2)) for size in shape)]
        places = np.indices(seen.shape, sparse=True)
        new = np.maximum(row + 1 - sum(places), 0) * seen
        for axis, values in enumerate(kinds):
            more, fewer = np.moveaxis(new, axis, 0)[1:], np.moveaxis(seen, axis, 0)[:-1]
            more += np.moveaxis(places[axis], axis, 0)[1:] * values[row] * fewer
        seen[...] = new / (row + 1)
    return means


def _spread_out(law: np.ndarray, n: int) -> np.ndarray:
    """The law after k = 0, ..., n picks of n rows, (n + 1, 5), from that after q picks of a parameter's own m rows.

    The next pick is one of the own rows with probability (m - q) / (n - k).
    """
    m = len(law) - 1
    own = np.arange(m + 1)
    probability = (own == 0).astype(float)
    result = np.empty((n + 1, law.shape[1]))
    result[0] = law[0]
    for k in range(n):
        hit = probability * ((m - own) / (n - k))
        probability = probability - hit
        probability[1:] += hit[:-1]
        result[k + 1] = probability @ law
    return result
