"""Statistics of the noise at fixed seeds: every deviation stays within five standard errors computed here."""

from math import prod

import numpy as np
import pytest
from scipy import stats

from sdefast import noise

Z = 5.0
P = 2 * stats.norm.sf(Z)

N_DRAWS = 4096  # four segments of float32 words, eight of float64
DRAWS_PER_SEGMENT = {"float32": 1024, "float64": 512}

both = pytest.mark.parametrize("dtype", ["float32", "float64"])


# Known answers pin the bits, so that these hold for as long as those do.
@pytest.fixture(
    scope="module",
    params=[
        *((dtype, 1000) for dtype in DRAWS_PER_SEGMENT),
        *(pytest.param((dtype, 5000), marks=pytest.mark.thorough) for dtype in DRAWS_PER_SEGMENT),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def normals(request):
    """4e6 normals, or 2e7."""
    dtype, n_chains = request.param
    return noise.normals(2024, N_DRAWS, n_chains, dtype=dtype)


def normal_moment(p):
    """E[Z^p] = (p - 1) (p - 3) ... 1 for even p."""
    return 0 if p % 2 else prod(range(1, p, 2))


def assert_mean(values, mean, variance):
    """The mean of independent values with this mean and variance."""
    z = (np.mean(values, dtype=np.float64) - mean) / np.sqrt(variance / np.size(values))
    assert abs(z) < Z


def assert_uncorrelated(x, y):
    """Standardised and independent under the hypothesis, so that products have mean 0 and variance 1."""
    z = np.sum(np.multiply(x, y, dtype=np.float64)) / np.sqrt(np.size(x))
    assert abs(z) < Z


def assert_independent_normals(x, y):
    """Normals, their squares and mixtures of the two are uncorrelated, each standardised."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    x2, y2 = (x**2 - 1) / np.sqrt(2), (y**2 - 1) / np.sqrt(2)
    for a, b in ((x, y), (x2, y2), (x, y2), (x2, y)):
        assert_uncorrelated(a, b)


def test_moments(normals):
    """All up to the eighth."""
    sums = np.zeros(9)
    for x in normals.reshape(256, -1):
        x, power = x.astype(np.float64), 1.0
        for p in range(1, 9):
            power = power * x
            sums[p] += np.sum(power)
    for p in range(1, 9):
        error = np.sqrt((normal_moment(2 * p) - normal_moment(p) ** 2) / normals.size)
        assert abs(sums[p] / normals.size - normal_moment(p)) < Z * error, p


@pytest.mark.parametrize("member", [0, 1])
def test_moments_of_either_member_of_a_pair(normals, member):
    z = normals[member::2].astype(np.float64)
    for p in (1, 2, 4):
        assert_mean(z**p, normal_moment(p), normal_moment(2 * p) - normal_moment(p) ** 2)


@pytest.mark.parametrize("bound", [1.0, 2.0, 3.0, 4.0, 4.5, 5.0])
def test_tails(normals, bound):
    p = stats.norm.sf(bound)
    n = normals.size
    for count in (np.count_nonzero(normals > bound), np.count_nonzero(normals < -bound)):
        assert abs(count - n * p) < Z * np.sqrt(n * p * (1 - p))


def test_the_law_of_normals(normals):
    """Kolmogorov and Smirnov on every tenth draw, in halves: either member of a pair."""
    for member in (0, 1):
        assert stats.kstest(normals[member::20].ravel(), "norm").pvalue > P


def test_the_law_near_zero(normals):
    """Cells of equal width around zero are equally full, which a coarse angle or a hole at zero would show."""
    counts, _ = np.histogram(normals, bins=200, range=(-0.01, 0.01))
    probability = np.diff(stats.norm.cdf(np.linspace(-0.01, 0.01, 201)))
    assert stats.chisquare(counts, probability / probability.sum() * counts.sum()).pvalue > P


@both
def test_the_law_of_uniforms(dtype):
    u = noise.uniforms(2025, 1024, 2000, dtype=dtype)
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > P
    for p in range(1, 5):
        assert_mean(u.astype(np.float64) ** p, 1 / (p + 1), 1 / (2 * p + 1) - 1 / (p + 1) ** 2)


def test_no_zeros(normals):
    """u and y stop short of 1, so that neither the radius nor the cosine vanishes."""
    assert (normals != 0).all()


def test_float32_reaches_beyond_5_5():
    """2.7e8 draws, of which some ten lie beyond 5.5."""
    count, n = 0, 0
    for first_chain in range(0, 2**18, 2**15):
        z = noise.normals(9, 1024, 2**15, first_chain=first_chain, dtype="float32")
        np.abs(z, out=z)
        count, n = count + np.count_nonzero(z > 5.5), n + z.size
    expected = 2 * n * stats.norm.sf(5.5)
    assert expected > 10
    assert count > 0
    assert stats.poisson.cdf(count, expected) > P
    assert stats.poisson.sf(count - 1, expected) > P


def test_members_of_a_pair_are_independent(normals):
    assert_independent_normals(normals[0::2], normals[1::2])


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 16, 32, 512, 1023, 1024, 2048])
def test_draws_of_a_chain_are_independent(normals, lag):
    z = normals[:, :1000]
    assert_independent_normals(z[:-lag], z[lag:])


@pytest.mark.parametrize("lag", [1, 2, 8, 16, 32, 256])
def test_neighbouring_chains_are_independent(normals, lag):
    z = normals[:1000]
    assert_independent_normals(z[:, :-lag], z[:, lag:])


@both
def test_draws_on_both_sides_of_a_segment_border_are_independent(dtype):
    """The last draws of a segment with the first of the next, and draws at the same place of neighbouring segments."""
    segment = DRAWS_PER_SEGMENT[dtype]
    z = noise.normals(31, 2 * segment, 50_000, dtype=dtype)
    for before, after in ((1, 0), (2, 0), (1, 1), (2, 1), (4, 3)):
        assert_independent_normals(z[segment - before], z[segment + after])
    for place in (0, 1, 2, 3, segment - 1):
        assert_independent_normals(z[place], z[segment + place])


SEEDS = [(5, 6), (5, 5 + 2**32), (5, 5 + 2**63), (0, 2**64 - 1), (2**32 - 1, 2**32)]


@both
@pytest.mark.parametrize("seeds", SEEDS)
def test_seeds_are_independent(dtype, seeds):
    x, y = (noise.normals(seed, 1024, 500, dtype=dtype) for seed in seeds)
    assert_independent_normals(x, y)


def test_normals_and_uniforms_are_independent():
    """Of one seed and chain, which step and acceptance of a sampler use together."""
    z, u = noise.normals(5, 1024, 500), noise.uniforms(5, 1024, 500)
    for values in (z, (z**2 - 1) / np.sqrt(2)):
        assert_uncorrelated(values, (u - 0.5) * np.sqrt(12))
        assert_uncorrelated(values[0::2], (u[1::2] - 0.5) * np.sqrt(12))


def assert_fair_bits(words):
    """Each of the 32 bits is set half of the time."""
    n = words.size
    for bit in range(32):
        ones = np.count_nonzero(words & np.uint32(1 << bit))
        assert abs(ones - n / 2) < Z * np.sqrt(n) / 2


def words(seed=77, stream=0, first_chain=0, first_word=0):
    return noise.words(seed, 1024, 200, stream=stream, first_chain=first_chain, first_word=first_word)


DIFFERENT = {
    "streams 0 and 1": {"stream": 1},
    "streams 0 and 2": {"stream": 2},
    "next seed": {"seed": 78},
    "seeds that differ in the highest bit": {"seed": 77 + 2**63},
    "next chain": {"first_chain": 1},
    "chains 2^32 apart": {"first_chain": 2**32},
    "next word": {"first_word": 1},
    "next segment": {"first_word": 1024},
}


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_words_differ_in_half_of_their_bits(change):
    assert_fair_bits(words())
    assert_fair_bits(words() ^ words(**change))


TIMES = np.array([0.0, 0.1, 0.35, 1.0, 4.0])


@both
def test_covariance_of_brownian_paths(dtype):
    """Cov(W(s), W(t)) = min(s, t), whose estimator from n paths has variance (s t + min(s, t)^2) / n."""
    n = 400_000
    w = noise.brownian(3, TIMES, n, dim=2, dtype=dtype).astype(np.float64)
    s, t = np.meshgrid(TIMES[1:], TIMES[1:])
    for i in (0, 1):
        have = w[1:, :, i] @ w[1:, :, i].T / n
        assert (np.abs(have - np.minimum(s, t)) < Z * np.sqrt((s * t + np.minimum(s, t) ** 2) / n)).all()
    between = w[1:, :, 0] @ w[1:, :, 1].T / n
    assert (np.abs(between) < Z * np.sqrt(s * t / n)).all()
    assert (np.abs(w[1:].mean(axis=1)) < Z * np.sqrt(TIMES[1:, None] / n)).all()


@both
def test_increments_add_up(dtype):
    """A path is the sum of its increments, and goes on from any of its times."""
    rounding = 50 * np.finfo(dtype).eps
    path = noise.brownian(3, TIMES, 1000, dim=2, dtype=dtype)
    steps = noise.brownian(3, TIMES, 1000, dim=2, dtype=dtype, increments=True)
    np.testing.assert_array_equal(path[1:], np.cumsum(steps, axis=0))
    for k in range(1, len(TIMES) - 1):
        rest = noise.brownian(3, TIMES[k:], 1000, dim=2, first_step=k, dtype=dtype)
        np.testing.assert_allclose(path[k] + rest, path[k:], atol=rounding)


@both
def test_increments_are_scaled_normals(dtype):
    z = noise.normals(3, 8, 1000, dtype=dtype)
    steps = noise.brownian(3, TIMES, 1000, dim=2, dtype=dtype, increments=True)
    scale = np.sqrt(np.diff(TIMES)).astype(dtype)
    for k in range(4):
        np.testing.assert_array_equal(steps[k].T, scale[k] * z[2 * k : 2 * k + 2])
