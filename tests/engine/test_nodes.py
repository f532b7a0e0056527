"""Nodes of the tree of blocks: whatever order they come in, the same bits; whatever is merged, the right moments."""

import functools
import itertools
import random

import numpy as np
import pytest

from sdefast.engine.statistics import Layout

LAYOUT = Layout(dim=3, moments=4, extremes=True, covariance=True)


def block(x):
    """What a kernel leaves of a block: statistics of x (n_times, n, dim), of shape (n_times, size)."""
    mean = x.mean(axis=1)
    d = x - mean[:, None]
    out = np.empty((len(x), LAYOUT.size))
    out[:, 0] = x.shape[1]
    columns = [mean, *((d**k).sum(axis=1) for k in (2, 3, 4)), x.min(axis=1), x.max(axis=1)]
    for k, value in enumerate(columns):
        out[:, LAYOUT.component(k)] = value
    i, j = LAYOUT.pairs
    out[:, LAYOUT.products] = (d[:, :, i] * d[:, :, j]).sum(axis=1)
    return out


@pytest.fixture(scope="module")
def chains():
    """Eleven blocks at three times, with means around 0 that differ in sign, and skewed."""
    x = np.random.default_rng(3).standard_exponential((11, 3, 40, 3)) - 1.0
    x[..., 1] += 0.3 * x[..., 0]
    return x


@pytest.mark.parametrize("first_block", [0, 1, 5, 6])
def test_any_order_gives_the_same_bits(chains, first_block):
    """Of blocks that come one by one, and of tiles of several, as threads finish them."""
    blocks = np.stack([block(x) for x in chains])
    whole = LAYOUT.nodes(blocks, first_block)
    from_left_to_right = sorted(whole, key=lambda node: node[1] * 2 ** node[0])
    expected = functools.reduce(LAYOUT.merge, [whole[node] for node in from_left_to_right]).tobytes()
    assert LAYOUT.total(whole).tobytes() == expected
    shuffle = random.Random(1).shuffle
    for size in (1, 1, 1, 2, 3, 4):
        cuts = [(a, min(a + size, len(blocks))) for a in range(0, len(blocks), size)]
        for _ in range(5):
            shuffle(cuts)
            nodes = {}
            for a, b in cuts:
                LAYOUT.add(nodes, LAYOUT.nodes(blocks[a:b], first_block + a))
            assert nodes.keys() == whole.keys()
            assert LAYOUT.total(nodes).tobytes() == expected


def test_the_order_of_two_siblings_matters_to_the_bits(chains):
    """Without which the test above would show nothing."""
    a, b = block(chains[0]), block(chains[1][:, :33])
    assert LAYOUT.merge(a, b).tobytes() != LAYOUT.merge(b, a).tobytes()


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_merged_moments_are_those_of_all_chains(chains, shift):
    """Parts of unlike sizes, in every order, and parts without a chain."""
    parts = [chains[0] + shift, chains[1][:, :7] + shift, chains[2][:, :1] + shift]
    expected = block(np.concatenate(parts, axis=1))
    close = 1e-12 * max(shift, 1.0) ** 2
    for order in itertools.permutations(map(block, parts)):
        total = LAYOUT.merge(LAYOUT.merge(order[0], order[1]), order[2])
        np.testing.assert_allclose(total, expected, rtol=close, atol=40 * close)
    empty = np.zeros_like(expected)
    empty[:, LAYOUT.component(4)], empty[:, LAYOUT.component(5)] = np.inf, -np.inf
    for pair in ((expected, empty), (empty, expected)):
        np.testing.assert_allclose(LAYOUT.merge(*pair), expected, rtol=1e-14, atol=1e-12)
