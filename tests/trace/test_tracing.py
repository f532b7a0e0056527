"""Traced functions compute what Python does; their derivatives are right; what cannot be traced is explained."""

import functools
import itertools
import linecache
import math
import operator
import pickle
import threading
import types
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from math import exp as imported_exp
from math import sqrt

import cloudpickle
import mpmath
import numba
import numpy as np
import pytest
from conftest import python
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy import cos as imported_cos

import sdefast as sf
from sdefast.trace import (
    TraceError,
    as_function,
    depends_on,
    derivative,
    evaluate,
    make,
    select,
    substitute,
    symbol,
    trace,
)  # fmt: skip

T, X = symbol("t"), (symbol("x0"), symbol("x1"))
Parameters = namedtuple("Parameters", "k")
P = Parameters(symbol("p_k"))
K = 0.75

#: values of (t, x0, x1): all signs, equal ones, zero
POINTS = [
    (0.5, 0.7, -1.3), (0.0, -0.4, 2.1), (1.25, 1.5, 1.5), (2.0, -2.2, -0.3), (0.5, 0.0, 0.5), (0.3, 0.25, -0.25),
]  # fmt: skip


def flat(result):
    """All numbers of a result, however nested."""
    result = result.tolist() if hasattr(result, "tolist") else result
    return [number for part in result for number in flat(part)] if isinstance(result, (tuple, list)) else [result]


def values(traced, point):
    """Traced results at a point."""
    t, x0, x1 = point
    return [float(evaluate(e, {T: t, X[0]: x0, X[1]: x1, P.k: K})) for e in flat(traced)]


def value(traced, point):
    (result,) = values(traced, point)
    return result


def plain(function, point):
    """The same from a call with floats."""
    return flat(function(point[0], point[1:], Parameters(K)))


def assert_traced(function, points=POINTS, rtol=1e-13, atol=1e-15):
    traced = trace(function, T, X, P)
    for point in points:
        np.testing.assert_allclose(values(traced, point), plain(function, point), rtol, atol)


# Random functions ----------------------------------------------------------------------------------------------------

UNEVEN, SQUARE = np.array([-0.5, 0.25, 0.375]), np.arange(9.0).reshape(3, 3) ** 2
NUMBER, ARRAY, LIST = -0.625, np.array([0.5, 1.75, -1.0]), [2.0, 0.25, 3]
#: exact under // and %, so that no rounding decides where they jump
ATOMS = ["t", "x[0]", "x[1]", "a", "b", "0.5", "2", "-1.25", "NUMBER", "ARRAY[1]", "LIST[0]", "p.k", "ARRAY[2]"]


def helper(v, shift=0.5):
    if v > shift:
        return math.exp(-v)
    return v * v + min(v, 0.25)


def mean_of(values):
    return sum(values) / len(values)


def down(n, v):
    return v if n == 0 else 0.5 * down(n - 1, v) + n


compiled_helper = numba.njit(helper)

SPACE = {
    "math": math, "np": np, "sqrt": sqrt, "cos": imported_cos, "helper": helper, "mean_of": mean_of, "down": down,
    "compiled_helper": compiled_helper, "NUMBER": NUMBER, "ARRAY": ARRAY, "LIST": LIST,
}  # fmt: skip

atoms = st.sampled_from(ATOMS)
SMOOTH = [
    "({0} + {1})", "({0} - {1})", "({0} * {1})", "({0} / (1.5 + {1} * {1}))", "-{0}", "math.sin({0}) ** 3",
    "np.tanh({0})", "math.exp(-({0}) * ({0}))", "sqrt(1 + {0} * {0})", "cos({0})", "math.sin({0}) ** 2",
    "(2 + math.sin({0})) ** -2", "(1 + {0} * {0}) ** 0.5", "(1 + {0} * {0}) ** 0.3", "math.pow(2 + np.sin({0}), 1.5)",
    "math.log(1 + {0} * {0})", "np.log1p({0} * {0})", "math.erf({0})", "np.arctan({0})", "math.cosh(np.sin({0}))",
    "np.sinh(math.tanh({0}))", "math.expm1(math.sin({0}))", "np.square({0})", "1.5 ** math.sin({0})",
    "sum(v * {0} for v in LIST)", "mean_of([{0}, {1}])", "down(2, {0})", "np.dot(ARRAY, [{0}, {1}, 1.0])",
    "(ARRAY * {0} - {1}).sum()", "sum(x) * {0}", "np.float64(0.5) * {0}", "np.tan(0.25 * math.atan({0}))",
]  # fmt: skip
KINKED = [
    "abs({0})", "min({0}, {1})", "max({0}, {1}, 0.25)", "np.maximum({0}, {1})", "max([{0}, {1}])", "math.fabs({0})",
    "max(v * {0} for v in (1, 2))", "helper(np.sin({0}))", "compiled_helper(math.sin({0}))", "np.clip({0}, -1.0, 2.0)",
    "({2} // 0.5)", "({2} % 0.25)", "({2} % -2)", "math.floor({2})", "np.floor({2})", "np.sign({2})", "{2} // -4",
    "({0} if {3} else {1})", "np.where({3}, {0}, {1})", "({3}) * ({0})", "divmod({2}, 0.5)[1]",
    "(({3}) + ({4})) * ({0})", "abs(({2}) ** 0.5 if {2} > 0 else {0})",
]  # fmt: skip
CONDITIONS = ["{0} < {1}", "{0} >= {1}", "{0} <= {1} < {2}", "{0} == {1}", "{0} != {1}", "not {0} > {1}"]


@st.composite
def conditions(draw):
    simple = [draw(st.sampled_from(CONDITIONS)).format(*(draw(atoms) for _ in range(3))) for _ in range(2)]
    return draw(st.sampled_from(["{0}", "{0} and {1}", "{0} or {1}", "not ({0} or {1})"])).format(*simple)


@st.composite
def numbers(draw, depth, forms):
    if depth == 0:
        return draw(atoms)
    parts = [draw(numbers(depth - 1, forms)) if draw(st.booleans()) else draw(atoms) for _ in range(2)]
    return draw(st.sampled_from(forms)).format(*parts, draw(atoms), *(f"({draw(conditions())})" for _ in range(2)))


@st.composite
def bodies(draw, forms):
    """Statements that change ``a`` and ``b``."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        name, number = draw(st.sampled_from("ab")), draw(numbers(2, forms))
        kind = draw(st.sampled_from(["assign", "if", "loop", "nested", "return"]) if forms != SMOOTH else st.just("x"))
        if kind == "if":
            lines += [
                f"if {draw(conditions())}:",
                f"    {name} = {number}",
                "else:",
                f"    b = {draw(numbers(1, forms))}",
            ]
        elif kind == "loop":
            lines += ["for i in range(3):", f"    {name} = 0.5 * {name} + math.sin({number}) / (i + 1)"]
        elif kind == "nested":
            lines += [f"if {draw(conditions())}:", f"    if {draw(conditions())}:", f"        {name} = {number}"]
            lines += [f"elif {draw(conditions())}:", f"    {name} -= 0.5"]
        elif kind == "return":
            lines += [f"if {draw(conditions())}:", f"    return {number}"]
        else:
            lines += [f"{name} = {number}"]
    return [*lines, "return a - 0.5 * b"]


def function_of(body):
    source = "\n".join(["def f(t, x, p):", "    a, b = x[0], 0.5", *(f"    {line}" for line in body)])
    space = dict(SPACE)
    exec(compile(source, "<generated>", "exec"), space)
    return space["f"]


@given(bodies(SMOOTH + KINKED))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_random_functions(body):
    function = function_of(body)
    try:
        expected = [plain(function, point) for point in POINTS]
    except (ArithmeticError, ValueError):
        assume(False)
    assume(np.max(np.abs(expected)) < 1e6)
    try:
        traced = trace(function, T, X, P)
    except TraceError as error:
        assert "512 ways" in str(error)  # noqa: PT017 - so many branches may be drawn
        return
    np.testing.assert_allclose([values(traced, point) for point in POINTS], expected, rtol=1e-10, atol=1e-10)


@given(bodies(SMOOTH))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_derivatives_of_random_functions(body):
    traced = trace(function_of(body), T, X, P)
    h = 1e-5
    for by in (T, *X):
        slope = derivative(traced, by)
        for point in POINTS[:4]:
            at = [np.add(point, [k * h if s is by else 0 for s in (T, *X)]) for k in (-2, -1, 1, 2)]
            f = [value(traced, p) for p in at]
            expected = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
            assume(np.max(np.abs(f)) < 1e4)
            assert value(slope, point) == pytest.approx(expected, rel=1e-5, abs=1e-5)


# What a function may use ---------------------------------------------------------------------------------------------


class Potential:
    """Parameters and methods."""

    def __init__(self, stiffness):
        self.stiffness, self.table = stiffness, np.array([1.0, -0.5])

    def force(self, t, x, p):
        return -self.stiffness * math.tanh(x[0]) + self.table @ np.array(x)

    @classmethod
    def unit(cls, t, x, p):
        return math.exp(-max(x[0], 0.0))

    @staticmethod
    def free(t, x, p):
        return math.cos(x[1])

    def __call__(self, t, x, p):
        return self.stiffness * math.exp(-abs(x[0]))


def with_closure(n, weights):
    def inner(v):
        return sum(w * math.exp(-v * v / (i + 1)) for i, w in enumerate(weights))

    def drift(t, x, p):
        return [inner(x[i]) * n for i in range(len(x))]

    return drift


def recursive(n, x):
    return math.sin(x) if n == 0 else recursive(n - 1, 0.5 * x) + max(x, n)


def even(n, x):
    return x if n == 0 else odd(n - 1, math.tanh(x))


def odd(n, x):
    return x if n == 0 else even(n - 1, math.exp(-x))


@functools.lru_cache
def cached(x):
    return math.exp(-x * x)


module = types.ModuleType("some_helpers")
exec(
    "import math\nfrom math import exp\ndef f(x):\n    return math.cos(x) + exp(-x * x) * max(x, 0.5)", module.__dict__
)

table = {"force": helper, "width": 2.0}
functions = [math.sin, imported_exp, lambda v: max(v, 0.1)]
cyclic = [helper]
cyclic.append(cyclic)

FUNCTIONS = {
    "closure": with_closure(3, [0.5, -1.0, 2]),
    "closure over an array": with_closure(np.float32(0.5), np.linspace(0.1, 1, 4)),
    "partial": functools.partial(lambda scale, t, x, p, *, shift: scale * math.exp(-x[0]) + shift, 2.0, shift=0.5),
    "partial with functions": functools.partial(lambda f, t, x, p, g: f(x[0]) + g(x[1]), helper, g=math.cos),
    "partial of a method": functools.partial(Potential(1.5).force),
    "method": Potential(2.0).force,
    "class method": Potential.unit,
    "static method": Potential.free,
    "callable object": Potential(0.5),
    "compiled by numba": numba.njit(lambda t, x, p: math.exp(-x[0]) + compiled_helper(x[1])),
    "defaults": lambda t, x, p, f=math.exp, g=helper, n=3: f(-x[0] * x[0]) + g(x[1]) * n,
    "keyword defaults": lambda t, x, p, *, f=helper: f(x[1]),
    "default in a helper": lambda t, x, p: helper(x[0]) + helper(x[1], shift=-0.5),
    "recursion": lambda t, x, p: recursive(3, x[0]),
    "mutual recursion": lambda t, x, p: even(4, x[0]),
    "cached helper": lambda t, x, p: cached(x[0]),
    "helper of a module": lambda t, x, p: module.f(x[0]),
    "functions in containers": lambda t, x, p: functions[0](x[0]) + functions[2](x[1]) + table["force"](x[0]),
    "a container that holds itself": lambda t, x, p: cyclic[0](x[0]),
    "nested function": lambda t, x, p: (lambda v: math.exp(-abs(v)))(x[0]),
    "comprehension": lambda t, x, p: sum([math.exp(-(xi**2)) for xi in x]),
    "generator in max": lambda t, x, p: max(abs(v) for v in x) * max(abs(v) for v in [1, -2]),
    "max with a key": lambda t, x, p: max((v for v in x), key=lambda v: -v) + max([], default=3.0),
    "min of a tuple": lambda t, x, p: min(x) + min((1, 2)) + max(x[0], 1, x[1]),
    "sorted": lambda t, x, p: tuple(sorted([*x, 0.1])),
    "any and all": lambda t, x, p: float(any(v < 0 for v in x)) + 2.0 * all(v < 1 for v in x),
    "reduce": lambda t, x, p: functools.reduce(operator.mul, x),
    "math.prod": lambda t, x, p: math.prod(x, start=2.0) * math.isclose(1.0, 1.001, rel_tol=0.1),
    "from-imports": lambda t, x, p: imported_exp(-sqrt(abs(x[0]))) + imported_cos(x[1]),
    "log with a base": lambda t, x, p: math.log(2.0 + x[0] ** 2, 2) + math.log(3.0, 2.0 + x[0] ** 2) + math.log(8, 2),
    "functions of numbers": lambda t, x, p: math.gamma(4.5) * x[0] + math.hypot(3, 4) + math.comb(5, 2),
    "constants": lambda t, x, p: math.pi * x[0] + np.e + math.inf * 0.0 if math.isnan(math.nan) else 0.0,
    "a matrix": lambda t, x, p: np.array([[1.0, 2.0], [0.5, -1.0]]) @ x,
    "a matrix and an array": lambda t, x, p: np.array([[1.0, 2.0], [0.5, -1.0]]) @ np.array(x) + ARRAY[:2],
    "functions of arrays": lambda t, x, p: np.exp(-(np.array(x) ** 2)) * np.sqrt(ARRAY[:2] * abs(x[0])),
    "maxima of arrays": lambda t, x, p: np.maximum(ARRAY, x[0]) + np.abs(np.array([*x, t])),
    "where on arrays": lambda t, x, p: np.where(ARRAY > 0.6, x[0], x[1]) + np.where([True, False, True], 1, t),
    "numpy scalars": lambda t, x, p: np.float64(2.0) ** x[0] + np.float64(0.5) * x[1] - np.int64(3) / (9 + x[0]),
    "comparisons of numpy scalars": lambda t, x, p: (np.float64(0.7) != x[0]) + 2 * (np.float64(0) < x[1]),
    "remainders of numpy scalars": lambda t, x, p: np.float64(7.0) % (2.0 + (x[0] > 0)) + np.float64(1) // (x[1] - 4),
    "numpy's other functions": lambda t, x, p: (
        np.square(x[0]) + np.positive(x[1]) + np.reciprocal(3 + x[0]) + np.mod(x[1], 0.5) + np.sign(x[0]),
        2.0 * np.not_equal(x[0], 0.7) + 4.0 * np.greater(x[0], x[1]) + 8.0 * np.greater_equal(x[0], x[1]),
        np.clip(x[0], 0, None) + np.clip(x[0], a_min=-1, a_max=0.5) + np.clip(x[0], min=0.1),
    ),
    "angles and logarithms": lambda t, x, p: (
        math.atan2(x[0], x[1]), math.asin(x[0] / 9), math.acos(x[1] / 9), math.hypot(x[0], 2), math.log2(9 + x[0]),
        np.arctan2(1.0, x[1]), np.arcsin(x[0] / 9), np.arccos(x[1] / 9), np.hypot(x[0], x[1]), np.log10(9 + x[0]),
        np.log2(np.array(x) + 9), np.arccos(np.array(x) / 9), np.arcsin(np.array(x) / 9),
    ),
    "whole numbers": lambda t, x, p: (
        math.ceil(x[0]), math.trunc(x[1]), int(x[0] * 3), round(x[0] * 5), np.ceil(x[1]), np.trunc(x[0]), np.rint(x[1]),
        np.round(7 * x[0]), np.around(np.array(x) * 3), np.sign(x[1]), isinstance(3, int), int("3"),
    ),
    "tables": lambda t, x, p: (
        np.interp(x[0], UNEVEN, ARRAY), np.interp(x[1], [-1, 0.5, 2.0], UNEVEN),
        np.interp(t, UNEVEN, ARRAY, left=-1, right=9),
        np.interp(10 * x[0], UNEVEN, ARRAY, left=-1, right=9), np.interp(x[0], [0.5], [2.0]),
        np.interp(x[0], [0, 1], [1, 3]), np.searchsorted(UNEVEN, x[0]), np.searchsorted(UNEVEN, x[0], side="right"),
        np.digitize(x[1], UNEVEN), np.digitize(UNEVEN[1] + 0 * x[1], UNEVEN, right=True),
        *(a for i in (min(int(abs(x[0])), 2),) for a in (ARRAY[i], SQUARE[i, 1], SQUARE[0, i], *SQUARE[i])),
    ),
    "an array of objects": lambda t, x, p: np.array([v + 1 for v in x], dtype=object) + np.zeros(2, dtype=object),
    "logic of numpy": lambda t, x, p: np.logical_and(x[0], x[1] > 0) * 2 + np.logical_or(x[0] < 0, t) * 1.0,
    "truth of numbers": lambda t, x, p: (x[0] or x[1]) + (x[0] and x[1]) + (1.0 if not x[0] else 2.0),
    "a condition or a number": lambda t, x, p: (x[0] < 0 or x[1]) + 0.5,
    "conditions as numbers": lambda t, x, p: ((x[0] > 0) - (x[1] > 0) * 2, -(x[0] > x[1]), (x[0] > 0) ** 2, x[0]**True),
    "conditions with &": lambda t, x, p: 1.0 if (x[0] > 0) & ((x[1] > 0) | ~(x[0] > 1)) & True else 2.0,
    "chained comparisons": lambda t, x, p: 1.0 if -1 < x[0] <= x[1] < 2 else (2.0 if x[0] != x[1] != 1.5 else 3.0),
    "membership": lambda t, x, p: 1.0 if x[0] in (0.0, 0.7) else 2.0,
    "a dictionary of conditions": lambda t, x, p: {True: 1.0, False: 2.0}[bool(x[0] > 0)],
    "whole powers": lambda t, x, p: (x[0] ** 0, x[0] ** 1, x[1] ** 7, (3 + x[0]) ** -3, pow(x[0], np.int64(2))),
    "powers": lambda t, x, p: (2**x[0], abs(x[1]) ** 2.5, abs(x[1]) ** (x[0] + 3), (4 + x[0]) ** -0.5),
    "remainders": lambda t, x, p: (x[0] % 0.5, x[0] // 0.5, 2.0 % (4 + x[0]), -x[0] % -2, divmod(x[1], 0.25)),
    "a number": lambda t, x, p: 3,
    "an array": lambda t, x, p: np.array([1.0, 2.0]),
    "an array without axes": lambda t, x, p: np.array(2.5) * x[0],
    "a list of lists": lambda t, x, p: [[x[0], 1], (np.float64(2), t)],
    "many constants": lambda t, x, p: sum(math.exp(-x[0] ** 2 * w) for w in np.linspace(0, 1, 400)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_python(name):
    assert_traced(FUNCTIONS[name], rtol=1e-12)


def test_the_users_functions_stay_as_they_are():
    before = dict(helper.__globals__)
    for name in FUNCTIONS:
        trace(FUNCTIONS[name], T, X, P)
    assert helper.__globals__["math"] is math
    assert before.keys() == helper.__globals__.keys()
    assert functions[0] is math.sin
    assert table["force"] is helper
    assert helper.__defaults__ == (0.5,)


def test_functions_of_this_library():
    math_ = pytest.importorskip("sdefast.math")
    assert_traced(lambda t, x, p: math_.exp(-abs(x[0])) + math_.max(x[0], x[1]) - math_.min(0.5, x[0]), rtol=1e-13)
    assert_traced(lambda t, x, p: math_.erf(x[0]) + math_.tanh(x[1]) * math_.pow(math_.abs(x[0]), 2.5), rtol=1e-13)


# Functions without source --------------------------------------------------------------------------------------------


def test_source_is_not_needed():
    space = {}
    exec("import math\nf = lambda t, x, p: math.exp(-x[0] * x[0]) if x[1] > 0 else max(x)", space)
    assert not linecache.getlines("<string>")
    assert_traced(space["f"])
    copy = cloudpickle.loads(cloudpickle.dumps(with_closure(2.0, [1.0, 3.0])))
    assert_traced(copy)


def test_python_c():
    code = (
        "import math, sdefast as sf\n"
        "sde = sf.SDE(lambda t, x, p: -math.sin(x[0]) if x[0] > 0 else 0, lambda t, x, p: p.s, params={'s': .1})\n"
        "import pickle; assert pickle.loads(pickle.dumps(sde)) == sde\n"
        "print(sf.simulate(sde, x0=1.0, t1=1.0, n_steps=4, n_paths=3, seed=1).x.ravel().tolist())\n"
        "try: sf.SDE(lambda t, x, p: math.gamma(x[0]), lambda t, x, p: 1)\n"
        "except sf.TraceError as e: print('<string>, line 5' in str(e), 'math.gamma cannot be compiled' in str(e))\n"
    )
    printed = python(code).splitlines()
    sde = sf.SDE(lambda t, x, p: -math.sin(x[0]) if x[0] > 0 else 0, lambda t, x, p: p.s, params={"s": 0.1})
    assert eval(printed[0]) == sf.simulate(sde, x0=1.0, t1=1.0, n_steps=4, n_paths=3, seed=1).x.ravel().tolist()
    assert printed[1] == "True True"


def test_pickled_equations_are_equal():
    scale = 2.0
    sde = sf.SDE(
        lambda t, x, p: (scale * x[1], -math.sin(x[0])), lambda t, x, p: (0, p.s), dim=2, params={"s": 0.5},
        diffusion_derivative=lambda t, x, p: (0, 0), linear=[[0, 2.0], [-1.0, 0]],
    )  # fmt: skip
    copy = pickle.loads(pickle.dumps(sde))
    assert copy == sde
    assert hash(copy) == hash(sde)
    assert copy.equation._a[0] is sde.equation._a[0]
    for other in (
        sf.SDE(lambda t, x, p: (scale * x[1], -math.sin(x[0])), lambda t, x, p: (0, p.s), dim=2, params={"s": 0.25}),
        sf.SDE(lambda t, x, p: (3 * x[1], -math.sin(x[0])), lambda t, x, p: (0, p.s), dim=2, params={"s": 0.5}),
        "sde",
    ):
        assert other != sde


# Expressions ---------------------------------------------------------------------------------------------------------


def test_equal_expressions_are_one_object():
    f = lambda t, x, p: math.exp(-x[0]) * (x[1] + 2.0)  # noqa: E731
    assert trace(f, T, X, P) is trace(f, T, X, P)
    assert symbol("t") is T
    assert (X[0] + 0) is X[0]
    assert X[0] * 1 is X[0]
    assert operator.neg(-X[0]) is X[0]
    assert (X[0] * 0).is_constant(0)
    assert (0 * X[0] + 3).is_constant(3)
    assert X[0] ** 2 is X[0] * X[0]
    assert make("min", X[0], X[0]) is X[0]
    assert not depends_on(X[0] * 0 + T, X)
    assert depends_on(T * X[1], X)


def test_negative_zero_is_kept():
    assert math.copysign(1.0, float(trace(lambda: -0.0))) == -1.0
    assert trace(lambda: -0.0) is not trace(lambda: 0.0)


def test_folding_leaves_what_is_undefined_to_the_run():
    assert not np.isfinite(value(trace(lambda t, x, p: math.log(x[0] * 0) + x[1], T, X, P), POINTS[0]))
    assert value(trace(lambda t, x, p: 1 / (x[0] * 0 + 0.0), T, X, P), POINTS[0]) == math.inf
    assert math.isnan(value(trace(lambda t, x, p: (x[0] * 0 - 8.0) ** (1 / 3), T, X, P), POINTS[0]))


def test_substitution():
    f = trace(helper, X[0])
    g = substitute(f, {X[0]: X[1] * 2.0})
    for point in POINTS:
        assert value(g, point) == value(f, (point[0], 2.0 * point[2], 0.0))
    assert substitute(f, {T: X[1]}) is f
    assert substitute(X[0] + T, {X[0]: T, T: X[0]}) is make("add", T, X[0])


def test_deep_expressions():
    def deep(t, x, p):
        total = x[0]
        for i in range(1500):
            total = total + math.sin(x[0] * i) / 3000
        return total

    traced = trace(deep, T, X, P)
    point = POINTS[0]
    assert value(traced, point) == pytest.approx(plain(deep, point)[0])
    slope = 1 + sum(i * math.cos(point[1] * i) for i in range(1500)) / 3000
    assert value(derivative(traced, X[0]), point) == pytest.approx(slope)
    assert value(substitute(traced, {X[0]: X[1]}), point) == pytest.approx(plain(deep, (0.0, point[2], 0.0))[0])


# Derivatives ---------------------------------------------------------------------------------------------------------

#: operation -> it in Python, it in mpmath, where it is smooth
SMOOTH_OPERATIONS = {
    "add": (lambda x: x + 2 * x, lambda x: x + 2 * x, (-1.3, 0.7)),
    "sub": (lambda x: 3 - x * x - x, lambda x: 3 - x * x - x, (-1.3, 0.7)),
    "mul": (lambda x: x * math.sin(x), lambda x: x * mpmath.sin(x), (-1.3, 0.7)),
    "div": (lambda x: math.cos(x) / (2 + x), lambda x: mpmath.cos(x) / (2 + x), (-1.3, 0.7)),
    "constant / x": (lambda x: 2 / x, lambda x: 2 / x, (-1.3, 0.7)),
    "neg": (lambda x: -(x**3), lambda x: -(x**3), (-1.3, 0.7)),
    "abs": (abs, abs, (-1.3, 0.7)),
    "min": (lambda x: min(x * x, x), lambda x: min(x * x, x), (-1.3, 0.7, 2.0)),
    "max": (lambda x: max(x * x, x), lambda x: max(x * x, x), (-1.3, 0.7, 2.0)),
    "select": (lambda x: np.where(x < 1, x**3, math.exp(x)), lambda x: x**3 if x < 1 else mpmath.exp(x), (0.5, 1.5)),
    "branch": (lambda x: x**3 if x < 1 else math.exp(x), lambda x: x**3 if x < 1 else mpmath.exp(x), (0.5, 1.5)),
    "condition": (lambda x: (x < 1) * x**2, lambda x: (x < 1) * x**2, (0.5, 1.5)),
    "whole power": (lambda x: x**5 + x**-3, lambda x: x**5 + x**-3, (-1.3, 0.7)),
    "power": (lambda x: x**2.7, lambda x: x ** mpmath.mpf(2.7), (0.2, 1.5)),
    "half power": (lambda x: x**1.5 + x**-0.5, lambda x: x ** mpmath.mpf(1.5) + x ** mpmath.mpf(-0.5), (0.2, 1.5)),
    "exponent": (lambda x: 3**x + math.pow(0.5, x), lambda x: mpmath.mpf(3) ** x + mpmath.mpf(0.5) ** x, (-1.3, 0.7)),
    "base and exponent": (lambda x: x ** (x + 1), lambda x: x ** (x + 1), (0.2, 1.5)),
    "floor": (lambda x: x - math.floor(x), lambda x: x - mpmath.floor(x), (-1.3, 0.7)),
    "remainder": (lambda x: x**2 % 0.4, lambda x: x**2 - 0.4 * mpmath.floor(x**2 / 0.4), (-1.3, 0.7)),
    "asin": (lambda x: math.asin(x / 2), lambda x: mpmath.asin(x / 2), (-1.3, 0.7)),
    "acos": (lambda x: math.acos(x / 2), lambda x: mpmath.acos(x / 2), (-1.3, 0.7)),
    "atan2": (lambda x: math.atan2(x, 1 - x), lambda x: mpmath.atan2(x, 1 - x), (-1.3, 0.7, 3.0)),
    "hypot": (lambda x: math.hypot(x, 2 * x + 1), lambda x: mpmath.hypot(x, 2 * x + 1), (-1.3, 0.7)),
    "log2": (lambda x: math.log2(x), lambda x: mpmath.log(x, 2), (0.2, 1.5)),
    "log10": (lambda x: math.log10(x), lambda x: mpmath.log10(x), (0.2, 1.5)),
    "table": (lambda x: np.interp(x, [-1, 0, 2], [3, 1, 5]) * x, lambda x: x + 2 * x * abs(x), (-0.5, 0.7)),
    "exp": (lambda x: math.exp(2 * x), lambda x: mpmath.exp(2 * x), (-1.3, 0.7)),
    "exp_moderate": (lambda x: make("exp_moderate", 2 * x), lambda x: mpmath.exp(2 * x), (-1.3, 0.7)),
    "log": (lambda x: math.log(x), lambda x: mpmath.log(x), (0.2, 1.5)),
    "log_positive": (lambda x: make("log_positive", x), lambda x: mpmath.log(x), (0.2, 1.5)),
    "log with a base": (lambda x: math.log(3, x), lambda x: mpmath.log(3, x), (0.2, 1.5)),
    "sqrt": (lambda x: math.sqrt(x), lambda x: mpmath.sqrt(x), (0.2, 1.5)),
    "sin": (lambda x: math.sin(2 * x), lambda x: mpmath.sin(2 * x), (-1.3, 0.7)),
    "cos": (lambda x: math.cos(2 * x), lambda x: mpmath.cos(2 * x), (-1.3, 0.7)),
    "tan": (lambda x: math.tan(x), lambda x: mpmath.tan(x), (-1.3, 0.7)),
    "tanh": (lambda x: math.tanh(x), lambda x: mpmath.tanh(x), (-1.3, 0.7, 5.0)),
    "erf": (lambda x: math.erf(2 * x), lambda x: mpmath.erf(2 * x), (-1.3, 0.7)),
    "expm1": (lambda x: math.expm1(2 * x), lambda x: mpmath.expm1(2 * x), (-1.3, 0.7)),
    "log1p": (lambda x: math.log1p(x), lambda x: mpmath.log1p(x), (-0.9, 0.7)),
    "sinh": (lambda x: math.sinh(x), lambda x: mpmath.sinh(x), (-1.3, 0.7)),
    "cosh": (lambda x: math.cosh(x), lambda x: mpmath.cosh(x), (-1.3, 0.7)),
    "atan": (lambda x: math.atan(x), lambda x: mpmath.atan(x), (-1.3, 0.7)),
    "square": (lambda x: np.square(x), lambda x: x * x, (-1.3, 0.7)),
    "sign": (lambda x: np.sign(x) * x, lambda x: abs(x), (-1.3, 0.7)),
}  # fmt: skip


def test_every_operation_has_a_derivative():
    from sdefast.trace.derivatives import RULES
    from sdefast.trace.evaluate import _NUMPY
    from sdefast.trace.operations import ON_NUMBERS

    assert RULES.keys() - {"sum", "element", "place"} | {"select"} == _NUMPY.keys()
    assert ON_NUMBERS.keys() <= _NUMPY.keys()


@pytest.mark.parametrize("name", SMOOTH_OPERATIONS)
def test_derivative(name):
    function, exact, points = SMOOTH_OPERATIONS[name]
    traced = trace(lambda x: function(x), X[0])
    first = derivative(traced, X[0])
    second = derivative(first, X[0])
    with mpmath.workdps(40):
        for point in points:
            at = {X[0]: point}
            assert evaluate(traced, at) == pytest.approx(float(exact(mpmath.mpf(point))), rel=1e-14)
            assert evaluate(first, at) == pytest.approx(float(mpmath.diff(exact, point)), rel=1e-12, abs=1e-15)
            assert evaluate(second, at) == pytest.approx(float(mpmath.diff(exact, point, 2)), rel=1e-11, abs=1e-13)


def test_derivatives_at_the_border_of_the_state_space():
    for function in (lambda x: max(x, 0) ** 0.5, lambda x: math.sqrt(max(x, 0)), lambda x: max(x, 0) ** 0.7):
        slope = derivative(trace(function, X[0]), X[0])
        assert evaluate(slope, {X[0]: np.array([-1.0, 0.0])}).tolist() == [0.0, 0.0]
    assert evaluate(derivative(trace(lambda x: max(x, 0) ** 2, X[0]), X[0]), {X[0]: 0.0}) == 0.0
    assert evaluate(derivative(trace(lambda x: x**1, X[0]), X[0]), {X[0]: 0.0}) == 1.0


def test_a_branch_that_is_not_taken_does_no_harm():
    slope = derivative(trace(lambda x: math.log(x) if x > 0 else 2.0 * x, X[0]), X[0])
    assert evaluate(slope, {X[0]: np.array([-1.0, 0.0, 2.0])}).tolist() == [2.0, 2.0, 0.5]


def test_derivative_by_several_symbols():
    f = trace(lambda t, x: x[0] ** 2 * math.exp(t * x[1]), T, X)
    t, x0, x1 = POINTS[0]
    assert value(derivative(f, T), POINTS[0]) == pytest.approx(x0**2 * x1 * math.exp(t * x1))
    assert value(derivative(f, X[0]), POINTS[0]) == pytest.approx(2 * x0 * math.exp(t * x1))
    assert value(derivative(f, X[1]), POINTS[0]) == pytest.approx(x0**2 * t * math.exp(t * x1))
    assert derivative(f, symbol("other")).is_constant(0)


# What cannot be traced -----------------------------------------------------------------------------------------------


def endless(t, x, p):
    n = 0
    while x[0] > n:
        n += 1
    return n


def iterated(t, x, p):
    y = x[0]
    while not abs(y) < 1e-3:
        y = 0.5 * y
    return y


def many_branches(t, x, p):
    return sum(1.0 if x[0] > i else 0.0 for i in range(12))


def uneven(t, x, p):
    if x[0] > 0:
        return x[0], 1.0
    return 1.0


def raising(t, x, p):
    raise RuntimeError("no drift here")


def in_a_helper(t, x, p):
    return helped(x[0])


def helped(v):
    return math.lgamma(v)  # the line to show


def filled(t, x, p):
    out = np.zeros(2)
    out[0] = x[1]
    return out


def assigned(t, x, p):
    x[0] = 1.0
    return x


BAD = [
    (lambda t, x, p: math.gamma(x[0]), "math.gamma cannot be compiled; the functions that can are exp", "math.gamma"),
    (in_a_helper, "math.lgamma cannot be compiled", "return math.lgamma(v)  # the line to show"),
    (lambda t, x, p: float(x[0]), "was passed to something that needs a number now", "float(x[0])"),
    (lambda t, x, p: operator.index(x[0]), "cannot be an index of a list or the length", "operator.index(x[0])"),
    (lambda t, x, p: [1.0, 2.0][x[0]], "cannot be an index", "[1.0, 2.0][x[0]]"),
    (lambda t, x, p: np.array(ARRAY)[x[0]], "indices", "np.array(ARRAY)[x[0]]"),
    (lambda t, x, p: SQUARE[x[0], x[1]], "indexed by one value", "SQUARE[x[0], x[1]]"),
    (filled, "return a tuple or a list, or fill np.zeros(n, dtype=object)", "out[0] = x[1]"),
    (assigned, "does not support item assignment; the function returns new numbers", "x[0] = 1.0"),
    (lambda t, x, p: np.interp(t, [0, 2, 1], [0, 1, 2]), "must increase, got 2 and then 1 at 2", "np.interp"),
    (lambda t, x, p: np.interp(t, [0, math.nan], [0, 1]), "xp, the knots of numpy.interp, must be finite", "np.interp"),
    (lambda t, x, p: np.interp(t, [0, 1], [0, 1, 2]), "a value for every knot, got 2 knots and 3", "np.interp"),
    (lambda t, x, p: np.interp(t, [[0, 1]], [0, 1]), "must be of one dimension", "np.interp"),
    (lambda t, x, p: np.interp(t, [0, 1], [0, 1], period=1.0), "without a period", "np.interp"),
    (lambda t, x, p: round(x[0], 2), "rounding to 2 decimals cannot be compiled", "round(x[0], 2)"),
    (lambda t, x, p: sum(range(x[0])), "the length of a range; close over an integer", "range(x[0])"),
    (lambda t, x, p: x[0][0], "subscriptable", "x[0][0]"),
    (lambda t, x, p: [*x[0]], "a number cannot be unpacked", "[*x[0]]"),
    (lambda t, x, p: x[2], "out of range", "x[2]"),
    (lambda t, x, p: p.unknown, "no attribute 'unknown'", "p.unknown"),
    (lambda t, x, p: np.cbrt(x[0]), "numpy.cbrt cannot be compiled", "np.cbrt(x[0])"),
    (lambda t, x, p: np.cumsum(x[0]), "numpy.cumsum cannot be compiled", "np.cumsum(x[0])"),
    (lambda t, x, p: np.linalg.inv(x), "", "np.linalg.inv(x)"),
    (lambda t, x, p: x[0] & 1, "unsupported operand", "x[0] & 1"),
    (lambda t, x, p: ~x[0], "~ is for conditions", "~x[0]"),
    (lambda t, x, p: x[0] + "a", "unsupported operand", 'x[0] + "a"'),
    (lambda t, x, p: 1j * x[0], "unsupported operand", "1j * x[0]"),
    (lambda t, x, p: 1 / 0, "division by zero", "1 / 0"),
    (raising, "no drift here", 'raise RuntimeError("no drift here")'),
    (endless, "a loop does not end: how often it runs depends on the state", "while x[0] > n:"),
    (lambda t, x, p: "a", "must return numbers or tuples of numbers, got str", None),
    (lambda t, x, p: None, "must return numbers or tuples of numbers, got NoneType", None),
    (lambda t, x, p: (x[0], {}), "must return numbers or tuples of numbers, got dict", None),
    (lambda t, x, p: 1j, "must return numbers or tuples of numbers, got complex", None),
    (uneven, "tuples of different lengths from different branches", None),
    (many_branches, "more than 512 ways through its branches", None),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_errors_show_the_users_line(case):
    function, message, line = BAD[case]
    with pytest.raises(TraceError) as caught:
        trace(function, T, X, P, what="drift")
    text = str(caught.value)
    assert text.startswith("the drift ")
    assert message in text
    assert isinstance(caught.value, TypeError)
    if line is not None:
        assert f"{__file__}, line " in text
        assert line in text.split("\n")[1]


GENERAL = {"noise": "general", "noise_dim": 2}
WRONG = [
    ({"drift": lambda t: t}, TypeError, r"drift must be a function of \(t, x\), up to \(t, x, p\), got one of \(t\)"),
    ({"drift": lambda x, p: x}, TypeError, r"got one of \(x, p\): the parameters come after"),
    ({"diffusion": lambda t, x, p, q: x}, TypeError, r"diffusion must be .* got one of \(t, x, p, q\)"),
    ({"diffusion_derivative": lambda x: x}, TypeError, "diffusion_derivative must be a function of"),
    ({"drift": 3.0}, TypeError, r"drift must be a function of \(t, x\) or \(t, x, p\), got 3.0"),
    ({"drift": lambda t, x, p: (1, 2, 3)}, ValueError, "drift must return 2 numbers, got 3 numbers"),
    ({"drift": lambda t, x, p: 1}, ValueError, "drift must return 2 numbers, got one number"),
    ({"drift": lambda t, x, p: ((1,), (2,))}, ValueError, "drift must return 2 numbers, got rows of 1, 1 numbers"),
    ({"diffusion": lambda t, x, p: ((1, 2), (1, 2))}, ValueError, "diffusion must return 2 numbers, got rows of 2, 2"),
    ({"diffusion": lambda t, x, p: ((1,), (2,)), "noise": "scalar"}, ValueError, "diffusion must return 2 numbers"),
    ({"noise": "general"}, TypeError, "noise='general' needs noise_dim"),
    ({"noise": "general", "noise_dim": 3}, ValueError, "diffusion must return 2 rows of 3 numbers each, got 2"),
    (GENERAL | {"diffusion": lambda t, x, p: ((1, 2), (1, 2, 3))}, ValueError, "rows of 2, 3 numbers"),
    (GENERAL | {"diffusion": lambda t, x, p: ((1, 2), 1)}, ValueError, "rows of 2, 1 numbers"),
    (GENERAL | {"noise_dim": 1, "diffusion": lambda t, x, p: ((((1,),),), ((1,),))}, ValueError, "2 rows of 1 numbers"),
    ({"noise": "additive", "diffusion": lambda t, x, p: (1.0, x[0])}, ValueError, "the state, but row 1 does"),
    ({"noise": "additive", "noise_dim": 3}, ValueError, "diffusion must return 2 rows of 3 numbers"),
    ({"noise": "diagonal", "noise_dim": 3}, ValueError, "noise='diagonal' has as many noises as components, 2, got"),
    ({"noise": "scalar", "noise_dim": 2}, ValueError, "noise='scalar' has one noise, got noise_dim=2"),
    ({"noise": "white"}, ValueError, "noise must be one of"),
    ({"noise": "aditive"}, ValueError, "did you mean 'additive'"),
    ({"calculus": "itô"}, ValueError, "calculus must be one of"),
    ({"dim": 0}, ValueError, "dim must be between 1 and 8192"),
    ({"dim": 8193}, ValueError, "dim must be between 1 and 8192"),
    ({"dim": 2.0}, TypeError, "dim must be an integer"),
    ({"params": [1]}, TypeError, "params must be a mapping"),
    ({"params": {"a": "b"}}, TypeError, r"params\['a'\] must be a real number"),
    ({"params": {"a": math.nan}}, ValueError, r"params\['a'\] must be finite"),
    ({"params": {"a b": 1}}, ValueError, "params must have names that can follow 'p.', got 'a b'"),
    ({"params": {"class": 1}}, ValueError, "params must have names that can follow 'p.', got 'class'"),
    ({"params": {"_a": 1}}, ValueError, "params must have names"),
    ({"params": {1: 1}}, ValueError, "params must have names"),
    ({"linear": [1, 2, 3]}, ValueError, r"linear must have shape \(2,\) or \(2, 2\)"),
    ({"diffusion_derivative": lambda t, x, p: 1.0}, ValueError, "diffusion_derivative must return 2 numbers"),
    ({"diffusion_derivative": lambda t, x, p: (1, 1), "noise": "scalar"}, ValueError, "diffusion_derivative is for"),
    ({"drift": lambda t, x, p: (x[0] > 0 and "a", 1)}, TraceError, "got str"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_equations(case):
    wrong, kind, message = WRONG[case]
    right = {"drift": lambda t, x, p: (x[1], -x[0]), "diffusion": lambda t, x, p: (1.0, 2.0), "dim": 2}
    with pytest.raises(kind, match=message):
        sf.SDE(**right | wrong)


def test_what_an_equation_may_leave_out():
    one = sf.SDE(lambda t, x, p: -x[0], lambda t, x, p: 1.0)
    assert (one.dim, one.noise_dim, one.additive_noise) == (1, 1, True)
    assert sf.SDE(lambda t, x, p: (-x[0],), lambda t, x, p: [1.0]) == one
    rows = sf.SDE(lambda t, x, p: x, lambda t, x, p: ((1, 0), (0, 2)), dim=2, noise="additive")
    assert rows == sf.SDE(lambda t, x, p: x, lambda t, x, p: (1, 2), dim=2, noise="additive")
    assert sf.SDE(lambda *args: 0.0, lambda t, x, p, s=2.0: s * x[0]).equation._b[0][0] is not None
    assert sf.SDE(numba.njit(lambda t, x, p: -x[0]), Potential(1.0)).dim == 1
    assert "SDE(<lambda>, Potential" in repr(sf.SDE(lambda t, x, p: -x[0], Potential(1.0)))


# Threads -------------------------------------------------------------------------------------------------------------


def test_a_loop_whose_end_depends_on_the_state(monkeypatch):
    monkeypatch.setattr("sdefast.trace.tracing._MOST_WAYS", 50)  # (of 512 the last ones take seconds)
    with pytest.raises(TraceError, match="has more than 50 ways through its branches, or a loop whose"):
        trace(iterated, T, X, P, what="drift")


def test_tracing_in_several_threads():
    n, rounds = 4, 15
    barrier = threading.Barrier(n)

    def branchy(i):
        def f(t, x, p):
            total = 0.0
            for j in range(4):
                total = total + (math.exp(-x[0] * j) if x[0] > 0.1 * j + i else x[1] * j)
            return total, max(x[0], i)

        return f

    def work(worker):
        barrier.wait()
        results = []
        for i in range(rounds):
            sde = sf.SDE(branchy(i), lambda t, x, p: (p.s, x[0]), dim=2, params={"s": 1.0})
            traced = trace(branchy(i), T, X, P)
            derivative(traced[0], X[0])
            results.append((sde, traced))
        return results

    with ThreadPoolExecutor(n) as pool:
        all_results = list(pool.map(work, range(n)))
    for i, same in enumerate(zip(*all_results, strict=True)):
        for one, other in itertools.pairwise(same):
            assert one[0] == other[0]
            assert one[1][0] is other[1][0]
        for point in POINTS:
            np.testing.assert_allclose(values(same[0][1], point), plain(branchy(i), point), rtol=1e-14)


def test_the_truth_of_an_expression_outside_a_trace():
    with pytest.raises(TypeError, match="known only when paths are simulated"):
        bool(X[0] > 0)
    with pytest.raises(TypeError, match="pickle the function"):
        pickle.dumps(X[0])
    assert bool(select(X[0] > 0, 2.0, 2.0))


def test_random_numbers_are_not_compiled_in():
    with pytest.raises(sf.TraceError, match="drift gives different results when it is called twice"):
        sf.SDE(lambda t, x, p: np.random.default_rng().normal(), lambda t, x, p: 1.0)


def bumps(x, data):
    return sf.math.sum(lambda row: math.exp(-((x - row[0]) ** 2)) * row[1], data)


def test_functions_of_plain_numbers_are_what_evaluate_gives():
    def f(t, x, p):
        a, b = abs(x[0]) + 0.1, x[1]
        sums = a + b - t * p.k / a, -b, a**1.3, a**-2, a // 2.5, b % 0.7
        calls = math.exp(b), math.log(a), math.sqrt(a), math.sin(b), math.cos(b), math.tan(b), math.tanh(b), math.erf(b)
        rest = math.expm1(b), math.log1p(a), math.sinh(b), math.cosh(b), math.atan(b), max(a, b), min(a, b), abs(b)
        chosen = a if b > t and not a <= 1 else b, 1.0 if (b == t) | ((a < 1) & (b >= 0)) else math.inf
        return (*sums, *calls, *rest, *chosen)

    traced = trace(f, T, X, P)
    function = as_function(traced, (T, *X, P.k))
    for point in POINTS:
        np.testing.assert_allclose(function(*point, K), values(traced, point), rtol=1e-14)
    data = np.array([[0.5, 1.0], [-0.25, 2.0], [1.5, -1.0]])
    over_rows = trace(lambda t, x, p: (bumps(x[0], data), *sf.math.softmax(x)), T, X, P)
    function = as_function(over_rows, (T, *X))
    for point in POINTS:
        np.testing.assert_allclose(function(*point), values(over_rows, point), rtol=1e-14)
        exact = (np.exp(-((point[1] - data[:, 0]) ** 2)) * data[:, 1]).sum()
        assert function(*point)[0] == pytest.approx(exact, rel=1e-13)
    nothing = trace(lambda t, x, p: (math.nan, t), T, X, P)
    assert math.isnan(as_function(nothing, (T,))(1.0)[0])
    with pytest.raises(ValueError, match="math domain error"):
        as_function(trace(lambda t, x, p: (math.sqrt(x[0]),), T, X, P), X)(-1.0, 0.0)
