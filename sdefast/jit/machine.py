"""LLVM's optimiser, and its code for this processor or for an instruction set that it has."""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm

from .. import _core

__all__ = ["calls_fma", "native", "object_code", "optimised", "processor"]

#: LLVM's names of processors that have the instruction sets that can be forced, and no more
_FORCED = {"baseline": "x86-64", "x86-64-v3": "x86-64-v3"}


@cache
def processor() -> tuple[str, str]:
    """The name of this processor, and what it has; of a lesser one if ``SDEFAST_ISA`` asks for that."""
    if _core.isa != _core.isas[-1]:
        return _FORCED[_core.isa], ""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def calls_fma() -> bool:
    """Whether every multiply-add is a call of the C library's, so that there are no vectors."""
    return _core.isa == "baseline" and llvm.get_process_triple().startswith("x86")


@cache
def native() -> Any:
    """What LLVM makes code with."""
    for ready in ("initialize_native_target", "initialize_native_asmprinter"):
        getattr(llvm, ready)()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    name, features = processor()
    reloc = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True
    )


#: Without this LLVM leaves half of the widest registers alone on many processors, lest others be slowed down by a lower
#: frequency. Functions such as exp are 1.2 to 1.4 times as fast with it.
_WIDE = '"prefer-vector-width"="512"'

#: What does not fit the registers lies in whole lines of the cache: elsewhere every other access takes two of them.
_ALIGNED = '"stackrealign"'


def optimised(assembly: str) -> Any:
    """A module of one function that is written in LLVM's instructions; loops over lanes are vectorised."""
    machine = native()
    module = llvm.parse_assembly(assembly.replace(")\n{", f") {_WIDE} {_ALIGNED}\n{{", 1))
    module.triple = llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options()
    options.speed_level, options.loop_vectorization, options.slp_vectorization = 3, True, False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def object_code(assembly: str) -> bytes:
    """Object code of such a module."""
    return native().emit_object(optimised(assembly))  # type: ignore[no-any-return]
