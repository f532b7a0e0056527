"""The kernels that are put together for a run: one takes chains through steps, one evaluates functions of states."""

from __future__ import annotations

from typing import Any, ClassVar

from numba import types

from ..engine.tiles import Tile
from ..jit.emit import Step
from ..trace import Expr
from . import emit
from .chains import Card, Stepped
from .programs import Program, array

#: The types of a kernel's arguments that say which chains go which way, `Chains.which`.
WHICH = (*[types.uint32] * 2, *[types.int64] * 4, array("int64", 1, "C"))


class PathsProgram(Program):
    """The kernel that takes chains through steps, `emit.paths_source`."""

    kind: ClassVar[str] = "paths"
    nbytes = 0

    @property
    def given_dtype(self) -> str:
        """The type of normals that take the generator's place."""
        return "float32" if self.noise == "float32" else "float64"

    @property
    def signature(self) -> Any:
        rows, given = array(self.dtype, 2, "C"), array(self.given_dtype, 2, "C")
        table = array(self.dtype, 1, "C")
        return types.void(array("float64", 2, "C"), rows, *WHICH, rows, array(self.dtype, 3), given, table)

    def rows_in_memory(self, tile: Tile) -> int:
        """Those of the tile's state."""
        return tile.dim

    def chains(self, tile: Tile, card: Card) -> Stepped:
        """A tile's chains."""
        return Stepped(tile, card, self.given_dtype)


class ObserverProgram(Program):
    """The kernel that evaluates functions of saved states, `emit.observer_source`."""

    kind: ClassVar[str] = "observer"

    @property
    def signature(self) -> Any:
        numbers, state = array("float64", 1, "C"), array(self.dtype, 3)
        return types.void(numbers, numbers, types.int64, state, state, array(self.dtype, 1, "C"))


def paths(step: Step, dtype: str, noise_dtype: str, uniform_grid: bool, given: bool) -> PathsProgram:
    """The kernel that takes chains through steps."""
    noise = "uint32" if step.signs else noise_dtype
    return PathsProgram(emit.paths_source(step, dtype, noise, uniform_grid=uniform_grid, given=given), dtype, noise)


def observer(
    outputs: tuple[Expr, ...], names: tuple[str, ...], n_rows: int, dtype: str, first: int = 0
) -> ObserverProgram:
    """The kernel that evaluates functions of saved states; what sums read begins at ``first`` in the run's table."""
    return ObserverProgram(emit.observer_source(outputs, names, n_rows, first), dtype, dtype)
