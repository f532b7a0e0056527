"""The noise as arrays: exactly the numbers that simulations use.

Draw n of chain i in a stream is a pure function of (seed, stream, i, n): xoshiro128++ words, keyed for every chain and
every 1024 words by Philox4x32-10 and turned into normals by Box-Muller. The layout is written down in
``csrc/noise/stream.hpp``. Arrays have shape (n_draws, n_chains), chains contiguous, as the kernels use them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core, checks, resources

__all__ = ["STREAM_VERSION", "brownian", "normals", "uniforms", "words"]


def __dir__() -> list[str]:
    return __all__


#: Version of the stream: another one would draw other numbers from the same seed. Results carry it, and what was drawn
#: under one version is neither resumed nor merged under another.
STREAM_VERSION = 1

_MOST = 2**40  # draws of a chain: segments are counted in 32 bits


def _empty(
    seed: int, n_draws: int, n_chains: int, first_draw: int, first_chain: int, dtype: np.dtype, unit: str = "draw"
) -> tuple[int, int, int, np.ndarray]:
    """The checked seed, first chain and first draw, and memory for the draws."""
    seed = checks.seed("seed", seed)
    first_chain = checks.count("first_chain", first_chain, least=0)
    first_draw = checks.count(f"first_{unit}", first_draw, least=0, most=_MOST)
    n_draws = checks.count(f"n_{unit}s", n_draws, least=0, most=_MOST)
    n_chains = checks.count("n_chains", n_chains, least=0)
    what = f"{n_draws} {unit}s of {n_chains} chains"
    resources.refuse_too_large(
        n_draws * n_chains * dtype.itemsize, what, [f"ask for fewer n_{unit}s or n_chains at a time"]
    )
    return seed, first_chain, first_draw, np.empty((n_draws, n_chains), dtype)


def _fill(
    kernel: Callable[[int, int, int, np.ndarray], None], seed: int, chain: int, draw: int, out: np.ndarray
) -> None:
    """Fill ``out`` (n_draws, n_chains) piece by piece, so that Ctrl-C comes in between."""
    n_draws, n_chains = out.shape
    for c in range(0, n_chains, 4096):
        for d in range(0, n_draws, 4096):
            kernel(seed, chain + c, draw + d, out[d : d + 4096, c : c + 4096])


def normals(
    seed: int,
    n_draws: int,
    n_chains: int = 1,
    *,
    first_draw: int = 0,
    first_chain: int = 0,
    dtype: DTypeLike = "float64",
) -> np.ndarray:
    """Standard normal draws of a range of chains.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    n_draws, n_chains : int
        How many draws of how many chains.
    first_draw, first_chain : int
        Where the range begins. Step k of a simulation uses the draws k m to k m + m - 1, m being
        ``model.noise_dim_of(method)``.
    dtype : {"float64", "float32"}
        Type of the draws. The two types use the words differently and are different numbers.

    Returns
    -------
    ndarray of shape (n_draws, n_chains)

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong type.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.noise.normals(7, 1000, 4)[500, 2] == sf.noise.normals(7, 1, first_draw=500, first_chain=2)[0, 0]
    np.True_
    """
    kind = checks.dtype("dtype", dtype)
    seed, first_chain, first_draw, out = _empty(seed, n_draws, n_chains, first_draw, first_chain, kind)
    _fill(_core.normals, seed, first_chain, first_draw, out)
    return out


def uniforms(
    seed: int,
    n_draws: int,
    n_chains: int = 1,
    *,
    first_draw: int = 0,
    first_chain: int = 0,
    dtype: DTypeLike = "float64",
) -> np.ndarray:
    """Uniform draws in the open interval (0, 1), from a stream of their own; arguments as for `normals`.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.noise.uniforms(7, 3, 2).shape
    (3, 2)
    """
    kind = checks.dtype("dtype", dtype)
    seed, first_chain, first_draw, out = _empty(seed, n_draws, n_chains, first_draw, first_chain, kind)
    _fill(_core.uniforms, seed, first_chain, first_draw, out)
    return out


def words(
    seed: int, n_words: int, n_chains: int = 1, *, stream: int = 0, first_word: int = 0, first_chain: int = 0
) -> np.ndarray:
    """The generator's 32-bit words; ``stream`` is 0 for normals, 1 for uniforms, 2 for integers and random bits.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.noise.words(7, 2).dtype
    dtype('uint32')
    """
    stream = checks.count("stream", stream, least=0, most=2**32 - 1)
    seed, first_chain, first_word, out = _empty(
        seed, n_words, n_chains, first_word, first_chain, np.dtype(np.uint32), "word"
    )

    def kernel(seed: int, chain: int, word: int, part: np.ndarray) -> None:
        _core.words(seed, stream, chain, word, part)

    _fill(kernel, seed, first_chain, first_word, out)
    return out


def signs(
    seed: int,
    n_draws: int,
    n_chains: int = 1,
    *,
    first_draw: int = 0,
    first_chain: int = 0,
    dtype: DTypeLike = "float64",
) -> np.ndarray:
    """Random signs +1 and -1, what schemes with two-point noise draw; arguments as for `normals`.

    Draw n is +1 or -1 as bit n % 32 of word n // 32 of stream 2 is 1 or 0.

    Examples
    --------
    >>> import sdefast as sf
    >>> sorted(set(sf.noise.signs(7, 100)[:, 0].tolist()))
    [-1.0, 1.0]
    """
    kind = checks.dtype("dtype", dtype)
    n_draws = checks.count("n_draws", n_draws, least=0)
    first_draw = checks.count("first_draw", first_draw, least=0, most=_MOST)
    skipped, n_words = first_draw % 32, -(-(first_draw % 32 + n_draws) // 32)
    packed = words(seed, n_words, n_chains, stream=2, first_word=first_draw // 32, first_chain=first_chain)
    bits = (packed[:, None] >> np.arange(32, dtype=np.uint32)[None, :, None]) & np.uint32(1)
    chosen = bits.reshape(-1, packed.shape[1])[skipped : skipped + n_draws]
    return (2 * chosen.astype(np.int8) - 1).astype(kind)


def brownian(
    seed: int,
    times: ArrayLike,
    n_chains: int = 1,
    *,
    dim: int = 1,
    first_step: int = 0,
    first_chain: int = 0,
    dtype: DTypeLike = "float64",
    increments: bool = False,
) -> np.ndarray:
    """Brownian paths at given times, made of the normals that a simulation on the same time grid uses.

    Parameters
    ----------
    seed : int
        In [0, 2**64).
    times : array_like of shape (n_times,)
        Strictly increasing; the path starts with 0 at ``times[0]``.
    n_chains : int
        Number of paths.
    dim : int
        Independent components; for a simulation ``model.noise_dim_of(method)``. (Exact steps use the same normals
        without being functions of the Brownian increments.)
    first_step, first_chain : int
        The step that begins at ``times[0]`` and the first path.
    dtype : {"float64", "float32"}
        Type of draws and result.
    increments : bool
        Return W(times[k + 1]) - W(times[k]) instead of W.

    Returns
    -------
    ndarray of shape (n_times, n_chains, dim), or (n_times - 1, n_chains, dim) for increments

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong type.

    Examples
    --------
    >>> import sdefast as sf
    >>> sf.noise.brownian(7, [0.0, 0.5, 1.0], n_chains=4).shape
    (3, 4, 1)
    """
    grid = checks.increasing("times", times, at_least=2)
    dim = checks.count("dim", dim)
    n_steps = len(grid) - 1
    first_step = checks.count("first_step", first_step, least=0, most=_MOST // dim)
    kind, differences = checks.dtype("dtype", dtype), checks.flag("increments", increments)
    seed, first_chain, first_draw, out = _empty(
        seed, (n_steps + 1) * dim, n_chains, first_step * dim, first_chain, kind
    )
    path = out.reshape(n_steps + 1, dim, -1)
    path[0] = 0
    _fill(_core.normals, seed, first_chain, first_draw, out[dim:])
    path[1:] *= np.sqrt(np.diff(grid))[:, None, None].astype(kind)
    if differences:
        return path[1:].transpose(0, 2, 1)
    np.cumsum(path, axis=0, out=path)
    return path.transpose(0, 2, 1)
