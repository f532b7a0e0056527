"""Calling a user's function on symbols, through all its branches, to learn what it computes.

A traced function is ordinary scalar Python: any operator, `if`, loops of known length, helper functions, closures over
numbers and arrays, and the functions of `math`, `numpy` and `sdefast.math`. No source text is needed. Where a
condition depends on the state, the function is called once for every way through, and the results are joined by
selections.
"""

from __future__ import annotations

import builtins
import functools
import linecache
import math
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .expression import CALLED, COMPOSED, Expr, as_expr, constant, make, select, trunc
from .lookups import Indexed
from .operations import FUNCTIONS

_MOST_WAYS = 512

#: folders whose lines are of no help in an error message
_NOT_THE_USERS = tuple(str(module.__file__).rsplit("__init__.py", 1)[0] for module in (sys.modules["sdefast"], np))

_tracing = threading.RLock()


class TraceError(TypeError):
    """A function that cannot be compiled; the message shows its line and what is not allowed."""


class TraceValueError(TraceError, ValueError):
    """A function that cannot be compiled with the values that it has, as with a table whose knots do not rise."""


def trace(function: Callable[..., Any], *args: Any, what: str = "function") -> Any:
    """What ``function(*args)`` returns, as (nested tuples of) expressions.

    Raises
    ------
    TraceError
        If something in the function cannot be compiled; for the values that it has it is a ValueError too.
    """
    rebound = _rebind(_called(function), {})
    with _tracing:
        result = _Ways(rebound, args, what).join(())
        if not _same(result, _Ways(rebound, args, what).join(())):
            raise TraceError(
                f"the {what} gives different results when it is called twice, and would be compiled with one of them: "
                "random numbers belong into the diffusion"
            )
        return result


def _same(a: Any, b: Any) -> bool:
    """Whether two traced results are the same expressions."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a is b


def _called(function: Any) -> Any:
    """The method that runs if ``function`` is an object that can be called."""
    method = getattr(type(function), "__call__", None)  # noqa: B004
    return function.__call__ if isinstance(method, types.FunctionType) else function


class _Ways:
    """All ways through a function."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], what: str) -> None:
        self.function, self.args, self.what, self.n = function, args, what, 0

    def join(self, start: tuple[bool, ...]) -> Any:
        """The result given the first decisions: that of the first way, joined with those that turn off it."""
        result, conditions, decisions = self.run(start)
        for i in reversed(range(len(start), len(decisions))):
            other = self.join((*decisions[:i], not decisions[i]))
            result = _select(conditions[i], result, other, self.what)
        return result

    def run(self, start: tuple[bool, ...]) -> tuple[Any, list[Expr], tuple[bool, ...]]:
        self.n += 1
        if self.n > _MOST_WAYS:
            raise TraceError(
                f"the {self.what} has more than {_MOST_WAYS} ways through its branches, or a loop whose end depends on "
                "the state; use sdefast.math.min, max, abs or numpy.where instead of branches"
            )
        conditions: list[Expr] = []
        decisions: list[bool] = []

        def decide(condition: Expr) -> bool:
            known, value = (condition.args[0], False) if condition.op == "not" else (condition, True)
            for seen, decision in zip(conditions, decisions, strict=True):
                if seen is known:
                    return decision is value
            if len(conditions) > _MOST_WAYS:
                raise TypeError("a loop does not end: how often it runs depends on the state")
            decision = start[len(decisions)] if len(decisions) < len(start) else True
            conditions.append(known)
            decisions.append(decision)
            return decision is value

        with _deciding(decide):
            result = self.call()
        return result, conditions, tuple(decisions)

    def call(self) -> Any:
        try:
            return _plain(self.function(*self.args), self.what)
        except TraceError:
            raise
        except Exception as error:
            kind = TraceValueError if isinstance(error, ValueError) else TraceError
            raise kind(_explain(error, self.function, self.what)) from error


@contextmanager
def _deciding(decide: Callable[[Expr], bool]) -> Iterator[None]:
    before = Expr.decide
    Expr.decide = staticmethod(decide)
    try:
        yield
    finally:
        Expr.decide = before


def _plain(result: Any, what: str) -> Any:
    """Numbers as expressions; lists and arrays as tuples."""
    if hasattr(result, "tolist") and not isinstance(result, Expr):
        result = result.tolist()
    if isinstance(result, (tuple, list)):
        return tuple(_plain(part, what) for part in result)
    if isinstance(result, (bool, int, float, Expr)):
        return as_expr(result)
    raise TraceError(f"the {what} must return numbers or tuples of numbers, got {type(result).__name__}")


def _select(condition: Expr, yes: Any, no: Any, what: str) -> Any:
    if isinstance(yes, tuple) != isinstance(no, tuple) or (isinstance(yes, tuple) and len(yes) != len(no)):
        raise TraceError(f"the {what} returns tuples of different lengths from different branches")
    if isinstance(yes, tuple):
        return tuple(_select(condition, y, n, what) for y, n in zip(yes, no, strict=True))
    return select(condition, yes, no)


def _explain(error: Exception, function: Any, what: str) -> str:
    """The line of the user's own code that an error comes from."""
    here = __file__.rsplit("tracing.py", 1)[0]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(here)]
    if not frames:
        return f"the {what} cannot be compiled: {error}"
    own = [f for f in frames if not f.filename.startswith(_NOT_THE_USERS)] or frames
    last = own[-1]
    line = (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
    shown = f"\n    {line}" if line else ""
    hint = "; the function returns new numbers, as a tuple" if "item assignment" in str(error) else ""
    return f"the {what} cannot be compiled, at {last.filename}, line {last.lineno}:{shown}\n{error}{hint}"


# Rebinding -----------------------------------------------------------------------------------------------------------


def _traced(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that builds an expression if an argument is one."""

    @functools.wraps(original)
    def call(*args: Any, **options: Any) -> Any:
        if any(isinstance(a, Expr) for a in args) and not options:
            return make(name, *(as_expr(a) for a in args))
        return original(*args, **options)

    return call


def _composed(function: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is more than one operation, if its first argument is an expression."""

    @functools.wraps(original)
    def call(*args: Any, **options: Any) -> Any:
        traced = args and isinstance(args[0], Expr)
        return (function if traced else original)(*args, **options)

    return call


def _extreme(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """`min` and `max` of any number of arguments, or of one that holds them."""

    @functools.wraps(original)
    def call(*args: Any, **options: Any) -> Any:
        values = list(args[0] if len(args) == 1 else args)
        if options or not any(isinstance(v, Expr) for v in values):
            return original(values, **options)
        return functools.reduce(lambda a, b: make(name, as_expr(a), as_expr(b)), values)

    return call


def _logarithm(*args: Any) -> Any:
    if not any(isinstance(a, Expr) for a in args):
        return math.log(*args)
    result = make("log", as_expr(args[0]))
    return result if len(args) == 1 else result / _logarithm(args[1])


_MATH: dict[str, Callable[..., Any]] = {
    **{name: _traced(name, getattr(math, name)) for name in FUNCTIONS if hasattr(math, name)},
    **{name: _composed(COMPOSED[name], getattr(math, name)) for name in COMPOSED if hasattr(math, name)},
    "trunc": _composed(trunc, math.trunc),
    "fabs": _traced("abs", math.fabs),
    "log": _logarithm,
}

#: id of a function of `math` -> what takes its place, for ``from math import exp``
_REPLACED = {id(getattr(math, name)): function for name, function in _MATH.items()}


class _IntType(type):
    """What `int` is, of an expression the whole part."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        return _composed(trunc, int)(*args, **options)

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, int)


class _Int(int, metaclass=_IntType):
    """Stands in for `int`."""


_BUILTINS: dict[str, Callable[..., Any]] = {
    "min": _extreme("min", min),
    "max": _extreme("max", max),
    "int": _Int,
}


class _Math:
    """Stands in for the module `math`."""

    def __getattr__(self, name: str) -> Any:
        if name in _MATH:
            return _MATH[name]
        original = getattr(math, name)
        return _only_numbers(name, original) if callable(original) else original


def _only_numbers(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        if any(isinstance(a, Expr) and a.op != "constant" for a in args):
            raise TypeError(f"math.{name} cannot be compiled; the functions that can are {', '.join(CALLED)}")
        return original(*args, **options)

    return call


_MATH_MODULE = _Math()


#: id of a value -> the value, kept alive so that no other gets its id, and what takes its place
_Seen = dict[int, tuple[Any, Any]]


class _Module:
    """Stands in for a module that may hold helper functions."""

    def __init__(self, module: types.ModuleType, seen: _Seen) -> None:
        self._module, self._seen = module, seen

    def __getattr__(self, name: str) -> Any:
        return _rebind(getattr(self._module, name), self._seen)


#: modules whose functions are taken as they are, and modules of which functions that are found elsewhere are
AS_THEY_ARE = ("sdefast", "numpy", "numba", "scipy")
AS_THEY_ARE_INSIDE = (
    *(f"sdefast.math.{name}" for name in ("exponentials", "selections", "sums", "trigonometry")),
    "sdefast.trace.records", "numpy",
)  # fmt: skip


def _rebind(value: Any, seen: _Seen) -> Any:
    """A function with `math`, `min` and `max` replaced in everything it refers to; other values as they are."""
    if value is math:
        return _MATH_MODULE
    if id(value) in _REPLACED:
        return _REPLACED[id(value)]
    if id(value) in seen:
        return seen[id(value)][1]
    if isinstance(value, types.ModuleType):
        return value if value.__name__.split(".")[0] in AS_THEY_ARE else _Module(value, seen)
    if isinstance(value, (list, tuple, dict)):
        return _rebound_container(value, seen)
    if type(value) is np.ndarray and value.ndim and value.dtype.kind in "iuf":
        return value.view(Indexed)
    if isinstance(value, functools.partial):
        args, options = _rebind(value.args, seen), _rebind(value.keywords, seen)
        return functools.partial(_rebind(value.func, seen), *args, **options)
    if isinstance(value, types.MethodType):
        return types.MethodType(_rebind(value.__func__, seen), value.__self__)
    if isinstance(value, functools._lru_cache_wrapper):
        return _rebind(value.__wrapped__, seen)
    value = getattr(value, "py_func", value)  # a numba function
    if not isinstance(value, types.FunctionType) or value.__module__ in AS_THEY_ARE_INSIDE:
        return value
    return seen[id(value)][1] if id(value) in seen else _rebound_function(value, seen)


def _rebound_container(value: Any, seen: _Seen) -> Any:
    """A list, tuple or dictionary with the functions in it rebound; itself if there are none."""
    seen[id(value)] = value, value  # before what is in it: that may lead back here
    old = list(value.values()) if isinstance(value, dict) else value
    new = [v if isinstance(v, (int, float, str)) else _rebind(v, seen) for v in old]
    if any(a is not b for a, b in zip(old, new, strict=True)) and type(value) in (list, tuple, dict):
        seen[id(value)] = value, (dict(zip(value, new, strict=True)) if isinstance(value, dict) else type(value)(new))
    return seen[id(value)][1]


def _rebound_function(function: types.FunctionType, seen: _Seen) -> types.FunctionType:
    names: set[str] = names_in(function.__code__)
    space = dict(function.__globals__)
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    result = types.FunctionType(function.__code__, space, function.__name__, None, cells)
    seen[id(function)] = function, result  # before its names: it may call itself
    result.__defaults__ = _rebind(function.__defaults__, seen)
    result.__kwdefaults__ = _rebind(function.__kwdefaults__, seen)
    for name in names:
        if name in space:
            space[name] = _rebind(space[name], seen)
        elif name in _BUILTINS and getattr(builtins, name, None) is not None:
            space[name] = _BUILTINS[name]
    for old, new in zip(function.__closure__ or (), cells, strict=True):
        try:
            new.cell_contents = _rebind(old.cell_contents, seen)
        except ValueError:  # an empty cell: a name that is not bound yet
            continue
    return result


def names_in(code: types.CodeType) -> set[str]:
    """Global names that a function or a function inside it may use."""
    names = set(code.co_names)
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            names |= names_in(part)
    return names


__all__ = ["TraceError", "constant", "trace"]
