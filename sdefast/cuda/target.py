"""The GPU, or numba's simulator of one, as this process has it."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.core import config

#: Whether kernels run in numba's simulator (environment variable ``NUMBA_ENABLE_CUDASIM``), in memory of the host.
SIMULATED = bool(config.ENABLE_CUDASIM)

_lock = threading.Lock()

#: Memory that the simulator says is free.
_SIMULATED_MEMORY = 2**33


@dataclass(frozen=True)
class Device:
    """A GPU by its number."""

    number: int

    @property
    def name(self) -> str:
        """What the card is called."""
        if SIMULATED:
            return "numba's CUDA simulator"
        name = cuda.gpus[self.number].name
        return name.decode() if isinstance(name, bytes) else str(name)

    @property
    def architecture(self) -> str:
        """Such as sm_90."""
        major, minor = cuda.gpus[self.number].device.compute_capability if SIMULATED else self._capability
        return f"sm_{major}{minor}"

    @property
    def _capability(self) -> tuple[int, int]:
        major, minor = cuda.gpus[self.number].compute_capability
        return int(major), int(minor)

    def current(self) -> Any:
        """A context manager within which this is the device in use."""
        return cuda.gpus[self.number]

    def stream(self) -> Any:
        """The stream that torch uses now, if it is there and uses this device; else the default one.

        Kernels then come after what torch has queued there, and before what it will.
        """
        torch = sys.modules.get("torch")
        if SIMULATED or torch is None or not torch.cuda.is_initialized():
            return 0 if SIMULATED else cuda.default_stream()
        handle = torch.cuda.current_stream(self.number).cuda_stream
        return cuda.external_stream(handle) if handle else cuda.default_stream()

    def free_memory(self) -> int:
        """Bytes that can be allocated on it."""
        if SIMULATED:
            return _SIMULATED_MEMORY
        context = cuda.current_context()
        waiting = getattr(context.memory_manager, "deallocations", None)  # numba keeps what was freed for a while
        if waiting is not None:
            waiting.clear()
        return int(context.get_memory_info()[0])

    def thread_memory(self, kernel: Any) -> int:
        """Bytes that the driver sets aside for arrays of threads, as many threads of a kernel as the card can hold."""
        if SIMULATED:
            return 0
        each, card = kernel.get_local_mem_per_thread(), cuda.gpus[self.number]
        most = max(each.values()) if isinstance(each, dict) else each
        return int(most * card.MULTIPROCESSOR_COUNT * card.MAX_THREADS_PER_MULTIPROCESSOR)


def jit(function: Any, signature: Any) -> Any:
    """A kernel. What runs is what its PTX says: optimisation at link time would contract products and sums."""
    return cuda.jit(_quiet(function)) if SIMULATED else cuda.jit(signature, lto=False)(function)


def _quiet(function: Any) -> Any:
    """The function without numpy's warnings, for the simulator: a GPU gives none."""
    errors = np.errstate

    def run(*args: Any) -> None:
        with errors(all="ignore"):
            function(*args)

    # The simulator puts its own ``cuda`` among the globals of what it runs.
    return FunctionType(run.__code__, function.__globals__, function.__name__, None, run.__closure__)


def borrowed(values: Any) -> Any:
    """Contiguous memory of another library on the card (in the simulator, on the host) as kernels take it."""
    if not SIMULATED:
        return cuda.as_cuda_array(values, sync=False)
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    return FakeCUDAArray(np.asarray(values))


def launch(kernel: Any, grid: Any, threads: int, stream: Any) -> Any:
    """A kernel ready to be called; numba's warning that a small grid does not fill the card is no news."""
    with _lock:
        warns, config.CUDA_LOW_OCCUPANCY_WARNINGS = config.CUDA_LOW_OCCUPANCY_WARNINGS, 0
        try:
            return kernel[grid, threads, stream]
        finally:
            config.CUDA_LOW_OCCUPANCY_WARNINGS = warns


def independent_stream() -> Any:
    """A stream that does not wait for the default one, as those that numba makes do."""
    if SIMULATED:
        return cuda.stream()
    from numba.cuda.cudadrv.driver import binding, driver

    flags = binding.CUstream_flags.CU_STREAM_NON_BLOCKING.value
    return cuda.external_stream(int(driver.cuStreamCreate(flags)))


def wait(stream: Any) -> None:
    """Wait for what was put into a stream."""
    if not SIMULATED:
        stream.synchronize()
