"""Object code: whether it is whole, and its function in memory.

What LLVM's loader is given it believes: part of an object, or one of another machine, ends the process. So an object is
read here before: all that its tables point to must lie inside it, and the function that is wanted among its symbols.
"""

from __future__ import annotations

import platform
import struct
import sys
from collections.abc import Iterator

#: ELF's and COFF's numbers of machines, and Mach-O's
_ELF = {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183, "ppc64le": 21, "riscv64": 243}
_COFF = {"x86_64": 0x8664, "amd64": 0x8664, "aarch64": 0xAA64, "arm64": 0xAA64}
_MACH_O = {"x86_64": 0x01000007, "aarch64": 0x0100000C, "arm64": 0x0100000C}

#: the relocations of x86-64 that LLVM's loader knows; those of other machines are not looked at
_RELOCATIONS = frozenset((1, 2, 4, 9, 10, 11, 24, 25, 26, 27, 29, 41, 42))

_UNDEFINED, _ABSOLUTE, _COMMON = 0, 0xFFF1, 0xFFF2
_MOST_ZEROS = 2**24  # bytes that an object may ask for without having them


class Loaded:
    """Object code in memory and the address of its function (0: it has none of this name)."""

    def __init__(self, name: str, code: bytes) -> None:
        import llvmlite.binding as llvm

        for ready in ("initialize_native_target", "initialize_native_asmprinter"):
            getattr(llvm, ready)()
        target = llvm.Target.from_default_triple()
        machine = target.create_target_machine(jit=True)  # of any processor: nothing is compiled
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.address: int = self._engine.get_function_address(name)


def is_whole(code: bytes, name: bytes, system: str = sys.platform, machine: str | None = None) -> bool:
    """Whether ``code`` is a whole object of this system and machine, or others, that defines the function ``name``."""
    machine = (platform.machine() if machine is None else machine).lower()
    try:
        if system == "darwin":
            return _lies_inside(code, _mach_o(code, machine)) and b"\0_" + name + b"\0" in code
        if system == "win32" and not code.startswith(b"\x7fELF"):
            return _lies_inside(code, _coff(code, machine)) and b"\0" + name + b"\0" in code
        return _is_whole_elf(code, name, machine)
    except (struct.error, ValueError, IndexError, TypeError):  # a table that ends too early, or names what is not there
        return False


def _lies_inside(code: bytes, extents: Iterator[tuple[int, int]]) -> bool:
    return all(start + size <= len(code) for start, size in extents)


def _mach_o(code: bytes, machine: str) -> Iterator[tuple[int, int]]:
    """What a Mach-O object's load commands point to, as (start, size)."""
    magic, cpu, _, kind, n, size, _, _ = struct.unpack_from("<8I", code)
    if (magic, cpu, kind) != (0xFEEDFACF, _MACH_O.get(machine), 1):
        raise ValueError("not an object of this machine")
    yield 32, size
    at = 32
    for _ in range(n):
        command, length = struct.unpack_from("<2I", code, at)
        if length < 8:
            raise ValueError("a command without length")
        if command == 0x19:  # a segment, with its sections
            (n_sections,) = struct.unpack_from("<I", code, at + 64)
            for section in range(n_sections):
                values = struct.unpack_from("<QIIIIII", code, at + 72 + 80 * section + 40)
                yield values[1], 0 if values[5] & 0xFF == 1 else values[0]
                yield values[3], 8 * values[4]
        elif command == 2:  # the symbols
            symbols, n_symbols, strings, n_bytes = struct.unpack_from("<4I", code, at + 8)
            yield symbols, 16 * n_symbols
            yield strings, n_bytes
        at += length


def _coff(code: bytes, machine: str) -> Iterator[tuple[int, int]]:
    """What a COFF object's tables point to, as (start, size)."""
    cpu, n_sections, _, symbols, n_symbols, optional, _ = struct.unpack_from("<HHIIIHH", code)
    if cpu != _COFF.get(machine) or optional or not n_symbols:
        raise ValueError("not an object of this machine")
    for section in range(n_sections):
        size, start, relocations, _, n, _, flags = struct.unpack_from("<IIIIHHI", code, 20 + 40 * section + 16)
        yield start, 0 if flags & 0x80 else size
        yield relocations, 10 * n
    strings = symbols + 18 * n_symbols
    yield strings, struct.unpack_from("<I", code, strings)[0]


# ELF, in few steps: every kernel that is taken from disk is read -----------------------------------------------------

_FILE, _SECTION, _SYMBOL = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ")
_SYMBOLS, _STRINGS, _RELOCATED, _ZEROS = 2, 3, 4, 8  # kinds of sections
_OTHERS = (9, 17, 18)  # relocations without addends, groups, longer tables: LLVM makes none of kernels
_IN_MEMORY, _EXECUTABLE, _KNOWN_FLAGS = 2, 4, 0x900000F7  # not those of groups, threads and compressed sections
_FUNCTION, _OF_A_FILE = 2, 4  # kinds of symbols; those above are of threads, or found by running code

_Symbol = tuple[int, ...]  # name, binding and kind, visibility, section, value, size
_Section = tuple[int, ...]  # name, kind, flags, address, start, size, link, info, alignment, size of an entry


def _is_whole_elf(code: bytes, name: bytes, machine: str) -> bool:
    ident, kind, cpu, _, _, _, table, _, _, _, _, size, n, names = _FILE.unpack_from(code)
    if ident[:7] != b"\x7fELF\2\1\1" or (kind, cpu, size) != (1, _ELF.get(machine), 64) or names >= n:
        return False
    if table + n * size > len(code):
        return False
    sections = list(_SECTION.iter_unpack(code[table : table + n * size]))
    if not all(_is_possible(section, code, n) and section[0] < sections[names][5] for section in sections):
        return False
    (symbols,) = (section for section in sections if section[1] == _SYMBOLS)
    if symbols[9] != _SYMBOL.size or {sections[symbols[6]][1], sections[names][1]} != {_STRINGS}:
        return False
    start, end = symbols[4], symbols[4] + symbols[5]
    entries = list(_SYMBOL.iter_unpack(code[start:end]))
    return _defines(name, entries, sections[symbols[6]], sections, code) and all(
        _fits(section, entries, sections, code, machine) for section in sections if section[1] == _RELOCATED
    )


def _is_possible(section: _Section, code: bytes, n: int) -> bool:
    _, kind, flags, _, start, size, link, _, alignment, _ = section
    if kind in _OTHERS or flags & ~_KNOWN_FLAGS or link >= n:
        return False
    if alignment > 4096 or alignment & (alignment - 1) or (flags & _IN_MEMORY and not alignment):
        return False
    if kind == _ZEROS:
        return size <= _MOST_ZEROS
    return start + size <= len(code) and (kind != _STRINGS or code[start : start + size].endswith(b"\0"))


def _defines(wanted: bytes, symbols: list[_Symbol], names: _Section, sections: list[_Section], code: bytes) -> bool:
    """Whether all symbols are where something is, and one is the function that is wanted."""
    strings, found = code[names[4] : names[4] + names[5]], False
    for at, info, _, place, value, size in symbols[1:]:  # the first one is none
        name = strings[at : strings.index(b"\0", at)]
        if place == _UNDEFINED:
            if info & 0xF or not _is_in_process(name):
                return False
        elif place == _COMMON:
            if size > _MOST_ZEROS or not 0 < value <= 4096 or value & (value - 1):
                return False
        elif place != _ABSOLUTE:
            if info & 0xF > _OF_A_FILE or value + size > sections[place][5]:
                return False
            executable = sections[place][2] & _EXECUTABLE
            found |= bool(name == wanted and info >> 4 and info & 0xF == _FUNCTION and size and executable)
    return found


def _is_in_process(name: bytes) -> bool:
    import llvmlite.binding as llvm

    return name == b"_GLOBAL_OFFSET_TABLE_" or llvm.address_of_symbol(name.decode("ascii")) is not None


def _fits(section: _Section, symbols: list[_Symbol], sections: list[_Section], code: bytes, machine: str) -> bool:
    """Whether relocations lie in their section and refer to symbols that are in memory."""
    _, _, _, _, start, size, link, target, _, entry = section
    if sections[link][1] != _SYMBOLS or entry != 24:
        return False
    values = memoryview(code)[start : start + size].cast("Q").tolist()
    places, infos = values[::3], set(values[1::3])
    if len(values) % 3 or max(places, default=-4) + 4 > sections[target][5]:
        return False
    if any(n == 0 or symbols[n][1] & 0xF == _OF_A_FILE for n in {info >> 32 for info in infos}):
        return False
    return machine not in ("x86_64", "amd64") or _RELOCATIONS.issuperset(info & 0xFFFFFFFF for info in infos)
