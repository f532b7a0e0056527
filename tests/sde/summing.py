"""Equations with sums over rows of data."""

import numpy as np

import sdefast as sf
from sdefast.trace import as_expr, derivative, substitute, symbol, trace

m = sf.math
RANDOM = np.random.default_rng(2)


def regression(n, d):
    """Data, and the Langevin equation of their logistic regression with a normal prior."""
    X, y = RANDOM.normal(size=(n, d)), np.sign(RANDOM.normal(size=n))
    names = [symbol(f"x{i}") for i in range(d)]

    def log_density(x):
        return -0.5 * m.dot(x, x) - m.sum(lambda row, s: m.logsumexp((0.0, -s * m.dot(row, x))), X, y)

    density = trace(log_density, tuple(names))
    slopes = [derivative(density, by) for by in names]

    def drift(t, x, p):
        at = dict(zip(names, map(as_expr, x), strict=True))
        return tuple(substitute(slope, at) for slope in slopes)

    return X, y, log_density, sf.SDE(drift, lambda t, x, p: (2**0.5,) * d, dim=d)


def everything():
    """Sums of many kinds over two tables, in a drift with parameters and time, a condition, functionals."""
    X, y = RANDOM.normal(size=(11, 4)), RANDOM.normal(size=6)

    def drift(t, x, p):
        first, second = m.sum(lambda r: (m.tanh(m.dot(r, (*x, *x))), r[0] * m.exp(-(r[1] ** 2)) * x[1]), X)
        inner = m.sum(lambda s: m.sin(s * first * p.a + t), y)
        return -x[0] + 0.1 * inner, -x[1] + 0.1 * second + 0.01 * m.sum(lambda r: (r[2] - x[0]) ** 2 * p.a, X)

    def in_numpy(t, x, a):
        first = np.tanh(X[:, :2] @ x + X[:, 2:] @ x).sum(0)
        second = (X[:, 0] * np.exp(-(X[:, 1] ** 2))).sum() * x[1]
        inner = np.sin(y[:, None] * first * a + t).sum(0)
        last = ((X[:, 2, None] - x[0]) ** 2 * a).sum(0)
        return np.array([-x[0] + 0.1 * inner, -x[1] + 0.1 * second + 0.01 * last])

    sde = sf.SDE(drift, lambda t, x, p: (0.3, 0.2), dim=2, params={"a": 0.7})
    return X, y, sde, in_numpy


def many_components():
    """Data, and an equation of twelve components: some alike, some that read their neighbours, two inner products."""
    X, d = RANDOM.normal(size=(13, 12)), 12

    def drift(t, x, p):
        f = m.sum(lambda r: m.tanh(m.dot(r[2:], x[2:])) * m.dot(r[:10], x[:10]), X)
        return tuple(
            (-p.k * x[i] + 0.1 * f) if i < 9 else x[i - 1] - x[i] + m.sum(lambda r, i=i: m.sin(r[i] * x[0]), X)
            for i in range(d)
        )

    return X, sf.SDE(drift, lambda t, x, p: tuple(0.1 * (1 + c * c) for c in x), dim=d, params={"k": 0.3})
