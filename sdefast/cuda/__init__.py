"""Runs on NVIDIA GPUs.

Kernels are Python sources that numba compiles: the step of a run is put into the one kernel that takes chains through
their steps (``emit.py``, ``draws.py``), built-in models too by their equation in Python code. A family whose steps are
too long for that brings a source of its own, and says with what it is called (``chains.py``). Statistics, histograms
and user functions are kernels of their own over the saved states (``statistics.py``). Noise and elementary functions
are those of the CPU, bit for bit (``noise.py``, ``functions.py``). ``run.py`` cuts a run into what the card's memory
holds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .target import Device


def find(name: str) -> Device:
    """The device called ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    ValueError
        If there is no such device.
    ImportError
        If numba-cuda is not installed.
    RuntimeError
        If there is no GPU or no driver.
    """
    import importlib.util

    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {name!r}")
    if importlib.util.find_spec("numba_cuda") is None:
        raise ImportError(f"device={name!r} needs numba-cuda: pip install 'sdefast[cuda]'")
    from numba import cuda

    from .target import SIMULATED, Device

    if not SIMULATED and not cuda.is_available():
        raise RuntimeError(
            f"device={name!r} needs an NVIDIA GPU and its driver, and CUDA finds none ({_reason()}); "
            "'nvidia-smi' shows what there is. device='cpu' runs everywhere"
        )
    number, present = int(match[1] or 0), len(cuda.gpus)
    if match[1] is None and not SIMULATED:
        number = int(cuda.get_current_device().id)
    if number >= present:
        raise ValueError(f"device={name!r} is not there: the GPUs are cuda:0 to cuda:{present - 1}")
    return Device(number)


def _reason() -> str:
    from numba import cuda

    try:
        error = cuda.cuda_error()
    except Exception as failure:
        error = failure
    return str(error or "no device").strip().splitlines()[0]
