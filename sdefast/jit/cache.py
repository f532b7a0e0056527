"""Compiled kernels on disk, so that a process does not compile again what another one has.

A kernel is kept as the object code that numba made, under a hash of all that it depends on: its source, the versions of
the compiler and of this package's own code, the processor. Loading one takes a millisecond and does not import numba.
The folder is that of the environment variable ``SDEFAST_CACHE_DIR`` if it is set (empty: keep nothing), else the
user's cache folder. A folder that cannot be written to is no error, only slower.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

_HEADER = b"sdefast kernel 1\n"


def folder() -> Path | None:
    """Where kernels are kept; None for nowhere."""
    given = os.environ.get("SDEFAST_CACHE_DIR")
    if given is not None:
        return Path(given) if given else None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "sdefast"


@cache
def _surroundings() -> bytes:
    """What a kernel depends on besides its source."""
    import importlib.metadata

    import llvmlite.binding as llvm

    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    parts = [importlib.metadata.version(name) for name in ("numba", "llvmlite")]
    parts += [sys.version, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    parts += [os.environ.get(name, "") for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT")]
    return "\n".join(parts).encode() + code


def _file(program: Any) -> Path | None:
    where = folder()
    if where is None:
        return None
    fields = "\n".join((program.kind, program.dtype, program.noise, program.source))
    return where / hashlib.sha256(_surroundings() + fields.encode()).hexdigest()


def load(program: Any) -> Loaded | None:
    """The kernel of a program, if it is kept."""
    try:
        file = _file(program)
        data = b"" if file is None else file.read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    header, _, rest = data.partition(b"\0")
    digest, _, content = rest.partition(b"\0")
    name, _, code = content.partition(b"\0")
    if header != _HEADER or hashlib.sha256(content).hexdigest().encode() != digest:
        return None  # nothing, or what an interrupted write or another version has left
    return Loaded(name.decode(), code)


def store(program: Any, compiled: Any) -> None:
    """Keep what numba compiled (a `numba.cfunc`), unless it needs other code to run."""
    library = compiled._library
    needed = [f.name for f in library._final_module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if needed:
        return
    content = compiled._wrapper_name.encode() + b"\0" + library._get_compiled_object()
    data = b"\0".join((_HEADER, hashlib.sha256(content).hexdigest().encode(), content))
    try:
        file = _file(program)
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
            new.write(data)
        os.replace(new.name, file)  # so that nobody ever reads half of it
    except (OSError, RuntimeError):
        return


class Loaded:
    """Object code in memory and the address of its function."""

    def __init__(self, name: str, code: bytes) -> None:
        import llvmlite.binding as llvm

        machine = _machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.address: int = self._engine.get_function_address(name)


def _machine() -> Any:
    import llvmlite.binding as llvm

    for ready in ("initialize_native_target", "initialize_native_asmprinter"):
        getattr(llvm, ready)()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), jit=True)
