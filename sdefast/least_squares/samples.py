"""The samples that a run of SGD draws, found again from its seed and number."""

from __future__ import annotations

from functools import partial

import numpy as np

from .. import checks, noise
from .inputs import InputLaw, Normal, Rademacher, Student, Uniform
from .laws.matrices import input_basis


class Samples:
    """The samples of a problem; `LeastSquares` has them."""

    theta_star: np.ndarray
    noise_std: float
    label_noise: float
    inputs: InputLaw | None
    data: tuple[np.ndarray, np.ndarray] | None

    @property
    def covariance(self) -> np.ndarray | None:
        """The covariance of Gaussian inputs."""
        raise NotImplementedError

    def sample(self, n: int, *, seed: int = 0, run: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Samples (X, y): the first ``n`` that a run of `sgd` draws, with replacement where the problem is on data.

        Parameters
        ----------
        n : int
            Number of samples.
        seed, run : int
            The seed that `sgd` is given, and the number of the run, counted from 0.

        Returns
        -------
        tuple of numpy.ndarray
            X of shape (n, d), y of shape (n,). Of correlated streams those of runs with one step size for all
            parameters.

        Examples
        --------
        >>> import sdefast as sf
        >>> X, y = sf.LeastSquares(theta_star=[1.0, 2.0], noise_std=0.1).sample(100, seed=0, run=7)
        >>> X.shape, y.shape
        ((100, 2), (100,))
        """
        n, seed, run = checks.count("n", n), checks.seed("seed", seed), checks.count("run", run, least=0)
        if self.data is None:
            assert self.inputs is not None
            d = len(self.theta_star)
            X, xi = stream_of(self.inputs, self.covariance, d, self.noise_std, n, seed, run)
            return X, X @ self.theta_star + xi
        rows = rows_picked(len(self.data[0]), seed, run, n)[:, 0]
        X, y = self.data[0][rows], self.data[1][rows]
        return X, y + self.label_noise * noise.normals(seed, n, first_chain=run)[:, 0] if self.label_noise else y


def stream_of(
    law: InputLaw, covariance: np.ndarray | None, dim: int, noise_std: float, n: int, seed: int, run: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first ``n`` samples of a run on a stream: inputs (n, dim), and noises of their labels (n,)."""
    is_noisy = noise_std > 0
    n_normals = is_noisy + dim * isinstance(law, Normal)
    z = noise.normals(seed, n * n_normals, first_chain=run).reshape(n, n_normals)
    xi = noise_std * z[:, -1] if is_noisy else np.zeros(n)
    if isinstance(law, Normal):
        basis, scales = input_basis(covariance)
        X = z[:, :dim] if scales is None else z[:, :dim] * scales
        return X if basis is None else X @ basis.T, xi
    uniforms = partial(noise.uniforms, seed, first_chain=run)
    if isinstance(law, Student):  # Bailey's polar method
        u, angle = uniforms(2 * n * dim).reshape(-1, 2).T
        return (np.sqrt(law.df * (u ** (-2 / law.df) - 1)) * np.cos(2 * np.pi * angle)).reshape(n, dim), xi
    u = uniforms(n * dim).reshape(n, dim)
    if isinstance(law, Rademacher):
        return np.where(u < 0.5, -1.0, 1.0), xi
    assert isinstance(law, Uniform)
    return law.low + (law.high - law.low) * u, xi


def rows_picked(
    n_data: int, seed: int, run: int, n_steps: int, batch_size: int = 1, shuffled: bool = False, first_step: int = 0
) -> np.ndarray:
    """Numbers of the rows of data that a run picks, of shape (n_steps, batch_size), as csrc/engine/picks.hpp says."""
    first, end = first_step * batch_size, (first_step + n_steps) * batch_size
    epoch = n_data // batch_size * batch_size
    begin = first - first % epoch if shuffled else first
    words = noise.words(seed, 2 * (end - begin), stream=2, first_word=2 * begin, first_chain=run)[:, 0].astype(
        np.uint64
    )
    choices = n_data - np.arange(end - begin) % epoch if shuffled else np.full(end - begin, n_data)
    choices, half = choices.astype(np.uint64), np.uint64(32)
    picks = ((words[::2] * choices + ((words[1::2] * choices) >> half)) >> half).astype(np.int64)
    if shuffled:
        picks = np.concatenate([_shuffled(picks[at : at + epoch], n_data) for at in range(0, len(picks), epoch)])
    return np.asarray(picks[first - begin :].reshape(n_steps, batch_size))


def rows_in_order(order: tuple[int, ...], n_steps: int, batch_size: int = 1, first_step: int = 0) -> np.ndarray:
    """Numbers of the rows that are taken in a given order, over and over, of shape (n_steps, batch_size)."""
    first = first_step * batch_size
    taken = np.take(order, np.arange(first, first + n_steps * batch_size), mode="wrap")
    return np.asarray(taken.reshape(n_steps, batch_size))


def _shuffled(offsets: np.ndarray, n_data: int) -> np.ndarray:
    """The first rows of the order that Fisher and Yates make with these offsets."""
    order = np.arange(n_data)
    for p, offset in enumerate(offsets):
        j = p + offset
        order[p], order[j] = order[j], order[p]
    return order[: len(offsets)]
