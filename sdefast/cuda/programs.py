"""Kernels as programs: source or function, and types; compiled once per process where they run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from numba import cuda, types

from ..jit.announce import announced
from . import statistics, target
from .functions import compile_used, functions


def array(kind: str, ndim: int, layout: str = "A") -> Any:
    """The type of an array, by that of its numbers."""
    return types.Array(getattr(types, kind), ndim, layout)


@dataclass(frozen=True)
class Program(ABC):
    """A kernel whose source was put together for a run; ``dtype`` is the state's type, ``noise`` that of the draws."""

    source: str
    dtype: str
    noise: str

    #: What it does.
    kind: ClassVar[str]

    @property
    @abstractmethod
    def signature(self) -> Any:
        """The types of its arguments."""

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


_FLAGS = [types.int64] * 3  # moments, extremes, covariance


@dataclass(frozen=True)
class Builtin:
    """One of the kernels in ``statistics.py``, for states of a type."""

    name: str
    dtype: str

    @property
    def signature(self) -> Any:
        x, numbers, n = array(self.dtype, 3), array("float64", 3, "C"), types.int64
        known = array("uint8", 2, "C")
        if self.name == "find_finite":
            return types.void(x, n, n, n, known)
        if self.name == "blocks":
            return types.void(x, known, n, n, n, n, n, numbers)
        rows = array(self.dtype, 2, "C")
        if self.name == "spread":
            return types.void(rows, n, rows)
        if self.name == "lay_in_tiles":
            return types.void(rows, n, n, array(self.dtype, 1, "C"))
        if self.name == "tree":
            return types.void(numbers, n, n, *_FLAGS)
        return types.void(x, n, types.float64, types.float64, n, n, array("int64", 3, "C"))

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
    with announced(getattr(program, "source", "")):
        return target.jit(program.function, program.signature)
