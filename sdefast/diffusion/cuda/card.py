"""Rows on the samples of one GPU, on torch's current stream: what is launched, and with what.

`Card.apply` waits for the GPU to learn whether the model's output was finite, so that an error names the step and the
sample that it comes from: once a call of the model, of whose next call nothing can be queued before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ...cuda import target
from ...cuda.target import SIMULATED, Device
from ..arrays import NUMPY, OUTPUT_TYPES
from . import field_step
from .field_step import COEFFICIENTS, DRAWS, LEAST_WIDE, WIDTH, FieldProgram, Kind

#: Threads of a block, and blocks at most where threads may take more than one element each.
_THREADS, _BLOCKS = (32, 2) if SIMULATED else (128, 2**16)

#: What a flag holds as long as all outputs are finite.
_FINITE = 2**63 - 1

_OUTPUTS = {code: name for name, code in OUTPUT_TYPES.items()}


class Card:
    """A GPU, and flags on it that are not in use."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._flags: list[Any] = []

    def apply(
        self, row: np.ndarray, state: Any, output: Any, code: int, out: Any, h1: Any, h2: Any, kept: Any, noisy: bool,
        given: Any, keys: Any, key: Any,
    ) -> int:  # fmt: skip
        """The first sample whose output is not finite, or -1; arguments are those of `kernel.apply`."""
        noise = "none" if not noisy else "drawn" if given is None else "given"
        each = row.ndim == 2 or (noise == "drawn" and _are_own(keys, key))
        kind = Kind(_type(state), _OUTPUTS[code], kept is not None, h1 is not None, noise, each)
        arrays = {"x": state.x, "output": output, "h1": h1, "h2": h1 if h2 is None else h2, "kept": kept}
        with self.device.current():
            stream = self.device.stream()
            values = {name: _flat(state, x) for name, x in {**arrays, "given": given}.items() if x is not None}
            wrong = values["wrong"] = self._flag(stream)
            self._launch(kind, state, out, row, keys, key, values, stream)
            first = int(_received(wrong, stream)[0])
        if first != _FINITE:
            return first
        self._flags.append(wrong)
        return -1

    def noise_into(self, row: np.ndarray, state: Any, keys: Any, key: Any) -> None:
        """The row's s times normal noise in place of the samples."""
        kind = Kind(_type(state), None, keeps=False, remembers=False, noise="drawn", each=_are_own(keys, key))
        with self.device.current():
            self._launch(kind, state, state.x, row, keys, key, {}, self.device.stream())

    def squares(self, state: Any) -> np.ndarray:
        """The sum of squares of each sample, float64, added in the order of the CPU."""
        n = state.n
        with self.device.current():
            stream = self.device.stream()
            sums = cuda.device_array((n, WIDTH), np.float64, stream=stream)
            values = {"n": n, "elements": state.elements, "x": _flat(state, state.x), "sums": sums}
            _call(field_step.squares(_type(state)), values, n * WIDTH, stream)
            parts = _received(sums, stream)
        found = np.zeros(n)
        for lane in range(WIDTH):
            found += parts[:, lane]
        return found

    def _launch(
        self,
        kind: Kind,
        state: Any,
        out: Any,
        row: np.ndarray,
        keys: Any,
        key: Any,
        values: dict[str, Any],
        stream: Any,
    ) -> None:
        """The kernel of a kind of row, on ``values`` and what says whose noise it is."""
        n, elements = state.n, state.elements
        values |= {"out": _flat(state, out), "n": n, "elements": elements}
        if kind.each:
            rows = np.broadcast_to(row, (n, len(COEFFICIENTS)))
            values["rows"] = cuda.to_device(np.ascontiguousarray(rows), stream=stream)
            if kind.noise == "drawn":
                values["keys"] = cuda.to_device(_numbers(keys, key, n), stream=stream)
        else:
            values |= dict(zip(COEFFICIENTS, row.tolist(), strict=True))
            if kind.noise == "drawn":
                values |= {"seed": _signed(keys.seed), "first_sample": keys.first_sample, "step": int(key)}
        wide = elements >= LEAST_WIDE
        segments = WIDTH * -(-elements // (DRAWS * WIDTH)) if wide else 1
        threads = n * segments if kind.noise == "drawn" else min(n * elements, _THREADS * _BLOCKS)
        _call(field_step.program(kind), values, threads, stream)

    def _flag(self, stream: Any) -> Any:
        """A number on the card for the first sample that is not finite; nobody else has it."""
        try:
            return self._flags.pop()
        except IndexError:
            return cuda.to_device(np.array([_FINITE]), stream=stream)


def _call(program: FieldProgram, values: dict[str, Any], threads: int, stream: Any) -> None:
    """A kernel with so many threads, or a few more."""
    blocks = -(-threads // _THREADS)
    target.launch(program.kernel(), blocks, _THREADS, stream)(*(values[name] for name in program.names))


def _received(values: Any, stream: Any) -> np.ndarray:
    """A copy on the host, once all that was asked for before is done."""
    copied: np.ndarray = values.copy_to_host(stream=stream)
    target.wait(stream)
    return copied


def _flat(state: Any, array: Any) -> Any:
    """An array or tensor as kernels take it: its elements in a row, halves as their bits."""
    flat = array.reshape(-1)
    if flat.dtype.itemsize == 2:
        flat = flat.view(np.int16 if state.library is NUMPY else state.library.torch.int16)
    return target.borrowed(flat)


def _type(state: Any) -> str:
    return "float64" if state.doubles else "float32"


def _are_own(keys: Any, key: Any) -> bool:
    """Whether samples have seeds or steps of their own."""
    return isinstance(keys.seed, np.ndarray) or isinstance(key, np.ndarray)


def _numbers(keys: Any, key: Any, n: int) -> np.ndarray:
    """Seed, number and step of each sample."""
    found = np.empty((n, 3), np.int64)
    own = isinstance(keys.seed, np.ndarray)
    found[:, 0] = keys.seed.view(np.int64) if own else _signed(keys.seed)
    found[:, 1] = keys.first_sample + (0 if own else np.arange(n))
    found[:, 2] = key
    return found


def _signed(seed: int) -> int:
    """The same 64 bits as a signed integer."""
    return seed - 2**64 if seed >= 2**63 else seed
