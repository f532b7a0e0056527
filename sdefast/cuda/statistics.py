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

#: Of states with more rows it is found out once whether they are finite, not for every row again.
FEW = 4

#: Chains whose numbers lie together where a kernel keeps its states in tiles: the threads of a warp.
TILE = 32

#: A component's numbers: count, mean, sums of central powers 2 to 4, minimum, maximum.
NUMBERS = 7


@cuda.jit(device=True, inline="always")
def is_finite(x):
    return x - x == 0


@cuda.jit(device=True, inline="always")
def all_finite(x, time, first_row, dim, chain):
    good = True
    for i in range(dim):
        good = good and is_finite(x[time, first_row + i, chain])
    return good


@cuda.jit(device=True, inline="always")
def chain_is_finite(x, known, time, first_row, dim, chain):
    if dim > FEW:
        return known[time, chain] != 0
    return all_finite(x, time, first_row, dim, chain)


def find_finite(x, first_row, dim, n_chains, known):
    """Which chains are finite in ``dim`` rows from ``first_row`` on, as ``known`` (n_times, n_chains).

    The grid is (chains, times).
    """
    chain = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    time = cuda.blockIdx.y
    if chain < n_chains:
        known[time, chain] = all_finite(x, time, first_row, dim, chain)


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
def thread_powers(x, known, time, first_row, dim, component, n_chains, block, thread, moments):
    """The statistics of one component over a thread's chains, shifted by the first of them."""
    n, center = 0.0, 0.0
    s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0
    low, high = math.inf, -math.inf
    for j in range(CHAINS_PER_THREAD):
        chain = block * BLOCK + thread + j * THREADS
        if chain < n_chains and chain_is_finite(x, known, time, first_row, dim, chain):
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
def thread_products(x, known, time, first_row, dim, i, j, n_chains, block, thread):
    """The statistics of a pair of components over a thread's chains."""
    n, center, other_center = 0.0, 0.0, 0.0
    s, other_s, products = 0.0, 0.0, 0.0
    for c in range(CHAINS_PER_THREAD):
        chain = block * BLOCK + thread + c * THREADS
        if chain < n_chains and chain_is_finite(x, known, time, first_row, dim, chain):
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
    """The components i < j of pair number ``index``: before those of i come i dim - i (i + 1) / 2."""
    two = 2.0 * dim - 1.0
    i = int((two - math.sqrt(two * two - 8.0 * index)) / 2.0)
    while i > 0 and i * dim - i * (i + 1) // 2 > index:  # (the root is rounded)
        i -= 1
    while (i + 1) * dim - (i + 1) * (i + 2) // 2 <= index:
        i += 1
    return i, i + 1 + index - (i * dim - i * (i + 1) // 2)


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


def blocks(x, known, first_row, dim, moments, extremes, n_chains, out):
    """Statistics of every block of chains at every time, in the order of `Layout`.

    ``x`` is (n_times, rows, n_chains), ``known`` of `find_finite`, ``out`` (n_blocks, n_times, size). The grid is
    (items x blocks, times): an item is a component or, after these, a pair of components.
    """
    part = cuda.shared.array((NUMBERS, THREADS), np.float64)
    item, block = cuda.blockIdx.x // out.shape[0], cuda.blockIdx.x % out.shape[0]
    time, thread = cuda.blockIdx.y, cuda.threadIdx.x
    if item < dim:
        n, mean, m2, m3, m4, low, high = thread_powers(
            x, known, time, first_row, dim, item, n_chains, block, thread, moments
        )
        part[2, thread], part[3, thread], part[4, thread] = m2, m3, m4
        part[5, thread], part[6, thread] = low, high
    else:
        i, j = pair_of(item - dim, dim)
        n, mean, other, product = thread_products(x, known, time, first_row, dim, i, j, n_chains, block, thread)
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
def merge_pair(nodes, a, b, time, dim, per_component, pair):
    """Put a sum of products of two neighbouring ranges together, at ``a``, where the means are as they were."""
    i, j = pair_of(pair, dim)
    p, q, at = 1 + i * per_component, 1 + j * per_component, 1 + dim * per_component + pair
    nodes[a, time, at] = merge_product(
        nodes[a, time, 0], nodes[a, time, p], nodes[a, time, q], nodes[a, time, at],
        nodes[b, time, 0], nodes[b, time, p], nodes[b, time, q], nodes[b, time, at],
    )  # fmt: skip


@cuda.jit(device=True, inline="always")
def merge_component(nodes, a, b, time, moments, extremes, component):
    """Put the statistics of a component in two neighbouring ranges together at ``a``."""
    at = 1 + component * (moments + 2 * extremes)
    third = fourth = other_third = other_fourth = 0.0
    if moments == 4:
        third, fourth = nodes[a, time, at + 2], nodes[a, time, at + 3]
        other_third, other_fourth = nodes[b, time, at + 2], nodes[b, time, at + 3]
    _, mean, m2, m3, m4 = merge_powers(
        nodes[a, time, 0], nodes[a, time, at], nodes[a, time, at + 1], third, fourth,
        nodes[b, time, 0], nodes[b, time, at], nodes[b, time, at + 1], other_third, other_fourth,
    )  # fmt: skip
    nodes[a, time, at], nodes[a, time, at + 1] = mean, m2
    if moments == 4:
        nodes[a, time, at + 2], nodes[a, time, at + 3] = m3, m4
    if extremes:
        low, high = at + moments, at + moments + 1
        nodes[a, time, low] = min(nodes[a, time, low], nodes[b, time, low])
        nodes[a, time, high] = max(nodes[a, time, high], nodes[b, time, high])


def tree(nodes, first_block, dim, moments, extremes, covariance):
    """Merge neighbours into the largest nodes of the tree over absolute block numbers, each left at its first block.

    ``nodes`` is (n_blocks, n_times, size); the grid has a block of threads for every time. They share the pairs, then
    the components, which need the counts, then the counts.
    """
    time, n, width = cuda.blockIdx.x, nodes.shape[0], 1
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    per_component, pairs = moments + 2 * extremes, covariance * dim * (dim - 1) // 2
    while 2 * width <= n:
        two = 2 * width
        first = (first_block + two - 1) // two * two - first_block
        merges = max((n - first) // two, 0)
        for w in range(thread, merges * pairs, threads):
            a = first + w // pairs * two
            merge_pair(nodes, a, a + width, time, dim, per_component, w % pairs)
        cuda.syncthreads()
        for w in range(thread, merges * dim, threads):
            a = first + w // dim * two
            merge_component(nodes, a, a + width, time, moments, extremes, w % dim)
        cuda.syncthreads()
        for w in range(thread, merges, threads):
            a = first + w * two
            nodes[a, time, 0] += nodes[a + width, time, 0]
        cuda.syncthreads()
        width = two


def spread(start, n, state):
    """One start (rows, 1) to all chains (rows, n)."""
    chain = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if chain < n:
        for row in range(state.shape[0]):
            state[row, chain] = start[row, 0]


def lay_in_tiles(start, n, n_rows, state):
    """Starts (rows, n), or one for all chains (rows, 1), into tiles of `TILE` chains with ``n_rows`` rows each."""
    chain = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if chain < n:
        first, column = chain // TILE * TILE * n_rows + chain % TILE, min(chain, start.shape[1] - 1)
        for row in range(start.shape[0]):
            state[first + row * TILE] = start[row, column]


def count(x, first_row, low, bins_per_unit, n_bins, n_chains, counts):
    """Add the values of rows from ``first_row`` on to the counts of the bins (n_times, rows, n_bins + 2).

    Values that are no number are counted nowhere. The grid is (chains, rows, times).
    """
    chain = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    row, time = cuda.blockIdx.y, cuda.blockIdx.z
    if chain < n_chains:
        place = (np.float64(x[time, first_row + row, chain]) - low) * bins_per_unit
        if place == place:
            index = 0
            if place >= n_bins:
                index = n_bins + 1
            elif place >= 0:
                index = int(place) + 1
            cuda.atomic.add(counts, (time, row, index), 1)
