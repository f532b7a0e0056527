"""What is noted of every step: its loss, learning rate and gradient's norm."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..tensors import torch

__all__ = ["LOG", "Log", "csv"]

#: A row; steps count from 1.
LOG = np.dtype([("step", np.int64), ("loss", np.float64), ("learning_rate", np.float64), ("gradient_norm", np.float64)])


class Log:
    """Rows, one a step; the numbers of some steps wait on a GPU, which is not asked for each of them.

    Parameters
    ----------
    patience : int
        How many steps may wait: 1 where asking costs nothing.
    """

    def __init__(self, patience: int = 1) -> None:
        self.patience, self._rows, self._n = patience, np.zeros(256, LOG), 0
        self._waiting: list[tuple[int, float, torch.Tensor, torch.Tensor]] = []

    def add(self, step: int, rate: float, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """Note a step, counted from 1."""
        self._waiting.append((step, rate, loss.detach(), norm))
        if len(self._waiting) >= self.patience:
            self.settle()

    def settle(self) -> None:
        """Read what waits; FloatingPointError names the first step whose loss or gradient is not finite."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        values = torch.stack([value.float() for _, _, *pair in waiting for value in pair]).tolist()
        self._reserve(len(waiting))
        for (step, rate, _, _), loss, norm in zip(waiting, values[::2], values[1::2], strict=True):
            for name, value in (("loss", loss), ("gradient's norm", norm)):
                if not math.isfinite(value):
                    raise FloatingPointError(f"the {name} is {value} at step {step}, learning rate {rate:.3g}")
            self._rows[self._n] = step, loss, rate, norm
            self._n += 1

    def _reserve(self, more: int) -> None:
        while self._n + more > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])

    @property
    def rows(self) -> np.ndarray:
        """Those that are read."""
        return self._rows[: self._n]

    def columns(self) -> dict[str, torch.Tensor]:
        """The rows as tensors."""
        return {name: torch.from_numpy(self.rows[name].copy()) for name in LOG.names or ()}

    @classmethod
    def of(cls, columns: Mapping[str, torch.Tensor], patience: int = 1) -> Log:
        """From `columns`."""
        made = cls(patience)
        n = len(columns["step"])
        made._reserve(n)
        for name in LOG.names or ():
            made._rows[name][:n] = columns[name].numpy()
        made._n = n
        return made


def csv(rows: np.ndarray) -> str:
    """Rows as lines of a CSV file, numbers so that they can be read back to the bit."""
    return "".join(f"{k},{loss!r},{rate!r},{norm!r}\n" for k, loss, rate, norm in rows.tolist())
