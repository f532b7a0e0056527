"""What decides a kernel of SGD on least squares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...cuda.draws import MANY

#: Registers of 32 bits for the state, an input and whatever else each parameter has, of 255 that a thread may have:
#: the generator takes some 40, and few threads fit on a multiprocessor that take nearly all.
_REGISTERS = 128

LAWS = ("normal", "uniform", "rademacher")


class Shape(NamedTuple):
    """What decides a kernel of SGD.

    Batches of ``batch_size`` samples of ``dim`` inputs of a ``law``, each times a number of its own if they are
    ``scaled``, with noise in the responses if they are ``noisy``; or rows picked from ``finite`` data, whatever law and
    noise there are. Step sizes are one for all parameters or ``per_parameter``; ``averaged`` says whether the average
    is taken along,
    of the iterates from ``average_from`` on.
    """

    dim: int
    batch_size: int = 1
    noisy: bool = True
    scaled: bool = False
    per_parameter: bool = False
    averaged: bool = False
    law: str = "normal"
    finite: bool = False
    average_from: int = 0

    @property
    def n_rows(self) -> int:
        """Rows of the state."""
        return self.dim * (1 + self.averaged)

    @property
    def has_noise(self) -> bool:
        """Whether a normal is drawn for a response."""
        return self.noisy and not self.finite

    @property
    def n_normals(self) -> int:
        """Normals of a sample."""
        return 0 if self.finite else self.dim * (self.law == "normal") + self.has_noise

    @property
    def n_uniforms(self) -> int:
        """Uniforms of a sample."""
        return 0 if self.finite or self.law == "normal" else self.dim

    def in_registers(self, dtype: str) -> bool:
        """Whether the state stays in registers."""
        numbers = 2 + self.averaged + (self.batch_size > 1) + self.scaled + self.per_parameter
        return self.dim * numbers * words(dtype) <= _REGISTERS and self.n_uniforms <= MANY

    def rows_in_memory(self, dtype: str) -> int:
        """Rows of the state and, where they do not stay in registers either, sums of a batch."""
        return self.n_rows + (0 if self.batch_size == 1 or self.in_registers(dtype) else self.dim)


def words(dtype: str) -> int:
    """Words of 32 bits of a number."""
    return np.dtype(dtype).itemsize // 4
