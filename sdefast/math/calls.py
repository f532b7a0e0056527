"""Calls of functions: traced where an argument is, else compiled loops over numbers and arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..checks import refuse_loss


def call(name: str, *args: Any) -> Any:
    """The traced operation if an argument is traced, else its value."""
    for x in args:
        if hasattr(x, "__sdefast_trace__"):
            return x.__sdefast_trace__(name, *args)
    return _evaluate(name, *args)


def composed(name: str, of_arrays: Callable[..., Any], *args: Any) -> Any:
    """A function of whole numbers and selections, in which nothing is rounded: traced, else by numpy."""
    for x in args:
        if hasattr(x, "__sdefast_trace__"):
            return x.__sdefast_trace__(name, *args)
    given = [np.asarray(x) if name == "where" and i == 0 else real_array(name, x) for i, x in enumerate(args)]
    dtype = np.float32 if np.result_type(*given[name == "where" :]) == np.float32 else np.float64
    out = np.asarray(of_arrays(*given)).astype(dtype)
    return out if out.ndim else float(out)


def _evaluate(name: str, *args: Any) -> Any:
    # Python's own numbers take the type of the arrays, as in numpy.
    given = [x if type(x) in (int, float) else real_array(name, x) for x in args]
    dtype = np.dtype(np.float32 if np.result_type(*given) == np.float32 else np.float64)
    arrays = np.broadcast_arrays(*(real_array(name, x, dtype) for x in given))
    out = np.empty(arrays[0].shape, dtype)
    # ravel copies what is not contiguous
    _loop(name, dtype.name, len(args))(*(np.require(x, requirements=["C", "A"]).ravel() for x in arrays), out.ravel())
    return out if out.ndim else float(out)


def real_array(name: str, x: Any, dtype: np.dtype | None = None) -> np.ndarray:
    refuse_loss(name, x)
    try:
        given = np.asarray(x)
    except ValueError:  # ragged
        given = np.asarray(None)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"{name} takes real numbers and arrays of them, got {x!r}")
    with np.errstate(over="ignore"):
        return given if dtype is None else given.astype(dtype, copy=False)


@cache
def _loop(name: str, dtype: str, count: int) -> Callable[..., None]:
    """The compiled loop over contiguous arrays, the last of which gets the values."""
    from ctypes import CFUNCTYPE, c_int64, c_void_p

    from ..jit.compile import function

    names = [f"x{i}" for i in range(count)]
    call = f"{name}_({', '.join(f'{x}[i]' for x in names)})"
    source = f"def kernel(n, {', '.join(names)}, out):\n    for i in range(n):\n        out[i] = {call}\n"
    compiled = function(source, ("int64", *[f"{dtype}*"] * (count + 1)), dtype)
    run = CFUNCTYPE(None, c_int64, *[c_void_p] * (count + 1))(compiled.address)

    def loop(*arrays: np.ndarray) -> None:
        run(arrays[-1].size, *(array.ctypes.data for array in arrays))

    return loop
