"""Lanes and their program counters, and the machine that launches kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from .memory import KernelError, Region, array_region, base
from .rules import find_binder
from .text import TYPES, Block, Inverted, Kernel, Literal, Symbol, Variable, constant

#: how many lanes run at once, unless a block has more: the registers of many more leave the caches
LANES = 4096

_EXIT = 1 << 40  # the block of lanes that are done
_WAITING = 1 << 20  # added to the number of the block at which lanes wait


class _Bound(NamedTuple):
    """A block of instructions with the arrays it works on."""

    full: list[Callable[[], Any]]
    masked: list[Callable[[], Any]]
    guard: Any
    inverted: bool
    target: int
    next: int
    waits: bool


class Lanes:
    """Some blocks of a grid that run at once: registers, memory, and where each lane is.

    To bind instructions takes longer than most launches: lanes serve one launch after another, see `begin`.
    """

    def __init__(self, machine: Machine, grid: Any, block: Any, blocks: int) -> None:
        self.kernel, self.symbols = machine.kernel, machine.symbols
        self.grid, self.block = grid, block
        self.threads = math.prod(block)
        self.n = blocks * self.threads
        self.parameters = {name: np.zeros((), TYPES[kind]) for name, kind in self.kernel.parameters}
        self.mask = np.ones(self.n, bool)
        self.active: Any = None  # the lanes under the mask; None if they are all
        self._registers: dict[str, Any] = {}
        self._thread = np.tile(np.arange(self.threads), blocks)
        self._block = np.repeat(np.arange(blocks), self.threads)
        self._first = 0
        self._special = self._special_registers()
        self._private = self._private_regions(machine, blocks)
        self.regions = self._private
        self.accesses: list[Any] = []  # what remembers where memory is
        self.blocks = [self._bind(i, b) for i, b in enumerate(self.kernel.blocks)]

    def begin(self, parameters: dict[str, Any], regions: dict[int, Region]) -> None:
        """What a launch is given; nothing is left of the one before."""
        for name, value in parameters.items():
            self.parameters[name][...] = value
        self.regions = regions | self._private
        for access in self.accesses:
            access.region = None
        for register in self._registers.values():
            register[...] = 0

    def _special_registers(self) -> dict[str, Any]:
        made = {"%laneid": (self._thread % 32).astype(np.uint32), "WARP_SZ": np.array(32, np.uint32)}
        thread = self._thread
        for axis, letter in enumerate("xyz"):
            made[f"%ntid.{letter}"] = np.array(self.block[axis], np.uint32)
            made[f"%nctaid.{letter}"] = np.array(self.grid[axis], np.uint32)
            made[f"%tid.{letter}"] = (thread % self.block[axis]).astype(np.uint32)
            made[f"%ctaid.{letter}"] = np.zeros(self.n, np.uint32)
            thread = thread // self.block[axis]
        return made

    def _private_regions(self, machine: Machine, blocks: int) -> dict[int, Region]:
        """Shared memory has a row for each block, local memory one for each lane."""
        made = {}
        for space, rows, whose in (("shared", blocks, self._block), ("local", self.n, np.arange(self.n))):
            size = machine.sizes[space]
            if size:
                stride = -(-size // 16) * 16
                data = np.empty(rows * stride, np.uint8)
                offsets = (whose * stride).astype(np.uint64)
                made[machine.windows[space]] = Region(space, f"{space} memory", data, size, offsets)
        return made

    def _bind(self, number: int, block: Block) -> _Bound:
        full, masked = [], []
        for instruction in block.instructions:
            binder = find_binder(instruction.opcode)
            assert binder is not None
            try:
                pair = binder(self, instruction)
            except (NotImplementedError, ValueError) as e:
                raise NotImplementedError(f"line {instruction.line}: {instruction.text}: {e}") from e
            full.append(pair[0])
            masked.append(pair[1])
        after = self._number(number + 1)
        target = after if block.target is None else self._number(self.kernel.labels[block.target])
        guard, inverted = (None, False) if block.guard is None else self.predicate(block.guard)
        return _Bound(full, masked, guard, inverted, target, after, block.waits)

    def _number(self, block: int) -> int:
        return block if block < len(self.kernel.blocks) else _EXIT

    # What binders use.

    def both(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        return partial(function, *args, **keywords), partial(function, *args, where=self.mask, **keywords)

    def copy(self, into: Any, value: Any) -> Any:
        return self.both(np.copyto, into, value, casting="unsafe")

    def predicate(self, operand: Symbol | Inverted) -> tuple[Any, bool]:
        inverted = isinstance(operand, Inverted)
        return self.read(operand.predicate if inverted else operand, "pred"), inverted

    def _register(self, name: str) -> Any:
        if name not in self._registers:
            kind = self.kernel.registers[name]
            dtype = TYPES[kind if kind == "pred" else f"u{kind[1:]}"]
            self._registers[name] = np.zeros(self.n, dtype)
        return self._registers[name]

    def read(self, operand: Any, kind: str) -> Any:
        """An array that holds the operand, of which a register may be wider than the type."""
        if isinstance(operand, Literal):
            return constant(operand, kind)
        if not isinstance(operand, Symbol):
            raise NotImplementedError(f"operand {operand}")
        if operand.name in self.symbols:
            return constant(Literal(self.symbols[operand.name] + operand.offset, 64), kind)
        if operand.name in self._special:
            raw = self._special[operand.name]
        elif operand.name in self.kernel.registers and not operand.offset:
            raw = self._register(operand.name)
        else:
            raise NotImplementedError(f"operand {operand.name}")
        return self._low(raw, kind, operand.name)

    def _low(self, raw: Any, kind: str, name: str) -> Any:
        dtype = TYPES[kind]
        if (kind == "pred") != (raw.dtype == bool) or raw.dtype.itemsize < dtype.itemsize:
            raise NotImplementedError(f"{name} is no {kind}")
        if raw.dtype.itemsize == dtype.itemsize:
            return raw.view(dtype)
        if not raw.ndim:
            return raw.astype(dtype)
        return raw.view(dtype)[:: raw.dtype.itemsize // dtype.itemsize]

    def write(self, operand: Any, kind: str, extend: bool = False) -> Any:
        """The register as an array of this type or, if it is wider and ``extend`` is given, of a wider one."""
        if operand == Symbol("_"):
            return np.empty(self.n, TYPES[kind])
        if not isinstance(operand, Symbol) or operand.name not in self.kernel.registers:
            raise NotImplementedError(f"result {operand}")
        raw = self._register(operand.name)
        if extend and kind[0] in "bus" and raw.dtype.itemsize > TYPES[kind].itemsize:
            return raw.view(TYPES[f"{kind[0]}{8 * raw.dtype.itemsize}"])
        if raw.dtype.itemsize != TYPES[kind].itemsize:
            raise NotImplementedError(f"{operand.name} is no {kind}")
        return self._low(raw, kind, operand.name)

    def slots(self, operand: Any, kind: str, count: int) -> list[Any]:
        """The parts of a register, the lowest first."""
        raw = np.atleast_1d(self.read(operand, kind)).view(TYPES[f"b{int(kind[1:]) // count}"])
        return [raw[i::count] for i in range(count)]

    def place(self, lane: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The indices of the block and the thread."""
        block, thread = (tuple(int(self._special[f"%{n}.{x}"][lane]) for x in "xyz") for n in ("ctaid", "tid"))
        return block, thread

    # Control flow.

    def run(self, first: int) -> None:
        """All lanes of the blocks from this one on, as far as the grid goes."""
        block = self._block + first
        index = block
        for axis, letter in enumerate("xyz"):
            self._special[f"%ctaid.{letter}"][:] = index % self.grid[axis]
            index = index // self.grid[axis]
        for region in self.regions.values():
            if region.rows is not None:
                region.data[:] = 255
        at = np.where(block < math.prod(self.grid), 0, _EXIT)
        while (here := int(at.min())) < _EXIT:
            if here >= _WAITING:
                self._release(at)
                continue
            np.equal(at, here, out=self.mask)
            count = np.count_nonzero(self.mask)
            self.active = None if count == self.n else np.flatnonzero(self.mask)
            if count == np.count_nonzero(at < _EXIT):
                self._together(here, at, count)
            else:
                self._apart(self.blocks[here], at)

    def _together(self, here: int, at: Any, count: int) -> None:
        """The lanes under the mask run, all that there are, until they part. Registers of others are of no use."""
        blocks, mask = self.blocks, self.mask
        while here < _EXIT:
            block = blocks[here]
            for call in block.full:
                call()
            if block.guard is None:
                here = block.target
                continue
            taken = np.count_nonzero(block.guard if count == self.n else block.guard & mask)
            if block.inverted:
                taken = count - taken
            if 0 < taken < count:
                self._part(block, at)
                return
            here = block.target if taken else block.next
        at[mask] = here

    def _apart(self, block: _Bound, at: Any) -> None:
        """The lanes under the mask run a block while others are elsewhere."""
        for call in block.masked:
            call()
        if block.guard is None:
            at[self.mask] = block.target + (_WAITING if block.waits else 0)
        else:
            self._part(block, at)

    def _part(self, block: _Bound, at: Any) -> None:
        np.copyto(at, np.where(block.guard ^ block.inverted, block.target, block.next), where=self.mask)

    def _release(self, at: Any) -> None:
        """Lanes that wait go on. The hardware wants all of a block at the same barrier."""
        by_block = at.reshape(-1, self.threads)
        waiting = by_block < _EXIT
        last = np.where(waiting, by_block, 0).max(axis=1, keepdims=True)
        if np.any(waiting & (by_block != last)):
            raise KernelError("lanes of one block wait at different barriers")
        np.subtract(by_block, _WAITING, out=by_block, where=waiting)


@lru_cache(maxsize=16)
def _lanes(machine: Machine, grid: Any, block: Any, blocks: int) -> Lanes:
    """Those of the last launches, of which a run repeats a few."""
    return Lanes(machine, grid, block, blocks)


def _three(value: Any) -> tuple[int, int, int]:
    sizes = (value,) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(sizes) > 3 or any(size < 1 for size in sizes):
        raise ValueError(f"{value} is no size of a grid or a block")
    return (*map(int, sizes), 1, 1, 1)[:3]


class Machine:
    """Runs the one kernel of a PTX text. ``instructions`` counts the full names of its instructions in the text."""

    def __init__(self, ptx_text: str) -> None:
        self.kernel = Kernel(ptx_text)
        self.instructions = self.kernel.instructions
        unknown = {i.opcode: i for b in self.kernel.blocks for i in b.instructions if find_binder(i.opcode) is None}
        if unknown:
            raise NotImplementedError("\n".join(f"line {i.line}: {i.text}" for i in unknown.values()))
        self._place_variables()
        # What else is unknown shows when one lane is made.
        Lanes(self, (1, 1, 1), (1, 1, 1), 1)

    def _place_variables(self) -> None:
        """Shared and local variables follow each other, others have regions of their own."""
        self.windows = {"shared": 1, "local": 2}
        self.sizes = {"shared": 0, "local": 0}
        self.symbols: dict[str, int] = {}
        self._own: list[tuple[int, Variable]] = []
        for variable in self.kernel.variables:
            if variable.space in self.sizes:
                start = -(-self.sizes[variable.space] // variable.align) * variable.align
                self.sizes[variable.space] = start + variable.size
                self.symbols[variable.name] = base(self.windows[variable.space]) + start
            else:
                self._own.append((16 + len(self._own), variable))
                self.symbols[variable.name] = base(self._own[-1][0])

    def run(self, grid: Any, block: Any, args: Sequence[Any]) -> None:
        """Launches the kernel with numpy's arrays, which it changes, and numpy's scalars."""
        grid, block = _three(grid), _three(block)
        threads, blocks = math.prod(block), math.prod(grid)
        if threads > 1024:
            raise ValueError(f"{threads} threads in a block")
        parameters, regions = self._arguments(args)
        at_once = min(blocks, max(1, LANES // threads))
        with np.errstate(all="ignore"):
            lanes = _lanes(self, grid, block, at_once)
            lanes.begin(parameters, regions)
            for first in range(0, blocks, at_once):
                lanes.run(first)

    def _arguments(self, args: Sequence[Any]) -> tuple[dict[str, Any], dict[int, Region]]:
        """The parameters by name, and the memory of arrays and variables by the window of their addresses."""
        regions, values, texts = {}, [], []
        for window, variable in self._own:
            data = np.frombuffer(bytearray(variable.content or bytes(variable.size)), np.uint8)
            regions[window] = Region(variable.space, variable.name, data, len(data))
        for i, arg in enumerate(args):
            if isinstance(arg, np.ndarray):
                window = 1024 + i
                text = f"argument {i}, {arg.dtype} {arg.shape}"
                regions[window], start = array_region(arg, text)
                numbers = (0, 0, arg.size, arg.itemsize, base(window) + start, *arg.shape, *arg.strides)
                values += [np.array(number, np.int64) for number in numbers]
                texts += [text] * len(numbers)
            elif isinstance(arg, np.generic):
                values.append(np.asarray(arg))
                texts.append(f"argument {i}, {arg!r}")
            else:
                raise TypeError(f"argument {i} is neither an array nor a scalar of numpy: {arg!r}")
        return self._parameters(values, texts), regions

    def _parameters(self, values: list[Any], texts: list[str]) -> dict[str, Any]:
        kinds = self.kernel.parameters
        if len(values) != len(kinds):
            every = "; ".join(dict.fromkeys(texts))
            raise ValueError(f"{len(kinds)} parameters, but {len(values)} of these arguments: {every}")
        for (_, kind), value, text in zip(kinds, values, texts, strict=True):
            if value.itemsize != TYPES[kind].itemsize or (value.dtype.kind == "f") != (kind[0] == "f"):
                raise ValueError(f"{text} for a parameter {kind}")
        return {name: np.array(v).view(TYPES[kind]) for (name, kind), v in zip(kinds, values, strict=True)}
