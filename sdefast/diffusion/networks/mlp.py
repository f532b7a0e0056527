"""A score network for points: fully connected, told the level of noise."""

from __future__ import annotations

from typing import ClassVar

from ... import checks
from ..tensors import torch
from .base import Condition, Network

#: What hidden layers may do.
ACTIVATIONS: dict[str, type[torch.nn.Module]] = {"relu": torch.nn.ReLU, "silu": torch.nn.SiLU}


class ScoreMLP(Network):
    """A fully connected network for points (n, dim), of ReLU layers that are told the level of noise at each one.

    Parameters
    ----------
    dim : int
        Number of coordinates.
    width, depth : int
        Units of a hidden layer, and how many hidden layers there are.
    activation : {"relu", "silu"}
        What hidden layers do: the classical one, or a smooth one, of which the score has derivatives.
    classes : int, optional
        How many classes labels have.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Examples
    --------
    >>> from sdefast.diffusion import networks
    >>> sum(p.numel() for p in networks.ScoreMLP(2).parameters())
    108034
    """

    name: ClassVar[str] = "mlp"

    def __init__(
        self, dim: int, width: int = 128, depth: int = 3, activation: str = "relu", classes: int | None = None
    ) -> None:
        dim, width, depth = checks.count("dim", dim), checks.count("width", width), checks.count("depth", depth)
        activation = checks.choice("activation", activation, ACTIVATIONS)
        super().__init__(classes, dim=dim, width=width, depth=depth, activation=activation)
        self.condition = Condition(64, width, self.classes)
        sizes = [dim, *[width] * depth]
        self.layers = torch.nn.ModuleList(map(torch.nn.Linear, sizes, sizes[1:]))
        self.levels = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(depth))
        self.activation = ACTIVATIONS[activation]()
        self.last = torch.nn.Linear(width, dim)

    def forward(self, x: torch.Tensor, c: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        if x.ndim != 2 or x.shape[1] != self.config["dim"]:
            raise ValueError(f"x must have shape (n, {self.config['dim']}), got {tuple(x.shape)}")
        level = self.condition(x, c, y)
        for layer, told in zip(self.layers, self.levels, strict=True):
            x = self.activation(layer(x) + told(level))
        return self.last(x)  # type: ignore[no-any-return]
