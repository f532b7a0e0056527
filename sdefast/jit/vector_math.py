"""Elementary functions for compiled lanes: branch-free, so that loops vectorise, and with the same bits everywhere.

Their instructions are emitted where they are called, by kernels for the CPU (``calls.py``) and by numba for GPUs. The
mathematics, in ``exponentials.py``, ``logarithms.py`` and ``trigonometry.py``, is plain Python over an `Arithmetic`:
operators, `fma`, `select`, and the change between a number and its bits. `exp` and `log` are those of
``csrc/noise/vector_math.hpp``, with the same bits for normal arguments of log and normal results of exp.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .arithmetic import Arithmetic, Number, Truth
from .exponentials import cosh, erf, exp, exp_moderate, expm1, sinh, tanh
from .logarithms import log, log1p, log2, log10, log_positive, pow
from .trigonometry import acos, asin, atan, atan2, cos, hypot, sin, tan

__all__ = ["FUNCTIONS", "arguments_of", "as_intrinsic", "emitter", "signature"]


def _min(v: Arithmetic, a: Number, b: Number) -> Number:
    """The smaller number; NaN if any is."""
    if b.is_known:
        return v.select(a >= b, b, a)
    return v.select(a == a, v.select(a < b, a, b), a)


def _max(v: Arithmetic, a: Number, b: Number) -> Number:
    """The larger number; NaN if any is. Beside a constant there is one that may be NaN: half of the instructions."""
    if b.is_known:
        return v.select(a <= b, b, a)
    return v.select(a == a, v.select(a > b, a, b), a)


FUNCTIONS: dict[str, Callable[..., Number]] = {
    "exp": exp,
    "exp_moderate": exp_moderate,
    "log": log,
    "log_positive": log_positive,
    "sqrt": lambda v, x: v.sqrt(x),
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "tanh": tanh,
    "pow": pow,
    "abs": lambda v, x: v.abs(x),
    "min": _min,
    "max": _max,
    "erf": erf,
    "floor": lambda v, x: v.floor(x),
    "fma": lambda v, a, b, c: v.fma(a, b, c),
    "select": lambda v, condition, a, b: v.select(condition, a, b),
    "expm1": expm1,
    "log1p": log1p,
    "sinh": sinh,
    "cosh": cosh,
    "atan": atan,
    "asin": asin,
    "acos": acos,
    "atan2": atan2,
    "hypot": hypot,
    "log2": log2,
    "log10": log10,
}


def arguments_of(function: str) -> list[type[Number] | type[Truth]]:
    """What a function takes: numbers, and truths where they are called ``condition``."""
    _, *names = inspect.signature(FUNCTIONS[function]).parameters
    return [Truth if name == "condition" else Number for name in names]


# Any target's compiler ------------------------------------------------------------------------------------------------


def signature(function: str, name: str) -> tuple[Any, list[Any]]:
    """The type of the result and those of the arguments of a function of type ``name``."""
    from numba import types

    real = getattr(types, name)
    return real, [types.boolean if kind is Truth else real for kind in arguments_of(function)]


def emitter(function: str, name: str, arithmetic: type[Arithmetic] = Arithmetic) -> Callable[..., Any]:
    """What emits the code of a function of type ``name``: ``(context, builder, args)`` to its value."""
    from numba import types

    body, real, integer = FUNCTIONS[function], getattr(types, name), getattr(types, name.replace("float", "uint"))
    kinds = arguments_of(function)

    def emit(context: Any, builder: Any, args: Any) -> Any:
        v = arithmetic(context, builder, real, integer)
        return body(v, *(kind(v, ir) for kind, ir in zip(kinds, args, strict=True))).ir

    return emit


def as_intrinsic(intrinsic: Callable[..., Any], result: Any, arguments: list[Any], emit: Callable[..., Any]) -> Any:
    """A function of numba code by a target's decorator for functions that emit LLVM instructions."""
    typed = result(*arguments)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(context, builder, args)

    # numba looks at the number of arguments
    names = ", ".join(f"a{i}" for i in range(len(arguments)))
    space = {"answer": (typed, build)}
    exec(f"def function(typing, {names}): return answer", space)
    return intrinsic(space["function"])
