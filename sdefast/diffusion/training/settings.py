"""What a training is told, checked once, and the learning rate that follows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from ... import checks

#: From this step on the learning rate falls as an inverse square root, unless ``decay`` says otherwise.
REFERENCE = 1000

#: The widest average, that of all weights since the start.
WIDEST = math.sqrt(1 / 12)


@dataclass(frozen=True)
class Settings:
    """All that decides what happens at a step, but for the network, the objective and the data."""

    batch_size: int
    learning_rate: float
    warmup: int
    decay: int | None
    weight_decay: float
    clip_norm: float | None
    ema: float
    seed: int
    amp: bool
    label_drop: float

    @classmethod
    def of(cls, given: dict[str, Any]) -> Settings:
        """Of the arguments of `train`, checked."""
        decay, clip = given["decay"], given["clip_norm"]
        return cls(
            batch_size=checks.count("batch_size", given["batch_size"], most=2**20),
            learning_rate=checks.real("learning_rate", given["learning_rate"], positive=True),
            warmup=checks.count("warmup", given["warmup"], least=0),
            decay=None if decay is None else checks.count("decay", decay),
            weight_decay=checks.real("weight_decay", given["weight_decay"], least=0.0),
            clip_norm=None if clip is None else checks.real("clip_norm", clip, positive=True),
            ema=_width(given["ema"]),
            seed=checks.seed("seed", given["seed"]),
            amp=checks.flag("amp", given["amp"]),
            label_drop=checks.real("label_drop", given["label_drop"], least=0.0, most=1.0),
        )

    @classmethod
    def names(cls) -> list[str]:
        """Those of the settings."""
        return [field.name for field in fields(cls)]

    def config(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0: it does not depend on how many steps there will be."""
        k = step + 1
        rising = min(1.0, k / self.warmup) if self.warmup else 1.0
        if self.decay is not None:
            return self.learning_rate * rising * max(0.0, 1 - step / self.decay)
        return self.learning_rate * rising / math.sqrt(max(1.0, k / REFERENCE))

    def check_steps(self, steps: Any) -> int:
        """How many steps there are to be."""
        n = checks.count("steps", steps, least=0)
        if self.decay is not None and n > self.decay:
            raise ValueError(f"steps must be at most decay, {self.decay}, where the learning rate is 0, got {n}")
        return n


def _width(ema: Any) -> float:
    width = checks.real("ema", ema, least=0.0)
    if width > WIDEST:
        raise ValueError(
            f"ema must be within [0, {WIDEST:.3f}], the width of the average as a part of the steps so far (it is no "
            f"decay such as 0.999), got {width}"
        )
    return width
