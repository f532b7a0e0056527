"""Checks of user input, shared by every public call: each refuses at once, naming the argument and what is allowed."""

from __future__ import annotations

import keyword
import math
import operator
import os
import reprlib
import sys
import warnings
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_DTYPES: dict[str, np.dtype] = {"float32": np.dtype(np.float32), "float64": np.dtype(np.float64)}


#: where this package lies
_HERE = os.path.dirname(__file__) + os.sep


def warn(message: str) -> None:
    """RuntimeWarning at the line of the user's that called the library, however deep in it the reason was found."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)


class _Short(reprlib.Repr):
    """Representations of at most a few lines."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, 120, 240
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 8

    def repr_int(self, x: int, level: int) -> str:
        """Python itself writes no integer of more than some 4,300 digits."""
        return repr(x) if x.bit_length() <= 256 else f"an integer of about {int(x.bit_length() * 0.30103) + 1} digits"

    def repr_ndarray(self, x: np.ndarray, level: int) -> str:
        with np.printoptions(threshold=16, edgeitems=3):
            return self.repr_instance(x, level)


_short = _Short()


def shown(value: Any) -> str:
    """A value as messages show it: its `repr`, of which long ones are cut."""
    return _short.repr(value)


def is_attribute(name: Any) -> bool:
    """Whether a name can follow a dot in a user's function."""
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")


def flag(name: str, value: Any) -> bool:
    """True or False, of Python or numpy: truth of anything else would take "False" and "no" for True."""
    if value is True or value is False:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {shown(value)}")


def count(name: str, value: Any, *, least: int = 1, most: int = 2**62) -> int:
    """An integer between ``least`` and ``most``; numpy integers are welcome, bools and floats are not."""
    refuse_loss(name, value)
    try:
        if isinstance(value, (bool, np.bool_)) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
            raise TypeError
        number = operator.index(value)
    except (TypeError, RuntimeError):  # (of tensors of torch that hold nothing, or no real number)
        raise TypeError(f"{name} must be an integer, got {shown(value)}") from None
    if not least <= number <= most:
        raise ValueError(f"{name} must be between {least} and {most}, got {shown(number)}")
    return number


def real(name: str, value: Any, *, positive: bool = False, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite real number, optionally positive or within [``least``, ``most``]."""
    if isinstance(value, (str, bytes)) or (isinstance(value, np.ndarray) and value.ndim > 0):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    refuse_loss(name, value)
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a real number, got {shown(value)}") from None
    except OverflowError:  # an integer beyond the largest float
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if positive and number <= 0:
        raise ValueError(f"{name} must be positive, got {number}")
    if not least <= number <= most:
        raise ValueError(f"{name} must be within [{least}, {most}], got {number}")
    return number


def array(name: str, value: Any, *, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """A finite float64 array, optionally of a given shape (None matches any length)."""
    refuse_loss(name, value)
    try:
        given = np.asarray(on_host(name, value))
    except ValueError:  # ragged
        given = np.asarray(None)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be an array of real numbers, got {shown(value)}")
    result = given.astype(np.float64)
    if shape is not None and not (
        result.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, result.shape, strict=True))
    ):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + (",)" if len(shape) == 1 else ")")
        raise ValueError(f"{name} must have shape {wanted}, got {result.shape}")
    if not np.isfinite(result).all():
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return result


#: types of which no value has a mask or a gradient
_PLAIN = frozenset((float, int, bool, str, np.ndarray, np.float64, np.float32, np.int64, type(None)))

_LISTS = frozenset((list, tuple))

#: axes that an array of numpy can have
_DEEPEST = 64


def refuse_loss(name: str, value: Any) -> None:
    """ValueError for what numbers alone would lose without a word: masked entries, and gradients that are followed."""
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind in _LISTS:
        _refuse_loss_within(name, value)
    elif isinstance(value, np.ndarray):  # a class derived from it
        if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
            raise ValueError(
                f"{name} must have no masked entries, whose values would be used: fill them, or leave them out"
            )
    elif getattr(value, "requires_grad", False):
        raise ValueError(f"{name} requires a gradient, which sdefast does not follow: pass {name}.detach()")


def _refuse_loss_within(name: str, values: list[Any] | tuple[Any, ...], deepest: int = _DEEPEST) -> None:
    """The same for what lists hold; lists of lists alone are looked through at the speed of C."""
    kinds = set(map(type, values))
    while kinds and kinds <= _LISTS and deepest > 0:
        values, deepest = list(chain.from_iterable(values)), deepest - 1
        kinds = set(map(type, values))
    if kinds <= _PLAIN:
        return
    for value in values:
        if type(value) not in _LISTS:
            refuse_loss(name, value)
        elif deepest > 0:
            _refuse_loss_within(name, value, deepest - 1)


def on_host(name: str, value: Any) -> Any:
    """``value``, or what numpy takes of an array of another library: a copy of one on a GPU, or of other types."""
    kind = type(value)
    if kind in _PLAIN or kind in _LISTS or isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach") and hasattr(value, "is_meta"):  # a tensor of torch
        return _of_torch(name, value)
    if hasattr(kind, "__cuda_array_interface__"):
        return _of_card(name, value)
    if hasattr(kind, "__dlpack__") and not hasattr(kind, "__array__"):
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"{name} is an array that numpy cannot read by DLPack: {error}") from None
    return value


def _of_card(name: str, value: Any) -> Any:
    if hasattr(value, "to_numpy"):
        return value.to_numpy()
    try:
        from numba import cuda
    except ImportError:
        raise TypeError(f"{name} lies on a GPU, which needs numba-cuda: pip install 'sdefast[cuda]'") from None
    return cuda.as_cuda_array(value).copy_to_host()


def _of_torch(name: str, value: Any) -> Any:
    """A tensor's numbers, once the stream that made them has; numpy has no bfloat16, and no views of conjugates."""
    if value.is_meta:
        raise TypeError(f"{name} is a tensor on the device 'meta', which holds no numbers")
    if str(value.layout) != "torch.strided":
        value = value.to_dense()
    value = value.detach().cpu().resolve_conj().resolve_neg()
    try:
        return value.numpy()
    except TypeError:  # bfloat16, and the types of 8 bits, which float32 holds exactly
        return value.float().numpy()


#: likeness of a name to what it is taken for, from which on it is but misspelt
_MISSPELT = 0.8


def choice(name: str, value: Any, allowed: Iterable[str], written: str | None = None) -> str:
    """One of ``allowed``; the error shows the value (as ``written``) and suggests what is nearly the same word."""
    names = sorted(allowed)
    if isinstance(value, str) and value in names:
        return value
    near = [name for name in names if isinstance(value, str) and name == value.lower()]
    if not near and isinstance(value, str):
        near = nearest(value, names)
    if not near and isinstance(value, str) and not written:
        near = _begun_alike(value, names)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, names))}, got {written or shown(value)}{hint}")


def nearest(value: str, names: Iterable[str]) -> list[str]:
    """The name that a word is but a misspelling of, if there is one."""
    import difflib

    return difflib.get_close_matches(value, list(names), n=1, cutoff=_MISSPELT)


def _begun_alike(value: str, names: list[str]) -> list[str]:
    """The only name that begins as a word does, if there is one: gauss for gaussian."""
    if len(value) < 3:
        return []
    alike = [name for name in names if name.startswith(value) or value.startswith(name)]
    return alike if len(alike) == 1 else []


def averaging(value: Any) -> bool:
    """Whether iterates are averaged: True or "polyak-ruppert", False or None."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str) and value == "polyak-ruppert":
        return True
    raise ValueError(f"averaging must be True, 'polyak-ruppert', False or None, got {shown(value)}")


def momentum(value: Any) -> float:
    """A part of the last move that is kept, at least 0 and below 1."""
    part = real("momentum", value, least=0.0)
    if part >= 1:
        raise ValueError(f"momentum must be below 1, got {part:g}")
    return part


def average_from(value: Any, averaged: bool) -> int:
    """The first iterate that is averaged; ValueError where none is."""
    first = count("average_from", value, least=0)
    if first and not averaged:
        raise ValueError("average_from says which iterates averaging='polyak-ruppert' takes: pass that too")
    return first


def dtype(name: str, value: DTypeLike) -> np.dtype:
    """float32 or float64, as a string, a numpy type or a numpy dtype."""
    if isinstance(value, str) and value in _DTYPES:
        return _DTYPES[value]
    try:
        result = None if value is None else np.dtype(value)
    except (TypeError, ValueError):
        result = None
    if result is None or result.name not in _DTYPES or not result.isnative:
        raise TypeError(f"{name} must be 'float32' or 'float64', got {shown(value)}")
    return _DTYPES[result.name]


def type_name(dtype: np.dtype) -> str:
    """What ``dtype.name`` is of the types of states and noise, which numpy takes long to say."""
    return "float32" if dtype.itemsize == 4 else "float64"


def types(dtype_given: Any, noise_dtype: Any) -> tuple[np.dtype, np.dtype]:
    """Types of state and noise: float64 by default, and the noise's like the state's; never a wider one."""
    state = dtype("dtype", "float64" if dtype_given is None else dtype_given)
    noise = state if noise_dtype is None else dtype("noise_dtype", noise_dtype)
    if noise.itemsize > state.itemsize:
        raise ValueError("noise_dtype='float64' needs dtype='float64'")
    return state, noise


def seed(name: str, value: Any) -> int:
    """An integer in [0, 2**64)."""
    return count(name, value, least=0, most=2**64 - 1)


def increasing(name: str, value: Any, *, at_least: int = 1) -> np.ndarray:
    """A finite, strictly increasing one-dimensional float64 array."""
    times = array(name, value, shape=(None,))
    if len(times) < at_least:
        raise ValueError(f"{name} must hold at least {at_least} times, got {len(times)}")
    if (np.diff(times) <= 0).any():
        i = int(np.argmax(np.diff(times) <= 0)) + 1
        raise ValueError(f"{name} must be strictly increasing, got {times[i - 1]} followed by {times[i]} at index {i}")
    return times
