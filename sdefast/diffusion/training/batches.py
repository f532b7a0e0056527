"""The data of every step, and its noise: functions of (seed, step) alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ... import noise
from ..networks import NO_LABEL
from ..noise import randn_like
from ..seeds import TRAINING, apart
from ..tensors import torch
from .settings import Settings

__all__ = ["Batch", "Batches", "order"]

#: The stream of the library's noise that picks of data have.
_PICKS = 2


class Batch(NamedTuple):
    """What a step takes: data, levels of noise as uniform numbers, noise, labels."""

    x0: torch.Tensor
    u: np.ndarray
    z: torch.Tensor
    y: torch.Tensor | None


def order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order in which an epoch, from 0, takes n samples: they are sorted by 64 random bits each.

    Examples
    --------
    >>> sorted(order(0, 3, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    words = noise.words(seed, 2 * n, stream=_PICKS, first_chain=epoch)
    return np.argsort(words.reshape(-1).view(np.uint64), kind="stable")


class Batches:
    """Batches of data in a random order, epoch after epoch; what is left at the end of one begins a batch.

    All is drawn by a seed that `apart` makes of the training's. Sample i of step k has draws 2 k, its level of noise,
    and 2 k + 1, whether its label is dropped, of chain i of the library's uniform numbers, and the noise of step k of
    chain i of its fields, see `randn_like`.
    """

    def __init__(self, data: torch.Tensor, labels: torch.Tensor | None, settings: Settings) -> None:
        self.data, self.labels = data, labels
        self.size, self.label_drop = settings.batch_size, settings.label_drop
        self.seed = apart(settings.seed, TRAINING)
        self._orders: dict[int, np.ndarray] = {}

    def picks(self, step: int) -> np.ndarray:
        """Which samples a step takes."""
        n = len(self.data)
        epochs, places = np.divmod(np.arange(step * self.size, (step + 1) * self.size), n)
        needed = range(int(epochs[0]), int(epochs[-1]) + 1)
        self._orders = {e: self._orders[e] if e in self._orders else order(self.seed, e, n) for e in needed}
        return np.concatenate([self._orders[e][places[epochs == e]] for e in needed])

    def at(self, step: int) -> Batch:
        """The batch of a step, from 0."""
        picks = torch.from_numpy(self.picks(step)).to(self.data.device)
        x0 = self.data[picks]
        u, dropped = noise.uniforms(self.seed, 2, self.size, first_draw=2 * step)
        z = randn_like(x0, seed=self.seed, step=step)
        if self.labels is None:
            return Batch(x0, u, z, None)
        without = torch.from_numpy(dropped < self.label_drop).to(self.data.device)
        return Batch(x0, u, z, self.labels[picks].masked_fill_(without, NO_LABEL))
