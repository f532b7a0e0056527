"""Expressions as lists and functions that replay them: the same expressions again, whatever they are made of."""

import json
import math
import pickle
from collections import namedtuple

import numpy as np
import pytest

from sdefast import math as math_of
from sdefast.run import records
from sdefast.trace import (
    Replayed,
    all_parts,
    as_expr,
    as_function,
    constant,
    derivative,
    evaluate,
    make,
    select,
    symbol,
    trace,
    tracing,
)
from sdefast.trace.evaluate import _NUMPY, EVALUATED
from sdefast.trace.operations import FUNCTIONS
from sdefast.trace.records import listed, rebuilt

x, y = symbol("x0"), symbol("x1")


def again(outputs):
    """By way of JSON as the standard has it."""
    record, arrays = records.write(listed(outputs))
    return rebuilt(**records.read(json.loads(json.dumps(record, allow_nan=False)), arrays))


def every_operation():
    """An expression of each operation that users' functions can have."""
    two = ("add", "sub", "mul", "div", "pow", "min", "max", "atan2", "hypot")
    yield from (make(name, x) for name in FUNCTIONS if name not in (*two, "abs"))
    yield from (make(name, x, y) for name in two)
    yield from (abs(x), -x, select(x < y, x, y), select(~((x <= y) & (y == 2.0)) | (x < 0), 1.0, x))
    yield math_of.sum(lambda row: math_of.logsumexp((0.0, math_of.dot(row, (x, y, x + y, x * y)))), np.eye(4))
    yield from math_of.softmax((x, y))
    yield from (np.interp(x, [0.0, 1.0, 3.0], [1.0, 2.0, 0.5]), np.searchsorted([0.5, 2.0], y))


def test_every_operation_comes_back_as_the_same_expression():
    expressions = tuple(every_operation())
    terms = [part.value.body for part in all_parts(expressions) if part.op == "sum"]
    seen = {part.op for part in all_parts((*expressions, *terms))}
    assert seen == {*EVALUATED, *_NUMPY, "symbol", "constant"} - {"log_positive"}  # (of chi-square variates alone)
    for expression, back in zip(expressions, again(expressions), strict=True):
        assert back is expression


@pytest.mark.parametrize("value", [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, True])
def test_constants_come_back_to_the_bit(value):
    assert again(constant(value)) is constant(value)


def test_sums_over_rows_and_shares_of_weights_come_back():
    """With their tables, each written once, and their derivatives."""
    data = np.random.default_rng(1).normal(size=(7, 5))
    total = math_of.sum(lambda r: math_of.logsumexp((0.0, math_of.dot(r, (x, y, 1.0, x * y, x)))), data)
    outputs = (total, derivative(total, x), derivative(derivative(total, x), y), math_of.exp(0.1 * total), total + x)
    for expression, back in zip(outputs, again(outputs), strict=True):
        assert back is expression
    operations = listed(outputs)["operations"]
    assert [op for op, *_ in operations].count("table") == 1
    at = {x: np.array([0.3, -1.0]), y: np.array([0.2, 2.0])}
    replayed = Replayed("f", (("a", ("x0", "x1")),), outputs)
    for have, e in zip(replayed((at[x], at[y])), outputs, strict=True):
        np.testing.assert_array_equal(have, evaluate(e, at))
    points = [as_function(outputs, (x, y))(*point) for point in zip(at[x], at[y], strict=True)]
    np.testing.assert_allclose(np.transpose(points), [evaluate(e, at) for e in outputs], rtol=1e-13)


TABLE, BODY = ["table", [[1.0, 2.0]]], [[["symbol", "#1"], ["symbol", "@0"], ["mul", 0, 1]], 2]


@pytest.mark.parametrize(
    "operations",
    [
        [["symbol", "x0"], ["table", [[1.0], [2.0, 3.0]]], ["sum", 1, BODY, 0]],
        [["symbol", "x0"], ["table", [[math.nan]]], ["sum", 1, BODY, 0]],
        [["symbol", "x0"], ["table", "1"], ["sum", 1, BODY, 0]],
        [["symbol", "x0"], TABLE, ["sum", 0, BODY, 0]],
        [["symbol", "x0"], TABLE, ["sum", 2, BODY, 0]],
        [["symbol", "x0"], TABLE, ["sum", -1, BODY, 0]],
        [["symbol", "x0"], TABLE, ["sum", 1, [[["symbol", "import os"]], 0], 0]],
        [["symbol", "x0"], TABLE, ["sum", 1, BODY, 1]],
        [["symbol", "x0"], TABLE, ["sum", 1, BODY]],
        [["symbol", "x0"], TABLE, ["sum", 1]],
        [["symbol", "x0"], TABLE, ["sum", 1, [[["symbol", "#2"]], 0], 0]],
        [["symbol", "x0"], TABLE, ["sum", 1, [[["symbol", "@1"]], 0], 0]],
        [["symbol", "x0"], TABLE, ["sum", 1, [[["symbol", "x0"]], 0], 0]],
        [["symbol", "x0"], TABLE, ["sum", 1, [[["symbol", "#0"]], 1], 0]],
        [["symbol", "x0"], TABLE, ["sum", 1, [[TABLE], 0], 0]],
        [["symbol", "x0"], TABLE, ["exp", 1]],
        [["symbol", "x0"], ["dot", 0]],
    ],
)
def test_refuses_what_no_sum_is(operations):
    with pytest.raises(ValueError, match=r"operation|a term cannot"):
        rebuilt(operations, len(operations) - 1)
    assert rebuilt([["symbol", "x0"], TABLE, ["sum", 1, BODY, 0]], 2) is math_of.sum(lambda r: r[1] * x, [[1.0, 2.0]])


def test_shared_parts_are_written_once():
    deep = x
    for _ in range(2000):  # deeper than Python's recursion; written out it would not fit anywhere
        deep = as_expr(make("sin", deep) * deep)
    assert len(listed(deep)["operations"]) == 4001
    assert again(deep) is deep


def branching(t, x, p):
    """A user's function with branches, a loop and a helper."""

    def helper(value):
        return value**2 if value > p.a else math.exp(-value)

    total = 0.0
    for i in range(3):
        total = total + helper(x[i % 2] + i * t)
    return (total, min(x[0], 0.5)) if x[1] > 0 else (x[0], t)


P = namedtuple("P", ["a"])
SYMBOLS = (symbol("t"), (x, y), P(symbol("p_a")))


def replay():
    outputs = trace(branching, *SYMBOLS)
    return Replayed("branching", (("t", "t"), ("x", ("x0", "x1")), ("p", ("p_a",))), outputs)


def test_replays_numbers_and_arrays():
    rng = np.random.default_rng(1)
    t, a, b, p = rng.standard_normal((4, 20))
    at_once = np.array(REPLAYED(t, (a, b), P(p)))
    for i in range(20):
        args = t[i], (a[i], b[i]), P(p[i])
        np.testing.assert_array_equal(REPLAYED(*args), at_once[:, i])
        np.testing.assert_allclose(REPLAYED(*args), branching(*args), rtol=1e-14)


REPLAYED = replay()


def test_replays_expressions_wherever_it_is_traced():
    outputs = replay().outputs
    for value, expected in zip(trace(REPLAYED, *SYMBOLS), outputs, strict=True):
        assert value is expected

    def wrapped(t, x, p):
        return REPLAYED(t, (x[1], x[0]), p)

    swapped = trace(branching, symbol("t"), (y, x), P(symbol("p_a")))
    for value, expected in zip(trace(wrapped, *SYMBOLS), swapped, strict=True):
        assert value is expected


def test_its_own_code_is_run_as_it_is():
    """Not with `min`, `max` and the rest in place of what it calls, as a user's code is."""
    assert tracing._rebind(tracing._called(REPLAYED), {}).__func__ is Replayed.__call__


def test_equal_ones_are_equal_and_travel():
    one, other = replay(), replay()
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != Replayed(one.name, one.inputs, one.outputs[::-1])
    assert repr(one).startswith("<branching(t, x, p), replayed from its ")


def test_refuses_other_arguments():
    with pytest.raises(TypeError, match=r"branching takes \(t, x, p\), got 2 arguments"):
        REPLAYED(0.0, (1.0, 2.0))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        REPLAYED(0.0, (1.0,), (0.0,))


@pytest.mark.parametrize(
    "operations",
    [
        [["symbol", 3]],
        [["symbol"]],
        [["constant", None]],
        [["constant", "seven"]],
        [["symbol", "x0"], ["sin", 1]],
        [["symbol", "x0"], ["sin", -1]],
        [["symbol", "x0"], ["sin", 0.0]],
        [["symbol", "x0"], ["sin", 0, 0]],
        [["symbol", "x0"], ["select", 0, 0]],
        [["symbol", "x0"], ["__import__", 0]],
    ],
)
def test_refuses_what_no_list_of_operations_is(operations):
    with pytest.raises(ValueError, match=r"operation \d cannot be|could not convert"):
        rebuilt(operations, len(operations) - 1)


def test_outputs_must_be_in_the_list():
    for place in (-1, 1):
        with pytest.raises(KeyError):
            rebuilt([["symbol", "x0"]], place)


def test_symbols_must_be_arguments():
    """What else they were would be written into the source that is compiled."""
    with pytest.raises(ValueError, match="f uses 'import os', which is none of its arguments"):
        Replayed("f", (("t", "t"),), symbol("import os") + symbol("t"))
