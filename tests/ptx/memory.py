"""Memory with its checks, and the instructions that load from it and store to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .rules import Binder, rule
from .text import TYPES, Address, Instruction

if TYPE_CHECKING:
    from .execution import Lanes


class KernelError(Exception):
    """What a memory checker, or the hardware, complains about."""


_WINDOW = 40  # each region of memory has 2^40 addresses and lies in their middle: what is near is nothing else


def base(window: int) -> int:
    return (window << _WINDOW) + (1 << (_WINDOW - 1))


class Region:
    """Memory that hangs together. ``rows`` is where that of each lane begins, if lanes do not share it."""

    def __init__(self, space: str, name: str, data: Any, size: int, rows: Any = None, used: Any = None) -> None:
        self.space, self.name, self.data, self.size = space, name, data, size
        self.rows = rows
        self.used = used  # which bytes belong to it, if not all do
        self.writeable = data.flags.writeable and space != "const"
        self._views: dict[Any, Any] = {}

    def view(self, dtype: np.dtype[Any]) -> Any:
        if dtype not in self._views:
            self._views[dtype] = self.data[: len(self.data) // dtype.itemsize * dtype.itemsize].view(dtype)
        return self._views[dtype]


def array_region(array: Any, name: str) -> tuple[Region, int]:
    """The memory from the first to the last byte of an array, and where in it its element 0, 0, ... is."""
    width = array.itemsize
    if any(stride % width for stride in array.strides):
        raise ValueError(f"strides {array.strides} are not of whole elements of {array.dtype}")
    start = 0
    low = array
    for axis, (length, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
        if stride < 0 and array.size:
            low = np.flip(low, axis)
            start -= (length - 1) * stride
    strides = low.strides
    count = 1 + sum((n - 1) * s for n, s in zip(low.shape, strides, strict=True)) // width if array.size else 0
    flat = np.lib.stride_tricks.as_strided(low, (count,), (width,), writeable=array.flags.writeable)
    used = np.zeros(count, bool)
    np.lib.stride_tricks.as_strided(used, low.shape, [s // width for s in strides])[...] = True
    holes = None if used.all() else np.repeat(used, width)
    return Region("global", name, flat.view(np.uint8), count * width, used=holes), start


class _Access:
    """The memory that an instruction touches: ``count`` elements from an address in each lane."""

    def __init__(self, lanes: Lanes, instruction: Instruction, space: str | None, kind: str, count: int, store: bool):
        address = next(o for o in instruction.operands if isinstance(o, Address))
        self.lanes, self.instruction, self.space, self.store = lanes, instruction, space, store
        self.dtype = TYPES[kind]
        self.bytes = count * self.dtype.itemsize
        self.shift = np.array(self.dtype.itemsize.bit_length() - 1, np.uint64)
        self.pointers = np.broadcast_to(lanes.read(address.base, "u64"), lanes.n)
        self.offset = address.offset
        self.region: Region | None = None  # where the last access was
        lanes.accesses.append(self)

    def touch(self) -> Iterator[tuple[Any, Any, Any]]:
        """Memory as an array of elements, which of them are meant, and by which lanes: None for all."""
        active = self.lanes.active
        pointers = self.pointers if active is None else self.pointers[active]
        if self.region is not None:
            offsets = pointers - self.origin
            every = int(np.bitwise_or.reduce(offsets))
            inside = every <= self.limit or int(offsets.max()) <= self.limit
            if inside and not every & (self.bytes - 1):
                yield self.region.view(self.dtype), self._elements(self.region, offsets, active), active
                return
        yield from self._search(pointers + np.uint64(self.offset % (1 << 64)), active)

    def _search(self, addresses: Any, active: Any) -> Iterator[tuple[Any, Any, Any]]:
        lanes = np.arange(self.lanes.n) if active is None else active
        windows = addresses >> _WINDOW
        different = np.unique(windows)
        for window in different.tolist():
            which = windows == window
            region = self.lanes.regions.get(window)
            offsets = addresses[which] - np.uint64(base(window))
            self._check(region, offsets.view(np.int64), addresses[which], lanes[which])
            if len(different) == 1 and region.used is None:
                self.region, self.limit = region, region.size - self.bytes
                self.origin = np.array((base(window) - self.offset) % (1 << 64), np.uint64)
            yield region.view(self.dtype), self._elements(region, offsets, lanes[which]), lanes[which]

    def _elements(self, region: Region, offsets: Any, lanes: Any) -> Any:
        if region.rows is not None:
            offsets = offsets + (region.rows if lanes is None else region.rows[lanes])
        return (offsets >> self.shift).view(np.int64)

    def _check(self, region: Region | None, offsets: Any, addresses: Any, lanes: Any) -> None:
        verb = "writes" if self.store else "reads"
        if region is None:
            self._fault(lanes[0], f"{verb} address {int(addresses[0]):#x}, where nothing is")
        where = f"of {region.name}, {region.size} bytes"
        if self.space not in (None, region.space):
            self._fault(lanes[0], f"{verb} memory that is not {self.space}: offset {offsets[0]} {where}")
        if self.store and not region.writeable:
            self._fault(lanes[0], f"writes offset {offsets[0]} {where}, which is read-only")
        outside = (offsets < 0) | (offsets > region.size - self.bytes)
        if region.used is not None:
            ends = np.where(outside, 0, offsets)
            outside |= ~(region.used[ends] & region.used[np.where(outside, 0, offsets + self.bytes - 1)])
        for wrong, what in ((outside, "out of bounds"), (offsets & (self.bytes - 1) != 0, "misaligned")):
            if wrong.any():
                i = int(np.argmax(wrong))
                self._fault(lanes[i], f"{verb} {self.bytes} bytes at offset {offsets[i]} {where}: {what}")

    def _fault(self, lane: int, what: str) -> None:
        block, thread = self.lanes.place(int(lane))
        raise KernelError(
            f"line {self.instruction.line}: {self.instruction.text}: block {block}, thread {thread} {what}"
        )


_ORDERS = r"(?:\.(?:weak|volatile|relaxed|acquire|release|acq_rel))?(?:\.(?:cta|cluster|gpu|sys))?"
_SPACE = r"(?:\.(global|shared|local|const)(?:::cta)?)?"
_CACHING = r"(?:\.(?:ca|cg|cs|lu|cv|nc|wb|wt))?(?:\.L[12]::\w+(?:::\w+)?)*"
_ELEMENT = r"(?:\.(v2|v4))?\.([bus](?:8|16|32|64)|f32|f64)"


@rule(r"ld\.param\.([bus](?:8|16|32|64)|f32|f64)")
def _load_parameter(kind: str) -> Binder:
    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        to, address = instruction.operands
        value = lanes.parameters.get(getattr(address.base, "name", None))
        if value is None or address.offset or value.dtype.itemsize != TYPES[kind].itemsize:
            raise NotImplementedError(instruction.text)
        return lanes.copy(lanes.write(to, kind, extend=True), value.view(TYPES[kind]))

    return bind


@rule(rf"ld{_ORDERS}{_SPACE}{_CACHING}{_ELEMENT}")
def _load(space: str | None, vector: str | None, kind: str) -> Binder:
    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        to = instruction.operands[0]
        outs = [lanes.write(part, kind, extend=True) for part in (to.parts if vector else [to])]
        access = _Access(lanes, instruction, space, kind, len(outs), store=False)

        def load() -> None:
            for memory, elements, which in access.touch():
                for k, out in enumerate(outs):
                    if which is not None:
                        out[which] = memory[elements + k]
                    elif out.dtype == memory.dtype:
                        memory.take(elements + k if k else elements, out=out, mode="clip")
                    else:
                        out[...] = memory[elements + k]

        return load, load

    return bind


@rule(rf"st{_ORDERS}{_SPACE}{_CACHING}{_ELEMENT}")
def _store(space: str | None, vector: str | None, kind: str) -> Binder:
    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        source = instruction.operands[1]
        parts = source.parts if vector else [source]
        values = [np.broadcast_to(lanes.read(part, kind), lanes.n) for part in parts]
        access = _Access(lanes, instruction, space, kind, len(values), store=True)

        def store() -> None:
            for memory, elements, which in access.touch():
                for k, value in enumerate(values):
                    memory[elements + k] = value if which is None else value[which]

        return store, store

    return bind


_ATOMIC: dict[str, Callable[..., Any]] = {
    "add": lambda old, b: old + b,
    "and": lambda old, b: old & b,
    "or": lambda old, b: old | b,
    "xor": lambda old, b: old ^ b,
    "min": min,
    "max": max,
    "exch": lambda old, b: b,
    "cas": lambda old, b, c: c if old == b else old,
}


@rule(rf"(atom|red){_ORDERS}{_SPACE}\.({'|'.join(_ATOMIC)})\.([bus](?:32|64))")
def _atomic(name: str, space: str | None, operation: str, kind: str) -> Binder:
    """One lane after another. Sums of floats are refused: their order, and so their bits, are up to the hardware."""
    change = _ATOMIC[operation]

    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        out = lanes.write(instruction.operands[0], kind) if name == "atom" else None
        sources = instruction.operands[2 if name == "atom" else 1 :]
        values = [np.broadcast_to(lanes.read(source, kind), lanes.n) for source in sources]
        access = _Access(lanes, instruction, space, kind, 1, store=True)

        def update() -> None:
            for memory, elements, which in access.touch():
                lanes_of = range(lanes.n) if which is None else which.tolist()
                for lane, element in zip(lanes_of, elements.tolist(), strict=True):
                    old = memory[element]
                    memory[element] = change(old, *(value[lane] for value in values))
                    if out is not None:
                        out[lane] = old

        return update, update

    return bind


@rule(r"membar\.(?:cta|gl|sys)|fence(?:\.(?:sc|acq_rel))?\.(?:cta|cluster|gpu|sys)")
def _fence() -> Binder:
    """All lanes see all memory at once."""

    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        return (lambda: None,) * 2

    return bind


@rule(r"trap")
def _trap() -> Binder:
    def bind(lanes: Lanes, instruction: Instruction) -> Any:
        def call() -> None:
            raise KernelError(f"line {instruction.line}: trap")

        return call, call

    return bind
