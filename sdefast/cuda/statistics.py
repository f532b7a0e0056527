"""Kernels that every run shares: start states, histograms, and statistics of saved states.

Statistics are those of blocks of chains, merged by the tree of ``engine/statistics.py``. Every number is summed in
float64 in an order that the chains' numbers alone decide: a thread adds `CHAINS_PER_THREAD` chains of a block, the
threads of a block merge in a binary tree, and so do blocks. No grid size, no tile and no scheduling changes a bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ..engine.statistics import merged_powers, merged_product
from ..engine.tiles import BLOCK
from ..trace import as_expr, select, symbol
from .emit import function_source
from .functions import compile_used, functions
from .target import SIMULATED

#: Threads that share a block of chains; one in the simulator, whose shared memory is not safe for threads.
THREADS = 1 if SIMULATED else 64

CHAINS_PER_THREAD = BLOCK // THREADS

#: A component's numbers: count, mean, sums of central powers 2 to 4, minimum, maximum.
NUMBERS = 7


@cuda.jit(device=True, inline="always")
def is_finite(x):
    return x - x == 0


@cuda.jit(device=True, inline="always")
def chain_is_finite(x, time, first_row, dim, chain):
    good = True
    for i in range(dim):
        good = good and is_finite(x[time, first_row + i, chain])
    return good


def _merging() -> tuple[Any, Any]:
    """The formulas of ``engine/statistics.py`` as device functions, with the bits that they have on the host."""
    na, nb, *numbers = (symbol(name) for name in ("na", "nb", *(f"{part}{k}" for part in "ab" for k in range(4))))
    n = as_expr(na + nb)
    some = as_expr(select(n > 0, n, 1.0))
    powers = [n, *merged_powers(na, nb, some, numbers[:4], numbers[4:])]
    product = merged_product(na, nb, some, numbers[:3], numbers[4:7])
    space = functions("float64", "float64") | {"cuda": cuda}
    names = ("na", "a0", "a1", "a2", "a3", "nb", "b0", "b1", "b2", "b3")
    made = []
    for name, outputs, arguments in (
        ("merge_powers", powers, names),
        ("merge_product", [product], [name for name in names if name not in ("a3", "b3")]),
    ):
        exec(function_source(name, arguments, list(map(as_expr, outputs))), space)
        compile_used(space[name])
        made.append(cuda.jit(device=True, inline="always")(space[name]))
    return made[0], made[1]


#: ``merge_powers(na, mean, m2, m3, m4, nb, mean, ...)``: count, mean, m2, m3, m4 of both;
#: ``merge_product(na, mean, other mean, sum, nb, ...)``: the sum of products of both
merge_powers, merge_product = _merging()


@cuda.jit(device=True, inline="always")
def thread_powers(x, time, first_row, dim, component, n_chains, block, thread, moments):
    """The statistics of one component over a thread's chains, shifted by the first of them."""
    n, center = 0.0, 0.0
    s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0
    low, high = math.inf, -math.inf
    for j in range(CHAINS_PER_THREAD):
        chain = block * BLOCK + thread + j * THREADS
        if chain < n_chains and chain_is_finite(x, time, first_row, dim, chain):
            value = np.float64(x[time, first_row + component, chain])
            if n == 0.0:
                center = value
            d = value - center
            square = d * d
            n += 1.0
            s1 += d
            s2 += square
            if moments == 4:
                s3 += square * d
                s4 += square * square
            low, high = min(low, value), max(high, value)
    if n == 0.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, low, high
    d = s1 / n
    m3 = s3 - 3.0 * d * s2 + 2.0 * n * d * d * d
    m4 = s4 - 4.0 * d * s3 + 6.0 * d * d * s2 - 3.0 * n * d * d * d * d
    return n, center + d, s2 - s1 * d, m3, m4, low, high


@cuda.jit(device=True, inline="always")
def thread_products(x, time, first_row, dim, i, j, n_chains, block, thread):
    """The statistics of a pair of components over a thread's chains."""
    n, center, other_center = 0.0, 0.0, 0.0
    s, other_s, products = 0.0, 0.0, 0.0
    for c in range(CHAINS_PER_THREAD):
        chain = block * BLOCK + thread + c * THREADS
        if chain < n_chains and chain_is_finite(x, time, first_row, dim, chain):
            value, other = np.float64(x[time, first_row + i, chain]), np.float64(x[time, first_row + j, chain])
            if n == 0.0:
                center, other_center = value, other
            n += 1.0
            s += value - center
            other_s += other - other_center
            products += (value - center) * (other - other_center)
    if n == 0.0:
        return 0.0, 0.0, 0.0, 0.0
    return n, center + s / n, other_center + other_s / n, products - s * (other_s / n)


@cuda.jit(device=True, inline="always")
def pair_of(index, dim):
    """The components i < j of pair number ``index``."""
    i = 0
    while index >= dim - 1 - i:
        index -= dim - 1 - i
        i += 1
    return i, i + 1 + index


@cuda.jit(device=True, inline="always")
def merge_threads(part, a, b, is_component):
    """Put the numbers of two threads together."""
    na, nb = part[0, a], part[0, b]
    if is_component:
        n, mean, m2, m3, m4 = merge_powers(
            na, part[1, a], part[2, a], part[3, a], part[4, a], nb, part[1, b], part[2, b], part[3, b], part[4, b]
        )
        part[2, a], part[3, a], part[4, a] = m2, m3, m4
        part[5, a], part[6, a] = min(part[5, a], part[5, b]), max(part[6, a], part[6, b])
    else:
        part[3, a] = merge_product(na, part[1, a], part[2, a], part[3, a], nb, part[1, b], part[2, b], part[3, b])
        n, other, _, _, _ = merge_powers(na, part[2, a], 0.0, 0.0, 0.0, nb, part[2, b], 0.0, 0.0, 0.0)
        n, mean, _, _, _ = merge_powers(na, part[1, a], 0.0, 0.0, 0.0, nb, part[1, b], 0.0, 0.0, 0.0)
        part[2, a] = other
    part[0, a], part[1, a] = n, mean


def blocks(x, first_row, dim, moments, extremes, n_chains, out):
    """Statistics of every block of chains at every time, in the order of `Layout`.

    ``x`` is (n_times, rows, n_chains), ``out`` (n_blocks, n_times, size). The grid is (blocks, times, items): an item
    is a component or, after these, a pair of components.
    """
    part = cuda.shared.array((NUMBERS, THREADS), np.float64)
    block, time, item, thread = cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z, cuda.threadIdx.x
    if item < dim:
        n, mean, m2, m3, m4, low, high = thread_powers(x, time, first_row, dim, item, n_chains, block, thread, moments)
        part[2, thread], part[3, thread], part[4, thread] = m2, m3, m4
        part[5, thread], part[6, thread] = low, high
    else:
        i, j = pair_of(item - dim, dim)
        n, mean, other, product = thread_products(x, time, first_row, dim, i, j, n_chains, block, thread)
        part[2, thread], part[3, thread] = other, product
    part[0, thread], part[1, thread] = n, mean
    width = THREADS // 2
    while width > 0:
        cuda.syncthreads()
        if thread < width:
            merge_threads(part, thread, thread + width, item < dim)
        width //= 2
    if thread == 0:
        per_component = moments + 2 * extremes
        if item >= dim:
            out[block, time, 1 + dim * per_component + item - dim] = part[3, 0]
        else:
            at = 1 + item * per_component
            for i in range(moments):
                out[block, time, at + i] = part[1 + i, 0]
            if extremes:
                out[block, time, at + moments], out[block, time, at + moments + 1] = part[5, 0], part[6, 0]
            if item == 0:
                out[block, time, 0] = part[0, 0]


@cuda.jit(device=True, inline="always")
def merge_blocks(nodes, a, b, time, dim, moments, extremes, covariance):
    """Put the statistics of two neighbouring ranges, at ``a`` and ``b``, together at ``a``."""
    na, nb, per_component = nodes[a, time, 0], nodes[b, time, 0], moments + 2 * extremes
    if covariance:  # first, since they need the means as they were
        at = 1 + dim * per_component
        for i in range(dim):
            for j in range(i + 1, dim):
                p, q = 1 + i * per_component, 1 + j * per_component
                nodes[a, time, at] = merge_product(
                    na, nodes[a, time, p], nodes[a, time, q], nodes[a, time, at],
                    nb, nodes[b, time, p], nodes[b, time, q], nodes[b, time, at],
                )  # fmt: skip
                at += 1
    for i in range(dim):
        at = 1 + i * per_component
        third = fourth = other_third = other_fourth = 0.0
        if moments == 4:
            third, fourth = nodes[a, time, at + 2], nodes[a, time, at + 3]
            other_third, other_fourth = nodes[b, time, at + 2], nodes[b, time, at + 3]
        _, mean, m2, m3, m4 = merge_powers(
            na, nodes[a, time, at], nodes[a, time, at + 1], third, fourth,
            nb, nodes[b, time, at], nodes[b, time, at + 1], other_third, other_fourth,
        )  # fmt: skip
        nodes[a, time, at], nodes[a, time, at + 1] = mean, m2
        if moments == 4:
            nodes[a, time, at + 2], nodes[a, time, at + 3] = m3, m4
        if extremes:
            low, high = at + moments, at + moments + 1
            nodes[a, time, low] = min(nodes[a, time, low], nodes[b, time, low])
            nodes[a, time, high] = max(nodes[a, time, high], nodes[b, time, high])
    nodes[a, time, 0] = na + nb


def tree(nodes, first_block, dim, moments, extremes, covariance):
    """Merge neighbours into the largest nodes of the tree over absolute block numbers, each left at its first block.

    ``nodes`` is (n_blocks, n_times, size); the grid has a block of threads for every time.
    """
    time, n, width = cuda.blockIdx.x, nodes.shape[0], 1
    while 2 * width <= n:
        two = 2 * width
        a = (first_block + two - 1) // two * two - first_block + cuda.threadIdx.x * two
        while a + two <= n:
            merge_blocks(nodes, a, a + width, time, dim, moments, extremes, covariance)
            a += cuda.blockDim.x * two
        cuda.syncthreads()
        width = two


def spread(start, n, state):
    """One start (rows, 1) to all chains (rows, n)."""
    chain = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if chain < n:
        for row in range(state.shape[0]):
            state[row, chain] = start[row, 0]


def count(x, n_rows, low, bins_per_unit, n_bins, n_chains, counts):
    """Add the values of every row to the counts of the bins (n_times, rows, n_bins + 2); no number is counted nowhere.

    The grid is (chains, rows, times).
    """
    chain = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    row, time = cuda.blockIdx.y, cuda.blockIdx.z
    if chain < n_chains:
        place = (np.float64(x[time, row, chain]) - low) * bins_per_unit
        if place == place:
            index = 0
            if place >= n_bins:
                index = n_bins + 1
            elif place >= 0:
                index = int(place) + 1
            cuda.atomic.add(counts, (time, row, index), 1)
