"""Kernels as programs: source or function, and types; compiled once per process where they run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types
from numpy.typing import ArrayLike

from ..jit.emit import Step
from ..least_squares.cuda.kernels import LAWS, Shape, errors_source, turned_source
from ..least_squares.cuda.kernels import source as _least_squares_source
from ..trace import Expr
from . import emit, statistics, target
from .emit import Linear
from .functions import compile_used, functions


def _array(kind: str, ndim: int, layout: str = "A") -> Any:
    return types.Array(getattr(types, kind), ndim, layout)


@dataclass(frozen=True)
class Program:
    """A kernel whose source was put together for a run: ``kind`` is "paths", "sgd" or "observer"."""

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
        saves = _array("int64", 1, "C")
        if self.kind == "sgd":
            numbers = _array(self.dtype, 1, "C")
            return types.void(numbers, numbers, *seed, *integers, saves, numbers, state, numbers)
        rows, given = _array(self.dtype, 2, "C"), _array(self.given_dtype, 2, "C")
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


# SGD on least squares ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DescentKernel:
    """A kernel of SGD on least squares and what it reads: ``numbers`` of the problem, rows of ``data`` one by one."""

    program: Program
    shape: Shape
    numbers: np.ndarray
    data: np.ndarray

    @property
    def n_rows(self) -> int:
        """Rows of memory that a run takes."""
        return self.shape.rows_in_memory(self.program.dtype)

    def kernel(self) -> Any:
        """The compiled kernel, for the current device."""
        return self.program.kernel()


def least_squares(
    shape: Shape,
    dtype: str,
    noise_dtype: str,
    *,
    constant: bool,
    noise_std: float = 0.0,
    scale: ArrayLike | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    data: ArrayLike | None = None,
) -> DescentKernel:
    """The kernel of SGD on least squares, for a tile whose rows are theta - theta*, then their average if it is taken.

    Inputs that are correlated take the form of this kernel in the eigenbasis of their covariance, where ``scale`` has
    the roots of its eigenvalues. The tile's coefficients are step sizes over the batch size and nothing else, of shape
    (1 or n_steps, 1 or d); what its draws are does not matter. One kernel serves all numbers of a shape and a type.

    Parameters
    ----------
    shape : Shape
        Dimensions, and what there is.
    dtype, noise_dtype : {"float32", "float64"}
        Types of the state and of the normals.
    constant : bool
        Whether the coefficients are one row for all iterations.
    noise_std : float
        Standard deviation of the noise in the responses, if there is some.
    scale : array_like of shape (d,), optional
        What inputs are multiplied by, if they are ``scaled``.
    bounds : (float, float)
        Of uniform inputs.
    data : array_like of shape (n, d + 1), optional
        Inputs and the residual y - <theta*, x>, if data are ``finite``; kept in ``dtype``.

    Raises
    ------
    ValueError
        If these do not fit together.

    References
    ----------
    Robbins and Monro, Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    >>> from sdefast.cuda import kernels
    >>> made = kernels.least_squares(kernels.Shape(100), "float32", "float32", constant=True, noise_std=0.1)
    >>> made.program.kind, made.n_rows
    ('sgd', 100)
    """
    if shape.law not in LAWS:
        raise ValueError(f"law must be one of {', '.join(map(repr, LAWS))}, got {shape.law!r}")
    for name, value, flag in (("data", data, "finite"), ("scale", scale, "scaled")):
        if getattr(shape, flag) != (value is not None):
            raise ValueError(f"{name} must be given if {flag}=True and only then, got {flag}={getattr(shape, flag)}")
    if shape.finite and shape.scaled:
        raise ValueError("scaled must be False for finite data")
    factors = np.empty(0) if scale is None else np.asarray(scale, float)
    if scale is not None and factors.shape != (shape.dim,):
        raise ValueError(f"scale must be of shape ({shape.dim},), got {factors.shape}")
    rows = np.zeros((1, shape.dim + 1)) if data is None else np.asarray(data)
    if rows.ndim != 2 or rows.shape[1] != shape.dim + 1 or not 0 < len(rows) < 2**32:
        raise ValueError(f"data must be of shape (n, {shape.dim + 1}), 0 < n < 2**32, got {rows.shape}")
    low, high = bounds
    numbers = np.concatenate([[noise_std, low, high - low], factors]).astype(dtype)
    source = _least_squares_source(shape, dtype, noise_dtype, constant=constant)
    return DescentKernel(
        Program("sgd", source, dtype, noise_dtype), shape, numbers, rows.astype(dtype, order="C").ravel()
    )


def errors(dim: int, averaged: bool, dtype: str) -> Program:
    """The kernel of the squared error of a row of such a state, and of the average's, at saved times."""
    return Program("observer", errors_source(dim, averaged, dtype), dtype, dtype)


def turned(dtype: str) -> Program:
    """The kernel that turns a row of such a state by a matrix, at saved times."""
    return Program("observer", turned_source(dtype), dtype, dtype)


# Built-in kernels ----------------------------------------------------------------------------------------------------

_FLAGS = [types.int64] * 3  # moments, extremes, covariance


@dataclass(frozen=True)
class Builtin:
    """One of the kernels in ``statistics.py``, for states of a type."""

    name: str
    dtype: str

    @property
    def signature(self) -> Any:
        x, numbers, n = _array(self.dtype, 3), _array("float64", 3, "C"), types.int64
        known = _array("uint8", 2, "C")
        if self.name == "find_finite":
            return types.void(x, n, n, n, known)
        if self.name == "blocks":
            return types.void(x, known, n, n, n, n, n, numbers)
        rows = _array(self.dtype, 2, "C")
        if self.name == "spread":
            return types.void(rows, n, rows)
        if self.name == "lay_in_tiles":
            return types.void(rows, n, n, _array(self.dtype, 1, "C"))
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
