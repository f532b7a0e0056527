"""Chains whose steps are compiled with the package, for targets that a trace is too long or too slow for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..engine.tiles import Draws
from ..lazy import cached_property
from ..run.step import Kernel, refuse_rows
from .chain import Chain
from .metric import IDENTITY
from .targets.base import BaseTarget
from .targets.tabulated import ISOTROPIC, MATRIX, Tabulated

#: Methods that csrc/sampling/langevin.hpp has.
_METHODS = ("ula", "mala")

#: Numbers of a row of coefficients, and which of them are the temperature and where the density begins.
_N_COEFFICIENTS = 11
TEMPERATURE, TABLE = 1, 10

#: How much a mixture's kernel keeps, `most_kept` in csrc/sampling/mixture.hpp.
_MOST_KEPT = 4096

#: Traces are faster, by a quarter, for mixtures of components with matrices of fewer means' components together, and by
#: as much for single Gaussians in up to so many dimensions, with matrices or independent components (in float32 without
#: diagnostics they are up to twice as many).
_LEAST_OF_MATRICES, _MOST_OF_GAUSSIAN, _MOST_OF_INDEPENDENT = 16, 7, 15

#: Dimensions of a single Gaussian's kernel, `most_dim` in csrc/sampling/gaussian.hpp.
_MOST_DIM = 2048

#: Rows of chains that lie in wide rows, those of diagnostics aside: more would leave the first-level cache. The order
#: of sums over chains must not depend on what else is gathered.
_MOST_WIDE = 12


def chain(target: BaseTarget, name: str, *rest: Any) -> Chain:
    """The chain of a method on a target, see `Chain`: with built-in steps where there are some that are faster."""
    traced = Chain(target, name, *rest)
    plain = name in _METHODS and traced.metric == IDENTITY and not traced.boundaries
    if plain and is_built_in(target.tabulated, target.dim):
        return BuiltInChain(target, name, *rest)
    return traced


def is_built_in(density: Tabulated | None, dim: int) -> bool:
    """Whether there is a kernel for a density, and it is faster than a trace, which also has to be compiled.

    Measured on an EPYC of the fourth generation and on a recent Xeon: sums over data and mixtures of isotropic
    components always are.
    """
    if density is None or density.kind == "logistic":
        return density is not None
    if density.kind == "gaussian":
        return _MOST_DIM >= dim > (_MOST_OF_GAUSSIAN if density.shape == MATRIX else _MOST_OF_INDEPENDENT)
    kept = density.n * (4 if density.shape != MATRIX else 1 + dim) + dim
    if kept > _MOST_KEPT:
        return False
    return density.shape == ISOTROPIC or density.n * dim >= _LEAST_OF_MATRICES


@dataclass(frozen=True)
class BuiltInChain(Chain):
    """A method on a tabulated density: rows and numbers are those of the trace, but for roundings.

    GPUs run the trace.
    """

    def on(self, device: Any) -> Chain:
        """On a GPU the trace."""
        return self if device is None else self._as_trace

    @cached_property
    def _as_trace(self) -> Chain:
        return Chain(*(getattr(self, field.name) for field in fields(self)))

    @property
    def _density(self) -> Tabulated:
        density = self.target.tabulated
        assert density is not None
        return density

    def draws(self, noise_dtype: np.dtype) -> Draws:
        """What a step draws."""
        normals, uniforms = self.method.normals(self.dim), self.method.uniforms(self.dim)
        return Draws(normals, uniforms, float32=noise_dtype.itemsize == 4)

    def kernel(self, run: Any, device: Any) -> Kernel:
        """The kernel of the run's steps."""
        density = self._density
        cost = max(len(density.numbers) / 8 + density.n, 2 * self.dim)
        narrow = density.kind == "mixture" and self.diagnosed > _MOST_WIDE
        return Kernel(f"{self.name}_on_{density.kind}{'_narrow' * narrow}", self.header(run), cost)

    def header(self, run: Any) -> np.ndarray:
        """Rows of coefficients, `LangevinHeader` in csrc/sampling/langevin.hpp."""
        sizes = np.zeros(1) if self.own_step_size else run.step_sizes
        refuse_rows(len(sizes), _N_COEFFICIENTS)
        density, batches = self._density, run.batches
        length, counted = (batches.length, batches.n_draws) if batches is not None else (1, 0)
        first, rows = self._first(run), np.empty((len(sizes), _N_COEFFICIENTS))
        rows[:] = (
            self.dim, run.temperature, run.burn_in, length, counted, self.own_step_size, density.n, density.shape, 0,
            first, first + self.dim,
        )  # fmt: skip
        rows[:, 8] = sizes
        return rows

    def _first(self, run: Any) -> int:
        """Where its numbers begin in the table: after those of what is observed."""
        return len(self.asked_table(run))

    @property
    def sums_end(self) -> int:
        """There are no sums over rows of a trace, which need not be made."""
        return 0

    def table(self, run: Any) -> np.ndarray | None:
        """The table of what is observed, the centers of the diagnostics, the density."""
        return np.concatenate([self.asked_table(run), run.center, self.numbers(run)]).astype(run.dtype)

    def numbers(self, run: Any) -> np.ndarray:
        """Those of the density."""
        return self._density.numbers
