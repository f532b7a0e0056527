"""Compiling kernels: a program is the source of a kernel and its types; compiled once per process it is an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .announce import announced
from .forks import compiling
from .objects import Loaded

#: The name of the function in object code.
NAME = "sdefast_kernel"


@dataclass(frozen=True)
class Program:
    """A kernel as plain data, which reaches any worker.

    ``kind`` is "stepper", "data stepper" (whose steps draw rows of data) or "observer", with the arguments of the
    functions of that name in csrc/levels/table.hpp; ``dtype`` is the state's type, ``noise`` that of the draws (signs:
    "uint32"); ``layout`` is how the states lie that it was written for.
    """

    kind: str
    source: str
    dtype: str
    noise: str
    layout: str = "wide"

    def address(self) -> int:
        """Address of the compiled kernel in this process."""
        compiled = _compiled.get(self)
        if compiled is None:
            with compiling:
                if self not in _compiled:
                    from .cache import load

                    with announced(self.source):
                        _compiled[self] = load(self) or _compile(self)
                compiled = _compiled[self]
        return compiled.address

    @property
    def signature(self) -> list[str]:
        """Types of the arguments, of numpy's names; with * where such numbers lie."""
        state, noise = f"{self.dtype}*", f"{self.noise}*"
        if self.kind == "observer":
            return ["float64*", "float64", "int32", state, state, state]
        data = ["uint32*", "int32", noise, "int64"] if self.kind == "data stepper" else []
        clock, sizes = ["int64"] * 3, ["int32"] * 3
        return ["float64*", *clock, *sizes, state, noise, state, state, state, *data]


#: what was compiled, kept alive as long as the process
_compiled: dict[Program, Loaded] = {}


def _compile(program: Program) -> Loaded:
    from . import machine
    from .cache import store

    code = machine.object_code(instructions(program.source, program.signature, program.dtype))
    store(program, NAME, code)
    return Loaded(NAME, code)


def instructions(source: str, signature: Sequence[str], dtype: str) -> str:
    """What a kernel is in LLVM's instructions."""
    from .assembly import module_of
    from .calls import calls

    return str(module_of(source, signature, dtype, calls(dtype), NAME))


@cache
def function(source: str, signature: tuple[str, ...], dtype: str) -> Loaded:
    """A function that is no kernel, written and with types as one; it is not kept on disk."""
    from . import machine

    with compiling:
        return Loaded(NAME, machine.object_code(instructions(source, signature, dtype)))
