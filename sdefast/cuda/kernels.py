"""Kernels as programs: source or function, and types; compiled once per process where they run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from numba import cuda, types

from ..jit.emit import Step
from ..trace import Expr
from . import emit, statistics, target
from .emit import Linear
from .functions import compile_used, functions


def _array(kind: str, ndim: int, layout: str = "A") -> Any:
    return types.Array(getattr(types, kind), ndim, layout)


@dataclass(frozen=True)
class Program:
    """A kernel whose source was put together for a run: ``kind`` is "paths" or "observer"."""

    kind: str
    source: str
    dtype: str
    noise: str

    @property
    def given_dtype(self) -> str:
        """The type of normals that take the generator's place."""
        return "float32" if self.noise == "float32" else "float64"

    @property
    def signature(self) -> Any:
        state, integers = _array(self.dtype, 3), [types.int64] * 4
        if self.kind == "observer":
            return types.void(_array("float64", 1, "C"), _array("float64", 1, "C"), types.int64, state, state)
        seed = [types.uint32] * 2
        rows, given = _array(self.dtype, 2, "C"), _array(self.given_dtype, 2, "C")
        saves = _array("int64", 1, "C")
        return types.void(_array("float64", 2, "C"), rows, *seed, *integers, saves, rows, state, given)

    @property
    def function(self) -> Any:
        """The kernel as a Python function."""
        space: dict[str, Any] = functions(self.dtype, self.noise) | {"cuda": cuda}
        exec(compile(self.source, f"<sdefast {self.kind}>", "exec"), space)
        compile_used(space["kernel"])
        return space["kernel"]

    def kernel(self) -> Any:
        """The compiled kernel, for the current device."""
        return _compiled(self, _device())


def paths(step: Step | Linear, dtype: str, noise_dtype: str, uniform_grid: bool, given: bool) -> Program:
    """The kernel that takes chains through steps."""
    noise = "uint32" if step.signs else noise_dtype
    return Program("paths", emit.paths_source(step, dtype, noise, uniform_grid=uniform_grid, given=given), dtype, noise)


def observer(outputs: tuple[Expr, ...], names: tuple[str, ...], n_rows: int, dtype: str) -> Program:
    """The kernel that evaluates functions of saved states."""
    return Program("observer", emit.observer_source(outputs, names, n_rows), dtype, dtype)


_FLAGS = [types.int64] * 3  # moments, extremes, covariance


@dataclass(frozen=True)
class Builtin:
    """One of the kernels in ``statistics.py``, for states of a type."""

    name: str
    dtype: str

    @property
    def signature(self) -> Any:
        x, numbers, n = _array(self.dtype, 3), _array("float64", 3, "C"), types.int64
        if self.name == "blocks":
            return types.void(x, n, n, n, n, n, numbers)
        if self.name == "spread":
            rows = _array(self.dtype, 2, "C")
            return types.void(rows, n, rows)
        if self.name == "tree":
            return types.void(numbers, n, n, *_FLAGS)
        return types.void(x, n, types.float64, types.float64, n, n, _array("int64", 3, "C"))

    @property
    def function(self) -> Any:
        return getattr(statistics, self.name)

    def kernel(self) -> Any:
        """The compiled kernel, for the current device."""
        return _compiled(self, _device())


def _device() -> int:
    return 0 if target.SIMULATED else int(cuda.get_current_device().id)


@cache
def _compiled(program: Program | Builtin, device: int) -> Any:
    return target.jit(program.function, program.signature)
