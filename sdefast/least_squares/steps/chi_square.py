r"""Chi-square variates in compiled steps: always the same number of draws, no branches, no rejection.

A few degrees of freedom are made of exact parts: :math:`-2 \log(u_1 \cdots u_k)` has 2k of them, :math:`z^2` has one.
From `SMOOTH` degrees of freedom on one normal z is enough: the variate is :math:`p(z)^2` with a polynomial p that
approximates the root of the quantile at :math:`\Phi(z)`. Wilson and Hilferty found the cube root to be nearly linear in
z; the square root is nearly as smooth, and squares are never negative. p is fitted when it is first asked for, with the
least degree that leaves the law exact beyond what statistics could see, see `quantile_polynomial`.

References: Wilson and Hilferty, Proceedings of the National Academy of Sciences 17, 1931. Inversion: Devroye,
Non-Uniform Random Variate Generation, Springer, 1986, chapter 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.polynomial import chebyshev, polynomial

from ...trace import Expr, as_expr, make

#: Degrees of freedom from which on polynomials take less time than exact parts: with fewer they are long.
SMOOTH = 7

#: What normals are fitted: float64 ones reach 9.42, float32 ones 6.7.
REACH = 9.5

#: Largest error of a law, as `quantile_polynomial` measures it.
TOLERANCE = 1e-12

_HIGHEST_DEGREE = 32
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True)
class ChiSquare:
    """The chi-square law with ``df`` degrees of freedom, none of which gives 0, and what it takes to draw from it."""

    df: int

    @property
    def n_normals(self) -> int:
        return 1 if self.df >= SMOOTH else self.df % 2

    @property
    def n_uniforms(self) -> int:
        return 0 if self.df >= SMOOTH else self.df // 2

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Numbers that `of` and `root_of` need: those of the polynomial, where there is one."""
        return quantile_polynomial(self.df) if self.df >= SMOOTH else ()

    def of(self, normals: Sequence[Expr], uniforms: Sequence[Expr], coefficients: Sequence[Expr]) -> Expr:
        """A variate as a function of its draws."""
        if self.df >= SMOOTH:
            root = self.root_of(normals, uniforms, coefficients)
            return as_expr(root * root)
        total = as_expr(0.0)
        if uniforms:
            product = uniforms[0]
            for u in uniforms[1:]:
                product = product * u
            total = -2.0 * make("log_positive", product)
        for z in normals:
            total = total + z * z
        return total

    def root_of(self, normals: Sequence[Expr], uniforms: Sequence[Expr], coefficients: Sequence[Expr]) -> Expr:
        """A number of which the variate is the square, of either sign."""
        if self.df >= SMOOTH:
            (z,) = normals
            root = coefficients[-1]
            for c in coefficients[-2::-1]:
                root = root * z + c
            return root
        if self.df == 1:
            return normals[0]
        return make("sqrt", self.of(normals, uniforms, coefficients))


@lru_cache(maxsize=256)
def quantile_polynomial(df: int) -> tuple[float, ...]:
    """Coefficients, from the constant one on, of a polynomial p for which p(z)^2 is nearly chi-square.

    p(z)^2 differs from c(z), the quantile at the probability of the normal z, by e(z). The degree is the least for
    which E|e| in standard deviations of the law plus a bound for the relative error of the sixth moment,
    6 E|e| c^5 / E c^6, is below `TOLERANCE` (or what rounding leaves where df is large), and for which p is positive
    and increasing on all normals there are.

    Parameters
    ----------
    df : int
        Degrees of freedom, at least `SMOOTH`.

    Raises
    ------
    ValueError
        If there are fewer.

    Examples
    --------
    >>> [len(quantile_polynomial(df)) - 1 for df in (7, 20, 100, 1000)]
    [27, 15, 10, 7]
    """
    if df < SMOOTH:
        raise ValueError(f"df must be at least {SMOOTH}, got {df}")
    z, c = _quantiles(df)
    root, width = np.sqrt(c), np.gradient(z)
    # What an error of one in c does to the two measures, per unit of z.
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    ratio = c / df
    effect = density * (1 / math.sqrt(2 * df) + 6 / df * ratio**5 / (ratio**6 @ (density * width)))
    # Far out, where nothing has an effect, a relative error: it keeps p positive and increasing there.
    weights = effect * root
    weights = np.maximum(weights, 1e-11 * weights.max() * root.mean() / root) * np.sqrt(width)
    q, r = np.linalg.qr(chebyshev.chebvander(z / REACH, _HIGHEST_DEGREE) * weights[:, None])
    projected = q.T @ (weights * root)
    everywhere = np.linspace(-REACH, REACH, 400)
    for n in range(3, _HIGHEST_DEGREE + 2):
        coefficients = chebyshev.cheb2poly(np.linalg.solve(r[:n, :n], projected[:n])) / REACH ** np.arange(n)
        p = polynomial.polyval(z, coefficients)
        error = np.abs(p * p - c) @ (effect * width)
        p = polynomial.polyval(everywhere, coefficients)
        if error < max(TOLERANCE, 1e-15 * math.sqrt(df)) and p[0] > 0 and (np.diff(p) > 0).all():
            return tuple(coefficients.tolist())
    raise AssertionError(f"no polynomial for {df} degrees of freedom")


def _quantiles(df: int, n_panels: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """Normals z between -REACH and REACH and the quantiles c of the chi-square law at their probabilities.

    The density of v = (c / df)^(1/3) - 1 is integrated from either end by the rule of Gauss, so that probabilities keep
    their relative accuracy in both tails.
    """
    spread, centre = math.sqrt(2 / (9 * df)), -2 / (9 * df)  # of v, by Wilson and Hilferty
    low, high = max(centre - (REACH + 2) * spread, -1.0), centre + (REACH + 2) * spread
    edges = low + (high - low) * np.linspace(0, 1, n_panels + 1) ** 2  # z has a logarithm at v = -1
    half = 0.5 * np.diff(edges)
    v = (edges[:-1] + half)[:, None] + half[:, None] * _NODES
    log_density = 1.5 * df * (np.log1p(v) - v * (1 + v * (1 + v / 3))) - np.log1p(v)
    mass = half * (np.exp(log_density) @ _WEIGHTS)
    below, above = np.cumsum(mass)[:-1], np.cumsum(mass[::-1])[-2::-1]
    total = mass.sum()
    normal = NormalDist()
    z = np.array(
        [
            normal.inv_cdf(b / total) if b < a else -normal.inv_cdf(a / total)
            for b, a in zip(below.tolist(), above.tolist(), strict=True)
        ]
    )
    inside = np.abs(z) <= REACH
    return z[inside], df * (1 + edges[1:-1][inside]) ** 3
