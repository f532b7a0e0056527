"""A small UNet for images (Ronneberger et al. 2015; Ho et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ... import checks
from ..tensors import torch
from .base import Condition, Network

nn = torch.nn


class UNet(Network):
    """A small UNet for images (n, channels, height, width) of any size, by default of 0.9 million parameters.

    Residual blocks of two convolutions take the level of noise as a scale and a shift of their normalised features.
    Most of the time goes into the finest resolution, which therefore has few channels.

    Parameters
    ----------
    channels : int
        Of the images.
    widths : sequence of int
        Channels at each resolution, finest first; each is half of the one before. Multiples of 8.
    blocks : int
        Residual blocks at each resolution, down and up.
    attention : bool
        Whether the coarsest resolution has self-attention.
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
    1021953
    """

    name: ClassVar[str] = "unet"

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (32, 64, 96),
        blocks: int = 1,
        attention: bool = True,
        dropout: float = 0.0,
        classes: int | None = None,
    ) -> None:
        channels, blocks = checks.count("channels", channels), checks.count("blocks", blocks)
        widths = _widths(widths)
        attention, dropout = checks.flag("attention", attention), checks.real("dropout", dropout, least=0, most=0.9)
        super().__init__(classes, channels=channels, widths=widths, blocks=blocks, attention=attention, dropout=dropout)
        told = 4 * widths[0]
        self.condition = Condition(2 * widths[0], told, self.classes)
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = widths[0]
        for i, width in enumerate(widths):
            down = [_Block(before if j == 0 else width, width, told, dropout) for j in range(blocks)]
            self.down.append(nn.ModuleList(down))
            above = widths[min(i + 1, len(widths) - 1)]
            up = [_Block((above if j == 0 else width) + width, width, told, dropout) for j in range(blocks)]
            self.up.append(nn.ModuleList(up))
            before = width
        self.middle = _Block(widths[-1], widths[-1], told, dropout)
        self.attention = _Attention(widths[-1]) if attention else nn.Identity()
        self.norm = nn.GroupNorm(8, widths[0])
        self.last = _zero(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(self, x: torch.Tensor, c: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        if x.ndim != 4 or x.shape[1] != self.config["channels"]:
            raise ValueError(f"x must have shape (n, {self.config['channels']}, height, width), got {tuple(x.shape)}")
        level = self.condition(c, y)
        h, skips = self.first(x), []
        for i, blocks in enumerate(self.down):
            if i:
                h = nn.functional.avg_pool2d(h, 2, ceil_mode=True)
            for block in blocks:
                h = block(h, level)
                skips.append(h)
        h = self.middle(self.attention(h), level)
        for blocks in reversed(self.up):
            for block in blocks:
                skip = skips.pop()
                if h.shape[2:] != skip.shape[2:]:
                    h = nn.functional.interpolate(h, size=skip.shape[2:])
                h = block(torch.cat([h, skip], 1), level)
        return self.last(nn.functional.silu(self.norm(h)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """A residual block; at first it passes on what it is given."""

    def __init__(self, before: int, width: int, told: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, before), nn.GroupNorm(8, width, affine=False)
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.conv2 = _zero(nn.Conv2d(width, width, 3, padding=1))
        self.level = nn.Linear(told, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Identity() if before == width else nn.Conv2d(before, width, 1)

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        scale, shift = self.level(level)[:, :, None, None].chunk(2, 1)
        h = nn.functional.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.skip(x) + self.conv2(self.dropout(h))  # type: ignore[no-any-return]


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
    try:
        widths = [checks.count(f"widths[{i}]", width) for i, width in enumerate(given)]
    except TypeError:
        raise TypeError(f"widths must be a sequence of integers, got {given!r}") from None
    if not widths or any(width % 8 for width in widths):
        raise ValueError(f"widths must be multiples of 8, at least one, got {given!r}")
    return widths
