"""What all networks share: their config, and how they take the noise condition and labels."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from ... import checks
from ..tensors import torch

#: The label of samples that have none: what guidance calls the null class.
NO_LABEL = -1


class Network(torch.nn.Module, ABC):
    """A network of diffusion, ``net(x, c, y=None)``.

    Attributes
    ----------
    config : dict
        Its name and options, plain values; `build` makes the network again from them.
    classes : int or None
        How many classes labels have; None if the network takes none.
    """

    name: ClassVar[str]

    def __init__(self, classes: int | None, **options: Any) -> None:
        super().__init__()
        self.classes = None if classes is None else checks.count("classes", classes)
        self.config = {"name": self.name, **options, "classes": self.classes}

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Network:
        """The one with these options; TypeError names those that it does not have."""
        known = inspect.signature(cls).parameters
        for name in options:
            if name not in known:
                raise TypeError(f"{cls.name!r} has no option {name!r}: it takes {', '.join(map(repr, known))}")
        for name, parameter in known.items():
            if parameter.default is parameter.empty and name not in options:
                raise TypeError(f"{cls.name!r} needs the option {name!r}")
        return cls(**options)

    @abstractmethod
    def forward(self, x: torch.Tensor, c: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """What the network says of samples x (n, ...) at the noise conditions c (n,), with labels y (n,) or none."""


def sinusoids(c: torch.Tensor, n: int) -> torch.Tensor:
    """Cosines and sines of c at n / 2 frequencies from 1 down to 1e-4 (Vaswani et al. 2017, section 3.5)."""
    frequencies = torch.exp(torch.arange(n // 2, device=c.device) * (-math.log(1e4) / (n // 2)))
    angles = c[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


class Condition(torch.nn.Module):
    """The noise condition, and labels if there are classes, as one vector per sample."""

    def __init__(self, features: int, width: int, classes: int | None) -> None:
        super().__init__()
        self.features, self.classes = features, classes
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(features, width), torch.nn.SiLU(), torch.nn.Linear(width, width), torch.nn.SiLU()
        )
        self.labels = None if classes is None else torch.nn.Embedding(classes + 1, features)

    def forward(self, x: torch.Tensor, c: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        if c.shape != x.shape[:1]:
            raise ValueError(f"c must have shape ({len(x)},), got {tuple(c.shape)}")
        found = sinusoids(c, self.features)
        if self.labels is not None:
            found = found + self.labels(self._rows(c, y))
        elif y is not None:
            raise ValueError("y must be None: this network was built without classes")
        return self.mlp(found)  # type: ignore[no-any-return]

    def _rows(self, c: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        """Rows of the table of labels, the first of which is that of samples without one."""
        if y is None:
            return torch.zeros(len(c), dtype=torch.int64, device=c.device)
        if y.dtype != torch.int64 or y.shape != c.shape:
            raise ValueError(f"y must be int64 of shape ({len(c)},), got {y.dtype} of shape {tuple(y.shape)}")
        assert self.classes is not None
        wrong = (y < NO_LABEL) | (y >= self.classes)
        if y.is_cpu and wrong.any():
            raise ValueError(f"labels must be between 0 and {self.classes - 1}, or -1 for none, got {y[wrong][0]}")
        return y + 1
