"""Chi-square variates: quantiles against mpmath, the law against its moments and scipy's, draws against numpy's."""

import math

import mpmath
import numpy as np
import pytest
from conftest import in_both_types
from numpy.polynomial import polynomial
from scipy import special, stats

from sdefast import noise
from sdefast.engine.running import run_tile
from sdefast.engine.tiles import Draws, Tile
from sdefast.jit.compile import Program
from sdefast.jit.emit import CLOCK, Step, stepper_source
from sdefast.least_squares.steps import chi_square
from sdefast.least_squares.steps.chi_square import REACH, SMOOTH, ChiSquare, quantile_polynomial
from sdefast.trace import as_expr, symbol

MANY = [7, 8, 9, 10, 11, 12, 15, 20, 31, 50, 63, 99, 127, 255, 511, 999, 2047, 4999]


@pytest.mark.parametrize("df", [7, 8, 15, 99, 1000])
def test_quantiles_have_the_probabilities_of_their_normals(df):
    """In relative terms in both tails."""
    z, c = chi_square._quantiles(df)
    assert z[0] < -9.3
    assert z[-1] > 9.3
    with mpmath.workdps(40):
        for i in np.linspace(0, len(z) - 1, 9).astype(int):
            a, b = (0, mpmath.mpf(c[i]) / 2) if z[i] < 0 else (mpmath.mpf(c[i]) / 2, mpmath.inf)
            probability = mpmath.gammainc(mpmath.mpf(df) / 2, a, b, regularized=True)
            exact = mpmath.erfc(abs(mpmath.mpf(z[i])) / mpmath.sqrt(2)) / 2
            assert abs(probability / exact - 1) < (1e-13 if abs(z[i]) < 8 else 1e-6)


@pytest.mark.parametrize("df", [10**4, 10**6])
def test_quantiles_of_many_degrees_of_freedom(df):
    """scipy's probabilities are good to 1e-12 in the middle."""
    z, c = chi_square._quantiles(df)
    z, c = z[np.abs(z) < 4], c[np.abs(z) < 4]
    have = np.where(z < 0, special.gammainc(df / 2, c / 2), special.gammaincc(df / 2, c / 2))
    np.testing.assert_allclose(have, special.ndtr(-np.abs(z)), rtol=3e-12)


@pytest.mark.parametrize("df", MANY)
def test_the_law_is_exact_beyond_what_statistics_see(df):
    """The mean distance from the quantile of scipy in standard deviations, and six moments."""
    z = np.linspace(-9.42, 9.42, 3001)
    weights = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * (z[1] - z[0])  # the trapezoidal rule: exact to 1e-19
    variate = polynomial.polyval(z, quantile_polynomial(df)) ** 2
    near = np.abs(z) < 7.2  # beyond, scipy's quantiles are worse
    exact = 2 * np.where(
        z < 0, special.gammaincinv(df / 2, special.ndtr(z)), special.gammainccinv(df / 2, special.ndtr(-z))
    )
    assert (np.abs(variate - exact) @ (weights * near)) / math.sqrt(2 * df) < 1e-12
    for k in range(1, 7):
        moment = np.prod(1 + 2 * np.arange(k) / df)
        assert (variate / df) ** k @ weights == pytest.approx(moment, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("df", [*MANY, 10**5, 10**6])
def test_polynomials_are_positive_and_increasing(df, dtype):
    """As a kernel computes them: the root is positive for every normal, and in steps above rounding it increases."""
    coefficients = np.array(quantile_polynomial(df), dtype)
    z = np.linspace(-REACH, REACH, 400) if dtype == "float64" else np.linspace(-6.7, 6.7, 200)
    root = polynomial.polyval(z.astype(dtype), coefficients)
    assert root.dtype == dtype
    assert root.min() > 0
    assert (np.diff(root) > 0).all()


@pytest.mark.parametrize("df", [7, 8, 20, 99])
def test_float32_polynomials_lose_little(df):
    """Rounding, in standard deviations and averaged over normals."""
    z = np.linspace(-6.7, 6.7, 2001)
    wide = polynomial.polyval(z, quantile_polynomial(df)) ** 2
    narrow = polynomial.polyval(z.astype("float32"), np.array(quantile_polynomial(df), "float32")) ** 2
    weights = np.exp(-0.5 * z * z) / np.exp(-0.5 * z * z).sum()
    assert np.abs(narrow - wide) @ weights / math.sqrt(2 * df) < 1e-6


def test_polynomials_become_short():
    lengths = [len(quantile_polynomial(df)) for df in MANY]
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (28, 7)


def test_few_degrees_of_freedom_have_no_polynomial():
    with pytest.raises(ValueError, match="df must be at least 7, got 6"):
        quantile_polynomial(6)


# As kernels draw them ------------------------------------------------------------------------------------------------


def symbols(name, n):
    return [symbol(f"{name}{i}") for i in range(n)]


def drawn(df, n, dtype, root=False):
    """Variates, or roots of them, of the chains 0 to n - 1 by a compiled step."""
    law = ChiSquare(df)
    names = tuple(f"p_{k}" for k in range(len(law.coefficients)))
    make = law.root_of if root else law.of
    value = make(symbols("z", law.n_normals), symbols("u", law.n_uniforms), [symbol(name) for name in names])
    step = Step((as_expr(value),), names, (), law.n_normals, law.n_uniforms)
    tile = Tile(
        Program("stepper", stepper_source(step), dtype, dtype),
        np.array([[*np.zeros(len(CLOCK)), *law.coefficients]]),
        Draws(law.n_normals, law.n_uniforms, float32=dtype == "float32"),
        5, 0, n, 0, 1, np.zeros((1, 1), dtype), np.array([1]), True, (), 1.0,
    )  # fmt: skip
    return run_tile(tile).saved[0, 0]


def expected(df, n, dtype):
    """The same in numpy's float64, from the same draws."""
    law = ChiSquare(df)
    z = noise.normals(5, max(law.n_normals, 1), n, dtype=dtype).astype(float)
    u = noise.uniforms(5, max(law.n_uniforms, 1), n, dtype=dtype).astype(float)
    if df >= SMOOTH:
        return polynomial.polyval(z[0], quantile_polynomial(df)) ** 2
    return (z[0] ** 2 if df % 2 else 0.0) - 2 * np.log(u[: df // 2]).sum(axis=0)


@pytest.mark.parametrize(("df", "dtype"), in_both_types([0, 1, 2, 3, 7, 8, 12, 1000]))
def test_variates_are_those_of_numpy(df, dtype):
    eps = float(np.finfo(dtype).eps)
    want = expected(df, 5000, dtype)
    have = drawn(df, 5000, dtype)
    assert have.dtype == dtype
    assert np.abs(have - want).max() <= 200 * eps * math.sqrt(2 * df + 1) * math.sqrt(df + 1)
    np.testing.assert_allclose(drawn(df, 5000, dtype, root=True) ** 2, have, rtol=4 * eps)


@pytest.mark.parametrize(("df", "dtype"), in_both_types([1, 2, 3, 6, 7, 8, 9, 15, 1000]))
def test_variates_follow_the_law(df, dtype):
    """Kolmogorov and Smirnov: sqrt(n) D is above 2.5 once in 140,000."""
    n = 200_000
    x = drawn(df, n, dtype).astype(float)
    assert x.min() >= 0
    assert math.sqrt(n) * stats.kstest(x, stats.chi2(df).cdf).statistic < 2.5
    assert abs(x.mean() - df) < 5 * math.sqrt(2 * df / n)
    assert abs(x.var() - 2 * df) < 5 * 2 * df * math.sqrt((2 + 12 / df) / n)  # the law's kurtosis is 3 + 12 / df
