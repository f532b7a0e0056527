"""exp, log and pow of the kernels against numpy's long double, in units in the last place of the exact result."""

import numpy as np
import pytest

from sdefast import _core

N = 300_000
LOWEST = {"float32": -87.0, "float64": -708.0}  # the smallest results are exp of these, 1.4 and 1.5 times finfo.tiny
HIGHEST = {"float32": 88.7228, "float64": 709.782}

# Measured: exp 0.87 and 0.86, log 2.29 and 4.08 ulp (worst just below 1), pow 3.1 and 5.0 ulp times max(1, |b log a|).
EXP = 1.0
LOG = {"float32": 2.5, "float64": 4.5}
POW = {"float32": 4.0, "float64": 6.0}

both = pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param(
            "float64",
            marks=pytest.mark.skipif(
                np.finfo(np.longdouble).eps > 1e-18, reason="float64 results need a wider long double to compare with"
            ),
        ),
    ],
)


def ulps(have, exact):
    """Distance in units in the last place of the exact result, rounded to the type of what we have."""
    assert np.isfinite(have).all()
    spacing = np.spacing(np.abs(exact).astype(have.dtype)).astype(np.longdouble)
    return np.abs(have - exact) / spacing


def signed_powers(rng, low, high):
    """Numbers of either sign whose magnitudes are spread evenly over the exponents from 10^low to 10^high."""
    return rng.choice([-1.0, 1.0], N) * 10.0 ** rng.uniform(low, high, N)


def positive_numbers(rng, dtype):
    """All magnitudes that a type has, subnormal numbers left out."""
    info = np.finfo(dtype)
    low, high = float(np.log2(info.tiny.astype(np.longdouble))), float(np.log2(info.max.astype(np.longdouble)))
    return np.exp2(rng.uniform(low, high - 1e-3, N).astype(np.longdouble)).astype(dtype)


@both
def test_exp(dtype):
    rng = np.random.default_rng(1)
    x = np.concatenate(
        [
            rng.uniform(LOWEST[dtype], HIGHEST[dtype], N),
            rng.uniform(HIGHEST[dtype] - 1, HIGHEST[dtype], N),
            rng.uniform(-1, 1, N),
            signed_powers(rng, -30, 0),
        ]
    ).astype(dtype)
    assert ulps(_core.exp(x), np.exp(x.astype(np.longdouble))).max() < EXP


@both
def test_exp_at_the_edges(dtype):
    def exp(*x):
        return _core.exp(np.array(x, dtype))

    np.testing.assert_array_equal(exp(0.0, -0.0, 1e-30, -1e-30), 1.0)
    largest = np.finfo(dtype).max
    np.testing.assert_array_equal(exp(HIGHEST[dtype] + 0.01, HIGHEST[dtype] + 100, largest, np.inf), np.inf)
    assert np.isnan(exp(np.nan)).all()
    tiny = exp(LOWEST[dtype], LOWEST[dtype] - 0.3, LOWEST[dtype] - 1, LOWEST[dtype] - 100, -largest, -np.inf)
    assert (tiny >= 0).all()
    assert (tiny <= 1.5 * np.finfo(dtype).tiny).all()


@both
def test_exp_grows(dtype):
    """Also where the power of two changes."""
    edges = np.log(2) * (np.arange(-120, 120) + 0.5)
    x = np.sort(np.concatenate([edges * (1 + k * np.finfo(dtype).eps) for k in range(-20, 21)])).astype(dtype)
    assert (np.diff(_core.exp(x[np.abs(x) < -LOWEST[dtype]])) >= 0).all()


@both
def test_log(dtype):
    rng = np.random.default_rng(2)
    x = np.concatenate(
        [
            positive_numbers(rng, dtype),
            rng.uniform(0.9, 1.1, N),
            rng.uniform(0.3, 3, N),
            1 + signed_powers(rng, -16, -1),
        ]
    ).astype(dtype)
    x = x[x != 1]
    assert ulps(_core.log(x), np.log(x.astype(np.longdouble))).max() < LOG[dtype]


@both
def test_log_at_the_edges(dtype):
    info = np.finfo(dtype)
    x = np.array([info.tiny, info.max, 1 - info.epsneg, 1 + info.eps, 0.5, 2.0, 2.0**100, 2.0**-100], dtype)
    assert ulps(_core.log(x), np.log(x.astype(np.longdouble))).max() < LOG[dtype]
    assert _core.log(np.ones(1, dtype))[0] == 0


@both
def test_pow(dtype):
    rng = np.random.default_rng(3)
    base = np.concatenate([positive_numbers(rng, dtype), rng.uniform(0.5, 2, N).astype(dtype)])
    power = (10.0 ** rng.uniform(-3, 1.5, 2 * N)).astype(dtype)
    exponent = power * np.log(base.astype(np.longdouble))
    inside = (exponent > LOWEST[dtype]) & (exponent < HIGHEST[dtype])
    base, power, exponent = base[inside], power[inside], exponent[inside]
    scale = np.maximum(1, np.abs(exponent))
    assert (ulps(_core.pow(base, power), np.exp(exponent)) / scale).max() < POW[dtype]


@both
def test_pow_at_the_edges(dtype):
    def power(a, b):
        return _core.pow(np.array([a], dtype), np.array([b], dtype))[0]

    info = np.finfo(dtype)
    for b in (0.1, 0.5, 1.0, 3.0):
        assert power(0.0, b) == 0
        assert power(info.smallest_subnormal, b) == 0
        assert power(1.0, b) == 1
    assert power(10.0, 400.0) == np.inf
    assert 0 <= power(0.1, 400.0) <= 1.5 * info.tiny
    assert abs(power(4.0, 0.5) - 2) <= 4 * info.eps
    assert power(info.max, 0.5) == pytest.approx(float(info.max) ** 0.5, rel=200 * float(info.eps))


def test_power_must_be_as_long_as_x():
    with pytest.raises(ValueError, match="power must be as long as x"):
        _core.pow(np.ones(3), np.ones(2))
