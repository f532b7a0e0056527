"""Sums over the rows of a table as expressions: what numpy computes, and its derivatives."""

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import python

import sdefast as sf
from sdefast.trace import (
    TraceError,
    captured,
    constant,
    depends_on,
    derivative,
    evaluate,
    substitute,
    symbol,
    trace,
    work,
)
from sdefast.trace.table import Table

m = sf.math
RANDOM = np.random.default_rng(3)
X, Y = RANDOM.normal(size=(23, 6)), np.sign(RANDOM.normal(size=23))
x = tuple(symbol(f"x{i}") for i in range(6))
AT = {e: RANDOM.normal(size=4) for e in x}
V = np.array([AT[e] for e in x])


def logistic(theta):
    return -m.sum(lambda row, y: m.logsumexp((0.0, -y * m.dot(row, theta))), X, Y)


def numeric(f, k, h=1e-6):
    """Central differences of a function of numbers."""
    up, down = V.copy(), V.copy()
    up[k] += h
    down[k] -= h
    return np.array([(f(tuple(a)) - f(tuple(b))) / (2 * h) for a, b in zip(up.T, down.T, strict=True)])


def of_a_sum(theta, s):
    return m.sum(lambda row: m.sin(row[0] * s), X)


FUNCTIONS = {
    "logistic": logistic,
    "nested": lambda theta: m.exp(0.01 * logistic(theta)) * theta[0] + m.sum(lambda y: (y - theta[1]) ** 2, Y),
    "a part that is computed": lambda theta: m.sum(lambda row: m.cos(row[0] * m.exp(theta[0]) + theta[1]), X),
    "two inner products": lambda theta: m.sum(
        lambda row: m.tanh(m.dot(row[:4], theta[:4])) * m.dot(row[2:], theta[2:]), X
    ),
    "the same numbers in another order": lambda theta: m.sum(
        lambda row: m.dot(row, theta) * m.dot(row, theta[::-1]), X
    ),
    "intercept and minus": lambda theta: m.sum(lambda row, y: (y - theta[5] - m.dot(row[:5], theta[:5])) ** 2, X, Y),
    "by hand": lambda theta: m.sum(lambda row: m.sin(sum(2.0 * r * c for r, c in zip(row, theta, strict=True))), X),
    "branch": lambda theta: m.sum(lambda row: row[0] * theta[0] if row[1] > theta[1] else theta[2] ** 2, X),
    "linear": lambda theta: m.sum(lambda row: m.dot(row, theta), X),
    "of a sum": lambda theta: of_a_sum(theta, m.sum(lambda y: y * theta[0], Y)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives(name):
    f = FUNCTIONS[name]
    traced = trace(f, x)
    np.testing.assert_allclose(evaluate(traced, AT), [f(tuple(v)) for v in V.T], rtol=1e-12)
    for k, by in enumerate(x):
        slope = derivative(traced, by)
        np.testing.assert_allclose(evaluate(slope, AT), numeric(f, k), rtol=1e-6, atol=1e-6)
        assert depends_on(traced, [by]) or slope.is_constant(0)


def test_the_exact_gradient_and_second_derivatives():
    traced = trace(logistic, x)
    s = 1 / (1 + np.exp(Y[:, None] * (X @ V)))
    for j, by in enumerate(x):
        slope = derivative(traced, by)
        np.testing.assert_allclose(evaluate(slope, AT), (X[:, j, None] * Y[:, None] * s).sum(0), rtol=1e-12)
        for k in range(6):
            want = -(X[:, j, None] * X[:, k, None] * s * (1 - s)).sum(0)
            np.testing.assert_allclose(evaluate(derivative(slope, x[k]), AT), want, rtol=1e-10, atol=1e-12)


class Frame:
    """As much of a data frame as is used."""

    def __init__(self, **columns):
        self.columns, self._columns = list(columns), columns

    def __getitem__(self, name):
        return SimpleNamespace(to_numpy=lambda: self._columns[name])

    def to_numpy(self):
        return np.column_stack(list(self._columns.values()))


def test_rows_have_the_names_of_a_table():
    named = np.zeros(23, [("a", float), ("b", np.float32)])
    named["a"], named["b"] = X[:, 0], 0.5
    frame = Frame(a=named["a"], b=named["b"])
    want = (X[:, 0] * 0.3 + 0.5).sum()
    for table in (named, {"a": X[:, 0], "b": np.full(23, 0.5)}, frame):
        assert m.sum(lambda row: row.a * 0.3 + row.b, table) == pytest.approx(want, rel=1e-13)
    assert m.sum(lambda row: (row[0], 1), X) == (pytest.approx(X[:, 0].sum()), 23)
    assert m.sum(lambda row: row[0] > 0, X) == (X[:, 0] > 0).sum()


def test_equal_sums_are_one_expression():
    again = trace(logistic, x)
    assert trace(logistic, x) is again
    assert m.sum(lambda r: r[0] * x[0], X) is m.sum(lambda r: r[0] * x[0], X.copy().tolist())
    assert m.sum(lambda r: r[0] * x[0], X) is not m.sum(lambda r: r[0] * x[0], X + 1)
    assert Table.of(X) is Table.of(X.copy())


def test_a_table_is_copied():
    data = X.copy()
    f = m.sum(lambda r: r[0] * x[0], data)
    data[:] = 0.0
    np.testing.assert_allclose(evaluate(f, AT), X[:, 0].sum() * AT[x[0]])


def test_substitution():
    traced = trace(logistic, x)
    moved = substitute(traced, {x[0]: x[1] + 1, x[2]: constant(0.5)})
    at = AT | {x[0]: AT[x[1]] + 1, x[2]: np.full(4, 0.5)}
    np.testing.assert_allclose(evaluate(moved, AT), evaluate(traced, at), rtol=1e-12)
    numbers = substitute(traced, {e: constant(0.25) for e in x})
    assert numbers.value == pytest.approx(logistic((0.25,) * 6), rel=1e-13)


def test_operations_count_once_a_row():
    f = m.sum(lambda row: m.exp(m.dot(row, x)), X)
    assert work([f, f + 1]) == 23 * (6 + 1) + 1


def test_contents_of_long_arrays_count(monkeypatch):
    """A function that reads an array is traced again when its numbers have changed."""
    data = np.zeros((100_000, 2))

    def f(row):
        return data

    before = captured(f)
    assert captured(f) == before
    data[77_777, 1] = 1e-300
    assert captured(f) != before
    assert captured(data[::2]) != captured(data)
    frame = Frame(a=np.ones(3), b=np.zeros(3))
    before = captured(frame)
    frame["a"].to_numpy()[1] = 2.0
    assert captured(frame) != before


WRONG = {
    "as many rows as each other, got 23, 22": lambda: m.sum(lambda a, b: a * b, Y, Y[1:]),
    "at least one row": lambda: m.sum(lambda a: a, np.zeros((0, 2))),
    "must be finite": lambda: m.sum(lambda a: a, [1.0, math.nan]),
    "of one dimension .* or two, got 3": lambda: m.sum(lambda a: a, np.zeros((2, 2, 2))),
    "at least one table": lambda: m.sum(lambda a: a),
    "takes a function": lambda: m.sum(X, X),
    "columns of one dimension and one length": lambda: m.sum(lambda r: r.a, {"a": [1.0], "b": [1.0, 2.0]}),
    "cannot depend on the outer row": lambda: m.sum(lambda a: m.sum(lambda b: a * b, Y), Y),
    "known only when paths are simulated": lambda: m.sum(lambda a: math.gamma(a), Y),
    "3 and 2": lambda: m.dot((1, 2, 3), (1, 2)),
}


@pytest.mark.parametrize("match", WRONG)
def test_what_is_refused(match):
    """And says why."""
    with pytest.raises((ValueError, TypeError, TraceError), match=match):
        WRONG[match]()


def test_expressions_in_other_processes():
    """Digests of tables do not depend on the process, whatever its hashes of strings."""
    script = "import numpy as np; from sdefast.trace import sums; print(sums.Table.of(np.arange(6.0)[:, None]).digest)"
    assert python(script, PYTHONHASHSEED="1").strip() == Table.of(np.arange(6.0)[:, None]).digest


def test_functions_with_tables_are_sent():
    import cloudpickle

    f = pickle.loads(cloudpickle.dumps(logistic))
    assert trace(f, x) is trace(logistic, x)
