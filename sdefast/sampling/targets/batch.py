"""Targets whose score is a function of many samples at once, on arrays or tensors: a network, say."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ... import checks
from ...lazy import cached_property
from .base import BaseTarget, put

#: What scores may be computed on.
ARRAYS = ("numpy", "torch")

_TYPES = (np.dtype(np.float32), np.dtype(np.float64))


class _NothingWritten:
    """What methods see of a density that is not written as expressions: nothing."""

    rows = None

    def has(self, what: str) -> bool:
        return False


@dataclass(frozen=True, eq=False, repr=False)
class BatchTarget(BaseTarget):
    """A target that is known by a score of many samples at once, on arrays of numpy or tensors of torch.

    Steps are taken in chunks of samples that stay in the caches, a step's update in one pass over them. Numbers are
    those of the chains' own noise, so that they depend on nothing but what the score depends on.

    Parameters
    ----------
    score : callable
        ``score(x)``, for `annealed_langevin` ``score(x, sigma)``: grad log p of samples x of shape (n, dim), of that
        shape. It is called by one thread at a time (unless ``threads=`` says otherwise), must treat samples one by one
        and may not write to x. Tensors come under ``torch.no_grad()``: a score that is a gradient enables them itself.
    dim : int
        Components of a sample.
    log_density : callable, optional
        ``log_density(x)`` of shape (n,), by which starts are checked.
    chunk : int
        Samples that are handed over at once; it changes no number of samples that are treated one by one.
    arrays : {"numpy", "torch"}, optional
        What the score takes and gives. By default tensors for a ``torch.nn.Module``, or where the start is a tensor;
        else arrays. Results have their states in that kind, in the memory of the CPU.
    sigma_as : {"number", "vector"}
        Whether sigma comes as a float, or as an array of shape (n,).

    Raises
    ------
    TypeError, ValueError
        If a function is none, or a number is out of range; if a module lies on a GPU.

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.BatchTarget(lambda x: 1.0 - x, dim=2)
    >>> chains = sf.langevin(target, step_size=0.1, n_steps=100, n_chains=10_000, seed=0)
    >>> bool((abs(chains.mean[-1] - 1.0) < 5 * chains.standard_error[-1]).all())
    True
    """

    score: Callable[..., Any]
    dim: int = 1
    log_density: Callable[..., Any] | None = None  # type: ignore[assignment]
    chunk: int = 2048
    arrays: str | None = None
    sigma_as: str = "number"

    def __post_init__(self) -> None:
        for name in ("score", "log_density"):
            function = getattr(self, name)
            if not callable(function) and (name == "score" or function is not None):
                raise TypeError(f"{name} must be a function of samples (n, dim), got {checks.shown(function)}")
        arrays = self.arrays
        if arrays is None:
            arrays = "torch" if _is_module(self.score) else None
        else:
            checks.choice("arrays", arrays, ARRAYS)
        checks.choice("sigma_as", self.sigma_as, ("number", "vector"))
        module: Any = self.score
        _refuse_gpu("score", next(iter(module.parameters()), None) if _is_module(module) else None)
        put(self, dim=checks.count("dim", self.dim), chunk=checks.count("chunk", self.chunk), arrays=arrays)

    def taking(self, x0: Any) -> BatchTarget:
        """The same where it is known whether it takes arrays or tensors: those of the kind of the start."""
        _refuse_gpu("x0", x0)
        return self if self.arrays else replace(self, arrays="torch" if _is_tensor(x0) else "numpy")

    @property
    def density(self) -> Any:
        """What methods see of it."""
        return _NothingWritten()

    def check_start(self, x0: np.ndarray) -> None:
        """ValueError if a start has no density there."""
        if self.log_density is None:
            return
        value = np.asarray(self.log_density(self._handed(np.ascontiguousarray(x0))), float)
        if value.shape != (len(x0),):
            raise ValueError(f"log_density must return shape ({len(x0)},) for x of {x0.shape}, got {value.shape}")
        wrong = ~(value > -np.inf)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ValueError(f"x0 of chain {i} is {x0[i].tolist()}, where log_density is {value[i]}")

    # Calling the score -----------------------------------------------------------------------------------------------

    @contextmanager
    def calls(self, x: np.ndarray, chain: int) -> Iterator[Calls]:
        """Calls of the score of samples (n, dim), contiguous, of chains from number ``chain`` on."""
        given = self._handed(x)
        if self.arrays != "torch":
            yield ArrayCalls(self, x, given, chain)
            return
        import torch

        with torch.no_grad():
            yield TensorCalls(self, x, given, chain)

    def _handed(self, x: np.ndarray) -> Any:
        """Samples as the score takes them, in the same memory."""
        if self.arrays == "torch":
            import torch

            return torch.from_numpy(x)
        view = x.view()
        view.flags.writeable = False
        return view

    def shown(self, states: Any) -> Any:
        """States as the kind of arrays that came in."""
        if self.arrays != "torch":
            return states
        import torch

        return torch.from_numpy(states)

    # Comparison, files, other processes -------------------------------------------------------------------------------

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        return self.score, self.dim, self.log_density, self.sigma_as

    def _to_record(self) -> dict[str, Any]:
        raise TypeError(f"{self!r} cannot be written to a file: its score is no scalar code; save the states")

    def __reduce__(self) -> tuple[Any, ...]:
        """Functions travel by value: lambdas too reach another process."""
        import cloudpickle

        return _unpickle, (cloudpickle.dumps(tuple(getattr(self, field.name) for field in fields(self))),)

    def __repr__(self) -> str:
        return f"BatchTarget({getattr(self.score, '__name__', type(self.score).__name__)}, dim={self.dim})"


class Calls(ABC):
    """Calls of a score of the same samples ``x``, as they are ``given`` to it: what changes is what x holds."""

    def __init__(self, target: BatchTarget, x: np.ndarray, given: Any, chain: int) -> None:
        self.target, self.x, self.given, self.chain = target, x, given, chain
        self._sigma, self._shown_sigma = math.nan, None

    def __call__(self, sigma: float, step: int) -> np.ndarray:
        """The score before a step, contiguous and in other memory than x; without sigma, where that is NaN."""
        if sigma == self._sigma:
            score = self.target.score(self.given, self._shown_sigma)
        elif sigma != sigma:
            score = self.target.score(self.given)
        else:
            self._sigma, self._shown_sigma = sigma, self.sigma_of(sigma)
            score = self.target.score(self.given, self._shown_sigma)
        array = self.array_of(score, step)
        if array.shape != self.x.shape:
            raise ValueError(
                f"score must return shape {self.x.shape}, as x has, got {array.shape} {self._when(step)}"
            )  # fmt: skip
        array = np.ascontiguousarray(array)
        return array.copy() if np.may_share_memory(array, self.x) else array

    def sigma_of(self, sigma: float) -> Any:
        """Sigma as the score takes it."""
        return sigma if self.target.sigma_as == "number" else np.full(len(self.x), sigma, self.x.dtype)

    @abstractmethod
    def array_of(self, score: Any, step: int) -> np.ndarray:
        """What the score gave, if it is of the right kind and type."""

    def _when(self, step: int) -> str:
        return f"at step {step}, of chains from {self.chain} on"

    def _refusal(self, what: str, got: Any, step: int) -> TypeError:
        return TypeError(f"score must return {what}, got {got} {self._when(step)}")


class ArrayCalls(Calls):
    """Those on arrays of numpy."""

    def array_of(self, score: Any, step: int) -> np.ndarray:
        """The array."""
        if not isinstance(score, np.ndarray):
            raise self._refusal("an array of numpy", type(score).__name__, step)
        if score.dtype not in _TYPES:
            raise self._refusal("float32 or float64", score.dtype, step)
        return score


class TensorCalls(Calls):
    """Those on tensors of torch."""

    def sigma_of(self, sigma: float) -> Any:
        """Sigma as the score takes it."""
        import torch

        given = super().sigma_of(sigma)
        return torch.from_numpy(given) if isinstance(given, np.ndarray) else given

    def array_of(self, score: Any, step: int) -> np.ndarray:
        """The tensor's memory."""
        if not _is_tensor(score):
            raise self._refusal("a tensor of torch", type(score).__name__, step)
        if not score.is_cpu:
            _refuse_gpu(f"score {self._when(step)}", score)
        if not score.is_floating_point() or score.element_size() not in (4, 8):
            raise self._refusal("float32 or float64", str(score.dtype).removeprefix("torch."), step)
        found: np.ndarray = score.numpy(force=score.requires_grad or score.is_neg())
        return found


def _unpickle(data: bytes) -> BatchTarget:
    import cloudpickle

    return BatchTarget(*cloudpickle.loads(data))


def _torch() -> Any:
    """Torch, where somebody has imported it."""
    return sys.modules.get("torch")


def _is_tensor(value: Any) -> bool:
    torch = _torch()
    return torch is not None and isinstance(value, torch.Tensor)


def _is_module(value: Any) -> bool:
    torch = _torch()
    return torch is not None and isinstance(value, torch.nn.Module)


def _refuse_gpu(what: str, value: Any) -> None:
    if _is_tensor(value) and value.device.type != "cpu":
        raise ValueError(f"{what} lies on {value.device}: scores on arrays run on the CPU; move it there by .cpu()")
