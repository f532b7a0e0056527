"""Which function carries out which instruction. The modules that define such functions register them here."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .execution import Lanes
    from .text import Instruction

#: binds the instruction to lanes: what to call for all lanes, and what for those under the mask
Binder = Callable[["Lanes", "Instruction"], tuple[Callable[[], Any], Callable[[], Any]]]

_RULES: list[tuple[re.Pattern[str], Callable[..., Binder]]] = []


def rule(pattern: str) -> Callable[[Callable[..., Binder]], Callable[..., Binder]]:
    """The function makes binders of instructions whose whole name matches; it is given the groups of the match."""

    def register(make: Callable[..., Binder]) -> Callable[..., Binder]:
        _RULES.append((re.compile(pattern), make))
        return make

    return register


@cache
def find_binder(opcode: str) -> Binder | None:
    for pattern, make in _RULES:
        if found := pattern.fullmatch(opcode):
            return make(*found.groups())
    return None


def simple(function: Callable[..., Any], out: str, *ins: str) -> Binder:
    """Calls function(inputs..., out=output, where=mask) with arrays of these types."""

    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        to, *operands = instruction.operands
        if len(operands) != len(ins):
            raise NotImplementedError(f"{len(operands)} operands")
        return lanes.both(function, *map(lanes.read, operands, ins), out=lanes.write(to, out))

    return bind


def of(value: Callable[..., Any]) -> Callable[..., None]:
    """A function that returns an array made callable as one of numpy's that write theirs."""

    def call(*arrays: Any, out: Any, where: Any = True) -> None:
        np.copyto(out, value(*arrays), where=where)

    return call
