"""Targets whose score is a function of many samples at once, on arrays or tensors: a network, say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ... import checks
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
                raise TypeError(f"{name} must be a function of samples (n, dim), got {function!r}")
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

    # Calling the score ------------------------------------------------------------------------------------------------

    def at(self, x: np.ndarray, sigma: float | None, step: int, chain: int) -> np.ndarray:
        """The score of samples (n, dim), contiguous, where chains begin with number ``chain`` before that step."""
        given = () if sigma is None else (self._sigma(sigma, x),)
        if self.arrays == "torch":
            import torch

            with torch.no_grad():
                score = self.score(self._handed(x), *given)
        else:
            score = self.score(self._handed(x), *given)
        return self._checked(score, x, f"at step {step}, of chains from {chain} on")

    def _handed(self, x: np.ndarray) -> Any:
        """Samples as the score takes them, in the same memory."""
        if self.arrays == "torch":
            import torch

            return torch.from_numpy(x)
        view = x.view()
        view.flags.writeable = False
        return view

    def _sigma(self, sigma: float, x: np.ndarray) -> Any:
        if self.sigma_as == "number":
            return sigma
        vector = np.full(len(x), sigma, x.dtype)
        if self.arrays != "torch":
            return vector
        import torch

        return torch.from_numpy(vector)

    def _checked(self, score: Any, x: np.ndarray, when: str) -> np.ndarray:
        """The score as a contiguous array that shares no memory with x."""
        if self.arrays == "torch":
            if not _is_tensor(score):
                raise TypeError(f"score must return a tensor of torch, got {type(score).__name__} {when}")
            _refuse_gpu(f"score {when}", score)
            kind = str(score.dtype).removeprefix("torch.")
            if kind not in ("float32", "float64"):
                raise TypeError(f"score must return float32 or float64, got {kind} {when}")
            score = score.detach().resolve_neg().numpy()
        if not isinstance(score, np.ndarray):
            raise TypeError(f"score must return an array of numpy, got {type(score).__name__} {when}")
        if score.dtype not in _TYPES:
            raise TypeError(f"score must return float32 or float64, got {score.dtype} {when}")
        if score.shape != x.shape:
            raise ValueError(f"score must return shape {x.shape}, as x has, got {score.shape} {when}")
        checked: np.ndarray = np.ascontiguousarray(score)
        return checked.copy() if np.may_share_memory(checked, x) else checked

    def shown(self, states: Any) -> Any:
        """States as the kind of arrays that came in."""
        if self.arrays != "torch":
            return states
        import torch

        return torch.from_numpy(states)

    # Comparison, files, other processes -------------------------------------------------------------------------------

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
