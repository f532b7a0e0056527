"""Exact draws by rejection, each a function of the seed and its chain alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ... import noise
from .base import FIRST_START_DRAW

#: Where the draws of rejections begin, beyond those of starts and of their velocities.
_FIRST = FIRST_START_DRAW + 2**20


def accepted(
    propose: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    normals: int,
    uniforms: int,
    n: int,
    seed: int,
    first_chain: int,
) -> np.ndarray:
    """Each chain's first proposal that is accepted, of shape (n, ...).

    ``propose(z, u)`` gives n proposals and whether they are accepted, from standard normals (normals, n) and uniforms
    (uniforms, n); proposal number r of a chain takes its draws number r in their streams.
    """
    result: np.ndarray | None = None
    missing, turn = np.ones(n, bool), 0
    while missing.any():
        z = noise.normals(seed, normals, n, first_draw=_FIRST + normals * turn, first_chain=first_chain)
        u = noise.uniforms(seed, uniforms, n, first_draw=_FIRST + uniforms * turn, first_chain=first_chain)
        values, accept = propose(z, u)
        result = np.zeros_like(values) if result is None else result
        now = missing & accept
        result[now] = values[now]
        missing &= ~accept
        turn += 1
    return np.empty(0) if result is None else result


def gamma(shape: float, n: int, seed: int, first_chain: int) -> np.ndarray:
    """Gamma variables of that shape and scale 1; for a shape below 1, those of one more by a power of a uniform.

    Marsaglia and Tsang, ACM Transactions on Mathematical Software 26, 2000.
    """
    d = (shape if shape >= 1 else shape + 1) - 1 / 3
    c = 1 / np.sqrt(9 * d)

    def propose(z: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        root = 1 + c * z[0]
        v = np.maximum(root, 1e-90) ** 3
        return d * v, (root > 0) & (np.log(u[0]) < z[0] ** 2 / 2 + d * (1 - v + np.log(v)))

    found = accepted(propose, 1, 1, n, seed, first_chain)
    if shape >= 1:
        return found
    u = noise.uniforms(seed, 1, n, first_draw=FIRST_START_DRAW, first_chain=first_chain)[0]
    return np.asarray(found * u ** (1 / shape))
