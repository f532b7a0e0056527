"""The compiled update: one row of coefficients on all samples, by as many threads as pay."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from typing import Any, NamedTuple

import numpy as np

from .. import _core, checks, resources
from ..engine.executors import default_pool
from ..run import options
from .arrays import Library, library_of

__all__ = ["Keys", "State", "apply", "coefficients_of", "noise_into", "seeds", "squares"]

#: Elements that a thread must have for another one to pay, with noise and without.
_LEAST = {True: 2**18, False: 2**20}

#: x, output and its type, h1, h2, out, kept; whether there is noise, and where it is given.
_Pointers = tuple[int, int, int, int, int, int, int, bool, int]

_COEFFICIENTS = ["p", "q", "limit", "a", "b", "g", "c1", "c2", "s"]


def coefficients_of(rows: Any) -> np.ndarray:
    """The nine numbers of a record of `Plan.rows`, or of each of an array of them."""
    found = np.array([rows[name] for name in _COEFFICIENTS]).T
    return np.ascontiguousarray(found)


class Keys(NamedTuple):
    """Whose noise samples have: one seed and the number of the first, or a seed each.

    Attributes
    ----------
    seed : int or ndarray of uint64
        With one for each, a sample is number ``first_sample`` of its own seed, whatever its place in the batch.
    first_sample : int
        Number of the first sample.
    """

    seed: Any = 0
    first_sample: int = 0

    @classmethod
    def of(cls, seed: Any, first_sample: Any, n: int) -> Keys:
        """From what a user gives: a seed, a list of them, torch's Generator or a list of those."""
        first = 0 if first_sample is None else checks.count("first_sample", first_sample, least=0, most=2**62)
        if isinstance(seed, (list, tuple, np.ndarray)) and np.ndim(seed) == 1:
            if len(seed) != n:
                raise ValueError(f"seed must be one number, or one for each of the {n} samples, got {len(seed)}")
            return cls(seeds(seed), first)
        return cls(_seed("seed", seed), first)


#: Of rows without noise.
NOBODY = Keys()


def seeds(given: Any) -> np.ndarray:
    """One for each sample, uint64."""
    if isinstance(given, np.ndarray) and given.dtype == np.uint64:
        return np.ascontiguousarray(given)
    if set(map(type, given)) == {int}:
        try:
            return np.array(given, np.uint64)
        except OverflowError:  # of one of them, which is named below
            pass
    return np.array([_seed(f"seed[{i}]", one) for i, one in enumerate(given)], np.uint64)


def _seed(name: str, value: Any) -> int:
    """A seed, a random one for None; that of a generator of torch, whose state is left alone."""
    if hasattr(value, "initial_seed"):
        return int(value.initial_seed()) % 2**64
    return options.seed(None) if value is None else checks.seed(name, value)


class State:
    """Samples that the kernel may read or write, checked once: their library, place, type and sizes."""

    __slots__ = ("doubles", "elements", "library", "n", "shape", "x")

    def __init__(self, name: str, x: Any) -> None:
        library = library_of(name, x)
        code, shape = library.code(x), x.shape
        if code is None or code > 1:
            raise TypeError(f"{name} must be float32 or float64, got {x.dtype}")
        if not shape or not (n := shape[0]):
            raise ValueError(f"{name} must hold at least one sample along its first axis, got shape {tuple(shape)}")
        library.refuse(name, x)
        if not library.is_contiguous(x):
            raise ValueError(f"{name} must be contiguous, its samples row by row: pass {name}{_contiguous(library)}")
        self.library, self.x, self.shape, self.doubles, self.n = library, x, shape, code == 1, n
        self.elements = (x.size if library.word == "array" else x.numel()) // n
        if not self.elements:
            raise ValueError(f"{name} must hold at least one element a sample, got shape {tuple(shape)}")


def _contiguous(library: Library) -> str:
    return ".contiguous()" if library.word == "tensor" else " through np.ascontiguousarray"


def matching(name: str, value: Any, state: State, kept: Any = None) -> tuple[Any, int]:
    """What a model returned for the samples, contiguous, and the number of its type; ``kept`` is memory to use."""
    library = state.library
    if type(value) is not type(state.x) and library_of(name, value) is not library:
        raise TypeError(f"{name} must be like x, which is of {type(state.x).__module__}, got {type(value).__name__}")
    code = library.code(value)
    if code is None:
        raise TypeError(f"{name} must be float32, float64, float16 or bfloat16, got {value.dtype}")
    if value.shape != state.shape:
        raise ValueError(f"{name} must have the shape of x, {tuple(state.shape)}, got {tuple(value.shape)}")
    if not library.same_place(value, state.x):
        raise ValueError(f"{name} must be on the device of x, {state.x.device}, got {value.device}")
    library.refuse(name, value)
    if not library.is_contiguous(value):
        value = library.copied(value, kept)
    return value, code


def apply(
    row: np.ndarray, state: State, output: Any, code: int, out: Any, *, h1: Any = None, h2: Any = None,
    kept: Any = None, noisy: bool = False, given: Any = None, keys: Keys = NOBODY, key: Any = 0,
    threads: int | None = None,
) -> int:  # fmt: skip
    """Run a row, see `Plan`, on all samples: the first whose output is not finite, or -1.

    Parameters
    ----------
    row : ndarray of shape (9,) or (n, 9)
        Coefficients for all samples, or for each.
    state : State
        x.
    output : array
        What the model said, of the type of number ``code``.
    out, h1, h2, kept, given : array
        Like x; ``out`` may be x itself, ``kept`` may be ``h1`` or ``h2``.
    noisy : bool
        Whether there is noise: ``given``, or that of ``keys`` and ``key``, the number of the step.
    threads : int, optional
        How many to use; by default those that are available, where they pay.
    """
    done = _core.field_row_at_once(
        state.x, output, out, h1, h2, kept, given, row, noisy, keys.seed, keys.first_sample, key, threads
    )
    if done is not None:
        return done  # type: ignore[no-any-return]
    library = state.library
    if noisy and given is None:
        _refuse_too_many(key, state.elements)
    if library.on_gpu(state.x):
        from . import gpu

        return gpu.apply(row, state, output, code, out, h1, h2, kept, noisy, given, keys, key)
    at = library.address
    pointers = (
        at(state.x), at(output), code, 0 if h1 is None else at(h1), 0 if h2 is None else at(h2), at(out),
        0 if kept is None else at(kept), noisy, 0 if given is None else at(given),
    )  # fmt: skip
    lent = state.x, output, out, h1, h2, kept, given
    if not (pointers[0] and pointers[1] and pointers[5]):
        raise ValueError("x and the model's output must have memory: one of them has been freed, or never had any")
    return _run(state, row, pointers, noisy and given is None, keys, key, threads, lent)


def noise_into(state: State, scale: float, keys: Keys, key: Any, threads: int | None = None) -> None:
    """Normal noise times ``scale`` in place of the samples."""
    row = np.zeros(9)
    row[8] = scale
    _refuse_too_many(key, state.elements)
    if state.library.on_gpu(state.x):
        from . import gpu

        gpu.noise_into(row, state, keys, key)
        return
    _run(state, row, (0, 0, 0, 0, 0, state.library.address(state.x), 0, True, 0), True, keys, key, threads)


def squares(state: State) -> np.ndarray:
    """The sum of squares of each sample, float64."""
    if state.library.on_gpu(state.x):
        from . import gpu

        return gpu.squares(state)
    return _core.field_squares(state.doubles, state.library.address(state.x), state.n, state.elements)


def _run(
    state: State, row: np.ndarray, pointers: _Pointers, draws: bool, keys: Keys, key: Any, threads: int | None,
    lent: tuple[Any, ...] = (),
) -> int:  # fmt: skip
    """The call, or one for each thread, which hold what is ``lent`` to them as long as they run."""
    if threads is not None:
        threads = checks.count("threads", threads)
    n, elements = state.n, state.elements
    what = state.doubles, row, n, elements, *pointers, *keys, key
    pay = n * elements // _LEAST[draws]
    if pay < 2:
        return _core.field_step(*what, 0, -1)
    units = _core.field_units(n, elements)

    def call(first: int, last: int, lent: tuple[Any, ...] = lent) -> int:
        return _core.field_step(*what, first, last)

    wanted = resources.available_threads() if threads is None else threads
    return _shared(call, units, min(pay, wanted, units))


def _shared(call: Callable[[int, int], int], units: int, parts: int) -> int:
    """Ranges of units by threads of the library's pool, the first one by this thread."""
    if parts == 1:
        return call(0, units)
    ends = [units * i // parts for i in range(parts + 1)]
    pool = default_pool(resources.available_threads())
    others = [pool.submit(call, ends[i], ends[i + 1]) for i in range(1, parts)]
    try:
        found = [call(ends[0], ends[1]), *(other.result() for other in others)]
    finally:  # nobody writes on after an interruption
        wait(others)
    wrong = [sample for sample in found if sample >= 0]
    return min(wrong, default=-1)


def _refuse_too_many(key: Any, elements: int) -> None:
    """Segments of noise are counted in 32 bits."""
    if type(key) is int and key < 2**16 and elements <= 2**24:
        return
    each = 1 if elements < 32 else 16 * -(-elements // 4096)
    last = int(np.max(key)) if isinstance(key, np.ndarray) else key
    if (last + 1) * each > 2**32:
        raise ValueError(f"samples of {elements} elements have noise for {2**32 // each} steps, got step {last}")
