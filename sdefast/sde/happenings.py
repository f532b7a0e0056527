"""What jumps and events make of a chain's step, as expressions, and the constants that jumps need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.grid import TimeGrid
from ..trace import Expr, as_expr, symbol
from .arrivals import Written
from .events import Reset
from .functionals import Move, UniformKey
from .jump_process import Jumps
from .schemes.equation import Vector

#: The events of a chain, by their names.
Events = Sequence[tuple[str, Reset]]

#: The uniform of a step that a key is for.
UniformOf = Callable[[UniformKey], Expr]


def event_rows(events: Events, rows: Vector, first: int) -> list[Vector]:
    """The rows of every event; those of all begin with row ``first``."""
    found = []
    for _, event in events:
        found.append(rows[first : first + event.n_rows])
        first += event.n_rows
    return found


def after_events(events: Events, own: Sequence[Vector], move: Move, uniform: UniformOf) -> tuple[Move, Vector]:
    """Where events lead, and what becomes of their ``own`` rows."""
    counted: list[Expr] = []
    for i, ((_, event), rows) in enumerate(zip(events, own, strict=True)):
        u = (uniform(("event", i)),) if event.bridged(move.equation, move.parameters) else ()
        move, after = event.apply(move, rows, u)
        counted += after
    return move, tuple(counted)


def jump_constants(jumps: Jumps | None, written: Written | None) -> tuple[str, ...]:
    """Names of the constants of jumps."""
    n = 0 if jumps is None or written is None else jumps.n_coefficients(written)
    return tuple(f"jump{i}" for i in range(n))


def jump_coefficients(jumps: Jumps, written: Written | None, grid: TimeGrid, values: Mapping[Expr, Any]) -> np.ndarray:
    """Their values, for every step, of values of the parameters."""
    assert written is not None
    return jumps.coefficients(grid, values, written.most)


def jumped(
    jumps: Jumps, written: Written | None, parameters: Any, x: Vector, uniform: UniformOf, moved: Sequence[str]
) -> tuple[Expr, Vector]:
    """Whether there is a jump at the end of a step that has led to ``x``, and where jumps lead then.

    Parameters that are ``moved`` are no numbers of a step, see `Jumps.after`.
    """
    if written is None:
        raise ValueError("an SDE with jumps runs under sdefast.simulate alone")
    c = tuple(map(symbol, jump_constants(jumps, written)))
    u = tuple(uniform(("jump", i)) for i in range(jumps.n_uniforms(written)))
    rest = symbol(str(u[0].value).replace("u", "b"))
    new = jumps.after(as_expr(symbol("t") + symbol("h")), symbol("h"), parameters, x, u, c, written, rest, moved)
    return as_expr(u[0] < c[0]), new
