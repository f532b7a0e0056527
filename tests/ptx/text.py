"""Takes the text of a kernel apart: parameters, variables, registers and blocks of instructions."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from .rules import find_binder

TYPES = {"pred": np.dtype(bool), "f32": np.dtype("f4"), "f64": np.dtype("f8")} | {
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
    return constant(literal, kind)


def constant(literal: Literal, kind: str) -> Any:
    dtype = TYPES[kind]
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
    if not found or found[3] not in TYPES or found[5] == "":
        raise NotImplementedError(text)
    space, align, kind, name, count, content = found.groups()
    width = TYPES[kind].itemsize
    values = [] if content is None else [_number(v, kind) for v in content.strip("{} \n\t").split(",")]
    data = None if content is None else b"".join(v.tobytes() for v in values)
    size = width * int(count or 1)
    return Variable(space, name, int(align or width), size, data and data.ljust(size, b"\0"))


class Block:
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


class Kernel:
    """What the text says: parameters, variables, registers and blocks of instructions."""

    def __init__(self, text: str) -> None:
        self._text = _BLANK.sub(lambda found: "\n" * found[0].count("\n"), text)
        self.registers: dict[str, str] = {}
        self.variables: list[Variable] = []
        self.labels: dict[str, int] = {}
        self.blocks = [Block()]
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
        if not found or found[1] not in TYPES:
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
                if not found or kind[1:] not in TYPES:
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
        self.blocks.append(Block())
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
            known = find_binder(opcode) is not None
            block.instructions.append(Instruction(line, text, opcode, tuple(map(_operand, operands)) if known else ()))
        if register and not leaves:
            guarded.target = self._new_block()
