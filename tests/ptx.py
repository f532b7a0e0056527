"""Executes PTX without a GPU: numpy arrays over the threads of a launch, its lanes, stand for the registers.

`Machine` takes the text that a compiler made of one kernel and does the arithmetic that the PTX manual defines, bit for
bit, but for the bits of NaN. What it does not know it refuses: approximations, subnormals flushed to zero, calls, talk
between the lanes of a warp. It checks memory as well: every array has addresses of its own, and an access that is
misaligned or outside of all arrays raises. Shared and local memory start with all bits set, so that a float that is
read before it was written is NaN.

Every lane has a program counter. Those with the smallest run next, under a mask unless all are there. So a kernel in
which lanes wait for each other without a barrier may never end, and a barrier that is missing may go unnoticed.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

__all__ = ["KernelError", "Machine", "compile_ptx"]

#: how many lanes run at once, unless a block has more: the registers of many more leave the caches
LANES = 4096


class KernelError(Exception):
    """What a memory checker, or the hardware, complains about."""


# Compilation ---------------------------------------------------------------------------------------------------------

_CHILD = """
import json, sys
import numba.cuda.types
from numba import cuda
source, signatures, options = json.load(sys.stdin)
space = {"__name__": "kernels"}
exec(source, space)
options = {"device": False, "abi": "numba"} | options | {"cc": tuple(options.get("cc", (9, 0)))}
names = vars(numba.cuda.types) | space
made = {name: cuda.compile(space[name], eval(text, names), **options)[0] for name, text in signatures.items()}
json.dump(made, sys.stdout)
"""


def compile_ptx(source: str, signatures: Mapping[str, str], **options: Any) -> dict[str, str]:
    """The PTX of functions that Python code defines, by name, for signatures such as "void(float32[::1], int64)".

    Signatures may also use what the code defines. A fresh interpreter compiles them all, because this one may have
    numba's simulator in place of its compiler.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps([source, dict(signatures), options]),
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the kernels do not compile\n{done.stderr}")
    made: dict[str, str] = json.loads(done.stdout)
    return made


# Text ----------------------------------------------------------------------------------------------------------------

_TYPES = {"pred": np.dtype(bool), "f32": np.dtype("f4"), "f64": np.dtype("f8")} | {
    f"{kind}{8 * size}": np.dtype(f"{'i' if kind == 's' else 'u'}{size}") for kind in "bus" for size in (1, 2, 4, 8)
}


class Literal(NamedTuple):
    """An integer, or the bits of a float and how many they are."""

    value: int
    width: int | None = None


class Symbol(NamedTuple):
    """A register, or a variable in memory with an offset."""

    name: str
    offset: int = 0


class Inverted(NamedTuple):
    """!%p"""

    predicate: Symbol


class Address(NamedTuple):
    """[base + offset]"""

    base: Symbol | Literal
    offset: int


class Vector(NamedTuple):
    """{a, b}, or a|b for the two results of a comparison."""

    parts: tuple[Any, ...]


class Instruction(NamedTuple):
    line: int
    text: str
    opcode: str
    operands: tuple[Any, ...]


class Variable(NamedTuple):
    """An array in memory that the text declares."""

    space: str
    name: str
    align: int
    size: int
    content: bytes | None


_NAME = r"[%$\w][$\w.]*"
_INTEGER = r"-?(?:0[xX][0-9a-fA-F]+|\d+)U?"
_OPERANDS = {
    rf"({_INTEGER})": lambda value: Literal(int(value.rstrip("U"), 0)),
    r"0[fF]([0-9a-fA-F]{8})": lambda bits: Literal(int(bits, 16), 32),
    r"0[dD]([0-9a-fA-F]{16})": lambda bits: Literal(int(bits, 16), 64),
    rf"({_NAME})": Symbol,
    rf"({_NAME})\s*\+\s*({_INTEGER})": lambda name, offset: Symbol(name, int(offset, 0)),
    rf"!\s*({_NAME})": lambda name: Inverted(Symbol(name)),
    rf"({_NAME}\|{_NAME})": lambda pair: Vector(tuple(map(Symbol, pair.split("|")))),
    r"\{(.*)\}": lambda parts: Vector(tuple(map(_operand, parts.split(",")))),
    r"\[(.*)\]": lambda base: _address(_operand(base)),
}


def _address(base: Any) -> Address:
    return Address(base._replace(offset=0), base.offset) if isinstance(base, Symbol) else Address(base, 0)


def _operand(text: str) -> Any:
    for pattern, make in _OPERANDS.items():
        if found := re.fullmatch(pattern, text.strip(), re.DOTALL):
            return make(*found.groups())
    raise NotImplementedError(f"operand {text.strip()}")


def _number(text: str, kind: str) -> Any:
    """A number as a numpy array without dimensions."""
    literal = _operand(text)
    if not isinstance(literal, Literal):
        raise NotImplementedError(f"initial value {text}")
    return _constant(literal, kind)


def _constant(literal: Literal, kind: str) -> Any:
    dtype = _TYPES[kind]
    if kind == "pred":
        return np.array(literal.value != 0)
    width = 8 * dtype.itemsize
    if literal.width not in (None, width) or (literal.width is None and kind.startswith("f")):
        raise NotImplementedError(f"{literal} as {kind}")
    return np.array(literal.value % (1 << width), f"u{dtype.itemsize}").view(dtype)


_VARIABLE = re.compile(
    r"^(?:\.(?:visible|common|weak|extern)\s+)*\.(global|const|shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+"
    r"([%$\w]+)\s*(?:\[\s*(\d*)\s*\])?\s*(?:=\s*(.*))?$",
    re.DOTALL,
)


def _variable(text: str) -> Variable:
    found = _VARIABLE.match(text)
    if not found or found[3] not in _TYPES or found[5] == "":
        raise NotImplementedError(text)
    space, align, kind, name, count, content = found.groups()
    width = _TYPES[kind].itemsize
    values = [] if content is None else [_number(v, kind) for v in content.strip("{} \n\t").split(",")]
    data = None if content is None else b"".join(v.tobytes() for v in values)
    size = width * int(count or 1)
    return Variable(space, name, int(align or width), size, data and data.ljust(size, b"\0"))


class _Block:
    """Instructions that run one after another, then perhaps a barrier, and where lanes go from there.

    With a guard only those lanes go to the target in which it is true, others to the next block, as all do if there is
    no target.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.guard: Symbol | Inverted | None = None
        self.target: str | None = None
        self.waits = False


_STATEMENT = re.compile(
    r"\s*(?:(?P<scope>[{}])|(?P<label>[$%\w]+)\s*:(?!:)|(?P<statement>[^\s;{}](?:[^;{}]|\{[^{}]*\})*);)"
)
_INSTRUCTION = re.compile(r"(?:@(!?)\s*([%$\w]+)\s+)?([a-z][\w.:]*)\s*(.*)", re.DOTALL)
_BARRIER = re.compile(r"(?:bar|barrier)(?:\.cta)?\.sync(?:\.aligned)?")
_END = ""  # the label of what comes after the last instruction

_LINES = r"^[ \t]*\.(?:loc|file|version|target|address_size)\b[^\n]*"  # directives that end with their lines
_BLANK = re.compile(rf"/\*.*?\*/|//[^\n]*|{_LINES}", re.DOTALL | re.MULTILINE)


class _Kernel:
    """What the text says: parameters, variables, registers and blocks of instructions."""

    def __init__(self, text: str) -> None:
        self._text = _BLANK.sub(lambda found: "\n" * found[0].count("\n"), text)
        self.registers: dict[str, str] = {}
        self.variables: list[Variable] = []
        self.labels: dict[str, int] = {}
        self.blocks = [_Block()]
        self.instructions: Counter[str] = Counter()
        entries, outside = self._functions()
        if len(entries) != 1:
            raise ValueError(f"{len(entries)} entries in place of one")
        for statement in outside.split(";"):
            if _VARIABLE.match(statement.strip()):
                self.variables.append(_variable(statement.strip()))
        parameters, start, stop = entries[0]
        self.parameters = [self._parameter(p) for p in parameters.split(",") if p.strip()]
        self._body(start, stop)
        self.labels[_END] = len(self.blocks)

    def _functions(self) -> tuple[list[tuple[str, int, int]], str]:
        """Parameters, start and end of the body of each entry, and the text outside of all functions."""
        header = re.compile(r"\.(entry|func)\s+(?:\([^()]*\)\s*)?[$\w]+\s*(?:\(([^()]*)\))?[^;{]*([;{])")
        entries, outside, position = [], [], 0
        while found := header.search(self._text, position):
            outside.append(self._text[position : found.start()].rpartition(";")[0])
            position = found.end()
            depth = 1 if found[3] == "{" else 0
            while depth:
                depth += {"{": 1, "}": -1}.get(self._text[position], 0)
                position += 1
            if found[1] == "entry":
                entries.append((found[2] or "", found.end(), position - 1))
        return entries, ";".join([*outside, self._text[position:]])

    def _parameter(self, text: str) -> tuple[str, str]:
        """Its name and type."""
        found = re.fullmatch(r"\s*\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.\w+\s+(?:\d+\s+)?)*([$%\w]+)\s*", text)
        if not found or found[1] not in _TYPES:
            raise NotImplementedError(f"parameter {text.strip()}")
        return found[2], found[1]

    def _body(self, start: int, stop: int) -> None:
        line, counted = 1, 0
        while found := _STATEMENT.match(self._text, start, stop):
            start = found.end()
            if found["label"]:
                self._new_block(found["label"])
            elif found["statement"]:
                line += self._text.count("\n", counted, found.start("statement"))
                counted = found.start("statement")
                statement = " ".join(found["statement"].split())
                if statement.startswith("."):
                    self._directive(statement)
                else:
                    self._instruction(line, statement)
        if self._text[start:stop].strip():
            raise NotImplementedError(self._text[start:stop].strip().split("\n")[0])

    def _directive(self, statement: str) -> None:
        if statement.startswith(".reg"):
            _, kind, names = statement.split(maxsplit=2)
            for name in names.split(","):
                found = re.fullmatch(r"\s*([%$\w]+)(?:<(\d+)>)?\s*", name)
                if not found or kind[1:] not in _TYPES:
                    raise NotImplementedError(statement)
                every = [found[1]] if found[2] is None else [f"{found[1]}{i}" for i in range(int(found[2]))]
                for register in every:
                    if self.registers.setdefault(register, kind[1:]) != kind[1:]:
                        raise NotImplementedError(f"two types of register {register}")
        elif statement.startswith((".shared", ".local", ".global", ".const")):
            self.variables.append(_variable(statement))
        elif not statement.startswith((".pragma", ".param")):
            raise NotImplementedError(statement)

    def _new_block(self, label: str | None = None) -> str:
        """The label of the block that begins here."""
        label = label or f" {len(self.blocks)}"  # no label of the text has a space
        self.labels[label] = len(self.blocks)
        self.blocks.append(_Block())
        return label

    def _instruction(self, line: int, text: str) -> None:
        found = _INSTRUCTION.fullmatch(text)
        if not found:
            raise NotImplementedError(f"line {line}: {text}")
        inverted, register, opcode, rest = found.groups()
        self.instructions[opcode] += 1
        leaves = opcode in ("bra", "bra.uni", "ret", "exit")
        guarded = self.blocks[-1]
        if register:
            guarded.guard = Symbol(register) if (not inverted) == leaves else Inverted(Symbol(register))
            if not leaves:  # lanes without it go around
                self._new_block()
        block = self.blocks[-1]
        if leaves:
            block.target = rest.strip() if opcode.startswith("bra") else _END
            self._new_block()
        elif _BARRIER.fullmatch(opcode):
            if rest.strip() != "0":
                raise NotImplementedError(f"line {line}: {text}")
            block.waits = True
            self._new_block()
        else:
            operands = re.findall(r"(?:[^,{}\[\]()]|\{[^}]*\}|\[[^\]]*\]|\([^)]*\))+", rest)
            known = _binder(opcode) is not None
            block.instructions.append(Instruction(line, text, opcode, tuple(map(_operand, operands)) if known else ()))
        if register and not leaves:
            guarded.target = self._new_block()


# Arithmetic ----------------------------------------------------------------------------------------------------------

#: binds the instruction to lanes: what to call for all lanes, and what for those under the mask
Binder = Callable[["_Lanes", Instruction], tuple[Callable[[], Any], Callable[[], Any]]]

_RULES: list[tuple[re.Pattern[str], Callable[..., Binder]]] = []


def _rule(pattern: str) -> Callable[[Callable[..., Binder]], Callable[..., Binder]]:
    """The function makes binders of instructions whose whole name matches; it is given the groups of the match."""

    def register(make: Callable[..., Binder]) -> Callable[..., Binder]:
        _RULES.append((re.compile(pattern), make))
        return make

    return register


@cache
def _binder(opcode: str) -> Binder | None:
    for pattern, make in _RULES:
        if found := pattern.fullmatch(opcode):
            return make(*found.groups())
    return None


def _simple(function: Callable[..., Any], out: str, *ins: str) -> Binder:
    """Calls function(inputs..., out=output, where=mask) with arrays of these types."""

    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        to, *operands = instruction.operands
        if len(operands) != len(ins):
            raise NotImplementedError(f"{len(operands)} operands")
        return lanes.both(function, *map(lanes.read, operands, ins), out=lanes.write(to, out))

    return bind


def _of(value: Callable[..., Any]) -> Callable[..., None]:
    """A function that returns an array made callable as one of numpy's that write theirs."""

    def call(*arrays: Any, out: Any, where: Any = True) -> None:
        np.copyto(out, value(*arrays), where=where)

    return call


def _wide(kind: str) -> np.dtype[Any]:
    return _TYPES[f"{kind[0]}{2 * int(kind[1:])}"]


def _high(kind: str) -> Callable[..., Any]:
    """The upper half of a product."""
    width = int(kind[1:])
    if width < 64:
        return lambda a, b: np.right_shift(np.multiply(a, b, dtype=_wide(kind)), width)
    return _high_unsigned if kind == "u64" else _high_signed


def _high_unsigned(a: Any, b: Any) -> Any:
    low = np.uint64(0xFFFFFFFF)
    a0, a1, b0, b1 = a & low, a >> 32, b & low, b >> 32
    middle = a1 * b0 + (a0 * b0 >> 32)
    return a1 * b1 + (middle >> 32) + ((middle & low) + a0 * b1 >> 32)


def _high_signed(a: Any, b: Any) -> Any:
    high = _high_unsigned(a.view(np.uint64), b.view(np.uint64)).view(np.int64)
    return high - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)


def _quotient(a: Any, b: Any) -> Any:
    """Rounded to zero; all bits of x / 0 are set, as the hardware has it."""
    quotient = np.floor_divide(a - np.fmod(a, b), b)
    return np.where(b == 0, np.invert(np.zeros_like(b)), quotient)


def _remainder(a: Any, b: Any) -> Any:
    """With the sign of a; x modulo 0 is x."""
    return np.where(b == 0, a, np.fmod(a, b))


def _least(a: Any, b: Any) -> Any:
    """A number if there is one, and -0 < 0: the bits of equal numbers differ in the sign alone."""
    bits = f"u{a.dtype.itemsize}"
    return np.where(a == b, (a.view(bits) | b.view(bits)).view(a.dtype), np.fmin(a, b))


def _greatest(a: Any, b: Any) -> Any:
    bits = f"u{a.dtype.itemsize}"
    return np.where(a == b, (a.view(bits) & b.view(bits)).view(a.dtype), np.fmax(a, b))


@cache
def _rounded_once() -> Any:
    """a * b + c by the CPU's own instruction, or what stands for it in the C library; both round once."""
    from numba import types, vectorize
    from numba.extending import intrinsic

    @intrinsic
    def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return a(a, a, a), lambda context, builder, signature, args: builder.fma(*args)

    signatures = [real(real, real, real) for real in (types.float32, types.float64)]
    made = vectorize(signatures)(lambda a, b, c: fma(a, b, c))
    return getattr(made, "ufunc", made)


def _fma(a: Any, b: Any, c: Any, out: Any, where: Any = True) -> None:
    if where is True:
        _rounded_once()(a, b, c, out=out)
    else:
        np.copyto(out, _rounded_once()(a, b, c), where=where)


_SIGNED = {"add": np.add, "sub": np.subtract, "min": np.minimum, "max": np.maximum}
_SIGNED |= {"div": _of(_quotient), "rem": _of(_remainder), "mul.lo": np.multiply}
_BITWISE = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert}
_INTEGER_TYPE = r"([us](?:16|32|64))"


@_rule(rf"(add|sub|min|max|div|rem|mul\.lo)\.{_INTEGER_TYPE}")
def _integer(name: str, kind: str) -> Binder:
    return _simple(_SIGNED[name], kind, kind, kind)


@_rule(r"(abs|neg)\.(s16|s32|s64|f32|f64)")
def _sign(name: str, kind: str) -> Binder:
    return _simple(np.absolute if name == "abs" else np.negative, kind, kind)


@_rule(rf"(mul|mad)\.(wide|hi)\.{_INTEGER_TYPE}")
def _multiply(name: str, part: str, kind: str) -> Binder:
    if part == "wide" and kind[1:] == "64":
        raise NotImplementedError(f"{name}.{part}.{kind}")
    out = f"{kind[0]}{2 * int(kind[1:])}" if part == "wide" else kind
    product = partial(np.multiply, dtype=_TYPES[out]) if part == "wide" else _high(kind)
    if name == "mul":
        return _simple(product if part == "wide" else _of(product), out, kind, kind)
    return _simple(_of(lambda a, b, c: product(a, b).astype(_TYPES[out]) + c), out, kind, kind, out)


@_rule(rf"mad\.lo\.{_INTEGER_TYPE}")
def _multiply_add(kind: str) -> Binder:
    return _simple(_of(lambda a, b, c: a * b + c), kind, kind, kind, kind)


@_rule(r"(and|or|xor|not)\.(pred|b16|b32|b64)")
def _bitwise(name: str, kind: str) -> Binder:
    return _simple(_BITWISE[name], kind, *[kind] * (1 if name == "not" else 2))


@_rule(r"cnot\.(b16|b32|b64)")
def _logical_not(kind: str) -> Binder:
    return _simple(_of(lambda a: (a == 0).astype(a.dtype)), kind, kind)


@_rule(r"(shl|shr)\.([bus](?:16|32|64))")
def _shift(name: str, kind: str) -> Binder:
    """numpy shifts by the width or more as PTX does; a negative count is a large one without a sign."""
    shift = np.left_shift if name == "shl" else np.right_shift
    constant, variable = (_simple(shift, kind, kind, by) for by in (kind, "s32" if kind[0] == "s" else "u32"))

    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        return (constant if isinstance(instruction.operands[-1], Literal) else variable)(lanes, instruction)

    return bind


@_rule(r"shf\.([lr])\.(wrap|clamp)\.b32")
def _funnel(side: str, mode: str) -> Binder:
    def shift(low: Any, high: Any, count: Any) -> Any:
        count = count & np.uint32(31) if mode == "wrap" else np.minimum(count, np.uint32(32))
        left, right = (count, 32 - count) if side == "l" else (32 - count, count)
        return high << left | low >> right

    return _simple(_of(shift), "u32", "u32", "u32", "u32")


@_rule(r"(popc|clz|brev)\.(b32|b64)")
def _counts(name: str, kind: str) -> Binder:
    width = int(kind[1:])

    def zeros(a: Any) -> Any:
        for step in (1, 2, 4, 8, 16, 32):
            a = a | a >> step
        return width - np.bitwise_count(a).astype(np.uint32)

    def reverse(a: Any) -> Any:
        octets = np.asarray(a)[..., np.newaxis].view(np.uint8)[..., ::-1]
        bits = np.packbits(np.unpackbits(octets, axis=-1, bitorder="little"), axis=-1)
        return np.ascontiguousarray(bits).view(a.dtype)[..., 0]

    function = {"popc": np.bitwise_count, "clz": zeros, "brev": reverse}[name]
    return _simple(_of(function), kind if name == "brev" else "u32", kind)


@_rule(r"bfe\.([us](?:32|64))")
def _extract(kind: str) -> Binder:
    width = int(kind[1:])

    def extract(a: Any, position: Any, length: Any) -> Any:
        position, length = (np.asarray(v & np.uint32(255), np.int64) for v in (position, length))
        top = np.minimum(position + length - 1, width - 1)
        if kind[0] == "u":
            mask = (np.ones_like(a) << length.astype(a.dtype)) - np.ones_like(a)
            return a >> position.astype(a.dtype) & mask
        left = width - 1 - top
        field = a << left.astype(a.dtype) >> (left + position).astype(a.dtype)
        return np.where(length == 0, np.zeros_like(a), field)

    return _simple(_of(extract), kind, kind, "u32", "u32")


@_rule(r"bfi\.(b32|b64)")
def _insert(kind: str) -> Binder:
    def insert(a: Any, b: Any, position: Any, length: Any) -> Any:
        position, length = ((v & np.uint32(255)).astype(a.dtype) for v in (position, length))
        mask = (np.ones_like(a) << length) - np.ones_like(a) << position
        return b & ~mask | a << position & mask

    return _simple(_of(insert), kind, kind, kind, "u32", "u32")


@_rule(r"prmt\.b32")
def _permute() -> Binder:
    def permute(a: Any, b: Any, selectors: Any) -> Any:
        octets = b.astype(np.uint64) << 32 | a
        result = np.zeros_like(octets)
        for i in range(4):
            selector = selectors.astype(np.uint64) >> (4 * i)
            octet = octets >> ((selector & 7) << 3) & 255
            octet = np.where(selector & 8, (octet >> 7) * 255, octet)
            result = result | octet << (8 * i)
        return result

    return _simple(_of(permute), "u32", "u32", "u32", "u32")


@_rule(r"lop3\.b32")
def _lookup() -> Binder:
    def lookup(a: Any, b: Any, c: Any, table: Any) -> Any:
        result = np.zeros_like(a)
        for i in range(8):
            term = (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
            result = result | np.where(table >> i & 1, term, 0).astype(np.uint32)
        return result

    return _simple(_of(lookup), "u32", "u32", "u32", "u32", "u32")


_FLOAT = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


@_rule(r"(?:(add|sub|mul)(?:\.rn)?|(div)\.rn)\.(f32|f64)")
def _float(name: str | None, division: str | None, kind: str) -> Binder:
    return _simple(_FLOAT[name or division], kind, kind, kind)


@_rule(r"fma\.rn\.(f32|f64)")
def _multiply_and_add(kind: str) -> Binder:
    return _simple(_fma, kind, kind, kind, kind)


@_rule(r"(sqrt|rcp)\.rn\.(f32|f64)")
def _root(name: str, kind: str) -> Binder:
    return _simple(np.sqrt if name == "sqrt" else np.reciprocal, kind, kind)


@_rule(r"(min|max)\.(f32|f64)")
def _extreme(name: str, kind: str) -> Binder:
    return _simple(_of(_least if name == "min" else _greatest), kind, kind, kind)


@_rule(r"copysign\.(f32|f64)")
def _copysign(kind: str) -> Binder:
    return _simple(_of(lambda sign, size: np.copysign(size, sign)), kind, kind, kind)


_TESTS = {
    "finite": np.isfinite,
    "infinite": np.isinf,
    "number": lambda a: ~np.isnan(a),
    "notanumber": np.isnan,
    "normal": lambda a: np.isfinite(a) & (np.abs(a) >= np.finfo(a.dtype).tiny),
    "subnormal": lambda a: (a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny),
}


@_rule(rf"testp\.({'|'.join(_TESTS)})\.(f32|f64)")
def _test(name: str, kind: str) -> Binder:
    return _simple(_of(_TESTS[name]), "pred", kind)


# Comparisons, moves and conversions ----------------------------------------------------------------------------------

_ORDERED = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal}
_ORDERED |= {"gt": np.greater, "ge": np.greater_equal}
_COMPARISONS: dict[str, Any] = {
    **_ORDERED,
    **{name: _ORDERED[same] for name, same in {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.items()},
    "equ": lambda a, b: ~((a < b) | (a > b)),
    "neu": np.not_equal,
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
    "num": lambda a, b: (a == a) & (b == b),
    "nan": lambda a, b: (a != a) | (b != b),
}
_COMPARE = rf"({'|'.join(_COMPARISONS)})"
_SCALAR = r"([bus](?:16|32|64)|f32|f64)"


def _comparison(name: str, kind: str) -> Callable[..., Any]:
    """Comparisons with NaN are false, unless their names say unordered; so is even !=."""
    if kind[0] == "f" and name == "ne":
        return lambda a, b: (a < b) | (a > b)
    return _COMPARISONS[name]


@_rule(rf"setp\.{_COMPARE}(?:\.(and|or|xor))?\.{_SCALAR}")
def _set_predicate(name: str, join: str | None, kind: str) -> Binder:
    compare = _comparison(name, kind)
    alone = _simple(compare if isinstance(compare, np.ufunc) else _of(compare), "pred", kind, kind)

    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        to, a, b, *condition = instruction.operands
        if join is None and isinstance(to, Symbol):
            return alone(lanes, instruction)
        outs = [lanes.write(part, "pred") for part in (to.parts if isinstance(to, Vector) else [to])]
        with_ = [lanes.predicate(c) for c in condition]

        def call(a: Any, b: Any, where: Any = True) -> None:
            truth = compare(a, b)
            others = [c ^ inverted for c, inverted in with_]
            for out, value in zip(outs, (truth, ~truth), strict=False):
                np.copyto(out, _BITWISE[join](value, *others) if join else value, where=where)

        return lanes.both(call, lanes.read(a, kind), lanes.read(b, kind))

    return bind


@_rule(rf"set\.{_COMPARE}\.(u32|s32|f32)\.{_SCALAR}")
def _set(name: str, out: str, kind: str) -> Binder:
    compare, true = _comparison(name, kind), np.array(1.0 if out == "f32" else -1, _TYPES[out.replace("u", "s")])
    yes = true.view(_TYPES[out])
    return _simple(_of(lambda a, b: np.where(compare(a, b), yes, np.zeros_like(yes))), out, kind, kind)


@_rule(rf"selp\.{_SCALAR}")
def _select(kind: str) -> Binder:
    return _simple(_of(lambda a, b, condition: np.where(condition, a, b)), kind, kind, kind, "pred")


@_rule(rf"slct\.{_SCALAR}\.(s32|f32)")
def _select_by_sign(kind: str, by: str) -> Binder:
    return _simple(_of(lambda a, b, c: np.where(c >= 0, a, b)), kind, kind, kind, by)


@_rule(rf"mov\.(pred|{_SCALAR[1:-1]})")
def _move(kind: str) -> Binder:
    """Also {low, high} to a register and back."""

    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        to, source = instruction.operands
        vector = next((o.parts for o in (to, source) if isinstance(o, Vector)), None)
        if vector is None:
            return lanes.copy(lanes.write(to, kind), lanes.read(source, kind))
        part = f"b{int(kind[1:]) // len(vector)}"
        whole = source if vector is getattr(to, "parts", None) else to
        slots = lanes.slots(whole, kind, len(vector))
        if whole is source:
            pairs = [(lanes.write(v, part), slot) for v, slot in zip(vector, slots, strict=True)]
        else:
            pairs = [(slot, lanes.read(v, part)) for v, slot in zip(vector, slots, strict=True)]

        def call(where: Any = True) -> None:
            for into, value in pairs:
                np.copyto(into, value, where=where)

        return lanes.both(call)

    return bind


@_rule(r"cvta(?:\.to)?\.(?:global|shared|local|const)\.u64")
def _generic() -> Binder:
    """All memory shares one space of addresses here."""
    return _move("u64")


_ROUNDINGS = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def _to_integer(rounding: Any, kind: str, source: str) -> Callable[..., Any]:
    """The nearest number there is; NaN is 0 or, where 64 bits take part, the highest bit."""
    dtype = _TYPES[kind]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    top = 1 << (8 * dtype.itemsize - 1)
    nan = -top if kind[0] == "s" else top

    def convert(a: Any) -> Any:
        whole = rounding(a)
        inside = (whole >= float(low)) & (whole < float(high + 1))
        outside = np.where(a > 0, dtype.type(high), dtype.type(low))
        outside = np.where(a == a, outside, dtype.type(nan if "64" in kind + source else 0))
        return np.where(inside, np.where(inside, whole, 0).astype(dtype), outside)

    return convert


def _conversion(rounding: str | None, kind: str, source: str) -> Callable[..., Any] | None:
    """What makes an array of the one type of one of the other; None if there is no such instruction."""
    whole = rounding in _ROUNDINGS
    if kind[0] == source[0] == "f":
        if whole and kind == source:
            return _ROUNDINGS[rounding]
        narrower = kind == "f32" and source == "f64"
        return (lambda a: a.astype(_TYPES[kind])) if rounding == ("rn" if narrower else None) else None
    if source[0] == "f":
        return _to_integer(_ROUNDINGS[rounding], kind, source) if whole else None
    needs = "rn" if kind[0] == "f" else None
    return (lambda a: a.astype(_TYPES[kind])) if rounding == needs else None


_NUMBER = r"([us](?:8|16|32|64)|f32|f64)"


@_rule(rf"cvt(?:\.(rn|{'|'.join(_ROUNDINGS)}))?\.{_NUMBER}\.{_NUMBER}")
def _convert(rounding: str | None, kind: str, source: str) -> Binder:
    conversion = _conversion(rounding, kind, source)

    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        if conversion is None:
            raise NotImplementedError(instruction.opcode)
        to, operand = instruction.operands
        out, value = lanes.write(to, kind, extend=True), lanes.read(operand, source)
        if out.dtype == _TYPES[kind] and rounding in (None, "rn"):
            return lanes.copy(out, value)
        return lanes.both(_of(conversion), value, out=out)

    return bind


# Memory --------------------------------------------------------------------------------------------------------------

_WINDOW = 40  # each region of memory has 2^40 addresses and lies in their middle: what is near is nothing else


def _base(window: int) -> int:
    return (window << _WINDOW) + (1 << (_WINDOW - 1))


class _Region:
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


def _array_region(array: Any, name: str) -> tuple[_Region, int]:
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
    return _Region("global", name, flat.view(np.uint8), count * width, used=holes), start


class _Access:
    """The memory that an instruction touches: ``count`` elements from an address in each lane."""

    def __init__(self, lanes: _Lanes, instruction: Instruction, space: str | None, kind: str, count: int, store: bool):
        address = next(o for o in instruction.operands if isinstance(o, Address))
        self.lanes, self.instruction, self.space, self.store = lanes, instruction, space, store
        self.dtype = _TYPES[kind]
        self.bytes = count * self.dtype.itemsize
        self.shift = np.array(self.dtype.itemsize.bit_length() - 1, np.uint64)
        self.pointers = np.broadcast_to(lanes.read(address.base, "u64"), lanes.n)
        self.offset = address.offset
        self.region: _Region | None = None  # where the last access was

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
            offsets = addresses[which] - np.uint64(_base(window))
            self._check(region, offsets.view(np.int64), addresses[which], lanes[which])
            if len(different) == 1 and region.used is None:
                self.region, self.limit = region, region.size - self.bytes
                self.origin = np.array((_base(window) - self.offset) % (1 << 64), np.uint64)
            yield region.view(self.dtype), self._elements(region, offsets, lanes[which]), lanes[which]

    def _elements(self, region: _Region, offsets: Any, lanes: Any) -> Any:
        if region.rows is not None:
            offsets = offsets + (region.rows if lanes is None else region.rows[lanes])
        return (offsets >> self.shift).view(np.int64)

    def _check(self, region: _Region | None, offsets: Any, addresses: Any, lanes: Any) -> None:
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


@_rule(r"ld\.param\.([bus](?:8|16|32|64)|f32|f64)")
def _load_parameter(kind: str) -> Binder:
    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        to, address = instruction.operands
        value = lanes.parameters.get(getattr(address.base, "name", None))
        if value is None or address.offset or value.dtype.itemsize != _TYPES[kind].itemsize:
            raise NotImplementedError(instruction.text)
        return lanes.copy(lanes.write(to, kind, extend=True), value.view(_TYPES[kind]))

    return bind


@_rule(rf"ld{_ORDERS}{_SPACE}{_CACHING}{_ELEMENT}")
def _load(space: str | None, vector: str | None, kind: str) -> Binder:
    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
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


@_rule(rf"st{_ORDERS}{_SPACE}{_CACHING}{_ELEMENT}")
def _store(space: str | None, vector: str | None, kind: str) -> Binder:
    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
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


@_rule(rf"(atom|red){_ORDERS}{_SPACE}\.({'|'.join(_ATOMIC)})\.([bus](?:32|64))")
def _atomic(name: str, space: str | None, operation: str, kind: str) -> Binder:
    """One lane after another. Sums of floats are refused: their order, and so their bits, are up to the hardware."""
    change = _ATOMIC[operation]

    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
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


@_rule(r"membar\.(?:cta|gl|sys)|fence(?:\.(?:sc|acq_rel))?\.(?:cta|cluster|gpu|sys)")
def _fence() -> Binder:
    """All lanes see all memory at once."""

    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        return (lambda: None,) * 2

    return bind


@_rule(r"trap")
def _trap() -> Binder:
    def bind(lanes: _Lanes, instruction: Instruction) -> Any:
        def call() -> None:
            raise KernelError(f"line {instruction.line}: trap")

        return call, call

    return bind


# Execution -----------------------------------------------------------------------------------------------------------

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


class _Lanes:
    """Some blocks of a grid that run at once: registers, memory, and where each lane is."""

    def __init__(self, machine: Machine, grid: Any, block: Any, blocks: int, parameters: Any, regions: Any) -> None:
        self.kernel, self.symbols = machine.kernel, machine.symbols
        self.grid, self.block = grid, block
        self.threads = math.prod(block)
        self.n = blocks * self.threads
        self.parameters = parameters
        self.mask = np.ones(self.n, bool)
        self.active: Any = None  # the lanes under the mask; None if they are all
        self._registers: dict[str, Any] = {}
        self._thread = np.tile(np.arange(self.threads), blocks)
        self._block = np.repeat(np.arange(blocks), self.threads)
        self._first = 0
        self._special = self._special_registers()
        self.regions = regions | self._private_regions(machine, blocks)
        self.blocks = [self._bind(i, b) for i, b in enumerate(self.kernel.blocks)]

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

    def _private_regions(self, machine: Machine, blocks: int) -> dict[int, _Region]:
        """Shared memory has a row for each block, local memory one for each lane."""
        made = {}
        for space, rows, whose in (("shared", blocks, self._block), ("local", self.n, np.arange(self.n))):
            size = machine.sizes[space]
            if size:
                stride = -(-size // 16) * 16
                data = np.empty(rows * stride, np.uint8)
                offsets = (whose * stride).astype(np.uint64)
                made[machine.windows[space]] = _Region(space, f"{space} memory", data, size, offsets)
        return made

    def _bind(self, number: int, block: _Block) -> _Bound:
        full, masked = [], []
        for instruction in block.instructions:
            binder = _binder(instruction.opcode)
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
            dtype = _TYPES[kind if kind == "pred" else f"u{kind[1:]}"]
            self._registers[name] = np.zeros(self.n, dtype)
        return self._registers[name]

    def read(self, operand: Any, kind: str) -> Any:
        """An array that holds the operand, of which a register may be wider than the type."""
        if isinstance(operand, Literal):
            return _constant(operand, kind)
        if not isinstance(operand, Symbol):
            raise NotImplementedError(f"operand {operand}")
        if operand.name in self.symbols:
            return _constant(Literal(self.symbols[operand.name] + operand.offset, 64), kind)
        if operand.name in self._special:
            raw = self._special[operand.name]
        elif operand.name in self.kernel.registers and not operand.offset:
            raw = self._register(operand.name)
        else:
            raise NotImplementedError(f"operand {operand.name}")
        return self._low(raw, kind, operand.name)

    def _low(self, raw: Any, kind: str, name: str) -> Any:
        dtype = _TYPES[kind]
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
            return np.empty(self.n, _TYPES[kind])
        if not isinstance(operand, Symbol) or operand.name not in self.kernel.registers:
            raise NotImplementedError(f"result {operand}")
        raw = self._register(operand.name)
        if extend and kind[0] in "bus" and raw.dtype.itemsize > _TYPES[kind].itemsize:
            return raw.view(_TYPES[f"{kind[0]}{8 * raw.dtype.itemsize}"])
        if raw.dtype.itemsize != _TYPES[kind].itemsize:
            raise NotImplementedError(f"{operand.name} is no {kind}")
        return self._low(raw, kind, operand.name)

    def slots(self, operand: Any, kind: str, count: int) -> list[Any]:
        """The parts of a register, the lowest first."""
        raw = np.atleast_1d(self.read(operand, kind)).view(_TYPES[f"b{int(kind[1:]) // count}"])
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


def _three(value: Any) -> tuple[int, int, int]:
    sizes = (value,) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(sizes) > 3 or any(size < 1 for size in sizes):
        raise ValueError(f"{value} is no size of a grid or a block")
    return (*map(int, sizes), 1, 1, 1)[:3]


class Machine:
    """Runs the one kernel of a PTX text. ``instructions`` counts the full names of its instructions in the text."""

    def __init__(self, ptx_text: str) -> None:
        self.kernel = _Kernel(ptx_text)
        self.instructions = self.kernel.instructions
        unknown = {i.opcode: i for b in self.kernel.blocks for i in b.instructions if _binder(i.opcode) is None}
        if unknown:
            raise NotImplementedError("\n".join(f"line {i.line}: {i.text}" for i in unknown.values()))
        self._place_variables()
        # What else is unknown shows when one lane is made.
        parameters = {name: np.zeros((), _TYPES[kind]) for name, kind in self.kernel.parameters}
        _Lanes(self, (1, 1, 1), (1, 1, 1), 1, parameters, {})

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
                self.symbols[variable.name] = _base(self.windows[variable.space]) + start
            else:
                self._own.append((16 + len(self._own), variable))
                self.symbols[variable.name] = _base(self._own[-1][0])

    def run(self, grid: Any, block: Any, args: Sequence[Any]) -> None:
        """Launches the kernel with numpy's arrays, which it changes, and numpy's scalars."""
        grid, block = _three(grid), _three(block)
        threads, blocks = math.prod(block), math.prod(grid)
        if threads > 1024:
            raise ValueError(f"{threads} threads in a block")
        parameters, regions = self._arguments(args)
        at_once = min(blocks, max(1, LANES // threads))
        with np.errstate(all="ignore"):
            lanes = _Lanes(self, grid, block, at_once, parameters, regions)
            for first in range(0, blocks, at_once):
                lanes.run(first)

    def _arguments(self, args: Sequence[Any]) -> tuple[dict[str, Any], dict[int, _Region]]:
        """The parameters by name, and the memory of arrays and variables by the window of their addresses."""
        regions, values, texts = {}, [], []
        for window, variable in self._own:
            data = np.frombuffer(bytearray(variable.content or bytes(variable.size)), np.uint8)
            regions[window] = _Region(variable.space, variable.name, data, len(data))
        for i, arg in enumerate(args):
            if isinstance(arg, np.ndarray):
                window = 1024 + i
                text = f"argument {i}, {arg.dtype} {arg.shape}"
                regions[window], start = _array_region(arg, text)
                numbers = (0, 0, arg.size, arg.itemsize, _base(window) + start, *arg.shape, *arg.strides)
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
            if value.itemsize != _TYPES[kind].itemsize or (value.dtype.kind == "f") != (kind[0] == "f"):
                raise ValueError(f"{text} for a parameter {kind}")
        return {name: np.array(v).view(_TYPES[kind]) for (name, kind), v in zip(kinds, values, strict=True)}
