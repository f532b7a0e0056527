"""Merging the blocks' statistics: the same bits whatever ran them, in whatever order.

The kernels leave, per block of chains and saved time, a count, means, sums of central powers, extremes and sums of
products. Two neighbours merge by the formulas of Chan, Golub and LeVeque (1983) and Pebay (Sandia report 2008-6212).
Which neighbours merge is fixed by the binary tree over absolute block numbers: node (level, i) covers the blocks
i 2^level to (i + 1) 2^level - 1. A range of blocks always ends as the same set of largest nodes inside it, however it
was cut into tiles, so shards of whole blocks merge to the bits of one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..lazy import cached_property

Nodes = dict[tuple[int, int], np.ndarray]


@dataclass(frozen=True)
class Histogram:
    """``bins`` equal bins from ``low`` to ``high``; counts have two more columns, for what lies below and above."""

    low: float
    high: float
    bins: int

    @property
    def bins_per_unit(self) -> float:
        return self.bins / (self.high - self.low)

    @property
    def edges(self) -> np.ndarray:
        return np.linspace(self.low, self.high, self.bins + 1)

    def empty(self, n_times: int, dim: int) -> np.ndarray:
        """Counts of nothing."""
        return np.zeros((n_times, dim, self.bins + 2), np.int64)


def merged_powers(na: Any, nb: Any, n: Any, a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    """Mean and sums of central powers 2 (to 4) of n = na + nb numbers from those of two parts; n is not 0.

    Arrays, or the symbols from which the kernel of a GPU is made. Pebay (2008), equations 2.1 and 2.2.
    """
    delta = b[0] - a[0]
    step = delta * (nb / n)
    merged = [a[0] + step, a[1] + b[1] + delta * step * na]
    if len(a) == 2:
        return merged
    d = delta / n
    m3 = a[2] + b[2] + delta * d * d * na * nb * (na - nb) + 3 * d * (na * b[1] - nb * a[1])
    m4 = a[3] + b[3] + delta * d * d * d * na * nb * (na * na - na * nb + nb * nb)
    m4 = m4 + 6 * d * d * (na * na * b[1] + nb * nb * a[1]) + 4 * d * (na * b[2] - nb * a[2])
    return [*merged, m3, m4]


def merged_product(na: Any, nb: Any, n: Any, a: Sequence[Any], b: Sequence[Any]) -> Any:
    """The sum of products about the means, of (mean, other mean, sum) of two parts."""
    step = (b[1] - a[1]) * (nb / n)
    return a[2] + b[2] + (b[0] - a[0]) * step * na


@dataclass(frozen=True)
class Layout:
    """Where the numbers of a block lie along the last axis; the C++ side of it is ``statistics_size`` in job.hpp."""

    dim: int
    moments: int
    extremes: bool
    covariance: bool

    @cached_property
    def per_component(self) -> int:
        return self.moments + (2 if self.extremes else 0)

    @cached_property
    def n_pairs(self) -> int:
        return self.dim * (self.dim - 1) // 2 if self.covariance else 0

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """First and second components of the pairs i < j, in the order of their products."""
        i, j = np.triu_indices(self.dim if self.covariance else 0, 1)
        return i, j

    @property
    def size(self) -> int:
        return 1 + self.dim * self.per_component + self.n_pairs

    def component(self, offset: int) -> slice:
        """Number ``offset`` of every component: 0 mean, 1 to 3 central powers 2 to 4, then minimum and maximum."""
        return slice(1 + offset, 1 + self.dim * self.per_component, self.per_component)

    @cached_property
    def products(self) -> slice:
        return slice(1 + self.dim * self.per_component, self.size)

    def covariances(self, total: np.ndarray) -> np.ndarray:
        """Unbiased covariance matrices from statistics of shape (n_times, size)."""
        matrix = np.empty((len(total), self.dim, self.dim))
        freedom = np.maximum(total[:, :1] - 1, 1)
        matrix[:, range(self.dim), range(self.dim)] = total[:, self.component(1)] / freedom
        if self.n_pairs:
            i, j = self.pairs
            matrix[:, i, j] = matrix[:, j, i] = total[:, self.products] / freedom
        return matrix

    def merge(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Statistics of two neighbouring ranges of chains from those of each; arrays of shape (..., size)."""
        with np.errstate(over="ignore", invalid="ignore"):  # high moments may leave the range of float64
            return self._merge(a, b)

    def _merge(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = np.empty_like(a)
        na, nb = a[..., :1], b[..., :1]
        out[..., :1] = n = na + nb
        safe = np.where(n > 0, n, 1.0)
        powers = [self.component(k) for k in range(self.moments)]
        merged = merged_powers(na, nb, safe, [a[..., at] for at in powers], [b[..., at] for at in powers])
        for at, value in zip(powers, merged, strict=True):
            out[..., at] = value
        if self.extremes:
            low, high = self.component(self.moments), self.component(self.moments + 1)
            out[..., low] = np.minimum(a[..., low], b[..., low])
            out[..., high] = np.maximum(a[..., high], b[..., high])
        if self.n_pairs:
            (i, j), mean, at = self.pairs, self.component(0), self.products
            first, second = ([x[..., mean][..., k] for k in (i, j)] for x in (a, b))
            out[..., at] = merged_product(na, nb, safe, (*first, a[..., at]), (*second, b[..., at]))
        return out

    def nodes(self, blocks: np.ndarray, first_block: int) -> Nodes:
        """The largest tree nodes inside a run of blocks; ``blocks`` has shape (n_blocks, n_times, size)."""
        nodes: Nodes = {}
        level, start = 0, first_block
        while len(blocks):
            if start % 2:
                nodes[level, start] = blocks[0]
                blocks, start = blocks[1:], start + 1
            if len(blocks) % 2:
                nodes[level, start + len(blocks) - 1] = blocks[-1]
                blocks = blocks[:-1]
            if len(blocks):
                blocks = self.merge(blocks[0::2], blocks[1::2])
            start, level = start // 2, level + 1
        return nodes

    def add(self, nodes: Nodes, new: Nodes) -> None:
        """Put ``new`` into ``nodes``, merging every pair of siblings that becomes complete."""
        for (level, i), node in new.items():
            while (level, i ^ 1) in nodes:
                sibling = nodes.pop((level, i ^ 1))
                node = self.merge(sibling, node) if i % 2 else self.merge(node, sibling)
                level, i = level + 1, i // 2
            nodes[level, i] = node

    def total(self, nodes: Nodes) -> np.ndarray:
        """All nodes merged from left to right, of shape (n_times, size)."""
        ordered = [nodes[key] for key in sorted(nodes, key=lambda key: key[1] << key[0])]
        result = ordered[0]
        for node in ordered[1:]:
            result = self.merge(result, node)
        return result
