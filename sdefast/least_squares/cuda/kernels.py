"""The kernels of SGD on least squares, for any number of parameters: one thread takes one run through its samples.

A run's rows are delta = theta - theta* and, with averaging, their running average.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numba import types
from numpy.typing import ArrayLike

from ...cuda.chains import Card, Chains, Launch
from ...cuda.draws import Given, Normals, Others, Picks, Uniforms, drawn_normals
from ...cuda.emit import OBSERVER, Paths
from ...cuda.kernels import WHICH, ObserverProgram
from ...cuda.programs import Program, array
from ...engine.tiles import Tile
from ...jit.emit import indent
from .iteration import Each, InRegisters
from .memory import InMemory
from .shape import LAWS, Shape, words


@lru_cache(maxsize=256)
def source(shape: Shape, dtype: str, noise_dtype: str, *, constant: bool) -> str:
    """The source of the kernel that takes runs through samples and stores them where they are saved.

    ``c`` are rows of step sizes over the batch size, one for all iterations if they are ``constant``, else one each.
    ``data`` has rows of inputs and the residual y - <theta*, x>. ``first_step``, ``n_steps`` and ``saves`` count
    samples and are multiples of the batch size.
    """
    draws: Given | Normals = Given(0, in_array=False)
    others: Others = Uniforms(0, 1)
    statements: InMemory | InRegisters
    if not shape.in_registers(dtype):
        statements = InMemory(shape, dtype, noise_dtype, constant)
    else:
        statements = InRegisters(shape, dtype, constant)
        if shape.n_normals:
            draws = drawn_normals(shape.n_normals, words(noise_dtype))
        others = Picks(shape.dim + 1) if shape.finite else Uniforms(shape.n_uniforms, words(dtype))
    return Paths(statements, draws, others).source(("numbers",), ("data",))


class DescentProgram(Program):
    """The kernel that takes runs through samples."""

    kind: ClassVar[str] = "sgd"

    @property
    def signature(self) -> Any:
        numbers = array(self.dtype, 1, "C")
        return types.void(numbers, numbers, *WHICH, numbers, array(self.dtype, 3), numbers)


@dataclass(frozen=True, eq=False)
class DescentKernel:
    """A kernel of SGD on least squares and what it reads: ``numbers`` of the problem, rows of ``data`` one by one."""

    program: DescentProgram
    shape: Shape
    numbers: np.ndarray
    data: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of the data."""
        return int(self.data.nbytes)

    def kernel(self) -> Any:
        """The compiled kernel, for the current device."""
        return self.program.kernel()

    def rows_in_memory(self, tile: Tile) -> int:
        """Numbers that a run has on the card."""
        return self.shape.rows_in_memory(self.program.dtype)

    def chains(self, tile: Tile, card: Card) -> Descents:
        """A tile's runs."""
        return Descents(self, tile, card)


class Descents(Chains):
    """What the kernel is called with; its state lies in tiles, and what it reads is sent once."""

    def __init__(self, kernel: DescentKernel, tile: Tile, card: Card) -> None:
        n_rates = kernel.shape.dim if kernel.shape.per_parameter else 1
        if tile.coefficients.shape not in ((1, n_rates), (tile.n_steps, n_rates)):
            raise ValueError(
                f"coefficients must be of shape (1 or {tile.n_steps}, {n_rates}), got {tile.coefficients.shape}"
            )
        super().__init__(tile, card)
        self.kernel, self.numbers, self.data = kernel, card.send(kernel.numbers), card.send(kernel.data)

    def start(self, first: int, n: int) -> Any:
        return self.in_tiles(first, n, self.kernel.rows_in_memory(self.tile))

    def arguments(self, part: Launch, state: Any, saved: Any) -> tuple[Any, ...]:
        which = self.which(part, self.kernel.shape.batch_size)
        return (self.numbers, self.coefficients(part), *which, state, saved, self.data)

    def send(self, coefficients: np.ndarray) -> Any:
        return self.card.send(coefficients.astype(self.card.dtype).ravel())


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
    >>> from sdefast.least_squares.cuda import kernels
    >>> made = kernels.least_squares(kernels.Shape(100), "float32", "float32", constant=True, noise_std=0.1)
    >>> made.program.kind, made.numbers.size, made.nbytes
    ('sgd', 3, 404)
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
    program = DescentProgram(source(shape, dtype, noise_dtype, constant=constant), dtype, noise_dtype)
    return DescentKernel(program, shape, numbers, rows.astype(dtype, order="C").ravel())


# What is observed ----------------------------------------------------------------------------------------------------


def errors(dim: int, averaged: bool, dtype: str, rotated: bool = False) -> ObserverProgram:
    """The kernel of the squared error of a row of such a state, and of the average's, at saved times.

    ``rotated``: then also of the row turned by a matrix, whose rows are the kernel's parameters.
    """
    return ObserverProgram(errors_source(dim, averaged, dtype, rotated), dtype, dtype)


@lru_cache(maxsize=256)
def errors_source(dim: int, averaged: bool, dtype: str, rotated: bool) -> str:
    """The source of the kernel that sums the squares of the rows, and of those of the average, at saved times.

    Arguments are those of `emit.observer_source`.
    """
    lines = ["time, first = cuda.blockIdx.y, 0", f"dim = x.shape[1] // {1 + averaged}"]
    for part in range(1 + averaged):
        square = Each((f"y{{e}} = x[time, U({part} * dim + {{j}}), i]",), ("total = fma_(y{e}, y{e}, total)",))
        lines += ["total = zero", *square.loop(dim, dtype), f"out[time, {part}, i] = total"]
    if rotated:
        lines += [
            "a = 0",
            "while a < dim:",
            "    total, b = zero, 0",
            "    while b < dim:",
            "        total = fma_(T(p[U(a * dim + b)]), x[time, U(b), i], total)",
            "        b += 1",
            f"    out[time, U({1 + averaged} + a), i] = total",
            "    a += 1",
        ]
    header = [OBSERVER, "    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x"]
    return "\n".join(["zero = T(0.0)", *header, "    if i < n:", *indent(lines, 2), ""])
