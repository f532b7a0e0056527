"""What this installation is and what it runs on."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core, noise, resources


def config() -> dict[str, Any]:
    """Version, compiler, instruction set and resources, by name."""
    import importlib.metadata
    import platform

    from .jit import cache

    kernels = cache.folder()
    return {
        "sdefast": importlib.metadata.version("sdefast"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "noise stream": noise.STREAM_VERSION,
        "compiler": _core.compiler,
        "machine": platform.machine(),
        "instruction set": _core.isa,
        "instruction sets available": ", ".join(_core.isas),
        "threads": resources.available_threads(),
        "memory available": _gibibytes(resources.available_memory()),
        "kernel cache": cache.printable(kernels) if kernels else "off",
        "compiled steps": ", ".join(_core.steps),
        "cuda": _cuda(),
    }


def _cuda() -> str:
    """The GPU that ``device="cuda"`` uses, or why there is none."""
    from . import cuda

    try:
        device = cuda.find("cuda")
    except (ImportError, RuntimeError) as missing:
        return str(missing)
    return f"{device.name}, {device.architecture}"


def show_config() -> None:
    """Print version, compiler, the instruction set in use and the resources that runs take by default.

    The instruction set is the widest that the machine supports; the environment variable ``SDEFAST_ISA``
    (``baseline``, ``x86-64-v3`` or ``x86-64-v4``), read at import, forces one, for kernels compiled for user SDEs
    too. Results do not depend on it. Those kernels are kept in the kernel cache, a folder that ``SDEFAST_CACHE_DIR``
    chooses (empty: none), of some ``SDEFAST_CACHE_SIZE`` MiB (128).

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.show_config()  # doctest: +ELLIPSIS
    sdefast ...
    """
    width = max(map(len, config()))
    for name, value in config().items():
        print(f"{name:{width}}  {value}")


def _gibibytes(n: int | None) -> str:
    return "unknown" if n is None else f"{n / 2**30:.1f} GiB"
