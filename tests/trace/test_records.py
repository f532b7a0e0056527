"""Expressions as lists and functions that replay them: the same expressions again, whatever they are made of."""

import json
import math
import pickle
from collections import namedtuple

import numpy as np
import pytest

from sdefast.trace import Replayed, all_parts, as_expr, constant, make, select, symbol, trace
from sdefast.trace.expression import FUNCTIONS
from sdefast.trace.records import listed, rebuilt

x, y = symbol("x0"), symbol("x1")


def again(outputs):
    """By way of JSON as the standard has it."""
    record = json.loads(json.dumps(listed(outputs), allow_nan=False))
    return rebuilt(record["operations"], record["outputs"])


def every_operation():
    """An expression of each operation that users' functions can have."""
    two = ("add", "sub", "mul", "div", "pow", "min", "max")
    yield from (make(name, x) for name in FUNCTIONS if name not in (*two, "abs"))
    yield from (make(name, x, y) for name in two)
    yield from (abs(x), -x, select(x < y, x, y), select(~((x <= y) & (y == 2.0)) | (x < 0), 1.0, x))


def test_every_operation_comes_back_as_the_same_expression():
    expressions = tuple(every_operation())
    seen = {part.op for part in all_parts(expressions)}
    assert seen == {*FUNCTIONS, "add", "sub", "mul", "div", "neg", "lt", "le", "eq", "and", "or", "not", "select"} | {
        "symbol", "constant"
    }  # fmt: skip
    for expression, back in zip(expressions, again(expressions), strict=True):
        assert back is expression


@pytest.mark.parametrize("value", [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, True])
def test_constants_come_back_to_the_bit(value):
    assert again(constant(value)) is constant(value)


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
