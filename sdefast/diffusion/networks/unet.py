"""A small UNet for images (Ronneberger et al. 2015; Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from ... import checks
from ..tensors import torch
from .base import Condition, Network

nn = torch.nn


class UNet(Network):
    """A small UNet for images (n, channels, height, width) of any size, by default of 0.9 million parameters.

    Residual blocks of two convolutions take the level of noise as scales and shifts of their normalised features. The
    way down joins the way up by sums. Where the image is finest, which costs most, there are few channels, and blocks
    on the way up only.

    Parameters
    ----------
    channels : int
        Of the images.
    widths : sequence of int
        Channels at each resolution, finest first, each of half as many pixels a side as the one before. Multiples of 8.
    blocks : int
        Residual blocks at each resolution, on either way.
    attention : bool
        Whether the coarsest resolution has self-attention, of 4 heads.
    dropout : float
        Part of the features that blocks drop in training.
    classes : int, optional
        How many classes labels have.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Examples
    --------
    >>> from sdefast.diffusion import networks
    >>> sum(p.numel() for p in networks.UNet().parameters())
    886865
    """

    name: ClassVar[str] = "unet"

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (32, 64, 112),
        blocks: int = 1,
        attention: bool = True,
        dropout: float = 0.0,
        classes: int | None = None,
    ) -> None:
        channels, blocks = checks.count("channels", channels), checks.count("blocks", blocks)
        widths, attention = _widths(widths), checks.flag("attention", attention)
        dropout = checks.real("dropout", dropout, least=0, most=0.9)
        super().__init__(classes, channels=channels, widths=widths, blocks=blocks, attention=attention, dropout=dropout)
        told, coarsest = 4 * widths[0], widths[-1]
        self.condition = Condition(64, told, self.classes)

        def chain(width: int) -> _Chain:
            return _Chain(_Block(width, told, dropout) for _ in range(blocks))

        pairs = list(pairwise(widths))
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.halved = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs)
        self.down = nn.ModuleList(chain(coarse) for _, coarse in pairs)
        self.attention = _Attention(coarsest) if attention else nn.Identity()
        self.middle = chain(coarsest)
        self.narrowed = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(chain(fine) for fine, _ in pairs)
        self.norm = nn.GroupNorm(8, widths[0])
        self.last = _zero(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(self, x: torch.Tensor, c: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        if x.ndim != 4 or x.shape[1] != self.config["channels"]:
            raise ValueError(f"x must have shape (n, {self.config['channels']}, height, width), got {tuple(x.shape)}")
        level, passed = self.condition(x, c, y), [self.first(x)]
        for halved, down in zip(self.halved, self.down, strict=True):
            passed.append(down(halved(passed[-1]), level))
        h = self.middle(self.attention(passed.pop()), level)
        for narrowed, up in zip(reversed(self.narrowed), reversed(self.up), strict=True):
            beside = passed.pop()
            h = up(beside + nn.functional.interpolate(narrowed(h), size=beside.shape[2:]), level)
        return self.last(nn.functional.silu(self.norm(h)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """A residual block; at first it passes on what it is given."""

    def __init__(self, width: int, told: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width, affine=False)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), _zero(nn.Conv2d(width, width, 3, padding=1))
        self.level = nn.Linear(told, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        scale, shift = self.level(level)[:, :, None, None].chunk(2, 1)
        h = nn.functional.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return x + self.conv2(self.dropout(h))  # type: ignore[no-any-return]


class _Chain(nn.ModuleList):
    """Blocks, one after the other."""

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        for block in self:
            x = block(x, level)
        return x


class _Attention(nn.Module):
    """Self-attention of all pixels, added to them; at first it adds nothing."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, width)
        self.inward, self.outward = nn.Conv2d(width, 3 * width, 1), _zero(nn.Conv2d(width, width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, width, height, breadth = x.shape
        parts = self.inward(self.norm(x)).reshape(n, 3, self.heads, width // self.heads, height * breadth)
        q, k, v = parts.transpose(3, 4).unbind(1)
        h = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.outward(h.transpose(2, 3).reshape(x.shape))  # type: ignore[no-any-return]


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that says 0 before it is trained."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _widths(given: Sequence[int]) -> list[int]:
    """Channels at each resolution."""
    if not isinstance(given, Sequence):
        raise TypeError(f"widths must be a sequence of integers, got {given!r}")
    widths = [checks.count(f"widths[{i}]", width) for i, width in enumerate(given)]
    if not widths or any(width % 8 for width in widths):
        raise ValueError(f"widths must be multiples of 8, at least one, got {given!r}")
    return widths
