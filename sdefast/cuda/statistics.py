"""Statistics of saved states on the GPU: per block of chains, then merged by the tree of ``engine/statistics.py``.

Every number is summed in float64 in an order that the chains' numbers alone decide: a thread adds `CHAINS_PER_THREAD`
chains of a block, the threads of a block merge in a binary tree, and so do blocks. No grid size, no tile and no
scheduling changes a bit. Merging follows Chan, Golub and LeVeque (1983) and Pebay (Sandia report 2008-6212).
"""

from __future__ import annotations

import math

import numpy as np
from numba import cuda

from ..engine.tiles import BLOCK
from .target import SIMULATED

#: Threads that share a block of chains; fewer in the simulator, where each is a thread of the operating system.
THREADS = 8 if SIMULATED else 64

CHAINS_PER_THREAD = BLOCK // THREADS

#: A component's numbers: count, mean, sums of central powers 2 to 4, minimum, maximum.
NUMBERS = 7


@cuda.jit(device=True, inline="always")
def is_finite(x):
    return x - x == 0


@cuda.jit(device=True, inline="always")
def chain_is_finite(x, time, first_row, dim, chain):
    for i in range(dim):
        if not is_finite(x[time, first_row + i, chain]):
            return False
    return True


@cuda.jit(device=True, inline="always")
def merge_powers(a, b, moments):
    """The statistics of two ranges of chains, each (count, mean, m2, m3, m4, minimum, maximum)."""
    na, mean_a, m2a, m3a, m4a, low_a, high_a = a
    nb, mean_b, m2b, m3b, m4b, low_b, high_b = b
    n = na + nb
    if n == 0.0:
        return a
    delta = mean_b - mean_a
    step = delta * (nb / n)
    m2 = m2a + m2b + delta * step * na
    m3 = m4 = 0.0
    if moments == 4:
        d = delta / n
        m3 = m3a + m3b + delta * d * d * na * nb * (na - nb) + 3.0 * d * (na * m2b - nb * m2a)
        m4 = m4a + m4b + delta * d * d * d * na * nb * (na * na - na * nb + nb * nb)
        m4 += 6.0 * d * d * (na * na * m2b + nb * nb * m2a) + 4.0 * d * (na * m3b - nb * m3a)
    return n, mean_a + step, m2, m3, m4, min(low_a, low_b), max(high_a, high_b)


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
def merge_products(a, b):
    """The statistics of two components over two ranges of chains, each (count, mean, mean, sum of products)."""
    na, mean_a, other_a, product_a = a
    nb, mean_b, other_b, product_b = b
    n = na + nb
    if n == 0.0:
        return a
    delta, other = mean_b - mean_a, other_b - other_a
    other_step = other * (nb / n)
    return n, mean_a + delta * (nb / n), other_a + other_step, product_a + product_b + delta * other_step * na


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
def powers_of(part, thread):
    return (
        part[0, thread], part[1, thread], part[2, thread], part[3, thread], part[4, thread], part[5, thread],
        part[6, thread],
    )  # fmt: skip


@cuda.jit(device=True, inline="always")
def products_of(part, thread):
    return part[0, thread], part[1, thread], part[2, thread], part[3, thread]


def blocks(x, first_row, dim, moments, extremes, n_chains, out):
    """Statistics of every block of chains at every time, in the order of `Layout`.

    ``x`` is (n_times, rows, n_chains), ``out`` (n_blocks, n_times, size). The grid is (blocks, times, items): an item
    is a component or, after these, a pair of components.
    """
    part = cuda.shared.array((NUMBERS, THREADS), np.float64)
    block, time, item, thread = cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z, cuda.threadIdx.x
    if item < dim:
        numbers = thread_powers(x, time, first_row, dim, item, n_chains, block, thread, moments)
        for i in range(NUMBERS):
            part[i, thread] = numbers[i]
    else:
        i, j = pair_of(item - dim, dim)
        products = thread_products(x, time, first_row, dim, i, j, n_chains, block, thread)
        for i in range(4):
            part[i, thread] = products[i]
    width = THREADS // 2
    while width > 0:
        cuda.syncthreads()
        if thread < width and item < dim:
            numbers = merge_powers(powers_of(part, thread), powers_of(part, thread + width), moments)
            for i in range(NUMBERS):
                part[i, thread] = numbers[i]
        elif thread < width:
            products = merge_products(products_of(part, thread), products_of(part, thread + width))
            for i in range(4):
                part[i, thread] = products[i]
        width //= 2
    if thread == 0:
        per_component = moments + 2 * extremes
        if item >= dim:
            out[block, time, 1 + dim * per_component + item - dim] = part[3, 0]
            return
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
                first, second = 1 + i * per_component, 1 + j * per_component
                merged = merge_products(
                    (na, nodes[a, time, first], nodes[a, time, second], nodes[a, time, at]),
                    (nb, nodes[b, time, first], nodes[b, time, second], nodes[b, time, at]),
                )
                nodes[a, time, at] = merged[3]
                at += 1
    for i in range(dim):
        at = 1 + i * per_component
        merged = merge_powers(
            component_of(nodes, a, time, at, moments, extremes), component_of(nodes, b, time, at, moments, extremes), moments
        )
        for k in range(moments):
            nodes[a, time, at + k] = merged[1 + k]
        if extremes:
            nodes[a, time, at + moments], nodes[a, time, at + moments + 1] = merged[5], merged[6]
    nodes[a, time, 0] = na + nb


@cuda.jit(device=True, inline="always")
def component_of(nodes, b, time, at, moments, extremes):
    """A component's numbers as `merge_powers` takes them."""
    m3 = m4 = low = high = 0.0
    if moments == 4:
        m3, m4 = nodes[b, time, at + 2], nodes[b, time, at + 3]
    if extremes:
        low, high = nodes[b, time, at + moments], nodes[b, time, at + moments + 1]
    return nodes[b, time, 0], nodes[b, time, at], nodes[b, time, at + 1], m3, m4, low, high


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
