"""Samples where they lie, arrays of numpy or tensors of torch, behind one face: what the kernel needs of them.

Torch is never imported here: somebody who has a tensor has imported it.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any

import numpy as np

from .. import _core, checks

__all__ = ["NUMPY", "Library", "library_of"]

#: Number of a type of outputs in the kernel, `OutputType` in csrc/levels/table.hpp, by its name.
OUTPUT_TYPES = {"float32": 0, "float64": 1, "bfloat16": 2, "float16": 3}


class Library(ABC):
    """What numpy and torch call differently."""

    #: what an array is called in messages
    word = "array"

    @abstractmethod
    def code(self, x: Any) -> int | None:
        """Number of the type of ``x``; None if it is not one of outputs."""

    @abstractmethod
    def address(self, x: Any) -> int:
        """Where the first element is."""

    @abstractmethod
    def is_contiguous(self, x: Any) -> bool:
        """Whether samples lie row by row without gaps."""

    @abstractmethod
    def copied(self, x: Any, kept: Any) -> Any:
        """The same in contiguous memory, in ``kept`` if that fits."""

    @abstractmethod
    def empty_like(self, x: Any) -> Any:
        """Memory for as much."""

    def refuse(self, name: str, x: Any) -> None:
        """What must not be used, or not be changed."""
        return None

    def refuse_fixed(self, name: str, x: Any) -> None:
        """What cannot be written to."""
        return None

    def seen(self, x: Any) -> Any:
        """The same samples, for somebody who may follow gradients of them."""
        return x

    def changed(self, x: Any) -> None:
        """Tell whoever follows gradients that ``x`` is not what it was."""
        return None

    def on_gpu(self, x: Any) -> bool:
        """Whether it lies on a GPU."""
        return False

    def same_place(self, x: Any, y: Any) -> bool:
        """Whether both lie on the same device."""
        return True

    @abstractmethod
    def times(self, x: Any, t: float | int) -> Any:
        """What a model is told: one number for each sample, int64 or of the type of ``x``."""

    @abstractmethod
    def array(self, values: np.ndarray, x: Any) -> Any:
        """Numbers of the host beside ``x``, in its type."""

    @abstractmethod
    def stack(self, parts: list[Any]) -> Any:
        """Arrays along a new first axis."""

    @abstractmethod
    def where(self, here: Any, x: Any) -> Any:
        """``x`` there, and 0 elsewhere."""

    def no_gradients(self) -> AbstractContextManager[Any]:
        """No gradients are recorded."""
        return nullcontext()


class _Numpy(Library):
    def __init__(self) -> None:
        self._codes = {np.dtype(name): OUTPUT_TYPES[name] for name in ("float32", "float64", "float16")}

    def code(self, x: np.ndarray) -> int | None:
        return self._codes.get(x.dtype)

    def address(self, x: np.ndarray) -> int:
        return int(x.__array_interface__["data"][0])

    def is_contiguous(self, x: np.ndarray) -> bool:
        return x.flags.c_contiguous

    def copied(self, x: np.ndarray, kept: Any) -> np.ndarray:
        if kept is None or kept.shape != x.shape or kept.dtype != x.dtype:
            return np.ascontiguousarray(x)
        kept[...] = x
        return kept  # type: ignore[no-any-return]

    def empty_like(self, x: np.ndarray) -> np.ndarray:
        return np.empty(x.shape, x.dtype)

    def refuse(self, name: str, x: np.ndarray) -> None:
        checks.refuse_loss(name, x)

    def refuse_fixed(self, name: str, x: np.ndarray) -> None:
        if not x.flags.writeable:
            raise ValueError(f"{name} must be writeable, to be changed in place: pass {name}.copy()")

    def times(self, x: np.ndarray, t: float | int) -> np.ndarray:
        return np.full(len(x), t, np.int64 if isinstance(t, int) else x.dtype)

    def array(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        return values.astype(x.dtype)

    def stack(self, parts: list[np.ndarray]) -> np.ndarray:
        return np.stack(parts)

    def where(self, here: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.where(here, x, x.dtype.type(0))


class _Torch(Library):
    word = "tensor"

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self._codes = {getattr(torch, name): code for name, code in OUTPUT_TYPES.items()}
        self._increment = torch.autograd.graph.increment_version
        #: whether C++ can look at tensors; then this version passes over those that have no version of their own, too
        self._is_new = _core.know_torch(torch.Tensor, torch.empty_like, self._increment)

    def code(self, x: Any) -> int | None:
        return self._codes.get(x.dtype)

    def address(self, x: Any) -> int:
        return x.data_ptr()  # type: ignore[no-any-return]

    def is_contiguous(self, x: Any) -> bool:
        return x.is_contiguous() and not x.is_neg()

    def copied(self, x: Any, kept: Any) -> Any:
        if kept is None or kept.shape != x.shape or kept.dtype != x.dtype or kept.device != x.device:
            return x.resolve_neg().contiguous()
        return kept.copy_(x)

    def empty_like(self, x: Any) -> Any:
        return self.torch.empty_like(x, memory_format=self.torch.contiguous_format)

    def refuse(self, name: str, x: Any) -> None:
        if x.layout is not self.torch.strided or x.is_nested:
            raise TypeError(f"{name} must be a dense tensor, got {x.layout}{', nested' * x.is_nested}")
        if x.requires_grad:
            raise ValueError(
                f"{name} requires a gradient, which sdefast does not follow: pass {name}.detach(), or sample under "
                "torch.no_grad()"
            )

    def seen(self, x: Any) -> Any:
        return x.detach()

    def changed(self, x: Any) -> None:
        if self._is_new or not x.is_inference():
            self._increment((x,) if self._is_new else x)

    def on_gpu(self, x: Any) -> bool:
        return not x.is_cpu

    def same_place(self, x: Any, y: Any) -> bool:
        return bool((x.is_cpu and y.is_cpu) or x.device == y.device)

    def times(self, x: Any, t: float | int) -> Any:
        kind = self.torch.int64 if isinstance(t, int) else x.dtype
        return self.torch.full((x.shape[0],), t, dtype=kind, device=x.device)

    def array(self, values: np.ndarray, x: Any) -> Any:
        return self.torch.as_tensor(values, dtype=x.dtype, device=x.device)

    def stack(self, parts: list[Any]) -> Any:
        return self.torch.stack(parts)

    def where(self, here: Any, x: Any) -> Any:
        return self.torch.where(here, x, 0.0)

    def no_gradients(self) -> AbstractContextManager[Any]:
        return self.torch.no_grad()  # type: ignore[no-any-return]


NUMPY = _Numpy()
#: whose arrays have exactly this type
by_type: dict[type, Library] = {np.ndarray: NUMPY}
_torch: _Torch | None = None

#: Functions that ``torch.compile`` is yet to be told of.
_outside: list[FunctionType] = []


def outside_graphs(function: Any) -> None:
    """Have ``torch.compile`` break its graph at a function and leave alone what that calls.

    ``torch.compiler.disable`` does so, too, but imports the compiler, and costs as much as a small step at every call.
    """
    vars(function)["_torchdynamo_disable"] = True
    vars(function)["_torchdynamo_disable_msg"] = "it is compiled already"
    _outside.append(function)
    if torch_library() is not None:
        _tell()


def _tell() -> None:
    """Tell torch's frame evaluation, as far as this version of it can be told."""
    frames: Any = getattr(getattr(sys.modules["torch"]._C, "_dynamo", None), "eval_frame", None)
    if all(hasattr(frames, name) for name in ("set_code_exec_strategy", "_FrameExecStrategy", "_FrameAction")):
        skip = frames._FrameAction.SKIP
        for function in _outside:
            frames.set_code_exec_strategy(function.__code__, frames._FrameExecStrategy(skip, skip))
    _outside.clear()


def library_of(name: str, x: Any) -> Library:
    """Whose array ``x`` is.

    Raises
    ------
    TypeError
        If it is neither numpy's nor torch's.
    """
    found = by_type.get(type(x))
    if found is not None:
        return found
    known = torch_library()
    if known is not None and isinstance(x, known.torch.Tensor):
        return known
    if isinstance(x, np.ndarray):  # a class derived from it
        return NUMPY
    raise TypeError(f"{name} must be an array of numpy or a tensor of torch, got {type(x).__name__}")


def torch_library() -> _Torch | None:
    """Torch, if somebody has imported it."""
    global _torch
    if _torch is None:
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "Tensor"):
            _torch = by_type[torch.Tensor] = _Torch(torch)
            _tell()
    return _torch
